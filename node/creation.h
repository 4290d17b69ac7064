/* SPDX-License-Identifier: MIT */
/*
 * Before a new ring is made: does another ring still look for a member at this address? Members
 * call one that they have lost every few seconds, for as long as they live. Where its data is gone,
 * a ring made in silence would hide that, and answer for it. Core thread only, before the core
 * starts.
 */
#ifndef NODE_CREATION_H
#define NODE_CREATION_H

#include "chord.h"

struct node;
struct settings;

struct creation {
    bool listens;                 /* nothing is answered yet, requests are only looked at */
    char by[CHORD_ADDRESS_BYTES]; /* who takes this address for a member of its ring; "" = nobody */
    uint8_t ring_id[CHORD_RING_ID_BYTES];
};

/* Listens for some seconds when this start would make a ring on an address that other hosts reach.
 * False: another ring claims the address, and a sentence about it is on stderr. */
bool creation_allowed(struct node *node, const struct chord_identity *identity);
/* A request that came while it listens. */
void creation_heard(struct node *node, const struct chord_request *request);

#endif

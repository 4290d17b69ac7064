/* SPDX-License-Identifier: MIT */
/*
 * What the checkers look at: who is a member and whom each member names, without the core's inside.
 * A life of a node is named by a number; an entry is live when that life of that node is a member.
 */
#ifndef SIM_PICTURE_H
#define SIM_PICTURE_H

#include "core_host.h"

struct picture_entry {
    int node;      /* HOST_NOBODY: an address that the host does not know */
    unsigned life; /* 0: a life that never was a member here */
    struct chord_id id;
};

struct picture_node {
    bool alive, formed, member; /* member: alive, and a member or leaving */
    enum chord_node_state state;
    unsigned life;
    struct chord_id id;
    bool has_predecessor;
    uint16_t successors_count;
    struct picture_entry successors[CHORD_SUCCESSORS_MAX];
    struct picture_entry predecessor;
};

struct picture_life {
    uint8_t store_id[CHORD_STORE_ID_BYTES];
    uint64_t incarnation;
};

struct picture_lives {
    unsigned count;
    size_t room;
    struct picture_life *items; /* life k is items[k - 1] */
};

struct picture {
    unsigned n;
    int count;
    size_t room, lives_room;
    struct picture_node *nodes;
    struct picture_lives *lives;
    int *ring; /* the members in the order of their ids */
    size_t ring_room;
    int ring_count;
};

void picture_init(struct picture *picture, unsigned n);
void picture_free(struct picture *picture);
/* Looks at a node again. True: its entry has changed. */
bool picture_update(struct picture *picture, struct host *host, int node);
bool picture_live(const struct picture *picture, const struct picture_entry *entry);
/* The position of a member in `ring`, -1: none. */
int picture_position(const struct picture *picture, int node);
/* The life of `node` that `peer` names; 0: unknown. */
unsigned picture_life_of(const struct picture *picture, int node, const uint8_t *store_id,
                         uint64_t incarnation);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * The ring as it is against the ring as it should be, from what its nodes say of themselves: every
 * predecessor and successor list is what the set of members says (Zave 2017, the ideal state),
 * every key has a leader, no range that is led lacks copies that it could have. The library, the
 * gateway and chordctl say the same.
 *
 * Pure: no I/O, no clock.
 */
#ifndef CHORD_RING_VERDICT_H
#define CHORD_RING_VERDICT_H

#include "ring_check.h"
#include "ring_survival.h"

/* The first of these that is so is told. */
enum ring_fault {
    RING_IDEAL,
    RING_NO_MEMORY, /* to find out */
    RING_LOST,      /* ranges have lost the majority of their members */
    RING_EMPTY,     /* no node that answers is a member */
    RING_TWO,       /* members of different rings */
    RING_LISTS,     /* a predecessor or successor list is wrong */
    RING_CHANGING,  /* a node is joining or leaving */
    RING_UNLED,     /* some keys have no leader */
    RING_SHORT,     /* a range lacks copies */
};

struct ring_verdict {
    enum ring_fault fault;
    char text[500]; /* one sentence */
    size_t members;
    bool formed;            /* a member says so */
    unsigned copies_wanted; /* that each range could have */
    char lists[300];        /* which list is wrong; empty: none */
    struct survival survival;
};

/* Free it with survival_free(&verdict->survival). */
void ring_judge(const struct survival_node *nodes, size_t count, unsigned m,
                struct ring_verdict *verdict);

#endif

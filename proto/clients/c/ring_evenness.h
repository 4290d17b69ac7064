/* SPDX-License-Identifier: MIT */
/*
 * How evenly the members of a ring share it, and which of them should stand elsewhere. A member
 * leads the arc from its predecessor to itself; a new one halves the largest (node/chord/README.md,
 * "Places"), so a ring becomes uneven by those who leave.
 *
 * Pure: no I/O, no clock.
 */
#ifndef CHORD_RING_EVENNESS_H
#define CHORD_RING_EVENNESS_H

#include "ids.h"

enum { EVENNESS_MEMBERS_MAX = 512 }; /* that a plan is made for */

/* Arcs, in parts of the mean. */
struct evenness {
    double largest, smallest;
};

struct evenness_move {
    size_t member; /* who goes, */
    size_t takes;  /* and of whose arc it takes half: indices into the points */
    struct evenness after;
};

/* The top 64 bits of an id of m bits: places on a ring of 2^64. */
uint64_t evenness_point(const struct ring_id *id, unsigned m);
/* Of 1 to EVENNESS_MEMBERS_MAX points, in their order, no two the same. */
struct evenness evenness_of(const uint64_t *points, size_t count);
/* Whether joins alone could have left it so. */
bool evenness_is_good(struct evenness evenness);
/* Who goes, one after the other, until it is good or no move helps; each member at most once, so
 * `moves` has room for `count` (at most EVENNESS_MEMBERS_MAX). Returns how many. */
size_t evenness_plan(const uint64_t *points, size_t count, unsigned m, struct evenness_move *moves);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * What is under way in a member, for the invariant's rules (invariant.c).
 */
#ifndef CHORD_COUNTS_H
#define CHORD_COUNTS_H

#include "state.h"

/* What is under way, counted over the tables in one pass each. */
struct counts {
    unsigned join_calls, query_calls, lookup_calls, watch_calls, forward_calls, apply_calls;
    unsigned predecessor_calls, views_stores;
    unsigned transfer_waits; /* calls and store operations whose end a transfer awaits */
    unsigned finger_lookups, join_lookups, batch_lookups, lookups, lookup_paths;
    unsigned writing_batches, looking_batches, forwarded_batches, batches_with_keys;
};

/* Each NULL: all is well; else what is not, a static text. */
const char *neighbours_broken(struct chord *chord); /* ring/ring_invariant.c */
const char *ring_broken(const struct chord *chord, const struct counts *counts);
const char *data_broken(struct chord *chord, struct counts *counts); /* data/data_invariant.c */

#endif

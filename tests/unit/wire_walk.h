/* SPDX-License-Identifier: MIT */
/*
 * What the tables of node/wire_table.c say, walked by tests and the fuzzer: a struct with random
 * members within their bounds, often at them; whether a struct keeps its bounds; and in which field
 * two differ. Who adds a row adds its test.
 */
#ifndef CHORD_TEST_WIRE_WALK_H
#define CHORD_TEST_WIRE_WALK_H

#include "arena.h"
#include "wire_table.h"

struct wire_walk {
    uint64_t (*dice)(void *context, uint64_t sides); /* 0 to sides - 1 */
    void *context;
    struct arena *arena; /* of slices */
    unsigned m;          /* ids have so many bits; 0: 160 */
};

/* Any, often one at the bounds of some type. */
uint64_t wire_walk_number(const struct wire_walk *walk);
/* The core's struct, which is zeroed, or still so but for members without a row. */
void wire_walk_fill(const struct wire_walk *walk, const struct wire_table *table, void *core);

/* The name of a field; NULL: there is none such. */
const char *wire_walk_differ(const struct wire_table *table, const void *a, const void *b);
const char *wire_walk_beyond(const struct wire_table *table, const void *core);

#endif

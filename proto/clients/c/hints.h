/* SPDX-License-Identifier: MIT */
/*
 * Who leads which keys, as nodes last told: a bounded cache. A wrong hint costs one hop and nothing
 * else, since the node that is asked forwards.
 */
#ifndef CHORD_HINTS_H
#define CHORD_HINTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ids.h"

enum { HINTS_MAX = 4096, HINTS_ADDRESS_SIZE = 64 };

struct hint {
    struct ring_id lo; /* the keys in (lo, hi] */
    struct ring_id hi;
    uint64_t epoch;
    char address[HINTS_ADDRESS_SIZE]; /* empty: forgotten */
    uint64_t seen_epoch;              /* the newest version heard from the range */
    uint64_t seen_counter;
};

struct hints;

struct hints *hints_new(void); /* NULL = no memory */
void hints_free(struct hints *hints);
/* A newer word replaces what overlaps it, but not what has a higher epoch. */
void hints_put(struct hints *hints, const struct ring_id *lo, const struct ring_id *hi,
               uint64_t epoch, const char *address);
bool hints_find(struct hints *hints, const struct ring_id *id, struct hint *hint);
void hints_seen(struct hints *hints, const struct ring_id *id, uint64_t epoch, uint64_t counter);
void hints_clear(struct hints *hints);
/* Nobody leads its ranges, as far as is known; what was seen of them stays true. */
void hints_forget_address(struct hints *hints, const char *address);

#endif

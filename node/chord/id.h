/* SPDX-License-Identifier: MIT */
/*
 * Identifiers: integers of M bits on a circle (Stoica et al. 2001, section 4.2).
 *
 * An id is a big-endian integer below 2^M in 20 bytes. A hash is all 160 bits of SHA-1; its id is
 * its top M bits, so the hashes of an interval of ids are themselves an interval.
 */
#ifndef CHORD_ID_H
#define CHORD_ID_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum {
    CHORD_ID_BYTES = 20,
    CHORD_M_MIN = 3,
    CHORD_M_MAX = 160,
};

struct chord_id {
    uint8_t bytes[CHORD_ID_BYTES];
};

static inline uint32_t id_word(const struct chord_id *id, unsigned at) {
    return (uint32_t)id->bytes[at] << 24 | (uint32_t)id->bytes[at + 1] << 16 |
           (uint32_t)id->bytes[at + 2] << 8 | id->bytes[at + 3];
}

/* <0, 0, >0. Word by word: this is what a step does most often. */
static inline int id_compare(const struct chord_id *a, const struct chord_id *b) {
    for (unsigned at = 0; at < CHORD_ID_BYTES; at += 4) {
        uint32_t x = id_word(a, at), y = id_word(b, at);
        if (x != y) {
            return x < y ? -1 : 1;
        }
    }
    return 0;
}

static inline bool id_equal(const struct chord_id *a, const struct chord_id *b) {
    return memcmp(a->bytes, b->bytes, CHORD_ID_BYTES) == 0;
}

/* x in (a, b), clockwise; a == b is the whole circle without a. */
bool id_in_open(const struct chord_id *a, const struct chord_id *x, const struct chord_id *b);
/* x in (a, b], clockwise; a == b is the whole circle. */
bool id_in_half_open(const struct chord_id *a, const struct chord_id *x, const struct chord_id *b);

/* id + 2^exponent mod 2^m; exponent in 0..m-1: the start of finger `exponent`. */
struct chord_id id_add_power(const struct chord_id *id, unsigned exponent, unsigned m);
/* id + distance mod 2^m. */
struct chord_id id_add(const struct chord_id *id, const struct chord_id *distance, unsigned m);
/* to - from mod 2^m: the clockwise distance. */
struct chord_id id_distance(const struct chord_id *from, const struct chord_id *to, unsigned m);
/* The id half way from a clockwise to b; a == b: opposite of a. */
struct chord_id id_middle(const struct chord_id *a, const struct chord_id *b, unsigned m);

/* The top m bits of a 160-bit hash. */
struct chord_id id_from_hash(const uint8_t hash[CHORD_ID_BYTES], unsigned m);
/* The largest hash whose id is `id`. */
void id_last_hash(const struct chord_id *id, unsigned m, uint8_t hash[CHORD_ID_BYTES]);

/* Whether the value is below 2^m. */
bool id_valid(const struct chord_id *id, unsigned m);

#endif

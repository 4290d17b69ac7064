/* SPDX-License-Identifier: MIT */
/*
 * Ring ids as clients need them: read from the wire, shown as hex, compared on the circle.
 * It decides nothing about routing; nodes do.
 */
#ifndef CHORD_IDS_H
#define CHORD_IDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    ID_BYTES = 20,    /* 160 bits */
    ID_HEX_SIZE = 41, /* digits and the end */
    ID_BITS_MIN = 3,
    ID_BITS_MAX = 160,
};

/* A big-endian integer, right-aligned, so that memcmp orders ids. */
struct ring_id {
    uint8_t bytes[ID_BYTES];
};

/* From ceil(M/8) big-endian bytes; more than 20 bytes: false. */
bool id_from_wire(struct ring_id *id, const uint8_t *data, size_t size);
/* Writes ceil(m/8) bytes and returns that number. */
size_t id_to_wire(const struct ring_id *id, unsigned m, uint8_t out[ID_BYTES]);
/* The top m bits of a SHA-1. */
void id_from_hash(struct ring_id *id, const uint8_t hash[ID_BYTES], unsigned m);
/* Lower-case hex of ceil(m/4) digits. */
void id_to_hex(const struct ring_id *id, unsigned m, char out[ID_HEX_SIZE]);
/* Exactly ceil(m/4) hex digits. */
bool id_from_hex(struct ring_id *id, unsigned m, const char *text);
/* 0..15; -1: none, of either case. */
int hex_digit(char c);
int id_compare(const struct ring_id *a, const struct ring_id *b);
/* x in (lo, hi] clockwise; lo == hi is the whole ring. */
bool id_in_range(const struct ring_id *x, const struct ring_id *lo, const struct ring_id *hi);
/* x + 1 mod 2^m; true when it wrapped to 0. */
bool id_increment(struct ring_id *id, unsigned m);
/* The last hash whose top m bits are this id. */
void id_last_hash(const struct ring_id *id, unsigned m, uint8_t hash[ID_BYTES]);
/* The greatest id of m bits. */
void id_max(struct ring_id *id, unsigned m);
/* SHA-1 of a key; false when the library fails. Thread safe. */
bool id_hash_key(const void *key, size_t size, uint8_t hash[ID_BYTES]);

#endif

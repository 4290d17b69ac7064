/* SPDX-License-Identifier: MIT */
/*
 * A store in memory for core_host: rows in the order of their hashes, views, identity. It keeps
 * the rules of node/store/store.h that the core relies on: the newer version wins, a page never
 * splits a hash, a digest does not depend on the order of writing.
 */
#ifndef CORE_STORE_H
#define CORE_STORE_H

#include "chord.h"

enum { CORE_TEXT_BYTES = 24 };

struct core_row {
    uint8_t hash[CHORD_ID_BYTES];
    char key[CORE_TEXT_BYTES];
    char value[CORE_TEXT_BYTES];
    uint64_t epoch, counter; /* counter and epoch 0: not found */
    bool tombstone;
    bool existed; /* its writer was told: the key had a value before */
    bool bad;     /* the disk has changed it */
    uint64_t expires_at_ms, op_id;
};

struct core_store {
    uint8_t store_id[CHORD_STORE_ID_BYTES];
    struct chord_identity identity;
    uint16_t former_count; /* where it has run, the newest first */
    struct chord_address former[CHORD_FORMER_MAX];
    struct chord_stored_view *views;
    uint16_t views_count;
    struct core_row *rows;
    size_t rows_count, rows_room;
};

/* 160 bits of a text, mixed by splitmix64: like SHA-1 for placing, faster, and of no use else. */
void core_hash(const char *text, uint8_t hash[CHORD_ID_BYTES]);

void core_store_clear(struct core_store *store); /* frees the rows and views too */
void core_store_copy(struct core_store *to, const struct core_store *from);
/* It runs at that address from now on. */
void core_store_runs_at(struct core_store *store, const char *address);
/* NULL: no row. */
const struct core_row *core_store_find(const struct core_store *store, const char *key);
/* Keeps the newer one. True: the key had a value before. */
bool core_store_write(struct core_store *store, const struct core_row *row);
/* The next rows of (lo, hi] after a hash, at most about `rows_max`; free(*page). */
size_t core_store_page(const struct core_store *store, const struct chord_range *range, unsigned m,
                       const uint8_t *after, size_t rows_max, struct core_row **page, bool *done);
uint64_t core_store_digest(const struct core_store *store, const struct chord_range *range,
                           unsigned m, uint8_t digest[CHORD_DIGEST_BYTES]);
/* Drops the rows older than the epoch with a hash after `after` (NULL: from lo) up to `last`
 * (NULL: to hi), clockwise. */
void core_store_equal(struct core_store *store, const struct chord_range *range, unsigned m,
                      uint64_t epoch, const uint8_t *after, const uint8_t *last);
size_t core_store_tombstones(const struct core_store *store, const struct chord_range *range,
                             unsigned m);
/* Drops the tombstones of a range with an earlier epoch. */
void core_store_forget(struct core_store *store, const struct chord_range *range, unsigned m,
                       uint64_t epoch);
void core_store_drop(struct core_store *store, const struct chord_range *range, unsigned m);

#endif

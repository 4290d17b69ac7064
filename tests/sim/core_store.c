/* SPDX-License-Identifier: MIT */
/*
 * See core_store.h. Knows rows and ranges, nothing of nodes.
 */
#include "core_store.h"

#include "assert.h"
#include "operations.h"

#include <stdlib.h>
#include <string.h>

static uint64_t mix(uint64_t z) {
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

void core_hash(const char *text, uint8_t hash[CHORD_ID_BYTES]) {
    uint64_t sum = 0x9e3779b97f4a7c15u;
    for (; *text != '\0'; text++) {
        sum = mix(sum ^ (uint8_t)*text) + 0x9e3779b97f4a7c15u;
    }
    for (unsigned i = 0; i < CHORD_ID_BYTES; i++) {
        hash[i] = (uint8_t)(mix(sum + i / 8) >> i % 8 * 8);
    }
}

void core_store_clear(struct core_store *store) {
    free(store->rows);
    free(store->views);
    memset(store, 0, sizeof *store);
}

static void *copied(const void *from, size_t bytes) {
    void *to = malloc(bytes + 1);
    CHORD_ASSERT(to != NULL);
    if (bytes > 0) {
        memcpy(to, from, bytes);
    }
    return to;
}

void core_store_copy(struct core_store *to, const struct core_store *from) {
    core_store_clear(to);
    *to = *from;
    to->rows = copied(from->rows, sizeof *from->rows * from->rows_count);
    to->rows_room = from->rows_count;
    to->views = copied(from->views, sizeof *from->views * from->views_count);
}

void core_store_runs_at(struct core_store *store, const char *address) {
    uint16_t at = 0;
    while (at < store->former_count && strcmp(store->former[at].text, address) != 0) {
        at++;
    }
    if (at == store->former_count && at < CHORD_FORMER_MAX) {
        store->former_count++;
    }
    at = at < CHORD_FORMER_MAX ? at : CHORD_FORMER_MAX - 1;
    memmove(&store->former[1], &store->former[0], sizeof store->former[0] * at);
    memset(&store->former[0], 0, sizeof store->former[0]);
    strncpy(store->former[0].text, address, CHORD_ADDRESS_BYTES - 1);
}

static int row_order(const struct core_row *row, const uint8_t *hash, const char *key) {
    int order = memcmp(row->hash, hash, CHORD_ID_BYTES);
    return order != 0 ? order : strcmp(row->key, key);
}

/* The first row not before (hash, key). */
static size_t lower(const struct core_store *store, const uint8_t *hash, const char *key) {
    size_t low = 0, high = store->rows_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (row_order(&store->rows[middle], hash, key) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

const struct core_row *core_store_find(const struct core_store *store, const char *key) {
    uint8_t hash[CHORD_ID_BYTES];
    core_hash(key, hash);
    size_t at = lower(store, hash, key);
    return at < store->rows_count && row_order(&store->rows[at], hash, key) == 0 ? &store->rows[at]
                                                                                 : NULL;
}

static struct row_version version_of(const struct core_row *row) {
    return (struct row_version){row->epoch, row->counter};
}

bool core_store_write(struct core_store *store, const struct core_row *row) {
    size_t at = lower(store, row->hash, row->key);
    struct core_row *old = at < store->rows_count ? &store->rows[at] : NULL;
    if (old != NULL && row_order(old, row->hash, row->key) == 0) {
        bool existed = !old->tombstone;
        if (row_replaces(version_of(row), version_of(old), old->bad)) {
            *old = *row;
        }
        return existed;
    }
    if (store->rows_count == store->rows_room) {
        store->rows_room = store->rows_room * 2 + 16;
        store->rows = realloc(store->rows, sizeof *store->rows * store->rows_room);
        if (store->rows == NULL) {
            abort();
        }
    }
    memmove(&store->rows[at + 1], &store->rows[at], sizeof *row * (store->rows_count - at));
    store->rows[at] = *row;
    store->rows_count++;
    return false;
}

static bool row_in(const struct core_row *row, const struct chord_range *range, unsigned m) {
    struct chord_id id = id_from_hash(row->hash, m);
    return id_in_half_open(&range->lo, &id, &range->hi);
}

/* Rows come clockwise from lo, so that a cursor can go on where the last page ended. */
size_t core_store_page(const struct core_store *store, const struct chord_range *range, unsigned m,
                       const uint8_t *after, size_t rows_max, struct core_row **page, bool *done) {
    uint8_t from[CHORD_ID_BYTES], first[CHORD_ID_BYTES];
    id_last_hash(&range->lo, m, first);
    memcpy(from, after != NULL ? after : first, CHORD_ID_BYTES);
    size_t start = 0, count = 0;
    while (start < store->rows_count &&
           memcmp(store->rows[start].hash, from, CHORD_ID_BYTES) <= 0) {
        start++;
    }
    *page = calloc(store->rows_count + 1, sizeof **page);
    *done = true;
    if (*page == NULL) {
        abort();
    }
    struct chord_id begin, resume;
    memcpy(begin.bytes, first, CHORD_ID_BYTES);
    memcpy(resume.bytes, from, CHORD_ID_BYTES);
    for (size_t i = 0; i < store->rows_count; i++) {
        const struct core_row *row = &store->rows[(start + i) % store->rows_count];
        struct chord_id hash;
        memcpy(hash.bytes, row->hash, CHORD_ID_BYTES);
        bool passed = after != NULL && id_in_half_open(&begin, &hash, &resume);
        if (passed || !row_in(row, range, m)) {
            continue;
        }
        if (count >= rows_max && memcmp((*page)[count - 1].hash, row->hash, CHORD_ID_BYTES) != 0) {
            *done = false;
            break;
        }
        (*page)[count++] = *row;
    }
    return count;
}

uint64_t core_store_digest(const struct core_store *store, const struct chord_range *range,
                           unsigned m, uint8_t digest[CHORD_DIGEST_BYTES]) {
    uint64_t sums[2] = {0, 0}, count = 0;
    for (size_t i = 0; i < store->rows_count; i++) {
        const struct core_row *row = &store->rows[i];
        if (row_in(row, range, m)) {
            uint64_t sum;
            memcpy(&sum, row->hash, sizeof sum);
            sum = mix(mix(mix(sum) ^ row->epoch) ^ row->counter) ^ (uint64_t)row->tombstone ^
                  (uint64_t)row->bad << 1;
            sums[0] += mix(sum);
            sums[1] += mix(sum + 1);
            count++;
        }
    }
    memcpy(digest, sums, CHORD_DIGEST_BYTES);
    return count;
}

size_t core_store_tombstones(const struct core_store *store, const struct chord_range *range,
                             unsigned m) {
    size_t count = 0;
    for (size_t i = 0; i < store->rows_count; i++) {
        count += store->rows[i].tombstone && row_in(&store->rows[i], range, m);
    }
    return count;
}

void core_store_forget(struct core_store *store, const struct chord_range *range, unsigned m,
                       uint64_t epoch) {
    size_t kept = 0;
    for (size_t i = 0; i < store->rows_count; i++) {
        const struct core_row *row = &store->rows[i];
        if (!row_forgotten(version_of(row), row->tombstone && !row->bad, epoch) ||
            !row_in(row, range, m)) {
            store->rows[kept++] = *row;
        }
    }
    store->rows_count = kept;
}

void core_store_drop(struct core_store *store, const struct chord_range *range, unsigned m) {
    size_t kept = 0;
    for (size_t i = 0; i < store->rows_count; i++) {
        if (!row_in(&store->rows[i], range, m)) {
            store->rows[kept++] = store->rows[i];
        }
    }
    store->rows_count = kept;
}

void core_store_equal(struct core_store *store, const struct chord_range *range, unsigned m,
                      uint64_t epoch, const uint8_t *after, const uint8_t *last) {
    struct chord_id from, to;
    id_last_hash(&range->lo, m, from.bytes);
    id_last_hash(&range->hi, m, to.bytes);
    if (after != NULL) {
        memcpy(from.bytes, after, CHORD_ID_BYTES);
    }
    if (last != NULL) {
        memcpy(to.bytes, last, CHORD_ID_BYTES);
    }
    bool nothing = after != NULL && id_equal(&from, &to);
    size_t kept = 0;
    for (size_t i = 0; i < store->rows_count; i++) {
        struct chord_id hash;
        memcpy(hash.bytes, store->rows[i].hash, CHORD_ID_BYTES);
        if (nothing || !row_in(&store->rows[i], range, m) ||
            !row_gives_way(version_of(&store->rows[i]), store->rows[i].bad, epoch) ||
            !id_in_half_open(&from, &hash, &to)) {
            store->rows[kept++] = store->rows[i];
        }
    }
    store->rows_count = kept;
}

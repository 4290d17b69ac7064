/* SPDX-License-Identifier: MIT */
/*
 * The keys that this leader is writing: one write in flight per key. A bounded hash set whose
 * entries are also chained per batch, so that a batch's end frees them all. A released key is
 * handed to the batch that has waited longest: neither a later arrival nor a place in a table
 * decides which batch writes next.
 */
#include "data.h"

static uint32_t bucket_of(struct chord *chord, const uint8_t *hash) {
    uint32_t value = (uint32_t)hash[16] << 24 | (uint32_t)hash[17] << 16 | (uint32_t)hash[18] << 8 |
                     (uint32_t)hash[19];
    return value & (chord->buckets_count - 1);
}

void keys_init(struct chord *chord) {
    chord->keys_free = KEYS_NONE;
    for (uint32_t i = 0; i < chord->buckets_count; i++) {
        *bucket_at(chord, i) = KEYS_NONE;
    }
}

static struct key_entry *find(struct chord *chord, const uint8_t *hash) {
    uint32_t at = *bucket_at(chord, bucket_of(chord, hash));
    while (at != KEYS_NONE) {
        struct key_entry *entry = key_at(chord, at);
        if (memcmp(entry->hash, hash, CHORD_ID_BYTES) == 0) {
            return entry;
        }
        at = entry->next_bucket;
    }
    return NULL;
}

uint16_t keys_holder(struct chord *chord, const uint8_t *hash) {
    struct key_entry *entry = find(chord, hash);
    return entry != NULL ? entry->batch : NONE;
}

void keys_want(struct chord *chord, const uint8_t *hash, uint16_t batch) {
    struct key_entry *entry = find(chord, hash);
    CHORD_ASSERT(entry != NULL && entry->batch != batch);
    entry->wanted = true;
    batch_at(chord, batch)->wants = true;
    memcpy(batch_at(chord, batch)->wanted, hash, CHORD_ID_BYTES);
}

/* False: no room. */
bool keys_take(struct chord *chord, const uint8_t *hash, uint16_t batch) {
    uint32_t at = chord->keys_free;
    if (at != KEYS_NONE) {
        chord->keys_free = key_at(chord, at)->next_bucket;
    } else if (chord->keys_used < chord->config.limits.keys_in_flight_max) {
        at = chord->keys_used++; /* never used before: its memory is touched only now */
    } else {
        return false;
    }
    struct key_entry *entry = key_at(chord, at);
    uint32_t *bucket = bucket_at(chord, bucket_of(chord, hash));
    memcpy(entry->hash, hash, CHORD_ID_BYTES);
    entry->batch = batch;
    entry->wanted = false;
    entry->next_bucket = *bucket;
    *bucket = at;
    entry->next_batch = batch_at(chord, batch)->keys_head;
    batch_at(chord, batch)->keys_head = at;
    chord->keys_taken++;
    return true;
}

/* node/chord/README.md: Writers of one key. Hands the key to the batch that waits longest for it.
 * False: no batch waits. */
static bool hand_over(struct chord *chord, uint32_t at) {
    struct key_entry *entry = key_at(chord, at);
    uint16_t first = NONE;
    unsigned waiting = 0;
    for (uint16_t i = 0; entry->wanted && i < chord->config.limits.batches_max; i++) {
        const struct batch *batch = batch_at(chord, i);
        if (batch->state == BATCH_WAITING && batch->wants &&
            memcmp(batch->wanted, entry->hash, CHORD_ID_BYTES) == 0) {
            waiting++;
            if (first == NONE || batch->arrival < batch_at(chord, first)->arrival) {
                first = i;
            }
        }
    }
    if (first == NONE) {
        return false;
    }
    struct batch *batch = batch_at(chord, first);
    CHORD_ASSERT(batch->keys_head == KEYS_NONE);
    entry->batch = first;
    entry->wanted = waiting > 1;
    entry->next_batch = KEYS_NONE;
    batch->keys_head = at;
    batch->wants = false;
    batch->retry_ms = chord->now_ms;
    batch_due(chord, chord->now_ms);
    return true;
}

void keys_release(struct chord *chord, uint16_t batch) {
    uint32_t at = batch_at(chord, batch)->keys_head;
    batch_at(chord, batch)->keys_head = KEYS_NONE;
    while (at != KEYS_NONE) {
        struct key_entry *entry = key_at(chord, at);
        uint32_t next = entry->next_batch;
        if (!hand_over(chord, at)) {
            uint32_t *link = bucket_at(chord, bucket_of(chord, entry->hash));
            while (*link != at) {
                CHORD_ASSERT(*link != KEYS_NONE);
                link = &key_at(chord, *link)->next_bucket;
            }
            *link = entry->next_bucket;
            entry->next_bucket = chord->keys_free;
            chord->keys_free = at;
            chord->keys_taken--;
        }
        at = next;
    }
}

/*
 * The keys that this leader is writing: one write in flight per key. A bounded hash set whose
 * entries are also chained per batch, so that a batch's end frees them all.
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

bool keys_in_flight(struct chord *chord, const uint8_t *hash) {
    uint32_t at = *bucket_at(chord, bucket_of(chord, hash));
    while (at != KEYS_NONE) {
        struct key_entry *entry = key_at(chord, at);
        if (memcmp(entry->hash, hash, CHORD_ID_BYTES) == 0) {
            return true;
        }
        at = entry->next_bucket;
    }
    return false;
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
    entry->next_bucket = *bucket;
    *bucket = at;
    entry->next_batch = batch_at(chord, batch)->keys_head;
    batch_at(chord, batch)->keys_head = at;
    chord->keys_taken++;
    return true;
}

void keys_release(struct chord *chord, uint16_t batch) {
    uint32_t at = batch_at(chord, batch)->keys_head;
    batch_at(chord, batch)->keys_head = KEYS_NONE;
    while (at != KEYS_NONE) {
        struct key_entry *entry = key_at(chord, at);
        uint32_t *link = bucket_at(chord, bucket_of(chord, entry->hash));
        while (*link != at) {
            CHORD_ASSERT(*link != KEYS_NONE);
            link = &key_at(chord, *link)->next_bucket;
        }
        uint32_t next = entry->next_batch;
        *link = entry->next_bucket;
        entry->next_bucket = chord->keys_free;
        chord->keys_free = at;
        chord->keys_taken--;
        at = next;
    }
}

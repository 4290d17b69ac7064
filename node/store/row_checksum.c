/* SPDX-License-Identifier: MIT */
/* See row_checksum.h. */
#include "row_checksum.h"

#include "xxh3.h"

#include <string.h>

/* The words of a digest are in the memory's byte order, and nodes compare them. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "little-endian machines only");

static uint8_t *put_u64(uint8_t *to, uint64_t number) {
    for (unsigned i = 0; i < 8; i++) {
        to[i] = (uint8_t)(number >> (8 * i));
    }
    return to + 8;
}

int64_t row_checksum(const struct row_columns *row) {
    const struct {
        const void *bytes;
        size_t count;
    } parts[] = {{row->hash, row->hash_bytes},
                 {row->key, row->key_bytes},
                 {row->op_id, row->op_id_bytes},
                 {row->value, row->value_bytes}};
    const int64_t numbers[] = {row->epoch, row->counter, row->kind, row->expires_at_ms,
                               row->existed};
    enum { PARTS = sizeof parts / sizeof parts[0], NUMBERS = sizeof numbers / sizeof numbers[0] };
    uint8_t head[8 * (PARTS + NUMBERS)], *end = head;
    XXH3_state_t state;
    for (unsigned i = 0; i < PARTS; i++) {
        end = put_u64(end, parts[i].count);
    }
    for (unsigned i = 0; i < NUMBERS; i++) {
        end = put_u64(end, (uint64_t)numbers[i]);
    }
    XXH3_64bits_reset(&state);
    XXH3_64bits_update(&state, head, sizeof head);
    for (unsigned i = 0; i < PARTS; i++) {
        if (parts[i].count > 0) {
            XXH3_64bits_update(&state, parts[i].bytes, parts[i].count);
        }
    }
    return (int64_t)XXH3_64bits_digest(&state);
}

uint64_t checksum_mix(uint64_t z) {
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

uint64_t checksum_bytes(uint64_t seed, const uint8_t *bytes, size_t count) {
    uint64_t hash = checksum_mix(seed ^ count);
    while (count >= 8) {
        uint64_t word;
        memcpy(&word, bytes, 8);
        hash = checksum_mix(hash ^ word) + 0x9e3779b97f4a7c15u;
        bytes += 8;
        count -= 8;
    }
    uint64_t word = 0;
    if (count > 0) {
        memcpy(&word, bytes, count); /* an empty value may be a null pointer */
    }
    return checksum_mix(hash ^ word);
}

int64_t row_checksum_6(const struct row_columns *row) {
    uint64_t sum = checksum_bytes(1, row->key, row->key_bytes);
    sum = checksum_bytes(sum, row->value, row->value_bytes);
    uint64_t kind = (uint64_t)row->kind | (uint64_t)(row->existed != 0) << 32;
    uint64_t rest[4] = {(uint64_t)row->epoch, (uint64_t)row->counter, kind,
                        (uint64_t)row->expires_at_ms};
    return (int64_t)checksum_bytes(sum, (const uint8_t *)rest, sizeof rest);
}

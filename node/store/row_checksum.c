/* The checksum of a row: see row_checksum.h. */
#include "row_checksum.h"

#include <string.h>

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

int64_t row_checksum(const struct store_row *row) {
    uint64_t sum = checksum_bytes(1, row->key, row->key_bytes);
    sum = checksum_bytes(sum, row->value, row->value_bytes);
    uint64_t kind = (uint64_t)row->kind | (uint64_t)row->existed << 32; /* 0 in older files */
    uint64_t rest[4] = {row->epoch, row->counter, kind, row->expires_at_ms};
    sum = checksum_bytes(sum, (const uint8_t *)rest, sizeof rest);
    return (int64_t)sum;
}

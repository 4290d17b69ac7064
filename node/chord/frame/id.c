/* SPDX-License-Identifier: MIT */
/*
 * Arithmetic on the identifier circle. Knows nothing but bytes.
 */
#include "id.h"

#include "assert.h"

bool id_in_open(const struct chord_id *a, const struct chord_id *x, const struct chord_id *b) {
    int a_b = id_compare(a, b);
    if (a_b == 0) {
        return id_compare(a, x) != 0;
    }
    return a_b < 0 ? id_compare(a, x) < 0 && id_compare(x, b) < 0
                   : id_compare(a, x) < 0 || id_compare(x, b) < 0;
}

bool id_in_half_open(const struct chord_id *a, const struct chord_id *x, const struct chord_id *b) {
    return id_equal(x, b) || id_in_open(a, x, b);
}

/* Clears the bits from 2^m upwards. */
static void cut(struct chord_id *id, unsigned m) {
    unsigned bits_unused = CHORD_M_MAX - m;
    for (unsigned i = 0; i < bits_unused / 8; i++) {
        id->bytes[i] = 0;
    }
    if (bits_unused % 8 != 0) {
        id->bytes[bits_unused / 8] &= (uint8_t)(0xff >> bits_unused % 8);
    }
}

struct chord_id id_add_power(const struct chord_id *id, unsigned exponent, unsigned m) {
    CHORD_ASSERT(m >= 1 && m <= CHORD_M_MAX);
    CHORD_ASSERT(exponent < m);
    struct chord_id sum = *id;
    unsigned carry = 1u << exponent % 8;
    for (int i = CHORD_ID_BYTES - 1 - (int)(exponent / 8); i >= 0 && carry != 0; i--) {
        carry += sum.bytes[i];
        sum.bytes[i] = (uint8_t)carry;
        carry >>= 8;
    }
    cut(&sum, m);
    return sum;
}

struct chord_id id_distance(const struct chord_id *from, const struct chord_id *to, unsigned m) {
    struct chord_id distance;
    int borrow = 0;
    for (int i = CHORD_ID_BYTES - 1; i >= 0; i--) {
        int difference = to->bytes[i] - from->bytes[i] - borrow;
        borrow = difference < 0;
        distance.bytes[i] = (uint8_t)difference;
    }
    cut(&distance, m);
    return distance;
}

struct chord_id id_add(const struct chord_id *id, const struct chord_id *distance, unsigned m) {
    struct chord_id sum;
    unsigned carry = 0;
    for (int i = CHORD_ID_BYTES - 1; i >= 0; i--) {
        carry += (unsigned)id->bytes[i] + distance->bytes[i];
        sum.bytes[i] = (uint8_t)carry;
        carry >>= 8;
    }
    cut(&sum, m);
    return sum;
}

/* Half of 2^m when `id` is 0 (the whole circle), else id / 2. */
static struct chord_id half(const struct chord_id *id, unsigned m) {
    struct chord_id result = {{0}};
    unsigned carry = 0;
    bool zero = true;
    for (int i = 0; i < CHORD_ID_BYTES; i++) {
        zero = zero && id->bytes[i] == 0;
        result.bytes[i] = (uint8_t)(carry | id->bytes[i] >> 1);
        carry = (unsigned)(id->bytes[i] & 1) << 7;
    }
    return zero ? id_add_power(&result, m - 1, m) : result;
}

struct chord_id id_middle(const struct chord_id *a, const struct chord_id *b, unsigned m) {
    struct chord_id distance = id_distance(a, b, m);
    struct chord_id step = half(&distance, m);
    return id_add(a, &step, m);
}

struct chord_id id_from_hash(const uint8_t hash[CHORD_ID_BYTES], unsigned m) {
    CHORD_ASSERT(m >= 1 && m <= CHORD_M_MAX);
    unsigned shift = CHORD_M_MAX - m;
    unsigned bytes = shift / 8;
    unsigned bits = shift % 8;
    struct chord_id id = {{0}};
    for (unsigned i = bytes; i < CHORD_ID_BYTES; i++) {
        unsigned from = i - bytes;
        unsigned value = (unsigned)hash[from] >> bits;
        if (from > 0) {
            value |= (unsigned)hash[from - 1] << (8 - bits);
        }
        id.bytes[i] = (uint8_t)value;
    }
    return id;
}

void id_last_hash(const struct chord_id *id, unsigned m, uint8_t hash[CHORD_ID_BYTES]) {
    unsigned shift = CHORD_M_MAX - m;
    unsigned bytes = shift / 8;
    unsigned bits = shift % 8;
    for (unsigned i = 0; i < CHORD_ID_BYTES; i++) {
        unsigned from = i + bytes;
        unsigned value = from < CHORD_ID_BYTES ? (unsigned)id->bytes[from] << bits : 0xffu;
        if (from + 1 < CHORD_ID_BYTES) {
            value |= (unsigned)id->bytes[from + 1] >> (8 - bits);
        } else if (from + 1 == CHORD_ID_BYTES) {
            value |= (1u << bits) - 1;
        }
        hash[i] = (uint8_t)value;
    }
}

bool id_valid(const struct chord_id *id, unsigned m) {
    struct chord_id copy = *id;
    cut(&copy, m);
    return id_equal(&copy, id);
}

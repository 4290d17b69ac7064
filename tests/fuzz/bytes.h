/* SPDX-License-Identifier: MIT */
/*
 * The fuzzer's bytes, read from the front; when they are used up, zeroes come. So that an input
 * keeps its meaning when one of its bytes changes, every choice takes a fixed number of bytes.
 */
#ifndef FUZZ_BYTES_H
#define FUZZ_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bytes {
    const uint8_t *data;
    size_t size;
};

static inline uint8_t take(struct bytes *bytes) {
    if (bytes->size == 0) {
        return 0;
    }
    bytes->size--;
    return *bytes->data++;
}

/* 0..below-1 */
static inline unsigned take_below(struct bytes *bytes, unsigned below) {
    return take(bytes) % below;
}

/* Mostly small, sometimes at the bounds of its type. */
static inline uint64_t take_number(struct bytes *bytes) {
    uint8_t byte = take(bytes);
    return byte < 250   ? byte
           : byte < 253 ? (uint64_t)1 << (byte - 220)
                        : UINT64_MAX - (byte - 253u);
}

#endif

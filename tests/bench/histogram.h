/* SPDX-License-Identifier: MIT */
/*
 * A histogram of times whose buckets are linear within each power of two, so that a value is kept
 * to 1.6 % of itself whatever its size. Knows nothing but numbers.
 */
#ifndef BENCH_HISTOGRAM_H
#define BENCH_HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>

enum {
    HISTOGRAM_STEP_BITS = 6, /* 64 buckets to a power of two */
    HISTOGRAM_VALUE_BITS = 40,
    HISTOGRAM_BUCKETS = (HISTOGRAM_VALUE_BITS - HISTOGRAM_STEP_BITS + 1) << HISTOGRAM_STEP_BITS,
};

/* All zero: empty. */
struct histogram {
    uint64_t count, sum, max;
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

/* What is above 2^40 - 1 (18 minutes in nanoseconds) counts as that. */
void histogram_add(struct histogram *histogram, uint64_t value);
/* The least value that `share` (0 to 1) of all values do not exceed, rounded up to the end of its
 * bucket; 0 when empty. */
uint64_t histogram_quantile(const struct histogram *histogram, double share);

#endif

/* SPDX-License-Identifier: MIT */
#include "histogram.h"

static const uint64_t value_max = ((uint64_t)1 << HISTOGRAM_VALUE_BITS) - 1;

/* By how many bits the values of a bucket are cut. */
static unsigned cut_of(uint64_t value) {
    unsigned bits = value == 0 ? 0 : 64 - (unsigned)__builtin_clzll(value);
    return bits > HISTOGRAM_STEP_BITS + 1 ? bits - HISTOGRAM_STEP_BITS - 1 : 0;
}

static size_t bucket_of(uint64_t value) {
    unsigned cut = cut_of(value);
    return ((size_t)cut << HISTOGRAM_STEP_BITS) + (size_t)(value >> cut);
}

static uint64_t bucket_end(size_t bucket) {
    size_t power = bucket >> HISTOGRAM_STEP_BITS;
    unsigned cut = power > 1 ? (unsigned)power - 1 : 0;
    uint64_t first = bucket - ((size_t)cut << HISTOGRAM_STEP_BITS);
    return ((first + 1) << cut) - 1;
}

void histogram_add(struct histogram *histogram, uint64_t value) {
    value = value < value_max ? value : value_max;
    histogram->buckets[bucket_of(value)]++;
    histogram->count++;
    histogram->sum += value;
    histogram->max = value > histogram->max ? value : histogram->max;
}

uint64_t histogram_quantile(const struct histogram *histogram, double share) {
    double wanted = share * (double)histogram->count;
    uint64_t seen = 0;
    for (size_t bucket = 0; bucket < HISTOGRAM_BUCKETS; bucket++) {
        seen += histogram->buckets[bucket];
        if (seen > 0 && (double)seen >= wanted) {
            uint64_t end = bucket_end(bucket);
            return end < histogram->max ? end : histogram->max;
        }
    }
    return histogram->max;
}

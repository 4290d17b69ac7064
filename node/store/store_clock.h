/* SPDX-License-Identifier: MIT */
/* Time for the store's slices of work. */
#ifndef NODE_STORE_CLOCK_H
#define NODE_STORE_CLOCK_H

#include <stdint.h>
#include <time.h>

/* Monotonic. */
static inline uint64_t store_now_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

#endif

/* SPDX-License-Identifier: MIT */
/*
 * What all tests on core_host share: each runs once per seed, and a failure prints the ring and how
 * to replay it. CHORD_TEST_SEED=n CHORD_TEST_RUNS=k runs the k seeds from n on, CHORD_TEST_NAME
 * chooses tests, CHORD_TEST_TRACE=1 tells all.
 */
#ifndef CORE_SEEDS_H
#define CORE_SEEDS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core_host.h"

extern uint64_t seed_first, seed_now;
extern unsigned seeds_count;
extern struct host *current; /* freed also when a test fails */
extern const char *test_program;

#define FOR_SEEDS for (seed_now = seed_first; seed_now < seed_first + seeds_count; seed_now++)

#define check(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            if (current != NULL) {                                                                 \
                host_print(current);                                                               \
            }                                                                                      \
            fail_msg("%s; replay: CHORD_TEST_SEED=%llu CHORD_TEST_RUNS=1 %s", #condition,          \
                     (unsigned long long)seed_now, test_program);                                  \
        }                                                                                          \
    } while (0)

/* Frees `current`. */
int teardown(void **state);
/* Of a test program's main: so many seeds unless the environment wants others. */
void seeds_choose(const char *program, unsigned count);

#endif

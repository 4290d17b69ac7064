/* SPDX-License-Identifier: MIT */
/* See core_seeds.h. */
#include "core_seeds.h"

uint64_t seed_first = 1;
unsigned seeds_count;
uint64_t seed_now;
const char *test_program = "";
struct host *current;

int teardown(void **state) {
    (void)state;
    host_free(current);
    current = NULL;
    return 0;
}

void seeds_choose(const char *program, unsigned count) {
    const char *seed = getenv("CHORD_TEST_SEED"), *runs = getenv("CHORD_TEST_RUNS");
    test_program = program;
    seed_first = seed != NULL ? strtoull(seed, NULL, 10) : seed_first;
    seeds_count = runs != NULL ? (unsigned)strtoul(runs, NULL, 10) : count;
    cmocka_set_test_filter(getenv("CHORD_TEST_NAME")); /* NULL: all */
}

/* SPDX-License-Identifier: MIT */
/*
 * The failure detector on networks that are slow, lose packets or stand still for a while, as TCP
 * shows it: late, but never lost. No living member is given up there once the stalls are known, and
 * a silent one is given up as fast as ever where the network is calm. CHORD_TEST_MINUTES=60 makes
 * the long ones last an hour of virtual time.
 */
#include "core_seeds.h"

enum { NODES = 6, ROUND_TRIP_US = 150000, LEARNING_MS = 60000, DEATHS = 16, MEDIAN = DEATHS / 2 };

static struct {
    unsigned removals;  /* of living members */
    unsigned by[NODES]; /* each node's */
    int victim;         /* first removed at `removed_us` */
    uint64_t removed_us;
} seen;

static void on_step(void *context, struct host *host, int node) {
    (void)context;
    const struct chord_actions *actions = host_actions(host);
    for (uint16_t i = 0; i < actions->traces_count; i++) {
        const struct chord_trace *trace = &actions->traces[i];
        if (trace->word == CHORD_WORD_FAILURE) {
            int other = host_by_address(host, trace->address);
            bool lives = other != HOST_NOBODY && host_node(host, other)->alive;
            seen.removals += lives;
            seen.by[node] += lives;
            if (other == seen.victim && seen.removed_us == 0) {
                seen.removed_us = host_now_us(host);
            }
        }
    }
}

static struct host *ring_new(const struct host_config *given) {
    struct host_config config = *given;
    config.seed = seed_now;
    config.m = 16;
    config.n = 3;
    config.replicas = 3;
    config.on_step = on_step;
    memset(&seen, 0, sizeof seen);
    seen.victim = HOST_NOBODY;
    struct host *host = current = host_new(&config);
    for (int i = 0; i < NODES; i++) {
        host_start(host, host_add(host));
    }
    check(host_run_until(host, host_ideal, 120000));
    seen.removals = 0;
    return host;
}

static void host_end(struct host *host) {
    host_free(host);
    current = NULL;
}

/* `ms` of a network in which each node's line stands still every 5 s: all at once for so long, or
 * each when it happens, for half of that to all of it. */
static void stand_still_for(struct host *host, uint64_t ms, bool all_at_once, uint64_t us) {
    uint64_t end_us = host_now_us(host) + ms * 1000, next_us[NODES];
    for (int i = 0; i < NODES; i++) {
        next_us[i] = host_now_us(host) + (all_at_once ? 0 : host_random(host) % 5000000);
    }
    while (host_now_us(host) < end_us) {
        for (int i = 0; i < NODES; i++) {
            if (next_us[i] <= host_now_us(host)) {
                host_stall(host, i, all_at_once ? us : us / 2 + host_random(host) % (us / 2));
                next_us[i] += 5000000;
            }
        }
        host_run(host, 10);
    }
}

static void stand_still(struct host *host, uint64_t ms, bool all_at_once) {
    stand_still_for(host, ms, all_at_once, 1000000);
}

static const struct host_config calm = {.delay_us_max = 0}; /* the default: at most 2 ms */
static const struct host_config far_away = {.delay_us_min = ROUND_TRIP_US / 2 - 1000,
                                            .delay_us_max = ROUND_TRIP_US / 2 + 1000};

static uint64_t lasts_ms(void) {
    const char *minutes = getenv("CHORD_TEST_MINUTES");
    return (minutes != NULL ? strtoull(minutes, NULL, 10) : 2) * 60000;
}

static void check_none_removed(const char *what, unsigned learning) {
    printf("%s: %u removals in the first minute, %u later\n", what, learning,
           seen.removals - learning);
    check(seen.removals == learning);
}

/* ---- late is not dead ---- */

static void stalls(const char *what, bool all_at_once) {
    FOR_SEEDS {
        struct host *host = ring_new(&far_away);
        stand_still(host, LEARNING_MS, all_at_once);
        unsigned learning = seen.removals;
        stand_still(host, lasts_ms(), all_at_once);
        check_none_removed(what, learning);
        check(host_run_until(host, host_ideal, 60000));
        host_end(host);
    }
}

static void test_stalls_of_the_network(void **state) {
    (void)state;
    stalls("stalls of the network", true);
}

static void test_stalls_of_single_lines(void **state) {
    (void)state;
    stalls("stalls of single lines", false);
}

static void test_lost_packets(void **state) {
    (void)state;
    FOR_SEEDS {
        struct host *host = ring_new(&far_away);
        host_config_of(host)->resend_percent = 5;
        host_run(host, LEARNING_MS);
        unsigned learning = seen.removals;
        host_run(host, lasts_ms());
        check_none_removed("5 % lost packets", learning);
        host_end(host);
    }
}

/* From one moment to the next, with nothing to learn from before. */
static void test_sudden_delay(void **state) {
    (void)state;
    FOR_SEEDS {
        struct host *host = ring_new(&calm);
        host_run(host, 10000);
        host_config_of(host)->delay_us_min = host_config_of(host)->delay_us_max = 250000;
        host_run(host, 60000);
        check(seen.removals == 0);
        host_end(host);
    }
}

/* ---- dead is found as soon as ever ---- */

static int by_size(const void *a, const void *b) {
    uint64_t one = *(const uint64_t *)a, other = *(const uint64_t *)b;
    return one < other ? -1 : one > other;
}

static void cut_off(struct host *host, int node, bool cut) {
    for (int other = 0; other < NODES; other++) {
        if (other != node) {
            host_cut(host, node, other, cut);
        }
    }
}

/* How long it takes until a member is given up that is there no more; its connections do not close
 * when it is `silent`. */
static uint64_t death_us(struct host *host, bool silent) {
    seen.victim = (int)(host_random(host) % NODES);
    seen.removed_us = 0;
    uint64_t began_us = host_now_us(host);
    if (silent) {
        cut_off(host, seen.victim, true);
    } else {
        host_kill(host, seen.victim);
    }
    host_run(host, 10000);
    check(seen.removed_us != 0);
    return seen.removed_us - began_us;
}

static void test_silence_on_a_calm_network(void **state) {
    (void)state;
    uint64_t took_us[DEATHS];
    seed_now = seed_first;
    for (int i = 0; i < DEATHS; i++, seed_now++) {
        struct host *host = ring_new(&calm);
        host_run(host, 10000 + host_random(host) % 1000);
        took_us[i] = death_us(host, true);
        host_end(host);
    }
    qsort(took_us, DEATHS, sizeof took_us[0], by_size);
    double median_us = (double)took_us[MEDIAN], longest_us = (double)took_us[DEATHS - 1];
    printf("silence: p50 %.3f s, longest %.3f s\n", median_us / 1e6, longest_us / 1e6);
    check(took_us[DEATHS - 1] < 1500000);
}

/* A closed connection needs no patience. */
static void test_death_after_stalls(void **state) {
    (void)state;
    FOR_SEEDS {
        struct host *host = ring_new(&far_away);
        stand_still(host, LEARNING_MS, true);
        host_run(host, 20000);
        check(death_us(host, false) < 700000);
        host_end(host);
    }
}

static void test_stalls_are_forgotten(void **state) {
    (void)state;
    FOR_SEEDS {
        struct host *host = ring_new(&far_away);
        stand_still(host, 2 * LEARNING_MS, true);
        host_run(host, 21 * 60000);
        check(death_us(host, true) < 1700000);
        host_end(host);
    }
}

/* Who waited for ever longer stalls would notice no death. */
static void test_patience_has_a_bound(void **state) {
    (void)state;
    FOR_SEEDS {
        struct host *host = ring_new(&far_away);
        for (uint64_t us = 1000000; us <= 3000000; us += 500000) {
            stand_still_for(host, LEARNING_MS, true, us);
        }
        check(host_run_until(host, host_ideal, 60000));
        host_run(host, 5000);
        check(death_us(host, true) < 3200000);
        host_end(host);
    }
}

/* A host that was off, or cut off, teaches nothing. */
static void test_an_outage_is_no_stall(void **state) {
    (void)state;
    FOR_SEEDS {
        struct host *host = ring_new(&calm);
        cut_off(host, 2, true);
        host_run(host, 30000);
        cut_off(host, 2, false);
        check(host_run_until(host, host_ideal, 60000));
        host_run(host, 10000);
        check(death_us(host, true) < 1500000);
        host_end(host);
    }
}

/* A process that was stopped itself has heard nobody, and finds all its questions too old. */
static void test_own_pause(void **state) {
    (void)state;
    FOR_SEEDS {
        struct host *host = ring_new(&calm);
        for (int node = 0; node < NODES; node++) {
            host_run(host, 10000);
            memset(seen.by, 0, sizeof seen.by);
            host_pause(host, node, 3000000);
            host_run(host, 3100);
            check(seen.by[node] == 0);
            check(host_run_until(host, host_ideal, 60000));
        }
        host_end(host);
    }
}

int main(void) {
    seeds_choose("test_core_stalls", 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_stalls_of_the_network, teardown),
        cmocka_unit_test_teardown(test_stalls_of_single_lines, teardown),
        cmocka_unit_test_teardown(test_lost_packets, teardown),
        cmocka_unit_test_teardown(test_sudden_delay, teardown),
        cmocka_unit_test_teardown(test_silence_on_a_calm_network, teardown),
        cmocka_unit_test_teardown(test_death_after_stalls, teardown),
        cmocka_unit_test_teardown(test_stalls_are_forgotten, teardown),
        cmocka_unit_test_teardown(test_patience_has_a_bound, teardown),
        cmocka_unit_test_teardown(test_an_outage_is_no_stall, teardown),
        cmocka_unit_test_teardown(test_own_pause, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * The failure detector on networks that are slow, lose packets or stand still for a while, as TCP
 * shows it: late, but never lost. No living member is given up there once the stalls are known, and
 * a silent one is given up as fast as ever where the network is calm.
 */
#include "core_seeds.h"

enum { NODES = 6, ROUND_TRIP_US = 150000, LEARNING_MS = 60000, HOUR_MS = 3600000 };

static struct {
    unsigned removals; /* of living members */
    int victim;        /* removed at `removed_us` from the list of its predecessor */
    uint64_t removed_us;
} seen;

static void on_step(void *context, struct host *host, int node) {
    (void)context;
    (void)node;
    const struct chord_actions *actions = host_actions(host);
    for (uint16_t i = 0; i < actions->traces_count; i++) {
        const struct chord_trace *trace = &actions->traces[i];
        if (trace->word == CHORD_WORD_FAILURE) {
            int other = host_by_address(host, trace->address);
            seen.removals += other != HOST_NOBODY && host_node(host, other)->alive;
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

/* `ms` of a network in which each node's line stands still for up to a second, every 5 s or so. */
static void stand_still(struct host *host, uint64_t ms, bool all_at_once) {
    uint64_t end_us = host_now_us(host) + ms * 1000, next_us[NODES];
    for (int i = 0; i < NODES; i++) {
        next_us[i] = host_now_us(host) + (all_at_once ? 0 : host_random(host) % 5000000);
    }
    while (host_now_us(host) < end_us) {
        for (int i = 0; i < NODES; i++) {
            if (next_us[i] <= host_now_us(host)) {
                host_stall(host, i, all_at_once ? 1000000 : 500000 + host_random(host) % 500001);
                next_us[i] += 5000000;
            }
        }
        host_run(host, 10);
    }
}

static const struct host_config far_away = {.delay_us_min = ROUND_TRIP_US / 2 - 1000,
                                            .delay_us_max = ROUND_TRIP_US / 2 + 1000};

static void stalls(bool all_at_once) {
    FOR_SEEDS {
        struct host *host = ring_new(&far_away);
        stand_still(host, LEARNING_MS, all_at_once);
        unsigned learning = seen.removals;
        stand_still(host, HOUR_MS, all_at_once);
        if (getenv("CHORD_TEST_FIGURES") != NULL) {
            printf("stalls %d: %u in the first minute, %u in the hour after\n", all_at_once,
                   learning, seen.removals - learning);
        }
        check(seen.removals == learning);
        check(host_run_until(host, host_ideal, 60000));
        host_end(host);
    }
}

static void test_stalls_of_the_network(void **state) {
    (void)state;
    stalls(true);
}

static void test_stalls_of_single_lines(void **state) {
    (void)state;
    stalls(false);
}

static void test_lost_packets(void **state) {
    (void)state;
    FOR_SEEDS {
        struct host *host = ring_new(&far_away);
        host_config_of(host)->resend_percent = 5;
        host_run(host, LEARNING_MS);
        unsigned learning = seen.removals;
        host_run(host, HOUR_MS);
        if (getenv("CHORD_TEST_FIGURES") != NULL) {
            printf("loss: %u in the first minute, %u in the hour after\n", learning,
                   seen.removals - learning);
        }
        check(seen.removals == learning);
        host_end(host);
    }
}

/* From one moment to the next, with nothing to learn from before. */
static void test_sudden_delay(void **state) {
    (void)state;
    FOR_SEEDS {
        struct host *host = ring_new(&(struct host_config){.delay_us_max = 0});
        host_run(host, 10000);
        host_config_of(host)->delay_us_min = host_config_of(host)->delay_us_max = 250000;
        host_run(host, 60000);
        if (getenv("CHORD_TEST_FIGURES") != NULL) {
            printf("step: %u\n", seen.removals);
        }
        check(seen.removals == 0);
        host_end(host);
    }
}

static int by_size(const void *a, const void *b) {
    uint64_t one = *(const uint64_t *)a, other = *(const uint64_t *)b;
    return one < other ? -1 : one > other;
}

static void test_silence_on_a_calm_network(void **state) {
    (void)state;
    enum { DEATHS = 200 };
    static uint64_t took_us[DEATHS];
    seed_now = seed_first;
    for (int i = 0; i < DEATHS; i++, seed_now++) {
        struct host *host = ring_new(&(struct host_config){.delay_us_max = 0});
        host_run(host, 10000 + host_random(host) % 5000);
        seen.victim = (int)(host_random(host) % NODES);
        uint64_t cut_us = host_now_us(host);
        for (int other = 0; other < NODES; other++) {
            if (other != seen.victim) {
                host_cut(host, seen.victim, other, true);
            }
        }
        host_run(host, 10000);
        check(seen.removed_us != 0);
        took_us[i] = seen.removed_us - cut_us;
        host_end(host);
    }
    qsort(took_us, DEATHS, sizeof took_us[0], by_size);
    if (getenv("CHORD_TEST_FIGURES") != NULL) {
        printf("silence: p50 %.3f s, p99 %.3f s, max %.3f s\n", (double)took_us[DEATHS / 2] / 1e6,
               (double)took_us[DEATHS * 99 / 100] / 1e6, (double)took_us[DEATHS - 1] / 1e6);
    }
    check(took_us[DEATHS - 1] < 2000000);
}

int main(void) {
    seeds_choose("test_core_stalls", 2);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_stalls_of_the_network, teardown),
        cmocka_unit_test_teardown(test_stalls_of_single_lines, teardown),
        cmocka_unit_test_teardown(test_lost_packets, teardown),
        cmocka_unit_test_teardown(test_sudden_delay, teardown),
        cmocka_unit_test_teardown(test_silence_on_a_calm_network, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

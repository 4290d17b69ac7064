/* SPDX-License-Identifier: MIT */
/*
 * Copies on different hosts (node/chord/README.md), on the simulator's host: where the copies lie,
 * how long the lists are, and a whole machine that goes off while clients ask for every key.
 */
#include "data_fixture.h"

enum { MACHINES = 3, NODES = 12, MISSED_MS = 3000, SILENT_MS = 2300, SILENT_SEEDS = 6 };

static struct host *ring_on(unsigned machines, unsigned n, int count) {
    return ring_of((struct host_config){.n = n, .replicas = 3, .hosts = machines}, count);
}

static unsigned machines_of(struct host *host, const struct chord_view *view) {
    uint64_t seen[CHORD_REPLICAS_MAX];
    unsigned count = 0;
    for (uint16_t i = 0; i < view->members_count; i++) {
        uint64_t id = host_node(host, host_by_address(host, view->members[i].address))->host_id;
        bool again = false;
        for (unsigned k = 0; k < count; k++) {
            again = again || seen[k] == id;
        }
        if (!again) {
            seen[count++] = id;
        }
    }
    return count;
}

/* The least over all ranges that are served. */
static unsigned spread_least(struct host *host) {
    unsigned least = CHORD_REPLICAS_MAX;
    for (int i = 0; i < host_count(host); i++) {
        const struct chord_view *view;
        for (uint16_t at = 0;
             host_node(host, i)->alive && (view = serving(host, i, &at)) != NULL;) {
            unsigned machines = machines_of(host, view);
            least = machines < least ? machines : least;
        }
    }
    return least;
}

/* A machine is off from one moment to the next. Each key is written and read again and again; none
 * waits longer than it takes to find out and to lead on. */
static void power_off(struct host *host, unsigned machine, unsigned value) {
    for (int i = 0; i < host_count(host); i++) {
        if (host_node(host, i)->host_id == machine) {
            host_kill(host, i);
        }
    }
    for (unsigned key = 0; key < KEYS; key++) {
        uint64_t began_us = host_now_us(host);
        struct host_call *write = insist(host, CHORD_PUT, key, value);
        check(write->operations[0].code == CHORD_OK);
        struct host_call *read = insist(host, CHORD_GET, key, 0);
        struct host_operation wanted = make(CHORD_PUT, key, value);
        check(read->operations[0].code == CHORD_OK);
        check(strcmp(read->operations[0].value, wanted.value) == 0);
        check(host_now_us(host) - began_us < MISSED_MS * 1000ull);
    }
}

static void power_on(struct host *host, unsigned machine) {
    for (int i = 0; i < host_count(host); i++) {
        if (host_node(host, i)->host_id == machine && !host_node(host, i)->alive) {
            host_start(host, i);
        }
    }
    check(host_run_until(host, host_settled, 120000));
}

static void test_any_machine_may_go(void **state) {
    (void)state;
    FOR_SEEDS {
        struct host *host = ring_on(MACHINES, 3, NODES);
        put_all(host, 0);
        for (unsigned machine = 1; machine <= MACHINES; machine++) {
            check(spread_least(host) == MACHINES);
            power_off(host, machine, machine);
            power_on(host, machine);
        }
        ring_free(host);
    }
}

/* A machine is there no more, and no connection says so: each key has a leader again soon, also
 * where the members of its range are nobody of whom the ring asks them. */
static void test_a_machine_that_is_silent(void **state) {
    (void)state;
    for (seed_now = seed_first; seed_now < seed_first + SILENT_SEEDS; seed_now++) {
        struct host *host = ring_on(MACHINES, 3, NODES);
        put_all(host, 0);
        host_run(host, 20000 + host_random(host) % 1000);
        for (int i = 0; i < NODES; i++) {
            for (int k = 0; k < NODES && host_node(host, i)->host_id == 2; k++) {
                if (host_node(host, k)->host_id != 2) {
                    host_cut(host, i, k, true);
                }
            }
        }
        host_run(host, SILENT_MS);
        for (unsigned key = 0; key < KEYS; key++) {
            bool led = false;
            for (int i = 0; i < NODES && !led; i++) {
                led = host_node(host, i)->host_id != 2 && view_led(host, i, key) != NULL;
            }
            check(led);
        }
        ring_free(host);
    }
}

static int by_id(const void *a, const void *b) {
    struct chord_status x, y;
    host_status(current, *(const int *)a, &x);
    host_status(current, *(const int *)b, &y);
    return id_compare(&x.self.id, &y.self.id);
}

/* Each machine has a part of the ring to itself, so that N successors are on one machine. The nodes
 * are of an older version at first, and nobody knows where they are: they are started again one by
 * one, and the lists grow until they reach the others. */
static void test_machines_one_behind_the_other(void **state) {
    (void)state;
    FOR_SEEDS {
        struct host *host = ring_on(0, 2, NODES);
        int order[NODES];
        put_all(host, 0);
        for (int i = 0; i < NODES; i++) {
            order[i] = i;
        }
        qsort(order, NODES, sizeof order[0], by_id);
        for (int i = 0; i < NODES; i++) {
            host_kill(host, order[i]);
            host_node(host, order[i])->host_id = 1 + (uint64_t)i / (NODES / MACHINES);
            host_start(host, order[i]);
            check(host_run_until(host, host_settled, 60000));
        }
        struct chord_status status;
        host_status(host, order[0], &status); /* three of its own, four of the next machine */
        check(status.successors.count == 8);
        check(spread_least(host) == MACHINES);
        for (unsigned machine = 1; machine <= MACHINES; machine++) {
            power_off(host, machine, machine);
            power_on(host, machine);
        }
        ring_free(host);
    }
}

/* Without any other machine in it a list has N entries; with one, no more than lead to it. */
static void test_lists_are_no_longer_than_that(void **state) {
    (void)state;
    FOR_SEEDS {
        for (unsigned machines = 0; machines <= 2; machines++) {
            struct host *host = ring_of((struct host_config){.n = 2,
                                                             .replicas = 3,
                                                             .ring_only = true,
                                                             .hosts = machines > 1 ? 30 : machines},
                                        0);
            for (int i = 0; i < 48; i++) {
                int node = host_add(host);
                host_node(host, node)->host_id = machines > 1 ? 1 + (i == 0) : machines;
                host_start(host, node);
            }
            check(host_run_until(host, host_ideal, 120000));
            unsigned longest = 0;
            for (int i = 0; i < 48; i++) {
                struct chord_status status;
                host_status(host, i, &status);
                longest = status.successors.count > longest ? status.successors.count : longest;
            }
            check(machines > 1 ? longest == CHORD_SUCCESSORS_MAX : longest == 2);
            host_free(host);
            current = NULL;
        }
    }
}

/* Nobody is a moment less safe because somebody joins: who is let go of a range is one whose
 * machine has another copy. */
static void test_joins_keep_the_copies_apart(void **state) {
    (void)state;
    FOR_SEEDS {
        struct host *host = ring_on(MACHINES, 3, 6);
        put_all(host, 0);
        check(spread_least(host) == MACHINES);
        for (int joined = 0; joined < 8; joined++) {
            int node = host_add(host);
            host_node(host, node)->host_id = 1 + (uint64_t)joined / 3;
            host_start(host, node);
            for (unsigned ms = 0; ms < 20000 && !host_settled(host); ms += 5) {
                host_run(host, 5);
                check(spread_least(host) == MACHINES);
            }
            check(host_settled(host));
        }
        check_all(host, 0);
        ring_free(host);
    }
}

static bool second_has_left(struct host *host) {
    for (int i = 0; i < host_count(host); i++) {
        if (host_node(host, i)->host_id == 2 && !host_node(host, i)->left) {
            return false;
        }
    }
    return true;
}

/* All of a machine's nodes leave at the same time, as before its repair; then two machines are
 * left, and three copies on them. */
static void test_a_machine_leaves(void **state) {
    (void)state;
    FOR_SEEDS {
        struct host *host = ring_on(MACHINES, 3, NODES);
        put_all(host, 0);
        for (int i = 0; i < NODES; i++) {
            if (host_node(host, i)->host_id == 2) {
                host_leave(host, i);
            }
        }
        check(host_run_until(host, second_has_left, 60000));
        check(host_run_until(host, host_settled, 60000));
        check(spread_least(host) == 2);
        check_all(host, 0);
        ring_free(host);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_any_machine_may_go, teardown),
        cmocka_unit_test_teardown(test_a_machine_that_is_silent, teardown),
        cmocka_unit_test_teardown(test_machines_one_behind_the_other, teardown),
        cmocka_unit_test_teardown(test_lists_are_no_longer_than_that, teardown),
        cmocka_unit_test_teardown(test_joins_keep_the_copies_apart, teardown),
        cmocka_unit_test_teardown(test_a_machine_leaves, teardown),
    };
    seeds_choose("test_core_hosts", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

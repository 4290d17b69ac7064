/* SPDX-License-Identifier: MIT */
/*
 * What an operation costs in messages between members, on a ring of three with three copies at
 * rest, where every member holds every key. Requests are counted, each has one reply. A change that
 * makes one of these figures greater makes every ring slower.
 */
#include "data_fixture.h"

enum { MANY = 50 };

struct traffic {
    unsigned checks, applies, others; /* others: forwarded, or looking for the leader */
    int deaf;                         /* a node that Checks do not reach; -1: none */
};

static bool count(void *context, const struct host_message *message) {
    struct traffic *traffic = context;
    if (message->request != NULL && message->from != HOST_NOBODY) {
        traffic->checks += message->kind == CHORD_CHECK;
        traffic->applies += message->kind == CHORD_APPLY;
        traffic->others += message->kind == CHORD_BATCH || message->kind == CHORD_LOOKUP;
        return message->kind != CHORD_CHECK || message->to != traffic->deaf;
    }
    return true;
}

/* Keys that the same node leads. */
static void keys_led(struct host *host, int leader, unsigned keys[MANY]) {
    for (unsigned key = 0, found = 0; found < MANY; key++) {
        if (view_led(host, leader, key) != NULL) {
            keys[found++] = key;
        }
    }
}

/* All in one batch, or each in one of its own in the same moment; then until all are answered. */
static struct traffic cost(struct host *host, struct traffic *traffic, int node,
                           const struct host_operation *operations, unsigned operations_count,
                           bool together) {
    struct host_call *calls[MANY];
    unsigned calls_count = together ? 1 : operations_count;
    *traffic = (struct traffic){.deaf = traffic->deaf};
    for (unsigned i = 0; i < calls_count; i++) {
        calls[i] = host_batch(host, node, &operations[i], together ? operations_count : 1, 5000);
    }
    for (unsigned i = 0; i < calls_count; i++) {
        wait_for(host, calls[i]);
        for (size_t k = 0; k < calls[i]->operations_count; k++) {
            check(calls[i]->operations[k].code == CHORD_OK);
        }
    }
    host_run(host, 20); /* what is still on its way to the slower member */
    return *traffic;
}

static void test_messages_of_operations(void **state) {
    (void)state;
    FOR_SEEDS {
        struct traffic traffic = {.deaf = -1}, now;
        struct host *host = ring_of(
            (struct host_config){.n = 3, .replicas = 3, .on_message = count, .context = &traffic},
            3);
        int leader;
        unsigned keys[MANY];
        struct host_operation puts[MANY], gets[MANY];
        view_of(host, 0, &leader);
        int other = (leader + 1) % 3;
        keys_led(host, leader, keys);
        for (unsigned i = 0; i < MANY; i++) {
            puts[i] = make(CHORD_PUT, keys[i], i);
            gets[i] = make(CHORD_GET, keys[i], 0);
        }
        now = cost(host, &traffic, leader, puts, 1, true);
        check(now.applies == 2 && now.checks == 0 && now.others == 0);
        now = cost(host, &traffic, leader, puts, MANY, true);
        check(now.applies == 2 && now.checks == 0 && now.others == 0);
        now = cost(host, &traffic, leader, gets, 1, true);
        check(now.applies == 0 && now.checks == 1 && now.others == 0);
        now = cost(host, &traffic, other, gets, 1, true);
        check(now.applies == 0 && now.checks == 1 && now.others == 1); /* forwarded */
        now = cost(host, &traffic, leader, gets, MANY, true);
        check(now.applies == 0 && now.checks == 1 && now.others == 0);
        /* Reads in flight share the round of Check that begins after them: few rounds, as the
         * requests arrive within 2 ms. Writes of separate batches do not share an Apply. */
        now = cost(host, &traffic, leader, gets, MANY, false);
        check(now.applies == 0 && now.checks <= 5 && now.others == 0);
        now = cost(host, &traffic, leader, puts, MANY, false);
        check(now.applies == 2 * MANY && now.checks == 0 && now.others == 0);
        ring_free(host);
    }
}

/* A read asks as many members as make a majority. When one of these does not answer, the read waits
 * once; the next ones ask all, so that the same member does not keep them waiting, too. */
static void test_a_deaf_member_costs_one_wait(void **state) {
    (void)state;
    FOR_SEEDS {
        struct traffic traffic = {.deaf = -1};
        struct host *host = ring_of(
            (struct host_config){.n = 3, .replicas = 3, .on_message = count, .context = &traffic},
            3);
        int leader;
        unsigned keys[MANY];
        view_of(host, 0, &leader);
        keys_led(host, leader, keys);
        wait_for(host, one(host, leader, CHORD_PUT, keys[0], 1, 5000));
        traffic = (struct traffic){.deaf = (leader + 1) % 3};
        unsigned waits = 0;
        for (int i = 0; i < 20; i++) {
            uint64_t began_us = host_now_us(host);
            struct host_call *call = one(host, leader, CHORD_GET, keys[0], 0, 5000);
            wait_for(host, call);
            check(call->code == CHORD_OK && call->operations[0].code == CHORD_OK);
            uint64_t ms = (host_now_us(host) - began_us) / 1000;
            check(ms < 40);
            waits += ms >= 20;
        }
        check(waits == 1);
        check(traffic.checks >= 2 * 19 && traffic.checks <= 2 * 20);
        ring_free(host);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_messages_of_operations, teardown),
        cmocka_unit_test_teardown(test_a_deaf_member_costs_one_wait, teardown),
    };
    seeds_choose("test_core_messages", 4);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

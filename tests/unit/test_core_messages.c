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
};

static bool count(void *context, const struct host_message *message) {
    struct traffic *traffic = context;
    if (message->request != NULL && message->from != HOST_NOBODY) {
        traffic->checks += message->kind == CHORD_CHECK;
        traffic->applies += message->kind == CHORD_APPLY;
        traffic->others += message->kind == CHORD_BATCH || message->kind == CHORD_LOOKUP;
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
    *traffic = (struct traffic){0};
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
        struct traffic traffic = {0}, now;
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
        check(now.applies == 0 && now.checks == 2 && now.others == 0);
        now = cost(host, &traffic, other, gets, 1, true);
        check(now.applies == 0 && now.checks == 2 && now.others == 1); /* forwarded */
        now = cost(host, &traffic, leader, gets, MANY, true);
        check(now.applies == 0 && now.checks == 2 && now.others == 0);
        /* Reads in flight share the round of Check that begins after them: few rounds, as the
         * requests arrive within 2 ms. Writes of separate batches do not share an Apply. */
        now = cost(host, &traffic, leader, gets, MANY, false);
        check(now.applies == 0 && now.checks <= 10 && now.others == 0);
        now = cost(host, &traffic, leader, puts, MANY, false);
        check(now.applies == 2 * MANY && now.checks == 0 && now.others == 0);
        ring_free(host);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_messages_of_operations, teardown),
    };
    seeds_choose("test_core_messages", 4);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

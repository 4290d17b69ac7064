/* SPDX-License-Identifier: MIT */
/*
 * Operations: conditions, writes that are sent again, deletions that are forgotten, values that
 * expire, rows that a disk has changed.
 */
#include "data_fixture.h"

static void test_conditions(void **state) {
    (void)state;
    FOR_SEEDS {
        struct host *host = ring_new(3, 3, 5);
        struct host_operation create = make(CHORD_PUT, 1, 1), change;
        create.if_absent = true;
        struct host_call *first = run_one(host, 0, create);
        check(first->operations[0].code == CHORD_OK);
        struct host_call *second = run_one(host, 1, create);
        check(second->operations[0].code == CHORD_FAILED_PRECONDITION);
        check(second->operations[0].epoch == first->operations[0].epoch &&
              second->operations[0].counter == first->operations[0].counter);
        change = make(CHORD_PUT, 1, 2);
        change.if_match = true;
        change.match_epoch = first->operations[0].epoch;
        change.match_counter = first->operations[0].counter;
        check(run_one(host, 2, change)->operations[0].code == CHORD_OK);
        check(run_one(host, 3, change)->operations[0].code == CHORD_FAILED_PRECONDITION);
        check(strcmp(one(host, 4, CHORD_GET, 1, 0, 5000)->operations[0].key, "key 1") == 0);
        change.kind = CHORD_DELETE; /* a version that is gone */
        check(run_one(host, 4, change)->operations[0].code == CHORD_FAILED_PRECONDITION);
        check(insist(host, CHORD_DELETE, 1, 0)->operations[0].code == CHORD_OK);
        check(run_one(host, 0, create)->operations[0].code == CHORD_OK); /* absent again */
        ring_free(host);
    }
}

/* A counter that clients raise by compare and swap through all kinds of trouble: each success is
 * one step. A lost or doubled write, a stale comparison or two leaders break the count. */
static void test_compare_and_swap_under_failures(void **state) {
    (void)state;
    FOR_SEEDS {
        struct host *host = ring_new(3, 3, 6);
        unsigned done = 0, unknown = 0;
        uint64_t op_id = 0;
        check(insist(host, CHORD_PUT, 5, 0)->operations[0].code == CHORD_OK);
        for (int round = 0; round < 60; round++) {
            int victim = live_node(host);
            if (round % 10 == 4) {
                host_group(host, victim, 1);
            } else if (round % 10 == 8) {
                host_heal(host);
            }
            struct host_call *calls[4];
            for (int i = 0; i < 4; i++) { /* at once: at most one of those with one version wins */
                struct host_call *read = one(host, live_node(host), CHORD_GET, 5, 0, 400);
                wait_for(host, read);
                calls[i] = NULL;
                unsigned value;
                if (read->operations[0].code != CHORD_OK ||
                    sscanf(read->operations[0].value, "value %u", &value) != 1) {
                    continue;
                }
                struct host_operation swap = make(CHORD_PUT, 5, value + 1);
                swap.if_match = true;
                swap.match_epoch = swap.seen_epoch = read->operations[0].epoch;
                swap.match_counter = swap.seen_counter = read->operations[0].counter;
                swap.op_id = ++op_id;
                swap.attempt = 1;
                calls[i] = host_batch(host, live_node(host), &swap, 1, 700);
                if (i % 2 == 1) {
                    wait_for(host, calls[i]);
                }
            }
            for (int i = 0; i < 4; i++) {
                if (calls[i] == NULL) {
                    continue;
                }
                wait_for(host, calls[i]);
                struct host_operation again = calls[i]->operations[0];
                for (unsigned tries = 0; again.code == CHORD_UNKNOWN && tries < 20; tries++) {
                    again.attempt = 2 + tries;
                    host_heal(host);
                    host_run(host, 300);
                    again = run_one(host, live_node(host), again)->operations[0];
                }
                done += again.code == CHORD_OK;
                unknown += again.code == CHORD_UNKNOWN;
            }
        }
        host_heal(host);
        check(host_run_until(host, whole, 60000));
        struct host_call *read = one(host, 0, CHORD_GET, 5, 0, 5000);
        wait_for(host, read);
        unsigned value = 0;
        check(sscanf(read->operations[0].value, "value %u", &value) == 1);
        check(done > 20);
        check(value >= done && value <= done + unknown);
        ring_free(host);
    }
}

/* The same write comes again: as a copy, as a retry, late. */
static void test_a_write_takes_effect_once(void **state) {
    (void)state;
    FOR_SEEDS {
        struct host *host = ring_new(3, 3, 5);
        struct host_operation put = make(CHORD_PUT, 1, 1), other = make(CHORD_PUT, 1, 2);
        put.op_id = 77;
        put.attempt = 1;
        struct host_operation first = run_one(host, 0, put)->operations[0];
        check(first.code == CHORD_OK);
        for (unsigned attempt = 1; attempt <= 3; attempt++) {
            put.attempt = attempt;
            struct host_operation again = run_one(host, 1, put)->operations[0];
            check(again.code == CHORD_OK && again.epoch == first.epoch &&
                  again.counter == first.counter);
        }
        other.op_id = 78; /* somebody else, who has seen it */
        other.attempt = 1;
        other.seen_epoch = first.epoch;
        other.seen_counter = first.counter;
        struct host_operation second = run_one(host, 2, other)->operations[0];
        check(second.code == CHORD_OK && second.counter > first.counter);
        check(!first.existed && second.existed);
        struct host_operation again = run_one(host, 3, put)->operations[0];
        check(again.code == CHORD_OK && again.counter == first.counter); /* remembered, and ... */
        check(!again.existed); /* ... told the same again */
        struct host_operation wrong = put;
        snprintf(wrong.value, sizeof wrong.value, "value 4");
        check(run_one(host, 3, wrong)->operations[0].code == CHORD_INVALID_ARGUMENT);
        int leader;
        view_of(host, 1, &leader);
        host_kill(host, leader); /* the next one knows the row only */
        check(insist(host, CHORD_GET, 1, 0)->operations[0].epoch == second.epoch);
        host_start(host, leader);
        check(run_one(host, live_node(host), put)->operations[0].code == CHORD_UNKNOWN);
        put.attempt = 1;
        put.seen_epoch = put.seen_counter = 1; /* a late copy */
        struct host_operation late = run_one(host, live_node(host), put)->operations[0];
        check(late.code == CHORD_ABORTED && late.epoch == second.epoch &&
              late.counter == second.counter);
        wrong.op_id = 78;
        check(run_one(host, live_node(host), wrong)->operations[0].code == CHORD_INVALID_ARGUMENT);
        struct host_call *read = insist(host, CHORD_GET, 1, 0);
        check(strcmp(read->operations[0].value, "value 2") == 0);
        /* A retry of what never arrived is executed. */
        struct host_operation lost = make(CHORD_PUT, 1, 3);
        lost.op_id = 79;
        lost.attempt = 2;
        lost.seen_epoch = second.epoch;
        lost.seen_counter = second.counter;
        check(run_one(host, live_node(host), lost)->operations[0].code == CHORD_OK);
        ring_free(host);
    }
}

static unsigned tombstones(struct host *host) {
    const struct chord_range all = {{{0}}, {{0}}};
    size_t count = 0;
    for (int i = 0; i < host_count(host); i++) {
        count += core_store_tombstones(&host_node(host, i)->store, &all, M);
    }
    return (unsigned)count;
}

static bool forgotten(struct host *host) {
    return tombstones(host) == 0;
}

/* Deletions are forgotten when every copy has them, not before; a write that they had overtaken
 * still does not happen again. */
static void test_deletions_are_forgotten(void **state) {
    (void)state;
    FOR_SEEDS {
        struct host *host = ring_new(3, 3, 3);
        struct host_operation put = make(CHORD_PUT, 1, 1);
        put.op_id = 77;
        put.attempt = 1;
        put_all(host, 0);
        check(run_one(host, 0, put)->operations[0].code == CHORD_OK);
        host_run(host, FORGET_MS * 3); /* there is nothing to forget: no floor yet */
        int away = (int)(seed_now % 3);
        host_kill(host, away);
        for (unsigned key = 0; key < KEYS / 2; key++) {
            insist(host, CHORD_DELETE, key, 0);
        }
        host_run(host, FORGET_MS * 5);
        check(tombstones(host) == 2 * KEYS / 2); /* one copy still has the values */
        host_start(host, away);
        check(host_run_until(host, forgotten, FORGET_MS * 10));
        check(host_run_until(host, whole, 20000));
        for (unsigned key = 0; key < KEYS; key++) {
            struct host_call *read = insist(host, CHORD_GET, key, 0);
            check(read->operations[0].code == (key < KEYS / 2 ? CHORD_NOT_FOUND : CHORD_OK));
        }
        put.attempt = 2;
        check(run_one(host, live_node(host), put)->operations[0].code == CHORD_UNKNOWN);
        put.attempt = 1;
        put.seen_epoch = put.seen_counter = 1; /* a late copy */
        struct host_operation late = run_one(host, live_node(host), put)->operations[0];
        check(late.code == CHORD_ABORTED && late.epoch > 1);
        put.seen_epoch = late.epoch; /* with what that answer has told it is executed */
        put.seen_counter = late.counter;
        check(run_one(host, live_node(host), put)->operations[0].code == CHORD_OK);
        ring_free(host);
    }
}

/* A value that has expired is absent to reads and conditions, and its writer is not told that it
 * was there; the row stays until something takes its place. */
static void test_expired(void **state) {
    (void)state;
    FOR_SEEDS {
        struct host *host = ring_new(3, 3, 4);
        struct host_operation put = make(CHORD_PUT, 1, 1), create = make(CHORD_PUT, 1, 2);
        uint64_t now_ms = host_now_us(host) / 1000;
        put.expires_at_ms = now_ms + 3000;
        create.if_absent = true;
        check(run_one(host, 0, put)->operations[0].code == CHORD_OK);
        check(run_one(host, 1, make(CHORD_GET, 1, 0))->operations[0].code == CHORD_OK);
        check(run_one(host, 2, create)->operations[0].code == CHORD_FAILED_PRECONDITION);
        host_run(host, 3500);
        struct host_operation gone = run_one(host, 3, make(CHORD_GET, 1, 0))->operations[0];
        check(gone.code == CHORD_NOT_FOUND && gone.value[0] == '\0');
        create.if_absent = false;
        create.if_match = true; /* not even its own version is there */
        create.match_epoch = gone.epoch;
        create.match_counter = gone.counter;
        check(run_one(host, 0, create)->operations[0].code == CHORD_FAILED_PRECONDITION);
        create.if_match = false;
        create.if_absent = true;
        struct host_operation created = run_one(host, 1, create)->operations[0];
        check(created.code == CHORD_OK && !created.existed);
        ring_free(host);
    }
}

static void damage(struct host *host, int node, unsigned key) {
    struct core_store *store = &host_node(host, node)->store;
    struct host_operation named = make(CHORD_GET, key, 0);
    for (size_t i = 0; i < store->rows_count; i++) {
        store->rows[i].bad = store->rows[i].bad || strcmp(store->rows[i].key, named.key) == 0;
    }
}

/* Of a row that the leader's disk has changed nothing is told, and nothing that asks about it is
 * written; a write that asks nothing takes its place. The other copies mend it. */
static void test_damaged_rows(void **state) {
    (void)state;
    FOR_SEEDS {
        struct host *host = ring_new(3, 3, 4);
        int leader;
        put_all(host, 0);
        view_of(host, 1, &leader);
        damage(host, leader, 1);
        struct host_operation condition = make(CHORD_PUT, 1, 7), blind = make(CHORD_PUT, 1, 8);
        condition.if_absent = true;
        check(run_one(host, 0, make(CHORD_GET, 1, 0))->operations[0].code == CHORD_DATA_LOSS);
        check(run_one(host, 1, condition)->operations[0].code == CHORD_DATA_LOSS);
        blind.op_id = 5;
        check(run_one(host, 2, blind)->operations[0].code == CHORD_OK);
        check(strcmp(insist(host, CHORD_GET, 1, 0)->operations[0].value, blind.value) == 0);

        view_of(host, 2, &leader);
        damage(host, leader, 2);
        struct host_operation read = make(CHORD_GET, 2, 0), whole_value = make(CHORD_PUT, 2, 2);
        struct chord_event event = {.kind = CHORD_EVENT_DAMAGED};
        uint8_t hash[CHORD_ID_BYTES];
        core_hash(read.key, hash);
        event.damaged = id_from_hash(hash, M);
        host_event(host, leader, &event);
        host_run(host, 5000);
        struct host_operation mended = run_one(host, 3, read)->operations[0];
        check(mended.code == CHORD_OK && strcmp(mended.value, whole_value.value) == 0);
        ring_free(host);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_conditions, teardown),
        cmocka_unit_test_teardown(test_compare_and_swap_under_failures, teardown),
        cmocka_unit_test_teardown(test_a_write_takes_effect_once, teardown),
        cmocka_unit_test_teardown(test_deletions_are_forgotten, teardown),
        cmocka_unit_test_teardown(test_expired, teardown),
        cmocka_unit_test_teardown(test_damaged_rows, teardown),
    };
    seeds_choose("test_core_operations", 2);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

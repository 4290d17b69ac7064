/* SPDX-License-Identifier: MIT */
/*
 * Copies: what a store missed, lost or has damaged comes back, and what was deleted does not.
 */
#include "data_fixture.h"

/* Loses every Apply to one node, or (HOST_NOBODY) from one node. */
struct apply_filter {
    bool on;
    int from, to;
};

static bool drop_applies(void *context, const struct host_message *message) {
    const struct apply_filter *filter = context;
    return !(filter->on && message->request != NULL && message->kind == CHORD_APPLY &&
             (message->to == filter->to || message->from == filter->from));
}

static struct host *filtered_ring(struct apply_filter *filter) {
    struct host *host = ring_of(
        (struct host_config){.n = 3, .replicas = 3, .on_message = drop_applies, .context = filter},
        5);
    put_all(host, 0);
    return host;
}

/* The next leader missed the last write; the other member did not: settle finds it. */
static void test_settle_finds_what_the_new_leader_missed(void **state) {
    (void)state;
    FOR_SEEDS {
        struct apply_filter filter = {.from = HOST_NOBODY};
        struct host *host = filtered_ring(&filter);
        for (unsigned key = 0; key < 6; key++) {
            int leader;
            const struct chord_view *view = view_of(host, key, &leader);
            filter.to = host_by_address(host, view->members[1].address); /* the ring's next owner */
            filter.on = true;
            struct host_call *call = one(host, leader, CHORD_PUT, key, 500, 3000);
            wait_for(host, call);
            check(call->operations[0].code == CHORD_OK);
            check(copies_of(host, &call->operations[0]) >= 2); /* it may be made equal already */
            host_kill(host, leader);
            filter.on = false;
            /* Asked all the time, so that the first moment in which it serves is seen. */
            struct host_call *reads[400];
            unsigned answers = 0;
            for (unsigned i = 0; i < 400; i++) {
                reads[i] = one(host, filter.to, CHORD_GET, key, 0, 4000);
                host_run(host, 10);
            }
            for (unsigned i = 0; i < 400; i++) {
                wait_for(host, reads[i]);
                const struct host_operation *got = &reads[i]->operations[0];
                check(got->code != CHORD_NOT_FOUND);
                check(got->code != CHORD_OK || strcmp(got->value, "value 500") == 0);
                check(got->code != CHORD_OK || got->epoch == call->operations[0].epoch);
                answers += got->code == CHORD_OK;
            }
            check(answers > 0);
            host_start(host, leader);
            check(host_run_until(host, whole, 60000));
        }
        ring_free(host);
    }
}

/* Until somebody who leads the key says what it is. */
static struct host_call *read_until_told(struct host *host, int node, unsigned key) {
    struct host_call *call = NULL;
    for (int tries = 0; tries < 100; tries++) {
        call = one(host, node, CHORD_GET, key, 0, 1000);
        wait_for(host, call);
        if (call->operations[0].code == CHORD_OK || call->operations[0].code == CHORD_NOT_FOUND) {
            return call;
        }
    }
    check(!"the key can be read");
    return call;
}

static bool same_answer(const struct host_operation *a, const struct host_operation *b) {
    return a->code == b->code && (a->code != CHORD_OK || strcmp(a->value, b->value) == 0);
}

/* Two writes reach one store each, the second in a later epoch. What was settled, and read, without
 * the second does not change when its store is met: others may have been built on it. */
static void test_settled_before_newer(void **state) {
    (void)state;
    FOR_SEEDS {
        struct host *host = ring_new(3, 3, 3);
        int first;
        check(view_of(host, 0, &first) != NULL);
        host_group(host, first, 1);
        wait_for(host, one(host, first, CHORD_PUT, 0, 1, 300)); /* reaches nobody else */
        int second = (first + 1) % 3, third = (first + 2) % 3;
        read_until_told(host, second, 0);
        if (view_led(host, second, 0) == NULL) {
            int other = second;
            second = third;
            third = other;
        }
        check(view_led(host, second, 0) != NULL);
        host_group(host, second, 2);
        wait_for(host, one(host, second, CHORD_PUT, 0, 2, 300)); /* nor this */
        host_group(host, first, 0);
        struct host_operation was = read_until_told(host, third, 0)->operations[0];
        host_group(host, first, 3);
        host_group(host, second, 0);
        host_kill(host, third); /* whoever led: a new epoch now, of these two */
        host_start(host, third);
        check(same_answer(&was, &read_until_told(host, third, 0)->operations[0]));
        host_group(host, first, 0);
        check(host_run_until(host, whole, 60000));
        check(same_answer(&was, &read_until_told(host, third, 0)->operations[0]));
        ring_free(host);
    }
}

/* A write that only its dead leader's disk holds: when that disk comes back after its seat was
 * given away, it is made equal, whatever it holds. */
static void test_a_returning_disk_revives_nothing(void **state) {
    (void)state;
    FOR_SEEDS {
        struct apply_filter filter = {.to = HOST_NOBODY};
        struct host *host = filtered_ring(&filter);
        int leader;
        view_of(host, 9, &leader);
        filter.from = leader;
        filter.on = true;
        struct host_call *call = one(host, leader, CHORD_PUT, 9, 666, 5000);
        host_run(host, 200);
        check(!call->done);
        host_kill(host, leader);
        filter.on = false;
        check(host_run_until(host, whole, 60000)); /* its seat has gone to another */
        check_reads(host, 0, true);
        host_start(host, leader);
        check(host_run_until(host, whole, 60000));
        check_all(host, 0);
        host_run(host, 20000);
        check(whole(host));
        check_all(host, 0);
        ring_free(host);
    }
}

/* The disk has lost a row, and the store has noticed. */
static void damage(struct host *host, int node, unsigned key) {
    struct host_operation operation = make(CHORD_GET, key, 0);
    struct core_store *store = &host_node(host, node)->store;
    struct chord_event event = {.kind = CHORD_EVENT_DAMAGED};
    const struct core_row *row = core_store_find(store, operation.key);
    check(row != NULL);
    size_t at = (size_t)(row - store->rows);
    event.damaged = id_from_hash(row->hash, M);
    memmove(&store->rows[at], &store->rows[at + 1], sizeof *row * (store->rows_count - at - 1));
    store->rows_count--;
    host_event(host, node, &event);
}

static void test_a_damaged_copy_is_made_equal(void **state) {
    (void)state;
    FOR_SEEDS {
        struct apply_filter filter = {.from = HOST_NOBODY, .to = HOST_NOBODY};
        struct host *host = filtered_ring(&filter);
        for (unsigned key = 0; key < 6; key++) {
            int leader;
            const struct chord_view *view = view_of(host, key, &leader);
            uint64_t epoch = view->epoch;
            damage(host, host_by_address(host, view->members[1 + key % 2].address), key);
            check(!copies_equal(host));
            check(host_run_until(host, whole, 20000));
            check(view_of(host, key, &leader)->epoch == epoch);
        }
        check_all(host, 0);
        ring_free(host);
    }
}

/* The leader and one member have a write, the other has not; then the leader's copy is damaged. It
 * does not count itself when it settles, or it would find that the other two agree on nothing. */
static void test_a_damaged_leader_asks_all_others(void **state) {
    (void)state;
    FOR_SEEDS {
        struct apply_filter filter = {.from = HOST_NOBODY};
        struct host *host = filtered_ring(&filter);
        for (unsigned key = 0; key < 6; key++) {
            int leader;
            const struct chord_view *view = view_of(host, key, &leader);
            int holder = host_by_address(host, view->members[2].address);
            filter.to = host_by_address(host, view->members[1].address);
            filter.on = true;
            struct host_call *call = one(host, leader, CHORD_PUT, key, 500, 3000);
            wait_for(host, call);
            check(call->operations[0].code == CHORD_OK);
            check(copies_of(host, &call->operations[0]) == 2);
            host_slow(host, holder, leader, 100000); /* the other answers first */
            damage(host, leader, key);
            filter.on = false;
            for (unsigned i = 0; i < 100; i++) {
                struct host_call *read = one(host, filter.to, CHORD_GET, key, 0, 4000);
                wait_for(host, read);
                const struct host_operation *got = &read->operations[0];
                check(got->code != CHORD_NOT_FOUND);
                check(got->code != CHORD_OK || strcmp(got->value, "value 500") == 0);
            }
            host_slow(host, holder, leader, 0);
            check(host_run_until(host, whole, 60000));
        }
        ring_free(host);
    }
}

/* A leader whose own disk is full says that the outcome is unknown, and another takes over. */
static void test_full_disk(void **state) {
    (void)state;
    FOR_SEEDS {
        struct host *host = ring_new(3, 3, 5);
        put_all(host, 0);
        int leader, next;
        view_of(host, 3, &leader);
        host_node(host, leader)->disk = HOST_DISK_FULL;
        struct host_call *call = one(host, live_node(host), CHORD_PUT, 3, 999, 3000);
        wait_for(host, call);
        check(call->operations[0].code == CHORD_UNKNOWN); /* the others have it, perhaps */
        call = insist(host, CHORD_PUT, 3, 3);             /* until a member with room leads */
        check(call->operations[0].code == CHORD_OK);
        view_of(host, 3, &next);
        check(next != leader);
        host_node(host, leader)->disk = HOST_DISK_WELL;
        check(host_run_until(host, whole, 60000));
        check_all(host, 0);
        ring_free(host);
    }
}

/* A disk gets full while ranges are handed over, and cannot keep a view either: whoever has room
 * leads, also where the next view was given or proposed already. */
static void test_full_disk_while_ranges_move(void **state) {
    enum { MOVING_MS = 700 };
    (void)state;
    FOR_SEEDS {
        for (int full = 0; full < 4; full++) {
            struct host *host = ring_new(3, 3, 3);
            put_all(host, 0);
            host_start(host, host_add(host));
            host_run(host, host_random(host) % MOVING_MS);
            host_node(host, full)->disk = HOST_DISK_FULL;
            for (unsigned key = 0; key < KEYS; key++) {
                check(insist(host, CHORD_PUT, key, key)->operations[0].code == CHORD_OK);
            }
            host_node(host, full)->disk = HOST_DISK_WELL;
            check(host_run_until(host, whole, 60000));
            check_all(host, 0);
            ring_free(host);
        }
    }
}

/* A disk that was away learns what it missed: changes and deletions both. */
static void test_returning_disk_is_made_equal(void **state) {
    (void)state;
    FOR_SEEDS {
        struct host *host = ring_new(3, 3, 5);
        put_all(host, 0);
        int node = (int)(seed_now % 5);
        host_kill(host, node);
        host_run(host, seed_now % 2 == 0 ? 0 : 20000); /* its seat is still there, or is not */
        for (unsigned key = 0; key < KEYS; key++) {
            enum chord_operation_kind kind = key % 2 == 0 ? CHORD_PUT : CHORD_DELETE;
            struct host_call *call = insist(host, kind, key, 7000);
            check(call->operations[0].code == CHORD_OK ||
                  (kind == CHORD_DELETE && call->operations[0].code == CHORD_NOT_FOUND));
        }
        host_start(host, node);
        check(host_run_until(host, whole, 60000));
        for (unsigned key = 0; key < KEYS; key++) {
            struct host_call *call = one(host, node, CHORD_GET, key, 0, 10000);
            wait_for(host, call);
            check(call->operations[0].code == (key % 2 == 0 ? CHORD_OK : CHORD_NOT_FOUND));
        }
        ring_free(host);
    }
}

/* Of many rows only those that differ are moved, and not many beside them. */
static void test_returning_disk_moves_what_differs(void **state) {
    enum { ROWS = 600, LATE = 4, NEAR = 40 };
    (void)state;
    FOR_SEEDS {
        struct host *host = ring_new(3, 3, 3);
        for (unsigned key = 0; key < ROWS; key++) {
            check(insist(host, CHORD_PUT, key, 7000)->operations[0].code == CHORD_OK);
            host_forget_calls(host);
        }
        check(host_run_until(host, whole, 60000));
        int node = (int)(seed_now % 3);
        host_kill(host, node);
        for (unsigned i = 0; i < LATE; i++) {
            unsigned key = (unsigned)(host_random(host) % ROWS);
            check(insist(host, CHORD_PUT, key, 8000)->operations[0].code == CHORD_OK);
        }
        uint64_t before = host_rows_pulled(host);
        host_start(host, node);
        check(host_run_until(host, whole, 60000));
        check(host_rows_pulled(host) > before);
        check(host_rows_pulled(host) - before <= LATE * NEAR);
        ring_free(host);
    }
}

static void test_lost_disk_is_filled_again(void **state) {
    (void)state;
    FOR_SEEDS {
        struct host *host = ring_new(3, 3, 5);
        put_all(host, 0);
        for (int node = 1; node < 5; node++) {
            host_kill(host, node);
            host_wipe(host, node);
            host_start(host, node); /* the same address, another replica */
            check(host_run_until(host, whole, 90000));
            check_all(host, 0);
        }
        ring_free(host);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_settle_finds_what_the_new_leader_missed, teardown),
        cmocka_unit_test_teardown(test_settled_before_newer, teardown),
        cmocka_unit_test_teardown(test_a_returning_disk_revives_nothing, teardown),
        cmocka_unit_test_teardown(test_a_damaged_copy_is_made_equal, teardown),
        cmocka_unit_test_teardown(test_a_damaged_leader_asks_all_others, teardown),
        cmocka_unit_test_teardown(test_full_disk, teardown),
        cmocka_unit_test_teardown(test_full_disk_while_ranges_move, teardown),
        cmocka_unit_test_teardown(test_returning_disk_is_made_equal, teardown),
        cmocka_unit_test_teardown(test_returning_disk_moves_what_differs, teardown),
        cmocka_unit_test_teardown(test_lost_disk_is_filled_again, teardown),
    };
    seeds_choose("test_core_copies", 2);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * Two rings that were built apart, on core_host: members go from one to the other, the last one
 * leaves with its rows. What a crash leaves on a disk belongs to one ring.
 */
#include "core_seeds.h"

enum { M = 16, N = 3, REPLICAS = 3, SIZE = 3, LAST = SIZE, NODES = 2 * SIZE, KEYS = 40 };

static uint64_t astray; /* requests to LAST from nodes that have gone to the other ring */

static struct chord_status status_of(struct host *host, int node) {
    struct chord_status status;
    host_status(host, node, &status);
    return status;
}

/* Each node's ring has its members and copies, whatever the other ring does. */
static bool both_settled(struct host *host) {
    for (int node = 0; node < host_count(host); node++) {
        struct chord_status status = status_of(host, node);
        enum chord_range_state state;
        unsigned copies, open = 0;
        for (uint16_t i = 0; chord_view_at(host_node(host, node)->chord, i, &state, &copies); i++) {
            open += state == CHORD_RANGE_OPEN && copies == REPLICAS;
        }
        if (status.state != CHORD_STATE_MEMBER || status.successors.count != SIZE - 1 ||
            open != 1) {
            return false;
        }
    }
    return true;
}

static bool watch(void *context, const struct host_message *message) {
    (void)context;
    if (message->request != NULL && message->request->has_ring_id && message->from != HOST_NOBODY &&
        message->to == LAST && host_node(current, LAST)->alive) {
        struct chord_status status = status_of(current, LAST);
        astray +=
            memcmp(message->request->ring_id, status.parameters.ring_id, CHORD_RING_ID_BYTES) != 0;
    }
    return true;
}

/* Nodes 0 to 2 are ring 0, nodes 3 to 5 ring 1. */
static struct host *two_rings(void) {
    struct host *host = host_new(&(struct host_config){
        .seed = seed_now, .m = M, .n = N, .replicas = REPLICAS, .on_message = watch});
    current = host;
    for (int i = 0; i < NODES; i++) {
        int node = host_add(host);
        host_node(host, node)->ring = i / SIZE;
        host_start(host, node);
    }
    check(host_run_until(host, both_settled, 60000));
    return host;
}

static void end(struct host *host) {
    host_free(host);
    current = NULL;
}

/* ---- keys ---- */

static struct host_operation make(enum chord_operation_kind kind, int ring, unsigned key) {
    struct host_operation operation = {.kind = kind};
    snprintf(operation.key, sizeof operation.key, "ring %d key %u", ring, key);
    if (kind == CHORD_PUT) {
        snprintf(operation.value, sizeof operation.value, "value %d.%u", ring, key);
    }
    return operation;
}

static struct host_call *batch(struct host *host, int node, enum chord_operation_kind kind,
                               int ring) {
    struct host_operation operations[KEYS];
    for (unsigned key = 0; key < KEYS; key++) {
        operations[key] = make(kind, ring, key);
    }
    struct host_call *call = host_batch(host, node, operations, KEYS, 10000);
    for (int i = 0; i < 20000 && !call->done; i++) {
        host_run(host, 1);
    }
    check(call->done);
    return call;
}

static void put_all(struct host *host, int node, int ring) {
    struct host_call *call = batch(host, node, CHORD_PUT, ring);
    for (unsigned key = 0; key < KEYS; key++) {
        check(call->operations[key].code == CHORD_OK);
    }
}

static void get_all(struct host *host, int node, int ring) {
    struct host_call *call = batch(host, node, CHORD_GET, ring);
    for (unsigned key = 0; key < KEYS; key++) {
        struct host_operation expected = make(CHORD_PUT, ring, key);
        check(call->operations[key].code == CHORD_OK);
        check(strcmp(call->operations[key].value, expected.value) == 0);
    }
}

static bool rows_of_ring(const struct core_store *store, int ring) {
    char prefix[16];
    snprintf(prefix, sizeof prefix, "ring %d ", ring);
    for (size_t i = 0; i < store->rows_count; i++) {
        if (strncmp(store->rows[i].key, prefix, strlen(prefix)) != 0) {
            return false;
        }
    }
    return true;
}

/* ---- moving ---- */

static struct chord_entrance entrance_of(struct host *host, int node) {
    struct chord_entrance entrance = {.seeds_count = 1};
    struct chord_status status = status_of(host, node);
    entrance.ring = status.parameters;
    memcpy(entrance.seeds[0].text, status.self.address, CHORD_ADDRESS_BYTES);
    return entrance;
}

static bool in_ring(struct host *host, int node, int ring) {
    struct chord_status status = status_of(host, node);
    return status.state == CHORD_STATE_MEMBER && status.parameters.ring_id[0] == 0x11 + ring;
}

static void move_begin(struct host *host, int node) {
    struct chord_event event = {.kind = CHORD_EVENT_LEAVE};
    event.leave.next = entrance_of(host, 0);
    check(chord_leave_obstacle(host_node(host, node)->chord, &event.leave) == NULL);
    host_event(host, node, &event);
}

static void move(struct host *host, int node) {
    move_begin(host, node);
    for (int i = 0; i < 60000 && !in_ring(host, node, 0); i++) {
        host_run(host, 1);
    }
    check(in_ring(host, node, 0));
}

static void leave_last(struct host *host) {
    struct chord_event event = {.kind = CHORD_EVENT_LEAVE};
    event.leave.last = true;
    for (int i = 0;
         i < 30000 && chord_leave_obstacle(host_node(host, LAST)->chord, &event.leave) != NULL;
         i++) {
        host_run(host, 1);
    }
    check(chord_leave_obstacle(host_node(host, LAST)->chord, &event.leave) == NULL);
    host_event(host, LAST, &event);
    check(status_of(host, LAST).state == CHORD_STATE_LEFT);
    check(status_of(host, LAST).left_last);
}

static void move_all_but_last(struct host *host) {
    for (int node = LAST + 1; node < NODES; node++) {
        move(host, node);
    }
}

static bool serves_nothing(struct host *host, int node) {
    enum chord_range_state state;
    unsigned copies;
    for (uint16_t i = 0; chord_view_at(host_node(host, node)->chord, i, &state, &copies); i++) {
        if (state == CHORD_RANGE_OPEN || state == CHORD_RANGE_CHANGING) {
            return false;
        }
    }
    return true;
}

static void join_other(struct host *host, bool drop_rows) {
    struct chord_event event = {.kind = CHORD_EVENT_JOIN};
    event.join = entrance_of(host, 0);
    event.join.drop_rows = drop_rows;
    bool allowed = chord_join_obstacle(host_node(host, LAST)->chord, &event.join) == NULL;
    check(allowed == drop_rows);
    host_node(host, LAST)->left = !drop_rows;
    host_event(host, LAST, &event);
    check((status_of(host, LAST).state == CHORD_STATE_JOINING) == drop_rows);
}

static struct host_call *sync_from_nowhere(struct host *host, int node, bool learner) {
    struct chord_request request = {.kind = CHORD_SYNC, .has_sender = true};
    enum chord_range_state state;
    unsigned copies;
    const struct chord_view *view = chord_view_at(host_node(host, node)->chord, 0, &state, &copies);
    request.sender = status_of(host, LAST).self;
    snprintf(request.sender.address, sizeof request.sender.address, "nowhere:1");
    memcpy(request.sender.store_id, view->members[view->leader].store_id, CHORD_STORE_ID_BYTES);
    request.sync.view = *view;
    request.sync.range = view->range;
    request.sync.token = 1;
    request.sync.learner = learner;
    return host_request(host, node, &request, 60000);
}

/* ---- tests ---- */

static void test_two_rings_become_one(void **state) {
    (void)state;
    FOR_SEEDS {
        struct host *host = two_rings();
        put_all(host, 1, 0);
        put_all(host, LAST + 1, 1);
        move_all_but_last(host);
        leave_last(host);
        for (unsigned key = 0; key < KEYS; key++) { /* everything is on the last disk */
            struct host_operation expected = make(CHORD_PUT, 1, key);
            const struct core_row *row =
                core_store_find(&host_node(host, LAST)->store, expected.key);
            check(row != NULL && strcmp(row->value, expected.value) == 0);
        }
        put_all(host, 4, 1); /* as somebody who copies the rows does */
        join_other(host, true);
        check(host_run_until(host, host_settled, 60000));
        check(host_members(host) == NODES);
        for (int node = 0; node < NODES; node++) {
            check(in_ring(host, node, 0));
            get_all(host, node, 0);
            get_all(host, node, 1);
        }
        end(host);
    }
}

/* A write that comes while the last member leaves is either stored there or not acknowledged. */
static void test_no_write_is_acknowledged_after_the_last_left(void **state) {
    (void)state;
    FOR_SEEDS {
        struct host *host = two_rings();
        move_all_but_last(host);
        struct host_call *calls[KEYS];
        struct host_operation operations[KEYS];
        for (unsigned key = 0; key < KEYS; key++) {
            operations[key] = make(CHORD_PUT, 1, key);
            calls[key] = host_batch(host, LAST, &operations[key], 1, 5000);
            if (key == KEYS / 2) {
                leave_last(host);
            }
            host_run(host, 1);
        }
        host_run(host, 6000);
        unsigned acknowledged = 0;
        for (unsigned key = 0; key < KEYS; key++) {
            check(calls[key]->done);
            const struct core_row *row =
                core_store_find(&host_node(host, LAST)->store, operations[key].key);
            check(calls[key]->operations[0].code != CHORD_OK || row != NULL);
            acknowledged += calls[key]->operations[0].code == CHORD_OK;
        }
        check(acknowledged > 0);
        const struct host_call *refused = calls[KEYS - 1];
        check(refused->operations[0].code == CHORD_UNAVAILABLE);
        check(refused->done_us - refused->started_us < 100000); /* at once */
        check(serves_nothing(host, LAST));
        end(host);
    }
}

static void test_rows_are_not_dropped_without_leave(void **state) {
    (void)state;
    FOR_SEEDS {
        struct host *host = two_rings();
        put_all(host, LAST, 1);
        move_all_but_last(host);
        leave_last(host);
        struct host_call *learn = sync_from_nowhere(host, LAST, true);
        host_run(host, 100);
        check(learn->done && learn->code == CHORD_FAILED_PRECONDITION); /* a member of nothing */
        join_other(host, false); /* refused: the rows are nowhere else */
        check(host_node(host, LAST)->store.rows_count == KEYS);
        end(host);
    }
}

/* The way back: also after the process ended, the last member serves its ring again. */
static void test_the_last_member_returns(void **state) {
    (void)state;
    FOR_SEEDS {
        struct host *host = two_rings();
        put_all(host, LAST, 1);
        move_all_but_last(host);
        leave_last(host);
        host_run(host, 1000);
        uint64_t epoch = host_node(host, LAST)->store.views[0].view.epoch;
        if (seed_now % 2 == 0) {
            host_kill(host, LAST);
            host_run(host, 1000);
            host_start(host, LAST);
            host_run(host, 5000);
            check(status_of(host, LAST).state == CHORD_STATE_LEFT);
            check(status_of(host, LAST).left_last);
            check(serves_nothing(host, LAST));
            check(host_node(host, LAST)->store.views[0].view.epoch == epoch);
        }
        host_join(host, LAST, false);
        host_run(host, 3000);
        check(in_ring(host, LAST, 1));
        get_all(host, LAST, 1);
        put_all(host, LAST, 1);
        end(host);
    }
}

/* Whoever has forgotten a ring sends it nothing any more. */
static void test_the_former_ring_is_forgotten(void **state) {
    (void)state;
    FOR_SEEDS {
        struct host *host = two_rings();
        move_all_but_last(host);
        host_run(host, 3000); /* calls that were under way end */
        astray = 0;
        host_run(host, 20000);
        check(astray == 0);
        end(host);
    }
}

/* A member of the one ring died, and its address is a member of the other one now: what still asks
 * there finds no member of its ring, and no row of the one gets into the other. */
static void test_a_members_address_is_another_rings(void **state) {
    (void)state;
    FOR_SEEDS {
        struct host *host = two_rings();
        const int former = 1;
        put_all(host, 0, 0);
        put_all(host, LAST, 1);
        host_kill(host, former);
        host_wipe(host, former);
        host_node(host, former)->ring = 1;
        host_start(host, former);
        for (int round = 0; round < 20; round++) {
            host_run(host, 1000);
            get_all(host, round % 2 == 0 ? 0 : 2, 0);
            put_all(host, round % 2 == 0 ? 2 : 0, 0);
        }
        check(in_ring(host, former, 1));
        get_all(host, former, 1);
        for (int node = 0; node < NODES; node++) {
            int ring = node == former ? 1 : node / SIZE;
            check(in_ring(host, node, ring));
            check(rows_of_ring(&host_node(host, node)->store, ring));
        }
        end(host);
    }
}

/* The last one alive is not the last member: the rows of the dead are not there. */
static void test_alone_with_less_than_everything(void **state) {
    (void)state;
    FOR_SEEDS {
        struct host *host =
            host_new(&(struct host_config){.seed = seed_now, .m = M, .n = 1, .replicas = 1});
        current = host;
        for (int i = 0; i < 3; i++) {
            host_start(host, host_add(host));
        }
        check(host_run_until(host, host_settled, 60000));
        host_kill(host, 1);
        host_kill(host, 2);
        host_run(host, 20000);
        check(status_of(host, 0).successors.count == 0);
        struct chord_departure leave = {.last = true};
        check(chord_leave_obstacle(host_node(host, 0)->chord, &leave) != NULL);
        end(host);
    }
}

/* A node that is being sent rows of its ring does not go yet: they would come with it. */
static void test_rows_under_way_hold_a_node_back(void **state) {
    (void)state;
    FOR_SEEDS {
        struct host *host = two_rings();
        int node = NODES - 1;
        struct host_call *pull = sync_from_nowhere(host, node, false);
        host_run(host, 5);
        move_begin(host, node);
        while (!pull->done) {
            check(!in_ring(host, node, 0));
            host_run(host, 1);
        }
        for (int i = 0; i < 30000 && !in_ring(host, node, 0); i++) {
            host_run(host, 1);
        }
        check(in_ring(host, node, 0));
        end(host);
    }
}

static void test_what_is_refused(void **state) {
    (void)state;
    struct host *host = two_rings();
    struct chord *chord = host_node(host, LAST)->chord;
    struct chord_departure leave = {.last = true};
    check(chord_leave_obstacle(chord, &leave) != NULL); /* there are others */
    leave.next = entrance_of(host, 0);
    check(chord_leave_obstacle(chord, &leave) != NULL);
    leave.last = false;
    check(chord_leave_obstacle(chord, &leave) == NULL);
    leave.next.seeds_count = 0;
    check(chord_leave_obstacle(chord, &leave) != NULL);
    leave.next = entrance_of(host, 0);
    leave.next.ring.replicas = 2;
    check(chord_leave_obstacle(chord, &leave) != NULL);
    leave.next = entrance_of(host, LAST);
    check(chord_leave_obstacle(chord, &leave) != NULL); /* its own ring */
    struct chord_entrance entrance = entrance_of(host, 0);
    check(chord_join_obstacle(chord, &entrance) != NULL); /* it has not left */
    end(host);
}

/* ---- crashes on the way ---- */

/* Views name members: of ring 0 only nodes that belong to it or go there. */
static bool disk_is_of_one_ring(struct host *host, int node) {
    const struct core_store *store = &host_node(host, node)->store;
    int ring = store->identity.parameters.ring_id[0] - 0x11;
    for (uint16_t i = 0; i < store->views_count; i++) {
        bool other = false;
        for (uint16_t k = 0; k < store->views[i].view.members_count; k++) {
            int member = host_by_address(host, store->views[i].view.members[k].address);
            other = other || (ring == 0 ? member == LAST : member < SIZE);
        }
        if (other) {
            return false;
        }
    }
    return rows_of_ring(store, ring);
}

static void test_a_crash_on_the_way(void **state) {
    (void)state;
    bool before = false, after = false;
    FOR_SEEDS {
        for (unsigned ms = 0; ms < 1500; ms += 75) {
            struct host *host = two_rings();
            int node = NODES - 1;
            put_all(host, 0, 0);
            put_all(host, LAST, 1);
            move(host, LAST + 1);
            move_begin(host, node);
            host_run(host, ms + host_random(host) % 75);
            host_kill(host, node);
            check(disk_is_of_one_ring(host, node));
            bool left = host_node(host, node)->store.identity.parameters.ring_id[0] == 0x11;
            before = before || !left;
            after = after || left;
            host_run(host, 500);
            host_start(host, node);
            for (int i = 0; i < 60000 && !in_ring(host, node, left ? 0 : 1); i++) {
                host_run(host, 1);
            }
            check(in_ring(host, node, left ? 0 : 1));
            if (!left) {
                move(host, node); /* asked again */
            }
            leave_last(host);
            put_all(host, 1, 1);
            join_other(host, true);
            check(host_run_until(host, host_settled, 60000));
            get_all(host, node, 0);
            get_all(host, node, 1);
            end(host);
        }
    }
    check(before && after); /* the crashes lay on both sides */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_two_rings_become_one, teardown),
        cmocka_unit_test_teardown(test_no_write_is_acknowledged_after_the_last_left, teardown),
        cmocka_unit_test_teardown(test_rows_are_not_dropped_without_leave, teardown),
        cmocka_unit_test_teardown(test_the_last_member_returns, teardown),
        cmocka_unit_test_teardown(test_the_former_ring_is_forgotten, teardown),
        cmocka_unit_test_teardown(test_a_members_address_is_another_rings, teardown),
        cmocka_unit_test_teardown(test_alone_with_less_than_everything, teardown),
        cmocka_unit_test_teardown(test_rows_under_way_hold_a_node_back, teardown),
        cmocka_unit_test_teardown(test_what_is_refused, teardown),
        cmocka_unit_test_teardown(test_a_crash_on_the_way, teardown),
    };
    seeds_choose("test_core_rings", 4);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

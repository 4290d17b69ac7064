/* SPDX-License-Identifier: MIT */
/*
 * The core where something is full, late or refused: one member in the fuzzer's world
 * (tests/fuzz/core_world.h), which aborts when the core breaks its contract or its invariant.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "core_world.h"

enum { M = 8, WRITES = 200 };

static struct world world;

/* A world of `members` peers and the core, which joins them, or makes a ring alone. */
static void begin(unsigned members, struct chord_limits limits) {
    struct chord_event start = {.kind = CHORD_EVENT_START};
    memset(&world, 0, sizeof world);
    world.config.limits = limits;
    world.config.timing = chord_timing_default;
    world.config.seed = 1;
    memcpy(world.config.address, "me:1", 5);
    world.config.store_id[0] = 0xee;
    world.now_ms = 1000;
    world.members = members;
    world.parameters = (struct chord_parameters){.m = M, .n = 3, .replicas = 3};
    start.start.wanted = world.parameters;
    start.start.create = members == 0;
    start.start.seeds_count = members > 0;
    memcpy(start.start.seeds[0].text, "p0:1", 5);
    world_start(&world, &start);
}

static const struct chord_limits small = {.peers_max = 26,
                                          .views_max = 16,
                                          .calls_max = 24,
                                          .lookups_max = 4,
                                          .paths_max = 2,
                                          .batches_max = 6,
                                          .transfers_max = 3,
                                          .decisions_max = 3,
                                          .keys_in_flight_max = 8};

static int end(void **state) {
    (void)state;
    if (world.chord != NULL) {
        world_drain(&world);
        world_free(&world);
    }
    return 0;
}

static void tick(void) {
    uint64_t due_ms = chord_deadline(world.chord);
    world_tick(&world, due_ms == UINT64_MAX ? world.now_ms : due_ms);
}

static void store_all(void) {
    struct chord_event stored = {.kind = CHORD_EVENT_STORED};
    stored.stored.ok = stored.stored.done = true;
    for (unsigned i = world.stores_count; i > 0; i--) {
        world_stored(&world, &stored);
    }
}

static void answer(unsigned index) {
    struct chord_response response;
    world_honest(&world, &world.calls[index], &response);
    world_reply(&world, index, &response, OPERATIONS_MAX);
}

/* Honest rounds until the core is a member. */
static void become_member(void) {
    struct chord_status status;
    struct chord_id id = world_id(&world, 0);
    for (unsigned i = 0; i < 50; i++) {
        store_all();
        world_derived(&world, true, &id);
        for (unsigned k = world.calls_count; k > 0; k--) {
            answer(0);
        }
        tick();
        chord_read_status(world.chord, &status);
        if (status.state == CHORD_STATE_MEMBER && i > 5) {
            return;
        }
    }
    fail_msg("it is no member");
}

static int call_find(enum chord_message_kind kind) {
    for (unsigned i = 0; i < world.calls_count; i++) {
        if (world.calls[i].request.kind == kind) {
            return (int)i;
        }
    }
    return -1;
}

static unsigned requests_open(void) {
    unsigned count = 0;
    for (unsigned i = 0; i < REQUESTS_MAX; i++) {
        count += world.requests[i].id != 0;
    }
    return count;
}

static void put(uint8_t key, uint32_t timeout_ms) {
    struct chord_operation operation = {.kind = CHORD_PUT};
    struct chord_request request;
    memset(&request, 0, sizeof request);
    request.kind = CHORD_BATCH;
    operation.hash[0] = operation.hash[CHORD_ID_BYTES - 1] = key;
    world_request(&world, &request, timeout_ms, &operation, 1);
}

static struct chord_view view_of(unsigned lo, unsigned hi, uint64_t epoch, unsigned peer) {
    struct chord_peer leader = world_peer(&world, peer);
    struct chord_view view;
    memset(&view, 0, sizeof view);
    view.range = (struct chord_range){world_id(&world, lo), world_id(&world, hi)};
    view.epoch = epoch;
    view.members_count = 1;
    memcpy(view.members[0].store_id, leader.store_id, CHORD_STORE_ID_BYTES);
    memcpy(view.members[0].address, leader.address, CHORD_ADDRESS_BYTES);
    return view;
}

/* The code of the answer. */
static enum chord_code decided(const struct chord_view *view) {
    struct chord_request request;
    memset(&request, 0, sizeof request);
    request.kind = CHORD_DECIDED;
    request.decided.count = 1;
    request.decided.views[0] = *view;
    world_request(&world, &request, 1000, NULL, 0);
    for (uint16_t i = 0; i < world.actions.count; i++) {
        if (world.actions.items[i].kind == CHORD_ACTION_SEND_REPLY) {
            return world.actions.items[i].send_reply.response.code;
        }
    }
    return CHORD_OK; /* when it is on disk */
}

/* ---- many at once ---- */

/* Their range goes while more writes are in flight than a step has actions. */
static void test_range_goes_under_many_writes(void **state) {
    struct chord_limits limits = small;
    (void)state;
    limits.batches_max = WRITES;
    limits.keys_in_flight_max = WRITES;
    limits.calls_max = 2 * WRITES;
    begin(0, limits);
    become_member();
    for (unsigned i = 0; i < WRITES; i++) {
        put((uint8_t)i, 60000);
    }
    assert_int_equal(requests_open(), WRITES);
    struct chord_view newer = view_of(0, 0, 50, 0);
    newer.range.lo = newer.range.hi = world.self.id;
    assert_int_equal(decided(&newer), CHORD_OK);
    for (unsigned i = 0; i < 10; i++) {
        tick();
    }
    assert_int_equal(requests_open(), 1); /* the Decided itself, until it is on disk */
    store_all();
    assert_int_equal(requests_open(), 0);
}

static void test_more_batches_than_the_table_holds(void **state) {
    (void)state;
    begin(0, small);
    become_member();
    for (unsigned i = 0; i < 10; i++) {
        put((uint8_t)i, 5000);
    }
    assert_int_equal(requests_open(), small.batches_max); /* the others are answered */
}

/* Reads of any member's copy: from its own store, without the leader. */
static void test_stale_read(void **state) {
    struct chord_operation operations[2] = {{.kind = CHORD_GET}, {.kind = CHORD_PUT}};
    struct chord_request request;
    (void)state;
    begin(0, small);
    become_member();
    memset(&request, 0, sizeof request);
    request.kind = CHORD_BATCH;
    request.batch.stale = true;
    world_request(&world, &request, 5000, operations, 2);
    assert_int_equal(world.stores_count, 1);
    assert_int_equal(world.stores[0].kind, CHORD_STORE_READ_OPERATIONS);
    store_all(); /* the read; then the write runs as ever */
    assert_int_equal(world.stores[0].kind, CHORD_STORE_WRITE_OPERATIONS);
    store_all();
    assert_int_equal(requests_open(), 0);
}

static void test_more_keys_than_may_be_in_flight(void **state) {
    struct chord_operation operations[3] = {
        {.kind = CHORD_PUT}, {.kind = CHORD_PUT}, {.kind = CHORD_PUT}};
    struct chord_limits limits = small;
    struct chord_request request;
    (void)state;
    limits.keys_in_flight_max = 2;
    begin(0, limits);
    become_member();
    memset(&request, 0, sizeof request);
    request.kind = CHORD_BATCH;
    for (unsigned i = 0; i < 3; i++) {
        operations[i].hash[0] = (uint8_t)i;
    }
    world_request(&world, &request, 5000, operations, 3);
    assert_int_equal(requests_open(), 0); /* never possible: refused at once */
    put(10, 5000);
    put(20, 5000);
    put(30, 5000);
    assert_int_equal(world.stores_count, 2); /* the third waits */
    store_all();
    tick();
    store_all();
    assert_int_equal(requests_open(), 0);
}

/* ---- a full table of views ---- */

/* A view that there is no room for is not agreed to. */
static void test_full_table_of_views(void **state) {
    (void)state;
    begin(0, small);
    become_member();
    unsigned refused = 0;
    for (unsigned i = 0; i < 16; i++) {
        struct chord_view view = view_of(16 * i, 16 * i + 8, 2, 1);
        refused += decided(&view) == CHORD_RESOURCE_EXHAUSTED;
    }
    assert_true(refused > 0);
    assert_true(chord_views_count(world.chord) <= small.views_max);
}

/* Ranges that are only remembered are joined to make room. */
static void test_remembered_ranges_make_room(void **state) {
    (void)state;
    begin(0, small);
    become_member();
    for (unsigned i = 0; i < 60; i++) {
        struct chord_view view = view_of(4 * i, 4 * i + 4, 2 + i, 1);
        assert_int_equal(decided(&view), CHORD_OK);
        /* Its leader confirms it: nothing of it is held here any more. */
        for (unsigned round = 0; round < 20; round++) {
            int call = call_find(CHORD_GET_VIEW);
            store_all();
            if (call < 0) {
                tick();
                continue;
            }
            struct chord_response response;
            memset(&response, 0, sizeof response);
            response.kind = CHORD_GET_VIEW;
            response.view.has_view = response.view.confirmed = true;
            response.view.view = view;
            world_reply(&world, (unsigned)call, &response, 0);
            break;
        }
    }
    assert_true(chord_views_count(world.chord) <= small.views_max);
}

static void test_stored_views_that_are_none(void **state) {
    (void)state;
    begin(0, small);
    struct chord_stored_view good = {.view = view_of(10, 20, 1, 1)};
    world_free(&world);
    world.chord = chord_init(calloc(1, chord_size(&small)), &world.config);
    struct chord_stored_view bad = good;
    bad.view.epoch = 0;
    assert_false(chord_restore_view(world.chord, &bad));
    bad = good;
    bad.view.leader = 1;
    assert_false(chord_restore_view(world.chord, &bad));
    bad = good;
    bad.view.members_count = 2;
    bad.view.members[1] = bad.view.members[0];
    assert_false(chord_restore_view(world.chord, &bad));
    assert_true(chord_restore_view(world.chord, &good));
    bad.view = view_of(15, 30, 1, 2);
    assert_false(chord_restore_view(world.chord, &bad)); /* overlaps */
    world_free(&world);
}

/* ---- late ---- */

/* The owner is found only after the batch's time: what is still asked has a sane timeout, which
 * core_world checks. */
static void test_owner_found_after_the_deadline(void **state) {
    (void)state;
    begin(7, small);
    become_member();
    for (unsigned i = 0; i < 7; i++) {
        put((uint8_t)(40 + 30 * i), 1000);
    }
    world.now_ms += 5000;
    for (unsigned i = 0; i < 30 && world.calls_count > 0; i++) {
        answer(world.calls_count - 1);
    }
    tick();
    assert_int_equal(requests_open(), 0);
}

/* The Sync of a change that was given up says nothing of the next one. */
static void test_answer_of_an_abandoned_sync(void **state) {
    (void)state;
    begin(0, small);
    become_member();
    world.members = 3;
    struct chord_request join;
    memset(&join, 0, sizeof join);
    join.kind = CHORD_JOIN;
    join.has_sender = true;
    join.sender = world_peer(&world, 2);
    world_request(&world, &join, 1000, NULL, 0);
    assert_true(call_find(CHORD_GENESIS) < 0); /* first it is asked at its address */
    assert_true(call_find(CHORD_PING) >= 0);
    answer((unsigned)call_find(CHORD_PING));
    world_request(&world, &join, 1000, NULL, 0);
    int call = call_find(CHORD_GENESIS);
    assert_true(call >= 0);
    answer((unsigned)call);
    for (unsigned i = 0; i < 50 && call_find(CHORD_SYNC) < 0; i++) {
        store_all();
        tick();
    }
    call = call_find(CHORD_SYNC);
    assert_true(call >= 0);
    struct world_call first = world.calls[call];
    put(1, 5000);
    call = call_find(CHORD_APPLY);
    assert_true(call >= 0);
    world_failure(&world, (unsigned)call, true); /* the newcomer missed a write */
    struct world_call second = first;
    for (unsigned i = 0; i < 50 && second.id == first.id; i++) {
        store_all();
        tick();
        for (unsigned k = 0; k < world.calls_count; k++) {
            second = world.calls[k].request.kind == CHORD_SYNC ? world.calls[k] : second;
        }
    }
    assert_true(second.id != first.id);
    for (unsigned k = 0; k < world.calls_count; k++) {
        if (world.calls[k].id == first.id) {
            answer(k);
            break;
        }
    }
    assert_true(call_find(CHORD_DECIDED) < 0);
    for (unsigned k = 0; k < world.calls_count; k++) {
        if (world.calls[k].id == second.id) {
            answer(k);
            break;
        }
    }
    for (unsigned i = 0; i < 50 && call_find(CHORD_DECIDED) < 0; i++) {
        store_all();
        tick();
    }
    assert_true(call_find(CHORD_DECIDED) >= 0);
}

/* A member that finds its own id in the ring joins anew. What it was asked in its former life, and
 * for that life only, is still answered once. */
static void test_another_member_with_this_id(void **state) {
    struct chord_operation operation = {.kind = CHORD_GET, .hash = {100}};
    struct chord_request request;
    struct chord_response response;
    int call = -1;
    (void)state;
    begin(7, small);
    become_member();
    memset(&request, 0, sizeof request);
    request.kind = CHORD_BATCH;
    request.target_incarnation = world.self.incarnation;
    world_request(&world, &request, 60000, &operation, 1);
    for (unsigned i = 0; i < 200 && call < 0; i++) {
        for (unsigned k = 0; k < world.calls_count; k++) {
            const struct chord_request *asked = &world.calls[k].request;
            bool find = asked->kind == CHORD_FIND_SUCCESSOR;
            call = find && id_equal(&asked->id, &world.self.id) ? (int)k : call;
        }
        for (unsigned k = world.calls_count; k > 0 && call < 0; k--) {
            if (world.calls[k - 1].request.kind != CHORD_BATCH) {
                answer(k - 1);
            }
        }
        if (call < 0) {
            tick();
        }
    }
    assert_true(call >= 0);
    uint64_t incarnation = world.self.incarnation;
    world_honest(&world, &world.calls[call], &response);
    response.ring.node.id = world.self.id;
    world_reply(&world, (unsigned)call, &response, 0);
    assert_true(world.self.incarnation > incarnation);
    assert_int_equal(requests_open(), 1);
    for (unsigned i = world.calls_count; i > 0; i--) {
        world_failure(&world, 0, false);
    }
    for (unsigned i = 0; i < 20; i++) {
        tick();
    }
    assert_int_equal(requests_open(), 0);
}

/* ---- joining ---- */

static void seed_says(void (*change)(struct chord_response *response)) {
    struct chord_response response;
    begin(4, small);
    tick();
    int call = call_find(CHORD_PING);
    assert_true(call >= 0);
    world_honest(&world, &world.calls[call], &response);
    change(&response);
    world_reply(&world, (unsigned)call, &response, 0);
}

static void another_m(struct chord_response *response) {
    response->ping.parameters.m = M + 1;
}

static void no_ring(struct chord_response *response) {
    response->ping.parameters.m = 300;
}

static void nobody(struct chord_response *response) {
    response->ping.self.incarnation = 0;
}

static void test_seeds(void **state) {
    (void)state;
    seed_says(another_m);
    assert_true(world.refused); /* it was asked to have this M and no other */
    world_free(&world);
    seed_says(no_ring);
    assert_false(world.refused);
    assert_int_equal(world.deriving, 0);
    world_free(&world);
    seed_says(nobody);
    assert_int_equal(world.deriving, 0);
}

/* What a ring was made with never changes, whoever says so. */
static void test_known_ring_with_another_m(void **state) {
    struct chord_event start = {.kind = CHORD_EVENT_START};
    struct chord_response response;
    (void)state;
    begin(4, small);
    start.start.stored.incarnation = 1;
    start.start.stored.parameters = world.parameters;
    start.start.seeds_count = 1;
    memcpy(start.start.seeds[0].text, "p0:1", 5);
    world_restart(&world, &start);
    tick();
    world_honest(&world, &world.calls[call_find(CHORD_PING)], &response);
    response.ping.parameters.m = M + 1;
    world_reply(&world, (unsigned)call_find(CHORD_PING), &response, 0);
    struct chord_status status;
    chord_read_status(world.chord, &status);
    assert_int_equal(status.parameters.m, M);
    assert_true(call_find(CHORD_FIND_SUCCESSOR) < 0); /* nor does it join through that one */
}

/* Up to the Join that the successor to be is asked; its number among the calls. */
static unsigned until_join(void) {
    struct chord_id id = world_id(&world, 0);
    begin(4, small);
    for (unsigned i = 0; i < 20 && call_find(CHORD_JOIN) < 0; i++) {
        tick();
        world_derived(&world, true, &id);
        for (unsigned k = world.calls_count; k > 0 && call_find(CHORD_JOIN) < 0; k--) {
            answer(0);
        }
    }
    assert_true(call_find(CHORD_JOIN) >= 0);
    return (unsigned)call_find(CHORD_JOIN);
}

static void test_nobody_makes_a_joiner_wait_for_days(void **state) {
    struct chord_response response = {.kind = CHORD_JOIN, .retry_after_ms = UINT32_MAX};
    (void)state;
    response.join.result = CHORD_JOIN_WAIT;
    world_reply(&world, until_join(), &response, 0);
    assert_true(chord_deadline(world.chord) <= world.now_ms + 10000);
}

/* Every id is taken, says the ring; then the walk meets a peer that is none. */
static void test_walk_over_what_is_no_ring(void **state) {
    struct chord_response response = {.kind = CHORD_JOIN};
    struct chord_id id;
    (void)state;
    response.join.result = CHORD_JOIN_ID_IN_USE;
    unsigned call = until_join();
    for (unsigned i = 0; i < 4; i++) {
        world_reply(&world, call, &response, 0);
        id = world_id(&world, i + 1);
        world_derived(&world, true, &id);
        for (unsigned k = 0; k < 5 && call_find(CHORD_FIND_SUCCESSOR) >= 0; k++) {
            answer((unsigned)call_find(CHORD_FIND_SUCCESSOR));
        }
        if (call_find(CHORD_JOIN) < 0) {
            break;
        }
        call = (unsigned)call_find(CHORD_JOIN);
    }
    tick();
    assert_true(call_find(CHORD_GET_SUCCESSORS) >= 0);
    memset(&response, 0, sizeof response);
    response.kind = CHORD_GET_SUCCESSORS;
    response.ring.busy = true;
    world_reply(&world, (unsigned)call_find(CHORD_GET_SUCCESSORS), &response, 0);
    tick();
    assert_true(call_find(CHORD_GET_SUCCESSORS) >= 0); /* asked again */
    response.ring.busy = false;
    response.ring.successors.count = 1;
    response.ring.successors.items[0] = world_peer(&world, 1);
    memset(&response.ring.successors.items[0].id, 0xff, sizeof(struct chord_id));
    world_reply(&world, (unsigned)call_find(CHORD_GET_SUCCESSORS), &response, 0);
    assert_true(call_find(CHORD_GET_SUCCESSORS) < 0);
    tick();
    assert_true(call_find(CHORD_PING) >= 0); /* from the beginning */
}

static void test_no_salt(void **state) {
    struct chord_id none = {{0}};
    (void)state;
    begin(4, small);
    tick();
    answer((unsigned)call_find(CHORD_PING));
    assert_int_equal(world.deriving, 1);
    world_derived(&world, false, &none);
    assert_true(world.refused);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_range_goes_under_many_writes, end),
        cmocka_unit_test_teardown(test_more_batches_than_the_table_holds, end),
        cmocka_unit_test_teardown(test_stale_read, end),
        cmocka_unit_test_teardown(test_more_keys_than_may_be_in_flight, end),
        cmocka_unit_test_teardown(test_full_table_of_views, end),
        cmocka_unit_test_teardown(test_remembered_ranges_make_room, end),
        cmocka_unit_test_teardown(test_stored_views_that_are_none, end),
        cmocka_unit_test_teardown(test_owner_found_after_the_deadline, end),
        cmocka_unit_test_teardown(test_answer_of_an_abandoned_sync, end),
        cmocka_unit_test_teardown(test_another_member_with_this_id, end),
        cmocka_unit_test_teardown(test_seeds, end),
        cmocka_unit_test_teardown(test_known_ring_with_another_m, end),
        cmocka_unit_test_teardown(test_nobody_makes_a_joiner_wait_for_days, end),
        cmocka_unit_test_teardown(test_walk_over_what_is_no_ring, end),
        cmocka_unit_test_teardown(test_no_salt, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

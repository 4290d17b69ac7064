/* SPDX-License-Identifier: MIT */
/*
 * The verdicts of chordctl doctor, each on a healthy ring of four in which one thing is wrong.
 */
#include "checkup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { NODES = 4, N = 3, REPLICAS = 3, M = 8 };

/* Node i has the id 0x10 + 0x40 * i, leads what lies before it, and its two successors hold that.
 */
struct world {
    struct ring_node nodes[NODES];
    Chord__V1__StatusResponse statuses[NODES];
    Chord__V1__Peer peers[NODES];
    Chord__V1__Peer *successors[NODES][N];
    Chord__V1__RingParameters parameters[NODES];
    Chord__V1__RangeStatus ranges[NODES][REPLICAS];
    Chord__V1__RangeStatus *lists[NODES][REPLICAS];
    Chord__V1__View views[NODES][REPLICAS];
    Chord__V1__Range intervals[NODES];
    Chord__V1__Member members[NODES];
    Chord__V1__Member *seats[NODES][REPLICAS];
    uint8_t ids[NODES];
    char addresses[NODES][24], versions[NODES][8];
    struct ring_walk walk;
};

static struct world world;
static struct checkup checkup;

static ProtobufCBinaryData id(unsigned node) {
    return (ProtobufCBinaryData){1, &world.ids[node % NODES]};
}

static void add_range(unsigned node, unsigned of, unsigned at) {
    Chord__V1__RangeStatus *range = &world.ranges[node][at];
    Chord__V1__View *view = &world.views[node][at];
    chord__v1__range_status__init(range);
    chord__v1__view__init(view);
    view->range = &world.intervals[of];
    view->epoch = 5;
    view->n_members = REPLICAS;
    view->members = world.seats[of];
    range->view = view;
    range->state = at == 0 ? CHORD__V1__RANGE_STATE__RANGE_STATE_OPEN
                           : CHORD__V1__RANGE_STATE__RANGE_STATE_REPLICA;
    range->copies = at == 0 ? REPLICAS : 0;
    world.lists[node][at] = range;
}

static int set_up(void **state) {
    (void)state;
    memset(&world, 0, sizeof world);
    for (unsigned i = 0; i < NODES; i++) {
        world.ids[i] = (uint8_t)(0x10 + 0x40 * i);
        snprintf(world.addresses[i], sizeof world.addresses[i], "127.0.0.1:%u", 4001 + i);
        snprintf(world.versions[i], sizeof world.versions[i], "1.0");
        chord__v1__peer__init(&world.peers[i]);
        world.peers[i].id = id(i);
        world.peers[i].address = world.addresses[i];
        chord__v1__member__init(&world.members[i]);
        world.members[i].address = world.addresses[i];
        world.members[i].store_id = id(i);
        chord__v1__ring_parameters__init(&world.parameters[i]);
        world.parameters[i].m = M;
        world.parameters[i].n = N;
        world.parameters[i].replicas = REPLICAS;
    }
    for (unsigned i = 0; i < NODES; i++) {
        chord__v1__range__init(&world.intervals[i]);
        world.intervals[i].lo = id(i + NODES - 1);
        world.intervals[i].hi = id(i);
        for (unsigned k = 0; k < REPLICAS; k++) {
            world.seats[i][k] = &world.members[(i + k) % NODES];
        }
    }
    for (unsigned i = 0; i < NODES; i++) {
        Chord__V1__StatusResponse *status = &world.statuses[i];
        chord__v1__status_response__init(status);
        status->self = &world.peers[i];
        status->state = CHORD__V1__NODE_STATE__NODE_STATE_MEMBER;
        status->parameters = &world.parameters[i];
        status->predecessor = &world.peers[(i + NODES - 1) % NODES];
        for (unsigned k = 0; k < N; k++) {
            world.successors[i][k] = &world.peers[(i + 1 + k) % NODES];
        }
        status->successors = world.successors[i];
        status->n_successors = N;
        for (unsigned k = 0; k < REPLICAS; k++) {
            add_range(i, (i + NODES - k) % NODES, k);
        }
        status->ranges = world.lists[i];
        status->n_ranges = REPLICAS;
        status->survives_failures = 1;
        status->synchronous = 2;
        status->disk_free_bytes = 1ull << 40;
        status->version = world.versions[i];
        struct ring_node *node = &world.nodes[i];
        node->status = status;
        node->clock_known = true;
        node->clock_ahead_ms = 5000 + 100 * i; /* ours is the one that is wrong */
        node->clock_trip_ms = 4;
        snprintf(node->address, sizeof node->address, "%s", world.addresses[i]);
        snprintf(node->id, sizeof node->id, "%02x", world.ids[i]);
    }
    world.walk = (struct ring_walk){.nodes = world.nodes, .nodes_count = NODES, .m = M};
    return 0;
}

static const struct check *look(const char *name) {
    survival_free(&checkup.verdict.survival); /* of the look before */
    checkup_make(&world.walk, &checkup);
    for (size_t i = 0; i < checkup.count; i++) {
        if (strcmp(checkup.checks[i].name, name) == 0) {
            return &checkup.checks[i];
        }
    }
    fail_msg("there is no check %s", name);
    return NULL;
}

/* That check says so, with that in its reason; and it decides the whole. */
static void expect(const char *name, enum checkup_level level, const char *text) {
    const struct check *check = look(name);
    if (check->level != level || strstr(check->reason, text) == NULL) {
        fail_msg("%s: %s %s", name, checkup_level_text(check->level), check->reason);
    }
    assert_true(checkup.worst >= level);
}

/* Node `i` is gone without an answer. */
static void gone(unsigned i) {
    world.nodes[i].status = NULL;
}

static void test_healthy(void **state) {
    (void)state;
    survival_free(&checkup.verdict.survival); /* of the look before */
    checkup_make(&world.walk, &checkup);
    for (size_t i = 0; i < checkup.count; i++) {
        if (checkup.checks[i].level != CHECKUP_PASS) {
            fail_msg("%s: %s", checkup.checks[i].name, checkup.checks[i].reason);
        }
        assert_string_equal(checkup.checks[i].advice, "");
    }
    assert_int_equal(checkup.worst, CHECKUP_PASS);
    expect("clocks", CHECKUP_PASS, "differ by 0.300 s, measured to 0.003 s");
    expect("copies", CHECKUP_PASS, "3 of 3");
}

static void test_one_down(void **state) {
    (void)state;
    gone(2);
    world.ranges[0][0].copies = 2;
    world.ranges[1][0].copies = 2;
    expect("nodes", CHECKUP_WARN, "node 90");
    expect("lists", CHECKUP_WARN, "should be");
    expect("members", CHECKUP_WARN, "fewer than N+1");
    expect("copies", CHECKUP_WARN, "2 of 3");
    expect("leaders", CHECKUP_FAIL, "nobody leads the keys (50, 90]");
    assert_int_equal(checkup.worst, CHECKUP_FAIL);
}

static void test_nobody(void **state) {
    (void)state;
    for (unsigned i = 0; i < NODES; i++) {
        gone(i);
    }
    expect("nodes", CHECKUP_FAIL, "no node that answers is a member");
    expect("leaders", CHECKUP_FAIL, "nobody leads any range");
    static const char *const of_members[] = {"parameters", "lists",  "invariant", "members",
                                             "majorities", "owners", "views",     "copies",
                                             "recovered",  "rows",   "disk",      "clocks"};
    for (size_t i = 0; i < sizeof of_members / sizeof of_members[0]; i++) {
        expect(of_members[i], CHECKUP_PASS, "skipped");
    }
}

static void test_no_majority(void **state) {
    (void)state;
    world.ranges[1][0].copies = 1;
    expect("copies", CHECKUP_FAIL, "(10, 50] has 1 complete copies of 3: no majority");
    expect("majorities", CHECKUP_PASS, "");
    gone(2);
    gone(3);
    expect("majorities", CHECKUP_FAIL, "50 % of the ids have lost their majority; start ");
}

static void test_two_leaders(void **state) {
    (void)state;
    world.views[1][1].leader = 1; /* node 1 says that it leads node 0's range as well */
    world.ranges[1][1].state = CHORD__V1__RANGE_STATE__RANGE_STATE_OPEN;
    expect("leaders", CHECKUP_FAIL, "both lead a part of (d0, 10] at the same epoch");
    world.views[1][1].epoch = 4;
    expect("leaders", CHECKUP_WARN, "at different epochs");
}

static void test_overlap(void **state) {
    (void)state;
    Chord__V1__Range wide = world.intervals[1];
    wide.lo = id(3); /* (d0, 50] and (d0, 10] */
    world.views[1][0].range = &wide;
    expect("leaders", CHECKUP_FAIL, "both lead a part");
}

static void test_not_open(void **state) {
    (void)state;
    world.ranges[3][0].state = CHORD__V1__RANGE_STATE__RANGE_STATE_SETTLING;
    expect("leaders", CHECKUP_WARN, "(90, d0] of node d0 is not open yet");
}

static void test_whole_ring_of_one(void **state) {
    (void)state;
    Chord__V1__Range whole = world.intervals[0];
    whole.lo = whole.hi;
    world.views[0][0].range = &whole;
    world.views[0][0].n_members = 1;
    world.ranges[0][0].copies = 1;
    world.statuses[0].n_ranges = 1;
    world.walk.nodes_count = 1;
    expect("leaders", CHECKUP_PASS, "");
    expect("owners", CHECKUP_PASS, "");
    expect("copies", CHECKUP_PASS, "1 of 1");
}

static void test_not_the_owner(void **state) {
    (void)state;
    for (unsigned k = 0; k < REPLICAS; k++) { /* node 2 leads node 1's range, in everybody's eyes */
        world.views[1 + k][k].leader = 1;
    }
    world.ranges[2][1].state = CHORD__V1__RANGE_STATE__RANGE_STATE_OPEN;
    world.ranges[2][1].copies = 3;
    world.ranges[1][0].state = CHORD__V1__RANGE_STATE__RANGE_STATE_REPLICA;
    expect("leaders", CHECKUP_PASS, "");
    expect("views", CHECKUP_PASS, "");
    expect("owners", CHECKUP_WARN, "belongs to node 50 and is still led by 90");
}

static void test_views_differ(void **state) {
    (void)state;
    world.views[2][1].epoch = 4;
    expect("views", CHECKUP_WARN, "node 90 has not switched to the view of (10, 50] at epoch 5");
    world.views[2][1].epoch = 6;
    expect("views", CHECKUP_WARN, "newer view");
    world.views[2][1].epoch = 5;
    world.views[2][1].leader = 2;
    expect("views", CHECKUP_FAIL, "different views of (10, 50] for the same epoch 5");
    world.statuses[2].n_ranges = 1;
    expect("views", CHECKUP_WARN, "not switched");
}

static void test_recovered(void **state) {
    (void)state;
    world.views[1][0].recovered = 1;
    expect("recovered", CHECKUP_WARN, "(10, 50]");
}

static void test_invariant(void **state) {
    (void)state;
    world.statuses[1].invariant = (char *)(uintptr_t) "a successor list is out of order";
    expect("invariant", CHECKUP_FAIL, "node 50: a successor list");
}

static void test_lists(void **state) {
    (void)state;
    world.statuses[1].predecessor = &world.peers[2];
    expect("lists", CHECKUP_WARN, "the predecessor of node 50");
}

static void test_disk(void **state) {
    (void)state;
    world.statuses[1].disk_free_bytes = 1024 * 1024;
    expect("disk", CHECKUP_WARN, "has 1 MiB left");
    world.statuses[2].synchronous = 1;
    expect("disk", CHECKUP_FAIL, "synchronous=1");
    world.statuses[2].synchronous = 2;
    world.statuses[3].read_only = 1;
    expect("disk", CHECKUP_FAIL, "is full");
}

static void test_bad_rows(void **state) {
    (void)state;
    world.statuses[1].bad_rows = 1;
    world.statuses[2].bad_rows = 7;
    expect("rows", CHECKUP_FAIL, "has 1 row that");
    assert_int_equal(look("rows")->more, 1);
}

/* An hour between two clocks is harmless; a node of an older version tells none, nor of its disk.
 */
static void test_clocks(void **state) {
    (void)state;
    world.nodes[1].clock_ahead_ms += 3600 * 1000;
    expect("clocks", CHECKUP_PASS, "differ by 3600.1");
    for (unsigned i = 0; i < NODES; i++) {
        world.nodes[i].clock_known = false;
        world.versions[i][0] = '\0';
        world.statuses[i].disk_free_bytes = world.statuses[i].synchronous = 0;
    }
    expect("clocks", CHECKUP_PASS, "skipped");
    expect("disk", CHECKUP_PASS, "");
}

static void test_parameters(void **state) {
    (void)state;
    world.versions[1][0] = '2';
    expect("parameters", CHECKUP_WARN, "of version 1.0 and 127.0.0.1:4002 of 2.0");
    world.parameters[2].replicas = 2;
    expect("parameters", CHECKUP_FAIL, "different M, N or REPLICAS");
    world.parameters[3].ring_id = id(1);
    expect("parameters", CHECKUP_FAIL, "different M"); /* the first of the worst */
    world.parameters[2].replicas = REPLICAS;
    expect("parameters", CHECKUP_FAIL, "two rings");
}

static void test_survives_nothing(void **state) {
    (void)state;
    world.ranges[1][0].copies = 2; /* of three: what the nodes themselves guess does not count */
    expect("members", CHECKUP_WARN, "no further failure");
}

/* Lists have N entries, and as many more as lead to another host; the copies are one on each. */
static void test_hosts(void **state) {
    (void)state;
    for (unsigned i = 0; i < NODES; i++) {
        world.peers[i].host_id = 1 + i;
    }
    expect("members", CHECKUP_PASS, "or any 1 of 4 hosts");
    expect("lists", CHECKUP_PASS, "what it should be");
    world.peers[1].host_id = world.peers[2].host_id = world.peers[0].host_id;
    for (unsigned i = 0; i < NODES; i++) {
        world.parameters[i].n = N - 1;
        world.statuses[i].n_successors = N - 1;
    }
    expect("members", CHECKUP_WARN, "but none of 2 hosts");
    expect("lists", CHECKUP_WARN, "successor 3 of node 10 is missing");
    world.statuses[0].n_successors = N; /* two on its own host, and the fourth on another */
    expect("lists", CHECKUP_PASS, "what it should be");
    world.statuses[1].n_successors = N;
    expect("lists", CHECKUP_WARN, "node 50 lists 127.0.0.1:4001");
}

static void test_joining_and_warnings(void **state) {
    (void)state;
    world.statuses[3].warning = (char *)(uintptr_t) "the ring is forming";
    expect("warnings", CHECKUP_WARN, "the ring is forming");
    world.statuses[3].state = CHORD__V1__NODE_STATE__NODE_STATE_JOINING;
    expect("nodes", CHECKUP_WARN, "node d0 at 127.0.0.1:4004 is joining");
}

#define TEST(name) cmocka_unit_test_setup(name, set_up)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_healthy),
        TEST(test_one_down),
        TEST(test_nobody),
        TEST(test_no_majority),
        TEST(test_two_leaders),
        TEST(test_overlap),
        TEST(test_not_open),
        TEST(test_not_the_owner),
        TEST(test_whole_ring_of_one),
        TEST(test_views_differ),
        TEST(test_recovered),
        TEST(test_invariant),
        TEST(test_lists),
        TEST(test_disk),
        TEST(test_bad_rows),
        TEST(test_clocks),
        TEST(test_parameters),
        TEST(test_survives_nothing),
        TEST(test_hosts),
        TEST(test_joining_and_warnings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

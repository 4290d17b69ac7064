/* SPDX-License-Identifier: MIT */
/*
 * What a ring still bears (proto/clients/c/ring_survival.c), case by case: rings are written as the
 * views that each node tells of, answers as what a person would count.
 */
#include "ring_survival.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { NODES_MAX = 6, VIEWS_MAX = 8, M = 8 };

/* A view as the nodes `tellers` tell of it; the leader is the first member. Nodes are digits. */
struct told {
    uint8_t lo, hi;
    uint64_t epoch;
    const char *members, *tellers;
    uint32_t copies; /* as the leader knows */
    uint64_t keys;
};

struct example {
    const char *name;
    const char *dead; /* digits */
    struct told views[VIEWS_MAX];
    uint32_t failures;
    uint64_t keys, keys_lost;
    unsigned lost_percent; /* of the ids */
    const char *text;
};

static const struct example examples[] = {
    {"five whole",
     "",
     {{0, 50, 5, "123", "123", 3, 10},
      {50, 100, 5, "234", "234", 3, 20},
      {100, 150, 5, "345", "345", 3, 30},
      {150, 200, 5, "451", "451", 3, 40},
      {200, 0, 5, "512", "512", 3, 50}},
     1,
     150,
     0,
     0,
     ""},
    {"two of five dead: three ranges lost, either brings them back",
     "12",
     {{0, 64, 5, "123", "123", 3, 10},
      {64, 128, 5, "234", "234", 3, 20},
      {128, 160, 5, "345", "345", 3, 30},
      {160, 192, 5, "451", "451", 3, 40},
      {192, 0, 5, "512", "512", 3, 50}},
     0,
     150,
     60,
     50,
     "40 % of the keys have lost their majority; start n1 or n2"},
    {"one dead: none lost, nothing more is borne",
     "1",
     {{0, 128, 5, "123", "123", 3, 10}, {128, 0, 5, "234", "234", 3, 20}},
     0,
     30,
     0,
     0,
     ""},
    {"a copy is not whole yet", "", {{0, 0, 5, "123", "123", 2, 10}}, 0, 10, 0, 0, ""},
    {"five copies bear two", "", {{0, 0, 5, "12345", "12345", 5, 10}}, 2, 10, 0, 0, ""},
    {"a newer view counts, whoever tells of the older one",
     "1",
     {{0, 0, 5, "123", "1", 3, 99}, {0, 0, 6, "234", "234", 3, 10}},
     1,
     10,
     0,
     0,
     ""},
    {"a dead node alone tells of the newest view of a half",
     "12",
     {{0, 0, 5, "345", "345", 3, 100}, {0, 128, 6, "123", "1", 3, 30}},
     0,
     80,
     30,
     50,
     "38 % of the keys have lost their majority; start n1 or n2"},
    {"both must come back",
     "1234",
     {{0, 128, 5, "126", "126", 3, 10}, {128, 0, 5, "346", "346", 3, 10}},
     0,
     20,
     20,
     100,
     "all keys have lost their majority; start n1 and n3"},
    {"keys that nobody counted: the share of ids",
     "12",
     {{0, 64, 5, "123", "3", 0, 0}, {64, 0, 5, "345", "345", 3, 0}},
     0,
     0,
     0,
     25,
     "25 % of the ids have lost their majority; start n1 or n2"},
    {"nobody tells of a quarter",
     "12",
     {{64, 0, 5, "345", "345", 3, 9}},
     0,
     9,
     0,
     25,
     "25 % of the ids have lost their majority; start the nodes that are down"},
    {"one node alone", "", {{7, 7, 1, "1", "1", 1, 4}}, 0, 4, 0, 0, ""},
    {"nobody at all", "", {{0}}, 0, 0, 0, 0, ""},
};

struct world {
    char addresses[NODES_MAX + 1][8];
    uint8_t bytes[VIEWS_MAX][2], ring_id[16];
    Chord__V1__Member members[NODES_MAX + 1];
    Chord__V1__Member *seats[VIEWS_MAX][NODES_MAX];
    Chord__V1__Range ranges[VIEWS_MAX];
    Chord__V1__View views[VIEWS_MAX];
    Chord__V1__RingParameters parameters;
    Chord__V1__RangeStatus statuses[NODES_MAX + 1][VIEWS_MAX];
    Chord__V1__RangeStatus *lists[NODES_MAX + 1][VIEWS_MAX];
    Chord__V1__StatusResponse answers[NODES_MAX + 1];
    Chord__V1__Peer selves[NODES_MAX + 1];
    struct survival_node nodes[NODES_MAX];
};

static void tell(struct world *world, const struct told *told, unsigned v) {
    Chord__V1__View *view = &world->views[v];
    world->bytes[v][0] = told->lo;
    world->bytes[v][1] = told->hi;
    chord__v1__range__init(&world->ranges[v]);
    world->ranges[v].lo = (ProtobufCBinaryData){1, &world->bytes[v][0]};
    world->ranges[v].hi = (ProtobufCBinaryData){1, &world->bytes[v][1]};
    chord__v1__view__init(view);
    view->range = &world->ranges[v];
    view->epoch = told->epoch;
    view->members = world->seats[v];
    for (const char *c = told->members; *c != '\0'; c++) {
        world->seats[v][view->n_members++] = &world->members[*c - '0'];
    }
    for (const char *c = told->tellers; *c != '\0'; c++) {
        unsigned node = (unsigned)(*c - '0');
        Chord__V1__StatusResponse *answer = &world->answers[node];
        Chord__V1__RangeStatus *status = &world->statuses[node][answer->n_ranges];
        bool leads = *c == told->members[0];
        chord__v1__range_status__init(status);
        status->view = view;
        status->state = leads ? CHORD__V1__RANGE_STATE__RANGE_STATE_OPEN
                              : CHORD__V1__RANGE_STATE__RANGE_STATE_REPLICA;
        status->copies = leads ? told->copies : 0;
        status->keys = told->keys;
        world->lists[node][answer->n_ranges++] = status;
    }
}

static void build(struct world *world, const struct example *example) {
    memset(world, 0, sizeof *world);
    chord__v1__ring_parameters__init(&world->parameters);
    world->parameters.ring_id = (ProtobufCBinaryData){16, world->ring_id};
    for (unsigned i = 1; i <= NODES_MAX; i++) {
        snprintf(world->addresses[i], sizeof world->addresses[i], "n%u", i);
        chord__v1__member__init(&world->members[i]);
        world->members[i].address = world->addresses[i];
        chord__v1__status_response__init(&world->answers[i]);
        world->answers[i].parameters = &world->parameters;
        world->answers[i].state = CHORD__V1__NODE_STATE__NODE_STATE_MEMBER;
        world->answers[i].ranges = world->lists[i];
        /* The order of the nodes must not matter. */
        world->nodes[NODES_MAX - i] = (struct survival_node){
            world->addresses[i], strchr(example->dead, (int)('0' + i)) == NULL, &world->answers[i]};
    }
    for (unsigned v = 0; v < VIEWS_MAX && example->views[v].members != NULL; v++) {
        tell(world, &example->views[v], v);
    }
}

static void test_examples(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof examples / sizeof examples[0]; i++) {
        const struct example *example = &examples[i];
        static struct world world;
        struct survival survival;
        char text[400];
        build(&world, example);
        assert_true(survival_make(world.nodes, NODES_MAX, M, &survival));
        survival_text(&survival, text, sizeof text);
        unsigned percent = (unsigned)(100 * survival.ids_lost + 0.5);
        if (survival.failures != example->failures || survival.keys != example->keys ||
            survival.keys_lost != example->keys_lost || percent != example->lost_percent ||
            strcmp(text, example->text) != 0) {
            fail_msg("%s: survives %u, %llu keys, %llu lost, %u %%: %s", example->name,
                     survival.failures, (unsigned long long)survival.keys,
                     (unsigned long long)survival.keys_lost, percent, text);
        }
        survival_free(&survival);
    }
}

/* What a dead node last said of a former ring, and what one that left still lists, do not count. */
static void test_other_rings_and_left(void **state) {
    (void)state;
    static struct world world;
    struct survival survival;
    Chord__V1__RingParameters other = CHORD__V1__RING_PARAMETERS__INIT;
    uint8_t other_id[16] = {9};
    build(&world, &(struct example){
                      .dead = "1",
                      .views = {{0, 0, 9, "123", "1", 3, 99}, {0, 0, 5, "456", "456", 3, 10}}});
    other.ring_id = (ProtobufCBinaryData){16, other_id};
    world.answers[1].parameters = &other;
    assert_true(survival_make(world.nodes, NODES_MAX, M, &survival));
    assert_int_equal(survival.keys, 10);
    assert_int_equal(survival.failures, 1);
    survival_free(&survival);
    world.answers[1].parameters = &world.parameters;
    world.answers[1].state = CHORD__V1__NODE_STATE__NODE_STATE_LEFT;
    assert_true(survival_make(world.nodes, NODES_MAX, M, &survival));
    assert_int_equal(survival.keys, 10);
    survival_free(&survival);
}

/* Node i is on the host of that letter; '-': nobody knows. */
static void place(struct world *world, const char *hosts) {
    static char names[NODES_MAX + 1][2];
    for (unsigned i = 1; i <= NODES_MAX; i++) {
        chord__v1__peer__init(&world->selves[i]);
        world->selves[i].host_id = hosts[i - 1] == '-' ? 0 : (uint64_t)hosts[i - 1];
        world->answers[i].self = &world->selves[i];
        names[i][0] = hosts[i - 1];
        world->answers[i].host_name = names[i];
    }
}

static void test_hosts(void **state) {
    (void)state;
    static const struct {
        const char *name, *hosts, *dead, *text;
        struct told views[VIEWS_MAX];
        unsigned failures, count;
    } cases[] = {
        {"a copy on each of three",
         "abcabc",
         "",
         ", or any 1 of 3 hosts",
         {{0, 128, 5, "123", "123", 3, 1}, {128, 0, 5, "426", "426", 3, 1}},
         1,
         3},
        {"one range has two copies on a",
         "abcabc",
         "",
         ", but none of 3 hosts: without a 25 % of the ids have no majority",
         {{0, 64, 5, "142", "142", 3, 1}, {64, 0, 5, "456", "456", 3, 1}},
         0,
         3},
        {"two hosts",
         "ababab",
         "",
         ", but none of 2 hosts: without a 75 % of the ids have no majority",
         {{0, 64, 5, "124", "124", 3, 1}, {64, 0, 5, "135", "135", 3, 1}},
         0,
         2},
        {"one host", "aaaaaa", "", "", {{0, 0, 5, "123", "123", 3, 1}}, 0, 1},
        {"two that nobody knows count as one",
         "a--bcd",
         "",
         ", but none of 5 hosts: without - 100 % of the ids have no majority",
         {{0, 0, 5, "123", "123", 3, 1}},
         0,
         5},
        {"a host is off",
         "abcabc",
         "36",
         ", but none of 2 hosts: without a 100 % of the ids have no majority",
         {{0, 0, 5, "123", "12", 2, 1}},
         0,
         2},
        {"a copy is not whole yet",
         "abcabc",
         "",
         ", but none of 3 hosts: without a 100 % of the ids have no majority",
         {{0, 0, 5, "123", "123", 2, 1}},
         0,
         3},
        {"five copies on five",
         "abcdea",
         "",
         ", or any 2 of 5 hosts",
         {{0, 0, 5, "12345", "12345", 5, 1}},
         2,
         5},
        {"five copies, two of them on a",
         "abcdea",
         "",
         ", or any 1 of 5 hosts",
         {{0, 0, 5, "12346", "12346", 5, 1}},
         1,
         5},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        static struct world world;
        struct example example = {.dead = cases[i].dead};
        struct survival survival;
        char text[200];
        memcpy(example.views, cases[i].views, sizeof example.views);
        build(&world, &example);
        place(&world, cases[i].hosts);
        assert_true(survival_make(world.nodes, NODES_MAX, M, &survival));
        survival_hosts_text(&survival, text, sizeof text);
        if (survival.host_failures != cases[i].failures || survival.hosts_count != cases[i].count ||
            strcmp(text, cases[i].text) != 0) {
            fail_msg("%s: %u of %zu%s", cases[i].name, survival.host_failures, survival.hosts_count,
                     text);
        }
        survival_free(&survival);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_examples),
        cmocka_unit_test(test_other_rings_and_left),
        cmocka_unit_test(test_hosts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * The linearizability checker, with histories that are known to be good or bad, and small random
 * ones against trying every order. CHORD_TEST_SEED=n begins with another seed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "linear.h"

enum { STEPS = 1000000, RANDOM_RUNS = 20000, RANDOM_MOST = 6 };

#define GET(from, to, got)                                                                         \
    { .kind = LINEAR_GET, .called = from, .returned = to, .value = got }
#define PUT(from, to, to_write)                                                                    \
    { .kind = LINEAR_PUT, .called = from, .returned = to, .value = to_write }
#define PUT_UNKNOWN(from, to_write)                                                                \
    { .kind = LINEAR_PUT, .called = from, .value = to_write, .outcome = LINEAR_UNKNOWN }
#define DELETE(from, to, was)                                                                      \
    { .kind = LINEAR_DELETE, .called = from, .returned = to, .existed = was }
#define DELETE_UNKNOWN(from)                                                                       \
    { .kind = LINEAR_DELETE, .called = from, .outcome = LINEAR_UNKNOWN }
#define CREATE(from, to, to_write, how)                                                            \
    {                                                                                              \
        .kind = LINEAR_PUT, .called = from, .returned = to, .value = to_write, .outcome = how,     \
        .condition = LINEAR_IF_ABSENT                                                              \
    }
#define SWAP(from, to, old, to_write, how)                                                         \
    {                                                                                              \
        .kind = LINEAR_PUT, .called = from, .returned = to, .value = to_write, .outcome = how,     \
        .match = old, .condition = LINEAR_IF_MATCH                                                 \
    }

struct history {
    const char *name;
    bool good;
    struct linear_operation operations[8]; /* as far as they have a time */
};

static const struct history histories[] = {
    {"nothing at first", true, {GET(0, 1, 0)}},
    {"one after the other", true, {PUT(0, 1, 1), GET(2, 3, 1), PUT(4, 5, 2), GET(6, 7, 2)}},
    {"concurrent puts, read in either order",
     true,
     {PUT(0, 9, 1), PUT(0, 9, 2), GET(10, 11, 1), GET(12, 13, 1)}},
    {"a read during a put sees it or not",
     true,
     {PUT(0, 1, 1), PUT(2, 9, 2), GET(3, 4, 1), GET(5, 6, 2)}},
    {"unknown and never seen", true, {PUT(0, 1, 1), PUT_UNKNOWN(2, 2), GET(3, 4, 1)}},
    {"unknown and seen late",
     true,
     {PUT(0, 1, 1), PUT_UNKNOWN(2, 2), GET(3, 4, 1), GET(50, 51, 2), GET(52, 53, 2)}},
    {"an unknown delete explains a miss",
     true,
     {PUT(0, 1, 1), DELETE_UNKNOWN(2), GET(3, 4, 1), GET(5, 6, 0)}},
    {"create, once each time it is absent",
     true,
     {CREATE(0, 1, 1, LINEAR_DONE), CREATE(2, 3, 2, LINEAR_REFUSED), DELETE(4, 5, LINEAR_EXISTED),
      CREATE(6, 7, 3, LINEAR_DONE), GET(8, 9, 3)}},
    {"compare and swap, one of two wins",
     true,
     {PUT(0, 1, 1), SWAP(2, 9, 1, 2, LINEAR_DONE), SWAP(2, 9, 1, 3, LINEAR_REFUSED),
      GET(10, 11, 2)}},
    {"an unknown swap that won explains a refusal",
     true,
     {PUT(0, 1, 1),
      {.kind = LINEAR_PUT,
       .called = 2,
       .value = 2,
       .match = 1,
       .outcome = LINEAR_UNKNOWN,
       .condition = LINEAR_IF_MATCH},
      SWAP(3, 4, 1, 3, LINEAR_REFUSED),
      GET(5, 6, 2)}},
    {"what touches in time is concurrent", true, {PUT(0, 5, 1), GET(5, 6, 0)}},

    {"a value from nowhere", false, {PUT(0, 1, 1), GET(2, 3, 7)}},
    {"a stale read", false, {PUT(0, 1, 1), PUT(2, 3, 2), GET(4, 5, 1)}},
    {"an acknowledged write is lost", false, {PUT(0, 1, 1), GET(2, 3, 0)}},
    {"two readers see two orders",
     false,
     {PUT(0, 9, 1), PUT(0, 9, 2), GET(10, 11, 1), GET(12, 13, 2)}},
    {"back in time during a put", false, {PUT(0, 1, 1), PUT(2, 9, 2), GET(3, 4, 2), GET(5, 6, 1)}},
    {"read before it was written", false, {GET(0, 1, 1), PUT(2, 3, 1)}},
    {"unknown, read before it was called", false, {GET(0, 1, 1), PUT_UNKNOWN(2, 1)}},
    {"an unknown write takes effect twice",
     false,
     {PUT_UNKNOWN(0, 1), GET(1, 2, 1), PUT(3, 4, 2), GET(5, 6, 2), GET(7, 8, 1)}},
    {"a deleted value comes back",
     false,
     {PUT(0, 1, 1), DELETE(2, 3, LINEAR_EXISTED), GET(4, 5, 0), GET(6, 7, 1)}},
    {"a delete that found nothing where there was something",
     false,
     {PUT(0, 1, 1), DELETE(2, 3, LINEAR_DID_NOT_EXIST), GET(4, 5, 0)}},
    {"created twice", false, {CREATE(0, 9, 1, LINEAR_DONE), CREATE(0, 9, 2, LINEAR_DONE)}},
    {"a create refused where nothing was", false, {CREATE(0, 1, 1, LINEAR_REFUSED)}},
    {"both swaps win",
     false,
     {PUT(0, 1, 1), SWAP(2, 9, 1, 2, LINEAR_DONE), SWAP(2, 9, 1, 3, LINEAR_DONE)}},
    {"a swap over a value that was gone",
     false,
     {PUT(0, 1, 1), PUT(2, 3, 2), SWAP(4, 5, 1, 3, LINEAR_DONE)}},
    {"a swap refused for the value that was there",
     false,
     {PUT(0, 1, 1), SWAP(2, 3, 1, 2, LINEAR_REFUSED), GET(4, 5, 1)}},
};

/* An operation that was not given has returned at 0. */
static size_t count_of(const struct history *history) {
    size_t count = 0;
    while (count < sizeof history->operations / sizeof history->operations[0] &&
           (history->operations[count].returned > 0 ||
            history->operations[count].outcome == LINEAR_UNKNOWN)) {
        count++;
    }
    return count;
}

static void test_histories(void **state) {
    (void)state;
    unsigned good = 0, bad = 0;
    for (size_t i = 0; i < sizeof histories / sizeof histories[0]; i++) {
        size_t stuck;
        enum linear_result result =
            linear_check(histories[i].operations, count_of(&histories[i]), STEPS, &stuck);
        if (result != (histories[i].good ? LINEAR_YES : LINEAR_NO)) {
            fail_msg("%s: %d", histories[i].name, (int)result);
        }
        good += histories[i].good;
        bad += !histories[i].good;
    }
    assert_true(good >= 8 && bad >= 8);
}

static void test_names_where_it_is_stuck(void **state) {
    (void)state;
    struct linear_operation operations[] = {PUT(0, 1, 1), PUT(2, 3, 2), GET(4, 5, 1), PUT(6, 7, 3),
                                            GET(8, 9, 3)};
    size_t stuck;
    assert_int_equal(linear_check(operations, 5, STEPS, &stuck), LINEAR_NO);
    assert_int_equal(stuck, 2);
}

/* Long histories with a bounded number of concurrent operations are quick; without end they end. */
static void test_long_and_hopeless(void **state) {
    enum { LONG = 4000, HOPELESS = 60 };
    static struct linear_operation operations[LONG];
    size_t stuck;
    (void)state;
    for (unsigned i = 0; i < LONG; i++) {
        operations[i] = (struct linear_operation)PUT(i * 2, i * 2 + 7, i + 1);
    }
    assert_int_equal(linear_check(operations, LONG, 20 * LONG, &stuck), LINEAR_YES);
    for (unsigned i = 0; i < HOPELESS; i++) {
        operations[i] = (struct linear_operation)PUT_UNKNOWN(0, i + 1);
    }
    operations[HOPELESS] = (struct linear_operation)GET(1, 2, HOPELESS + 1);
    assert_int_equal(linear_check(operations, HOPELESS + 1, 10000, &stuck), LINEAR_GIVEN_UP);
}

/* Readers change nothing, so many at once cost no more than few. */
static void test_many_readers_at_once(void **state) {
    enum { READERS = 60, WRITERS = 6 };
    struct linear_operation operations[READERS + WRITERS];
    size_t stuck;
    (void)state;
    for (unsigned i = 0; i < WRITERS; i++) {
        operations[i] = (struct linear_operation)PUT(i, 100, i + 1);
    }
    for (unsigned i = 0; i < READERS; i++) {
        operations[WRITERS + i] = (struct linear_operation)GET(i, 100, i % WRITERS + 1);
    }
    assert_int_equal(linear_check(operations, WRITERS + READERS, 10000, &stuck), LINEAR_YES);
    operations[WRITERS].value = WRITERS + 1;
    assert_int_equal(linear_check(operations, WRITERS + READERS, 10000, &stuck), LINEAR_NO);
}

/* ---- against trying every order ---- */

static uint64_t random_state;

static uint64_t below(uint64_t limit) {
    random_state += 0x9e3779b97f4a7c15u;
    uint64_t z = (random_state ^ random_state >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (z ^ z >> 31) % limit;
}

/* The definition, word for word: some subset of the unknown, some order, each step right. */
static bool some_order(const struct linear_operation *operations, unsigned count, unsigned taken,
                       uint64_t now) {
    bool all = true;
    for (unsigned i = 0; i < count; i++) {
        all = all && (taken >> i & 1 || operations[i].outcome == LINEAR_UNKNOWN);
    }
    for (unsigned i = 0; i < count && !all; i++) {
        const struct linear_operation *operation = &operations[i];
        bool first = !(taken >> i & 1);
        for (unsigned k = 0; k < count; k++) {
            first = first && (taken >> k & 1 || operations[k].outcome == LINEAR_UNKNOWN ||
                              operations[k].returned >= operation->called);
        }
        bool condition = operation->condition == LINEAR_ALWAYS ||
                         now == (operation->condition == LINEAR_IF_MATCH ? operation->match : 0);
        bool refused = operation->outcome == LINEAR_REFUSED;
        uint64_t next = operation->kind == LINEAR_PUT ? operation->value : 0;
        bool right = operation->kind == LINEAR_GET ? operation->value == now
                     : refused                     ? !condition
                                                   : condition;
        if (operation->existed != LINEAR_UNSAID) {
            right = right && (now != 0) == (operation->existed == LINEAR_EXISTED);
        }
        next = operation->kind == LINEAR_GET || refused ? now : next;
        all = first && right && some_order(operations, count, taken | 1u << i, next);
    }
    return all;
}

static void test_against_every_order(void **state) {
    (void)state;
    const char *text = getenv("CHORD_TEST_SEED");
    uint64_t seed = text != NULL ? strtoull(text, NULL, 10) : 1;
    unsigned answers[2] = {0, 0};
    for (uint64_t at = seed; at < seed + RANDOM_RUNS; at++) {
        struct linear_operation operations[RANDOM_MOST];
        random_state = at;
        unsigned count = 2 + (unsigned)below(RANDOM_MOST - 1);
        for (unsigned i = 0; i < count; i++) {
            uint64_t called = below(12);
            operations[i] = (struct linear_operation){.kind = (enum linear_kind)below(3),
                                                      .called = called,
                                                      .returned = called + below(6),
                                                      .value = i + 1};
            struct linear_operation *operation = &operations[i];
            if (operation->kind == LINEAR_GET) {
                operation->value = below(count + 1);
                continue;
            }
            operation->condition = (enum linear_condition)below(3);
            operation->match = 1 + below(count);
            operation->outcome = (enum linear_outcome)below(3);
            if (operation->outcome == LINEAR_DONE) {
                operation->existed = (enum linear_existed)below(3);
            }
        }
        size_t stuck;
        bool expected = some_order(operations, count, 0, 0);
        enum linear_result result = linear_check(operations, count, STEPS, &stuck);
        if (result != (expected ? LINEAR_YES : LINEAR_NO)) {
            fail_msg("CHORD_TEST_SEED=%llu: %d", (unsigned long long)at, (int)result);
        }
        answers[expected]++;
    }
    print_message("%u linearizable, %u not, from seed %llu\n", answers[true], answers[false],
                  (unsigned long long)seed);
    assert_true(answers[true] > 1000 && answers[false] > 1000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_histories),           cmocka_unit_test(test_names_where_it_is_stuck),
        cmocka_unit_test(test_long_and_hopeless),   cmocka_unit_test(test_many_readers_at_once),
        cmocka_unit_test(test_against_every_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

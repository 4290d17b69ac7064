/* SPDX-License-Identifier: MIT */
/* Plans that make a ring even: what is measured, who goes, when nobody does. */
#include "ring_evenness.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define TURN(part) ((uint64_t)((part)*18446744073709551616.0))

static void test_points(void **state) {
    struct ring_id id = {{0}};
    (void)state;
    id.bytes[ID_BYTES - 1] = 0x21; /* of 64 */
    assert_true(evenness_point(&id, 6) == UINT64_C(0x21) << 58);
    memset(id.bytes, 0, sizeof id.bytes);
    id.bytes[0] = 0x80;
    id.bytes[8] = 0xff; /* below the top 64 bits of 160 */
    assert_true(evenness_point(&id, 160) == UINT64_C(1) << 63);
    memset(id.bytes, 0, sizeof id.bytes);
    id.bytes[ID_BYTES - 8] = 0x12;
    id.bytes[ID_BYTES - 1] = 0x34;
    assert_true(evenness_point(&id, 64) == UINT64_C(0x1200000000000034));
}

static void test_what_is_even(void **state) {
    (void)state;
    const uint64_t one[] = {7}, four[] = {TURN(0), TURN(0.25), TURN(0.5), TURN(0.75)},
                   bad[] = {TURN(0), TURN(0.5), TURN(0.51)};
    assert_true(evenness_of(one, 1).largest == 1 && evenness_of(one, 1).smallest == 1);
    assert_true(evenness_of(four, 4).largest == 1 && evenness_is_good(evenness_of(four, 4)));
    struct evenness evenness = evenness_of(bad, 3);
    assert_true(evenness.largest > 1.49 && evenness.largest < 1.51 && evenness.smallest < 0.031);
    assert_false(evenness_is_good(evenness));
}

static void test_nobody_goes(void **state) {
    (void)state;
    struct evenness_move moves[4];
    const uint64_t four[] = {TURN(0), TURN(0.25), TURN(0.5), TURN(0.75)}, one[] = {5};
    assert_int_equal(evenness_plan(four, 4, 32, moves), 0);
    assert_int_equal(evenness_plan(one, 1, 32, moves), 0);
    /* Of the 8 ids of M=3, all taken: none is free to halve an arc. */
    uint64_t full[8];
    struct evenness_move many[8];
    for (unsigned i = 0; i < 8; i++) {
        full[i] = (uint64_t)i << 61;
    }
    assert_int_equal(evenness_plan(full, 8, 3, many), 0);
}

/* The tiny one goes to the half of the ring that one leads. */
static void test_who_goes(void **state) {
    (void)state;
    struct evenness_move moves[5];
    const uint64_t points[] = {TURN(0), TURN(0.15), TURN(0.3), TURN(0.31), TURN(0.4)};
    assert_int_equal(evenness_plan(points, 5, 32, moves), 1);
    assert_int_equal(moves[0].member, 3);
    assert_int_equal(moves[0].takes, 0);
    assert_true(evenness_is_good(moves[0].after));
}

/* By chance alone, as a ring's ids by their hashes are: each plan ends, nobody goes twice, and the
 * ring is hardly ever not even then. */
static void test_rings_by_chance(void **state) {
    (void)state;
    static uint64_t points[EVENNESS_MEMBERS_MAX];
    static struct evenness_move moves[EVENNESS_MEMBERS_MAX];
    unsigned good = 0;
    srandom(1);
    for (unsigned run = 0; run < 200; run++) {
        size_t count = 2 + (size_t)random() % 62;
        uint64_t at = 0;
        for (size_t i = 0; i < count; i++) {
            at += 1 + (uint64_t)random() * (UINT64_MAX / RAND_MAX / count / 2) / 2;
            points[i] = i % 3 == 0 && i > 0 ? points[i - 1] + 1000 : at;
            at = points[i];
        }
        size_t planned = evenness_plan(points, count, 32, moves);
        bool gone[64] = {false};
        for (size_t i = 0; i < planned; i++) {
            assert_false(gone[moves[i].member]);
            gone[moves[i].member] = true;
            assert_true(moves[i].takes != moves[i].member);
        }
        struct evenness end = planned > 0 ? moves[planned - 1].after : evenness_of(points, count);
        good += evenness_is_good(end);
        assert_true(end.largest <= evenness_of(points, count).largest);
    }
    assert_true(good >= 190);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_points),          cmocka_unit_test(test_what_is_even),
        cmocka_unit_test(test_nobody_goes),     cmocka_unit_test(test_who_goes),
        cmocka_unit_test(test_rings_by_chance),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

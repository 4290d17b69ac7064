/* SPDX-License-Identifier: MIT */
/*
 * The table of codes (proto/clients/c/fate.c) against proto/clients/fates.csv, which clients in
 * other languages read; and the writer's recipe (attempts.c), answer by answer; the cache of hints.
 */
#include "attempts.h"
#include "hints.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const char *const fates[] = {"done", "not done", "maybe done"};
static const char *const agains[] = {"never", "later", "at once", "at leader", "elsewhere"};

static void test_table_is_the_shared_one(void **state) {
    (void)state;
    char line[100];
    unsigned codes = 0;
    FILE *file = fopen(FATES_CSV, "r");
    assert_non_null(file);
    assert_non_null(fgets(line, sizeof line, file)); /* the header */
    while (fgets(line, sizeof line, file) != NULL) {
        char expected[100];
        for (unsigned code = 0; code < chord__v1__code__descriptor.n_values; code++) {
            int number = chord__v1__code__descriptor.values[code].value;
            const char *name = rpc_code_text((Chord__V1__Code)number);
            size_t size = strlen(name);
            if (strncmp(line, name, size) == 0 && line[size] == ',') {
                struct chord_outcome outcome = chord_outcome_of_code((Chord__V1__Code)number);
                snprintf(expected, sizeof expected, "%s,%s,%s\n", name, fates[outcome.fate],
                         agains[outcome.again]);
                assert_string_equal(line, expected);
                codes++;
            }
        }
    }
    fclose(file);
    assert_int_equal(codes, chord__v1__code__descriptor.n_values); /* each has its line */
    struct chord_outcome newer = chord_outcome_of_code((Chord__V1__Code)99);
    assert_int_equal(newer.fate, CHORD_MAYBE_DONE);
}

/* ---- the recipe ---- */

static const uint8_t op_id[CHORD_OP_ID_BYTES] = {7};

static enum attempts_next told(struct attempts *attempts, Chord__V1__Code code, uint64_t epoch) {
    Chord__V1__Version version = CHORD__V1__VERSION__INIT;
    Chord__V1__OperationResult result = CHORD__V1__OPERATION_RESULT__INIT;
    struct rpc_reply reply = {.code = CHORD__V1__CODE__CODE_OK};
    version.epoch = epoch;
    version.counter = 40;
    result.code = code;
    result.version = epoch > 0 ? &version : NULL;
    return attempts_take(attempts, &reply, &result);
}

static enum attempts_next lost(struct attempts *attempts, Chord__V1__Code code, bool unsent) {
    struct rpc_reply reply = {.code = code, .local = true, .unsent = unsent};
    return attempts_take(attempts, &reply, NULL);
}

static void test_a_lost_answer_counts_and_a_refusal_does_not(void **state) {
    (void)state;
    struct attempts one;
    attempts_start(&one, op_id, 3, 17);
    assert_int_equal(told(&one, CHORD__V1__CODE__CODE_UNAVAILABLE, 0), ATTEMPTS_LATER);
    assert_int_equal(lost(&one, CHORD__V1__CODE__CODE_UNAVAILABLE, true), ATTEMPTS_LATER);
    assert_int_equal(one.number, 1);
    assert_int_equal(attempts_fate(&one, CHORD__V1__CODE__CODE_UNAVAILABLE), CHORD_NOT_DONE);
    assert_int_equal(lost(&one, CHORD__V1__CODE__CODE_UNAVAILABLE, false), ATTEMPTS_LATER);
    assert_int_equal(one.number, 2);
    assert_int_equal(lost(&one, CHORD__V1__CODE__CODE_DEADLINE_EXCEEDED, false), ATTEMPTS_LATER);
    assert_int_equal(told(&one, CHORD__V1__CODE__CODE_UNKNOWN, 0), ATTEMPTS_LATER);
    assert_int_equal(one.number, 4);
    /* Refused at last: the first ones may have been carried out, and made the condition fail. */
    assert_int_equal(told(&one, CHORD__V1__CODE__CODE_FAILED_PRECONDITION, 9), ATTEMPTS_END);
    assert_int_equal(attempts_code(&one, CHORD__V1__CODE__CODE_FAILED_PRECONDITION),
                     CHORD__V1__CODE__CODE_UNKNOWN);
    assert_int_equal(attempts_code(&one, CHORD__V1__CODE__CODE_OK), CHORD__V1__CODE__CODE_OK);
    assert_int_equal(one.seen_epoch, 3); /* as it was before the first */
}

static void test_aborted_moves_what_was_seen_once_only(void **state) {
    (void)state;
    struct attempts one;
    attempts_start(&one, op_id, 0, 0);
    assert_int_equal(told(&one, CHORD__V1__CODE__CODE_ABORTED, 5), ATTEMPTS_AT_ONCE);
    assert_int_equal(one.number, 1);
    assert_int_equal(one.seen_epoch, 5);
    assert_int_equal(one.seen_counter, 40);
    assert_int_equal(attempts_code(&one, CHORD__V1__CODE__CODE_ABORTED),
                     CHORD__V1__CODE__CODE_UNAVAILABLE);
    assert_int_equal(lost(&one, CHORD__V1__CODE__CODE_DEADLINE_EXCEEDED, false), ATTEMPTS_LATER);
    assert_int_equal(told(&one, CHORD__V1__CODE__CODE_ABORTED, 6), ATTEMPTS_LATER);
    assert_int_equal(one.seen_epoch, 5); /* a second attempt was sent */
}

static void test_what_nobody_can_find_out(void **state) {
    (void)state;
    struct attempts one;
    attempts_start(&one, op_id, 0, 0);
    assert_int_equal(told(&one, CHORD__V1__CODE__CODE_UNKNOWN, 5), ATTEMPTS_END);
    assert_int_equal(attempts_fate(&one, CHORD__V1__CODE__CODE_UNKNOWN), CHORD_MAYBE_DONE);
    attempts_start(&one, op_id, 0, 0);
    assert_int_equal(lost(&one, CHORD__V1__CODE__CODE_UNAUTHENTICATED, false), ATTEMPTS_END);
    assert_int_equal(attempts_code(&one, CHORD__V1__CODE__CODE_UNAUTHENTICATED),
                     CHORD__V1__CODE__CODE_UNKNOWN);
    attempts_start(&one, op_id, 0, 0);
    assert_int_equal(lost(&one, CHORD__V1__CODE__CODE_INVALID_ARGUMENT, true), ATTEMPTS_END);
    assert_int_equal(attempts_fate(&one, CHORD__V1__CODE__CODE_INVALID_ARGUMENT), CHORD_NOT_DONE);
    struct rpc_reply empty = {.code = CHORD__V1__CODE__CODE_OK}; /* without a result */
    attempts_start(&one, op_id, 0, 0);
    assert_int_equal(attempts_take(&one, &empty, NULL), ATTEMPTS_LATER);
    assert_true(one.maybe);
}

static void test_a_read_is_never_maybe(void **state) {
    (void)state;
    struct attempts one;
    attempts_start(&one, NULL, 0, 0);
    assert_int_equal(lost(&one, CHORD__V1__CODE__CODE_DEADLINE_EXCEEDED, false), ATTEMPTS_LATER);
    assert_int_equal(attempts_fate(&one, CHORD__V1__CODE__CODE_DEADLINE_EXCEEDED), CHORD_NOT_DONE);
    assert_int_equal(attempts_code(&one, CHORD__V1__CODE__CODE_DEADLINE_EXCEEDED),
                     CHORD__V1__CODE__CODE_DEADLINE_EXCEEDED);
}

/* ---- who leads what ---- */

static struct ring_id id_of(uint8_t value) {
    struct ring_id id;
    (void)id_from_wire(&id, &value, 1);
    return id;
}

static void hint_put(struct hints *hints, uint8_t lo, uint8_t hi, uint64_t epoch,
                     const char *name) {
    struct ring_id from = id_of(lo);
    struct ring_id to = id_of(hi);
    hints_put(hints, &from, &to, epoch, name);
}

static const char *hint_of(struct hints *hints, uint8_t value) {
    static struct hint hint;
    struct ring_id id = id_of(value);
    return hints_find(hints, &id, &hint) ? hint.address : "-";
}

static void test_hints(void **state) {
    (void)state;
    struct hints *hints = hints_new();
    assert_string_equal(hint_of(hints, 5), "-");
    hint_put(hints, 10, 20, 1, "a");
    hint_put(hints, 20, 40, 1, "b");
    hint_put(hints, 40, 10, 1, "c"); /* round zero */
    assert_string_equal(hint_of(hints, 10), "c");
    assert_string_equal(hint_of(hints, 11), "a");
    assert_string_equal(hint_of(hints, 20), "a");
    assert_string_equal(hint_of(hints, 21), "b");
    assert_string_equal(hint_of(hints, 63), "c");
    assert_string_equal(hint_of(hints, 0), "c");
    hint_put(hints, 20, 30, 2, "d"); /* splits b; what is left of b is not known any more */
    assert_string_equal(hint_of(hints, 25), "d");
    assert_string_equal(hint_of(hints, 35), "-");
    hint_put(hints, 20, 40, 1, "b"); /* an old word */
    assert_string_equal(hint_of(hints, 25), "d");
    hints_forget_address(hints, "d");
    assert_string_equal(hint_of(hints, 25), "");
    hint_put(hints, 20, 30, 1, "e"); /* better than nobody */
    assert_string_equal(hint_of(hints, 25), "e");
    hint_put(hints, 7, 7, 3, "all");
    assert_string_equal(hint_of(hints, 7), "all");
    assert_string_equal(hint_of(hints, 50), "all");
    hints_free(hints);
}

static uint64_t seen_of(struct hints *hints, uint8_t value) {
    struct hint hint = {.seen_counter = 0};
    struct ring_id id = id_of(value);
    return hints_find(hints, &id, &hint) ? 100 * hint.seen_epoch + hint.seen_counter : 0;
}

/* Else the next write is taken for a late copy of an older one. */
static void test_what_was_seen_outlives_the_leader(void **state) {
    (void)state;
    struct hints *hints = hints_new();
    struct ring_id id = id_of(15);
    hint_put(hints, 10, 20, 1, "a");
    hints_seen(hints, &id, 1, 7);
    assert_int_equal(seen_of(hints, 15), 107);
    hints_forget_address(hints, "a");
    assert_int_equal(seen_of(hints, 15), 107);
    hint_put(hints, 10, 20, 2, "b");
    assert_int_equal(seen_of(hints, 15), 107);
    hint_put(hints, 10, 30, 3, "b"); /* another range */
    assert_int_equal(seen_of(hints, 15), 0);
    hints_free(hints);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table_is_the_shared_one),
        cmocka_unit_test(test_a_lost_answer_counts_and_a_refusal_does_not),
        cmocka_unit_test(test_aborted_moves_what_was_seen_once_only),
        cmocka_unit_test(test_what_nobody_can_find_out),
        cmocka_unit_test(test_a_read_is_never_maybe),
        cmocka_unit_test(test_hints),
        cmocka_unit_test(test_what_was_seen_outlives_the_leader),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

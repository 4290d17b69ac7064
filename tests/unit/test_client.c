/*
 * The table of codes (proto/clients/c/fate.c) against proto/clients/fates.csv, which clients in
 * other languages read; and the writer's recipe (attempts.c), answer by answer.
 */
#include "attempts.h"

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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table_is_the_shared_one),
        cmocka_unit_test(test_a_lost_answer_counts_and_a_refusal_does_not),
        cmocka_unit_test(test_aborted_moves_what_was_seen_once_only),
        cmocka_unit_test(test_what_nobody_can_find_out),
        cmocka_unit_test(test_a_read_is_never_maybe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

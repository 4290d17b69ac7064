/* SPDX-License-Identifier: MIT */
/*
 * The rule book (node/chord/operations.h), case by case. What a write is told by what its leader
 * knows: one key, the writers A, B and C, versions as the leader of one epoch makes them.
 */
#include "assert.h"
#include "operations.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

_Noreturn void chord_assert_failed(const char *file, int line, const char *condition) {
    fail_msg("%s:%d: %s", file, line, condition);
    abort();
}

enum { EPOCH = 7, FLOOR = 2, ROOM = 4, NOW_MS = 1000 };

static struct operation_past past[ROOM];
static struct operation_memory memory;
static struct operation_row row;
static uint64_t epoch, counter;

static int setup(void **state) {
    (void)state;
    memory = (struct operation_memory){past, ROOM, 0};
    row = (struct operation_row){.found = false};
    epoch = EPOCH;
    counter = 0;
    return 0;
}

static struct operation_write write_of(char who, uint32_t attempt, uint64_t seen_epoch,
                                       uint64_t seen_counter) {
    struct operation_write write = {.has_op_id = true,
                                    .has_seen = true,
                                    .attempt = attempt,
                                    .content = (uint64_t)who,
                                    .seen = {seen_epoch, seen_counter}};
    memset(write.op_id, who, OPERATION_OP_ID_BYTES);
    return write;
}

/* Examined, and written when nothing is against it. */
static struct operation_answer run(struct operation_write write) {
    struct row_version next = {epoch, counter + 1};
    struct operation_answer answer = operation_examine(&write, &row, FLOOR, next, NOW_MS, &memory);
    if (!answer.held) {
        counter++;
        row = (struct operation_row){.found = true,
                                     .deleted = write.deletes,
                                     .existed = answer.existed,
                                     .has_op_id = write.has_op_id,
                                     .content = write.content,
                                     .version = next};
        memcpy(row.op_id, write.op_id, OPERATION_OP_ID_BYTES);
    }
    return answer;
}

static void expect(struct operation_answer answer, enum chord_code code, uint64_t version_epoch,
                   uint64_t version_counter, bool existed) {
    assert_true(answer.held);
    assert_int_equal(answer.code, code);
    assert_int_equal(answer.version.epoch, version_epoch);
    assert_int_equal(answer.version.counter, version_counter);
    assert_int_equal(answer.existed, existed);
}

static void expect_written(struct operation_answer answer, bool existed) {
    assert_false(answer.held);
    assert_int_equal(answer.code, CHORD_OK);
    assert_int_equal(answer.existed, existed);
}

/* A repeat is told what the first was told, when it wrote the row and when others have since. */
static void test_repeats(void **state) {
    (void)state;
    expect_written(run(write_of('a', 1, EPOCH, 0)), false);
    expect(run(write_of('a', 2, EPOCH, 0)), CHORD_OK, EPOCH, 1, false);
    expect(run(write_of('a', 1, EPOCH, 0)), CHORD_OK, EPOCH, 1, false);
    expect_written(run(write_of('b', 1, EPOCH, 1)), true);
    expect(run(write_of('a', 2, EPOCH, 0)), CHORD_OK, EPOCH, 1, false);
    expect(run(write_of('b', 1, EPOCH, 1)), CHORD_OK, EPOCH, 2, true);
    struct operation_write gone = write_of('c', 1, EPOCH, 2);
    gone.deletes = true;
    expect_written(run(gone), true);
    expect(run(gone), CHORD_OK, EPOCH, 3, true);
    struct operation_write nothing = write_of('d', 1, EPOCH, 3);
    nothing.deletes = true;
    expect_written(run(nothing), false);
    expect(run(nothing), CHORD_NOT_FOUND, EPOCH, 4, false);
}

static void test_other_content(void **state) {
    (void)state;
    struct operation_write first = write_of('a', 1, EPOCH, 0), other = first;
    expect_written(run(first), false);
    other.content++;
    expect(run(other), CHORD_INVALID_ARGUMENT, 0, 0, false);
    expect_written(run(write_of('b', 1, EPOCH, 1)), true);
    expect(run(other), CHORD_INVALID_ARGUMENT, 0, 0, false);
}

/* Others have written since: that alone keeps no write without a precondition back. */
static void test_overtaken_by_others(void **state) {
    (void)state;
    expect_written(run(write_of('a', 1, EPOCH, 0)), false);
    expect_written(run(write_of('b', 1, EPOCH, 0)), true);
    expect_written(run(write_of('c', 3, EPOCH, 0)), true);
    struct operation_write blind = write_of('d', 1, 0, 0);
    blind.has_seen = false;
    expect_written(run(blind), true);
}

/* A hint told the writer of epoch 8 while the leader of epoch 7 still serves. If it wrote the row,
 * a late copy would find nothing newer than `seen` in epoch 8 and be executed over what came after.
 */
static void test_seen_of_a_later_epoch(void **state) {
    (void)state;
    expect(run(write_of('a', 1, EPOCH + 1, 0)), CHORD_UNAVAILABLE, 0, 0, false);
    expect(run(write_of('a', 2, EPOCH + 1, 0)), CHORD_UNAVAILABLE, 0, 0, false);
    epoch++;
    expect_written(run(write_of('a', 1, EPOCH + 1, 0)), false);
    expect_written(run(write_of('b', 1, EPOCH + 1, 1)), true);
    expect(run(write_of('a', 1, EPOCH + 1, 0)), CHORD_OK, EPOCH + 1, 1, false);
}

/* What the leader no longer remembers. */
static void test_too_long_ago(void **state) {
    (void)state;
    for (int i = 0; i < ROOM + 2; i++) {
        expect_written(run(write_of((char)('a' + i), 1, EPOCH, (uint64_t)i)), i > 0);
    }
    expect(run(write_of('a', 2, EPOCH, 0)), CHORD_UNKNOWN, EPOCH, ROOM + 2, true);
    expect(run(write_of('a', 1, EPOCH, 0)), CHORD_ABORTED, EPOCH, ROOM + 2, true);
    expect(run(write_of('z', 1, EPOCH, 0)), CHORD_ABORTED, EPOCH, ROOM + 2, true);
    expect(run(write_of('c', 2, EPOCH, 2)), CHORD_OK, EPOCH, 3, true);
    expect_written(run(write_of('z', 1, EPOCH, 2)), true);
}

/* A write of which the leader knows nothing stands between: by no op_id, or by another leader. */
static void test_a_gap(void **state) {
    (void)state;
    expect_written(run(write_of('a', 1, EPOCH, 0)), false);
    struct operation_write plain = {.attempt = 1, .absent = false};
    expect_written(run(plain), true);
    expect_written(run(write_of('b', 1, EPOCH, 2)), true);
    expect(run(write_of('a', 2, EPOCH, 0)), CHORD_UNKNOWN, EPOCH, 3, true);
    expect(run(write_of('z', 1, EPOCH, 0)), CHORD_ABORTED, EPOCH, 3, true);
}

/* Told once that it cannot be known, told so for ever: this leader may lead again, and remember. */
static void test_epochs_before(void **state) {
    (void)state;
    expect_written(run(write_of('a', 1, EPOCH, 0)), false);
    expect_written(run(write_of('b', 1, EPOCH, 1)), true);
    epoch = EPOCH + 2;
    expect(run(write_of('z', 1, EPOCH, 0)), CHORD_ABORTED, EPOCH, 2, true);
    expect(run(write_of('a', 2, EPOCH, 0)), CHORD_UNKNOWN, EPOCH, 2, true);
    expect(run(write_of('b', 2, EPOCH, 1)), CHORD_OK, EPOCH, 2, true); /* it made the row */
    expect_written(run(write_of('c', 1, EPOCH, 2)), true);
    expect_written(run(write_of('d', 1, EPOCH, 2)), true); /* what C wrote is of this epoch */
    expect(run(write_of('z', 1, EPOCH, 0)), CHORD_ABORTED, EPOCH + 2, 4, true);
}

/* No row: it may have been deleted at any time before the floor. */
static void test_floor(void **state) {
    (void)state;
    expect(run(write_of('a', 2, FLOOR - 1, 9)), CHORD_UNKNOWN, FLOOR, 0, false);
    expect(run(write_of('a', 1, FLOOR - 1, 9)), CHORD_ABORTED, FLOOR, 0, false);
    expect(run(write_of('a', 1, 0, 0)), CHORD_ABORTED, FLOOR, 0, false);
    expect_written(run(write_of('a', 1, FLOOR, 0)), false);
}

/* One that was refused may have a late copy, and its condition may hold again by then. */
static void test_conditions(void **state) {
    (void)state;
    expect_written(run(write_of('a', 1, EPOCH, 0)), false);
    struct operation_write absent = write_of('b', 1, EPOCH, 1), match = write_of('c', 1, EPOCH, 1);
    absent.absent = match.matches = true;
    match.match = (struct row_version){EPOCH, 1};
    expect(run(absent), CHORD_FAILED_PRECONDITION, EPOCH, 1, true);
    struct operation_write gone = write_of('d', 1, EPOCH, 1);
    gone.deletes = true;
    expect_written(run(gone), true);
    expect(run(absent), CHORD_ABORTED, EPOCH, 2, false); /* never done, though that is known */
    expect(run(match), CHORD_FAILED_PRECONDITION, EPOCH, 2, false);
    absent.seen.counter = 2;
    expect_written(run(absent), false);
    match.match.counter = match.seen.counter = 3;
    expect_written(run(match), true);
    expect(run(match), CHORD_OK, EPOCH, 4, true);
    expect_written(run(write_of('e', 1, EPOCH, 4)), true);
    expect(run(match), CHORD_OK, EPOCH, 4, true); /* remembered */
    match.attempt = 2;
    memset(match.op_id, 'f', OPERATION_OP_ID_BYTES);
    expect(run(match), CHORD_UNKNOWN, EPOCH, 5, true);
}

static void test_bad_rows(void **state) {
    (void)state;
    row = (struct operation_row){.found = true, .bad = true};
    expect(run(write_of('a', 1, EPOCH, 9)), CHORD_DATA_LOSS, 0, 0, false);
    struct operation_write blind = write_of('b', 1, 0, 0);
    blind.has_seen = false;
    expect_written(run(blind), false);
}

/* ---- rows ---- */

static void test_rows(void **state) {
    (void)state;
    struct row_version first = {3, 9}, later = {3, 10}, next_epoch = {4, 1};
    assert_true(row_newer(later, first) && row_newer(next_epoch, later));
    assert_false(row_newer(first, first) || row_newer(first, later) ||
                 row_newer(later, next_epoch));
    assert_true(row_replaces(later, first, false) && !row_replaces(first, first, false));
    assert_true(row_replaces(first, first, true) && !row_replaces(first, later, true));
    assert_true(row_forgotten(later, true, 4) && !row_forgotten(later, false, 4));
    assert_false(row_forgotten(next_epoch, true, 4));
    assert_true(row_gives_way(later, false, 4) && row_gives_way(next_epoch, true, 4));
    assert_false(row_gives_way(next_epoch, false, 4));
}

/* ---- results ---- */

static struct chord_operation operation;
static struct operation_state known;

static void begin(enum chord_operation_kind kind, bool examined) {
    operation = (struct chord_operation){.kind = kind, .examine = examined};
    memset(&known, 0, sizeof known);
}

static void test_written(void **state) {
    (void)state;
    begin(CHORD_DELETE, false);
    operation_written(&operation, &known, (struct row_version){7, 1}, false);
    assert_int_equal(known.result.code, CHORD_NOT_FOUND); /* of nothing */
    assert_int_equal(known.result.version.epoch, 7);
    operation_written(&operation, &known, (struct row_version){7, 2}, true);
    assert_int_equal(known.result.code, CHORD_OK);
    operation.finished = true;
    operation_written(&operation, &known, (struct row_version){7, 3}, false);
    assert_int_equal(known.result.version.counter, 2);
    /* What was examined is told what the examination saw, an expired value for example. */
    begin(CHORD_DELETE, true);
    struct operation_answer answer = {.held = false, .existed = false};
    operation_examined(&known, &answer);
    operation_written(&operation, &known, (struct row_version){7, 4}, true);
    assert_int_equal(known.result.code, CHORD_NOT_FOUND);
}

static void expect_read(struct operation_row stored, enum chord_code code, bool value) {
    begin(CHORD_GET, false);
    assert_int_equal(operation_read(&operation, &known, &stored, NOW_MS), value);
    assert_true(known.has);
    assert_int_equal(known.result.code, code);
}

static void test_read(void **state) {
    (void)state;
    struct operation_row stored = {.found = true, .version = {7, 1}};
    expect_read((struct operation_row){.found = false}, CHORD_NOT_FOUND, false);
    expect_read(stored, CHORD_OK, true);
    assert_int_equal(known.result.version.epoch, 7);
    stored.expires_at_ms = NOW_MS + 1;
    expect_read(stored, CHORD_OK, true);
    stored.expires_at_ms = NOW_MS;
    expect_read(stored, CHORD_NOT_FOUND, false);
    assert_int_equal(known.result.version.epoch, 7); /* that of the row that is still there */
    stored.bad = true;
    expect_read(stored, CHORD_DATA_LOSS, false);
    stored = (struct operation_row){.found = true, .deleted = true, .version = {7, 2}};
    expect_read(stored, CHORD_NOT_FOUND, false);
}

static void test_forwarded(void **state) {
    (void)state;
    struct operation_result done = {.code = CHORD_OK, .version = {7, 1}},
                            refused = {.code = CHORD_UNAVAILABLE};
    begin(CHORD_PUT, false);
    operation_sent(&operation, &known);
    assert_int_equal(operation_told(&operation, &known, CHORD_UNAVAILABLE).code, CHORD_UNKNOWN);
    assert_false(operation_forwarded(&operation, &known, &refused)); /* then nothing was done */
    assert_int_equal(operation_told(&operation, &known, CHORD_UNAVAILABLE).code, CHORD_UNAVAILABLE);
    operation_sent(&operation, &known);
    operation_unsent(&known);
    assert_int_equal(operation_told(&operation, &known, CHORD_UNAVAILABLE).code, CHORD_UNAVAILABLE);
    assert_true(operation_forwarded(&operation, &known, &done) && operation.finished);
    assert_int_equal(operation_told(&operation, &known, CHORD_UNAVAILABLE).code, CHORD_OK);
    assert_false(operation_forwarded(&operation, &known, NULL)); /* it is finished */
    begin(CHORD_GET, false);
    assert_false(operation_forwarded(&operation, &known, NULL)); /* asked again */
}

/* A write that was examined here once and then sent elsewhere, from where no answer came: nobody
 * knows, and the version of the examination would say that nobody ever will. */
static void test_unknown_has_no_version(void **state) {
    (void)state;
    struct operation_answer answer = {
        .held = true, .code = CHORD_FAILED_PRECONDITION, .version = {7, 5}, .existed = true};
    begin(CHORD_PUT, true);
    operation_examined(&known, &answer);
    operation_sent(&operation, &known);
    assert_true(operation_forwarded(&operation, &known, NULL));
    struct operation_result told = operation_told(&operation, &known, CHORD_UNAVAILABLE);
    assert_int_equal(told.code, CHORD_UNKNOWN);
    assert_int_equal(told.version.epoch, 0);
}

static void test_slices(void **state) {
    (void)state;
    enum { M = 8 };
    struct chord_operation all[4] = {{.kind = CHORD_GET, .hash = {1}},
                                     {.kind = CHORD_PUT, .hash = {2}},
                                     {.kind = CHORD_PUT, .examine = true, .hash = {3}},
                                     {.kind = CHORD_DELETE, .hash = {200}}};
    struct operation_state states[4];
    struct chord_range low = {.lo = {{0}}, .hi = {{0}}};
    low.hi.bytes[CHORD_ID_BYTES - 1] = 100;
    memset(states, 0, sizeof states);
    assert_true(operation_is_read(&all[0], &low, M) && !operation_is_read(&all[1], &low, M));
    assert_true(operation_is_examined(&all[2], &low, M) &&
                !operation_is_examined(&all[1], &low, M));
    assert_int_equal(operations_left(all, states, 4, &low, M), 2);
    states[2].held = states[2].has = true;
    assert_int_equal(operations_left(all, states, 4, &low, M), 1);
    assert_false(operation_is_written(&all[2], &states[2], &low, M));
    operations_finish(all, states, 4, &low, M);
    assert_true(all[2].finished && !all[1].finished && !all[3].finished);
    struct row_version third =
        operation_version(&(struct chord_slice){.epoch = 7, .counter = 10}, 2);
    assert_int_equal(third.counter, 12);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_repeats, setup),
        cmocka_unit_test_setup(test_other_content, setup),
        cmocka_unit_test_setup(test_overtaken_by_others, setup),
        cmocka_unit_test_setup(test_seen_of_a_later_epoch, setup),
        cmocka_unit_test_setup(test_too_long_ago, setup),
        cmocka_unit_test_setup(test_a_gap, setup),
        cmocka_unit_test_setup(test_epochs_before, setup),
        cmocka_unit_test_setup(test_floor, setup),
        cmocka_unit_test_setup(test_conditions, setup),
        cmocka_unit_test_setup(test_bad_rows, setup),
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_written),
        cmocka_unit_test(test_read),
        cmocka_unit_test(test_forwarded),
        cmocka_unit_test(test_unknown_has_no_version),
        cmocka_unit_test(test_slices),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * What a write is told by what its leader knows of the key (node/chord/examine.h), case by case:
 * one key, the writers A, B and C, versions as the leader of one epoch makes them.
 */
#include "examine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { EPOCH = 7, FLOOR = 2, ROOM = 4 };

static struct examine_past past[ROOM];
static struct examine_memory memory;
static struct examine_row row;
static uint64_t epoch, counter;

static int setup(void **state) {
    (void)state;
    memory = (struct examine_memory){past, ROOM, 0};
    row = (struct examine_row){.found = false};
    epoch = EPOCH;
    counter = 0;
    return 0;
}

static struct examine_write write_of(char who, uint32_t attempt, uint64_t seen_epoch,
                                     uint64_t seen_counter) {
    struct examine_write write = {.has_op_id = true,
                                  .has_seen = true,
                                  .attempt = attempt,
                                  .content = (uint64_t)who,
                                  .seen = {seen_epoch, seen_counter}};
    memset(write.op_id, who, EXAMINE_OP_ID_BYTES);
    return write;
}

/* Examined, and written when nothing is against it. */
static struct examine_answer run(struct examine_write write) {
    struct examine_version next = {epoch, counter + 1};
    struct examine_answer answer = examine(&write, &row, epoch, FLOOR, next, &memory);
    if (!answer.held) {
        counter++;
        row = (struct examine_row){.found = true,
                                   .value = !write.deletes,
                                   .existed = answer.existed,
                                   .has_op_id = write.has_op_id,
                                   .content = write.content,
                                   .version = next};
        memcpy(row.op_id, write.op_id, EXAMINE_OP_ID_BYTES);
    }
    return answer;
}

static void expect(struct examine_answer answer, enum chord_code code, uint64_t version_epoch,
                   uint64_t version_counter, bool existed) {
    assert_true(answer.held);
    assert_int_equal(answer.code, code);
    assert_int_equal(answer.version.epoch, version_epoch);
    assert_int_equal(answer.version.counter, version_counter);
    assert_int_equal(answer.existed, existed);
}

static void expect_written(struct examine_answer answer, bool existed) {
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
    struct examine_write gone = write_of('c', 1, EPOCH, 2);
    gone.deletes = true;
    expect_written(run(gone), true);
    expect(run(gone), CHORD_OK, EPOCH, 3, true);
    struct examine_write nothing = write_of('d', 1, EPOCH, 3);
    nothing.deletes = true;
    expect_written(run(nothing), false);
    expect(run(nothing), CHORD_NOT_FOUND, EPOCH, 4, false);
}

static void test_other_content(void **state) {
    (void)state;
    struct examine_write first = write_of('a', 1, EPOCH, 0), other = first;
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
    struct examine_write blind = write_of('d', 1, 0, 0);
    blind.has_seen = false;
    expect_written(run(blind), true);
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
    struct examine_write plain = {.attempt = 1, .absent = false};
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
    struct examine_write absent = write_of('b', 1, EPOCH, 1), match = write_of('c', 1, EPOCH, 1);
    absent.absent = match.matches = true;
    match.match = (struct examine_version){EPOCH, 1};
    expect(run(absent), CHORD_FAILED_PRECONDITION, EPOCH, 1, true);
    struct examine_write gone = write_of('d', 1, EPOCH, 1);
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
    memset(match.op_id, 'f', EXAMINE_OP_ID_BYTES);
    expect(run(match), CHORD_UNKNOWN, EPOCH, 5, true);
}

static void test_bad_rows(void **state) {
    (void)state;
    row = (struct examine_row){.found = true, .bad = true, .value = true};
    expect(run(write_of('a', 1, EPOCH, 9)), CHORD_DATA_LOSS, 0, 0, false);
    struct examine_write blind = write_of('b', 1, 0, 0);
    blind.has_seen = false;
    expect_written(run(blind), false);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_repeats, setup),
        cmocka_unit_test_setup(test_other_content, setup),
        cmocka_unit_test_setup(test_overtaken_by_others, setup),
        cmocka_unit_test_setup(test_too_long_ago, setup),
        cmocka_unit_test_setup(test_a_gap, setup),
        cmocka_unit_test_setup(test_epochs_before, setup),
        cmocka_unit_test_setup(test_floor, setup),
        cmocka_unit_test_setup(test_conditions, setup),
        cmocka_unit_test_setup(test_bad_rows, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

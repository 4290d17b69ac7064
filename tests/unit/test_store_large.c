/* SPDX-License-Identifier: MIT */
/*
 * Rows whose value is in a table of its own: whole in every way that rows are read, gone when they
 * go, told when a disk has changed them, and no burden to their neighbours.
 */
#include "hash.h"
#include "store_fixture.h"
#include "store_schema.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>
#include <sqlite3.h>

enum { KEY_BYTES = 16, INLINE = STORE_INLINE_BYTES_MAX - KEY_BYTES, LARGE = 1 << 20 };

static struct fixture fixture;

static int set_up(void **state) {
    (void)state;
    fixture_new(&fixture);
    return fixture_open(&fixture) == STORE_OK ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    fixture_close(&fixture);
    fixture_free(&fixture);
    return 0;
}

/* Large values in the file; each must be one row's, and in no row that would have fitted. */
static int64_t large_values(void) {
    fixture_close(&fixture);
    assert_int_equal(fixture_sql(&fixture,
                                 "SELECT count(*) FROM large_values WHERE id NOT IN"
                                 " (SELECT value_id FROM rows WHERE value_id IS NOT NULL)",
                                 SQLITE_OK),
                     0);
    char sql[200];
    snprintf(sql, sizeof sql,
             "SELECT count(*) FROM rows WHERE (value_id IS NULL) <>"
             " (length(key) + coalesce((SELECT length(value) FROM large_values"
             " WHERE id = value_id), length(value)) <= %d)",
             STORE_INLINE_BYTES_MAX);
    assert_int_equal(fixture_sql(&fixture, sql, SQLITE_OK), 0);
    int64_t count = fixture_sql(&fixture, "SELECT count(*) FROM large_values", SQLITE_OK);
    assert_int_equal(fixture_open(&fixture), STORE_OK);
    return count;
}

static void check_value(const struct store_row *row, uint64_t key, size_t bytes) {
    assert_int_equal(row->kind, STORE_VALUE);
    assert_false(row->bad);
    assert_int_equal(row->value_bytes, bytes);
    for (size_t i = 0; i < bytes; i++) {
        assert_int_equal(row->value[i], key & 0xff);
    }
}

static void check_key(uint64_t key, size_t bytes) {
    struct store_job *job = read_key(&fixture, key);
    assert_true(job->ok);
    check_value(&job->rows[0], key, bytes);
    store_job_free(job);
}

static const size_t sizes[] = {0, 1, INLINE - 1, INLINE, INLINE + 1, 4096, 70000, LARGE};
enum { SIZES = sizeof sizes / sizeof sizes[0], LARGE_SIZES = 4 };

static void write_sizes(uint64_t counter) {
    for (unsigned i = 0; i < SIZES; i++) {
        assert_true(write_keys(&fixture, i, 1, 1, counter, sizes[i]));
    }
}

static void test_each_size_comes_back(void **state) {
    (void)state;
    write_sizes(1);
    for (int again = 0; again < 2; again++) {
        for (unsigned i = 0; i < SIZES; i++) {
            check_key(i, sizes[i]);
        }
        assert_int_equal(large_values(), LARGE_SIZES); /* opens the file again */
    }
    uint64_t bytes = 0;
    for (unsigned i = 0; i < SIZES; i++) {
        bytes += KEY_BYTES + sizes[i];
    }
    assert_int_equal(store_count(fixture.store).bytes, bytes);
}

static void test_a_page_has_them_whole(void **state) {
    (void)state;
    write_sizes(1);
    struct store_job *job = store_job_new(STORE_JOB_READ_RANGE);
    unsigned seen = 0;
    job->range = whole_ring();
    job->page_values = true;
    for (bool done = false; !done;) {
        fixture_run(&fixture, job);
        assert_true(job->ok);
        for (size_t i = 0; i < job->rows_count; i++) {
            unsigned key = (unsigned)(job->rows[i].key[KEY_BYTES - 1] - '0');
            check_value(&job->rows[i], key, sizes[key]);
            seen |= 1u << key;
        }
        done = job->done;
        job->has_after = true;
        memcpy(job->after, job->last, CHORD_ID_BYTES);
    }
    store_job_free(job);
    assert_int_equal(seen, (1u << SIZES) - 1);
}

static void test_they_go_with_their_rows(void **state) {
    bool existed;
    (void)state;
    write_sizes(1);
    write_sizes(2);
    assert_int_equal(large_values(), LARGE_SIZES);
    write_one(&fixture, SIZES - 1, 1, 3, STORE_VALUE, 10, &existed);
    assert_true(existed);
    assert_int_equal(large_values(), LARGE_SIZES - 1);
    write_one(&fixture, SIZES - 2, 1, 3, STORE_TOMBSTONE, 0, &existed);
    assert_true(existed);
    assert_int_equal(large_values(), LARGE_SIZES - 2);
    assert_true(write_keys(&fixture, 0, 1, 1, 3, LARGE));
    assert_int_equal(large_values(), LARGE_SIZES - 1);
    assert_true(write_keys(&fixture, 0, 1, 1, 1, 30)); /* older: it stays */
    check_key(0, LARGE);
    store_set_m(fixture.store, CHORD_M_MAX);
    struct store_job *job = store_job_new(STORE_JOB_DROP_RANGE);
    job->range = whole_ring();
    fixture_run(&fixture, job);
    assert_true(job->ok);
    store_job_free(job);
    assert_int_equal(large_values(), 0);
    assert_int_equal(store_count(fixture.store).bytes, 0);
}

/* What a disk does to the value, or to the way to it. */
static void test_a_disk_changes_them(void **state) {
    static const char *const spoilings[] = {
        "UPDATE large_values SET value = CAST(value || x'00' AS BLOB) WHERE id = 1",
        "UPDATE large_values SET value = zeroblob(length(value)) WHERE id = 1",
        "DELETE FROM large_values WHERE id = 1",
        "UPDATE rows SET value_id = 77 WHERE value_id = 1",
        "UPDATE rows SET value_id = NULL WHERE value_id = 1",
        "UPDATE rows SET value_id = 2 WHERE value_id = 1",
    };
    char reason[300];
    (void)state;
    for (unsigned i = 0; i < sizeof spoilings / sizeof spoilings[0]; i++) {
        fixture_close(&fixture);
        fixture_free(&fixture);
        fixture_new(&fixture);
        fixture_reopen(&fixture);
        assert_true(write_keys(&fixture, 1, 2, 1, 1, 5000));
        fixture_close(&fixture);
        fixture_sql(&fixture, spoilings[i], SQLITE_OK);
        for (int again = 0; again < 2; again++) { /* a step back and up keeps it bad */
            fixture_reopen(&fixture);
            struct store_job *job = read_key(&fixture, 1);
            assert_true(job->ok && job->rows[0].bad);
            store_job_free(job);
            check_key(2, 5000);
            fixture_close(&fixture);
            assert_int_equal(store_downgrade(fixture.directory, 7, reason, sizeof reason),
                             STORE_OK);
        }
        fixture_reopen(&fixture);
        assert_true(write_keys(&fixture, 1, 1, 1, 1, 5000)); /* another copy's */
        check_key(1, 5000);
        check_key(2, 5000);
        assert_int_equal(fixture.failures, 0);
    }
}

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Of so many small rows, whose searches go past the large ones. */
static double write_small(void) {
    enum { ROWS = 5000 };
    double start = seconds();
    for (uint64_t counter = 1; counter <= 2; counter++) {
        assert_true(write_keys(&fixture, 0, ROWS, 2, counter, 30));
    }
    return seconds() - start;
}

/* 40 times as long when the values were in the rows' tree. */
static void test_small_rows_beside_them(void **state) {
    (void)state;
    double alone = write_small();
    fixture_close(&fixture);
    fixture_free(&fixture);
    fixture_new(&fixture);
    fixture_reopen(&fixture);
    for (uint64_t key = 0; key < 60; key++) {
        assert_true(write_keys(&fixture, 10000 + key, 1, 1, 1, LARGE));
    }
    double beside = write_small();
    print_message("5,000 small rows twice: %.3f s alone, %.3f s beside 60 large ones\n", alone,
                  beside);
    assert_true(beside < 6 * alone);
}

int main(void) {
    if (!hash_open()) {
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_each_size_comes_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_page_has_them_whole, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_they_go_with_their_rows, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_disk_changes_them, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_small_rows_beside_them, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

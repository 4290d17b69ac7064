/* SPDX-License-Identifier: MIT */
/*
 * Rows that the disk has changed: never given out, never equal to a good copy, never in the way
 * without a word, replaced by a good copy, and found by the scrub.
 */
#include "hash.h"
#include "store_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>

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

/* Changes one row of the closed file as a disk would: past the checksum. */
static void spoil(uint64_t key, const char *assignment) {
    char sql[300];
    fixture_close(&fixture);
    snprintf(sql, sizeof sql,
             "UPDATE rows SET %s WHERE CAST(key AS TEXT) = 'key %012llu'; SELECT changes()",
             assignment, (unsigned long long)key);
    assert_int_equal(fixture_sql(&fixture, sql, SQLITE_OK), 1);
    assert_int_equal(fixture_open(&fixture), STORE_OK);
}

static const char *const spoilings[] = {
    "value = CAST(replace(CAST(value AS TEXT), CAST(substr(value, 1, 1) AS TEXT), 'x') AS BLOB)",
    "kind = 2",
    "epoch = epoch + 1",
    "counter = counter + 5",
    "expires_at = 1",
    "checksum = checksum + 1",
    "existed = 1",
    "existed = existed + 2",
    "op_id = x'00112233445566778899aabbccddeeff'",
    "op_id = CAST(op_id || x'00' AS BLOB)",
    "op_id = NULL, expires_at = expires_at + 1",
};
enum { SPOILINGS = sizeof spoilings / sizeof spoilings[0] };

static bool read_bad(uint64_t key) {
    struct store_job *job = read_key(&fixture, key);
    assert_true(job->ok);
    assert_int_not_equal(job->rows[0].kind, 0);
    bool bad = job->rows[0].bad;
    store_job_free(job);
    return bad;
}

static void test_every_column_is_guarded(void **state) {
    (void)state;
    for (unsigned i = 0; i < SPOILINGS; i++) {
        assert_true(write_keys(&fixture, 60 + i, 1, 3, 3, 20));
        assert_false(read_bad(60 + i));
        spoil(60 + i, spoilings[i]);
        assert_true(read_bad(60 + i));
    }
}

static void test_its_copy_equals_no_other(void **state) {
    (void)state;
    struct chord_range range = whole_ring();
    for (unsigned i = 0; i < SPOILINGS; i++) {
        uint64_t rows, rows_after;
        uint8_t digest[CHORD_DIGEST_BYTES], after[CHORD_DIGEST_BYTES];
        assert_true(write_keys(&fixture, 60 + i, 1, 3, 3, 20));
        digest_of(&fixture, &range, &rows, digest);
        spoil(60 + i, spoilings[i]);
        digest_of(&fixture, &range, &rows_after, after);
        assert_int_equal(rows, rows_after);
        assert_memory_not_equal(digest, after, sizeof digest);
    }
}

static bool page_ok(enum store_job_kind kind, bool values) {
    struct store_job *job = store_job_new(kind);
    job->range = whole_ring();
    job->page_values = values;
    job->page_rows_max = 1000;
    fixture_run(&fixture, job);
    bool ok = job->ok;
    store_job_free(job);
    return ok;
}

static void test_no_page_carries_it(void **state) {
    (void)state;
    assert_true(write_keys(&fixture, 0, 20, 1, 1, 20));
    assert_true(page_ok(STORE_JOB_READ_RANGE, true));
    spoil(7, spoilings[4]);
    assert_false(page_ok(STORE_JOB_READ_RANGE, true));
    assert_false(page_ok(STORE_JOB_LIST_KEYS, true));
    assert_true(page_ok(STORE_JOB_LIST_KEYS, false));
    assert_int_equal(fixture.failures, 0); /* one row, not the disk */
    assert_true(write_keys(&fixture, 100, 5, 1, 1, 20));
}

/* A shortened hash is in no page, makes no copy equal to another, and can be dropped. */
static void test_a_hash_that_is_none(void **state) {
    (void)state;
    uint64_t rows, rows_after;
    uint8_t digest[CHORD_DIGEST_BYTES], after[CHORD_DIGEST_BYTES];
    struct chord_range range = whole_ring();
    assert_true(write_keys(&fixture, 0, 20, 1, 1, 20));
    digest_of(&fixture, &range, &rows, digest);
    spoil(7, "hash = substr(hash, 1, 3)");
    digest_of(&fixture, &range, &rows_after, after);
    assert_int_equal(rows, rows_after);
    assert_memory_not_equal(digest, after, sizeof digest);
    assert_false(page_ok(STORE_JOB_READ_RANGE, true));
    assert_int_equal(fixture.failures, 0);
    struct store_job *job = store_job_new(STORE_JOB_DROP_RANGE);
    job->range = range;
    fixture_run(&fixture, job);
    assert_true(job->ok);
    store_job_free(job);
    digest_of(&fixture, &range, &rows_after, after);
    assert_int_equal(rows_after, 0);
}

/* Its own version or a newer one takes its place; before an older one it stays, and that is said.
 */
static void test_writes_over_it(void **state) {
    (void)state;
    assert_true(write_keys(&fixture, 1, 2, 2, 5, 20));
    spoil(1, "expires_at = 1");
    spoil(2, "expires_at = 1");
    assert_false(write_keys(&fixture, 1, 1, 2, 4, 20));
    assert_true(read_bad(1));
    assert_true(write_keys(&fixture, 1, 1, 2, 5, 20));
    assert_false(read_bad(1));
    assert_true(has_key(&fixture, 1, 2, 5));
    assert_true(write_keys(&fixture, 2, 1, 3, 1, 20));
    assert_false(read_bad(2));
    assert_true(has_key(&fixture, 2, 3, 1));
    assert_true(
        write_keys(&fixture, 2, 1, 2, 9, 20)); /* a good row: the older write is done with */
}

/* One page of the whole range that holds keys 0..9 at epoch 2, as a leader of epoch 4 gives it. */
static bool equal(void) {
    struct store_job *job = store_job_new(STORE_JOB_EQUAL);
    job->range = whole_ring();
    job->epoch = 4;
    job->done = true;
    job->rows = arena_alloc(&job->arena, sizeof *job->rows * 10);
    job->rows_count = 10;
    for (unsigned i = 0; i < 10; i++) {
        row_set(job, &job->rows[i], i, 2, 1, STORE_VALUE, 20);
    }
    fixture_run(&fixture, job);
    bool ok = job->ok;
    store_job_free(job);
    return ok;
}

static void test_made_equal(void **state) {
    (void)state;
    struct chord_range range = whole_ring();
    uint64_t rows, rows_after;
    uint8_t digest[CHORD_DIGEST_BYTES], after[CHORD_DIGEST_BYTES];
    assert_true(write_keys(&fixture, 0, 10, 2, 1, 20));
    digest_of(&fixture, &range, &rows, digest);
    spoil(3, "expires_at = 1"); /* of an earlier epoch: simply replaced */
    assert_true(equal());
    assert_false(read_bad(3));
    spoil(4, "epoch = 7"); /* claims to be newer than all there is */
    assert_true(write_keys(&fixture, 11, 1, 4, 1, 20));
    spoil(11, "expires_at = 1"); /* of this epoch: it may have been newer than the page */
    assert_false(equal());       /* so it is compared again */
    assert_true(equal());
    assert_false(read_bad(4));
    digest_of(&fixture, &range, &rows_after, after);
    assert_int_equal(rows, rows_after);
    assert_memory_equal(digest, after, sizeof digest);
    assert_int_equal(store_count(fixture.store).keys, 10);
}

/* A value that looks like a tombstone is not forgotten as one, nor counted as one to forget. */
static void test_not_forgotten(void **state) {
    (void)state;
    struct chord_stored_view stored = {0};
    assert_true(write_keys(&fixture, 0, 3, 1, 1, 20));
    spoil(1, "kind = 2");
    struct store_job *job = store_job_new(STORE_JOB_TOMBSTONES);
    job->range = whole_ring();
    fixture_run(&fixture, job);
    assert_true(job->ok);
    assert_int_equal(job->digest_rows, 0);
    store_job_free(job);
    stored.view.range = whole_ring();
    stored.view.epoch = stored.view.floor = 5;
    stored.view.members_count = 1;
    job = store_job_new(STORE_JOB_VIEWS);
    job->views = arena_copy(&job->arena, &stored, sizeof stored);
    job->views_count = 1;
    fixture_run(&fixture, job);
    assert_true(job->ok);
    store_job_free(job);
    assert_true(read_bad(1));
}

/* ---- the scrub ---- */

struct pass {
    unsigned jobs;
    size_t bad;
    uint8_t hash[CHORD_ID_BYTES]; /* of the last bad one */
};

static struct pass scrub_all(void) {
    struct pass pass = {0};
    uint8_t after[CHORD_ID_BYTES] = {0};
    bool done = false;
    while (!done) {
        struct store_job *job = store_job_new(STORE_JOB_SCRUB);
        memset(job->last, 0xff, CHORD_ID_BYTES);
        job->has_after = pass.jobs > 0;
        memcpy(job->after, after, CHORD_ID_BYTES);
        fixture_run(&fixture, job);
        assert_true(job->ok);
        assert_true(job->done || memcmp(job->last, after, CHORD_ID_BYTES) > 0);
        for (size_t i = 0; i < job->rows_count; i++) {
            assert_true(job->rows[i].bad);
            memcpy(pass.hash, job->rows[i].hash, CHORD_ID_BYTES);
        }
        pass.bad += job->rows_count;
        pass.jobs++;
        memcpy(after, job->last, CHORD_ID_BYTES);
        done = job->done;
        store_job_free(job);
    }
    return pass;
}

static void test_scrub(void **state) {
    (void)state;
    assert_int_equal(scrub_all().jobs, 1);
    assert_true(write_keys(&fixture, 0, 2500, 1, 1, 20));
    struct pass pass = scrub_all();
    assert_int_equal(pass.jobs, 3);
    assert_int_equal(pass.bad, 0);
    for (unsigned i = 0; i < SPOILINGS; i++) {
        spoil(200 * i + 1, spoilings[i]);
    }
    assert_int_equal(scrub_all().bad, SPOILINGS);
    assert_true(write_keys(&fixture, 0, 2500, 9, 1, 20));
    assert_int_equal(scrub_all().bad, 0);
    spoil(77, "hash = zeroblob(20)"); /* good in itself, and nobody finds it */
    assert_int_equal(scrub_all().bad, 1);
}

static void test_scrub_is_bounded_in_bytes(void **state) {
    (void)state;
    assert_true(write_keys(&fixture, 0, 20, 1, 1, 300 * 1024));
    assert_int_equal(scrub_all().jobs, 5); /* four rows are more than 1 MiB */
}

/* One hash alone, as a known bad row is looked at again. */
static void test_scrub_of_one(void **state) {
    (void)state;
    assert_true(write_keys(&fixture, 0, 100, 1, 1, 20));
    spoil(5, spoilings[0]);
    spoil(6, spoilings[0]);
    struct pass pass = scrub_all();
    struct store_job *job = store_job_new(STORE_JOB_SCRUB);
    memcpy(job->last, pass.hash, CHORD_ID_BYTES);
    memcpy(job->after, pass.hash, CHORD_ID_BYTES);
    job->after[CHORD_ID_BYTES - 1]--;
    job->has_after = true;
    fixture_run(&fixture, job);
    assert_int_equal(job->rows_count, 1);
    assert_memory_equal(job->rows[0].hash, pass.hash, CHORD_ID_BYTES);
    assert_memory_equal(job->last, pass.hash, CHORD_ID_BYTES);
    store_job_free(job);
}

/* ---- a tree that is read for ever ---- */

enum { PAGE = 4096, LEVELS = 12 };

static uint32_t get_32(const uint8_t *bytes) {
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static void put_32(uint8_t *bytes, uint32_t value) {
    for (unsigned i = 0; i < 4; i++) {
        bytes[i] = (uint8_t)(value >> (24 - 8 * i));
    }
}

/* All children of an interior page of the rows' tree are this one. */
static void point_to(uint8_t page[PAGE], uint32_t child) {
    unsigned cells = (unsigned)page[3] << 8 | page[4];
    assert_int_equal(page[0], 2);
    assert_true(cells > 4);
    put_32(page + 8, child);
    for (unsigned i = 0; i < cells; i++) {
        put_32(page + ((unsigned)page[12 + 2 * i] << 8 | page[13 + 2 * i]), child);
    }
}

/* Every page stands many times in the one above it, twelve levels deep: a small file with more rows
 * than anybody can read. It counts as damaged. */
static void test_a_tree_without_end(void **state) {
    static uint8_t bytes[1 << 21];
    char path[100];
    (void)state;
    assert_true(write_keys(&fixture, 0, 2000, 1, 1, 20));
    fixture_close(&fixture);
    uint64_t root = (uint64_t)fixture_sql(
        &fixture, "SELECT rootpage FROM sqlite_schema WHERE name = 'rows'", SQLITE_OK);
    snprintf(path, sizeof path, "%s/chord.db", fixture.directory);
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    size_t size = fread(bytes, 1, sizeof bytes, file);
    uint32_t pages = get_32(bytes + 28);
    assert_true(size == (size_t)pages * PAGE && size + (size_t)LEVELS * PAGE <= sizeof bytes);
    for (uint32_t i = 0; i < LEVELS; i++) {
        uint8_t *copy = bytes + (size_t)(pages + i) * PAGE;
        memcpy(copy, bytes + (root - 1) * PAGE, PAGE);
        if (i + 1 < LEVELS) { /* the last one's children are the leaves */
            point_to(copy, pages + i + 2);
        }
    }
    point_to(bytes + (root - 1) * PAGE, pages + 1);
    put_32(bytes + 28, pages + LEVELS);
    rewind(file);
    assert_int_equal(fwrite(bytes, 1, size + (size_t)LEVELS * PAGE, file),
                     size + (size_t)LEVELS * PAGE);
    fclose(file);
    assert_int_equal(fixture_open(&fixture), STORE_OK);
    assert_int_equal(store_count(fixture.store).keys, 0);
    snprintf(path, sizeof path, "%s/chord.db.corrupt", fixture.directory);
    assert_int_equal(access(path, F_OK), 0);
}

static void test_synchronous_is_full(void **state) {
    (void)state;
    assert_int_equal(store_synchronous(fixture.store), 2);
    assert_true(store_disk_free(fixture.store) > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_every_column_is_guarded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_its_copy_equals_no_other, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_page_carries_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_hash_that_is_none, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_writes_over_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_made_equal, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_not_forgotten, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_scrub, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_scrub_is_bounded_in_bytes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_scrub_of_one, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_tree_without_end, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_synchronous_is_full, set_up, tear_down),
    };
    if (!hash_open()) {
        return 1;
    }
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    hash_close();
    return failed;
}

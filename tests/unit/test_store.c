/* SPDX-License-Identifier: MIT */
/*
 * The store on a real disk: what was said to be stored is there after reopening, the newer version
 * wins, counts are exact, damaged files are put aside. Ranges: test_store_ranges.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "hash.h"
#include "store_fixture.h"

static struct fixture fixture;

static int setup(void **state) {
    (void)state;
    fixture_new(&fixture);
    return fixture_open(&fixture) == STORE_OK ? 0 : -1;
}

static int teardown(void **state) {
    (void)state;
    fixture_free(&fixture);
    return 0;
}

static void test_create_and_reopen(void **state) {
    (void)state;
    uint8_t store_id[CHORD_STORE_ID_BYTES];
    memcpy(store_id, fixture.store_id, sizeof store_id);
    assert_int_equal(fixture.identity.incarnation, 0);
    assert_int_equal(fixture.views_count, 0);
    assert_true(write_keys(&fixture, 0, 100, 3, 7, 50));
    for (int round = 0; round < 3; round++) {
        fixture_reopen(&fixture);
        assert_memory_equal(store_id, fixture.store_id, sizeof store_id);
        assert_int_equal(store_count(fixture.store).keys, 100);
        for (uint64_t key = 0; key < 100; key++) {
            assert_true(has_key(&fixture, key, 3, 7));
        }
        assert_false(has_key(&fixture, 100, 3, 7));
    }
}

static void some_stored_view(struct chord_view *view, unsigned i) {
    view->range = (struct chord_range){small_id(i), small_id(i + 1)};
    view->epoch = i == 4 ? CHORD_EPOCH_MAX : i + 1;
    view->members_count = i == 3 ? CHORD_REPLICAS_MAX : (uint16_t)(i + 1);
    view->leader = (uint16_t)(view->members_count - 1);
    view->settled = i % 2 == 0;
    view->cut = i % 3 == 0;
    view->recovered = i == 2;
    view->merges.count = (uint16_t)(i % (CHORD_MERGES_MAX + 1));
    for (uint16_t k = 0; k < view->merges.count; k++) {
        view->merges.items[k].epoch = CHORD_EPOCH_MAX - k;
        view->merges.items[k].lo = small_id(i + k);
    }
    for (unsigned k = 0; k < view->members_count; k++) {
        memset(view->members[k].store_id, (int)(i * 40 + k), CHORD_STORE_ID_BYTES);
        memset(view->members[k].address, 'x', CHORD_ADDRESS_BYTES - 1);
    }
}

static void test_identity_and_views_survive(void **state) {
    (void)state;
    struct store_job *job = store_job_new(STORE_JOB_IDENTITY);
    struct chord_identity identity;
    memset(&identity, 0, sizeof identity);
    identity.incarnation = UINT64_C(0x123456789abcdef);
    identity.salt = 77;
    identity.id = small_id(33);
    identity.parameters.m = 6;
    identity.parameters.n = 32;
    identity.parameters.replicas = 33;
    identity.formed = true;
    identity.left = CHORD_HAS_LEFT;
    identity.known_count = CHORD_REPLICAS_MAX;
    for (unsigned i = 0; i < CHORD_REPLICAS_MAX; i++) {
        memset(identity.known[i].address, 'a' + (int)i % 26, CHORD_ADDRESS_BYTES - 1);
        identity.known[i].incarnation = i + 1;
    }
    job->identity = &identity;
    fixture_run(&fixture, job);
    assert_true(job->ok);
    store_job_free(job);

    struct chord_stored_view views[5];
    memset(views, 0, sizeof views);
    for (unsigned i = 0; i < 5; i++) {
        some_stored_view(&views[i].view, i);
        views[i].learning = i == 2;
        views[i].acceptor.promised = i == 4 ? CHORD_BALLOT_MAX : i * 64;
        views[i].acceptor.accepted = i % 2 == 1;
        if (views[i].acceptor.accepted) {
            some_stored_view(&views[i].acceptor.next, i + 10);
            views[i].acceptor.ballot = i * 64 - 1;
            views[i].acceptor.other_epoch = i == 3 ? CHORD_EPOCH_MAX : 0;
        }
    }
    for (size_t count = 5;; count--) {
        job = store_job_new(STORE_JOB_VIEWS);
        job->views = views;
        job->views_count = count;
        fixture_run(&fixture, job);
        assert_true(job->ok);
        store_job_free(job);
        fixture_reopen(&fixture);
        assert_memory_equal(&fixture.identity, &identity, sizeof identity);
        assert_int_equal(fixture.views_count, count);
        for (size_t i = 0; i < count; i++) {
            const struct chord_stored_view *view = &fixture.views[i];
            const struct chord_stored_view *stored = NULL;
            for (size_t k = 0; k < count; k++) {
                stored = views[k].view.epoch == view->view.epoch ? &views[k] : stored;
            }
            assert_non_null(stored);
            assert_memory_equal(view, stored, sizeof *view);
        }
        if (count == 0) {
            break;
        }
    }
}

/* Another ring: the former one's rows and views go with the identity, for good. */
static void test_another_ring_takes_everything(void **state) {
    (void)state;
    struct chord_identity identity;
    struct chord_stored_view view;
    memset(&identity, 0, sizeof identity);
    memset(&view, 0, sizeof view);
    identity.incarnation = 9;
    identity.parameters = (struct chord_parameters){.m = 6, .n = 3, .replicas = 3};
    identity.left = CHORD_HAS_LEFT;
    view.view.epoch = 3;
    view.view.members_count = 1;
    view.acceptor.accepted = true;
    view.acceptor.next = view.view;
    assert_true(write_keys(&fixture, 0, 100, 3, 7, 20));
    struct store_job *job = store_job_new(STORE_JOB_VIEWS);
    job->views = &view;
    job->views_count = 1;
    fixture_run(&fixture, job);
    assert_true(job->ok);
    store_job_free(job);
    job = store_job_new(STORE_JOB_OTHER_RING);
    job->identity = &identity;
    fixture_run(&fixture, job);
    assert_true(job->ok);
    store_job_free(job);
    for (int opened = 0; opened < 2; opened++) {
        assert_int_equal(store_count(fixture.store).keys, 0);
        assert_int_equal(store_count(fixture.store).bytes, 0);
        assert_false(has_key(&fixture, 5, 3, 7));
        fixture_reopen(&fixture);
        assert_int_equal(fixture.views_count, 0);
        assert_memory_equal(&fixture.identity, &identity, sizeof identity);
    }
}

/* ---- versions ---- */

static void test_newer_version_wins(void **state) {
    (void)state;
    static const struct {
        uint64_t epoch, counter;
        bool wins;
    } writes[] = {{1, 1, true},
                  {1, 1, false},
                  {1, 2, true},
                  {1, 1, false},
                  {2, 1, true},
                  {1, 99, false},
                  {2, INT64_MAX, true},
                  {3, 0, true},
                  {2, INT64_MAX, false},
                  {INT64_MAX, 0, true},
                  {INT64_MAX - 1, INT64_MAX, false},
                  {INT64_MAX, INT64_MAX, true}};
    uint64_t epoch = 0, counter = 0;
    for (unsigned i = 0; i < sizeof writes / sizeof writes[0]; i++) {
        bool existed;
        write_one(&fixture, 1, writes[i].epoch, writes[i].counter, STORE_VALUE, 10 + i, &existed);
        assert_int_equal(existed, i > 0);
        epoch = writes[i].wins ? writes[i].epoch : epoch;
        counter = writes[i].wins ? writes[i].counter : counter;
        assert_true(has_key(&fixture, 1, epoch, counter));
        assert_int_equal(store_count(fixture.store).keys, 1);
    }
}

static void test_tombstones(void **state) {
    (void)state;
    bool existed;
    write_one(&fixture, 1, 1, 1, STORE_TOMBSTONE, 0, &existed);
    assert_false(existed);
    assert_int_equal(store_count(fixture.store).keys, 0);
    write_one(&fixture, 1, 1, 2, STORE_VALUE, 10, &existed);
    assert_false(existed); /* a tombstone is no value */
    assert_int_equal(store_count(fixture.store).keys, 1);
    write_one(&fixture, 1, 1, 3, STORE_TOMBSTONE, 0, &existed);
    assert_true(existed);
    write_one(&fixture, 1, 1, 2, STORE_VALUE, 10, &existed); /* late: revives nothing */
    struct store_job *job = read_key(&fixture, 1);
    assert_int_equal(job->rows[0].kind, STORE_TOMBSTONE);
    assert_int_equal(job->rows[0].counter, 3);
    store_job_free(job);
    fixture_reopen(&fixture);
    assert_int_equal(store_count(fixture.store).keys, 0);
    assert_int_equal(store_count(fixture.store).bytes, 0);
}

/* Every byte of key and value comes back, at the sizes where things go wrong. */
static void test_any_bytes(void **state) {
    (void)state;
    static const size_t sizes[] = {0, 1, 7, 8, 9, 4095, 4096, 4097, 1024 * 1024};
    static const size_t keys[] = {1, 8, 1024};
    for (unsigned k = 0; k < 3; k++) {
        for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            struct store_job *job = store_job_new(STORE_JOB_WRITE), *read;
            struct store_row *row = job->rows = arena_alloc(&job->arena, sizeof *row);
            uint8_t *key = arena_alloc(&job->arena, keys[k]);
            uint8_t *value = arena_alloc(&job->arena, sizes[i] + 1);
            job->rows_count = 1;
            memset(key, k == 2 ? 0xff : 0, keys[k]);
            for (size_t at = 0; at < sizes[i]; at++) {
                value[at] = (uint8_t)(at * 7 + i);
            }
            row->key = key;
            row->key_bytes = keys[k];
            hash_key(key, keys[k], row->hash);
            row->epoch = 1;
            row->counter = i + 1;
            row->kind = STORE_VALUE;
            row->value = value;
            row->value_bytes = sizes[i];
            row->expires_at_ms = INT64_MAX;
            row->op_id_bytes = STORE_OP_ID_BYTES;
            memset(row->op_id, 0xab, STORE_OP_ID_BYTES);
            row->existed = i % 2 == 0;
            fixture_run(&fixture, job);
            assert_true(job->ok);
            read = store_job_new(STORE_JOB_READ);
            read->rows = arena_alloc(&read->arena, sizeof *row);
            read->rows_count = 1;
            read->rows[0].key = key;
            read->rows[0].key_bytes = keys[k];
            memcpy(read->rows[0].hash, row->hash, CHORD_ID_BYTES);
            fixture_run(&fixture, read);
            assert_int_equal(read->rows[0].kind, STORE_VALUE);
            assert_false(read->rows[0].bad);
            assert_int_equal(read->rows[0].value_bytes, sizes[i]);
            assert_memory_equal(read->rows[0].value, value, sizes[i]);
            assert_true(read->rows[0].expires_at_ms == INT64_MAX);
            assert_int_equal(read->rows[0].op_id_bytes, STORE_OP_ID_BYTES);
            assert_memory_equal(read->rows[0].op_id, row->op_id, STORE_OP_ID_BYTES);
            assert_int_equal(read->rows[0].existed, row->existed);
            store_job_free(read);
            store_job_free(job);
        }
    }
}

static void test_counts_through_every_change(void **state) {
    (void)state;
    uint64_t bytes = 0;
    for (uint64_t i = 0; i < 300; i++) {
        bool existed;
        uint64_t key = i * i % 37;
        enum store_row_kind kind = i % 3 == 0 ? STORE_TOMBSTONE : STORE_VALUE;
        write_one(&fixture, key, 1 + i % 5, i + 1, kind, (size_t)(i % 50), &existed);
    }
    uint64_t keys = 0;
    for (uint64_t key = 0; key < 37; key++) {
        struct store_job *job = read_key(&fixture, key);
        if (job->rows[0].kind == STORE_VALUE) {
            keys++;
            bytes += job->rows[0].key_bytes + job->rows[0].value_bytes;
        }
        store_job_free(job);
    }
    assert_int_equal(store_count(fixture.store).keys, keys);
    assert_int_equal(store_count(fixture.store).bytes, bytes);
    fixture_reopen(&fixture);
    assert_int_equal(store_count(fixture.store).keys, keys);
    assert_int_equal(store_count(fixture.store).bytes, bytes);
}

/* ---- the folder ---- */

static void test_second_open_is_locked(void **state) {
    (void)state;
    struct fixture second = fixture;
    second.store = NULL;
    second.views = NULL;
    assert_int_equal(fixture_open(&second), STORE_LOCKED);
    assert_non_null(strstr(second.reason, fixture.directory));
    assert_true(write_keys(&fixture, 1, 1, 1, 1, 10)); /* the first one is not disturbed */
    fixture_reopen(&fixture);
}

static void test_unusable_folder(void **state) {
    (void)state;
    struct fixture other;
    memset(&other, 0, sizeof other);
    snprintf(other.directory, sizeof other.directory, "/proc/nobody-can-write-here");
    assert_int_equal(fixture_open(&other), STORE_UNUSABLE);
    assert_non_null(strstr(other.reason, other.directory));
}

static void damage(const char *name, long at, const void *bytes, size_t count) {
    char path[200];
    snprintf(path, sizeof path, "%s/%s", fixture.directory, name);
    FILE *file = fopen(path, "r+");
    assert_non_null(file);
    assert_int_equal(fseek(file, at, at < 0 ? SEEK_END : SEEK_SET), 0);
    assert_int_equal(fwrite(bytes, 1, count, file), count);
    fclose(file);
}

static bool exists(const char *name) {
    char path[200];
    snprintf(path, sizeof path, "%s/%s", fixture.directory, name);
    return access(path, F_OK) == 0;
}

static void test_damaged_file_is_put_aside(void **state) {
    (void)state;
    uint8_t store_id[CHORD_STORE_ID_BYTES];
    memcpy(store_id, fixture.store_id, sizeof store_id);
    assert_true(write_keys(&fixture, 0, 500, 1, 1, 100));
    fixture_close(&fixture);
    char noise[4096];
    memset(noise, 0x5a, sizeof noise);
    damage("chord.db", 0, noise, sizeof noise);
    assert_int_equal(fixture_open(&fixture), STORE_OK);
    assert_true(exists("chord.db.corrupt"));
    assert_memory_not_equal(store_id, fixture.store_id, sizeof store_id); /* a new replica */
    assert_int_equal(fixture.identity.incarnation, 0);
    assert_int_equal(store_count(fixture.store).keys, 0);
    assert_true(write_keys(&fixture, 0, 10, 1, 1, 100));
    fixture_reopen(&fixture);
    assert_int_equal(store_count(fixture.store).keys, 10);
}

/* A flipped byte in a value is told, never given out as if it were right. */
static void test_changed_value_is_told(void **state) {
    (void)state;
    assert_true(write_keys(&fixture, 7, 1, 1, 1, 64)); /* sixty-four bytes of 7 */
    fixture_close(&fixture);
    char path[200];
    snprintf(path, sizeof path, "%s/chord.db", fixture.directory);
    FILE *file = fopen(path, "r+");
    assert_non_null(file);
    static uint8_t content[1 << 20];
    size_t bytes = fread(content, 1, sizeof content, file);
    unsigned run = 0;
    long at = -1;
    for (size_t i = 0; i < bytes && at < 0; i++) {
        run = content[i] == 7 ? run + 1 : 0;
        at = run == 64 ? (long)i : -1;
    }
    assert_true(at > 0);
    assert_int_equal(fseek(file, at - 20, SEEK_SET), 0);
    assert_int_equal(fputc(8, file), 8);
    fclose(file);
    assert_int_equal(fixture_open(&fixture), STORE_OK);
    struct store_job *job = read_key(&fixture, 7);
    assert_true(!job->ok || job->rows[0].bad);
    store_job_free(job);
}

/* ---- order ---- */

/* Jobs take effect and are reported in the order in which they came, many to a commit. */
static void test_group_commit_keeps_the_order(void **state) {
    (void)state;
    enum { JOBS = 3000 };
    static struct store_job *jobs[JOBS];
    for (unsigned i = 0; i < JOBS; i++) {
        jobs[i] = store_job_new(i % 2 == 0 ? STORE_JOB_WRITE : STORE_JOB_READ);
        jobs[i]->store_op = i + 1;
        jobs[i]->rows = arena_alloc(&jobs[i]->arena, sizeof *jobs[i]->rows);
        jobs[i]->rows_count = 1;
        row_set(jobs[i], &jobs[i]->rows[0], 1, 1, i + 1, STORE_VALUE, 10);
    }
    for (unsigned i = 0; i < JOBS; i++) {
        store_submit(fixture.store, jobs[i]);
    }
    fixture_wait(&fixture, JOBS);
    for (unsigned i = 0; i < JOBS; i++) {
        assert_int_equal(fixture.order[i], i + 1);
        assert_true(jobs[i]->ok);
        if (i % 2 == 1) {
            assert_int_equal(jobs[i]->rows[0].counter, i); /* what the write before it wrote */
        }
        store_job_free(jobs[i]);
    }
    assert_true(has_key(&fixture, 1, 1, JOBS - 1));
}

/* Closing finishes what was submitted. */
static void test_close_finishes_all_jobs(void **state) {
    (void)state;
    enum { JOBS = 200 };
    static struct store_job *jobs[JOBS];
    for (unsigned i = 0; i < JOBS; i++) {
        jobs[i] = store_job_new(STORE_JOB_WRITE);
        jobs[i]->rows = arena_alloc(&jobs[i]->arena, sizeof *jobs[i]->rows);
        jobs[i]->rows_count = 1;
        row_set(jobs[i], &jobs[i]->rows[0], i, 1, 1, STORE_VALUE, 10);
        store_submit(fixture.store, jobs[i]);
    }
    fixture_close(&fixture);
    assert_int_equal(fixture.done_count, JOBS);
    for (unsigned i = 0; i < JOBS; i++) {
        assert_true(jobs[i]->ok);
        store_job_free(jobs[i]);
    }
    fixture_reopen(&fixture);
    assert_int_equal(store_count(fixture.store).keys, JOBS);
    store_close(NULL); /* allowed */
}

/* How many of these reads were done when store_submit returned. */
static unsigned reads_at_once(unsigned tries) {
    unsigned at_once = 0;
    for (unsigned i = 0; i < tries; i++) {
        struct store_job *job = store_job_new(STORE_JOB_READ);
        bool done = false;
        job->rows = arena_alloc(&job->arena, sizeof *job->rows);
        job->rows_count = 1;
        row_set(job, &job->rows[0], i % 10, 0, 0, STORE_VALUE, 0);
        job->owner = &done;
        pthread_mutex_lock(&fixture.mutex);
        unsigned before = fixture.done_count;
        pthread_mutex_unlock(&fixture.mutex);
        store_submit(fixture.store, job);
        pthread_mutex_lock(&fixture.mutex);
        at_once += done;
        pthread_mutex_unlock(&fixture.mutex);
        fixture_wait(&fixture, before + 1);
        assert_true(job->ok);
        assert_int_equal(job->rows[0].kind, STORE_VALUE);
        assert_int_equal(job->rows[0].counter, 7);
        job->owner = NULL;
        store_job_free(job);
    }
    return at_once;
}

static void test_a_short_read_at_rest_is_done_by_its_submitter(void **state) {
    (void)state;
    assert_true(write_keys(&fixture, 0, 10, 3, 7, 50));
    unsigned at_once = 0;
    for (int i = 0; i < 1000 && at_once == 0; i++) { /* the store's thread goes to rest */
        at_once = reads_at_once(1);
    }
    assert_true(at_once > 0);
    assert_true(reads_at_once(100) > 50);
    /* A read does not pass a write that is under way, and writes go on after reads. */
    for (uint64_t counter = 8; counter < 100; counter++) {
        struct store_job *job = store_job_new(STORE_JOB_WRITE);
        bool done = false;
        job->rows = arena_alloc(&job->arena, sizeof *job->rows);
        job->rows_count = 1;
        job->owner = &done;
        row_set(job, &job->rows[0], 1, 3, counter, STORE_VALUE, 20);
        store_submit(fixture.store, job);
        assert_true(has_key(&fixture, 1, 3, counter));
        pthread_mutex_lock(&fixture.mutex);
        assert_true(done);
        pthread_mutex_unlock(&fixture.mutex);
        store_job_free(job);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    if (!hash_open()) {
        return 1;
    }
    const struct CMUnitTest tests[] = {
        TEST(test_a_short_read_at_rest_is_done_by_its_submitter),
        TEST(test_create_and_reopen),
        TEST(test_identity_and_views_survive),
        TEST(test_another_ring_takes_everything),
        TEST(test_newer_version_wins),
        TEST(test_tombstones),
        TEST(test_any_bytes),
        TEST(test_counts_through_every_change),
        TEST(test_second_open_is_locked),
        TEST(test_unusable_folder),
        TEST(test_damaged_file_is_put_aside),
        TEST(test_changed_value_is_told),
        TEST(test_group_commit_keeps_the_order),
        TEST(test_close_finishes_all_jobs),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    hash_close();
    return failed;
}

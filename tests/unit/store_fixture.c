/* SPDX-License-Identifier: MIT */
/*
 * See store_fixture.h.
 */
#include "store_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <sqlite3.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "assert.h"
#include "hash.h"

_Noreturn void chord_assert_failed(const char *file, int line, const char *condition) {
    fprintf(stderr, "%s:%d: assertion failed: %s\n", file, line, condition);
    abort();
}

static void on_done(void *context, struct store_job *job) {
    struct fixture *fixture = context;
    pthread_mutex_lock(&fixture->mutex);
    if (fixture->done_count < sizeof fixture->order / sizeof fixture->order[0]) {
        fixture->order[fixture->done_count] = job->store_op;
    }
    fixture->done_count++;
    if (job->owner != NULL) {
        *(bool *)job->owner = true;
    }
    pthread_cond_broadcast(&fixture->done);
    pthread_mutex_unlock(&fixture->mutex);
}

static void on_failure(void *context, const char *reason) {
    struct fixture *fixture = context;
    pthread_mutex_lock(&fixture->mutex);
    fixture->failures++;
    snprintf(fixture->failure, sizeof fixture->failure, "%s", reason);
    pthread_cond_broadcast(&fixture->done);
    pthread_mutex_unlock(&fixture->mutex);
}

void fixture_new(struct fixture *fixture) {
    memset(fixture, 0, sizeof *fixture);
    snprintf(fixture->directory, sizeof fixture->directory, "/tmp/test-store-XXXXXX");
    assert_non_null(mkdtemp(fixture->directory));
    pthread_mutex_init(&fixture->mutex, NULL);
    pthread_cond_init(&fixture->done, NULL);
}

void fixture_free(struct fixture *fixture) {
    char path[400];
    fixture_close(fixture);
    DIR *directory = opendir(fixture->directory);
    for (struct dirent *entry; directory != NULL && (entry = readdir(directory)) != NULL;) {
        snprintf(path, sizeof path, "%s/%s", fixture->directory, entry->d_name);
        unlink(path);
    }
    if (directory != NULL) {
        closedir(directory);
    }
    rmdir(fixture->directory);
}

enum store_error fixture_open(struct fixture *fixture) {
    struct store_options options = {.directory = fixture->directory,
                                    .address = "127.0.0.1:4001",
                                    .moved = fixture->moved,
                                    .on_done = on_done,
                                    .on_failure = on_failure,
                                    .context = fixture};
    free(fixture->views);
    fixture->views = NULL;
    fixture->views_count = 0;
    fixture->reason[0] = '\0';
    return store_open(&fixture->store, &options, fixture->store_id, &fixture->identity,
                      &fixture->views, &fixture->views_count, fixture->reason,
                      sizeof fixture->reason);
}

void fixture_close(struct fixture *fixture) {
    store_close(fixture->store);
    fixture->store = NULL;
    free(fixture->views);
    fixture->views = NULL;
}

void fixture_reopen(struct fixture *fixture) {
    fixture_close(fixture);
    if (fixture_open(fixture) != STORE_OK) {
        fail_msg("%s", fixture->reason);
    }
}

int64_t fixture_sql(const struct fixture *fixture, const char *sql, int wanted) {
    char path[200];
    sqlite3 *db;
    int64_t value = 0;
    snprintf(path, sizeof path, "%s/chord.db", fixture->directory);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    int rc = SQLITE_OK;
    while (rc == SQLITE_OK && *sql != '\0') {
        sqlite3_stmt *statement = NULL;
        rc = sqlite3_prepare_v2(db, sql, -1, &statement, &sql);
        while (statement != NULL && (rc = sqlite3_step(statement)) == SQLITE_ROW) {
            value = sqlite3_column_int64(statement, 0);
        }
        sqlite3_finalize(statement);
        rc = rc == SQLITE_DONE ? SQLITE_OK : rc;
    }
    if (rc != wanted) {
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    }
    sqlite3_close(db);
    return value;
}

void fixture_run(struct fixture *fixture, struct store_job *job) {
    bool done = false;
    job->owner = &done;
    store_submit(fixture->store, job);
    pthread_mutex_lock(&fixture->mutex);
    while (!done) {
        pthread_cond_wait(&fixture->done, &fixture->mutex);
    }
    pthread_mutex_unlock(&fixture->mutex);
    job->owner = NULL;
}

void fixture_wait(struct fixture *fixture, unsigned done_count) {
    pthread_mutex_lock(&fixture->mutex);
    while (fixture->done_count < done_count) {
        pthread_cond_wait(&fixture->done, &fixture->mutex);
    }
    pthread_mutex_unlock(&fixture->mutex);
}

void row_set(struct store_job *job, struct store_row *row, uint64_t key, uint64_t epoch,
             uint64_t counter, enum store_row_kind kind, size_t value_bytes) {
    char *text = arena_alloc(&job->arena, 32);
    uint8_t *value = arena_alloc(&job->arena, value_bytes + 1);
    memset(row, 0, sizeof *row);
    row->key_bytes = (size_t)snprintf(text, 32, "key %012llu", (unsigned long long)key);
    row->key = (const uint8_t *)text;
    hash_key(row->key, row->key_bytes, row->hash);
    row->epoch = epoch;
    row->counter = counter;
    row->kind = kind;
    memset(value, (int)(key & 0xff), value_bytes);
    row->value = value;
    row->value_bytes = kind == STORE_VALUE ? value_bytes : 0;
}

bool write_keys(struct fixture *fixture, uint64_t first, size_t count, uint64_t epoch,
                uint64_t counter, size_t value_bytes) {
    struct store_job *job = store_job_new(STORE_JOB_WRITE);
    job->rows = arena_alloc(&job->arena, sizeof *job->rows * count);
    job->rows_count = count;
    for (size_t i = 0; i < count; i++) {
        row_set(job, &job->rows[i], first + i, epoch, counter, STORE_VALUE, value_bytes);
    }
    fixture_run(fixture, job);
    bool ok = job->ok;
    store_job_free(job);
    return ok;
}

void write_one(struct fixture *fixture, uint64_t key, uint64_t epoch, uint64_t counter,
               enum store_row_kind kind, size_t value_bytes, bool *existed) {
    struct store_job *job = store_job_new(STORE_JOB_WRITE);
    job->rows = arena_alloc(&job->arena, sizeof *job->rows);
    job->rows_count = 1;
    row_set(job, &job->rows[0], key, epoch, counter, kind, value_bytes);
    fixture_run(fixture, job);
    assert_true(job->ok);
    *existed = job->rows[0].replaced;
    store_job_free(job);
}

struct store_job *read_key(struct fixture *fixture, uint64_t key) {
    struct store_job *job = store_job_new(STORE_JOB_READ);
    job->rows = arena_alloc(&job->arena, sizeof *job->rows);
    job->rows_count = 1;
    row_set(job, &job->rows[0], key, 0, 0, STORE_VALUE, 0);
    fixture_run(fixture, job);
    return job;
}

bool has_key(struct fixture *fixture, uint64_t key, uint64_t epoch, uint64_t counter) {
    struct store_job *job = read_key(fixture, key);
    bool has = job->ok && job->rows[0].kind == STORE_VALUE && !job->rows[0].bad &&
               job->rows[0].epoch == epoch && job->rows[0].counter == counter;
    store_job_free(job);
    return has;
}

void digest_of(struct fixture *fixture, const struct chord_range *range, uint64_t *rows,
               uint8_t digest[CHORD_DIGEST_BYTES]) {
    struct store_job *job = store_job_new(STORE_JOB_DIGEST);
    job->range = *range;
    fixture_run(fixture, job);
    assert_true(job->ok);
    *rows = job->digest_rows;
    memcpy(digest, job->digest, CHORD_DIGEST_BYTES);
    store_job_free(job);
}

struct chord_id small_id(uint64_t value) {
    struct chord_id id = {{0}};
    for (int i = 0; i < 8; i++) {
        id.bytes[CHORD_ID_BYTES - 1 - i] = (uint8_t)(value >> 8 * i);
    }
    return id;
}

struct chord_range whole_ring(void) {
    return (struct chord_range){small_id(5), small_id(5)};
}

/* SPDX-License-Identifier: MIT */
/*
 * What the tests of the store share: a folder of its own per test, jobs that are submitted and
 * awaited, rows by number. Job results are waited for, never slept for.
 */
#ifndef STORE_FIXTURE_H
#define STORE_FIXTURE_H

#include "store.h"

#include <pthread.h>

struct fixture {
    char directory[64];
    struct store *store;
    uint8_t store_id[CHORD_STORE_ID_BYTES];
    struct chord_identity identity;
    struct chord_stored_view *views;
    size_t views_count;
    char reason[4096];
    pthread_mutex_t mutex;
    pthread_cond_t done;
    uint64_t order[4096]; /* store_op of the jobs as they were done */
    unsigned done_count;
    unsigned failures; /* on_failure calls */
    char failure[512];
    bool moved; /* as --moved says */
};

void fixture_new(struct fixture *fixture); /* an empty folder; not opened */
void fixture_free(struct fixture *fixture);
enum store_error fixture_open(struct fixture *fixture);
void fixture_close(struct fixture *fixture);
void fixture_reopen(struct fixture *fixture); /* must succeed */
/* Statements on the file of a closed store, which must end as `wanted` (SQLITE_OK, ...); returns
 * the last first number that they gave, or 0. */
int64_t fixture_sql(const struct fixture *fixture, const char *sql, int wanted);
/* Submits and waits; the job is the caller's again. */
void fixture_run(struct fixture *fixture, struct store_job *job);
void fixture_wait(struct fixture *fixture, unsigned done_count);

/* Key number `key` of `bytes` bytes (at least 16), hashed as the node does. */
void row_set(struct store_job *job, struct store_row *row, uint64_t key, uint64_t epoch,
             uint64_t counter, enum store_row_kind kind, size_t value_bytes);
/* Writes keys first..first+count-1; ok as the store said. */
bool write_keys(struct fixture *fixture, uint64_t first, size_t count, uint64_t epoch,
                uint64_t counter, size_t value_bytes);
/* Writes one; *existed: there was a value. */
void write_one(struct fixture *fixture, uint64_t key, uint64_t epoch, uint64_t counter,
               enum store_row_kind kind, size_t value_bytes, bool *existed);
/* The row under a key; value and key of the job's arena. */
struct store_job *read_key(struct fixture *fixture, uint64_t key);
bool has_key(struct fixture *fixture, uint64_t key, uint64_t epoch, uint64_t counter);
void digest_of(struct fixture *fixture, const struct chord_range *range, uint64_t *rows,
               uint8_t digest[CHORD_DIGEST_BYTES]);
struct chord_id small_id(uint64_t value);
struct chord_range whole_ring(void);

#endif

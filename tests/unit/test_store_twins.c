/* SPDX-License-Identifier: MIT */
/*
 * The SQLite store and the simulator's store, side by side: the same random orders, and every
 * answer the same. What the simulator finds out about the core with its own store holds for the
 * real one.
 *
 *   CHORD_TEST_SEED=7 CHORD_TEST_RUNS=1 test_store_twins     one seed
 */
#include "core_store.h"
#include "store_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { M = 8, KEYS = 60, EPOCHS = 6, COUNTERS = 40, ORDERS = 250, ROWS_MAX = 12 };

static uint64_t seed, random_state;
static struct fixture real;
static struct core_store fake;

static uint64_t draw(uint64_t below) {
    uint64_t z = random_state += 0x9e3779b97f4a7c15u; /* splitmix64 */
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (z ^ z >> 31) % below;
}

#define same(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fail_msg("%s; replay: CHORD_TEST_SEED=%llu CHORD_TEST_RUNS=1 test_store_twins",        \
                     #condition, (unsigned long long)seed);                                        \
        }                                                                                          \
    } while (0)

/* ---- the same thing for both ---- */

static struct core_row row_random(void) {
    struct core_row row = {.epoch = 1 + draw(EPOCHS), .counter = 1 + draw(COUNTERS)};
    snprintf(row.key, sizeof row.key, "key %llu", (unsigned long long)draw(KEYS));
    core_hash(row.key, row.hash);
    row.tombstone = draw(4) == 0;
    row.existed = draw(2) == 0;
    row.expires_at_ms = draw(3) == 0 ? 1 + draw(1000) : 0;
    row.op_id = draw(3) == 0 ? 1 + draw(1000) : 0;
    if (!row.tombstone) {
        snprintf(row.value, sizeof row.value, "value %llu", (unsigned long long)draw(1000));
    }
    return row;
}

/* Points into `row`. */
static struct store_row row_real(const struct core_row *row) {
    struct store_row out = {.key = (const uint8_t *)row->key,
                            .key_bytes = strlen(row->key),
                            .epoch = row->epoch,
                            .counter = row->counter,
                            .kind = row->tombstone ? STORE_TOMBSTONE : STORE_VALUE,
                            .value = (const uint8_t *)row->value,
                            .value_bytes = strlen(row->value),
                            .existed = row->existed,
                            .expires_at_ms = row->expires_at_ms};
    memcpy(out.hash, row->hash, CHORD_ID_BYTES);
    if (row->op_id != 0) {
        out.op_id_bytes = STORE_OP_ID_BYTES;
        memcpy(out.op_id, &row->op_id, sizeof row->op_id);
    }
    return out;
}

static void same_row(const struct store_row *got, const struct core_row *row) {
    struct store_row want = row_real(row);
    same(got->kind == want.kind && got->epoch == want.epoch && got->counter == want.counter);
    same(got->existed == want.existed && got->expires_at_ms == want.expires_at_ms && !got->bad);
    same(got->op_id_bytes == want.op_id_bytes &&
         memcmp(got->op_id, want.op_id, want.op_id_bytes) == 0);
    same(got->value_bytes == want.value_bytes &&
         memcmp(got->value, want.value, want.value_bytes) == 0);
}

static struct chord_range range_random(void) {
    struct chord_range range = {small_id(draw(1 << M)), small_id(draw(1 << M))};
    return range; /* lo = hi: the whole circle */
}

static struct store_job *job_new(enum store_job_kind kind, const struct core_row *rows,
                                 size_t count) {
    struct store_job *job = store_job_new(kind);
    job->rows = arena_alloc(&job->arena, sizeof *job->rows * (count + 1));
    job->rows_count = count;
    for (size_t i = 0; i < count; i++) {
        job->rows[i] = row_real(&rows[i]);
    }
    return job;
}

/* ---- orders ---- */

static void order_write(void) {
    struct core_row rows[ROWS_MAX];
    size_t count = 1 + draw(ROWS_MAX);
    for (size_t i = 0; i < count; i++) {
        rows[i] = row_random();
    }
    struct store_job *job = job_new(STORE_JOB_WRITE, rows, count);
    fixture_run(&real, job);
    same(job->ok);
    for (size_t i = 0; i < count; i++) {
        same(job->rows[i].replaced == core_store_write(&fake, &rows[i]));
    }
    store_job_free(job);
}

static void order_read(void) {
    struct core_row asked = row_random();
    const struct core_row *row = core_store_find(&fake, asked.key);
    struct store_job *job = job_new(STORE_JOB_READ, &asked, 1);
    fixture_run(&real, job);
    same(job->ok && (job->rows[0].kind != 0) == (row != NULL));
    if (row != NULL) {
        same_row(&job->rows[0], row);
    }
    store_job_free(job);
}

/* The pages of a range from its start; ends where the cursor `last` of the last page is. */
static void same_pages(const struct chord_range *range, size_t rows_max) {
    uint8_t after[CHORD_ID_BYTES];
    bool has_after = false, done = false;
    while (!done) {
        struct core_row *rows;
        size_t count =
            core_store_page(&fake, range, M, has_after ? after : NULL, rows_max, &rows, &done);
        struct store_job *job = store_job_new(STORE_JOB_READ_RANGE);
        job->range = *range;
        job->page_values = true;
        job->page_rows_max = rows_max;
        job->has_after = has_after;
        memcpy(job->after, after, has_after ? CHORD_ID_BYTES : 0);
        fixture_run(&real, job);
        same(job->ok && job->rows_count == count && job->done == done);
        for (size_t i = 0; i < count; i++) {
            same(job->rows[i].key_bytes == strlen(rows[i].key) &&
                 memcmp(job->rows[i].key, rows[i].key, job->rows[i].key_bytes) == 0);
            same_row(&job->rows[i], &rows[i]);
            memcpy(after, rows[i].hash, CHORD_ID_BYTES);
        }
        has_after = has_after || count > 0;
        store_job_free(job);
        free(rows);
    }
}

static void order_pages(void) {
    struct chord_range range = range_random();
    same_pages(&range, 1 + draw(10));
}

static void order_digest(void) {
    struct chord_range range = range_random();
    uint8_t digest[CHORD_DIGEST_BYTES];
    uint64_t rows;
    digest_of(&real, &range, &rows, digest);
    same(rows == core_store_digest(&fake, &range, M, digest));
    struct store_job *job = store_job_new(STORE_JOB_TOMBSTONES);
    job->range = range;
    fixture_run(&real, job);
    same(job->ok && job->digest_rows == core_store_tombstones(&fake, &range, M));
    store_job_free(job);
}

/* A page of a leader: its rows, after a cursor or from the start, to a last row or to the end. */
static void order_equal(void) {
    struct chord_range range = range_random();
    struct core_row rows[ROWS_MAX], *all;
    bool done;
    size_t count = 0, held = core_store_page(&fake, &range, M, NULL, 1 << 20, &all, &done);
    bool has_after = held > 2 && draw(2) == 0;
    for (size_t i = has_after; i < held && count < ROWS_MAX; i++) {
        if (draw(3) > 0) { /* this page holds what it has, in some places newer or older */
            struct core_row row = row_random();
            memcpy(row.key, all[i].key, sizeof row.key);
            memcpy(row.hash, all[i].hash, CHORD_ID_BYTES);
            rows[count++] = row;
        }
    }
    uint64_t epoch = 1 + draw(EPOCHS);
    struct store_job *job = job_new(STORE_JOB_EQUAL, rows, count);
    job->range = range;
    job->epoch = epoch;
    job->has_after = has_after;
    job->done = count == 0 || draw(2) == 0;
    if (job->has_after) {
        memcpy(job->after, all[0].hash, CHORD_ID_BYTES);
    }
    if (!job->done) {
        memcpy(job->last, rows[count - 1].hash, CHORD_ID_BYTES);
    }
    uint8_t last[CHORD_ID_BYTES];
    memcpy(last, job->last, CHORD_ID_BYTES);
    core_store_equal(&fake, &range, M, epoch, job->has_after ? all[0].hash : NULL,
                     job->done ? NULL : last);
    fixture_run(&real, job);
    same(job->ok);
    for (size_t i = 0; i < count; i++) {
        same(job->rows[i].replaced == core_store_write(&fake, &rows[i]));
    }
    store_job_free(job);
    free(all);
}

static void order_drop(void) {
    struct chord_range range = range_random();
    struct store_job *job = store_job_new(STORE_JOB_DROP_RANGE);
    job->range = range;
    fixture_run(&real, job);
    same(job->ok);
    core_store_drop(&fake, &range, M);
    store_job_free(job);
}

/* A view that forgets the deletions before it. */
static void order_forget(void) {
    struct chord_stored_view stored;
    memset(&stored, 0, sizeof stored);
    stored.view.range = range_random();
    stored.view.epoch = stored.view.floor = 1 + draw(EPOCHS);
    stored.view.members_count = 1;
    memcpy(stored.view.members[0].address, "127.0.0.1:4001", sizeof "127.0.0.1:4001");
    struct store_job *job = store_job_new(STORE_JOB_VIEWS);
    job->views = arena_alloc(&job->arena, sizeof stored);
    job->views[0] = stored;
    job->views_count = 1;
    fixture_run(&real, job);
    same(job->ok);
    core_store_forget(&fake, &stored.view.range, M, stored.view.floor);
    store_job_free(job);
}

static void order(void) {
    static void (*const orders[])(void) = {order_write, order_write, order_write,  order_read,
                                           order_read,  order_pages, order_digest, order_equal,
                                           order_equal, order_forget};
    if (draw(40) == 0) {
        order_drop();
    } else {
        orders[draw(sizeof orders / sizeof orders[0])]();
    }
}

static void test_the_same_answers(void **state) {
    (void)state;
    const struct chord_range whole = whole_ring();
    const char *first = getenv("CHORD_TEST_SEED"), *runs = getenv("CHORD_TEST_RUNS");
    uint64_t from = first != NULL ? strtoull(first, NULL, 10) : 1;
    uint64_t count = runs != NULL ? strtoull(runs, NULL, 10) : 4;
    for (seed = from; seed < from + count; seed++) {
        random_state = seed;
        fixture_new(&real);
        fixture_reopen(&real);
        store_set_m(real.store, M);
        for (unsigned i = 0; i < ORDERS; i++) {
            order();
        }
        same_pages(&whole, 1000);
        fixture_free(&real);
        core_store_clear(&fake);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_the_same_answers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

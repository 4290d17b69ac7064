/* SPDX-License-Identifier: MIT */
/* See store_golden.h. */
#include "store_golden.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <sqlite3.h>

enum { ROWS = 40, VIEWS = 3, SPOILED = 13 };

/* ---- what is in it ---- */

static void golden_identity(struct chord_identity *identity) {
    memset(identity, 0, sizeof *identity);
    identity->incarnation = UINT64_C(0x123456789abcdef);
    identity->salt = 77;
    identity->id = small_id(33);
    identity->parameters = (struct chord_parameters){.m = 6, .n = 3, .replicas = 3};
    memset(identity->parameters.ring_id, 0xa5, CHORD_RING_ID_BYTES);
    identity->formed = true;
    identity->left = CHORD_NOT_LEFT;
    identity->known_count = 4;
    for (unsigned i = 0; i < identity->known_count; i++) {
        struct chord_peer *peer = &identity->known[i];
        peer->id = small_id(i * 10);
        peer->incarnation = i + 1000;
        memset(peer->store_id, (int)(i + 1), CHORD_STORE_ID_BYTES);
        snprintf(peer->address, sizeof peer->address, "127.0.0.1:%u", 4001 + i);
    }
}

static void golden_view(struct chord_view *view, unsigned i) {
    view->range = (struct chord_range){small_id(i * 10), small_id(i * 10 + 10)};
    view->epoch = i == 2 ? CHORD_EPOCH_MAX : i + 7;
    view->floor = i + 1;
    view->leader = (uint16_t)(i % 3);
    view->members_count = 3;
    view->settled = i % 2 == 0;
    view->moved = i == 1;
    view->recovered = i == 2;
    view->cut = i == 1;
    view->merges.count = (uint16_t)(i % (CHORD_MERGES_MAX + 1));
    for (uint16_t k = 0; k < view->merges.count; k++) {
        view->merges.items[k].epoch = CHORD_EPOCH_MAX - k;
        view->merges.items[k].lo = small_id(i + k);
    }
    for (unsigned k = 0; k < view->members_count; k++) {
        memset(view->members[k].store_id, (int)(k + 1), CHORD_STORE_ID_BYTES);
        snprintf(view->members[k].address, sizeof view->members[k].address, "127.0.0.1:%u",
                 4001 + k);
    }
}

static void golden_views(struct chord_stored_view views[VIEWS]) {
    memset(views, 0, sizeof views[0] * VIEWS);
    for (unsigned i = 0; i < VIEWS; i++) {
        golden_view(&views[i].view, i);
        views[i].learning = i == 1;
        views[i].equal_epoch = i + 5;
        views[i].acceptor.promised = i == 2 ? CHORD_BALLOT_MAX : (uint64_t)i * 64;
        views[i].acceptor.accepted = i != 0;
        if (i != 0) {
            golden_view(&views[i].acceptor.next, i + 3);
            views[i].acceptor.ballot = views[i].acceptor.promised - 1;
            views[i].acceptor.other_epoch = i == 2 ? 12 : 0;
        }
    }
}

/* Values without bytes and with more than a page; tombstones; every other row with an op_id. */
static void golden_row(struct store_job *job, struct store_row *row, uint64_t i) {
    bool deleted = i % 10 == 9;
    row_set(job, row, i, 5 + i % 3, 100 + i, deleted ? STORE_TOMBSTONE : STORE_VALUE,
            deleted || i == 0 ? 0
            : i % 20 == 7     ? 5000
                              : 10 + i);
    row->op_id_bytes = i % 2 == 0 ? 0 : STORE_OP_ID_BYTES;
    memset(row->op_id, row->op_id_bytes == 0 ? 0 : (int)i + 1, sizeof row->op_id);
    row->expires_at_ms = i % 4 == 1 ? UINT64_C(4102444800000) + i : 0;
    row->existed = i % 3 == 0;
}

/* ---- written ---- */

static void run(struct fixture *fixture, struct store_job *job) {
    fixture_run(fixture, job);
    assert_true(job->ok);
    store_job_free(job);
}

void golden_write(struct fixture *fixture) {
    static struct chord_identity identity;
    static struct chord_stored_view views[VIEWS];
    golden_identity(&identity);
    golden_views(views);
    struct store_job *job = store_job_new(STORE_JOB_IDENTITY);
    job->identity = &identity;
    run(fixture, job);
    job = store_job_new(STORE_JOB_VIEWS);
    job->views = views;
    job->views_count = VIEWS;
    run(fixture, job);
    job = store_job_new(STORE_JOB_WRITE);
    job->rows = arena_alloc(&job->arena, sizeof *job->rows * ROWS);
    job->rows_count = ROWS;
    for (uint64_t i = 0; i < ROWS; i++) {
        golden_row(job, &job->rows[i], i);
    }
    run(fixture, job);
}

/* ---- read ---- */

static void check_row(struct fixture *fixture, uint64_t i) {
    struct store_job *wanted = store_job_new(STORE_JOB_WRITE), *job = read_key(fixture, i);
    struct store_row row;
    golden_row(wanted, &row, i);
    assert_true(job->ok);
    const struct store_row *stored = &job->rows[0];
    assert_int_equal(stored->bad, i == SPOILED);
    assert_int_equal(stored->kind, row.kind);
    assert_int_equal(stored->epoch, row.epoch);
    assert_int_equal(stored->counter, row.counter);
    assert_int_equal(stored->expires_at_ms, row.expires_at_ms);
    assert_int_equal(stored->existed, row.existed);
    assert_int_equal(stored->op_id_bytes, row.op_id_bytes);
    assert_memory_equal(stored->op_id, row.op_id, row.op_id_bytes);
    assert_int_equal(stored->value_bytes, row.value_bytes);
    if (i != SPOILED && row.value_bytes > 0) {
        assert_memory_equal(stored->value, row.value, row.value_bytes);
    }
    store_job_free(job);
    store_job_free(wanted);
}

void golden_check(struct fixture *fixture) {
    static struct chord_identity identity;
    static struct chord_stored_view views[VIEWS];
    uint8_t store_id[CHORD_STORE_ID_BYTES], digest[CHORD_DIGEST_BYTES];
    uint64_t rows;
    struct chord_range range = whole_ring();
    golden_identity(&identity);
    golden_views(views);
    memset(store_id, 0, sizeof store_id);
    assert_memory_not_equal(fixture->store_id, store_id, sizeof store_id);
    assert_memory_equal(&fixture->identity, &identity, sizeof identity);
    assert_int_equal(fixture->views_count, VIEWS);
    for (unsigned i = 0; i < VIEWS; i++) {
        assert_memory_equal(&fixture->views[i], &views[i], sizeof views[i]);
    }
    for (uint64_t i = 0; i < ROWS; i++) {
        check_row(fixture, i);
    }
    digest_of(fixture, &range, &rows, digest);
    assert_int_equal(rows, ROWS);
    assert_string_equal(store_former(fixture->store)->items[0].text, "127.0.0.1:4001");
}

/* ---- files ---- */

static sqlite3 *open_file(const struct fixture *fixture, const char *name) {
    char path[200];
    sqlite3 *db;
    snprintf(path, sizeof path, "%s/%s", fixture->directory, name);
    assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    return db;
}

void golden_spoil(const struct fixture *fixture) {
    char sql[200];
    sqlite3 *db = open_file(fixture, "chord.db");
    snprintf(sql, sizeof sql,
             "UPDATE rows SET value = zeroblob(length(value))"
             " WHERE CAST(key AS TEXT) = 'key %012d'",
             SPOILED);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_changes(db), 1);
    sqlite3_close(db);
}

void golden_copy(const struct fixture *fixture, int schema) {
    static uint8_t bytes[1 << 20];
    char from[300], to[200];
    snprintf(from, sizeof from, GOLDEN_FOLDER "/schema-%d.db", schema);
    snprintf(to, sizeof to, "%s/chord.db", fixture->directory);
    FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
    assert_non_null(in);
    assert_non_null(out);
    size_t count = fread(bytes, 1, sizeof bytes, in);
    assert_true(count > 0 && count < sizeof bytes);
    assert_int_equal(fwrite(bytes, 1, count, out), count);
    fclose(in);
    fclose(out);
}

int golden_schema(const struct fixture *fixture, const char *name) {
    sqlite3 *db = open_file(fixture, name);
    sqlite3_stmt *statement;
    assert_int_equal(sqlite3_prepare_v2(db, "PRAGMA user_version", -1, &statement, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    int schema = sqlite3_column_int(statement, 0);
    sqlite3_finalize(statement);
    sqlite3_close(db);
    return schema;
}

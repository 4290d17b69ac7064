/* SPDX-License-Identifier: MIT */
/*
 * Rows that the disk has changed: how one is told, and the scrub, which reads rows that nobody asks
 * for, a little at a time, and finds the bad ones before all copies of a row are.
 */
#include "row_checksum.h"
#include "store_rows.h"

#include <openssl/evp.h>
#include <string.h>

/* Pointers live until the statement's next step. */
static void row_of(sqlite3_stmt *statement, struct store_row *row) {
    memset(row, 0, sizeof *row);
    if (sqlite3_column_bytes(statement, 0) == CHORD_ID_BYTES) {
        memcpy(row->hash, sqlite3_column_blob(statement, 0), CHORD_ID_BYTES);
    }
    row->key = sqlite3_column_blob(statement, 1);
    row->key_bytes = (size_t)sqlite3_column_bytes(statement, 1);
    row->epoch = (uint64_t)sqlite3_column_int64(statement, 2);
    row->counter = (uint64_t)sqlite3_column_int64(statement, 3);
    row->kind = (enum store_row_kind)sqlite3_column_int(statement, 4);
    row->expires_at_ms = (uint64_t)sqlite3_column_int64(statement, 6);
    row->value_bytes = (size_t)sqlite3_column_bytes(statement, 8);
    row->existed = sqlite3_column_int(statement, 9) != 0;
}

int64_t row_sum(const struct store_row *row) {
    struct row_columns columns = {
        .hash = row->hash,
        .hash_bytes = sizeof row->hash,
        .key = row->key,
        .key_bytes = row->key_bytes,
        .epoch = (int64_t)row->epoch,
        .counter = (int64_t)row->counter,
        .kind = row->kind,
        .op_id = row->op_id,
        .op_id_bytes = row->op_id_bytes,
        .expires_at_ms = (int64_t)row->expires_at_ms,
        .value = row->value,
        .value_bytes = row->value_bytes,
        .existed = row->existed,
    };
    return row_checksum(&columns);
}

uint64_t row_wrong(sqlite3_stmt *statement) {
    struct row_columns row = {
        .hash = sqlite3_column_blob(statement, 0),
        .hash_bytes = (size_t)sqlite3_column_bytes(statement, 0),
        .key = sqlite3_column_blob(statement, 1),
        .key_bytes = (size_t)sqlite3_column_bytes(statement, 1),
        .epoch = sqlite3_column_int64(statement, 2),
        .counter = sqlite3_column_int64(statement, 3),
        .kind = sqlite3_column_int64(statement, 4),
        .op_id = sqlite3_column_blob(statement, 5),
        .op_id_bytes = (size_t)sqlite3_column_bytes(statement, 5),
        .expires_at_ms = sqlite3_column_int64(statement, 6),
        .value = sqlite3_column_blob(statement, 8),
        .value_bytes = (size_t)sqlite3_column_bytes(statement, 8),
        .existed = sqlite3_column_int64(statement, 9),
    };
    return (uint64_t)(sqlite3_column_int64(statement, 7) ^ row_checksum(&row));
}

static void row_wrong_sql(sqlite3_context *context, int count, sqlite3_value **values) {
    struct store_tables *tables = sqlite3_user_data(context);
    struct row_columns row = {
        .hash = sqlite3_value_blob(values[0]),
        .hash_bytes = (size_t)sqlite3_value_bytes(values[0]),
        .key = sqlite3_value_blob(values[1]),
        .key_bytes = (size_t)sqlite3_value_bytes(values[1]),
        .epoch = sqlite3_value_int64(values[2]),
        .counter = sqlite3_value_int64(values[3]),
        .kind = sqlite3_value_int64(values[4]),
        .op_id = sqlite3_value_blob(values[5]),
        .op_id_bytes = (size_t)sqlite3_value_bytes(values[5]),
        .expires_at_ms = sqlite3_value_int64(values[6]),
        .value = sqlite3_value_blob(values[8]),
        .value_bytes = (size_t)sqlite3_value_bytes(values[8]),
        .existed = sqlite3_value_int64(values[9]),
    };
    bool wrong = sqlite3_value_int64(values[7]) != row_checksum(&row);
    (void)count;
    tables->wrong_found += wrong;
    sqlite3_result_int(context, wrong);
}

int row_wrong_register(struct store_tables *tables) {
    return sqlite3_create_function(tables->db, "row_wrong", 10, SQLITE_UTF8 | SQLITE_DETERMINISTIC,
                                   tables, row_wrong_sql, NULL, NULL);
}

/* ---- the scrub ---- */

/* A row in a wrong place is bad as well: it is not found under its key. */
static bool row_right(sqlite3_stmt *page, const struct store_row *row) {
    uint8_t hash[EVP_MAX_MD_SIZE];
    return row_wrong(page) == 0 &&
           EVP_Digest(row->key, row->key_bytes, hash, NULL, EVP_sha1(), NULL) == 1 &&
           memcmp(hash, row->hash, CHORD_ID_BYTES) == 0;
}

int tables_scrub(struct store_tables *tables, struct store_job *job) {
    uint8_t key[1025], end[CHORD_ID_BYTES]; /* after every key of a hash: the longest has 1024 */
    size_t bytes = 0, count = 0;
    int rc;
    memset(key, 0xff, sizeof key);
    memcpy(end, job->last, CHORD_ID_BYTES);
    sqlite3_bind_blob(tables->page, 1, job->after, job->has_after ? CHORD_ID_BYTES : 0,
                      SQLITE_STATIC);
    sqlite3_bind_blob(tables->page, 2, key, job->has_after ? sizeof key : 0, SQLITE_STATIC);
    sqlite3_bind_blob(tables->page, 3, end, CHORD_ID_BYTES, SQLITE_STATIC);
    job->rows = arena_alloc(&job->arena, sizeof *job->rows * STORE_SCRUB_ROWS);
    job->rows_count = 0;
    while ((rc = sqlite3_step(tables->page)) == SQLITE_ROW) {
        struct store_row row;
        row_of(tables->page, &row);
        bool next_hash = count > 0 && memcmp(row.hash, job->last, CHORD_ID_BYTES) != 0;
        if ((next_hash && (count >= STORE_SCRUB_ROWS || bytes >= STORE_SCRUB_BYTES)) ||
            job->rows_count == STORE_SCRUB_ROWS) {
            break;
        }
        if (sqlite3_column_bytes(tables->page, 0) == CHORD_ID_BYTES) {
            memcpy(job->last, row.hash, CHORD_ID_BYTES);
        }
        count++;
        bytes += row.key_bytes + row.value_bytes;
        if (!row_right(tables->page, &row)) {
            row.key = arena_copy(&job->arena, row.key, row.key_bytes);
            row.value = NULL;
            row.bad = true;
            job->rows[job->rows_count++] = row;
        }
    }
    job->done = rc == SQLITE_DONE;
    if (job->done) {
        memcpy(job->last, end, CHORD_ID_BYTES);
    }
    sqlite3_reset(tables->page);
    sqlite3_clear_bindings(tables->page);
    return rc == SQLITE_DONE || rc == SQLITE_ROW ? SQLITE_OK : rc;
}

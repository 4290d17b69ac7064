/* SPDX-License-Identifier: MIT */
/*
 * Listings of keys, for people: a slice at a time, so that a search over every row delays no other
 * job. The store's thread runs those between two slices.
 */
#include "store_clock.h"
#include "store_rows.h"

#include <string.h>
#include <time.h>

enum {
    SLICE_ROWS = 512,        /* looked at */
    SLICE_BYTES = 64 * 1024, /* taken */
    SLICE_US = 500,
    CLOCK_ROWS = 16, /* between two looks at the clock */
};

/* Where the listing goes on: after this very key of this hash, or after the whole hash. */
static void bind_cursor(sqlite3_stmt *page, const struct store_job *job) {
    static uint8_t beyond[STORE_KEY_BYTES_MAX + 1], last[CHORD_ID_BYTES];
    memset(beyond, 0xff, sizeof beyond);
    memset(last, 0xff, sizeof last);
    const void *key = job->after_key_bytes > 0 ? (const void *)job->after_key : beyond;
    size_t key_bytes = job->after_key_bytes > 0 ? job->after_key_bytes : sizeof beyond;
    sqlite3_bind_blob(page, 1, job->after, job->has_after ? CHORD_ID_BYTES : 0, SQLITE_STATIC);
    sqlite3_bind_blob64(page, 2, key, job->has_after ? key_bytes : 0, SQLITE_STATIC);
    sqlite3_bind_blob(page, 3, last, CHORD_ID_BYTES, SQLITE_STATIC);
}

/* Keeps the place of the row in `page`; the statement's bytes live only until its next step. */
static void cursor_keep(sqlite3_stmt *page, struct store_job *job) {
    job->has_after = true;
    job->after_key_bytes = (size_t)sqlite3_column_bytes(page, 1);
    memcpy(job->after, sqlite3_column_blob(page, 0), CHORD_ID_BYTES);
    if (job->after_key_bytes > 0 && job->after_key_bytes <= STORE_KEY_BYTES_MAX) {
        memcpy(job->after_key, sqlite3_column_blob(page, 1), job->after_key_bytes);
    }
}

static bool matches(sqlite3_stmt *page, const struct store_job *job) {
    return sqlite3_column_int(page, 4) == STORE_VALUE &&
           (size_t)sqlite3_column_bytes(page, 1) >= job->prefix_bytes &&
           (job->prefix_bytes == 0 ||
            memcmp(sqlite3_column_blob(page, 1), job->prefix, job->prefix_bytes) == 0);
}

/* False: it does not fit into the answer. */
static bool take(sqlite3_stmt *page, struct store_job *job) {
    size_t bytes = (size_t)sqlite3_column_bytes(page, 1) + 96 +
                   (job->page_values ? (size_t)sqlite3_column_bytes(page, 8) : 0);
    if (job->rows_count > 0 && job->page_bytes + bytes > STORE_PAGE_BYTES_MAX) {
        return false;
    }
    struct store_row *row = &job->rows[job->rows_count++];
    memcpy(row->hash, sqlite3_column_blob(page, 0), CHORD_ID_BYTES);
    row->key_bytes = (size_t)sqlite3_column_bytes(page, 1);
    row->key = arena_copy(&job->arena, sqlite3_column_blob(page, 1), row->key_bytes);
    row_read_columns(page, row, &job->arena, job->page_values);
    job->refused = job->refused || row->bad;
    job->page_bytes += bytes;
    return true;
}

int tables_list(struct store_tables *tables, struct store_job *job) {
    sqlite3_stmt *page = tables->page;
    uint64_t end_us = store_now_us() + SLICE_US;
    size_t room = job->page_bytes + SLICE_BYTES, seen = 0;
    bool full = false, pause = false;
    int rc;
    if (job->rows == NULL) {
        job->rows = arena_alloc(&job->arena, sizeof *job->rows * job->page_rows_max);
        uint8_t *key = arena_alloc(&job->arena, STORE_KEY_BYTES_MAX);
        memcpy(key, job->after_key != NULL ? job->after_key : key, job->after_key_bytes);
        job->after_key = key;
    }
    bind_cursor(page, job);
    while ((rc = sqlite3_step(page)) == SQLITE_ROW) {
        if (sqlite3_column_bytes(page, 0) != CHORD_ID_BYTES) {
            job->refused = true; /* a disk has shortened the hash: no page can say where to go on */
            break;
        }
        pause = seen == SLICE_ROWS || job->page_bytes >= room ||
                (seen % CLOCK_ROWS == CLOCK_ROWS - 1 && store_now_us() >= end_us);
        full = job->rows_count == job->page_rows_max ||
               (!pause && matches(page, job) && !take(page, job));
        if (full || pause) {
            break;
        }
        cursor_keep(page, job);
        seen++;
    }
    job->done = rc == SQLITE_DONE;
    job->more = pause && !full && !job->refused && store_now_us() < job->until_us;
    sqlite3_reset(page);
    sqlite3_clear_bindings(page);
    return rc == SQLITE_DONE || rc == SQLITE_ROW ? SQLITE_OK : rc;
}

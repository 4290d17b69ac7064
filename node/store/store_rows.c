/* SPDX-License-Identifier: MIT */
/*
 * Rows: (hash, key) -> version, kind, value. Which of two is kept, and what an epoch's end drops,
 * is the rule book's (chord/operations.h); its `epoch < floor` is SQL here.
 */
#include "store_rows.h"

#include "operations.h"
#include "row_checksum.h"
#include "store_schema.h"

#include <string.h>

/* A bad row may only look like a tombstone. */
#define GOOD "NOT row_wrong(" ROW_COLUMNS ")"
/* Of a bad row the epoch proves nothing. */
#define OLDER_OR_BAD "(epoch < ?3 OR row_wrong(" ROW_COLUMNS "))"

static unsigned bucket(const uint8_t hash[CHORD_ID_BYTES]) {
    return ((unsigned)hash[0] << 8 | hash[1]) >> (16 - STORE_BUCKET_BITS);
}

static void count_change(struct store_tables *tables, const uint8_t *hash, int64_t keys,
                         int64_t bytes) {
    atomic_fetch_add_explicit(&tables->keys[bucket(hash)], keys, memory_order_relaxed);
    atomic_fetch_add_explicit(&tables->bytes[bucket(hash)], bytes, memory_order_relaxed);
}

/* ---- statements ---- */

static int prepare(sqlite3 *db, const char *sql, sqlite3_stmt **statement) {
    return sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, statement, NULL);
}

int tables_open(struct store_tables *tables, sqlite3 *db) {
    tables->db = db;
    int rc = row_wrong_register(tables);
    if (rc == SQLITE_OK) {
        rc = prepare(db, "SELECT " ROW_COLUMNS " FROM rows WHERE hash = ?1 AND key = ?2",
                     &tables->get);
    }
    if (rc == SQLITE_OK) {
        rc = prepare(db,
                     "INSERT OR REPLACE INTO rows (hash, key, epoch, counter, kind, op_id,"
                     " expires_at, checksum, value, existed, value_id)"
                     " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
                     &tables->put);
    }
    if (rc == SQLITE_OK) {
        rc = prepare(db, "INSERT INTO large_values (value) VALUES (?1)", &tables->put_value);
    }
    if (rc == SQLITE_OK) {
        rc = prepare(db,
                     "SELECT " ROW_COLUMNS " FROM rows WHERE (hash, key) > (?1, ?2) AND hash <= ?3"
                     " ORDER BY hash, key",
                     &tables->page);
    }
    if (rc == SQLITE_OK) {
        rc = prepare(db, "SELECT " ROW_COLUMNS " FROM rows WHERE hash > ?1 AND hash <= ?2",
                     &tables->digest);
    }
    if (rc == SQLITE_OK) {
        rc = prepare(db, "DELETE FROM rows WHERE hash > ?1 AND hash <= ?2 AND " OLDER_OR_BAD,
                     &tables->drop);
    }
    if (rc == SQLITE_OK) {
        rc = prepare(db,
                     "SELECT hash, length(key) + " ROW_VALUE(
                         "length(value)") " FROM rows WHERE kind = 1"
                                          " AND hash > ?1 AND hash <= ?2 AND " OLDER_OR_BAD,
                     &tables->scan);
    }
    if (rc == SQLITE_OK) {
        rc = prepare(db,
                     "SELECT count(*) FROM rows WHERE kind = 2"
                     " AND hash > ?1 AND hash <= ?2 AND epoch < ?3 AND " GOOD,
                     &tables->tombstones);
    }
    if (rc == SQLITE_OK) {
        rc = prepare(db,
                     "DELETE FROM rows WHERE kind = 2"
                     " AND hash > ?1 AND hash <= ?2 AND epoch < ?3 AND " GOOD,
                     &tables->forget);
    }
    return rc == SQLITE_OK ? tables_recount(tables) : rc;
}

void tables_close(struct store_tables *tables) {
    sqlite3_finalize(tables->get);
    sqlite3_finalize(tables->put);
    sqlite3_finalize(tables->put_value);
    sqlite3_finalize(tables->page);
    sqlite3_finalize(tables->digest);
    sqlite3_finalize(tables->drop);
    sqlite3_finalize(tables->scan);
    sqlite3_finalize(tables->tombstones);
    sqlite3_finalize(tables->forget);
}

static int finish(sqlite3_stmt *statement, int rc) {
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    return rc == SQLITE_DONE || rc == SQLITE_ROW ? SQLITE_OK : rc;
}

static void bind_blob(sqlite3_stmt *statement, int index, const void *bytes, size_t count) {
    sqlite3_bind_blob64(statement, index, count > 0 ? bytes : "", count, SQLITE_STATIC);
}

/* ---- intervals of hashes ---- */

struct interval {
    bool from_start; /* no lower bound */
    uint8_t after[CHORD_ID_BYTES], last[CHORD_ID_BYTES];
};

/* (lo, hi] as one or two intervals of hashes in the order of the table; first the part after lo. */
static unsigned intervals(const struct chord_range *range, unsigned m, struct interval out[2]) {
    uint8_t lo[CHORD_ID_BYTES], hi[CHORD_ID_BYTES];
    memset(out, 0, 2 * sizeof out[0]);
    id_last_hash(&range->lo, m, lo);
    id_last_hash(&range->hi, m, hi);
    memcpy(out[0].after, lo, CHORD_ID_BYTES);
    if (id_compare(&range->lo, &range->hi) < 0) {
        memcpy(out[0].last, hi, CHORD_ID_BYTES);
        return 1;
    }
    memset(out[0].last, 0xff, CHORD_ID_BYTES);
    out[1].from_start = true;
    memcpy(out[1].last, hi, CHORD_ID_BYTES);
    return 2;
}

static bool has_hash(sqlite3_stmt *statement, int column) {
    return sqlite3_column_bytes(statement, column) == CHORD_ID_BYTES;
}

/* The hash of a row, or zeros when a disk has shortened it. */
static const uint8_t *column_hash(sqlite3_stmt *statement, int column) {
    static const uint8_t none[CHORD_ID_BYTES];
    return has_hash(statement, column) ? sqlite3_column_blob(statement, column) : none;
}

/* Binds "hash > ?1"; a zero-length blob sorts before every hash. */
static void bind_after(sqlite3_stmt *statement, const struct interval *interval) {
    bind_blob(statement, 1, interval->after, interval->from_start ? 0 : CHORD_ID_BYTES);
}

/* The same, "hash <= ?2" and "epoch < ?3". */
static void bind_part(sqlite3_stmt *statement, const struct interval *part, int64_t epoch) {
    bind_after(statement, part);
    bind_blob(statement, 2, part->last, CHORD_ID_BYTES);
    sqlite3_bind_int64(statement, 3, epoch);
}

/* ---- write, read ---- */

void row_read_columns(sqlite3_stmt *statement, struct store_row *row, struct arena *arena,
                      bool values) {
    row->epoch = (uint64_t)sqlite3_column_int64(statement, 2);
    row->counter = (uint64_t)sqlite3_column_int64(statement, 3);
    row->kind = (enum store_row_kind)sqlite3_column_int(statement, 4);
    size_t op_id_bytes = (size_t)sqlite3_column_bytes(statement, 5);
    row->op_id_bytes = (uint8_t)(op_id_bytes > STORE_OP_ID_BYTES ? STORE_OP_ID_BYTES : op_id_bytes);
    if (row->op_id_bytes > 0) {
        memcpy(row->op_id, sqlite3_column_blob(statement, 5), row->op_id_bytes);
    }
    row->expires_at_ms = (uint64_t)sqlite3_column_int64(statement, 6);
    row->value_bytes = (size_t)sqlite3_column_bytes(statement, 8);
    row->existed = sqlite3_column_int(statement, 9) != 0;
    if (values) {
        row->value = arena_copy(arena, sqlite3_column_blob(statement, 8), row->value_bytes);
        row->bad = row_wrong(statement) != 0;
    }
}

/* The value in the row, or beside it. What it replaces goes by a trigger (store_schema.c). */
static int bind_value(struct store_tables *tables, const struct store_row *row) {
    if (row->key_bytes + row->value_bytes <= STORE_INLINE_BYTES_MAX) {
        bind_blob(tables->put, 9, row->value, row->value_bytes);
        return SQLITE_OK;
    }
    bind_blob(tables->put_value, 1, row->value, row->value_bytes);
    int rc = finish(tables->put_value, sqlite3_step(tables->put_value));
    bind_blob(tables->put, 9, NULL, 0);
    sqlite3_bind_int64(tables->put, 11, sqlite3_last_insert_rowid(tables->db));
    return rc;
}

static bool column_is(sqlite3_stmt *statement, int column, const void *bytes, size_t count) {
    return (size_t)sqlite3_column_bytes(statement, column) == count &&
           (count == 0 || memcmp(sqlite3_column_blob(statement, column), bytes, count) == 0);
}

/* Steps to the row under the key. In a tree whose pages a disk has mixed up, SQLite's search may
 * end at another one, good in itself. */
static int get_row(struct store_tables *tables, const struct store_row *row) {
    bind_blob(tables->get, 1, row->hash, CHORD_ID_BYTES);
    bind_blob(tables->get, 2, row->key, row->key_bytes);
    int rc = sqlite3_step(tables->get);
    bool it = rc != SQLITE_ROW || (column_is(tables->get, 0, row->hash, CHORD_ID_BYTES) &&
                                   column_is(tables->get, 1, row->key, row->key_bytes));
    return it ? rc : SQLITE_CORRUPT;
}

/* A bad row gives way to its own version or a newer one. Before an older one it stays, and the
 * write has failed: what it claims to be may be true, and nobody counts a copy that is not there.
 */
static int write_row(struct store_tables *tables, struct store_row *row) {
    int rc = get_row(tables, row);
    bool replaces = true;
    int64_t bytes_before = 0;
    row->replaced = false;
    if (rc == SQLITE_ROW) {
        struct row_version stored = {(uint64_t)sqlite3_column_int64(tables->get, 2),
                                     (uint64_t)sqlite3_column_int64(tables->get, 3)};
        bool bad = row_wrong(tables->get) != 0;
        replaces = row_replaces((struct row_version){row->epoch, row->counter}, stored, bad);
        row->bad = bad && !replaces;
        row->replaced = sqlite3_column_int(tables->get, 4) == STORE_VALUE;
        bytes_before = sqlite3_column_bytes(tables->get, 1) + sqlite3_column_bytes(tables->get, 8);
    }
    rc = finish(tables->get, rc);
    if (rc != SQLITE_OK || !replaces) {
        return rc;
    }
    bind_blob(tables->put, 1, row->hash, CHORD_ID_BYTES);
    bind_blob(tables->put, 2, row->key, row->key_bytes);
    sqlite3_bind_int64(tables->put, 3, (int64_t)row->epoch);
    sqlite3_bind_int64(tables->put, 4, (int64_t)row->counter);
    sqlite3_bind_int(tables->put, 5, (int)row->kind);
    bind_blob(tables->put, 6, row->op_id, row->op_id_bytes);
    sqlite3_bind_int64(tables->put, 7, (int64_t)row->expires_at_ms);
    sqlite3_bind_int64(tables->put, 8, row_sum(row));
    sqlite3_bind_int(tables->put, 10, row->existed);
    rc = bind_value(tables, row);
    rc = finish(tables->put, rc == SQLITE_OK ? sqlite3_step(tables->put) : rc);
    if (rc == SQLITE_OK) {
        bool value = row->kind == STORE_VALUE;
        int64_t bytes = value ? (int64_t)(row->key_bytes + row->value_bytes) : 0;
        count_change(tables, row->hash, (int)value - (int)row->replaced,
                     bytes - (row->replaced ? bytes_before : 0));
    }
    return rc;
}

int tables_write(struct store_tables *tables, struct store_job *job) {
    int rc = SQLITE_OK;
    for (size_t i = 0; i < job->rows_count && rc == SQLITE_OK; i++) {
        rc = write_row(tables, &job->rows[i]);
        job->refused = job->refused || job->rows[i].bad;
    }
    return rc;
}

int tables_read(struct store_tables *tables, struct store_job *job) {
    int rc = SQLITE_OK;
    for (size_t i = 0; i < job->rows_count && rc == SQLITE_OK; i++) {
        struct store_row *row = &job->rows[i];
        rc = get_row(tables, row);
        row->kind = 0;
        if (rc == SQLITE_ROW) {
            row_read_columns(tables->get, row, &job->arena, true); /* the key stays the caller's */
        }
        rc = finish(tables->get, rc);
    }
    return rc;
}

/* ---- pages ---- */

struct page {
    struct store_job *job;
    size_t bytes, rows_max;
};

/* It never ends between rows of one hash. */
static bool page_full(const struct page *page, const uint8_t *hash) {
    const struct store_job *job = page->job;
    bool full = job->rows_count >= page->rows_max || page->bytes >= STORE_PAGE_BYTES_MAX;
    if (!full || job->rows_count == 0) {
        return false;
    }
    return memcmp(job->rows[job->rows_count - 1].hash, hash, CHORD_ID_BYTES) != 0 ||
           job->rows_count >= STORE_PAGE_ROWS_MAX;
}

/* True: the page is full before the end of the interval. */
static int page_interval(struct store_tables *tables, struct page *page, bool *full) {
    struct store_job *job = page->job;
    int rc = sqlite3_step(tables->page);
    for (; rc == SQLITE_ROW && !*full; rc = *full ? rc : sqlite3_step(tables->page)) {
        if (!has_hash(tables->page, 0)) {
            job->refused = true;
            continue;
        }
        const uint8_t *hash = sqlite3_column_blob(tables->page, 0);
        size_t row_bytes = (size_t)sqlite3_column_bytes(tables->page, 1) + 96;
        if (job->page_values) {
            row_bytes += (size_t)sqlite3_column_bytes(tables->page, 8);
        }
        bool too_much = job->rows_count > 0 && page->bytes + row_bytes > STORE_PAGE_BYTES_MAX &&
                        memcmp(job->rows[job->rows_count - 1].hash, hash, CHORD_ID_BYTES) != 0;
        if (too_much || page_full(page, hash) || job->rows_count >= STORE_PAGE_ROWS_MAX) {
            *full = true;
            break;
        }
        struct store_row *row = &job->rows[job->rows_count++];
        memcpy(row->hash, hash, CHORD_ID_BYTES);
        row->key_bytes = (size_t)sqlite3_column_bytes(tables->page, 1);
        row->key = arena_copy(&job->arena, sqlite3_column_blob(tables->page, 1), row->key_bytes);
        row_read_columns(tables->page, row, &job->arena, job->page_values);
        job->refused = job->refused || row->bad; /* others would take it for good */
        page->bytes += row_bytes;
    }
    return finish(tables->page, rc);
}

/* Where to go on: the part of the intervals after the cursor. */
int tables_page(struct store_tables *tables, struct store_job *job) {
    struct interval parts[2];
    unsigned count = intervals(&job->range, tables->m, parts);
    struct page page = {job, 0, job->page_rows_max > 0 ? job->page_rows_max : STORE_PAGE_ROWS_MAX};
    job->rows = arena_alloc(&job->arena, sizeof *job->rows * STORE_PAGE_ROWS_MAX);
    job->rows_count = 0;
    bool full = false;
    int rc = SQLITE_OK;
    unsigned first = 0;
    if (job->has_after && count == 2 && memcmp(job->after, parts[0].after, CHORD_ID_BYTES) <= 0) {
        first = 1; /* the cursor has wrapped already */
    }
    for (unsigned i = first; i < count && rc == SQLITE_OK && !full; i++) {
        bool resume = job->has_after && i == first;
        const uint8_t *after = resume ? job->after : parts[i].after;
        bool unbounded = parts[i].from_start && !resume;
        bind_blob(tables->page, 1, after, unbounded ? 0 : CHORD_ID_BYTES);
        /* Beyond every key of that hash: text sorts after numbers, blobs after text; the longest
         * key is 1 KiB of 0xff. */
        static uint8_t beyond[STORE_KEY_BYTES_MAX + 1];
        memset(beyond, 0xff, sizeof beyond);
        bind_blob(tables->page, 2, beyond, unbounded ? 0 : sizeof beyond);
        bind_blob(tables->page, 3, parts[i].last, CHORD_ID_BYTES);
        rc = page_interval(tables, &page, &full);
    }
    job->done = !full;
    if (job->rows_count > 0) {
        memcpy(job->last, job->rows[job->rows_count - 1].hash, CHORD_ID_BYTES);
    }
    return rc;
}

/* ---- whole ranges ---- */

/* The sum over the rows, so that the order does not matter. */
int tables_digest(struct store_tables *tables, struct store_job *job) {
    struct interval parts[2];
    unsigned count = intervals(&job->range, tables->m, parts);
    uint64_t sums[2] = {0, 0};
    int rc = SQLITE_OK;
    job->digest_rows = 0;
    for (unsigned i = 0; i < count && rc == SQLITE_OK; i++) {
        bind_after(tables->digest, &parts[i]);
        bind_blob(tables->digest, 2, parts[i].last, CHORD_ID_BYTES);
        while ((rc = sqlite3_step(tables->digest)) == SQLITE_ROW) {
            uint64_t fields[3] = {(uint64_t)sqlite3_column_int64(tables->digest, 2),
                                  (uint64_t)sqlite3_column_int64(tables->digest, 3),
                                  (uint64_t)sqlite3_column_int64(tables->digest, 4)};
            uint64_t row = checksum_bytes(7, sqlite3_column_blob(tables->digest, 1),
                                          (size_t)sqlite3_column_bytes(tables->digest, 1));
            row = checksum_bytes(row, column_hash(tables->digest, 0), CHORD_ID_BYTES);
            row = checksum_bytes(row, (const uint8_t *)fields, sizeof fields);
            row += row_wrong(tables->digest); /* a bad row is like no other copy of it */
            sums[0] += row;
            sums[1] += checksum_mix(row ^ 0x5851f42d4c957f2du);
            job->digest_rows++;
        }
        rc = finish(tables->digest, rc);
    }
    memcpy(job->digest, sums, sizeof sums);
    return rc;
}

/* Rows of an interval that are older than the epoch. */
static int drop_interval(struct store_tables *tables, const struct interval *part, int64_t epoch) {
    bind_part(tables->scan, part, epoch);
    int rc;
    while ((rc = sqlite3_step(tables->scan)) == SQLITE_ROW) {
        count_change(tables, column_hash(tables->scan, 0), -1,
                     -sqlite3_column_int64(tables->scan, 1));
    }
    rc = finish(tables->scan, rc);
    if (rc == SQLITE_OK) {
        bind_part(tables->drop, part, epoch);
        rc = finish(tables->drop, sqlite3_step(tables->drop));
    }
    return rc;
}

int tables_drop(struct store_tables *tables, struct store_job *job) {
    struct interval parts[2];
    unsigned count = intervals(&job->range, tables->m, parts);
    int rc = SQLITE_OK;
    for (unsigned i = 0; i < count && rc == SQLITE_OK; i++) {
        rc = drop_interval(tables, &parts[i], INT64_MAX);
    }
    return rc;
}

int tables_tombstones(struct store_tables *tables, struct store_job *job) {
    struct interval parts[2];
    unsigned count = intervals(&job->range, tables->m, parts);
    int rc = SQLITE_OK;
    job->digest_rows = 0;
    for (unsigned i = 0; i < count && rc == SQLITE_OK; i++) {
        bind_part(tables->tombstones, &parts[i], INT64_MAX);
        rc = sqlite3_step(tables->tombstones);
        if (rc == SQLITE_ROW) {
            job->digest_rows += (uint64_t)sqlite3_column_int64(tables->tombstones, 0);
        }
        rc = finish(tables->tombstones, rc);
    }
    return rc;
}

int tables_forget(struct store_tables *tables, const struct chord_range *range, uint64_t epoch) {
    struct interval parts[2];
    unsigned count = intervals(range, tables->m, parts);
    int rc = SQLITE_OK;
    for (unsigned i = 0; i < count && rc == SQLITE_OK; i++) {
        bind_part(tables->forget, &parts[i], (int64_t)epoch);
        rc = finish(tables->forget, sqlite3_step(tables->forget));
    }
    return rc;
}

/* The hashes that a page speaks for: from where the last one ended to its own last row. */
static unsigned page_intervals(const struct store_job *job, unsigned m, struct interval out[2]) {
    unsigned count = intervals(&job->range, m, out);
    unsigned first = 0;
    if (job->has_after) {
        first = count == 2 && memcmp(job->after, out[0].after, CHORD_ID_BYTES) <= 0 ? 1 : 0;
        out[first].from_start = false;
        memcpy(out[first].after, job->after, CHORD_ID_BYTES);
    }
    if (!job->done) {
        unsigned end = count == 2 && memcmp(job->last, out[0].after, CHORD_ID_BYTES) <= 0 ? 1 : 0;
        memcpy(out[end].last, job->last, CHORD_ID_BYTES);
        count = end + 1;
    }
    out[0] = out[first];
    return count > first ? count - first : 0;
}

int tables_equal(struct store_tables *tables, struct store_job *job) {
    struct interval parts[2];
    unsigned count = page_intervals(job, tables->m, parts);
    int rc = SQLITE_OK;
    tables->wrong_found = 0;
    for (unsigned i = 0; i < count && rc == SQLITE_OK; i++) {
        rc = drop_interval(tables, &parts[i], (int64_t)job->epoch);
    }
    /* A bad row of this epoch has gone with the others. It may have been newer than the page, so
     * this copy is made equal once more. */
    job->refused = tables->wrong_found > 0;
    return rc == SQLITE_OK ? tables_write(tables, job) : rc;
}

/* Values with a hash in (after, last], by reading the rows. */
static int count_rows(struct store_tables *tables, const struct interval *part, uint64_t *count) {
    bind_part(tables->scan, part, INT64_MAX);
    int rc;
    while ((rc = sqlite3_step(tables->scan)) == SQLITE_ROW) {
        *count += 1;
    }
    return finish(tables->scan, rc);
}

static void bucket_last(unsigned index, uint8_t hash[CHORD_ID_BYTES]) {
    unsigned top = (index + 1) << (16 - STORE_BUCKET_BITS);
    memset(hash, 0xff, CHORD_ID_BYTES);
    hash[0] = (uint8_t)((top - 1) >> 8);
    hash[1] = (uint8_t)(top - 1);
}

/* Whole buckets from the counts, the ends by reading: exact, and cheap at any size. */
static int count_interval(struct store_tables *tables, const struct interval *part,
                          uint64_t *count) {
    unsigned first = part->from_start ? 0 : bucket(part->after);
    unsigned last = bucket(part->last);
    uint8_t edge[CHORD_ID_BYTES];
    struct interval piece = *part;
    int rc = SQLITE_OK;
    if (!part->from_start) {
        bucket_last(first, edge);
        if (first == last) {
            return count_rows(tables, part, count);
        }
        if (memcmp(edge, part->after, CHORD_ID_BYTES) != 0) {
            memcpy(piece.last, edge, CHORD_ID_BYTES);
            rc = count_rows(tables, &piece, count);
        }
        first++;
    }
    bucket_last(last, edge);
    bool whole_last = memcmp(edge, part->last, CHORD_ID_BYTES) == 0;
    for (unsigned i = first; i < last + (whole_last ? 1 : 0); i++) {
        *count += (uint64_t)atomic_load_explicit(&tables->keys[i], memory_order_relaxed);
    }
    if (!whole_last && rc == SQLITE_OK) {
        memcpy(piece.last, part->last, CHORD_ID_BYTES);
        piece.from_start = last == 0;
        if (last > 0) {
            bucket_last(last - 1, piece.after);
        }
        rc = count_rows(tables, &piece, count);
    }
    return rc;
}

int tables_count(struct store_tables *tables, struct store_job *job) {
    int rc = SQLITE_OK;
    job->counts = arena_alloc(&job->arena, sizeof *job->counts * (job->views_count + 1));
    for (size_t v = 0; v < job->views_count && rc == SQLITE_OK; v++) {
        struct interval parts[2];
        unsigned count = intervals(&job->views[v].view.range, tables->m, parts);
        for (unsigned i = 0; i < count && rc == SQLITE_OK; i++) {
            rc = count_interval(tables, &parts[i], &job->counts[v]);
        }
    }
    return rc;
}

int tables_recount(struct store_tables *tables) {
    struct interval all = {.from_start = true};
    memset(all.last, 0xff, CHORD_ID_BYTES);
    for (unsigned i = 0; i < STORE_BUCKETS; i++) {
        atomic_store_explicit(&tables->keys[i], 0, memory_order_relaxed);
        atomic_store_explicit(&tables->bytes[i], 0, memory_order_relaxed);
    }
    bind_part(tables->scan, &all, INT64_MAX);
    int rc;
    while ((rc = sqlite3_step(tables->scan)) == SQLITE_ROW) {
        count_change(tables, column_hash(tables->scan, 0), 1,
                     sqlite3_column_int64(tables->scan, 1));
    }
    return finish(tables->scan, rc);
}

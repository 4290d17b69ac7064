/* SPDX-License-Identifier: MIT */
/* The rows of the store as SQL; private to store.c and store_rows.c, on the store's thread. */
#ifndef NODE_STORE_ROWS_H
#define NODE_STORE_ROWS_H

#include "store.h"

#include <sqlite3.h>
#include <stdatomic.h>

/* Counts of values per top bits of the hash, so that a range's keys are counted without a scan. */
enum { STORE_BUCKET_BITS = 12, STORE_BUCKETS = 1 << STORE_BUCKET_BITS };

struct store_tables {
    sqlite3 *db;
    unsigned m;
    unsigned wrong_found; /* rows of this epoch or later that a delete took for being bad */
    sqlite3_stmt *get, *put, *put_value, *page, *digest, *drop, *scan, *tombstones, *forget;
    atomic_int_least64_t keys[STORE_BUCKETS];
    atomic_int_least64_t bytes[STORE_BUCKETS];
};

#define ROW_VALUE(value)                                                                           \
    "iif(value_id IS NULL, " value ", (SELECT " value " FROM large_values WHERE id = value_id))"
/* What every statement gives that reads whole rows. */
#define ROW_COLUMNS                                                                                \
    "hash, key, epoch, counter, kind, op_id, expires_at, checksum, " ROW_VALUE("value") ", "       \
                                                                                        "existed"

/* store_scrub.c. Of a statement that gives ROW_COLUMNS: how far the row is from its checksum; 0: it
 * is good. Also as an SQL function of that name and those arguments. */
uint64_t row_wrong(sqlite3_stmt *statement);
int64_t row_sum(const struct store_row *row); /* the checksum of one that is written */
int row_wrong_register(struct store_tables *tables);

/* Fills all but hash and key, and the value only when wanted; then `bad` is told too. */
void row_read_columns(sqlite3_stmt *statement, struct store_row *row, struct arena *arena,
                      bool values);

/* SQLite result codes. */
int tables_open(struct store_tables *tables, sqlite3 *db);
void tables_close(struct store_tables *tables);
int tables_write(struct store_tables *tables, struct store_job *job);
int tables_read(struct store_tables *tables, struct store_job *job);
int tables_page(struct store_tables *tables, struct store_job *job);
/* store_list.c: the next slice; job->more: not the last. */
int tables_list(struct store_tables *tables, struct store_job *job);
int tables_digest(struct store_tables *tables, struct store_job *job);
/* Replaces the older rows of a page's hashes by the page. */
int tables_equal(struct store_tables *tables, struct store_job *job);
int tables_drop(struct store_tables *tables, struct store_job *job);
/* Reads on, checking each row; job->rows get the bad ones. */
int tables_scrub(struct store_tables *tables, struct store_job *job);
int tables_tombstones(struct store_tables *tables, struct store_job *job);
/* Drops the tombstones of a range with an earlier epoch. */
int tables_forget(struct store_tables *tables, const struct chord_range *range, uint64_t epoch);
int tables_count(struct store_tables *tables, struct store_job *job);
/* Recounts from the rows; after a rollback the counts are no longer those of the file. */
int tables_recount(struct store_tables *tables);

#endif

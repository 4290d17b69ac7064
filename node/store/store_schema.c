/* SPDX-License-Identifier: MIT */
/* See store_schema.h; FORMAT.md says what the schemas are. */
#include "store_schema.h"

#include "row_checksum.h"
#include "store_schema_6.h"

#include <stdio.h>
#include <stdlib.h>

#define LARGE_VALUE_GOES                                                                           \
    "CREATE TRIGGER large_value_goes AFTER DELETE ON rows"                                         \
    " WHEN old.value_id IS NOT NULL BEGIN"                                                         \
    " DELETE FROM large_values WHERE id = old.value_id; END"

static int number(sqlite3 *db, const char *sql, int *value) {
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v2(db, sql, -1, &statement, NULL);
    if (rc == SQLITE_OK) {
        rc = sqlite3_step(statement);
    }
    if (rc == SQLITE_ROW) {
        *value = sqlite3_column_int(statement, 0);
        rc = SQLITE_OK;
    }
    sqlite3_finalize(statement);
    return rc;
}

/* Version 0 is an empty file. Schemas before 7 could leave one with an empty table of records, when
 * the program ended at its very start. */
int schema_check(sqlite3 *db, int *schema, struct store_found *found) {
    int tables = 0, programs = 0;
    int rc = number(db, "PRAGMA user_version", schema);
    if (rc == SQLITE_OK && *schema == 0) {
        rc = number(db, "SELECT count(*) FROM sqlite_schema WHERE tbl_name <> 'meta'", &tables);
    }
    if (rc == SQLITE_OK) { /* SQL that a file brings along would run, and might never end */
        rc = number(db,
                    "SELECT count(*) FROM sqlite_schema WHERE type NOT IN ('table', 'index')"
                    " AND sql <> '" LARGE_VALUE_GOES "'",
                    &programs);
    }
    if (rc == SQLITE_OK && (*schema < 0 || *schema > STORE_SCHEMA_VERSION)) {
        snprintf(found->text, sizeof found->text,
                 "it has schema %d, and this program (%s) knows up to %d", *schema, CHORD_VERSION,
                 STORE_SCHEMA_VERSION);
        return STORE_UNKNOWN_FORM;
    }
    if (rc == SQLITE_OK && tables != 0) {
        snprintf(found->text, sizeof found->text, "it is a database, but not that of a Chord node");
        return STORE_UNKNOWN_FORM;
    }
    if (rc == SQLITE_OK && programs != 0) {
        snprintf(found->text, sizeof found->text,
                 "it has a trigger or a view that no Chord node has made");
        return STORE_UNKNOWN_FORM;
    }
    return rc;
}

/* ---- rows: the columns stay, the checksum is another one ---- */

#define SUM_COLUMNS "hash, key, epoch, counter, kind, op_id, expires_at, value, existed"
enum { SUM_COLUMNS_COUNT = 9 };

typedef int64_t checksum_function(const struct row_columns *row);

static void checksum_sql(sqlite3_context *context, int count, sqlite3_value **values) {
    checksum_function *const *checksum = sqlite3_user_data(context);
    struct row_columns row = {
        .hash_bytes = (size_t)sqlite3_value_bytes(values[0]),
        .hash = sqlite3_value_blob(values[0]),
        .key_bytes = (size_t)sqlite3_value_bytes(values[1]),
        .key = sqlite3_value_blob(values[1]),
        .epoch = sqlite3_value_int64(values[2]),
        .counter = sqlite3_value_int64(values[3]),
        .kind = sqlite3_value_int64(values[4]),
        .op_id_bytes = (size_t)sqlite3_value_bytes(values[5]),
        .op_id = sqlite3_value_blob(values[5]),
        .expires_at_ms = sqlite3_value_int64(values[6]),
        .value_bytes = (size_t)sqlite3_value_bytes(values[7]),
        .value = sqlite3_value_blob(values[7]),
        .existed = sqlite3_value_int64(values[8]),
    };
    (void)count;
    sqlite3_result_int64(context, (*checksum)(&row));
}

static int function_add(sqlite3 *db, const char *name, checksum_function *const *checksum) {
    return sqlite3_create_function(db, name, SUM_COLUMNS_COUNT, SQLITE_UTF8 | SQLITE_DETERMINISTIC,
                                   (void *)(uintptr_t)checksum, checksum_sql, NULL, NULL);
}

/* A row that is bad already keeps its checksum, which is wrong in the other schema too. */
static int rows_change(sqlite3 *db, bool down) {
    static checksum_function *const today = row_checksum, *const before = row_checksum_6;
    int rc = function_add(db, "checksum_before", down ? &today : &before);
    rc = rc == SQLITE_OK ? function_add(db, "checksum_after", down ? &before : &today) : rc;
    return rc == SQLITE_OK
               ? sqlite3_exec(db,
                              "UPDATE rows SET checksum = checksum_after(" SUM_COLUMNS ")"
                              " WHERE checksum = checksum_before(" SUM_COLUMNS ")",
                              NULL, NULL, NULL)
               : rc;
}

/* Files of schema 1 may lack the index. */
static int rows_create_7(sqlite3 *db) {
    return sqlite3_exec(
        db,
        "CREATE TABLE IF NOT EXISTS rows ("
        " hash BLOB NOT NULL, key BLOB NOT NULL, epoch INTEGER NOT NULL, counter INTEGER NOT NULL,"
        " kind INTEGER NOT NULL, op_id BLOB, expires_at INTEGER NOT NULL,"
        " checksum INTEGER NOT NULL, value BLOB NOT NULL, existed INTEGER NOT NULL DEFAULT 0,"
        " PRIMARY KEY (hash, key)) WITHOUT ROWID, STRICT;"
        "CREATE INDEX IF NOT EXISTS tombstones ON rows (hash, epoch) WHERE kind = 2;",
        NULL, NULL, NULL);
}

/* ---- large values: in the rows' tree before schema 8, in a table of their own since ---- */

static int run(sqlite3 *db, const char *sql) {
    return sqlite3_exec(db, sql, NULL, NULL, NULL);
}

static int large_values_add(sqlite3 *db) {
    char move[500];
    int rc = run(db, "ALTER TABLE rows ADD COLUMN value_id INTEGER;"
                     "CREATE TABLE large_values (id INTEGER PRIMARY KEY, value BLOB NOT NULL) "
                     "STRICT;" LARGE_VALUE_GOES ";");
    snprintf(move, sizeof move,
             "CREATE TEMP TABLE large AS"
             " SELECT hash, key FROM rows WHERE length(key) + length(value) > %d;"
             "INSERT INTO large_values (id, value)"
             " SELECT large.rowid, value FROM large JOIN rows USING (hash, key);"
             "UPDATE rows SET value_id = large.rowid, value = x'' FROM large"
             " WHERE rows.hash = large.hash AND rows.key = large.key;"
             "DROP TABLE large;",
             STORE_INLINE_BYTES_MAX);
    return rc == SQLITE_OK ? run(db, move) : rc;
}

/* A value that a disk has lost is an empty one, and its row as bad as before. */
static int large_values_remove(sqlite3 *db) {
    return run(db, "UPDATE rows SET value = coalesce("
                   "(SELECT value FROM large_values WHERE id = value_id), x'')"
                   " WHERE value_id IS NOT NULL;"
                   "DROP TRIGGER large_value_goes;"
                   "DROP TABLE large_values;"
                   "ALTER TABLE rows DROP COLUMN value_id;");
}

/* ---- from one schema to another ---- */

static int create(sqlite3 *db) {
    int rc = run(db, "DROP TABLE IF EXISTS meta");
    rc = rc == SQLITE_OK ? state_create(db) : rc;
    rc = rc == SQLITE_OK ? rows_create_7(db) : rc;
    return rc == SQLITE_OK ? large_values_add(db) : rc;
}

static int upgrade_to_7(sqlite3 *db, int from, struct store_state *state,
                        struct store_found *found) {
    int rc = schema_6_raise(db, from);
    rc = rc == SQLITE_OK ? schema_6_read(db, state, found) : rc;
    rc = rc == SQLITE_OK ? schema_6_drop(db) : rc;
    rc = rc == SQLITE_OK ? state_create(db) : rc;
    rc = rc == SQLITE_OK ? state_write(db, state) : rc;
    rc = rc == SQLITE_OK ? rows_create_7(db) : rc;
    return rc == SQLITE_OK ? rows_change(db, false) : rc;
}

static int downgrade_from_7(sqlite3 *db, struct store_state *state, struct store_found *found) {
    int rc = state_read(db, state, found);
    rc = rc == SQLITE_OK ? state_drop(db) : rc;
    rc = rc == SQLITE_OK ? schema_6_create(db) : rc;
    rc = rc == SQLITE_OK ? schema_6_write(db, state) : rc;
    return rc == SQLITE_OK ? rows_change(db, true) : rc;
}

static int upgrade(sqlite3 *db, int from, struct store_state *state, struct store_found *found) {
    int rc = from < 7 ? upgrade_to_7(db, from, state, found) : SQLITE_OK;
    return rc == SQLITE_OK ? large_values_add(db) : rc;
}

static int downgrade(sqlite3 *db, int to, struct store_state *state, struct store_found *found) {
    int rc = large_values_remove(db);
    return rc == SQLITE_OK && to < 7 ? downgrade_from_7(db, state, found) : rc;
}

int schema_change(sqlite3 *db, int from, int to, struct store_found *found) {
    struct store_state state = {.views = NULL};
    char end[60];
    if (from == to) {
        return SQLITE_OK;
    }
    snprintf(end, sizeof end, "PRAGMA user_version=%d; COMMIT", to);
    int rc = run(db, "BEGIN IMMEDIATE");
    if (rc == SQLITE_OK) {
        rc = from == 0   ? create(db)
             : to < from ? downgrade(db, to, &state, found)
                         : upgrade(db, from, &state, found);
    }
    rc = rc == SQLITE_OK ? run(db, end) : rc;
    if (rc != SQLITE_OK && !sqlite3_get_autocommit(db)) {
        run(db, "ROLLBACK");
    }
    free(state.views);
    return rc;
}

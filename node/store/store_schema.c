/* See store_schema.h. */
#include "store_schema.h"

#include "store.h"
#include "store_rows.h"
#include "store_views.h"

#include <stdio.h>

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

/* Version 0 is an empty file, or one in which only the table of records was made before the
 * program's end. */
int schema_check(sqlite3 *db, int *schema, struct store_found *found) {
    int tables = 0;
    int rc = number(db, "PRAGMA user_version", schema);
    if (rc == SQLITE_OK && *schema == 0) {
        rc = number(db, "SELECT count(*) FROM sqlite_schema WHERE tbl_name <> 'meta'", &tables);
    }
    if (rc == SQLITE_OK && (*schema < 0 || *schema > STORE_SCHEMA_VERSION)) {
        snprintf(found->text, sizeof found->text,
                 "it has schema %d, and this program (%s) knows up to %d", *schema, CHORD_VERSION,
                 STORE_SCHEMA_VERSION);
        return STORE_UNKNOWN_FORM;
    }
    if (rc == SQLITE_OK && tables != 0) {
        snprintf(found->text, sizeof found->text, "it is a database of another program");
        return STORE_UNKNOWN_FORM;
    }
    return rc;
}

int schema_upgrade(sqlite3 *db, int schema) {
    char version[40];
    if (schema == STORE_SCHEMA_VERSION) {
        return SQLITE_OK;
    }
    int rc = sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
    if (rc == SQLITE_OK) {
        rc = views_open(db, schema);
    }
    if (rc == SQLITE_OK) {
        rc = tables_upgrade(db);
    }
    snprintf(version, sizeof version, "PRAGMA user_version=%d; COMMIT", STORE_SCHEMA_VERSION);
    return rc == SQLITE_OK ? sqlite3_exec(db, version, NULL, NULL, NULL) : rc;
}

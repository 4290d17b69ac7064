/* See store_meta.h. */
#include "store_meta.h"

#include <stdio.h>
#include <string.h>

int store_found_form(struct store_found *found, const char *record, size_t bytes) {
    snprintf(found->text, sizeof found->text,
             "the record \"%s\" has %zu bytes of a form that this program does not know", record,
             bytes);
    return STORE_UNKNOWN_FORM;
}

int store_meta_put(sqlite3 *db, const char *name, const void *bytes, size_t count) {
    sqlite3_stmt *statement = NULL;
    int rc =
        sqlite3_prepare_v2(db, "INSERT OR REPLACE INTO meta VALUES (?1, ?2)", -1, &statement, NULL);
    if (rc == SQLITE_OK) {
        sqlite3_bind_text(statement, 1, name, -1, SQLITE_STATIC);
        sqlite3_bind_blob64(statement, 2, bytes, count, SQLITE_STATIC);
        rc = sqlite3_step(statement);
        rc = rc == SQLITE_DONE ? SQLITE_OK : rc;
    }
    sqlite3_finalize(statement);
    return rc;
}

int store_meta_get(sqlite3 *db, const char *name, void *bytes, size_t count,
                   struct store_found *found) {
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v2(db, "SELECT value FROM meta WHERE name = ?1", -1, &statement, NULL);
    if (rc == SQLITE_OK) {
        sqlite3_bind_text(statement, 1, name, -1, SQLITE_STATIC);
        rc = sqlite3_step(statement);
    }
    if (rc == SQLITE_ROW) {
        size_t stored = (size_t)sqlite3_column_bytes(statement, 0);
        if (stored == count) {
            memcpy(bytes, sqlite3_column_blob(statement, 0), count);
            rc = SQLITE_OK;
        } else {
            rc = store_found_form(found, name, stored);
        }
    } else if (rc == SQLITE_DONE) {
        rc = SQLITE_NOTFOUND;
    }
    sqlite3_finalize(statement);
    return rc;
}

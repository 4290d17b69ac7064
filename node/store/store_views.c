/*
 * Views, what this store is to them, and the acceptor of what follows each (node/chord/acceptor.c).
 * The table is small and always written whole, so that a decision about two ranges is on disk for
 * both or for neither.
 */
#include "store_views.h"

#include <stdlib.h>
#include <string.h>

#define VIEW_COLUMNS "lo, hi, epoch, leader, settled, members, merges, cut, recovered, floor, moved"
enum { VIEW_COLUMNS_COUNT = 11 };

int views_open(sqlite3 *db, int schema) {
    int rc = SQLITE_OK;
    if (schema == 1) {
        rc = sqlite3_exec(db,
                          "ALTER TABLE views ADD COLUMN merges BLOB;"
                          "ALTER TABLE views ADD COLUMN cut INTEGER NOT NULL DEFAULT 0;"
                          "ALTER TABLE views ADD COLUMN recovered INTEGER NOT NULL DEFAULT 0;"
                          "ALTER TABLE views ADD COLUMN learning INTEGER NOT NULL DEFAULT 0;"
                          "ALTER TABLE views ADD COLUMN promised INTEGER NOT NULL DEFAULT 0;",
                          NULL, NULL, NULL);
    }
    if (rc == SQLITE_OK && schema == 2) {
        rc = sqlite3_exec(db, "ALTER TABLE accepted ADD COLUMN floor INTEGER NOT NULL DEFAULT 0;",
                          NULL, NULL, NULL);
    }
    if (rc == SQLITE_OK && (schema == 1 || schema == 2)) {
        rc = sqlite3_exec(db, "ALTER TABLE views ADD COLUMN floor INTEGER NOT NULL DEFAULT 0;",
                          NULL, NULL, NULL);
    }
    if (rc == SQLITE_OK && schema >= 1 && schema <= 3) {
        rc =
            sqlite3_exec(db, "ALTER TABLE views ADD COLUMN equal_epoch INTEGER NOT NULL DEFAULT 0;",
                         NULL, NULL, NULL);
    }
    if (rc == SQLITE_OK && schema >= 2 && schema <= 5) {
        rc = sqlite3_exec(db, "ALTER TABLE accepted ADD COLUMN moved INTEGER NOT NULL DEFAULT 0;",
                          NULL, NULL, NULL);
    }
    if (rc == SQLITE_OK && schema >= 1 && schema <= 5) {
        rc = sqlite3_exec(db, "ALTER TABLE views ADD COLUMN moved INTEGER NOT NULL DEFAULT 0;",
                          NULL, NULL, NULL);
    }
    if (rc == SQLITE_OK) {
        rc = sqlite3_exec(
            db,
            "CREATE TABLE IF NOT EXISTS views (lo BLOB, hi BLOB, epoch INTEGER, leader INTEGER,"
            " settled INTEGER, members BLOB, merges BLOB, cut INTEGER, recovered INTEGER,"
            " learning INTEGER, promised INTEGER, floor INTEGER, equal_epoch INTEGER,"
            " moved INTEGER) STRICT;"
            "CREATE TABLE IF NOT EXISTS accepted (lo BLOB, hi BLOB, epoch INTEGER, leader INTEGER,"
            " settled INTEGER, members BLOB, merges BLOB, cut INTEGER, recovered INTEGER,"
            " of_lo BLOB, of_hi BLOB, ballot INTEGER, other_epoch INTEGER, floor INTEGER,"
            " moved INTEGER) STRICT;",
            NULL, NULL, NULL);
    }
    return rc;
}

static void bind_id(sqlite3_stmt *statement, int column, const struct chord_id *id) {
    sqlite3_bind_blob(statement, column, id->bytes, CHORD_ID_BYTES, SQLITE_STATIC);
}

static bool read_id(sqlite3_stmt *statement, int column, struct chord_id *id) {
    if (sqlite3_column_bytes(statement, column) != CHORD_ID_BYTES) {
        return false;
    }
    memcpy(id->bytes, sqlite3_column_blob(statement, column), CHORD_ID_BYTES);
    return true;
}

static void bind_view(sqlite3_stmt *statement, const struct chord_view *view) {
    bind_id(statement, 1, &view->range.lo);
    bind_id(statement, 2, &view->range.hi);
    sqlite3_bind_int64(statement, 3, (int64_t)view->epoch);
    sqlite3_bind_int(statement, 4, view->leader);
    sqlite3_bind_int(statement, 5, view->settled);
    sqlite3_bind_blob64(statement, 6, view->members, sizeof view->members[0] * view->members_count,
                        SQLITE_STATIC);
    sqlite3_bind_blob64(statement, 7, view->merges.items,
                        sizeof view->merges.items[0] * view->merges.count, SQLITE_STATIC);
    sqlite3_bind_int(statement, 8, view->cut);
    sqlite3_bind_int(statement, 9, view->recovered);
    sqlite3_bind_int64(statement, 10, (int64_t)view->floor);
    sqlite3_bind_int(statement, 11, view->moved);
}

static bool read_view(sqlite3_stmt *statement, struct chord_view *view) {
    size_t bytes = (size_t)sqlite3_column_bytes(statement, 5);
    memset(view, 0, sizeof *view);
    view->epoch = (uint64_t)sqlite3_column_int64(statement, 2);
    view->leader = (uint16_t)sqlite3_column_int(statement, 3);
    view->settled = sqlite3_column_int(statement, 4) != 0;
    view->members_count = (uint16_t)(bytes / sizeof view->members[0]);
    size_t merges_bytes = (size_t)sqlite3_column_bytes(statement, 6);
    view->merges.count = (uint16_t)(merges_bytes / sizeof view->merges.items[0]);
    view->cut = sqlite3_column_int(statement, 7) != 0;
    view->recovered = sqlite3_column_int(statement, 8) != 0;
    view->floor = (uint64_t)sqlite3_column_int64(statement, 9);
    view->moved = sqlite3_column_int(statement, 10) != 0;
    if (!read_id(statement, 0, &view->range.lo) || !read_id(statement, 1, &view->range.hi) ||
        merges_bytes > sizeof view->merges.items ||
        merges_bytes % sizeof view->merges.items[0] != 0 || bytes % sizeof view->members[0] != 0 ||
        bytes > sizeof view->members || view->leader >= view->members_count) {
        return false;
    }
    memcpy(view->members, sqlite3_column_blob(statement, 5), bytes);
    if (merges_bytes > 0) {
        memcpy(view->merges.items, sqlite3_column_blob(statement, 6), merges_bytes);
    }
    return true;
}

static int unknown(sqlite3_stmt *statement, const char *table, struct store_found *found) {
    size_t bytes = 0;
    for (int i = 0; i < VIEW_COLUMNS_COUNT; i++) {
        bytes += (size_t)sqlite3_column_bytes(statement, i);
    }
    return store_found_form(found, table, bytes);
}

static int run(sqlite3_stmt *statement) {
    int rc = sqlite3_step(statement);
    return rc == SQLITE_DONE ? sqlite3_reset(statement) : rc;
}

static int write_accepted(sqlite3_stmt *statement, const struct chord_stored_view *stored) {
    bind_view(statement, &stored->acceptor.next);
    bind_id(statement, VIEW_COLUMNS_COUNT + 1, &stored->view.range.lo);
    bind_id(statement, VIEW_COLUMNS_COUNT + 2, &stored->view.range.hi);
    sqlite3_bind_int64(statement, VIEW_COLUMNS_COUNT + 3, (int64_t)stored->acceptor.ballot);
    sqlite3_bind_int64(statement, VIEW_COLUMNS_COUNT + 4, (int64_t)stored->acceptor.other_epoch);
    return run(statement);
}

int views_write(sqlite3 *db, const struct store_job *job) {
    sqlite3_stmt *view = NULL, *accepted = NULL;
    int rc = sqlite3_exec(db, "DELETE FROM views; DELETE FROM accepted", NULL, NULL, NULL);
    if (rc == SQLITE_OK) {
        rc = sqlite3_prepare_v2(
            db,
            "INSERT INTO views (" VIEW_COLUMNS ", learning, promised, equal_epoch)"
            " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
            -1, &view, NULL);
    }
    if (rc == SQLITE_OK) {
        rc = sqlite3_prepare_v2(
            db,
            "INSERT INTO accepted (" VIEW_COLUMNS ", of_lo, of_hi, ballot, other_epoch)"
            " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
            -1, &accepted, NULL);
    }
    for (size_t i = 0; i < job->views_count && rc == SQLITE_OK; i++) {
        const struct chord_stored_view *stored = &job->views[i];
        bind_view(view, &stored->view);
        sqlite3_bind_int(view, VIEW_COLUMNS_COUNT + 1, stored->learning);
        sqlite3_bind_int64(view, VIEW_COLUMNS_COUNT + 2, (int64_t)stored->acceptor.promised);
        sqlite3_bind_int64(view, VIEW_COLUMNS_COUNT + 3, (int64_t)stored->equal_epoch);
        rc = run(view);
        if (rc == SQLITE_OK && stored->acceptor.accepted) {
            rc = write_accepted(accepted, stored);
        }
    }
    sqlite3_finalize(view);
    sqlite3_finalize(accepted);
    return rc;
}

static int read_all(sqlite3 *db, struct chord_stored_view **views, size_t *count,
                    struct store_found *found) {
    sqlite3_stmt *statement;
    int rc = sqlite3_prepare_v2(
        db, "SELECT " VIEW_COLUMNS ", learning, promised, equal_epoch FROM views", -1, &statement,
        NULL);
    while (rc == SQLITE_OK && (rc = sqlite3_step(statement)) == SQLITE_ROW) {
        struct chord_stored_view *grown = realloc(*views, sizeof **views * (*count + 1));
        rc = SQLITE_NOMEM;
        if (grown != NULL) {
            *views = grown;
            struct chord_stored_view *stored = &grown[*count];
            memset(stored, 0, sizeof *stored);
            rc = read_view(statement, &stored->view) ? SQLITE_OK
                                                     : unknown(statement, "views", found);
            stored->learning = sqlite3_column_int(statement, VIEW_COLUMNS_COUNT) != 0;
            stored->acceptor.promised =
                (uint64_t)sqlite3_column_int64(statement, VIEW_COLUMNS_COUNT + 1);
            stored->equal_epoch = (uint64_t)sqlite3_column_int64(statement, VIEW_COLUMNS_COUNT + 2);
            *count += rc == SQLITE_OK;
        }
    }
    sqlite3_finalize(statement);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static struct chord_stored_view *find(struct chord_stored_view *views, size_t count,
                                      const struct chord_range *range) {
    for (size_t i = 0; i < count; i++) {
        if (id_equal(&views[i].view.range.lo, &range->lo) &&
            id_equal(&views[i].view.range.hi, &range->hi)) {
            return &views[i];
        }
    }
    return NULL;
}

static int read_accepted(sqlite3 *db, struct chord_stored_view *views, size_t count,
                         struct store_found *found) {
    sqlite3_stmt *statement;
    int rc = sqlite3_prepare_v2(
        db, "SELECT " VIEW_COLUMNS ", of_lo, of_hi, ballot, other_epoch FROM accepted", -1,
        &statement, NULL);
    while (rc == SQLITE_OK && (rc = sqlite3_step(statement)) == SQLITE_ROW) {
        struct chord_range of;
        bool ok = read_id(statement, VIEW_COLUMNS_COUNT, &of.lo) &&
                  read_id(statement, VIEW_COLUMNS_COUNT + 1, &of.hi);
        struct chord_stored_view *stored = ok ? find(views, count, &of) : NULL;
        rc = SQLITE_OK;
        if (stored != NULL && read_view(statement, &stored->acceptor.next)) {
            stored->acceptor.accepted = true;
            stored->acceptor.ballot =
                (uint64_t)sqlite3_column_int64(statement, VIEW_COLUMNS_COUNT + 2);
            stored->acceptor.other_epoch =
                (uint64_t)sqlite3_column_int64(statement, VIEW_COLUMNS_COUNT + 3);
        } else {
            rc = unknown(statement, "accepted", found);
        }
    }
    sqlite3_finalize(statement);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

int views_read(sqlite3 *db, struct chord_stored_view **views, size_t *count,
               struct store_found *found) {
    *views = NULL;
    *count = 0;
    int rc = read_all(db, views, count, found);
    return rc == SQLITE_OK ? read_accepted(db, *views, *count, found) : rc;
}

/* SPDX-License-Identifier: MIT */
/* gateway.db; see db.h. One connection does everything, as SQLite 3.40.1 wants it in WAL mode. */
#include "db.h"
#include "private.h"

#include <errno.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log.h"

struct db {
    pthread_mutex_t lock;
    sqlite3 *sqlite; /* NULL: there is no file to be had */
    bool complained;
    char path[4200];
    atomic_uint events_saved;
};

static const char schema[] =
    "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA journal_size_limit=4194304;"
    "CREATE TABLE IF NOT EXISTS member(address TEXT PRIMARY KEY, id TEXT NOT NULL,"
    " seen_ms INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS ring(one INTEGER PRIMARY KEY CHECK(one = 1), id BLOB NOT NULL);"
    "CREATE TABLE IF NOT EXISTS event(sequence INTEGER PRIMARY KEY, time_ms INTEGER NOT NULL,"
    " type TEXT NOT NULL, data TEXT NOT NULL);"
    "CREATE TABLE IF NOT EXISTS operation(number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE,"
    " json TEXT NOT NULL);";

static int db_open_file(struct db *db, const char *path) {
    int result = sqlite3_open_v2(
        path, &db->sqlite, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
    if (result == SQLITE_OK) {
        sqlite3_busy_timeout(db->sqlite, 2000);
        result = sqlite3_exec(db->sqlite, schema, NULL, NULL, NULL);
    }
    if (result != SQLITE_OK) {
        sqlite3_close_v2(db->sqlite);
        db->sqlite = NULL;
    }
    return result;
}

/* What is no database is put aside. */
static int db_open_any(struct db *db) {
    char aside[sizeof(db->path) + 40];
    int result = db_open_file(db, db->path);
    if (result == SQLITE_NOTADB || result == SQLITE_CORRUPT) {
        snprintf(aside, sizeof(aside), "%s.broken", db->path);
        log_line("WARN", "gateway.db", "%s is damaged; kept as %s, a new history begins", db->path,
                 aside);
        (void)rename(db->path, aside);
        result = db_open_file(db, db->path);
    }
    return result;
}

int db_open(struct db **out, const char *folder, char *error, size_t error_size) {
    struct db *db = calloc(1, sizeof(*db));
    *out = NULL;
    if (db == NULL) {
        snprintf(error, error_size, "no memory for %s/gateway.db", folder);
        return -ENOMEM;
    }
    snprintf(db->path, sizeof(db->path), "%s/gateway.db", folder);
    pthread_mutex_init(&db->lock, NULL);
    if (!private_database(db->path, error, error_size)) {
        db_close(db);
        return -EACCES;
    }
    int result = db_open_any(db);
    if (result != SQLITE_OK) {
        snprintf(error, error_size,
                 "cannot open %s: %s; set DATA_DIR to a folder that can be written", db->path,
                 sqlite3_errstr(result));
        db_close(db);
        return -EIO;
    }
    *out = db;
    return 0;
}

void db_close(struct db *db) {
    if (db != NULL) {
        sqlite3_close_v2(db->sqlite);
        pthread_mutex_destroy(&db->lock);
        free(db);
    }
}

/* Of the database, or of its log beside it: what is written there is found by nobody later. */
static bool db_moved(struct db *db) {
    char log[sizeof(db->path) + 8];
    int moved = 0;
    snprintf(log, sizeof(log), "%s-wal", db->path);
    (void)sqlite3_file_control(db->sqlite, "main", SQLITE_FCNTL_HAS_MOVED, &moved);
    return moved != 0 || access(log, F_OK) != 0;
}

bool db_follow(struct db *db) {
    bool again = false;
    pthread_mutex_lock(&db->lock);
    if (db->sqlite == NULL || db_moved(db)) {
        if (db->sqlite != NULL) {
            log_line("WARN", "gateway.db",
                     "%s was removed, renamed or replaced under the running gateway: members and "
                     "new events go to what is under that name now; put the old one back for the "
                     "events before",
                     db->path);
        }
        sqlite3_close_v2(db->sqlite); /* of one that has moved it touches no name */
        db->sqlite = NULL;
        again = db_open_any(db) == SQLITE_OK;
        db->complained = db->complained && !again;
    }
    pthread_mutex_unlock(&db->lock);
    return again;
}

static void db_complain(struct db *db) {
    if (!db->complained) {
        db->complained = true;
        log_line("WARN", "gateway.db", "cannot be used: %s; events are kept in memory only",
                 db->sqlite == NULL ? "there is no file" : sqlite3_errmsg(db->sqlite));
    }
}

/* Binds by `types`: t a text, i an int64, b 16 bytes. NULL: it cannot be, said once. With the lock
 * held. */
static sqlite3_stmt *db_prepare(struct db *db, const char *sql, const char *types, va_list values) {
    sqlite3_stmt *statement = NULL;
    if (db->sqlite == NULL ||
        sqlite3_prepare_v2(db->sqlite, sql, -1, &statement, NULL) != SQLITE_OK) {
        db_complain(db);
        return NULL;
    }
    for (int i = 1; *types != '\0'; i++, types++) {
        if (*types == 't') {
            (void)sqlite3_bind_text(statement, i, va_arg(values, const char *), -1, SQLITE_STATIC);
        } else if (*types == 'b') {
            (void)sqlite3_bind_blob(statement, i, va_arg(values, const void *), 16, SQLITE_STATIC);
        } else {
            (void)sqlite3_bind_int64(statement, i, va_arg(values, sqlite3_int64));
        }
    }
    return statement;
}

typedef void db_row_fn(void *context, sqlite3_stmt *row);

/* Runs a statement; `each` (NULL: none) gets its rows. */
static void db_run(struct db *db, db_row_fn *each, void *context, const char *sql,
                   const char *types, ...) {
    va_list values;
    va_start(values, types);
    pthread_mutex_lock(&db->lock);
    sqlite3_stmt *statement = db_prepare(db, sql, types, values);
    int result = SQLITE_DONE;
    while (statement != NULL && (result = sqlite3_step(statement)) == SQLITE_ROW) {
        if (each != NULL) {
            each(context, statement);
        }
    }
    if (result != SQLITE_DONE) {
        db_complain(db);
    }
    sqlite3_finalize(statement);
    pthread_mutex_unlock(&db->lock);
    va_end(values);
}

void db_member_save(struct db *db, const char *address, const char *id) {
    db_run(db, NULL, NULL,
           "INSERT INTO member VALUES(?,?,?) ON CONFLICT(address) DO UPDATE SET"
           " id=excluded.id, seen_ms=excluded.seen_ms",
           "tti", address, id, (sqlite3_int64)clock_unix_ms());
}

void db_member_forget(struct db *db, const char *address) {
    db_run(db, NULL, NULL, "DELETE FROM member WHERE address=?", "t", address);
}

struct members_reader {
    void (*each)(void *context, const char *address, const char *id);
    void *context;
};

static void member_take(void *context, sqlite3_stmt *row) {
    const struct members_reader *reader = context;
    const char *address = (const char *)sqlite3_column_text(row, 0);
    const char *id = (const char *)sqlite3_column_text(row, 1);
    if (address != NULL && id != NULL) {
        reader->each(reader->context, address, id);
    }
}

void db_members_read(struct db *db,
                     void (*each)(void *context, const char *address, const char *id),
                     void *context) {
    struct members_reader reader = {each, context};
    db_run(db, member_take, &reader, "SELECT address, id FROM member ORDER BY seen_ms DESC LIMIT ?",
           "i", (sqlite3_int64)DB_MEMBERS_MAX);
}

struct ring_reader {
    bool found;
    uint8_t *id;
};

static void ring_take(void *context, sqlite3_stmt *row) {
    struct ring_reader *reader = context;
    memcpy(reader->id, sqlite3_column_blob(row, 0), 16);
    reader->found = true;
}

bool db_ring_read(struct db *db, uint8_t ring_id[16]) {
    struct ring_reader reader = {false, ring_id};
    db_run(db, ring_take, &reader, "SELECT id FROM ring WHERE length(id)=16", "");
    return reader.found;
}

void db_ring_save(struct db *db, const uint8_t ring_id[16]) {
    db_run(db, NULL, NULL, "INSERT OR REPLACE INTO ring VALUES(1,?)", "b", (const void *)ring_id);
}

void db_event_save(struct db *db, uint64_t sequence, uint64_t time_ms, const char *type,
                   const char *data) {
    db_run(db, NULL, NULL, "INSERT OR REPLACE INTO event VALUES(?,?,?,?)", "iitt",
           (sqlite3_int64)sequence, (sqlite3_int64)time_ms, type, data);
    if (atomic_fetch_add(&db->events_saved, 1) % 64 == 0) {
        db_run(db, NULL, NULL,
               "DELETE FROM event WHERE sequence NOT IN"
               " (SELECT sequence FROM event ORDER BY sequence DESC LIMIT ?)",
               "i", (sqlite3_int64)DB_EVENTS_MAX);
    }
}

static void sequence_take(void *context, sqlite3_stmt *row) {
    *(uint64_t *)context = (uint64_t)sqlite3_column_int64(row, 0);
}

uint64_t db_event_sequence(struct db *db) {
    uint64_t sequence = 0;
    db_run(db, sequence_take, &sequence, "SELECT max(sequence) FROM event", "");
    return sequence;
}

struct events_reader {
    void (*each)(void *context, uint64_t sequence, const char *type, const char *data);
    void *context;
};

static void event_take(void *context, sqlite3_stmt *row) {
    const struct events_reader *reader = context;
    const char *type = (const char *)sqlite3_column_text(row, 1);
    const char *data = (const char *)sqlite3_column_text(row, 2);
    if (type != NULL && data != NULL) {
        reader->each(reader->context, (uint64_t)sqlite3_column_int64(row, 0), type, data);
    }
}

void db_events_read(struct db *db, uint64_t after, unsigned limit,
                    void (*each)(void *context, uint64_t sequence, const char *type,
                                 const char *data),
                    void *context) {
    struct events_reader reader = {each, context};
    db_run(db, event_take, &reader,
           "SELECT * FROM (SELECT sequence, type, data FROM event WHERE sequence > ?"
           " ORDER BY sequence DESC LIMIT ?) ORDER BY 1",
           "ii", (sqlite3_int64)after, (sqlite3_int64)limit);
}

void db_operation_save(struct db *db, const char *id, const char *json) {
    db_run(db, NULL, NULL, "INSERT OR REPLACE INTO operation(id, json) VALUES(?,?)", "tt", id,
           json);
    db_run(db, NULL, NULL,
           "DELETE FROM operation WHERE number <= (SELECT max(number) FROM operation) - ?", "i",
           (sqlite3_int64)DB_OPERATIONS_MAX);
}

static void text_take(void *context, sqlite3_stmt *row) {
    const char *text = (const char *)sqlite3_column_text(row, 0);
    *(char **)context = text == NULL ? NULL : strdup(text);
}

char *db_operation_read(struct db *db, const char *id) {
    char *json = NULL;
    db_run(db, text_take, &json, "SELECT json FROM operation WHERE id=?", "t", id);
    return json;
}

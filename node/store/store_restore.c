/* SPDX-License-Identifier: MIT */
/*
 * What an older copy of a store may never do is vote: it has forgotten what it promised and which
 * writes it acknowledged. So it comes back under a new store id, which no view names, and without
 * views of its own. Its rows are then what a learner compares with the leader's: those that are
 * still right need not be sent again, all others give way. The ring's id stays, so that it can
 * return to no other ring.
 *
 * The copy is made under another name and gets its own once it is complete and on disk.
 */
#include "store_restore.h"

#include "private.h"
#include "store_copy.h"
#include "store_schema.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/rand.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_BYTES = 4096 };

struct restore {
    const char *backup;
    const char *directory;
    char made[PATH_BYTES], database[PATH_BYTES];
    int lock;
    int schema; /* of the backup */
    sqlite3 *from, *to;
    char *reason;
    size_t reason_bytes;
};

static enum restore_error say(struct restore *restore, enum restore_error error, const char *format,
                              ...) __attribute__((format(printf, 3, 4)));

static enum restore_error say(struct restore *restore, enum restore_error error, const char *format,
                              ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(restore->reason, restore->reason_bytes, format, arguments);
    va_end(arguments);
    return error;
}

/* ---- where it goes ---- */

static bool path_make(char *path, const char *directory, const char *name) {
    int length = snprintf(path, PATH_BYTES, "%s/%s", directory, name);
    return length > 0 && length < PATH_BYTES;
}

static enum restore_error target_take(struct restore *restore) {
    char path[PATH_BYTES];
    if (!private_folder(restore->directory, restore->reason, restore->reason_bytes)) {
        return RESTORE_FAILED;
    }
    private_umask();
    if (!path_make(path, restore->directory, "lock") ||
        !path_make(restore->made, restore->directory, "chord.db.restoring") ||
        !path_make(restore->database, restore->directory, "chord.db")) {
        return say(restore, RESTORE_FAILED, "the name of the folder is too long");
    }
    restore->lock = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (restore->lock < 0) {
        return say(restore, RESTORE_FAILED, "cannot write in %s: %s", restore->directory,
                   strerror(errno));
    }
    if (flock(restore->lock, LOCK_EX | LOCK_NB) != 0) {
        return say(restore, RESTORE_IN_USE, "%s belongs to a running node; stop it first",
                   restore->directory);
    }
    if (access(restore->database, F_OK) == 0) {
        return say(restore, RESTORE_IN_USE,
                   "%s has a database already, restored before or a node's own; move it away, or "
                   "start the node with it",
                   restore->directory);
    }
    unlink(restore->made); /* of a restore that did not end */
    return RESTORE_OK;
}

/* ---- what it comes from ---- */

static int64_t number(sqlite3 *db, const char *sql) {
    sqlite3_stmt *statement = NULL;
    int64_t value = -1;
    if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) == SQLITE_OK &&
        sqlite3_step(statement) == SQLITE_ROW) {
        value = sqlite3_column_int64(statement, 0);
    }
    sqlite3_finalize(statement);
    return value;
}

static enum restore_error backup_open(struct restore *restore) {
    char name[COPY_URI_BYTES], log[PATH_BYTES];
    struct stat file;
    if (stat(restore->backup, &file) != 0) {
        return say(restore, RESTORE_NO_BACKUP, "%s: %s", restore->backup, strerror(errno));
    }
    int length = snprintf(log, sizeof log, "%s-wal", restore->backup);
    bool alone = access(log, F_OK) != 0;
    if (!S_ISREG(file.st_mode) || length >= PATH_BYTES) {
        return say(restore, RESTORE_NO_BACKUP, "%s is not a file", restore->backup);
    }
    copy_immutable_name(restore->backup, name);
    int rc = sqlite3_open_v2(alone ? name : restore->backup, &restore->from,
                             SQLITE_OPEN_READONLY | (alone ? SQLITE_OPEN_URI : 0), NULL);
    if (rc == SQLITE_OK) {
        rc = sqlite3_exec(restore->from, "SELECT name FROM sqlite_schema", NULL, NULL, NULL);
    }
    if (rc == SQLITE_BUSY) {
        return say(restore, RESTORE_NO_BACKUP,
                   "%s belongs to a running node; a backup is a copy of it", restore->backup);
    }
    if (rc != SQLITE_OK) {
        return say(restore, RESTORE_NO_BACKUP, "%s is no database: %s", restore->backup,
                   sqlite3_errstr(rc));
    }
    struct store_found found = {""};
    rc = schema_check(restore->from, &restore->schema, &found);
    if (rc == STORE_UNKNOWN_FORM) {
        return say(restore, RESTORE_NO_BACKUP, "%s: %s", restore->backup, found.text);
    }
    bool ours = number(restore->from, "SELECT count(*) FROM sqlite_schema WHERE type = 'table'"
                                      " AND name IN ('views', 'rows')") == 2;
    return rc == SQLITE_OK && restore->schema != 0 && ours
               ? RESTORE_OK
               : say(restore, RESTORE_NO_BACKUP, "%s is a database, but not that of a Chord node",
                     restore->backup);
}

/* ---- the copy ---- */

static enum restore_error copy(struct restore *restore) {
    int rc = copy_make(restore->from, restore->made, &restore->to);
    if (rc != SQLITE_OK) {
        return say(restore, RESTORE_FAILED, "%s cannot be copied to %s: %s", restore->backup,
                   restore->made, sqlite3_errstr(rc));
    }
    sqlite3_stmt *check = NULL;
    bool sound =
        sqlite3_prepare_v2(restore->to, "PRAGMA quick_check(1)", -1, &check, NULL) == SQLITE_OK &&
        sqlite3_step(check) == SQLITE_ROW &&
        strcmp((const char *)sqlite3_column_text(check, 0), "ok") == 0;
    sqlite3_finalize(check);
    return sound ? RESTORE_OK
                 : say(restore, RESTORE_NO_BACKUP, "%s is damaged; take another backup",
                       restore->backup);
}

/* Where the backup was of a member, the copy is of one that has left: it asks to be taken in, and
 * has no say in making its ring anew. */
static int lower(struct store_state *state) {
    free(state->views);
    state->views = NULL;
    state->views_count = 0;
    state->identity.left = CHORD_HAS_LEFT;
    state->has[RECORD_PLACE] = false;
    state->has[RECORD_FORMER] = false;
    state->has[RECORD_STORE_ID] = true;
    return RAND_bytes(state->id.bytes, sizeof state->id.bytes) == 1 ? SQLITE_OK : SQLITE_ERROR;
}

static enum restore_error make_new_replica(struct restore *restore, uint64_t *rows) {
    struct store_state state = {.views = NULL};
    struct store_found found = {""};
    sqlite3 *db = restore->to;
    int rc =
        sqlite3_exec(db, "PRAGMA journal_mode=DELETE; PRAGMA synchronous=FULL", NULL, NULL, NULL);
    rc = rc == SQLITE_OK ? schema_change(db, restore->schema, STORE_SCHEMA_VERSION, &found) : rc;
    rc = rc == SQLITE_OK ? state_read(db, &state, &found) : rc;
    rc = rc == SQLITE_OK ? lower(&state) : rc;
    rc = rc == SQLITE_OK
             ? sqlite3_exec(db, "BEGIN IMMEDIATE; DELETE FROM records", NULL, NULL, NULL)
             : rc;
    rc = rc == SQLITE_OK ? state_write(db, &state) : rc;
    rc = rc == SQLITE_OK ? sqlite3_exec(db, "COMMIT", NULL, NULL, NULL) : rc;
    free(state.views);
    if (rc == STORE_UNKNOWN_FORM) {
        return say(restore, RESTORE_NO_BACKUP, "%s: %s", restore->backup, found.text);
    }
    int64_t count = rc == SQLITE_OK ? number(db, "SELECT count(*) FROM rows") : -1;
    *rows = (uint64_t)count;
    return count >= 0 ? RESTORE_OK
                      : say(restore, RESTORE_FAILED, "%s cannot be made: %s", restore->made,
                            sqlite3_errmsg(db));
}

static enum restore_error publish(struct restore *restore) {
    sqlite3_close(restore->to);
    restore->to = NULL;
    int error = copy_publish(restore->made, restore->database, restore->directory);
    return error == 0 ? RESTORE_OK
                      : say(restore, RESTORE_FAILED, "%s cannot be put in place: %s",
                            restore->database, strerror(error));
}

enum restore_error store_restore(const char *backup, const char *directory, uint64_t *rows,
                                 char *reason, size_t reason_bytes) {
    struct restore restore = {.backup = backup,
                              .directory = directory,
                              .lock = -1,
                              .reason = reason,
                              .reason_bytes = reason_bytes};
    enum restore_error error = backup_open(&restore); /* first: no folder for a wrong name */
    if (error == RESTORE_OK) {
        error = target_take(&restore);
    }
    bool taken = error == RESTORE_OK;
    if (error == RESTORE_OK) {
        error = copy(&restore);
    }
    if (error == RESTORE_OK) {
        error = make_new_replica(&restore, rows);
    }
    if (error == RESTORE_OK) {
        error = publish(&restore);
    }
    sqlite3_close(restore.from);
    sqlite3_close(restore.to);
    if (taken && error != RESTORE_OK) {
        unlink(restore.made);
    }
    if (restore.lock >= 0) {
        close(restore.lock);
    }
    return error;
}

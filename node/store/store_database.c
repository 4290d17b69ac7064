/* SPDX-License-Identifier: MIT */
/* See store_database.h. */
#include "store_database.h"

#include "log.h"
#include "private.h"
#include "store_copy.h"
#include "store_schema.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CACHE_KIB = 2048 };

/* ---- whose it is ---- */

enum store_error database_take(struct database *database, const char *directory, char *reason,
                               size_t reason_bytes) {
    char path[DATABASE_PATH_BYTES];
    memset(database, 0, sizeof *database);
    database->directory = directory;
    database->lock = -1;
    if (!private_folder(directory, reason, reason_bytes)) {
        return STORE_UNUSABLE;
    }
    snprintf(database->path, sizeof database->path, "%s/chord.db", directory);
    snprintf(path, sizeof path, "%s/lock", directory);
    database->lock = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (database->lock < 0) {
        snprintf(reason, reason_bytes, "cannot write in %s: %s", directory, strerror(errno));
        return STORE_UNUSABLE;
    }
    if (flock(database->lock, LOCK_EX | LOCK_NB) != 0) {
        snprintf(reason, reason_bytes, "%s belongs to another running node", directory);
        return STORE_LOCKED;
    }
    return private_database(database->path, reason, reason_bytes) ? STORE_OK : STORE_UNUSABLE;
}

void database_release(struct database *database) {
    database_close(database);
    if (database->lock >= 0) {
        close(database->lock);
        database->lock = -1;
    }
}

/* ---- work without end ---- */

/* A row has some forty bytes at least, and its SQL takes a hundred steps or two, so that the steps
 * are bounded by the file's size. A prepared statement counts on from one piece of work to the
 * next: some looks are not about this one. */
enum { LOOK_STEPS = 1000000, LOOKS_SPARE = 12, STEPS_A_BYTE = 8 };

static uint64_t file_size(const char *path, const char *end) {
    char name[DATABASE_PATH_BYTES + 8];
    struct stat file;
    snprintf(name, sizeof name, "%s%s", path, end);
    return stat(name, &file) == 0 ? (uint64_t)file.st_size : 0;
}

static int on_work(void *context) {
    struct database *database = context;
    uint64_t bytes = file_size(database->path, "") + file_size(database->path, "-wal");
    database->looks++;
    return database->looks > LOOKS_SPARE &&
           (uint64_t)database->looks * LOOK_STEPS > bytes * STEPS_A_BYTE;
}

void database_work_begins(struct database *database) {
    database->looks = 0;
}

bool database_damaged(int rc) {
    int primary = rc & 0xff;
    return primary == SQLITE_CORRUPT || primary == SQLITE_NOTADB || primary == SQLITE_INTERRUPT;
}

/* ---- open ---- */

/* Nothing is written before we know that this is a chord.db, and its schema. */
static int connect_file(struct database *database, int *schema, struct store_found *found) {
    char pragmas[200];
    int rc = sqlite3_open_v2(database->path, &database->db,
                             SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX |
                                 SQLITE_OPEN_EXRESCODE,
                             NULL);
    if (rc == SQLITE_OK) {
        database_work_begins(database);
        sqlite3_progress_handler(database->db, LOOK_STEPS, on_work, database);
        rc = sqlite3_exec(database->db, "PRAGMA locking_mode=EXCLUSIVE", NULL, NULL, NULL);
    }
    if (rc == SQLITE_OK) {
        rc = schema_check(database->db, schema, found);
    }
    /* A row that is replaced takes its large value with it, as one that is deleted does. */
    snprintf(pragmas, sizeof pragmas,
             "PRAGMA recursive_triggers=ON;"
             "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=0;"
             "PRAGMA cache_size=-%d;",
             CACHE_KIB);
    return rc == SQLITE_OK ? sqlite3_exec(database->db, pragmas, NULL, NULL, NULL) : rc;
}

/* The copy is for the case that the upgraded file turns out to be unusable before it served. */
static int upgrade(struct database *database, int schema, struct store_found *found) {
    int rc = SQLITE_OK;
    if (schema == STORE_SCHEMA_VERSION) {
        database->copy_kept = copy_kept(database->path);
        return SQLITE_OK;
    }
    if (schema != 0) {
        log_write(LOG_INFO, "store", "%s gets schema %d, from %d", database->path,
                  STORE_SCHEMA_VERSION, schema);
        rc = copy_keep(database->db, database->path, database->directory);
        database->copy_kept = rc == SQLITE_OK;
    }
    if (rc == SQLITE_OK) {
        rc = schema_change(database->db, schema, STORE_SCHEMA_VERSION, found);
    }
    if (rc != SQLITE_OK && schema != 0) {
        copy_drop(database->path, database->directory);
        database->copy_kept = false;
        if (rc != STORE_UNKNOWN_FORM) {
            snprintf(found->text, sizeof found->text,
                     "it has schema %d still; its upgrade to %d needs up to three times its size "
                     "of free disk",
                     schema, STORE_SCHEMA_VERSION);
        }
    }
    return rc;
}

int database_open(struct database *database, struct store_state *state, struct store_found *found) {
    int schema = 0;
    memset(state, 0, sizeof *state);
    int rc = connect_file(database, &schema, found);
    rc = rc == SQLITE_OK ? upgrade(database, schema, found) : rc;
    return rc == SQLITE_OK ? state_read(database->db, state, found) : rc;
}

void database_close(struct database *database) {
    sqlite3_close(database->db);
    database->db = NULL;
}

void database_put_aside(const struct database *database) {
    static const char *const ends[] = {"", "-wal", "-shm"};
    for (unsigned i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        char from[DATABASE_PATH_BYTES + 8], to[DATABASE_PATH_BYTES + 32];
        snprintf(from, sizeof from, "%s%s", database->path, ends[i]);
        snprintf(to, sizeof to, "%s.corrupt%s", database->path, ends[i]);
        rename(from, to);
    }
    log_write(LOG_ERROR, "store", "%s is damaged: put aside as chord.db.corrupt, starting empty",
              database->path);
}

void database_served(struct database *database) {
    if (!database->copy_kept) {
        return;
    }
    database->copy_kept = false;
    if (!copy_drop(database->path, database->directory)) {
        log_write(LOG_ERROR, "store",
                  "%s.before-upgrade cannot be removed: %s. Remove it: it is old", database->path,
                  strerror(errno));
    }
}

enum store_error database_unknown(const struct database *database, const struct store_found *found,
                                  char *reason, size_t reason_bytes) {
    snprintf(reason, reason_bytes,
             "%s: %s. Nothing in it was changed. Start the version that wrote it; if the disk has "
             "changed it, move the folder away and start with an empty one: the node comes back as "
             "a new replica, and the others send it its keys",
             database->path, found->text);
    return STORE_UNKNOWN_SCHEMA;
}

/* ---- one step back ---- */

static enum store_error downgrade(struct database *database, int to, char *reason,
                                  size_t reason_bytes) {
    struct store_found found = {""};
    int schema = 0;
    int rc = connect_file(database, &schema, &found);
    if (rc == SQLITE_OK && schema != STORE_SCHEMA_VERSION && schema != to) {
        snprintf(reason, reason_bytes, "%s has schema %d: only %d can become %d", database->path,
                 schema, STORE_SCHEMA_VERSION, to);
        return STORE_UNUSABLE;
    }
    rc = rc == SQLITE_OK ? schema_change(database->db, schema, to, &found) : rc;
    if (rc == STORE_UNKNOWN_FORM) {
        return database_unknown(database, &found, reason, reason_bytes);
    }
    if (rc == SQLITE_OK) {
        copy_drop(database->path, database->directory);
        rc = sqlite3_wal_checkpoint_v2(database->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    }
    if (rc != SQLITE_OK) {
        snprintf(reason, reason_bytes, "%s cannot be changed: %s", database->path,
                 sqlite3_errstr(rc));
        return STORE_FAILED;
    }
    snprintf(reason, reason_bytes, "%s has schema %d now", database->path, to);
    return STORE_OK;
}

enum store_error store_downgrade(const char *directory, int schema, char *reason,
                                 size_t reason_bytes) {
    struct database database = {.lock = -1};
    char path[DATABASE_PATH_BYTES];
    snprintf(path, sizeof path, "%s/chord.db", directory);
    if (access(path, F_OK) != 0) {
        snprintf(reason, reason_bytes, "%s: %s", path, strerror(errno));
        return STORE_UNUSABLE;
    }
    enum store_error error = database_take(&database, directory, reason, reason_bytes);
    if (error == STORE_OK) {
        error = downgrade(&database, schema, reason, reason_bytes);
    }
    database_release(&database);
    return error;
}

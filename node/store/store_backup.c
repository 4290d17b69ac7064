/* SPDX-License-Identifier: MIT */
/* See store_backup.h. */
#include "store_backup.h"

#include "clock.h"
#include "private.h"
#include "store_clock.h"
#include "store_copy.h"
#include "store_files.h"
#include "store_rows.h"

#include <dirent.h>
#include <errno.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    SLICE_PAGES = 16, /* of one step, */
    SLICE_US = 5000,  /* and steps until so much time is over */
    LOOK_STEPS = 1000000,
    NAME_BYTES = sizeof "chord-20260101T000000.000Z.db",
};

static bool say(struct backup *backup, enum backup_error error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* False, for its caller to return. */
static bool say(struct backup *backup, enum backup_error error, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(backup->reason, sizeof backup->reason, format, arguments);
    va_end(arguments);
    backup->error = error;
    return false;
}

/* ---- the folder ---- */

/* A digit stands for any. */
static bool name_is_ours(const char *name) {
    static const char form[NAME_BYTES] = "chord-00000000T000000.000Z.db";
    size_t at = 0;
    while (at < NAME_BYTES &&
           (form[at] == '0' ? name[at] >= '0' && name[at] <= '9' : name[at] == form[at])) {
        if (name[at] == '\0') {
            return true;
        }
        at++;
    }
    return false;
}

/* How many there are; `oldest` gets the first by name other than `but`. -1: see errno. */
static int folder_look(const char *folder, const char *but, char oldest[NAME_BYTES]) {
    DIR *files = opendir(folder);
    struct dirent *file;
    int count = 0;
    oldest[0] = '\0';
    while (files != NULL && (file = readdir(files)) != NULL) {
        if (!name_is_ours(file->d_name)) {
            continue;
        }
        count++;
        bool older = oldest[0] == '\0' || strcmp(file->d_name, oldest) < 0;
        if (older && strcmp(file->d_name, but) != 0) {
            memcpy(oldest, file->d_name, NAME_BYTES);
        }
    }
    if (files == NULL) {
        return -1;
    }
    closedir(files);
    return count;
}

static void remove_older(struct backup *backup) {
    const char *own = strrchr(backup->path, '/') + 1;
    char oldest[NAME_BYTES], path[BACKUP_PATH_BYTES + NAME_BYTES + 1];
    while (folder_look(backup->folder, own, oldest) > (int)backup->keep && oldest[0] != '\0') {
        snprintf(path, sizeof path, "%s/%s", backup->folder, oldest);
        if (unlink(path) != 0) {
            return; /* the next one counts it again */
        }
    }
}

static bool path_make(char *path, const char *folder, const char *name) {
    int length = snprintf(path, BACKUP_PATH_BYTES, "%s/%s", folder, name);
    return length > 0 && length < BACKUP_PATH_BYTES;
}

static uint64_t file_bytes(const char *folder, const char *name) {
    char path[BACKUP_PATH_BYTES];
    struct stat file;
    return path_make(path, folder, name) && stat(path, &file) == 0 ? (uint64_t)file.st_size : 0;
}

static bool room_check(struct backup *backup) {
    uint64_t need =
        file_bytes(backup->directory, "chord.db") + file_bytes(backup->directory, "chord.db-wal");
    uint64_t free_bytes = store_path_free(backup->folder);
    if (free_bytes == UINT64_MAX) {
        return say(backup, BACKUP_FAILED, "%s: %s", backup->folder, strerror(errno));
    }
    if (free_bytes >> 20 < (need >> 20) + BACKUP_ROOM_MB) {
        return say(backup, BACKUP_REFUSED,
                   "a copy has up to %llu MiB and has to leave %d MiB free, and %s has %llu MiB of "
                   "free disk; make room there",
                   (unsigned long long)(need >> 20) + 1, BACKUP_ROOM_MB, backup->folder,
                   (unsigned long long)(free_bytes >> 20));
    }
    return true;
}

bool backup_begin(struct backup *backup, const char *directory, unsigned keep) {
    char oldest[NAME_BYTES], error[300];
    memset(backup, 0, sizeof *backup);
    backup->directory = directory;
    backup->keep = keep;
    if (!path_make(backup->folder, directory, "backup") ||
        !path_make(backup->made, backup->folder, "chord.db.part") ||
        strlen(backup->folder) + NAME_BYTES >= BACKUP_PATH_BYTES) {
        return say(backup, BACKUP_FAILED, "the name of the folder is too long");
    }
    if (!private_folder(backup->folder, error, sizeof error)) {
        return say(backup, BACKUP_FAILED, "%s", error);
    }
    unlink(backup->made);
    int count = folder_look(backup->folder, "", oldest);
    if (count < 0) {
        return say(backup, BACKUP_FAILED, "%s: %s", backup->folder, strerror(errno));
    }
    if (keep == 0 && count >= BACKUP_KEEP_MAX) {
        return say(backup, BACKUP_REFUSED,
                   "%s has %d backups; move some away, or say how many to keep", backup->folder,
                   count);
    }
    return room_check(backup);
}

/* ---- the copy ---- */

/* Its only reader is the check, which opens it anew: what a crash leaves is removed. */
static bool copy_open(struct backup *backup, sqlite3 *from) {
    int rc = sqlite3_open_v2(backup->made, &backup->to,
                             SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOFOLLOW |
                                 SQLITE_OPEN_EXRESCODE,
                             NULL);
    if (rc == SQLITE_OK) {
        rc = sqlite3_exec(backup->to, "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF", NULL, NULL,
                          NULL);
    }
    if (rc == SQLITE_OK) {
        backup->copy = sqlite3_backup_init(backup->to, "main", from, "main");
        rc = sqlite3_extended_errcode(backup->to);
    }
    return rc == SQLITE_OK ||
           say(backup, BACKUP_FAILED, "%s cannot be made: %s", backup->made, sqlite3_errstr(rc));
}

bool backup_slice(struct backup *backup, sqlite3 *from) {
    uint64_t end_us = store_now_us() + SLICE_US;
    if (backup->to == NULL && !copy_open(backup, from)) {
        return false;
    }
    int rc;
    do {
        rc = sqlite3_backup_step(backup->copy, SLICE_PAGES);
    } while (rc == SQLITE_OK && store_now_us() < end_us);
    if (rc == SQLITE_OK && atomic_load(&backup->stop)) {
        return say(backup, BACKUP_FAILED, "the node stops");
    }
    if (rc == SQLITE_DONE) {
        backup->unix_ms = clock_unix_ms();
    } else if (rc != SQLITE_OK) {
        say(backup, BACKUP_FAILED, "%s cannot be made: %s", backup->made, sqlite3_errstr(rc));
    }
    return rc == SQLITE_OK;
}

void backup_leave(struct backup *backup) {
    sqlite3_backup_finish(backup->copy);
    backup->copy = NULL;
    int rc = sqlite3_close(backup->to);
    backup->to = NULL;
    if (backup->error == BACKUP_OK && (backup->unix_ms == 0 || rc != SQLITE_OK)) {
        say(backup, BACKUP_FAILED, "%s cannot be made: the store failed", backup->made);
    }
    if (backup->error != BACKUP_OK) {
        unlink(backup->made);
    }
}

/* ---- the check ---- */

static int on_work(void *backup) {
    return atomic_load(&((struct backup *)backup)->stop);
}

/* Which rc means the copy is not sound. */
static bool unsound(struct backup *backup, int rc, const char *found) {
    bool damaged = rc == SQLITE_CORRUPT || rc == SQLITE_NOTADB || rc == SQLITE_OK;
    return say(backup, damaged ? BACKUP_DAMAGED : BACKUP_FAILED,
               damaged ? "the copy is not sound (%s), so this node's database is not: chordctl "
                         "doctor; the ring repairs it, try again later"
                       : "the copy cannot be read: %s",
               found);
}

static bool structure_check(struct backup *backup, sqlite3 *db) {
    sqlite3_stmt *check = NULL;
    char found[100] = "";
    int rc = sqlite3_prepare_v2(db, "PRAGMA integrity_check(1)", -1, &check, NULL);
    rc = rc == SQLITE_OK ? sqlite3_step(check) : rc;
    if (rc == SQLITE_ROW) {
        snprintf(found, sizeof found, "%s", (const char *)sqlite3_column_text(check, 0));
        rc = SQLITE_OK;
    }
    sqlite3_finalize(check);
    return (rc == SQLITE_OK && strcmp(found, "ok") == 0) ||
           unsound(backup, rc & 0xff, rc == SQLITE_OK ? found : sqlite3_errstr(rc));
}

static bool rows_check(struct backup *backup, sqlite3 *db) {
    sqlite3_stmt *rows = NULL;
    uint64_t wrong = 0;
    int rc = sqlite3_prepare_v2(db, "SELECT " ROW_COLUMNS " FROM rows", -1, &rows, NULL);
    while (rc == SQLITE_OK && (rc = sqlite3_step(rows)) == SQLITE_ROW) {
        rc = SQLITE_OK;
        backup->rows++;
        wrong += row_wrong(rows) != 0;
    }
    sqlite3_finalize(rows);
    if (rc != SQLITE_DONE) {
        return unsound(backup, rc & 0xff, sqlite3_errstr(rc));
    }
    char found[60];
    snprintf(found, sizeof found, "%llu rows with a wrong checksum", (unsigned long long)wrong);
    return wrong == 0 || unsound(backup, SQLITE_OK, found);
}

/* As immutable, so that no log and no lock comes beside it. */
static bool contents_check(struct backup *backup) {
    char name[COPY_URI_BYTES];
    sqlite3 *db = NULL;
    bool sound = false;
    copy_immutable_name(backup->made, name);
    int rc = sqlite3_open_v2(name, &db, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, NULL);
    if (rc != SQLITE_OK) {
        unsound(backup, rc & 0xff, sqlite3_errstr(rc));
    } else {
        sqlite3_progress_handler(db, LOOK_STEPS, on_work, backup);
        sound = structure_check(backup, db) && rows_check(backup, db);
    }
    sqlite3_close(db);
    return sound;
}

static bool name_give(struct backup *backup) {
    time_t second = (time_t)(backup->unix_ms / 1000);
    struct tm utc;
    char name[NAME_BYTES + 40], text[40];
    gmtime_r(&second, &utc);
    strftime(text, sizeof text, "%Y%m%dT%H%M%S", &utc);
    snprintf(name, sizeof name, "chord-%s.%03uZ.db", text, (unsigned)(backup->unix_ms % 1000));
    backup->bytes = file_bytes(backup->folder, "chord.db.part");
    int error = !path_make(backup->path, backup->folder, name) ? ENAMETOOLONG
                : access(backup->path, F_OK) == 0
                    ? EEXIST
                    : copy_publish(backup->made, backup->path, backup->folder);
    return error == 0 ||
           say(backup, BACKUP_FAILED, "%s cannot be made: %s", backup->path, strerror(error));
}

void backup_check(struct backup *backup) {
    if (!contents_check(backup) || !name_give(backup)) {
        unlink(backup->made);
    } else if (backup->keep != 0) {
        remove_older(backup);
    }
}

/* SPDX-License-Identifier: MIT */
/* See store_copy.h. */
#include "store_copy.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int copy_make(sqlite3 *from, const char *path, sqlite3 **to) {
    int rc = sqlite3_open_v2(
        path, to, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_EXRESCODE, NULL);
    sqlite3_backup *backup =
        rc == SQLITE_OK ? sqlite3_backup_init(*to, "main", from, "main") : NULL;
    if (backup == NULL) {
        return rc != SQLITE_OK ? rc : sqlite3_extended_errcode(*to);
    }
    rc = sqlite3_backup_step(backup, -1);
    int finished = sqlite3_backup_finish(backup);
    return rc == SQLITE_DONE ? finished : rc;
}

void copy_immutable_name(const char *path, char name[COPY_URI_BYTES]) {
    static const char digits[] = "0123456789ABCDEF";
    size_t length = (size_t)snprintf(name, COPY_URI_BYTES, "file:");
    for (; *path != '\0' && length + 20 < COPY_URI_BYTES; path++) {
        if (strchr("?#%", *path) != NULL) {
            name[length++] = '%';
            name[length++] = digits[(unsigned char)*path >> 4];
            name[length++] = digits[(unsigned char)*path & 15];
        } else {
            name[length++] = *path;
        }
    }
    snprintf(name + length, COPY_URI_BYTES - length, "?immutable=1");
}

static bool sync_path(const char *path, int flags) {
    int file = open(path, flags | O_CLOEXEC);
    bool ok = file >= 0 && fsync(file) == 0;
    if (file >= 0) {
        close(file);
    }
    return ok;
}

int copy_publish(const char *made, const char *path, const char *directory) {
    errno = 0;
    bool ok = sync_path(made, O_RDWR) && rename(made, path) == 0 &&
              sync_path(directory, O_RDONLY | O_DIRECTORY);
    return ok ? 0 : errno;
}

/* ---- beside an upgrade ---- */

static void kept_name(const char *path, char name[COPY_PATH_BYTES], const char *end) {
    snprintf(name, COPY_PATH_BYTES, "%s.before-upgrade%s", path, end);
}

int copy_keep(sqlite3 *db, const char *path, const char *directory) {
    char made[COPY_PATH_BYTES], kept[COPY_PATH_BYTES];
    sqlite3 *copy = NULL;
    kept_name(path, made, ".part");
    kept_name(path, kept, "");
    unlink(made);
    int rc = copy_make(db, made, &copy);
    sqlite3_close(copy);
    if (rc == SQLITE_OK && copy_publish(made, kept, directory) != 0) {
        rc = SQLITE_IOERR;
    }
    if (rc != SQLITE_OK) {
        unlink(made);
    }
    return rc;
}

bool copy_kept(const char *path) {
    char kept[COPY_PATH_BYTES];
    kept_name(path, kept, "");
    return access(kept, F_OK) == 0;
}

bool copy_drop(const char *path, const char *directory) {
    char kept[COPY_PATH_BYTES];
    kept_name(path, kept, "");
    if (unlink(kept) != 0) {
        return errno == ENOENT;
    }
    return sync_path(directory, O_RDONLY | O_DIRECTORY);
}

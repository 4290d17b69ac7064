/* SPDX-License-Identifier: MIT */
/*
 * Whole copies of a database, and the one that is kept beside it while it is upgraded; private to
 * the store.
 */
#ifndef NODE_STORE_COPY_H
#define NODE_STORE_COPY_H

#include <sqlite3.h>
#include <stdbool.h>

enum { COPY_PATH_BYTES = 4096 + 40, COPY_URI_BYTES = 3 * COPY_PATH_BYTES };

/* Of an open database, into a new file that is then open as `*to`, also after an error (close it).
 * SQLite result codes. */
int copy_make(sqlite3 *from, const char *path, sqlite3 **to);
/* The URI by which SQLite opens a file of at most COPY_PATH_BYTES that nobody writes: without a log
 * or a lock beside it, and from a read-only file system. */
void copy_immutable_name(const char *path, char name[COPY_URI_BYTES]);
/* The file gets another name, and both are on disk. 0 or an errno. */
int copy_publish(const char *made, const char *path, const char *directory);

/* Keeps a copy of the database `path` as it is now: chord.db.before-upgrade. */
int copy_keep(sqlite3 *db, const char *path, const char *directory);
/* It must be gone before the upgraded file takes its first promise or row: from then on it would be
 * an old copy of a replica, and such a copy must never run. True: there is none now. */
bool copy_drop(const char *path, const char *directory);
bool copy_kept(const char *path);

#endif

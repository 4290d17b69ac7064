/* SPDX-License-Identifier: MIT */
/*
 * A copy of the database of a node that runs, in the folder `backup` beside it: chord-TIME.db, as
 * store_restore takes it. The store's thread makes it, a slice at a time between other jobs, over
 * the store's one connection: what is written meanwhile goes into both, so that it shows the moment
 * of its last slice. Another thread checks it and gives it its name.
 */
#ifndef NODE_STORE_BACKUP_H
#define NODE_STORE_BACKUP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    BACKUP_KEEP_MAX = 16, /* copies in the folder */
    BACKUP_ROOM_MB = 64,  /* of free disk that a copy leaves to the node */
    BACKUP_PATH_BYTES = 4096,
};

enum backup_error {
    BACKUP_OK = 0,
    BACKUP_REFUSED, /* no room, or too many copies; nothing was made */
    BACKUP_DAMAGED, /* the copy is not sound, so the database is not; it was removed */
    BACKUP_FAILED,  /* the file system or SQLite said no, or it was stopped */
};

struct backup {
    /* What became of it; the texts and numbers of a copy that is done. */
    enum backup_error error;
    char reason[BACKUP_PATH_BYTES + 200]; /* one sentence, unless it is done */
    char path[BACKUP_PATH_BYTES];
    uint64_t rows, bytes; /* all rows, with the tombstones; of the file */
    uint64_t unix_ms;     /* the moment that it shows */

    atomic_bool stop; /* any thread: end soon, with BACKUP_FAILED */

    /* Private. */
    const char *directory;
    unsigned keep;
    char folder[BACKUP_PATH_BYTES], made[BACKUP_PATH_BYTES];
    struct sqlite3 *to;
    struct sqlite3_backup *copy;
};

/* Of the database in `directory`, which lives as long. `keep`: 1 to BACKUP_KEEP_MAX, so many are
 * left when it is done, and the oldest go; 0: none goes, and one too many is refused. False: see
 * error. Removes what an interrupted one left. */
bool backup_begin(struct backup *backup, const char *directory, unsigned keep);

/* Store's thread: copies for some milliseconds. True: more is to come. */
bool backup_slice(struct backup *backup, struct sqlite3 *from);
/* Store's thread, once, after the last slice that it gets. Without all of them the copy is gone. */
void backup_leave(struct backup *backup);

/* Then, any thread, for as long as the file takes to be read: whether SQLite and each row's
 * checksum find it sound; its name; which older ones go. */
void backup_check(struct backup *backup);

#endif

/* SPDX-License-Identifier: MIT */
/* Makes a backup of a node's database into the database of a new replica. Knows no node and no
 * ring. */
#ifndef NODE_STORE_RESTORE_H
#define NODE_STORE_RESTORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum restore_error {
    RESTORE_OK = 0,
    RESTORE_NO_BACKUP, /* not there, or no sound database of a node */
    RESTORE_IN_USE,    /* a running node has the folder, or there is a database in it already */
    RESTORE_FAILED,    /* the file system or SQLite said no */
};

/* `directory` is made when missing. The backup is only read. `reason` gets a sentence on failure;
 * `rows` how many rows it brings as material for a learner. */
enum restore_error store_restore(const char *backup, const char *directory, uint64_t *rows,
                                 char *reason, size_t reason_bytes);

#endif

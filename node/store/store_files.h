/* SPDX-License-Identifier: MIT */
/*
 * Whether the database's files are still the ones that were opened. A file that was unlinked,
 * renamed or replaced takes writes and syncs without an error, and nobody finds them again. And how
 * much room there is beside them.
 */
#ifndef NODE_STORE_FILES_H
#define NODE_STORE_FILES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct store_file {
    const char *path;
    dev_t device;
    ino_t inode;
};

/* Remembers which file `path` is now; `path` outlives it. False: there is none. */
bool store_file_note(struct store_file *file, const char *path);
/* One stat, no I/O: the path leads to another file now, or to none. */
bool store_file_moved(const struct store_file *file);
/* Free bytes of the file system of `path`; UINT64_MAX: see errno. */
uint64_t store_path_free(const char *path);

#endif

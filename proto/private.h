/* SPDX-License-Identifier: MIT */
/*
 * Files and folders that belong to their owner alone: what every program asks before it puts data
 * somewhere or believes a secret. Rows, logs and keys must not be read by other users of a machine,
 * and a link that somebody else put into a folder must not be followed.
 */
#ifndef PROTO_PRIVATE_H
#define PROTO_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* First thing in main: whatever the process makes is 0700 or 0600. */
void private_umask(void);

/* Makes the folder (not its parents) when it is missing. False: `error` is one sentence with the
 * fix: it cannot be made or written, belongs to another user, or others may enter it. */
bool private_folder(const char *path, char *error, size_t error_size);

/* Before SQLite opens a database: its files are missing, or files of this user, and then others
 * cannot read them afterwards. False: `error` says that one is a link, or whose it is. */
bool private_database(const char *path, char *error, size_t error_size);

/* Opens for appending, made when missing; NULL and errno otherwise (ELOOP: it is a link). */
FILE *private_append(const char *path);

/* The first bytes_max bytes of a file, as they are. The file belongs to this user and only he may
 * read it, or to root, and then a group may.
 * 0; -EILSEQ: it begins with a byte order mark; -EPERM: others may read or change it; else -errno
 * of opening or reading. */
int private_read(const char *path, char *out, size_t bytes_max, size_t *bytes);

/* Whether a secret is what a person types to be done with it: few different characters, or a text
 * repeated. Whether one is good cannot be seen. */
bool private_secret_is_weak(const char *line, size_t count);

/* The first line of a file that private_read() would read, without its end, of bytes_min
 * to bytes_max bytes into `out`. 0; what private_read() says; -EINVAL: another length;
 * -EKEYREJECTED: it is weak. `out` is then as it was. */
int private_secret(const char *path, void *out, size_t bytes_min, size_t bytes_max, size_t *bytes);

/* What to say of a result of private_secret() other than 0: what is wrong, and the fix. */
const char *private_secret_error(int rc);

#endif

/* SPDX-License-Identifier: MIT */
/* The database's file: whose it is, how it is opened, upgraded, put aside. Private to the store. */
#ifndef NODE_STORE_DATABASE_H
#define NODE_STORE_DATABASE_H

#include "store_state.h"

enum { DATABASE_PATH_BYTES = 4096 };

struct database {
    const char *directory;
    char path[DATABASE_PATH_BYTES];
    sqlite3 *db;
    int lock;       /* -1: not taken */
    unsigned looks; /* of on_work, since database_work_begins */
    bool copy_kept; /* of before an upgrade: gone once the store serves (database_served) */
};

/* Makes the folder when it is missing and takes it; `directory` lives as long. database_release,
 * also after an error. */
enum store_error database_take(struct database *database, const char *directory, char *reason,
                               size_t reason_bytes);
void database_release(struct database *database);

/* Opens or creates, upgrades, and reads the state. SQLite result codes and STORE_UNKNOWN_FORM;
 * `found` then says more, unless it is empty. */
int database_open(struct database *database, struct store_state *state, struct store_found *found);
void database_close(struct database *database);
/* What follows is one piece of work. A sound file bounds how much it can be; where it is more,
 * pages stand in their tree many times, and SQLite's statement ends with SQLITE_INTERRUPT. */
void database_work_begins(struct database *database);
/* A damaged file, as SQLite or the bound above tells. */
bool database_damaged(int rc);
/* A closed one that SQLite cannot read any more. */
void database_put_aside(const struct database *database);

/* From now on others rely on what is written, and the copy made before the upgrade is outdated: it
 * is removed. */
void database_served(struct database *database);
/* STORE_UNKNOWN_SCHEMA, with the sentence. */
enum store_error database_unknown(const struct database *database, const struct store_found *found,
                                  char *reason, size_t reason_bytes);

#endif

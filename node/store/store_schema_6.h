/* SPDX-License-Identifier: MIT */
/*
 * Schemas 1 to 6, in which what is not a row was laid out by the compiler (x86-64 and arm64 agree).
 * Only an upgrade reads them and only a downgrade writes the last; private to the store.
 */
#ifndef NODE_STORE_SCHEMA_6_H
#define NODE_STORE_SCHEMA_6_H

#include "store_state.h"

/* SQLite result codes. The tables of schema 1..5 get the form of 6. */
int schema_6_raise(sqlite3 *db, int schema);
int schema_6_create(sqlite3 *db);
int schema_6_drop(sqlite3 *db);
int schema_6_read(sqlite3 *db, struct store_state *state, struct store_found *found);
int schema_6_write(sqlite3 *db, struct store_state *state);

#endif

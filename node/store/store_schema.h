/* SPDX-License-Identifier: MIT */
/* Which schema the database has, and how it gets another; private to the store. */
#ifndef NODE_STORE_SCHEMA_H
#define NODE_STORE_SCHEMA_H

#include "store_state.h"

/* A search in the rows' tree copies each row past which it comes that does not fit into a page. So
 * the value of a row with more than these bytes of key and value is in a table of its own. */
enum { STORE_INLINE_BYTES_MAX = 900 };

/* Before anything is written: SQLITE_OK for a file that this program may open, an empty one among
 * them (schema 0); STORE_UNKNOWN_FORM for one of a later version or of another program. */
int schema_check(sqlite3 *db, int *schema, struct store_found *found);
/* One transaction: all tables in the form of schema `to`, which is today's, or from today's one of
 * those before, down to STORE_SCHEMA_PREVIOUS. On an error nothing has changed. */
int schema_change(sqlite3 *db, int from, int to, struct store_found *found);

#endif

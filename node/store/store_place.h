/* SPDX-License-Identifier: MIT */
/* Whether a database file is where it was made; private to the store. */
#ifndef NODE_STORE_PLACE_H
#define NODE_STORE_PLACE_H

#include "store_state.h"

enum place_result { PLACE_OK, PLACE_COPY, PLACE_UNKNOWN };

/* Remembers, in the database and in `state`, that the node with the database `path` runs at
 * `address` now. `moved`: also a copy does. `reason` gets a sentence unless all is well. */
enum place_result place_take(sqlite3 *db, const char *path, const char *address, bool moved,
                             struct store_state *state, char *reason, size_t reason_bytes);

#endif

/* Whether a database file is where it was made; private to the store. */
#ifndef NODE_STORE_PLACE_H
#define NODE_STORE_PLACE_H

#include "store.h"
#include "store_meta.h"

enum place_result { PLACE_OK, PLACE_COPY, PLACE_UNKNOWN, PLACE_UNKNOWN_FORM };

/* Remembers that the node with the database `path` runs at `address` now. `moved`: also a copy
 * does. `reason` gets a sentence unless all is well; `found` with PLACE_UNKNOWN_FORM. */
enum place_result place_take(sqlite3 *db, const char *path, const char *address, bool moved,
                             struct store_former *former, struct store_found *found, char *reason,
                             size_t reason_bytes);

#endif

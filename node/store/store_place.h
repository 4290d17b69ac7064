/* Whether a database file is where it was made; private to the store. */
#ifndef NODE_STORE_PLACE_H
#define NODE_STORE_PLACE_H

#include "store.h"

#include <sqlite3.h>

enum place_result { PLACE_OK, PLACE_COPY, PLACE_UNKNOWN };

/* Remembers that the node with the database `path` runs at `address` now. `moved`: also a copy
 * does. `reason` gets a sentence unless all is well. */
enum place_result place_take(sqlite3 *db, const char *path, const char *address, bool moved,
                             struct store_former *former, char *reason, size_t reason_bytes);

/* store.c: values that the node keeps of itself. False: not there, or of another size. */
bool store_meta_get(sqlite3 *db, const char *name, void *bytes, size_t count);
int store_meta_put(sqlite3 *db, const char *name, const void *bytes, size_t count);

#endif

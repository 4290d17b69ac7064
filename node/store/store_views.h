/* The table of views as SQL; private to the store, on its thread. */
#ifndef NODE_STORE_VIEWS_H
#define NODE_STORE_VIEWS_H

#include "store.h"
#include "store_meta.h"

/* SQLite result codes. `schema` is the version that the file has; 0 = a new file. */
int views_open(sqlite3 *db, int schema);
/* Replaces the whole table by the job's views. */
int views_write(sqlite3 *db, const struct store_job *job);
/* free(*views), also after an error. */
int views_read(sqlite3 *db, struct chord_stored_view **views, size_t *count,
               struct store_found *found);

#endif

/*
 * Values that a node keeps of itself, each a record of bytes under a name; private to the store.
 *
 * A record that is there but cannot be read is never taken for one that is not there: the node
 * would start as a new one, with a promise forgotten.
 */
#ifndef NODE_STORE_META_H
#define NODE_STORE_META_H

#include <sqlite3.h>
#include <stddef.h>

/* Beside SQLite's own result codes, which leave this one out: what is stored is of no form that
 * this program knows. Nothing may be written then. */
enum { STORE_UNKNOWN_FORM = SQLITE_FORMAT };

/* A sentence's start that says what was found, for whoever has to decide. */
struct store_found {
    char text[200];
};

/* STORE_UNKNOWN_FORM, with words. */
int store_found_form(struct store_found *found, const char *record, size_t bytes);

/* SQLITE_OK, with exactly `count` bytes; SQLITE_NOTFOUND; STORE_UNKNOWN_FORM: of another size; or
 * SQLite's code. */
int store_meta_get(sqlite3 *db, const char *name, void *bytes, size_t count,
                   struct store_found *found);
int store_meta_put(sqlite3 *db, const char *name, const void *bytes, size_t count);

#endif

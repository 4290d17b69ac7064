/* SPDX-License-Identifier: MIT */
/*
 * All that the database holds beside its rows: what the node knows of itself, and its views.
 * Private to the store.
 *
 * A record that is there but cannot be read is never taken for one that is not there: the node
 * would start as a new one, with a promise forgotten.
 */
#ifndef NODE_STORE_STATE_H
#define NODE_STORE_STATE_H

#include "store_records.h"

#include <sqlite3.h>

/* Beside SQLite's own result codes, which leave this one out: what is stored is of no form that
 * this program knows. Nothing may be written then. */
enum { STORE_UNKNOWN_FORM = SQLITE_FORMAT };

/* The start of a sentence that says what was found, for the person who has to decide. */
struct store_found {
    char text[200];
};

struct store_state {
    bool has[RECORD_KINDS_END]; /* which of the next four there are */
    struct store_id id;
    struct chord_identity identity;
    struct store_place place;
    struct store_former former;
    struct chord_stored_view *views; /* free() it, also after an error */
    size_t views_count;
};

/* Where the value of a record lives. Not RECORD_VIEW. */
void *state_value(struct store_state *state, enum record_kind kind);
/* SQLITE_NOMEM, or a zeroed view more. */
int state_view_add(struct store_state *state, struct chord_stored_view **view);
/* STORE_UNKNOWN_FORM, with words, unless the state may be a node's: a store id, and with views an
 * identity. A file without any is new. */
int state_check(const struct store_state *state, struct store_found *found);

/* ---- as this schema has it. SQLite result codes. ---- */

int state_create(sqlite3 *db);
int state_drop(sqlite3 *db);
int state_read(sqlite3 *db, struct store_state *state, struct store_found *found);
int state_write(sqlite3 *db, const struct store_state *state);
int state_put(sqlite3 *db, enum record_kind kind, const void *value);
/* Replaces all views. */
int state_put_views(sqlite3 *db, const struct chord_stored_view *views, size_t count);

#endif

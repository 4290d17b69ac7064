/* SPDX-License-Identifier: MIT */
/*
 * See store_state.h. The table of views is small and always written whole, so that a decision about
 * two ranges is on disk for both or for neither.
 */
#include "store_state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *state_value(struct store_state *state, enum record_kind kind) {
    switch (kind) {
    case RECORD_STORE_ID:
        return &state->id;
    case RECORD_IDENTITY:
        return &state->identity;
    case RECORD_PLACE:
        return &state->place;
    case RECORD_FORMER:
        return &state->former;
    case RECORD_VIEW:
    case RECORD_KINDS_END:
        break;
    }
    return NULL;
}

int state_view_add(struct store_state *state, struct chord_stored_view **view) {
    struct chord_stored_view *grown =
        realloc(state->views, sizeof *state->views * (state->views_count + 1));
    if (grown == NULL) {
        return SQLITE_NOMEM;
    }
    state->views = grown;
    *view = &grown[state->views_count++];
    memset(*view, 0, sizeof **view);
    return SQLITE_OK;
}

/* ---- whether it can be one node's ---- */

static bool parameters_bounded(const struct chord_parameters *parameters) {
    return parameters->m >= CHORD_M_MIN && parameters->m <= CHORD_M_MAX && parameters->n >= 1 &&
           parameters->n <= CHORD_SUCCESSORS_MAX && parameters->replicas >= 1 &&
           parameters->replicas <= parameters->n + 1;
}

static bool range_bounded(const struct chord_range *range, unsigned m) {
    return id_valid(&range->lo, m) && id_valid(&range->hi, m);
}

/* Ids of 2^M or more are in no ring, and a checksum guards against disks only. NULL, or the name of
 * the record that has one, or parameters that no ring has. */
static const char *beyond_bounds(const struct store_state *state) {
    const struct chord_identity *identity = &state->identity;
    unsigned m = identity->parameters.m;
    if (state->has[RECORD_IDENTITY] &&
        (identity->incarnation == 0 || identity->incarnation > INT64_MAX)) {
        return record_name(RECORD_IDENTITY); /* each start adds to it */
    }
    if (m == 0) {
        return state->views_count > 0 ? record_name(RECORD_VIEW) : NULL;
    }
    bool bounded = parameters_bounded(&identity->parameters) && id_valid(&identity->id, m);
    for (uint16_t i = 0; i < identity->known_count && bounded; i++) {
        bounded = id_valid(&identity->known[i].id, m);
    }
    if (!bounded) {
        return record_name(RECORD_IDENTITY);
    }
    for (size_t i = 0; i < state->views_count; i++) {
        const struct chord_stored_view *view = &state->views[i];
        if (!range_bounded(&view->view.range, m) ||
            (view->acceptor.accepted && !range_bounded(&view->acceptor.next.range, m))) {
            return record_name(RECORD_VIEW);
        }
    }
    return NULL;
}

int state_check(const struct store_state *state, struct store_found *found) {
    bool member = state->has[RECORD_IDENTITY] || state->views_count > 0;
    const char *missing = state->views_count > 0 && !state->has[RECORD_IDENTITY] ? "identity"
                          : member && !state->has[RECORD_STORE_ID]               ? "store_id"
                                                                                 : NULL;
    const char *wrong = missing == NULL ? beyond_bounds(state) : NULL;
    if (missing == NULL && wrong == NULL) {
        return SQLITE_OK;
    }
    if (missing != NULL) {
        snprintf(found->text, sizeof found->text, "the record \"%s\" is missing", missing);
    } else {
        snprintf(found->text, sizeof found->text,
                 "the record \"%s\" has a field that is out of its bounds", wrong);
    }
    return STORE_UNKNOWN_FORM;
}

/* ---- tables ---- */

/* The index is for programs older than this schema: because of its name they end with an error
 * before they write anything. */
int state_create(sqlite3 *db) {
    return sqlite3_exec(
        db,
        "CREATE TABLE records (kind INTEGER PRIMARY KEY, record BLOB NOT NULL) STRICT;"
        "CREATE INDEX meta ON records (kind);"
        "CREATE TABLE views (record BLOB NOT NULL) STRICT;",
        NULL, NULL, NULL);
}

int state_drop(sqlite3 *db) {
    return sqlite3_exec(db, "DROP TABLE records; DROP TABLE views;", NULL, NULL, NULL);
}

/* ---- read ---- */

/* The record in column 0. */
static int read_record(sqlite3_stmt *statement, enum record_kind kind, void *value,
                       struct store_found *found) {
    size_t count = (size_t)sqlite3_column_bytes(statement, 0);
    const uint8_t *bytes = sqlite3_column_blob(statement, 0);
    switch (record_decode(kind, value, bytes, count)) {
    case RECORD_OK:
        return SQLITE_OK;
    case RECORD_NEWER:
        snprintf(found->text, sizeof found->text,
                 "the record \"%s\" (%zu bytes) has version %u, and this program knows %d",
                 record_name(kind), count, bytes[0], RECORD_VERSION);
        break;
    case RECORD_DAMAGED:
        snprintf(found->text, sizeof found->text,
                 "the record \"%s\" (%zu bytes) is not what was written: its checksum or a field "
                 "is wrong",
                 record_name(kind), count);
        break;
    }
    return STORE_UNKNOWN_FORM;
}

static int read_records(sqlite3 *db, struct store_state *state, struct store_found *found) {
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v2(db, "SELECT record, kind FROM records", -1, &statement, NULL);
    while (rc == SQLITE_OK && (rc = sqlite3_step(statement)) == SQLITE_ROW) {
        int64_t kind = sqlite3_column_int64(statement, 1);
        if (kind < RECORD_STORE_ID || kind > RECORD_FORMER) {
            snprintf(found->text, sizeof found->text, "there is a record of kind %lld",
                     (long long)kind);
            rc = STORE_UNKNOWN_FORM;
            break;
        }
        rc = read_record(statement, (enum record_kind)kind,
                         state_value(state, (enum record_kind)kind), found);
        state->has[kind] = true;
    }
    sqlite3_finalize(statement);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int read_views(sqlite3 *db, struct store_state *state, struct store_found *found) {
    sqlite3_stmt *statement = NULL;
    struct chord_stored_view *view;
    int rc =
        sqlite3_prepare_v2(db, "SELECT record FROM views ORDER BY rowid", -1, &statement, NULL);
    while (rc == SQLITE_OK && (rc = sqlite3_step(statement)) == SQLITE_ROW) {
        rc = state_view_add(state, &view);
        rc = rc == SQLITE_OK ? read_record(statement, RECORD_VIEW, view, found) : rc;
    }
    sqlite3_finalize(statement);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

int state_read(sqlite3 *db, struct store_state *state, struct store_found *found) {
    memset(state, 0, sizeof *state);
    int rc = read_records(db, state, found);
    rc = rc == SQLITE_OK ? read_views(db, state, found) : rc;
    return rc == SQLITE_OK ? state_check(state, found) : rc;
}

/* ---- written ---- */

static int put(sqlite3_stmt *statement, enum record_kind kind, const void *value) {
    uint8_t bytes[RECORD_BYTES_MAX];
    sqlite3_bind_blob64(statement, 1, bytes, record_encode(kind, value, bytes), SQLITE_TRANSIENT);
    int rc = sqlite3_step(statement);
    return rc == SQLITE_DONE ? sqlite3_reset(statement) : rc;
}

int state_put(sqlite3 *db, enum record_kind kind, const void *value) {
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v2(db, "INSERT OR REPLACE INTO records (record, kind) VALUES (?1, ?2)",
                                -1, &statement, NULL);
    if (rc == SQLITE_OK) {
        sqlite3_bind_int(statement, 2, (int)kind);
        rc = put(statement, kind, value);
    }
    sqlite3_finalize(statement);
    return rc;
}

int state_put_views(sqlite3 *db, const struct chord_stored_view *views, size_t count) {
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_exec(db, "DELETE FROM views", NULL, NULL, NULL);
    if (rc == SQLITE_OK) {
        rc = sqlite3_prepare_v2(db, "INSERT INTO views (record) VALUES (?1)", -1, &statement, NULL);
    }
    for (size_t i = 0; i < count && rc == SQLITE_OK; i++) {
        rc = put(statement, RECORD_VIEW, &views[i]);
    }
    sqlite3_finalize(statement);
    return rc;
}

int state_write(sqlite3 *db, const struct store_state *state) {
    struct store_state copy = *state; /* for state_value; the views are shared */
    int rc = SQLITE_OK;
    for (enum record_kind kind = RECORD_STORE_ID; kind <= RECORD_FORMER && rc == SQLITE_OK;
         kind++) {
        rc = state->has[kind] ? state_put(db, kind, state_value(&copy, kind)) : SQLITE_OK;
    }
    return rc == SQLITE_OK ? state_put_views(db, state->views, state->views_count) : rc;
}

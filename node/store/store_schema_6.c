/* SPDX-License-Identifier: MIT */
/*
 * See store_schema_6.h. Records were structs as they lie in memory: numbers of the machine's order
 * (little-endian), texts in arrays of fixed size, holes where the next number is aligned.
 */
#include "store_schema_6.h"

#include "record_walk.h"

#include <stdio.h>
#include <string.h>

enum {
    IDENTITY_BYTES = 3760,
    PLACE_BYTES = 1208,
    FORMER_BYTES = 514,
    MEMBER_BYTES = 80,
    MERGE_BYTES = 32,
    BLOB_BYTES_MAX = IDENTITY_BYTES,
};

#define VIEW_COLUMNS "lo, hi, epoch, leader, settled, members, merges, cut, recovered, floor, moved"
enum { VIEW_COLUMNS_COUNT = 11 };

#define CREATE_ACCEPTED                                                                            \
    "CREATE TABLE accepted (lo BLOB, hi BLOB, epoch INTEGER, leader INTEGER,"                      \
    " settled INTEGER, members BLOB, merges BLOB, cut INTEGER, recovered INTEGER,"                 \
    " of_lo BLOB, of_hi BLOB, ballot INTEGER, other_epoch INTEGER, floor INTEGER,"                 \
    " moved INTEGER) STRICT;"

/* ---- tables ---- */

static bool has_column(sqlite3 *db, const char *column) {
    return sqlite3_table_column_metadata(db, NULL, "rows", column, NULL, NULL, NULL, NULL, NULL) ==
           SQLITE_OK;
}

int schema_6_raise(sqlite3 *db, int schema) {
    int rc = SQLITE_OK;
    if (schema == 1) {
        rc = sqlite3_exec(db,
                          "ALTER TABLE views ADD COLUMN merges BLOB;"
                          "ALTER TABLE views ADD COLUMN cut INTEGER NOT NULL DEFAULT 0;"
                          "ALTER TABLE views ADD COLUMN recovered INTEGER NOT NULL DEFAULT 0;"
                          "ALTER TABLE views ADD COLUMN learning INTEGER NOT NULL DEFAULT 0;"
                          "ALTER TABLE views ADD COLUMN promised INTEGER NOT NULL DEFAULT 0;",
                          NULL, NULL, NULL);
    }
    if (rc == SQLITE_OK && schema == 2) {
        rc = sqlite3_exec(db, "ALTER TABLE accepted ADD COLUMN floor INTEGER NOT NULL DEFAULT 0;",
                          NULL, NULL, NULL);
    }
    if (rc == SQLITE_OK && (schema == 1 || schema == 2)) {
        rc = sqlite3_exec(db, "ALTER TABLE views ADD COLUMN floor INTEGER NOT NULL DEFAULT 0;",
                          NULL, NULL, NULL);
    }
    if (rc == SQLITE_OK && schema >= 1 && schema <= 3) {
        rc =
            sqlite3_exec(db, "ALTER TABLE views ADD COLUMN equal_epoch INTEGER NOT NULL DEFAULT 0;",
                         NULL, NULL, NULL);
    }
    if (rc == SQLITE_OK && schema >= 2 && schema <= 5) {
        rc = sqlite3_exec(db, "ALTER TABLE accepted ADD COLUMN moved INTEGER NOT NULL DEFAULT 0;",
                          NULL, NULL, NULL);
    }
    if (rc == SQLITE_OK && schema >= 1 && schema <= 5) {
        rc = sqlite3_exec(db, "ALTER TABLE views ADD COLUMN moved INTEGER NOT NULL DEFAULT 0;",
                          NULL, NULL, NULL);
    }
    if (rc == SQLITE_OK && schema == 1) {
        rc = sqlite3_exec(db, CREATE_ACCEPTED, NULL, NULL, NULL);
    }
    /* Files before version 5 do not know what a row's writer was told. */
    if (rc == SQLITE_OK && has_column(db, "key") && !has_column(db, "existed")) {
        rc = sqlite3_exec(db, "ALTER TABLE rows ADD COLUMN existed INTEGER NOT NULL DEFAULT 0",
                          NULL, NULL, NULL);
    }
    return rc;
}

int schema_6_create(sqlite3 *db) {
    return sqlite3_exec(
        db,
        "CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT;"
        "CREATE TABLE views (lo BLOB, hi BLOB, epoch INTEGER, leader INTEGER,"
        " settled INTEGER, members BLOB, merges BLOB, cut INTEGER, recovered INTEGER,"
        " learning INTEGER, promised INTEGER, floor INTEGER, equal_epoch INTEGER,"
        " moved INTEGER) STRICT;" CREATE_ACCEPTED,
        NULL, NULL, NULL);
}

int schema_6_drop(sqlite3 *db) {
    return sqlite3_exec(db, "DROP TABLE meta; DROP TABLE views; DROP TABLE accepted;", NULL, NULL,
                        NULL);
}

/* ---- structs as they lay in memory ---- */

static void walk_array(struct record_walk *walk, char *text, size_t size) {
    char array[1024] = {0};
    size_t length = walk->reading ? 0 : strnlen(text, size - 1);
    memcpy(array, text, length);
    walk_bytes(walk, array, size);
    if (walk->reading) {
        length = strnlen(array, size);
        walk->failed = walk->failed || length == size;
        memset(text, 0, size);
        memcpy(text, array, walk->failed ? 0 : length);
    }
}

static void walk_identity(struct record_walk *walk, void *value) {
    struct chord_identity *identity = value;
    struct chord_parameters *parameters = &identity->parameters;
    walk_u64(walk, &identity->incarnation);
    walk_u32(walk, &identity->salt);
    walk_bytes(walk, identity->id.bytes, CHORD_ID_BYTES);
    walk_bytes(walk, parameters->ring_id, CHORD_RING_ID_BYTES);
    walk_u32(walk, &parameters->m);
    walk_u32(walk, &parameters->n);
    walk_u32(walk, &parameters->replicas);
    walk_flag(walk, &identity->formed);
    walk_u8(walk, &identity->left, CHORD_LEFT_LAST);
    walk_u16(walk, &identity->known_count, CHORD_REPLICAS_MAX);
    for (int i = 0; i < CHORD_REPLICAS_MAX; i++) {
        struct chord_peer spare = {0}; /* beyond the count a struct may hold anything */
        struct chord_peer *peer = i < identity->known_count ? &identity->known[i] : &spare;
        bool failed = walk->failed;
        walk_bytes(walk, peer->id.bytes, CHORD_ID_BYTES);
        walk_bytes(walk, peer->store_id, CHORD_STORE_ID_BYTES);
        walk_gap(walk, 4);
        walk_u64(walk, &peer->incarnation);
        walk_array(walk, peer->address, CHORD_ADDRESS_BYTES);
        walk->failed = peer == &spare ? failed : walk->failed;
    }
}

static void walk_place(struct record_walk *walk, void *value) {
    struct store_place *place = value;
    walk_array(walk, place->machine, sizeof place->machine);
    walk_u64(walk, &place->inode);
    walk_u64(walk, &place->birth_ns);
    walk_array(walk, place->host, sizeof place->host);
    walk_array(walk, place->path, sizeof place->path);
    walk_array(walk, place->address, sizeof place->address);
}

static void walk_former(struct record_walk *walk, void *value) {
    struct store_former *former = value;
    walk_u16(walk, &former->count, CHORD_FORMER_MAX);
    for (int i = 0; i < CHORD_FORMER_MAX; i++) {
        struct chord_address spare = {{0}};
        struct chord_address *item = i < former->count ? &former->items[i] : &spare;
        walk_array(walk, item->text, CHORD_ADDRESS_BYTES);
    }
}

static void walk_store_id(struct record_walk *walk, void *value) {
    struct store_id *id = value;
    walk_bytes(walk, id->bytes, sizeof id->bytes);
}

static const struct {
    size_t bytes;
    void (*walk)(struct record_walk *walk, void *value);
} forms[] = {
    [RECORD_STORE_ID] = {CHORD_STORE_ID_BYTES, walk_store_id},
    [RECORD_IDENTITY] = {IDENTITY_BYTES, walk_identity},
    [RECORD_PLACE] = {PLACE_BYTES, walk_place},
    [RECORD_FORMER] = {FORMER_BYTES, walk_former},
};

static int unknown(struct store_found *found, const char *record, size_t bytes) {
    snprintf(found->text, sizeof found->text,
             "the record \"%s\" has %zu bytes of a form that this program does not know", record,
             bytes);
    return STORE_UNKNOWN_FORM;
}

/* A walk over what a column has. */
static struct record_walk reading(sqlite3_stmt *statement, int column) {
    return (struct record_walk){.bytes =
                                    (uint8_t *)(uintptr_t)sqlite3_column_blob(statement, column),
                                .size = (size_t)sqlite3_column_bytes(statement, column),
                                .reading = true};
}

/* ---- views ---- */

static void walk_members(struct record_walk *walk, struct chord_view *view) {
    for (uint16_t i = 0; i < view->members_count; i++) {
        walk_bytes(walk, view->members[i].store_id, CHORD_STORE_ID_BYTES);
        walk_array(walk, view->members[i].address, CHORD_ADDRESS_BYTES);
    }
}

static void walk_merges(struct record_walk *walk, struct chord_merges *merges) {
    for (uint16_t i = 0; i < merges->count; i++) {
        walk_u64(walk, &merges->items[i].epoch);
        walk_bytes(walk, merges->items[i].lo.bytes, CHORD_ID_BYTES);
        walk_gap(walk, 4);
    }
}

static void bind_id(sqlite3_stmt *statement, int column, const struct chord_id *id) {
    sqlite3_bind_blob(statement, column, id->bytes, CHORD_ID_BYTES, SQLITE_TRANSIENT);
}

static void bind_view(sqlite3_stmt *statement, struct chord_view *view) {
    uint8_t bytes[MEMBER_BYTES * CHORD_REPLICAS_MAX];
    struct record_walk members = {.bytes = bytes, .size = sizeof bytes}, merges = members;
    bind_id(statement, 1, &view->range.lo);
    bind_id(statement, 2, &view->range.hi);
    sqlite3_bind_int64(statement, 3, (int64_t)view->epoch);
    sqlite3_bind_int(statement, 4, view->leader);
    sqlite3_bind_int(statement, 5, view->settled);
    walk_members(&members, view);
    sqlite3_bind_blob64(statement, 6, bytes, members.at, SQLITE_TRANSIENT);
    walk_merges(&merges, &view->merges);
    sqlite3_bind_blob64(statement, 7, bytes, merges.at, SQLITE_TRANSIENT);
    sqlite3_bind_int(statement, 8, view->cut);
    sqlite3_bind_int(statement, 9, view->recovered);
    sqlite3_bind_int64(statement, 10, (int64_t)view->floor);
    sqlite3_bind_int(statement, 11, view->moved);
}

static bool read_id(sqlite3_stmt *statement, int column, struct chord_id *id) {
    struct record_walk walk = reading(statement, column);
    walk_bytes(&walk, id->bytes, CHORD_ID_BYTES);
    return !walk.failed && walk.at == walk.size;
}

static int read_view(sqlite3_stmt *statement, struct chord_view *view, const char *table,
                     struct store_found *found) {
    struct record_walk members = reading(statement, 5), merges = reading(statement, 6);
    memset(view, 0, sizeof *view);
    view->epoch = (uint64_t)sqlite3_column_int64(statement, 2);
    view->leader = (uint16_t)sqlite3_column_int(statement, 3);
    view->settled = sqlite3_column_int(statement, 4) != 0;
    view->cut = sqlite3_column_int(statement, 7) != 0;
    view->recovered = sqlite3_column_int(statement, 8) != 0;
    view->floor = (uint64_t)sqlite3_column_int64(statement, 9);
    view->moved = sqlite3_column_int(statement, 10) != 0;
    if (members.size <= sizeof view->members && merges.size <= MERGE_BYTES * CHORD_MERGES_MAX) {
        view->members_count = (uint16_t)(members.size / MEMBER_BYTES);
        view->merges.count = (uint16_t)(merges.size / MERGE_BYTES);
        walk_members(&members, view);
        walk_merges(&merges, &view->merges);
    }
    bool ok = read_id(statement, 0, &view->range.lo) && read_id(statement, 1, &view->range.hi) &&
              !members.failed && members.at == members.size && !merges.failed &&
              merges.at == merges.size && view->leader < view->members_count;
    return ok ? SQLITE_OK : unknown(found, table, members.size + merges.size);
}

/* ---- read ---- */

static int read_meta(sqlite3 *db, enum record_kind kind, struct store_state *state,
                     struct store_found *found) {
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v2(db, "SELECT value FROM meta WHERE name = ?1", -1, &statement, NULL);
    if (rc == SQLITE_OK) {
        sqlite3_bind_text(statement, 1, record_name(kind), -1, SQLITE_STATIC);
        rc = sqlite3_step(statement);
    }
    if (rc == SQLITE_ROW) {
        struct record_walk walk = reading(statement, 0);
        forms[kind].walk(&walk, state_value(state, kind));
        state->has[kind] = !walk.failed && walk.size == forms[kind].bytes;
        rc = state->has[kind] ? SQLITE_DONE : unknown(found, record_name(kind), walk.size);
    }
    sqlite3_finalize(statement);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int read_views(sqlite3 *db, struct store_state *state, struct store_found *found) {
    sqlite3_stmt *statement = NULL;
    struct chord_stored_view *stored;
    int rc = sqlite3_prepare_v2(
        db, "SELECT " VIEW_COLUMNS ", learning, promised, equal_epoch FROM views", -1, &statement,
        NULL);
    while (rc == SQLITE_OK && (rc = sqlite3_step(statement)) == SQLITE_ROW) {
        rc = state_view_add(state, &stored);
        rc = rc == SQLITE_OK ? read_view(statement, &stored->view, "views", found) : rc;
        if (rc == SQLITE_OK) {
            stored->learning = sqlite3_column_int(statement, VIEW_COLUMNS_COUNT) != 0;
            stored->acceptor.promised =
                (uint64_t)sqlite3_column_int64(statement, VIEW_COLUMNS_COUNT + 1);
            stored->equal_epoch = (uint64_t)sqlite3_column_int64(statement, VIEW_COLUMNS_COUNT + 2);
        }
    }
    sqlite3_finalize(statement);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static struct chord_stored_view *find(struct store_state *state, const struct chord_range *range) {
    for (size_t i = 0; i < state->views_count; i++) {
        struct chord_range *own = &state->views[i].view.range;
        if (id_equal(&own->lo, &range->lo) && id_equal(&own->hi, &range->hi)) {
            return &state->views[i];
        }
    }
    return NULL;
}

static int read_accepted(sqlite3 *db, struct store_state *state, struct store_found *found) {
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v2(
        db, "SELECT " VIEW_COLUMNS ", of_lo, of_hi, ballot, other_epoch FROM accepted", -1,
        &statement, NULL);
    while (rc == SQLITE_OK && (rc = sqlite3_step(statement)) == SQLITE_ROW) {
        struct chord_range of;
        bool ok = read_id(statement, VIEW_COLUMNS_COUNT, &of.lo) &&
                  read_id(statement, VIEW_COLUMNS_COUNT + 1, &of.hi);
        struct chord_stored_view *stored = ok ? find(state, &of) : NULL;
        rc = stored != NULL ? read_view(statement, &stored->acceptor.next, "accepted", found)
                            : unknown(found, "accepted", 0);
        if (rc == SQLITE_OK) {
            stored->acceptor.accepted = true;
            stored->acceptor.ballot =
                (uint64_t)sqlite3_column_int64(statement, VIEW_COLUMNS_COUNT + 2);
            stored->acceptor.other_epoch =
                (uint64_t)sqlite3_column_int64(statement, VIEW_COLUMNS_COUNT + 3);
        }
    }
    sqlite3_finalize(statement);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

int schema_6_read(sqlite3 *db, struct store_state *state, struct store_found *found) {
    int rc = SQLITE_OK;
    memset(state, 0, sizeof *state);
    for (enum record_kind kind = RECORD_STORE_ID; kind <= RECORD_FORMER && rc == SQLITE_OK;
         kind++) {
        rc = read_meta(db, kind, state, found);
    }
    rc = rc == SQLITE_OK ? read_views(db, state, found) : rc;
    rc = rc == SQLITE_OK ? read_accepted(db, state, found) : rc;
    return rc == SQLITE_OK ? state_check(state, found) : rc;
}

/* ---- written ---- */

static int run(sqlite3_stmt *statement) {
    int rc = sqlite3_step(statement);
    return rc == SQLITE_DONE ? sqlite3_reset(statement) : rc;
}

static int write_meta(sqlite3 *db, struct store_state *state) {
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v2(db, "INSERT INTO meta VALUES (?1, ?2)", -1, &statement, NULL);
    for (enum record_kind kind = RECORD_STORE_ID; kind <= RECORD_FORMER && rc == SQLITE_OK;
         kind++) {
        uint8_t bytes[BLOB_BYTES_MAX];
        struct record_walk walk = {.bytes = bytes, .size = forms[kind].bytes};
        if (state->has[kind]) {
            forms[kind].walk(&walk, state_value(state, kind));
            sqlite3_bind_text(statement, 1, record_name(kind), -1, SQLITE_STATIC);
            sqlite3_bind_blob64(statement, 2, bytes, walk.size, SQLITE_TRANSIENT);
            rc = walk.failed || walk.at != walk.size ? SQLITE_INTERNAL : run(statement);
        }
    }
    sqlite3_finalize(statement);
    return rc;
}

static int write_accepted(sqlite3_stmt *statement, struct chord_stored_view *stored) {
    bind_view(statement, &stored->acceptor.next);
    bind_id(statement, VIEW_COLUMNS_COUNT + 1, &stored->view.range.lo);
    bind_id(statement, VIEW_COLUMNS_COUNT + 2, &stored->view.range.hi);
    sqlite3_bind_int64(statement, VIEW_COLUMNS_COUNT + 3, (int64_t)stored->acceptor.ballot);
    sqlite3_bind_int64(statement, VIEW_COLUMNS_COUNT + 4, (int64_t)stored->acceptor.other_epoch);
    return run(statement);
}

static int write_views(sqlite3 *db, struct store_state *state) {
    sqlite3_stmt *view = NULL, *accepted = NULL;
    int rc =
        sqlite3_prepare_v2(db,
                           "INSERT INTO views (" VIEW_COLUMNS ", learning, promised, equal_epoch)"
                           " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
                           -1, &view, NULL);
    if (rc == SQLITE_OK) {
        rc = sqlite3_prepare_v2(
            db,
            "INSERT INTO accepted (" VIEW_COLUMNS ", of_lo, of_hi, ballot, other_epoch)"
            " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
            -1, &accepted, NULL);
    }
    for (size_t i = 0; i < state->views_count && rc == SQLITE_OK; i++) {
        struct chord_stored_view *stored = &state->views[i];
        bind_view(view, &stored->view);
        sqlite3_bind_int(view, VIEW_COLUMNS_COUNT + 1, stored->learning);
        sqlite3_bind_int64(view, VIEW_COLUMNS_COUNT + 2, (int64_t)stored->acceptor.promised);
        sqlite3_bind_int64(view, VIEW_COLUMNS_COUNT + 3, (int64_t)stored->equal_epoch);
        rc = run(view);
        if (rc == SQLITE_OK && stored->acceptor.accepted) {
            rc = write_accepted(accepted, stored);
        }
    }
    sqlite3_finalize(view);
    sqlite3_finalize(accepted);
    return rc;
}

int schema_6_write(sqlite3 *db, struct store_state *state) {
    int rc = write_meta(db, state);
    return rc == SQLITE_OK ? write_views(db, state) : rc;
}

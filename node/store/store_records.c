/* SPDX-License-Identifier: MIT */
/* See store_records.h. */
#include "store_records.h"

#include "record_walk.h"
#include "xxh3.h"

#include <stdlib.h>
#include <string.h>

/* ---- the fields of each record, in their order on disk ---- */

static void walk_id(struct record_walk *walk, struct chord_id *id) {
    walk_bytes(walk, id->bytes, sizeof id->bytes);
}

static void walk_address(struct record_walk *walk, char address[CHORD_ADDRESS_BYTES]) {
    walk_text(walk, address, CHORD_ADDRESS_BYTES);
}

static void walk_store_id(struct record_walk *walk, void *value) {
    struct store_id *id = value;
    walk_bytes(walk, id->bytes, sizeof id->bytes);
}

static void walk_peer(struct record_walk *walk, struct chord_peer *peer) {
    walk_id(walk, &peer->id);
    walk_bytes(walk, peer->store_id, sizeof peer->store_id);
    walk_u64(walk, &peer->incarnation);
    walk_address(walk, peer->address);
}

static void walk_identity(struct record_walk *walk, void *value) {
    struct chord_identity *identity = value;
    walk_u64(walk, &identity->incarnation);
    walk_u32(walk, &identity->salt);
    walk_id(walk, &identity->id);
    walk_bytes(walk, identity->parameters.ring_id, sizeof identity->parameters.ring_id);
    walk_u32(walk, &identity->parameters.m);
    walk_u32(walk, &identity->parameters.n);
    walk_u32(walk, &identity->parameters.replicas);
    walk_flag(walk, &identity->formed);
    walk_u8(walk, &identity->left, CHORD_LEFT_LAST);
    walk_u16(walk, &identity->known_count, CHORD_REPLICAS_MAX);
    for (uint16_t i = 0; i < identity->known_count; i++) {
        walk_peer(walk, &identity->known[i]);
    }
}

static void walk_place(struct record_walk *walk, void *value) {
    struct store_place *place = value;
    walk_text(walk, place->machine, sizeof place->machine);
    walk_u64(walk, &place->inode);
    walk_u64(walk, &place->birth_ns);
    walk_text(walk, place->host, sizeof place->host);
    walk_text(walk, place->path, sizeof place->path);
    walk_address(walk, place->address);
}

static void walk_former(struct record_walk *walk, void *value) {
    struct store_former *former = value;
    walk_u16(walk, &former->count, CHORD_FORMER_MAX);
    for (uint16_t i = 0; i < former->count; i++) {
        walk_address(walk, former->items[i].text);
    }
}

static void walk_chord_view(struct record_walk *walk, struct chord_view *view) {
    walk_id(walk, &view->range.lo);
    walk_id(walk, &view->range.hi);
    walk_u64(walk, &view->epoch);
    walk_u64(walk, &view->floor);
    walk_flag(walk, &view->settled);
    walk_flag(walk, &view->moved);
    walk_flag(walk, &view->recovered);
    walk_flag(walk, &view->cut);
    walk_u16(walk, &view->merges.count, CHORD_MERGES_MAX);
    for (uint16_t i = 0; i < view->merges.count; i++) {
        walk_u64(walk, &view->merges.items[i].epoch);
        walk_id(walk, &view->merges.items[i].lo);
    }
    walk_u16(walk, &view->members_count, CHORD_REPLICAS_MAX);
    for (uint16_t i = 0; i < view->members_count; i++) {
        walk_bytes(walk, view->members[i].store_id, sizeof view->members[i].store_id);
        walk_address(walk, view->members[i].address);
    }
    walk_u16(walk, &view->leader, CHORD_REPLICAS_MAX);
    walk->failed = walk->failed || view->leader >= view->members_count;
}

static void walk_stored_view(struct record_walk *walk, void *value) {
    struct chord_stored_view *stored = value;
    struct chord_acceptor *acceptor = &stored->acceptor;
    walk_chord_view(walk, &stored->view);
    walk_flag(walk, &stored->learning);
    walk_u64(walk, &stored->equal_epoch);
    walk_u64(walk, &acceptor->promised);
    walk_flag(walk, &acceptor->accepted);
    if (acceptor->accepted) {
        walk_u64(walk, &acceptor->ballot);
        walk_u64(walk, &acceptor->other_epoch);
        walk_chord_view(walk, &acceptor->next);
    }
}

/* ---- one record ---- */

union record_value {
    struct store_id store_id;
    struct chord_identity identity;
    struct store_place place;
    struct store_former former;
    struct chord_stored_view view;
};

static const struct record_form {
    const char *name;
    size_t value_bytes;
    void (*walk)(struct record_walk *walk, void *value);
} forms[RECORD_KINDS_END] = {
    [RECORD_STORE_ID] = {"store_id", sizeof(struct store_id), walk_store_id},
    [RECORD_IDENTITY] = {"identity", sizeof(struct chord_identity), walk_identity},
    [RECORD_PLACE] = {"place", sizeof(struct store_place), walk_place},
    [RECORD_FORMER] = {"former", sizeof(struct store_former), walk_former},
    [RECORD_VIEW] = {"view", sizeof(struct chord_stored_view), walk_stored_view},
};

const char *record_name(enum record_kind kind) {
    return forms[kind].name;
}

size_t record_value_bytes(enum record_kind kind) {
    return forms[kind].value_bytes;
}

/* Another one for each kind: a record in the wrong place is a damaged one. */
static uint64_t checksum(enum record_kind kind, const uint8_t *bytes, size_t count) {
    return XXH3_64bits_withSeed(bytes, count, (XXH64_hash_t)kind);
}

size_t record_encode(enum record_kind kind, const void *value, uint8_t bytes[RECORD_BYTES_MAX]) {
    union record_value copy; /* a walk that writes only reads it, but its type says both */
    struct record_walk walk = {.bytes = bytes, .size = RECORD_BYTES_MAX};
    uint8_t version = RECORD_VERSION;
    memcpy(&copy, value, forms[kind].value_bytes);
    walk_u8(&walk, &version, UINT8_MAX);
    forms[kind].walk(&walk, &copy);
    uint64_t sum = walk.failed ? 0 : checksum(kind, bytes, walk.at);
    walk_u64(&walk, &sum);
    if (walk.failed) {
        abort(); /* our own bug: what could not be read again must not be written */
    }
    return walk.at;
}

enum record_error record_decode(enum record_kind kind, void *value, const uint8_t *bytes,
                                size_t count) {
    uint64_t sum = 0;
    uint8_t version = 0;
    memset(value, 0, forms[kind].value_bytes);
    if (count < sizeof version + sizeof sum || count > RECORD_BYTES_MAX) {
        return RECORD_DAMAGED;
    }
    size_t body = count - sizeof sum;
    struct record_walk walk = {
        .bytes = (uint8_t *)(uintptr_t)bytes, .size = count, .at = body, .reading = true};
    walk_u64(&walk, &sum);
    if (sum != checksum(kind, bytes, body)) {
        return RECORD_DAMAGED;
    }
    walk.at = 0;
    walk.size = body;
    walk_u8(&walk, &version, UINT8_MAX);
    if (version != RECORD_VERSION) {
        return RECORD_NEWER;
    }
    forms[kind].walk(&walk, value);
    if (walk.failed || walk.at != body) {
        memset(value, 0, forms[kind].value_bytes);
        return RECORD_DAMAGED;
    }
    return RECORD_OK;
}

/* SPDX-License-Identifier: MIT */
/* See wire_fixture.h. */
#include "wire_fixture.h"

#include <time.h>

#include "hash.h"

static uint64_t seed_base, random_state;
struct arena arena;

uint64_t dice(uint64_t sides) {
    uint64_t z = random_state += 0x9e3779b97f4a7c15u; /* splitmix64 */
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (z ^ z >> 31) % sides;
}

int wire_setup(void **state) {
    (void)state;
    random_state = seed_base;
    return 0;
}

int wire_teardown(void **state) {
    (void)state;
    arena_free(&arena);
    memset(&arena, 0, sizeof arena);
    return 0;
}

bool wire_fixture_open(const char *program) {
    const char *given = getenv("CHORD_TEST_SEED");
    seed_base = given != NULL ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
    printf("replay: CHORD_TEST_SEED=%llu %s\n", (unsigned long long)seed_base, program);
    return hash_open();
}

/* ---- core messages, often at their bounds ---- */

uint64_t some_number(void) {
    static const uint64_t bounds[] = {0,         1,         127, 128, UINT32_MAX, (uint64_t)1 << 32,
                                      INT64_MAX, UINT64_MAX};
    return dice(2) == 0 ? bounds[dice(8)] : dice(UINT64_MAX);
}

static void some_bytes(void *bytes, size_t count) {
    uint64_t shape = dice(4);
    for (size_t i = 0; i < count; i++) {
        ((uint8_t *)bytes)[i] = shape == 0 ? 0 : shape == 1 ? 0xff : (uint8_t)dice(256);
    }
}

struct chord_id some_id(unsigned m) {
    uint8_t hash[CHORD_ID_BYTES];
    some_bytes(hash, sizeof hash);
    return id_from_hash(hash, m == 0 ? CHORD_M_MAX : m);
}

void some_address(char address[CHORD_ADDRESS_BYTES]) {
    size_t length = dice(3) == 0 ? CHORD_ADDRESS_BYTES - 1 : 1 + dice(CHORD_ADDRESS_BYTES - 1);
    memset(address, 0, CHORD_ADDRESS_BYTES);
    for (size_t i = 0; i < length; i++) {
        address[i] = (char)('!' + dice(90));
    }
}

struct chord_peer some_peer(unsigned m) {
    struct chord_peer peer;
    memset(&peer, 0, sizeof peer);
    peer.id = some_id(m);
    peer.incarnation = some_number();
    peer.incarnation += peer.incarnation == 0;
    some_bytes(peer.store_id, sizeof peer.store_id);
    some_address(peer.address);
    return peer;
}

uint16_t some_count(unsigned least, unsigned most) {
    uint64_t shape = dice(3);
    return (uint16_t)(shape == 0 ? least : shape == 1 ? most : least + dice(most - least + 1));
}

static void some_list(struct chord_peer_list *list, unsigned m, unsigned least) {
    list->count = some_count(least, CHORD_REPLICAS_MAX);
    for (uint16_t i = 0; i < list->count; i++) {
        list->items[i] = some_peer(m);
    }
}

void some_view(struct chord_view *view, unsigned m) {
    memset(view, 0, sizeof *view);
    view->range = (struct chord_range){some_id(m), some_id(m)};
    view->epoch = some_number() % CHORD_EPOCH_MAX + 1;
    view->floor = some_number() % view->epoch;
    view->settled = dice(2) == 0;
    view->moved = dice(2) == 0;
    view->cut = dice(2) == 0;
    view->recovered = dice(2) == 0;
    view->merges.count = some_count(0, CHORD_MERGES_MAX);
    for (uint16_t i = 0; i < view->merges.count; i++) {
        view->merges.items[i].epoch = some_number();
        view->merges.items[i].lo = some_id(m);
    }
    view->members_count = some_count(1, CHORD_REPLICAS_MAX);
    view->leader = some_count(0, view->members_count - 1u);
    for (uint16_t i = 0; i < view->members_count; i++) {
        some_bytes(view->members[i].store_id, CHORD_STORE_ID_BYTES);
        some_address(view->members[i].address);
    }
}

static void some_body(struct chord_request *request, unsigned m) {
    switch (request->kind) {
    case CHORD_FIND_SUCCESSOR:
    case CHORD_GET_VIEW:
        request->id = some_id(m);
        break;
    case CHORD_GENESIS:
        some_list(&request->genesis.members, m, 1);
        request->genesis.formed = dice(2) == 0;
        break;
    case CHORD_LEAVE:
        request->left = dice(2) == 0;
        break;
    case CHORD_MERGE:
        request->peer = some_peer(m);
        break;
    case CHORD_TRANSFER_KEYS:
        request->rows.epoch = some_number();
        request->rows.has_after = dice(2) == 0;
        some_bytes(request->rows.after, request->rows.has_after ? CHORD_ID_BYTES : 0);
        request->rows.range = (struct chord_range){some_id(m), some_id(m)};
        break;
    case CHORD_SYNC:
        request->sync.learner = dice(2) == 0;
        request->sync.token = some_number();
        request->sync.range = (struct chord_range){some_id(m), some_id(m)};
        some_view(&request->sync.view, m);
        break;
    case CHORD_ACCEPT:
        some_view(&request->decide.next, m); /* fall through */
    case CHORD_PREPARE:
        request->decide.ballot = some_number();
        some_view(&request->decide.view, m);
        request->decide.joint = dice(2) == 0;
        if (request->decide.joint) {
            some_view(&request->decide.other, m);
        }
        break;
    case CHORD_APPLY:
        request->rows.learner = dice(2) == 0; /* fall through */
    case CHORD_CHECK:
    case CHORD_DIGEST:
        request->rows.epoch = some_number();
        request->rows.range = (struct chord_range){some_id(m), some_id(m)};
        break;
    case CHORD_DECIDED:
        request->decided.count = some_count(1, 2);
        for (uint16_t i = 0; i < request->decided.count; i++) {
            some_view(&request->decided.views[i], m);
        }
        break;
    default:
        break;
    }
}

void some_request(struct chord_request *request, enum chord_message_kind kind, unsigned m) {
    memset(request, 0, sizeof *request);
    request->kind = kind;
    request->target_incarnation = some_number();
    request->has_sender = dice(2) == 0;
    if (request->has_sender) {
        request->sender = some_peer(m);
    }
    request->has_ring_id = dice(2) == 0;
    if (request->has_ring_id) {
        some_bytes(request->ring_id, CHORD_RING_ID_BYTES);
    }
    some_body(request, m);
}

size_t some_rows(struct store_row *rows) {
    size_t count = dice(ROWS_MAX + 1);
    memset(rows, 0, sizeof *rows * ROWS_MAX);
    for (size_t i = 0; i < count; i++) {
        struct store_row *row = &rows[i];
        row->key_bytes = some_count(1, 1024);
        uint8_t *key = arena_alloc(&arena, row->key_bytes);
        some_bytes(key, row->key_bytes);
        row->key = key;
        hash_key(key, row->key_bytes, row->hash);
        row->kind = dice(3) == 0 ? STORE_TOMBSTONE : STORE_VALUE;
        row->value_bytes = row->kind == STORE_VALUE ? dice(3000) : 0;
        uint8_t *value = arena_alloc(&arena, row->value_bytes + 1);
        some_bytes(value, row->value_bytes);
        row->value = value;
        row->epoch = some_number() & INT64_MAX;
        row->counter = some_number() & INT64_MAX;
        row->expires_at_ms = some_number() & INT64_MAX;
        row->op_id_bytes = (uint8_t)some_count(0, STORE_OP_ID_BYTES);
        some_bytes(row->op_id, row->op_id_bytes);
        row->existed = dice(2) == 0;
    }
    return count;
}

void some_response(struct chord_response *response, enum chord_message_kind kind, unsigned m,
                   const struct store_row *rows, size_t rows_count) {
    memset(response, 0, sizeof *response);
    response->kind = kind;
    switch (kind) {
    case CHORD_PING:
        response->ping.self = some_peer(m);
        response->ping.state = (enum chord_node_state)dice(CHORD_STATE_LEFT + 1);
        response->ping.formed = dice(2) == 0;
        if (dice(3) != 0) {
            some_bytes(response->ping.parameters.ring_id, CHORD_RING_ID_BYTES);
            response->ping.parameters.m = some_count(CHORD_M_MIN, CHORD_M_MAX);
            response->ping.parameters.n = some_count(1, CHORD_SUCCESSORS_MAX);
            response->ping.parameters.replicas = some_count(1, CHORD_REPLICAS_MAX);
        }
        break;
    case CHORD_FIND_SUCCESSOR:
        response->ring.found = dice(2) == 0;
        response->ring.self = some_peer(m);
        response->ring.node = some_peer(m);
        some_list(&response->ring.successors, m, 0);
        break;
    case CHORD_GET_PREDECESSOR:
        if (dice(2) == 0) { /* or there is none */
            response->ring.node = some_peer(m);
        } /* fall through */
    case CHORD_GET_SUCCESSORS:
        response->ring.busy = dice(2) == 0;
        some_list(&response->ring.successors, m, 0);
        break;
    case CHORD_JOIN:
        response->join.result = (enum chord_join_result)dice(CHORD_JOIN_NOT_SUCCESSOR + 1);
        response->join.formed = dice(2) == 0;
        response->retry_after_ms = (uint32_t)some_number();
        if (dice(2) == 0) {
            response->join.authority = some_peer(m);
        }
        some_list(&response->join.successors, m, 0);
        break;
    case CHORD_TRANSFER_KEYS:
        response->transfer.rows = rows_count;
        response->transfer.done = dice(2) == 0;
        if (rows_count > 0) {
            memcpy(response->transfer.last, rows[rows_count - 1].hash, CHORD_ID_BYTES);
        }
        break;
    case CHORD_DIGEST:
        response->digest.rows = some_number();
        some_bytes(response->digest.digest, CHORD_DIGEST_BYTES);
        break;
    case CHORD_PREPARE:
        response->decide.has_view = dice(3) == 0;
        response->decide.has_accepted = !response->decide.has_view && dice(2) == 0;
        response->decide.other_accepted = dice(2) == 0;
        response->decide.other_ballot = some_number();
        response->decide.refused = dice(2) == 0;
        response->decide.promised = some_number();
        if (response->decide.has_accepted) {
            response->decide.accepted_ballot = some_number();
            response->decide.other_epoch = some_number();
        }
        if (response->decide.has_view || response->decide.has_accepted) {
            some_view(&response->decide.view, m);
        }
        break;
    case CHORD_ACCEPT:
        response->decide.has_view = dice(2) == 0;
        response->decide.refused = dice(2) == 0;
        response->decide.promised = some_number();
        if (response->decide.has_view) {
            some_view(&response->decide.view, m);
        }
        break;
    case CHORD_GET_VIEW:
    case CHORD_SYNC:
        response->view.confirmed = dice(2) == 0; /* fall through */
    case CHORD_APPLY:
    case CHORD_DECIDED:
    case CHORD_CHECK:
        response->view.has_view = dice(2) == 0;
        if (response->view.has_view) {
            some_view(&response->view.view, m);
        }
        break;
    default:
        break;
    }
}

uint8_t *pack(const ProtobufCMessage *message, size_t *bytes) {
    *bytes = protobuf_c_message_get_packed_size(message);
    uint8_t *packed = arena_alloc(&arena, *bytes + 1);
    assert_int_equal(protobuf_c_message_pack(message, packed), *bytes);
    return packed;
}

bool has_request(enum chord_message_kind kind) {
    return kind != CHORD_BATCH && kind != CHORD_LOOKUP; /* those carry operations: kv.c */
}

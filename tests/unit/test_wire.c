/*
 * The wire forms: every kind of message goes core -> protobuf bytes -> core and is the same, with
 * values at their bounds; fields out of their bounds are refused; damaged bytes are read without
 * harm and what is accepted keeps every bound that the core relies on.
 * A failure prints the seed; CHORD_TEST_SEED=n replays it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "hash.h"
#include "wire.h"

enum { KINDS = CHORD_CHECK, ROWS_MAX = 5 };

static uint64_t seed_base, random_state;
static struct arena arena;

static uint64_t dice(uint64_t sides) {
    uint64_t z = random_state += 0x9e3779b97f4a7c15u; /* splitmix64 */
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (z ^ z >> 31) % sides;
}

static int setup(void **state) {
    (void)state;
    random_state = seed_base;
    return 0;
}

static int teardown(void **state) {
    (void)state;
    arena_free(&arena);
    memset(&arena, 0, sizeof arena);
    return 0;
}

/* ---- core messages, often at their bounds ---- */

static uint64_t some_number(void) {
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

static struct chord_id some_id(unsigned m) {
    uint8_t hash[CHORD_ID_BYTES];
    some_bytes(hash, sizeof hash);
    return id_from_hash(hash, m == 0 ? CHORD_M_MAX : m);
}

static void some_address(char address[CHORD_ADDRESS_BYTES]) {
    size_t length = dice(3) == 0 ? CHORD_ADDRESS_BYTES - 1 : 1 + dice(CHORD_ADDRESS_BYTES - 1);
    memset(address, 0, CHORD_ADDRESS_BYTES);
    for (size_t i = 0; i < length; i++) {
        address[i] = (char)('!' + dice(90));
    }
}

static struct chord_peer some_peer(unsigned m) {
    struct chord_peer peer;
    memset(&peer, 0, sizeof peer);
    peer.id = some_id(m);
    peer.incarnation = some_number();
    peer.incarnation += peer.incarnation == 0;
    some_bytes(peer.store_id, sizeof peer.store_id);
    some_address(peer.address);
    return peer;
}

static uint16_t some_count(unsigned least, unsigned most) {
    uint64_t shape = dice(3);
    return (uint16_t)(shape == 0 ? least : shape == 1 ? most : least + dice(most - least + 1));
}

static void some_list(struct chord_peer_list *list, unsigned m, unsigned least) {
    list->count = some_count(least, CHORD_REPLICAS_MAX);
    for (uint16_t i = 0; i < list->count; i++) {
        list->items[i] = some_peer(m);
    }
}

static void some_view(struct chord_view *view, unsigned m) {
    memset(view, 0, sizeof *view);
    view->range = (struct chord_range){some_id(m), some_id(m)};
    view->epoch = some_number() % CHORD_EPOCH_MAX + 1;
    view->settled = dice(2) == 0;
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

static void some_request(struct chord_request *request, enum chord_message_kind kind, unsigned m) {
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

static size_t some_rows(struct store_row *rows) {
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
    }
    return count;
}

static void some_response(struct chord_response *response, enum chord_message_kind kind, unsigned m,
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

/* ---- there and back ---- */

static uint8_t *pack(const ProtobufCMessage *message, size_t *bytes) {
    *bytes = protobuf_c_message_get_packed_size(message);
    uint8_t *packed = arena_alloc(&arena, *bytes + 1);
    assert_int_equal(protobuf_c_message_pack(message, packed), *bytes);
    return packed;
}

static bool has_request(enum chord_message_kind kind) {
    return kind != CHORD_BATCH && kind != CHORD_LOOKUP; /* those carry operations: kv.c */
}

static void check_rows(Chord__V1__Row **messages, size_t count, const struct store_row *rows,
                       size_t rows_count) {
    assert_int_equal(count, rows_count);
    for (size_t i = 0; i < count; i++) {
        struct store_row row;
        assert_true(wire_read_row(messages[i], &row));
        assert_memory_equal(row.hash, rows[i].hash, CHORD_ID_BYTES);
        assert_int_equal(row.key_bytes, rows[i].key_bytes);
        assert_memory_equal(row.key, rows[i].key, row.key_bytes);
        assert_int_equal(row.value_bytes, rows[i].value_bytes);
        assert_true(row.value_bytes == 0 || memcmp(row.value, rows[i].value, row.value_bytes) == 0);
        assert_true(row.epoch == rows[i].epoch && row.counter == rows[i].counter);
        assert_true(row.expires_at_ms == rows[i].expires_at_ms && row.kind == rows[i].kind);
        assert_int_equal(row.op_id_bytes, rows[i].op_id_bytes);
        assert_memory_equal(row.op_id, rows[i].op_id, STORE_OP_ID_BYTES);
    }
}

static void test_requests_round_trip(void **state) {
    (void)state;
    static struct chord_request sent, received;
    static const unsigned ms[] = {0, 3, 6, 8, 9, 32, 159, 160};
    for (unsigned round = 0; round < 100; round++) {
        for (unsigned kind = CHORD_PING; kind <= KINDS; kind++) {
            struct wire_context context = {&arena, ms[dice(8)]};
            struct store_row rows[ROWS_MAX];
            const char *error = NULL;
            size_t bytes, count = some_rows(rows);
            if (!has_request((enum chord_message_kind)kind)) {
                continue;
            }
            some_request(&sent, (enum chord_message_kind)kind, context.m);
            ProtobufCMessage *message = wire_encode_request(&context, &sent, rows, count);
            assert_non_null(message);
            uint8_t *packed = pack(message, &bytes);
            ProtobufCMessage *read =
                protobuf_c_message_unpack(message->descriptor, NULL, bytes, packed);
            assert_non_null(read);
            memset(&received, 0, sizeof received);
            if (!wire_decode_request((enum chord_message_kind)kind, read, &received, &error)) {
                fail_msg("kind %u: %s", kind, error);
            }
            if (memcmp(&sent, &received, sizeof sent) != 0) {
                fail_msg("kind %u is not the same after the wire", kind);
            }
            if (kind == CHORD_APPLY) {
                const Chord__V1__ApplyRequest *apply = (const void *)read;
                check_rows(apply->rows, apply->n_rows, rows, count);
            }
            protobuf_c_message_free_unpacked(read, NULL);
            arena_reset(&arena);
        }
    }
}

static void test_responses_round_trip(void **state) {
    (void)state;
    static struct chord_response sent, received;
    static const unsigned ms[] = {0, 3, 6, 8, 9, 32, 159, 160};
    for (unsigned round = 0; round < 100; round++) {
        for (unsigned kind = CHORD_PING; kind <= KINDS; kind++) {
            struct wire_context context = {&arena, ms[dice(8)]};
            struct store_row rows[ROWS_MAX];
            const char *error = NULL;
            size_t bytes, count = kind == CHORD_TRANSFER_KEYS ? some_rows(rows) : 0;
            if (!has_request((enum chord_message_kind)kind)) {
                continue;
            }
            some_response(&sent, (enum chord_message_kind)kind, context.m, rows, count);
            bool gone = dice(8) == 0;
            sent.gone = gone;
            ProtobufCMessage *message = wire_encode_response(&context, &sent, rows, count);
            assert_non_null(message);
            uint8_t *packed = pack(message, &bytes);
            ProtobufCMessage *read =
                protobuf_c_message_unpack(message->descriptor, NULL, bytes, packed);
            assert_non_null(read);
            memset(&received, 0, sizeof received);
            if (!wire_decode_response((enum chord_message_kind)kind, read, &received, &error)) {
                fail_msg("kind %u: %s", kind, error);
            }
            assert_int_equal(received.gone, gone);
            if (!gone && memcmp(&sent, &received, sizeof sent) != 0) {
                fail_msg("the answer of kind %u is not the same after the wire", kind);
            }
            if (kind == CHORD_TRANSFER_KEYS) {
                const Chord__V1__TransferKeysResponse *transfer = (const void *)read;
                check_rows(transfer->rows, transfer->n_rows, rows, count);
            }
            protobuf_c_message_free_unpacked(read, NULL);
            arena_reset(&arena);
        }
    }
}

static void test_methods_and_kinds(void **state) {
    (void)state;
    bool seen[256] = {false};
    for (unsigned kind = CHORD_PING; kind <= KINDS; kind++) {
        enum chord_message_kind back;
        enum rpc_method method = wire_method((enum chord_message_kind)kind);
        assert_true((unsigned)method < 256 && !seen[method]);
        seen[method] = true;
        assert_true(wire_kind(method, &back));
        assert_int_equal(back, kind);
    }
    for (unsigned method = 0; method < 256; method++) {
        enum chord_message_kind back;
        assert_int_equal(wire_kind((enum rpc_method)method, &back), seen[method]);
    }
}

static void test_lookup_and_hint(void **state) {
    (void)state;
    for (unsigned round = 0; round < 200; round++) {
        static struct chord_response response;
        struct wire_context context = {&arena, some_count(CHORD_M_MIN, CHORD_M_MAX)};
        struct chord_id key_id = some_id(context.m);
        memset(&response, 0, sizeof response);
        response.lookup.owner = some_peer(context.m);
        response.lookup.hops_count = some_count(0, CHORD_HOPS_TRACED_MAX);
        for (uint16_t i = 0; i < response.lookup.hops_count; i++) {
            response.lookup.hops[i].node = some_peer(context.m);
            response.lookup.hops[i].microseconds = some_number();
        }
        Chord__V1__LookupResponse *lookup = wire_encode_lookup(&context, &response, &key_id);
        assert_int_equal(lookup->key_id.len, (context.m + 7) / 8);
        assert_string_equal(lookup->owner->address, response.lookup.owner.address);
        assert_int_equal(lookup->n_hops, response.lookup.hops_count);
        for (uint16_t i = 0; i < response.lookup.hops_count; i++) {
            assert_string_equal(lookup->hops[i]->node->address,
                                response.lookup.hops[i].node.address);
            assert_true(lookup->hops[i]->microseconds == response.lookup.hops[i].microseconds);
        }
        struct chord_hint hint, back;
        memset(&hint, 0, sizeof hint);
        if (dice(4) != 0) {
            some_address(hint.address);
            hint.epoch = dice(2) == 0 ? 0 : some_number();
            if (hint.epoch != 0) {
                hint.range = (struct chord_range){some_id(context.m), some_id(context.m)};
            }
        }
        assert_true(wire_read_hint(wire_hint(&context, &hint), &back));
        assert_memory_equal(&hint, &back, sizeof hint);
        arena_reset(&arena);
    }
}

/* ---- out of bounds ---- */

static bool decodes(enum chord_message_kind kind, const ProtobufCMessage *message, bool request) {
    static struct chord_request in;
    static struct chord_response out;
    const char *error = NULL;
    bool ok = request ? wire_decode_request(kind, message, &in, &error)
                      : wire_decode_response(kind, message, &out, &error);
    assert_true(ok || error != NULL);
    return ok;
}

static ProtobufCMessage *request_of(enum chord_message_kind kind, struct chord_request *request) {
    struct wire_context *context = arena_alloc(&arena, sizeof *context);
    *context = (struct wire_context){&arena, 32};
    some_request(request, kind, 32);
    request->has_sender = request->has_ring_id = true;
    request->sender = some_peer(32);
    return wire_encode_request(context, request, NULL, 0);
}

static uint8_t long_bytes[64];
static char long_text[CHORD_ADDRESS_BYTES + 1];

static ProtobufCBinaryData bytes_of(size_t count) {
    return (ProtobufCBinaryData){count, long_bytes};
}

static void test_header_out_of_bounds(void **state) {
    (void)state;
    static struct chord_request request;
    for (unsigned kind = CHORD_PING; kind <= KINDS; kind++) {
        if (!has_request((enum chord_message_kind)kind)) {
            continue;
        }
        ProtobufCMessage *message = request_of((enum chord_message_kind)kind, &request);
        Chord__V1__PingRequest *any = (void *)message; /* the header is field 1 of each */
        Chord__V1__RingHeader *header = any->header;
        assert_true(decodes((enum chord_message_kind)kind, message, true));
        struct {
            ProtobufCBinaryData *field;
            size_t count;
        } cases[] = {{&header->sender->id, 21},
                     {&header->sender->id, 64},
                     {&header->sender->store_id, 15},
                     {&header->sender->store_id, 17},
                     {&header->ring_id, 15},
                     {&header->ring_id, 17},
                     {&header->ring_id, 1}};
        for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
            ProtobufCBinaryData saved = *cases[i].field;
            *cases[i].field = bytes_of(cases[i].count);
            assert_false(decodes((enum chord_message_kind)kind, message, true));
            *cases[i].field = saved;
        }
        char *saved = header->sender->address;
        header->sender->address = long_text; /* 64 bytes: one too many with its zero */
        assert_false(decodes((enum chord_message_kind)kind, message, true));
        header->sender->address = saved;
        assert_true(decodes((enum chord_message_kind)kind, message, true));
        any->header = NULL; /* a client's request has none */
        assert_true(decodes((enum chord_message_kind)kind, message, true));
        arena_reset(&arena);
    }
}

/* Tries each way of making a view wrong; `accepted` says whether the message around it is. */
static void check_views(Chord__V1__View *view, enum chord_message_kind kind,
                        const ProtobufCMessage *message, bool request) {
    Chord__V1__View saved = *view;
    Chord__V1__Member *members[34];
    for (unsigned i = 0; i < 34; i++) {
        members[i] = view->members[0];
    }
    assert_true(decodes(kind, message, request));
    view->leader = (uint32_t)view->n_members;
    assert_false(decodes(kind, message, request));
    view->leader = UINT32_MAX;
    assert_false(decodes(kind, message, request));
    view->leader = 65536; /* 0 in sixteen bits */
    assert_false(decodes(kind, message, request));
    *view = saved;
    view->epoch = 0;
    assert_false(decodes(kind, message, request));
    *view = saved;
    Chord__V1__Merged merged = CHORD__V1__MERGED__INIT;
    Chord__V1__Merged *merges[CHORD_MERGES_MAX + 1] = {&merged, &merged, &merged, &merged, &merged};
    view->merges = merges;
    view->n_merges = CHORD_MERGES_MAX;
    assert_true(decodes(kind, message, request));
    view->n_merges = CHORD_MERGES_MAX + 1;
    assert_false(decodes(kind, message, request));
    *view = saved;
    view->range = NULL;
    assert_false(decodes(kind, message, request));
    *view = saved;
    view->n_members = 0;
    view->leader = 0;
    assert_false(decodes(kind, message, request));
    view->members = members;
    view->n_members = 34;
    assert_false(decodes(kind, message, request));
    view->n_members = 33;
    assert_true(decodes(kind, message, request));
    *view = saved;
    ProtobufCBinaryData store_id = view->members[0]->store_id;
    view->members[0]->store_id = bytes_of(15);
    assert_false(decodes(kind, message, request));
    view->members[0]->store_id = bytes_of(0);
    assert_false(decodes(kind, message, request));
    view->members[0]->store_id = store_id;
    char *address = view->members[0]->address;
    view->members[0]->address = long_text;
    assert_false(decodes(kind, message, request));
    view->members[0]->address = address;
    ProtobufCBinaryData lo = view->range->lo;
    view->range->lo = bytes_of(21);
    assert_false(decodes(kind, message, request));
    view->range->lo = lo;
    assert_true(decodes(kind, message, request));
}

static void test_requests_out_of_bounds(void **state) {
    (void)state;
    static struct chord_request request;
    for (unsigned round = 0; round < 10; round++) {
        Chord__V1__FindSuccessorRequest *find = (void *)request_of(CHORD_FIND_SUCCESSOR, &request);
        find->id = bytes_of(20);
        assert_true(decodes(CHORD_FIND_SUCCESSOR, &find->base, true));
        find->id = bytes_of(21);
        assert_false(decodes(CHORD_FIND_SUCCESSOR, &find->base, true));

        Chord__V1__GenesisRequest *genesis = (void *)request_of(CHORD_GENESIS, &request);
        Chord__V1__Peer *many[34];
        for (unsigned i = 0; i < 34; i++) {
            many[i] = genesis->members[0];
        }
        genesis->members = many;
        genesis->n_members = 33;
        assert_true(decodes(CHORD_GENESIS, &genesis->base, true));
        genesis->n_members = 34;
        assert_false(decodes(CHORD_GENESIS, &genesis->base, true));
        genesis->n_members = 0;
        assert_false(decodes(CHORD_GENESIS, &genesis->base, true));
        genesis->n_members = 1;
        many[0]->incarnation = 0; /* no peer at all */
        assert_false(decodes(CHORD_GENESIS, &genesis->base, true));

        Chord__V1__TransferKeysRequest *transfer =
            (void *)request_of(CHORD_TRANSFER_KEYS, &request);
        Chord__V1__Cursor cursor;
        chord__v1__cursor__init(&cursor);
        transfer->after = &cursor;
        cursor.hash = bytes_of(19);
        assert_false(decodes(CHORD_TRANSFER_KEYS, &transfer->base, true));
        cursor.hash = bytes_of(20);
        assert_true(decodes(CHORD_TRANSFER_KEYS, &transfer->base, true));
        transfer->range = NULL;
        assert_false(decodes(CHORD_TRANSFER_KEYS, &transfer->base, true));
        static const enum chord_message_kind ranged[] = {CHORD_APPLY, CHORD_CHECK};
        for (unsigned i = 0; i < 2; i++) {
            Chord__V1__CheckRequest *check = (void *)request_of(ranged[i], &request);
            check->range->hi = bytes_of(21);
            assert_false(decodes(ranged[i], &check->base, true));
            check->range = NULL; /* field 2 of both */
            assert_false(decodes(ranged[i], &check->base, true));
        }
        Chord__V1__SyncRequest *sync = (void *)request_of(CHORD_SYNC, &request);
        check_views(sync->view, CHORD_SYNC, &sync->base, true);
        sync = (void *)request_of(CHORD_SYNC, &request);
        sync->range = NULL;
        assert_false(decodes(CHORD_SYNC, &sync->base, true));
        Chord__V1__AcceptRequest *accept = (void *)request_of(CHORD_ACCEPT, &request);
        check_views(accept->view, CHORD_ACCEPT, &accept->base, true);
        accept = (void *)request_of(CHORD_ACCEPT, &request);
        accept->view = NULL;
        assert_false(decodes(CHORD_ACCEPT, &accept->base, true));
        accept = (void *)request_of(CHORD_ACCEPT, &request);
        check_views(accept->next, CHORD_ACCEPT, &accept->base, true);
        accept = (void *)request_of(CHORD_ACCEPT, &request);
        accept->next = NULL;
        assert_false(decodes(CHORD_ACCEPT, &accept->base, true));
        Chord__V1__PrepareRequest *prepare = (void *)request_of(CHORD_PREPARE, &request);
        prepare->other = prepare->view;
        assert_true(decodes(CHORD_PREPARE, &prepare->base, true));
        check_views(prepare->view, CHORD_PREPARE, &prepare->base, true);

        Chord__V1__DecidedRequest *decided = (void *)request_of(CHORD_DECIDED, &request);
        Chord__V1__View *three[3] = {decided->views[0], decided->views[0], decided->views[0]};
        decided->views = three;
        decided->n_views = 2;
        assert_true(decodes(CHORD_DECIDED, &decided->base, true));
        decided->n_views = 3;
        assert_false(decodes(CHORD_DECIDED, &decided->base, true));
        decided->n_views = 0;
        assert_false(decodes(CHORD_DECIDED, &decided->base, true));
        decided->n_views = 1;
        check_views(three[0], CHORD_DECIDED, &decided->base, true);
        arena_reset(&arena);
    }
}

static void test_responses_out_of_bounds(void **state) {
    (void)state;
    static struct chord_response response;
    struct wire_context context = {&arena, 32};
    for (unsigned round = 0; round < 10; round++) {
        static const enum chord_message_kind viewed[] = {CHORD_APPLY, CHORD_SYNC, CHORD_DECIDED,
                                                         CHORD_GET_VIEW, CHORD_CHECK};
        for (unsigned i = 0; i < 5; i++) {
            some_response(&response, viewed[i], 32, NULL, 0);
            response.view.has_view = true;
            some_view(&response.view.view, 32);
            ProtobufCMessage *message = wire_encode_response(&context, &response, NULL, 0);
            Chord__V1__ApplyResponse *apply = (void *)message; /* the view is field 2 of all */
            check_views(apply->wrong_view, viewed[i], message, false);
        }
        some_response(&response, CHORD_GET_SUCCESSORS, 32, NULL, 0);
        Chord__V1__GetSuccessorsResponse *list =
            (void *)wire_encode_response(&context, &response, NULL, 0);
        Chord__V1__Peer *many[34];
        struct chord_peer peer = some_peer(32);
        for (unsigned i = 0; i < 34; i++) {
            many[i] = wire_peer(&context, &peer);
        }
        list->successors = many;
        list->n_successors = 33;
        assert_true(decodes(CHORD_GET_SUCCESSORS, &list->base, false));
        list->n_successors = 34;
        assert_false(decodes(CHORD_GET_SUCCESSORS, &list->base, false));
        list->gone = true; /* then nothing else is read */
        assert_true(decodes(CHORD_GET_SUCCESSORS, &list->base, false));

        some_response(&response, CHORD_DIGEST, 32, NULL, 0);
        Chord__V1__DigestResponse *digest =
            (void *)wire_encode_response(&context, &response, NULL, 0);
        digest->digest = bytes_of(15);
        assert_false(decodes(CHORD_DIGEST, &digest->base, false));

        some_response(&response, CHORD_PING, 32, NULL, 0);
        response.ping.parameters.m = 6;
        Chord__V1__PingResponse *ping = (void *)wire_encode_response(&context, &response, NULL, 0);
        ping->parameters->ring_id = bytes_of(17);
        assert_false(decodes(CHORD_PING, &ping->base, false));
        arena_reset(&arena);
    }
}

static void test_rows_out_of_bounds(void **state) {
    (void)state;
    static uint8_t big[1024 * 1024 + 1];
    struct store_row read;
    Chord__V1__Row row;
    Chord__V1__Version version;
    chord__v1__row__init(&row);
    chord__v1__version__init(&version);
    Chord__V1__Row good = row;
    good.key = (ProtobufCBinaryData){1024, big};
    good.value = (ProtobufCBinaryData){1024 * 1024, big};
    good.version = &version;
    good.kind = CHORD__V1__ROW_KIND__ROW_KIND_VALUE;
    good.op_id = bytes_of(STORE_OP_ID_BYTES);
    good.expires_at_ms = INT64_MAX;
    version.epoch = version.counter = INT64_MAX;
    assert_true(wire_read_row(&good, &read));
    for (unsigned i = 0; i < 11; i++) {
        row = good;
        version.epoch = i == 0 ? (uint64_t)INT64_MAX + 1 : 1;
        version.counter = i == 1 ? UINT64_MAX : 1;
        row.key.len = i == 2 ? 0 : i == 3 ? 1025 : 1;
        row.value.len = i == 4 ? sizeof big : 1;
        row.version = i == 5 ? NULL : &version;
        row.kind = i == 6   ? CHORD__V1__ROW_KIND__ROW_KIND_UNSPECIFIED
                   : i == 7 ? (Chord__V1__RowKind)3
                   : i == 8 ? (Chord__V1__RowKind)-1
                            : CHORD__V1__ROW_KIND__ROW_KIND_TOMBSTONE;
        row.op_id.len = i == 9 ? STORE_OP_ID_BYTES + 1 : 0;
        row.expires_at_ms = i == 10 ? (uint64_t)INT64_MAX + 1 : 0;
        assert_false(wire_read_row(&row, &read));
    }
}

/* ---- damaged bytes ---- */

static bool text_ends(const char address[CHORD_ADDRESS_BYTES]) {
    return memchr(address, '\0', CHORD_ADDRESS_BYTES) != NULL;
}

static void check_list(const struct chord_peer_list *list) {
    assert_true(list->count <= CHORD_REPLICAS_MAX);
    for (uint16_t i = 0; i < list->count; i++) {
        assert_true(list->items[i].incarnation != 0 && text_ends(list->items[i].address));
    }
}

static void check_view(const struct chord_view *view) {
    assert_true(view->epoch > 0 && view->members_count > 0);
    assert_true(view->members_count <= CHORD_REPLICAS_MAX && view->leader < view->members_count);
    for (uint16_t i = 0; i < view->members_count; i++) {
        assert_true(text_ends(view->members[i].address));
    }
}

static void check_request(const struct chord_request *request) {
    assert_true(!request->has_sender ||
                (request->sender.incarnation != 0 && text_ends(request->sender.address)));
    if (request->kind == CHORD_GENESIS) {
        assert_true(request->genesis.members.count > 0);
        check_list(&request->genesis.members);
    } else if (request->kind == CHORD_DECIDED) {
        assert_in_range(request->decided.count, 1, 2);
        for (uint16_t i = 0; i < request->decided.count; i++) {
            check_view(&request->decided.views[i]);
        }
    } else if (request->kind == CHORD_SYNC) {
        check_view(&request->sync.view);
    } else if (request->kind == CHORD_PREPARE || request->kind == CHORD_ACCEPT) {
        check_view(&request->decide.view);
        if (request->decide.joint) {
            check_view(&request->decide.other);
        }
        if (request->kind == CHORD_ACCEPT) {
            check_view(&request->decide.next);
        }
    } else if (request->kind == CHORD_MERGE) {
        assert_true(text_ends(request->peer.address));
    }
}

static void check_response(const struct chord_response *response) {
    if (response->gone) {
        return;
    }
    switch (response->kind) {
    case CHORD_PING:
        assert_true(text_ends(response->ping.self.address));
        break;
    case CHORD_FIND_SUCCESSOR:
    case CHORD_GET_PREDECESSOR:
    case CHORD_GET_SUCCESSORS:
        assert_true(text_ends(response->ring.node.address));
        check_list(&response->ring.successors);
        break;
    case CHORD_JOIN:
        assert_true(text_ends(response->join.authority.address));
        check_list(&response->join.successors);
        break;
    case CHORD_PREPARE:
    case CHORD_ACCEPT:
        if (response->decide.has_view || response->decide.has_accepted) {
            check_view(&response->decide.view);
        }
        break;
    case CHORD_APPLY:
    case CHORD_SYNC:
    case CHORD_DECIDED:
    case CHORD_GET_VIEW:
    case CHORD_CHECK:
        if (response->view.has_view) {
            check_view(&response->view.view);
        }
        break;
    default:
        break;
    }
}

/* Flips, cuts, repeats; or only noise. The copy ends where its memory ends. */
static uint8_t *damage(const uint8_t *packed, size_t *bytes) {
    size_t count = dice(8) == 0 ? dice(200) : *bytes;
    bool noise = count != *bytes || dice(10) == 0;
    uint8_t *copy = malloc(count > 0 ? count : 1);
    assert_non_null(copy);
    for (size_t i = 0; i < count; i++) {
        copy[i] = noise ? (uint8_t)dice(256) : packed[i];
    }
    for (uint64_t flips = dice(6); count > 0 && flips > 0; flips--) {
        size_t at = dice(count);
        size_t from = dice(count);
        if (dice(3) == 0) { /* one field over another */
            size_t part = 1 + dice(20);
            part = part > count - at ? count - at : part;
            part = part > count - from ? count - from : part;
            memmove(copy + at, copy + from, part);
        } else {
            copy[at] ^= (uint8_t)(1u << dice(8));
        }
    }
    *bytes = dice(4) == 0 && count > 0 ? dice(count) : count;
    return copy;
}

static void try_damaged(enum chord_message_kind kind, const ProtobufCMessage *message,
                        bool is_request, unsigned *accepted) {
    static struct chord_request request;
    static struct chord_response response;
    size_t bytes;
    uint8_t *packed = pack(message, &bytes);
    for (unsigned i = 0; i < 40; i++) {
        size_t count = bytes;
        const char *error = NULL;
        uint8_t *copy = damage(packed, &count);
        ProtobufCMessage *read = protobuf_c_message_unpack(message->descriptor, NULL, count, copy);
        free(copy);
        if (read == NULL) {
            continue;
        }
        memset(&request, 0xa5, sizeof request);
        memset(&response, 0xa5, sizeof response);
        if (is_request && wire_decode_request(kind, read, &request, &error)) {
            check_request(&request);
            *accepted += 1;
        } else if (!is_request && wire_decode_response(kind, read, &response, &error)) {
            check_response(&response);
            *accepted += 1;
        } else {
            assert_non_null(error);
        }
        protobuf_c_message_free_unpacked(read, NULL);
    }
}

static void test_damaged_bytes(void **state) {
    (void)state;
    static struct chord_request request;
    static struct chord_response response;
    unsigned accepted = 0;
    for (unsigned round = 0; round < 12; round++) {
        for (unsigned kind = CHORD_PING; kind <= KINDS; kind++) {
            struct wire_context context = {&arena, 32};
            struct store_row rows[ROWS_MAX];
            size_t count = kind == CHORD_APPLY || kind == CHORD_TRANSFER_KEYS ? some_rows(rows) : 0;
            enum chord_message_kind each = (enum chord_message_kind)kind;
            if (!has_request(each)) {
                continue;
            }
            some_request(&request, each, 32);
            try_damaged(each, wire_encode_request(&context, &request, rows, count), true,
                        &accepted);
            some_response(&response, each, 32, rows, count);
            try_damaged(each, wire_encode_response(&context, &response, rows, count), false,
                        &accepted);
            arena_reset(&arena);
        }
    }
    assert_true(accepted > 100);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const char *given = getenv("CHORD_TEST_SEED");
    seed_base = given != NULL ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
    printf("replay: CHORD_TEST_SEED=%llu test_wire\n", (unsigned long long)seed_base);
    memset(long_text, 'a', CHORD_ADDRESS_BYTES);
    if (!hash_open()) {
        return 1;
    }
    const struct CMUnitTest tests[] = {
        TEST(test_methods_and_kinds),       TEST(test_requests_round_trip),
        TEST(test_responses_round_trip),    TEST(test_lookup_and_hint),
        TEST(test_header_out_of_bounds),    TEST(test_requests_out_of_bounds),
        TEST(test_responses_out_of_bounds), TEST(test_rows_out_of_bounds),
        TEST(test_damaged_bytes),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    hash_close();
    return failed;
}

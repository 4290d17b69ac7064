/* SPDX-License-Identifier: MIT */
/*
 * The wire forms: fields out of their bounds are refused. The cases stand here by hand, so that a
 * bound in node/wire_table.c is held against something else than itself.
 */
#include "wire_fixture.h"

#include "hash.h"

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
    some_part(&wire_peer_table, &request->sender, 32);
    request->sender.incarnation |= 1;
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
        if (!has_request((enum chord_message_kind)kind) || kind == CHORD_BATCH) {
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

/* A node that still looks for its ring is asked anything; these have no header to be read. */
static void test_clients_requests_have_no_header(void **state) {
    (void)state;
    Chord__V1__Operation operation;
    Chord__V1__Operation *operations[] = {&operation};
    Chord__V1__BatchRequest batch;
    Chord__V1__LookupRequest lookup;
    chord__v1__operation__init(&operation);
    chord__v1__batch_request__init(&batch);
    chord__v1__lookup_request__init(&lookup);
    batch.operations = operations;
    batch.n_operations = 1;
    lookup.key = bytes_of(3);
    assert_true(decodes(CHORD_BATCH, &batch.base, true));
    assert_false(decodes(CHORD_LOOKUP, &lookup.base, true));
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
            some_part(&wire_view_table, &response.view.view, 32);
            ProtobufCMessage *message = wire_encode_response(&context, &response, NULL, 0);
            Chord__V1__ApplyResponse *apply = (void *)message; /* the view is field 2 of all */
            check_views(apply->wrong_view, viewed[i], message, false);
        }
        some_response(&response, CHORD_GET_SUCCESSORS, 32, NULL, 0);
        Chord__V1__GetSuccessorsResponse *list =
            (void *)wire_encode_response(&context, &response, NULL, 0);
        Chord__V1__Peer *many[34];
        struct chord_peer peer = {.incarnation = 1};
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

int main(void) {
    if (!wire_fixture_open("test_wire")) {
        return 1;
    }
    memset(long_text, 'a', CHORD_ADDRESS_BYTES);
    const struct CMUnitTest tests[] = {
        TEST(test_header_out_of_bounds),
        TEST(test_requests_out_of_bounds),
        TEST(test_responses_out_of_bounds),
        TEST(test_rows_out_of_bounds),
        TEST(test_clients_requests_have_no_header),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    hash_close();
    return failed;
}

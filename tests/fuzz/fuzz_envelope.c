/* SPDX-License-Identifier: MIT */
/*
 * Fuzzer of the way from received bytes to the core: envelope, payload, wire forms. The first byte
 * says where the rest comes in: as a whole request, as the payload of one method's request, or as
 * that of its response. Whatever they are, a request gets exactly one answer, what the core would
 * see keeps the bounds of message.h, and core -> wire -> core is the same again.
 */
#include "bytes.h"

#include "hash.h"
#include "rpc_server.h"
#include "wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { METHODS_OF_A_SERVICE_MAX = 16, SERVICES = 5, ROWS_MAX = 64 };

static struct arena arena;

static void must(bool condition, const char *what) {
    if (!condition) {
        fprintf(stderr, "fuzz_envelope: %s\n", what);
        abort();
    }
}

_Noreturn void chord_assert_failed(const char *file, int line, const char *condition) {
    fprintf(stderr, "%s:%d: assertion failed: %s\n", file, line, condition);
    abort();
}

/* ---- what the core would see ---- */

static void check_peer(const struct chord_peer *peer) {
    must(peer->address[CHORD_ADDRESS_BYTES - 1] == '\0', "an address without end");
}

static void check_list(const struct chord_peer_list *list) {
    must(list->count <= CHORD_REPLICAS_MAX, "a list longer than its limit");
    for (uint16_t i = 0; i < list->count; i++) {
        check_peer(&list->items[i]);
        must(list->items[i].incarnation != 0, "a list with a hole");
    }
}

static void check_view(const struct chord_view *view) {
    must(view->epoch != 0 && view->members_count >= 1 &&
             view->members_count <= CHORD_REPLICAS_MAX && view->leader < view->members_count,
         "a view beyond its bounds");
    for (uint16_t i = 0; i < view->members_count; i++) {
        must(view->members[i].address[CHORD_ADDRESS_BYTES - 1] == '\0', "an address without end");
    }
}

static void check_request(const struct chord_request *request) {
    check_peer(&request->sender);
    must(!request->has_sender || request->sender.incarnation != 0, "a sender that is none");
    if (request->kind == CHORD_GENESIS) {
        check_list(&request->genesis.members);
    } else if (request->kind == CHORD_MERGE) {
        check_peer(&request->peer);
    } else if (request->kind == CHORD_DECIDED) {
        must(request->decided.count >= 1 && request->decided.count <= 2, "views beyond two");
        for (uint16_t i = 0; i < request->decided.count; i++) {
            check_view(&request->decided.views[i]);
        }
    }
}

static void check_response(const struct chord_response *response) {
    if (response->gone) {
        return;
    }
    switch (response->kind) {
    case CHORD_PING:
        check_peer(&response->ping.self);
        break;
    case CHORD_FIND_SUCCESSOR:
        check_peer(&response->ring.self);
        check_peer(&response->ring.node);
        check_list(&response->ring.successors);
        break;
    case CHORD_GET_PREDECESSOR:
    case CHORD_GET_SUCCESSORS:
        check_peer(&response->ring.node);
        check_list(&response->ring.successors);
        break;
    case CHORD_JOIN:
        check_peer(&response->join.authority);
        check_list(&response->join.successors);
        break;
    case CHORD_APPLY:
    case CHORD_SYNC:
    case CHORD_DECIDED:
    case CHORD_GET_VIEW:
        if (response->view.has_view) {
            check_view(&response->view.view);
        }
        break;
    default:
        break;
    }
}

/* ---- core -> wire -> core ---- */

struct packed {
    uint8_t *bytes;
    size_t count;
};

static struct packed pack(const ProtobufCMessage *message) {
    struct packed packed = {.count = protobuf_c_message_get_packed_size(message)};
    packed.bytes = arena_alloc(&arena, packed.count + 1);
    protobuf_c_message_pack(message, packed.bytes);
    return packed;
}

static void must_equal(const struct packed *a, const struct packed *b) {
    must(a->count == b->count && memcmp(a->bytes, b->bytes, a->count) == 0,
         "core -> wire -> core is not the same");
}

static bool has_rows(enum chord_message_kind kind, bool response) {
    return kind == CHORD_BATCH || kind == CHORD_LOOKUP ||
           kind == (response ? CHORD_TRANSFER_KEYS : CHORD_APPLY);
}

static void request_again(const struct chord_request *request) {
    struct wire_context wire = {&arena, 0};
    struct chord_request second;
    struct rpc_arena *unpacked;
    const char *error = NULL;
    bool exhausted;
    struct packed first = pack(wire_encode_request(&wire, request, NULL, 0));
    ProtobufCMessage *message =
        rpc_arena_unpack(&unpacked, &exhausted, rpc_method_request(wire_method(request->kind)),
                         first.bytes, first.count);
    memset(&second, 0, sizeof second);
    must(message != NULL && wire_decode_request(request->kind, message, &second, &error),
         "a request that was encoded here is refused here");
    struct packed again = pack(wire_encode_request(&wire, &second, NULL, 0));
    must_equal(&first, &again);
    rpc_arena_free(unpacked);
}

static void read_request(enum chord_message_kind kind, const ProtobufCMessage *message) {
    struct chord_request request;
    const char *error = NULL;
    if (kind == CHORD_BATCH || kind == CHORD_LOOKUP) {
        return; /* clients' requests have no header; the node's kv.c reads them */
    }
    memset(&request, 0, sizeof request);
    if (!wire_decode_request(kind, message, &request, &error)) {
        must(error != NULL, "a refusal without a reason");
        return;
    }
    check_request(&request);
    if (!has_rows(kind, false)) {
        request_again(&request);
    }
    if (kind == CHORD_APPLY) {
        const Chord__V1__ApplyRequest *apply = (const void *)message;
        for (size_t i = 0; i < apply->n_rows && i < ROWS_MAX; i++) {
            struct store_row row;
            (void)wire_read_row(apply->rows[i], &row);
        }
    }
}

static void response_again(const struct chord_response *response) {
    struct wire_context wire = {&arena, 0};
    struct chord_response second;
    struct rpc_arena *unpacked;
    const char *error = NULL;
    bool exhausted;
    struct packed first = pack(wire_encode_response(&wire, response, NULL, 0));
    ProtobufCMessage *message =
        rpc_arena_unpack(&unpacked, &exhausted, rpc_method_response(wire_method(response->kind)),
                         first.bytes, first.count);
    memset(&second, 0, sizeof second);
    must(message != NULL && wire_decode_response(response->kind, message, &second, &error),
         "an answer that was encoded here is refused here");
    struct packed again = pack(wire_encode_response(&wire, &second, NULL, 0));
    must_equal(&first, &again);
    rpc_arena_free(unpacked);
}

static void read_response(enum chord_message_kind kind, const ProtobufCMessage *message) {
    struct chord_response response;
    const char *error = NULL;
    memset(&response, 0, sizeof response);
    if (has_rows(kind, true)) {
        if (kind == CHORD_TRANSFER_KEYS && wire_decode_response(kind, message, &response, &error)) {
            must(response.gone || response.transfer.rows > 0 || message != NULL, "no rows");
        }
        return;
    }
    if (wire_decode_response(kind, message, &response, &error)) {
        check_response(&response);
        response_again(&response);
    }
}

/* ---- the three ways in ---- */

static void invoke(ProtobufCService *service, unsigned method, const ProtobufCMessage *input,
                   ProtobufCClosure closure, void *closure_data) {
    struct rpc_call *call = closure_data;
    enum chord_message_kind kind;
    (void)service;
    (void)method;
    (void)closure;
    if (wire_kind(rpc_call_method(call), &kind)) {
        read_request(kind, input);
    }
    rpc_call_reply(call, CHORD__V1__CODE__CODE_OK, NULL, 0, NULL);
}

static void handler(void) {
}

/* As the generated services look in memory: the base, then one pointer for each method. */
struct service {
    ProtobufCService base;
    void (*handlers[METHODS_OF_A_SERVICE_MAX])(void);
};

static void whole_request(const uint8_t *data, size_t size, const struct rpc_key *key) {
    static struct service services[SERVICES];
    static ProtobufCService *pointers[SERVICES];
    static const enum rpc_method firsts[SERVICES] = {RPC_RING_PING, RPC_REPLICA_APPLY, RPC_KV_BATCH,
                                                     RPC_ADMIN_STATUS, RPC_META_GET_SERVER_INFO};
    struct rpc_server server = {.services = pointers, .services_count = 4, .data_calls_max = 1};
    struct rpc_call *call = calloc(1, sizeof *call);
    for (unsigned i = 0; i < SERVICES; i++) {
        services[i].base.descriptor = rpc_method_service(firsts[i]);
        services[i].base.invoke = invoke;
        for (unsigned k = 0; k < METHODS_OF_A_SERVICE_MAX; k++) {
            services[i].handlers[k] = handler;
        }
        pointers[i] = &services[i].base;
    }
    must(pthread_mutex_init(&server.lock, NULL) == 0, "no mutex");
    must(rpc_mac_open(&server.mac, key) == 0, "no key");
    must(rpc_receiver_open(&server.receiver, false) == 0, "no receiver");
    must(call != NULL, "no memory");
    call->server = &server; /* and no connection: nobody is told */
    server.calls_open = 1;
    rpc_call_dispatch(call, data, size); /* a second answer to it would be a use after free */
    must(server.calls_open == 0, "not exactly one answer");
    must(server.held_bytes == 0 && server.data_open == 0, "an answered call still holds something");
    rpc_mac_close(server.mac);
    rpc_receiver_close(server.receiver);
    pthread_mutex_destroy(&server.lock);
}

static void payload(struct bytes *bytes, bool response) {
    enum rpc_method method = (enum rpc_method)take_below(bytes, RPC_METHODS_COUNT);
    enum chord_message_kind kind;
    struct rpc_arena *unpacked;
    bool exhausted;
    ProtobufCMessage *message = rpc_arena_unpack(
        &unpacked, &exhausted, response ? rpc_method_response(method) : rpc_method_request(method),
        bytes->data, bytes->size);
    if (message != NULL) {
        must(rpc_arena_used(unpacked) <= RPC_ARENA_BYTES_MAX, "more heap than the budget");
        if (wire_kind(method, &kind)) {
            (response ? read_response : read_request)(kind, message);
        }
    }
    rpc_arena_free(unpacked);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const struct rpc_key none, some = {.bytes = "0123456789abcdef", .bytes_count = 16};
    static bool open;
    struct bytes bytes = {data, size};
    uint8_t way = take(&bytes);
    open = open || hash_open();
    must(open, "no SHA-1");
    if (way % 4 == 0) {
        whole_request(bytes.data, bytes.size, way & 4 ? &some : &none);
    } else {
        payload(&bytes, way % 4 == 1);
    }
    arena_reset(&arena);
    return 0;
}

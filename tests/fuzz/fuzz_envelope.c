/* SPDX-License-Identifier: MIT */
/*
 * Fuzzer of the way from received bytes to the core: envelope, payload, wire forms. The first byte
 * says where the rest comes in: as a whole request, as the payload of one method's request, as that
 * of its response, or as the dice that fill a message of the core by its table. Whatever they are,
 * a request gets exactly one answer, what the core would see keeps the bounds of its table
 * (node/wire_table.c), and core -> wire -> core is the same again, field by field.
 */
#include "bytes.h"

#include "hash.h"
#include "rpc_server.h"
#include "wire.h"
#include "wire_walk.h"

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

/* ---- core -> wire -> core ---- */

/* Either of the two. */
union message {
    struct chord_request request;
    struct chord_response response;
};

static const struct wire_table *table_of(enum chord_message_kind kind, bool response) {
    return response ? &wire_messages[kind].response : &wire_messages[kind].request;
}

static bool decode(enum chord_message_kind kind, bool response, const ProtobufCMessage *message,
                   union message *core) {
    const char *error = NULL;
    memset(core, 0, sizeof *core);
    bool ok = response ? wire_decode_response(kind, message, &core->response, &error)
                       : wire_decode_request(kind, message, &core->request, &error);
    must(ok || error != NULL, "a refusal without a reason");
    return ok;
}

/* Rows go their own way (wire_read_row), so that they are none here. */
static void same_again(enum chord_message_kind kind, bool response, const union message *core) {
    static union message second;
    struct wire_context wire = {&arena, 0};
    struct rpc_arena *unpacked;
    bool exhausted;
    const ProtobufCMessage *made = response ? wire_encode_response(&wire, &core->response, NULL, 0)
                                            : wire_encode_request(&wire, &core->request, NULL, 0);
    size_t count = protobuf_c_message_get_packed_size(made);
    uint8_t *bytes = arena_alloc(&arena, count + 1);
    protobuf_c_message_pack(made, bytes);
    const ProtobufCMessage *read =
        rpc_arena_unpack(&unpacked, &exhausted, made->descriptor, bytes, count);
    must(read != NULL && decode(kind, response, read, &second),
         "what was encoded here is refused here");
    const char *field = wire_walk_differ(table_of(kind, response), core, &second);
    must(field == NULL, field);
    rpc_arena_free(unpacked);
}

static void read_payload(enum chord_message_kind kind, bool response,
                         const ProtobufCMessage *message) {
    static union message core;
    const struct wire_table *table = table_of(kind, response);
    if (table->descriptor == NULL || !decode(kind, response, message, &core)) {
        return; /* clients' requests have no header; the node's kv.c reads them */
    }
    const char *field = wire_walk_beyond(table, &core);
    must(field == NULL, field);
    if (!response && kind == CHORD_APPLY) {
        const Chord__V1__ApplyRequest *apply = (const void *)message;
        for (size_t i = 0; i < apply->n_rows && i < ROWS_MAX; i++) {
            struct store_row row;
            must(!wire_read_row(apply->rows[i], &row) ||
                     wire_walk_beyond(&wire_row_table, &row) == NULL,
                 "a row beyond its bounds");
        }
    }
    if (response && kind == CHORD_TRANSFER_KEYS) {
        core.response.transfer.rows = 0;
        memset(core.response.transfer.last, 0, CHORD_ID_BYTES);
    }
    same_again(kind, response, &core);
}

static uint64_t take_dice(void *context, uint64_t sides) {
    uint64_t number = 0;
    for (uint64_t rest = sides - 1; rest > 0; rest >>= 8) {
        number = number << 8 | take(context);
    }
    return number % sides;
}

/* Any message that the core may make. */
static void filled(struct bytes *bytes) {
    static union message core;
    struct wire_walk walk = {.dice = take_dice, .context = bytes, .arena = &arena};
    uint8_t byte = take(bytes);
    bool response = byte & 128;
    enum chord_message_kind kind = (enum chord_message_kind)(CHORD_PING + byte % 128 % CHORD_CHECK);
    const struct wire_table *table = table_of(kind, response);
    if (table->descriptor == NULL) {
        return;
    }
    memset(&core, 0, sizeof core);
    *(response ? &core.response.kind : &core.request.kind) = kind;
    wire_walk_fill(&walk, table, &core);
    must(wire_walk_beyond(table, &core) == NULL, "filled beyond its bounds");
    same_again(kind, response, &core);
}

/* ---- the ways in ---- */

static void invoke(ProtobufCService *service, unsigned method, const ProtobufCMessage *input,
                   ProtobufCClosure closure, void *closure_data) {
    struct rpc_call *call = closure_data;
    enum chord_message_kind kind;
    (void)service;
    (void)method;
    (void)closure;
    if (wire_kind(rpc_call_method(call), &kind)) {
        read_payload(kind, false, input);
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
    must(rpc_mac_open(&server.doors[0].mac, key) == 0, "no key");
    server.doors[0].role = RPC_ROLE_CLIENT;
    server.doors_count = server.doors[0].mac != NULL;
    must(rpc_receiver_open(&server.receiver, false) == 0, "no receiver");
    must(call != NULL, "no memory");
    call->server = &server; /* and no connection: nobody is told */
    server.calls_open = 1;
    rpc_call_dispatch(call, data, size); /* a second answer to it would be a use after free */
    must(server.calls_open == 0, "not exactly one answer");
    must(server.held_bytes == 0 && server.data_open == 0, "an answered call still holds something");
    rpc_mac_close(server.doors[0].mac);
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
            read_payload(kind, response, message);
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
    } else if (way % 8 == 7) {
        filled(&bytes);
    } else {
        payload(&bytes, way % 4 == 1);
    }
    arena_reset(&arena);
    return 0;
}

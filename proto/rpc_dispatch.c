/* SPDX-License-Identifier: MIT */
/*
 * From a received message to its handler: reads the envelope, checks it, refuses what is too much,
 * unpacks the request. Whatever came in, exactly one answer goes out. Knows methods and messages;
 * what they mean is the handlers' business.
 */
#include <stdio.h>
#include <string.h>

#include "rpc_server.h"

static void call_reply_error(struct rpc_call *call, Chord__V1__Code code, const char *text) {
    rpc_call_reply(call, code, text, 0, NULL);
}

/* What protobuf-c calls when a handler answers through its closure instead of rpc_call_reply. */
static void call_closure(const ProtobufCMessage *message, void *closure_data) {
    struct rpc_call *call = closure_data;
    if (message == NULL) {
        call_reply_error(call, CHORD__V1__CODE__CODE_INTERNAL, "the handler gave no answer");
    } else {
        rpc_call_reply(call, CHORD__V1__CODE__CODE_OK, NULL, 0, message);
    }
}

/* The service that serves the method, or NULL. A handler left NULL counts as none. */
static ProtobufCService *server_service(const struct rpc_server *server, enum rpc_method method) {
    const ProtobufCServiceDescriptor *descriptor = rpc_method_service(method);
    for (size_t i = 0; i < server->services_count; i++) {
        ProtobufCService *service = server->services[i];
        if (service->descriptor == descriptor) {
            typedef void (*handler_fn)(void);
            const handler_fn *handlers = (const handler_fn *)(service + 1);
            return handlers[rpc_method_index(method)] == NULL ? NULL : service;
        }
    }
    return NULL;
}

/* The door whose key signed the envelope, or NULL. */
static const struct rpc_door *door_of(const struct rpc_server *server,
                                      const Chord__V1__RpcRequest *envelope) {
    uint8_t expected[RPC_MAC_BYTES];
    for (size_t i = 0; i < server->doors_count; i++) {
        if (rpc_mac_request(server->doors[i].mac, envelope, envelope->payload, expected) &&
            rpc_mac_equal(expected, envelope->mac)) {
            return &server->doors[i];
        }
    }
    return NULL;
}

/* Everything about the envelope that is not the payload. True: goes on. */
static bool call_check(struct rpc_call *call, const Chord__V1__RpcRequest *envelope) {
    struct rpc_server *server = call->server;
    char text[RPC_MESSAGE_TEXT_MAX + 1];
    ProtobufCBinaryData id = envelope->request_id;
    if (id.len < 1 || id.len > RPC_REQUEST_ID_BYTES_MAX) {
        snprintf(text, sizeof text, "request_id has %zu bytes; give 1 to %d", id.len,
                 RPC_REQUEST_ID_BYTES_MAX);
        call_reply_error(call, CHORD__V1__CODE__CODE_INVALID_ARGUMENT, text);
        return false;
    }
    memcpy(call->request_id, id.data, id.len);
    call->request_id_bytes = id.len;
    const struct rpc_door *door = door_of(server, envelope);
    if (server->doors_count > 0 && door == NULL) {
        call_reply_error(call, CHORD__V1__CODE__CODE_UNAUTHENTICATED,
                         envelope->mac.len == 0
                             ? "this ring has a key and the request has no mac; give the ring key"
                             : "the mac is wrong; use the key of this ring");
        return false;
    }
    call->door = door;
    if (envelope->protocol_version != RPC_PROTOCOL_VERSION) {
        snprintf(text, sizeof text, "protocol version %u is not spoken here; use %d",
                 envelope->protocol_version, RPC_PROTOCOL_VERSION);
        call_reply_error(call, CHORD__V1__CODE__CODE_UNIMPLEMENTED, text);
        return false;
    }
    Chord__V1__Code code = rpc_receiver_check(server->receiver, envelope, text, sizeof text);
    if (code != CHORD__V1__CODE__CODE_OK) {
        call_reply_error(call, code, text);
        return false;
    }
    if (!rpc_method_find(envelope->method, &call->method)) {
        snprintf(text, sizeof text, "there is no method \"%.100s\" here", envelope->method);
        call_reply_error(call, CHORD__V1__CODE__CODE_UNIMPLEMENTED, text);
        return false;
    }
    if (rpc_call_role(call) < rpc_method_role(call->method)) {
        snprintf(text, sizeof text, "%s needs the ring's %s key; this one is of a %s",
                 rpc_method_name(call->method),
                 rpc_method_role(call->method) == RPC_ROLE_MEMBER ? "own" : "client",
                 rpc_call_role(call) == RPC_ROLE_READER ? "reader" : "client");
        call_reply_error(call, CHORD__V1__CODE__CODE_PERMISSION_DENIED, text);
        return false;
    }
    call->timeout_ms = envelope->timeout_ms == 0                   ? RPC_TIMEOUT_MS_DEFAULT
                       : envelope->timeout_ms > RPC_TIMEOUT_MS_MAX ? RPC_TIMEOUT_MS_MAX
                                                                   : envelope->timeout_ms;
    return true;
}

/* Data beyond the channel's size is refused here, so that it costs nothing but this answer. */
static bool call_admit(struct rpc_call *call, size_t bytes_count) {
    struct rpc_server *server = call->server;
    if (!rpc_method_is_data(call->method)) {
        return true;
    }
    pthread_mutex_lock(&server->lock);
    bool known = call->connection != NULL && call->connection->known;
    bool admitted = server->data_open < server->data_calls_max &&
                    rpc_server_has_room(server, known, bytes_count);
    call->data = admitted;
    server->data_open += admitted;
    pthread_mutex_unlock(&server->lock);
    if (!admitted) {
        atomic_fetch_add(&server->refused_total, 1);
        rpc_call_reply(call, CHORD__V1__CODE__CODE_RESOURCE_EXHAUSTED,
                       "this node has as many data requests and answers under way as its channel "
                       "size or its memory allows",
                       RPC_REFUSED_RETRY_MS, NULL);
    }
    return admitted;
}

static void call_invoke(struct rpc_call *call, const Chord__V1__RpcRequest *envelope) {
    char text[RPC_MESSAGE_TEXT_MAX + 1];
    ProtobufCService *service = server_service(call->server, call->method);
    if (service == NULL) {
        snprintf(text, sizeof text, "%s is not served here", rpc_method_name(call->method));
        call_reply_error(call, CHORD__V1__CODE__CODE_UNIMPLEMENTED, text);
        return;
    }
    pthread_mutex_lock(&call->server->lock);
    rpc_call_served(call);
    pthread_mutex_unlock(&call->server->lock);
    if (!call_admit(call, envelope->payload.len)) {
        return;
    }
    const ProtobufCMessageDescriptor *type = rpc_method_request(call->method);
    bool exhausted;
    ProtobufCMessage *request = rpc_arena_unpack(&call->arena, &exhausted, type,
                                                 envelope->payload.data, envelope->payload.len);
    if (request == NULL) {
        snprintf(text, sizeof text,
                 exhausted ? "the %s needs more than %d bytes of memory; send less at a time"
                           : "the payload is not a %s",
                 type->name, RPC_ARENA_BYTES_MAX);
        call_reply_error(call, CHORD__V1__CODE__CODE_INVALID_ARGUMENT, text);
        return;
    }
    if (!rpc_texts_are_valid(request)) { /* some would come back in answers, to whoever asks */
        snprintf(text, sizeof text, "a text in the %s is not UTF-8", type->name);
        call_reply_error(call, CHORD__V1__CODE__CODE_INVALID_ARGUMENT, text);
        return;
    }
    pthread_mutex_lock(&call->server->lock);
    rpc_call_hold_always(call, sizeof *call + rpc_arena_used(call->arena));
    pthread_mutex_unlock(&call->server->lock);
    service->invoke(service, rpc_method_index(call->method), request, call_closure, call);
}

void rpc_call_dispatch(struct rpc_call *call, const uint8_t *bytes, size_t bytes_count) {
    char text[RPC_MESSAGE_TEXT_MAX + 1];
    call->timeout_ms = RPC_TIMEOUT_MS_DEFAULT;
    call->received_us = rpc_now_us();
    /* Until it is known whose key it is: each answer is signed. */
    call->door = call->server->doors_count > 0 ? call->server->doors : NULL;
    atomic_fetch_add(&call->server->requests_total, 1);
    if (bytes_count > RPC_MESSAGE_BYTES_MAX) {
        snprintf(text, sizeof text, "the message has %zu bytes; at most %d are allowed",
                 bytes_count, RPC_MESSAGE_BYTES_MAX);
        call_reply_error(call, CHORD__V1__CODE__CODE_INVALID_ARGUMENT, text);
        return;
    }
    struct rpc_arena *arena = NULL;
    bool exhausted;
    Chord__V1__RpcRequest *envelope = (Chord__V1__RpcRequest *)rpc_arena_unpack(
        &arena, &exhausted, &chord__v1__rpc_request__descriptor, bytes, bytes_count);
    if (envelope == NULL) {
        call_reply_error(call, CHORD__V1__CODE__CODE_INVALID_ARGUMENT,
                         "the message is not a chord.v1.RpcRequest");
        return;
    }
    if (call_check(call, envelope)) {
        call_invoke(call, envelope);
    }
    rpc_arena_free(arena);
}

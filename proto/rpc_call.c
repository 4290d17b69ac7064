/* SPDX-License-Identifier: MIT */
/*
 * One request from its message to its answer: what it holds, what it is answered, and when it is
 * gone. It outlives its connection and, until its reply, its server.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rpc_server.h"

struct rpc_call *rpc_call_new(struct rpc_connection *connection) {
    struct rpc_call *call = calloc(1, sizeof *call);
    if (call == NULL) {
        return NULL;
    }
    call->server = connection->server;
    call->server->calls_open++;
    call->connection = connection;
    call->waiting = true;
    connection->waiting++;
    call->next = connection->calls;
    if (call->next != NULL) {
        call->next->previous = call;
    }
    connection->calls = call;
    return call;
}

void rpc_server_free(struct rpc_server *server) {
    for (size_t i = 0; i < server->doors_count; i++) {
        rpc_mac_close(server->doors[i].mac);
    }
    rpc_receiver_close(server->receiver);
    pthread_cond_destroy(&server->gone);
    pthread_cond_destroy(&server->sweep);
    pthread_mutex_destroy(&server->lock);
    free(server->services);
    free(server);
}

/* ---- what it holds ---- */

void rpc_call_hold_always(struct rpc_call *call, size_t bytes) {
    call->held_bytes += bytes;
    call->server->held_bytes += bytes;
}

bool rpc_call_hold(struct rpc_call *call, size_t bytes) {
    struct rpc_server *server = call->server;
    pthread_mutex_lock(&server->lock);
    bool room =
        rpc_server_has_room(server, call->connection != NULL && call->connection->known, bytes);
    if (room) {
        rpc_call_hold_always(call, bytes);
    }
    pthread_mutex_unlock(&server->lock);
    return room;
}

/* With a key every request that is served is from the ring or a client of it. Without one nobody
 * can prove anything: what speaks as members do among each other counts, which keeps out those who
 * only connect, and no liar. */
void rpc_call_served(struct rpc_call *call) {
    struct rpc_connection *connection = call->connection;
    if (connection == NULL) {
        return;
    }
    connection->spoke = true;
    if (call->server->doors_count > 0 || rpc_method_is_between_members(call->method)) {
        connection->known = true;
    }
}

static void call_taken(struct rpc_call *call) {
    struct rpc_connection *connection = call->connection;
    if (!call->waiting || connection == NULL) {
        return;
    }
    call->waiting = false;
    if (--connection->waiting == RPC_WAITING_MAX / 2) {
        rpc_connection_resume(connection);
    }
}

void rpc_call_taken(struct rpc_call *call) {
    pthread_mutex_lock(&call->server->lock);
    call_taken(call);
    pthread_mutex_unlock(&call->server->lock);
}

/* ---- the answer ---- */

static nng_msg *call_pack(const struct rpc_call *call, Chord__V1__Code code, const char *message,
                          uint32_t retry_after_ms, const ProtobufCMessage *response) {
    char text[RPC_MESSAGE_TEXT_MAX + 1];
    if (message == NULL) {
        message = code == CHORD__V1__CODE__CODE_OK ? "" : rpc_code_text(code);
    }
    snprintf(text, sizeof text, "%s", message);
    rpc_utf8_repair(text); /* it may quote the request, and may have been cut within a character */
    Chord__V1__RpcResponse envelope = CHORD__V1__RPC_RESPONSE__INIT;
    envelope.protocol_version = RPC_PROTOCOL_VERSION;
    envelope.request_id.data = (uint8_t *)call->request_id;
    envelope.request_id.len = call->request_id_bytes;
    envelope.code = code;
    envelope.message = text;
    envelope.retry_after_ms = retry_after_ms;
    struct rpc_receiver_room room;
    rpc_receiver_name(call->server->receiver, &envelope, &room);
    nng_msg *msg = NULL;
    struct rpc_mac *mac = call->door == NULL ? NULL : call->door->mac;
    int rc = rpc_envelope_pack_response(&msg, mac, &envelope, response);
    if (rc == -EMSGSIZE) {
        snprintf(text, sizeof text, "the answer is larger than %d bytes; ask for less",
                 RPC_MESSAGE_BYTES_MAX);
        envelope.code = CHORD__V1__CODE__CODE_INTERNAL;
        envelope.retry_after_ms = 0;
        rc = rpc_envelope_pack_response(&msg, mac, &envelope, NULL);
    }
    return rc == 0 ? msg : NULL;
}

enum rpc_role rpc_call_role(const struct rpc_call *call) {
    return call->door == NULL ? RPC_ROLE_MEMBER : call->door->role;
}

struct rpc_arena *rpc_call_keep(struct rpc_call *call) {
    struct rpc_arena *arena = call->arena;
    call->arena = NULL;
    return arena;
}

/* With the lock held: the call is no longer its connection's. Returns the connection or NULL. */
static struct rpc_connection *call_unlink(struct rpc_call *call) {
    struct rpc_connection *connection = call->connection;
    if (connection == NULL) {
        return NULL;
    }
    if (call->previous != NULL) {
        call->previous->next = call->next;
    } else {
        connection->calls = call->next;
    }
    if (call->next != NULL) {
        call->next->previous = call->previous;
    }
    return connection;
}

void rpc_call_reply(struct rpc_call *call, Chord__V1__Code code, const char *message,
                    uint32_t retry_after_ms, const ProtobufCMessage *response) {
    struct rpc_server *server = call->server;
    nng_msg *msg = call_pack(call, code, message, retry_after_ms, response);
    pthread_mutex_lock(&server->lock);
    server->held_bytes -= call->held_bytes;
    server->data_open -= call->data;
    call_taken(call);
    struct rpc_connection *connection = call_unlink(call);
    if (connection != NULL) {
        if (code == CHORD__V1__CODE__CODE_UNAUTHENTICATED &&
            ++connection->unauthenticated == RPC_UNAUTHENTICATED_MAX) {
            connection->last = true;
        }
        rpc_connection_answer(connection, call, msg);
        msg = NULL;
    }
    bool last = --server->calls_open == 0 && server->closed;
    pthread_mutex_unlock(&server->lock);
    nng_msg_free(msg);
    rpc_arena_free(call->arena);
    free(call);
    if (last) {
        rpc_server_free(server);
    }
}

enum rpc_method rpc_call_method(const struct rpc_call *call) {
    return call->method;
}

uint32_t rpc_call_remaining_ms(const struct rpc_call *call) {
    uint64_t passed_ms = (rpc_now_us() - call->received_us) / 1000;
    return passed_ms >= call->timeout_ms ? 0 : call->timeout_ms - (uint32_t)passed_ms;
}

bool rpc_call_expired(const struct rpc_call *call) {
    return rpc_call_remaining_ms(call) == 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * What came of a call, in the words of the contract (rpc.h): an answer, which is checked before it
 * is believed, or why there is none.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "rpc_peer.h"

uint32_t rpc_pending_connect_ms(const struct rpc_pending *pending) {
    return pending->timeout_ms < RPC_CONNECT_MS_MAX ? pending->timeout_ms : RPC_CONNECT_MS_MAX;
}

void rpc_reply_error(struct rpc_reply *reply, Chord__V1__Code code, const char *format, ...) {
    va_list arguments;
    *reply = (struct rpc_reply){.code = code, .local = true};
    va_start(arguments, format);
    vsnprintf(reply->message, sizeof reply->message, format, arguments);
    va_end(arguments);
}

void rpc_reply_free(struct rpc_reply *reply) {
    rpc_arena_free(reply->arena);
    reply->arena = NULL;
    reply->response = NULL;
}

void rpc_reply_from_nng(struct rpc_reply *reply, const struct rpc_pending *pending, int rv) {
    const char *address = pending->link->peer->address;
    switch (rv) {
    case NNG_ETIMEDOUT:
        if (pending->sent) {
            rpc_reply_error(reply, CHORD__V1__CODE__CODE_DEADLINE_EXCEEDED,
                            "%s did not answer %s within %u ms", address,
                            rpc_method_name(pending->method), pending->timeout_ms);
        } else {
            rpc_reply_error(reply, CHORD__V1__CODE__CODE_UNAVAILABLE,
                            "no connection to %s that took the request within %u ms", address,
                            rpc_pending_connect_ms(pending));
        }
        break;
    case NNG_ECONNRESET:
        rpc_reply_error(reply, CHORD__V1__CODE__CODE_UNAVAILABLE, "the connection to %s closed",
                        address);
        reply->disconnected = true;
        break;
    case NNG_ECANCELED:
    case NNG_ECLOSED:
        rpc_reply_error(reply, CHORD__V1__CODE__CODE_UNAVAILABLE, "the client is closing");
        break;
    default:
        rpc_reply_error(reply, CHORD__V1__CODE__CODE_UNAVAILABLE, "%s: %s", address,
                        nng_strerror(rv));
    }
}

static void reply_unreadable(struct rpc_reply *reply, const struct rpc_pending *pending,
                             const char *why) {
    rpc_reply_error(reply, CHORD__V1__CODE__CODE_INTERNAL,
                    "the answer of %s to %s cannot be read: %s", pending->link->peer->address,
                    rpc_method_name(pending->method), why);
}

/* What every answer says of the process that gave it. */
static void peer_hear(const struct rpc_pending *pending, const Chord__V1__RpcResponse *envelope) {
    struct rpc_peer *peer = pending->link->peer;
    if (envelope->start.len == RPC_START_BYTES) {
        pthread_mutex_lock(&peer->client->lock);
        peer->has_start = true;
        memcpy(peer->start, envelope->start.data, RPC_START_BYTES);
        peer->clock_us = rpc_now_us() - envelope->clock_ms * 1000;
        pthread_mutex_unlock(&peer->client->lock);
    }
}

/* An answer of another ring is none. Its nodes refuse by themselves what is not meant for them;
 * this is for those that do not look. False: *reply says so. */
static bool ring_hear(struct rpc_reply *reply, const struct rpc_pending *pending,
                      const Chord__V1__RpcResponse *envelope) {
    reply->has_ring = envelope->ring_id.len == RPC_RING_ID_BYTES;
    if (reply->has_ring) {
        memcpy(reply->ring_id, envelope->ring_id.data, RPC_RING_ID_BYTES);
    }
    if (!pending->has_ring || !reply->has_ring || envelope->code != CHORD__V1__CODE__CODE_OK ||
        memcmp(reply->ring_id, pending->ring_id, RPC_RING_ID_BYTES) == 0) {
        return true;
    }
    char ring[2 * RPC_RING_ID_BYTES + 1];
    rpc_hex(ring, reply->ring_id, RPC_RING_ID_BYTES);
    reply->code = CHORD__V1__CODE__CODE_WRONG_RING;
    snprintf(reply->message, sizeof reply->message, "%s belongs to another ring, %s",
             pending->link->peer->address, ring);
    return false;
}

/* The envelope, checked; then its payload. */
static void reply_from_envelope(struct rpc_reply *reply, const struct rpc_pending *pending,
                                const Chord__V1__RpcResponse *envelope) {
    struct rpc_mac *mac = pending->link->peer->client->mac;
    uint8_t expected[RPC_MAC_BYTES];
    if (mac != NULL && (!rpc_mac_response(mac, envelope, envelope->payload, expected) ||
                        !rpc_mac_equal(expected, envelope->mac))) {
        rpc_reply_error(
            reply, CHORD__V1__CODE__CODE_UNAUTHENTICATED,
            "the answer's mac is missing or wrong: the other side has another ring key");
        return;
    }
    /* A request that could not be read comes back without its id. */
    ProtobufCBinaryData id = envelope->request_id;
    bool same_id =
        id.len == sizeof pending->request_id && memcmp(id.data, pending->request_id, id.len) == 0;
    if (!same_id && !(id.len == 0 && envelope->code != CHORD__V1__CODE__CODE_OK)) {
        reply_unreadable(reply, pending, "it has another request_id");
        return;
    }
    peer_hear(pending, envelope);
    /* A code that a newer peer invented means nothing here. */
    Chord__V1__Code code =
        rpc_code_is_known(envelope->code) ? envelope->code : CHORD__V1__CODE__CODE_UNKNOWN;
    *reply = (struct rpc_reply){.code = code, .retry_after_ms = envelope->retry_after_ms};
    snprintf(reply->message, sizeof reply->message, "%s", envelope->message);
    if (!ring_hear(reply, pending, envelope)) {
        return;
    }
    if (envelope->code != CHORD__V1__CODE__CODE_OK && envelope->payload.len == 0) {
        return;
    }
    bool exhausted;
    reply->response =
        rpc_arena_unpack(&reply->arena, &exhausted, rpc_method_response(pending->method),
                         envelope->payload.data, envelope->payload.len);
    if (reply->response == NULL) {
        reply_unreadable(reply, pending,
                         exhausted ? "its payload needs too much memory" : "its payload is broken");
    }
}

void rpc_reply_from_bytes(struct rpc_reply *reply, const struct rpc_pending *pending,
                          const uint8_t *bytes, size_t bytes_count) {
    struct rpc_arena *arena;
    bool exhausted;
    Chord__V1__RpcResponse *envelope = (Chord__V1__RpcResponse *)rpc_arena_unpack(
        &arena, &exhausted, &chord__v1__rpc_response__descriptor, bytes, bytes_count);
    if (envelope == NULL) {
        reply_unreadable(reply, pending, "it is not a chord.v1.RpcResponse");
        return;
    }
    reply_from_envelope(reply, pending, envelope);
    rpc_arena_free(arena);
}

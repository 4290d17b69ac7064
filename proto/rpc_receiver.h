/* SPDX-License-Identifier: MIT */
/*
 * Who a server is, and which requests are meant for it: those for its ring and, where the ring has
 * a key, those for this very process, each once. Internal to the RPC runtime.
 */
#ifndef CHORD_RPC_RECEIVER_H
#define CHORD_RPC_RECEIVER_H

#include "rpc_internal.h"

enum {
    RPC_WINDOW_MS = 10000,               /* sent_ms may differ from our clock by so much */
    RPC_ONCE_REQUESTS_MAX = 1024 * 1024, /* remembered at most in two windows' time */
};

struct rpc_receiver;

/* `once`: each request is taken once (the ring has a key). 0 or negative errno. */
int rpc_receiver_open(struct rpc_receiver **receiver, bool once);
void rpc_receiver_close(struct rpc_receiver *receiver); /* accepts NULL */
/* Thread safe, as all below. NULL: of no ring. */
void rpc_receiver_set_ring(struct rpc_receiver *receiver, const uint8_t *ring_id);

/* What every answer says of us; the bytes that `response` then points to are in `room`. */
struct rpc_receiver_room {
    uint8_t ring_id[RPC_RING_ID_BYTES];
};
void rpc_receiver_name(struct rpc_receiver *receiver, Chord__V1__RpcResponse *response,
                       struct rpc_receiver_room *room);

/* OK, or the code and the sentence to refuse it with. The MAC of the request has been checked. */
Chord__V1__Code rpc_receiver_check(struct rpc_receiver *receiver,
                                   const Chord__V1__RpcRequest *request, char *text,
                                   size_t text_bytes);

#endif

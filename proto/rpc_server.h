/* SPDX-License-Identifier: MIT */
/*
 * The server's inside: connections that carry messages (rpc_connection.c), which of them get in and
 * which must go (rpc_server.c), what a received message leads to (rpc_dispatch.c), its answer
 * (rpc_call.c). Internal to these four files.
 *
 * Lock: server->lock guards everything here except where it says otherwise, and every start of an
 * nng operation, so that none starts after its connection was closed (nng would never end it). nng
 * does not run our callbacks inside the call that starts an operation, so holding it there is safe.
 */
#ifndef CHORD_RPC_SERVER_H
#define CHORD_RPC_SERVER_H

#include <pthread.h>
#include <stdatomic.h>

#include "rpc_frames.h"
#include "rpc_internal.h"
#include "rpc_receiver.h"

struct rpc_connection {
    struct rpc_server *server;
    struct rpc_connection *next, *previous; /* all connections of the server */
    nng_stream *stream;
    nng_aio *in_aio;
    bool reading; /* in_aio is under way, or its callback; whoever sets it owns the inbox */
    bool spoke;   /* it has sent a request that was served */
    bool known;   /* it belongs to the ring, as far as one can tell: see rpc_connection_served */
    bool last;    /* to be closed when everything is sent */
    bool closed;
    unsigned unauthenticated; /* wrong MACs */

    struct rpc_inbox in;
    uint64_t in_since_ms;  /* see since_after: a message that is not complete; 0 = there is none */
    struct rpc_outbox out; /* answers */
    size_t waiting;        /* requests that are not taken up: see rpc_call_taken */
    uint64_t out_since_ms; /* see since_after: what is not sent */

    struct rpc_call *calls;       /* open */
    uint64_t opened_ms, heard_ms; /* heard: the last complete message */
};

struct rpc_call {
    struct rpc_server *server;
    struct rpc_connection *connection; /* NULL: closed, so nobody is told */
    struct rpc_call *next, *previous;  /* the connection's */
    bool data;                         /* counted as data */
    bool waiting;                      /* not taken up yet */
    enum rpc_method method;
    const struct rpc_door *door; /* whose key signed it, and signs the answer; NULL: no key */
    uint64_t received_us;
    uint32_t timeout_ms;
    size_t held_bytes; /* its part of server->held_bytes */
    uint8_t trace[RPC_TRACE_BYTES_MAX];
    size_t trace_bytes;
    uint8_t request_id[RPC_REQUEST_ID_BYTES_MAX];
    size_t request_id_bytes;
    struct rpc_arena *arena; /* what the request message lives in */
};

enum { RPC_DOORS_MAX = 4 };

/* A key that is accepted, and what it allows. */
struct rpc_door {
    struct rpc_mac *mac;
    enum rpc_role role;
};

struct rpc_server {
    pthread_mutex_t lock;
    pthread_cond_t gone; /* a connection is */
    nng_stream_listener *listener;
    nng_aio *accept_aio;
    pthread_t sweeper;
    bool sweeps;
    pthread_cond_t sweep; /* earlier, or the end */
    uint64_t sweep_ms;    /* when it is next */
    bool accept_waits; /* accepting failed (no file descriptor, no memory); the sweep tries again */
    bool closing;      /* nothing starts any more */
    bool closed;       /* the last open call frees the server */
    struct rpc_door doors[RPC_DOORS_MAX]; /* the first is the members'; none: no key is needed */
    size_t doors_count;
    struct rpc_receiver *receiver;
    ProtobufCService **services;
    size_t services_count;
    size_t data_calls_max;
    size_t data_open;
    size_t calls_open;
    size_t
        held_bytes; /* of requests, from their first byte, and answers, until their last is sent */
    struct rpc_connection *connections;
    size_t connections_count;
    atomic_uint_fast64_t requests_total;
    atomic_uint_fast64_t refused_total;
};

/* ---- rpc_dispatch.c ---- */

/* Answers every message, whatever is in it. On the callback's thread, without the lock; `bytes`
 * stay the caller's. */
void rpc_call_dispatch(struct rpc_call *call, const uint8_t *bytes, size_t bytes_count);

/* ---- rpc_connection.c; all with the lock held ---- */

/* Takes the stream; greets and reads. False: no memory, the stream is gone. */
bool rpc_connection_open(struct rpc_server *server, nng_stream *stream);
/* Its open calls go on and are answered to nobody. May free it at once. */
void rpc_connection_close(struct rpc_connection *connection);
/* What time demands: closes what is too slow or idle, reads on where memory was short. May free
 * the connection. True: nothing of it is under way whose time could soon be over. */
bool rpc_connection_sweep(struct rpc_connection *connection, uint64_t now_ms);
/* Reads on when nothing speaks against it any more. */
void rpc_connection_resume(struct rpc_connection *connection);
/* Puts an answer behind those that are not sent yet. Takes msg, also when it fails. */
void rpc_connection_answer(struct rpc_connection *connection, const struct rpc_call *call,
                           nng_msg *msg);

/* ---- rpc_call.c; with the lock held ---- */

struct rpc_call *rpc_call_new(struct rpc_connection *connection);
/* The call's connection asked for what was served: what is now known of it? */
void rpc_call_served(struct rpc_call *call);
/* So many bytes more are held on behalf of the call, whatever the limit. */
void rpc_call_hold_always(struct rpc_call *call, size_t bytes);
void rpc_server_free(struct rpc_server *server);

/* ---- rpc_server.c; with the lock held ---- */

/* May so many bytes more be held, by a connection that is known, or not? What is not known leaves a
 * quarter to the others. */
bool rpc_server_has_room(const struct rpc_server *server, bool known, size_t bytes);
/* Something began whose time may be over before the next sweep. */
void rpc_server_sweep_soon(struct rpc_server *server);
/* Slots or memory are short: patience is. */
bool rpc_server_is_short(const struct rpc_server *server);

#endif

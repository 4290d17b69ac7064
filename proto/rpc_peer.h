/* SPDX-License-Identifier: MIT */
/*
 * The client's connections: for each peer and lane one REQ socket with its open and spare calls.
 * Internal to rpc_client.c, rpc_reply.c and rpc_peer.c, which share one lock (client->lock guards
 * everything here but what is marked otherwise).
 */
#ifndef CHORD_RPC_PEER_H
#define CHORD_RPC_PEER_H

#include <pthread.h>

#include "rpc_internal.h"

enum { RPC_LANES = 2 };

struct rpc_link;

/* One call on its way, or a spare (context and aio are kept for the next call). */
struct rpc_pending {
    struct rpc_link *link;
    struct rpc_pending *next; /* in link->open or link->spare */
    struct rpc_pending *previous;
    nng_ctx ctx;
    nng_aio *aio;
    bool receiving;       /* the request was sent; else it waits for the connection */
    const void *msg;      /* the request; once it was sent it is nng's and this only its address */
    nng_msg *copy;        /* to send once more when it is refused with CHALLENGE; NULL: not again */
    size_t payload_bytes; /* of the copy */
    enum rpc_method method;
    uint64_t started_us;
    uint32_t timeout_ms;
    uint8_t request_id[RPC_REQUEST_ID_BYTES_MAX];
    bool has_ring; /* meant for this ring */
    uint8_t ring_id[RPC_RING_ID_BYTES];
    rpc_reply_fn *on_reply;
    void *context;
};

struct rpc_link {
    struct rpc_peer *peer;
    nng_socket socket; /* id 0: not opened yet */
    struct rpc_pending *open;
    struct rpc_pending *spare;
    size_t open_count;
    uint64_t heard_us; /* the last answer */
};

struct rpc_peer {
    struct rpc_client *client;
    struct rpc_peer *next; /* the most recently used first */
    char address[RPC_ADDRESS_BYTES_MAX + 1];
    char url[RPC_URL_BYTES];
    uint64_t used_us;
    bool has_start; /* it has named its start and its clock, */
    uint8_t start[RPC_START_BYTES];
    uint64_t clock_us; /* which was at 0 at this time of ours */
    bool given_up;     /* its calls end as they may; new ones get a new peer */
    bool closing;      /* its connections end because we hang up */
    struct rpc_link links[RPC_LANES];
};

struct rpc_client {
    pthread_mutex_t lock;
    pthread_cond_t changed; /* calls_open reached 0, or the janitor has work */
    pthread_t janitor;
    bool janitor_runs;
    bool closing;
    struct rpc_mac *mac;
    bool has_ring; /* calls are meant for this ring */
    uint8_t ring_id[RPC_RING_ID_BYTES];
    size_t peers_max;
    void (*on_disconnect)(void *context, const char *address);
    void *context;
    struct rpc_peer *peers;
    size_t peers_count;
    struct rpc_peer *doomed; /* for the janitor to close */
    size_t calls_open;
    uint64_t request_prefix; /* random; with the number below every request id is unique */
    uint64_t requests_total;
};

/* All with client->lock held, except where it says otherwise. */

/* The peer, new if need be, now the most recently used. NULL: no memory. */
struct rpc_peer *rpc_peer_get(struct rpc_client *client, const char *address, const char *url);
/* Opens the lane's socket when it is not open. 0 or an nng error. */
int rpc_link_open(struct rpc_link *link);
/* A pending in link->open, with context and aio. NULL: no memory. */
struct rpc_pending *rpc_link_take(struct rpc_link *link, void (*callback)(void *));
/* `rv`: how the call ended, 0 or an nng error. */
void rpc_link_give_back(struct rpc_pending *pending, int rv);
/* Without the lock: closes sockets and frees a peer that is in no list any more. */
void rpc_peer_close(struct rpc_peer *peer);
/* Without the lock: the thread that closes idle peers, since nng must not be closed from its own
 * callbacks. */
int rpc_janitor_start(struct rpc_client *client);
void rpc_janitor_stop(struct rpc_client *client);

/* ---- rpc_reply.c; without the lock ---- */

/* The reply has `code` and this text, and came from this side. */
void rpc_reply_error(struct rpc_reply *reply, Chord__V1__Code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* `rv`: the nng error that ended the call. */
void rpc_reply_from_nng(struct rpc_reply *reply, const struct rpc_pending *pending, int rv);
/* Takes the message. */
void rpc_reply_from_msg(struct rpc_reply *reply, const struct rpc_pending *pending, nng_msg *msg);
/* How long the request waits for a connection that takes it. */
uint32_t rpc_pending_connect_ms(const struct rpc_pending *pending);

#endif

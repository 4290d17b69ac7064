/* SPDX-License-Identifier: MIT */
/*
 * The client's inside: peers and which of them are kept (rpc_peer.c), for each peer and lane one
 * connection (rpc_link.c), the way of a call over it (rpc_client.c), what came of it (rpc_reply.c),
 * what time demands (rpc_timer.c). Internal to these files.
 *
 * Lock: client->lock guards everything here, and is held while an nng operation is started, so that
 * neither the end of a connection nor rpc_client_close can slip between a call's entry in the list
 * and its start. nng does not run our callbacks inside the call that starts an operation.
 * Callbacks to the user run without the lock.
 */
#ifndef CHORD_RPC_PEER_H
#define CHORD_RPC_PEER_H

#include <pthread.h>

#include "rpc_frames.h"
#include "rpc_internal.h"

enum {
    RPC_LANES = 2,
    RPC_LINK_BUCKETS = 32,
};

struct rpc_link;

/* One call on its way. */
struct rpc_pending {
    struct rpc_link *link;
    struct rpc_pending *next, *previous; /* in link->open; `next` also of those that end together */
    struct rpc_pending *next_alike;      /* in its bucket */
    uint32_t id;                         /* on the wire */
    struct rpc_frame *frame; /* the request, as long as it waits for a connection; then NULL */
    bool sent;               /* some of it may have left this process */
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

enum rpc_link_state {
    RPC_LINK_DOWN,
    RPC_LINK_DIALS,
    RPC_LINK_GREETS, /* connected; the other side's hello is awaited */
    RPC_LINK_UP,
    RPC_LINK_ENDS, /* closed, and nng still has something of it */
};

struct rpc_link {
    struct rpc_peer *peer;
    enum rpc_link_state state;
    nng_stream_dialer *dialer; /* NULL: never used yet */
    nng_stream *stream;        /* NULL: DOWN or DIALS */
    nng_aio *dial_aio, *in_aio;
    bool broken;  /* the stream is closed, which in_event does not know yet */
    bool reading; /* in_aio is under way, or its callback; whoever sets it owns the inbox */
    struct rpc_inbox in;
    struct rpc_outbox out;
    uint64_t due_us; /* DOWN: it may be dialled from then on; DIALS, GREETS: that has failed then */
    uint32_t dial_pause_ms;                      /* after the next one */
    struct rpc_pending *open, *open_last;        /* the oldest first */
    struct rpc_pending *by_id[RPC_LINK_BUCKETS]; /* the same */
    size_t open_count;                           /* and those whose end is being told */
    uint32_t ids;                                /* given so far */
    uint64_t heard_us;                           /* the last answer */
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
    pthread_cond_t changed; /* calls_open reached 0, or the timer has work */
    pthread_t timer;
    bool timer_runs;
    uint64_t timer_us; /* it sleeps until then; 0: it is awake, and looks before it sleeps */
    bool closing;
    struct rpc_mac *mac;
    bool has_ring; /* calls are meant for this ring */
    uint8_t ring_id[RPC_RING_ID_BYTES];
    size_t peers_max;
    void (*on_disconnect)(void *context, const char *address);
    void *context;
    struct rpc_peer *peers;
    size_t peers_count;
    struct rpc_peer *doomed; /* for the timer to close */
    size_t calls_open;
    uint64_t request_prefix; /* random; with the number below every request id is unique */
    uint64_t requests_total;
};

/* ---- rpc_peer.c; with the lock held ---- */

/* The peer, new if need be, now the most recently used. NULL: no memory. */
struct rpc_peer *rpc_peer_get(struct rpc_client *client, const char *address, const char *url);
/* One of its calls is over, or it is given up. */
void rpc_peer_changed(struct rpc_peer *peer);
/* Dooms the peers that nobody needs any more. */
void rpc_peers_tidy(struct rpc_client *client);
/* Without the lock, and not on an nng thread, since it waits for these: ends the connections and
 * frees a peer that is in no list any more. */
void rpc_peer_close(struct rpc_peer *peer);

/* ---- rpc_link.c; with the lock held ---- */

/* Before the first call. 0 or an nng error. */
int rpc_link_open(struct rpc_link *link);
/* Puts the call on its way: now, or once there is a connection. Takes the frame. */
void rpc_link_start(struct rpc_link *link, struct rpc_pending *pending, struct rpc_frame *frame);
/* The call is no longer the link's, and is not sent any more if it was not. open_count stays, until
 * rpc_link_told. */
void rpc_link_take(struct rpc_pending *pending);
/* How the call ended is known: `rv`, 0 or an nng error. */
void rpc_link_told(const struct rpc_pending *pending, int rv);
/* Takes all calls out: a list by `next` from *last on. Returns where it ends. */
struct rpc_pending **rpc_link_take_all(struct rpc_link *link, struct rpc_pending **last);
/* When rpc_link_due is to be called, as far as is known now. UINT64_MAX: not. */
uint64_t rpc_link_due_us(const struct rpc_link *link);
void rpc_link_due(struct rpc_link *link);
/* Without the lock: see rpc_peer_close. */
void rpc_link_close(struct rpc_link *link);

/* ---- rpc_client.c; without the lock ---- */

/* An answer to the call, which was taken out: from id on. */
void rpc_pending_answer(struct rpc_pending *pending, const uint8_t *bytes, size_t bytes_count);
/* These calls (linked by `next`), which were taken out, end with an nng error. */
void rpc_pending_fail(struct rpc_pending *pending, int rv);

/* ---- rpc_timer.c ---- */

/* The thread that ends calls at their deadlines, dials again, and closes peers. */
int rpc_timer_start(struct rpc_client *client);
void rpc_timer_stop(struct rpc_client *client);
/* With the lock held: it has something to do then. */
void rpc_timer_wake_at(struct rpc_client *client, uint64_t us);
uint64_t rpc_pending_deadline_us(const struct rpc_pending *pending); /* as far as known now */

/* ---- rpc_reply.c; without the lock ---- */

/* The reply has `code` and this text, and came from this side. */
void rpc_reply_error(struct rpc_reply *reply, Chord__V1__Code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* `rv`: the nng error that ended the call. */
void rpc_reply_from_nng(struct rpc_reply *reply, const struct rpc_pending *pending, int rv);
/* `bytes`: an answer's envelope. */
void rpc_reply_from_bytes(struct rpc_reply *reply, const struct rpc_pending *pending,
                          const uint8_t *bytes, size_t bytes_count);
/* How long the request waits for a connection that takes it. */
uint32_t rpc_pending_connect_ms(const struct rpc_pending *pending);

#endif

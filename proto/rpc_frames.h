/* SPDX-License-Identifier: MIT */
/*
 * The SP framing of request/reply over a byte stream of nng (proto/README.md: "From the socket to
 * the method"), for both ends: bytes that have come become frames, frames become bytes that go.
 * Knows bytes; what is in a frame is its users' business. Internal to rpc_connection.c (server) and
 * rpc_link.c (client), which guard it by their locks.
 *
 * nng's own REQ and REP sockets are not used. REP: rpc_connection.c says why. REQ passes a message
 * and its answer through seven callbacks, each a hand-over to one of nng's threads, where a stream
 * needs one; and it hides whether a request has left.
 */
#ifndef CHORD_RPC_FRAMES_H
#define CHORD_RPC_FRAMES_H

#include "rpc_internal.h"

enum {
    RPC_HELLO_BYTES = 8,
    RPC_LENGTH_BYTES = 8,              /* in front of each message */
    RPC_ID_BYTES = 4,                  /* in front of its envelope; the caller's has the top bit */
    RPC_TRACE_BYTES_MAX = 32,          /* the caller's id behind those of up to 7 forwarders */
    RPC_BUFFER_BYTES = 1024,           /* what a connection reads into, until more is needed */
    RPC_BUFFER_FREE_BYTES = 16 * 1024, /* a buffer grows so far whatever else is held */
};

extern const uint8_t rpc_hello_req[RPC_HELLO_BYTES], rpc_hello_rep[RPC_HELLO_BYTES];

/* ---- in ---- */

/* What was read and is not handled yet: bytes[at] to bytes[count]. Starts as {0}. */
struct rpc_inbox {
    uint8_t *bytes;
    size_t at, count, capacity;
    unsigned small; /* reads in a row that would have fitted into RPC_BUFFER_BYTES */
    bool greeted;   /* the other side's hello was right */
};

/* The bytes from `at` on that the next thing (the hello; a length with its message) has at least,
 * as far as can be told. 0: no such thing, hang up. */
size_t rpc_inbox_wanted(const struct rpc_inbox *in, const uint8_t hello[RPC_HELLO_BYTES]);
/* So many bytes more were read. */
void rpc_inbox_read(struct rpc_inbox *in, size_t bytes);
/* Moves what is left to the front. A large buffer that is empty goes, or, when it may stay, once it
 * was too large for a while; one grows with what has come and not with what is announced. Returns
 * the capacity that it needs to have to read on: its own, or one for rpc_inbox_resize. */
size_t rpc_inbox_compact(struct rpc_inbox *in, size_t wanted, bool may_stay);
bool rpc_inbox_resize(struct rpc_inbox *in, size_t capacity); /* false: no memory */
/* Reads into the room that there is. */
void rpc_inbox_recv(struct rpc_inbox *in, nng_stream *stream, nng_aio *aio);
void rpc_inbox_free(struct rpc_inbox *in);

/* ---- out ---- */

/* Bytes for the wire: length, ids and an envelope; or the hello, without a message. */
struct rpc_frame {
    struct rpc_frame *next;
    nng_msg *msg;
    bool *sent; /* becomes true before the first byte may go; NULL: nobody asks */
    size_t head_bytes;
    uint8_t head[RPC_LENGTH_BYTES + RPC_TRACE_BYTES_MAX];
};

/* Takes msg, also when it returns NULL: no memory. */
struct rpc_frame *rpc_frame_new(nng_msg *msg, const uint8_t *trace, size_t trace_bytes);
struct rpc_frame *rpc_frame_hello(const uint8_t hello[RPC_HELLO_BYTES]);
void rpc_frame_free(struct rpc_frame *frame); /* accepts NULL */

/* Frames that are not sent yet. */
struct rpc_outbox {
    nng_aio *now, *later;
    bool sending; /* `later` is under way, or its callback */
    struct rpc_frame *first, **last;
    size_t at;           /* what is sent of the first */
    size_t count, bytes; /* frames; the bytes of their messages */
};

/* 0 or an nng error. `writable` is the callback of `later`: it calls rpc_outbox_sent. */
int rpc_outbox_open(struct rpc_outbox *out, void (*writable)(void *), void *context);
void rpc_outbox_push(struct rpc_outbox *out, struct rpc_frame *frame);
/* Takes the frame out that tells `sent`, if it has not begun to go. NULL: it has. */
struct rpc_frame *rpc_outbox_take(struct rpc_outbox *out, const bool *sent);
/* Writes what the stream takes; for the rest it waits with `later`. How many bytes are written, or
 * minus the nng error. */
int64_t rpc_outbox_send(struct rpc_outbox *out, nng_stream *stream);
/* `later` has ended. As rpc_outbox_send. */
int64_t rpc_outbox_sent(struct rpc_outbox *out);
/* Frees all frames; not while it is `sending`. */
void rpc_outbox_clear(struct rpc_outbox *out);

#endif

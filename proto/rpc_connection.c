/* SPDX-License-Identifier: MIT */
/*
 * One connection of the server: the SP framing over a stream of nng (proto/README.md: "From the
 * socket to the method"), whole messages in, answers out. Knows bytes and time; what is in a
 * message is rpc_dispatch.c's business.
 *
 * nng's own REP socket is not used: it takes requests from all connections into one set of
 * contexts, and each answer that is not read keeps one of them, so that one caller who never reads
 * silences the server for everybody; and it tells neither what a connection has not read, nor can
 * it hold one back. Here a connection whose answers wait is not read from, until they are sent:
 * that is all that a caller who does not read can reach.
 */
#include <stdlib.h>
#include <string.h>

#include "rpc_server.h"

static uint64_t now_ms(void) {
    return rpc_now_us() / 1000;
}

/* Patience with what began at since_ms, after so many bytes of it: they buy the time that a slow
 * line takes for them, and nothing for later. */
static uint64_t since_after(uint64_t since_ms, size_t bytes) {
    uint64_t now = now_ms();
    since_ms += bytes * 1000 / RPC_SLOWEST_BYTES_PER_S;
    return since_ms < now ? since_ms : now;
}

/* ---- the end ---- */

/* A closed connection goes when nothing of nng's points to it any more. */
static void connection_free_when_done(struct rpc_connection *connection) {
    struct rpc_server *server = connection->server;
    if (!connection->closed || connection->reading || connection->out.sending) {
        return;
    }
    server->held_bytes -= connection->out.bytes + connection->in.capacity;
    rpc_outbox_clear(&connection->out);
    if (connection->previous != NULL) {
        connection->previous->next = connection->next;
    } else {
        server->connections = connection->next;
    }
    if (connection->next != NULL) {
        connection->next->previous = connection->previous;
    }
    server->connections_count--;
    nng_stream_free(connection->stream);
    nng_aio_reap(connection->in_aio); /* this may be its callback */
    nng_aio_reap(connection->out.now);
    nng_aio_reap(connection->out.later);
    rpc_inbox_free(&connection->in);
    free(connection);
    pthread_cond_broadcast(&server->gone);
}

void rpc_connection_close(struct rpc_connection *connection) {
    if (connection->closed) {
        return;
    }
    connection->closed = true;
    for (struct rpc_call *call = connection->calls; call != NULL; call = call->next) {
        call->connection = NULL;
    }
    connection->calls = NULL;
    nng_stream_close(connection->stream);
    connection_free_when_done(connection);
}

/* After one of its operations has ended. */
static void connection_end(struct rpc_connection *connection) {
    if (connection->closed) {
        connection_free_when_done(connection);
    } else {
        rpc_connection_close(connection);
    }
}

/* ---- out ---- */

/* Not so much of its own is unread or waits that no more should be taken. */
static bool connection_may_ask(const struct rpc_connection *connection) {
    return connection->waiting < RPC_WAITING_MAX &&
           connection->out.count < RPC_UNSENT_ANSWERS_MAX &&
           connection->out.bytes < RPC_UNSENT_BYTES_MAX && !connection->last;
}

/* Lets the callback of in_aio handle what is in the buffer and read on. */
void rpc_connection_resume(struct rpc_connection *connection) {
    if (!connection->reading && !connection->closed && connection_may_ask(connection) &&
        nng_aio_begin(connection->in_aio)) {
        connection->reading = true;
        nng_aio_finish(connection->in_aio, 0);
    }
}

/* `written`: as of rpc_outbox_send; `held`: the outbox's bytes before. False: it is broken. */
static bool connection_wrote(struct rpc_connection *connection, int64_t written, size_t held) {
    connection->server->held_bytes -= held - connection->out.bytes;
    if (written > 0) {
        connection->out_since_ms = since_after(connection->out_since_ms, (size_t)written);
    }
    return written >= 0;
}

static bool connection_send(struct rpc_connection *connection) {
    size_t held = connection->out.bytes;
    return connection_wrote(connection, rpc_outbox_send(&connection->out, connection->stream),
                            held);
}

static bool connection_push(struct rpc_connection *connection, struct rpc_frame *frame) {
    if (connection->out.first == NULL) {
        connection->out_since_ms = now_ms();
    }
    rpc_outbox_push(&connection->out, frame);
    bool good = connection_send(connection);
    if (connection->out.first != NULL) {
        rpc_server_sweep_soon(connection->server);
    }
    return good;
}

/* A send that had to wait has ended. */
static void out_event(void *context) {
    struct rpc_connection *connection = context;
    struct rpc_server *server = connection->server;
    pthread_mutex_lock(&server->lock);
    size_t held = connection->out.bytes;
    bool good = connection_wrote(connection, rpc_outbox_sent(&connection->out), held);
    if (connection->closed || !good || !connection_send(connection) ||
        (connection->last && connection->out.first == NULL)) {
        connection_end(connection);
    } else {
        rpc_connection_resume(connection);
    }
    pthread_mutex_unlock(&server->lock);
}

void rpc_connection_answer(struct rpc_connection *connection, const struct rpc_call *call,
                           nng_msg *msg) {
    struct rpc_frame *frame =
        msg == NULL ? NULL : rpc_frame_new(msg, call->trace, call->trace_bytes);
    if (frame != NULL) {
        connection->server->held_bytes += nng_msg_len(frame->msg);
    }
    /* Without memory the caller should not wait in vain. */
    if (frame == NULL || !connection_push(connection, frame) ||
        (connection->last && connection->out.first == NULL)) {
        rpc_connection_close(connection);
    } else {
        rpc_connection_resume(connection);
    }
}

/* ---- in ---- */

/* Ids of forwarders, and last the caller's, which has the top bit. False: there are too many, as
 * when forwarders forward to each other without end. *trace_bytes 0: it ends too early. */
static bool trace_read(const uint8_t *bytes, size_t count, size_t *trace_bytes) {
    size_t at = 0;
    *trace_bytes = 0;
    do {
        if (at == RPC_TRACE_BYTES_MAX) {
            return false;
        }
        at += RPC_ID_BYTES;
        if (at > count) {
            return true;
        }
    } while ((bytes[at - RPC_ID_BYTES] & 0x80) == 0);
    *trace_bytes = at;
    return true;
}

/* With the lock held; gives it up while the message is handled. */
static void message_handle(struct rpc_connection *connection, const uint8_t *bytes, size_t count) {
    struct rpc_server *server = connection->server;
    size_t trace_bytes;
    if (!trace_read(bytes, count, &trace_bytes)) {
        return;
    }
    struct rpc_call *call = trace_bytes == 0 ? NULL : rpc_call_new(connection);
    if (call == NULL) {
        rpc_connection_close(connection);
        return;
    }
    memcpy(call->trace, bytes, trace_bytes);
    call->trace_bytes = trace_bytes;
    pthread_mutex_unlock(&server->lock);
    rpc_call_dispatch(call, bytes + trace_bytes, count - trace_bytes);
    pthread_mutex_lock(&server->lock);
}

/* Handles what is complete. False: hang up. *wanted: as rpc_inbox_wanted of what is not. */
static bool in_handle(struct rpc_connection *connection, size_t *wanted) {
    struct rpc_inbox *in = &connection->in;
    while ((*wanted = rpc_inbox_wanted(in, rpc_hello_req)) != 0 && !connection->closed) {
        if (in->count - in->at < *wanted || !connection_may_ask(connection)) {
            return true;
        }
        const uint8_t *at = in->bytes + in->at;
        in->at += *wanted;
        connection->in_since_ms = 0;
        if (!in->greeted) {
            in->greeted = true;
            continue;
        }
        connection->heard_ms = now_ms();
        message_handle(connection, at + RPC_LENGTH_BYTES, *wanted - RPC_LENGTH_BYTES);
    }
    return false;
}

static bool in_resize(struct rpc_connection *connection, size_t capacity) {
    size_t before = connection->in.capacity;
    bool resized = rpc_inbox_resize(&connection->in, capacity);
    connection->server->held_bytes += connection->in.capacity - before;
    return resized;
}

/* Makes room to read into. False: not now, memory is short. */
static bool in_make_room(struct rpc_connection *connection, size_t wanted) {
    struct rpc_server *server = connection->server;
    size_t before = connection->in.capacity;
    size_t capacity = rpc_inbox_compact(&connection->in, wanted,
                                        connection->known && !rpc_server_is_short(server));
    server->held_bytes += connection->in.capacity - before;
    if (capacity == connection->in.capacity) {
        return true;
    }
    return (capacity <= RPC_BUFFER_FREE_BYTES ||
            rpc_server_has_room(server, connection->known, capacity - connection->in.capacity)) &&
           in_resize(connection, capacity);
}

/* Handles what has come and reads on. With the lock held and `reading` set. */
static void in_go_on(struct rpc_connection *connection) {
    size_t wanted;
    bool good = in_handle(connection, &wanted);
    if (good && connection->in.at < connection->in.count && connection->in_since_ms == 0) {
        connection->in_since_ms = now_ms();
        rpc_server_sweep_soon(connection->server);
    }
    if (connection->closed || !good) {
        connection->reading = false;
        connection_end(connection);
    } else if (!connection_may_ask(connection) || !in_make_room(connection, wanted)) {
        connection->reading = false; /* until answers are sent, or the sweep finds room */
        rpc_server_sweep_soon(connection->server);
    } else {
        rpc_inbox_recv(&connection->in, connection->stream, connection->in_aio);
    }
}

/* A read has ended, or rpc_connection_resume asks. */
static void in_event(void *context) {
    struct rpc_connection *connection = context;
    struct rpc_server *server = connection->server;
    pthread_mutex_lock(&server->lock);
    if (connection->closed || nng_aio_result(connection->in_aio) != 0) {
        connection->reading = false;
        connection_end(connection);
    } else {
        size_t bytes = nng_aio_count(connection->in_aio);
        rpc_inbox_read(&connection->in, bytes);
        if (connection->in_since_ms != 0) {
            connection->in_since_ms = since_after(connection->in_since_ms, bytes);
        }
        in_go_on(connection);
    }
    pthread_mutex_unlock(&server->lock);
}

/* ---- time ---- */

static bool connection_must_go(const struct rpc_connection *c, uint64_t now) {
    bool is_short = !c->known && rpc_server_is_short(c->server);
    uint64_t patience_ms = is_short ? RPC_PATIENCE_SHORT_MS : RPC_PATIENCE_MS;
    if (c->out.first != NULL && now > c->out_since_ms + patience_ms) {
        return true;
    }
    if (!c->in.greeted) {
        return now > c->opened_ms + patience_ms;
    }
    /* A message that is held back here is not the caller's fault. */
    if (c->in_since_ms != 0 && c->reading && now > c->in_since_ms + patience_ms) {
        return true;
    }
    uint64_t idle_ms_max = c->spoke ? RPC_IDLE_MS_MAX : RPC_SILENT_MS_MAX;
    /* Added, not subtracted: whoever was heard after `now` is not idle. */
    return c->calls == NULL && c->out.first == NULL && now > c->heard_ms + idle_ms_max;
}

/* Nothing is awaited of the other side, and nothing is held back. */
static bool connection_is_quiet(const struct rpc_connection *connection) {
    return connection->in.greeted && connection->in_since_ms == 0 && connection->reading &&
           connection->out.first == NULL;
}

bool rpc_connection_sweep(struct rpc_connection *connection, uint64_t now) {
    if (connection->closed) {
        return true;
    }
    if (connection_must_go(connection, now)) {
        rpc_connection_close(connection);
        return true;
    }
    bool quiet = connection_is_quiet(connection);
    rpc_connection_resume(connection);
    return quiet;
}

/* ---- the beginning ---- */

static bool connection_greet(struct rpc_connection *connection) {
    struct rpc_frame *hello = rpc_frame_hello(rpc_hello_rep);
    return hello != NULL && connection_push(connection, hello);
}

bool rpc_connection_open(struct rpc_server *server, nng_stream *stream) {
    struct rpc_connection *connection = calloc(1, sizeof *connection);
    if (connection == NULL || nng_aio_alloc(&connection->in_aio, in_event, connection) != 0 ||
        rpc_outbox_open(&connection->out, out_event, connection) != 0) {
        if (connection != NULL) {
            nng_aio_free(connection->in_aio);
            free(connection);
        }
        nng_stream_close(stream);
        nng_stream_free(stream);
        return false;
    }
    nng_aio_set_timeout(connection->in_aio, NNG_DURATION_INFINITE);
    connection->server = server;
    connection->stream = stream;
    connection->opened_ms = connection->heard_ms = now_ms();
    connection->next = server->connections;
    if (server->connections != NULL) {
        server->connections->previous = connection;
    }
    server->connections = connection;
    server->connections_count++;
    if (!in_resize(connection, RPC_BUFFER_BYTES) || !connection_greet(connection)) {
        rpc_connection_close(connection);
        return false;
    }
    rpc_connection_resume(connection);
    rpc_server_sweep_soon(server); /* for its hello */
    return true;
}

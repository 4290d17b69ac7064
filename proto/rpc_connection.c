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

enum {
    HELLO_BYTES = 8,
    ID_BYTES = 4,
    SEND_PARTS = 8,              /* what nng takes at once */
    SEND_BYTES_MAX = 256 * 1024, /* written under the lock at once */
};

static const uint8_t hello_ours[HELLO_BYTES] = {0, 'S', 'P', 0, 0, 0x31, 0, 0};
static const uint8_t hello_theirs[HELLO_BYTES] = {0, 'S', 'P', 0, 0, 0x30, 0, 0};

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

static void answer_free(struct rpc_answer *answer) {
    nng_msg_free(answer->msg);
    free(answer);
}

static void answer_drop(struct rpc_connection *connection) {
    struct rpc_answer *answer = connection->out;
    size_t bytes = answer->msg == NULL ? 0 : nng_msg_len(answer->msg);
    connection->out = answer->next;
    connection->out_last = connection->out == NULL ? &connection->out : connection->out_last;
    connection->out_at = 0;
    connection->out_count--;
    connection->out_bytes -= bytes;
    connection->server->held_bytes -= bytes;
    answer_free(answer);
}

/* A closed connection goes when nothing of nng's points to it any more. */
static void connection_free_when_done(struct rpc_connection *connection) {
    struct rpc_server *server = connection->server;
    if (!connection->closed || connection->reading || connection->sending) {
        return;
    }
    while (connection->out != NULL) {
        answer_drop(connection);
    }
    server->held_bytes -= connection->in_capacity;
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
    nng_aio_reap(connection->out_aio);
    free(connection->in);
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

static void connection_send(struct rpc_connection *connection) {
    nng_iov parts[SEND_PARTS];
    unsigned count = 0;
    size_t total = 0, skip = connection->out_at;
    if (connection->sending || connection->closed || connection->out == NULL) {
        return;
    }
    for (struct rpc_answer *answer = connection->out;
         answer != NULL && count + 2 <= SEND_PARTS && total < SEND_BYTES_MAX;
         answer = answer->next) {
        const nng_iov both[] = {
            {answer->head, answer->head_bytes},
            {answer->msg == NULL ? NULL : nng_msg_body(answer->msg),
             answer->msg == NULL ? 0 : nng_msg_len(answer->msg)},
        };
        for (int i = 0; i < 2; i++) {
            size_t skipped = skip < both[i].iov_len ? skip : both[i].iov_len;
            size_t left = both[i].iov_len - skipped;
            size_t taken = left < SEND_BYTES_MAX - total ? left : SEND_BYTES_MAX - total;
            skip -= skipped;
            if (taken > 0) {
                parts[count++] = (nng_iov){(uint8_t *)both[i].iov_buf + skipped, taken};
                total += taken;
            }
        }
    }
    nng_aio_set_iov(connection->out_aio, count, parts);
    connection->sending = true;
    nng_stream_send(connection->stream, connection->out_aio);
}

static void connection_push(struct rpc_connection *connection, struct rpc_answer *answer) {
    if (connection->out == NULL) {
        connection->out_since_ms = now_ms();
    }
    *connection->out_last = answer;
    connection->out_last = &answer->next;
    connection->out_count++;
    connection_send(connection);
}

/* Not so much of its own is unread or waits that no more should be taken. */
static bool connection_may_ask(const struct rpc_connection *connection) {
    return connection->waiting < RPC_WAITING_MAX &&
           connection->out_count < RPC_UNSENT_ANSWERS_MAX &&
           connection->out_bytes < RPC_UNSENT_BYTES_MAX && !connection->last;
}

/* Lets the callback of in_aio handle what is in the buffer and read on. */
void rpc_connection_resume(struct rpc_connection *connection) {
    if (!connection->reading && !connection->closed && connection_may_ask(connection) &&
        nng_aio_begin(connection->in_aio)) {
        connection->reading = true;
        nng_aio_finish(connection->in_aio, 0);
    }
}

static void connection_sent(struct rpc_connection *connection, size_t bytes) {
    connection->out_since_ms = since_after(connection->out_since_ms, bytes);
    while (bytes > 0) {
        const struct rpc_answer *answer = connection->out;
        size_t left = answer->head_bytes - connection->out_at +
                      (answer->msg == NULL ? 0 : nng_msg_len(answer->msg));
        if (bytes < left) {
            connection->out_at += bytes;
            return;
        }
        bytes -= left;
        answer_drop(connection);
    }
}

/* A send has ended. */
static void out_event(void *context) {
    struct rpc_connection *connection = context;
    struct rpc_server *server = connection->server;
    pthread_mutex_lock(&server->lock);
    int rv = nng_aio_result(connection->out_aio);
    connection->sending = false;
    if (rv == 0) {
        connection_sent(connection, nng_aio_count(connection->out_aio));
    }
    if (connection->closed || rv != 0 || (connection->last && connection->out == NULL)) {
        connection_end(connection);
    } else {
        connection_send(connection);
        rpc_connection_resume(connection);
    }
    pthread_mutex_unlock(&server->lock);
}

void rpc_connection_answer(struct rpc_connection *connection, const struct rpc_call *call,
                           nng_msg *msg) {
    struct rpc_answer *answer = msg == NULL ? NULL : calloc(1, sizeof *answer);
    if (answer == NULL) {
        nng_msg_free(msg);
        rpc_connection_close(connection); /* no memory: the caller should not wait in vain */
        return;
    }
    uint64_t length = call->trace_bytes + nng_msg_len(msg);
    for (int i = 0; i < RPC_LENGTH_BYTES; i++) {
        answer->head[RPC_LENGTH_BYTES - 1 - i] = (uint8_t)(length >> 8 * i);
    }
    memcpy(answer->head + RPC_LENGTH_BYTES, call->trace, call->trace_bytes);
    answer->head_bytes = RPC_LENGTH_BYTES + call->trace_bytes;
    answer->msg = msg;
    connection->out_bytes += nng_msg_len(msg);
    connection->server->held_bytes += nng_msg_len(msg);
    connection_push(connection, answer);
}

/* ---- in ---- */

static uint64_t be64(const uint8_t *bytes) {
    uint64_t number = 0;
    for (int i = 0; i < RPC_LENGTH_BYTES; i++) {
        number = number << 8 | bytes[i];
    }
    return number;
}

/* Ids of forwarders, and last the caller's, which has the top bit. False: there are too many, as
 * when forwarders forward to each other without end. *trace_bytes 0: it ends too early. */
static bool trace_read(const uint8_t *bytes, size_t count, size_t *trace_bytes) {
    size_t at = 0;
    *trace_bytes = 0;
    do {
        if (at == RPC_TRACE_BYTES_MAX) {
            return false;
        }
        at += ID_BYTES;
        if (at > count) {
            return true;
        }
    } while ((bytes[at - ID_BYTES] & 0x80) == 0);
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

/* The bytes from in_at on that the next thing has at least, as far as can be told. 0: no such
 * thing, hang up. */
static size_t in_wanted(const struct rpc_connection *connection) {
    const uint8_t *at = connection->in + connection->in_at;
    size_t have = connection->in_bytes - connection->in_at;
    if (!connection->greeted) {
        size_t compared = have < HELLO_BYTES ? have : HELLO_BYTES;
        return memcmp(at, hello_theirs, compared) == 0 ? HELLO_BYTES : 0;
    }
    if (have < RPC_LENGTH_BYTES) {
        return RPC_LENGTH_BYTES;
    }
    uint64_t length = be64(at);
    return length < ID_BYTES || length > RPC_RECEIVE_BYTES_MAX ? 0
                                                               : RPC_LENGTH_BYTES + (size_t)length;
}

/* Handles what is complete. False: hang up. *wanted: as in_wanted of what is not. */
static bool in_handle(struct rpc_connection *connection, size_t *wanted) {
    while ((*wanted = in_wanted(connection)) != 0 && !connection->closed) {
        if (connection->in_bytes - connection->in_at < *wanted || !connection_may_ask(connection)) {
            return true;
        }
        const uint8_t *at = connection->in + connection->in_at;
        connection->in_at += *wanted;
        connection->in_since_ms = 0;
        if (!connection->greeted) {
            connection->greeted = true;
            continue;
        }
        connection->heard_ms = now_ms();
        message_handle(connection, at + RPC_LENGTH_BYTES, *wanted - RPC_LENGTH_BYTES);
    }
    return false;
}

static bool in_resize(struct rpc_connection *connection, size_t capacity) {
    uint8_t *in = realloc(connection->in, capacity);
    if (in == NULL) {
        return false;
    }
    connection->server->held_bytes += capacity;
    connection->server->held_bytes -= connection->in_capacity;
    connection->in = in;
    connection->in_capacity = capacity;
    return true;
}

/* Makes room to read into. A buffer grows with what has come and not with what is announced. False:
 * not now, memory is short. */
static bool in_make_room(struct rpc_connection *connection, size_t wanted) {
    size_t have = connection->in_bytes - connection->in_at;
    if (connection->in_at > 0) {
        memmove(connection->in, connection->in + connection->in_at, have);
        connection->in_at = 0;
        connection->in_bytes = have;
    }
    if (have == 0 && connection->in_capacity > RPC_BUFFER_BYTES) {
        in_resize(connection, RPC_BUFFER_BYTES);
    }
    if (have < connection->in_capacity) {
        return true;
    }
    size_t capacity = 2 * have < RPC_BUFFER_FREE_BYTES ? RPC_BUFFER_FREE_BYTES : 2 * have;
    capacity = capacity > wanted ? wanted : capacity;
    return (capacity <= RPC_BUFFER_FREE_BYTES ||
            rpc_server_has_room(connection->server, connection->known,
                                capacity - connection->in_capacity)) &&
           in_resize(connection, capacity);
}

/* Handles what has come and reads on. With the lock held and `reading` set. */
static void in_go_on(struct rpc_connection *connection) {
    size_t wanted;
    bool good = in_handle(connection, &wanted);
    if (good && connection->in_at < connection->in_bytes && connection->in_since_ms == 0) {
        connection->in_since_ms = now_ms();
    }
    if (connection->closed || !good) {
        connection->reading = false;
        connection_end(connection);
    } else if (!connection_may_ask(connection) || !in_make_room(connection, wanted)) {
        connection->reading = false; /* until answers are sent, or the sweep finds room */
    } else {
        nng_iov room = {connection->in + connection->in_bytes,
                        connection->in_capacity - connection->in_bytes};
        nng_aio_set_iov(connection->in_aio, 1, &room);
        nng_stream_recv(connection->stream, connection->in_aio);
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
        connection->in_bytes += bytes;
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
    if (c->out != NULL && now > c->out_since_ms + patience_ms) {
        return true;
    }
    if (!c->greeted) {
        return now > c->opened_ms + patience_ms;
    }
    /* A message that is held back here is not the caller's fault. */
    if (c->in_since_ms != 0 && c->reading && now > c->in_since_ms + patience_ms) {
        return true;
    }
    uint64_t idle_ms_max = c->spoke ? RPC_IDLE_MS_MAX : RPC_SILENT_MS_MAX;
    /* Added, not subtracted: whoever was heard after `now` is not idle. */
    return c->calls == NULL && c->out == NULL && now > c->heard_ms + idle_ms_max;
}

void rpc_connection_sweep(struct rpc_connection *connection, uint64_t now) {
    if (connection->closed) {
        return;
    }
    if (connection_must_go(connection, now)) {
        rpc_connection_close(connection);
    } else {
        rpc_connection_resume(connection);
    }
}

/* ---- the beginning ---- */

static bool connection_greet(struct rpc_connection *connection) {
    struct rpc_answer *hello = calloc(1, sizeof *hello);
    if (hello == NULL) {
        return false;
    }
    memcpy(hello->head, hello_ours, HELLO_BYTES);
    hello->head_bytes = HELLO_BYTES;
    connection_push(connection, hello);
    return true;
}

bool rpc_connection_open(struct rpc_server *server, nng_stream *stream) {
    struct rpc_connection *connection = calloc(1, sizeof *connection);
    if (connection == NULL || nng_aio_alloc(&connection->in_aio, in_event, connection) != 0 ||
        nng_aio_alloc(&connection->out_aio, out_event, connection) != 0) {
        if (connection != NULL) {
            nng_aio_free(connection->in_aio);
            free(connection);
        }
        nng_stream_close(stream);
        nng_stream_free(stream);
        return false;
    }
    nng_aio_set_timeout(connection->in_aio, NNG_DURATION_INFINITE);
    nng_aio_set_timeout(connection->out_aio, NNG_DURATION_INFINITE);
    connection->server = server;
    connection->stream = stream;
    connection->out_last = &connection->out;
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
    return true;
}

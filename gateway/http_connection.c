/* Bytes in and out of one connection; see http_internal.h. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http_internal.h"
#include "log.h"

enum { RECEIVE_HEAD_BYTES = 2048, RECEIVE_BYTES = 64 * 1024 };

static int wait_for(int fd, short events, int wait_ms) {
    struct pollfd about = {.fd = fd, .events = events};
    int ready;
    do {
        ready = poll(&about, 1, wait_ms);
    } while (ready < 0 && errno == EINTR);
    return ready > 0 ? 0 : -EAGAIN;
}

/* Moves what is left to the front. */
static void in_compact(struct http_connection *connection) {
    if (connection->in_taken > 0) {
        buf_drop(&connection->in, connection->in_taken);
        connection->in_taken = 0;
    }
}

int http_connection_receive(struct http_connection *connection, int wait_ms) {
    struct buf *in = &connection->in;
    in_compact(connection);
    size_t room = connection->head_text == NULL ? RECEIVE_HEAD_BYTES : RECEIVE_BYTES;
    if (!buf_reserve(in, room)) {
        return -EPIPE;
    }
    for (;;) {
        ssize_t got = recv(connection->fd, in->data + in->size, room, 0);
        if (got >= 0) {
            in->size += (size_t)got;
            return (int)got;
        }
        if (errno == EINTR) {
            continue;
        }
        if (errno != EAGAIN && errno != EWOULDBLOCK) {
            return -EPIPE;
        }
        if (wait_ms == 0 || wait_for(connection->fd, POLLIN, wait_ms) != 0) {
            return -EAGAIN;
        }
        wait_ms = 0;
    }
}

size_t http_connection_body(struct http_connection *connection, uint8_t *out, size_t size) {
    const uint8_t *in = connection->in.data + connection->in_taken;
    size_t in_size = connection->in.size - connection->in_taken;
    size_t used = 0;
    size_t got = 0;
    if (connection->body_done || connection->body_fault != HTTP_BODY_FINE || in_size == 0) {
        return 0;
    }
    if (connection->head.body_bytes == HTTP_BODY_CHUNKED) {
        int64_t decoded = http_chunks_read(&connection->chunks, in, in_size, &used, out, size);
        if (decoded < 0) {
            connection->body_fault = HTTP_BODY_MALFORMED;
            return 0;
        }
        got = (size_t)decoded;
        connection->body_done = connection->chunks.done;
    } else {
        uint64_t left = (uint64_t)connection->head.body_bytes - connection->body_decoded;
        got = in_size < size ? in_size : size;
        got = got < left ? got : (size_t)left;
        memcpy(out, in, got);
        used = got;
        connection->body_done = got == left;
    }
    connection->in_taken += used;
    connection->body_decoded += got;
    return got;
}

int http_connection_send(struct http_connection *connection, int wait_ms) {
    struct buf *out = &connection->out;
    while (connection->out_sent < out->size) {
        ssize_t sent = send(connection->fd, out->data + connection->out_sent,
                            out->size - connection->out_sent, MSG_NOSIGNAL);
        if (sent >= 0) {
            connection->out_sent += (size_t)sent;
            connection->progress_ms = clock_now_ms();
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            if (wait_ms == 0 || wait_for(connection->fd, POLLOUT, wait_ms) != 0) {
                return -EAGAIN;
            }
        } else if (errno != EINTR) {
            return -EPIPE;
        }
    }
    buf_free(out);
    connection->out_sent = 0;
    return 0;
}

bool http_body_too_slow(const struct http_connection *connection, uint64_t waited_ms) {
    return waited_ms > HTTP_BODY_GRACE_MS + connection->body_decoded * 1000 / HTTP_BODY_RATE_MIN;
}

void http_connection_next(struct http_connection *connection) {
    free(connection->head_text);
    connection->head_text = NULL;
    connection->head = HTTP_HEAD_NONE;
    buf_free(&connection->body);
    in_compact(connection);
    if (connection->in.size == 0) {
        buf_free(&connection->in); /* an idle connection holds nothing */
    }
    connection->scanned = 0;
    connection->refusal = (struct http_refusal){0};
    connection->chunks = (struct http_chunks){0};
    connection->body_taken = 0;
    connection->body_decoded = 0;
    connection->body_waited_ms = 0;
    connection->body_done = false;
    connection->body_fault = HTTP_BODY_FINE;
}

void http_connection_free(struct http_connection *connection) {
    if (connection->reset) {
        const struct linger at_once = {.l_onoff = 1};
        (void)setsockopt(connection->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    }
    close(connection->fd);
    free(connection->head_text);
    buf_free(&connection->in);
    buf_free(&connection->body);
    buf_free(&connection->out);
    free(connection);
}

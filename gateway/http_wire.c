/* SPDX-License-Identifier: MIT */
/*
 * Bytes from clients; see http_internal.h.
 *
 * civetweb 1.15 parses a head in place and says nothing of what it leaves out: the 65th header
 * line, a folded line and all that follows it, what stands behind a nameless line, the second of
 * two Content-Length. A PUT so loses its If-Match, or its body becomes the next request, and from
 * behind its parser that cannot be told in every case: LF and CRLF, a NUL, a blank before a colon
 * look alike there.
 *
 * So civetweb does not parse what clients send. It calls the C library's accept, recv and shutdown,
 * and a definition in the program comes before the library's. The accept below gives it connections
 * with something to read, and the shutdown takes back those that go on (http_idle.c). The recv
 * below takes exactly one head from the socket (no byte more: a request that follows stays in the
 * socket, where civetweb waits for it), reads it strictly (http_head.h) and gives civetweb a
 * constant head in its place. What was asked for, or why it is refused, is told to the handler
 * beside it. Bodies are read from the socket too, as far as they go, because civetweb's reader of
 * chunks knows no extensions and no trailers, and cannot tell a slow body from one that was cut.
 *
 * Other threads of the process go straight to the C library.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "http_internal.h"
#include "log.h"

enum {
    LINGER_MS = 20, /* for the next request, before the connection gives up its thread */
    DRAIN_MS = 3000,
    DRAIN_QUIET_MS = 1000,
    DRAIN_BYTES_MAX = 16 * 1024 * 1024,
};

static _Thread_local struct http_server *starting;
static _Thread_local struct http_engine *accepting;
static _Thread_local struct http_engine *serving;
static _Thread_local struct http_connection *served;
static _Thread_local struct http_connection *kept;
static _Thread_local uint64_t begun_ms; /* when the thread got its connection */

void http_wire_starting(struct http_server *server) {
    starting = server;
}

void http_wire_accepting(struct http_engine *engine) {
    int result = http_idle_open(engine);
    if (result != 0) {
        log_line("ERROR", "http", "cannot wait for connections: %s", strerror(-result));
        abort();
    }
    accepting = engine;
}

void http_wire_serving(struct http_engine *engine) {
    serving = engine;
}

void http_wire_begin(void) {
    http_crowd_begun(serving);
    begun_ms = clock_now_ms();
    served = NULL;
}

struct http_connection *http_wire_served(void) {
    return served;
}

struct http_connection *http_wire_end(void) {
    struct http_connection *connection = served;
    served = NULL;
    return connection;
}

void http_wire_keep(struct http_connection *connection) {
    kept = connection;
}

/* > 0 bytes, 0 the client sends no more, -EAGAIN, -EPIPE. */
static ssize_t receive(const struct http_connection *connection, void *data, size_t size,
                       int flags) {
    ssize_t got;
    do {
        got = recvfrom(connection->fd, data, size, flags | MSG_DONTWAIT, NULL, NULL);
    } while (got < 0 && errno == EINTR);
    return got >= 0 ? got : errno == EAGAIN || errno == EWOULDBLOCK ? -EAGAIN : -EPIPE;
}

static bool wait_for(const struct http_connection *connection, short events, uint64_t end_ms) {
    struct pollfd about = {.fd = connection->fd, .events = events};
    for (;;) {
        uint64_t now = clock_now_ms();
        int ready = now >= end_ms ? 0 : poll(&about, 1, (int)(end_ms - now));
        if (ready >= 0 || errno != EINTR) {
            return ready > 0;
        }
    }
}

/* ---- heads ---- */

static int64_t refuse(struct http_connection *connection, struct http_refusal refusal) {
    connection->refusal = refusal;
    return -1;
}

/* What is there of the head joins head_text; bytes behind it stay in the socket. The head's size;
 * 0 = more must come; -1 = refused; -ENODATA = the connection is over. */
static int64_t head_look(struct http_connection *connection, size_t *size, size_t *scanned) {
    char *text = connection->head_text;
    ssize_t got = receive(connection, text + *size, HTTP_HEAD_BYTES_MAX - *size, MSG_PEEK);
    if (got == -EAGAIN) {
        return 0;
    }
    if (got <= 0) {
        return *size == 0 || got < 0
                   ? -ENODATA
                   : refuse(connection,
                            (struct http_refusal){400, "INVALID_ARGUMENT",
                                                  "the request ends within its head", NULL});
    }
    if (*scanned == 0 && *size + (size_t)got >= 2 && memcmp(text, "\r\n", 2) == 0) {
        (void)receive(connection, text, 2 - *size, 0);
        *size = 0; /* empty lines before a request are ignored: RFC 9112, 2.2 */
        return 0;
    }
    int64_t found = http_head_find(text, *size + (size_t)got, scanned);
    size_t taken = found > 0 ? (size_t)found - *size : (size_t)got;
    (void)receive(connection, text + *size, taken, 0);
    *size += taken;
    if (found < 0) {
        return refuse(connection, (struct http_refusal){400, "INVALID_ARGUMENT",
                                                        "the head has a control character, or a "
                                                        "line that does not end in CRLF",
                                                        NULL});
    }
    return found == 0 && *size == HTTP_HEAD_BYTES_MAX
               ? refuse(connection, http_head_too_long(text, *size))
               : found;
}

static int64_t head_receive(struct http_connection *connection) {
    size_t size = 0;
    size_t scanned = 0;
    bool waits = false;
    uint64_t end_ms = clock_now_ms() + HTTP_HEAD_MS_MAX;
    for (;;) {
        int64_t found = head_look(connection, &size, &scanned);
        if (found != 0) {
            return found;
        }
        if (!waits) {
            http_crowd_phase(connection, HTTP_PHASE_HEAD);
            waits = true;
        }
        if (!wait_for(connection, POLLIN, end_ms)) {
            if (size == 0) {
                return -ENODATA;
            }
            return refuse(connection, (struct http_refusal){408, "DEADLINE_EXCEEDED",
                                                            "the head of the request came too "
                                                            "slowly",
                                                            NULL});
        }
    }
}

/* What civetweb reads instead. */
static ssize_t head_take(struct http_connection *connection, void *out, size_t size) {
    static const char keep[] = "GET / HTTP/1.1\r\n\r\n";
    static const char close[] = "GET / HTTP/1.1\r\nConnection: close\r\n\r\n";
    connection->head_text = malloc(HTTP_HEAD_BYTES_MAX);
    int64_t found = connection->head_text == NULL ? -ENODATA : head_receive(connection);
    if (found == -ENODATA) {
        return 0;
    }
    http_crowd_phase(connection, HTTP_PHASE_WORK);
    if (found > 0) {
        connection->refusal =
            http_head_parse(&connection->head, connection->head_text, (size_t)found);
        connection->body_done = connection->head.body_bytes == 0;
    }
    bool goes_on = connection->refusal.status == 0 && connection->head.keep_alive;
    const char *text = goes_on ? keep : close;
    memcpy(out, text, strlen(text) < size ? strlen(text) : size);
    return (ssize_t)strlen(text);
}

/* ---- in place of the C library's, for civetweb's threads ---- */

int listen(int fd, int backlog) {
    int result = (int)syscall(SYS_listen, fd, backlog);
    if (result == 0 && starting != NULL && starting->listeners_count < HTTP_PORTS_MAX) {
        starting->listeners[starting->listeners_count++] = fd;
    }
    return result;
}

int accept(int listener, __SOCKADDR_ARG address, socklen_t *restrict size) {
    struct sockaddr *peer = address.__sockaddr__;
    if (accepting == NULL) {
        return accept4(listener, peer, size, 0);
    }
    const struct http_connection *connection = http_idle_next(accepting);
    if (connection == NULL) {
        errno = EAGAIN;
        return -1;
    }
    *size = sizeof(connection->from);
    memcpy(peer, &connection->from, sizeof(connection->from));
    return connection->fd;
}

/* civetweb says goodbye: to one that stays, it is the thread that leaves. */
int shutdown(int fd, int how) {
    struct http_connection *connection = kept;
    kept = NULL;
    if (connection != NULL && connection->fd == fd) {
        if (http_idle_keep(connection)) {
            return 0;
        }
        http_crowd_leave(connection);
    }
    return (int)syscall(SYS_shutdown, fd, how);
}

ssize_t recv(int fd, void *data, size_t size, int flags) {
    if (serving != NULL && served == NULL && (served = http_crowd_find(serving, fd)) != NULL) {
        served->late = begun_ms >= served->ready_ms + HTTP_QUEUE_MS_MAX;
    }
    if (served == NULL || served->fd != fd) {
        return recvfrom(fd, data, size, flags, NULL, NULL);
    }
    return head_take(served, data, size);
}

/* ---- bodies ---- */

static int64_t chunks_take(struct http_connection *connection, uint8_t *out, size_t size) {
    uint8_t raw[8 * 1024];
    size_t used = 0;
    ssize_t got = receive(connection, raw, sizeof(raw), MSG_PEEK);
    if (got <= 0) {
        return got == 0 ? -EPIPE : got;
    }
    int64_t decoded = http_chunks_read(&connection->chunks, raw, (size_t)got, &used, out, size);
    (void)receive(connection, raw, used, 0);
    connection->body_done = connection->chunks.done;
    return decoded < 0 ? -EBADMSG : decoded == 0 && !connection->body_done ? -EAGAIN : decoded;
}

static int64_t plain_take(struct http_connection *connection, uint8_t *out, size_t size) {
    uint64_t left = (uint64_t)connection->head.body_bytes - connection->body_decoded;
    ssize_t got = receive(connection, out, left < size ? (size_t)left : size, 0);
    connection->body_done = got > 0 && (uint64_t)got == left;
    return got == 0 ? -EPIPE : got;
}

int64_t http_wire_body(struct http_connection *connection, uint8_t *out, size_t size, int wait_ms) {
    uint64_t end_ms = clock_now_ms() + (uint64_t)wait_ms;
    while (!connection->body_done && size > 0) {
        int64_t got = connection->head.body_bytes == HTTP_BODY_CHUNKED
                          ? chunks_take(connection, out, size)
                          : plain_take(connection, out, size);
        connection->body_decoded += got > 0 ? (uint64_t)got : 0;
        if (got != -EAGAIN) {
            return got;
        }
        if (!wait_for(connection, POLLIN, end_ms)) {
            return -EAGAIN;
        }
    }
    return 0;
}

/* ---- the end ---- */

void http_wire_hold(struct http_connection *connection, unsigned ms) {
    http_crowd_phase(connection, HTTP_PHASE_HELD);
    (void)wait_for(connection, 0, clock_now_ms() + ms);
    http_crowd_phase(connection, HTTP_PHASE_WORK);
}

void http_wire_drain(struct http_connection *connection) {
    uint8_t nowhere[16 * 1024];
    uint64_t end_ms = clock_now_ms() + DRAIN_MS;
    size_t drained = 0;
    http_crowd_phase(connection, HTTP_PHASE_DRAIN);
    (void)shutdown(connection->fd, SHUT_WR);
    while (drained < DRAIN_BYTES_MAX) {
        ssize_t got = receive(connection, nowhere, sizeof(nowhere), 0);
        uint64_t quiet_ms = clock_now_ms() + DRAIN_QUIET_MS;
        if (got == 0 || got == -EPIPE ||
            (got == -EAGAIN &&
             !wait_for(connection, POLLIN, quiet_ms < end_ms ? quiet_ms : end_ms))) {
            return;
        }
        drained += got > 0 ? (size_t)got : 0;
    }
}

void http_wire_reset(struct http_connection *connection) {
    /* To no address: Linux resets the connection. civetweb would end it in order. */
    const struct sockaddr nowhere = {.sa_family = AF_UNSPEC};
    connection->broken = true;
    (void)connect(connection->fd, &nowhere, sizeof(nowhere));
}

void http_wire_next(struct http_connection *connection) {
    free(connection->head_text);
    connection->head_text = NULL;
    connection->head = HTTP_HEAD_NONE;
    connection->refusal = (struct http_refusal){0};
    connection->chunks = (struct http_chunks){0};
    connection->body_decoded = 0;
    connection->body_waited_ms = 0;
    connection->body_done = false;
    connection->body_fault = HTTP_BODY_FINE;
    connection->late = false;
    connection->mg = NULL;
    http_crowd_phase(connection, HTTP_PHASE_READY);
}

bool http_wire_goes_on(struct http_connection *connection) {
    struct pollfd about = {.fd = connection->fd, .events = POLLIN};
    return !http_crowd_turn_is_over(connection) && poll(&about, 1, LINGER_MS) > 0;
}

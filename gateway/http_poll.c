/*
 * The poller: one thread that accepts, reads heads and small bodies, sends the rest of answers and
 * closes what is too slow; see http_internal.h. A whole request goes to the end of a queue, so that
 * busy connections take turns. Knows no paths.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http_internal.h"
#include "log.h"

enum {
    POLL_EVENTS = 64,
    POLL_TICK_MS = 100,
    DRAIN_MS = 3000,
    DRAIN_QUIET_MS = 1000,
    DRAIN_BYTES_MAX = 16 * 1024 * 1024,
};

/* What an epoll event belongs to; a connection is told by a pointer, a listener by its number. */
static const uint64_t EVENT_WAKE = HTTP_POLL_WAKE;
static const uint64_t EVENT_LISTENER = 2; /* bit; the listener's place and slot are above it */

static struct http_refusal refuse(int status, const char *code, const char *reason) {
    return (struct http_refusal){.status = status, .code = code, .reason = reason};
}

/* ---- owners: a step says true when the connection is the poller's still, and waits ---- */

static void all_remove(struct http_server *server, struct http_connection *connection) {
    pthread_mutex_lock(&server->lock);
    if (connection->all_before != NULL) {
        connection->all_before->all_next = connection->all_next;
    } else {
        server->all = connection->all_next;
    }
    if (connection->all_next != NULL) {
        connection->all_next->all_before = connection->all_before;
    }
    server->connections--;
    pthread_mutex_unlock(&server->lock);
}

/* Freed at the end of the turn: an event for it may stand in the list still. */
static bool connection_close(struct http_server *server, struct http_connection *connection) {
    all_remove(server, connection);
    connection->phase = HTTP_PHASE_CLOSED;
    connection->queue_next = server->closed;
    server->closed = connection;
    return false;
}

static void closed_free(struct http_server *server) {
    while (server->closed != NULL) {
        struct http_connection *connection = server->closed;
        server->closed = connection->queue_next;
        http_connection_free(connection);
    }
}

static void phase_begin(struct http_connection *connection, enum http_phase phase) {
    connection->phase = phase;
    connection->since_ms = clock_now_ms();
    connection->progress_ms = connection->since_ms;
}

static bool request_queue(struct http_server *server, struct http_connection *connection) {
    connection->with_poller = false;
    bool quick = connection->refusal.status != 0 ||
                 (server->options.traits(connection->head.path) & HTTP_QUICK) != 0;
    connection->queued_ms = clock_now_ms();
    http_queue_push(server, quick ? &server->quick : &server->normal, connection);
    return false;
}

static bool refuse_queue(struct http_server *server, struct http_connection *connection,
                         struct http_refusal refusal) {
    connection->refusal = refusal;
    return request_queue(server, connection);
}

/* ---- a request's way in ---- */

static bool body_read(struct http_server *server, struct http_connection *connection);

/* The head is there: who reads its body? */
static bool request_begin(struct http_server *server, struct http_connection *connection) {
    const struct http_head *head = &connection->head;
    unsigned hold_ms = 0;
    connection->body_done = head->body_bytes == 0;
    if (connection->refusal.status == 0) {
        connection->refusal = http_check(server, connection, &hold_ms);
    }
    if (hold_ms > 0) {
        phase_begin(connection, HTTP_PHASE_HELD);
        connection->since_ms += hold_ms;
        return true;
    }
    bool wants_go_on = http_head_field(head, "Expect", 0) != NULL && !head->http_1_0;
    if (connection->refusal.status != 0 || connection->body_done || wants_go_on ||
        head->body_bytes > HTTP_READ_AHEAD_BYTES_MAX ||
        (server->options.traits(head->path) & HTTP_TAKES_STREAM) != 0) {
        return request_queue(server, connection);
    }
    phase_begin(connection, HTTP_PHASE_BODY);
    return body_read(server, connection);
}

static bool body_read(struct http_server *server, struct http_connection *connection) {
    struct buf *body = &connection->body;
    for (;;) {
        if (!buf_reserve(body, 16 * 1024)) {
            return connection_close(server, connection);
        }
        size_t got = http_connection_body(connection, body->data + body->size, 16 * 1024);
        body->size += got;
        if (connection->body_done || connection->body_fault != HTTP_BODY_FINE ||
            body->size > HTTP_READ_AHEAD_BYTES_MAX) {
            return request_queue(server, connection);
        }
        if (got > 0) {
            connection->progress_ms = clock_now_ms();
            continue;
        }
        int received = http_connection_receive(connection, 0);
        if (received == -EAGAIN) {
            return true;
        }
        if (received <= 0) {
            connection->body_fault = HTTP_BODY_CUT;
        }
    }
}

/* Looks whether a whole head is there; a request that follows another may be there already. */
static bool head_look(struct http_server *server, struct http_connection *connection) {
    struct buf *in = &connection->in;
    while (connection->scanned == 0 && in->size >= 2 && memcmp(in->data, "\r\n", 2) == 0) {
        buf_drop(in, 2); /* empty lines before a request are ignored: RFC 9112, 2.2 */
    }
    int64_t size = http_head_find((const char *)in->data, in->size, &connection->scanned);
    if (size == 0 && in->size < HTTP_HEAD_BYTES_MAX) {
        return true;
    }
    if (size == 0 || size > HTTP_HEAD_BYTES_MAX) {
        return refuse_queue(server, connection,
                            http_head_too_long((const char *)in->data, in->size));
    }
    if (size < 0) {
        return refuse_queue(
            server, connection,
            refuse(400, "INVALID_ARGUMENT",
                   "the head has a control character, or a line that does not end in "
                   "CRLF"));
    }
    connection->head_text = malloc((size_t)size);
    if (connection->head_text == NULL) {
        return connection_close(server, connection);
    }
    memcpy(connection->head_text, in->data, (size_t)size);
    connection->in_taken = (size_t)size;
    connection->refusal = http_head_parse(&connection->head, connection->head_text, (size_t)size);
    return request_begin(server, connection);
}

static bool head_read(struct http_server *server, struct http_connection *connection) {
    bool idle = connection->in.size == 0;
    int received = http_connection_receive(connection, 0);
    if (received == -EAGAIN) {
        return true;
    }
    if (received < 0 || (received == 0 && idle)) {
        return connection_close(server, connection);
    }
    if (received == 0) {
        return refuse_queue(server, connection,
                            refuse(400, "INVALID_ARGUMENT", "the request ends within its head"));
    }
    if (idle) {
        phase_begin(connection, HTTP_PHASE_HEAD);
    }
    return head_look(server, connection);
}

/* ---- an answer's way out ---- */

static void drain_begin(struct http_connection *connection) {
    (void)shutdown(connection->fd, SHUT_WR);
    phase_begin(connection, HTTP_PHASE_DRAIN);
    http_connection_next(connection);
    buf_free(&connection->in);
}

/* Closing with bytes unread would take the answer from the client's hands. */
static bool drain_read(struct http_server *server, struct http_connection *connection) {
    static uint8_t nowhere[64 * 1024]; /* this thread's alone */
    for (;;) {
        ssize_t got = recv(connection->fd, nowhere, sizeof(nowhere), 0);
        if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
            return true;
        }
        connection->body_decoded += got > 0 ? (uint64_t)got : 0;
        if (got <= 0 || connection->body_decoded > DRAIN_BYTES_MAX) {
            return connection_close(server, connection);
        }
        connection->progress_ms = clock_now_ms();
    }
}

static bool answer_go_on(struct http_server *server, struct http_connection *connection) {
    int sent = connection->reset ? -EPIPE : http_connection_send(connection, 0);
    if (sent == -EPIPE) {
        return connection_close(server, connection);
    }
    if (sent != 0) {
        return true;
    }
    if (connection->close) {
        drain_begin(connection);
        return drain_read(server, connection);
    }
    http_connection_next(connection);
    connection->answered = true;
    phase_begin(connection, HTTP_PHASE_HEAD);
    return connection->in.size == 0 || head_look(server, connection);
}

/* ---- deadlines ---- */

static bool is_over(const struct http_connection *connection, uint64_t now) {
    switch (connection->phase) {
    case HTTP_PHASE_HEAD:
        return now >= connection->since_ms + (connection->answered && connection->in.size == 0
                                                  ? HTTP_IDLE_MS_MAX
                                                  : HTTP_HEAD_MS_MAX);
    case HTTP_PHASE_BODY:
        return now >= connection->progress_ms + HTTP_BODY_GRACE_MS ||
               http_body_too_slow(connection, now - connection->since_ms);
    case HTTP_PHASE_HELD:
        return now >= connection->since_ms;
    case HTTP_PHASE_WRITE:
        return now >= connection->progress_ms + HTTP_SEND_MS_MAX;
    default:
        return now >= connection->since_ms + DRAIN_MS ||
               now >= connection->progress_ms + DRAIN_QUIET_MS;
    }
}

static void time_out(struct http_server *server, struct http_connection *connection) {
    if (connection->phase == HTTP_PHASE_HELD) {
        (void)request_queue(server, connection);
    } else if (connection->phase == HTTP_PHASE_HEAD && connection->in.size > 0) {
        (void)refuse_queue(
            server, connection,
            refuse(408, "DEADLINE_EXCEEDED", "the head of the request came too slowly"));
    } else if (connection->phase == HTTP_PHASE_BODY) {
        connection->body_fault = HTTP_BODY_SLOW;
        (void)request_queue(server, connection);
    } else {
        connection->reset = connection->phase == HTTP_PHASE_WRITE;
        (void)connection_close(server, connection);
    }
}

static void tick(struct http_server *server, uint64_t now) {
    pthread_mutex_lock(&server->lock);
    struct http_connection *next = server->all;
    pthread_mutex_unlock(&server->lock);
    size_t held_bytes = 0;
    struct http_connection *slowest = NULL;
    while (next != NULL) { /* only this thread changes the list */
        struct http_connection *connection = next;
        next = connection->all_next;
        if (!connection->with_poller) {
            continue;
        }
        held_bytes += connection->out.size + connection->body.capacity;
        if ((connection->phase == HTTP_PHASE_WRITE || connection->phase == HTTP_PHASE_BODY) &&
            (slowest == NULL || connection->progress_ms < slowest->progress_ms)) {
            slowest = connection;
        }
        if (is_over(connection, now)) {
            if (connection == slowest) {
                slowest = NULL;
            }
            time_out(server, connection);
        }
    }
    if (held_bytes > HTTP_HELD_BYTES_MAX && slowest != NULL) {
        slowest->reset = true; /* whoever takes longest gives way */
        (void)connection_close(server, slowest);
    }
    http_queue_overdue(server, now);
}

/* ---- accepting ---- */

/* The one that has waited longest without a request gives way to a new one. */
static bool make_room(struct http_server *server) {
    struct http_connection *oldest = NULL;
    pthread_mutex_lock(&server->lock);
    struct http_connection *next = server->all;
    bool full = server->connections >= server->connections_max;
    pthread_mutex_unlock(&server->lock);
    for (; full && next != NULL; next = next->all_next) {
        bool gives_way = next->with_poller && next->phase != HTTP_PHASE_WRITE;
        if (gives_way && (oldest == NULL || next->since_ms < oldest->since_ms)) {
            oldest = next;
        }
    }
    if (oldest != NULL) {
        (void)connection_close(server, oldest);
    }
    return !full || oldest != NULL;
}

static bool event_set(struct http_server *server, int operation, int fd, uint32_t events,
                      uint64_t what) {
    struct epoll_event event = {.events = events, .data.u64 = what};
    return epoll_ctl(server->epoll_fd, operation, fd, &event) == 0;
}

/* Waits for what its phase needs; one event, then it is armed again. */
static void arm(struct http_server *server, struct http_connection *connection, int operation) {
    uint32_t wanted = connection->phase == HTTP_PHASE_WRITE  ? EPOLLOUT
                      : connection->phase == HTTP_PHASE_HELD ? 0
                                                             : EPOLLIN;
    (void)event_set(server, operation, connection->fd, wanted | EPOLLONESHOT,
                    (uint64_t)(uintptr_t)connection);
}

static void connection_add(struct http_server *server, int fd, int slot,
                           const struct sockaddr_in *peer) {
    struct http_connection *connection = calloc(1, sizeof(*connection));
    if (connection == NULL || !make_room(server)) {
        free(connection);
        close(fd);
    }
    int one = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
    connection->fd = fd;
    connection->slot = slot;
    connection->with_poller = true;
    connection->head = HTTP_HEAD_NONE;
    inet_ntop(AF_INET, &peer->sin_addr, connection->peer, sizeof(connection->peer));
    phase_begin(connection, HTTP_PHASE_HEAD);
    pthread_mutex_lock(&server->lock);
    connection->all_next = server->all;
    if (server->all != NULL) {
        server->all->all_before = connection;
    }
    server->all = connection;
    server->connections++;
    pthread_mutex_unlock(&server->lock);
    arm(server, connection, EPOLL_CTL_ADD);
}

static void accept_all(struct http_server *server, uint64_t what) {
    int listener = (int)(what >> 2 & 0x3fffffff);
    int slot = (int)(what >> 32);
    for (int i = 0; i < POLL_EVENTS; i++) {
        struct sockaddr_in peer = {0};
        socklen_t size = sizeof(peer);
        int fd = accept4(listener, (struct sockaddr *)&peer, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            return;
        }
        connection_add(server, fd, slot, &peer);
    }
}

int http_poll_listen(struct http_server *server, int fd, int slot) {
    if (server->listeners_count >= HTTP_PORTS_MAX) {
        return -ENFILE;
    }
    uint64_t what = (uint64_t)slot << 32 | (uint64_t)fd << 2 | EVENT_LISTENER;
    if (!event_set(server, EPOLL_CTL_ADD, fd, EPOLLIN, what)) {
        return -errno;
    }
    server->listeners[server->listeners_count++] = fd;
    return 0;
}

/* ---- the thread ---- */

static bool go_on(struct http_server *server, struct http_connection *connection) {
    switch (connection->phase) {
    case HTTP_PHASE_HEAD:
        return head_read(server, connection);
    case HTTP_PHASE_BODY:
        return body_read(server, connection);
    case HTTP_PHASE_WRITE:
        return answer_go_on(server, connection);
    case HTTP_PHASE_DRAIN:
        return drain_read(server, connection);
    default:
        return false; /* held until its time, or closed in this turn */
    }
}

void http_poll_return(struct http_server *server, struct http_connection *connection) {
    pthread_mutex_lock(&server->lock);
    connection->queue_next = server->returned;
    server->returned = connection;
    pthread_mutex_unlock(&server->lock);
    http_poll_wake(server);
}

void http_poll_wake(struct http_server *server) {
    const uint64_t one = 1;
    (void)!write(server->wake_fd, &one, sizeof(one));
}

static void take_returned(struct http_server *server) {
    pthread_mutex_lock(&server->lock);
    struct http_connection *next = server->returned;
    server->returned = NULL;
    pthread_mutex_unlock(&server->lock);
    while (next != NULL) {
        struct http_connection *connection = next;
        next = connection->queue_next;
        connection->with_poller = true;
        phase_begin(connection, HTTP_PHASE_WRITE);
        if (answer_go_on(server, connection)) {
            arm(server, connection, EPOLL_CTL_MOD);
        }
    }
}

static void event_take(struct http_server *server, const struct epoll_event *event) {
    uint64_t count;
    if (event->data.u64 == EVENT_WAKE) {
        (void)!read(server->wake_fd, &count, sizeof(count));
    } else if ((event->data.u64 & EVENT_LISTENER) != 0) {
        accept_all(server, event->data.u64);
    } else {
        struct http_connection *connection = (void *)(uintptr_t)event->data.u64;
        /* One that timed out in this wait may be a worker's by now. */
        if (connection->with_poller && go_on(server, connection)) {
            arm(server, connection, EPOLL_CTL_MOD);
        }
    }
}

void *http_poll_run(void *context) {
    struct http_server *server = context;
    uint64_t ticked_ms = 0;
    while (!atomic_load(&server->stopping)) {
        struct epoll_event events[POLL_EVENTS];
        pthread_mutex_lock(&server->lock);
        int wait_ms = server->connections == 0 ? -1 : POLL_TICK_MS;
        pthread_mutex_unlock(&server->lock);
        int count = epoll_wait(server->epoll_fd, events, POLL_EVENTS, wait_ms);
        for (int i = 0; i < count; i++) {
            event_take(server, &events[i]);
        }
        take_returned(server);
        uint64_t now = clock_now_ms();
        if (now >= ticked_ms + POLL_TICK_MS) {
            ticked_ms = now;
            tick(server, now);
        }
        closed_free(server);
    }
    return NULL;
}

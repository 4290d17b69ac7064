/* SPDX-License-Identifier: MIT */
/*
 * Load on an HTTP/1.1 server: one thread, as many kept-alive connections as operations in flight,
 * one request at a time on each. What is asked is a template, so that it measures our gateway, its
 * bare handler (--get "GET /livez" --get-answer "") and others' stores alike. Prints one line of
 * JSON (work.h).
 *
 *     http_load --address 127.0.0.1:3000 --fill --kind get --value-bytes 64 --in-flight 64
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "answer.h"
#include "work.h"

struct templates {
    const char *address;
    const char *get, *get_body, *get_answer; /* get_answer NULL: it is the value, no more */
    const char *put, *put_body;
};

struct connection {
    struct connection *next_idle;
    int socket; /* -1: closed */
    bool busy, wants_room;
    struct task task;
    struct text out;
    size_t out_at;
    struct answer answer;
};

struct load {
    struct work work;
    struct templates templates;
    struct sockaddr_in to;
    int epoll;
    struct connection *connections, *idle;
    size_t running;
    char *value;
    struct text body, wanted; /* used again and again */
};

/* ---- one connection ---- */

static void watch(struct load *load, struct connection *connection, bool wants_room) {
    struct epoll_event event = {.events = EPOLLIN | (wants_room ? (uint32_t)EPOLLOUT : 0),
                                .data.ptr = connection};
    connection->wants_room = wants_room;
    epoll_ctl(load->epoll, EPOLL_CTL_MOD, connection->socket, &event);
}

static const char *open_connection(struct load *load, struct connection *connection) {
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
    int one = 1;
    int made = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (made < 0 || connect(made, (struct sockaddr *)&load->to, sizeof load->to) != 0 ||
        epoll_ctl(load->epoll, EPOLL_CTL_ADD, made, &event) != 0) {
        const char *reason = strerror(errno);
        close(made);
        return reason;
    }
    setsockopt(made, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    connection->socket = made;
    connection->wants_room = false;
    return NULL;
}

static void close_connection(struct connection *connection) {
    if (connection->socket >= 0) {
        close(connection->socket);
        connection->socket = -1;
    }
}

static void ended(struct load *load, struct connection *connection, const char *reason) {
    work_done(&load->work, &connection->task, work_now_ns(), reason);
    if (reason != NULL || connection->answer.closes) {
        close_connection(connection);
    }
    connection->busy = false;
    connection->next_idle = load->idle;
    load->idle = connection;
    load->running--;
}

static void send_some(struct load *load, struct connection *connection) {
    struct text *out = &connection->out;
    ssize_t sent = send(connection->socket, out->bytes + connection->out_at,
                        out->count - connection->out_at, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno != EAGAIN) {
        ended(load, connection, strerror(errno));
        return;
    }
    connection->out_at += sent > 0 ? (size_t)sent : 0;
    bool wants_room = connection->out_at < out->count;
    if (wants_room != connection->wants_room) {
        watch(load, connection, wants_room);
    }
}

/* ---- requests and answers ---- */

static void write_request(struct load *load, struct connection *connection, const char *key) {
    const struct templates *templates = &load->templates;
    bool is_get = connection->task.is_read;
    size_t value_bytes = load->work.options.value_bytes;
    struct text *out = &connection->out;
    char length[64];
    load->body.count = 0;
    text_expand(&load->body, is_get ? templates->get_body : templates->put_body, key, load->value,
                value_bytes);
    out->count = connection->out_at = 0;
    text_expand(out, is_get ? templates->get : templates->put, key, load->value, value_bytes);
    text_expand(out, " HTTP/1.1\r\nHost: ", key, "", 0);
    text_expand(out, templates->address, key, "", 0);
    int bytes = 0;
    if (!is_get || load->body.count > 0) {
        bytes = snprintf(length, sizeof length,
                         "\r\nContent-Type: application/octet-stream\r\nContent-Length: %zu",
                         load->body.count);
        text_add(out, length, (size_t)bytes < sizeof length ? (size_t)bytes : sizeof length - 1);
    }
    text_add(out, "\r\n\r\n", 4);
    text_add(out, load->body.bytes, load->body.count);
}

static void start(struct load *load, const struct task *task) {
    struct connection *connection = load->idle;
    char key[WORK_KEY_SIZE];
    load->idle = connection->next_idle;
    load->running++;
    connection->task = *task;
    connection->busy = true;
    answer_clear(&connection->answer);
    const char *problem = connection->socket < 0 ? open_connection(load, connection) : NULL;
    if (problem != NULL) {
        ended(load, connection, problem);
        return;
    }
    work_key(task->key, key);
    work_value(&load->work, task->key, load->value);
    write_request(load, connection, key);
    send_some(load, connection);
}

/* What is wrong with an answer; NULL: nothing. */
static const char *why_wrong(struct load *load, const struct connection *connection) {
    static char reason[WORK_REASON_SIZE];
    const struct text *body = &connection->answer.body;
    char key[WORK_KEY_SIZE];
    if (connection->answer.status < 200 || connection->answer.status > 299) {
        snprintf(reason, sizeof reason, "%s: status %u: %.*s",
                 connection->task.is_read ? "get" : "put", connection->answer.status,
                 (int)(body->count < 160 ? body->count : 160),
                 body->bytes == NULL ? "" : body->bytes);
        return reason;
    }
    if (!connection->task.is_read) {
        return NULL;
    }
    work_key(connection->task.key, key);
    work_value(&load->work, connection->task.key, load->value);
    if (load->templates.get_answer == NULL) {
        return work_check(&load->work, connection->task.key, body->bytes, body->count);
    }
    load->wanted.count = 0;
    text_expand(&load->wanted, load->templates.get_answer, key, load->value,
                load->work.options.value_bytes);
    bool there = load->wanted.count == 0 ||
                 (body->count > 0 &&
                  memmem(body->bytes, body->count, load->wanted.bytes, load->wanted.count) != NULL);
    return there ? NULL : "an answer without the value: fill the keys first (--fill)";
}

static void receive_some(struct load *load, struct connection *connection) {
    static char bytes[256 * 1024];
    ssize_t count = recv(connection->socket, bytes, sizeof bytes, MSG_DONTWAIT);
    if (count < 0 && errno == EAGAIN) {
        return;
    }
    if (!connection->busy) { /* closed by the server while nothing was asked */
        close_connection(connection);
        return;
    }
    if (count <= 0) {
        ended(load, connection, count < 0 ? strerror(errno) : "the server closed the connection");
        return;
    }
    text_add(&connection->answer.in, bytes, (size_t)count);
    switch (answer_read(&connection->answer)) {
    case ANSWER_PARTIAL:
        break;
    case ANSWER_BROKEN:
        ended(load, connection, "an answer that is no HTTP/1.1");
        break;
    case ANSWER_WHOLE:
        ended(load, connection, why_wrong(load, connection));
        break;
    }
}

/* ---- all of them ---- */

static void handle_events(struct load *load, uint64_t until_ns) {
    struct epoll_event events[256];
    int wait_ms = -1;
    if (until_ns != UINT64_MAX) { /* rounded down: the last millisecond is spent looking */
        uint64_t now_ns = work_now_ns();
        wait_ms = until_ns > now_ns ? (int)((until_ns - now_ns) / 1000000) : 0;
    }
    int count = epoll_wait(load->epoll, events, 256, wait_ms);
    for (int at = 0; at < count; at++) {
        struct connection *connection = events[at].data.ptr;
        if ((events[at].events & EPOLLOUT) != 0 && connection->busy) {
            send_some(load, connection);
        }
        if ((events[at].events & ~(uint32_t)EPOLLOUT) != 0 && connection->socket >= 0) {
            receive_some(load, connection);
        }
    }
}

/* Until all that should begin has ended. */
static void run(struct load *load) {
    for (;;) {
        struct task task;
        uint64_t at_ns = UINT64_MAX;
        while (load->idle != NULL && work_take(&load->work, work_now_ns(), &task, &at_ns)) {
            start(load, &task);
        }
        if (load->running == 0 && at_ns == UINT64_MAX) {
            return;
        }
        handle_events(load, at_ns);
    }
}

static void find_address(struct load *load) {
    char host[64];
    unsigned port = 0;
    if (load->templates.address == NULL ||
        sscanf(load->templates.address, "%63[^:]:%5u", host, &port) != 2 || port > 65535 ||
        inet_pton(AF_INET, host, &load->to.sin_addr) != 1) {
        flags_refuse("--address says where the server is, as 127.0.0.1:3000");
    }
    load->to.sin_family = AF_INET;
    load->to.sin_port = htons((uint16_t)port);
}

static void make_connections(struct load *load) {
    size_t count = load->work.options.in_flight;
    load->connections = calloc(count, sizeof *load->connections);
    load->value = malloc(load->work.options.value_bytes);
    load->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (load->connections == NULL || load->value == NULL || load->epoll < 0) {
        flags_refuse("no memory for %zu connections", count);
    }
    for (size_t at = 0; at < count; at++) {
        load->connections[at] = (struct connection){.socket = -1, .next_idle = load->idle};
        load->idle = &load->connections[at];
    }
}

static void free_all(struct load *load) {
    for (size_t at = 0; at < load->work.options.in_flight; at++) {
        close_connection(&load->connections[at]);
        answer_free(&load->connections[at].answer);
        free(load->connections[at].out.bytes);
    }
    free(load->connections);
    free(load->value);
    free(load->body.bytes);
    free(load->wanted.bytes);
    close(load->epoll);
    work_free(&load->work);
}

int main(int argc, char **argv) {
    static struct load load = {.templates = {.get = "GET /api/v1/kv/@KEY@",
                                             .get_body = "",
                                             .put = "PUT /api/v1/kv/@KEY@",
                                             .put_body = "@VALUE@"}};
    struct templates *templates = &load.templates;
    struct work_options work;
    const struct flag own[] = {
        {.name = "address", .text = &templates->address, .help = "HOST:PORT, the host as IPv4"},
        {.name = "get", .text = &templates->get, .help = "the request of a get (GET /api/v1/...)"},
        {.name = "get-body",
         .text = &templates->get_body,
         .help = "what goes with it; may be empty"},
        {.name = "get-answer",
         .text = &templates->get_answer,
         .help = "what its answer contains; without this it is the value"},
        {.name = "put", .text = &templates->put, .help = "the request of a put (PUT /api/v1/...)"},
        {.name = "put-body",
         .text = &templates->put_body,
         .help = "what goes with it (@VALUE@; also @KEY@, @KEY64@, @VALUE64@)"},
        {.name = NULL}};
    flags_read(argc, argv, "load on an HTTP/1.1 server",
               (const struct flag *const[]){own, work_flags(&work)}, 2);
    work_init(&load.work, &work);
    find_address(&load);
    make_connections(&load);
    if (work.fill) {
        work_begin_fill(&load.work);
        run(&load);
    }
    work_begin(&load.work);
    run(&load);
    int code = work_print(&load.work);
    free_all(&load);
    return code;
}

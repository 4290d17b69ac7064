/* SPDX-License-Identifier: MIT */
/*
 * HTTP/1.1 on one side of the gateway: civetweb wrapped. Requests are read strictly (http_head.h);
 * Host, Origin, Sec-Fetch-Site and the token are checked before anything else runs; what a client
 * can take is bounded, and every answer carries the headers that it needs. It knows nothing of
 * rings or keys.
 *
 * A connection has a thread of civetweb's while it has something to do; a handler runs there and
 * may block. A few threads stay free, see http_crowd.c.
 */
#ifndef GATEWAY_HTTP_H
#define GATEWAY_HTTP_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "access.h"
#include "buf.h"

enum {
    HTTP_THREADS = 768,
    HTTP_THREADS_FREE = 64,  /* of them: kept for who comes next, by ending who waits longest */
    HTTP_ADDED_THREADS = 32, /* of a port that is opened later */
    HTTP_ADDED_THREADS_FREE = 8,
    HTTP_THREAD_STACK_BYTES = 512 * 1024,
    HTTP_CONNECTIONS_MAX = 4096, /* then who has been idle for longest ends */
    HTTP_HEAD_MS_MAX = 10000,
    HTTP_IDLE_MS_MAX = 32000,
    HTTP_IDLE_SECONDS_SAID = 30, /* in Keep-Alive; less, so that no request crosses the close */
    HTTP_QUEUE_MS_MAX = 2000,    /* then 503 */
    HTTP_BODY_GRACE_MS = 10000,  /* of any stall, and of a slow beginning */
    HTTP_BODY_RATE_MIN = 4096,   /* bytes a second, after that */
    HTTP_SEND_MS_MAX = 10000,    /* in which no byte of an answer goes out */
    HTTP_HELD_BYTES_MAX = 64 * 1024 * 1024, /* answers of slow clients, all together */
    HTTP_PORTS_MAX = 1025,
    HTTP_NAMES_MAX = 32,
    HTTP_BODY_SMALL_BYTES_MAX = 64 * 1024,
    HTTP_COOKIE_SIZE = 256,
};

/* What is special about a path. */
enum http_traits {
    HTTP_QUICK = 1, /* answered within a second, whatever else goes on; no Host needed in 1.0 */
    HTTP_READS_BY_POST = 2,
    HTTP_OPEN = 4,        /* never needs a token */
    HTTP_WRITES_DATA = 8, /* its changes are those of keys, which a writer may make */
};

enum http_body_fault { HTTP_BODY_FINE, HTTP_BODY_MALFORMED, HTTP_BODY_SLOW, HTTP_BODY_CUT };

struct http_request {
    const char *method;            /* "GET"; HEAD is shown as it is */
    const char *path;              /* raw: percent-encoded, without the query */
    const char *query;             /* raw, or NULL */
    const char *client;            /* its address, for the log */
    const struct http_head *lines; /* all that the head says; see http_head.h */
    int slot;                      /* whose dashboard's port it came in on; 0 = the ring's */
    int64_t body_bytes;            /* Content-Length, -1 = chunked */
    uint64_t body_read;            /* bytes that http_read gave */
    bool head;
    enum role needs;       /* the role that it needed, also where nobody is asked for one */
    struct access_who who; /* who asks, as far as that was looked at */
    int status;            /* of the answer, once there is one */
    /* The wrapper's own. */
    struct http_connection *connection;
    bool replied;
    bool close;
    bool streaming;
    bool chunked; /* the answer */
    bool continued;
};

typedef void http_handler_fn(void *context, struct http_request *request);

struct http_options {
    const char *host; /* address to bind, a name or IPv4 */
    int port;         /* the ring's; slot i's is port + i */
    int slots;
    const char *names[HTTP_NAMES_MAX]; /* what a Host header may say; the text is the caller's */
    size_t names_count;
    size_t own_names_count; /* the first of them; what follows is what a proxy is called, so that an
                               Origin may say it while Host says one of ours */
    struct access *access;  /* who may change things; NULL = everybody */
    bool token_for_reads;   /* and only known ones may read */
    unsigned (*traits)(const char *path); /* enum http_traits */
    http_handler_fn *handler;
    http_handler_fn *answered; /* NULL, or what runs after each answer, refusals too */
    void *context;
};

struct http_server;

/* 0, or negative errno with a sentence in `error`. */
int http_server_open(struct http_server **server, const struct http_options *options, char *error,
                     size_t error_size);
/* Opens the port of one more slot. 0 or negative errno. */
int http_server_add_slot(struct http_server *server, int slot);
/* Ends the connections; waits for the handlers. Accepts NULL. */
void http_server_close(struct http_server *server);

/* ---- inside a handler ---- */

/* The header's value or NULL. */
const char *http_header(const struct http_request *request, const char *name);
/* Reads some of the body: > 0 bytes, 0 the end, -1 it stalled or was cut off. */
int64_t http_read(struct http_request *request, void *data, size_t size);
/* Reads the whole body. 0, -EFBIG, -ENOMEM, -EPIPE. */
int http_read_all(struct http_request *request, size_t bytes_max, struct buf *body);
/* Whether it would still be let in: its token may have been taken back since. For long answers. */
bool http_may_go_on(const struct http_request *request);
/* Begins a session of the browser that asks, or ends the one it has. `header`: the line, with CRLF,
 * that the answer carries then. Only where there is access. False: there is no randomness. */
bool http_session_begin(struct http_request *request, char header[HTTP_COOKIE_SIZE]);
void http_session_end(struct http_request *request, char header[HTTP_COOKIE_SIZE]);
/* Answers for a body that could not be read: `result` of http_read_all. */
void http_problem_body(struct http_request *request, int result, size_t bytes_max);

/* `headers` NULL, or lines that each end in CRLF. Every handler replies exactly once. */
void http_reply(struct http_request *request, int status, const char *type, const char *headers,
                const void *body, size_t size);
/* Takes `json`. */
void http_reply_json(struct http_request *request, int status, const char *headers, json_t *json);
/* RFC 9457. `code` is a google.rpc.Code name. */
void http_problem(struct http_request *request, int status, const char *code, const char *format,
                  ...) __attribute__((format(printf, 4, 5)));
/* The same with more headers and members; takes `more` (may be NULL). */
void http_problem_more(struct http_request *request, int status, const char *code,
                       const char *headers, json_t *more, const char *format, ...)
    __attribute__((format(printf, 6, 7)));

/* An answer whose length is not known. The functions say false when the client is gone. */
bool http_stream_begin(struct http_request *request, int status, const char *type,
                       const char *headers);
bool http_stream_write(struct http_request *request, const void *data, size_t size);
bool http_stream_end(struct http_request *request);
/* Cuts the connection so that the client sees that the answer is not whole. */
void http_stream_abort(struct http_request *request);

#endif

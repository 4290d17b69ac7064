/*
 * HTTP on one side of the gateway: civetweb wrapped, so that no other file includes it. It checks
 * Host, Origin, Sec-Fetch-Site and the token before anything else runs, counts body bytes, and
 * writes the headers that every answer carries. It knows nothing of rings or keys.
 *
 * One thread serves one connection at a time; a handler runs on it and may block.
 */
#ifndef GATEWAY_HTTP_H
#define GATEWAY_HTTP_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"

enum {
    HTTP_THREADS = 48,
    HTTP_ADDED_THREADS = 12, /* of a port that is opened later */
    HTTP_REQUEST_TIMEOUT_MS = 10000,
    HTTP_PORTS_MAX = 1025,
    HTTP_NAMES_MAX = 32,
    HTTP_DRAIN_BYTES_MAX = 16 * 1024 * 1024, /* of a body that is refused */
    HTTP_DRAIN_MS = 3000,
    HTTP_BODY_SMALL_BYTES_MAX = 64 * 1024,
};

struct http_request {
    const char *method; /* "GET"; HEAD is shown as it is */
    const char *path;   /* raw: percent-encoded, without the query */
    const char *query;  /* raw, or NULL */
    int slot;           /* whose dashboard's port it came in on; 0 = the ring's */
    int64_t body_bytes; /* Content-Length, -1 = chunked */
    bool head;
    /* The wrapper's own. */
    void *connection;
    bool replied;
    int status;
    bool close;
    bool streaming;
    bool chunked;     /* the answer */
    bool body_done;   /* the request's body was read to its end */
    bool body_broken; /* it ended early */
    bool continued;
    uint64_t body_read;
};

typedef void http_handler_fn(void *context, struct http_request *request);

struct http_options {
    const char *host; /* address to bind, a name or IPv4 */
    int port;         /* the ring's; slot i's is port + i */
    int slots;
    const char *names[HTTP_NAMES_MAX]; /* what a Host header may say; the text is the caller's */
    size_t names_count;
    const char *api_token; /* NULL, or what changes must carry */
    http_handler_fn *handler;
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

/* SPDX-License-Identifier: MIT */
/* Reading bodies and writing answers; see http.h. */
#include "http.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "conditions.h"
#include "http_internal.h"
#include "json.h"
#include "log.h"

static const char common_headers[] =
    "Content-Security-Policy: default-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'; object-src 'none'\r\n"
    "X-Content-Type-Options: nosniff\r\n"
    "X-Frame-Options: DENY\r\n"
    "Referrer-Policy: same-origin\r\n"
    "Cross-Origin-Resource-Policy: same-origin\r\n";

const char *http_header(const struct http_request *request, const char *name) {
    return http_head_field(request->lines, name, 0);
}

/* ---- the body ---- */

/* A client that waits for leave to send its body. */
static bool expects_go_on(const struct http_request *request) {
    return http_header(request, "Expect") != NULL && !request->lines->http_1_0;
}

static void go_on_say(struct http_request *request) {
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    if (!request->continued && expects_go_on(request)) {
        (void)mg_write(request->connection->mg, go_on, sizeof(go_on) - 1);
    }
    request->continued = true;
}

/* Nothing of the body is here. Its time is a rate, after a grace. */
static int64_t body_wait(struct http_request *request, void *data, size_t size) {
    struct http_connection *connection = request->connection;
    uint64_t began = clock_now_ms();
    go_on_say(request);
    http_crowd_phase(connection, HTTP_PHASE_BODY);
    int64_t got = http_wire_body(connection, data, size, HTTP_BODY_GRACE_MS);
    http_crowd_phase(connection, HTTP_PHASE_WORK);
    connection->body_waited_ms += clock_now_ms() - began;
    bool slow = connection->body_waited_ms >
                HTTP_BODY_GRACE_MS + connection->body_decoded * 1000 / HTTP_BODY_RATE_MIN;
    return got > 0 && slow ? -EAGAIN : got;
}

int64_t http_read(struct http_request *request, void *data, size_t size) {
    struct http_connection *connection = request->connection;
    if (connection->body_fault != HTTP_BODY_FINE) {
        return -1;
    }
    int64_t got = http_wire_body(connection, data, size, 0);
    if (got == -EAGAIN) {
        got = body_wait(request, data, size);
    }
    if (got < 0) {
        connection->body_fault = got == -EAGAIN    ? HTTP_BODY_SLOW
                                 : got == -EBADMSG ? HTTP_BODY_MALFORMED
                                                   : HTTP_BODY_CUT;
        return -1;
    }
    request->body_read += (uint64_t)got;
    return got;
}

int http_read_all(struct http_request *request, size_t bytes_max, struct buf *body) {
    if (request->body_bytes > 0 && (uint64_t)request->body_bytes > bytes_max) {
        return -EFBIG;
    }
    uint8_t chunk[16 * 1024];
    for (;;) {
        int64_t got = http_read(request, chunk, sizeof(chunk));
        if (got <= 0) {
            return got == 0 ? 0 : -EPIPE;
        }
        if (body->size + (size_t)got > bytes_max) {
            return -EFBIG;
        }
        if (!buf_append(body, chunk, (size_t)got)) {
            return -ENOMEM;
        }
    }
}

void http_problem_body(struct http_request *request, int result, size_t bytes_max) {
    enum http_body_fault fault = request->connection->body_fault;
    if (result == -EFBIG) {
        http_problem(request, 413, "RESOURCE_EXHAUSTED", "the body is larger than %zu bytes",
                     bytes_max);
    } else if (result == -ENOMEM) {
        http_problem(request, 500, "INTERNAL", "no memory for the body");
    } else if (fault == HTTP_BODY_SLOW) {
        http_problem(request, 408, "DEADLINE_EXCEEDED", "the body came too slowly");
    } else {
        http_problem(request, 400, "INVALID_ARGUMENT",
                     fault == HTTP_BODY_MALFORMED ? "the body's chunks are malformed"
                                                  : "the body was cut off");
    }
}

/* A short rest of the body is read, so that the connection can go on; else it is closed, after
 * taking what still comes, so that the client sees the answer. */
static void body_settle(struct http_request *request) {
    const struct http_connection *connection = request->connection;
    uint8_t chunk[4096];
    uint64_t end = connection->body_decoded + HTTP_BODY_SMALL_BYTES_MAX;
    bool small = request->body_bytes == HTTP_BODY_CHUNKED || (uint64_t)request->body_bytes <= end;
    bool wanted = small && !request->close && (request->continued || !expects_go_on(request));
    while (wanted && connection->body_decoded < end &&
           http_read(request, chunk, sizeof(chunk)) > 0) {
    }
    if (!connection->body_done) {
        request->close = true;
    }
}

/* ---- the answer ---- */

static bool send_all(struct http_request *request, const void *data, size_t size) {
    enum { PIECE_BYTES = 64 * 1024 };
    struct http_connection *connection = request->connection;
    const uint8_t *bytes = data;
    while (size > 0 && !connection->broken) {
        size_t piece = size < PIECE_BYTES ? size : PIECE_BYTES;
        http_crowd_phase(connection, HTTP_PHASE_WRITE);
        if (mg_write(connection->mg, bytes, piece) != (int)piece) {
            request->close = true;
            http_wire_reset(connection);
        }
        bytes += piece;
        size -= piece;
    }
    http_crowd_phase(connection, HTTP_PHASE_WORK);
    return !connection->broken;
}

static bool header_make(struct buf *out, struct http_request *request, int status, const char *type,
                        const char *headers) {
    time_t now = time(NULL);
    struct tm utc;
    char date[64];
    gmtime_r(&now, &utc);
    strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S GMT", &utc);
    bool cached = headers != NULL && strstr(headers, "Cache-Control:") != NULL;
    return buf_format(out, "HTTP/1.1 %d %s\r\nDate: %s\r\n%s", status, http_status_text(status),
                      date, common_headers) &&
           (request->close ? buf_append_text(out, "Connection: close\r\n")
                           : buf_format(out, "Connection: keep-alive\r\nKeep-Alive: timeout=%d\r\n",
                                        HTTP_IDLE_SECONDS_SAID)) &&
           (type == NULL || buf_format(out, "Content-Type: %s\r\n", type)) &&
           (cached || buf_append_text(out, "Cache-Control: no-store\r\n")) &&
           (headers == NULL || buf_append_text(out, headers));
}

static void reply_prepare(struct http_request *request, int status) {
    request->replied = true;
    request->status = status;
    body_settle(request);
    request->close = request->close || !request->lines->keep_alive;
}

/* The ETag that `headers` say, or NULL; terminated, in `tag`. */
static const char *tag_of(const char *headers, char tag[ETAG_SIZE]) {
    const char *at = headers == NULL ? NULL : strstr(headers, "ETag: ");
    size_t size = at == NULL ? 0 : strcspn(at + 6, "\r");
    if (size == 0 || size >= ETAG_SIZE) {
        return NULL;
    }
    memcpy(tag, at + 6, size);
    tag[size] = '\0';
    return tag;
}

/* What a read's conditions make of 200: RFC 9110, 13.2.2. */
static int condition_status(struct http_request *request, const char *headers) {
    char tag[ETAG_SIZE];
    const char *current = tag_of(headers, tag);
    enum condition match = conditions_match(request->lines, "If-Match", true, current);
    if (match != CONDITION_ABSENT && match != CONDITION_TRUE) {
        return 412;
    }
    return conditions_match(request->lines, "If-None-Match", true, current) == CONDITION_TRUE ? 304
                                                                                              : 200;
}

void http_reply(struct http_request *request, int status, const char *type, const char *headers,
                const void *body, size_t size) {
    struct buf out = {0};
    if (status == 200 && (request->head || strcmp(request->method, "GET") == 0)) {
        status = condition_status(request, headers);
        if (status == 412) {
            http_problem(request, 412, "FAILED_PRECONDITION", "If-Match names another version");
            return;
        }
    }
    reply_prepare(request, status);
    bool empty = status == 204 || status == 304;
    bool with_body = !empty && !request->head;
    bool small = size <= HTTP_BODY_SMALL_BYTES_MAX; /* then it goes in one packet with the head */
    bool ok = header_make(&out, request, status, empty ? NULL : type, headers) &&
              (empty || buf_format(&out, "Content-Length: %zu\r\n", size)) &&
              buf_append_text(&out, "\r\n") &&
              (!with_body || !small || buf_append(&out, body, size));
    if (!ok) {
        request->close = true;
        http_wire_reset(request->connection);
    }
    if (send_all(request, out.data, out.size) && with_body && !small) {
        http_crowd_hold(request->connection, size);
        (void)send_all(request, body, size);
        http_crowd_hold(request->connection, 0);
    }
    buf_free(&out);
}

void http_reply_json(struct http_request *request, int status, const char *headers, json_t *json) {
    char *text = json == NULL ? NULL : json_dumps(json, JSON_COMPACT);
    json_decref(json);
    if (text == NULL) {
        http_problem(request, 500, "INTERNAL", "no memory for the answer");
        return;
    }
    http_reply(request, status, "application/json", headers, text, strlen(text));
    free(text);
}

static void problem_send(struct http_request *request, int status, const char *code,
                         const char *headers, json_t *more, const char *format, va_list arguments) {
    char detail[600];
    vsnprintf(detail, sizeof(detail), format, arguments);
    char type[64] = "/problems/";
    for (size_t i = 0; code[i] != '\0' && i + 11 < sizeof(type); i++) {
        char c = code[i];
        type[i + 10] = c == '_' ? '-' : (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
        type[i + 11] = '\0';
    }
    json_t *problem =
        json_pack("{s:s, s:s, s:i, s:o, s:s}", "type", type, "title", http_status_text(status),
                  "status", status, "detail", json_text(detail), "code", code);
    if (more != NULL) {
        (void)json_object_update_missing(problem, more);
        json_decref(more);
    }
    char *text = problem == NULL ? NULL : json_dumps(problem, JSON_COMPACT);
    json_decref(problem);
    http_reply(request, status, "application/problem+json", headers, text == NULL ? "{}" : text,
               text == NULL ? 2 : strlen(text));
    free(text);
}

void http_problem(struct http_request *request, int status, const char *code, const char *format,
                  ...) {
    va_list arguments;
    va_start(arguments, format);
    problem_send(request, status, code, NULL, NULL, format, arguments);
    va_end(arguments);
}

void http_problem_more(struct http_request *request, int status, const char *code,
                       const char *headers, json_t *more, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    problem_send(request, status, code, headers, more, format, arguments);
    va_end(arguments);
}

bool http_stream_begin(struct http_request *request, int status, const char *type,
                       const char *headers) {
    struct buf out = {0};
    reply_prepare(request, status);
    request->chunked = !request->lines->http_1_0;
    request->close = request->close || !request->chunked;
    request->streaming = true;
    bool ok = header_make(&out, request, status, type, headers) &&
              (!request->chunked || buf_append_text(&out, "Transfer-Encoding: chunked\r\n")) &&
              buf_append_text(&out, "\r\n") && send_all(request, out.data, out.size);
    buf_free(&out);
    return ok && !request->head;
}

bool http_stream_write(struct http_request *request, const void *data, size_t size) {
    struct buf out = {0};
    bool ok = size == 0 || !request->chunked;
    if (ok) {
        return size == 0 || send_all(request, data, size);
    }
    ok = buf_format(&out, "%zx\r\n", size) && buf_append(&out, data, size) &&
         buf_append(&out, "\r\n", 2) && send_all(request, out.data, out.size);
    buf_free(&out);
    return ok;
}

bool http_stream_end(struct http_request *request) {
    return request->head || !request->chunked || send_all(request, "0\r\n\r\n", 5);
}

void http_stream_abort(struct http_request *request) {
    /* A plain close would look like the end to HTTP/1.0, and to a proxy that speaks it. */
    request->close = true;
    http_wire_reset(request->connection);
}

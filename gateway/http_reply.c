/* Reading bodies and writing answers over civetweb; see http.h. */
#include "http.h"

#include <civetweb.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

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
    return mg_get_header(request->connection, name);
}

int64_t http_read(struct http_request *request, void *data, size_t size) {
    if (request->body_done || size == 0) {
        return 0;
    }
    if (request->body_broken) {
        return -1;
    }
    if (!request->continued) {
        const char *expect = http_header(request, "Expect");
        request->continued = true;
        if (expect != NULL && strcasecmp(expect, "100-continue") == 0) {
            static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
            (void)mg_write(request->connection, go_on, sizeof(go_on) - 1);
        }
    }
    int read = mg_read(request->connection, data, size);
    if (read > 0) {
        request->body_read += (uint64_t)read;
        request->body_done =
            request->body_bytes >= 0 && request->body_read >= (uint64_t)request->body_bytes;
        return read;
    }
    if (read == 0 && request->body_bytes < 0) {
        request->body_done = true;
        return 0;
    }
    request->body_broken = true;
    return -1;
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

/* A short rest of the body is read, so that the connection can go on; a long one closes it. */
static void body_settle(struct http_request *request) {
    uint8_t chunk[4096];
    bool small = request->body_bytes >= 0 &&
                 (uint64_t)request->body_bytes - request->body_read <= HTTP_BODY_SMALL_BYTES_MAX;
    while (small && !request->close && http_read(request, chunk, sizeof(chunk)) > 0) {
    }
    if (!request->body_done) {
        request->close = true;
    }
}

/* A client that is still sending would see a broken connection before it reads the answer. */
static void body_drain(struct http_request *request) {
    uint8_t chunk[16 * 1024];
    uint64_t end = clock_now_ms() + HTTP_DRAIN_MS;
    const char *expect = http_header(request, "Expect");
    uint64_t drained = 0;
    int64_t got = expect != NULL && !request->continued ? 0 : 1;
    while (got > 0 && drained < HTTP_DRAIN_BYTES_MAX && clock_now_ms() < end) {
        got = http_read(request, chunk, sizeof(chunk));
        drained += got > 0 ? (uint64_t)got : 0;
    }
}

static bool send_all(struct http_request *request, const void *data, size_t size) {
    const uint8_t *bytes = data;
    while (size > 0) {
        size_t part = size > 1024 * 1024 ? 1024 * 1024 : size;
        int sent = mg_write(request->connection, bytes, part);
        if (sent <= 0) {
            request->close = true;
            return false;
        }
        bytes += sent;
        size -= (size_t)sent;
    }
    return true;
}

static bool header_make(struct buf *out, struct http_request *request, int status, const char *type,
                        const char *headers) {
    time_t now = time(NULL);
    struct tm utc;
    char date[64];
    gmtime_r(&now, &utc);
    strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S GMT", &utc);
    bool cached = headers != NULL && strstr(headers, "Cache-Control:") != NULL;
    return buf_format(out, "HTTP/1.1 %d %s\r\nDate: %s\r\n%sConnection: %s\r\n", status,
                      http_status_text(status), date, common_headers,
                      request->close ? "close" : "keep-alive") &&
           (type == NULL || buf_format(out, "Content-Type: %s\r\n", type)) &&
           (cached || buf_append_text(out, "Cache-Control: no-store\r\n")) &&
           (headers == NULL || buf_append_text(out, headers));
}

static void reply_prepare(struct http_request *request, int status) {
    request->replied = true;
    request->status = status;
    body_settle(request);
    const struct mg_request_info *info = mg_get_request_info(request->connection);
    const char *connection = http_header(request, "Connection");
    if ((connection != NULL && strcasecmp(connection, "close") == 0) ||
        info->http_version == NULL || strcmp(info->http_version, "1.1") != 0) {
        request->close = true;
    }
}

void http_reply(struct http_request *request, int status, const char *type, const char *headers,
                const void *body, size_t size) {
    struct buf out = {0};
    reply_prepare(request, status);
    bool empty = status == 204 || status == 304;
    bool ok = header_make(&out, request, status, empty ? NULL : type, headers);
    if (ok && !empty) {
        ok = buf_format(&out, "Content-Length: %zu\r\n", size);
    }
    ok = ok && buf_append_text(&out, "\r\n");
    bool small = size <= 64 * 1024;
    bool with_body = !empty && !request->head && size > 0;
    if (ok && with_body && small) {
        ok = buf_append(&out, body, size); /* one packet */
    }
    if (!ok || !send_all(request, out.data, out.size)) {
        request->close = true;
    } else if (with_body && !small) {
        (void)send_all(request, body, size);
    }
    if (request->close) {
        mg_disable_connection_keep_alive(request->connection);
        body_drain(request);
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
    json_t *problem = json_object();
    json_put(problem, "type", json_string(type));
    json_put(problem, "title", json_string(http_status_text(status)));
    json_put(problem, "status", json_integer(status));
    json_put(problem, "detail", json_text_z(detail));
    json_put(problem, "code", json_string(code));
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
    const struct mg_request_info *info = mg_get_request_info(request->connection);
    request->chunked = info->http_version != NULL && strcmp(info->http_version, "1.1") == 0;
    request->close = true; /* civetweb only goes on after answers whose length it knows */
    request->streaming = true;
    mg_disable_connection_keep_alive(request->connection);
    bool ok = header_make(&out, request, status, type, headers) &&
              (!request->chunked || buf_append_text(&out, "Transfer-Encoding: chunked\r\n")) &&
              buf_append_text(&out, "\r\n") && send_all(request, out.data, out.size);
    buf_free(&out);
    return ok && !request->head;
}

bool http_stream_write(struct http_request *request, const void *data, size_t size) {
    if (size == 0) {
        return true;
    }
    if (!request->chunked) {
        return send_all(request, data, size);
    }
    struct buf out = {0};
    bool ok = buf_format(&out, "%zx\r\n", size) && buf_append(&out, data, size) &&
              buf_append(&out, "\r\n", 2) && send_all(request, out.data, out.size);
    buf_free(&out);
    return ok;
}

bool http_stream_end(struct http_request *request) {
    return request->head || !request->chunked || send_all(request, "0\r\n\r\n", 5);
}

void http_stream_abort(struct http_request *request) {
    /* Without the last chunk the client knows; a plain close would look like the end to HTTP/1.0,
     * which has no better way. */
    request->close = true;
}

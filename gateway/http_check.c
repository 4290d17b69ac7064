/* SPDX-License-Identifier: MIT */
/* The rules that every request meets before its handler runs: Host, origin, method, role (who has
 * it: http_access.c), encoding. What they refuse never reaches a handler, and its body is not
 * waited for. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "http_internal.h"
#include "url.h"

static struct http_refusal refuse(int status, const char *code, const char *reason) {
    return (struct http_refusal){.status = status, .code = code, .reason = reason};
}

/* ---- where it comes from ---- */

static struct http_refusal host_check(const struct http_options *options,
                                      struct http_connection *connection, unsigned traits) {
    const struct http_head *head = &connection->head;
    if (head->host[0] == '\0') {
        /* What health checks of proxies ask. */
        return (traits & HTTP_QUICK) != 0 || strcmp(head->method, "OPTIONS") == 0
                   ? (struct http_refusal){0}
                   : refuse(400, "INVALID_ARGUMENT", "the request needs a Host header");
    }
    if (url_host_allowed(head->host, options->names, options->names_count)) {
        return (struct http_refusal){0};
    }
    snprintf(connection->detail, sizeof(connection->detail),
             "the host '%.80s' is none of this gateway's names; use %.80s, or add the name to "
             "HOST_NAMES",
             head->host, options->host);
    return refuse(403, "PERMISSION_DENIED", connection->detail);
}

/* nginx asks us by our own address unless it is told otherwise; the page has the proxy's name. */
static bool origin_is_proxy(const struct http_options *options, const char *origin) {
    const char *name = strstr(origin, "://");
    return name != NULL && url_host_allowed(name + 3, options->names + options->own_names_count,
                                            options->names_count - options->own_names_count);
}

/* Browsers tell where a request comes from; curl does not and is no browser. */
static bool same_origin(const struct http_options *options, const struct http_head *head,
                        bool change) {
    const char *site = http_head_field(head, "Sec-Fetch-Site", 0);
    const char *mode = http_head_field(head, "Sec-Fetch-Mode", 0);
    const char *origin = http_head_field(head, "Origin", 0);
    bool navigate = !change && mode != NULL && strcasecmp(mode, "navigate") == 0;
    if (site != NULL && !navigate && strcasecmp(site, "same-origin") != 0 &&
        (change || strcasecmp(site, "none") != 0)) {
        return false;
    }
    return origin == NULL || navigate || url_origin_is_host(origin, head->host) ||
           origin_is_proxy(options, origin);
}

/* ---- what it asks for ---- */

static bool method_changes(const char *method) {
    return strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0 &&
           strcmp(method, "OPTIONS") != 0;
}

static struct http_refusal method_check(const char *method) {
    static const char *const methods[] = {"GET",    "HEAD",    "PUT",  "POST",
                                          "DELETE", "OPTIONS", "PATCH"};
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        if (strcmp(method, methods[i]) == 0) {
            return (struct http_refusal){0};
        }
    }
    return refuse(501, "UNIMPLEMENTED", "the method is not known here");
}

/* A body that is not the whole thing, plainly written, must not be stored as if it were. */
static struct http_refusal body_check(struct http_connection *connection) {
    const struct http_head *head = &connection->head;
    const char *encoding;
    bool has_body = method_changes(head->method) || head->body_bytes != 0;
    if (has_body && http_head_field(head, "Content-Range", 0) != NULL) {
        return refuse(400, "INVALID_ARGUMENT",
                      "Content-Range: a part cannot be written, only a whole value");
    }
    for (size_t i = 0;
         has_body && (encoding = http_head_field(head, "Content-Encoding", i)) != NULL; i++) {
        if (strcasecmp(encoding, "identity") != 0) {
            snprintf(connection->detail, sizeof(connection->detail),
                     "Content-Encoding is '%.80s'; send the body unpacked", encoding);
            struct http_refusal refusal = refuse(415, "INVALID_ARGUMENT", connection->detail);
            refusal.headers = "Accept-Encoding: identity\r\n";
            return refusal;
        }
    }
    const char *expect = http_head_field(head, "Expect", 0);
    if (expect != NULL && !head->http_1_0 && strcasecmp(expect, "100-continue") != 0) {
        return refuse(417, "INVALID_ARGUMENT", "the only Expect that is known is 100-continue");
    }
    return (struct http_refusal){0};
}

/* The role that the request needs. What no route says is the ring's, which only operators change.
 */
static enum role role_needed(const struct http_options *options, unsigned traits, bool change) {
    if (change) {
        return (traits & HTTP_WRITES_DATA) != 0 ? ROLE_WRITER : ROLE_OPERATOR;
    }
    return options->token_for_reads && (traits & HTTP_OPEN) == 0 ? ROLE_READER : ROLE_NONE;
}

struct http_refusal http_check(struct http_server *server, struct http_connection *connection,
                               unsigned *hold_ms) {
    const struct http_options *options = &server->options;
    const struct http_head *head = &connection->head;
    unsigned traits = options->traits(head->path);
    bool change = method_changes(head->method);
    struct http_refusal refusal = host_check(options, connection, traits);
    if (refusal.status == 0 && !same_origin(options, head, change)) {
        refusal = refuse(403, "PERMISSION_DENIED",
                         "the request comes from another site; open the page of this gateway "
                         "itself");
    }
    if (refusal.status == 0) {
        refusal = method_check(head->method);
    }
    change = change && (traits & HTTP_READS_BY_POST) == 0;
    connection->needs = role_needed(options, traits, change);
    if (refusal.status == 0 && options->access != NULL && connection->needs != ROLE_NONE &&
        strcmp(head->method, "OPTIONS") != 0) {
        refusal = http_access_check(server, connection, connection->needs, change, hold_ms);
    }
    return refusal.status != 0 ? refusal : body_check(connection);
}

/* SPDX-License-Identifier: MIT */
/* The rules that every request meets before its handler runs: Host, origin, method, token,
 * encoding. What they refuse never reaches a handler, and its body is not waited for. */
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "http_internal.h"
#include "log.h"
#include "url.h"

enum {
    GUESS_ADDRESSES = 64,
    GUESS_BURST = 10,       /* wrong tokens of one address that are answered at once, */
    GUESS_REFILL_MS = 1000, /* one more each so long */
    GUESS_HOLD_MS = 1000,   /* what the others wait */
    GUESS_LOG_MS = 1000,
};

struct guesser {
    char peer[INET_ADDRSTRLEN];
    unsigned left;
    uint64_t refilled_ms;
};

/* Wrong tokens. The right one is never held up, so nobody is shut out by others that guess from
 * the same address, such as a proxy's. */
struct http_guesses {
    pthread_mutex_t lock; /* of the rest */
    struct guesser guessers[GUESS_ADDRESSES];
    uint64_t logged_ms;
    unsigned unlogged;
};

struct http_guesses *http_guesses_new(void) {
    struct http_guesses *guesses = calloc(1, sizeof(*guesses));
    if (guesses != NULL) {
        pthread_mutex_init(&guesses->lock, NULL);
    }
    return guesses;
}

void http_guesses_free(struct http_guesses *guesses) {
    if (guesses != NULL) {
        pthread_mutex_destroy(&guesses->lock);
        free(guesses);
    }
}

static struct http_refusal refuse(int status, const char *code, const char *reason) {
    return (struct http_refusal){.status = status, .code = code, .reason = reason};
}

/* ---- the token ---- */

static struct guesser *guesser_of(struct http_guesses *guesses, const char *peer, uint64_t now) {
    struct guesser *oldest = &guesses->guessers[0];
    for (size_t i = 0; i < GUESS_ADDRESSES; i++) {
        struct guesser *guesser = &guesses->guessers[i];
        if (strcmp(guesser->peer, peer) == 0) {
            return guesser;
        }
        oldest = guesser->refilled_ms < oldest->refilled_ms ? guesser : oldest;
    }
    snprintf(oldest->peer, sizeof(oldest->peer), "%s", peer);
    oldest->left = GUESS_BURST;
    oldest->refilled_ms = now;
    return oldest;
}

/* With the lock held: whether this wrong one is answered at once. */
static bool guess_count(struct http_guesses *guesses, const char *peer) {
    uint64_t now = clock_now_ms();
    struct guesser *guesser = guesser_of(guesses, peer, now);
    uint64_t more = (now - guesser->refilled_ms) / GUESS_REFILL_MS;
    if (more > 0) {
        guesser->left = more < GUESS_BURST ? guesser->left + (unsigned)more : GUESS_BURST;
        guesser->left = guesser->left < GUESS_BURST ? guesser->left : GUESS_BURST;
        guesser->refilled_ms = now;
    }
    guesses->unlogged++;
    if (now >= guesses->logged_ms + GUESS_LOG_MS) {
        log_line("WARN", "token", "%u wrong API token%s, the last from %s", guesses->unlogged,
                 guesses->unlogged == 1 ? "" : "s", peer);
        guesses->logged_ms = now;
        guesses->unlogged = 0;
    }
    bool at_once = guesser->left > 0;
    guesser->left -= at_once;
    return at_once;
}

static struct http_refusal wrong_token(struct http_guesses *guesses, const char *peer,
                                       unsigned *hold_ms) {
    static const char challenge[] = "WWW-Authenticate: Bearer\r\n";
    pthread_mutex_lock(&guesses->lock);
    bool at_once = guess_count(guesses, peer);
    pthread_mutex_unlock(&guesses->lock);
    if (!at_once) {
        *hold_ms = GUESS_HOLD_MS;
        struct http_refusal refusal =
            refuse(429, "RESOURCE_EXHAUSTED", "too many wrong tokens came from this address");
        refusal.headers = "Retry-After: 1\r\n";
        return refusal;
    }
    struct http_refusal refusal =
        refuse(401, "UNAUTHENTICATED", "the token is not that of this gateway's API_TOKEN_FILE");
    refusal.headers = challenge;
    return refusal;
}

/* The length may show; the content may not. */
static bool token_is(const char *token, const char *given, size_t size) {
    return size == strlen(token) && CRYPTO_memcmp(given, token, size) == 0;
}

/* What the pages set for reads, where a header cannot go: event streams and downloads. */
static bool cookie_token(const struct http_head *head, const char *token, bool *given) {
    static const char name[] = "chord-token=";
    bool right = false;
    const char *cookies = http_head_field(head, "Cookie", 0);
    for (const char *at = cookies; at != NULL && *at != '\0'; at += *at == ';') {
        at += strspn(at, " \t");
        size_t size = strcspn(at, ";");
        struct buf value = {0};
        if (strncmp(at, name, sizeof(name) - 1) == 0 &&
            url_decode(&value, at + sizeof(name) - 1, size - (sizeof(name) - 1), false)) {
            *given = true;
            right = right || token_is(token, (const char *)value.data, value.size);
        }
        buf_free(&value);
        at += size;
    }
    return right;
}

static struct http_refusal token_check(struct http_server *server,
                                       const struct http_connection *connection, bool change,
                                       unsigned *hold_ms) {
    const struct http_head *head = &connection->head;
    const char *token = server->options.api_token;
    const char *given = http_head_field(head, "Authorization", 0);
    bool by_header = given != NULL && strncasecmp(given, "Bearer ", 7) == 0;
    bool by_cookie = false;
    if (by_header && token_is(token, given + 7, strlen(given + 7))) {
        return (struct http_refusal){0};
    }
    if (!change && cookie_token(head, token, &by_cookie)) {
        return (struct http_refusal){0};
    }
    if (by_header || by_cookie) {
        return wrong_token(server->guesses, connection->peer, hold_ms);
    }
    struct http_refusal refusal =
        refuse(401, "UNAUTHENTICATED",
               change ? "changes need the header 'Authorization: Bearer TOKEN' with the token of "
                        "this gateway's API_TOKEN_FILE"
                      : "others can reach this address, so reads need the header 'Authorization: "
                        "Bearer TOKEN' too, with the token of this gateway's API_TOKEN_FILE");
    refusal.headers = "WWW-Authenticate: Bearer\r\n";
    return refusal;
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
    if (refusal.status == 0 && options->api_token != NULL && strcmp(head->method, "OPTIONS") != 0 &&
        (change || (options->token_for_reads && (traits & HTTP_OPEN) == 0))) {
        refusal = token_check(server, connection, change, hold_ms);
    }
    return refusal.status != 0 ? refusal : body_check(connection);
}

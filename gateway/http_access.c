/* SPDX-License-Identifier: MIT */
/*
 * Who asks, by what the request carries, and whether that is enough: a token in the Authorization
 * header, a session's cookie, or for reads the token as a cookie.
 */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "access.h"
#include "http_internal.h"
#include "log.h"
#include "url.h"

enum { SESSION_NAME_SIZE = 32 };

static const char challenge[] = "WWW-Authenticate: Bearer\r\n";

/* What a request carries. */
struct credentials {
    struct access_who who; /* the most that any of them allows */
    bool token_given;      /* right or wrong */
};

static void credentials_add(struct credentials *credentials, struct access_who who) {
    credentials->who = who.role > credentials->who.role ? who : credentials->who;
}

typedef void cookie_fn(struct access *access, struct credentials *credentials, const char *value,
                       size_t size);

static void cookie_is_token(struct access *access, struct credentials *credentials,
                            const char *value, size_t size) {
    credentials->token_given = true;
    credentials_add(credentials, access_by_token(access, value, size));
}

/* One that has ended is no guess: nobody finds 32 random bytes. */
static void cookie_is_session(struct access *access, struct credentials *credentials,
                              const char *value, size_t size) {
    credentials_add(credentials, access_by_session(access, value, size));
}

static void cookies_named(const struct http_head *head, const char *name, struct access *access,
                          struct credentials *credentials, cookie_fn *take) {
    const char *cookies = http_head_field(head, "Cookie", 0);
    size_t name_size = strlen(name);
    for (const char *at = cookies; at != NULL && *at != '\0'; at += *at == ';') {
        at += strspn(at, " \t");
        size_t size = strcspn(at, ";");
        struct buf value = {0};
        if (size > name_size && strncmp(at, name, name_size) == 0 && at[name_size] == '=' &&
            url_decode(&value, at + name_size + 1, size - name_size - 1, false)) {
            take(access, credentials, (const char *)value.data, value.size);
        }
        buf_free(&value);
        at += size;
    }
}

/* Browsers send a host's cookies to all of its ports: another gateway there has its own. */
static void session_name(const struct http_server *server, char name[SESSION_NAME_SIZE]) {
    snprintf(name, SESSION_NAME_SIZE, "chord-session-%d", server->options.port);
}

/* The pages set `chord-token` for reads, where a header cannot go: event streams and downloads. The
 * session's cookie goes for changes too, but only where the browser says which page asks, which
 * http_check.c has looked at. */
static struct credentials credentials_of(const struct http_server *server,
                                         const struct http_head *head, bool change) {
    struct credentials credentials = {0};
    struct access *access = server->options.access;
    const char *given = http_head_field(head, "Authorization", 0);
    char session[SESSION_NAME_SIZE];
    if (given != NULL && strncasecmp(given, "Bearer ", 7) == 0) {
        credentials.token_given = true;
        credentials_add(&credentials, access_by_token(access, given + 7, strlen(given + 7)));
    }
    if (!change) {
        cookies_named(head, "chord-token", access, &credentials, cookie_is_token);
    }
    if (!change || http_head_field(head, "Origin", 0) != NULL ||
        http_head_field(head, "Sec-Fetch-Site", 0) != NULL) {
        session_name(server, session);
        cookies_named(head, session, access, &credentials, cookie_is_session);
    }
    return credentials;
}

static struct http_refusal wrong_token(struct access *access, const char *peer, unsigned *hold_ms) {
    if (guesses_wrong(access->guesses, peer)) {
        return (struct http_refusal){
            .status = 401,
            .code = "UNAUTHENTICATED",
            .reason = "the token is none of this gateway's API_TOKEN_FILE",
            .headers = challenge,
        };
    }
    *hold_ms = GUESS_HOLD_MS;
    return (struct http_refusal){
        .status = 429,
        .code = "RESOURCE_EXHAUSTED",
        .reason = "too many wrong tokens came from this address",
        .headers = "Retry-After: 1\r\n",
    };
}

static struct http_refusal no_token(bool change) {
    return (struct http_refusal){
        .status = 401,
        .code = "UNAUTHENTICATED",
        .reason =
            change ? "changes need the header 'Authorization: Bearer TOKEN' with a token of this "
                     "gateway's API_TOKEN_FILE"
                   : "others can reach this address, so reads need the header 'Authorization: "
                     "Bearer TOKEN' too, with a token of this gateway's API_TOKEN_FILE",
        .headers = challenge,
    };
}

static struct http_refusal too_little(struct http_connection *connection, enum role needs) {
    const struct access_who *who = &connection->who;
    snprintf(connection->detail, sizeof(connection->detail),
             "this needs the role %s, and %s has the role %s", role_text(needs), who->name,
             role_text(who->role));
    return (struct http_refusal){
        .status = 403,
        .code = "PERMISSION_DENIED",
        .reason = connection->detail,
    };
}

struct http_refusal http_access_check(struct http_server *server,
                                      struct http_connection *connection, enum role needs,
                                      bool change, unsigned *hold_ms) {
    struct credentials credentials = credentials_of(server, &connection->head, change);
    connection->who = credentials.who;
    if (credentials.who.role >= needs) {
        return (struct http_refusal){0};
    }
    if (credentials.who.role != ROLE_NONE) {
        return too_little(connection, needs);
    }
    return credentials.token_given ? wrong_token(server->options.access, connection->peer, hold_ms)
                                   : no_token(change);
}

bool http_may_go_on(const struct http_request *request) {
    const struct http_server *server = request->connection->engine->server;
    return server->options.access == NULL ||
           credentials_of(server, request->lines, request->needs > ROLE_READER).who.role >=
               request->needs;
}

/* ---- sessions ---- */

static void cookie_write(const struct http_request *request, const char *id, int seconds,
                         char header[HTTP_COOKIE_SIZE]) {
    const char *origin = http_header(request, "Origin"); /* the page may be behind a proxy */
    bool https = origin != NULL && strncmp(origin, "https://", 8) == 0;
    char name[SESSION_NAME_SIZE];
    session_name(request->connection->engine->server, name);
    snprintf(header, HTTP_COOKIE_SIZE,
             "Set-Cookie: %s=%s; Path=/; HttpOnly; SameSite=Strict; Max-Age=%d%s\r\n", name, id,
             seconds, https ? "; Secure" : "");
}

bool http_session_begin(struct http_request *request, char header[HTTP_COOKIE_SIZE]) {
    struct access *access = request->connection->engine->server->options.access;
    char id[SESSION_ID_BYTES + 1];
    bool begun = sessions_begin(access->sessions, clock_now_ms(), id);
    if (begun) {
        cookie_write(request, id, SESSION_MS_MAX / 1000, header);
    }
    return begun;
}

static void cookie_ends(struct access *access, struct credentials *credentials, const char *value,
                        size_t size) {
    (void)credentials;
    sessions_end(access->sessions, value, size);
}

void http_session_end(struct http_request *request, char header[HTTP_COOKIE_SIZE]) {
    const struct http_server *server = request->connection->engine->server;
    char name[SESSION_NAME_SIZE];
    session_name(server, name);
    cookies_named(request->lines, name, server->options.access, NULL, cookie_ends);
    cookie_write(request, "", 0, header);
}

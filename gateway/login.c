/* SPDX-License-Identifier: MIT */
/*
 * One-time links. Who may write DATA_DIR, such as init.py, puts a code there (deploy/launcher/
 * login.py): the file `login`, one line of the code and the unix time in seconds when it ends. The
 * page that is opened with #login=CODE sends it here; the file goes, and the browser has an
 * operator's session.
 */
#include <inttypes.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "json.h"
#include "log.h"
#include "private.h"
#include "routes.h"

enum { CODE_BYTES_MIN = 20, CODE_BYTES_MAX = 100, CODE_S_MAX = 600 };

/* The code is right, not too old, and was not taken before. It is taken now. */
static bool code_take(const struct app *app, const char *code) {
    char path[SETTINGS_PATH_SIZE + 16], text[CODE_BYTES_MAX + 32], wanted[CODE_BYTES_MAX + 1] = "";
    char given[CODE_BYTES_MAX + 1] = "";
    uint64_t ends_s = 0, now_s = clock_unix_ms() / 1000;
    size_t size = 0;
    snprintf(path, sizeof(path), "%s/login", app->settings.data);
    if (strlen(code) >= sizeof(given) || private_read(path, text, sizeof(text) - 1, &size) != 0) {
        return false;
    }
    text[size] = '\0';
    bool read = sscanf(text, "%100s %" SCNu64, wanted, &ends_s) == 2;
    memcpy(given, code, strlen(code));
    bool right = CRYPTO_memcmp(given, wanted, sizeof(given)) == 0;
    bool good = read && strlen(wanted) >= CODE_BYTES_MIN && now_s < ends_s &&
                ends_s <= now_s + CODE_S_MAX && right;
    /* Of two that come with it at once one removes the file. */
    return good && unlink(path) == 0;
}

/* {"code": "..."} of the body. */
static json_t *code_read(struct http_request *request) {
    struct buf body = {0};
    json_t *json = NULL;
    if (http_read_all(request, 4096, &body) == 0) {
        json = json_loadb((const char *)body.data, body.size, 0, NULL);
    }
    buf_free(&body);
    return json;
}

static void code_wrong(struct app *app, struct http_request *request) {
    if (guesses_wrong(app->settings.access->guesses, request->client)) {
        http_problem(request, 401, "UNAUTHENTICATED",
                     "the link was used before, or is older than ten minutes; "
                     "python3 init.py --link makes a new one");
    } else {
        http_problem_more(request, 429, "RESOURCE_EXHAUSTED", "Retry-After: 1\r\n", NULL,
                          "too many wrong codes came from this address");
    }
}

static bool has_access(struct app *app, struct http_request *request) {
    if (app->settings.access == NULL) {
        http_problem(request, 409, "FAILED_PRECONDITION",
                     "this gateway has no API_TOKEN_FILE, so nobody needs to log in");
    }
    return app->settings.access != NULL;
}

void session_post(struct app *app, struct http_request *request, const struct buf *argument) {
    (void)argument;
    char cookie[HTTP_COOKIE_SIZE];
    if (!has_access(app, request)) {
        return;
    }
    request->needs = ROLE_OPERATOR; /* for the audit */
    json_t *json = code_read(request);
    const char *code = json_get_text(json, "code");
    if (code == NULL || !code_take(app, code)) {
        code_wrong(app, request);
    } else if (!http_session_begin(request, cookie)) {
        http_problem(request, 500, "INTERNAL", "there is no randomness for a session");
    } else {
        request->who = (struct access_who){.role = ROLE_OPERATOR, .name = "link"};
        log_line("INFO", "login", "by a one-time link, from %s", request->client);
        http_reply_json(request, 201, cookie,
                        json_pack("{s:s, s:i}", "role", role_text(ROLE_OPERATOR), "seconds",
                                  SESSION_MS_MAX / 1000));
    }
    json_decref(json);
}

void session_delete(struct app *app, struct http_request *request, const struct buf *argument) {
    (void)argument;
    char cookie[HTTP_COOKIE_SIZE];
    if (has_access(app, request)) {
        http_session_end(request, cookie);
        http_reply(request, 204, NULL, cookie, NULL, 0);
    }
}

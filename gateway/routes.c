/* SPDX-License-Identifier: MIT */
/* The table of routes; see routes.h and gateway/README.md. */
#include "routes.h"

#include <stdio.h>
#include <string.h>

#include "assets.h"
#include "events.h"
#include "url.h"

struct route {
    const char *method;
    const char *pattern; /* {} stands for one segment, {*} for the rest */
    route_fn *handler;
    unsigned traits; /* enum http_traits */
};

static const struct route routes[] = {
    {"GET", "/api/v1/ring", ring_get, 0},
    {"GET", "/api/v1/nodes", nodes_get, 0},
    {"GET", "/api/v1/nodes/{}", node_get, 0},
    {"GET", "/api/v1/nodes/{}/keys", node_keys, 0},
    {"GET", "/api/v1/nodes/{}/logs", node_logs, 0},
    {"POST", "/api/v1/nodes/{}/leave", node_leave, 0},
    {"POST", "/api/v1/nodes/{}/join", node_join, 0},
    {"POST", "/api/v1/nodes/{}/start", node_start, 0},
    {"POST", "/api/v1/nodes/{}/kill", node_kill, 0},
    {"GET", "/api/v1/kv", kv_get, 0},
    {"PUT", "/api/v1/kv", kv_put, HTTP_WRITES_DATA},
    {"DELETE", "/api/v1/kv", kv_delete, HTTP_WRITES_DATA},
    {"GET", "/api/v1/kv/{*}", kv_get, 0},
    {"PUT", "/api/v1/kv/{*}", kv_put, HTTP_WRITES_DATA},
    {"DELETE", "/api/v1/kv/{*}", kv_delete, HTTP_WRITES_DATA},
    {"GET", "/api/v1/lookups", lookup_get, 0},
    {"GET", "/api/v1/lookups/{*}", lookup_get, 0},
    {"POST", "/api/v1/imports", import_post, HTTP_WRITES_DATA},
    {"GET", "/api/v1/operations/{}", operation_get, 0},
    {"DELETE", "/api/v1/operations/{}", operation_delete, HTTP_WRITES_DATA},
    {"GET", "/api/v1/exports", export_get, 0},
    {"GET", "/api/v1/events", events_get, 0},
    {"GET", "/api/v1/self", self_get, 0},
    {"GET", "/api/v1/version", version_get, 0},
    /* Whoever has the code may; the handlers look. */
    {"POST", "/api/v1/session", session_post, HTTP_READS_BY_POST | HTTP_OPEN},
    {"DELETE", "/api/v1/session", session_delete, HTTP_READS_BY_POST | HTTP_OPEN},
    {"GET", "/livez", livez_get, HTTP_QUICK | HTTP_OPEN},
    {"GET", "/readyz", readyz_get, HTTP_QUICK | HTTP_OPEN},
    {"GET", "/data", data_get, 0},
    {"POST", "/upload", upload_post, HTTP_WRITES_DATA},
    {"GET", "/lookup", lookup_plain, 0},
    {"POST", "/lookup", lookup_plain, HTTP_READS_BY_POST},
    {"POST", "/leave", node_leave, 0},
    {"POST", "/join", node_join, 0},
    {"POST", "/kys", node_kill, 0},
};

/* true = the path fits; what stands for {} is [*at, *at + *size). */
static bool pattern_fits(const char *pattern, const char *path, const char **at, size_t *size) {
    *at = "";
    *size = 0;
    while (*pattern != '\0') {
        if (*pattern != '{') {
            if (*pattern++ != *path++) {
                return false;
            }
        } else if (strcmp(pattern, "{*}") == 0) {
            *at = path;
            *size = strlen(path);
            return true;
        } else {
            *at = path;
            *size = strcspn(path, "/");
            path += *size;
            pattern += strlen("{}");
            if (*size == 0) {
                return false;
            }
        }
    }
    return *path == '\0';
}

static bool method_fits(const char *route, const char *method) {
    return strcmp(route, method) == 0 || (strcmp(method, "HEAD") == 0 && strcmp(route, "GET") == 0);
}

void events_get(struct app *app, struct http_request *request, const struct buf *argument) {
    (void)argument;
    events_serve(app->events, request);
}

static void route_run(struct app *app, struct http_request *request, const struct route *route,
                      const char *at, size_t size) {
    struct buf argument = {0};
    if (url_decode(&argument, at, size, false) && buf_append(&argument, "", 1)) {
        argument.size--;
        route->handler(app, request, &argument);
    } else {
        http_problem(request, 400, "INVALID_ARGUMENT",
                     "the path has a %%-sign without two hex digits after it");
    }
    buf_free(&argument);
}

unsigned routes_traits(const char *path) {
    unsigned traits = 0;
    bool known = false;
    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
        const char *at = NULL;
        size_t size = 0;
        if (pattern_fits(routes[i].pattern, path, &at, &size)) {
            known = true;
            traits |= routes[i].traits;
        }
    }
    return known ? traits : HTTP_OPEN; /* the pages' files hold nothing of the ring */
}

static void allow_add(char *allowed, size_t size, const char *method) {
    size_t used = strlen(allowed);
    snprintf(allowed + used, size - used, ", %s%s", method,
             strcmp(method, "GET") == 0 ? ", HEAD" : "");
}

/* The method does not go with the path, or asks what does. */
static void method_answer(struct http_request *request, char *allowed, size_t size) {
    strncat(allowed, "\r\n", size - strlen(allowed) - 1);
    if (strcmp(request->method, "OPTIONS") == 0) {
        http_reply(request, 204, NULL, allowed, NULL, 0);
    } else {
        http_problem_more(request, 405, "UNIMPLEMENTED", allowed, NULL,
                          "%s does not go with %.200s", request->method, request->path);
    }
}

void routes_handle(void *context, struct http_request *request) {
    struct app *app = context;
    char allowed[128] = "Allow: OPTIONS";
    bool known = false;
    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
        const char *at = NULL;
        size_t size = 0;
        if (!pattern_fits(routes[i].pattern, request->path, &at, &size)) {
            continue;
        }
        if (method_fits(routes[i].method, request->method)) {
            route_run(app, request, &routes[i], at, size);
            return;
        }
        known = true;
        allow_add(allowed, sizeof(allowed), routes[i].method);
    }
    if (strcmp(request->path, "*") == 0) {
        snprintf(allowed, sizeof(allowed), "Allow: OPTIONS, GET, HEAD, PUT, POST, DELETE");
        known = true;
    } else if (!known && assets_serve(app, request)) {
        if (request->replied) {
            return;
        }
        allow_add(allowed, sizeof(allowed), "GET");
        known = true;
    }
    if (known) {
        method_answer(request, allowed, sizeof(allowed));
    } else {
        http_problem(request, 404, "NOT_FOUND", "there is nothing at %.200s", request->path);
    }
}

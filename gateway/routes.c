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
};

static const struct route routes[] = {
    {"GET", "/api/v1/ring", ring_get},
    {"GET", "/api/v1/nodes", nodes_get},
    {"GET", "/api/v1/nodes/{}", node_get},
    {"GET", "/api/v1/nodes/{}/keys", node_keys},
    {"GET", "/api/v1/nodes/{}/logs", node_logs},
    {"POST", "/api/v1/nodes/{}/leave", node_leave},
    {"POST", "/api/v1/nodes/{}/join", node_join},
    {"POST", "/api/v1/nodes/{}/start", node_start},
    {"POST", "/api/v1/nodes/{}/kill", node_kill},
    {"GET", "/api/v1/kv", kv_get},
    {"PUT", "/api/v1/kv", kv_put},
    {"DELETE", "/api/v1/kv", kv_delete},
    {"GET", "/api/v1/kv/{*}", kv_get},
    {"PUT", "/api/v1/kv/{*}", kv_put},
    {"DELETE", "/api/v1/kv/{*}", kv_delete},
    {"GET", "/api/v1/lookups", lookup_get},
    {"GET", "/api/v1/lookups/{*}", lookup_get},
    {"POST", "/api/v1/imports", import_post},
    {"GET", "/api/v1/operations/{}", operation_get},
    {"DELETE", "/api/v1/operations/{}", operation_delete},
    {"GET", "/api/v1/exports", export_get},
    {"GET", "/api/v1/events", events_get},
    {"GET", "/api/v1/self", self_get},
    {"GET", "/api/v1/version", version_get},
    {"GET", "/livez", livez_get},
    {"GET", "/readyz", readyz_get},
    {"GET", "/data", data_get},
    {"POST", "/upload", upload_post},
    {"GET", "/lookup", lookup_plain},
    {"POST", "/lookup", lookup_plain},
    {"POST", "/leave", slot_leave},
    {"POST", "/join", slot_join},
    {"POST", "/kys", slot_kill},
};

/* true = the path fits; what stands for {} is [*at, *at + *size). */
static bool pattern_fits(const char *pattern, const char *path, const char **at, size_t *size) {
    *at = "";
    *size = 0;
    while (*pattern != '\0') {
        if (strcmp(pattern, "{*}") == 0) {
            *at = path;
            *size = strlen(path);
            return true;
        }
        if (strncmp(pattern, "{}", 2) == 0) {
            *at = path;
            *size = strcspn(path, "/");
            path += *size;
            pattern += 2;
            if (*size == 0) {
                return false;
            }
        } else if (*pattern++ != *path++) {
            return false;
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
                     "the path has a %%-sign that two hex digits do not follow");
    }
    buf_free(&argument);
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
        size_t used = strlen(allowed);
        snprintf(allowed + used, sizeof(allowed) - used, ", %s%s", routes[i].method,
                 strcmp(routes[i].method, "GET") == 0 ? ", HEAD" : "");
    }
    if (!known && assets_serve(app, request)) {
        return;
    }
    size_t used = strlen(allowed);
    snprintf(allowed + used, sizeof(allowed) - used, "\r\n");
    if (known && strcmp(request->method, "OPTIONS") == 0) {
        http_reply(request, 204, NULL, allowed, NULL, 0);
    } else if (known) {
        http_problem_more(request, 405, "UNIMPLEMENTED", allowed, NULL,
                          "%s does not go with %.200s", request->method, request->path);
    } else {
        http_problem(request, 404, "NOT_FOUND", "there is nothing at %.200s", request->path);
    }
}

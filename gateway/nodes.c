/* SPDX-License-Identifier: MIT */
/* The ring, the nodes and what can be done to a node: leave, join, start, kill; gateway/README.md.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "client.h"
#include "events.h"
#include "log.h"
#include "problem.h"
#include "ring_view.h"
#include "routes.h"
#include "status_json.h"
#include "supervisor.h"
#include "url.h"

enum { ADMIN_TIMEOUT_MS = 5000 };

void ring_get(struct app *app, struct http_request *request, const struct buf *argument) {
    (void)argument;
    json_t *ring = ring_view_ring_json(app->view);
    if (ring == NULL || json_is_true(json_object_get(ring, "answering"))) {
        http_reply_json(request, 200, NULL, ring);
        return;
    }
    json_t *more = json_pack("{s:O}", "nodes", json_object_get(ring, "nodes"));
    http_problem_more(request, 503, "UNAVAILABLE", "Retry-After: 1\r\n", more,
                      "no node of the ring answers; start one with 'python3 init.py', or set "
                      "JOIN to a member's HOST:PORT");
    json_decref(ring);
}

void nodes_get(struct app *app, struct http_request *request, const struct buf *argument) {
    (void)argument;
    http_reply_json(request, 200, NULL, ring_view_nodes_json(app->view));
}

/* Of the plain paths: the node whose own port it is. */
static bool slot_named(struct app *app, struct http_request *request, struct view_ref *ref) {
    char address[SETTINGS_ADDRESS_SIZE];
    if (request->slot <= 0) {
        http_problem(request, 404, "NOT_FOUND",
                     "this path belongs to a node's own port; here use /api/v1/nodes/{id}/...");
        return false;
    }
    snprintf(address, sizeof(address), "%.50s:%d", app->settings.host,
             app->settings.rpc_port + request->slot);
    if (!ring_view_find(app->view, address, ref)) {
        http_problem(request, 503, "UNAVAILABLE", "node %d at %s is not known yet", request->slot,
                     address);
        return false;
    }
    return true;
}

/* The node that the path names, or a 404. */
static bool node_named(struct app *app, struct http_request *request, const struct buf *argument,
                       struct view_ref *ref) {
    if (argument->size == 0) {
        return slot_named(app, request, ref);
    }
    if (memchr(argument->data, 0, argument->size) == NULL &&
        ring_view_find(app->view, (const char *)argument->data, ref)) {
        return true;
    }
    http_problem(request, 404, "NOT_FOUND", "no node is known as '%.80s'; give its id or HOST:PORT",
                 (const char *)argument->data);
    return false;
}

void node_get(struct app *app, struct http_request *request, const struct buf *argument) {
    struct view_ref ref;
    if (node_named(app, request, argument, &ref)) {
        http_reply_json(request, 200, NULL, ring_view_node_json(app->view, ref.address));
    }
}

/* Tells a node; where it does not do it, answers the problem itself. */
static bool node_tell(struct app *app, struct http_request *request, struct chord_command *command,
                      struct chord_told *told) {
    command->timeout_ms = ADMIN_TIMEOUT_MS;
    bool done = chord_tell(app->ring, command, told);
    ring_view_poke(app->view, command->node);
    if (!done) {
        problem_answer(request, &told->answer);
    }
    return done;
}

static bool level_read(const char *query, Chord__V1__LogLevel *level) {
    char text[16] = "";
    return !url_parameter_text(query, "level", text, sizeof(text)) || text[0] == '\0' ||
           log_level_read(text, level);
}

static json_t *log_lines_json(const Chord__V1__LogsResponse *logs) {
    json_t *lines = json_array();
    for (size_t i = 0; i < logs->n_lines; i++) {
        (void)json_array_append_new(lines, log_line_json(logs->lines[i]));
    }
    return lines;
}

void node_logs(struct app *app, struct http_request *request, const struct buf *argument) {
    struct view_ref ref;
    struct chord_answer answer;
    struct rpc_reply reply;
    uint64_t after = 0;
    uint64_t limit = 0;
    Chord__V1__LogsRequest message = CHORD__V1__LOGS_REQUEST__INIT;
    if (!url_parameter_number(request->query, "after", 0, UINT64_MAX, 0, &after) ||
        !url_parameter_number(request->query, "limit", 1, 1000, 100, &limit) ||
        !level_read(request->query, &message.level)) {
        http_problem(request, 400, "INVALID_ARGUMENT",
                     "after is a number, limit 1 to 1000, level debug, info, warn or error");
        return;
    }
    message.after_sequence = after;
    message.limit = (uint32_t)limit;
    if (!node_named(app, request, argument, &ref)) {
        return;
    }
    if (ref.state == VIEW_DOWN) { /* what it said last */
        http_reply_json(request, 200, NULL,
                        json_pack("{s:o}", "lines", ring_view_last_log(app->view, ref.address)));
        return;
    }
    const struct client_call call = {.address = ref.address,
                                     .method = RPC_ADMIN_LOGS,
                                     .request = &message.base,
                                     .timeout_ms = ADMIN_TIMEOUT_MS};
    if (client_call(app->ring, &call, &answer, &reply)) {
        http_reply_json(request, 200, NULL,
                        json_pack("{s:o}", "lines", log_lines_json((const void *)reply.response)));
    } else {
        problem_answer(request, &answer);
    }
    rpc_reply_free(&reply);
}

static void leave_run(struct app *app, struct http_request *request, const struct view_ref *ref) {
    struct chord_command command = {.kind = CHORD_LEAVE, .node = ref->address};
    struct chord_told told;
    if (node_tell(app, request, &command, &told)) {
        http_reply_json(request, 202, NULL, json_pack("{s:o}", "warning", json_text(told.warning)));
    }
}

static void join_run(struct app *app, struct http_request *request, const struct view_ref *ref) {
    enum { SEEDS_MAX = 16 };
    struct view_ref refs[SEEDS_MAX];
    const char *seeds[SEEDS_MAX];
    struct chord_command command = {.kind = CHORD_JOIN, .node = ref->address, .seeds = seeds};
    struct chord_told told;
    size_t count = ring_view_alive(app->view, refs, SEEDS_MAX);
    for (size_t i = 0; i < count; i++) {
        if (strcmp(refs[i].address, ref->address) != 0 && refs[i].state == VIEW_MEMBER) {
            seeds[command.seeds_count++] = refs[i].address;
        }
    }
    if (node_tell(app, request, &command, &told)) {
        http_reply_json(request, 202, NULL, json_object());
    }
}

static void kill_run(struct app *app, struct http_request *request, const struct view_ref *ref) {
    struct chord_command command = {.kind = CHORD_KILL, .node = ref->address, .id = ref->id};
    struct chord_told told;
    if (ref->id[0] == '\0') {
        http_problem_more(request, 503, "UNAVAILABLE", "Retry-After: 1\r\n", NULL,
                          "node %s does not answer, so there is nothing to kill", ref->address);
        return;
    }
    log_line("WARN", "kill", "node %s (%s), asked by %s", ref->id, ref->address, request->client);
    if (node_tell(app, request, &command, &told)) {
        http_reply_json(request, 202, NULL, json_object());
    }
}

void node_leave(struct app *app, struct http_request *request, const struct buf *argument) {
    struct view_ref ref;
    if (node_named(app, request, argument, &ref)) {
        leave_run(app, request, &ref);
    }
}

void node_join(struct app *app, struct http_request *request, const struct buf *argument) {
    struct view_ref ref;
    if (node_named(app, request, argument, &ref)) {
        join_run(app, request, &ref);
    }
}

/* What the request says for `confirm`: JSON, form or query. false = its body has none. */
static bool confirm_read(struct http_request *request, struct buf *confirm) {
    struct buf body = {0};
    bool found = url_parameter(request->query, "confirm", confirm, NULL);
    int result = http_read_all(request, 4096, &body);
    bool given = result != 0 || body.size > 0;
    if (result == 0 && body.size > 0 && buf_append(&body, "", 1)) {
        json_t *json = json_loadb((const char *)body.data, body.size - 1, 0, NULL);
        const char *text = json_get_text(json, "confirm");
        if (text != NULL) {
            buf_clear(confirm);
            found = buf_append_text(confirm, text) && buf_append(confirm, "", 1);
        } else {
            found = url_parameter((const char *)body.data, "confirm", confirm, NULL);
        }
        json_decref(json);
    }
    buf_free(&body);
    return found || !given;
}

/* `needed`: without the word nobody is killed; on a node's own port its absence is the old way. */
static void kill_confirmed(struct app *app, struct http_request *request,
                           const struct view_ref *ref, bool needed) {
    struct buf confirm = {0};
    bool readable = confirm_read(request, &confirm);
    const char *word = confirm.data == NULL ? "" : (const char *)confirm.data;
    if (!readable || (needed && confirm.data == NULL)) {
        http_problem(request, 400, "INVALID_ARGUMENT",
                     "kill needs the JSON body {\"confirm\":\"%s\"}: the id of the node", ref->id);
    } else if (confirm.data != NULL && (strcasecmp(word, ref->id) != 0 || ref->id[0] == '\0')) {
        http_problem(request, 409, "FAILED_PRECONDITION",
                     "confirm is '%.50s', but the id of node %s is %s", word, ref->address,
                     ref->id);
    } else {
        kill_run(app, request, ref);
    }
    buf_free(&confirm);
}

void node_kill(struct app *app, struct http_request *request, const struct buf *argument) {
    struct view_ref ref;
    if (node_named(app, request, argument, &ref)) {
        kill_confirmed(app, request, &ref, argument->size > 0);
    }
}

/* What starts the node, to be typed into a shell: it may be another folder than init.py's own. */
static bool start_hint(const struct app *app, bool systemd, int slot, struct buf *out) {
    char text[64];
    snprintf(text, sizeof(text),
             systemd ? "systemctl start chord-node@%d" : "python3 init.py --start %d --data-dir '",
             slot);
    bool fits = buf_append_text(out, text);
    for (const char *at = app->settings.data; fits && !systemd && *at != '\0'; at++) {
        fits = *at == '\'' ? buf_append_text(out, "'\\''") : buf_append(out, at, 1);
    }
    return fits && (systemd || buf_append_text(out, "'")) && buf_append(out, "", 1);
}

void node_start(struct app *app, struct http_request *request, const struct buf *argument) {
    struct view_ref ref;
    char error[256] = "";
    const char *supervisor = getenv("SUPERVISOR"); /* said by the unit of systemd */
    bool systemd = supervisor != NULL && strcmp(supervisor, "systemd") == 0;
    if (!node_named(app, request, argument, &ref)) {
        return;
    }
    if (ref.slot == 0) {
        http_problem(request, 409, "FAILED_PRECONDITION",
                     "node %s is not on this host; start it where it lives", ref.address);
        return;
    }
    json_t *command = json_pack("{s:s, s:i}", "command", "start", "slot", ref.slot);
    json_t *answer = supervisor_ask(app, command, error, sizeof(error));
    json_decref(command);
    if (json_is_true(json_object_get(answer, "ok"))) {
        http_reply_json(request, 202, NULL, json_incref(answer));
        ring_view_poke(app->view, ref.address);
    } else {
        const char *reason = json_get_text(answer, "error");
        struct buf hint = {0};
        const char *typed =
            start_hint(app, systemd, ref.slot, &hint) ? (const char *)hint.data : "";
        if (systemd) {
            snprintf(error, sizeof(error), "systemd runs the nodes of this host");
            reason = NULL;
        }
        http_problem_more(request, 409, "FAILED_PRECONDITION", NULL,
                          json_pack("{s:s}", "command", typed),
                          reason != NULL ? "%s%s%s" : "%s; type: %s%s",
                          reason != NULL ? reason : error, reason != NULL ? "" : typed, "");
        buf_free(&hint);
    }
    json_decref(answer);
}

/* ---- the gateway itself ---- */

void self_get(struct app *app, struct http_request *request, const struct buf *argument) {
    (void)argument;
    const struct settings *settings = &app->settings;
    bool slot = request->slot > 0;
    json_t *json = json_pack(
        "{s:o, s:o, s:o}", "slot", slot ? json_integer(request->slot) : json_null(), "address",
        slot ? json_sprintf("%s:%d", settings->host, settings->rpc_port + request->slot)
             : json_null(),
        "ring_dashboard", json_sprintf("http://%s:%d", settings->host, settings->port));
    http_reply_json(request, 200, NULL, json);
}

void version_get(struct app *app, struct http_request *request, const struct buf *argument) {
    (void)app;
    (void)argument;
    http_reply_json(request, 200, NULL,
                    json_pack("{s:s, s:i}", "version", CHORD_VERSION, "protocol_version",
                              (int)RPC_PROTOCOL_VERSION));
}

void livez_get(struct app *app, struct http_request *request, const struct buf *argument) {
    (void)app;
    (void)argument;
    http_reply(request, 200, "text/plain; charset=utf-8", NULL, "ok\n", 3);
}

void readyz_get(struct app *app, struct http_request *request, const struct buf *argument) {
    (void)argument;
    struct buf checks = {0};
    char verbose[8];
    bool ready = ring_view_ready(app->view, &checks);
    bool listed = url_parameter_text(request->query, "verbose", verbose, sizeof(verbose));
    (void)buf_format(&checks, "readyz check %s\n", ready ? "passed" : "failed");
    if (ready && !listed) {
        http_reply(request, 200, "text/plain; charset=utf-8", NULL, "ok\n", 3);
    } else {
        http_reply(request, ready ? 200 : 503, "text/plain; charset=utf-8",
                   ready ? NULL : "Retry-After: 1\r\n", checks.data, checks.size);
    }
    buf_free(&checks);
}

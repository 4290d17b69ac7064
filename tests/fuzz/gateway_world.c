/* SPDX-License-Identifier: MIT */
/* See gateway_world.h. */
#include "gateway_world.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "assets.h"
#include "client.h"
#include "events.h"
#include "log.h"
#include "ring_view.h"
#include "routes.h"
#include "supervisor.h"

enum { ROWS = 3, TEXT_BYTES = 2048, LIMIT_MAX = 1000 };

static struct bytes dice, body;
static unsigned replies; /* to the request that is served */

void world_must(bool condition, const char *what) {
    if (!condition) {
        fprintf(stderr, "fuzz_routes: %s\n", what);
        abort();
    }
}

static bool chance(void) {
    return take(&dice) % 2 == 1;
}

static uint8_t *memory(size_t size) {
    uint8_t *made = calloc(1, size);
    world_must(made != NULL, "no memory");
    return made;
}

/* ---- the connection ---- */

const char *http_header(const struct http_request *request, const char *name) {
    return http_head_field(request->lines, name, 0);
}

int64_t http_read(struct http_request *request, void *data, size_t size) {
    size_t count = size < body.size ? size : body.size;
    if (count == 0) {
        return take(&dice) % 16 == 15 ? -1 : 0;
    }
    memcpy(data, body.data, count);
    body.data += count;
    body.size -= count;
    request->body_read += count;
    return (int64_t)count;
}

int http_read_all(struct http_request *request, size_t bytes_max, struct buf *all) {
    uint8_t piece[512];
    int64_t got;
    while ((got = http_read(request, piece, sizeof piece)) > 0) {
        if (all->size + (size_t)got > bytes_max) {
            return -EFBIG;
        }
        world_must(buf_append(all, piece, (size_t)got), "no memory");
    }
    return got == 0 ? 0 : -EPIPE;
}

static void replied(struct http_request *request, int status, const char *headers) {
    replies++;
    request->replied = true;
    world_must(status >= 200 && status <= 599, "a status that is none");
    for (const char *line = headers; line != NULL && *line != '\0';) {
        const char *end = strstr(line, "\r\n");
        size_t name = strcspn(line, ":");
        world_must(end != NULL && http_is_token(line, name) && line + name < end,
                   "a header line without a name or an end");
        for (const char *at = line; at < end; at++) {
            world_must(*at >= ' ' && *at <= '~', "a header with a byte that none may have");
        }
        line = end + 2;
    }
}

void http_reply(struct http_request *request, int status, const char *type, const char *headers,
                const void *data, size_t size) {
    (void)type;
    replied(request, status, headers);
    world_must(size == 0 || data != NULL, "an answer without its bytes");
}

void http_reply_json(struct http_request *request, int status, const char *headers, json_t *json) {
    char *text = json_dumps(json, 0);
    replied(request, status, headers);
    world_must(text != NULL, "an answer that is no JSON");
    free(text);
    json_decref(json);
}

static void problem(struct http_request *request, int status, const char *code, const char *headers,
                    json_t *more, const char *format, va_list arguments) {
    char text[TEXT_BYTES];
    int size = vsnprintf(text, sizeof text, format, arguments);
    replied(request, status, headers);
    world_must(status >= 400 && code != NULL && size > 0 && size < TEXT_BYTES,
               "a problem without a reason, or with one that never ends");
    json_decref(more);
}

void http_problem(struct http_request *request, int status, const char *code, const char *format,
                  ...) {
    va_list arguments;
    va_start(arguments, format);
    problem(request, status, code, NULL, NULL, format, arguments);
    va_end(arguments);
}

void http_problem_more(struct http_request *request, int status, const char *code,
                       const char *headers, json_t *more, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    problem(request, status, code, headers, more, format, arguments);
    va_end(arguments);
}

void http_problem_body(struct http_request *request, int result, size_t bytes_max) {
    world_must(result < 0, "a body that was read is no problem");
    http_problem(request, 413, "RESOURCE_EXHAUSTED", "the body, of at most %zu bytes", bytes_max);
}

bool http_stream_begin(struct http_request *request, int status, const char *type,
                       const char *headers) {
    (void)type;
    replied(request, status, headers);
    request->streaming = true;
    return chance();
}

bool http_stream_write(struct http_request *request, const void *data, size_t size) {
    world_must(request->streaming && (size == 0 || data != NULL), "a stream that has not begun");
    return take(&dice) % 8 != 7;
}

bool http_stream_end(struct http_request *request) {
    world_must(request->streaming, "a stream ends that has not begun");
    return true;
}

void http_stream_abort(struct http_request *request) {
    world_must(request->streaming, "a stream is cut that has not begun");
}

bool http_session_begin(struct http_request *request, char header[HTTP_COOKIE_SIZE]) {
    (void)request;
    strcpy(header, "Set-Cookie: session=0\r\n");
    return chance();
}

void http_session_end(struct http_request *request, char header[HTTP_COOKIE_SIZE]) {
    (void)request;
    strcpy(header, "Set-Cookie: session=; Max-Age=0\r\n");
}

/* ---- the view of the ring ---- */

bool ring_view_find(struct ring_view *view, const char *name, struct view_ref *ref) {
    (void)view;
    memset(ref, 0, sizeof *ref);
    if (strcmp(name, "07") != 0 && strcmp(name, "127.0.0.1:4001") != 0) {
        return false;
    }
    snprintf(ref->address, sizeof ref->address, "127.0.0.1:4001");
    snprintf(ref->id, sizeof ref->id, "%s", chance() ? "07" : "");
    ref->state = (enum view_state)take_below(&dice, VIEW_FOREIGN + 1);
    ref->slot = (int)take_below(&dice, 2);
    return true;
}

size_t ring_view_alive(struct ring_view *view, struct view_ref *refs, size_t max) {
    size_t count = take_below(&dice, 3);
    for (size_t i = 0; i < count && i < max; i++) {
        memset(&refs[i], 0, sizeof refs[i]);
        (void)ring_view_find(view, "07", &refs[i]);
    }
    return count < max ? count : max;
}

bool ring_view_lost(struct ring_view *view, const struct ring_id *id, char *text, size_t size) {
    (void)view;
    (void)id;
    snprintf(text, size, "%s", chance() ? "start 127.0.0.1:4002" : "");
    return text[0] != '\0';
}

struct view_parameters ring_view_parameters(struct ring_view *view) {
    (void)view;
    struct view_parameters parameters = {.known = true, .n = 3, .replicas = 3};
    parameters.m = chance() ? 6 : chance() ? 160 : 0;
    return parameters;
}

json_t *ring_view_ring_json(struct ring_view *view) {
    (void)view;
    return json_pack("{s:b, s:[]}", "answering", (int)chance(), "nodes");
}

json_t *ring_view_nodes_json(struct ring_view *view) {
    (void)view;
    return json_array();
}

json_t *ring_view_node_json(struct ring_view *view, const char *name) {
    (void)view;
    world_must(strcmp(name, "127.0.0.1:4001") == 0, "a node that was not found");
    return json_object();
}

json_t *ring_view_last_log(struct ring_view *view, const char *address) {
    (void)view;
    (void)address;
    return json_array();
}

bool ring_view_ready(struct ring_view *view, struct buf *checks) {
    (void)view;
    world_must(buf_append_text(checks, "[+]ring ok\n"), "no memory");
    return chance();
}

void ring_view_poke(struct ring_view *view, const char *address) {
    (void)view;
    (void)address;
}

/* ---- the client of the ring ---- */

static void key_check(const void *key, size_t size) {
    world_must(key != NULL && size >= 1 && size <= CHORD_KEY_BYTES_MAX, "a key that no node takes");
}

const char *chord_code_text(int code) {
    return rpc_code_text((Chord__V1__Code)code);
}

static void answer_take(struct chord_answer *answer) {
    memset(answer, 0, sizeof *answer);
    answer->fate = (enum chord_fate)take_below(&dice, CHORD_MAYBE_DONE + 1);
    answer->code = (int)take_below(&dice, 18);
    answer->answered = chance();
    answer->retry_after_ms = (uint32_t)take_number(&dice);
    snprintf(answer->address, sizeof answer->address, "127.0.0.1:4001");
    snprintf(answer->message, sizeof answer->message, "%s", chance() ? "it says no" : "");
}

void chord_run(struct chord_client *client, const struct chord_operation *operations, size_t count,
               struct chord_result *results) {
    (void)client;
    for (size_t i = 0; i < count; i++) {
        const struct chord_operation *operation = &operations[i];
        struct chord_result *result = &results[i];
        key_check(operation->key, operation->key_size);
        world_must(operation->value_size <= CHORD_VALUE_BYTES_MAX, "a value that no node takes");
        world_must(!(operation->if_absent && operation->if_match), "two conditions that exclude");
        memset(result, 0, sizeof *result);
        result->fate = (enum chord_fate)take_below(&dice, CHORD_MAYBE_DONE + 1);
        result->code = result->fate == CHORD_DONE ? (chance() ? CHORD_CODE_NOT_FOUND : 0)
                                                  : 1 + (int)take_below(&dice, 17);
        result->version = (struct chord_version){take_number(&dice), take_number(&dice)};
        result->existed = chance();
        result->repeated = chance();
        result->full = chance();
        result->retry_after_ms = (uint32_t)take_number(&dice);
        result->missing_count = take_below(&dice, CHORD_MISSING_MAX + 1);
        for (size_t k = 0; k < result->missing_count; k++) {
            memset(result->missing[k], 'a', CHORD_ADDRESS_SIZE - 1);
        }
        memset(result->message, 'm', take_below(&dice, sizeof result->message));
        if (operation->kind == CHORD_GET && result->code == 0) {
            result->value_size = take(&dice);
            result->value = result->owner = memory(result->value_size + 1);
        }
    }
}

void chord_result_free(struct chord_result *result) {
    free(result->owner);
    result->owner = NULL;
}

bool client_key_id(struct chord_client *client, const void *key, size_t key_size,
                   struct ring_id *id) {
    (void)client;
    key_check(key, key_size);
    memset(id, 0xab, sizeof *id);
    return chance();
}

bool chord_lookup(struct chord_client *client, const void *key, size_t key_size, const char *from,
                  uint32_t timeout_ms, struct chord_lookup *lookup) {
    (void)client;
    (void)timeout_ms;
    key_check(key, key_size);
    world_must(from == NULL || strcmp(from, "127.0.0.1:4001") == 0, "from a node of no address");
    memset(lookup, 0, sizeof *lookup);
    answer_take(&lookup->answer);
    return chance();
}

void chord_lookup_free(struct chord_lookup *lookup) {
    (void)lookup;
}

bool chord_tell(struct chord_client *client, const struct chord_command *command,
                struct chord_told *told) {
    (void)client;
    world_must(strcmp(command->node, "127.0.0.1:4001") == 0, "a node of no address is told");
    world_must(command->kind != CHORD_KILL || strcmp(command->id, "07") == 0,
               "a kill without the node's id");
    memset(told, 0, sizeof *told);
    answer_take(&told->answer);
    return chance();
}

/* As the lists of nodes answer: two keys, and where to go on. */
bool client_call(struct chord_client *client, const struct client_call *call,
                 struct chord_answer *answer, struct rpc_reply *reply) {
    static Chord__V1__KeyInfo infos[2];
    static Chord__V1__KeyInfo *pointers[2] = {&infos[0], &infos[1]};
    static uint8_t key[CHORD_KEY_BYTES_MAX + 1], hash[ID_BYTES + 1];
    static Chord__V1__Cursor cursor;
    static Chord__V1__ListKeysResponse list;
    static Chord__V1__LogsResponse logs;
    (void)client;
    memset(reply, 0, sizeof *reply);
    answer_take(answer);
    if (call->method == RPC_ADMIN_LIST_KEYS) {
        const Chord__V1__ListKeysRequest *request = (const void *)call->request;
        world_must(request->limit >= 1 && request->limit <= LIMIT_MAX, "a page without a bound");
        world_must(request->after == NULL || (request->after->hash.len == ID_BYTES &&
                                              request->after->key.len <= CHORD_KEY_BYTES_MAX),
                   "a place in the list that is none");
        chord__v1__list_keys_response__init(&list);
        chord__v1__cursor__init(&cursor);
        for (unsigned i = 0; i < 2; i++) {
            chord__v1__key_info__init(&infos[i]);
            infos[i].key.data = key;
            infos[i].key.len = take_number(&dice) % sizeof key;
        }
        list.keys = pointers;
        list.n_keys = take_below(&dice, 3);
        cursor.hash.data = hash;
        cursor.hash.len = chance() ? ID_BYTES : take_below(&dice, sizeof hash + 1);
        cursor.key.data = key;
        cursor.key.len = take_number(&dice) % (sizeof key + 1);
        list.next = chance() ? &cursor : NULL;
        reply->response = &list.base;
    } else {
        const Chord__V1__LogsRequest *request = (const void *)call->request;
        world_must(request->limit >= 1 && request->limit <= LIMIT_MAX, "a log without a bound");
        chord__v1__logs_response__init(&logs);
        reply->response = &logs.base;
    }
    return chance();
}

void client_row_take(struct chord_row *row, const Chord__V1__KeyInfo *info, bool values) {
    static const uint8_t hash[ID_BYTES];
    memset(row, 0, sizeof *row);
    row->key = info->key.data;
    row->key_size = info->key.len;
    row->value = values ? info->key.data : NULL;
    row->hash = hash;
}

struct chord_walk {
    uint8_t key[CHORD_KEY_BYTES_MAX];
};

struct chord_walk *chord_walk_new(struct chord_client *client, const void *prefix,
                                  size_t prefix_size, bool values) {
    (void)client;
    (void)values;
    world_must(prefix != NULL || prefix_size == 0, "a prefix without bytes");
    return (struct chord_walk *)memory(sizeof(struct chord_walk));
}

void chord_walk_free(struct chord_walk *walk) {
    free(walk);
}

bool chord_walk_next(struct chord_walk *walk, uint32_t limit, struct chord_page *page, char *error,
                     size_t error_size) {
    static const uint8_t hash[ID_BYTES];
    static struct chord_row rows[ROWS];
    world_must(limit >= 1 && limit <= 10000, "a page without a bound");
    memset(page, 0, sizeof *page);
    for (unsigned i = 0; i < ROWS; i++) {
        rows[i] = (struct chord_row){.key = walk->key,
                                     .key_size = 1 + take_number(&dice) % CHORD_KEY_BYTES_MAX,
                                     .value = walk->key,
                                     .value_size = take(&dice),
                                     .hash = hash};
    }
    page->rows = rows;
    page->count = take_below(&dice, ROWS + 1);
    page->count = page->count < limit ? page->count : limit;
    page->done = page->count == 0 || chance();
    snprintf(error, error_size, "no node of the ring answers");
    return take(&dice) % 8 != 7;
}

struct chord_cursor chord_walk_cursor(const struct chord_walk *walk) {
    struct chord_cursor cursor = {.key = walk->key};
    cursor.key_size = take_number(&dice) % (CHORD_KEY_BYTES_MAX + 1);
    return cursor;
}

bool chord_walk_seek(struct chord_walk *walk, const struct chord_cursor *cursor) {
    (void)walk;
    world_must(cursor->key_size <= CHORD_KEY_BYTES_MAX, "a place in the list that is none");
    return chance();
}

/* ---- a window of rows ---- */

struct chord_load {
    struct chord_load_events events;
    size_t rows;
};

struct chord_load *chord_load_new(struct chord_client *client,
                                  const struct chord_load_events *events) {
    struct chord_load *load = (struct chord_load *)memory(sizeof(struct chord_load));
    (void)client;
    load->events = *events;
    return load;
}

void chord_load_free(struct chord_load *load) {
    free(load);
}

size_t chord_load_rows(const struct chord_load *load) {
    return load->rows;
}

bool chord_load_fits(const struct chord_load *load, size_t key_size, size_t value_size) {
    (void)key_size;
    (void)value_size;
    return load->rows < ROWS;
}

bool chord_load_add(struct chord_load *load, uint64_t line, const void *key, size_t key_size,
                    const void *value, size_t value_size, uint64_t expires_at_ms) {
    (void)expires_at_ms;
    key_check(key, key_size);
    world_must(line > 0 && value != NULL && value_size <= CHORD_VALUE_BYTES_MAX,
               "a row that no node takes");
    load->rows++;
    return true;
}

void chord_load_flush(struct chord_load *load, uint32_t timeout_ms,
                      struct chord_load_result *result) {
    (void)timeout_ms;
    memset(result, 0, sizeof *result);
    result->failed = load->rows > 0 && chance() ? 1 : 0;
    result->stored = load->rows - result->failed;
    result->fate = result->failed > 0 ? CHORD_NOT_DONE : CHORD_DONE;
    result->failed_line = 1;
    result->reached = chance();
    snprintf(result->reason, sizeof result->reason, "it says no");
    if (result->failed > 0 && load->events.failed != NULL) {
        load->events.failed(load->events.context, 1, result->reason);
    }
    if (load->events.stored != NULL) {
        load->events.stored(load->events.context, result->stored);
    }
    load->rows = 0;
}

void chord_load_drop(struct chord_load *load, const char *reason) {
    for (; load->rows > 0; load->rows--) {
        if (load->events.failed != NULL) {
            load->events.failed(load->events.context, 1, reason);
        }
    }
}

/* ---- the rest of the gateway ---- */

static const uint8_t page[] = "<!doctype html>";
const struct asset assets[] = {{"/index.html", page, sizeof page},
                               {"/node.html", page, sizeof page}};
const size_t assets_count = sizeof assets / sizeof assets[0];

void events_serve(struct events *events, struct http_request *request) {
    (void)events;
    http_reply(request, 200, "text/event-stream", NULL, "", 0);
}

void events_publish(struct events *events, const char *type, json_t *data, bool keep) {
    (void)events;
    (void)type;
    (void)keep;
    json_decref(data);
}

void db_operation_save(struct db *db, const char *id, const char *json) {
    (void)db;
    world_must(id[0] != '\0' && json != NULL, "an operation without a name");
}

char *db_operation_read(struct db *db, const char *id) {
    (void)db;
    (void)id;
    return chance() ? strdup(chance() ? "{\"state\":\"done\"}" : "[no") : NULL;
}

json_t *supervisor_ask(const struct app *app, json_t *command, char *error, size_t error_size) {
    (void)app;
    world_must(json_is_object(command), "the supervisor is asked nothing");
    snprintf(error, error_size, "no supervisor answers");
    return chance() ? json_pack("{s:b}", "ok", (int)chance()) : NULL;
}

/* In the place of the gateway's, which would fill the screen. */
void log_line(const char *level, const char *word, const char *format, ...) {
    (void)level;
    (void)word;
    (void)format;
}

void world_request(struct app *app, const struct http_head *head, struct bytes dice_given,
                   struct bytes body_given) {
    dice = dice_given;
    body = body_given;
    replies = 0;
    struct http_request request = {.method = head->method,
                                   .path = head->path,
                                   .query = head->query,
                                   .client = "127.0.0.1",
                                   .lines = head,
                                   .slot = (int)take_below(&dice, 3),
                                   .body_bytes = head->body_bytes,
                                   .head = strcmp(head->method, "HEAD") == 0};
    (void)routes_traits(request.path);
    routes_handle(app, &request);
    world_must(replies == 1, "not exactly one answer");
}

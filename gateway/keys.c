/* Lists of keys: what one node holds, and /data. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "json.h"
#include "log.h"
#include "problem.h"
#include "ring_view.h"
#include "routes.h"
#include "url.h"
#include "walk.h"

enum { KEYS_TIMEOUT_MS = 5000, SEARCH_MS = 3000 };

/* A place in the list as text: hex of the hash, a dot, hex of the key. */
static json_t *token_json(const uint8_t *hash, const uint8_t *key, size_t key_size) {
    struct buf text = {0};
    bool ok = true;
    for (size_t i = 0; i < ID_BYTES && ok; i++) {
        ok = buf_format(&text, "%02x", hash[i]);
    }
    ok = ok && buf_append(&text, ".", 1);
    for (size_t i = 0; i < key_size && ok; i++) {
        ok = buf_format(&text, "%02x", key[i]);
    }
    json_t *json = ok ? json_stringn((const char *)text.data, text.size) : json_null();
    buf_free(&text);
    return json;
}

struct token {
    bool present;
    uint8_t hash[ID_BYTES];
    struct buf key;
};

static bool hex_pair(const char *text, uint8_t *byte) {
    unsigned value = 0;
    for (int i = 0; i < 2; i++) {
        char c = text[i];
        if ((c < '0' || c > '9') && (c < 'a' || c > 'f')) {
            return false;
        }
        value = value * 16 + (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    *byte = (uint8_t)value;
    return true;
}

static bool token_read(const char *query, struct token *token) {
    struct buf text = {0};
    bool malformed = false;
    bool ok = true;
    token->present = url_parameter(query, "after", &text, &malformed) && text.size > 0;
    if (token->present) {
        const char *at = (const char *)text.data;
        size_t key_digits = text.size > 41 ? text.size - 41 : 0;
        ok = text.size >= 41 && at[40] == '.' && key_digits % 2 == 0 && key_digits <= 2048;
        for (size_t i = 0; i < ID_BYTES && ok; i++) {
            ok = hex_pair(at + 2 * i, &token->hash[i]);
        }
        for (size_t i = 0; i < key_digits && ok; i += 2) {
            uint8_t byte = 0;
            ok = hex_pair(at + 41 + i, &byte) && buf_append(&token->key, &byte, 1);
        }
    }
    buf_free(&text);
    return ok && !malformed;
}

static json_t *key_json(const Chord__V1__KeyInfo *info, unsigned m, bool values) {
    struct ring_id id;
    char hex[ID_HEX_SIZE] = "";
    if (info->hash.len == ID_BYTES && m > 0) {
        id_from_hash(&id, info->hash.data, m);
        id_to_hex(&id, m, hex);
    }
    json_t *json = json_object();
    json_put(json, "key", json_text_or_null(info->key.data, info->key.len));
    json_put(json, "key_base64", json_base64(info->key.data, info->key.len));
    json_put(json, "id", json_string(hex));
    json_put(json, "bytes", json_integer(info->value_bytes));
    json_put(json, "led", json_boolean(info->led));
    json_put(
        json, "version",
        json_sprintf("%llu.%llu",
                     info->version == NULL ? 0ULL : (unsigned long long)info->version->epoch,
                     info->version == NULL ? 0ULL : (unsigned long long)info->version->counter));
    if (values) {
        json_put(json, "value", json_text_or_null(info->value.data, info->value.len));
        json_put(json, "value_base64", json_base64(info->value.data, info->value.len));
    }
    return json;
}

static bool flag_read(const char *query, const char *name) {
    char text[8];
    return url_parameter_text(query, name, text, sizeof(text)) &&
           (strcmp(text, "1") == 0 || strcmp(text, "true") == 0);
}

static json_t *page_json(const Chord__V1__ListKeysResponse *list, unsigned m, bool values) {
    json_t *json = json_object();
    json_t *keys = json_array();
    for (size_t i = 0; i < list->n_keys; i++) {
        (void)json_array_append_new(keys, key_json(list->keys[i], m, values));
    }
    json_put(json, "keys", keys);
    bool more = !list->done && list->next != NULL && list->next->hash.len == ID_BYTES;
    json_put(json, "next",
             more ? token_json(list->next->hash.data, list->next->key.data, list->next->key.len)
                  : json_null());
    return json;
}

/* The query of a list: after, limit, prefix, led, values. false = answered with 400. */
static bool query_read(struct http_request *request, struct token *token, struct buf *prefix,
                       unsigned long long *limit) {
    bool malformed = false;
    (void)url_parameter(request->query, "prefix", prefix, &malformed);
    if (!malformed && token_read(request->query, token) &&
        url_parameter_number(request->query, "limit", 1, 1000, 100, limit)) {
        return true;
    }
    http_problem(request, 400, "INVALID_ARGUMENT",
                 "limit is 1 to 1000, after is the 'next' of the page before");
    return false;
}

static void node_keys_run(struct app *app, struct http_request *request, const char *address,
                          bool values) {
    struct token token = {0};
    struct buf prefix = {0};
    unsigned long long limit = 0;
    Chord__V1__ListKeysRequest message = CHORD__V1__LIST_KEYS_REQUEST__INIT;
    Chord__V1__Cursor after = CHORD__V1__CURSOR__INIT;
    struct chord_answer answer;
    struct rpc_reply reply;
    const struct client_call call = {.address = address,
                                     .method = RPC_ADMIN_LIST_KEYS,
                                     .request = &message.base,
                                     .timeout_ms = KEYS_TIMEOUT_MS};
    if (!query_read(request, &token, &prefix, &limit)) {
        goto out;
    }
    message.limit = (uint32_t)limit;
    message.values = values;
    message.led_only = flag_read(request->query, "led");
    message.prefix.data = prefix.data;
    message.prefix.len = prefix.size;
    if (token.present) {
        after.hash.data = token.hash;
        after.hash.len = ID_BYTES;
        after.key.data = token.key.data;
        after.key.len = token.key.size;
        message.after = &after;
    }
    if (client_call(app->ring, &call, &answer, &reply)) {
        http_reply_json(
            request, 200, NULL,
            page_json((const void *)reply.response, ring_view_parameters(app->view).m, values));
    } else {
        problem_answer(request, &answer);
    }
    rpc_reply_free(&reply);
out:
    buf_free(&token.key);
    buf_free(&prefix);
}

void node_keys(struct app *app, struct http_request *request, const struct buf *argument) {
    struct view_ref ref;
    if (memchr(argument->data, 0, argument->size) != NULL ||
        !ring_view_find(app->view, (const char *)argument->data, &ref)) {
        http_problem(request, 404, "NOT_FOUND", "no node is known as '%.80s'",
                     (const char *)argument->data);
        return;
    }
    node_keys_run(app, request, ref.address, flag_read(request->query, "values"));
}

/* All keys of the ring, a page of up to `limit`; a search that takes long ends with what it has. */
static void data_ring(struct app *app, struct http_request *request) {
    struct token token = {0};
    struct key_walk walk;
    unsigned long long limit = 0;
    char error[160];
    walk_start(&walk, app, true);
    json_t *keys = json_array();
    uint64_t end = clock_now_ms() + SEARCH_MS;
    bool ok = query_read(request, &token, &walk.prefix, &limit);
    if (ok && token.present &&
        !walk_resume(&walk, app, token.hash, token.key.data, token.key.size)) {
        http_problem_more(request, 503, "UNAVAILABLE", "Retry-After: 1\r\n", NULL,
                          "no node of the ring answers");
        ok = false;
    }
    unsigned m = ring_view_parameters(app->view).m;
    while (ok && !walk.done && json_array_size(keys) < limit && clock_now_ms() < end) {
        struct key_walk_page page;
        uint32_t want = (uint32_t)(limit - json_array_size(keys));
        if (!key_walk_next(&walk, want, &page, error, sizeof(error))) {
            http_problem_more(request, 503, "UNAVAILABLE", "Retry-After: 1\r\n", NULL, "%s", error);
            ok = false;
            break;
        }
        for (size_t i = 0; i < page.count; i++) {
            (void)json_array_append_new(keys, key_json(page.keys[i], m, true));
        }
        key_walk_page_free(&page);
    }
    if (ok) {
        json_t *json = json_object();
        json_put(json, "keys", json_incref(keys));
        json_put(json, "next",
                 walk.done
                     ? json_null()
                     : token_json(walk.cursor_hash, walk.cursor_key.data, walk.cursor_key.size));
        http_reply_json(request, 200, NULL, json);
    }
    json_decref(keys);
    key_walk_end(&walk);
    buf_free(&token.key);
}

void data_get(struct app *app, struct http_request *request, const struct buf *argument) {
    (void)argument;
    if (request->slot > 0) {
        char address[SETTINGS_ADDRESS_SIZE];
        snprintf(address, sizeof(address), "%.50s:%d", app->settings.host,
                 app->settings.rpc_port + request->slot);
        node_keys_run(app, request, address, true);
    } else {
        data_ring(app, request);
    }
}

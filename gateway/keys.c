/* SPDX-License-Identifier: MIT */
/* Lists of keys: what one node holds, and /data. */
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>

#include "client.h"
#include "json.h"
#include "log.h"
#include "problem.h"
#include "ring_view.h"
#include "routes.h"
#include "url.h"

enum { KEYS_TIMEOUT_MS = 5000, SEARCH_MS = 3000 };

/* A place in the list as text: hex of the hash, a dot, hex of the key. */
static json_t *token_json(const uint8_t *hash, const uint8_t *key, size_t key_size) {
    char text[2 * ID_BYTES + 1 + 2 * CHORD_KEY_BYTES_MAX + 1];
    if (key_size > CHORD_KEY_BYTES_MAX) {
        return json_null();
    }
    rpc_hex(text, hash, ID_BYTES);
    text[2 * ID_BYTES] = '.';
    rpc_hex(text + 2 * ID_BYTES + 1, key, key_size);
    return json_string(text);
}

struct token {
    bool present;
    uint8_t hash[ID_BYTES];
    struct buf key;
};

static bool token_read(const char *query, struct token *token) {
    struct buf text = {0};
    bool malformed = false;
    bool ok = true;
    token->present = url_parameter(query, "after", &text, &malformed) && text.size > 0;
    if (token->present) {
        char *dot = memchr(text.data, '.', text.size);
        size_t hash_size = 0, key_size = 0;
        ok = dot == (char *)text.data + 2 * ID_BYTES && strlen(dot) == text.size - 2 * ID_BYTES &&
             buf_reserve(&token->key, CHORD_KEY_BYTES_MAX);
        if (ok) {
            *dot = '\0';
            ok = OPENSSL_hexstr2buf_ex(token->hash, ID_BYTES, &hash_size, (char *)text.data,
                                       '\0') == 1 &&
                 hash_size == ID_BYTES &&
                 (dot[1] == '\0' || OPENSSL_hexstr2buf_ex(token->key.data, CHORD_KEY_BYTES_MAX,
                                                          &key_size, dot + 1, '\0') == 1);
        }
        token->key.size = key_size;
    }
    buf_free(&text);
    return ok && !malformed;
}

/* `values`: with the value. */
static json_t *key_json(const struct chord_row *row, bool led, unsigned m, bool values) {
    struct ring_id id;
    char hex[ID_HEX_SIZE] = "";
    if (row->hash != NULL && m > 0) {
        id_from_hash(&id, row->hash, m);
        id_to_hex(&id, m, hex);
    }
    json_t *json = json_pack("{s:o, s:o, s:s, s:o, s:b, s:o}", "key",
                             json_text_or_null(row->key, row->key_size), "key_base64",
                             json_base64(row->key, row->key_size), "id", hex, "bytes",
                             json_u64(row->value_size), "led", (int)led, "version",
                             json_sprintf("%llu.%llu", (unsigned long long)row->version.epoch,
                                          (unsigned long long)row->version.counter));
    if (values) {
        json_put(json, "value", json_text_or_null(row->value, row->value_size));
        json_put(json, "value_base64", json_base64(row->value, row->value_size));
    }
    return json;
}

static bool flag_read(const char *query, const char *name) {
    char text[8];
    return url_parameter_text(query, name, text, sizeof(text)) &&
           (strcmp(text, "1") == 0 || strcmp(text, "true") == 0);
}

static json_t *page_json(const Chord__V1__ListKeysResponse *list, unsigned m, bool values) {
    json_t *keys = json_array();
    bool more = !list->done && list->next != NULL && list->next->hash.len == ID_BYTES;
    for (size_t i = 0; i < list->n_keys; i++) {
        struct chord_row row;
        client_row_take(&row, list->keys[i], values);
        (void)json_array_append_new(keys, key_json(&row, list->keys[i]->led, m, values));
    }
    return json_pack(
        "{s:o, s:o}", "keys", keys, "next",
        more ? token_json(list->next->hash.data, list->next->key.data, list->next->key.len)
             : json_null());
}

/* The query of a list: after, limit, prefix, led, values. false = answered with 400. */
static bool query_read(struct http_request *request, struct token *token, struct buf *prefix,
                       uint64_t *limit) {
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
    uint64_t limit = 0;
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

/* All keys of the ring, a page of up to `limit`; a search that takes long ends with what it has.
 * NULL: `error` says why. */
static json_t *data_walk(struct chord_walk *walk, size_t limit, unsigned m, char *error,
                         size_t error_size) {
    struct chord_page page = {.done = false};
    json_t *keys = json_array();
    uint64_t end = clock_now_ms() + SEARCH_MS;
    while (!page.done && json_array_size(keys) < limit && clock_now_ms() < end) {
        if (!chord_walk_next(walk, (uint32_t)(limit - json_array_size(keys)), &page, error,
                             error_size)) {
            json_decref(keys);
            return NULL;
        }
        for (size_t i = 0; i < page.count; i++) {
            (void)json_array_append_new(keys, key_json(&page.rows[i], true, m, true));
        }
    }
    struct chord_cursor cursor = chord_walk_cursor(walk);
    return json_pack("{s:o, s:o}", "keys", keys, "next",
                     page.done ? json_null()
                               : token_json(cursor.hash, cursor.key, cursor.key_size));
}

static void data_ring(struct app *app, struct http_request *request) {
    struct token token = {0};
    struct buf prefix = {0};
    struct chord_walk *walk = NULL;
    uint64_t limit = 0;
    char error[200] = "no node of the ring answers";
    if (query_read(request, &token, &prefix, &limit)) {
        walk = chord_walk_new(app->ring, prefix.data, prefix.size, true);
        struct chord_cursor after = {.key = token.key.data, .key_size = token.key.size};
        memcpy(after.hash, token.hash, sizeof(after.hash));
        bool ok = walk != NULL && (!token.present || chord_walk_seek(walk, &after));
        json_t *json =
            ok ? data_walk(walk, limit, ring_view_parameters(app->view).m, error, sizeof(error))
               : NULL;
        if (json != NULL) {
            http_reply_json(request, 200, NULL, json);
        } else {
            http_problem_more(request, 503, "UNAVAILABLE", "Retry-After: 1\r\n", NULL, "%s", error);
        }
    }
    chord_walk_free(walk);
    buf_free(&prefix);
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

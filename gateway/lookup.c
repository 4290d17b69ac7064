/* The path of a lookup over the ring: GET /api/v1/lookups/{key} and the plain /lookup. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "chord/v1/kv.pb-c.h"
#include "chord_client.h"
#include "fate.h"
#include "json.h"
#include "log.h"
#include "problem.h"
#include "ring_view.h"
#include "routes.h"
#include "url.h"

enum { LOOKUP_ATTEMPTS_MAX = 4, LOOKUP_TIMEOUT_MS = 3000 };

static json_t *peer_json(const Chord__V1__Peer *peer, unsigned m) {
    struct ring_id id;
    char hex[ID_HEX_SIZE];
    if (peer == NULL || !id_from_wire(&id, peer->id.data, peer->id.len)) {
        return json_null();
    }
    id_to_hex(&id, m, hex);
    json_t *json = json_object();
    json_put(json, "id", json_string(hex));
    json_put(json, "address", json_text_z(peer->address));
    return json;
}

static json_t *lookup_json(const Chord__V1__LookupResponse *response, const void *key, size_t size,
                           unsigned m) {
    struct ring_id id;
    char hex[ID_HEX_SIZE] = "";
    if (id_from_wire(&id, response->key_id.data, response->key_id.len)) {
        id_to_hex(&id, m, hex);
    }
    json_t *json = json_object();
    json_put(json, "key", json_text_or_null(key, size));
    json_put(json, "key_base64", json_base64(key, size));
    json_put(json, "key_id", json_string(hex));
    json_put(json, "owner", peer_json(response->owner, m));
    json_t *hops = json_array();
    for (size_t i = 0; i < response->n_hops; i++) {
        json_t *hop = json_object();
        json_put(hop, "node", peer_json(response->hops[i]->node, m));
        json_put(hop, "microseconds", json_u64(response->hops[i]->microseconds));
        (void)json_array_append_new(hops, hop);
    }
    json_put(json, "hops", hops);
    return json;
}

/* NULL = answered with a problem. `from` NULL = any member. */
static json_t *lookup_run(struct app *app, struct http_request *request, const struct buf *key,
                          const char *from) {
    struct rpc_reply reply = {0};
    Chord__V1__LookupRequest message = CHORD__V1__LOOKUP_REQUEST__INIT;
    if (key->size == 0 || key->size > CHORD_KEY_BYTES_MAX) {
        http_problem(request, 400, "INVALID_ARGUMENT", "a key has 1 to 1024 bytes, this one %zu",
                     key->size);
        return NULL;
    }
    message.key.data = key->data;
    message.key.len = key->size;
    for (unsigned attempt = 1; attempt <= LOOKUP_ATTEMPTS_MAX; attempt++) {
        struct view_ref ref;
        rpc_reply_free(&reply);
        memset(&reply, 0, sizeof(reply));
        if (from == NULL && ring_view_alive(app->view, &ref, 1) == 0) {
            reply.code = CHORD__V1__CODE__CODE_UNAVAILABLE;
            break;
        }
        rpc_client_call_wait(app->client, from != NULL ? from : ref.address, RPC_KV_LOOKUP,
                             &message.base, LOOKUP_TIMEOUT_MS, &reply);
        if (chord_outcome_of_reply(&reply).again == CHORD_AGAIN_NEVER) {
            break;
        }
    }
    struct view_parameters ring = ring_view_parameters(app->view);
    json_t *json = NULL;
    if (reply.code == CHORD__V1__CODE__CODE_OK && reply.response != NULL && ring.known) {
        json = lookup_json((const Chord__V1__LookupResponse *)(const void *)reply.response,
                           key->data, key->size, ring.m);
    } else {
        problem_code(request,
                     reply.code == CHORD__V1__CODE__CODE_OK ? CHORD__V1__CODE__CODE_UNAVAILABLE
                                                            : reply.code,
                     reply.message, reply.retry_after_ms);
    }
    rpc_reply_free(&reply);
    return json;
}

void lookup_get(struct app *app, struct http_request *request, const struct buf *argument) {
    struct buf key = {0};
    char from[128] = "";
    struct view_ref ref;
    if (argument->size > 0) {
        (void)buf_append(&key, argument->data, argument->size);
    } else {
        (void)url_parameter(request->query, "key", &key, NULL);
    }
    bool given = url_parameter_text(request->query, "from", from, sizeof(from));
    if (given && !ring_view_find(app->view, from, &ref)) {
        http_problem(request, 404, "NOT_FOUND", "no node is known as '%s'", from);
    } else {
        json_t *json = lookup_run(app, request, &key, given ? ref.address : NULL);
        if (json != NULL) {
            http_reply_json(request, 200, NULL, json);
        }
    }
    buf_free(&key);
}

/* The value too, or null: {"value","value_base64"}. */
static void value_add(struct app *app, json_t *json, const struct buf *key) {
    struct chord_operation get = {.kind = CHORD_GET, .key = key->data, .key_size = key->size};
    struct chord_result result;
    chord_run(app->ring, &get, 1, &result);
    bool found = result.code == CHORD_CODE_OK;
    json_put(json, "found", json_boolean(found));
    json_put(json, "value",
             found ? json_text_or_null(result.value, result.value_size) : json_null());
    json_put(json, "value_base64",
             found ? json_base64(result.value, result.value_size) : json_null());
    chord_result_free(&result);
}

/* A form or JSON with "key", or ?key=. */
void lookup_plain(struct app *app, struct http_request *request, const struct buf *argument) {
    (void)argument;
    struct buf body = {0};
    struct buf key = {0};
    (void)url_parameter(request->query, "key", &key, NULL);
    if (strcmp(request->method, "POST") == 0) {
        int read = http_read_all(request, HTTP_BODY_SMALL_BYTES_MAX, &body);
        if (read != 0 || !buf_append(&body, "", 1)) {
            http_problem_body(request, read != 0 ? read : -ENOMEM, HTTP_BODY_SMALL_BYTES_MAX);
            goto out;
        }
        json_t *json = json_loadb((const char *)body.data, body.size - 1, 0, NULL);
        const json_t *text = json_object_get(json, "key");
        if (json_is_string(text)) {
            buf_clear(&key);
            (void)buf_append(&key, json_string_value(text), json_string_length(text));
        } else if (json == NULL) {
            struct buf found = {0};
            if (url_parameter((const char *)body.data, "key", &found, NULL)) {
                buf_free(&key);
                key = found;
            } else {
                buf_free(&found);
            }
        }
        json_decref(json);
    }
    json_t *answer = lookup_run(app, request, &key, NULL);
    if (answer != NULL) {
        value_add(app, answer, &key);
        http_reply_json(request, 200, NULL, answer);
    }
out:
    buf_free(&body);
    buf_free(&key);
}

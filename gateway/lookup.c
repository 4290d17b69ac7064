/* SPDX-License-Identifier: MIT */
/* The path of a lookup over the ring: GET /api/v1/lookups/{key} and the plain /lookup. */
#include <errno.h>
#include <string.h>

#include "chord_client.h"
#include "log.h"
#include "problem.h"
#include "ring_view.h"
#include "routes.h"
#include "status_json.h"
#include "url.h"

/* NULL = answered with a problem. `from` NULL = any member. */
static json_t *lookup_run(struct app *app, struct http_request *request, const struct buf *key,
                          const char *from) {
    struct chord_lookup lookup;
    json_t *json = NULL;
    if (key->size == 0 || key->size > CHORD_KEY_BYTES_MAX) {
        http_problem(request, 400, "INVALID_ARGUMENT", "a key has 1 to 1024 bytes, this one %zu",
                     key->size);
        return NULL;
    }
    if (chord_lookup(app->ring, key->data, key->size, from, 0, &lookup)) {
        json = lookup_json(&lookup);
        json_put(json, "key", json_text_or_null(key->data, key->size));
        json_put(json, "key_base64", json_base64(key->data, key->size));
    } else {
        problem_code(request, (Chord__V1__Code)lookup.answer.code, lookup.answer.message,
                     lookup.answer.retry_after_ms);
    }
    chord_lookup_free(&lookup);
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

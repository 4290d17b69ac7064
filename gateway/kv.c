/* SPDX-License-Identifier: MIT */
/*
 * One key over HTTP: get, put, delete, and their conditions. The ring is asked by libchord-client
 * (proto/clients/c/chord_client.h), which sends an operation again until its outcome is known.
 */
#include <stdio.h>
#include <string.h>

#include "client.h"
#include "conditions.h"
#include "json.h"
#include "log.h"
#include "problem.h"
#include "ring_view.h"
#include "routes.h"
#include "url.h"

enum {
    KV_LOOKS_MAX = 10,
    LOST_MS = 500, /* for a key that has lost its majority: no longer than it takes to be back */
    LOST_BYTES = 400,
};

/* One operation, waiting. Where the ring is known not to have the majority of the key's copies, the
 * caller hears it soon; `lost` says it then, else it is empty. */
static void kv_run(struct app *app, struct chord_operation *operation, struct chord_result *result,
                   char lost[LOST_BYTES]) {
    struct ring_id id;
    lost[0] = '\0';
    bool is_lost = client_key_id(app->ring, operation->key, operation->key_size, &id) &&
                   ring_view_lost(app->view, &id, lost, LOST_BYTES);
    operation->timeout_ms = is_lost ? LOST_MS : 0;
    chord_run(app->ring, operation, 1, result);
}

/* The key from the path, or from ?key= (browsers cannot send "." as a path). */
static bool kv_key(struct http_request *request, const struct buf *argument, struct buf *key,
                   struct chord_operation *operation) {
    bool malformed = false;
    buf_clear(key);
    if (argument->size > 0) {
        (void)buf_append(key, argument->data, argument->size);
    } else if (!url_parameter(request->query, "key", key, &malformed)) {
        buf_clear(key);
    }
    if (key->size == 0 || key->size > CHORD_KEY_BYTES_MAX) {
        http_problem(request, 400, "INVALID_ARGUMENT",
                     key->size == 0 ? "the key is empty; write /api/v1/kv/KEY"
                                    : "the key is longer than 1024 bytes");
        return false;
    }
    operation->key = key->data;
    operation->key_size = key->size;
    return true;
}

/* ETag, the key's id where the ring is known, and `more`. */
static void headers_make(const struct app *app, const struct chord_operation *operation,
                         const struct chord_result *result, const char *more, char out[256]) {
    char hex[ID_HEX_SIZE] = "", tag[ETAG_SIZE];
    struct ring_id id;
    etag_make(result->version.epoch, result->version.counter, tag);
    if (client_key_id(app->ring, operation->key, operation->key_size, &id)) {
        id_to_hex(&id, ring_view_parameters(app->view).m, hex);
    }
    snprintf(out, 256, "ETag: %s\r\n%s%s%s%s", tag, more,
             hex[0] == '\0' ? "" : "Chord-Key-Id: ", hex, hex[0] == '\0' ? "" : "\r\n");
}

static void kv_problem(struct http_request *request, const struct chord_result *result,
                       const char *lost) {
    char text[LOST_BYTES];
    bool unknown = result->fate == CHORD_MAYBE_DONE;
    const char *message = result->message[0] == '\0' || unknown ? NULL : result->message;
    if (lost[0] != '\0' && result->fate == CHORD_NOT_DONE) {
        message = lost;
    } else if (result->full) {
        snprintf(text, sizeof(text),
                 "%sthe disks of all nodes that answer are full; make room, and writes go on",
                 unknown ? "whether the change was made is not known, read the key later to see: "
                         : "");
        message = text;
    } else if (result->missing_count > 0) {
        int used = snprintf(
            text, sizeof(text),
            "%stoo few copies of the key answer; start those that are missing (if "
            "their disks are lost for good: chordctl recover). Missing:",
            unknown ? "whether the change was made is not known, read the key later to see; " : "");
        for (size_t i = 0; i < result->missing_count && used > 0 && (size_t)used < sizeof(text);
             i++) {
            used += snprintf(text + used, sizeof(text) - (size_t)used, " %s", result->missing[i]);
        }
        message = text;
    }
    problem_code(request, (Chord__V1__Code)result->code, message, result->retry_after_ms);
}

void kv_get(struct app *app, struct http_request *request, const struct buf *argument) {
    struct buf key = {0};
    struct chord_operation operation = {.kind = CHORD_GET};
    struct chord_result result;
    char stale[4] = "";
    if (!kv_key(request, argument, &key, &operation)) {
        buf_free(&key);
        return;
    }
    operation.stale = url_parameter_text(request->query, "stale", stale, sizeof(stale)) &&
                      strcmp(stale, "1") == 0;
    char lost[LOST_BYTES];
    kv_run(app, &operation, &result, lost);
    if (result.code == CHORD_CODE_OK) {
        char headers[256];
        headers_make(app, &operation, &result, "Cache-Control: no-cache\r\n", headers);
        http_reply(request, 200, "application/octet-stream", headers, result.value,
                   result.value_size);
    } else if (result.code == CHORD_CODE_NOT_FOUND) {
        http_problem(request, 404, "NOT_FOUND", "the ring has no value for this key");
    } else {
        kv_problem(request, &result, lost);
    }
    chord_result_free(&result);
    buf_free(&key);
}

/* Conditions that a node cannot decide: on what is there now, and then only if it is still that.
 * false = answered already. */
static bool precondition_look(struct app *app, struct http_request *request,
                              struct chord_operation *operation) {
    struct chord_operation look = {
        .kind = CHORD_GET, .key = operation->key, .key_size = operation->key_size};
    struct chord_result result;
    char tag[ETAG_SIZE], lost[LOST_BYTES];
    kv_run(app, &look, &result, lost);
    bool exists = result.code == CHORD_CODE_OK;
    bool go_on = result.fate == CHORD_DONE;
    if (!go_on) {
        kv_problem(request, &result, lost);
    } else {
        etag_make(result.version.epoch, result.version.counter, tag);
        go_on = conditions_met(request->lines, exists, exists ? tag : NULL);
        if (!go_on) {
            http_problem(request, 412, "FAILED_PRECONDITION",
                         exists ? "the key has another version" : "the key has no value");
        }
    }
    operation->if_match = exists;
    operation->if_absent = !exists;
    operation->version = result.version;
    chord_result_free(&result);
    return go_on;
}

/* A put or a delete under the conditions of its header. false = answered already. Between a look
 * and the change there may have been another change: then the conditions are to be decided on what
 * is there now. */
static bool kv_change(struct app *app, struct http_request *request,
                      struct chord_operation *operation, struct chord_result *result,
                      char lost[LOST_BYTES]) {
    enum conditions_kind kind =
        conditions_kind(request->lines, &operation->version.epoch, &operation->version.counter);
    operation->if_absent = kind == CONDITIONS_ABSENT;
    operation->if_match = kind == CONDITIONS_VERSION;
    for (unsigned looks = 1;; looks++) {
        if (kind == CONDITIONS_LOOK && !precondition_look(app, request, operation)) {
            return false;
        }
        kv_run(app, operation, result, lost);
        if (kind != CONDITIONS_LOOK || result->code != CHORD_CODE_FAILED_PRECONDITION ||
            looks == KV_LOOKS_MAX) {
            return true;
        }
        chord_result_free(result);
    }
}

void kv_put(struct app *app, struct http_request *request, const struct buf *argument) {
    struct buf key = {0};
    struct buf value = {0};
    struct chord_operation operation = {.kind = CHORD_PUT};
    struct chord_result result;
    char lost[LOST_BYTES];
    if (!kv_key(request, argument, &key, &operation)) {
        goto out;
    }
    int read = http_read_all(request, CHORD_VALUE_BYTES_MAX, &value);
    if (read != 0) {
        http_problem_body(request, read, CHORD_VALUE_BYTES_MAX);
        goto out;
    }
    operation.value = value.data;
    operation.value_size = value.size;
    if (!kv_change(app, request, &operation, &result, lost)) {
        goto out;
    }
    if (result.fate == CHORD_DONE) {
        char headers[256];
        headers_make(app, &operation, &result, "", headers);
        http_reply(request, result.existed ? 204 : 201, NULL, headers, NULL, 0);
    } else {
        kv_problem(request, &result, lost);
    }
    chord_result_free(&result);
out:
    buf_free(&key);
    buf_free(&value);
}

void kv_delete(struct app *app, struct http_request *request, const struct buf *argument) {
    struct buf key = {0};
    struct chord_operation operation = {.kind = CHORD_DELETE};
    struct chord_result result;
    char lost[LOST_BYTES];
    if (kv_key(request, argument, &key, &operation) &&
        kv_change(app, request, &operation, &result, lost)) {
        bool gone = result.code == CHORD_CODE_NOT_FOUND ||
                    (result.code == CHORD_CODE_OK && !result.existed);
        if (gone && !result.repeated) { /* else our own first attempt may have deleted it */
            http_problem(request, 404, "NOT_FOUND", "the ring has no value for this key");
        } else if (result.fate == CHORD_DONE) {
            http_reply(request, 204, NULL, NULL, NULL, 0);
        } else {
            kv_problem(request, &result, lost);
        }
        chord_result_free(&result);
    }
    buf_free(&key);
}

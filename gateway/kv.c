/*
 * One key over HTTP: get, put, delete, and their conditions. How the ring is asked: kv_call.h.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <time.h>

#include "chord/v1/kv.pb-c.h"
#include "conditions.h"
#include "hints.h"
#include "json.h"
#include "kv_call.h"
#include "kv_target.h"
#include "log.h"
#include "problem.h"
#include "ring_view.h"
#include "routes.h"
#include "url.h"

enum {
    KV_KEY_BYTES_MAX = 1024,
    KV_VALUE_BYTES_MAX = 1024 * 1024,
    KV_LOOKS_MAX = 10,
};

/* The key from the path, or from ?key= (browsers cannot send "." as a path). */
static bool kv_key(struct app *app, struct http_request *request, const struct buf *argument,
                   struct buf *key, struct kv_request *kv) {
    bool malformed = false;
    buf_clear(key);
    if (argument->size > 0) {
        (void)buf_append(key, argument->data, argument->size);
    } else if (!url_parameter(request->query, "key", key, &malformed)) {
        buf_clear(key);
    }
    if (key->size == 0 || key->size > KV_KEY_BYTES_MAX) {
        http_problem(request, 400, "INVALID_ARGUMENT",
                     key->size == 0 ? "the key is empty; write /api/v1/kv/KEY"
                                    : "the key is longer than 1024 bytes");
        return false;
    }
    kv->key = key->data;
    kv->key_size = key->size;
    struct view_parameters ring = ring_view_parameters(app->view);
    uint8_t hash[ID_BYTES];
    kv->id_known = ring.known && id_hash_key(key->data, key->size, hash);
    if (kv->id_known) {
        id_from_hash(&kv->id, hash, ring.m);
    }
    return true;
}

static void version_tag(const Chord__V1__Version *version, char tag[ETAG_SIZE]) {
    etag_make(version == NULL ? 0 : version->epoch, version == NULL ? 0 : version->counter, tag);
}

static void key_id_header(const struct app *app, const struct kv_request *kv, char *out,
                          size_t size) {
    char hex[ID_HEX_SIZE] = "";
    struct view_parameters ring = ring_view_parameters(app->view);
    out[0] = '\0';
    if (kv->id_known && ring.known) {
        id_to_hex(&kv->id, ring.m, hex);
        snprintf(out, size, "Chord-Key-Id: %s\r\n", hex);
    }
}

static void kv_problem(struct http_request *request, const struct kv_answer *answer,
                       const struct rpc_reply *reply) {
    char text[400];
    if (answer->full) {
        snprintf(text, sizeof(text),
                 "%sthe disks of all nodes that answer are full; make room, and writes go on",
                 answer->code == CHORD__V1__CODE__CODE_UNKNOWN
                     ? "whether the change was made is not known, read the key later to see: "
                     : "");
        problem_code(request, answer->code, text, reply->retry_after_ms);
        return;
    }
    if (kv_code_again(answer->code) && answer->missing_count > 0) {
        int used =
            snprintf(text, sizeof(text),
                     "%stoo few copies of the key answer; start those that are missing (if "
                     "their disks are lost for good: chordctl recover). Missing:",
                     answer->code == CHORD__V1__CODE__CODE_UNKNOWN
                         ? "whether the change was made is not known, read the key later to see; "
                         : "");
        for (size_t i = 0; i < answer->missing_count && used > 0 && (size_t)used < sizeof(text);
             i++) {
            used +=
                snprintf(text + used, sizeof(text) - (size_t)used, " %.63s", answer->missing[i]);
        }
        problem_code(request, answer->code, text, reply->retry_after_ms);
        return;
    }
    problem_code(request, answer->code, reply->code == answer->code ? reply->message : NULL,
                 reply->retry_after_ms);
}

void kv_get(struct app *app, struct http_request *request, const struct buf *argument) {
    struct buf key = {0};
    struct kv_request kv = {.method = RPC_KV_GET};
    struct rpc_reply reply;
    char stale[4] = "";
    Chord__V1__GetRequest message = CHORD__V1__GET_REQUEST__INIT;
    if (!kv_key(app, request, argument, &key, &kv)) {
        goto out;
    }
    message.key.data = key.data;
    message.key.len = key.size;
    if (url_parameter_text(request->query, "stale", stale, sizeof(stale)) &&
        strcmp(stale, "1") == 0) {
        message.consistency = CHORD__V1__CONSISTENCY__CONSISTENCY_STALE;
    }
    kv.message = &message.base;
    struct kv_answer answer = kv_call(app, &kv, &reply);
    const Chord__V1__OperationResult *result = answer.result;
    char tag[ETAG_SIZE];
    char headers[256];
    char key_id[80];
    if (answer.code == CHORD__V1__CODE__CODE_OK) {
        version_tag(result->version, tag);
        key_id_header(app, &kv, key_id, sizeof(key_id));
        snprintf(headers, sizeof(headers), "ETag: %s\r\nCache-Control: no-cache\r\n%s", tag,
                 key_id);
        http_reply(request, 200, "application/octet-stream", headers, result->value.data,
                   result->value.len);
    } else if (answer.code == CHORD__V1__CODE__CODE_NOT_FOUND) {
        http_problem(request, 404, "NOT_FOUND", "the ring has no value for this key");
    } else {
        kv_problem(request, &answer, &reply);
    }
    rpc_reply_free(&reply);
out:
    buf_free(&key);
}

/* Conditions that a node cannot decide: on what is there now, and then only if it is still that.
 * false = answered already. */
static bool precondition_look(struct app *app, struct http_request *request,
                              const struct kv_request *kv, Chord__V1__Precondition *precondition,
                              Chord__V1__Version *version) {
    Chord__V1__GetRequest message = CHORD__V1__GET_REQUEST__INIT;
    struct kv_request get = *kv;
    struct rpc_reply reply;
    char tag[ETAG_SIZE];
    get.method = RPC_KV_GET;
    get.operation = NULL;
    get.message = &message.base;
    message.key = kv->operation->key;
    struct kv_answer answer = kv_call(app, &get, &reply);
    bool exists = answer.code == CHORD__V1__CODE__CODE_OK;
    bool go_on = exists || answer.code == CHORD__V1__CODE__CODE_NOT_FOUND;
    if (!go_on) {
        kv_problem(request, &answer, &reply);
    } else {
        version_tag(exists ? answer.result->version : NULL, tag);
        go_on = conditions_met(request->lines, exists, exists ? tag : NULL);
        if (!go_on) {
            http_problem(request, 412, "FAILED_PRECONDITION",
                         exists ? "the key has another version" : "the key has no value");
        }
    }
    if (go_on && exists && answer.result->version != NULL) {
        version->epoch = answer.result->version->epoch;
        version->counter = answer.result->version->counter;
        precondition->version = version;
    }
    precondition->absent = !exists;
    rpc_reply_free(&reply);
    return go_on;
}

/* If-Match and If-None-Match as the node understands them. false = answered already. */
static bool precondition_read(struct app *app, struct http_request *request, struct kv_request *kv,
                              Chord__V1__Precondition *precondition, Chord__V1__Version *version,
                              bool *present) {
    enum conditions_kind kind = conditions_kind(request->lines, &version->epoch, &version->counter);
    *present = kind != CONDITIONS_NONE;
    kv->looked = kind == CONDITIONS_LOOK;
    precondition->absent = kind == CONDITIONS_ABSENT;
    precondition->version = kind == CONDITIONS_VERSION ? version : NULL;
    return !kv->looked || precondition_look(app, request, kv, precondition, version);
}

/* What a put and a delete share: op_id, seen, precondition, the call. false = answered already. */
static bool kv_change_once(struct app *app, struct http_request *request, struct kv_request *kv,
                           struct rpc_reply *reply, struct kv_answer *answer) {
    Chord__V1__Precondition precondition = CHORD__V1__PRECONDITION__INIT;
    Chord__V1__Version version = CHORD__V1__VERSION__INIT;
    Chord__V1__Version seen = CHORD__V1__VERSION__INIT;
    uint8_t op_id[16];
    bool conditional = false;
    struct hint hint;
    if (getrandom(op_id, sizeof(op_id), 0) != (ssize_t)sizeof(op_id)) {
        http_problem(request, 500, "INTERNAL", "no random numbers");
        return false;
    }
    uint8_t *key = malloc(kv->key_size); /* protobuf-c's fields are not const */
    if (key == NULL) {
        http_problem(request, 500, "INTERNAL", "no memory");
        return false;
    }
    memcpy(key, kv->key, kv->key_size);
    kv->operation->key.data = key;
    kv->operation->key.len = kv->key_size;
    kv->operation->op_id.data = op_id;
    kv->operation->op_id.len = sizeof(op_id);
    if (!precondition_read(app, request, kv, &precondition, &version, &conditional)) {
        free(key);
        return false;
    }
    kv->operation->precondition = conditional ? &precondition : NULL;
    if (kv->id_known && hints_find(app->hints, &kv->id, &hint)) {
        seen.epoch = hint.seen_epoch;
        seen.counter = hint.seen_counter;
    }
    if (version.epoch > seen.epoch ||
        (version.epoch == seen.epoch && version.counter > seen.counter)) {
        seen = version; /* who asks for it has seen it */
    }
    kv->operation->seen = &seen; /* (0, 0): nothing was heard of it */
    *answer = kv_call(app, kv, reply);
    free(key);
    if (answer->code == CHORD__V1__CODE__CODE_OK && answer->result->version != NULL &&
        kv->id_known) {
        hints_seen(app->hints, &kv->id, answer->result->version->epoch,
                   answer->result->version->counter);
    } else if (kv->unknown && answer->code != CHORD__V1__CODE__CODE_OK &&
               answer->code != CHORD__V1__CODE__CODE_NOT_FOUND) {
        /* Whatever refused this attempt, an earlier one may have been executed; a condition may
         * have failed by it. */
        answer->code = CHORD__V1__CODE__CODE_UNKNOWN;
    } else if (answer->code == CHORD__V1__CODE__CODE_ABORTED) {
        answer->code = CHORD__V1__CODE__CODE_UNAVAILABLE; /* nothing was done, until the end */
    }
    return true;
}

/* Between the look and the change there may have been another change: then the conditions are to be
 * decided on what is there now. */
static bool kv_change(struct app *app, struct http_request *request, struct kv_request *kv,
                      struct rpc_reply *reply, struct kv_answer *answer) {
    for (unsigned looks = 1;; looks++) {
        if (!kv_change_once(app, request, kv, reply, answer)) {
            return false;
        }
        if (!kv->looked || answer->code != CHORD__V1__CODE__CODE_FAILED_PRECONDITION ||
            looks == KV_LOOKS_MAX) {
            return true;
        }
        rpc_reply_free(reply);
    }
}

void kv_put(struct app *app, struct http_request *request, const struct buf *argument) {
    struct buf key = {0};
    struct buf value = {0};
    struct rpc_reply reply = {0};
    Chord__V1__PutRequest message = CHORD__V1__PUT_REQUEST__INIT;
    Chord__V1__Operation operation = CHORD__V1__OPERATION__INIT;
    struct kv_request kv = {
        .method = RPC_KV_PUT, .operation = &operation, .message = &message.base};
    struct kv_answer answer;
    if (!kv_key(app, request, argument, &key, &kv)) {
        goto out;
    }
    int read = http_read_all(request, KV_VALUE_BYTES_MAX, &value);
    if (read != 0) {
        http_problem_body(request, read, KV_VALUE_BYTES_MAX);
        goto out;
    }
    operation.kind = CHORD__V1__OPERATION_KIND__OPERATION_KIND_PUT;
    operation.value.data = value.data;
    operation.value.len = value.size;
    message.operation = &operation;
    if (!kv_change(app, request, &kv, &reply, &answer)) {
        goto out;
    }
    if (answer.code == CHORD__V1__CODE__CODE_OK) {
        char tag[ETAG_SIZE];
        char headers[256];
        char key_id[80];
        version_tag(answer.result->version, tag);
        key_id_header(app, &kv, key_id, sizeof(key_id));
        snprintf(headers, sizeof(headers), "ETag: %s\r\n%s", tag, key_id);
        http_reply(request, answer.result->existed ? 204 : 201, NULL, headers, NULL, 0);
    } else {
        kv_problem(request, &answer, &reply);
    }
    rpc_reply_free(&reply);
out:
    buf_free(&key);
    buf_free(&value);
}

void kv_delete(struct app *app, struct http_request *request, const struct buf *argument) {
    struct buf key = {0};
    struct rpc_reply reply = {0};
    Chord__V1__DeleteRequest message = CHORD__V1__DELETE_REQUEST__INIT;
    Chord__V1__Operation operation = CHORD__V1__OPERATION__INIT;
    struct kv_request kv = {
        .method = RPC_KV_DELETE, .operation = &operation, .message = &message.base};
    struct kv_answer answer;
    operation.kind = CHORD__V1__OPERATION_KIND__OPERATION_KIND_DELETE;
    message.operation = &operation;
    if (kv_key(app, request, argument, &key, &kv) &&
        kv_change(app, request, &kv, &reply, &answer)) {
        bool done = answer.code == CHORD__V1__CODE__CODE_OK;
        bool gone = done ? !answer.result->existed : answer.code == CHORD__V1__CODE__CODE_NOT_FOUND;
        if (gone && !kv.unknown) { /* else our own first attempt may have deleted it */
            http_problem(request, 404, "NOT_FOUND", "the ring has no value for this key");
        } else if (done || gone) {
            http_reply(request, 204, NULL, NULL, NULL, 0);
        } else {
            kv_problem(request, &answer, &reply);
        }
        rpc_reply_free(&reply);
    }
    buf_free(&key);
}

/* SPDX-License-Identifier: MIT */
/*
 * Client operations as protobuf: checked, hashed, handed to the core as bare (kind, hash) pairs;
 * the core names them back by slices. Get, Put and Delete are batches of one. What is examined
 * before it is written: kv_examine.c.
 */
#include "node.h"

#include "hash.h"
#include "wire.h"

#include <stdlib.h>
#include <string.h>

enum { HINTS_MAX = 64 }; /* of one answer */

/* ---- in ---- */

/* Where the operations of a request stand. A Get has no Operation message: one is made. */
static size_t collect(struct request *request, Chord__V1__Operation *const **operations) {
    struct request *r = request;
    static Chord__V1__Operation *none;
    *operations = &none;
    switch (r->method) {
    case RPC_KV_BATCH: {
        const Chord__V1__BatchRequest *batch = (const void *)r->message;
        const char *error;
        (void)wire_decode_request(CHORD_BATCH, r->message, &r->core, &error); /* it has no bounds */
        *operations = batch->operations;
        return batch->n_operations;
    }
    case RPC_KV_GET: {
        const Chord__V1__GetRequest *get = (const void *)r->message;
        Chord__V1__Operation *made = arena_alloc(&r->arena, sizeof *made);
        Chord__V1__Operation **list = arena_alloc(&r->arena, sizeof *list);
        chord__v1__operation__init(made);
        made->kind = CHORD__V1__OPERATION_KIND__OPERATION_KIND_GET;
        made->key = get->key;
        list[0] = made;
        r->core.batch.no_forward = get->no_forward;
        r->core.batch.stale = get->consistency == CHORD__V1__CONSISTENCY__CONSISTENCY_STALE;
        *operations = list;
        return 1;
    }
    case RPC_KV_PUT: {
        const Chord__V1__PutRequest *put = (const void *)r->message;
        r->core.batch.no_forward = put->no_forward;
        *operations = &put->operation;
        return put->operation != NULL ? 1 : 0;
    }
    default: {
        const Chord__V1__DeleteRequest *del = (const void *)r->message;
        r->core.batch.no_forward = del->no_forward;
        *operations = &del->operation;
        return del->operation != NULL ? 1 : 0;
    }
    }
}

static bool refuse(struct node *node, struct request *request, Chord__V1__Code code,
                   const char *message) {
    rpc_call_reply(request->call, code, message, 0, NULL);
    request->call = NULL;
    request_end(node, request);
    return false;
}

static bool lookup_request(struct node *node, struct request *request) {
    const Chord__V1__LookupRequest *lookup = (const void *)request->message;
    uint8_t hash[CHORD_ID_BYTES];
    if (lookup->key.len < 1 || lookup->key.len > NODE_KEY_BYTES_MAX) {
        return refuse(node, request, CHORD__V1__CODE__CODE_INVALID_ARGUMENT,
                      "a key has 1 to 1024 bytes");
    }
    if (node->m == 0) {
        return refuse(node, request, CHORD__V1__CODE__CODE_UNAVAILABLE,
                      "this node is in no ring yet");
    }
    hash_key(lookup->key.data, lookup->key.len, hash);
    request->key_id = id_from_hash(hash, node->m);
    request->core.kind = CHORD_LOOKUP;
    request->core.id = request->key_id;
    return true;
}

/* A single operation must be of its method's kind. */
static bool kind_fits(const struct request *request, enum chord_operation_kind kind) {
    return request->method == RPC_KV_PUT      ? kind == CHORD_PUT
           : request->method == RPC_KV_DELETE ? kind == CHORD_DELETE
                                              : true;
}

static int compare_hashes(const void *a, const void *b) {
    return memcmp(*(const uint8_t *const *)a, *(const uint8_t *const *)b, CHORD_ID_BYTES);
}

/* The writes of a batch run at once, so a key that is examined must not be written by another. */
static bool examined_once(struct request *request) {
    const uint8_t **hashes =
        arena_alloc(&request->arena, sizeof *hashes * request->operations_count);
    size_t count = 0;
    bool examined = false;
    for (uint32_t i = 0; i < request->operations_count; i++) {
        examined = examined || request->operations[i].examine;
        if (request->operations[i].kind != CHORD_GET) {
            hashes[count++] = request->operations[i].hash;
        }
    }
    if (!examined) {
        return true;
    }
    qsort(hashes, count, sizeof *hashes, compare_hashes);
    for (size_t i = 1; i < count; i++) {
        if (memcmp(hashes[i - 1], hashes[i], CHORD_ID_BYTES) == 0) {
            return false;
        }
    }
    return true;
}

bool kv_request(struct node *node, struct request *request) {
    if (request->method == RPC_KV_LOOKUP) {
        return lookup_request(node, request);
    }
    Chord__V1__Operation *const *operations;
    size_t count = collect(request, &operations);
    if (count < 1 || count > CHORD_BATCH_OPERATIONS_MAX) {
        return refuse(node, request, CHORD__V1__CODE__CODE_INVALID_ARGUMENT,
                      "a batch has 1 to 65536 operations");
    }
    if (node->m == 0) {
        return refuse(node, request, CHORD__V1__CODE__CODE_UNAVAILABLE,
                      "this node is in no ring yet");
    }
    if (protobuf_c_message_get_packed_size(request->message) > RPC_CLIENT_BYTES_MAX) {
        return refuse(node, request, CHORD__V1__CODE__CODE_INVALID_ARGUMENT,
                      "a request has at most 1 MiB + 64 KiB; split the batch");
    }
    request->operations = arena_alloc(&request->arena, sizeof *request->operations * count);
    request->states = arena_alloc(&request->arena, sizeof *request->states * count);
    request->values = arena_alloc(&request->arena, sizeof *request->values * count);
    request->messages = arena_alloc(&request->arena, sizeof *request->messages * count);
    request->operations_count = (uint32_t)count;
    bool reads = rpc_call_role(request->call) == RPC_ROLE_READER;
    for (size_t i = 0; i < count; i++) {
        struct wire_operation operation;
        const char *error;
        if (wire_read_operation(operations[i], &operation, &error) &&
            !kind_fits(request, operation.kind)) {
            error = "the operation's kind is not that of the method";
        }
        if (error != NULL) {
            request->operations = NULL;
            return refuse(node, request, CHORD__V1__CODE__CODE_INVALID_ARGUMENT, error);
        }
        if (reads && operation.kind != CHORD_GET) {
            request->operations = NULL;
            return refuse(node, request, CHORD__V1__CODE__CODE_PERMISSION_DENIED,
                          "this key is of a reader, who may not write");
        }
        request->messages[i] = operations[i];
        request->operations[i].kind = operation.kind;
        hash_key(operation.key, operation.key_bytes, request->operations[i].hash);
        request->operations[i].examine = operation.kind != CHORD_GET &&
                                         (operation.has_precondition || operation.write.has_op_id);
    }
    if (!examined_once(request)) {
        request->operations = NULL;
        return refuse(node, request, CHORD__V1__CODE__CODE_INVALID_ARGUMENT,
                      "a key with a precondition or an op_id stands once in a batch");
    }
    /* Writes go on, and are sent again, after the client has been told that it is unknown. */
    request->kept = rpc_call_keep(request->call);
    request->core.kind = CHORD_BATCH;
    return true;
}

/* ---- slices ---- */

/* The rows of a slice's writes, with their versions; or the keys of its reads. */
struct store_row *kv_rows(struct node *node, struct request *request,
                          const struct chord_slice *slice, bool writes, struct arena *arena,
                          size_t *count) {
    struct store_row *rows = arena_alloc(arena, sizeof *rows * request->operations_count);
    *count = 0;
    for (uint32_t i = 0; i < request->operations_count; i++) {
        const struct chord_operation *bare = &request->operations[i];
        if (writes ? !operation_is_written(bare, &request->states[i], &slice->range, node->m)
                   : !operation_is_read(bare, &slice->range, node->m)) {
            continue;
        }
        struct store_row *row = &rows[(*count)++];
        const Chord__V1__Operation *operation = request->messages[i];
        memcpy(row->hash, request->operations[i].hash, CHORD_ID_BYTES);
        row->key = operation->key.data;
        row->key_bytes = operation->key.len;
        if (!writes) {
            continue;
        }
        bool put = bare->kind == CHORD_PUT;
        struct row_version version = operation_version(slice, i);
        row->epoch = version.epoch;
        row->counter = version.counter;
        row->kind = put ? STORE_VALUE : STORE_TOMBSTONE;
        row->value = put ? operation->value.data : NULL;
        row->value_bytes = put ? operation->value.len : 0;
        row->expires_at_ms = operation->expires_at_ms;
        row->op_id_bytes = (uint8_t)operation->op_id.len;
        if (operation->op_id.len > 0) {
            memcpy(row->op_id, operation->op_id.data, operation->op_id.len);
        }
        row->existed = operation_existed(bare, &request->states[i]);
        operation_sent(bare, &request->states[i]);
    }
    return rows;
}

/* ---- after ---- */

/* Values wait here for their answer, so they count as held from now on. */
static void keep_value(struct request *request, uint32_t i, const void *value, size_t value_bytes) {
    if (request->call != NULL && rpc_call_hold(request->call, value_bytes)) {
        request->values[i].data = arena_copy(&request->arena, value, value_bytes);
        request->values[i].len = value_bytes;
    } else {
        request->states[i].result.code = CHORD_RESOURCE_EXHAUSTED;
    }
}

struct operation_row kv_row(const struct store_row *row) {
    struct operation_row known = {
        .found = row->kind != 0,
        .bad = row->bad,
        .deleted = row->kind != STORE_VALUE,
        .existed = row->existed,
        .expires_at_ms = row->expires_at_ms,
        .has_op_id = row->op_id_bytes == STORE_OP_ID_BYTES,
        .version = {row->epoch, row->counter},
    };
    memcpy(known.op_id, row->op_id, STORE_OP_ID_BYTES);
    return known;
}

/* Rows stand in the order of the operations they came from; the keys tell which are whose. */
void kv_stored(struct node *node, struct request *request, const struct store_job *job,
               bool writes) {
    uint32_t i = 0;
    (void)node;
    for (size_t r = 0; r < job->rows_count; r++) {
        const struct store_row *row = &job->rows[r];
        while (i < request->operations_count && request->messages[i]->key.data != row->key) {
            i++;
        }
        if (i == request->operations_count) {
            return;
        }
        struct operation_row known = kv_row(row);
        if (writes) {
            operation_written(&request->operations[i], &request->states[i], known.version,
                              row->replaced);
        } else if (operation_read(&request->operations[i], &request->states[i], &known,
                                  node_unix_ms())) {
            keep_value(request, i, row->value, row->value_bytes);
        }
        i++;
    }
}

void kv_finished(struct node *node, struct request *request, const struct chord_slice *slice) {
    operations_finish(request->operations, request->states, request->operations_count,
                      &slice->range, node->m);
}

/* ---- forwarding ---- */

ProtobufCMessage *kv_forward(struct node *node, struct request *request,
                             const struct chord_slice *slice, const struct chord_request *core,
                             struct call_context *context) {
    struct wire_context wire = {&node->scratch, node->m};
    Chord__V1__BatchRequest *message = (void *)wire_encode_request(&wire, core, NULL, 0);
    message->operations =
        arena_alloc(&node->scratch, sizeof *message->operations * request->operations_count);
    context->indices = calloc(request->operations_count, sizeof *context->indices);
    if (context->indices == NULL) {
        abort();
    }
    for (uint32_t i = 0; i < request->operations_count; i++) {
        if (chord_operation_in(&request->operations[i], &slice->range, node->m)) {
            message->operations[message->n_operations++] =
                (Chord__V1__Operation *)(uintptr_t)request->messages[i];
            context->indices[context->indices_count++] = i;
            operation_sent(&request->operations[i], &request->states[i]);
        }
    }
    return &message->base;
}

/* The request never left: nothing of it can have happened. */
void kv_unsent(struct node *node, const struct call_context *context) {
    struct request *request = request_find(node, context->request_id);
    for (uint32_t k = 0; request != NULL && k < context->indices_count; k++) {
        operation_unsent(&request->states[context->indices[k]]);
    }
}

uint32_t kv_forwarded(struct node *node, const struct call_context *context,
                      const Chord__V1__BatchResponse *response) {
    struct request *request = request_find(node, context->request_id);
    uint32_t finished = 0;
    if (request == NULL || request->operations == NULL ||
        (response != NULL && response->n_results != context->indices_count)) {
        return 0;
    }
    for (uint32_t k = 0; k < context->indices_count; k++) {
        uint32_t i = context->indices[k];
        struct chord_operation *operation = &request->operations[i];
        const Chord__V1__OperationResult *message = response != NULL ? response->results[k] : NULL;
        struct wire_result result = {.value_bytes = 0};
        if (message != NULL) {
            wire_read_result(message, &result);
        }
        if (operation_forwarded(operation, &request->states[i],
                                message != NULL ? &result.told : NULL)) {
            finished++;
            if (result.value_bytes > 0) {
                keep_value(request, i, result.value, result.value_bytes);
            }
        }
    }
    return finished;
}

/* ---- out ---- */

static Chord__V1__OperationResult *result_of(struct wire_context *wire,
                                             const struct request *request, uint32_t i,
                                             enum chord_code unfinished) {
    const struct chord_operation *operation = &request->operations[i];
    struct wire_result result = {operation_told(operation, &request->states[i], unfinished), NULL,
                                 0};
    if (operation->finished) {
        result.value = request->values[i].data;
        result.value_bytes = request->values[i].len;
    }
    return wire_result(wire, &result);
}

/* Where the operations that are not led here lie: one hint for each of their ranges. */
static void add_hints(struct node *node, const struct request *request,
                      Chord__V1__BatchResponse *message) {
    struct wire_context wire = {&node->scratch, node->m};
    struct chord_hint hints[HINTS_MAX];
    message->hints = arena_alloc(&node->scratch, sizeof *message->hints * HINTS_MAX);
    for (uint32_t i = 0; i < request->operations_count && message->n_hints < HINTS_MAX; i++) {
        struct chord_hint *hint = &hints[message->n_hints];
        struct chord_id id = id_from_hash(request->operations[i].hash, node->m);
        bool known = request->operations[i].finished;
        for (size_t k = 0; k < message->n_hints && !known; k++) {
            known = id_in_half_open(&hints[k].range.lo, &id, &hints[k].range.hi);
        }
        if (!known && chord_hint_of(node->chord, &id, hint)) {
            message->hints[message->n_hints++] = wire_hint(&wire, hint);
        }
    }
}

static ProtobufCMessage *batch_response(struct node *node, struct request *request,
                                        const struct chord_response *response) {
    struct wire_context wire = {&node->scratch, node->m};
    Chord__V1__BatchResponse *message = (void *)wire_encode_response(&wire, response, NULL, 0);
    message->n_results = request->operations_count;
    message->results =
        arena_alloc(&node->scratch, sizeof *message->results * request->operations_count);
    size_t bytes = 0;
    for (uint32_t i = 0; i < request->operations_count; i++) {
        /* Values beyond one message are left for the next request. */
        bytes += request->values[i].len + 64;
        if (bytes > NODE_VALUE_BYTES_MAX + 48 * 1024 && i > 0 &&
            request->operations[i].kind == CHORD_GET) {
            request->operations[i].finished = false;
            bytes -= request->values[i].len;
            message->results[i] = result_of(&wire, request, i, CHORD_RESOURCE_EXHAUSTED);
        } else {
            message->results[i] = result_of(&wire, request, i, response->batch.unfinished);
        }
    }
    if (response->batch.unfinished == CHORD_OUT_OF_RANGE) {
        add_hints(node, request, message);
    }
    return &message->base;
}

static ProtobufCMessage *make_response(struct node *node, struct request *request,
                                       const struct chord_response *response) {
    struct wire_context wire = {&node->scratch, node->m};
    if (request->method == RPC_KV_BATCH) {
        return batch_response(node, request, response);
    }
    return wire_encode_single(&wire, request->method, response,
                              result_of(&wire, request, 0, response->batch.unfinished));
}

void kv_reply(struct node *node, struct request *request, const struct chord_response *response) {
    rpc_call_reply(request->call, CHORD__V1__CODE__CODE_OK, NULL, response->retry_after_ms,
                   make_response(node, request, response));
    request->call = NULL;
}

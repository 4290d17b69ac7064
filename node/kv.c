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

/* NULL: the operation is fine. */
static const char *operation_error(const Chord__V1__Operation *operation) {
    if (operation->key.len < 1 || operation->key.len > NODE_KEY_BYTES_MAX) {
        return "a key has 1 to 1024 bytes";
    }
    if (operation->value.len > NODE_VALUE_BYTES_MAX) {
        return "a value has at most 1 MiB";
    }
    if (operation->kind < CHORD__V1__OPERATION_KIND__OPERATION_KIND_GET ||
        operation->kind > CHORD__V1__OPERATION_KIND__OPERATION_KIND_DELETE) {
        return "an operation is GET, PUT or DELETE";
    }
    if (operation->op_id.len != 0 && operation->op_id.len != STORE_OP_ID_BYTES) {
        return "an op_id has 16 bytes, or none";
    }
    if (operation->precondition != NULL && operation->precondition->version != NULL &&
        operation->precondition->absent) {
        return "a precondition names a version or says absent, not both";
    }
    if (operation->expires_at_ms > INT64_MAX) {
        return "expires_at_ms is beyond its range";
    }
    return NULL;
}

/* Where the operations of a request stand. A Get has no Operation message: one is made. */
static size_t collect(struct request *request, Chord__V1__Operation *const **operations) {
    struct request *r = request;
    static Chord__V1__Operation *none;
    *operations = &none;
    switch (r->method) {
    case RPC_KV_BATCH: {
        const Chord__V1__BatchRequest *batch = (const void *)r->message;
        r->core.batch.no_forward = batch->no_forward;
        r->core.batch.stale = batch->consistency == CHORD__V1__CONSISTENCY__CONSISTENCY_STALE;
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
static bool kind_fits(const struct request *request, const Chord__V1__Operation *operation) {
    if (request->method == RPC_KV_PUT) {
        return operation->kind == CHORD__V1__OPERATION_KIND__OPERATION_KIND_PUT;
    }
    return request->method != RPC_KV_DELETE ||
           operation->kind == CHORD__V1__OPERATION_KIND__OPERATION_KIND_DELETE;
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
    for (size_t i = 0; i < count; i++) {
        const char *error = operation_error(operations[i]);
        if (error == NULL && !kind_fits(request, operations[i])) {
            error = "the operation's kind is not that of the method";
        }
        if (error != NULL) {
            request->operations = NULL;
            return refuse(node, request, CHORD__V1__CODE__CODE_INVALID_ARGUMENT, error);
        }
        request->messages[i] = operations[i];
        request->operations[i].kind = (enum chord_operation_kind)operations[i]->kind;
        hash_key(operations[i]->key.data, operations[i]->key.len, request->operations[i].hash);
        request->operations[i].examine =
            request->operations[i].kind != CHORD_GET &&
            (operations[i]->precondition != NULL || operations[i]->op_id.len > 0);
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
                             const struct chord_slice *slice, bool stale,
                             struct call_context *context) {
    Chord__V1__BatchRequest *message = arena_alloc(&node->scratch, sizeof *message);
    chord__v1__batch_request__init(message);
    message->no_forward = true;
    message->consistency = stale ? CHORD__V1__CONSISTENCY__CONSISTENCY_STALE
                                 : CHORD__V1__CONSISTENCY__CONSISTENCY_LINEARIZABLE;
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

static struct operation_result result_in(const Chord__V1__OperationResult *message) {
    struct operation_result result = {.code = (enum chord_code)message->code,
                                      .existed = message->existed,
                                      .expires_at_ms = message->expires_at_ms};
    if (message->version != NULL) {
        result.version = (struct row_version){message->version->epoch, message->version->counter};
    }
    return result;
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
        struct operation_result result = {.code = CHORD_UNKNOWN};
        if (message != NULL) {
            result = result_in(message);
        }
        if (operation_forwarded(operation, &request->states[i], message != NULL ? &result : NULL)) {
            finished++;
            if (message != NULL && message->value.len > 0) {
                keep_value(request, i, message->value.data, message->value.len);
            }
        }
    }
    return finished;
}

/* ---- out ---- */

static Chord__V1__OperationResult *result_of(struct node *node, const struct request *request,
                                             uint32_t i, enum chord_code unfinished) {
    const struct chord_operation *operation = &request->operations[i];
    struct operation_result told = operation_told(operation, &request->states[i], unfinished);
    Chord__V1__OperationResult *result = arena_alloc(&node->scratch, sizeof *result);
    chord__v1__operation_result__init(result);
    result->code = (Chord__V1__Code)told.code;
    result->existed = told.existed;
    result->expires_at_ms = told.expires_at_ms;
    if (told.version.epoch != 0) {
        result->version = arena_alloc(&node->scratch, sizeof *result->version);
        chord__v1__version__init(result->version);
        result->version->epoch = told.version.epoch;
        result->version->counter = told.version.counter;
    }
    if (operation->finished) {
        result->value = request->values[i];
    }
    return result;
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
    Chord__V1__BatchResponse *message = arena_alloc(&node->scratch, sizeof *message);
    chord__v1__batch_response__init(message);
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
            message->results[i] = result_of(node, request, i, CHORD_RESOURCE_EXHAUSTED);
        } else {
            message->results[i] = result_of(node, request, i, response->batch.unfinished);
        }
    }
    message->hint = wire_hint(&wire, &response->batch.hint);
    message->missing = wire_missing(&wire, &response->batch.missing, &message->n_missing);
    if (response->batch.unfinished == CHORD_OUT_OF_RANGE) {
        add_hints(node, request, message);
    }
    message->hops = response->batch.hops;
    message->stale = response->batch.stale;
    return &message->base;
}

#define SINGLE(type, init, more)                                                                   \
    do {                                                                                           \
        Chord__V1__##type *message = arena_alloc(&node->scratch, sizeof *message);                 \
        chord__v1__##init##__init(message);                                                        \
        more;                                                                                      \
        message->result = result_of(node, request, 0, response->batch.unfinished);                 \
        message->hint = wire_hint(&wire, &response->batch.hint);                                   \
        message->missing = wire_missing(&wire, &response->batch.missing, &message->n_missing);     \
        return &message->base;                                                                     \
    } while (0)

static ProtobufCMessage *make_response(struct node *node, struct request *request,
                                       const struct chord_response *response) {
    struct wire_context wire = {&node->scratch, node->m};
    switch (request->method) {
    case RPC_KV_GET:
        SINGLE(GetResponse, get_response, message->stale = response->batch.stale);
    case RPC_KV_PUT:
        SINGLE(PutResponse, put_response, (void)0);
    case RPC_KV_DELETE:
        SINGLE(DeleteResponse, delete_response, (void)0);
    default:
        return batch_response(node, request, response);
    }
}

void kv_reply(struct node *node, struct request *request, const struct chord_response *response) {
    rpc_call_reply(request->call, CHORD__V1__CODE__CODE_OK, NULL, response->retry_after_ms,
                   make_response(node, request, response));
    request->call = NULL;
}

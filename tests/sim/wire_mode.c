/* SPDX-License-Identifier: MIT */
/*
 * See wire_mode.h.
 */
#include "wire_mode.h"

#include "assert.h"
#include "hash.h"
#include "wire.h"

#include <string.h>

/* The simulator's keys are placed by its own hash. */
void hash_key(const uint8_t *key, size_t key_bytes, uint8_t hash[CHORD_ID_BYTES]) {
    char text[CORE_TEXT_BYTES] = "";
    CHORD_ASSERT(key_bytes < sizeof text);
    memcpy(text, key, key_bytes);
    core_hash(text, hash);
}

static struct store_row *rows_out(struct arena *arena, const struct core_row *rows, size_t count) {
    struct store_row *out = arena_alloc(arena, sizeof *out * (count + 1));
    for (size_t i = 0; i < count; i++) {
        const struct core_row *row = &rows[i];
        memcpy(out[i].hash, row->hash, CHORD_ID_BYTES);
        out[i].key = (const uint8_t *)row->key;
        out[i].key_bytes = strlen(row->key);
        out[i].value = (const uint8_t *)row->value;
        out[i].value_bytes = strlen(row->value);
        out[i].epoch = row->epoch;
        out[i].counter = row->counter;
        out[i].kind = row->tombstone ? STORE_TOMBSTONE : STORE_VALUE;
        out[i].existed = row->existed;
        out[i].expires_at_ms = row->expires_at_ms;
        if (row->op_id != 0) {
            out[i].op_id_bytes = STORE_OP_ID_BYTES;
            memcpy(out[i].op_id, &row->op_id, sizeof row->op_id);
        }
    }
    return out;
}

static void text_in(char text[CORE_TEXT_BYTES], const uint8_t *bytes, size_t count) {
    CHORD_ASSERT(count < CORE_TEXT_BYTES);
    memset(text, 0, CORE_TEXT_BYTES);
    if (count > 0) {
        memcpy(text, bytes, count);
    }
}

static void rows_in(struct core_row *rows, size_t count, Chord__V1__Row *const *messages) {
    for (size_t i = 0; i < count; i++) {
        struct store_row in;
        CHORD_ASSERT(wire_read_row(messages[i], &in));
        memset(&rows[i], 0, sizeof rows[i]);
        memcpy(rows[i].hash, in.hash, CHORD_ID_BYTES);
        text_in(rows[i].key, in.key, in.key_bytes);
        text_in(rows[i].value, in.value, in.value_bytes);
        rows[i].epoch = in.epoch;
        rows[i].counter = in.counter;
        rows[i].tombstone = in.kind == STORE_TOMBSTONE;
        rows[i].existed = in.existed;
        rows[i].expires_at_ms = in.expires_at_ms;
        if (in.op_id_bytes == STORE_OP_ID_BYTES) {
            memcpy(&rows[i].op_id, in.op_id, sizeof rows[i].op_id);
        }
    }
}

static ProtobufCMessage *over_the_line(struct arena *arena, const ProtobufCMessage *message) {
    size_t bytes = protobuf_c_message_get_packed_size(message);
    uint8_t *packed = arena_alloc(arena, bytes + 1);
    protobuf_c_message_pack(message, packed);
    ProtobufCMessage *read = protobuf_c_message_unpack(message->descriptor, NULL, bytes, packed);
    CHORD_ASSERT(read != NULL);
    return read;
}

/* ---- operations ---- */

static Chord__V1__Operation *operation_out(struct wire_context *context,
                                           const struct host_operation *operation) {
    struct wire_operation *out = arena_alloc(context->arena, sizeof *out);
    out->kind = operation->kind;
    out->key = (const uint8_t *)operation->key;
    out->key_bytes = strlen(operation->key);
    out->value = (const uint8_t *)operation->value;
    out->value_bytes = strlen(operation->value);
    out->expires_at_ms = operation->expires_at_ms;
    out->has_precondition = operation->if_match || operation->if_absent;
    out->write.matches = operation->if_match;
    out->write.absent = operation->if_absent;
    out->write.match = (struct row_version){operation->match_epoch, operation->match_counter};
    out->write.has_op_id = operation->op_id != 0;
    memcpy(out->write.op_id, &operation->op_id, sizeof operation->op_id);
    out->write.attempt = operation->attempt;
    out->write.has_seen = operation->seen_epoch != 0;
    out->write.seen = (struct row_version){operation->seen_epoch, operation->seen_counter};
    return wire_operation(context, out);
}

static struct host_operation operation_in(const Chord__V1__Operation *message) {
    struct wire_operation in;
    const char *error;
    CHORD_ASSERT(wire_read_operation(message, &in, &error));
    struct host_operation operation = {
        .kind = in.kind,
        .if_match = in.write.matches,
        .if_absent = in.write.absent,
        .match_epoch = in.write.match.epoch,
        .match_counter = in.write.match.counter,
        .expires_at_ms = in.expires_at_ms,
        .attempt = in.write.attempt,
        .seen_epoch = in.write.seen.epoch,
        .seen_counter = in.write.seen.counter,
    };
    memcpy(&operation.op_id, in.write.op_id, sizeof operation.op_id);
    text_in(operation.key, in.key, in.key_bytes);
    text_in(operation.value, in.value, in.value_bytes);
    return operation;
}

static Chord__V1__OperationResult *result_out(struct wire_context *context,
                                              const struct host_operation *operation) {
    struct wire_result *out = arena_alloc(context->arena, sizeof *out);
    out->told.code = operation->code;
    out->told.existed = operation->existed;
    out->told.version = (struct row_version){operation->epoch, operation->counter};
    out->value = (const uint8_t *)operation->value;
    out->value_bytes = operation->kind == CHORD_GET ? strlen(operation->value) : 0;
    return wire_result(context, out);
}

static void result_in(struct host_operation *operation, const Chord__V1__OperationResult *message) {
    struct wire_result in;
    wire_read_result(message, &in);
    operation->code = in.told.code;
    operation->existed = in.told.existed;
    operation->epoch = in.told.version.epoch;
    operation->counter = in.told.version.counter;
    if (operation->kind == CHORD_GET) {
        text_in(operation->value, in.value, in.value_bytes);
    }
}

/* ---- messages ---- */

static void pass_request(struct wire_context *context, const struct host_cargo *cargo) {
    static struct chord_request in;
    struct chord_request *request = cargo->message;
    const char *error = NULL;
    const struct store_row *rows = rows_out(context->arena, cargo->rows, cargo->rows_count);
    ProtobufCMessage *message = wire_encode_request(context, request, rows, cargo->rows_count);
    if (request->kind == CHORD_BATCH) {
        Chord__V1__BatchRequest *batch = (void *)message;
        batch->n_operations = cargo->operations_count;
        batch->operations =
            arena_alloc(context->arena, sizeof *batch->operations * (batch->n_operations + 1));
        for (uint32_t i = 0; i < cargo->operations_count; i++) {
            batch->operations[i] = operation_out(context, &cargo->operations[i]);
        }
    }
    ProtobufCMessage *read = over_the_line(context->arena, message);
    memset(&in, 0, sizeof in);
    CHORD_ASSERT(wire_decode_request(request->kind, read, &in, &error));
    if (request->kind == CHORD_APPLY) {
        const Chord__V1__ApplyRequest *apply = (const void *)read;
        CHORD_ASSERT(apply->n_rows == cargo->rows_count);
        rows_in(cargo->rows, cargo->rows_count, apply->rows);
    } else if (request->kind == CHORD_BATCH) {
        const Chord__V1__BatchRequest *batch = (const void *)read;
        CHORD_ASSERT(batch->n_operations == cargo->operations_count);
        for (uint32_t i = 0; i < cargo->operations_count; i++) {
            cargo->operations[i] = operation_in(batch->operations[i]);
        }
    }
    if (request->kind == CHORD_BATCH) { /* the core names itself, which no Batch can carry */
        memcpy(&in, request, offsetof(struct chord_request, id));
    }
    *request = in;
    protobuf_c_message_free_unpacked(read, NULL);
}

/* The envelope carries the code and when to ask again. */
static void pass_response(struct wire_context *context, const struct host_cargo *cargo) {
    static struct chord_response in;
    struct chord_response *response = cargo->message;
    const char *error = NULL;
    const struct store_row *rows = rows_out(context->arena, cargo->rows, cargo->rows_count);
    ProtobufCMessage *message = wire_encode_response(context, response, rows, cargo->rows_count);
    if (response->kind == CHORD_BATCH) {
        Chord__V1__BatchResponse *batch = (void *)message;
        batch->n_results = cargo->operations_count;
        batch->results =
            arena_alloc(context->arena, sizeof *batch->results * (batch->n_results + 1));
        for (uint32_t i = 0; i < cargo->operations_count; i++) {
            batch->results[i] = result_out(context, &cargo->operations[i]);
        }
    }
    ProtobufCMessage *read = over_the_line(context->arena, message);
    memset(&in, 0, sizeof in);
    CHORD_ASSERT(wire_decode_response(response->kind, read, &in, &error));
    in.retry_after_ms = response->retry_after_ms;
    if (response->kind == CHORD_TRANSFER_KEYS) {
        const Chord__V1__TransferKeysResponse *page = (const void *)read;
        CHORD_ASSERT(page->n_rows == cargo->rows_count);
        rows_in(cargo->rows, cargo->rows_count, page->rows);
    } else if (response->kind == CHORD_BATCH) {
        const Chord__V1__BatchResponse *batch = (const void *)read;
        CHORD_ASSERT(batch->n_results == cargo->operations_count);
        for (uint32_t i = 0; i < cargo->operations_count; i++) {
            result_in(&cargo->operations[i], batch->results[i]);
        }
    } else if (response->kind == CHORD_LOOKUP) {
        in.lookup.asked = response->lookup.asked; /* for the simulator's own counts */
    }
    *response = in;
    protobuf_c_message_free_unpacked(read, NULL);
}

void wire_mode_pass(bool reply, const struct host_cargo *cargo, unsigned m) {
    static struct arena arena; /* kept between messages: most are small */
    struct wire_context context = {&arena, m};
    if (reply && ((const struct chord_response *)cargo->message)->code == CHORD_OK) {
        pass_response(&context, cargo);
    } else if (!reply && ((const struct chord_request *)cargo->message)->kind != CHORD_LOOKUP) {
        pass_request(&context, cargo);
    }
    arena_reset(&arena);
}

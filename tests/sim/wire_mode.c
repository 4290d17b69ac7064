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

static void pass_request(struct wire_context *context, struct chord_request *request,
                         struct core_row *rows, size_t count) {
    struct chord_request in;
    const char *error = NULL;
    const struct store_row *out = rows_out(context->arena, rows, count);
    ProtobufCMessage *read =
        over_the_line(context->arena, wire_encode_request(context, request, out, count));
    memset(&in, 0, sizeof in);
    CHORD_ASSERT(wire_decode_request(request->kind, read, &in, &error));
    if (request->kind == CHORD_APPLY) {
        const Chord__V1__ApplyRequest *apply = (const void *)read;
        CHORD_ASSERT(apply->n_rows == count);
        rows_in(rows, count, apply->rows);
    }
    *request = in;
    protobuf_c_message_free_unpacked(read, NULL);
}

/* The envelope carries the code and when to ask again. */
static void pass_response(struct wire_context *context, struct chord_response *response,
                          struct core_row *rows, size_t count) {
    struct chord_response in;
    const char *error = NULL;
    if (response->code != CHORD_OK) {
        return;
    }
    const struct store_row *out = rows_out(context->arena, rows, count);
    ProtobufCMessage *read =
        over_the_line(context->arena, wire_encode_response(context, response, out, count));
    memset(&in, 0, sizeof in);
    in.retry_after_ms = response->retry_after_ms;
    CHORD_ASSERT(wire_decode_response(response->kind, read, &in, &error));
    if (response->kind == CHORD_TRANSFER_KEYS) {
        const Chord__V1__TransferKeysResponse *page = (const void *)read;
        CHORD_ASSERT(page->n_rows == count);
        rows_in(rows, count, page->rows);
    }
    *response = in;
    protobuf_c_message_free_unpacked(read, NULL);
}

void wire_mode_pass(bool reply, void *message, struct core_row *rows, size_t rows_count,
                    unsigned m) {
    static struct arena arena; /* kept between messages: most are small */
    struct wire_context context = {&arena, m};
    enum chord_message_kind kind = reply ? ((const struct chord_response *)message)->kind
                                         : ((const struct chord_request *)message)->kind;
    if (kind == CHORD_BATCH || kind == CHORD_LOOKUP) {
        return;
    }
    if (reply) {
        pass_response(&context, message, rows, rows_count);
    } else {
        pass_request(&context, message, rows, rows_count);
    }
    arena_reset(&arena);
}

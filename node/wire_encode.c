/* SPDX-License-Identifier: MIT */
/*
 * Core -> protobuf: one of the two interpreters of the tables in wire_table.c, over protobuf-c's
 * descriptors. What is made lives in the arena or points into the core's message.
 */
#include "wire.h"

#include "assert.h"

static bool is_zero(const uint8_t *bytes, size_t count) {
    return bytes[0] == 0 && memcmp(bytes, bytes + 1, count - 1) == 0;
}

struct encoder {
    struct wire_context *context;
    const struct store_row *rows;
    size_t rows_count;
};

static void encode(const struct encoder *encoder, const struct wire_table *table, const void *core,
                   void *message);

static ProtobufCBinaryData bytes_of(const void *bytes, size_t count) {
    return (ProtobufCBinaryData){count, (uint8_t *)(uintptr_t)bytes};
}

ProtobufCBinaryData wire_id(struct wire_context *context, const struct chord_id *id) {
    size_t count = context->m == 0 ? CHORD_ID_BYTES : (context->m + 7) / 8;
    return bytes_of(id->bytes + CHORD_ID_BYTES - count, count);
}

static void encode_number(const ProtobufCFieldDescriptor *field, uint64_t value, void *to) {
    uint32_t four = (uint32_t)value; /* a bool, an enum or a uint32 */
    if (field->type == PROTOBUF_C_TYPE_UINT64) {
        memcpy(to, &value, sizeof value);
    } else {
        memcpy(to, &four, sizeof four);
    }
}

static ProtobufCBinaryData encode_bytes(const struct encoder *encoder, const struct wire_field *row,
                                        const void *core) {
    const uint8_t *from = (const uint8_t *)core + row->core.at;
    const void *slice;
    switch (row->form) {
    case WIRE_ID:
        return wire_id(encoder->context, (const struct chord_id *)(const void *)from);
    case WIRE_SLICE:
        memcpy(&slice, from, sizeof slice);
        return bytes_of(slice, (size_t)wire_number(core, row->count));
    case WIRE_SHORT:
        return bytes_of(from, (size_t)wire_number(core, row->count));
    default:
        return bytes_of(from, row->flags & WIRE_ZERO_EMPTY && is_zero(from, row->core.bytes)
                                  ? 0
                                  : row->core.bytes);
    }
}

/* A list's items lie one behind the other. */
static void encode_list(const struct encoder *encoder, const struct wire_table *inner,
                        const void *first, size_t bytes, size_t count, void **to) {
    size_t size = inner->descriptor->sizeof_message;
    if (count == 0) {
        return;
    }
    void **pointers = *to = arena_alloc(encoder->context->arena, sizeof *pointers * count);
    uint8_t *messages = arena_alloc(encoder->context->arena, size * count);
    for (size_t i = 0; i < count; i++) {
        pointers[i] = messages + i * size;
        encode(encoder, inner, (const uint8_t *)first + i * bytes, pointers[i]);
    }
}

static void *encode_texts(const struct encoder *encoder, const uint8_t *first, size_t bytes,
                          size_t count) {
    const void **texts = arena_alloc(encoder->context->arena, sizeof *texts * (count + 1));
    for (size_t i = 0; i < count; i++) {
        texts[i] = first + i * bytes;
    }
    return texts;
}

static void *encode_new(const struct encoder *encoder, const struct wire_table *table,
                        const void *core) {
    void *message = arena_alloc(encoder->context->arena, table->descriptor->sizeof_message);
    encode(encoder, table, core, message);
    return message;
}

static void encode_field(const struct encoder *encoder, const struct wire_field *row,
                         const ProtobufCFieldDescriptor *field, const void *core, void *message) {
    const uint8_t *from = (const uint8_t *)core + row->core.at;
    void *to = (uint8_t *)message + field->offset;
    size_t *items = (void *)((uint8_t *)message + field->quantifier_offset);
    switch (row->form) {
    case WIRE_NUMBER:
        encode_number(field, wire_number(core, row->core), to);
        break;
    case WIRE_CHOICE:
        encode_number(field, wire_number(core, row->core) != 0 ? row->most : row->least, to);
        break;
    case WIRE_ID:
    case WIRE_FIXED:
    case WIRE_SHORT:
    case WIRE_SLICE:
        *(ProtobufCBinaryData *)to = encode_bytes(encoder, row, core);
        break;
    case WIRE_TEXT:
        *(const void **)to = from;
        break;
    case WIRE_PART:
        *(void **)to = encode_new(encoder, row->inner, from);
        break;
    case WIRE_LIST:
        *items = (size_t)wire_number(core, row->count);
        encode_list(encoder, row->inner, from, row->core.bytes, *items, to);
        break;
    case WIRE_TEXTS:
        *items = (size_t)wire_number(core, row->count);
        *(void **)to = encode_texts(encoder, from, row->core.bytes, *items);
        break;
    case WIRE_ROWS:
        *items = encoder->rows_count;
        encode_list(encoder, row->inner, encoder->rows, sizeof *encoder->rows, *items, to);
        break;
    case WIRE_BESIDE:
        break;
    }
}

static void encode(const struct encoder *encoder, const struct wire_table *table, const void *core,
                   void *message) {
    table->descriptor->message_init(message);
    CHORD_ASSERT(table->fields_count == table->descriptor->n_fields);
    for (unsigned i = 0; i < table->fields_count; i++) {
        const struct wire_field *row = &table->fields[i];
        bool shown = row->shown.bytes == 0 || wire_number(core, row->shown) != 0;
        if (shown && !wire_left_out(row, core)) {
            encode_field(encoder, row, &table->descriptor->fields[i], core, message);
        }
    }
}

void *wire_encode(struct wire_context *context, const struct wire_table *table, const void *core,
                  const struct store_row *rows, size_t rows_count) {
    struct encoder encoder = {context, rows, rows_count};
    return encode_new(&encoder, table, core);
}

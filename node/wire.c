/* SPDX-License-Identifier: MIT */
/*
 * Protobuf <-> core: the two interpreters of the tables in wire_table.c, over protobuf-c's
 * descriptors. What is made lives in the arena or points into the core's message.
 */
#include "wire.h"

#include "assert.h"
#include "hash.h"

#include <string.h>

/* ---- members ---- */

uint64_t wire_number(const void *core, struct wire_member member) {
    uint64_t eight = 0;
    uint32_t four;
    uint16_t two;
    const uint8_t *at = (const uint8_t *)core + member.at;
    switch (member.bytes) {
    case 1:
        return *at;
    case 2:
        memcpy(&two, at, sizeof two);
        return two;
    case 4:
        memcpy(&four, at, sizeof four);
        return four;
    default:
        memcpy(&eight, at, sizeof eight);
        return eight;
    }
}

void wire_set_number(void *core, struct wire_member member, uint64_t value) {
    uint32_t four = (uint32_t)value;
    uint16_t two = (uint16_t)value;
    uint8_t *at = (uint8_t *)core + member.at;
    switch (member.bytes) {
    case 1:
        *at = (uint8_t)value;
        break;
    case 2:
        memcpy(at, &two, sizeof two);
        break;
    case 4:
        memcpy(at, &four, sizeof four);
        break;
    default:
        memcpy(at, &value, sizeof value);
        break;
    }
}

uint64_t wire_most(const struct wire_field *row) {
    return row->most != 0 ? row->most : UINT64_MAX >> (64 - 8 * row->core.bytes);
}

static bool is_zero(const uint8_t *bytes, size_t count) {
    return bytes[0] == 0 && memcmp(bytes, bytes + 1, count - 1) == 0;
}

/* Only what the other half of a message says it is: `unless` stands before the field. */
static bool is_left_out(const struct wire_field *row, const void *core) {
    return row->unless.bytes != 0 && wire_number(core, row->unless) != 0;
}

/* ---- encode ---- */

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
        if (shown && !is_left_out(row, core)) {
            encode_field(encoder, row, &table->descriptor->fields[i], core, message);
        }
    }
}

/* ---- decode ---- */

static const struct wire_field *decode(const struct wire_table *table, const void *message,
                                       void *core);

static bool decode_number(const struct wire_field *row, const ProtobufCFieldDescriptor *field,
                          const void *from, void *core) {
    uint64_t value;
    uint32_t four;
    if (field->type == PROTOBUF_C_TYPE_UINT64) {
        memcpy(&value, from, sizeof value);
    } else {
        memcpy(&four, from, sizeof four);
        value = field->type == PROTOBUF_C_TYPE_BOOL ? four != 0 : four;
    }
    wire_set_number(core, row->core, value);
    return value >= row->least && value <= wire_most(row) &&
           (row->below.bytes == 0 || value < wire_number(core, row->below));
}

static bool decode_bytes(const struct wire_field *row, const ProtobufCBinaryData *from,
                         void *core) {
    uint8_t *to = (uint8_t *)core + row->core.at;
    const void *slice = from->data;
    size_t count = from->len, most = row->core.bytes;
    if (row->form == WIRE_SLICE) {
        memcpy(to, &slice, sizeof slice);
        wire_set_number(core, row->count, count);
        return count >= row->least && count <= wire_most(row);
    }
    memset(to, 0, most);
    if (count > most ||
        (row->form == WIRE_FIXED && count != most && !(count == 0 && row->flags & WIRE_MAYBE))) {
        return false;
    }
    if (count > 0) { /* an id is a number: its last bytes are those that are sent */
        memcpy(row->form == WIRE_ID ? to + most - count : to, slice, count);
    }
    if (row->form == WIRE_SHORT) {
        wire_set_number(core, row->count, count);
    } else if (row->shown.bytes == 1) {
        wire_set_number(core, row->shown, count > 0);
    }
    return true;
}

static bool decode_text(const char *text, char *to, size_t bytes) {
    size_t length = strlen(text);
    memset(to, 0, bytes);
    if (length >= bytes) {
        return false;
    }
    memcpy(to, text, length);
    return true;
}

/* Whether the field that the message is nothing without is 0. */
static bool is_void(const struct wire_table *table, const uint8_t *message) {
    uint32_t value;
    if (table->void_without == 0) {
        return false;
    }
    memcpy(&value, message + table->descriptor->fields[table->void_without - 1].offset,
           sizeof value);
    return value == 0;
}

static bool decode_part(const struct wire_field *row, const void *message, void *core) {
    const struct wire_table *inner = row->inner;
    uint8_t *to = (uint8_t *)core + row->core.at;
    bool there = message != NULL && !is_void(inner, message);
    if (row->shown.bytes == 1) {
        wire_set_number(core, row->shown, there);
    }
    if (!there) {
        memset(to + inner->cleared.at, 0, inner->cleared.bytes);
        return (row->flags & WIRE_REQUIRED) == 0;
    }
    if (decode(inner, message, to) != NULL) {
        return false;
    }
    if (row->shown.bytes == 1 && inner->key.bytes != 0) {
        wire_set_number(core, row->shown, wire_number(to, inner->key) != 0);
    }
    return true;
}

static bool decode_list(const struct wire_field *row, void *const *messages, size_t count,
                        void *core) {
    const struct wire_table *inner = row->inner;
    if (count < row->least || count > row->most) {
        return false;
    }
    wire_set_number(core, row->count, count);
    for (size_t i = 0; i < count; i++) {
        uint8_t *to = (uint8_t *)core + row->core.at + i * row->core.bytes;
        if (decode(inner, messages[i], to) != NULL ||
            (inner->key.bytes != 0 && wire_number(to, inner->key) == 0)) {
            return false;
        }
    }
    return true;
}

static void decode_rows(const struct wire_field *row, const Chord__V1__Row *const *messages,
                        size_t count, void *core) {
    if (row->count.bytes == 0) {
        return;
    }
    wire_set_number(core, row->count, count);
    if (count > 0) {
        ProtobufCBinaryData last = messages[count - 1]->key;
        hash_key(last.data, last.len, (uint8_t *)core + row->core.at);
    }
}

static bool decode_field(const struct wire_field *row, const ProtobufCFieldDescriptor *field,
                         const void *message, void *core) {
    const uint8_t *from = (const uint8_t *)message + field->offset;
    const size_t *items = (const void *)((const uint8_t *)message + field->quantifier_offset);
    const void *pointer;
    switch (row->form) {
    case WIRE_NUMBER:
        return decode_number(row, field, from, core);
    case WIRE_ID:
    case WIRE_FIXED:
    case WIRE_SHORT:
    case WIRE_SLICE:
        return decode_bytes(row, (const void *)from, core);
    case WIRE_BESIDE:
        return true;
    default:
        memcpy(&pointer, from, sizeof pointer);
    }
    if (row->form == WIRE_TEXT) {
        return decode_text(pointer, (char *)core + row->core.at, row->core.bytes);
    }
    if (row->form == WIRE_PART) {
        return decode_part(row, pointer, core);
    }
    if (row->form == WIRE_LIST) {
        return decode_list(row, pointer, *items, core);
    }
    decode_rows(row, pointer, *items, core);
    return true;
}

/* The first field that is out of its bounds; NULL: none is. */
static const struct wire_field *decode(const struct wire_table *table, const void *message,
                                       void *core) {
    memset((uint8_t *)core + table->cleared.at, 0, table->cleared.bytes);
    CHORD_ASSERT(table->fields_count == table->descriptor->n_fields);
    for (unsigned i = 0; i < table->fields_count; i++) {
        const struct wire_field *row = &table->fields[i];
        if (!is_left_out(row, core) &&
            !decode_field(row, &table->descriptor->fields[i], message, core)) {
            return row;
        }
        if (row->flags & WIRE_ENDS && wire_number(core, row->core) != 0) {
            return NULL;
        }
    }
    return NULL;
}

/* ---- messages ---- */

enum rpc_method wire_method(enum chord_message_kind kind) {
    return wire_messages[kind].method;
}

bool wire_kind(enum rpc_method method, enum chord_message_kind *kind) {
    for (unsigned i = CHORD_PING; i <= CHORD_CHECK; i++) {
        if (wire_messages[i].method == method) {
            *kind = (enum chord_message_kind)i;
            return true;
        }
    }
    return false;
}

bool wire_decode_request(enum chord_message_kind kind, const ProtobufCMessage *message,
                         struct chord_request *request, const char **error) {
    const struct wire_table *table = &wire_messages[kind].request;
    if (table->descriptor == NULL) {
        *error = "a client's request, which is not between nodes";
        return false;
    }
    const struct wire_field *bad = decode(table, message, request);
    request->kind = kind;
    if (bad == &table->fields[0]) {
        *error = "header: an id of at most 20 bytes, an address of at most 63, a ring id of 16";
    } else if (bad != NULL) {
        *error = "a field is missing or out of its bounds (see the .proto file)";
    }
    return bad == NULL;
}

bool wire_decode_response(enum chord_message_kind kind, const ProtobufCMessage *message,
                          struct chord_response *response, const char **error) {
    const struct wire_table *table = &wire_messages[kind].response;
    response->kind = kind;
    response->code = CHORD_OK;
    response->retry_after_ms = 0;
    if (table->descriptor != NULL && decode(table, message, response) == NULL) {
        return true;
    }
    *error = "an answer with a field out of its bounds";
    return false;
}

static ProtobufCMessage *encode_message(struct wire_context *context,
                                        const struct wire_table *table, const void *core,
                                        const struct store_row *rows, size_t rows_count) {
    struct encoder encoder = {context, rows, rows_count};
    return table->descriptor != NULL ? encode_new(&encoder, table, core) : NULL;
}

ProtobufCMessage *wire_encode_request(struct wire_context *context,
                                      const struct chord_request *request,
                                      const struct store_row *rows, size_t rows_count) {
    return encode_message(context, &wire_messages[request->kind].request, request, rows,
                          rows_count);
}

ProtobufCMessage *wire_encode_response(struct wire_context *context,
                                       const struct chord_response *response,
                                       const struct store_row *rows, size_t rows_count) {
    return encode_message(context, &wire_messages[response->kind].response, response, rows,
                          rows_count);
}

Chord__V1__LookupResponse *wire_encode_lookup(struct wire_context *context,
                                              const struct chord_response *response,
                                              const struct chord_id *key_id) {
    Chord__V1__LookupResponse *message = (void *)wire_encode_response(context, response, NULL, 0);
    message->key_id = wire_id(context, key_id);
    return message;
}

/* ---- parts ---- */

Chord__V1__Peer *wire_peer(struct wire_context *context, const struct chord_peer *peer) {
    return (void *)encode_message(context, &wire_peer_table, peer, NULL, 0);
}

Chord__V1__View *wire_view(struct wire_context *context, const struct chord_view *view) {
    return (void *)encode_message(context, &wire_view_table, view, NULL, 0);
}

Chord__V1__RingParameters *wire_parameters(struct wire_context *context,
                                           const struct chord_parameters *parameters) {
    return (void *)encode_message(context, &wire_parameters_table, parameters, NULL, 0);
}

Chord__V1__OwnerHint *wire_hint(struct wire_context *context, const struct chord_hint *hint) {
    return hint->address[0] == '\0'
               ? NULL
               : (void *)encode_message(context, &wire_hint_table, hint, NULL, 0);
}

char **wire_missing(struct wire_context *context, const struct chord_missing *missing,
                    size_t *count) {
    char **texts = arena_alloc(context->arena, sizeof *texts * CHORD_MISSING_MAX);
    for (uint16_t i = 0; i < missing->count; i++) {
        texts[i] = (char *)(uintptr_t)missing->addresses[i];
    }
    *count = missing->count;
    return texts;
}

bool wire_read_missing(char *const *addresses, size_t count, struct chord_missing *missing) {
    missing->count = 0;
    for (size_t i = 0; i < count && i < CHORD_MISSING_MAX; i++) {
        if (!decode_text(addresses[i], missing->addresses[i], CHORD_ADDRESS_BYTES)) {
            return false;
        }
        missing->count++;
    }
    return true;
}

bool wire_read_range(const Chord__V1__Range *message, struct chord_range *range) {
    return message != NULL && decode(&wire_range_table, message, range) == NULL;
}

bool wire_read_hint(const Chord__V1__OwnerHint *message, struct chord_hint *hint) {
    memset(hint, 0, sizeof *hint);
    return message == NULL || decode(&wire_hint_table, message, hint) == NULL;
}

bool wire_read_row(const Chord__V1__Row *message, struct store_row *row) {
    if (decode(&wire_row_table, message, row) != NULL) {
        return false;
    }
    hash_key(row->key, row->key_bytes, row->hash);
    return true;
}

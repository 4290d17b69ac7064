/* SPDX-License-Identifier: MIT */
/*
 * Protobuf -> core: the other interpreter of the tables in wire_table.c. It copies, but for slices,
 * which stay in the message.
 */
#include "wire.h"

#include "assert.h"
#include "hash.h"

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
    if (row->form == WIRE_CHOICE) {
        wire_set_number(core, row->core, value == row->most);
        return true;
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
    if (wire_decode(inner, message, to) != NULL) {
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
        if (wire_decode(inner, messages[i], to) != NULL ||
            (inner->key.bytes != 0 && wire_number(to, inner->key) == 0)) {
            return false;
        }
    }
    return true;
}

static void decode_texts(const struct wire_field *row, const char *const *texts, size_t count,
                         void *core) {
    size_t read = 0;
    char *to = (char *)core + row->core.at;
    while (read < count && read < row->most &&
           decode_text(texts[read], to + read * row->core.bytes, row->core.bytes)) {
        read++;
    }
    wire_set_number(core, row->count, read);
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
    case WIRE_CHOICE:
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
    if (row->form == WIRE_TEXTS) {
        decode_texts(row, pointer, *items, core);
    } else {
        decode_rows(row, pointer, *items, core);
    }
    return true;
}

const struct wire_field *wire_decode(const struct wire_table *table, const void *message,
                                     void *core) {
    memset((uint8_t *)core + table->cleared.at, 0, table->cleared.bytes);
    CHORD_ASSERT(table->fields_count == table->descriptor->n_fields);
    for (unsigned i = 0; i < table->fields_count; i++) {
        const struct wire_field *row = &table->fields[i];
        if (!wire_left_out(row, core) &&
            !decode_field(row, &table->descriptor->fields[i], message, core)) {
            return row;
        }
        if (row->flags & WIRE_ENDS && wire_number(core, row->core) != 0) {
            return NULL;
        }
    }
    return NULL;
}

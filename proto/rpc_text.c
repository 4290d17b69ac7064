/*
 * UTF-8: what texts of messages must be (protobuf says so, and a reader in another language refuses
 * the whole message otherwise). protobuf-c itself looks at no text.
 */
#include <string.h>

#include "rpc.h"

size_t rpc_utf8_read(const uint8_t *bytes, size_t bytes_count, uint32_t *point) {
    uint8_t first = bytes_count > 0 ? bytes[0] : 0x80;
    if (first < 0x80) {
        *point = first;
        return 1;
    }
    size_t length = first >= 0xc2 && first <= 0xdf   ? 2
                    : first >= 0xe0 && first <= 0xef ? 3
                    : first >= 0xf0 && first <= 0xf4 ? 4
                                                     : 0;
    if (length == 0 || length > bytes_count) {
        return 0;
    }
    /* No longer forms, no surrogates, nothing beyond U+10FFFF. */
    uint8_t low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    uint8_t high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    if (bytes[1] < low || bytes[1] > high) {
        return 0;
    }
    *point = first & (0xffu >> (length + 1));
    for (size_t i = 1; i < length; i++) {
        if ((bytes[i] & 0xc0) != 0x80) {
            return 0;
        }
        *point = *point << 6 | (bytes[i] & 0x3f);
    }
    return length;
}

void rpc_utf8_repair(char *text) {
    size_t left = strlen(text);
    while (left > 0) {
        uint32_t point;
        size_t length = rpc_utf8_read((const uint8_t *)text, left, &point);
        if (length == 0) {
            *text = '?';
            length = 1;
        }
        text += length;
        left -= length;
    }
}

static bool text_is_valid(const char *text) {
    size_t left = text == NULL ? 0 : strlen(text);
    while (left > 0) {
        uint32_t point;
        size_t length = rpc_utf8_read((const uint8_t *)text, left, &point);
        if (length == 0) {
            return false;
        }
        text += length;
        left -= length;
    }
    return true;
}

static bool field_is_valid(const ProtobufCFieldDescriptor *field, const void *value) {
    return field->type == PROTOBUF_C_TYPE_STRING ? text_is_valid(*(const char *const *)value)
                                                 : rpc_texts_are_valid(*(void *const *)value);
}

/* No message contains itself (a test sees to it), so this ends; and none has a oneof. */
bool rpc_texts_are_valid(const ProtobufCMessage *message) {
    for (unsigned i = 0; message != NULL && i < message->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &message->descriptor->fields[i];
        const uint8_t *at = (const uint8_t *)message + field->offset;
        if (field->type != PROTOBUF_C_TYPE_STRING && field->type != PROTOBUF_C_TYPE_MESSAGE) {
            continue;
        }
        if (field->label == PROTOBUF_C_LABEL_REPEATED) {
            const uint8_t *const *list = *(const uint8_t *const *const *)at;
            size_t count = *(const size_t *)((const uint8_t *)message + field->quantifier_offset);
            for (size_t k = 0; k < count; k++) {
                if (!field_is_valid(field, &list[k])) {
                    return false;
                }
            }
        } else if (!field_is_valid(field, at)) {
            return false;
        }
    }
    return true;
}

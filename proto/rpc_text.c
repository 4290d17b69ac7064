/* SPDX-License-Identifier: MIT */
/*
 * UTF-8: what texts of messages must be (protobuf says so, and a reader in another language refuses
 * the whole message otherwise). protobuf-c itself looks at no text.
 */
#include <string.h>

#include "rpc.h"
#include "utf8.h"

void rpc_utf8_repair(char *text) {
    size_t left = strlen(text);
    while (left > 0) {
        uint32_t point;
        size_t length = utf8_read((const uint8_t *)text, left, &point);
        if (length == 0) {
            *text = '?';
            length = 1;
        }
        text += length;
        left -= length;
    }
}

static bool text_is_valid(const char *text) {
    return text == NULL || utf8_is_valid(text, strlen(text));
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

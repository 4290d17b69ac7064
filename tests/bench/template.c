/* SPDX-License-Identifier: MIT */
#include "template.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "flags.h"

static char *more_room(struct text *text, size_t count) {
    if (text->room - text->count < count) {
        text->room = 2 * text->room + count + 256;
        text->bytes = realloc(text->bytes, text->room);
        if (text->bytes == NULL) {
            flags_refuse("no memory for a message of %zu bytes", text->room);
        }
    }
    return text->bytes + text->count;
}

void text_add(struct text *text, const void *bytes, size_t count) {
    if (count > 0) {
        memcpy(more_room(text, count), bytes, count);
        text->count += count;
    }
}

static void add_base64(struct text *text, const char *bytes, size_t count) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *out = more_room(text, (count + 2) / 3 * 4);
    for (size_t at = 0; at < count; at += 3) {
        size_t left = count - at;
        uint32_t bits = (uint32_t)(uint8_t)bytes[at] << 16;
        bits |= left > 1 ? (uint32_t)(uint8_t)bytes[at + 1] << 8 : 0;
        bits |= left > 2 ? (uint32_t)(uint8_t)bytes[at + 2] : 0;
        *out++ = digits[bits >> 18];
        *out++ = digits[bits >> 12 & 63];
        *out++ = left > 1 ? digits[bits >> 6 & 63] : '=';
        *out++ = left > 2 ? digits[bits & 63] : '=';
    }
    text->count += (count + 2) / 3 * 4;
}

void text_expand(struct text *text, const char *template, const char *key, const char *value,
                 size_t value_bytes) {
    const struct {
        const char *name, *bytes;
        size_t count;
        void (*add)(struct text *, const char *, size_t);
    } places[] = {{"@KEY@", key, strlen(key), NULL},
                  {"@VALUE@", value, value_bytes, NULL},
                  {"@KEY64@", key, strlen(key), add_base64},
                  {"@VALUE64@", value, value_bytes, add_base64}};
    while (*template != '\0') {
        size_t plain = strcspn(template, "@");
        text_add(text, template, plain);
        template += plain;
        size_t at = 0;
        while (at < 4 && strncmp(template, places[at].name, strlen(places[at].name)) != 0) {
            at++;
        }
        if (*template == '\0') {
            return;
        }
        if (at == 4) {
            text_add(text, template ++, 1);
            continue;
        }
        template += strlen(places[at].name);
        if (places[at].add != NULL) {
            places[at].add(text, places[at].bytes, places[at].count);
        } else {
            text_add(text, places[at].bytes, places[at].count);
        }
    }
}

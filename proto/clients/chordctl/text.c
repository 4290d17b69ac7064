/* SPDX-License-Identifier: MIT */
/* Bytes as text; see text.h. */
#include "text.h"

#include "ids.h"
#include "utf8.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl.h"

/* ---- memory ---- */

void memory_missing(void) {
    fputs("chordctl: no memory\n", stderr);
    exit(CTL_NOT_FOUND);
}

void *memory_grow(void *old, size_t count, size_t size) {
    void *memory = reallocarray(old, count == 0 ? 1 : count, size);
    if (memory == NULL) {
        memory_missing();
    }
    return memory;
}

void *memory_new(size_t count, size_t size) {
    void *memory = memory_grow(NULL, count, size);
    memset(memory, 0, (count == 0 ? 1 : count) * size);
    return memory;
}

void bytes_append(struct buf *buf, const void *data, size_t size) {
    if (!buf_append(buf, data, size)) {
        memory_missing();
    }
}

/* ---- ids ---- */

bool id_text_is_valid(const char *text, unsigned m) {
    size_t count = strlen(text);
    return count == strspn(text, "0123456789abcdefABCDEF") && count > 0 &&
           (m == 0 ? count <= 2 * ID_BYTES : count == (m + 3) / 4);
}

/* ---- UTF-8 ---- */

size_t text_width(const char *text) {
    size_t width = 0;
    for (; *text != '\0'; text++) {
        width += ((uint8_t)*text & 0xc0) != 0x80;
    }
    return width;
}

static void escape_point(struct buf *out, uint32_t point) {
    char text[16];
    if (point == '\n' || point == '\r' || point == '\t') {
        snprintf(text, sizeof text, "\\%c", point == '\n' ? 'n' : point == '\r' ? 'r' : 't');
    } else {
        snprintf(text, sizeof text, point < 0x80 ? "\\x%02x" : "\\u{%x}", (unsigned)point);
    }
    bytes_append(out, text, strlen(text));
}

char *text_escape(const void *data, size_t size) {
    const uint8_t *from = data;
    struct buf out = {0};
    for (size_t at = 0; at < size;) {
        uint32_t point;
        size_t length = utf8_read(from + at, size - at, &point);
        if (length == 0) {
            char text[8];
            snprintf(text, sizeof text, "\\x%02x", (unsigned)from[at]);
            bytes_append(&out, text, strlen(text));
            length = 1;
        } else if (utf8_is_unsafe(point)) {
            escape_point(&out, point);
        } else {
            bytes_append(&out, from + at, length);
            if (point == '\\') {
                bytes_append(&out, "\\", 1);
            }
        }
        at += length;
    }
    bytes_append(&out, "", 1);
    return (char *)out.data;
}

/* ---- base64 ---- */

bool base64_decode(const char *text, struct buf *decoded) {
    size_t size = strlen(text);
    size_t body = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/");
    size_t padding = size - body;
    if (size % 4 != 0 || size > INT32_MAX || padding > 2 || strspn(text + body, "=") != padding) {
        return false;
    }
    uint8_t *out = memory_new(size / 4 * 3 + 1, 1);
    int count = size == 0 ? 0 : EVP_DecodeBlock(out, (const unsigned char *)text, (int)size);
    if (count >= (int)padding) {
        bytes_append(decoded, out, (size_t)count - padding);
    }
    free(out);
    return count >= (int)padding;
}

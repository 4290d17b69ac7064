/* SPDX-License-Identifier: MIT */
/* A growing byte buffer; see buf.h. */
#include "buf.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool buf_reserve(struct buf *buf, size_t more) {
    if (more > SIZE_MAX / 4 || buf->size > SIZE_MAX / 4) {
        return false;
    }
    size_t need = buf->size + more;
    if (need <= buf->capacity) {
        return true;
    }
    size_t capacity = buf->capacity < 256 ? 256 : buf->capacity;
    while (capacity < need) {
        capacity += capacity / 2;
    }
    uint8_t *data = realloc(buf->data, capacity);
    if (data == NULL) {
        return false;
    }
    buf->data = data;
    buf->capacity = capacity;
    return true;
}

bool buf_append(struct buf *buf, const void *data, size_t size) {
    if (!buf_reserve(buf, size)) {
        return false;
    }
    if (size > 0) {
        memcpy(buf->data + buf->size, data, size);
        buf->size += size;
    }
    return true;
}

bool buf_append_text(struct buf *buf, const char *text) {
    return buf_append(buf, text, strlen(text));
}

bool buf_format(struct buf *buf, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (size < 0 || !buf_reserve(buf, (size_t)size + 1)) {
        return false;
    }
    va_start(arguments, format);
    vsnprintf((char *)buf->data + buf->size, (size_t)size + 1, format, arguments);
    va_end(arguments);
    buf->size += (size_t)size;
    return true;
}

void buf_drop(struct buf *buf, size_t size) {
    if (size >= buf->size) {
        buf->size = 0;
        return;
    }
    memmove(buf->data, buf->data + size, buf->size - size);
    buf->size -= size;
}

void buf_clear(struct buf *buf) {
    buf->size = 0;
}

void buf_free(struct buf *buf) {
    free(buf->data);
    *buf = (struct buf){0};
}

bool number_read(const char *text, uint64_t low, uint64_t high, uint64_t *value) {
    char *end;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || number < low ||
        number > high) {
        return false;
    }
    *value = number;
    return true;
}

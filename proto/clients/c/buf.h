/* SPDX-License-Identifier: MIT */
/*
 * A growing byte buffer, and a reader of numbers. It knows nothing but bytes.
 */
#ifndef CHORD_BUF_H
#define CHORD_BUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
    uint8_t *data; /* owned; NULL while empty */
    size_t size;
    size_t capacity;
};

/* false = no memory; the buffer is as it was. */
bool buf_reserve(struct buf *buf, size_t more);
bool buf_append(struct buf *buf, const void *data, size_t size);
bool buf_append_text(struct buf *buf, const char *text);
bool buf_format(struct buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Drops the first `size` bytes. */
void buf_drop(struct buf *buf, size_t size);
void buf_clear(struct buf *buf); /* keeps the memory */
void buf_free(struct buf *buf);

/* A text that is a whole number in [low, high], and nothing else. */
bool number_read(const char *text, uint64_t low, uint64_t high, uint64_t *value);

#endif

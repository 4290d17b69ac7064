/* SPDX-License-Identifier: MIT */
/* A body in chunks; see http_chunks.h. */
#include "http_chunks.h"

#include <string.h>

#include "http_head.h"
#include "ids.h"

enum state {
    STATE_SIZE,
    STATE_SIZE_BLANK, /* after blanks behind the size, before a ; */
    STATE_EXTENSION,
    STATE_SIZE_LF,
    STATE_DATA,
    STATE_DATA_CR,
    STATE_DATA_LF,
    STATE_TRAILER, /* at a line's start */
    STATE_TRAILER_NAME,
    STATE_TRAILER_VALUE,
    STATE_TRAILER_LF,
    STATE_END_LF,
    STATE_BAD,
};

static bool is_text(uint8_t c) {
    return c == '\t' || (c >= ' ' && c != 127);
}

static enum state size_step(struct http_chunks *chunks, uint8_t c) {
    int digit = hex_digit((char)c);
    if (digit >= 0) {
        chunks->left = chunks->left * 16 + (unsigned)digit;
        return chunks->left >> 56 == 0 ? STATE_SIZE : STATE_BAD;
    }
    if (chunks->line_bytes == 1) {
        return STATE_BAD; /* no digit at all */
    }
    return c == '\r'               ? STATE_SIZE_LF
           : c == ';'              ? STATE_EXTENSION
           : c == ' ' || c == '\t' ? STATE_SIZE_BLANK
                                   : STATE_BAD;
}

static enum state trailer_step(struct http_chunks *chunks, uint8_t c) {
    char name = (char)c;
    if (c == '\r' && chunks->state == STATE_TRAILER) {
        return STATE_END_LF;
    }
    if (c == ':' && chunks->state == STATE_TRAILER_NAME) {
        return STATE_TRAILER_VALUE;
    }
    return http_is_token(&name, 1) ? STATE_TRAILER_NAME : STATE_BAD;
}

/* One byte of what is not data. */
static enum state line_step(struct http_chunks *chunks, uint8_t c) {
    switch ((enum state)chunks->state) {
    case STATE_SIZE:
        return size_step(chunks, c);
    case STATE_SIZE_BLANK:
        return c == ';' ? STATE_EXTENSION : c == ' ' || c == '\t' ? STATE_SIZE_BLANK : STATE_BAD;
    case STATE_EXTENSION:
        return c == '\r' ? STATE_SIZE_LF : is_text(c) ? STATE_EXTENSION : STATE_BAD;
    case STATE_SIZE_LF:
        return c != '\n' ? STATE_BAD : chunks->left == 0 ? STATE_TRAILER : STATE_DATA;
    case STATE_DATA_CR:
        return c == '\r' ? STATE_DATA_LF : STATE_BAD;
    case STATE_DATA_LF:
        return c == '\n' ? STATE_SIZE : STATE_BAD;
    case STATE_TRAILER:
    case STATE_TRAILER_NAME:
        return trailer_step(chunks, c);
    case STATE_TRAILER_VALUE:
        return c == '\r' ? STATE_TRAILER_LF : is_text(c) ? STATE_TRAILER_VALUE : STATE_BAD;
    case STATE_TRAILER_LF:
        return c == '\n' ? STATE_TRAILER : STATE_BAD;
    case STATE_END_LF:
        chunks->done = c == '\n';
        return c == '\n' ? STATE_END_LF : STATE_BAD;
    default:
        return STATE_BAD;
    }
}

static void line_byte(struct http_chunks *chunks, uint8_t c) {
    chunks->line_bytes++;
    chunks->extra_bytes++;
    enum state next = line_step(chunks, c);
    bool line_begins = next != (enum state)chunks->state &&
                       (next == STATE_SIZE || next == STATE_TRAILER || next == STATE_DATA);
    if (chunks->line_bytes > HTTP_CHUNK_LINE_BYTES_MAX ||
        chunks->extra_bytes > HTTP_CHUNK_EXTRA_BYTES_MAX + 8 * chunks->data_bytes) {
        next = STATE_BAD;
    }
    if (line_begins) {
        chunks->line_bytes = 0;
    }
    chunks->state = (uint8_t)next;
}

int64_t http_chunks_read(struct http_chunks *chunks, const uint8_t *in, size_t in_size,
                         size_t *used, uint8_t *out, size_t out_size) {
    size_t at = 0;
    size_t written = 0;
    while (at < in_size && !chunks->done && chunks->state != STATE_BAD) {
        if (chunks->state != STATE_DATA) {
            line_byte(chunks, in[at++]);
            continue;
        }
        size_t part = in_size - at;
        part = part < out_size - written ? part : out_size - written;
        part = part < chunks->left ? part : (size_t)chunks->left;
        if (part == 0) {
            break; /* `out` is full */
        }
        memcpy(out + written, in + at, part);
        at += part;
        written += part;
        chunks->left -= part;
        chunks->data_bytes += part;
        if (chunks->left == 0) {
            chunks->state = STATE_DATA_CR;
        }
    }
    *used = at;
    return chunks->state == STATE_BAD ? -1 : (int64_t)written;
}

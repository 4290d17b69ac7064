/* SPDX-License-Identifier: MIT */
/*
 * A body in chunks, RFC 9112 section 7: sizes, extensions (ignored), data, trailers (checked, then
 * ignored). Bytes come in pieces of any size. No connections, no memory of its own.
 */
#ifndef GATEWAY_HTTP_CHUNKS_H
#define GATEWAY_HTTP_CHUNKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    HTTP_CHUNK_LINE_BYTES_MAX = 1024,       /* a size with its extensions, or a trailer line */
    HTTP_CHUNK_EXTRA_BYTES_MAX = 16 * 1024, /* of these lines, beyond 8 for each byte of data */
};

/* All zero at first. */
struct http_chunks {
    uint8_t state;
    bool done;     /* the last byte of the body was read */
    uint64_t left; /* of the chunk */
    uint64_t data_bytes;
    uint64_t extra_bytes;
    size_t line_bytes;
};

/* Reads from [in, in + in_size), says in `*used` how far, and writes the data that it finds to
 * `out`. The bytes written; -1 = malformed, for good. */
int64_t http_chunks_read(struct http_chunks *chunks, const uint8_t *in, size_t in_size,
                         size_t *used, uint8_t *out, size_t out_size);

#endif

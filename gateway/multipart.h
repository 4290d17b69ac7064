/* SPDX-License-Identifier: MIT */
/*
 * Reads multipart/form-data (RFC 7578) as it arrives, in bounded memory. It knows nothing of HTTP
 * connections or CSV.
 */
#ifndef GATEWAY_MULTIPART_H
#define GATEWAY_MULTIPART_H

#include <stdbool.h>
#include <stddef.h>

enum {
    MULTIPART_HEADERS_BYTES_MAX = 8 * 1024, /* of one part */
    MULTIPART_PREAMBLE_BYTES_MAX = 64 * 1024,
    MULTIPART_BOUNDARY_BYTES_MAX = 70, /* RFC 2046 5.1.1 */
    MULTIPART_NAME_BYTES_MAX = 127,
    MULTIPART_PARTS_MAX = 64,
};

struct multipart_part {
    char name[MULTIPART_NAME_BYTES_MAX + 1];
    bool is_file; /* it has a filename */
};

struct multipart_handler {
    /* false ends the reading. */
    bool (*on_part)(void *context, const struct multipart_part *part);
    bool (*on_data)(void *context, const void *data, size_t size);
    bool (*on_part_end)(void *context);
    void *context;
};

struct multipart;

/* The boundary parameter of a Content-Type; false when there is none. */
bool multipart_boundary(const char *content_type, char boundary[MULTIPART_BOUNDARY_BYTES_MAX + 1]);
struct multipart *multipart_new(const char *boundary, const struct multipart_handler *handler);
/* false: an error (multipart_error) or the handler ended it. */
bool multipart_feed(struct multipart *multipart, const void *data, size_t size);
/* true when the closing boundary was seen. */
bool multipart_is_complete(const struct multipart *multipart);
/* NULL or one sentence. */
const char *multipart_error(const struct multipart *multipart);
void multipart_free(struct multipart *multipart);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * The head of a request, read by RFC 9110 and 9112. Text only: no connections, no memory of its
 * own.
 *
 * It is strict where leniency lets two programs read one request in two ways: lines end in CRLF, a
 * name touches its colon, nothing is folded, a body has one length. What breaks a rule is refused
 * with a status and a sentence, never repaired.
 */
#ifndef GATEWAY_HTTP_HEAD_H
#define GATEWAY_HTTP_HEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    HTTP_HEAD_BYTES_MAX = 16 * 1024,
    HTTP_TARGET_BYTES_MAX = 8 * 1024,
    HTTP_FIELDS_MAX = 100,
    HTTP_HOST_BYTES_MAX = 255,
    HTTP_BODY_CHUNKED = -1,
};

/* Why a request is not served; status 0 = it is. The texts are static. */
struct http_refusal {
    int status;
    const char *code; /* a google.rpc.Code name */
    const char *reason;
    const char *headers; /* NULL, or lines that each end in CRLF */
};

struct http_field {
    const char *name;
    const char *value; /* without the blanks around it */
};

/* The pointers lead into the text that was parsed. */
struct http_head {
    const char *method;
    const char *path;  /* raw, "/..." or "*" */
    const char *query; /* raw, or NULL */
    char host[HTTP_HOST_BYTES_MAX +
              1];       /* asked for, by the target or by Host; may be empty in 1.0 */
    int64_t body_bytes; /* or HTTP_BODY_CHUNKED */
    bool http_1_0;
    bool keep_alive;
    size_t fields_count;
    struct http_field fields[HTTP_FIELDS_MAX];
};

/* Stands for a request that could not be read. */
#define HTTP_HEAD_NONE ((struct http_head){.method = "GET", .path = "*"})

/* The size of the head at the start of [data, size), its empty line included. 0 = it has not all
 * arrived; -1 = it has a byte that no head may have. `*scanned` is 0 at first and lets the next
 * look go on where this one ended. */
int64_t http_head_find(const char *data, size_t size, size_t *scanned);
/* What to answer when a head did not fit into HTTP_HEAD_BYTES_MAX. */
struct http_refusal http_head_too_long(const char *data, size_t size);
/* Splits [data, data + size), which http_head_find measured, in place. */
struct http_refusal http_head_parse(struct http_head *head, char *data, size_t size);
/* The value of the `index`th field of this name, or NULL. */
const char *http_head_field(const struct http_head *head, const char *name, size_t index);
/* Whether a comma-separated list has the word, whatever its case. */
bool http_list_has(const char *list, const char *word);
bool http_is_token(const char *text, size_t size);

#endif

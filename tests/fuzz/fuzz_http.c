/* SPDX-License-Identifier: MIT */
/*
 * Fuzzer of the gateway's readers of requests: heads, bodies in chunks, lists of entity tags. Bytes
 * in pieces of any size give what the same bytes give at once, and what is accepted keeps the
 * rules.
 */
#include "bytes.h"

#include "conditions.h"
#include "http_chunks.h"
#include "http_head.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool condition, const char *what) {
    if (!condition) {
        fprintf(stderr, "fuzz_http: %s\n", what);
        abort();
    }
}

/* ---- heads ---- */

static void head_check(const struct http_head *head) {
    must(http_is_token(head->method, strlen(head->method)), "a method that is no token");
    must(head->path[0] == '/' || strcmp(head->path, "*") == 0, "a path of neither form");
    must(head->body_bytes >= HTTP_BODY_CHUNKED, "a negative length");
    must(head->http_1_0 || head->host[0] != '\0', "HTTP/1.1 without a host");
    must(strpbrk(head->host, " @/?#,") == NULL, "a host with another part of an address");
    must(head->fields_count <= HTTP_FIELDS_MAX, "too many fields");
    for (size_t i = 0; i < head->fields_count; i++) {
        must(http_is_token(head->fields[i].name, strlen(head->fields[i].name)), "a bad name");
        must(strpbrk(head->fields[i].value, "\r\n") == NULL, "a value of two lines");
    }
    must(http_head_field(head, "Content-Length", 1) == NULL, "two lengths");
    must(head->body_bytes != HTTP_BODY_CHUNKED ||
             http_head_field(head, "Content-Length", 0) == NULL,
         "a length beside chunks");
}

static void read_head(const struct bytes *bytes, size_t piece) {
    size_t scanned = 0;
    const char *text = (const char *)bytes->data;
    int64_t whole = http_head_find(text, bytes->size, &scanned);
    int64_t pieces = 0;
    scanned = 0;
    for (size_t at = 0; at < bytes->size && pieces == 0;) {
        at = at + piece < bytes->size ? at + piece : bytes->size;
        pieces = http_head_find(text, at, &scanned);
    }
    must(whole == pieces, "a head in pieces is another");
    if (whole <= 0) {
        return;
    }
    char *copy = malloc((size_t)whole);
    struct http_head *head = malloc(sizeof(*head));
    must(copy != NULL && head != NULL, "no memory");
    memcpy(copy, text, (size_t)whole);
    struct http_refusal refusal = http_head_parse(head, copy, (size_t)whole);
    must(refusal.status == 0 || (refusal.status >= 400 && refusal.reason != NULL), "a bad refusal");
    if (refusal.status == 0) {
        head_check(head);
    }
    free(head);
    free(copy);
}

/* ---- chunks ---- */

struct decoded {
    uint64_t hash;
    uint64_t size;
    size_t used;
    bool ok;
    bool done;
};

static struct decoded read_chunks(const struct bytes *bytes, size_t piece) {
    struct decoded result = {.hash = 14695981039346656037u, .ok = true};
    struct http_chunks chunks = {0};
    uint8_t out[64];
    while (result.used < bytes->size && result.ok && !chunks.done) {
        size_t left = bytes->size - result.used;
        size_t used = 0;
        int64_t got =
            http_chunks_read(&chunks, bytes->data + result.used, left < piece ? left : piece, &used,
                             out, piece < sizeof(out) ? piece : sizeof(out));
        result.used += used;
        result.ok = got >= 0 && (used > 0 || got > 0);
        for (int64_t i = 0; i < got; i++) { /* FNV-1a */
            result.hash = (result.hash ^ out[i]) * 1099511628211u;
        }
        result.size += got > 0 ? (uint64_t)got : 0;
    }
    result.done = chunks.done;
    must(result.size <= bytes->size, "more data than bytes");
    return result;
}

/* ---- tags ---- */

static void read_tags(const struct bytes *bytes) {
    char *text = calloc(1, bytes->size + 1);
    must(text != NULL, "no memory");
    if (bytes->size > 0) {
        memcpy(text, bytes->data, bytes->size);
    }
    enum etags strong = etags_look(text, "\"1.2\"", false);
    enum etags weak = etags_look(text, "\"1.2\"", true);
    must(strong != ETAGS_WITH || weak == ETAGS_WITH, "strong tags match where weak ones do not");
    must((strong == ETAGS_MALFORMED) == (weak == ETAGS_MALFORMED),
         "form depends on the comparison");
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct bytes bytes = {data, size};
    unsigned what = take_below(&bytes, 3);
    size_t piece = 1u + take(&bytes);
    if (what == 0) {
        read_head(&bytes, piece);
    } else if (what == 1) {
        struct decoded whole = read_chunks(&bytes, bytes.size + 1);
        struct decoded pieces = read_chunks(&bytes, piece);
        must(whole.ok == pieces.ok && whole.done == pieces.done, "chunks in pieces end otherwise");
        must(!whole.ok || (whole.hash == pieces.hash && whole.used == pieces.used),
             "chunks in pieces are other data");
    } else {
        read_tags(&bytes);
    }
    return 0;
}

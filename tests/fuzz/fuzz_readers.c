/*
 * Fuzzer of the gateway's readers of uploads, CSV and multipart/form-data: bytes in pieces of any
 * size give what the same bytes give at once.
 */
#include "bytes.h"

#include "csv_reader.h"
#include "multipart.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What was read, as one number. */
struct result {
    uint64_t hash;
    bool ok;
};

static void must(bool condition, const char *what) {
    if (!condition) {
        fprintf(stderr, "fuzz_readers: %s\n", what);
        abort();
    }
}

static void add(struct result *result, const void *data, size_t size) {
    for (size_t i = 0; i < size; i++) { /* FNV-1a */
        result->hash = (result->hash ^ ((const uint8_t *)data)[i]) * 1099511628211u;
    }
}

static void add_text(struct result *result, const char *text) {
    add(result, text, strlen(text) + 1);
}

/* ---- CSV ---- */

static bool on_row(void *context, const struct csv_row *row) {
    struct result *result = context;
    add(result, &row->line, sizeof row->line);
    add_text(result, row->error != NULL ? row->error : "");
    must(row->error == NULL || row->fields_count == 0, "a bad row with fields");
    must(row->fields_count <= CSV_FIELDS_MAX, "more fields than the limit says");
    for (size_t i = 0; i < row->fields_count; i++) {
        struct buf written = {0};
        must(csv_write_field(&written, row->fields[i].data, row->fields[i].size), "no memory");
        buf_free(&written);
        add(result, row->fields[i].data, row->fields[i].size);
        add(result, "|", 1);
    }
    return true;
}

static struct result read_csv(const struct bytes *bytes, size_t piece) {
    struct result result = {14695981039346656037u, true};
    struct csv_reader *reader = csv_reader_new(on_row, &result);
    must(reader != NULL, "no memory");
    for (size_t at = 0; at < bytes->size && result.ok; at += piece) {
        size_t left = bytes->size - at;
        result.ok = csv_reader_feed(reader, bytes->data + at, left < piece ? left : piece);
    }
    result.ok = result.ok && csv_reader_finish(reader);
    must(!csv_reader_failed(reader), "no memory");
    csv_reader_free(reader);
    return result;
}

/* ---- multipart ---- */

static bool on_part(void *context, const struct multipart_part *part) {
    add_text(context, part->name);
    add(context, &part->is_file, sizeof part->is_file);
    return true;
}

static bool on_data(void *context, const void *data, size_t size) {
    add(context, data, size);
    return true;
}

static bool on_part_end(void *context) {
    add(context, "|", 1);
    return true;
}

static struct result read_multipart(const struct bytes *bytes, size_t piece) {
    struct result result = {14695981039346656037u, true};
    struct multipart_handler handler = {on_part, on_data, on_part_end, &result};
    struct multipart *multipart = multipart_new("B", &handler);
    must(multipart != NULL, "no memory");
    for (size_t at = 0; at < bytes->size && result.ok; at += piece) {
        size_t left = bytes->size - at;
        result.ok = multipart_feed(multipart, bytes->data + at, left < piece ? left : piece);
    }
    must(result.ok || multipart_error(multipart) != NULL, "it ends without a reason");
    bool complete = multipart_is_complete(multipart);
    add(&result, &complete, sizeof complete);
    multipart_free(multipart);
    return result;
}

static void boundary(const struct bytes *bytes) {
    char found[MULTIPART_BOUNDARY_BYTES_MAX + 1];
    char *text = calloc(1, bytes->size + 1);
    must(text != NULL, "no memory");
    if (bytes->size > 0) {
        memcpy(text, bytes->data, bytes->size);
    }
    if (multipart_boundary(text, found)) {
        must(found[0] != '\0' && strlen(found) <= MULTIPART_BOUNDARY_BYTES_MAX, "a bad boundary");
    }
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct bytes bytes = {data, size};
    unsigned what = take_below(&bytes, 3);
    size_t piece = 1u + take(&bytes);
    if (what == 2) {
        boundary(&bytes);
        return 0;
    }
    struct result (*read)(const struct bytes *, size_t) = what == 0 ? read_csv : read_multipart;
    struct result whole = read(&bytes, bytes.size + 1);
    struct result pieces = read(&bytes, piece);
    must(whole.ok == pieces.ok && (!whole.ok || whole.hash == pieces.hash),
         "pieces give another result than the whole");
    return 0;
}

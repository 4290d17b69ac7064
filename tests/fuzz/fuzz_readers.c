/* SPDX-License-Identifier: MIT */
/*
 * Fuzzer of the readers of uploads, CSV (rows, and tables with their charsets) and
 * multipart/form-data: bytes in pieces of any size give what the same bytes give at once, and what
 * a table gives comes back from an export of it.
 */
#include "bytes.h"

#include "csv_charset.h"
#include "csv_reader.h"
#include "csv_table.h"
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

/* The first byte tells the options. */
static struct result read_csv(const struct bytes *all, size_t piece) {
    struct bytes bytes = *all;
    uint8_t how = take(&bytes);
    struct result result = {14695981039346656037u, true};
    struct csv_options options = {.delimiter = "\0,;x"[how % 4], .strict = how / 4 % 2 == 1};
    struct csv_reader *reader = csv_reader_new(&options, on_row, &result);
    must(reader != NULL, "no memory");
    for (size_t at = 0; at < bytes.size && result.ok; at += piece) {
        size_t left = bytes.size - at;
        result.ok = csv_reader_feed(reader, bytes.data + at, left < piece ? left : piece);
    }
    result.ok = result.ok && csv_reader_finish(reader);
    must(!csv_reader_failed(reader), "no memory");
    csv_reader_free(reader);
    return result;
}

/* ---- a table: charset, reader, header, rows; and back ---- */

struct account {
    struct result *result;
    struct csv_export *export;
    struct buf *out;
};

static bool on_record(void *context, const struct csv_record *record) {
    struct account *account = context;
    struct result *result = account->result;
    add(result, &record->line, sizeof record->line);
    add_text(result, record->error != NULL ? record->error : "");
    if (record->error == NULL) {
        must(record->key_size >= 1 && record->key_size <= CSV_KEY_BYTES_MAX, "a key's size");
        must(record->value_size <= CSV_VALUE_BYTES_MAX, "a value's size");
        add(result, record->key, record->key_size);
        add(result, record->value, record->value_size);
        add(result, &record->expires_at_ms, sizeof record->expires_at_ms);
        must(account->export == NULL ||
                 csv_export_row(account->export, account->out, record->key, record->key_size,
                                record->value, record->value_size, record->expires_at_ms),
             "no memory");
    }
    return true;
}

/* Rows, errors and how it ended. With `out` the good rows are written there as an export. */
static struct result table_run(const struct csv_table_options *options, const struct bytes *bytes,
                               size_t piece, struct csv_export *export, struct buf *out) {
    struct result result = {14695981039346656037u, true};
    struct account account = {&result, export, out};
    struct csv_table *table = csv_table_new(options, on_record, &account);
    must(table != NULL, "no memory");
    for (size_t at = 0; at < bytes->size && result.ok; at += piece) {
        size_t left = bytes->size - at;
        result.ok = csv_table_feed(table, bytes->data + at, left < piece ? left : piece);
    }
    result.ok = result.ok && csv_table_finish(table);
    must(result.ok == (csv_table_end(table) == CSV_TABLE_GOING), "it ends without a word");
    must(result.ok || csv_table_error(table)[0] != '\0', "it ends without a reason");
    add_text(&result, csv_table_error(table));
    csv_table_free(table);
    return result;
}

/* What was read, written in any form that keeps it and read again, is the same and whole. */
static void table_again(const struct csv_table_options *options, const struct bytes *bytes) {
    struct buf first = {0};
    struct buf second = {0};
    struct csv_table_options none = {0};
    struct csv_export *export = csv_export_new(CSV_LOSSLESS);
    must(export != NULL && csv_export_head(export, &first), "no memory");
    (void)table_run(options, bytes, bytes->size + 1, export, &first);
    must(csv_export_end(export, &first), "no memory");
    csv_export_free(export);
    export = csv_export_new(CSV_LOSSLESS);
    must(export != NULL && csv_export_head(export, &second), "no memory");
    struct bytes again = {first.data, first.size};
    struct result result = table_run(&none, &again, 7, export, &second);
    must(csv_export_end(export, &second), "no memory");
    must(result.ok, "an export is not read as whole");
    must(first.size == second.size && memcmp(first.data, second.data, first.size) == 0,
         "an export comes back otherwise");
    csv_export_free(export);
    buf_free(&first);
    buf_free(&second);
}

static struct result read_table(const struct bytes *all, size_t piece) {
    static const char *const charsets[] = {"auto", "utf-8", "utf-16", "windows-1252"};
    struct bytes bytes = *all;
    uint8_t how = take(&bytes);
    struct csv_table_options options = {.charset = charsets[how % 4],
                                        .header_absent = how / 4 % 2 == 1,
                                        .strict = how / 8 % 2 == 1,
                                        .form_given = how / 16 % 2 == 1,
                                        .form = (enum csv_form)(how / 32 % 3)};
    if (piece > bytes.size) {
        table_again(&options, &bytes);
    }
    struct result result = table_run(&options, &bytes, piece, NULL, NULL);
    result.ok = true; /* how it ended is in the number */
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
    unsigned what = take_below(&bytes, 4);
    size_t piece = 1u + take(&bytes);
    if (what == 2) {
        boundary(&bytes);
        return 0;
    }
    struct result (*read)(const struct bytes *, size_t) = what == 0   ? read_csv
                                                          : what == 1 ? read_multipart
                                                                      : read_table;
    struct result whole = read(&bytes, bytes.size + 1);
    struct result pieces = read(&bytes, piece);
    must(whole.ok == pieces.ok && (!whole.ok || whole.hash == pieces.hash),
         "pieces give another result than the whole");
    return 0;
}

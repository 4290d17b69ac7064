/* SPDX-License-Identifier: MIT */
/* Rows as keys and values; see csv_table.h. */
#include "csv_table.h"

#include <openssl/evp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "csv_charset.h"
#include "csv_reader.h"

enum { CSV_END_SIZE = 160 };

struct csv_table {
    struct csv_table_options options;
    csv_record_fn *on_record;
    void *context;
    struct csv_charset *charset; /* made with the first byte, as the reader */
    struct csv_reader *reader;
    struct csv_digest *digest;
    struct buf utf8;
    struct buf key;
    struct buf value;
    char delimiter[CSV_DELIMITER_NAME_SIZE]; /* "" until the header was read */
    bool header_seen;
    bool exported; /* the header is one of csv_export.h: the last row is looked for */
    bool end_seen;
    char doubtful[CSV_END_SIZE]; /* what the row before says, which is an end or a row */
    uint64_t doubtful_line;
    size_t columns;
    size_t key_index;
    uint64_t rows; /* good ones */
    enum csv_table_end end;
    char error[CSV_REASON_SIZE + 100];
};

struct csv_table *csv_table_new(const struct csv_table_options *options, csv_record_fn *on_record,
                                void *context) {
    struct csv_table *table = calloc(1, sizeof(*table));
    if (table == NULL) {
        return NULL;
    }
    table->options = *options;
    table->on_record = on_record;
    table->context = context;
    table->digest = csv_digest_new();
    if (table->digest == NULL) {
        csv_table_free(table);
        return NULL;
    }
    return table;
}

void csv_table_free(struct csv_table *table) {
    if (table != NULL) {
        csv_charset_free(table->charset);
        csv_reader_free(table->reader);
        csv_digest_free(table->digest);
        buf_free(&table->utf8);
        buf_free(&table->key);
        buf_free(&table->value);
        free(table);
    }
}

struct csv_table_options *csv_table_options(struct csv_table *table) {
    return &table->options;
}

enum csv_table_end csv_table_end(const struct csv_table *table) {
    return table->end;
}

const char *csv_table_error(const struct csv_table *table) {
    return table->error;
}

const char *csv_table_charset(const struct csv_table *table) {
    return table->charset == NULL ? "" : csv_charset_name(table->charset);
}

const char *csv_table_delimiter(const struct csv_table *table) {
    return table->delimiter;
}

const char *csv_table_form(const struct csv_table *table) {
    return csv_form_name(table->options.form);
}

/* The first reason counts. Always false, as what ends a reader. */
static bool table_fail(struct csv_table *table, enum csv_table_end end, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static bool table_fail(struct csv_table *table, enum csv_table_end end, const char *format, ...) {
    if (table->end == CSV_TABLE_GOING) {
        va_list arguments;
        table->end = end;
        va_start(arguments, format);
        vsnprintf(table->error, sizeof(table->error), format, arguments);
        va_end(arguments);
    }
    return false;
}

static bool record_tell(struct csv_table *table, const struct csv_record *record) {
    return table->on_record(table->context, record) ||
           table_fail(table, CSV_TABLE_STOPPED, "%s", "");
}

static bool record_bad(struct csv_table *table, const struct csv_row *row, const char *reason) {
    struct csv_record record = {.line = row->line, .error = reason};
    return record_tell(table, &record);
}

/* ---- the header ---- */

static bool field_is(const struct csv_field *field, const char *text) {
    return field->size == strlen(text) && memcmp(field->data, text, field->size) == 0;
}

static bool row_begins(const struct csv_row *row, size_t columns, const char *const names[]) {
    for (size_t i = 0; i < columns; i++) {
        if (row->fields_count <= i || !field_is(&row->fields[i], names[i])) {
            return false;
        }
    }
    return true;
}

static void form_find(struct csv_table *table, const struct csv_row *row) {
    static const char *const lossless[] = {"key", "value", CSV_LOSSLESS_BASE64,
                                           CSV_LOSSLESS_EXPIRES};
    static const char *const spreadsheet[] = {CSV_SPREADSHEET_KEY, CSV_SPREADSHEET_VALUE};
    static const char *const plain[] = {"key", "value"};
    enum csv_form form = CSV_PLAIN;
    table->exported = true;
    if (table->columns == 4 && row_begins(row, 4, lossless)) {
        form = CSV_LOSSLESS;
    } else if (table->columns == 2 && row_begins(row, 2, spreadsheet)) {
        form = CSV_SPREADSHEET;
    } else {
        table->exported = table->columns == 2 && row_begins(row, 2, plain);
    }
    if (!table->options.form_given) {
        table->options.form = form;
    }
}

static bool key_column_find(struct csv_table *table, const struct csv_row *row) {
    const char *name = table->options.key_column;
    const struct csv_field *first = &row->fields[0];
    int width = (int)(first->size > 60 ? 60 : first->size);
    if (name[0] == '\0') {
        return true;
    }
    if (table->options.header_absent) {
        char *end = NULL;
        unsigned long number = strtoul(name, &end, 10);
        if (name[0] < '0' || name[0] > '9' || *end != '\0' || number < 1 ||
            number > table->columns) {
            return table_fail(table, CSV_TABLE_NO_CSV,
                              "key_column is '%.80s'; without a header it must be a column's "
                              "number, 1 to %zu",
                              name, table->columns);
        }
        table->key_index = number - 1;
        return true;
    }
    for (size_t i = 0; i < table->columns; i++) {
        if (field_is(&row->fields[i], name)) {
            table->key_index = i;
            return true;
        }
    }
    return table_fail(table, CSV_TABLE_NO_CSV, "no column is named '%.80s'; the first is '%.*s'",
                      name, width, (const char *)first->data);
}

static bool header_take(struct csv_table *table, const struct csv_row *row) {
    if (row->error != NULL) {
        return table_fail(table, CSV_TABLE_NO_CSV,
                          "this is no CSV file: line %llu, which should be the header: %s",
                          (unsigned long long)row->line, row->error);
    }
    table->header_seen = true;
    csv_delimiter_name(csv_reader_delimiter(table->reader), table->delimiter);
    table->columns = row->fields_count;
    while (!table->options.header_absent && table->columns > 0 &&
           row->fields[table->columns - 1].size == 0) {
        table->columns--; /* a trailing comma names no column */
    }
    const struct csv_field *first = &row->fields[0];
    if (table->columns < 2) {
        return table_fail(table, CSV_TABLE_NO_CSV,
                          "the %s '%.*s' has one column; a key and a value are needed, separated "
                          "by a comma, semicolon or tab, or by what is named as delimiter",
                          table->options.header_absent ? "first row" : "header",
                          (int)(first->size > 60 ? 60 : first->size), (const char *)first->data);
    }
    if (!table->options.header_absent) {
        form_find(table, row);
    }
    if (table->options.form == CSV_LOSSLESS && table->columns != 4) {
        return table_fail(table, CSV_TABLE_NO_CSV,
                          "the lossless form has the header key,value," CSV_LOSSLESS_BASE64
                          "," CSV_LOSSLESS_EXPIRES);
    }
    return table->options.form == CSV_LOSSLESS || key_column_find(table, row);
}

/* ---- the last row of an export ---- */

/* "N rows, sha256 HEX" */
static bool end_text(const struct csv_field *field, char text[CSV_END_SIZE]) {
    size_t hex = 0;
    int end = 0;
    unsigned long long rows = 0;
    if (field->size >= CSV_END_SIZE) {
        return false;
    }
    memcpy(text, field->data, field->size);
    text[field->size] = '\0';
    if (text[0] < '0' || text[0] > '9' || sscanf(text, "%llu rows, sha256 %n", &rows, &end) != 1) {
        return false;
    }
    hex = end == 0 ? 0 : strspn(text + end, "0123456789abcdef");
    return hex == CSV_DIGEST_HEX_SIZE - 1 && text[(size_t)end + hex] == '\0';
}

static bool row_is_end(const struct csv_table *table, const struct csv_row *row,
                       char text[CSV_END_SIZE]) {
    return table->exported && row->fields_count >= 2 && field_is(&row->fields[0], CSV_END_KEY) &&
           (table->options.form != CSV_LOSSLESS ||
            (row->fields_count > 2 && field_is(&row->fields[2], "end"))) &&
           end_text(&row->fields[1], text);
}

static bool end_wrong(struct csv_table *table, uint64_t line, const char *said) {
    unsigned long long rows = strtoull(said, NULL, 10);
    if (rows != table->rows) {
        return table_fail(table, CSV_TABLE_NOT_WHOLE,
                          "the export says in its last line (%llu) that it has %llu rows, but %llu "
                          "were read; those are kept; to import it as it is, remove that line",
                          (unsigned long long)line, rows, (unsigned long long)table->rows);
    }
    return table_fail(
        table, CSV_TABLE_NOT_WHOLE,
        "the export was changed: the checksum in its last line (%llu) is another than "
        "that of the rows; they are kept; to import it as it is, remove that line",
        (unsigned long long)line);
}

/* In the forms of two columns a key may look like an end; it is one where no row follows. */
static bool end_take(struct csv_table *table, const struct csv_row *row, const char *said) {
    char hex[CSV_DIGEST_HEX_SIZE];
    char found[CSV_END_SIZE];
    if (!csv_digest_text(table->digest, hex)) {
        return table_fail(table, CSV_TABLE_NO_MEMORY, "no memory");
    }
    snprintf(found, sizeof(found), "%llu rows, sha256 %s", (unsigned long long)table->rows, hex);
    table->end_seen = strcmp(found, said) == 0;
    if (!table->end_seen && table->options.form == CSV_LOSSLESS) {
        return end_wrong(table, row->line, said);
    }
    if (!table->end_seen) {
        memcpy(table->doubtful, said, strlen(said) + 1); /* row_is_end: it fits */
        table->doubtful_line = row->line;
    }
    return true;
}

/* ---- rows ---- */

static bool base64_into(struct buf *out, const struct csv_field *cell) {
    size_t size = cell->size;
    buf_clear(out);
    if (size % 4 != 0 || !buf_reserve(out, size / 4 * 3 + 3)) {
        return false;
    }
    if (size == 0) {
        return true;
    }
    int decoded = EVP_DecodeBlock(out->data, cell->data, (int)size);
    size_t pads = (size_t)(cell->data[size - 1] == '=') + (cell->data[size - 2] == '=');
    if (decoded < 0 || (size_t)decoded != size / 4 * 3) {
        return false;
    }
    out->size = (size_t)decoded - pads;
    return true;
}

/* The cell as bytes; the lossless form says what it is. */
static bool cell_take(const struct csv_table *table, struct buf *out, const struct csv_field *cell,
                      bool base64) {
    if (base64) {
        return base64_into(out, cell);
    }
    bool escaped =
        table->options.form == CSV_SPREADSHEET && cell->size > 0 && cell->data[0] == '\'';
    buf_clear(out);
    return buf_append(out, cell->data + escaped, cell->size - escaped);
}

/* NULL, or why the row is bad. */
static const char *lossless_take(struct csv_table *table, const struct csv_row *row,
                                 struct csv_record *record) {
    const struct csv_field *base64 = &row->fields[2];
    bool both = field_is(base64, "key value");
    bool key = both || field_is(base64, "key");
    bool value = both || field_is(base64, "value");
    if (base64->size > 0 && !key && !value) {
        return "the cell " CSV_LOSSLESS_BASE64 " must be empty, key, value or key value";
    }
    if (!cell_take(table, &table->key, &row->fields[0], key) ||
        !cell_take(table, &table->value, &row->fields[1], value)) {
        return "a cell that should be base64 (RFC 4648) is not";
    }
    char text[24];
    char *end = text;
    const struct csv_field *expires = &row->fields[3];
    if (expires->size > 0 && expires->size < sizeof(text)) {
        memcpy(text, expires->data, expires->size);
        text[expires->size] = '\0';
        record->expires_at_ms = strtoull(text, &end, 10);
    }
    if (expires->size > 0 && (end == text || *end != '\0' || expires->data[0] < '0' ||
                              expires->data[0] > '9' || record->expires_at_ms > INT64_MAX)) {
        return "the cell " CSV_LOSSLESS_EXPIRES " is no unix time in milliseconds";
    }
    return NULL;
}

/* The cells beside the key as one record. */
static bool value_join(struct csv_table *table, const struct csv_row *row) {
    bool first = true;
    bool ok = true;
    buf_clear(&table->value);
    for (size_t i = 0; i < table->columns && ok; i++) {
        if (i != table->key_index) {
            ok = (first || buf_append(&table->value, ",", 1)) &&
                 (i >= row->fields_count ||
                  csv_write_field(&table->value, row->fields[i].data, row->fields[i].size));
            first = false;
        }
    }
    return ok;
}

static const char *plain_take(struct csv_table *table, const struct csv_row *row) {
    bool ok = cell_take(table, &table->key, &row->fields[table->key_index], false);
    ok = ok && (table->columns == 2
                    ? cell_take(table, &table->value, &row->fields[1 - table->key_index], false)
                    : value_join(table, row));
    return ok ? NULL : "there is no memory for the row";
}

/* Whether the row has the header's columns, or may be taken so. NULL, or why not. */
static const char *width_check(const struct csv_table *table, const struct csv_row *row,
                               char reason[CSV_REASON_SIZE]) {
    size_t count = row->fields_count;
    while (!table->options.strict && count > table->columns && row->fields[count - 1].size == 0) {
        count--;
    }
    bool absent = count < table->columns && !table->options.strict &&
                  table->options.form != CSV_LOSSLESS && count >= 2 && count > table->key_index;
    if (count == table->columns || absent) {
        return NULL;
    }
    snprintf(reason, CSV_REASON_SIZE, "the row has %zu field%s, the %s has %zu", row->fields_count,
             row->fields_count == 1 ? "" : "s",
             table->options.header_absent ? "first row" : "header", table->columns);
    return reason;
}

static bool record_good(struct csv_table *table, struct csv_record *record) {
    table->rows++;
    record->key = table->key.data;
    record->key_size = table->key.size;
    record->value = table->value.data == NULL ? (const uint8_t *)"" : table->value.data;
    record->value_size = table->value.size;
    if (table->exported &&
        !csv_digest_row(table->digest, record->key, record->key_size, record->value,
                        record->value_size, record->expires_at_ms)) {
        return table_fail(table, CSV_TABLE_NO_MEMORY, "no memory");
    }
    return record_tell(table, record);
}

/* The row before was no end, as this one follows it. */
static bool doubtful_take(struct csv_table *table) {
    struct csv_record record = {.line = table->doubtful_line};
    buf_clear(&table->key);
    buf_clear(&table->value);
    bool ok = buf_append_text(&table->key, CSV_END_KEY) &&
              buf_append_text(&table->value, table->doubtful);
    table->doubtful[0] = '\0';
    return ok ? record_good(table, &record) : table_fail(table, CSV_TABLE_NO_MEMORY, "no memory");
}

static bool row_take(struct csv_table *table, const struct csv_row *row) {
    char text[CSV_REASON_SIZE];
    struct csv_record record = {.line = row->line};
    if (table->doubtful[0] != '\0' && !doubtful_take(table)) {
        return false;
    }
    if (row->error != NULL) {
        return record_bad(table, row, row->error);
    }
    if (table->end_seen) {
        return table_fail(table, CSV_TABLE_NOT_WHOLE,
                          "line %llu follows the last line of the export; what was before is kept",
                          (unsigned long long)row->line);
    }
    if (row_is_end(table, row, text)) {
        return end_take(table, row, text);
    }
    const char *error = width_check(table, row, text);
    if (error == NULL) {
        error = table->options.form == CSV_LOSSLESS ? lossless_take(table, row, &record)
                                                    : plain_take(table, row);
    }
    if (error == NULL && table->key.size == 0) {
        error = "the key is empty";
    } else if (error == NULL && table->key.size > CSV_KEY_BYTES_MAX) {
        error = "the key is longer than 1024 bytes";
    } else if (error == NULL && table->value.size > CSV_VALUE_BYTES_MAX) {
        error = "the value is larger than 1 MiB";
    }
    record.completed = row->fields_count < table->columns;
    return error == NULL ? record_good(table, &record) : record_bad(table, row, error);
}

static bool on_row(void *context, const struct csv_row *row) {
    struct csv_table *table = context;
    if (table->header_seen) {
        return row_take(table, row);
    }
    return header_take(table, row) && (!table->options.header_absent || row_take(table, row));
}

/* ---- the file ---- */

static bool table_begin(struct csv_table *table) {
    struct csv_options options = {.delimiter = table->options.delimiter,
                                  .strict = table->options.strict};
    const char *name = table->options.charset == NULL ? "auto" : table->options.charset;
    if (table->reader != NULL) {
        return true;
    }
    table->charset = csv_charset_new(name);
    table->reader = csv_reader_new(&options, on_row, table);
    if (table->charset == NULL) {
        return table_fail(table, CSV_TABLE_NO_CSV,
                          "the C library of this host cannot read charset '%.40s'", name);
    }
    return table->reader != NULL || table_fail(table, CSV_TABLE_NO_MEMORY, "no memory");
}

static bool table_feed(struct csv_table *table, const void *data, size_t size, bool last) {
    if (table->end != CSV_TABLE_GOING || !table_begin(table)) {
        return false;
    }
    buf_clear(&table->utf8);
    bool ok = csv_charset_feed(table->charset, data, size, last, &table->utf8) &&
              (csv_reader_feed(table->reader, table->utf8.data, table->utf8.size) ||
               !csv_reader_failed(table->reader));
    return ok ? table->end == CSV_TABLE_GOING : table_fail(table, CSV_TABLE_NO_MEMORY, "no memory");
}

bool csv_table_feed(struct csv_table *table, const void *data, size_t size) {
    return table_feed(table, data, size, false);
}

bool csv_table_finish(struct csv_table *table) {
    if (!table_feed(table, "", 0, true)) {
        return false;
    }
    if (!csv_reader_finish(table->reader) && csv_reader_failed(table->reader)) {
        return table_fail(table, CSV_TABLE_NO_MEMORY, "no memory");
    }
    if (!table->header_seen) {
        return table_fail(table, CSV_TABLE_NO_CSV,
                          "the file is empty; its first line must be a header such as key,value");
    }
    if (table->doubtful[0] != '\0') {
        return end_wrong(table, table->doubtful_line, table->doubtful);
    }
    if (table->options.form != CSV_PLAIN && table->exported && !table->end_seen) {
        return table_fail(table, CSV_TABLE_NOT_WHOLE,
                          "the export was cut: its last line, which begins with " CSV_END_KEY
                          ", is missing; the rows before are kept");
    }
    return table->end == CSV_TABLE_GOING;
}

bool csv_table_cut(struct csv_table *table) {
    return table_feed(table, "", 0, true) && csv_reader_cut(table->reader);
}

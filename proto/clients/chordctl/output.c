/* SPDX-License-Identifier: MIT */
/* Tables and JSON; see output.h. */
#include "output.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl.h"
#include "utf8.h"

enum { TABLE_COLUMNS_MAX = 12, TABLE_GAP = 2, LINE_BYTES = 2048 };

struct table {
    char *columns;
    char *names[TABLE_COLUMNS_MAX];
    bool right[TABLE_COLUMNS_MAX];
    size_t columns_count;
    bool headless;
    char **cells;
    size_t cells_count;
    size_t cells_capacity;
};

struct table *table_new(const char *columns) {
    struct table *table = memory_new(1, sizeof *table);
    table->columns = memory_new(strlen(columns) + 1, 1);
    memcpy(table->columns, columns, strlen(columns) + 1);
    char *rest = NULL;
    for (char *name = strtok_r(table->columns, " ", &rest);
         name != NULL && table->columns_count < TABLE_COLUMNS_MAX;
         name = strtok_r(NULL, " ", &rest)) {
        table->right[table->columns_count] = name[0] == '>';
        table->names[table->columns_count++] = name + (name[0] == '>');
    }
    return table;
}

void table_cell(struct table *table, const void *data, size_t size) {
    if (table->cells_count == table->cells_capacity) {
        table->cells_capacity = 2 * table->cells_capacity + 64;
        table->cells = memory_grow(table->cells, table->cells_capacity, sizeof *table->cells);
    }
    table->cells[table->cells_count++] = text_escape(data, size);
}

void table_text(struct table *table, const char *text) {
    table_cell(table, text, strlen(text));
}

void table_number(struct table *table, uint64_t number) {
    char text[24];
    snprintf(text, sizeof text, "%llu", (unsigned long long)number);
    table_text(table, text);
}

void table_drop_head(struct table *table) {
    table->headless = true;
}

static void cell_print(const struct table *table, size_t column, const char *text, size_t width) {
    size_t fill = width - text_width(text);
    bool last = column + 1 == table->columns_count;
    int before = table->right[column] ? (int)fill : 0;
    int after = last || table->right[column] ? 0 : (int)fill;
    printf("%*s%s%*s%s", before, "", text, after, "", last ? "\n" : "");
    if (!last) {
        printf("%*s", TABLE_GAP, "");
    }
}

void table_print(struct table *table) {
    size_t widths[TABLE_COLUMNS_MAX];
    for (size_t i = 0; i < table->columns_count; i++) {
        widths[i] = text_width(table->names[i]);
    }
    for (size_t i = 0; i < table->cells_count; i++) {
        size_t width = text_width(table->cells[i]);
        size_t column = i % table->columns_count;
        widths[column] = width > widths[column] ? width : widths[column];
    }
    for (size_t i = 0; i < table->columns_count && !table->headless; i++) {
        cell_print(table, i, table->names[i], widths[i]);
    }
    for (size_t i = 0; i < table->cells_count; i++) {
        size_t column = i % table->columns_count;
        cell_print(table, column, table->cells[i], widths[column]);
        free(table->cells[i]);
    }
    free(table->cells);
    free(table->columns);
    free(table);
}

static void stream_print(FILE *stream, const char *prefix, const char *format, va_list arguments)
    __attribute__((format(printf, 3, 0)));

static void stream_print(FILE *stream, const char *prefix, const char *format, va_list arguments) {
    char text[LINE_BYTES];
    vsnprintf(text, sizeof text, format, arguments);
    char *escaped = text_escape(text, strlen(text));
    fprintf(stream, "%s%s\n", prefix, escaped);
    free(escaped);
}

void fact_print(const char *name, const char *format, ...) {
    char prefix[32];
    snprintf(prefix, sizeof prefix, "%-14s", name);
    va_list arguments;
    va_start(arguments, format);
    stream_print(stdout, prefix, format, arguments);
    va_end(arguments);
}

void line_print(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    stream_print(stdout, "", format, arguments);
    va_end(arguments);
}

void ctl_error(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    stream_print(stderr, "chordctl: ", format, arguments);
    va_end(arguments);
}

void ctl_fail(int exit_code, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    stream_print(stderr, "chordctl: ", format, arguments);
    va_end(arguments);
    ctl_exit(exit_code);
}

void ctl_note(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    stream_print(stderr, "", format, arguments);
    va_end(arguments);
}

/* ---- JSON ---- */

void json_put_bytes(json_t *object, const char *name, const void *data, size_t size) {
    char field[64];
    if (utf8_is_valid(data, size)) {
        json_put(object, name, json_stringn(size == 0 ? "" : data, size));
        return;
    }
    snprintf(field, sizeof field, "%s_base64", name);
    json_put(object, field, json_base64(data, size));
}

void json_print(json_t *json) {
    (void)json_dumpf(json, stdout, JSON_COMPACT);
    putchar('\n');
    json_decref(json);
}

bool output_close(void) {
    return fflush(stdout) == 0 && ferror(stdout) == 0;
}

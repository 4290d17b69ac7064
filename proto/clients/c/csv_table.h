/* SPDX-License-Identifier: MIT */
/*
 * A CSV file as keys and values: the header, the key's column, the forms of csv_export.h, and the
 * account of its rows. It is fed the file's bytes as they arrive and stores nothing.
 *
 * The key is the first column or the one that is named; the value is the other one, or with more
 * than two columns the other cells as one CSV record. Of a row the last cells may be absent, as
 * long as it has the key's cell and two cells: they are taken as empty and the row is counted as
 * completed. Empty cells at the end of the header are no columns, nor are empty cells of a row
 * beyond the header's; `strict` refuses both kinds of row.
 */
#ifndef CHORD_CSV_TABLE_H
#define CHORD_CSV_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "csv_export.h"
#include "csv_reader.h"

enum {
    CSV_KEY_BYTES_MAX = 1024,
    CSV_VALUE_BYTES_MAX = 1024 * 1024,
    CSV_NAME_BYTES_MAX = 511, /* of a column that is named */
    CSV_REASON_SIZE = 240,
};

struct csv_table_options {
    char key_column[CSV_NAME_BYTES_MAX + 1]; /* "" = the first; without a header a number from 1 */
    const char *charset;                     /* csv_charset.h; NULL = auto */
    char delimiter;                          /* 0 = the file's own */
    bool header_absent;
    bool strict;
    bool form_given; /* else by the header */
    enum csv_form form;
};

/* One data row. */
struct csv_record {
    uint64_t line;
    const char *error; /* NULL, or why the row is bad: then there is nothing else */
    const uint8_t *key;
    size_t key_size; /* 1..CSV_KEY_BYTES_MAX */
    const uint8_t *value;
    size_t value_size;      /* 0..CSV_VALUE_BYTES_MAX */
    uint64_t expires_at_ms; /* unix time, 0 = never */
    bool completed;         /* absent cells were taken as empty */
};

/* false ends the reading. */
typedef bool csv_record_fn(void *context, const struct csv_record *record);

enum csv_table_end {
    CSV_TABLE_GOING,     /* or whole */
    CSV_TABLE_STOPPED,   /* by the callback */
    CSV_TABLE_NO_CSV,    /* no row of it can be read */
    CSV_TABLE_NOT_WHOLE, /* an export that was cut or changed: its rows were told */
    CSV_TABLE_NO_MEMORY,
};

struct csv_table;

/* Keeps a copy of `options`. NULL = no memory, or no such conversion (errno). */
struct csv_table *csv_table_new(const struct csv_table_options *options, csv_record_fn *on_record,
                                void *context);
/* Before the first byte. */
struct csv_table_options *csv_table_options(struct csv_table *table);
/* false: it is over, see csv_table_end. */
bool csv_table_feed(struct csv_table *table, const void *data, size_t size);
/* The end of the file. */
bool csv_table_finish(struct csv_table *table);
/* Instead of it: the rest never came; rows that are whole are told of. */
bool csv_table_cut(struct csv_table *table);
enum csv_table_end csv_table_end(const struct csv_table *table);
const char *csv_table_error(const struct csv_table *table); /* a sentence, "" while all is well */
/* How the file was read, for people: static or the table's. */
const char *csv_table_charset(const struct csv_table *table);
const char *csv_table_delimiter(const struct csv_table *table); /* "comma", "" = not known */
const char *csv_table_form(const struct csv_table *table);
void csv_table_free(struct csv_table *table);

#endif

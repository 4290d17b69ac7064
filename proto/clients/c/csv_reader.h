/* SPDX-License-Identifier: MIT */
/*
 * A reader of comma-separated values (RFC 4180) that is fed UTF-8 as it arrives, and the matching
 * writer. It knows nothing of keys, imports, charsets or HTTP.
 *
 * Accepted: fields in quotes with delimiters, line breaks and doubled quotes inside; CRLF or LF, or
 * CR alone where the first line ends so; a last line without a line break. Lines with nothing in
 * them are skipped. A first line `sep=X` names the delimiter and is no row; without it and without
 * an option the one of , ; TAB that the first line has most of is taken, the comma when in doubt.
 * A quote inside a field that is not in quotes is text, unless `strict`.
 *
 * A bad row is reported with the line it starts on, and reading goes on at the line after that
 * line, whatever the size of the row. So every line is looked at, and is part of exactly one row
 * that is reported (or is blank).
 *
 * Memory: two rows of CSV_ROW_BYTES_MAX. Time: linear. Bytes that were looked at in vain, behind a
 * quote that is never closed, are paid from a budget of CSV_AHEAD_BYTES and CSV_AHEAD_FACTOR bytes
 * for each byte of the file; when it is used up a row may not go on over that many further lines.
 */
#ifndef CHORD_CSV_READER_H
#define CHORD_CSV_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"

enum {
    CSV_ROW_BYTES_MAX = 2 * 1024 * 1024 + 64 * 1024, /* as written, quotes included */
    CSV_FIELDS_MAX = 4096,
    CSV_AHEAD_BYTES = 2 * CSV_ROW_BYTES_MAX,
    CSV_AHEAD_FACTOR = 8,
};

struct csv_options {
    char delimiter; /* 0 = the file's own, see above; neither a quote nor a line break */
    bool strict;    /* RFC 4180 to the letter: a quote in an unquoted field makes the row bad */
};

struct csv_field {
    const uint8_t *data; /* not terminated; valid during the callback */
    size_t size;
};

struct csv_row {
    uint64_t line;     /* the line the row starts on, from 1 */
    const char *error; /* NULL, or one sentence: the row is bad and has no fields */
    const struct csv_field *fields;
    size_t fields_count;
};

/* false ends the reading: everything after it is ignored. */
typedef bool csv_row_fn(void *context, const struct csv_row *row);

struct csv_reader;

/* `options` NULL = all as they are by default. NULL = no memory. */
struct csv_reader *csv_reader_new(const struct csv_options *options, csv_row_fn *on_row,
                                  void *context);
/* false: the callback ended the reading, or there is no memory (csv_reader_failed tells). */
bool csv_reader_feed(struct csv_reader *reader, const void *data, size_t size);
/* The end of the file: reports what is still open. */
bool csv_reader_finish(struct csv_reader *reader);
/* Instead of it, where the rest of the file never came: the row that is open is not reported. */
bool csv_reader_cut(struct csv_reader *reader);
bool csv_reader_failed(const struct csv_reader *reader);    /* no memory */
char csv_reader_delimiter(const struct csv_reader *reader); /* 0 = not known yet */
void csv_reader_free(struct csv_reader *reader);

/* Appends one field, in quotes where it must be. false = no memory. */
bool csv_write_field(struct buf *out, const void *data, size_t size);

/* "auto", "comma", "semicolon", "tab", "pipe", "space" or the character itself. false = another. */
bool csv_delimiter_read(const char *text, char *delimiter);
#define CSV_DELIMITERS "auto, comma, semicolon, tab, pipe, space or one ASCII character"

enum { CSV_DELIMITER_NAME_SIZE = 16 };
/* The word, or the character itself. */
void csv_delimiter_name(char delimiter, char name[CSV_DELIMITER_NAME_SIZE]);

/* Well-formed UTF-8 without NUL: no overlong forms, no surrogates. */
bool csv_text_is_valid(const uint8_t *data, size_t size);
/* The length of the well-formed sequence at data (size > 0), 0 = none. NUL is none. */
size_t csv_utf8_sequence(const uint8_t *data, size_t size);

#endif

/*
 * A strict RFC 4180 reader that is fed bytes as they arrive, and the matching writer.
 * It knows nothing of keys, imports or HTTP.
 *
 * Accepted: fields in quotes with commas, line breaks and doubled quotes inside; CRLF or LF; a
 * UTF-8 byte order mark; a last line without a line break. Lines with nothing in them are skipped.
 * A bad row is reported with the line it starts on, and reading goes on: after the next line break,
 * or, when a quote was opened and never properly closed, on the line after the one it was opened
 * on.
 */
#ifndef GATEWAY_CSV_READER_H
#define GATEWAY_CSV_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"

enum {
    CSV_ROW_BYTES_MAX = 2 * 1024 * 1024 + 64 * 1024, /* as written, quotes included */
    CSV_FIELDS_MAX = 4096,
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

/* NULL = no memory. */
struct csv_reader *csv_reader_new(csv_row_fn *on_row, void *context);
/* false: the callback ended the reading, or there is no memory (csv_reader_failed tells). */
bool csv_reader_feed(struct csv_reader *reader, const void *data, size_t size);
/* The end of the file: reports what is still open. */
bool csv_reader_finish(struct csv_reader *reader);
bool csv_reader_failed(const struct csv_reader *reader); /* no memory */
void csv_reader_free(struct csv_reader *reader);

/* Appends one field, in quotes where it must be. false = no memory. */
bool csv_write_field(struct buf *out, const void *data, size_t size);

/* Well-formed UTF-8 without NUL: no overlong forms, no surrogates. */
bool csv_text_is_valid(const uint8_t *data, size_t size);

#endif

/*
 * CSV rows from a file: libcsv's strict parser, fed line by line so that a bad row can be named by
 * its line and left behind. Knows nothing of keys.
 *
 * Accepted: RFC 4180 with CRLF or LF, a UTF-8 byte order mark, a last line without an end; lines
 * with nothing in them are skipped. A row whose quote is never properly closed is taken back to the
 * line after its first one.
 */
#ifndef CHORDCTL_CSV_ROWS_H
#define CHORDCTL_CSV_ROWS_H

#include <stdint.h>
#include <stdio.h>

#include "text.h"

enum {
    CSV_ROW_BYTES_MAX = 2 * 1024 * 1024 + 64 * 1024, /* as written, quotes included */
    CSV_CELLS_MAX = 4096,
};

struct csv_cell {
    const uint8_t *data;
    size_t size;
};

struct csv_row {
    uint64_t line;     /* where it begins, from 1 */
    const char *error; /* NULL, or one sentence: the row is bad and has no cells */
    struct csv_cell cells[CSV_CELLS_MAX]; /* until the next call */
    size_t cells_count;
};

struct csv_rows;
struct csv_rows *csv_rows_new(FILE *file);
void csv_rows_free(struct csv_rows *rows);
/* false: the end of the file, or it cannot be read (csv_rows_failed: errno, else 0). */
bool csv_rows_next(struct csv_rows *rows, struct csv_row *row);
int csv_rows_failed(const struct csv_rows *rows);
uint64_t csv_rows_bytes(const struct csv_rows *rows); /* read so far */

#endif

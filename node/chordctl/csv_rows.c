/* CSV rows over libcsv; see csv_rows.h. */
#include "csv_rows.h"

#include <csv.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { READ_BYTES = 64 * 1024, CSV_BLOCK_BYTES = 64 * 1024 };

struct csv_rows {
    FILE *file;
    struct csv_parser parser;
    uint8_t block[READ_BYTES];
    size_t block_size;
    size_t block_at;
    int error;
    uint64_t bytes;
    uint64_t lines;      /* read in all */
    struct bytes raw;    /* the open row as written */
    struct bytes replay; /* lines to read again */
    size_t replay_at;
    struct bytes text; /* the row's cells, one after the other */
    size_t starts[CSV_CELLS_MAX + 1];
    size_t cells_count;
    bool too_many;
    unsigned ends; /* row ends that the parser told of since the line began */
};

static int space_never(unsigned char c) {
    (void)c;
    return 0; /* blanks around a cell belong to it */
}

static void parser_start(struct csv_rows *rows) {
    if (csv_init(&rows->parser, CSV_STRICT | CSV_STRICT_FINI | CSV_REPALL_NL) != 0) {
        abort(); /* only for a NULL parser */
    }
    csv_set_space_func(&rows->parser, space_never);
    csv_set_blk_size(&rows->parser, CSV_BLOCK_BYTES);
}

struct csv_rows *csv_rows_new(FILE *file) {
    struct csv_rows *rows = memory_new(1, sizeof *rows);
    rows->file = file;
    parser_start(rows);
    return rows;
}

void csv_rows_free(struct csv_rows *rows) {
    csv_free(&rows->parser);
    bytes_free(&rows->raw);
    bytes_free(&rows->replay);
    bytes_free(&rows->text);
    free(rows);
}

int csv_rows_failed(const struct csv_rows *rows) {
    return rows->error;
}

uint64_t csv_rows_bytes(const struct csv_rows *rows) {
    return rows->bytes;
}

/* ---- lines ---- */

static bool block_fill(struct csv_rows *rows) {
    if (rows->block_at < rows->block_size) {
        return true;
    }
    rows->block_at = 0;
    rows->block_size = fread(rows->block, 1, sizeof rows->block, rows->file);
    bool first = rows->bytes == 0;
    rows->bytes += rows->block_size;
    if (first && rows->block_size >= 3 && memcmp(rows->block, "\xef\xbb\xbf", 3) == 0) {
        rows->block_at = 3;
    }
    if (rows->block_size == 0 && ferror(rows->file)) {
        rows->error = errno != 0 ? errno : EIO;
    }
    return rows->block_at < rows->block_size;
}

/* Appends the next line, with its end, to the open row. false: there is none. Of a line beyond
 * the limit what is left stays unread. */
static bool line_read(struct csv_rows *rows) {
    size_t before = rows->raw.size;
    while (rows->raw.size <= CSV_ROW_BYTES_MAX) {
        bool again = rows->replay_at < rows->replay.size;
        if (!again && !block_fill(rows)) {
            break;
        }
        const uint8_t *from =
            again ? rows->replay.data + rows->replay_at : rows->block + rows->block_at;
        size_t have =
            again ? rows->replay.size - rows->replay_at : rows->block_size - rows->block_at;
        const uint8_t *end = memchr(from, '\n', have);
        size_t size = end == NULL ? have : (size_t)(end - from) + 1;
        bytes_append(&rows->raw, from, size);
        *(again ? &rows->replay_at : &rows->block_at) += size;
        if (end != NULL) {
            rows->lines++;
            return true;
        }
    }
    bool any = rows->raw.size > before;
    rows->lines += any;
    return any;
}

/* ---- rows ---- */

static void on_cell(void *data, size_t size, void *context) {
    struct csv_rows *rows = context;
    if (rows->cells_count == CSV_CELLS_MAX) {
        rows->too_many = true;
        return;
    }
    rows->starts[rows->cells_count++] = rows->text.size;
    bytes_append(&rows->text, data, size);
}

static void on_row(int c, void *context) {
    (void)c;
    ((struct csv_rows *)context)->ends++;
}

static void row_reset(struct csv_rows *rows) {
    rows->raw.size = 0;
    rows->text.size = 0;
    rows->cells_count = 0;
    rows->too_many = false;
    rows->ends = 0;
}

/* What the parser had open is forgotten. */
static void parser_restart(struct csv_rows *rows) {
    csv_free(&rows->parser);
    parser_start(rows);
}

/* The row is bad. Its lines after the first are read again. */
static void row_bad(struct csv_rows *rows, struct csv_row *row, const char *error) {
    const uint8_t *first_end = memchr(rows->raw.data, '\n', rows->raw.size);
    size_t first = first_end == NULL ? rows->raw.size : (size_t)(first_end - rows->raw.data) + 1;
    struct bytes left = {0};
    bytes_append(&left, rows->raw.data + first, rows->raw.size - first);
    if (rows->replay_at < rows->replay.size) {
        bytes_append(&left, rows->replay.data + rows->replay_at,
                     rows->replay.size - rows->replay_at);
    }
    bytes_free(&rows->replay);
    rows->replay = left;
    rows->replay_at = 0;
    rows->lines = row->line;
    row->error = error;
    parser_restart(rows);
}

/* A row beyond the limit: to the line end that stands outside of quotes. */
static void row_skip(struct csv_rows *rows, struct csv_row *row) {
    bool quoted = false;
    bool ended = false;
    do {
        for (size_t i = 0; i < rows->raw.size; i++) {
            quoted ^= rows->raw.data[i] == '"';
        }
        ended = rows->raw.size > 0 && rows->raw.data[rows->raw.size - 1] == '\n';
        rows->raw.size = 0;
    } while ((quoted || !ended) && line_read(rows));
    row->error = "the row is longer than 2 MiB, or a quote in it is never closed";
    parser_restart(rows);
}

static bool parse(struct csv_rows *rows, size_t from, size_t size) {
    return csv_parse(&rows->parser, rows->raw.data + from, size, on_cell, on_row, rows) == size;
}

static const char *parse_error(const struct csv_rows *rows, size_t from) {
    if (csv_error((struct csv_parser *)(uintptr_t)&rows->parser) == CSV_ENOMEM) {
        return "there is no memory for the row";
    }
    return memchr(rows->raw.data + from, '"', rows->raw.size - from) != NULL
               ? "a quote stands inside a field without quotes, or text follows a closing quote"
               : "the row is no CSV";
}

/* The last line of the open row. NULL = fine. The line's end is fed apart from its body, because
 * inside the body a lone carriage return would end a row for libcsv. */
static const char *line_parse(struct csv_rows *rows, size_t from) {
    size_t size = rows->raw.size;
    size_t body = size;
    body -= body > from && rows->raw.data[body - 1] == '\n';
    body -= body > from && rows->raw.data[body - 1] == '\r';
    rows->ends = 0;
    if (!parse(rows, from, body - from)) {
        return parse_error(rows, from);
    }
    if (rows->ends > 0) {
        return "a carriage return is not followed by a line feed";
    }
    return parse(rows, body, size - body) ? NULL : parse_error(rows, from);
}

static void row_finish(struct csv_rows *rows, struct csv_row *row) {
    row->cells_count = rows->cells_count;
    if (rows->too_many) {
        row->error = "the row has more than 4096 fields";
    } else if (!text_is_utf8(rows->text.data, rows->text.size)) {
        row->error = "the row is not UTF-8 text";
    } else if (rows->text.size > 0 && memchr(rows->text.data, 0, rows->text.size) != NULL) {
        row->error = "the row holds a NUL byte";
    }
    for (size_t i = 0; i < rows->cells_count; i++) {
        size_t end = i + 1 < rows->cells_count ? rows->starts[i + 1] : rows->text.size;
        row->cells[i].size = end - rows->starts[i];
        row->cells[i].data =
            rows->text.data == NULL ? (const uint8_t *)"" : rows->text.data + rows->starts[i];
    }
}

/* The end of the file inside a row. */
static bool row_last(struct csv_rows *rows, struct csv_row *row) {
    if (rows->raw.size == 0 || rows->error != 0) {
        return false;
    }
    if (csv_fini(&rows->parser, on_cell, on_row, rows) != 0) {
        row_bad(rows, row, "a quote is opened and never closed");
        return true;
    }
    row_finish(rows, row);
    rows->raw.size = 0;
    return rows->cells_count > 0;
}

bool csv_rows_next(struct csv_rows *rows, struct csv_row *row) {
    row_reset(rows);
    row->error = NULL;
    row->cells_count = 0;
    row->line = rows->lines + 1;
    for (;;) {
        size_t from = rows->raw.size;
        if (!line_read(rows)) {
            return row_last(rows, row);
        }
        if (rows->raw.size > CSV_ROW_BYTES_MAX) {
            row_skip(rows, row);
            return true;
        }
        const char *error = line_parse(rows, from);
        if (error != NULL) {
            row_bad(rows, row, error);
            return true;
        }
        if (rows->ends > 0 && rows->cells_count > 0) {
            row_finish(rows, row);
            return true;
        }
        if (rows->ends > 0) { /* nothing on the line */
            row_reset(rows);
            row->line = rows->lines + 1;
        }
    }
}

/*
 * The RFC 4180 reader and writer; see csv_reader.h. One state machine over bytes. The raw bytes of
 * the current row are kept (bounded), so that a row whose quote never closes can be taken back to
 * the line after its first one. Parity of quotes makes that linear: a line that leaves a quote open
 * when read afresh closes one when read inside a quote.
 */
#include "csv_reader.h"

#include <stdlib.h>
#include <string.h>

enum csv_state {
    CSV_FIELD_START,
    CSV_UNQUOTED,
    CSV_QUOTED,
    CSV_QUOTE_SEEN,  /* inside a quoted field, after a quote */
    CSV_CR_SEEN,     /* after the CR that must be followed by LF */
    CSV_SKIP_LINE,   /* a bad row: to the next line break */
    CSV_SKIP_QUOTED, /* a row that is too long, inside a quote */
    CSV_SKIP_QUOTE_SEEN,
};

struct csv_reader {
    csv_row_fn *on_row;
    void *context;
    enum csv_state state;
    bool ended;
    bool no_memory;
    uint64_t bytes;    /* read in all, to find the byte order mark */
    uint64_t line;     /* the current one */
    uint64_t row_line; /* where the row began */
    struct buf raw;    /* the row as written */
    struct buf text;   /* its fields, decoded, one after the other */
    size_t starts[CSV_FIELDS_MAX + 1];
    size_t fields_count;
    struct buf replay; /* bytes to read again */
    size_t replay_at;
    uint8_t mark[3]; /* the file's first bytes, until they are known not to be a mark */
    size_t mark_size;
};

struct csv_reader *csv_reader_new(csv_row_fn *on_row, void *context) {
    struct csv_reader *reader = calloc(1, sizeof(*reader));
    if (reader != NULL) {
        reader->on_row = on_row;
        reader->context = context;
        reader->line = 1;
        reader->row_line = 1;
    }
    return reader;
}

void csv_reader_free(struct csv_reader *reader) {
    if (reader != NULL) {
        buf_free(&reader->raw);
        buf_free(&reader->text);
        buf_free(&reader->replay);
        free(reader);
    }
}

bool csv_reader_failed(const struct csv_reader *reader) {
    return reader->no_memory;
}

/* The length of the well-formed sequence at data, 0 = none (Unicode, table 3-7). */
static size_t utf8_sequence(const uint8_t *data, size_t size) {
    uint8_t first = data[0];
    if (first < 0x80) {
        return first == 0 ? 0 : 1;
    }
    size_t length = first >= 0xc2 && first <= 0xdf ? 2 : (first & 0xf0) == 0xe0 ? 3 : 4;
    if (first < 0xc2 || first > 0xf4 || length > size) {
        return 0;
    }
    uint8_t low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    uint8_t high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    if (data[1] < low || data[1] > high) {
        return 0;
    }
    for (size_t i = 2; i < length; i++) {
        if ((data[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    return length;
}

bool csv_text_is_valid(const uint8_t *data, size_t size) {
    for (size_t at = 0; at < size;) {
        size_t length = utf8_sequence(data + at, size - at);
        if (length == 0) {
            return false;
        }
        at += length;
    }
    return true;
}

static void reader_row_reset(struct csv_reader *reader) {
    buf_clear(&reader->raw);
    buf_clear(&reader->text);
    reader->fields_count = 0;
    reader->starts[0] = 0;
    reader->state = CSV_FIELD_START;
    reader->row_line = reader->line;
}

static void reader_report(struct csv_reader *reader, const char *error,
                          const struct csv_field *fields, size_t count) {
    struct csv_row row = {
        .line = reader->row_line, .error = error, .fields = fields, .fields_count = count};
    if (!reader->on_row(reader->context, &row)) {
        reader->ended = true;
    }
}

static void reader_row_done(struct csv_reader *reader) {
    if (reader->fields_count == 1 && reader->text.size == 0 && reader->raw.size <= 2 &&
        (reader->raw.size == 0 || reader->raw.data[0] != '"')) {
        return; /* nothing on the line */
    }
    if (!csv_text_is_valid(reader->text.data, reader->text.size)) {
        bool nul = memchr(reader->text.data, 0, reader->text.size) != NULL;
        reader_report(reader, nul ? "the row holds a NUL byte" : "the row is not UTF-8 text", NULL,
                      0);
        return;
    }
    struct csv_field *fields = calloc(reader->fields_count, sizeof(*fields));
    if (fields == NULL) {
        reader->no_memory = true;
        return;
    }
    for (size_t i = 0; i < reader->fields_count; i++) {
        size_t end = i + 1 < reader->fields_count ? reader->starts[i + 1] : reader->text.size;
        fields[i].data =
            reader->text.data == NULL ? (const uint8_t *)"" : reader->text.data + reader->starts[i];
        fields[i].size = end - reader->starts[i];
    }
    reader_report(reader, NULL, fields, reader->fields_count);
    free(fields);
}

/* Reports the row as bad. One with a line break inside is taken back to its second line. */
static void reader_row_bad(struct csv_reader *reader, const char *error) {
    reader_report(reader, error, NULL, 0);
    const uint8_t *raw = reader->raw.data;
    size_t size = reader->raw.size;
    const uint8_t *lf = size > 1 ? memchr(raw, '\n', size - 1) : NULL;
    if (lf == NULL) {
        reader->state = CSV_SKIP_LINE;
        return;
    }
    size_t tail = size - (size_t)(lf + 1 - raw);
    if (reader->replay_at >= tail) {
        reader->replay_at -= tail; /* the row's last bytes are the replay's last ones */
    } else {
        buf_clear(&reader->replay);
        reader->replay_at = 0;
        if (!buf_append(&reader->replay, lf + 1, tail)) {
            reader->no_memory = true;
        }
    }
    reader->line = reader->row_line + 1;
    reader_row_reset(reader);
}

static bool reader_field_end(struct csv_reader *reader) {
    if (reader->fields_count >= CSV_FIELDS_MAX) {
        return false;
    }
    reader->fields_count++;
    reader->starts[reader->fields_count] = reader->text.size;
    return true;
}

static void reader_row_end(struct csv_reader *reader) {
    if (reader_field_end(reader)) {
        reader_row_done(reader);
    } else {
        reader_report(reader, "the row has more than 4096 fields", NULL, 0);
    }
    reader->line++;
    reader_row_reset(reader);
}

/* A comma, a line break, or the start of one, where the field may end. true = it was one. */
static bool reader_separator(struct csv_reader *reader, uint8_t c) {
    if (c == ',') {
        reader->state = CSV_FIELD_START;
        if (!reader_field_end(reader)) {
            reader_row_bad(reader, "the row has more than 4096 fields");
        }
        return true;
    }
    if (c == '\r') {
        reader->state = CSV_CR_SEEN;
        return true;
    }
    if (c == '\n') {
        reader_row_end(reader);
        return true;
    }
    return false;
}

static void reader_text(struct csv_reader *reader, uint8_t c) {
    if (!buf_append(&reader->text, &c, 1)) {
        reader->no_memory = true;
    }
}

static void reader_skip(struct csv_reader *reader, uint8_t c) {
    bool quoted = reader->state == CSV_SKIP_QUOTED;
    if (c == '\n') {
        reader->line++;
    }
    if (quoted) {
        reader->state = c == '"' ? CSV_SKIP_QUOTE_SEEN : CSV_SKIP_QUOTED;
    } else if (reader->state == CSV_SKIP_QUOTE_SEEN && c == '"') {
        reader->state = CSV_SKIP_QUOTED;
    } else if (c == '\n') {
        reader_row_reset(reader);
    } else {
        reader->state = CSV_SKIP_LINE;
    }
}

static void reader_field_start(struct csv_reader *reader, uint8_t c) {
    if (c == '"') {
        reader->state = CSV_QUOTED;
    } else if (!reader_separator(reader, c)) {
        reader->state = CSV_UNQUOTED;
        reader_text(reader, c);
    }
}

static void reader_byte(struct csv_reader *reader, uint8_t c) {
    if (reader->state >= CSV_SKIP_LINE) {
        reader_skip(reader, c);
        return;
    }
    if (reader->raw.size >= CSV_ROW_BYTES_MAX) {
        /* Not taken back: the lines inside a long value are no rows. */
        reader_report(reader, "the row is longer than 2 MiB, or a quote in it is never closed",
                      NULL, 0);
        reader->state = reader->state == CSV_QUOTED       ? CSV_SKIP_QUOTED
                        : reader->state == CSV_QUOTE_SEEN ? CSV_SKIP_QUOTE_SEEN
                                                          : CSV_SKIP_LINE;
        reader_skip(reader, c);
        return;
    }
    if (!buf_append(&reader->raw, &c, 1)) {
        reader->no_memory = true;
        return;
    }
    switch (reader->state) {
    case CSV_FIELD_START:
        reader_field_start(reader, c);
        break;
    case CSV_UNQUOTED:
        if (c == '"') {
            reader_row_bad(reader, "a quote stands inside a field that is not in quotes");
        } else if (!reader_separator(reader, c)) {
            reader_text(reader, c);
        }
        break;
    case CSV_QUOTED:
        if (c == '"') {
            reader->state = CSV_QUOTE_SEEN;
        } else {
            reader->line += c == '\n';
            reader_text(reader, c);
        }
        break;
    case CSV_QUOTE_SEEN:
        if (c == '"') {
            reader->state = CSV_QUOTED;
            reader_text(reader, c);
        } else if (!reader_separator(reader, c)) {
            reader_row_bad(reader, "text follows a closing quote");
        }
        break;
    case CSV_CR_SEEN:
        if (c == '\n') {
            reader_row_end(reader);
        } else {
            reader_row_bad(reader, "a carriage return is not followed by a line feed");
        }
        break;
    case CSV_SKIP_LINE:
    case CSV_SKIP_QUOTED:
    case CSV_SKIP_QUOTE_SEEN:
        break;
    }
}

static bool reader_going(const struct csv_reader *reader) {
    return !reader->ended && !reader->no_memory;
}

static void reader_replay(struct csv_reader *reader) {
    while (reader_going(reader) && reader->replay_at < reader->replay.size) {
        uint8_t c = reader->replay.data[reader->replay_at++];
        reader_byte(reader, c);
    }
    if (reader->replay_at >= reader->replay.size) {
        buf_clear(&reader->replay);
        reader->replay_at = 0;
    }
}

/* Plain text inside a field goes by runs, not bytes. Returns how many bytes it took. */
static size_t reader_run(struct csv_reader *reader, const uint8_t *data, size_t size) {
    if (reader->state != CSV_UNQUOTED && reader->state != CSV_QUOTED) {
        return 0;
    }
    size_t room = CSV_ROW_BYTES_MAX - reader->raw.size;
    size_t run = 0;
    size = size < room ? size : room;
    while (run < size && data[run] != ',' && data[run] != '"' && data[run] != '\r' &&
           data[run] != '\n') {
        run++;
    }
    if (run > 0 &&
        (!buf_append(&reader->raw, data, run) || !buf_append(&reader->text, data, run))) {
        reader->no_memory = true;
    }
    return run;
}

static void reader_input(struct csv_reader *reader, const uint8_t *data, size_t size) {
    for (size_t i = 0; i < size && reader_going(reader); i++) {
        i += reader_run(reader, data + i, size - i);
        if (i >= size || reader->no_memory) {
            break;
        }
        reader_byte(reader, data[i]);
        if (reader->replay.size > 0) {
            reader_replay(reader);
        }
    }
}

static void reader_mark_flush(struct csv_reader *reader) {
    static const uint8_t mark[3] = {0xef, 0xbb, 0xbf};
    if (reader->mark_size != 3 || memcmp(reader->mark, mark, 3) != 0) {
        reader_input(reader, reader->mark, reader->mark_size);
    }
    reader->mark_size = 0;
}

bool csv_reader_feed(struct csv_reader *reader, const void *data, size_t size) {
    const uint8_t *bytes = data;
    while (size > 0 && reader->bytes < 3) {
        reader->mark[reader->mark_size++] = *bytes++;
        size--;
        reader->bytes++;
        if (reader->bytes == 3) {
            reader_mark_flush(reader);
        }
    }
    reader->bytes += size;
    reader_input(reader, bytes, size);
    return reader_going(reader);
}

bool csv_reader_finish(struct csv_reader *reader) {
    if (reader->mark_size > 0) {
        reader_mark_flush(reader);
    }
    bool again = true;
    while (again && reader_going(reader)) {
        again = false;
        switch (reader->state) {
        case CSV_QUOTED:
            reader_row_bad(reader, "a quote is opened and never closed");
            again = reader->replay.size > reader->replay_at;
            reader_replay(reader);
            again = again || reader->state < CSV_SKIP_LINE;
            break;
        case CSV_CR_SEEN: /* a last line that ends in CR alone */
        case CSV_UNQUOTED:
        case CSV_QUOTE_SEEN:
            reader_row_end(reader);
            break;
        case CSV_FIELD_START:
            if (reader->raw.size > 0) {
                reader_row_end(reader);
            }
            break;
        case CSV_SKIP_LINE:
        case CSV_SKIP_QUOTED:
        case CSV_SKIP_QUOTE_SEEN:
            break;
        }
    }
    return reader_going(reader);
}

bool csv_write_field(struct buf *out, const void *data, size_t size) {
    const uint8_t *bytes = data;
    bool quotes = false;
    for (size_t i = 0; i < size && !quotes; i++) {
        quotes = bytes[i] == ',' || bytes[i] == '"' || bytes[i] == '\r' || bytes[i] == '\n';
    }
    if (!quotes) {
        return buf_append(out, data, size);
    }
    bool ok = buf_append(out, "\"", 1);
    for (size_t i = 0; i < size && ok;) {
        const uint8_t *quote = memchr(bytes + i, '"', size - i);
        size_t run = quote == NULL ? size - i : (size_t)(quote - (bytes + i)) + 1;
        ok = buf_append(out, bytes + i, run) && (quote == NULL || buf_append(out, "\"", 1));
        i += run;
    }
    return ok && buf_append(out, "\"", 1);
}

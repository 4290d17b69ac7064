/* SPDX-License-Identifier: MIT */
/*
 * The reader of rows; see csv_reader.h. A state machine over the bytes that are held from the start
 * of the open row on. A bad row is taken back by looking again from the line after its first one:
 * nothing is held twice, and what is looked at twice is bounded by the budget.
 */
#include "csv_reader.h"

#include <stdlib.h>
#include <string.h>

enum { FIRST_LINE_BYTES_MAX = 64 * 1024, FEED_BYTES = 64 * 1024 };

enum csv_state {
    CSV_FIELD_START,
    CSV_UNQUOTED,
    CSV_QUOTED,
    CSV_QUOTE_SEEN, /* inside a quoted field, after a quote */
    CSV_CR_SEEN,    /* after a CR outside of quotes */
};

/* What came of looking on from where the reader stood. */
enum csv_step { CSV_STEP_MORE, CSV_STEP_ROW, CSV_STEP_BAD };

struct csv_reader {
    struct csv_options options;
    csv_row_fn *on_row;
    void *context;
    bool begun; /* delimiter and line ends are known */
    bool cr_ends;
    bool skipping; /* to the end of the line: the rest of a bad row's only one */
    bool final;    /* nothing comes any more */
    bool ended;
    bool no_memory;
    struct buf held;
    size_t start;     /* of the open row, in held */
    size_t at;        /* what was looked at so far */
    size_t first_end; /* of the row's first line; 0 = not reached */
    uint64_t line;    /* where the open row starts */
    uint64_t breaks;  /* line ends inside of it */
    uint64_t budget;  /* bytes that may be looked at in vain */
    enum csv_state state;
    const char *error;
    struct buf text; /* the fields, decoded, one after the other */
    size_t starts[CSV_FIELDS_MAX + 1];
    struct csv_field fields[CSV_FIELDS_MAX];
    size_t fields_count;
};

struct csv_reader *csv_reader_new(const struct csv_options *options, csv_row_fn *on_row,
                                  void *context) {
    struct csv_reader *reader = calloc(1, sizeof(*reader));
    if (reader != NULL) {
        reader->options = options != NULL ? *options : (struct csv_options){0};
        reader->on_row = on_row;
        reader->context = context;
        reader->line = 1;
        reader->budget = CSV_AHEAD_BYTES;
    }
    return reader;
}

void csv_reader_free(struct csv_reader *reader) {
    if (reader != NULL) {
        buf_free(&reader->held);
        buf_free(&reader->text);
        free(reader);
    }
}

bool csv_reader_failed(const struct csv_reader *reader) {
    return reader->no_memory;
}

char csv_reader_delimiter(const struct csv_reader *reader) {
    return reader->begun ? reader->options.delimiter : '\0';
}

static bool reader_going(const struct csv_reader *reader) {
    return !reader->ended && !reader->no_memory;
}

/* ---- one row ---- */

/* The next row starts at `start`. The budget grows with the place in the file, so that it does not
 * depend on how the bytes arrived. */
static void row_begin(struct csv_reader *reader, size_t start) {
    reader->budget += (uint64_t)(start - reader->start) * CSV_AHEAD_FACTOR;
    reader->start = start;
    buf_clear(&reader->text);
    reader->fields_count = 0;
    reader->starts[0] = 0;
    reader->state = CSV_FIELD_START;
    reader->at = reader->start;
    reader->first_end = 0;
    reader->breaks = 0;
}

static void row_report(struct csv_reader *reader, const char *error) {
    size_t count = error == NULL ? reader->fields_count : 0;
    for (size_t i = 0; i < count; i++) {
        reader->fields[i].data =
            reader->text.data == NULL ? (const uint8_t *)"" : reader->text.data + reader->starts[i];
        reader->fields[i].size = reader->starts[i + 1] - reader->starts[i];
    }
    struct csv_row row = {
        .line = reader->line, .error = error, .fields = reader->fields, .fields_count = count};
    if (!reader->on_row(reader->context, &row)) {
        reader->ended = true;
    }
}

static bool row_is_blank(const struct csv_reader *reader) {
    return reader->fields_count == 1 && reader->text.size == 0 &&
           (reader->at == reader->start || reader->held.data[reader->start] != '"');
}

static void row_done(struct csv_reader *reader) {
    if (!row_is_blank(reader)) {
        const char *error = NULL;
        if (!csv_text_is_valid(reader->text.data, reader->text.size)) {
            bool nul = memchr(reader->text.data, 0, reader->text.size) != NULL;
            error = nul ? "the row holds a NUL byte" : "the row is not UTF-8 text";
        }
        row_report(reader, error);
    }
    reader->line += reader->breaks;
    row_begin(reader, reader->at);
}

/* One past the end of the line that starts at `from`; 0 = it is not here yet. */
static size_t line_end(const struct csv_reader *reader, size_t from) {
    const uint8_t *data = reader->held.data;
    size_t size = reader->held.size - from;
    const uint8_t *lf = size > 0 ? memchr(data + from, '\n', size) : NULL;
    size_t end = lf == NULL ? 0 : (size_t)(lf - data) + 1;
    const uint8_t *cr = NULL;
    if (reader->cr_ends) {
        size = lf == NULL ? size : end - from;
        cr = size > 0 ? memchr(data + from, '\r', size) : NULL;
    }
    if (cr == NULL || cr + 1 == lf || (cr + 1 == data + reader->held.size && !reader->final)) {
        return end; /* a CR that is the last byte may be half of a line end */
    }
    return (size_t)(cr - data) + 1;
}

/* To the line after the one that starts at `start`, as soon as it is here. */
static void line_skip(struct csv_reader *reader) {
    size_t end = line_end(reader, reader->start);
    size_t size = reader->held.size;
    bool half = end == 0 && size > reader->start && reader->held.data[size - 1] == '\r';
    reader->skipping = end == 0;
    reader->line += end != 0;
    row_begin(reader, end == 0 ? size - half : end);
}

static void row_bad(struct csv_reader *reader) {
    size_t looked = reader->at;
    row_report(reader, reader->error);
    line_skip(reader);
    uint64_t vain = looked > reader->start ? looked - reader->start : 0;
    reader->budget -= vain < reader->budget ? vain : reader->budget;
}

/* ---- the bytes of a row ---- */

static enum csv_step step_bad(struct csv_reader *reader, const char *error) {
    reader->error = error;
    return CSV_STEP_BAD;
}

static enum csv_step field_end(struct csv_reader *reader) {
    if (reader->fields_count == CSV_FIELDS_MAX) {
        return step_bad(reader, "the row has more than 4096 fields");
    }
    reader->starts[++reader->fields_count] = reader->text.size;
    return CSV_STEP_MORE;
}

static enum csv_step row_end(struct csv_reader *reader) {
    enum csv_step step = field_end(reader);
    return step == CSV_STEP_MORE ? CSV_STEP_ROW : step;
}

static void line_break_seen(struct csv_reader *reader) {
    reader->breaks++;
    if (reader->first_end == 0) {
        reader->first_end = reader->at;
    }
}

/* `c`, just passed, where a field may end. *taken: it ended one. */
static enum csv_step separator(struct csv_reader *reader, uint8_t c, bool *taken) {
    *taken = true;
    if (c == (uint8_t)reader->options.delimiter) {
        reader->state = CSV_FIELD_START;
        return field_end(reader);
    }
    if (c == '\r') {
        reader->state = CSV_CR_SEEN;
        return CSV_STEP_MORE;
    }
    if (c == '\n') {
        line_break_seen(reader);
        return row_end(reader);
    }
    *taken = false;
    return CSV_STEP_MORE;
}

static void text_add(struct csv_reader *reader, const void *data, size_t size) {
    if (!buf_append(&reader->text, data, size)) {
        reader->no_memory = true;
    }
}

/* Plain text inside a field is copied in runs. */
static void run_take(struct csv_reader *reader, size_t limit) {
    const uint8_t *data = reader->held.data;
    size_t at = reader->at;
    if (reader->state == CSV_QUOTED) {
        while (at < limit && data[at] != '"' && data[at] != '\n' && data[at] != '\r') {
            at++;
        }
    } else if (reader->state == CSV_UNQUOTED) {
        uint8_t delimiter = (uint8_t)reader->options.delimiter;
        while (at < limit && data[at] != '"' && data[at] != '\n' && data[at] != '\r' &&
               data[at] != delimiter) {
            at++;
        }
    }
    if (at > reader->at) {
        text_add(reader, data + reader->at, at - reader->at);
        reader->at = at;
    }
}

static enum csv_step byte_take(struct csv_reader *reader, uint8_t c) {
    bool taken = false;
    enum csv_step step = CSV_STEP_MORE;
    if (reader->state == CSV_CR_SEEN) {
        if (c != '\n' && !reader->cr_ends) {
            return step_bad(reader, "a carriage return is not followed by a line feed");
        }
        reader->at -= c != '\n';
        line_break_seen(reader);
        return row_end(reader);
    }
    if (reader->state == CSV_QUOTED) {
        if (c == '"') {
            reader->state = CSV_QUOTE_SEEN;
            return CSV_STEP_MORE;
        }
        text_add(reader, &c, 1);
        if (c == '\n' || (c == '\r' && reader->cr_ends)) {
            line_break_seen(reader);
        }
        return CSV_STEP_MORE;
    }
    step = separator(reader, c, &taken);
    if (taken) {
        return step;
    }
    if (reader->state == CSV_QUOTE_SEEN && c != '"') {
        return step_bad(reader, "text follows a closing quote");
    }
    if (reader->state == CSV_FIELD_START && c == '"') {
        reader->state = CSV_QUOTED;
        return CSV_STEP_MORE;
    }
    if (reader->state == CSV_UNQUOTED && c == '"' && reader->options.strict) {
        return step_bad(reader, "a quote stands inside a field that is not in quotes");
    }
    reader->state = reader->state == CSV_QUOTE_SEEN ? CSV_QUOTED : CSV_UNQUOTED;
    text_add(reader, &c, 1);
    return CSV_STEP_MORE;
}

/* Looks on until the row ends, is found bad, or more bytes are needed. */
static enum csv_step row_look(struct csv_reader *reader) {
    while (!reader->no_memory && reader->at < reader->held.size) {
        size_t limit = reader->start + CSV_ROW_BYTES_MAX;
        const char *why = "the row is longer than 2 MiB, or a quote in it is never closed";
        if (reader->first_end != 0 && reader->first_end + reader->budget < limit) {
            limit = reader->first_end + (size_t)reader->budget;
            why = "a quote in the row is not closed near it, and too many quotes before it were "
                  "never closed";
        }
        if (reader->at >= limit) {
            return step_bad(reader, why);
        }
        run_take(reader, limit < reader->held.size ? limit : reader->held.size);
        if (reader->at >= limit || reader->at == reader->held.size) {
            continue;
        }
        enum csv_step step = byte_take(reader, reader->held.data[reader->at++]);
        if (step != CSV_STEP_MORE) {
            return step;
        }
    }
    return CSV_STEP_MORE;
}

/* The end of the file inside a row. */
static enum csv_step row_look_last(struct csv_reader *reader) {
    if (reader->state == CSV_QUOTED) {
        return step_bad(reader, "a quote is opened and never closed");
    }
    return row_end(reader);
}

/* ---- the first line ---- */

/* sep=X, or "sep=X": the delimiter; 0 = it is no such line. */
static char separator_line(const uint8_t *data, size_t size) {
    while (size > 0 && (data[size - 1] == '\n' || data[size - 1] == '\r')) {
        size--;
    }
    if (size == 7 && data[0] == '"' && data[6] == '"') {
        data++;
        size -= 2;
    }
    bool is = size == 5 && (memcmp(data, "sep=", 4) == 0 || memcmp(data, "SEP=", 4) == 0) &&
              data[4] != '"' && data[4] < 0x80 && data[4] != 0;
    return is ? (char)data[4] : '\0';
}

/* Whether a byte stands in quotes, while the delimiter is not known. */
struct quotes {
    bool open;
    uint8_t before; /* 0 = the line's start */
    bool closed;    /* the byte before closed */
};

static bool quotes_pass(struct quotes *quotes, uint8_t c) {
    bool start = quotes->before == 0 || strchr(",;\t|", quotes->before) != NULL || quotes->closed;
    quotes->closed = c == '"' && quotes->open;
    quotes->open = c == '"' ? !quotes->open && start : quotes->open;
    quotes->before = c;
    return quotes->open;
}

static char delimiter_guess(const uint8_t *data, size_t size) {
    static const char candidates[] = {',', ';', '\t'};
    size_t counts[sizeof(candidates)] = {0};
    struct quotes quotes = {0};
    size_t best = 0;
    for (size_t i = 0; i < size; i++) {
        bool quoted = quotes_pass(&quotes, data[i]);
        for (size_t k = 0; k < sizeof(candidates) && !quoted; k++) {
            counts[k] += data[i] == (uint8_t)candidates[k];
        }
    }
    for (size_t k = 1; k < sizeof(candidates); k++) {
        best = counts[k] > counts[best] ? k : best;
    }
    return candidates[best];
}

/* The first line as far as it is here. false: more is needed. */
static bool first_line(const struct csv_reader *reader, size_t *size, bool *cr_ends) {
    const uint8_t *data = reader->held.data + reader->start;
    size_t have = reader->held.size - reader->start;
    struct quotes quotes = {0};
    have = have < FIRST_LINE_BYTES_MAX ? have : FIRST_LINE_BYTES_MAX;
    *cr_ends = false;
    for (*size = 0; *size < have; (*size)++) {
        uint8_t c = data[*size];
        if (quotes_pass(&quotes, c) || (c != '\n' && c != '\r')) {
            continue;
        }
        if (c == '\n') {
            ++*size;
            return true;
        }
        if (*size + 1 < have && data[*size + 1] != '\n') {
            ++*size;
            *cr_ends = true;
            return true;
        }
        /* Followed by LF; or the last byte, of which it is not known yet whether it is. */
    }
    return reader->final || have == FIRST_LINE_BYTES_MAX;
}

static bool reader_begin(struct csv_reader *reader) {
    size_t size = 0;
    bool cr_ends = false;
    if (reader->held.size == 0 || !first_line(reader, &size, &cr_ends)) {
        return false;
    }
    const uint8_t *data = reader->held.data + reader->start;
    bool wanted = reader->options.delimiter != '\0';
    char named = size > 0 && reader->line == 1 ? separator_line(data, size) : '\0';
    reader->cr_ends = cr_ends;
    if (named != '\0') { /* and the header is the line after it */
        reader->line++;
        reader->options.delimiter = wanted ? reader->options.delimiter : named;
    } else if (!wanted) {
        reader->options.delimiter = size > 0 ? delimiter_guess(data, size) : ',';
    }
    reader->begun = true;
    row_begin(reader, reader->start + (named != '\0' ? size : 0));
    return true;
}

/* ---- the file ---- */

static void reader_run(struct csv_reader *reader) {
    if (!reader->begun && !reader_begin(reader)) {
        return;
    }
    while (reader_going(reader)) {
        if (reader->skipping) {
            line_skip(reader);
        }
        if (reader->skipping) {
            break;
        }
        enum csv_step step = row_look(reader);
        if (step == CSV_STEP_MORE && reader->final && reader->start < reader->held.size &&
            reader_going(reader)) {
            step = row_look_last(reader);
        }
        if (step == CSV_STEP_ROW) {
            row_done(reader);
        } else if (step == CSV_STEP_BAD) {
            row_bad(reader);
        } else {
            break;
        }
    }
}

/* Drops the front of what is held, in pieces large enough to take linear time in all. */
static void held_compact(struct csv_reader *reader) {
    size_t gone = reader->start;
    if (gone > 0 && gone >= reader->held.size - gone) {
        buf_drop(&reader->held, gone);
        reader->start = 0;
        reader->at -= gone;
        reader->first_end -= reader->first_end != 0 ? gone : 0;
    }
}

bool csv_reader_feed(struct csv_reader *reader, const void *data, size_t size) {
    const uint8_t *bytes = data;
    while (size > 0 && reader_going(reader)) {
        size_t part = size < FEED_BYTES ? size : FEED_BYTES;
        if (!buf_append(&reader->held, bytes, part)) {
            reader->no_memory = true;
            break;
        }
        bytes += part;
        size -= part;
        reader_run(reader);
        held_compact(reader);
    }
    return reader_going(reader);
}

bool csv_reader_finish(struct csv_reader *reader) {
    reader->final = true;
    if (reader_going(reader)) {
        reader_run(reader);
    }
    return reader_going(reader);
}

bool csv_reader_cut(struct csv_reader *reader) {
    reader->ended = true; /* complete rows have been reported already */
    return !reader->no_memory;
}

/* SPDX-License-Identifier: MIT */
/* chordctl import: a CSV file into the ring, in memory that does not grow with the file. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "csv_charset.h"
#include "ctl.h"
#include "csv_table.h"
#include "output.h"

enum {
    IMPORT_TIMEOUT_MS = 60000,
    PROGRESS_PERIOD_MS = 100,
    NOTES_MAX = 100,
    READ_BYTES = 64 * 1024
};

struct import {
    struct ctl *ctl;
    const char *name;
    struct csv_table *table;
    struct chord_load *window;
    uint64_t bytes_read;
    uint64_t bytes_total; /* 0 = not known */
    uint64_t rows_read;
    uint64_t rows_stored;
    uint64_t rows_failed;
    uint64_t rows_completed; /* absent cells were taken as empty */
    uint64_t notes;          /* bad rows; the first 100 are named */
    uint64_t began_ms;
    uint64_t shown_ms;
    bool abort_on_error;
    bool progress; /* a line on the terminal that is written over */
    int exit_code;
    char error[300];
};

/* ---- what people see ---- */

static void progress_clear(const struct import *import) {
    if (import->progress) {
        fputs("\r\x1b[K", stderr);
    }
}

static void progress_show(struct import *import) {
    uint64_t now_ms = clock_now_ms();
    if (!import->progress || now_ms < import->shown_ms + PROGRESS_PERIOD_MS) {
        return;
    }
    double read = (double)import->bytes_read;
    import->shown_ms = now_ms;
    progress_clear(import);
    fprintf(stderr, "%llu rows stored, ", (unsigned long long)import->rows_stored);
    if (import->bytes_total > 0) {
        fprintf(stderr, "%.0f %% of %.1f MiB read", 100 * read / (double)import->bytes_total,
                (double)import->bytes_total / (1024 * 1024));
    } else {
        fprintf(stderr, "%.1f MiB read", read / (1024 * 1024));
    }
    fflush(stderr);
}

static void row_failed(struct import *import, uint64_t line, const char *reason) {
    import->rows_failed++;
    if (import->notes++ < NOTES_MAX) {
        progress_clear(import);
        ctl_note("%s:%llu: %s", import->name, (unsigned long long)line, reason);
    }
    if (import->abort_on_error) {
        import->exit_code = CTL_NOT_FOUND;
        snprintf(import->error, sizeof import->error, "stopped at line %llu (--on-error abort)",
                 (unsigned long long)line);
    }
}

/* done: every row is stored. partial: the file was read to its end, some rows are not. */
static const char *state_word(const struct import *import) {
    if (import->exit_code == CTL_OK) {
        return "done";
    }
    return import->error[0] == '\0' && import->rows_stored > 0 ? "partial" : "failed";
}

static void summary_print(const struct import *import) {
    uint64_t ms = clock_now_ms() - import->began_ms;
    const char *state = state_word(import);
    progress_clear(import);
    if (import->notes > NOTES_MAX) {
        ctl_note("%s: and %llu more bad rows", import->name,
                 (unsigned long long)(import->notes - NOTES_MAX));
    }
    if (import->ctl->json) {
        json_print(json_pack(
            "{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "state", state, "rows_read",
            json_u64(import->rows_read), "rows_stored", json_u64(import->rows_stored),
            "rows_failed", json_u64(import->rows_failed), "rows_completed",
            json_u64(import->rows_completed), "form", json_text(csv_table_form(import->table)),
            "charset", json_text(csv_table_charset(import->table)), "delimiter",
            json_text(csv_table_delimiter(import->table)), "bytes_read",
            json_u64(import->bytes_read), "milliseconds", json_u64(ms), "error",
            json_text(import->error)));
    } else {
        char completed[80] = "";
        if (import->rows_completed > 0) {
            snprintf(completed, sizeof completed, " (%llu with absent cells, taken as empty)",
                     (unsigned long long)import->rows_completed);
        }
        line_print("%s: %llu rows read, %llu stored%s, %llu failed, in %.1f s", state,
                   (unsigned long long)import->rows_read, (unsigned long long)import->rows_stored,
                   completed, (unsigned long long)import->rows_failed, (double)ms / 1000);
    }
    if (import->error[0] != '\0') {
        ctl_error("%s: %s", import->name, import->error);
    }
}

/* ---- rows ---- */

static void window_flush(struct import *import) {
    struct chord_load_result result;
    size_t count = chord_load_rows(import->window);
    if (count == 0) {
        return;
    }
    chord_load_flush(import->window,
                     import->ctl->timeout_given ? import->ctl->timeout_ms : IMPORT_TIMEOUT_MS,
                     &result);
    import->rows_stored += result.stored;
    import->rows_failed += result.failed;
    if (result.fate != CHORD_DONE) {
        import->exit_code = load_exit(&result);
        snprintf(import->error, sizeof import->error,
                 "%zu row%s from line %llu on not %sstored (%.150s); to import the file again is "
                 "safe",
                 result.failed, result.failed == 1 ? "" : "s",
                 (unsigned long long)result.failed_line,
                 result.fate == CHORD_MAYBE_DONE ? "surely " : "", result.reason);
    }
    progress_show(import);
}

/* Every record that is read ends in the window, or is counted as failed. */
static bool on_record(void *context, const struct csv_record *record) {
    struct import *import = context;
    import->rows_read++;
    if (record->error != NULL) {
        row_failed(import, record->line, record->error);
        return import->exit_code == CTL_OK;
    }
    if (!chord_load_fits(import->window, record->key_size, record->value_size)) {
        window_flush(import);
    }
    if (import->exit_code != CTL_OK) {
        import->rows_failed++; /* the flush said why it is not tried */
        return false;
    }
    import->rows_completed += record->completed;
    if (!chord_load_add(import->window, record->line, record->key, record->key_size, record->value,
                        record->value_size, record->expires_at_ms)) {
        memory_missing();
    }
    return true;
}

/* ---- the file ---- */

static void import_read(struct import *import, FILE *file) {
    uint8_t *block = memory_new(1, READ_BYTES);
    bool going = true;
    while (going) {
        size_t size = fread(block, 1, READ_BYTES, file);
        import->bytes_read += size;
        going = size > 0 && csv_table_feed(import->table, block, size);
        progress_show(import);
        if (size == 0 && ferror(file)) {
            snprintf(import->error, sizeof import->error, "the file cannot be read: %s",
                     strerror(errno));
            import->exit_code = CTL_USAGE;
        } else if (size == 0) {
            (void)csv_table_finish(import->table);
        }
    }
    free(block);
    enum csv_table_end end = csv_table_end(import->table);
    if (import->exit_code == CTL_OK && end != CSV_TABLE_GOING) {
        snprintf(import->error, sizeof import->error, "%s", csv_table_error(import->table));
        import->exit_code = end == CSV_TABLE_NO_CSV ? CTL_USAGE : CTL_NOT_FOUND;
    }
}

/* What the whole comes to, when nothing else ended it. */
static void import_judge(struct import *import) {
    if (import->exit_code == CTL_OK && import->rows_failed > 0) {
        import->exit_code = import->rows_stored > 0 ? CTL_NOT_FOUND : CTL_USAGE;
        if (import->rows_stored == 0) {
            snprintf(import->error, sizeof import->error, "none of the %llu rows was stored",
                     (unsigned long long)import->rows_failed);
        }
    }
}

static void import_file(struct import *import, FILE *file) {
    struct stat stat;
    import->began_ms = clock_now_ms();
    import->window = load_new(import->ctl);
    import->progress = isatty(STDERR_FILENO) && !import->ctl->json;
    if (fstat(fileno(file), &stat) == 0 && S_ISREG(stat.st_mode)) {
        import->bytes_total = (uint64_t)stat.st_size;
    }
    import_read(import, file);
    /* What was read whole before the end is stored, whatever ended it. */
    int exit_code = import->exit_code;
    char error[sizeof import->error];
    memcpy(error, import->error, sizeof error);
    bool ring_refused = exit_code > CTL_USAGE;
    if (!ring_refused) {
        import->exit_code = CTL_OK;
        window_flush(import);
        if (import->exit_code == CTL_OK) {
            import->exit_code = exit_code;
            memcpy(import->error, error, sizeof error);
        }
    }
    import_judge(import);
    summary_print(import);
    chord_load_free(import->window);
}

/* ---- the command ---- */

static bool option_bad(const char *name, const char *value, const char *must) {
    ctl_error("--%s '%s' is not known: give %s", name, value, must);
    return false;
}

/* false = bad usage, said. */
static bool options_read(const struct arguments *arguments, struct csv_table_options *options,
                         bool *abort_on_error) {
    const char *on_error = arguments_option(arguments, "on-error");
    const char *delimiter = arguments_option(arguments, "delimiter");
    const char *charset = arguments_option(arguments, "charset");
    const char *format = arguments_option(arguments, "format");
    const char *key_column = arguments_option(arguments, "key-column");
    options->header_absent = arguments_option(arguments, "no-header") != NULL;
    options->strict = arguments_option(arguments, "strict") != NULL;
    options->charset = charset == NULL ? NULL : csv_charset_known(charset);
    options->form_given = format != NULL && strcmp(format, "auto") != 0;
    *abort_on_error = on_error != NULL && strcmp(on_error, "abort") == 0;
    if (on_error != NULL && !*abort_on_error && strcmp(on_error, "skip") != 0) {
        return option_bad("on-error", on_error, "skip or abort");
    }
    if (delimiter != NULL && !csv_delimiter_read(delimiter, &options->delimiter)) {
        return option_bad("delimiter", delimiter, CSV_DELIMITERS);
    }
    if (charset != NULL && options->charset == NULL) {
        return option_bad("charset", charset, CSV_CHARSETS);
    }
    if (options->form_given && !csv_form_read(format, &options->form)) {
        return option_bad("format", format, "auto, " CSV_FORMS);
    }
    if (key_column != NULL && strlen(key_column) > CSV_NAME_BYTES_MAX) {
        return option_bad("key-column", key_column, "at most 511 bytes");
    }
    snprintf(options->key_column, sizeof options->key_column, "%s",
             key_column == NULL ? "" : key_column);
    return true;
}

static int import_run(struct ctl *ctl, const struct arguments *arguments) {
    const char *name = arguments->words[0];
    struct csv_table_options options = {0};
    struct import import = {.ctl = ctl, .name = name};
    if (!options_read(arguments, &options, &import.abort_on_error)) {
        return CTL_USAGE;
    }
    FILE *file = strcmp(name, "-") == 0 ? stdin : fopen(name, "re");
    if (file == NULL) {
        ctl_error("the file %s cannot be read: %s", name, strerror(errno));
        return CTL_USAGE;
    }
    import.table = csv_table_new(&options, on_record, &import);
    if (import.table == NULL) {
        ctl_error("there is no memory");
        exit(CTL_REFUSED);
    }
    import.exit_code = nodes_learn(ctl);
    if (import.exit_code == CTL_OK) {
        import_file(&import, file);
    }
    csv_table_free(import.table);
    if (file != stdin) {
        fclose(file);
    }
    return import.exit_code;
}

static const struct option import_options[] = {
    {0, "key-column", "NAME", "the column that holds the keys (default: the first)"},
    {0, "on-error", "skip|abort", "of a bad row: go on (default) or stop there"},
    {0, "delimiter", "WORD", "comma, semicolon, tab, pipe, space (default: as the header has it)"},
    {0, "charset", "NAME", "utf-8, utf-16, windows-1252, ... (default: recognised)"},
    {0, "format", "FORM", "csv, lossless, spreadsheet (default: as the header says)"},
    {0, "no-header", NULL, "the first line is a row; --key-column is a number then"},
    {0, "strict", NULL, "RFC 4180 to the letter: stray quotes, absent cells make a row bad"},
    {0, NULL, NULL, NULL},
};
const struct command import_command = {
    .name = "import",
    .words = "FILE",
    .words_min = 1,
    .words_max = 1,
    .summary = "store the rows of a CSV file",
    .help = "The first line is the header. The value is the other column, or with more than two\n"
            "columns the other cells as one CSV record. FILE '-' is stdin. A bad row is named on\n"
            "stderr with its line; the others are stored, and the exit code is 1 (\"partial\"),\n"
            "or 2 when no row could be stored. A file of `chordctl export` comes back with any\n"
            "bytes and with expiry; one that was cut or changed is told by its last line (1).\n"
            "--timeout is how long one window of at most 32768 rows is tried (default 60000). To\n"
            "import a file again is safe.\n",
    .options = import_options,
    .run = import_run,
};

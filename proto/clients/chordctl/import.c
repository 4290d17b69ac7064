/* SPDX-License-Identifier: MIT */
/* chordctl import: a CSV file into the ring, in memory that does not grow with the file. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "csv_import.h"
#include "ctl.h"
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
    struct csv_import *file;
    const struct csv_import_account *account; /* the file's */
    uint64_t bytes_total;                     /* 0 = not known */
    uint64_t notes;                           /* bad rows; the first 100 are named */
    uint64_t began_ms;
    uint64_t shown_ms;
    bool progress; /* a line on the terminal that is written over */
};

/* ---- what people see ---- */

static void progress_clear(const struct import *import) {
    if (import->progress) {
        fputs("\r\x1b[K", stderr);
    }
}

static void on_progress(void *context, const struct csv_import_account *account) {
    struct import *import = context;
    uint64_t now_ms = clock_now_ms();
    if (!import->progress || now_ms < import->shown_ms + PROGRESS_PERIOD_MS) {
        return;
    }
    double read = (double)account->bytes_read;
    import->shown_ms = now_ms;
    progress_clear(import);
    fprintf(stderr, "%llu rows stored, ", (unsigned long long)account->rows_stored);
    if (import->bytes_total > 0) {
        fprintf(stderr, "%.0f %% of %.1f MiB read", 100 * read / (double)import->bytes_total,
                (double)import->bytes_total / (1024 * 1024));
    } else {
        fprintf(stderr, "%.1f MiB read", read / (1024 * 1024));
    }
    fflush(stderr);
}

static void on_failed(void *context, uint64_t line, const char *reason, bool bad) {
    struct import *import = context;
    if (bad && import->notes++ < NOTES_MAX) {
        progress_clear(import);
        ctl_note("%s:%llu: %s", import->name, (unsigned long long)line, reason);
    }
}

/* done: every row is stored. partial: the file was read to its end, some rows are not. */
static const char *state_word(const struct csv_import_account *account) {
    return account->end != CSV_IMPORT_GOING ? "failed"
           : account->rows_failed > 0       ? "partial"
                                            : "done";
}

static void summary_print(const struct import *import) {
    const struct csv_import_account *account = import->account;
    const struct csv_table *table = csv_import_table(import->file);
    uint64_t ms = clock_now_ms() - import->began_ms;
    const char *state = state_word(account);
    progress_clear(import);
    if (import->notes > NOTES_MAX) {
        ctl_note("%s: and %llu more bad rows", import->name,
                 (unsigned long long)(import->notes - NOTES_MAX));
    }
    if (import->ctl->json) {
        json_print(json_pack(
            "{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "state", state, "rows_read",
            json_u64(account->rows_read), "rows_stored", json_u64(account->rows_stored),
            "rows_failed", json_u64(account->rows_failed), "rows_completed",
            json_u64(account->rows_completed), "form", json_text(csv_table_form(table)), "charset",
            json_text(csv_table_charset(table)), "delimiter", json_text(csv_table_delimiter(table)),
            "bytes_read", json_u64(account->bytes_read), "milliseconds", json_u64(ms), "error",
            json_text(account->error)));
    } else {
        char completed[80] = "";
        if (account->rows_completed > 0) {
            snprintf(completed, sizeof completed, " (%llu with absent cells, taken as empty)",
                     (unsigned long long)account->rows_completed);
        }
        line_print("%s: %llu rows read, %llu stored%s, %llu failed, in %.1f s", state,
                   (unsigned long long)account->rows_read, (unsigned long long)account->rows_stored,
                   completed, (unsigned long long)account->rows_failed, (double)ms / 1000);
    }
    if (account->error[0] != '\0') {
        ctl_error("%s: %s", import->name, account->error);
    }
}

/* ---- the file ---- */

static void import_read(struct import *import, FILE *file) {
    uint8_t *block = memory_new(1, READ_BYTES);
    bool going = true;
    while (going) {
        size_t size = fread(block, 1, READ_BYTES, file);
        if (size > 0) {
            going = csv_import_feed(import->file, block, size);
        } else if (ferror(file)) {
            going = csv_import_fail(import->file, CSV_IMPORT_BAD_INPUT,
                                    "the file cannot be read: %s", strerror(errno));
        } else {
            (void)csv_import_finish(import->file);
            going = false;
        }
    }
    free(block);
    csv_import_settle(import->file);
}

static int exit_of_ring(const struct chord_load_result *result) {
    return result->fate == CHORD_DONE         ? CTL_OK
           : result->fate == CHORD_MAYBE_DONE ? CTL_UNKNOWN
           : result->reached                  ? CTL_REFUSED
                                              : CTL_NO_NODE;
}

static int exit_of(const struct csv_import_account *account) {
    switch (account->end) {
    case CSV_IMPORT_RING:
        return exit_of_ring(&account->ring);
    case CSV_IMPORT_BAD_INPUT:
        return CTL_USAGE;
    case CSV_IMPORT_GOING:
        return account->rows_failed > 0 ? CTL_NOT_FOUND : CTL_OK;
    default:
        return CTL_NOT_FOUND;
    }
}

static int import_file(struct import *import, FILE *file,
                       const struct csv_import_options *options) {
    const struct csv_import_events events = {
        .progress = on_progress, .failed = on_failed, .context = import};
    struct stat stat;
    import->began_ms = clock_now_ms();
    import->file = csv_import_new(import->ctl->ring, options, &events);
    if (import->file == NULL) {
        memory_missing();
    }
    import->account = csv_import_account(import->file);
    import->progress = isatty(STDERR_FILENO) && !import->ctl->json;
    if (fstat(fileno(file), &stat) == 0 && S_ISREG(stat.st_mode)) {
        import->bytes_total = (uint64_t)stat.st_size;
    }
    import_read(import, file);
    summary_print(import);
    int exit_code = exit_of(import->account);
    csv_import_free(import->file);
    return exit_code;
}

/* ---- the command ---- */

static void options_read(const struct arguments *arguments, struct csv_import_options *options) {
    static const char *const flags[] = {"key-column", "on-error", "delimiter", "charset", "format"};
    static const char *const names[] = {"key_column", "on_error", "delimiter", "charset", "format"};
    options->table.header_absent = arguments_option(arguments, "no-header") != NULL;
    options->table.strict = arguments_option(arguments, "strict") != NULL;
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        const char *text = arguments_option(arguments, flags[i]);
        const char *must = text == NULL ? NULL : csv_import_option(options, names[i], text);
        if (must != NULL) {
            ctl_fail(CTL_USAGE, "--%s '%s' is not known: give %s", flags[i], text, must);
        }
    }
}

static int import_run(struct ctl *ctl, const struct arguments *arguments) {
    struct import import = {.ctl = ctl, .name = arguments->words[0]};
    struct csv_import_options options = {.store_ms = ctl->timeout_given ? ctl->timeout_ms
                                                                        : IMPORT_TIMEOUT_MS};
    options_read(arguments, &options);
    FILE *file = strcmp(import.name, "-") == 0 ? stdin : fopen(import.name, "re");
    if (file == NULL) {
        ctl_fail(CTL_USAGE, "the file %s cannot be read: %s", import.name, strerror(errno));
    }
    nodes_learn(ctl);
    int exit_code = import_file(&import, file, &options);
    if (file != stdin) {
        fclose(file);
    }
    return exit_code;
}

static const struct flag import_options[] = {
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

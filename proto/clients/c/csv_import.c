/* SPDX-License-Identifier: MIT */
/* See csv_import.h. */
#include "csv_import.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "csv_charset.h"

enum { WINDOW_MS = 500 }; /* rows of a slow file do not wait longer */

struct csv_import {
    struct csv_import_options options;
    struct csv_import_events events;
    struct csv_import_account account;
    struct csv_table *table;
    struct chord_load *window;
    uint64_t window_since_ms;
};

/* ---- options ---- */

const char *const csv_import_option_names[] = {"key_column", "on_error", "delimiter", "charset",
                                               "header",     "format",   "strict",    NULL};

/* One of two words, the first where there is none. NULL, or what it must be. */
static const char *word_take(const char *text, const char *no, const char *yes, const char *must,
                             bool *is) {
    *is = strcmp(text, yes) == 0;
    return *is || strcmp(text, no) == 0 || text[0] == '\0' ? NULL : must;
}

const char *csv_import_option(struct csv_import_options *options, const char *name,
                              const char *text) {
    struct csv_table_options *table = &options->table;
    if (strcmp(name, "key_column") == 0) {
        bool fits = strlen(text) < sizeof table->key_column;
        snprintf(table->key_column, sizeof table->key_column, "%s", fits ? text : "");
        return fits ? NULL : "at most 511 bytes long";
    }
    if (strcmp(name, "on_error") == 0) {
        return word_take(text, "skip", "abort", "skip or abort", &options->abort_on_error);
    }
    if (strcmp(name, "header") == 0) {
        return word_take(text, "present", "absent", "present or absent", &table->header_absent);
    }
    if (strcmp(name, "strict") == 0) {
        return word_take(text, "0", "1", "0 or 1", &table->strict);
    }
    if (strcmp(name, "delimiter") == 0) {
        return csv_delimiter_read(text, &table->delimiter) ? NULL : CSV_DELIMITERS;
    }
    if (strcmp(name, "charset") == 0) {
        table->charset = text[0] == '\0' ? NULL : csv_charset_known(text);
        return text[0] == '\0' || table->charset != NULL ? NULL : CSV_CHARSETS;
    }
    if (strcmp(name, "format") == 0) {
        table->form_given = strcmp(text, "auto") != 0 && text[0] != '\0';
        return !table->form_given || csv_form_read(text, &table->form) ? NULL : "auto, " CSV_FORMS;
    }
    return NULL;
}

/* ---- the end, and rows that fail ---- */

bool csv_import_fail(struct csv_import *import, enum csv_import_end end, const char *format, ...) {
    struct csv_import_account *account = &import->account;
    if (account->end == CSV_IMPORT_GOING) {
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(account->error, sizeof account->error, format, arguments);
        va_end(arguments);
        account->end = end;
    }
    return false;
}

static bool is_cancelled(void *context) {
    const struct csv_import *import = context;
    return import->events.cancelled != NULL && import->events.cancelled(import->events.context);
}

static void row_failed(struct csv_import *import, uint64_t line, const char *reason, bool bad) {
    import->account.rows_failed++;
    import->events.failed(import->events.context, line, reason, bad);
}

static void on_failed(void *context, uint64_t line, const char *reason) {
    row_failed(context, line, reason, false);
}

static void on_stored(void *context, size_t rows) {
    struct csv_import *import = context;
    import->account.rows_stored += rows;
    import->events.progress(import->events.context, &import->account);
}

static void on_again(void *context, size_t rows, const char *address, const char *reason) {
    const struct csv_import *import = context;
    if (import->events.again != NULL) {
        import->events.again(import->events.context, rows, address, reason);
    }
}

/* ---- rows ---- */

static bool window_store(struct csv_import *import) {
    struct chord_load_result *result = &import->account.ring;
    if (chord_load_rows(import->window) == 0) {
        return true;
    }
    chord_load_flush(import->window, import->options.store_ms, result);
    if (is_cancelled(import)) {
        return csv_import_fail(import, CSV_IMPORT_CANCELLED, "cancelled");
    }
    return result->fate == CHORD_DONE ||
           csv_import_fail(import, CSV_IMPORT_RING,
                           "%zu row%s from line %llu on not %sstored (%.150s); to import the file "
                           "again is safe",
                           result->failed, result->failed == 1 ? "" : "s",
                           (unsigned long long)result->failed_line,
                           result->fate == CHORD_MAYBE_DONE ? "surely " : "", result->reason);
}

/* Every record that is counted as read ends in the window, or is counted as failed here. */
static bool on_record(void *context, const struct csv_record *record) {
    struct csv_import *import = context;
    struct csv_import_account *account = &import->account;
    if (is_cancelled(import)) {
        return csv_import_fail(import, CSV_IMPORT_CANCELLED, "cancelled");
    }
    account->rows_read++;
    if (record->error != NULL) {
        row_failed(import, record->line, record->error, true);
        return !import->options.abort_on_error ||
               csv_import_fail(import, CSV_IMPORT_ABORTED, "stopped at line %llu: %s",
                               (unsigned long long)record->line, record->error);
    }
    if (!chord_load_fits(import->window, record->key_size, record->value_size) &&
        !window_store(import)) {
        row_failed(import, record->line, "the import had ended before this row was tried", false);
        return false;
    }
    if (chord_load_rows(import->window) == 0) {
        import->window_since_ms = clock_now_ms();
    }
    if (!chord_load_add(import->window, record->line, record->key, record->key_size, record->value,
                        record->value_size, record->expires_at_ms)) {
        row_failed(import, record->line, "no memory", false);
        return csv_import_fail(import, CSV_IMPORT_RING, "no memory");
    }
    account->rows_completed += record->completed;
    return true;
}

/* ---- the file ---- */

struct csv_import *csv_import_new(struct chord_client *client,
                                  const struct csv_import_options *options,
                                  const struct csv_import_events *events) {
    struct csv_import *import = calloc(1, sizeof *import);
    const struct chord_load_events load = {is_cancelled, on_stored, on_failed, on_again, import};
    if (import == NULL) {
        return NULL;
    }
    import->options = *options;
    import->events = *events;
    import->table = csv_table_new(&options->table, on_record, import);
    import->window = chord_load_new(client, &load);
    if (import->table == NULL || import->window == NULL) {
        csv_import_free(import);
        return NULL;
    }
    return import;
}

void csv_import_free(struct csv_import *import) {
    if (import != NULL) {
        chord_load_free(import->window);
        csv_table_free(import->table);
        free(import);
    }
}

struct csv_import_options *csv_import_options(struct csv_import *import) {
    return &import->options;
}

const struct csv_import_account *csv_import_account(const struct csv_import *import) {
    return &import->account;
}

const struct csv_table *csv_import_table(const struct csv_import *import) {
    return import->table;
}

/* Why the reading ended, where the file is the reason. */
static bool table_judge(struct csv_import *import) {
    enum csv_table_end end = csv_table_end(import->table);
    if (end == CSV_TABLE_NO_CSV || end == CSV_TABLE_NOT_WHOLE) {
        csv_import_fail(import,
                        end == CSV_TABLE_NO_CSV ? CSV_IMPORT_BAD_INPUT : CSV_IMPORT_NOT_WHOLE, "%s",
                        csv_table_error(import->table));
    } else if (end == CSV_TABLE_NO_MEMORY) {
        csv_import_fail(import, CSV_IMPORT_RING, "no memory");
    }
    return import->account.end == CSV_IMPORT_GOING;
}

/* Until its first byte is here the options may still be set. */
static void table_begin(struct csv_import *import) {
    if (import->account.bytes_read == 0) {
        *csv_table_options(import->table) = import->options.table;
    }
}

bool csv_import_feed(struct csv_import *import, const void *data, size_t size) {
    table_begin(import);
    import->account.bytes_read += size;
    (void)csv_table_feed(import->table, data, size);
    bool going = table_judge(import);
    if (going && chord_load_rows(import->window) > 0 &&
        clock_now_ms() - import->window_since_ms > WINDOW_MS) {
        going = window_store(import);
    }
    import->events.progress(import->events.context, &import->account);
    return going;
}

bool csv_import_finish(struct csv_import *import) {
    table_begin(import);
    (void)csv_table_finish(import->table);
    return table_judge(import);
}

bool csv_import_cut(struct csv_import *import, const char *error) {
    (void)csv_table_cut(import->table);
    return csv_import_fail(import, CSV_IMPORT_CUT, "%s", error);
}

void csv_import_settle(struct csv_import *import) {
    struct csv_import_account *account = &import->account;
    if (account->end == CSV_IMPORT_CANCELLED || account->end == CSV_IMPORT_RING) {
        chord_load_drop(import->window, account->error);
    } else {
        (void)window_store(import);
    }
    if (account->end == CSV_IMPORT_GOING && account->rows_stored == 0 && account->rows_failed > 0) {
        csv_import_fail(import, CSV_IMPORT_BAD_INPUT, "none of the %llu rows was stored",
                        (unsigned long long)account->rows_failed);
    }
    import->events.progress(import->events.context, account);
}

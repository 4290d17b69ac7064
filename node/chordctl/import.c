/* chordctl import: a CSV file into the ring, in memory that does not grow with the file. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "csv_rows.h"
#include "import_window.h"
#include "output.h"
#include "text.h"

enum { IMPORT_TIMEOUT_MS = 60000, PROGRESS_PERIOD_MS = 100 };

struct import {
    struct ctl *ctl;
    const char *name;
    struct csv_rows *rows;
    struct import_window *window;
    struct bytes value;
    uint64_t bytes_total; /* 0 = not known */
    uint64_t rows_read;
    uint64_t rows_stored;
    uint64_t rows_failed;
    uint64_t began_ms;
    uint64_t shown_ms;
    bool abort_on_error;
    bool progress; /* a line on the terminal that is written over */
    size_t columns;
    size_t key_index;
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
    double read = (double)csv_rows_bytes(import->rows);
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
    progress_clear(import);
    ctl_note("%s:%llu: %s", import->name, (unsigned long long)line, reason);
    if (import->abort_on_error) {
        import->exit_code = CTL_NOT_FOUND;
        snprintf(import->error, sizeof import->error, "stopped at line %llu (--on-error abort)",
                 (unsigned long long)line);
    }
}

static void summary_print(const struct import *import) {
    uint64_t ms = clock_now_ms() - import->began_ms;
    progress_clear(import);
    if (import->ctl->json) {
        json_t *json = json_object();
        json_put(json, "rows_read", json_u64(import->rows_read));
        json_put(json, "rows_stored", json_u64(import->rows_stored));
        json_put(json, "rows_failed", json_u64(import->rows_failed));
        json_put(json, "bytes_read", json_u64(csv_rows_bytes(import->rows)));
        json_put(json, "milliseconds", json_u64(ms));
        json_put(json, "error", json_text(import->error));
        json_print(json);
    } else {
        line_print("%llu rows read, %llu stored, %llu failed, in %.1f s",
                   (unsigned long long)import->rows_read, (unsigned long long)import->rows_stored,
                   (unsigned long long)import->rows_failed, (double)ms / 1000);
    }
    if (import->error[0] != '\0') {
        ctl_error("%s: %s", import->name, import->error);
    }
}

/* ---- rows ---- */

static void window_flush(struct import *import) {
    struct window_result result;
    size_t count = import_window_rows(import->window);
    if (count == 0) {
        return;
    }
    import_window_flush(import->window,
                        import->ctl->timeout_given ? import->ctl->timeout_ms : IMPORT_TIMEOUT_MS,
                        &result);
    import->rows_stored += result.stored;
    import->rows_failed += result.failed;
    if (result.exit_code != CTL_OK) {
        import->exit_code = result.exit_code;
        snprintf(import->error, sizeof import->error,
                 "%zu row%s from line %llu on not %sstored (%.150s); to import the file again is "
                 "safe",
                 result.failed, result.failed == 1 ? "" : "s",
                 (unsigned long long)result.failed_line,
                 result.exit_code == CTL_UNKNOWN ? "surely " : "", result.reason);
    }
    progress_show(import);
}

/* The second cell, or with more than two columns the others as one CSV record. */
static void value_make(struct import *import, const struct csv_row *row) {
    bool first = true;
    import->value.size = 0;
    for (size_t i = 0; i < row->cells_count; i++) {
        if (i == import->key_index) {
            continue;
        }
        if (row->cells_count == 2) {
            bytes_append(&import->value, row->cells[i].data, row->cells[i].size);
        } else {
            bytes_append(&import->value, ",", first ? 0 : 1);
            csv_cell_append(&import->value, row->cells[i].data, row->cells[i].size);
        }
        first = false;
    }
}

static void row_take(struct import *import, const struct csv_row *row) {
    char reason[160] = "";
    const struct csv_cell *key = &row->cells[import->key_index];
    import->rows_read++;
    if (row->error != NULL) {
        snprintf(reason, sizeof reason, "%s", row->error);
    } else if (row->cells_count != import->columns) {
        snprintf(reason, sizeof reason, "the row has %zu field%s, the header has %zu",
                 row->cells_count, row->cells_count == 1 ? "" : "s", import->columns);
    } else if (key->size == 0) {
        snprintf(reason, sizeof reason, "the key is empty");
    } else if (key->size > CTL_KEY_BYTES_MAX) {
        snprintf(reason, sizeof reason, "the key has %zu bytes, at most %d are allowed", key->size,
                 CTL_KEY_BYTES_MAX);
    } else {
        value_make(import, row);
        if (import->value.size > CTL_VALUE_BYTES_MAX) {
            snprintf(reason, sizeof reason, "the value has %zu bytes, at most %d are allowed",
                     import->value.size, CTL_VALUE_BYTES_MAX);
        }
    }
    if (reason[0] != '\0') {
        row_failed(import, row->line, reason);
        return;
    }
    if (!import_window_fits(import->window, key->size, import->value.size)) {
        window_flush(import);
    }
    if (import->exit_code == CTL_OK) {
        import_window_add(import->window, row->line, key->data, key->size, import->value.data,
                          import->value.size, 0);
    }
}

static bool header_fail(struct import *import, const char *reason) {
    snprintf(import->error, sizeof import->error, "%s", reason);
    import->exit_code = CTL_USAGE;
    return false;
}

static bool header_take(struct import *import, const struct csv_row *row, const char *key_column) {
    char reason[300];
    if (row->error != NULL) {
        snprintf(reason, sizeof reason, "line %llu, which should be the header, is no CSV: %s",
                 (unsigned long long)row->line, row->error);
        return header_fail(import, reason);
    }
    const struct csv_cell *first = &row->cells[0];
    int width = (int)(first->size > 60 ? 60 : first->size);
    import->columns = row->cells_count;
    if (row->cells_count < 2) {
        snprintf(reason, sizeof reason,
                 "the header '%.*s' has one column; a key and a value are needed, separated by a "
                 "comma",
                 width, (const char *)first->data);
        return header_fail(import, reason);
    }
    if (key_column == NULL) {
        return true;
    }
    for (size_t i = 0; i < row->cells_count; i++) {
        if (row->cells[i].size == strlen(key_column) &&
            memcmp(row->cells[i].data, key_column, row->cells[i].size) == 0) {
            import->key_index = i;
            return true;
        }
    }
    snprintf(reason, sizeof reason, "no column is named '%.80s'; the first is '%.*s'", key_column,
             width, (const char *)first->data);
    return header_fail(import, reason);
}

/* ---- the file ---- */

static bool node_known(const struct ctl *ctl, const char *address) {
    for (size_t i = 0; i < ctl->nodes_count; i++) {
        if (strcmp(ctl->nodes[i], address) == 0) {
            return true;
        }
    }
    return false;
}

/* Other members, so that the import goes on when the node it began with is lost. CTL_OK, or said:
 * nobody is there to import to. */
static int nodes_learn(struct ctl *ctl) {
    Chord__V1__StatusRequest request = CHORD__V1__STATUS_REQUEST__INIT;
    struct rpc_reply reply;
    int exit_code = call_any(ctl, RPC_ADMIN_STATUS, &request.base, &reply, NULL);
    if (exit_code != CTL_OK) {
        return exit_code;
    }
    const Chord__V1__StatusResponse *status =
        (const Chord__V1__StatusResponse *)(const void *)reply.response;
    for (size_t i = 0; i < status->n_successors && ctl->nodes_count < CTL_NODES_MAX; i++) {
        const char *address = status->successors[i]->address;
        if (address_is_valid(address) && !node_known(ctl, address)) {
            memcpy(ctl->nodes[ctl->nodes_count++], address, strlen(address) + 1);
        }
    }
    rpc_reply_free(&reply);
    return CTL_OK;
}

static void import_read(struct import *import, const char *key_column) {
    struct csv_row *row = memory_new(1, sizeof *row);
    bool header = false;
    while (import->exit_code == CTL_OK && csv_rows_next(import->rows, row)) {
        if (header) {
            row_take(import, row);
        } else if (header_take(import, row, key_column)) {
            header = true;
        }
        progress_show(import);
    }
    free(row);
    int error = csv_rows_failed(import->rows);
    if (error != 0) {
        snprintf(import->error, sizeof import->error, "the file cannot be read: %s",
                 strerror(error));
        import->exit_code = CTL_USAGE;
    } else if (import->exit_code == CTL_OK && !header) {
        header_fail(import, "the file is empty; its first line must be a header such as key,value");
    }
}

static void import_file(struct import *import, FILE *file, const char *key_column) {
    struct stat stat;
    import->began_ms = clock_now_ms();
    import->rows = csv_rows_new(file);
    import->window = import_window_new(import->ctl);
    import->progress = isatty(STDERR_FILENO) && !import->ctl->json;
    if (fstat(fileno(file), &stat) == 0 && S_ISREG(stat.st_mode)) {
        import->bytes_total = (uint64_t)stat.st_size;
    }
    import_read(import, key_column);
    /* What was read whole before the end is stored, whatever ended it. */
    int exit_code = import->exit_code;
    bool ring_refused = exit_code > CTL_USAGE;
    if (!ring_refused) {
        window_flush(import);
        import->exit_code = import->exit_code == CTL_OK ? exit_code : import->exit_code;
    }
    if (import->exit_code == CTL_OK && import->rows_failed > 0) {
        import->exit_code = CTL_NOT_FOUND;
    }
    summary_print(import);
    import_window_free(import->window);
    csv_rows_free(import->rows);
    bytes_free(&import->value);
}

static int import_run(struct ctl *ctl, const struct arguments *arguments) {
    const char *name = arguments->words[0];
    const char *on_error = arguments_option(arguments, "on-error");
    struct import import = {.ctl = ctl, .name = name};
    import.abort_on_error = on_error != NULL && strcmp(on_error, "abort") == 0;
    if (on_error != NULL && !import.abort_on_error && strcmp(on_error, "skip") != 0) {
        ctl_error("--on-error '%s' is not known: give skip or abort", on_error);
        return CTL_USAGE;
    }
    FILE *file = strcmp(name, "-") == 0 ? stdin : fopen(name, "re");
    if (file == NULL) {
        ctl_error("the file %s cannot be read: %s", name, strerror(errno));
        return CTL_USAGE;
    }
    import.exit_code = nodes_learn(ctl);
    if (import.exit_code == CTL_OK) {
        import_file(&import, file, arguments_option(arguments, "key-column"));
    }
    if (file != stdin) {
        fclose(file);
    }
    return import.exit_code;
}

static const struct option import_options[] = {
    {0, "key-column", "NAME", "the column that holds the keys (default: the first)"},
    {0, "on-error", "skip|abort", "of a bad row: go on (default) or stop there"},
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
            "stderr with its line; the others are stored, and the exit code is 1. --timeout is\n"
            "how long one window of at most 32768 rows is tried (default 60000). To import a\n"
            "file again is safe.\n",
    .options = import_options,
    .run = import_run,
};

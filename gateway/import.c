/* SPDX-License-Identifier: MIT */
/*
 * POST /api/v1/imports and /upload: a CSV file, raw or as the one file of a form, parsed while it
 * arrives and stored window by window. Memory stays the same whatever the size of the file.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "chord_client.h"
#include "csv_charset.h"
#include "csv_table.h"
#include "json.h"
#include "log.h"
#include "multipart.h"
#include "operations.h"
#include "ring_view.h"
#include "routes.h"
#include "url.h"

enum {
    IMPORT_READ_BYTES = 16 * 1024,
    IMPORT_WINDOW_MS = 500, /* rows of a slow upload do not wait longer */
    IMPORT_ROW_MS = 30000,  /* a row that is not acknowledged after that has failed */
    IMPORT_FIELD_BYTES_MAX = CSV_NAME_BYTES_MAX + 1, /* of a form's field, with its end */
    IMPORT_REASON_BYTES = 200,
};

enum import_end {
    IMPORT_GOING,
    IMPORT_BAD_INPUT, /* nothing of the file can be read */
    IMPORT_NOT_WHOLE, /* an export that was cut or changed */
    IMPORT_ABORTED,   /* on_error=abort met a bad row */
    IMPORT_RING,      /* the ring takes no writes */
    IMPORT_CUT,       /* the upload ended early */
    IMPORT_CANCELLED,
};

struct import {
    struct app *app;
    struct operation *operation;
    struct chord_load *window;
    struct csv_table *table;
    struct multipart *multipart;
    bool abort_on_error;
    uint64_t window_since_ms;
    enum import_end end;
    char error[300];
    /* Of a form. */
    bool in_file;
    bool file_seen;
    char field_name[MULTIPART_NAME_BYTES_MAX + 1];
    struct buf field;
};

static bool import_fail(struct import *import, enum import_end end, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The first reason counts. Always false, as what ends a reader. */
static bool import_fail(struct import *import, enum import_end end, const char *format, ...) {
    if (import->end == IMPORT_GOING) {
        import->end = end;
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(import->error, sizeof(import->error), format, arguments);
        va_end(arguments);
    }
    return false;
}

static bool import_flush(struct import *import) {
    struct chord_load_result result;
    if (chord_load_rows(import->window) == 0) {
        return true;
    }
    chord_load_flush(import->window, IMPORT_ROW_MS, &result);
    if (operation_cancelled(import->operation)) {
        return import_fail(import, IMPORT_CANCELLED, "cancelled");
    }
    if (result.failed > 0) {
        return import_fail(import, IMPORT_RING,
                           "the ring did not take %zu rows in time (%s); what it took is kept",
                           result.failed, result.reason);
    }
    return true;
}

/* ---- what the window tells ---- */

static bool on_cancelled(void *context) {
    const struct import *import = context;
    return atomic_load(&import->app->stopping) || operation_cancelled(import->operation);
}

static void on_stored(void *context, size_t rows) {
    const struct import *import = context;
    operation_rows_stored(import->operation, rows);
}

static void on_failed(void *context, uint64_t line, const char *reason) {
    const struct import *import = context;
    operation_row_failed(import->operation, line, reason);
}

static void on_again(void *context, size_t rows, const char *address, const char *reason) {
    (void)context;
    log_line("INFO", "import", "%zu rows are sent again: %s: %s", rows, address, reason);
}

/* ---- rows ---- */

static bool row_failed(struct import *import, uint64_t line, const char *reason) {
    operation_row_failed(import->operation, line, reason);
    if (import->abort_on_error) {
        return import_fail(import, IMPORT_ABORTED, "stopped at line %llu: %s",
                           (unsigned long long)line, reason);
    }
    return true;
}

/* Every record that is counted as read ends in the window, or is counted as failed here. */
static bool on_record(void *context, const struct csv_record *record) {
    struct import *import = context;
    if (import->app->stopping || operation_cancelled(import->operation)) {
        return import_fail(import, IMPORT_CANCELLED, "cancelled");
    }
    operation_row_read(import->operation);
    if (record->error != NULL) {
        return row_failed(import, record->line, record->error);
    }
    if (!chord_load_fits(import->window, record->key_size, record->value_size) &&
        !import_flush(import)) {
        operation_row_failed(import->operation, record->line,
                             "the import had ended before this row was tried");
        return false;
    }
    if (chord_load_rows(import->window) == 0) {
        import->window_since_ms = clock_now_ms();
    }
    if (!chord_load_add(import->window, record->line, record->key, record->key_size, record->value,
                        record->value_size, record->expires_at_ms)) {
        operation_row_failed(import->operation, record->line, "no memory");
        return import_fail(import, IMPORT_RING, "no memory");
    }
    if (record->completed) {
        operation_row_completed(import->operation);
    }
    return true;
}

/* Why the reading ended, where the file is the reason. */
static void table_end_take(struct import *import) {
    enum csv_table_end end = csv_table_end(import->table);
    if (end == CSV_TABLE_NO_CSV || end == CSV_TABLE_NOT_WHOLE) {
        import_fail(import, end == CSV_TABLE_NO_CSV ? IMPORT_BAD_INPUT : IMPORT_NOT_WHOLE, "%s",
                    csv_table_error(import->table));
    } else if (end == CSV_TABLE_NO_MEMORY) {
        import_fail(import, IMPORT_RING, "no memory");
    }
}

/* ---- options, by query and by form ---- */

static const char *const option_names[] = {"key_column", "on_error", "delimiter", "charset",
                                           "header",     "format",   "strict"};

static bool option_is_known(const char *name) {
    for (size_t i = 0; i < sizeof(option_names) / sizeof(option_names[0]); i++) {
        if (strcmp(name, option_names[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* One of two words. */
static bool word_read(const char *text, const char *no, const char *yes, bool *is) {
    *is = strcmp(text, yes) == 0;
    return *is || strcmp(text, no) == 0 || text[0] == '\0';
}

static bool format_read(struct csv_table_options *options, const char *text) {
    options->form_given = strcmp(text, "auto") != 0 && text[0] != '\0';
    return !options->form_given || csv_form_read(text, &options->form);
}

/* Unknown names are somebody else's. false: `reason` says what the value must be. */
static bool option_set(struct import *import, const char *name, const char *text,
                       char reason[IMPORT_REASON_BYTES]) {
    struct csv_table_options *options = csv_table_options(import->table);
    const char *must = "";
    bool ok = true;
    if (strcmp(name, "key_column") == 0) {
        ok = strlen(text) < sizeof(options->key_column);
        must = "at most 511 bytes long";
        snprintf(options->key_column, sizeof(options->key_column), "%s", ok ? text : "");
    } else if (strcmp(name, "on_error") == 0) {
        ok = word_read(text, "skip", "abort", &import->abort_on_error);
        must = "skip or abort";
    } else if (strcmp(name, "header") == 0) {
        ok = word_read(text, "present", "absent", &options->header_absent);
        must = "present or absent";
    } else if (strcmp(name, "strict") == 0) {
        ok = word_read(text, "0", "1", &options->strict);
        must = "0 or 1";
    } else if (strcmp(name, "delimiter") == 0) {
        ok = csv_delimiter_read(text, &options->delimiter);
        must = CSV_DELIMITERS;
    } else if (strcmp(name, "charset") == 0) {
        options->charset = text[0] == '\0' ? NULL : csv_charset_known(text);
        ok = text[0] == '\0' || options->charset != NULL;
        must = CSV_CHARSETS;
    } else if (strcmp(name, "format") == 0) {
        ok = format_read(options, text);
        must = "auto, " CSV_FORMS;
    }
    snprintf(reason, IMPORT_REASON_BYTES, "%s is '%.60s'; it must be %s", name, text, must);
    return ok;
}

/* ---- the form ---- */

static bool on_part(void *context, const struct multipart_part *part) {
    struct import *import = context;
    import->in_file = part->is_file && !import->file_seen;
    if (part->is_file && import->file_seen) {
        return import_fail(import, IMPORT_BAD_INPUT,
                           "the form has more than one file; upload one at a time");
    }
    import->file_seen = import->file_seen || part->is_file;
    buf_clear(&import->field);
    memcpy(import->field_name, part->name, sizeof(import->field_name));
    return true;
}

static bool on_part_data(void *context, const void *data, size_t size) {
    struct import *import = context;
    if (import->in_file) {
        return csv_table_feed(import->table, data, size);
    }
    if (import->field.size + size >= IMPORT_FIELD_BYTES_MAX) {
        return import_fail(import, IMPORT_BAD_INPUT,
                           "the form's field '%s' is longer than %d bytes", import->field_name,
                           IMPORT_FIELD_BYTES_MAX - 1);
    }
    return buf_append(&import->field, data, size);
}

static bool on_part_end(void *context) {
    struct import *import = context;
    if (import->in_file) {
        import->in_file = false;
        return csv_table_finish(import->table);
    }
    if (!buf_append(&import->field, "", 1)) {
        return false;
    }
    const char *text = (const char *)import->field.data;
    char reason[IMPORT_REASON_BYTES];
    if (import->file_seen && text[0] != '\0' && option_is_known(import->field_name)) {
        return import_fail(
            import, IMPORT_BAD_INPUT,
            "the form's field '%s' stands after the file, which was read without it; "
            "put it before the file",
            import->field_name);
    }
    return option_set(import, import->field_name, text, reason) ||
           import_fail(import, IMPORT_BAD_INPUT, "the form: %s", reason);
}

/* ---- the body ---- */

static bool body_feed(struct import *import, const void *data, size_t size) {
    if (import->multipart == NULL) {
        return csv_table_feed(import->table, data, size);
    }
    if (multipart_feed(import->multipart, data, size)) {
        return true;
    }
    const char *error = multipart_error(import->multipart);
    return error == NULL ? false : import_fail(import, IMPORT_BAD_INPUT, "the form: %s", error);
}

static void body_end(struct import *import) {
    if (import->multipart == NULL) {
        (void)csv_table_finish(import->table);
    } else if (!multipart_is_complete(import->multipart)) {
        import_fail(import, IMPORT_CUT, "the form ends before its last boundary");
        (void)csv_table_cut(import->table);
    } else if (!import->file_seen) {
        import_fail(import, IMPORT_BAD_INPUT, "the form has no file");
    }
}

/* What was read whole is stored also when the rest never came. */
static void import_settle(struct import *import) {
    struct operation_reading reading = {.form = csv_table_form(import->table),
                                        .charset = csv_table_charset(import->table),
                                        .delimiter = csv_table_delimiter(import->table)};
    if (import->end == IMPORT_CANCELLED || import->end == IMPORT_RING) {
        chord_load_drop(import->window, import->error);
    } else {
        (void)import_flush(import);
    }
    operation_reading(import->operation, &reading);
}

static void import_read(struct import *import, struct http_request *request) {
    uint8_t data[IMPORT_READ_BYTES];
    bool going = true;
    while (going && import->end == IMPORT_GOING) {
        int64_t got = http_read(request, data, sizeof(data));
        if (got < 0) {
            (void)csv_table_cut(import->table);
            import_fail(import, IMPORT_CUT,
                        "the upload was cut off after %llu bytes; the rows before that are kept",
                        (unsigned long long)request->body_read);
        } else if (got == 0) {
            body_end(import);
            going = false;
        } else {
            operation_bytes_read(import->operation, (uint64_t)got);
            going = body_feed(import, data, (size_t)got);
            if (going && chord_load_rows(import->window) > 0 &&
                clock_now_ms() - import->window_since_ms > IMPORT_WINDOW_MS) {
                going = import_flush(import);
            }
        }
        table_end_take(import);
        if (operation_cancelled(import->operation)) {
            import_fail(import, IMPORT_CANCELLED, "cancelled");
        }
    }
    import_settle(import);
}

/* ---- the request ---- */

static bool type_is(const char *type, const char *name) {
    size_t size = strlen(name);
    return type != NULL && strncasecmp(type, name, size) == 0 &&
           (type[size] == '\0' || type[size] == ';' || type[size] == ' ');
}

/* curl's --data-binary says application/x-www-form-urlencoded where nothing is said. A form of a
 * foreign page says it too, but a browser says where it comes from. */
static bool type_is_curl(const struct http_request *request, const char *type) {
    return (type == NULL || type_is(type, "application/x-www-form-urlencoded")) &&
           http_header(request, "Origin") == NULL && http_header(request, "Referer") == NULL &&
           http_header(request, "Sec-Fetch-Site") == NULL;
}

/* Sets up the form reader where the body is one. false = answered with a problem. */
static bool import_type(struct import *import, struct http_request *request) {
    const struct multipart_handler handler = {on_part, on_part_data, on_part_end, import};
    const char *type = http_header(request, "Content-Type");
    if (type_is(type, "text/csv") || type_is(type, "application/csv") ||
        type_is(type, "text/plain") || type_is(type, "text/tab-separated-values") ||
        type_is(type, "application/vnd.ms-excel") || type_is(type, "application/octet-stream") ||
        type_is_curl(request, type)) {
        return true;
    }
    char boundary[MULTIPART_BOUNDARY_BYTES_MAX + 1];
    if (!type_is(type, "multipart/form-data")) {
        http_problem(request, 415, "INVALID_ARGUMENT",
                     "Content-Type is '%.80s'; send the file as text/csv or as multipart/form-data",
                     type == NULL ? "" : type);
        return false;
    }
    if (!multipart_boundary(type, boundary)) {
        http_problem(request, 400, "INVALID_ARGUMENT",
                     "Content-Type multipart/form-data names no boundary of 1 to 70 characters");
        return false;
    }
    import->multipart = multipart_new(boundary, &handler);
    if (import->multipart == NULL) {
        http_problem(request, 500, "INTERNAL", "no memory");
    }
    return import->multipart != NULL;
}

/* false = answered with a problem. */
static bool import_query(struct import *import, struct http_request *request,
                         char id[OPERATION_ID_MAX + 2]) {
    char reason[IMPORT_REASON_BYTES] = "";
    struct buf value = {0};
    bool malformed = false;
    bool ok = true;
    id[0] = '\0';
    for (size_t i = 0; ok && i < sizeof(option_names) / sizeof(option_names[0]); i++) {
        if (url_parameter(request->query, option_names[i], &value, &malformed)) {
            ok = option_set(import, option_names[i], (const char *)value.data, reason);
        } else if (malformed) {
            snprintf(reason, sizeof(reason), "%s holds a %% without two hex digits",
                     option_names[i]);
            ok = false;
        }
    }
    if (ok && url_parameter(request->query, "id", &value, &malformed) && value.size > 0) {
        ok = value.size <= OPERATION_ID_MAX && operation_id_valid((const char *)value.data);
        snprintf(id, OPERATION_ID_MAX + 1, "%s", (const char *)value.data);
    }
    if (!ok || malformed) {
        http_problem(request, 400, "INVALID_ARGUMENT", "%s",
                     reason[0] != '\0' && !(ok && malformed)
                         ? reason
                         : "id must have 8 to 64 characters of a-z, 0-9 and -");
        ok = false;
    }
    buf_free(&value);
    return ok;
}

/* false = answered with a problem. */
static bool import_begin(struct import *import, struct http_request *request, const char *id) {
    const struct chord_load_events events = {on_cancelled, on_stored, on_failed, on_again, import};
    int result = operation_start(import->app->operations, id[0] == '\0' ? NULL : id,
                                 request->body_bytes, &import->operation);
    if (result == -EEXIST) {
        http_problem(request, 409, "ALREADY_EXISTS", "an operation with id %s exists", id);
    } else if (result == -EBUSY) {
        http_problem_more(request, 503, "RESOURCE_EXHAUSTED", "Retry-After: 5\r\n", NULL,
                          "%d imports are running, which is the limit", OPERATIONS_RUNNING_MAX);
    } else if (result != 0) {
        http_problem(request, 500, "INTERNAL", "no memory");
    } else {
        import->window = chord_load_new(import->app->ring, &events);
        if (import->window == NULL) {
            json_decref(operation_end(import->operation, OPERATION_FAILED, "no memory"));
            http_problem(request, 500, "INTERNAL", "no memory");
            result = -ENOMEM;
        }
    }
    return result == 0;
}

/* 422 for a file that is none, 503 for a ring that takes nothing, 400 for a cut upload. */
static int import_status(const struct import *import, bool plain) {
    switch (import->end) {
    case IMPORT_BAD_INPUT:
    case IMPORT_NOT_WHOLE:
    case IMPORT_ABORTED:
        return 422;
    case IMPORT_RING:
        return 503;
    case IMPORT_CUT:
        return 400;
    case IMPORT_GOING:
    case IMPORT_CANCELLED:
        break;
    }
    return plain ? 200 : 202;
}

static void import_answer(struct import *import, struct http_request *request, bool plain) {
    char headers[160];
    char href[OPERATION_ID_MAX + 32];
    snprintf(href, sizeof(href), "/api/v1/operations/%s", operation_id(import->operation));
    snprintf(headers, sizeof(headers), "Location: %s\r\n", href);
    uint64_t stored = 0;
    uint64_t failed = 0;
    operation_rows(import->operation, &stored, &failed);
    if (import->end == IMPORT_GOING && stored == 0 && failed > 0) {
        import_fail(import, IMPORT_BAD_INPUT, "none of the %llu rows was stored",
                    (unsigned long long)failed);
    }
    enum operation_state state = import->end == IMPORT_CANCELLED ? OPERATION_CANCELLED
                                 : import->end != IMPORT_GOING   ? OPERATION_FAILED
                                 : failed > 0                    ? OPERATION_PARTIAL
                                                                 : OPERATION_DONE;
    int status = import_status(import, plain);
    json_t *json = operation_end(import->operation, state, import->error);
    json_put(json, "href", json_string(href));
    if (status < 300) {
        http_reply_json(request, status, headers, json);
        return;
    }
    const char *code = status == 503 ? "UNAVAILABLE" : "INVALID_ARGUMENT";
    http_problem_more(request, status, code, headers, json, "%s", import->error);
}

static void import_run(struct app *app, struct http_request *request, bool plain) {
    struct import *import = calloc(1, sizeof(*import));
    char id[OPERATION_ID_MAX + 2];
    if (import == NULL) {
        http_problem(request, 500, "INTERNAL", "no memory");
        return;
    }
    static const struct csv_table_options by_default = {0};
    import->app = app;
    import->table = csv_table_new(&by_default, on_record, import);
    if (import->table == NULL) {
        http_problem(request, 500, "INTERNAL", "no memory");
    } else if (import_query(import, request, id) && import_type(import, request) &&
               import_begin(import, request, id)) {
        import_read(import, request);
        import_answer(import, request, plain);
    }
    chord_load_free(import->window);
    multipart_free(import->multipart);
    csv_table_free(import->table);
    buf_free(&import->field);
    free(import);
}

void import_post(struct app *app, struct http_request *request, const struct buf *argument) {
    (void)argument;
    import_run(app, request, false);
}

void upload_post(struct app *app, struct http_request *request, const struct buf *argument) {
    (void)argument;
    import_run(app, request, true);
}

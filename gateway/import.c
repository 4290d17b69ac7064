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

#include "csv_reader.h"
#include "import_window.h"
#include "json.h"
#include "log.h"
#include "multipart.h"
#include "operations.h"
#include "ring_view.h"
#include "routes.h"
#include "url.h"

enum {
    IMPORT_KEY_BYTES_MAX = 1024,
    IMPORT_VALUE_BYTES_MAX = 1024 * 1024,
    IMPORT_READ_BYTES = 16 * 1024,
    IMPORT_WINDOW_MS = 500, /* rows of a slow upload do not wait longer */
    IMPORT_FIELD_BYTES_MAX = 512,
};

enum import_end {
    IMPORT_GOING,
    IMPORT_BAD_INPUT, /* nothing of the file can be read */
    IMPORT_ABORTED,   /* on_error=abort met a bad row */
    IMPORT_RING,      /* the ring takes no writes */
    IMPORT_CUT,       /* the upload ended early */
    IMPORT_CANCELLED,
};

struct import {
    struct app *app;
    struct operation *operation;
    struct import_window *window;
    struct csv_reader *csv;
    struct multipart *multipart;
    struct buf value; /* the cells beside the key as one record */
    char key_column[IMPORT_FIELD_BYTES_MAX];
    bool abort_on_error;
    bool header_seen;
    size_t columns;
    size_t key_index;
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
    char reason[200] = "";
    if (import_window_rows(import->window) == 0) {
        return true;
    }
    size_t failed = import_window_flush(import->window, reason, sizeof(reason));
    if (operation_cancelled(import->operation)) {
        return import_fail(import, IMPORT_CANCELLED, "cancelled");
    }
    if (failed > 0) {
        return import_fail(import, IMPORT_RING,
                           "the ring did not take %zu rows in time (%s); what it took is kept",
                           failed, reason);
    }
    return true;
}

/* ---- rows ---- */

static bool field_is(const struct csv_field *field, const char *text) {
    return field->size == strlen(text) && memcmp(field->data, text, field->size) == 0;
}

static bool header_take(struct import *import, const struct csv_row *row) {
    if (row->error != NULL) {
        return import_fail(import, IMPORT_BAD_INPUT,
                           "this is no CSV file: line %llu, which should be the header: %s",
                           (unsigned long long)row->line, row->error);
    }
    import->header_seen = true;
    import->columns = row->fields_count;
    if (row->fields_count < 2) {
        return import_fail(import, IMPORT_BAD_INPUT,
                           "the header '%.*s' has one column; a key and a value are needed, "
                           "separated by a comma",
                           (int)(row->fields[0].size > 60 ? 60 : row->fields[0].size),
                           (const char *)row->fields[0].data);
    }
    if (import->key_column[0] == '\0') {
        return true;
    }
    for (size_t i = 0; i < row->fields_count; i++) {
        if (field_is(&row->fields[i], import->key_column)) {
            import->key_index = i;
            return true;
        }
    }
    return import_fail(import, IMPORT_BAD_INPUT, "no column is named '%.80s'; the first is '%.*s'",
                       import->key_column,
                       (int)(row->fields[0].size > 60 ? 60 : row->fields[0].size),
                       (const char *)row->fields[0].data);
}

static bool row_bad(struct import *import, uint64_t line, const char *reason) {
    operation_row_failed(import->operation, line, reason);
    if (import->abort_on_error) {
        return import_fail(import, IMPORT_ABORTED, "stopped at line %llu: %s",
                           (unsigned long long)line, reason);
    }
    return true;
}

/* The second cell, or with more than two columns the others as one CSV record. */
static bool value_make(struct import *import, const struct csv_row *row) {
    buf_clear(&import->value);
    if (row->fields_count == 2) {
        const struct csv_field *field = &row->fields[1 - import->key_index];
        return buf_append(&import->value, field->data, field->size);
    }
    bool first = true;
    bool ok = true;
    for (size_t i = 0; i < row->fields_count && ok; i++) {
        if (i != import->key_index) {
            ok = (first || buf_append(&import->value, ",", 1)) &&
                 csv_write_field(&import->value, row->fields[i].data, row->fields[i].size);
            first = false;
        }
    }
    return ok;
}

static bool row_take(struct import *import, const struct csv_row *row) {
    char reason[160];
    operation_row_read(import->operation);
    if (row->error != NULL) {
        return row_bad(import, row->line, row->error);
    }
    if (row->fields_count != import->columns) {
        snprintf(reason, sizeof(reason), "the row has %zu field%s, the header has %zu",
                 row->fields_count, row->fields_count == 1 ? "" : "s", import->columns);
        return row_bad(import, row->line, reason);
    }
    const struct csv_field *key = &row->fields[import->key_index];
    if (key->size == 0 || key->size > IMPORT_KEY_BYTES_MAX) {
        return row_bad(import, row->line,
                       key->size == 0 ? "the key is empty" : "the key is longer than 1024 bytes");
    }
    if (!value_make(import, row)) {
        return import_fail(import, IMPORT_RING, "no memory");
    }
    if (import->value.size > IMPORT_VALUE_BYTES_MAX) {
        return row_bad(import, row->line, "the value is larger than 1 MiB");
    }
    if (!import_window_fits(import->window, key->size, import->value.size) &&
        !import_flush(import)) {
        return false;
    }
    if (import_window_rows(import->window) == 0) {
        import->window_since_ms = clock_now_ms();
    }
    if (!import_window_add(import->window, row->line, key->data, key->size, import->value.data,
                           import->value.size)) {
        return import_fail(import, IMPORT_RING, "no memory");
    }
    return true;
}

static bool on_row(void *context, const struct csv_row *row) {
    struct import *import = context;
    if (import->app->stopping || operation_cancelled(import->operation)) {
        return import_fail(import, IMPORT_CANCELLED, "cancelled");
    }
    return import->header_seen ? row_take(import, row) : header_take(import, row);
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
        return csv_reader_feed(import->csv, data, size);
    }
    if (import->field.size + size > IMPORT_FIELD_BYTES_MAX) {
        return import_fail(import, IMPORT_BAD_INPUT,
                           "the form's field '%s' is longer than %d bytes", import->field_name,
                           IMPORT_FIELD_BYTES_MAX);
    }
    return buf_append(&import->field, data, size);
}

static bool on_part_end(void *context) {
    struct import *import = context;
    if (import->in_file) {
        import->in_file = false;
        return csv_reader_finish(import->csv);
    }
    if (!buf_append(&import->field, "", 1)) {
        return false;
    }
    const char *text = (const char *)import->field.data;
    if (strcmp(import->field_name, "key_column") == 0) {
        snprintf(import->key_column, sizeof(import->key_column), "%s", text);
    } else if (strcmp(import->field_name, "on_error") == 0) {
        import->abort_on_error = strcmp(text, "abort") == 0;
    }
    return true;
}

/* ---- the body ---- */

static bool body_feed(struct import *import, const void *data, size_t size) {
    if (import->multipart == NULL) {
        return csv_reader_feed(import->csv, data, size);
    }
    if (multipart_feed(import->multipart, data, size)) {
        return true;
    }
    const char *error = multipart_error(import->multipart);
    return error == NULL ? false : import_fail(import, IMPORT_BAD_INPUT, "the form: %s", error);
}

static void body_end(struct import *import) {
    if (import->multipart == NULL) {
        (void)csv_reader_finish(import->csv);
    } else if (!multipart_is_complete(import->multipart)) {
        import_fail(import, IMPORT_CUT, "the form ends before its last boundary");
    } else if (!import->file_seen) {
        import_fail(import, IMPORT_BAD_INPUT, "the form has no file");
    }
    if (import->end == IMPORT_GOING && !import->header_seen) {
        import_fail(import, IMPORT_BAD_INPUT,
                    "the file is empty; its first line must be a header such as key,value");
    }
}

static void import_read(struct import *import, struct http_request *request) {
    uint8_t data[IMPORT_READ_BYTES];
    bool going = true;
    while (going && import->end == IMPORT_GOING) {
        int64_t got = http_read(request, data, sizeof(data));
        if (got < 0) {
            import_fail(import, IMPORT_CUT,
                        "the upload was cut off after %llu bytes; the rows before that are kept",
                        (unsigned long long)request->body_read);
        } else if (got == 0) {
            body_end(import);
            break;
        } else {
            operation_bytes_read(import->operation, (uint64_t)got);
            going = body_feed(import, data, (size_t)got);
            if (going && import_window_rows(import->window) > 0 &&
                clock_now_ms() - import->window_since_ms > IMPORT_WINDOW_MS) {
                going = import_flush(import);
            }
        }
        if (operation_cancelled(import->operation)) {
            import_fail(import, IMPORT_CANCELLED, "cancelled");
        }
    }
    if (csv_reader_failed(import->csv)) {
        import_fail(import, IMPORT_RING, "no memory");
    }
    /* What was read whole is stored also when the rest never came. */
    if (import->end == IMPORT_GOING || import->end == IMPORT_CUT || import->end == IMPORT_ABORTED) {
        (void)import_flush(import);
    }
}

/* ---- the request ---- */

static bool type_is(const char *type, const char *name) {
    size_t size = strlen(name);
    return type != NULL && strncasecmp(type, name, size) == 0 &&
           (type[size] == '\0' || type[size] == ';' || type[size] == ' ');
}

/* Sets up the form reader where the body is one. false = answered with a problem. */
static bool import_type(struct import *import, struct http_request *request) {
    const struct multipart_handler handler = {on_part, on_part_data, on_part_end, import};
    const char *type = http_header(request, "Content-Type");
    if (type_is(type, "text/csv") || type_is(type, "application/csv") ||
        type_is(type, "text/plain") || type_is(type, "application/vnd.ms-excel")) {
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

static bool import_query(struct import *import, struct http_request *request,
                         char id[OPERATION_ID_MAX + 2]) {
    char on_error[16] = "skip";
    struct buf key_column = {0};
    bool ok = true;
    id[0] = '\0';
    if (url_parameter(request->query, "key_column", &key_column, NULL)) {
        ok = key_column.size < sizeof(import->key_column);
        snprintf(import->key_column, sizeof(import->key_column), "%s",
                 (const char *)key_column.data);
    }
    buf_free(&key_column);
    if (!ok) {
        http_problem(request, 400, "INVALID_ARGUMENT", "key_column is longer than %d bytes",
                     IMPORT_FIELD_BYTES_MAX - 1);
        return false;
    }
    (void)url_parameter_text(request->query, "on_error", on_error, sizeof(on_error));
    import->abort_on_error = strcmp(on_error, "abort") == 0;
    if (!import->abort_on_error && strcmp(on_error, "skip") != 0 && on_error[0] != '\0') {
        http_problem(request, 400, "INVALID_ARGUMENT", "on_error is '%s'; it must be skip or abort",
                     on_error);
        return false;
    }
    struct buf given = {0};
    if (url_parameter(request->query, "id", &given, NULL) && given.size > 0) {
        ok = given.size <= OPERATION_ID_MAX && operation_id_valid((const char *)given.data);
        snprintf(id, OPERATION_ID_MAX + 1, "%s", (const char *)given.data);
    }
    buf_free(&given);
    if (!ok) {
        http_problem(request, 400, "INVALID_ARGUMENT",
                     "id must have 8 to 64 characters of a-z, 0-9 and -");
    }
    return ok;
}

/* false = answered with a problem. */
static bool import_begin(struct import *import, struct http_request *request, const char *id) {
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
        import->window = import_window_new(import->app, import->operation);
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
    enum operation_state state = import->end == IMPORT_GOING       ? OPERATION_DONE
                                 : import->end == IMPORT_CANCELLED ? OPERATION_CANCELLED
                                                                   : OPERATION_FAILED;
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
    import->app = app;
    import->csv = csv_reader_new(on_row, import);
    if (import->csv == NULL) {
        http_problem(request, 500, "INTERNAL", "no memory");
    } else if (import_query(import, request, id) && import_type(import, request) &&
               import_begin(import, request, id)) {
        import_read(import, request);
        import_answer(import, request, plain);
    }
    import_window_free(import->window);
    multipart_free(import->multipart);
    csv_reader_free(import->csv);
    buf_free(&import->value);
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

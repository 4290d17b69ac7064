/* SPDX-License-Identifier: MIT */
/*
 * POST /api/v1/imports and /upload: a CSV file, raw or as the one file of a form, parsed while it
 * arrives and stored window by window. Memory stays the same whatever the size of the file.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "csv_import.h"
#include "json.h"
#include "log.h"
#include "multipart.h"
#include "operations.h"
#include "routes.h"
#include "url.h"

enum {
    IMPORT_READ_BYTES = 16 * 1024,
    IMPORT_ROW_MS = 30000, /* a row that is not acknowledged after that has failed */
    IMPORT_FIELD_BYTES_MAX = CSV_NAME_BYTES_MAX + 1, /* of a form's field, with its end */
};

struct import {
    struct app *app;
    struct http_request *request;
    struct operation *operation;
    struct csv_import *file;
    struct multipart *multipart;
    /* Of a form. */
    bool in_file;
    bool file_seen;
    char field_name[MULTIPART_NAME_BYTES_MAX + 1];
    struct buf field;
};

/* ---- what the import tells ---- */

static bool on_cancelled(void *context) {
    const struct import *import = context;
    return atomic_load(&import->app->stopping) || operation_cancelled(import->operation);
}

static void on_progress(void *context, const struct csv_import_account *account) {
    const struct import *import = context;
    operation_progress(import->operation, account, csv_import_table(import->file),
                       import->request->body_read);
}

static void on_failed(void *context, uint64_t line, const char *reason, bool bad) {
    const struct import *import = context;
    (void)bad;
    operation_row_failed(import->operation, line, reason);
}

static void on_again(void *context, size_t rows, const char *address, const char *reason) {
    (void)context;
    log_line("INFO", "import", "%zu rows are sent again: %s: %s", rows, address, reason);
}

/* ---- the form ---- */

static bool field_bad(struct import *import, const char *what) {
    return csv_import_fail(import->file, CSV_IMPORT_BAD_INPUT, "the form's field '%s' %s",
                           import->field_name, what);
}

static bool on_part(void *context, const struct multipart_part *part) {
    struct import *import = context;
    import->in_file = part->is_file && !import->file_seen;
    if (part->is_file && import->file_seen) {
        return csv_import_fail(import->file, CSV_IMPORT_BAD_INPUT,
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
        return csv_import_feed(import->file, data, size);
    }
    if (import->field.size + size >= IMPORT_FIELD_BYTES_MAX) {
        return field_bad(import, "is longer than 511 bytes");
    }
    return buf_append(&import->field, data, size);
}

static bool option_is_known(const char *name) {
    for (size_t i = 0; csv_import_option_names[i] != NULL; i++) {
        if (strcmp(name, csv_import_option_names[i]) == 0) {
            return true;
        }
    }
    return false;
}

static bool on_part_end(void *context) {
    struct import *import = context;
    if (import->in_file) {
        import->in_file = false;
        return csv_import_finish(import->file);
    }
    if (!buf_append(&import->field, "", 1)) {
        return false;
    }
    const char *text = (const char *)import->field.data;
    if (import->file_seen && text[0] != '\0' && option_is_known(import->field_name)) {
        return field_bad(import,
                         "stands after the file, which was read without it; put it before the "
                         "file");
    }
    const char *must =
        csv_import_option(csv_import_options(import->file), import->field_name, text);
    return must == NULL || csv_import_fail(import->file, CSV_IMPORT_BAD_INPUT,
                                           "the form: %s is '%.60s'; it must be %s",
                                           import->field_name, text, must);
}

/* ---- the body ---- */

static bool body_feed(struct import *import, const void *data, size_t size) {
    if (import->multipart == NULL) {
        return csv_import_feed(import->file, data, size);
    }
    if (multipart_feed(import->multipart, data, size)) {
        return true;
    }
    const char *error = multipart_error(import->multipart);
    return error != NULL &&
           csv_import_fail(import->file, CSV_IMPORT_BAD_INPUT, "the form: %s", error);
}

static void body_end(struct import *import) {
    if (import->multipart == NULL) {
        (void)csv_import_finish(import->file);
    } else if (!multipart_is_complete(import->multipart)) {
        (void)csv_import_cut(import->file, "the form ends before its last boundary");
    } else if (!import->file_seen) {
        (void)csv_import_fail(import->file, CSV_IMPORT_BAD_INPUT, "the form has no file");
    }
}

static void import_read(struct import *import) {
    const struct csv_import_account *account = csv_import_account(import->file);
    uint8_t data[IMPORT_READ_BYTES];
    char error[100];
    int64_t got = 1;
    while (got > 0 && account->end == CSV_IMPORT_GOING) {
        got = http_read(import->request, data, sizeof(data));
        if (got < 0) {
            snprintf(error, sizeof(error),
                     "the upload was cut off after %llu bytes; the rows before that are kept",
                     (unsigned long long)import->request->body_read);
            (void)csv_import_cut(import->file, error);
        } else if (got == 0) {
            body_end(import);
        } else if (!body_feed(import, data, (size_t)got)) {
            got = 0;
        }
        if (on_cancelled(import)) {
            (void)csv_import_fail(import->file, CSV_IMPORT_CANCELLED, "cancelled");
        }
    }
    csv_import_settle(import->file);
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
static bool import_query(struct csv_import_options *options, struct http_request *request,
                         char id[OPERATION_ID_MAX + 2]) {
    static const char id_must[] = "id must have 8 to 64 characters of a-z, 0-9 and -";
    char reason[200] = "";
    struct buf value = {0};
    bool malformed = false;
    id[0] = '\0';
    for (size_t i = 0; reason[0] == '\0' && csv_import_option_names[i] != NULL; i++) {
        const char *name = csv_import_option_names[i];
        if (url_parameter(request->query, name, &value, &malformed)) {
            const char *text = (const char *)value.data;
            const char *must = csv_import_option(options, name, text);
            if (must != NULL) {
                snprintf(reason, sizeof(reason), "%s is '%.60s'; it must be %s", name, text, must);
            }
        } else if (malformed) {
            snprintf(reason, sizeof(reason), "%s holds a %% without two hex digits", name);
        }
    }
    if (reason[0] == '\0' && url_parameter(request->query, "id", &value, &malformed) &&
        value.size > 0) {
        bool valid = value.size <= OPERATION_ID_MAX && operation_id_valid((const char *)value.data);
        snprintf(id, OPERATION_ID_MAX + 1, "%s", (const char *)value.data);
        malformed = !valid;
    }
    if (reason[0] != '\0' || malformed) {
        http_problem(request, 400, "INVALID_ARGUMENT", "%s", reason[0] != '\0' ? reason : id_must);
    }
    buf_free(&value);
    return reason[0] == '\0' && !malformed;
}

/* false = answered with a problem. */
static bool import_begin(struct import *import, const struct csv_import_options *options,
                         const char *id) {
    const struct csv_import_events events = {on_cancelled, on_progress, on_failed, on_again,
                                             import};
    struct http_request *request = import->request;
    int result = operation_start(import->app->operations, id[0] == '\0' ? NULL : id,
                                 request->body_bytes, &import->operation);
    if (result == -EEXIST) {
        http_problem(request, 409, "ALREADY_EXISTS", "an operation with id %s exists", id);
    } else if (result == -EBUSY) {
        http_problem_more(request, 503, "RESOURCE_EXHAUSTED", "Retry-After: 5\r\n", NULL,
                          "%d imports are running, which is the limit", OPERATIONS_RUNNING_MAX);
    } else if (result == 0) {
        import->file = csv_import_new(import->app->ring, options, &events);
        if (import->file == NULL) {
            json_decref(operation_end(import->operation, OPERATION_FAILED, "no memory"));
            result = -ENOMEM;
        }
    }
    if (result == -ENOMEM) {
        http_problem(request, 500, "INTERNAL", "no memory");
    }
    return result == 0;
}

/* 422 for a file that is none, 503 for a ring that takes nothing, 400 for a cut upload. */
static int import_status(enum csv_import_end end, bool plain) {
    switch (end) {
    case CSV_IMPORT_BAD_INPUT:
    case CSV_IMPORT_NOT_WHOLE:
    case CSV_IMPORT_ABORTED:
        return 422;
    case CSV_IMPORT_RING:
        return 503;
    case CSV_IMPORT_CUT:
        return 400;
    case CSV_IMPORT_GOING:
    case CSV_IMPORT_CANCELLED:
        break;
    }
    return plain ? 200 : 202;
}

static void import_answer(struct import *import, bool plain) {
    const struct csv_import_account *account = csv_import_account(import->file);
    char headers[160];
    char href[OPERATION_ID_MAX + 32];
    snprintf(href, sizeof(href), "/api/v1/operations/%s", operation_id(import->operation));
    snprintf(headers, sizeof(headers), "Location: %s\r\n", href);
    enum operation_state state = account->end == CSV_IMPORT_CANCELLED ? OPERATION_CANCELLED
                                 : account->end != CSV_IMPORT_GOING   ? OPERATION_FAILED
                                 : account->rows_failed > 0           ? OPERATION_PARTIAL
                                                                      : OPERATION_DONE;
    int status = import_status(account->end, plain);
    json_t *json = operation_end(import->operation, state, account->error);
    json_put(json, "href", json_string(href));
    if (status < 300) {
        http_reply_json(import->request, status, headers, json);
        return;
    }
    const char *code = status == 503 ? "UNAVAILABLE" : "INVALID_ARGUMENT";
    http_problem_more(import->request, status, code, headers, json, "%s", account->error);
}

static void import_run(struct app *app, struct http_request *request, bool plain) {
    struct import *import = calloc(1, sizeof(*import));
    struct csv_import_options options = {.store_ms = IMPORT_ROW_MS};
    char id[OPERATION_ID_MAX + 2];
    if (import == NULL) {
        http_problem(request, 500, "INTERNAL", "no memory");
        return;
    }
    import->app = app;
    import->request = request;
    if (import_query(&options, request, id) && import_type(import, request) &&
        import_begin(import, &options, id)) {
        import_read(import);
        import_answer(import, plain);
    }
    csv_import_free(import->file);
    multipart_free(import->multipart);
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

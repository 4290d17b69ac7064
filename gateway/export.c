/* SPDX-License-Identifier: MIT */
/* GET /api/v1/exports: every key and value as CSV, streamed, a page at a time in memory. */
#include <stdatomic.h>
#include <stdio.h>

#include "chord_client.h"
#include "csv_export.h"
#include "log.h"
#include "routes.h"
#include "url.h"

enum { EXPORTS_MAX = 4, EXPORT_PAGE = 1000 };

static atomic_int exports_running;

static bool page_write(struct http_request *request, struct csv_export *export,
                       const struct chord_page *page) {
    struct buf out = {0};
    bool ok = csv_export_page(export, &out, page) && http_stream_write(request, out.data, out.size);
    buf_free(&out);
    return ok;
}

static bool head_write(struct http_request *request, struct csv_export *export,
                       enum csv_form form) {
    char headers[128];
    struct buf head = {0};
    snprintf(headers, sizeof(headers),
             "Content-Disposition: attachment; filename=\"chord%s%s.csv\"\r\n",
             form == CSV_PLAIN ? "" : "-", form == CSV_PLAIN ? "" : csv_form_name(form));
    bool ok = http_stream_begin(request, 200, "text/csv; charset=utf-8", headers) &&
              csv_export_head(export, &head) && http_stream_write(request, head.data, head.size);
    buf_free(&head);
    return ok;
}

static bool end_write(struct http_request *request, struct csv_export *export) {
    struct buf end = {0};
    bool ok = csv_export_end(export, &end) && http_stream_write(request, end.data, end.size);
    buf_free(&end);
    return ok;
}

/* Only after the first page is there an answer to begin: until then an error can be told. */
static void export_run(struct http_request *request, struct chord_walk *walk,
                       struct csv_export *export, enum csv_form form) {
    struct chord_page page;
    char error[200] = "";
    if (!chord_walk_next(walk, EXPORT_PAGE, &page, error, sizeof(error))) {
        http_problem_more(request, 503, "UNAVAILABLE", "Retry-After: 2\r\n", NULL, "%s", error);
        return;
    }
    bool told = true;
    bool ok = head_write(request, export, form);
    while (ok && (ok = page_write(request, export, &page)) && !page.done) {
        told = chord_walk_next(walk, EXPORT_PAGE, &page, error, sizeof(error));
        ok = told;
    }
    if (request->head || (ok && end_write(request, export))) {
        (void)http_stream_end(request);
    } else {
        http_stream_abort(request);
        log_line("WARN", "export", "ended early after %llu rows: %s",
                 (unsigned long long)csv_export_rows(export),
                 told ? "the client went away" : error);
    }
}

static void export_answer(struct app *app, struct http_request *request, enum csv_form form) {
    struct csv_export *export = csv_export_new(form);
    struct chord_walk *walk = chord_walk_new(app->ring, NULL, 0, true);
    if (export == NULL || walk == NULL) {
        http_problem(request, 500, "INTERNAL", "no memory");
    } else {
        export_run(request, walk, export, form);
    }
    chord_walk_free(walk);
    csv_export_free(export);
}

void export_get(struct app *app, struct http_request *request, const struct buf *argument) {
    (void)argument;
    char format[16];
    struct buf given = {0};
    enum csv_form form = CSV_PLAIN;
    bool malformed = false;
    bool is_given = url_parameter(request->query, "format", &given, &malformed);
    snprintf(format, sizeof(format), "%s", is_given ? (const char *)given.data : "csv");
    bool ok = !malformed && given.size < sizeof(format);
    buf_free(&given);
    if (!ok || !csv_form_read(format, &form)) {
        http_problem(request, 400, "INVALID_ARGUMENT", "format is '%s'; it must be %s", format,
                     CSV_FORMS);
        return;
    }
    if (atomic_fetch_add(&exports_running, 1) >= EXPORTS_MAX) {
        http_problem_more(request, 503, "RESOURCE_EXHAUSTED", "Retry-After: 5\r\n", NULL,
                          "%d exports are running, which is the limit", EXPORTS_MAX);
    } else {
        export_answer(app, request, form);
    }
    atomic_fetch_sub(&exports_running, 1);
}

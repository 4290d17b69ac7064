/* GET /api/v1/exports: every key and value as CSV, streamed, a page at a time in memory. */
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "csv_reader.h"
#include "log.h"
#include "routes.h"
#include "url.h"
#include "walk.h"

enum { EXPORTS_MAX = 4, EXPORT_PAGE = 1000 };

static atomic_int exports_running;

static bool page_write(struct http_request *request, const struct walk_page *page,
                       struct buf *out) {
    buf_clear(out);
    bool ok = true;
    for (size_t i = 0; i < page->count && ok; i++) {
        const Chord__V1__KeyInfo *info = page->keys[i];
        ok = csv_write_field(out, info->key.data, info->key.len) && buf_append(out, ",", 1) &&
             csv_write_field(out, info->value.data, info->value.len) && buf_append(out, "\r\n", 2);
    }
    return ok && http_stream_write(request, out->data, out->size);
}

/* Only after the first page is there an answer to begin: until then an error can be told. */
static void export_run(struct app *app, struct http_request *request) {
    static const char headers[] = "Content-Disposition: attachment; filename=\"chord.csv\"\r\n";
    struct walk walk;
    struct walk_page page = {0};
    struct buf out = {0};
    char error[160] = "";
    unsigned long long rows = 0;
    walk_start(&walk, app, true);
    bool ok = walk_next(&walk, EXPORT_PAGE, &page, error, sizeof(error));
    if (!ok) {
        http_problem_more(request, 503, "UNAVAILABLE", "Retry-After: 2\r\n", NULL, "%s", error);
        walk_end(&walk);
        return;
    }
    ok = http_stream_begin(request, 200, "text/csv; charset=utf-8", headers) &&
         http_stream_write(request, "key,value\r\n", 11);
    while (ok) {
        rows += page.count;
        ok = page_write(request, &page, &out);
        walk_page_free(&page);
        if (!ok || walk.done) {
            break;
        }
        ok = walk_next(&walk, EXPORT_PAGE, &page, error, sizeof(error));
    }
    walk_page_free(&page);
    if (ok || request->head) {
        (void)http_stream_end(request);
    } else {
        http_stream_abort(request);
        log_line("WARN", "export", "ended early after %llu rows: %s", rows,
                 error[0] == '\0' ? "the client went away" : error);
    }
    walk_end(&walk);
    buf_free(&out);
}

void export_get(struct app *app, struct http_request *request, const struct buf *argument) {
    (void)argument;
    char format[16] = "csv";
    if (url_parameter_text(request->query, "format", format, sizeof(format)) &&
        strcmp(format, "csv") != 0) {
        http_problem(request, 400, "INVALID_ARGUMENT", "format is '%s'; only csv is known", format);
        return;
    }
    if (atomic_fetch_add(&exports_running, 1) >= EXPORTS_MAX) {
        http_problem_more(request, 503, "RESOURCE_EXHAUSTED", "Retry-After: 5\r\n", NULL,
                          "%d exports are running, which is the limit", EXPORTS_MAX);
    } else {
        export_run(app, request);
    }
    atomic_fetch_sub(&exports_running, 1);
}

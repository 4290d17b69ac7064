/* SPDX-License-Identifier: MIT */
/* DATA_DIR/audit.log; see audit.h. */
#include "audit.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "app.h"
#include "log.h"
#include "private.h"
#include "utf8.h"

enum {
    FILE_BYTES_MAX = 16 * 1024 * 1024, /* then it becomes audit.log.1 */
    PATH_BYTES_MAX = 400,              /* of a request; keys are in paths */
    REFUSED_BURST = 20,                /* strangers cannot push out what happened: refusals that */
    REFUSED_REFILL_MS = 1000,          /* have a line at once, and one more each so long */
};

struct audit {
    char path[SETTINGS_PATH_SIZE + 16];
    pthread_mutex_t lock; /* of the rest, and of the file */
    unsigned refusals_left;
    uint64_t refilled_ms;
    unsigned unwritten; /* refusals without a line */
    bool failed;        /* as the log was told */
};

struct audit *audit_new(const char *folder) {
    struct audit *audit = calloc(1, sizeof(*audit));
    if (audit != NULL) {
        snprintf(audit->path, sizeof(audit->path), "%s/audit.log", folder);
        pthread_mutex_init(&audit->lock, NULL);
        audit->refusals_left = REFUSED_BURST;
    }
    return audit;
}

void audit_free(struct audit *audit) {
    if (audit != NULL) {
        pthread_mutex_destroy(&audit->lock);
        free(audit);
    }
}

static bool refusal_has_line(struct audit *audit) {
    uint64_t now = clock_now_ms(), more = (now - audit->refilled_ms) / REFUSED_REFILL_MS;
    if (more > 0) {
        uint64_t left = audit->refusals_left + more;
        audit->refusals_left = left < REFUSED_BURST ? (unsigned)left : REFUSED_BURST;
        audit->refilled_ms = now;
    }
    if (audit->refusals_left == 0) {
        audit->unwritten++;
        return false;
    }
    audit->refusals_left--;
    return true;
}

/* Opened for each line, so that others may move the file away. */
static void line_write(struct audit *audit, const char *line) {
    struct stat about;
    if (stat(audit->path, &about) == 0 && about.st_size > FILE_BYTES_MAX) {
        char old[sizeof(audit->path) + 2];
        snprintf(old, sizeof(old), "%s.1", audit->path);
        (void)rename(audit->path, old);
    }
    FILE *file = private_append(audit->path);
    bool written = file != NULL && fputs(line, file) >= 0;
    if (file != NULL && fclose(file) != 0) {
        written = false;
    }
    if (!written && !audit->failed) {
        log_line("ERROR", "audit", "cannot write %s: %s", audit->path, strerror(errno));
    }
    audit->failed = !written;
}

static void line_make(struct buf *line, const struct app *app, const struct http_request *request,
                      unsigned unwritten) {
    uint64_t now = clock_unix_ms();
    time_t seconds = (time_t)(now / 1000);
    struct tm utc;
    char when[32], path[PATH_BYTES_MAX + 1];
    gmtime_r(&seconds, &utc);
    strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(path, sizeof(path), "%s", request->path);
    utf8_make_line(path);
    bool whole = strlen(request->path) < sizeof(path);
    bool fits = buf_format(line, "%s.%03uZ %s %s %s %s :%d%s%s %d", when, (unsigned)(now % 1000),
                           request->who.role == ROLE_NONE ? "-" : request->who.name,
                           request->who.role == ROLE_NONE ? "-" : role_text(request->who.role),
                           request->client, request->method, app->settings.port + request->slot,
                           path, whole ? "" : "...", request->status);
    if (fits && unwritten > 0) {
        fits = buf_format(line, " (%u refused before it have no line)", unwritten);
    }
    (void)(fits && buf_append(line, "\n", 2));
}

void audit_answered(void *context, struct http_request *request) {
    struct app *app = context;
    struct audit *audit = app->audit;
    bool refused = request->status == 401 || request->status == 403 || request->status == 429;
    bool by_operator = request->needs == ROLE_WRITER && request->who.role == ROLE_OPERATOR;
    if (request->needs != ROLE_OPERATOR && !by_operator) {
        return;
    }
    struct buf line = {0};
    pthread_mutex_lock(&audit->lock);
    if (!refused || refusal_has_line(audit)) {
        line_make(&line, app, request, audit->unwritten);
        audit->unwritten = 0;
        if (line.data != NULL) {
            line_write(audit, (const char *)line.data);
        }
    }
    pthread_mutex_unlock(&audit->lock);
    buf_free(&line);
}

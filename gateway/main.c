/* SPDX-License-Identifier: MIT */
/*
 * chord-gateway: one process per host; HTTP and the pages on one side, the nodes' RPC on the other.
 * It holds no keys. This file reads settings, starts the parts in order and
 * stops them in reverse.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "app.h"
#include "audit.h"
#include "db.h"
#include "events.h"
#include "chord_client.h"
#include "http.h"
#include "log.h"
#include "operations.h"
#include "private.h"
#include "resources.h"
#include "ring_view.h"
#include "ring_watch.h"
#include "routes.h"
#include "sd_notify.h"

enum {
    EXIT_RESOURCES = 1,
    EXIT_SETTING = 2,
    EXIT_LISTEN = 3,
    EXIT_DATA = 4,
    ROUND_MS_MAX = 1000, /* from one look at the slots to the next */
/* After that the process goes, whatever still hangs, such as a call to a node that does not answer.
 * Nothing is lost by that; with a sanitizer there is time for its own end. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    STOP_MS_MAX = 4000,
#else
    STOP_MS_MAX = 1000,
#endif
};

static int complain(int code, const char *error) {
    fprintf(stderr, "chord-gateway: %s\n", error);
    return code;
}

static bool folder_make(const char *path, char *error, size_t error_size) {
    char part[SETTINGS_PATH_SIZE];
    snprintf(part, sizeof(part), "%s", path);
    for (char *c = part + 1; *c != '\0'; c++) {
        if (*c == '/') {
            *c = '\0';
            (void)mkdir(part, 0700);
            *c = '/';
        }
    }
    return private_folder(path, error, error_size);
}

/* DATA_DIR/slots beats --slots, so that nodes can be added while we run. */
static int slots_read(const struct app *app) {
    char path[SETTINGS_PATH_SIZE + 16];
    int slots = 0;
    snprintf(path, sizeof(path), "%s/slots", app->settings.data);
    FILE *file = fopen(path, "re");
    bool ok = file != NULL && fscanf(file, "%d", &slots) == 1 && slots >= 0 &&
              slots <= SETTINGS_SLOTS_MAX;
    if (file != NULL) {
        fclose(file);
    }
    return ok ? slots : -1;
}

static void slots_grow(struct app *app) {
    int now = atomic_load(&app->slots);
    int wanted = slots_read(app);
    for (int slot = now + 1; slot <= wanted; slot++) {
        int result = http_server_add_slot(app->server, slot);
        if (result != 0) {
            log_line("ERROR", "slots", "cannot open port %d for node %d: %s",
                     app->settings.port + slot, slot, strerror(-result));
            return; /* tried again in a second */
        }
        atomic_store(&app->slots, slot);
        log_line("INFO", "slots", "port %d shows node %d", app->settings.port + slot, slot);
    }
}

static void names_set(struct app *app, struct http_options *options) {
    options->names[options->names_count++] = app->settings.host;
    options->names[options->names_count++] = "127.0.0.1";
    options->names[options->names_count++] = "localhost";
    options->own_names_count = options->names_count;
    for (size_t i = 0; i < app->settings.names_count; i++) {
        options->names[options->names_count++] = app->settings.names[i];
    }
}

static int app_open(struct app *app, char *error, size_t error_size) {
    if (!folder_make(app->settings.data, error, error_size)) {
        return EXIT_DATA;
    }
    if (db_open(&app->db, app->settings.data, error, error_size) != 0) {
        return EXIT_DATA;
    }
    int slots = slots_read(app);
    app->settings.slots = slots >= 0 ? slots : app->settings.slots;
    atomic_store(&app->slots, app->settings.slots);
    app->audit = audit_new(app->settings.data);
    app->events = events_new(app->db);
    app->operations = operations_new(app->events, app->db);
    app->view = ring_view_new(app);
    if (app->audit == NULL || app->events == NULL || app->operations == NULL || app->view == NULL ||
        !ring_watch_open(app) || !ring_view_start(app->view)) {
        snprintf(error, error_size, "no memory to start");
        return 1;
    }
    struct http_options options = {
        .host = app->settings.host,
        .port = app->settings.port,
        .slots = app->settings.slots,
        .access = app->settings.access,
        .token_for_reads = !rpc_host_is_loopback(app->settings.host),
        .traits = routes_traits,
        .handler = routes_handle,
        .answered = audit_answered,
        .context = app,
    };
    names_set(app, &options);
    return http_server_open(&app->server, &options, error, error_size) == 0 ? 0 : EXIT_LISTEN;
}

static void app_close(struct app *app) {
    if (app->events != NULL) {
        events_stop(app->events);
    }
    ring_view_stop(app->view);
    if (app->ring != NULL) {
        chord_client_stop(app->ring);
    }
    http_server_close(app->server);
    chord_client_close(app->ring);
    ring_view_free(app->view);
    operations_free(app->operations);
    events_free(app->events);
    audit_free(app->audit);
    db_close(app->db);
    access_close(app->settings.access);
}

/* A handler may hang in a slow client's read; nobody waits for it longer than this. */
static void *watchdog(void *context) {
    (void)context;
    clock_pause_ms(STOP_MS_MAX);
    _exit(0);
}

static void parent_follow(const struct settings *settings, pid_t parent) {
    if (settings->exit_with_parent) {
        (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
        if (getppid() != parent) { /* it died before we asked */
            _exit(0);
        }
    }
}

/* Where the manager's watchdog wants to hear of us more often than once a second, we go round so.
 */
static struct timespec pause_of(const struct sd_notify *notify) {
    uint64_t now_ms = clock_now_ms(), next_ms = sd_notify_next_ms(notify);
    uint64_t pause_ms = next_ms <= now_ms ? 1 : next_ms - now_ms;
    pause_ms = pause_ms < ROUND_MS_MAX ? pause_ms : ROUND_MS_MAX;
    return (struct timespec){.tv_sec = (time_t)(pause_ms / 1000),
                             .tv_nsec = (long)(pause_ms % 1000) * 1000000};
}

static void run(struct app *app, const sigset_t *signals, struct sd_notify *notify) {
    for (;;) {
        sd_notify_tick(notify, clock_now_ms());
        struct timespec pause = pause_of(notify);
        int got = sigtimedwait(signals, NULL, &pause);
        if (got == SIGTERM || got == SIGINT) {
            log_line("INFO", "stop", "%s", got == SIGTERM ? "SIGTERM" : "SIGINT");
            return;
        }
        slots_grow(app);
        access_follow(app->settings.access);
        if (db_follow(app->db)) {
            ring_view_save(app->view);
        }
    }
}

int main(int argc, char **argv) {
    static struct app app;
    char error[4608] = "";
    pid_t parent = getppid();
    private_umask();
    int read = settings_read(&app.settings, argc, argv, error, sizeof(error));
    if (read != 0) {
        return read > 0 ? 0 : complain(EXIT_SETTING, error);
    }
    parent_follow(&app.settings, parent);
    struct sd_notify notify;
    if (!sd_notify_open(&notify, error, sizeof(error))) {
        (void)complain(0, error);
    }
    /* Blocked before the first thread, so that only sigtimedwait gets them. */
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    if (!resources_suffice(error, sizeof(error))) {
        return complain(EXIT_RESOURCES, error);
    }
    int code = app_open(&app, error, sizeof(error));
    if (code != 0) {
        app_close(&app);
        return complain(code, error);
    }
    printf("listening http://%s:%d\n", app.settings.host, app.settings.port);
    fflush(stdout);
    log_line("INFO", "start", "http://%s:%d, %d local nodes", app.settings.host, app.settings.port,
             app.settings.slots);
    char status[sizeof(app.settings.host) + 40];
    snprintf(status, sizeof(status), "listens at http://%s:%d", app.settings.host,
             app.settings.port);
    sd_notify_status(&notify, status);
    sd_notify_ready(&notify);
    run(&app, &signals, &notify);
    sd_notify_stopping(&notify);
    atomic_store(&app.stopping, true);
    pthread_t thread;
    if (pthread_create(&thread, NULL, watchdog, NULL) == 0) {
        pthread_detach(thread);
    }
    app_close(&app);
    return 0;
}

/* SPDX-License-Identifier: MIT */
/* What the client of the ring asks of the gateway's view; see ring_watch.h. */
#include "ring_watch.h"

#include <stdio.h>

#include "client.h"
#include "ring_view.h"

static bool watch_member(void *context, char address[CHORD_ADDRESS_SIZE], char *why,
                         size_t why_size) {
    struct app *app = context;
    struct view_ref ref;
    (void)why;
    (void)why_size;
    if (ring_view_alive(app->view, &ref, 1) == 0) {
        return false;
    }
    snprintf(address, CHORD_ADDRESS_SIZE, "%s", ref.address);
    return true;
}

static void watch_mistrust(void *context, const char *address, bool silent) {
    struct app *app = context;
    if (silent) {
        ring_view_poke(app->view, address);
    }
}

static void watch_learn(void *context, const char *address) {
    struct app *app = context;
    ring_view_learn(app->view, address);
}

static bool watch_full(void *context) {
    struct app *app = context;
    return ring_view_disks_full(app->view);
}

static bool watch_leader(void *context, const struct ring_id *id, struct client_leader *leader) {
    struct app *app = context;
    return ring_view_leader(app->view, id, leader);
}

static void watch_disconnected(void *context, const char *address) {
    const struct app *app = context;
    ring_view_disconnected(app->view, address);
}

bool ring_watch_open(struct app *app) {
    const struct client_setup setup = {.key = &app->settings.ring_key,
                                       .watch = {.member = watch_member,
                                                 .mistrust = watch_mistrust,
                                                 .learn = watch_learn,
                                                 .full = watch_full,
                                                 .leader = watch_leader,
                                                 .disconnected = watch_disconnected,
                                                 .context = app},
                                       .nobody_ms = CLIENT_NOBODY_MS};
    bool open = client_new(&app->ring, &setup) == 0;
    app->hints = open ? app->ring->hints : NULL;
    return open;
}

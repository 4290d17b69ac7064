/* What the walk asks of the gateway; see walk.h. */
#include "walk.h"

#include <stdio.h>

#include "ring_view.h"

static bool source_leader(void *context, const struct ring_id *id, struct key_walk_leader *leader,
                          unsigned *m) {
    struct app *app = context;
    struct view_parameters ring = ring_view_parameters(app->view);
    if (!ring.known || !ring_view_leader(app->view, id, leader)) {
        return false;
    }
    *m = ring.m;
    return true;
}

static void source_mistrust(void *context, const char *address) {
    struct app *app = context;
    ring_view_poke(app->view, address);
}

static bool source_stopping(void *context) {
    struct app *app = context;
    return atomic_load(&app->stopping);
}

void walk_start(struct key_walk *walk, struct app *app, bool values) {
    struct key_walk_source source = {.client = app->client,
                                     .leader = source_leader,
                                     .mistrust = source_mistrust,
                                     .stopping = source_stopping,
                                     .context = app};
    key_walk_start(walk, &source, values);
}

bool walk_resume(struct key_walk *walk, struct app *app, const uint8_t *hash, const uint8_t *key,
                 size_t key_size) {
    struct view_parameters ring = ring_view_parameters(app->view);
    return ring.known && key_walk_resume(walk, ring.m, hash, key, key_size);
}

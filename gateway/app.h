/* SPDX-License-Identifier: MIT */
/* What the parts of the gateway share: one of each, made by main.c, alive until the very end. */
#ifndef GATEWAY_APP_H
#define GATEWAY_APP_H

#include <stdatomic.h>
#include <stdbool.h>

#include "settings.h"

struct app {
    struct settings settings;
    atomic_bool stopping;
    atomic_int slots; /* local slots now; only grows */
    struct db *db;
    struct audit *audit;
    struct events *events;
    struct chord_client *ring; /* all that is asked of nodes */
    struct hints *hints;       /* its */
    struct ring_view *view;
    struct operations *operations;
    struct http_server *server;
};

#endif

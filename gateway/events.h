/* SPDX-License-Identifier: MIT */
/*
 * The event hub: what happened, numbered, kept in a bounded history, and given to at most 16 event
 * streams (Server-Sent Events). A slow stream loses its oldest events and then gets a fresh ring;
 * it never holds up anyone. The ring picture itself is not queued: a stream sends the newest one.
 */
#ifndef GATEWAY_EVENTS_H
#define GATEWAY_EVENTS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "db.h"
#include "http.h"

enum {
    EVENTS_STREAMS_MAX = 16,
    EVENTS_HISTORY_MAX = 2048,
    EVENTS_PING_MS = 15000,
    EVENTS_WAIT_MS_MAX = 1000, /* then it is looked whether the stream may go on */
    EVENTS_RING_PERIOD_MS = 250,
};

struct events;

struct events *events_new(struct db *db); /* NULL = no memory */
void events_free(struct events *events);
/* Takes `data`. `keep`: also into gateway.db. */
void events_publish(struct events *events, const char *type, json_t *data, bool keep);
/* The newest ring as text (copied); streams send it. */
void events_ring_set(struct events *events, const char *text);
uint64_t events_sequence(struct events *events);
/* Serves one stream until the client goes or events_stop. */
void events_serve(struct events *events, struct http_request *request);
/* Ends all streams; later ones end at once. */
void events_stop(struct events *events);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * The gateway's picture of the ring: every 500 ms it asks each node it knows for its status, all at
 * once, and learns more nodes from the answers. From that it says whether the lists are right,
 * and tells the event hub what changed. It decides nothing about the ring; nodes do.
 *
 * Thread safe. One thread of its own asks and compares.
 */
#ifndef GATEWAY_RING_VIEW_H
#define GATEWAY_RING_VIEW_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "app.h"
#include "buf.h"
#include "ids.h"

enum {
    VIEW_NODES_MAX = 4096,
    VIEW_POLL_MS = 500,
    VIEW_POLL_FAST_MS = 150, /* after a failure, to know soon */
    VIEW_POLL_DOWN_MS = 1000,
    VIEW_STATUS_TIMEOUT_MS = 1500,
    VIEW_LOST_TIMEOUT_MS = 400, /* of a node whose connection has just closed */
    VIEW_FAILURES_MAX = 2,      /* in a row: the node is down */
    VIEW_FORGET_MS = 600000,    /* a node that is down and has no slot here */
    VIEW_FOREIGN_MS = 5000,     /* the same for one that is in another ring */
    VIEW_LOG_LINES = 200,       /* kept of each local node */
    VIEW_DEPARTED_MS = 5000,    /* the same, and it had left before */
    VIEW_PUBLISH_MS = 250,      /* at most so often when something changed */
    VIEW_VOLATILE_MS = 1000,    /* and so often when only processor and memory did */
    VIEW_LEADERLESS_MS = 3000,  /* keys without a leader for so long: degraded, not healing */
};

/* VIEW_FOREIGN: it answers, and is in another ring than the gateway. */
enum view_state { VIEW_JOINING, VIEW_MEMBER, VIEW_LEAVING, VIEW_LEFT, VIEW_DOWN, VIEW_FOREIGN };
const char *view_state_text(enum view_state state);

struct view_ref {
    char address[SETTINGS_ADDRESS_SIZE];
    char id[ID_HEX_SIZE]; /* empty = never heard */
    enum view_state state;
    int slot; /* 0 = not on this host */
};

struct view_parameters {
    bool known;
    unsigned m;
    unsigned n;
    unsigned replicas;
};

struct ring_view;

struct ring_view *ring_view_new(struct app *app); /* NULL = no memory */
/* From now on it asks; app->ring is open. false = no thread. */
bool ring_view_start(struct ring_view *view);
/* A connection to that node has closed. */
void ring_view_disconnected(struct ring_view *view, const char *address);
/* Ends the thread. Then chord_client_close, then ring_view_free. Both accept NULL. */
void ring_view_stop(struct ring_view *view);
void ring_view_free(struct ring_view *view);

/* Puts the members that are known into gateway.db again. */
void ring_view_save(struct ring_view *view);
/* A node whose address was heard; asks it soon. */
void ring_view_learn(struct ring_view *view, const char *address);
/* Asks the node now. */
void ring_view_poke(struct ring_view *view, const char *address);
/* The current id, or "host:port". */
bool ring_view_find(struct ring_view *view, const char *name, struct view_ref *ref);
/* Nodes that answered lately, members first, starting at a different one each time. */
size_t ring_view_alive(struct ring_view *view, struct view_ref *refs, size_t max);
/* Whether the key with this id is known to have lost the majority of its copies; then a sentence
 * says whom to start. */
bool ring_view_lost(struct ring_view *view, const struct ring_id *id, char *text, size_t size);
/* Whether there are nodes that answer and none of them has room on its disk. */
bool ring_view_disks_full(struct ring_view *view);
struct view_parameters ring_view_parameters(struct ring_view *view);
/* Who leads the id, by the newest statuses. */
struct client_leader;
bool ring_view_leader(struct ring_view *view, const struct ring_id *id,
                      struct client_leader *leader);
/* The whole ring as it is known now; NULL = no memory. */
json_t *ring_view_ring_json(struct ring_view *view);
json_t *ring_view_nodes_json(struct ring_view *view);
/* NULL = unknown. */
json_t *ring_view_node_json(struct ring_view *view, const char *name);
/* The newest log lines of a local node as it wrote them before it went down; an array. */
json_t *ring_view_last_log(struct ring_view *view, const char *address);
/* Whether it is ready, with a list of checks appended to `checks`, one line each. */
bool ring_view_ready(struct ring_view *view, struct buf *checks);

#endif

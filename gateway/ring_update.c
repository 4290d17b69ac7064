/* SPDX-License-Identifier: MIT */
/* What a node's answer changes in the view, and which events come of it; see ring_view.h. */
#include <stdio.h>
#include <string.h>

#include "db.h"
#include "events.h"
#include "client.h"
#include "log.h"
#include "ring_internal.h"
#include "status_json.h"

static void node_event(struct ring_view *view, const struct view_node *node, const char *type,
                       const char *what) {
    char text[200];
    snprintf(text, sizeof(text), "node %s (%s) %s", node->id[0] == '\0' ? "?" : node->id,
             node->address, what);
    json_t *data = json_pack("{s:o, s:o, s:o, s:o}", "address", json_text(node->address), "id",
                             json_text(node->id), "time_ms", json_u64(clock_unix_ms()), "text",
                             json_text(text));
    log_line("INFO", type, "%s", text);
    events_publish(view->app->events, type, data, true);
}

/* Tells the hub of a change; at our own start what is already there is no news. */
static void state_set(struct ring_view *view, struct view_node *node, enum view_state state,
                      uint64_t now) {
    enum view_state before = node->state;
    bool was_heard = node->heard;
    if (before == state && was_heard) {
        return;
    }
    node->state = state;
    node->departed = state == VIEW_LEFT || (state == VIEW_DOWN && node->departed);
    node->since_ms = now;
    node->heard = true;
    uint64_t uptime = node->status == NULL ? 0 : node->status->uptime_ms;
    bool old_news = !view->first_round_done && uptime > 15000;
    if (state == VIEW_MEMBER && !old_news) {
        bool back = node->fell;
        node_event(view, node, back ? "node.back" : "node.joined", back ? "is back" : "joined");
    } else if (state == VIEW_LEFT && was_heard && before != VIEW_DOWN) {
        node_event(view, node, "node.left", "left the ring");
    } else if (state == VIEW_FOREIGN) {
        node_event(view, node, "node.left", "is in another ring");
    } else if (state == VIEW_DOWN && before != VIEW_LEFT) {
        node_event(view, node, "node.down", "stopped responding");
    }
    if (state == VIEW_DOWN) {
        node->fell = true;
    }
    if (state == VIEW_MEMBER) {
        node->fell = false;
        db_member_save(view->app->db, node->address, node->id);
    }
    if (state == VIEW_FOREIGN || state == VIEW_LEFT) {
        db_member_forget(view->app->db, node->address);
    }
    if (state == VIEW_DOWN || state == VIEW_LEFT || state == VIEW_FOREIGN) {
        hints_forget_address(view->app->hints, node->address);
    }
}

static void peer_learn(struct ring_view *view, const Chord__V1__Peer *peer, uint64_t now) {
    if (peer != NULL && peer->address != NULL && peer->address[0] != '\0') {
        struct view_node *node = view_node_add(view, peer->address, now);
        if (node != NULL) {
            node->referred_ms = now;
        }
    }
}

/* Members of ranges too: who died long ago may stand in no list any more. */
static void members_learn(struct ring_view *view, const Chord__V1__RangeStatus *range,
                          uint64_t now) {
    for (size_t i = 0; range->view != NULL && i < range->view->n_members; i++) {
        const char *address = range->view->members[i]->address;
        struct view_node *node = address == NULL ? NULL : view_node_add(view, address, now);
        if (node != NULL) {
            node->referred_ms = now;
        }
    }
}

static void peers_learn(struct ring_view *view, const Chord__V1__StatusResponse *status,
                        uint64_t now) {
    peer_learn(view, status->predecessor, now);
    for (size_t i = 0; i < status->n_successors; i++) {
        peer_learn(view, status->successors[i], now);
    }
    for (size_t i = 0; i < status->n_fingers; i++) {
        peer_learn(view, status->fingers[i]->node, now);
    }
    for (size_t i = 0; i < status->n_ranges; i++) {
        members_learn(view, status->ranges[i], now);
    }
}

/* Who led the id before `node` did, by the last statuses, dead nodes' included. */
static const struct view_node *leader_before(struct ring_view *view, const struct view_node *node,
                                             const struct ring_id *id) {
    for (size_t i = 0; i < view->nodes_count; i++) {
        const struct view_node *other = view->nodes[i];
        if (other != node && ring_led_over(other->address, other->status, id) != NULL) {
            return other;
        }
    }
    return NULL;
}

/* A range that the node leads now and did not before: its keys have moved. */
static void keys_moved(struct ring_view *view, const struct view_node *node,
                       const Chord__V1__StatusResponse *before,
                       const Chord__V1__StatusResponse *now) {
    if (before == NULL || now->keys_led <= before->keys_led) {
        return;
    }
    for (size_t k = 0; k < now->n_ranges; k++) {
        struct ring_id lo;
        struct ring_id hi;
        if (!ring_leads(node->address, now->ranges[k]) ||
            !ring_range_ids(now->ranges[k]->view->range, &lo, &hi)) {
            continue;
        }
        /* Either end: a range that grew keeps its hi and has a new lo. */
        struct ring_id first = lo;
        (void)id_increment(&first, view->parameters.m);
        bool led_hi = ring_led_over(node->address, before, &hi) != NULL;
        if (led_hi && ring_led_over(node->address, before, &first) != NULL) {
            continue;
        }
        const struct view_node *from = leader_before(view, node, led_hi ? &first : &hi);
        if (from == NULL) {
            continue;
        }
        unsigned long long keys = now->keys_led - before->keys_led;
        char text[200];
        snprintf(text, sizeof(text), "%llu keys of %s are led by %s now", keys, from->address,
                 node->address);
        json_t *data = json_pack("{s:o, s:o, s:o, s:o, s:o}", "from", json_text(from->address),
                                 "to", json_text(node->address), "keys", json_u64(keys), "time_ms",
                                 json_u64(clock_unix_ms()), "text", json_text(text));
        events_publish(view->app->events, "keys.moved", data, true);
        return; /* the count is over all ranges: say it once */
    }
}

static void parameters_learn(struct ring_view *view, const Chord__V1__StatusResponse *status) {
    const Chord__V1__RingParameters *ring = status->parameters;
    bool sane = ring != NULL && ring->m >= ID_BITS_MIN && ring->m <= ID_BITS_MAX && ring->n >= 1 &&
                ring->n <= 32 && ring->replicas >= 1 && ring->replicas <= 33;
    bool member = status->state == CHORD__V1__NODE_STATE__NODE_STATE_MEMBER;
    if (!sane || (!member && view->parameters.known)) { /* one on its way back knows them too */
        return;
    }
    view->parameters = (struct view_parameters){true, ring->m, ring->n, ring->replicas};
    client_set_m(view->app->ring, ring->m);
}

static void hints_learn(struct ring_view *view, const struct view_node *node) {
    for (size_t k = 0; k < node->status->n_ranges; k++) {
        const Chord__V1__RangeStatus *range = node->status->ranges[k];
        struct ring_id lo;
        struct ring_id hi;
        if (ring_leads(node->address, range) && ring_range_ids(range->view->range, &lo, &hi)) {
            hints_put(view->app->hints, &lo, &hi, range->view->epoch, node->address);
        }
    }
}

static enum view_state state_of(const Chord__V1__StatusResponse *status) {
    switch (status->state) {
    case CHORD__V1__NODE_STATE__NODE_STATE_MEMBER:
        return VIEW_MEMBER;
    case CHORD__V1__NODE_STATE__NODE_STATE_LEAVING:
        return VIEW_LEAVING;
    case CHORD__V1__NODE_STATE__NODE_STATE_LEFT:
        return VIEW_LEFT;
    default:
        return VIEW_JOINING;
    }
}

bool view_renamed(struct ring_view *view, const struct view_node *node,
                  const struct rpc_reply *reply, uint64_t now) {
    const Chord__V1__Peer *self =
        ((const Chord__V1__StatusResponse *)(const void *)reply->response)->self;
    if (self == NULL || self->address == NULL || self->address[0] == '\0' ||
        strcmp(self->address, node->address) == 0) {
        return false;
    }
    peer_learn(view, self, now);
    return true;
}

void view_status_apply(struct ring_view *view, struct view_node *node, struct rpc_reply *reply,
                       uint64_t now) {
    struct rpc_reply old_reply = node->reply;
    const Chord__V1__StatusResponse *old = node->status;
    const Chord__V1__StatusResponse *status =
        (const Chord__V1__StatusResponse *)(const void *)reply->response;
    bool ours = view_ring_is_ours(view, status);
    if (ours) {
        parameters_learn(view, status);
        keys_moved(view, node, old, status);
    }
    if (old != NULL && status->uptime_ms > old->uptime_ms) {
        uint64_t used = status->cpu_ms > old->cpu_ms ? status->cpu_ms - old->cpu_ms : 0;
        double percent = 100.0 * (double)used / (double)(status->uptime_ms - old->uptime_ms);
        node->cpu_percent = 0.5 * node->cpu_percent + 0.5 * percent;
    } else {
        node->cpu_percent = 0;
    }
    if (old != NULL && status->uptime_ms < old->uptime_ms) {
        node->log_sequence = 0; /* another life; its log starts anew */
    } else if (old == NULL && status->log_sequence > 50) {
        node->log_sequence = status->log_sequence - 50;
    }
    if (status->log_sequence < node->log_sequence) {
        node->log_sequence = 0;
    }
    node->reply = *reply;
    node->status = status;
    node->failures = 0;
    node->lost = false;
    struct ring_id id;
    if (status->self != NULL && view->parameters.known && status->self->id.len > 0 &&
        id_from_wire(&id, status->self->id.data, status->self->id.len)) {
        id_to_hex(&id, view->parameters.m, node->id);
    }
    if (ours) {
        peers_learn(view, status, now);
    }
    state_set(view, node, ours ? state_of(status) : VIEW_FOREIGN, now);
    if (node->state == VIEW_MEMBER || node->state == VIEW_LEAVING) {
        hints_learn(view, node);
    }
    rpc_reply_free(&old_reply);
}

void view_status_failed(struct ring_view *view, struct view_node *node,
                        const struct rpc_reply *reply, uint64_t now) {
    node->failures++;
    if (reply->code == CHORD__V1__CODE__CODE_UNAUTHENTICATED && node->failures == 1) {
        log_line("WARN", "ring_key", "%s refuses our ring key; check RING_KEY_FILE", node->address);
    }
    if (node->heard && node->state != VIEW_DOWN && node->failures >= VIEW_FAILURES_MAX) {
        state_set(view, node, VIEW_DOWN, now);
    }
}

static void log_keep(const struct ring_view *view, struct view_node *node, json_t *line) {
    if (view_slot(view, node->address) == 0) {
        return;
    }
    node->log = node->log == NULL ? json_array() : node->log;
    (void)json_array_append(node->log, line);
    if (json_array_size(node->log) > VIEW_LOG_LINES) {
        (void)json_array_remove(node->log, 0);
    }
}

void view_log_apply(struct ring_view *view, struct view_node *node, struct rpc_reply *reply) {
    if (reply->code != CHORD__V1__CODE__CODE_OK || reply->response == NULL) {
        return;
    }
    const Chord__V1__LogsResponse *logs =
        (const Chord__V1__LogsResponse *)(const void *)reply->response;
    for (size_t i = 0; i < logs->n_lines; i++) {
        const Chord__V1__LogLine *line = logs->lines[i];
        if (line->sequence <= node->log_sequence) {
            continue;
        }
        node->log_sequence = line->sequence;
        json_t *data = log_line_json(line);
        json_put(data, "address", json_text(node->address));
        log_keep(view, node, data);
        events_publish(view->app->events, "log", data, false);
    }
    if (logs->n_lines == 0 && node->status != NULL) {
        node->log_sequence = node->status->log_sequence; /* the newer ones are below the level */
    }
}

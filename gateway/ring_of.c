/* SPDX-License-Identifier: MIT */
/*
 * Which ring the gateway belongs to. It is that of the first member it met, kept in gateway.db; a
 * node that turns up in another ring (its address was given away, or it went there) is no member,
 * gives no hints and is not asked for keys. Calls name the ring, and nodes of another one refuse
 * them. The gateway follows only when all nodes of this host are in one other ring: they were told
 * to go there (chordctl merge), or they began anew.
 */
#include <stdio.h>
#include <string.h>

#include "client.h"
#include "db.h"
#include "events.h"
#include "json.h"
#include "log.h"
#include "ring_internal.h"
#include "rpc.h"

_Static_assert(sizeof(((struct ring_view *)NULL)->ring_id) == RPC_RING_ID_BYTES, "one ring id");

static void ring_adopt(struct ring_view *view, const uint8_t ring_id[RPC_RING_ID_BYTES]) {
    view->ring_known = true;
    memcpy(view->ring_id, ring_id, sizeof(view->ring_id));
    client_set_ring(view->app->ring, ring_id);
}

void view_ring_restore(struct ring_view *view) {
    uint8_t ring_id[RPC_RING_ID_BYTES];
    if (db_ring_read(view->app->db, ring_id)) {
        ring_adopt(view, ring_id);
    }
}

static const uint8_t *status_ring(const Chord__V1__StatusResponse *status) {
    return status != NULL && status->parameters != NULL &&
                   status->parameters->ring_id.len == RPC_RING_ID_BYTES
               ? status->parameters->ring_id.data
               : NULL;
}

bool view_ring_is_ours(struct ring_view *view, const Chord__V1__StatusResponse *status) {
    const uint8_t *ring_id = status_ring(status);
    if (ring_id == NULL) {
        return true; /* in no ring yet */
    }
    if (!view->ring_known && status->state == CHORD__V1__NODE_STATE__NODE_STATE_MEMBER) {
        ring_adopt(view, ring_id);
        db_ring_save(view->app->db, ring_id);
    }
    return !view->ring_known || memcmp(ring_id, view->ring_id, sizeof(view->ring_id)) == 0;
}

/* The ring that every node of this host is in, at least one as a member; NULL: not so. */
static const uint8_t *slots_ring(const struct ring_view *view) {
    const uint8_t *ring_id = NULL;
    bool member = false;
    for (size_t i = 0; i < view->nodes_count; i++) {
        const struct view_node *node = view->nodes[i];
        if (!node->heard || view_slot(view, node->address) == 0) {
            continue;
        }
        const uint8_t *other = status_ring(node->status);
        bool same =
            other != NULL && (ring_id == NULL || memcmp(ring_id, other, RPC_RING_ID_BYTES) == 0);
        if (node->state != VIEW_FOREIGN || !same) {
            return NULL;
        }
        ring_id = other;
        member = member || node->status->state == CHORD__V1__NODE_STATE__NODE_STATE_MEMBER;
    }
    return member ? ring_id : NULL;
}

bool view_ring_follow(struct ring_view *view) {
    const uint8_t *other = view->ring_known ? slots_ring(view) : NULL;
    if (other == NULL) {
        return false;
    }
    uint8_t ring_id[RPC_RING_ID_BYTES];
    char before[2 * RPC_RING_ID_BYTES + 1];
    char after[2 * RPC_RING_ID_BYTES + 1];
    char text[160];
    memcpy(ring_id, other, sizeof(ring_id));
    rpc_hex(before, view->ring_id, sizeof(view->ring_id));
    rpc_hex(after, ring_id, sizeof(ring_id));
    snprintf(text, sizeof(text), "this host's nodes are in ring %s now, before in %s", after,
             before);
    log_line("WARN", "ring", "%s", text);
    json_t *data =
        json_pack("{s:o, s:o}", "time_ms", json_u64(clock_unix_ms()), "text", json_text(text));
    events_publish(view->app->events, "ring.changed", data, true);
    ring_adopt(view, ring_id);
    db_ring_save(view->app->db, ring_id);
    return true;
}

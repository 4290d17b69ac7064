/* SPDX-License-Identifier: MIT */
/* The members of a ring and the verdict on it, in short; see ring_walk.h for all of it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ring_walk.h"

static void nodes_take(struct chord_ring *ring, const struct ring_walk *walk) {
    for (size_t i = 0; i < walk->nodes_count; i++) {
        const struct ring_node *node = &walk->nodes[i];
        struct chord_ring_node *out = &ring->nodes[ring->nodes_count++];
        snprintf(out->node.id, sizeof out->node.id, "%s", node->id[0] == '?' ? "" : node->id);
        memcpy(out->node.address, node->address, sizeof out->node.address);
        out->state = node->status == NULL ? "down" : ring_state_text(node->status->state);
        out->member = ring_is_member(node->status);
        out->keys = node->status == NULL ? 0 : node->status->keys_led;
    }
}

bool chord_ring_look(struct chord_client *client, struct chord_ring *ring) {
    struct ring_walk walk;
    struct ring_verdict verdict;
    *ring = (struct chord_ring){0};
    bool answered = ring_walk(client, &walk);
    ring->nodes = answered ? calloc(walk.nodes_count, sizeof ring->nodes[0]) : NULL;
    if (ring->nodes == NULL) {
        snprintf(ring->text, sizeof ring->text, "%.400s",
                 answered || walk.nodes == NULL ? "no memory" : walk.none.message);
    } else {
        ring_walk_judge(&walk, &verdict);
        ring->ideal = verdict.fault == RING_IDEAL;
        ring->members = verdict.members;
        ring->survives_failures = verdict.survival.failures;
        ring->keys = verdict.survival.keys;
        ring->keys_lost = verdict.survival.keys_lost;
        snprintf(ring->text, sizeof ring->text, "%s", verdict.text);
        survival_free(&verdict.survival);
        nodes_take(ring, &walk);
    }
    ring_walk_free(&walk);
    return ring->nodes != NULL;
}

void chord_ring_free(struct chord_ring *ring) {
    free(ring->nodes);
    ring->nodes = NULL;
    ring->nodes_count = 0;
}

/* SPDX-License-Identifier: MIT */
/* The verdict on the ring (ring_verdict.h) as people see it: one word, one reason, one warning. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ring_internal.h"

static bool is_member(const struct view_node *node) {
    return view_node_alive(node) && ring_is_member(node->status);
}

/* Every node names others: who is named by fewer than two is marked. */
static void reports_count(struct ring_view *view) {
    for (size_t i = 0; i < view->nodes_count; i++) {
        view->nodes[i]->reports = view_node_alive(view->nodes[i]);
    }
    for (size_t i = 0; i < view->nodes_count; i++) {
        const struct view_node *node = view->nodes[i];
        if (!is_member(node)) {
            continue;
        }
        const Chord__V1__StatusResponse *status = node->status;
        for (size_t k = 0; k <= status->n_successors; k++) {
            const Chord__V1__Peer *peer = k == 0 ? status->predecessor : status->successors[k - 1];
            struct view_node *other = peer == NULL ? NULL : view_node_find(view, peer->address);
            if (other != NULL && other != node) {
                other->reports++;
            }
        }
    }
}

/* Who has not been asked yet is not taken for dead. */
static void verdict_make(struct ring_view *view, struct ring_verdict *verdict) {
    struct survival_node *nodes = calloc(view->nodes_count + 1, sizeof(*nodes));
    survival_free(&verdict->survival);
    *verdict = (struct ring_verdict){.fault = RING_NO_MEMORY, .text = "there is no memory"};
    for (size_t i = 0; nodes != NULL && i < view->nodes_count; i++) {
        const struct view_node *node = view->nodes[i];
        bool asked = node->failures >= VIEW_FAILURES_MAX || (node->heard && view->first_round_done);
        nodes[i] = (struct survival_node){node->address, view_node_alive(node) || !asked,
                                          node->state == VIEW_FOREIGN ? NULL : node->status};
    }
    if (nodes != NULL) {
        ring_judge(nodes, view->nodes_count, view->parameters.m, verdict);
    }
    free(nodes);
}

/* A small ring is never formed; it is forming only while somebody is still to come. */
static bool is_forming(const struct ring_view *view) {
    bool awaited = view->health.verdict.members == 0;
    for (size_t i = 0; i < view->nodes_count; i++) {
        const struct view_node *node = view->nodes[i];
        awaited = awaited || (view_node_alive(node) && node->state == VIEW_JOINING) ||
                  (!node->heard && view_slot(view, node->address) > 0);
    }
    return awaited && !view->health.verdict.formed;
}

static void state_judge(struct ring_view *view, uint64_t now) {
    struct view_health *health = &view->health;
    const struct ring_verdict *verdict = &health->verdict;
    bool forming = is_forming(view);
    bool unled = verdict->fault == RING_UNLED && !forming;
    const char *more = "";
    if (verdict->survival.all_led) {
        view->leaderless_since_ms = 0;
    } else if (unled && view->leaderless_since_ms == 0) {
        view->leaderless_since_ms = now;
    }
    health->state = verdict->fault == RING_LOST    ? "degraded"
                    : forming                      ? "forming"
                    : verdict->fault == RING_IDEAL ? "healthy"
                                                   : "healing";
    if (unled && now - view->leaderless_since_ms > VIEW_LEADERLESS_MS) {
        health->state = "degraded";
        more = "; they come back when a node that holds them does";
    }
    if (forming && verdict->fault != RING_LOST && verdict->fault != RING_LISTS) {
        snprintf(health->reason, sizeof(health->reason), "%zu member%s so far, others are joining",
                 verdict->members, verdict->members == 1 ? "" : "s");
    } else {
        snprintf(health->reason, sizeof(health->reason), "%.440s%s", verdict->text, more);
    }
}

/* One warning is shown. What a node says of itself begins with its address, and comes before what
 * all say of the ring. */
static void warning_take(struct ring_view *view) {
    const char *taken = "";
    for (size_t i = 0; i < view->nodes_count; i++) {
        const struct view_node *node = view->nodes[i];
        const char *warning =
            view_node_alive(node) && node->status != NULL ? node->status->warning : "";
        if (strncmp(warning, node->address, strlen(node->address)) == 0) {
            taken = warning;
            break;
        }
        taken = taken[0] == '\0' && is_member(node) ? warning : taken;
    }
    snprintf(view->health.warning, sizeof(view->health.warning), "%s", taken);
}

void view_health_compute(struct ring_view *view, uint64_t now) {
    struct view_health *health = &view->health;
    verdict_make(view, &health->verdict);
    health->answering = false;
    for (size_t i = 0; i < view->nodes_count; i++) {
        health->answering = health->answering || view_node_alive(view->nodes[i]);
    }
    warning_take(view);
    reports_count(view);
    state_judge(view, now);
}

bool ring_view_lost(struct ring_view *view, const struct ring_id *id, char *text, size_t size) {
    bool lost = false;
    pthread_mutex_lock(&view->lock);
    const struct survival *survival = &view->health.verdict.survival;
    for (size_t i = 0; i < survival->lost_count && !lost; i++) {
        const struct survival_range *range = &survival->lost[i];
        struct ring_id lo, hi;
        lost = id_from_wire(&lo, range->lo.data, range->lo.len) &&
               id_from_wire(&hi, range->hi.data, range->hi.len) && id_in_range(id, &lo, &hi);
        if (lost) {
            char whom[SURVIVAL_START_MAX * (SURVIVAL_ADDRESS_BYTES + 5)];
            survival_whom(survival, SURVIVAL_START_MAX, whom, sizeof(whom));
            snprintf(text, size,
                     "%u of the key's %u copies can be reached, which is no majority (if the disks "
                     "of the others are lost for good: chordctl recover); reach or start %s",
                     range->alive, range->members, whom);
        }
    }
    pthread_mutex_unlock(&view->lock);
    return lost;
}

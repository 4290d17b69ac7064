/*
 * The ring as it is against the ring as it should be: every member's predecessor and successor
 * list, the copies of every range, a leader for every key (Zave 2017: the ideal state).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ring_internal.h"

static bool is_member(const struct view_node *node) {
    return view_node_alive(node) && ring_is_member(node->status);
}

struct ring_member view_member(const struct view_node *node) {
    return (struct ring_member){node->address, node->id, node->status};
}

unsigned view_copies_wanted(const struct ring_view *view) {
    return ring_copies_wanted(view->health.members, view->parameters.replicas);
}

static int compare_by_id(const void *a, const void *b) {
    const struct ring_member *x = a;
    const struct ring_member *y = b;
    int order = strcmp(x->id, y->id); /* same number of digits */
    return order != 0 ? order : strcmp(x->address, y->address);
}

static void leaders_check(struct ring_view *view, const struct ring_member *members, size_t count,
                          uint64_t now) {
    struct view_health *health = &view->health;
    struct ring_id gap;
    if (ring_all_led(members, count, view->parameters.m, &gap)) {
        view->leaderless_since_ms = 0;
        return;
    }
    char hex[ID_HEX_SIZE];
    id_to_hex(&gap, view->parameters.m, hex);
    if (view->leaderless_since_ms == 0) {
        view->leaderless_since_ms = now;
    }
    bool stuck = now - view->leaderless_since_ms > VIEW_LEADERLESS_MS;
    health->state = stuck ? "degraded" : "healing";
    snprintf(health->reason, sizeof(health->reason),
             "no living node leads the keys from id %s on%s", hex,
             stuck ? "; they come back when a node that holds them does" : " yet");
}

static bool copies_check(struct ring_view *view, const struct ring_member *members, size_t count) {
    for (size_t i = 0; i < count; i++) {
        unsigned copies_short = ring_copies_short(&members[i], view_copies_wanted(view));
        if (copies_short > 0) {
            snprintf(view->health.reason, sizeof(view->health.reason),
                     "node %s is completing the copies of %u range%s", members[i].id, copies_short,
                     copies_short == 1 ? "" : "s");
            return false;
        }
    }
    return true;
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
static void survival_compute(struct ring_view *view) {
    struct survival_node *nodes = calloc(view->nodes_count + 1, sizeof(*nodes));
    survival_free(&view->health.survival);
    for (size_t i = 0; nodes != NULL && i < view->nodes_count; i++) {
        const struct view_node *node = view->nodes[i];
        bool asked = node->failures >= VIEW_FAILURES_MAX || (node->heard && view->first_round_done);
        nodes[i] =
            (struct survival_node){node->address, view_node_alive(node) || !asked, node->status};
    }
    if (nodes != NULL) {
        (void)survival_make(nodes, view->nodes_count, view->parameters.m, &view->health.survival);
    }
    free(nodes);
}

/* Ranges of which too many members are down. */
static bool majorities_lost(const struct survival *survival) {
    for (size_t i = 0; i < survival->lost_count; i++) {
        if (survival->lost[i].members > 0) {
            return true;
        }
    }
    return false;
}

/* The first thing that is under way, or "healthy". */
static void state_judge(struct ring_view *view, const struct ring_member *members, size_t count,
                        uint64_t now) {
    struct view_health *health = &view->health;
    if (majorities_lost(&health->survival)) {
        size_t used = (size_t)snprintf(health->reason, sizeof(health->reason), "survives 0; ");
        health->state = "degraded";
        survival_text(&health->survival, health->reason + used, sizeof(health->reason) - used);
        return;
    }
    const struct view_node *joining = NULL;
    const struct view_node *leaving = NULL;
    int awaited = 0;
    for (size_t i = 0; i < view->nodes_count; i++) {
        const struct view_node *node = view->nodes[i];
        joining = view_node_alive(node) && node->state == VIEW_JOINING ? node : joining;
        leaving = view_node_alive(node) && node->state == VIEW_LEAVING ? node : leaving;
        awaited += !node->heard && view_slot(view, node->address) > 0;
    }
    /* A small ring is never formed; it is forming only while somebody is still to come. */
    bool forming = !health->formed && (count == 0 || joining != NULL || awaited > 0);
    health->state = forming ? "forming" : "healing";
    if (!ring_lists_right(members, count, health->reason, sizeof(health->reason))) {
        return;
    }
    if (forming || count == 0) {
        snprintf(health->reason, sizeof(health->reason), "%zu member%s so far, others are joining",
                 count, count == 1 ? "" : "s");
        return;
    }
    if (leaving != NULL || joining != NULL) {
        const struct view_node *node = leaving != NULL ? leaving : joining;
        snprintf(health->reason, sizeof(health->reason), "node %s is %s", node->address,
                 view_state_text(node->state));
        return;
    }
    leaders_check(view, members, count, now);
    if (view->leaderless_since_ms != 0 || !copies_check(view, members, count)) {
        return;
    }
    health->state = "healthy";
    snprintf(health->reason, sizeof(health->reason),
             "every list of the %zu member%s is right and every range has its copies", count,
             count == 1 ? "" : "s");
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
    struct ring_member *members = calloc(view->nodes_count + 1, sizeof(*members));
    if (members == NULL) {
        return;
    }
    size_t count = 0;
    survival_free(&health->survival);
    memset(health, 0, sizeof(*health));
    survival_compute(view);
    for (size_t i = 0; i < view->nodes_count; i++) {
        const struct view_node *node = view->nodes[i];
        health->answering = health->answering || view_node_alive(node);
        if (!is_member(node)) {
            continue;
        }
        members[count++] = view_member(node);
        health->formed = health->formed || node->status->formed;
    }
    warning_take(view);
    health->members = (unsigned)count;
    qsort(members, count, sizeof(members[0]), compare_by_id);
    reports_count(view);
    state_judge(view, members, count, now);
    free(members);
}

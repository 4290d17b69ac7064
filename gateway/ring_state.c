/*
 * The ring as it is against the ring as it should be: every member's predecessor and successor
 * list, the copies of every range, a leader for every key (Zave 2017: the ideal state).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ring_internal.h"

bool view_range_led(const struct view_node *node, const Chord__V1__RangeStatus *range) {
    if (range->view == NULL || range->view->range == NULL ||
        (range->state != CHORD__V1__RANGE_STATE__RANGE_STATE_OPEN &&
         range->state != CHORD__V1__RANGE_STATE__RANGE_STATE_SETTLING &&
         range->state != CHORD__V1__RANGE_STATE__RANGE_STATE_CHANGING)) {
        return false;
    }
    const Chord__V1__View *of = range->view;
    return of->leader < of->n_members && of->members[of->leader]->address != NULL &&
           strcmp(of->members[of->leader]->address, node->address) == 0;
}

static bool is_member(const struct view_node *node) {
    return view_node_alive(node) && node->status != NULL && node->status->self != NULL &&
           (node->state == VIEW_MEMBER || node->state == VIEW_LEAVING);
}

unsigned view_copies_short(const struct ring_view *view, const struct view_node *node) {
    unsigned count = 0;
    unsigned could = view->health.members < view->parameters.replicas ? view->health.members
                                                                      : view->parameters.replicas;
    for (size_t i = 0; node->status != NULL && i < node->status->n_ranges; i++) {
        const Chord__V1__RangeStatus *range = node->status->ranges[i];
        count += view_range_led(node, range) && range->copies < could;
    }
    return count;
}

unsigned view_recovered(const struct view_node *node) {
    unsigned count = 0;
    for (size_t i = 0; node->status != NULL && i < node->status->n_ranges; i++) {
        const Chord__V1__RangeStatus *range = node->status->ranges[i];
        count += view_range_led(node, range) && range->view->recovered;
    }
    return count;
}

static int compare_by_id(const void *a, const void *b) {
    const struct view_node *x = *(const struct view_node *const *)a;
    const struct view_node *y = *(const struct view_node *const *)b;
    int order = strcmp(x->id, y->id); /* same number of digits */
    return order != 0 ? order : strcmp(x->address, y->address);
}

static bool peer_is(const Chord__V1__Peer *peer, const struct view_node *node) {
    return peer != NULL && peer->address != NULL && strcmp(peer->address, node->address) == 0;
}

/* Whether the lists of members[at] are what the set of members says. */
static bool lists_right(const struct view_node *const *members, size_t count, size_t at,
                        unsigned list_max, char *reason, size_t reason_size) {
    const Chord__V1__StatusResponse *status = members[at]->status;
    if (count > 1 && !peer_is(status->predecessor, members[(at + count - 1) % count])) {
        snprintf(reason, reason_size, "node %s has not found its predecessor %s yet",
                 members[at]->id, members[(at + count - 1) % count]->id);
        return false;
    }
    size_t want = count - 1 < list_max ? count - 1 : list_max;
    for (size_t k = 0; k < want; k++) {
        const struct view_node *next = members[(at + 1 + k) % count];
        if (k >= status->n_successors || !peer_is(status->successors[k], next)) {
            snprintf(reason, reason_size, "successor %zu of node %s is not %s yet", k + 1,
                     members[at]->id, next->id);
            return false;
        }
    }
    if (count > 1 && status->n_successors > want) {
        snprintf(reason, reason_size, "node %s still lists a successor that is no member",
                 members[at]->id);
        return false;
    }
    return true;
}

struct span {
    struct ring_id lo;
    struct ring_id hi;
};

static size_t spans_collect(const struct view_node *const *members, size_t count,
                            struct span *spans, size_t max) {
    size_t found = 0;
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < members[i]->status->n_ranges && found < max; k++) {
            const Chord__V1__RangeStatus *range = members[i]->status->ranges[k];
            if (view_range_led(members[i], range) &&
                id_from_wire(&spans[found].lo, range->view->range->lo.data,
                             range->view->range->lo.len) &&
                id_from_wire(&spans[found].hi, range->view->range->hi.data,
                             range->view->range->hi.len)) {
                found++;
            }
        }
    }
    return found;
}

/* Clockwise distance, as a number. */
static void id_distance(const struct ring_id *from, const struct ring_id *to, struct ring_id *out,
                        unsigned m) {
    int borrow = 0;
    for (unsigned i = ID_BYTES; i-- > 0;) {
        int value = (int)to->bytes[i] - (int)from->bytes[i] - borrow;
        borrow = value < 0;
        out->bytes[i] = (uint8_t)(value + (borrow ? 256 : 0));
    }
    struct ring_id max;
    id_max(&max, m);
    for (unsigned i = 0; i < ID_BYTES; i++) {
        out->bytes[i] &= max.bytes[i];
    }
}

/* Walks once round; false = `gap` is an id that nobody leads. */
static bool spans_cover(const struct span *spans, size_t count, unsigned m, struct ring_id *gap) {
    if (count == 0) {
        memset(gap, 0, sizeof(*gap));
        return false;
    }
    struct ring_id start = spans[0].lo;
    struct ring_id at = start;
    for (size_t steps = 0; steps <= count; steps++) {
        struct ring_id next = at;
        (void)id_increment(&next, m);
        const struct span *best = NULL;
        struct ring_id best_reach;
        for (size_t i = 0; i < count; i++) {
            struct ring_id reach;
            if (!id_in_range(&next, &spans[i].lo, &spans[i].hi)) {
                continue;
            }
            id_distance(&next, &spans[i].hi, &reach, m);
            if (best == NULL || id_compare(&reach, &best_reach) > 0) {
                best = &spans[i];
                best_reach = reach;
            }
        }
        if (best == NULL) {
            *gap = next;
            return false;
        }
        struct ring_id to_start;
        id_distance(&next, &start, &to_start, m);
        if (id_compare(&best_reach, &to_start) >= 0 || id_compare(&best->lo, &best->hi) == 0) {
            return true;
        }
        at = best->hi;
    }
    return true;
}

static void leaders_check(struct ring_view *view, const struct view_node *const *members,
                          size_t count, uint64_t now) {
    enum { SPANS_MAX = 512 };
    struct view_health *health = &view->health;
    struct span *spans = calloc(SPANS_MAX, sizeof(*spans));
    if (spans == NULL) {
        return;
    }
    size_t found = spans_collect(members, count, spans, SPANS_MAX);
    struct ring_id gap;
    if (found == SPANS_MAX || spans_cover(spans, found, view->parameters.m, &gap)) {
        view->leaderless_since_ms = 0;
    } else {
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
    free(spans);
}

static bool copies_check(struct ring_view *view, const struct view_node *const *members,
                         size_t count) {
    for (size_t i = 0; i < count; i++) {
        unsigned copies_short = view_copies_short(view, members[i]);
        if (copies_short > 0) {
            snprintf(view->health.reason, sizeof(view->health.reason),
                     "node %s is making the copies of %u range%s whole", members[i]->id,
                     copies_short, copies_short == 1 ? "" : "s");
            return false;
        }
    }
    return true;
}

/* Every node names others: who is named by fewer than two is marked (DESIGN 3). */
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
static void state_judge(struct ring_view *view, const struct view_node *const *members,
                        size_t count, uint64_t now) {
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
    for (size_t i = 0; i < count; i++) {
        if (!lists_right(members, count, i, view->parameters.n, health->reason,
                         sizeof(health->reason))) {
            return;
        }
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
    const struct view_node **members = calloc(view->nodes_count + 1, sizeof(const void *));
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
        members[count++] = node;
        health->formed = health->formed || node->status->formed;
    }
    warning_take(view);
    health->members = (unsigned)count;
    qsort(members, count, sizeof(members[0]), compare_by_id);
    reports_count(view);
    state_judge(view, members, count, now);
    free(members);
}

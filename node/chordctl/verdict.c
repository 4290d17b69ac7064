/*
 * Whether the ring is ideal: every predecessor and successor list is what the set of members says
 * (Zave 2017), every key is led by one member, and no led range is short of copies that could be.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "walk.h"

const char *state_text(Chord__V1__NodeState state) {
    switch (state) {
    case CHORD__V1__NODE_STATE__NODE_STATE_JOINING:
        return "joining";
    case CHORD__V1__NODE_STATE__NODE_STATE_MEMBER:
        return "member";
    case CHORD__V1__NODE_STATE__NODE_STATE_LEAVING:
        return "leaving";
    case CHORD__V1__NODE_STATE__NODE_STATE_LEFT:
        return "left";
    default:
        return "unknown";
    }
}

bool walk_is_member(const struct walk_node *node) {
    return node->status != NULL && node->status->parameters != NULL &&
           (node->status->state == CHORD__V1__NODE_STATE__NODE_STATE_MEMBER ||
            node->status->state == CHORD__V1__NODE_STATE__NODE_STATE_LEAVING);
}

bool status_leads(const Chord__V1__StatusResponse *status, const Chord__V1__RangeStatus *range) {
    const Chord__V1__View *view = range->view;
    return view != NULL && view->range != NULL && view->leader < view->n_members &&
           strcmp(view->members[view->leader]->address, status->self->address) == 0 &&
           (range->state == CHORD__V1__RANGE_STATE__RANGE_STATE_OPEN ||
            range->state == CHORD__V1__RANGE_STATE__RANGE_STATE_SETTLING ||
            range->state == CHORD__V1__RANGE_STATE__RANGE_STATE_CHANGING);
}

struct members {
    const struct walk_node *nodes[WALK_NODES_MAX];
    size_t count;
};

static bool fault(struct verdict *verdict, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The first fault is the verdict. Always false. */
static bool fault(struct verdict *verdict, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(verdict->text, sizeof verdict->text, format, arguments);
    va_end(arguments);
    verdict->ideal = false;
    return false;
}

static bool peer_is(const Chord__V1__Peer *peer, const struct walk_node *node) {
    return peer != NULL && strcmp(peer->address, node->address) == 0;
}

static bool bytes_equal(ProtobufCBinaryData a, ProtobufCBinaryData b) {
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static bool one_ring(const struct members *members, struct verdict *verdict) {
    const Chord__V1__RingParameters *first = members->nodes[0]->status->parameters;
    for (size_t i = 1; i < members->count; i++) {
        if (!bytes_equal(first->ring_id, members->nodes[i]->status->parameters->ring_id)) {
            return fault(verdict, "these are two rings: %s and %s have different ring ids",
                         members->nodes[0]->address, members->nodes[i]->address);
        }
    }
    return true;
}

static bool lists_right(const struct members *members, size_t at, struct verdict *verdict) {
    const struct walk_node *node = members->nodes[at];
    const Chord__V1__StatusResponse *status = node->status;
    size_t count = members->count;
    const struct walk_node *before = members->nodes[(at + count - 1) % count];
    if (count > 1 && !peer_is(status->predecessor, before)) {
        return fault(verdict, "the predecessor of node %s is %s, it should be %s", node->id,
                     status->predecessor != NULL ? status->predecessor->address : "not known",
                     before->address);
    }
    size_t want = count - 1 < status->parameters->n ? count - 1 : status->parameters->n;
    for (size_t k = 0; k < want; k++) {
        const struct walk_node *next = members->nodes[(at + 1 + k) % count];
        if (k >= status->n_successors || !peer_is(status->successors[k], next)) {
            return fault(verdict, "successor %zu of node %s is %s, it should be %s", k + 1,
                         node->id,
                         k < status->n_successors ? status->successors[k]->address : "missing",
                         next->address);
        }
    }
    if (count > 1 && status->n_successors > want) {
        return fault(verdict, "node %s lists %s, which is no member", node->id,
                     status->successors[want]->address);
    }
    return true;
}

static unsigned copies_wanted(const struct members *members) {
    size_t replicas = members->count > 0 ? members->nodes[0]->status->parameters->replicas : 0;
    return (unsigned)(members->count < replicas ? members->count : replicas);
}

static bool copies_right(const struct members *members, size_t at, struct verdict *verdict) {
    const struct walk_node *node = members->nodes[at];
    unsigned want = copies_wanted(members);
    for (size_t i = 0; i < node->status->n_ranges; i++) {
        const Chord__V1__RangeStatus *range = node->status->ranges[i];
        if (status_leads(node->status, range) && range->copies < want) {
            return fault(verdict, "a range that node %s leads has %u of %u copies", node->id,
                         range->copies, want);
        }
    }
    return true;
}

/* The range that begins at `lo`, and whoever leads it. */
static const Chord__V1__Range *led_from(const struct members *members,
                                        const ProtobufCBinaryData *lo) {
    for (size_t i = 0; i < members->count; i++) {
        const Chord__V1__StatusResponse *status = members->nodes[i]->status;
        for (size_t k = 0; k < status->n_ranges; k++) {
            if (status_leads(status, status->ranges[k]) &&
                (lo == NULL || bytes_equal(status->ranges[k]->view->range->lo, *lo))) {
                return status->ranges[k]->view->range;
            }
        }
    }
    return NULL;
}

/* Once round, from range to range. */
static bool all_led(const struct members *members, unsigned m, struct verdict *verdict) {
    const Chord__V1__Range *first = led_from(members, NULL);
    const Chord__V1__Range *range = first;
    for (size_t steps = 0; range != NULL && steps <= 64 * members->count; steps++) {
        if (bytes_equal(range->hi, first->lo)) {
            return true;
        }
        const ProtobufCBinaryData *hi = &range->hi;
        range = led_from(members, hi);
        if (range == NULL) {
            char text[TEXT_ID_SIZE];
            id_text(text, *hi, m);
            return fault(verdict, "nobody leads the keys that follow the id %s yet", text);
        }
    }
    return fault(verdict, "the ranges that the members lead do not close to a ring yet");
}

static void members_collect(const struct walk *walk, struct members *members) {
    members->count = 0;
    for (size_t i = 0; i < walk->nodes_count; i++) {
        if (walk_is_member(&walk->nodes[i])) {
            members->nodes[members->count++] = &walk->nodes[i];
        }
    }
}

static bool nobody_between(const struct walk *walk, struct verdict *verdict) {
    for (size_t i = 0; i < walk->nodes_count; i++) {
        const struct walk_node *node = &walk->nodes[i];
        if (node->status != NULL && node->status->state != CHORD__V1__NODE_STATE__NODE_STATE_LEFT &&
            node->status->state != CHORD__V1__NODE_STATE__NODE_STATE_MEMBER) {
            return fault(verdict, "node %s at %s is %s", node->id, node->address,
                         state_text(node->status->state));
        }
    }
    return true;
}

bool verdict_lists(const struct walk *walk, struct verdict *verdict) {
    struct members members;
    members_collect(walk, &members);
    for (size_t i = 0; i < members.count; i++) {
        if (!lists_right(&members, i, verdict)) {
            return false;
        }
    }
    return true;
}

static bool ring_right(const struct walk *walk, const struct members *members,
                       struct verdict *verdict) {
    if (members->count == 0) {
        return fault(verdict, "no node that answers is a member");
    }
    if (walk->cut) {
        return fault(verdict, "the ring has more than %d nodes; only these were looked at",
                     WALK_NODES_MAX);
    }
    if (!one_ring(members, verdict) || !verdict_lists(walk, verdict)) {
        return false;
    }
    for (size_t i = 0; i < members->count; i++) {
        if (!copies_right(members, i, verdict)) {
            return false;
        }
    }
    return all_led(members, walk->m, verdict) && nobody_between(walk, verdict);
}

unsigned verdict_copies_wanted(const struct walk *walk) {
    struct members members;
    members_collect(walk, &members);
    return copies_wanted(&members);
}

void walk_survival(const struct walk *walk, struct survival *survival) {
    struct survival_node *nodes = memory_new(walk->nodes_count + 1, sizeof *nodes);
    for (size_t i = 0; i < walk->nodes_count; i++) {
        const struct walk_node *node = &walk->nodes[i];
        nodes[i] = (struct survival_node){node->address, node->status != NULL, node->status};
    }
    if (!survival_make(nodes, walk->nodes_count, walk->m, survival)) {
        fputs("chordctl: out of memory\n", stderr);
        abort();
    }
    free(nodes);
}

void verdict_make(const struct walk *walk, struct verdict *verdict) {
    struct members members;
    struct survival survival;
    char lost[400];
    members_collect(walk, &members);
    walk_survival(walk, &survival);
    *verdict = (struct verdict){.ideal = true,
                                .members = members.count,
                                .survives_failures = survival.failures,
                                .keys = survival.keys,
                                .keys_lost = survival.keys_lost};
    survival_text(&survival, lost, sizeof lost);
    survival_free(&survival);
    if (members.count > 0 && lost[0] != '\0') {
        fault(verdict, "survives 0; %s", lost);
    } else if (ring_right(walk, &members, verdict)) {
        snprintf(verdict->text, sizeof verdict->text,
                 "%zu member%s, every predecessor and successor list is right, every range has its "
                 "copies; survives %u failure%s",
                 members.count, members.count == 1 ? "" : "s", verdict->survives_failures,
                 verdict->survives_failures == 1 ? "" : "s");
    }
}

/*
 * Whether the ring is ideal: every predecessor and successor list is what the set of members says
 * (Zave 2017), every key is led by one member, and no led range is short of copies that could be.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ring_walk.h"

const char *ring_state_text(Chord__V1__NodeState state) {
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

struct members {
    struct ring_member items[RING_WALK_NODES_MAX];
    size_t count;
};

static bool fault(struct ring_verdict *verdict, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The first fault is the verdict. Always false. */
static bool fault(struct ring_verdict *verdict, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(verdict->text, sizeof verdict->text, format, arguments);
    va_end(arguments);
    verdict->ideal = false;
    return false;
}

static bool bytes_equal(ProtobufCBinaryData a, ProtobufCBinaryData b) {
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static bool one_ring(const struct members *members, struct ring_verdict *verdict) {
    const struct ring_member *first = &members->items[0];
    for (size_t i = 1; i < members->count; i++) {
        if (!bytes_equal(first->status->parameters->ring_id,
                         members->items[i].status->parameters->ring_id)) {
            return fault(verdict, "these are two rings: %s and %s have different ring ids",
                         first->address, members->items[i].address);
        }
    }
    return true;
}

static unsigned copies_wanted(const struct members *members) {
    return members->count == 0
               ? 0
               : ring_copies_wanted(members->count, members->items[0].status->parameters->replicas);
}

static bool copies_right(const struct members *members, struct ring_verdict *verdict) {
    unsigned wanted = copies_wanted(members);
    for (size_t i = 0; i < members->count; i++) {
        unsigned count = ring_copies_short(&members->items[i], wanted);
        if (count > 0) {
            return fault(verdict, "node %s leads %u range%s with fewer than %u copies",
                         members->items[i].id, count, count == 1 ? "" : "s", wanted);
        }
    }
    return true;
}

static bool all_led(const struct members *members, unsigned m, struct ring_verdict *verdict) {
    struct ring_id gap;
    char text[ID_HEX_SIZE];
    if (ring_all_led(members->items, members->count, m, &gap)) {
        return true;
    }
    id_to_hex(&gap, m, text);
    return fault(verdict, "nobody leads the keys from id %s on yet", text);
}

static void members_collect(const struct ring_walk *walk, struct members *members) {
    members->count = 0;
    for (size_t i = 0; i < walk->nodes_count; i++) {
        const struct ring_node *node = &walk->nodes[i];
        if (ring_is_member(node->status)) {
            members->items[members->count++] =
                (struct ring_member){node->address, node->id, node->status};
        }
    }
}

static bool nobody_between(const struct ring_walk *walk, struct ring_verdict *verdict) {
    for (size_t i = 0; i < walk->nodes_count; i++) {
        const struct ring_node *node = &walk->nodes[i];
        if (node->status != NULL && node->status->state != CHORD__V1__NODE_STATE__NODE_STATE_LEFT &&
            node->status->state != CHORD__V1__NODE_STATE__NODE_STATE_MEMBER) {
            return fault(verdict, "node %s at %s is %s", node->id, node->address,
                         ring_state_text(node->status->state));
        }
    }
    return true;
}

bool ring_verdict_lists(const struct ring_walk *walk, struct ring_verdict *verdict) {
    struct members members;
    members_collect(walk, &members);
    verdict->ideal =
        ring_lists_right(members.items, members.count, verdict->text, sizeof verdict->text);
    return verdict->ideal;
}

static bool ring_right(const struct ring_walk *walk, const struct members *members,
                       struct ring_verdict *verdict) {
    if (members->count == 0) {
        return fault(verdict, "no node that answers is a member");
    }
    if (walk->cut) {
        return fault(verdict, "the ring has more than %d nodes; only these were looked at",
                     RING_WALK_NODES_MAX);
    }
    if (!one_ring(members, verdict) || !ring_verdict_lists(walk, verdict)) {
        return false;
    }
    return copies_right(members, verdict) && all_led(members, walk->m, verdict) &&
           nobody_between(walk, verdict);
}

unsigned ring_verdict_copies_wanted(const struct ring_walk *walk) {
    struct members members;
    members_collect(walk, &members);
    return copies_wanted(&members);
}

bool ring_walk_survival(const struct ring_walk *walk, struct survival *survival) {
    struct survival_node *nodes = calloc(walk->nodes_count + 1, sizeof *nodes);
    *survival = (struct survival){0};
    for (size_t i = 0; nodes != NULL && i < walk->nodes_count; i++) {
        const struct ring_node *node = &walk->nodes[i];
        nodes[i] = (struct survival_node){node->address, node->status != NULL, node->status};
    }
    bool made = nodes != NULL && survival_make(nodes, walk->nodes_count, walk->m, survival);
    free(nodes);
    return made;
}

void ring_verdict_make(const struct ring_walk *walk, struct ring_verdict *verdict) {
    struct members members;
    struct survival survival;
    char lost[400];
    members_collect(walk, &members);
    bool counted = ring_walk_survival(walk, &survival);
    *verdict = (struct ring_verdict){.ideal = true,
                                     .members = members.count,
                                     .survives_failures = survival.failures,
                                     .keys = survival.keys,
                                     .keys_lost = survival.keys_lost};
    survival_text(&survival, lost, sizeof lost);
    survival_free(&survival);
    if (!counted) {
        fault(verdict, "there is no memory to count what it survives");
    } else if (members.count > 0 && lost[0] != '\0') {
        fault(verdict, "survives 0; %s", lost);
    } else if (ring_right(walk, &members, verdict)) {
        snprintf(verdict->text, sizeof verdict->text,
                 "%zu member%s, every predecessor and successor list is right, every range has its "
                 "copies; survives %u failure%s",
                 members.count, members.count == 1 ? "" : "s", verdict->survives_failures,
                 verdict->survives_failures == 1 ? "" : "s");
    }
}

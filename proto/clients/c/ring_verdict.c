/* SPDX-License-Identifier: MIT */
/* See ring_verdict.h. */
#include "ring_verdict.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LIST_MAX = 32 }; /* entries of a successor list */

struct member {
    const Chord__V1__StatusResponse *status;
    char id[ID_HEX_SIZE];
};

/* By id. */
struct members {
    struct member *items;
    size_t count;
};

static int compare_members(const void *a, const void *b) {
    const struct member *x = a;
    const struct member *y = b;
    int order = strcmp(x->id, y->id); /* same number of digits */
    return order != 0 ? order : strcmp(x->status->self->address, y->status->self->address);
}

static bool members_collect(const struct survival_node *nodes, size_t count, unsigned m,
                            struct members *members) {
    members->count = 0;
    members->items = calloc(count + 1, sizeof members->items[0]);
    for (size_t i = 0; members->items != NULL && i < count; i++) {
        if (nodes[i].alive && ring_is_member(nodes[i].status)) {
            struct member *member = &members->items[members->count++];
            member->status = nodes[i].status;
            ring_id_text(member->id, nodes[i].status->self->id, m);
        }
    }
    if (members->items != NULL) {
        qsort(members->items, members->count, sizeof members->items[0], compare_members);
    }
    return members->items != NULL;
}

/* ---- lists ---- */

static bool peer_is(const Chord__V1__Peer *peer, const struct member *member) {
    return peer != NULL && strcmp(peer->address, member->status->self->address) == 0;
}

static bool host_listed(const struct members *members, size_t at, size_t entries, uint64_t host) {
    bool listed = false;
    for (size_t k = 0; k < entries && host != 0; k++) {
        const struct member *member = &members->items[(at + 1 + k) % members->count];
        listed = listed || member->status->self->host_id == host;
    }
    return listed;
}

/* N entries, and as many more as it takes until they are on REPLICAS hosts, at least two
 * (node/chord/README.md, "Copies on different hosts"). */
static size_t list_wanted(const struct members *members, size_t at) {
    const Chord__V1__RingParameters *ring = members->items[at].status->parameters;
    size_t wanted = 0, hosts = 0, hosts_wanted = ring->replicas > 2 ? ring->replicas : 2;
    for (size_t k = 0; k < members->count - 1 && k < LIST_MAX; k++) {
        const struct member *next = &members->items[(at + 1 + k) % members->count];
        bool another =
            hosts < hosts_wanted && !host_listed(members, at, k, next->status->self->host_id);
        hosts += another;
        bool leads_on = another && next->status->self->host_id != 0;
        wanted = leads_on || k < ring->n ? k + 1 : wanted;
    }
    return wanted;
}

static bool member_lists_right(const struct members *members, size_t at, char *fault, size_t size) {
    size_t count = members->count;
    const struct member *member = &members->items[at];
    const struct member *before = &members->items[(at + count - 1) % count];
    const Chord__V1__StatusResponse *status = member->status;
    if (count > 1 && !peer_is(status->predecessor, before)) {
        snprintf(fault, size, "the predecessor of node %s is %s, it should be %s", member->id,
                 status->predecessor != NULL ? status->predecessor->address : "not known",
                 before->status->self->address);
        return false;
    }
    size_t want = list_wanted(members, at);
    for (size_t k = 0; k < want; k++) {
        const struct member *next = &members->items[(at + 1 + k) % count];
        if (k >= status->n_successors || !peer_is(status->successors[k], next)) {
            snprintf(fault, size, "successor %zu of node %s is %s, it should be %s", k + 1,
                     member->id,
                     k < status->n_successors ? status->successors[k]->address : "missing",
                     next->status->self->address);
            return false;
        }
    }
    if (count > 1 && status->n_successors > want) {
        snprintf(fault, size, "node %s lists %s, which is no member", member->id,
                 status->successors[want]->address);
        return false;
    }
    return true;
}

static void lists_judge(const struct members *members, char *fault, size_t size) {
    for (size_t i = 0; i < members->count; i++) {
        if (!member_lists_right(members, i, fault, size)) {
            return;
        }
    }
    fault[0] = '\0';
}

/* ---- the verdict ---- */

static void tell(struct ring_verdict *verdict, enum ring_fault fault, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The first fault is the verdict. */
static void tell(struct ring_verdict *verdict, enum ring_fault fault, const char *format, ...) {
    if (verdict->fault == RING_IDEAL) {
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(verdict->text, sizeof verdict->text, format, arguments);
        va_end(arguments);
        verdict->fault = fault;
    }
}

static void one_ring_judge(const struct members *members, struct ring_verdict *verdict) {
    for (size_t i = 1; i < members->count; i++) {
        const Chord__V1__StatusResponse *a = members->items[0].status;
        const Chord__V1__StatusResponse *b = members->items[i].status;
        if (!ring_bytes_equal(a->parameters->ring_id, b->parameters->ring_id)) {
            tell(verdict, RING_TWO, "these are two rings: %s and %s have different ring ids",
                 a->self->address, b->self->address);
        }
    }
}

static void changes_judge(const struct survival_node *nodes, size_t count,
                          struct ring_verdict *verdict) {
    for (size_t i = 0; i < count; i++) {
        const Chord__V1__StatusResponse *status = nodes[i].alive ? nodes[i].status : NULL;
        if (status != NULL && status->state != CHORD__V1__NODE_STATE__NODE_STATE_LEFT &&
            status->state != CHORD__V1__NODE_STATE__NODE_STATE_MEMBER) {
            tell(verdict, RING_CHANGING, "node %s is %s", nodes[i].address,
                 ring_state_text(status->state));
        }
    }
}

static void copies_judge(const struct members *members, struct ring_verdict *verdict) {
    for (size_t i = 0; i < members->count; i++) {
        unsigned count = ring_copies_short(members->items[i].status, verdict->copies_wanted);
        if (count > 0) {
            tell(verdict, RING_SHORT, "node %s leads %u range%s with fewer than %u copies yet",
                 members->items[i].id, count, count == 1 ? "" : "s", verdict->copies_wanted);
        }
    }
}

static void led_judge(unsigned m, struct ring_verdict *verdict) {
    char lo[ID_HEX_SIZE], hi[ID_HEX_SIZE];
    ring_id_text(lo, verdict->survival.gap_lo, m);
    ring_id_text(hi, verdict->survival.gap_hi, m);
    tell(verdict, RING_UNLED, "no living node leads the keys with ids in (%s, %s]", lo, hi);
}

/* Of which it is known who its members were; where nobody tells of a range, nobody leads it. */
static bool majority_lost(const struct survival *survival) {
    for (size_t i = 0; i < survival->lost_count; i++) {
        if (survival->lost[i].members > 0) {
            return true;
        }
    }
    return false;
}

static void members_measure(const struct members *members, struct ring_verdict *verdict) {
    const Chord__V1__RingParameters *ring =
        members->count > 0 ? members->items[0].status->parameters : NULL;
    verdict->members = members->count;
    verdict->copies_wanted = ring == NULL                      ? 0
                             : members->count < ring->replicas ? (unsigned)members->count
                                                               : ring->replicas;
    for (size_t i = 0; i < members->count; i++) {
        verdict->formed = verdict->formed || members->items[i].status->formed;
    }
    lists_judge(members, verdict->lists, sizeof verdict->lists);
}

void ring_judge(const struct survival_node *nodes, size_t count, unsigned m,
                struct ring_verdict *verdict) {
    struct members members;
    char text[400];
    *verdict = (struct ring_verdict){.fault = RING_IDEAL};
    if (!survival_make(nodes, count, m, &verdict->survival) ||
        !members_collect(nodes, count, m, &members)) {
        tell(verdict, RING_NO_MEMORY, "there is no memory to look at the ring");
        return;
    }
    members_measure(&members, verdict);
    if (majority_lost(&verdict->survival)) {
        survival_text(&verdict->survival, text, sizeof text);
        tell(verdict, RING_LOST, "survives 0; %s", text);
    }
    if (members.count == 0) {
        tell(verdict, RING_EMPTY, "no node that answers is a member");
    }
    one_ring_judge(&members, verdict);
    if (verdict->lists[0] != '\0') {
        tell(verdict, RING_LISTS, "%s", verdict->lists);
    }
    changes_judge(nodes, count, verdict);
    if (!verdict->survival.all_led) {
        led_judge(m, verdict);
    }
    copies_judge(&members, verdict);
    unsigned survives = verdict->survival.failures;
    survival_hosts_text(&verdict->survival, text, sizeof text);
    tell(verdict, RING_IDEAL,
         "%zu member%s, every predecessor and successor list is right, every range has its copies; "
         "survives %u failure%s%s",
         members.count, members.count == 1 ? "" : "s", survives, survives == 1 ? "" : "s", text);
    free(members.items);
}

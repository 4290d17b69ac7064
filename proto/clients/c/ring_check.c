/* The ring as it is against the ring as it should be; see ring_check.h. */
#include "ring_check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool ring_leads(const char *address, const Chord__V1__RangeStatus *range) {
    const Chord__V1__View *view = range->view;
    return view != NULL && view->range != NULL && view->leader < view->n_members &&
           view->members[view->leader]->address != NULL &&
           strcmp(view->members[view->leader]->address, address) == 0 &&
           (range->state == CHORD__V1__RANGE_STATE__RANGE_STATE_OPEN ||
            range->state == CHORD__V1__RANGE_STATE__RANGE_STATE_SETTLING ||
            range->state == CHORD__V1__RANGE_STATE__RANGE_STATE_CHANGING);
}

bool ring_range_ids(const Chord__V1__Range *range, struct ring_id *lo, struct ring_id *hi) {
    return range != NULL && id_from_wire(lo, range->lo.data, range->lo.len) &&
           id_from_wire(hi, range->hi.data, range->hi.len);
}

bool ring_range_has(const Chord__V1__Range *range, const struct ring_id *id) {
    struct ring_id lo, hi;
    return ring_range_ids(range, &lo, &hi) && id_in_range(id, &lo, &hi);
}

const Chord__V1__RangeStatus *ring_led_over(const char *address,
                                            const Chord__V1__StatusResponse *status,
                                            const struct ring_id *id) {
    const Chord__V1__RangeStatus *newest = NULL;
    for (size_t i = 0; status != NULL && i < status->n_ranges; i++) {
        const Chord__V1__RangeStatus *range = status->ranges[i];
        if (ring_leads(address, range) && ring_range_has(range->view->range, id) &&
            (newest == NULL || range->view->epoch > newest->view->epoch)) {
            newest = range;
        }
    }
    return newest;
}

bool ring_is_member(const Chord__V1__StatusResponse *status) {
    return status != NULL && status->self != NULL && status->parameters != NULL &&
           (status->state == CHORD__V1__NODE_STATE__NODE_STATE_MEMBER ||
            status->state == CHORD__V1__NODE_STATE__NODE_STATE_LEAVING);
}

/* ---- texts ---- */

void ring_id_text(char out[ID_HEX_SIZE], ProtobufCBinaryData id, unsigned m) {
    struct ring_id number;
    if (m == 0 || id.len != (m + 7) / 8 || !id_from_wire(&number, id.data, id.len)) {
        snprintf(out, ID_HEX_SIZE, "?");
        return;
    }
    id_to_hex(&number, m, out);
}

/* ---- lists ---- */

static bool peer_is(const Chord__V1__Peer *peer, const struct ring_member *member) {
    return peer != NULL && peer->address != NULL && strcmp(peer->address, member->address) == 0;
}

static bool member_lists_right(const struct ring_member *members, size_t count, size_t at,
                               char *fault, size_t fault_size) {
    const struct ring_member *member = &members[at];
    const struct ring_member *before = &members[(at + count - 1) % count];
    const Chord__V1__StatusResponse *status = member->status;
    if (count > 1 && !peer_is(status->predecessor, before)) {
        snprintf(fault, fault_size, "the predecessor of node %s is %s, it should be %s", member->id,
                 status->predecessor != NULL ? status->predecessor->address : "not known",
                 before->address);
        return false;
    }
    size_t want = count - 1 < status->parameters->n ? count - 1 : status->parameters->n;
    for (size_t k = 0; k < want; k++) {
        const struct ring_member *next = &members[(at + 1 + k) % count];
        if (k >= status->n_successors || !peer_is(status->successors[k], next)) {
            snprintf(fault, fault_size, "successor %zu of node %s is %s, it should be %s", k + 1,
                     member->id,
                     k < status->n_successors ? status->successors[k]->address : "missing",
                     next->address);
            return false;
        }
    }
    if (count > 1 && status->n_successors > want) {
        snprintf(fault, fault_size, "node %s lists %s, which is no member", member->id,
                 status->successors[want]->address);
        return false;
    }
    return true;
}

bool ring_lists_right(const struct ring_member *members, size_t count, char *fault,
                      size_t fault_size) {
    for (size_t i = 0; i < count; i++) {
        if (!member_lists_right(members, count, i, fault, fault_size)) {
            return false;
        }
    }
    return true;
}

/* ---- copies ---- */

unsigned ring_copies_wanted(size_t members_count, unsigned replicas) {
    return members_count < replicas ? (unsigned)members_count : replicas;
}

unsigned ring_copies_short(const struct ring_member *member, unsigned wanted) {
    unsigned count = 0;
    for (size_t i = 0; member->status != NULL && i < member->status->n_ranges; i++) {
        const Chord__V1__RangeStatus *range = member->status->ranges[i];
        count += ring_leads(member->address, range) && range->copies < wanted;
    }
    return count;
}

unsigned ring_recovered(const struct ring_member *member) {
    unsigned count = 0;
    for (size_t i = 0; member->status != NULL && i < member->status->n_ranges; i++) {
        const Chord__V1__RangeStatus *range = member->status->ranges[i];
        count += ring_leads(member->address, range) && range->view->recovered;
    }
    return count;
}

/* ---- leaders ---- */

/* Ids from `first` to `last`, both in it, on one side of the ring's zero. */
struct stretch {
    struct ring_id first, last;
};

static int compare_stretches(const void *a, const void *b) {
    const struct stretch *x = a;
    const struct stretch *y = b;
    return id_compare(&x->first, &y->first);
}

/* A range (lo, hi] is one stretch, or two when it goes round zero. */
static size_t stretches_of(const Chord__V1__Range *range, unsigned m, struct stretch out[2]) {
    static const struct ring_id zero;
    struct ring_id lo, hi, max;
    id_max(&max, m);
    if (!ring_range_ids(range, &lo, &hi)) {
        return 0;
    }
    int order = id_compare(&lo, &hi);
    if (order == 0) {
        out[0] = (struct stretch){zero, max};
        return 1;
    }
    bool to_zero = id_increment(&lo, m); /* the first id of the range */
    if (order < 0 || to_zero) {
        out[0] = (struct stretch){lo, hi};
        return 1;
    }
    out[0] = (struct stretch){lo, max};
    out[1] = (struct stretch){zero, hi};
    return 2;
}

static size_t stretches_collect(const struct ring_member *members, size_t count, unsigned m,
                                struct stretch *stretches) {
    size_t found = 0;
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < members[i].status->n_ranges; k++) {
            const Chord__V1__RangeStatus *range = members[i].status->ranges[k];
            if (ring_leads(members[i].address, range)) {
                found += stretches_of(range->view->range, m, &stretches[found]);
            }
        }
    }
    qsort(stretches, found, sizeof stretches[0], compare_stretches);
    return found;
}

bool ring_all_led(const struct ring_member *members, size_t count, unsigned m,
                  struct ring_id *gap) {
    size_t room = 1;
    for (size_t i = 0; i < count; i++) {
        room += 2 * members[i].status->n_ranges;
    }
    struct stretch *stretches = calloc(room, sizeof *stretches);
    size_t found = stretches == NULL ? 0 : stretches_collect(members, count, m, stretches);
    bool whole = false;
    *gap = (struct ring_id){{0}};
    for (size_t i = 0; i < found && !whole && id_compare(&stretches[i].first, gap) <= 0; i++) {
        if (id_compare(&stretches[i].last, gap) >= 0) {
            *gap = stretches[i].last;
            whole = id_increment(gap, m);
        }
    }
    free(stretches);
    return whole;
}

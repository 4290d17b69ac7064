/* SPDX-License-Identifier: MIT */
/* See ring_check.h. */
#include "ring_check.h"

#include <stdio.h>
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

const char *ring_state_text(Chord__V1__NodeState state) {
    static const char *const names[] = {"unknown", "joining", "member", "leaving", "left"};
    return (unsigned)state < sizeof names / sizeof names[0] ? names[state] : "unknown";
}

bool ring_bytes_equal(ProtobufCBinaryData a, ProtobufCBinaryData b) {
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

/* ---- the ranges that a node leads ---- */

static const Chord__V1__RangeStatus *led_range(const Chord__V1__StatusResponse *status, size_t at) {
    const Chord__V1__RangeStatus *range = status->ranges[at];
    return status->self != NULL && ring_leads(status->self->address, range) ? range : NULL;
}

unsigned ring_copies_short(const Chord__V1__StatusResponse *status, unsigned wanted) {
    unsigned count = 0;
    for (size_t i = 0; status != NULL && i < status->n_ranges; i++) {
        count += led_range(status, i) != NULL && status->ranges[i]->copies < wanted;
    }
    return count;
}

unsigned ring_recovered(const Chord__V1__StatusResponse *status) {
    unsigned count = 0;
    for (size_t i = 0; status != NULL && i < status->n_ranges; i++) {
        count += led_range(status, i) != NULL && status->ranges[i]->view->recovered;
    }
    return count;
}

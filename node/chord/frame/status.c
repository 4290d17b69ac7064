/* SPDX-License-Identifier: MIT */
/*
 * Reading the state from outside: nothing is changed here.
 */
#include "data/data.h"
#include "ring/ring.h"

void chord_read_status(const struct chord *constant, struct chord_status *status) {
    struct chord *chord = reading(constant);
    memset(status, 0, sizeof *status);
    status->self = chord->self;
    status->state = chord->state;
    status->parameters = chord->parameters;
    status->formed = chord->formed;
    status->salt = chord->salt;
    status->maintenance_messages_total = chord->messages_total;
    const struct chord_peer *predecessor = predecessor_get(chord);
    status->has_predecessor = predecessor != NULL;
    if (predecessor != NULL) {
        status->predecessor = *predecessor;
    }
    successors_list(chord, &status->successors);
    status->left_last = chord->left_last;
    status->warning = chord->left_last ? "this node left as the last of its ring: its rows are "
                                         "here and nobody serves them; join brings it back"
                                       : "";
    uint32_t members = members_estimate(chord);
    uint32_t copies = members < chord->parameters.replicas ? members : chord->parameters.replicas;
    status->survives_failures = copies > 0 ? (copies - 1) / 2 : 0;
    if (chord->state == CHORD_STATE_MEMBER && members < chord->parameters.n + 1) {
        status->warning = "fewer members than N+1: the ring works, and the proof of its lists does "
                          "not cover it; start more nodes";
    }
}

bool chord_finger_at(const struct chord *constant, unsigned index, struct chord_peer *peer) {
    struct chord *chord = reading(constant);
    if (index >= chord->parameters.m || chord->fingers[index] == NONE) {
        return false;
    }
    *peer = chord->fingers[index] == FINGER_SELF ? chord->self
                                                 : peer_at(chord, chord->fingers[index])->peer;
    return true;
}

const uint8_t *chord_ring_id(const struct chord *chord) {
    return chord->parameters.m != 0 ? chord->parameters.ring_id : NULL;
}

uint16_t chord_views_count(const struct chord *constant) {
    struct chord *chord = reading(constant);
    uint16_t count = 0;
    for (uint16_t i = 0; i < chord->ranges_end; i++) {
        count = (uint16_t)(count + range_at(chord, i)->used);
    }
    return count;
}

static enum chord_range_state range_state(struct chord *chord, struct range *range) {
    if (range->gone) {
        return CHORD_RANGE_GONE;
    }
    if (range->view.cut || view_self(chord, &range->view) == NONE) {
        return CHORD_RANGE_RETIRED;
    }
    if (!view_leads(chord, &range->view)) {
        return CHORD_RANGE_REPLICA;
    }
    if (!range->open) {
        return CHORD_RANGE_SETTLING;
    }
    return range->change.stage >= CHANGE_DRAIN ? CHORD_RANGE_CHANGING : CHORD_RANGE_OPEN;
}

const struct chord_view *chord_view_at(const struct chord *constant, uint16_t index,
                                       enum chord_range_state *state, unsigned *copies) {
    struct chord *chord = reading(constant);
    for (uint16_t i = 0; i < chord->ranges_end; i++) {
        struct range *range = range_at(chord, i);
        if (range->used && index-- == 0) {
            *state = range_state(chord, range);
            *copies = *state >= CHORD_RANGE_SETTLING && *state <= CHORD_RANGE_CHANGING
                          ? bits_count(range->synced)
                          : 0;
            return &range->view;
        }
    }
    return NULL;
}

bool chord_stored_view(const struct chord *constant, uint16_t index,
                       struct chord_stored_view *stored) {
    struct chord *chord = reading(constant);
    for (uint16_t i = 0; i < chord->ranges_end; i++) {
        struct range *range = range_at(chord, i);
        if (range->used && index-- == 0) {
            stored->view = range->view;
            stored->learning = range->learning;
            stored->equal_epoch = range->equal_epoch;
            stored->acceptor = range->acceptor;
            return true;
        }
    }
    return false;
}

/* SPDX-License-Identifier: MIT */
/*
 * What the ring tells the data, and asks it (for_ring.h).
 */
#include "data.h"

/* ---- events ---- */

void data_begin(struct step *step) {
    struct chord *chord = step->chord;
    struct chord_view view;
    uint16_t index;
    memset(&view, 0, sizeof view);
    view.range.lo = view.range.hi = chord->self.id;
    view.epoch = 1;
    view.settled = true;
    view.members_count = 1;
    member_of_peer(&chord->self, &view.members[0]);
    CHORD_ASSERT(range_add(chord, &view, &index));
    range_at(chord, index)->settled = true;
    views_save(step, STORE_VIEWS, 0);
}

void data_wake(struct chord *chord) {
    chord->ranges_ms = chord->now_ms;
}

void data_peer_lost(struct step *step, const char *address) {
    replica_leader_lost(step, address);
    leader_peer_lost(step, address);
}

void data_disconnected(struct chord *chord, const char *address) {
    for (uint16_t i = 0; i < chord->ranges_end; i++) {
        struct range *range = range_at(chord, i);
        if (range->used && address_same(range->view.members[range->view.leader].address, address)) {
            range->strikes = STRIKES_MAX - 1;
            range->watch_ms = chord->now_ms;
            data_wake(chord);
        }
    }
}

void data_looked_up(struct step *step, struct ref batch, const struct chord_peer *owner,
                    const struct chord_peer *before, uint16_t hops) {
    if (batch_live(step->chord, batch) &&
        batch_at(step->chord, batch.slot)->state == BATCH_LOOKING) {
        batch_looked_up(step, batch.slot, owner, before, hops);
    }
}

void data_close(struct step *step) {
    for (uint16_t i = 0; i < step->chord->ranges_end; i++) {
        if (range_at(step->chord, i)->used) {
            change_abort(step, i, "the last member leaves");
            range_at(step->chord, i)->open = false;
        }
    }
    batches_wake(step);
}

void data_lead_again(struct step *step) {
    struct chord *chord = step->chord;
    for (uint16_t i = 0; i < chord->ranges_end; i++) {
        struct range *range = range_at(chord, i);
        if (range->used && view_leads(chord, &range->view)) {
            range->lived = range->open = false;
        }
    }
    data_wake(chord);
}

void data_forget(struct step *step) {
    for (uint16_t i = step->chord->ranges_end; i > 0; i--) {
        if (range_at(step->chord, (uint16_t)(i - 1))->used) {
            range_remove(step, (uint16_t)(i - 1));
        }
    }
}

/* ---- questions ---- */

bool data_held(struct chord *chord) {
    for (uint16_t i = 0; i < chord->ranges_end; i++) {
        if (range_at(chord, i)->used && !range_at(chord, i)->gone) {
            return true;
        }
    }
    return false;
}

bool data_whole(struct chord *chord) {
    uint16_t first = range_find(chord, &chord->self.id);
    uint16_t index = first;
    for (uint16_t steps = 0; steps <= chord->ranges_end && index != NONE; steps++) {
        const struct range *range = range_at(chord, index);
        if (range->gone || !range->open || range->view.members_count != 1 ||
            !view_leads(chord, &range->view)) {
            return false;
        }
        index = range_find(chord, &range->view.range.lo);
        if (index == first) {
            return true;
        }
    }
    return false;
}

bool data_pulling(struct chord *chord) {
    for (uint16_t i = 0; i < chord->config.limits.transfers_max; i++) {
        enum transfer_stage stage = transfer_at(chord, i)->stage;
        if (stage != TRANSFER_FREE && stage != TRANSFER_DONE) {
            return true;
        }
    }
    return false;
}

bool data_writing(struct chord *chord) {
    for (uint16_t i = 0; i < chord->ranges_end; i++) {
        if (range_at(chord, i)->used && range_at(chord, i)->writing > 0) {
            return true;
        }
    }
    return false;
}

void data_members(struct chord *chord, void (*take)(struct chord *chord, const char *address)) {
    for (uint16_t i = 0; i < chord->ranges_end; i++) {
        const struct range *range = range_at(chord, i);
        for (uint16_t k = 0; range->used && !range->gone && k < range->view.members_count; k++) {
            take(chord, range->view.members[k].address);
        }
    }
}

const char *data_leader(struct chord *chord, uint16_t i) {
    const struct range *range = range_at(chord, i);
    bool holds = range->used && (range->learning || view_self(chord, &range->view) != NONE);
    return holds ? range->view.members[range->view.leader].address : NULL;
}

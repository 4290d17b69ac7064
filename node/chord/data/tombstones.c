/* SPDX-License-Identifier: MIT */
/*
 * Forgetting deletions. A tombstone is needed as long as a copy may turn up that still has the
 * value. When all members of a view (not only a majority) have everything on disk, and no write is
 * on its way, no such copy can turn up: the leader then decides a next view that says so (its
 * floor is its epoch), and each store that switches to it drops the tombstones of earlier epochs
 * in the same commit. A store that missed that view holds tombstones that are no longer needed,
 * never a value that they hide.
 *
 * What is lost is the memory that a retried write of an earlier epoch was overwritten. So the floor
 * stays in every view that follows, and an absent row counts as deleted at (floor, 0): an old retry
 * gets UNKNOWN instead of taking effect twice.
 */
#include "data.h"

enum { RETRY_MS = 1000 };

bool forget_possible(const struct range *range) {
    bool answered = true;
    for (uint16_t i = 0; i < range->view.members_count; i++) {
        answered = answered && range->member_calls[i] == 0;
    }
    return range->open && !range->closed && answered && range->writing == 0 &&
           range_all_equal(range);
}

/* A leader counts the tombstones of its range now and then. */
void forget_tick(struct step *step, uint16_t index) {
    struct chord *chord = step->chord;
    struct range *range = range_at(chord, index);
    struct chord_action *action;
    bool first = range->forget_ms == 0;
    if (range->forgettable || range->forget_ms > chord->now_ms) {
        return;
    }
    range->forget_ms = chord->now_ms + jitter(chord, chord->config.timing.forget_period_ms);
    if (first) {
        return;
    }
    if (store_start(step, CHORD_STORE_TOMBSTONES, STORE_TOMBSTONES, range_ref(chord, index), 0,
                    &action) == NONE) {
        range->forget_ms = chord->now_ms + RETRY_MS;
        return;
    }
    action->store.slice.range = range->view.range;
}

void forget_counted(struct step *step, uint16_t index, bool ok) {
    range_at(step->chord, index)->forgettable = ok && step->event->stored.rows > 0;
}

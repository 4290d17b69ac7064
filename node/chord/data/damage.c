/* SPDX-License-Identifier: MIT */
/*
 * Copies that are not what they should be, though nobody missed a message: a disk has changed a
 * row, or somebody has. A leader has its members compare their copies with its own now and then,
 * one at a time. And a store that finds a row it cannot believe says so (DAMAGED):
 *
 * - A member becomes equal to its leader again, once the leader says that it serves: before that,
 *   the leader may lack rows.
 * - A leader would answer as if the bad row did not exist. So it stops, and leads again in a new
 *   epoch, for which it settles without counting its own copy: an acknowledged write is on a
 *   majority of n, so without self n - majority + 1 others must be asked to find each.
 *
 * Until then a bad row is never given out: the host answers DATA_LOSS, and refuses to page it.
 */
#include "data.h"

unsigned repair_needs(struct chord *chord, const struct range *range) {
    for (uint16_t i = 0; i < chord->damages_count; i++) {
        const struct damage *damage = damage_at(chord, i);
        if (!damage->done && range_contains(&range->view.range, &damage->id)) {
            return range->view.members_count - view_majority(&range->view) + 1u;
        }
    }
    return 0;
}

void repair_settled(struct chord *chord, const struct range *range) {
    for (uint16_t i = 0; i < chord->damages_count; i++) {
        struct damage *damage = damage_at(chord, i);
        damage->done = damage->done || range_contains(&range->view.range, &damage->id);
    }
}

/* Once per id and life: what is still bad after all others were asked is no row of theirs. */
static bool damage_new(struct chord *chord, const struct chord_id *id) {
    for (uint16_t i = 0; i < chord->damages_count; i++) {
        if (id_equal(&damage_at(chord, i)->id, id)) {
            return false;
        }
    }
    if (chord->damages_count == DAMAGES_MAX) {
        return false;
    }
    *damage_at(chord, chord->damages_count++) = (struct damage){.id = *id};
    return true;
}

void repair_damaged(struct step *step, const struct chord_id *id) {
    struct chord *chord = step->chord;
    struct range *range = id_valid(id, chord->parameters.m) ? range_held(chord, id) : NULL;
    if (range == NULL) {
        return;
    }
    if (!view_leads(chord, &range->view)) {
        range->damaged = true;
    } else if (range->view.members_count > 1 && damage_new(chord, id)) {
        trace_view(step, CHORD_WORD_SETTLE, CHORD_LEVEL_WARN,
                   "a row of the leader's is damaged; settles again from the others", &range->view);
        range->lived = range->open = false;
        data_wake(chord);
    }
}

void repair_pull(struct step *step, uint16_t index) {
    struct range *range = range_at(step->chord, index);
    const struct chord_view *view = &range->view;
    uint64_t token = UINT64_MAX - range->serial; /* a token that no leader gives out */
    if (range->damaged && action_room(step, 16) &&
        transfer_sync(step, &view->members[view->leader], &view->range, view->epoch, token, 0)) {
        range->damaged = false;
    }
}

void repair_tick(struct step *step, uint16_t index) {
    struct chord *chord = step->chord;
    struct range *range = range_at(chord, index);
    bool first = range->compare_ms == 0;
    if (range->compare_ms > chord->now_ms) {
        return;
    }
    range->compare_ms = chord->now_ms + jitter(chord, chord->config.timing.compare_period_ms);
    if (first) {
        return;
    }
    uint16_t seat = (uint16_t)(range->compare_next++ % range->view.members_count);
    uint64_t me = bit(seat);
    if (seat != view_self(chord, &range->view) && (range->switched & range->synced & me) &&
        !(range->calling & me)) {
        range->sync_tokens[seat] = serial_new(chord);
        leader_send_sync(step, index, seat);
    }
}

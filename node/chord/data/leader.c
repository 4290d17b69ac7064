/* SPDX-License-Identifier: MIT */
/*
 * The work of a view's leader (the data protocol): it makes its members switch, keeps their copies
 * equal once it is settled (settle.c), and takes over when a leader is lost.
 */
#include "data.h"

enum { RETRY_MS = 400 };

/* node/chord/README.md: Owner change. Same range, same members, the next epoch, leader = self. */
void leader_take_over(struct step *step, uint16_t index, const char *note) {
    struct chord *chord = step->chord;
    struct range *range = range_at(chord, index);
    struct chord_view next;
    if (decide_find(chord, index) != NONE) {
        return; /* under way */
    }
    view_owner_change(chord, range, &next);
    if (decide_start(step, index, NONE, &next)) {
        trace_view(step, CHORD_WORD_DECIDE, CHORD_LEVEL_INFO, note, &next);
    }
}

/* The table of views is on disk: this store has switched in all it leads. If the disk refuses it, a
 * member with room is to take over the ranges that wait for it: not served yet, or closed because
 * their next view is proposed. */
void leader_views_saved(struct step *step, bool ok) {
    struct chord *chord = step->chord;
    CHORD_ASSERT(chord->views_saving > 0);
    chord->views_saving--;
    if (!ok) {
        chord->views_retry_ms = chord->now_ms + RETRY_MS;
    }
    for (uint16_t i = 0; i < chord->ranges_end; i++) {
        struct range *range = range_led(chord, i);
        if (range != NULL && (!range->open || range->closed)) {
            range->resigned = !ok;
        }
        if (range != NULL && views_saved(chord)) {
            uint16_t self = view_self(chord, &range->view);
            range->switched |= bit(self);
            range->merged |= bit(self);
            range->synced |= bit(self);
        }
    }
    data_wake(chord);
}

/* ---- members switch ---- */

bool leader_send_decided(struct step *step, uint16_t index, uint16_t seat,
                         const struct chord_member *member, const struct chord_view *other) {
    struct chord *chord = step->chord;
    struct range *range = range_at(chord, index);
    struct chord_request *request;
    if (call_member(step, CALL_DECIDED, range_ref(chord, index), seat, member,
                    chord->config.timing.silence_ms_max, &request) == NONE) {
        return false;
    }
    request->kind = CHORD_DECIDED;
    request->decided.count = other != NULL ? 2 : 1;
    request->decided.views[0] = range->view;
    if (other != NULL) {
        request->decided.views[1] = *other;
    }
    return true;
}

/* A member is at another view than we thought. If its view is older, it has not switched yet:
 * Decided goes out again. If its view is cut, only the epoch is a fact: the next epoch of our
 * ranges must be greater. */
void leader_learn(struct step *step, const struct chord_view *view) {
    struct chord *chord = step->chord;
    uint16_t installed;
    if (!view_valid(chord, view)) {
        return;
    }
    for (uint16_t i = 0; i < chord->ranges_end && view->cut; i++) {
        struct range *range = range_led(chord, i);
        if (range != NULL && ranges_overlap(&range->view.range, &view->range) &&
            view->epoch > range->epoch_floor) {
            range->epoch_floor = view->epoch;
        }
    }
    if (!view->cut && (range_install(step, view, &installed) || range_remember(step, view))) {
        views_save(step, STORE_VIEWS, 0);
    }
}

void leader_decided_reply(struct step *step, const struct call *call,
                          const struct chord_response *response) {
    uint16_t index = call->subject.slot, member = call->member;
    struct chord *chord = step->chord;
    struct range *range = range_led(chord, index);
    if (range == NULL || member == NONE) {
        return;
    }
    range->calling &= ~bit(member);
    if (response == NULL) {
        range->retry_ms = chord->now_ms + RETRY_MS;
    } else if (response->view.has_view) {
        range->retry_ms = chord->now_ms + RETRY_MS;
        leader_learn(step, &response->view.view);
    } else {
        range->switched |= bit(member);
        data_wake(chord);
    }
}

/* ---- copies become equal ---- */

void leader_send_sync(struct step *step, uint16_t index, uint16_t member) {
    struct chord *chord = step->chord;
    struct range *range = range_at(chord, index);
    struct chord_request *request;
    if (range->sync_tokens[member] == 0) {
        range->sync_tokens[member] = serial_new(chord);
    }
    uint16_t slot =
        call_member(step, CALL_SYNC, range_ref(chord, index), member, &range->view.members[member],
                    chord->config.timing.data_timeout_ms, &request);
    if (slot == NONE) {
        return;
    }
    call_at(chord, slot)->token = range->sync_tokens[member];
    range->calling |= bit(member);
    request->kind = CHORD_SYNC;
    request->sync.view = range->view;
    request->sync.range = range->view.range;
    request->sync.token = range->sync_tokens[member];
    request->sync.learner = false;
}

void leader_sync_reply(struct step *step, const struct call *call,
                       const struct chord_response *response) {
    struct chord *chord = step->chord;
    uint16_t index = call->subject.slot, member = call->member;
    struct range *range = range_led(chord, index);
    if (range == NULL) {
        return;
    }
    bool refused = response != NULL && response->view.has_view;
    bool done = response != NULL && !refused && response->view.confirmed;
    if (member == NONE) {
        if (range->change.token == call->token) {
            if (response != NULL && !refused && !done) {
                change_learn(step, index);
            } else {
                change_learned(step, index, done);
            }
        }
    } else {
        range->calling &= ~bit(member);
        if (response == NULL || refused) {
            range->retry_ms = chord->now_ms + RETRY_MS;
            range->sync_tokens[member] = 0;
        } else if (done && range->sync_tokens[member] == call->token) {
            range->synced |= bit(member);
        }
        if (refused) {
            range->switched &= ~bit(member);
        }
    }
    data_wake(chord);
    if (refused) {
        leader_learn(step, &response->view.view);
    }
}

/* A member missed a write: it must switch and be made equal again before it counts as a copy. */
void leader_member_down(struct step *step, uint16_t index, uint16_t member) {
    struct range *range = range_led(step->chord, index);
    if (range != NULL && member < range->view.members_count) {
        if (range->synced & bit(member)) {
            trace_view(step, CHORD_WORD_SYNC, CHORD_LEVEL_WARN, "a copy fell behind", &range->view);
        }
        range->switched &= ~bit(member);
        range->synced &= ~bit(member);
        range->sync_tokens[member] = 0;
        range->retry_ms = step->chord->now_ms + RETRY_MS;
        settle_lost(step, index, member);
    }
}

/* A peer has failed: its copies no longer count until it has switched again. */
void leader_peer_lost(struct step *step, const char *address) {
    struct chord *chord = step->chord;
    for (uint16_t i = 0; i < chord->ranges_end; i++) {
        struct range *range = range_led(chord, i);
        for (uint16_t k = 0; range != NULL && k < range->view.members_count; k++) {
            if (address_same(range->view.members[k].address, address)) {
                leader_member_down(step, i, k);
            }
        }
    }
}

void leader_advance(struct step *step, uint16_t index) {
    struct chord *chord = step->chord;
    struct range *range = range_at(chord, index);
    bool retry = range->retry_ms <= chord->now_ms;
    uint16_t seat = view_self(chord, &range->view);
    if (!(range->switched & bit(seat))) {
        return; /* our own switch is not on disk */
    }
    for (uint16_t i = 0; i < range->view.members_count && retry; i++) {
        if (i != seat && !((range->switched | range->calling) & bit(i)) &&
            leader_send_decided(step, index, i, &range->view.members[i], NULL)) {
            range->calling |= bit(i);
        }
    }
    bool switched = bits_count(range->switched) >= view_majority(&range->view);
    if (!(switched && range->settled) && view_follows(chord, &range->view)) {
        leader_take_over(step, index, "members have moved; their seats follow");
        return;
    }
    if (!switched) {
        seats_ask(step, &range->view);
        return;
    }
    if (!range->settled) {
        settle_advance(step, index);
    }
    if (!range->settled || (!range->open && !views_saved(chord))) {
        return; /* settled, but it is not on disk yet that our copy is equal */
    }
    if (!range->open) {
        range->open = true;
        trace_view(step, CHORD_WORD_OPEN, CHORD_LEVEL_INFO, "serves", &range->view);
        batches_wake(step);
    }
    for (uint16_t i = 0; i < range->view.members_count && retry; i++) {
        if ((range->switched & bit(i)) && !((range->synced | range->calling) & bit(i))) {
            leader_send_sync(step, index, i);
        }
    }
    forget_tick(step, index);
    repair_tick(step, index);
    if (range->closed && decide_find(chord, index) == NONE) {
        leader_take_over(step, index, "no write is committed here any more; next epoch");
    } else if (range->change.stage != CHANGE_NONE) {
        change_advance(step, index);
    } else {
        change_plan(step, index);
    }
}

void ranges_tick(struct step *step) {
    struct chord *chord = step->chord;
    if (chord->ranges_ms == 0 || chord->ranges_ms > chord->now_ms) {
        return;
    }
    chord->ranges_ms = 0;
    if (chord->views_retry_ms != 0 && chord->views_retry_ms <= chord->now_ms) {
        chord->views_retry_ms = 0;
        views_save(step, STORE_VIEWS, 0);
    }
    for (uint16_t i = 0; i < chord->ranges_end && !chord->left_last; i++) {
        struct range *range = range_at(chord, i);
        if (!range->used) {
            continue;
        }
        if (!action_room(step, 24)) {
            data_wake(chord);
            return;
        }
        if (chord->ranges_ms == 0) {
            chord->ranges_ms = chord->now_ms + jitter(chord, chord->config.timing.range_period_ms);
        }
        if (range_led(chord, i) != NULL) {
            leader_advance(step, i);
        } else {
            replica_watch(step, i);
        }
    }
}

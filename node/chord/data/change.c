/* SPDX-License-Identifier: MIT */
/*
 * How the leader of a range changes its view: give a part or all of it to the ring's owner, add or
 * replace a member, drop one that leaves, merge two ranges of its own. Always the same three steps:
 * the newcomer learns everything, writes pause until none is in flight, the next view is decided.
 * So no view ever holds an empty member.
 */
#include "data.h"

enum {
    RETRY_MS = 500,
    DRAIN_MS = 5000,
    LEARN_MS = 600000,
};

void change_abort(struct step *step, uint16_t index, const char *note) {
    struct chord *chord = step->chord;
    struct range *range = range_at(chord, index);
    if (range->change.stage == CHANGE_NONE || range->change.stage == CHANGE_DECIDE) {
        return; /* what is proposed cannot be taken back */
    }
    trace_view(step, CHORD_WORD_DECIDE, CHORD_LEVEL_INFO, note, &range->view);
    memset(&range->change, 0, sizeof range->change);
    range->change_retry_ms = chord->now_ms + RETRY_MS;
    batches_wake(step);
}

/* node/chord/README.md: Decision (merge). Two ranges are merged only when all their copies are
 * equal: if a copy had been made equal at different epochs in the two, no single equal_epoch could
 * say which rows count (pull.c). */
static void merge_begin(struct step *step, struct range *range) {
    struct chord *chord = step->chord;
    struct range *next = plan_merge_partner(chord, range);
    if (next == NULL || !range_all_equal(range) || !range_all_equal(next)) {
        return;
    }
    range->change.stage = CHANGE_DRAIN;
    range->change.merge = true;
    range->change.deadline_ms = chord->now_ms + DRAIN_MS;
    next->change = range->change;
    next->change.merge = false;
    next->change.follows = true;
    data_wake(chord);
}

static void seat_remove(struct chord_view *view, uint16_t seat) {
    view->members_count--;
    memmove(&view->members[seat], &view->members[seat + 1],
            sizeof view->members[0] * (size_t)(view->members_count - seat));
}

/* node/chord/README.md: Next members. The members of the part that changes: the leader first, then
 * the others in their order. */
static void next_members(struct chord *chord, const struct change *change,
                         struct chord_view *view) {
    uint16_t seat = change->has_leaver ? view_member(view, change->leaver.store_id) : NONE;
    if (seat != NONE) {
        seat_remove(view, seat);
    }
    uint16_t moved =
        change->has_newcomer ? view_member(view, change->newcomer.store_id) : (uint16_t)NONE;
    if (moved != NONE) {
        view->members[moved] = change->newcomer;
    } else if (change->has_newcomer) {
        if (view->members_count >= chord->parameters.replicas) {
            /* The newcomer takes the farthest seat, but never the next leader's. */
            uint16_t farthest = (uint16_t)(view->members_count - 1);
            seat_remove(view, view_member(view, change->leader.store_id) == farthest && farthest > 0
                                  ? (uint16_t)(farthest - 1)
                                  : farthest);
        }
        view->members[view->members_count++] = change->newcomer;
    }
    seat = view_member(view, change->leader.store_id);
    CHORD_ASSERT(seat != NONE);
    struct chord_member leader = view->members[seat];
    memmove(&view->members[1], &view->members[0], sizeof leader * seat);
    view->members[0] = leader;
    view->leader = 0;
}

/* node/chord/README.md: Next members. A majority of the next view must hold everything before it is
 * proposed, or an acknowledged write could lose its copies one by one: with three members and one
 * behind, dropping one and then another would lose it. */
static bool held(struct chord *chord, const struct range *range, const struct change *change,
                 bool answered) {
    struct chord_view next = range->view;
    unsigned holders = 0;
    next_members(chord, change, &next);
    for (uint16_t i = 0; i < next.members_count; i++) {
        uint16_t seat = view_seat(&range->view, &next.members[i]);
        holders += seat == NONE ||
                   ((range->synced & bit(seat)) && (!answered || range->member_calls[seat] == 0));
    }
    return holders >= view_majority(&next);
}

void change_learn(struct step *step, uint16_t index) {
    struct chord *chord = step->chord;
    struct range *range = range_at(chord, index);
    struct chord_request *request;
    uint16_t slot =
        call_member(step, CALL_SYNC, range_ref(chord, index), NONE, &range->change.newcomer,
                    chord->config.timing.data_timeout_ms, &request);
    if (slot == NONE) {
        change_abort(step, index, "no room for another call");
        return;
    }
    call_at(chord, slot)->token = (uint32_t)range->change.token;
    request->kind = CHORD_SYNC;
    request->sync.view = range->view;
    request->sync.range = (struct chord_range){range->view.range.lo, range->change.cut};
    request->sync.token = range->change.token;
    request->sync.learner = true;
    range->taught = true;
}

void change_plan(struct step *step, uint16_t index) {
    struct chord *chord = step->chord;
    struct range *range = range_at(chord, index);
    struct change change;
    if (range->change_retry_ms > chord->now_ms) {
        return;
    }
    seats_ask(step, &range->view);
    if (!plan_next(chord, range, &change)) {
        if (chord->state == CHORD_STATE_MEMBER) {
            merge_begin(step, range);
        }
        return;
    }
    if (!held(chord, range, &change, false)) {
        return;
    }
    range->change = change;
    if (change.has_newcomer) {
        range->change.stage = CHANGE_LEARN;
        range->change.deadline_ms = chord->now_ms + LEARN_MS;
        range->change.token = serial_new(chord);
        trace_view(step, CHORD_WORD_SYNC, CHORD_LEVEL_DEBUG, "a newcomer learns", &range->view);
        change_learn(step, index);
    } else {
        range->change.stage = CHANGE_DRAIN;
        range->change.deadline_ms = chord->now_ms + DRAIN_MS;
        change_advance(step, index);
    }
}

void change_learned(struct step *step, uint16_t index, bool ok) {
    struct chord *chord = step->chord;
    struct range *range = range_at(chord, index);
    if (range->change.stage != CHANGE_LEARN) {
        return;
    }
    if (!ok) {
        change_abort(step, index, "the newcomer could not learn");
        return;
    }
    range->change.stage = CHANGE_DRAIN;
    range->change.deadline_ms = chord->now_ms + DRAIN_MS;
    change_advance(step, index);
}

/* ---- the decision ---- */

/* What the leader of the old view knows of its members' copies stays true in the next epoch; the
 * newcomer has learned everything. Only what it saw itself: a leader that hears from others that it
 * leads on has restarted meanwhile, or its disk has lost that epoch, so it settles. */
static void keep_knowledge(struct chord *chord, const struct chord_view *next,
                           const struct range *old) {
    uint16_t index = range_exact(chord, &next->range, next->epoch);
    if (index == NONE || !view_leads(chord, next) || !next->settled || !old->settled) {
        return;
    }
    struct range *range = range_at(chord, index);
    range->settled = true;
    for (uint16_t i = 0; i < next->members_count; i++) {
        uint16_t seat = view_seat(&old->view, &next->members[i]);
        bool learned = old->change.stage == CHANGE_DECIDE && old->change.has_newcomer &&
                       store_same(old->change.newcomer.store_id, next->members[i].store_id);
        /* An Apply in flight may still fail, and the new epoch would not notice. */
        bool equal = seat != NONE && (old->synced & bit(seat)) && old->member_calls[seat] == 0;
        if (learned || equal) {
            range->synced |= bit(i);
        }
    }
}

/* Tells the whole decision to every former and every present member. */
void change_tell(struct step *step, const struct chord_view *old, const struct chord_view *views,
                 uint16_t count) {
    struct chord *chord = step->chord;
    uint16_t index = range_exact(chord, &views[0].range, views[0].epoch);
    const struct chord_view *rest = count == 2 ? &views[1] : NULL;
    for (uint16_t i = 0; i < old->members_count && index != NONE; i++) {
        if (!seated(chord, &old->members[i])) {
            leader_send_decided(step, index, NONE, &old->members[i], rest);
        }
    }
    for (uint16_t i = 0; i < views[0].members_count && index != NONE; i++) {
        if (view_seat(old, &views[0].members[i]) == NONE && !seated(chord, &views[0].members[i])) {
            leader_send_decided(step, index, NONE, &views[0].members[i], rest);
        }
    }
}

void change_decided(struct step *step, uint16_t index, uint16_t other,
                    const struct chord_view *next) {
    struct chord *chord = step->chord;
    struct range old = *range_at(chord, index);
    struct chord_view views[2];
    uint16_t count = decision_views(&old.view, next, views);
    if (other != NONE) {
        /* A copy is complete in the joint range only if it was in both. */
        struct range *second = range_at(chord, other);
        old.settled = old.settled && second->settled;
        for (uint16_t i = 0; i < old.view.members_count; i++) {
            uint16_t seat = view_member(&second->view, old.view.members[i].store_id);
            if (seat == NONE || !(second->synced & bit(seat)) || second->member_calls[seat] > 0) {
                old.synced &= ~bit(i);
            }
        }
    }
    trace_view(step, CHORD_WORD_DECIDE, CHORD_LEVEL_INFO,
               next->floor == next->epoch ? "next view, tombstones are forgotten; led by"
               : other != NONE            ? "merged two ranges; led by"
               : count == 2               ? "split; led by"
                                          : "next view; led by",
               next);
    for (uint16_t i = 0; i < count; i++) {
        uint16_t installed;
        if (range_install(step, &views[i], &installed)) {
            keep_knowledge(chord, &views[i], &old);
        }
    }
    views_save(step, STORE_VIEWS, 0);
    change_tell(step, &old.view, views, count);
}

/* A member that fell behind since the plan was made catches up before it leads (plan.c). */
static bool leader_fit(struct chord *chord, const struct range *range) {
    uint16_t seat = view_seat(&range->view, &range->change.leader);
    return seat == NONE || seat == view_self(chord, &range->view) || (range->synced & bit(seat));
}

static void decide(struct step *step, uint16_t index) {
    struct chord *chord = step->chord;
    struct range *range = range_at(chord, index);
    struct chord_view next = range->view;
    if (!leader_fit(chord, range)) {
        change_abort(step, index, "the next leader fell behind");
        return;
    }
    next.epoch = view_next_epoch(range);
    next.range.hi = range->change.cut;
    next_members(chord, &range->change, &next);
    if (!held(chord, range, &range->change, true) ||
        (range->change.forget && !forget_possible(range))) {
        return; /* waits for the last answers, until the change is given up */
    }
    next.settled = view_leads(chord, &next); /* another leader settles first */
    next.moved = false;
    next.floor = range->change.forget ? next.epoch : next.floor;
    if (decide_start(step, index, NONE, &next)) {
        range->change.stage = CHANGE_DECIDE;
    }
}

static void decide_merge(struct step *step, uint16_t index, uint16_t other) {
    struct chord *chord = step->chord;
    struct range *range = range_at(chord, index), *second = range_at(chord, other);
    struct chord_view next = range->view;
    uint64_t epochs[2] = {view_next_epoch(range), view_next_epoch(second)};
    next.range.hi = second->view.range.hi;
    next.epoch = epochs[epochs[1] > epochs[0]];
    merges_join(&range->view, &second->view, &next);
    next.recovered = next.recovered || second->view.recovered;
    next.floor = second->view.floor > next.floor ? second->view.floor : next.floor;
    next.settled = true;
    next.moved = false;
    if (decide_start(step, index, other, &next)) {
        range->change.stage = second->change.stage = CHANGE_DECIDE;
    }
}

static void advance_merge(struct step *step, uint16_t index) {
    struct chord *chord = step->chord;
    struct range *range = range_at(chord, index);
    for (uint16_t i = 0; i < chord->ranges_end; i++) {
        struct range *next = range_at(chord, i);
        if (next->used && next != range && next->change.stage == CHANGE_DRAIN &&
            next->change.follows && id_equal(&range->view.range.hi, &next->view.range.lo)) {
            if (!range_all_equal(range) || !range_all_equal(next)) {
                change_abort(step, index, "a copy fell behind; no merge");
                change_abort(step, i, "a copy fell behind; no merge");
            } else if (forget_possible(range) && forget_possible(next)) {
                decide_merge(step, index, i);
            }
            return;
        }
    }
    change_abort(step, index, "the other range is gone; no merge");
}

void change_advance(struct step *step, uint16_t index) {
    struct chord *chord = step->chord;
    struct range *range = range_at(chord, index);
    if (range->change.stage == CHANGE_DECIDE) {
        return; /* proposer.c goes on until something is decided */
    }
    if (chord->now_ms > range->change.deadline_ms) {
        change_abort(step, index, "the change took too long");
        return;
    }
    if (range->change.stage != CHANGE_DRAIN || range->change.follows || !action_room(step, 90)) {
        return;
    }
    if (!range_room(step)) {
        change_abort(step, index, "no room for another view");
        return;
    }
    if (range->change.merge) {
        advance_merge(step, index);
    } else if (range->writing == 0 && range->learner_calls == 0) {
        decide(step, index);
    }
}

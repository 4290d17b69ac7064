/* SPDX-License-Identifier: MIT */
/*
 * How the leader of a range changes its view: give a part or all of it to the ring's owner, add or
 * replace a member, drop one that leaves, merge two ranges of its own. Always the same three steps:
 * the newcomer learns everything, writes pause until none is in flight, the next view is decided.
 * So no view ever holds an empty member.
 */
#include "data.h"
#include "ring.h"

enum {
    RETRY_MS = 500,
    DRAIN_MS = 5000,
    LEARN_MS = 600000,
    STABLE_MS = 100, /* a predecessor this old may be given its range */
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

/* ---- the plan ---- */

static bool adjacent(struct chord *chord, struct range *range, struct range *next) {
    if (next == range || !next->used || !view_leads(chord, &next->view) || !next->open ||
        next->change.stage != CHANGE_NONE ||
        !id_equal(&range->view.range.hi, &next->view.range.lo) ||
        next->view.members_count != range->view.members_count) {
        return false;
    }
    for (uint16_t i = 0; i < next->view.members_count; i++) {
        if (view_seat(&range->view, &next->view.members[i]) == NONE) {
            return false;
        }
    }
    return true;
}

static struct range *merge_partner(struct chord *chord, struct range *range) {
    for (uint16_t i = 0; i < chord->ranges_end; i++) {
        struct range *next = range_at(chord, i);
        if (adjacent(chord, range, next) && owns(chord, &next->view.range.hi)) {
            return next;
        }
    }
    return NULL;
}

/* Who should hold a range of ours: self and the first successors that are not leaving. */
static uint16_t desired_members(struct chord *chord, struct chord_member desired[]) {
    uint16_t count = 0;
    if (chord->state == CHORD_STATE_MEMBER) {
        member_of_peer(&chord->self, &desired[count++]);
    }
    for (uint16_t i = 0; i < chord->successors_count && count < chord->parameters.replicas; i++) {
        const struct chord_peer *peer = successor_at(chord, i);
        if (!peer_leaving(chord, peer->store_id, peer->incarnation)) {
            member_of_peer(peer, &desired[count++]);
        }
    }
    return count;
}

static bool listed(const struct chord_member *members, uint16_t count, const uint8_t *store_id) {
    for (uint16_t i = 0; i < count; i++) {
        if (memcmp(members[i].store_id, store_id, CHORD_STORE_ID_BYTES) == 0) {
            return true;
        }
    }
    return false;
}

/* No member, or not at its seat any more. */
static bool missing(struct chord *chord, const struct chord_view *view,
                    const struct chord_member *one) {
    uint16_t seat = view_member(view, one->store_id);
    return seat == NONE ||
           (view_seat(view, one) == NONE &&
            address_same(member_address(chord, &view->members[seat]), one->address));
}

/* The first desired one that is no member. */
static bool missing_member(struct chord *chord, const struct chord_view *view,
                           const struct chord_member *desired, uint16_t count,
                           struct chord_member *found) {
    for (uint16_t i = 0; i < count; i++) {
        if (missing(chord, view, &desired[i])) {
            *found = desired[i];
            return true;
        }
    }
    return false;
}

/* A seat to free: of the dead first, then of those who leave, then any not desired. */
static bool extra_member(struct chord *chord, struct range *range,
                         const struct chord_member *desired, uint16_t count,
                         struct chord_member *extra) {
    int best = -1;
    for (uint16_t i = 0; i < range->view.members_count; i++) {
        const struct chord_member *member = &range->view.members[i];
        bool self = memcmp(member->store_id, chord->self.store_id, CHORD_STORE_ID_BYTES) == 0;
        if (self || listed(desired, count, member->store_id)) {
            continue;
        }
        int rank = range->switched & 1ull << i ? 0 : 2;
        rank += peer_leaving(chord, member->store_id, 0) ? 1 : 0;
        if (rank > best) {
            best = rank;
            *extra = *member;
        }
    }
    return best >= 0;
}

static bool dead_member(struct chord *chord, struct range *range,
                        const struct chord_member *desired, uint16_t count,
                        struct chord_member *dead) {
    for (uint16_t i = 0; i < range->view.members_count; i++) {
        const struct chord_member *member = &range->view.members[i];
        if (!(range->switched & 1ull << i) && !listed(desired, count, member->store_id) &&
            memcmp(member->store_id, chord->self.store_id, CHORD_STORE_ID_BYTES) != 0) {
            *dead = *member;
            return true;
        }
    }
    return false;
}

/* (lo, cut] to the predecessor, which owns it on the ring. */
static bool plan_give(struct chord *chord, struct range *range, struct change *change) {
    const struct chord_peer *predecessor = predecessor_get(chord);
    const struct chord_range *interval = &range->view.range;
    if (predecessor == NULL ||
        peer_leaving(chord, predecessor->store_id, predecessor->incarnation) ||
        chord->now_ms < chord->predecessor_since_ms + STABLE_MS) {
        return false;
    }
    if (id_in_open(&interval->lo, &predecessor->id, &interval->hi)) {
        change->cut = predecessor->id;
    } else if (!id_in_half_open(&predecessor->id, &interval->hi, &chord->self.id)) {
        change->cut = interval->hi;
    } else {
        return false;
    }
    member_of_peer(predecessor, &change->leader);
    uint16_t seat = view_seat(&range->view, &change->leader);
    change->has_newcomer = missing(chord, &range->view, &change->leader);
    change->newcomer = change->leader;
    /* Else it catches up first. */
    return change->has_newcomer || (seat != NONE && range->synced & 1ull << seat);
}

/* Self leaves: the successor leads, and where there is one a further successor takes the seat. The
 * seats of the dead go first: the view that stays must have a living majority. */
static bool plan_hand_over(struct chord *chord, struct range *range, struct change *change) {
    struct chord_member desired[CHORD_REPLICAS_MAX];
    uint16_t count = desired_members(chord, desired);
    if (count == 0) {
        return false;
    }
    change->cut = range->view.range.hi;
    if (dead_member(chord, range, desired, count, &change->leaver)) {
        change->has_leaver = true;
        member_of_peer(&chord->self, &change->leader);
        return true;
    }
    change->leader = desired[0];
    change->has_leaver = true;
    member_of_peer(&chord->self, &change->leaver);
    if (missing(chord, &range->view, &desired[0])) {
        change->has_newcomer = true;
        change->newcomer = desired[0];
    } else {
        change->has_newcomer =
            missing_member(chord, &range->view, desired, count, &change->newcomer);
    }
    return change->has_newcomer || view_seat(&range->view, &desired[0]) != NONE;
}

static bool plan_members(struct chord *chord, struct range *range, struct change *change) {
    struct chord_member desired[CHORD_REPLICAS_MAX];
    uint16_t count = desired_members(chord, desired);
    bool lacks = missing_member(chord, &range->view, desired, count, &change->newcomer);
    bool moved = lacks && view_member(&range->view, change->newcomer.store_id) != NONE;
    bool extra = extra_member(chord, range, desired, count, &change->leaver);
    bool full = range->view.members_count >= chord->parameters.replicas;
    bool leaves = extra && peer_leaving(chord, change->leaver.store_id, 0);
    for (uint16_t i = 0; i < range->view.members_count && extra && !leaves; i++) {
        /* A dead seat goes without replacement only to let somebody leave. */
        leaves = peer_leaving(chord, range->view.members[i].store_id, 0);
    }
    change->cut = range->view.range.hi;
    member_of_peer(&chord->self, &change->leader);
    change->has_newcomer = lacks;
    change->has_leaver = extra && !moved && ((lacks && full) || (!lacks && leaves));
    return change->has_newcomer || change->has_leaver;
}

/* A new epoch with everything as it is. */
static void plan_same(struct chord *chord, const struct range *range, struct change *change) {
    memset(change, 0, sizeof *change);
    change->cut = range->view.range.hi;
    member_of_peer(&chord->self, &change->leader);
}

/* A learner that did not become a member may drop its rows then, and a member that remembers a
 * later epoch takes part again. */
static bool plan_renew(struct chord *chord, struct range *range, struct change *change) {
    plan_same(chord, range, change);
    return range->taught || range->view.moved || range->epoch_floor > range->view.epoch;
}

static bool plan_forget(struct chord *chord, struct range *range, struct change *change) {
    plan_same(chord, range, change);
    change->forget = true;
    return range->forgettable && forget_possible(range);
}

/* Only when all copies are equal can two ranges become one: of a copy that has been made equal at
 * different times in the two it could not be said any more what counts (transfer.c). */
static void plan_merge(struct step *step, struct range *range) {
    struct chord *chord = step->chord;
    struct range *next = merge_partner(chord, range);
    if (next == NULL || !range_all_equal(range) || !range_all_equal(next)) {
        return;
    }
    range->change.stage = CHANGE_DRAIN;
    range->change.merge = true;
    range->change.deadline_ms = chord->now_ms + DRAIN_MS;
    next->change = range->change;
    next->change.merge = false;
    next->change.follows = true;
    chord->ranges_ms = chord->now_ms;
}

static void seat_remove(struct chord_view *view, uint16_t seat) {
    view->members_count--;
    memmove(&view->members[seat], &view->members[seat + 1],
            sizeof view->members[0] * (size_t)(view->members_count - seat));
}

/* The members of the part that changes: the leader first, then the others in their order. */
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
            /* The farthest seat, but never the next leader's. */
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

/* A majority of the next view must hold everything already, or else an acknowledged write could
 * thin out: with three members and one behind, dropping one and then another would lose it. */
static bool held(struct chord *chord, const struct range *range, const struct change *change,
                 bool answered) {
    struct chord_view next = range->view;
    unsigned holders = 0;
    next_members(chord, change, &next);
    for (uint16_t i = 0; i < next.members_count; i++) {
        uint16_t seat = view_seat(&range->view, &next.members[i]);
        holders += seat == NONE ||
                   ((range->synced >> seat & 1) && (!answered || range->member_calls[seat] == 0));
    }
    return holders >= view_majority(&next);
}

void change_learn(struct step *step, uint16_t index) {
    struct chord *chord = step->chord;
    struct range *range = range_at(chord, index);
    struct chord_request *request;
    uint16_t slot =
        call_member(step, CALL_SYNC, index, range->serial, NONE, &range->change.newcomer,
                    chord->config.timing.data_timeout_ms, &request);
    if (slot == NONE) {
        change_abort(step, index, "no room for another call");
        return;
    }
    call_at(chord, slot)->range_serial = (uint32_t)range->change.token;
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
    memset(&change, 0, sizeof change);
    bool planned = false;
    if (chord->state == CHORD_STATE_LEAVING) {
        planned = plan_hand_over(chord, range, &change);
    } else if (chord->state == CHORD_STATE_MEMBER) {
        planned = plan_give(chord, range, &change);
        if (!planned) {
            change.has_newcomer = false;
            planned = plan_members(chord, range, &change) || plan_renew(chord, range, &change) ||
                      plan_forget(chord, range, &change);
        }
        if (!planned) {
            plan_merge(step, range);
            return;
        }
    }
    if (!planned || !held(chord, range, &change, false)) {
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
 * newcomer has learned everything. */
static void keep_knowledge(struct chord *chord, const struct chord_view *next,
                           const struct range *old) {
    uint16_t index = range_exact(chord, &next->range, next->epoch);
    if (index == NONE || !view_leads(chord, next) || !next->settled) {
        return;
    }
    struct range *range = range_at(chord, index);
    for (uint16_t i = 0; i < next->members_count; i++) {
        uint16_t seat = view_seat(&old->view, &next->members[i]);
        bool learned = old->change.stage == CHANGE_DECIDE && old->change.has_newcomer &&
                       member_same(&old->change.newcomer, &next->members[i]);
        /* An Apply in flight may still fail, and then nobody would notice. */
        bool equal = seat != NONE && old->synced >> seat & 1 && old->member_calls[seat] == 0;
        if (learned || equal) {
            range->synced |= 1ull << i;
        }
    }
}

/* Everybody who was or is a member is told of the whole decision. */
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
        for (uint16_t i = 0; i < old.view.members_count; i++) {
            uint16_t seat = view_member(&second->view, old.view.members[i].store_id);
            if (seat == NONE || !(second->synced & 1ull << seat) ||
                second->member_calls[seat] > 0) {
                old.synced &= ~(1ull << i);
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

static void decide(struct step *step, uint16_t index) {
    struct chord *chord = step->chord;
    struct range *range = range_at(chord, index);
    struct chord_view next = range->view;
    next.epoch = view_next_epoch(range);
    next.range.hi = range->change.cut;
    next_members(chord, &range->change, &next);
    if (!held(chord, range, &range->change, true) ||
        (range->change.forget && !forget_possible(range))) {
        return; /* until the last answers are there, or the change is given up */
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
        return; /* decide.c goes on until something is decided */
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

/* SPDX-License-Identifier: MIT */
/*
 * Plans the next view of a range (node/chord/README.md: Next members): the part that goes to the
 * ring's owner, the members that hold it, the member that may go. It decides nothing (change.c
 * carries the plan out).
 */
#include "data.h"
#include "frame/hosts.h"

enum { STABLE_MS = 100 }; /* a predecessor this old may be given its range */

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

struct range *plan_merge_partner(struct chord *chord, struct range *range) {
    for (uint16_t i = 0; i < chord->ranges_end; i++) {
        struct range *next = range_at(chord, i);
        if (adjacent(chord, range, next) && owns(chord, &next->view.range.hi)) {
            return next;
        }
    }
    return NULL;
}

/* Who may hold a range: `owner` (NULL: none but us), self and the successors, as they follow each
 * other on the ring, without those that leave. */
static uint16_t stayers(struct chord *chord, const struct chord_peer *owner,
                        const struct chord_peer *peers[]) {
    uint16_t count = 0;
    if (owner != NULL) {
        peers[count++] = owner;
    }
    if (chord->state == CHORD_STATE_MEMBER) {
        peers[count++] = &chord->self;
    }
    for (uint16_t i = 0; i < chord->successors_count; i++) {
        const struct chord_peer *peer = successor_at(chord, i);
        bool again =
            owner != NULL && store_same(peer->store_id, owner->store_id); /* a small ring */
        if (!again && !peer_leaving(chord, peer->store_id, peer->incarnation)) {
            peers[count++] = peer;
        }
    }
    return count;
}

/* node/chord/README.md: Copies on different hosts. The members that should hold a range, its owner
 * first: of those that follow it the first of each host, and where these do not suffice, the first
 * of the others. */
static uint16_t desired_members(struct chord *chord, const struct chord_peer *owner,
                                struct chord_member desired[]) {
    const struct chord_peer *peers[CHORD_SUCCESSORS_MAX + 2];
    uint16_t peers_count = stayers(chord, owner, peers), count = 0;
    struct hosts hosts = {.count = 0};
    for (uint16_t i = 0; i < peers_count && count < chord->parameters.replicas; i++) {
        if (hosts_add(&hosts, peers[i]->host_id)) {
            member_of_peer(peers[i], &desired[count++]);
            peers[i] = NULL;
        }
    }
    for (uint16_t i = 0; i < peers_count && count < chord->parameters.replicas; i++) {
        if (peers[i] != NULL) {
            member_of_peer(peers[i], &desired[count++]);
        }
    }
    return count;
}

static bool listed(const struct chord_member *members, uint16_t count, const uint8_t *store_id) {
    for (uint16_t i = 0; i < count; i++) {
        if (store_same(members[i].store_id, store_id)) {
            return true;
        }
    }
    return false;
}

/* The store is no member, or is no longer at its seat (node/chord/README.md: Seats). */
static bool missing(struct chord *chord, const struct chord_view *view,
                    const struct chord_member *one) {
    uint16_t seat = view_member(view, one->store_id);
    return seat == NONE ||
           (view_seat(view, one) == NONE &&
            address_same(member_address(chord, &view->members[seat]), one->address));
}

/* The first desired member that the view lacks. */
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

/* A seat to free: a dead member's first, then a leaver's, then that of any member that is not
 * desired. Self is one of them only where the range goes to another owner. */
static bool extra_member(struct chord *chord, struct range *range,
                         const struct chord_member *desired, uint16_t count,
                         struct chord_member *extra) {
    int best = -1;
    for (uint16_t i = 0; i < range->view.members_count; i++) {
        const struct chord_member *member = &range->view.members[i];
        if (listed(desired, count, member->store_id)) {
            continue;
        }
        int rank = range->switched & bit(i) ? 0 : 2;
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
        if (!(range->switched & bit(i)) && !listed(desired, count, member->store_id) &&
            !store_same(member->store_id, chord->self.store_id)) {
            *dead = *member;
            return true;
        }
    }
    return false;
}

/* Gives (lo, cut] to the predecessor, which owns it on the ring. */
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
    if (change->has_newcomer && view_member(&range->view, change->newcomer.store_id) == NONE &&
        range->view.members_count >= chord->parameters.replicas) {
        struct chord_member desired[CHORD_REPLICAS_MAX];
        uint16_t count = desired_members(chord, predecessor, desired);
        change->has_leaver = extra_member(chord, range, desired, count, &change->leaver);
    }
    /* A member that lacks rows catches up before it leads. */
    return change->has_newcomer || (seat != NONE && range->synced & bit(seat));
}

/* Self leaves: the successor leads, and a further successor, if there is one, takes the seat. Dead
 * members' seats go first: the view that remains must have a living majority. */
static bool plan_hand_over(struct chord *chord, struct range *range, struct change *change) {
    struct chord_member desired[CHORD_REPLICAS_MAX];
    uint16_t count = desired_members(chord, NULL, desired);
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
    uint16_t count = desired_members(chord, NULL, desired);
    bool lacks = missing_member(chord, &range->view, desired, count, &change->newcomer);
    bool moved = lacks && view_member(&range->view, change->newcomer.store_id) != NONE;
    bool extra = extra_member(chord, range, desired, count, &change->leaver);
    bool full = range->view.members_count >= chord->parameters.replicas;
    bool leaves = extra && peer_leaving(chord, change->leaver.store_id, 0);
    for (uint16_t i = 0; i < range->view.members_count && extra && !leaves; i++) {
        /* A dead seat goes without replacement only to let another member leave. */
        leaves = peer_leaving(chord, range->view.members[i].store_id, 0);
    }
    change->cut = range->view.range.hi;
    member_of_peer(&chord->self, &change->leader);
    change->has_newcomer = lacks;
    change->has_leaver = extra && !moved && ((lacks && full) || (!lacks && leaves));
    return change->has_newcomer || change->has_leaver;
}

/* A new epoch with the same range and members. */
static void plan_same(struct chord *chord, const struct range *range, struct change *change) {
    memset(change, 0, sizeof *change);
    change->cut = range->view.range.hi;
    member_of_peer(&chord->self, &change->leader);
}

/* node/chord/README.md: A promise. After the new epoch a learner that did not become a member may
 * drop its rows, and a member that remembers a later epoch takes part again. */
static bool plan_renew(struct chord *chord, struct range *range, struct change *change) {
    plan_same(chord, range, change);
    return range->taught || range->view.moved || range->epoch_floor > range->view.epoch;
}

static bool plan_forget(struct chord *chord, struct range *range, struct change *change) {
    plan_same(chord, range, change);
    change->forget = true;
    return range->forgettable && forget_possible(range);
}

bool plan_next(struct chord *chord, struct range *range, struct change *change) {
    memset(change, 0, sizeof *change);
    if (chord->state == CHORD_STATE_LEAVING) {
        return plan_hand_over(chord, range, change);
    }
    if (chord->state != CHORD_STATE_MEMBER) {
        return false;
    }
    if (plan_give(chord, range, change)) {
        return true;
    }
    change->has_newcomer = false;
    return plan_members(chord, range, change) || plan_renew(chord, range, change) ||
           plan_forget(chord, range, change);
}

/* SPDX-License-Identifier: MIT */
/*
 * The acceptor of decisions: what follows a view is one value of one Paxos instance, named by the
 * view's range and epoch; its acceptors are the view's members (Lamport, "Paxos made simple",
 * 2001). A value is the next view. It may take a lower part of the range only: then the rest goes
 * on with its members and its leader, in the same new epoch (a split). Or it may take a neighbour
 * as well (a merge): then it stands in both instances, and a member accepts it in both or in
 * neither. Answers leave only when promises and acceptances are on disk.
 */
#include "data.h"

bool decision_joint(const struct chord_view *view, const struct chord_view *next) {
    return !id_equal(&view->range.lo, &next->range.lo) ||
           !(id_equal(&view->range.hi, &next->range.hi) ||
             id_in_open(&view->range.lo, &next->range.hi, &view->range.hi));
}

/* What a merge takes beside the view's own range. */
struct chord_range decision_other(const struct chord_view *view, const struct chord_view *next) {
    return id_equal(&view->range.lo, &next->range.lo)
               ? (struct chord_range){view->range.hi, next->range.hi}
               : (struct chord_range){next->range.lo, view->range.lo};
}

uint16_t decision_views(const struct chord_view *view, const struct chord_view *next,
                        struct chord_view views[2]) {
    views[0] = *next;
    if (decision_joint(view, next) || id_equal(&view->range.hi, &next->range.hi)) {
        return 1;
    }
    views[1] = *view;
    views[1].range.lo = next->range.hi;
    views[1].epoch = next->epoch;
    views[1].settled = true;
    return 2;
}

static bool members_same(const struct chord_view *a, const struct chord_view *b) {
    for (uint16_t i = 0; i < a->members_count; i++) {
        if (view_member(b, a->members[i].store_id) == NONE) {
            return false;
        }
    }
    return a->members_count == b->members_count;
}

static bool seats_same(const struct chord_view *a, const struct chord_view *b) {
    for (uint16_t i = 0; i < a->members_count; i++) {
        if (view_seat(b, &a->members[i]) == NONE) {
            return false;
        }
    }
    return a->members_count == b->members_count;
}

static bool merges_same(const struct chord_merges *a, const struct chord_merges *b) {
    for (uint16_t i = 0; i < a->count && a->count == b->count; i++) {
        if (a->items[i].epoch != b->items[i].epoch || !id_equal(&a->items[i].lo, &b->items[i].lo)) {
            return false;
        }
    }
    return a->count == b->count;
}

static void merges_add(struct chord_merges *merges, const struct chord_merge *merge) {
    uint16_t at = 0;
    while (at < merges->count && merges->items[at].epoch > merge->epoch) {
        at++;
    }
    for (uint16_t i = at; i < merges->count && merges->items[i].epoch == merge->epoch; i++) {
        if (id_equal(&merges->items[i].lo, &merge->lo)) {
            return;
        }
    }
    if (at == CHORD_MERGES_MAX) {
        return;
    }
    merges->count = merges->count < CHORD_MERGES_MAX ? (uint16_t)(merges->count + 1)
                                                     : (uint16_t)CHORD_MERGES_MAX;
    memmove(&merges->items[at + 1], &merges->items[at],
            sizeof *merge * (size_t)(merges->count - at - 1));
    merges->items[at] = *merge;
}

void merges_join(const struct chord_view *a, const struct chord_view *b, struct chord_view *joint) {
    struct chord_merge merge = {joint->epoch, joint->range.lo};
    memset(&joint->merges, 0, sizeof joint->merges);
    merges_add(&joint->merges, &merge);
    for (uint16_t i = 0; i < a->merges.count; i++) {
        merges_add(&joint->merges, &a->merges.items[i]);
    }
    for (uint16_t i = 0; i < b->merges.count; i++) {
        merges_add(&joint->merges, &b->merges.items[i]);
    }
}

bool decision_valid(const struct chord_view *view, const struct chord_view *other,
                    const struct chord_view *next) {
    if (next->cut || next->epoch <= view->epoch) {
        return false;
    }
    if (other == NULL) {
        bool forgets = next->floor == next->epoch && next->settled &&
                       id_equal(&next->range.hi, &view->range.hi) && members_same(view, next);
        return !decision_joint(view, next) && merges_same(&next->merges, &view->merges) &&
               (next->floor == view->floor || forgets) && next->recovered == view->recovered;
    }
    struct chord_range rest = decision_other(view, next);
    struct chord_view joint = *next;
    merges_join(view, other, &joint);
    return decision_joint(view, next) && seats_same(view, other) &&
           id_equal(&rest.lo, &other->range.lo) && id_equal(&rest.hi, &other->range.hi) &&
           next->epoch > other->epoch && merges_same(&next->merges, &joint.merges) &&
           next->floor == (view->floor > other->floor ? view->floor : other->floor) &&
           next->recovered == (view->recovered || other->recovered);
}

/* Every view that descends from a merge has it in its history. So a newer view of the other range
 * without it proves that something else was chosen there, if its history reaches back so far. */
bool decision_lost(struct chord *chord, const struct chord_range *other, uint64_t other_epoch,
                   const struct chord_view *joint) {
    for (uint16_t i = 0; i < chord->ranges_end; i++) {
        const struct range *range = range_at(chord, i);
        const struct chord_merges *merges = &range->view.merges;
        if (!range->used || range->view.cut || range->view.epoch <= other_epoch ||
            !ranges_overlap(&range->view.range, other)) {
            continue;
        }
        bool whole = merges->count < CHORD_MERGES_MAX ||
                     merges->items[CHORD_MERGES_MAX - 1].epoch <= other_epoch;
        bool found = false;
        for (uint16_t k = 0; k < merges->count; k++) {
            found = found || (merges->items[k].epoch == joint->epoch &&
                              id_equal(&merges->items[k].lo, &joint->range.lo));
        }
        if (whole && !found) {
            return true;
        }
    }
    return false;
}

/* Paxos made simple, phase 1b: no ballot below the promised one; a merge is promised in both
 * instances or in neither. */
bool acceptor_promise(struct range *range, struct range *other, uint64_t ballot) {
    if (ballot < range->acceptor.promised || (other != NULL && ballot < other->acceptor.promised)) {
        return false;
    }
    range->acceptor.promised = ballot;
    if (other != NULL) {
        other->acceptor.promised = ballot;
    }
    return true;
}

static void accept(struct range *range, const struct range *other, uint64_t ballot,
                   const struct chord_view *next) {
    range->acceptor.accepted = true;
    range->acceptor.ballot = ballot;
    range->acceptor.next = *next;
    range->acceptor.other_epoch = other != NULL ? other->view.epoch : 0;
}

/* Phase 2b: the same for what is accepted. */
bool acceptor_accept(struct range *range, struct range *other, uint64_t ballot,
                     const struct chord_view *next) {
    if (!acceptor_promise(range, other, ballot)) {
        return false;
    }
    accept(range, other, ballot, next);
    if (other != NULL) {
        accept(other, range, ballot, next);
    }
    return true;
}

static bool accepted(struct chord *chord, struct range *range) {
    struct chord_acceptor *acceptor = &range->acceptor;
    if (acceptor->accepted && decision_joint(&range->view, &acceptor->next)) {
        struct chord_range other = decision_other(&range->view, &acceptor->next);
        return !decision_lost(chord, &other, acceptor->other_epoch, &acceptor->next);
    }
    return acceptor->accepted;
}

void acceptor_tell(struct chord *chord, struct range *range, struct range *other,
                   struct chord_response *response) {
    response->decide.promised = range->acceptor.promised;
    if (accepted(chord, range)) {
        response->decide.has_accepted = true;
        response->decide.accepted_ballot = range->acceptor.ballot;
        response->decide.view = range->acceptor.next;
        response->decide.other_epoch = range->acceptor.other_epoch;
    }
    if (other != NULL && accepted(chord, other)) {
        response->decide.other_accepted = true;
        response->decide.other_ballot = other->acceptor.ballot;
    }
}

/* ---- requests ---- */

/* The proposer is not at its seat, and a living process is: no proposer takes a seat from it. */
static bool seat_contested(struct chord *chord, const struct chord_request *request,
                           const struct chord_view *view) {
    struct chord_member proposer;
    member_of_peer(&request->sender, &proposer);
    uint16_t seat = request->has_sender ? view_member(view, proposer.store_id) : (uint16_t)NONE;
    if (seat == NONE || view_seat(view, &proposer) != NONE) {
        return false;
    }
    uint16_t peer = peer_at_seat(chord, &view->members[seat]);
    return peer != NONE && peer_healthy(chord, peer);
}

/* The instance's view is a decision: a member that has not heard of it learns it here. */
static void learn(struct step *step, const struct chord_view *view) {
    uint16_t index;
    if (range_exact(step->chord, &view->range, view->epoch) == NONE &&
        range_install(step, view, &index)) {
        views_save(step, STORE_VIEWS, 0);
    }
}

static void reply(struct step *step, uint64_t request_id, enum chord_message_kind kind,
                  struct range *range, struct range *other, bool agreed) {
    struct chord_response *response = reply_add(step, request_id, kind);
    response->decide.refused = !agreed;
    response->decide.promised = range->acceptor.promised;
    if (other != NULL && other->acceptor.promised > range->acceptor.promised) {
        response->decide.promised = other->acceptor.promised;
    }
    if (agreed && kind == CHORD_PREPARE) {
        acceptor_tell(step->chord, range, other, response);
    }
}

void on_decide(struct step *step, const struct chord_request *request, uint64_t request_id) {
    struct chord *chord = step->chord;
    bool joint = request->decide.joint;
    bool prepare = request->kind == CHORD_PREPARE;
    const struct chord_view *view = &request->decide.view, *other = &request->decide.other;
    if (request->decide.ballot > CHORD_BALLOT_MAX || (prepare && request->decide.ballot == 0) ||
        !view_valid(chord, view) || view->cut || view_self(chord, view) == NONE ||
        (joint && (!view_valid(chord, other) || other->cut || view_self(chord, other) == NONE)) ||
        (!prepare && (!view_valid(chord, &request->decide.next) ||
                      !decision_valid(view, joint ? other : NULL, &request->decide.next)))) {
        reply_code(step, request_id, request->kind, CHORD_INVALID_ARGUMENT, 0);
        return;
    }
    if (seat_contested(chord, request, view)) {
        reply_code(step, request_id, request->kind, CHORD_ABORTED, 0);
        return;
    }
    learn(step, view);
    if (joint) {
        learn(step, other);
    }
    uint16_t index = range_exact(chord, &view->range, view->epoch);
    uint16_t second_index = joint ? range_exact(chord, &other->range, other->epoch) : NONE;
    if (index == NONE || (joint && second_index == NONE)) {
        reply_wrong_view(step, request_id, request->kind,
                         index == NONE ? &view->range : &other->range);
        return;
    }
    struct range *range = range_at(chord, index);
    struct range *second = joint ? range_at(chord, second_index) : NULL;
    bool ok = prepare
                  ? acceptor_promise(range, second, request->decide.ballot)
                  : acceptor_accept(range, second, request->decide.ballot, &request->decide.next);
    if (!ok) {
        reply(step, request_id, request->kind, range, second, false);
        return;
    }
    struct store_op *store =
        views_save(step, prepare ? STORE_VIEWS_PREPARE : STORE_VIEWS_ACCEPT, request_id);
    if (store == NULL) {
        reply_code(step, request_id, request->kind, CHORD_RESOURCE_EXHAUSTED, 50);
        return;
    }
    store->ballot = request->decide.ballot;
    store->subject = range_ref(chord, index);
    store->other = joint ? range_ref(chord, second_index) : NO_REF;
}

/* A later message may have moved the acceptor on meanwhile: then this one gets a plain no. */
void acceptor_stored(struct step *step, const struct store_op *store, bool ok) {
    struct chord *chord = step->chord;
    bool prepare = store->purpose == STORE_VIEWS_PREPARE;
    enum chord_message_kind kind = prepare ? CHORD_PREPARE : CHORD_ACCEPT;
    struct range *range = range_of(chord, store->subject), *other = range_of(chord, store->other);
    bool live = range != NULL && (store->other.slot == NONE || other != NULL);
    if (!ok || !live) {
        reply_code(step, store->request_id, kind, ok ? CHORD_ABORTED : CHORD_INTERNAL, 0);
        return;
    }
    bool still = prepare ? range->acceptor.promised == store->ballot
                         : range->acceptor.accepted && range->acceptor.ballot == store->ballot;
    reply(step, store->request_id, kind, range, other, still);
}

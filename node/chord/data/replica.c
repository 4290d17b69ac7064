/* SPDX-License-Identifier: MIT */
/*
 * What every store answers about ranges, and how a member that does not lead watches its leader.
 */
#include "data.h"

enum {
    PATIENCE_MS = 200,
    PATIENCE_SEAT_MS = 200,
    RETRY_MS = 50,
};

static bool range_valid(const struct chord *chord, const struct chord_range *range) {
    return id_valid(&range->lo, chord->parameters.m) && id_valid(&range->hi, chord->parameters.m);
}

bool view_formed(const struct chord_view *view) {
    if (view->epoch == 0 || view->floor > view->epoch || view->merges.count > CHORD_MERGES_MAX ||
        view->members_count == 0 || view->members_count > CHORD_REPLICAS_MAX ||
        view->leader >= view->members_count) {
        return false;
    }
    for (uint16_t i = 0; i < view->members_count; i++) {
        if (view_member(view, view->members[i].store_id) != i) {
            return false; /* a replica has one seat */
        }
    }
    return true;
}

bool view_valid(const struct chord *chord, const struct chord_view *view) {
    return range_valid(chord, &view->range) && view->epoch <= CHORD_EPOCH_MAX && view_formed(view);
}

/* The view that the asker does not have: the newest one over a part of its range. */
void reply_wrong_view(struct step *step, uint64_t request_id, enum chord_message_kind kind,
                      const struct chord_range *range) {
    struct chord *chord = step->chord;
    uint16_t index = range_newest(chord, range);
    struct chord_response *response = reply_add(step, request_id, kind);
    if (index == NONE) {
        response->code = CHORD_ABORTED;
        response->retry_after_ms = RETRY_MS;
    } else if (kind == CHORD_PREPARE || kind == CHORD_ACCEPT) {
        response->decide.has_view = true;
        response->decide.view = range_at(chord, index)->view;
    } else {
        response->view.has_view = true;
        response->view.view = range_at(chord, index)->view;
    }
}

static bool newer_known(struct chord *chord, const struct chord_range *range, uint64_t epoch) {
    uint16_t index = range_newest(chord, range);
    return index != NONE && range_at(chord, index)->view.epoch > epoch;
}

void on_apply(struct step *step, const struct chord_request *request, uint64_t request_id) {
    struct chord *chord = step->chord;
    const struct chord_range *range = &request->rows.range;
    struct chord_action *action;
    if (!range_valid(chord, range)) {
        reply_code(step, request_id, CHORD_APPLY, CHORD_INVALID_ARGUMENT, 0);
        return;
    }
    /* node/chord/README.md: Write. A member takes it at this very view, a learner unless it knows a
     * newer one. */
    bool taken = request->rows.learner ? !newer_known(chord, range, request->rows.epoch)
                                       : range_exact(chord, range, request->rows.epoch) != NONE;
    if (!taken) {
        reply_wrong_view(step, request_id, CHORD_APPLY, range);
    } else if (store_start(step, CHORD_STORE_WRITE_ROWS, STORE_APPLY, NO_REF, request_id,
                           &action) == NONE) {
        reply_code(step, request_id, CHORD_APPLY, CHORD_RESOURCE_EXHAUSTED, 20);
    }
}

/* node/chord/README.md: Read. Answers whether we are still at that view, from memory: a store that
 * has switched to a later view never goes back. */
void on_check(struct step *step, const struct chord_request *request, uint64_t request_id) {
    const struct chord_range *range = &request->rows.range;
    if (!range_valid(step->chord, range)) {
        reply_code(step, request_id, CHORD_CHECK, CHORD_INVALID_ARGUMENT, 0);
    } else if (range_exact(step->chord, range, request->rows.epoch) == NONE) {
        reply_wrong_view(step, request_id, CHORD_CHECK, range);
    } else {
        reply_add(step, request_id, CHORD_CHECK);
    }
}

/* node/chord/README.md: A promise. A learner installs the view too. When it then tells the leader
 * that its rows are equal, that is a promise: any proposer may make it a member next, even much
 * later, so it drops no row before it knows the view that followed. */
static bool learn_view(struct step *step, const struct chord_view *view) {
    struct chord *chord = step->chord;
    uint16_t index = range_exact(chord, &view->range, view->epoch);
    if (index == NONE && !range_install(step, view, &index)) {
        return false;
    }
    struct range *range = range_at(chord, index);
    if (range->learning && !range->gone) {
        return true; /* asked again */
    }
    range->learning = true;
    range->gone = false;
    return views_save(step, STORE_VIEWS, 0) != NULL;
}

void on_sync(struct step *step, const struct chord_request *request, uint64_t request_id) {
    struct chord *chord = step->chord;
    const struct chord_view *view = &request->sync.view;
    const struct chord_range *range = &request->sync.range;
    if (!request->has_sender || request->sync.token == 0 || !view_valid(chord, view) || view->cut ||
        !range_valid(chord, range) || !range_covers(&view->range, range) ||
        !store_same(view->members[view->leader].store_id, request->sender.store_id)) {
        reply_code(step, request_id, CHORD_SYNC, CHORD_INVALID_ARGUMENT, 0);
        return;
    }
    struct chord_member source;
    member_of_peer(&request->sender, &source);
    bool leaving = chord->state == CHORD_STATE_LEAVING;
    if (request->sync.learner && (leaving || chord->state == CHORD_STATE_LEFT)) {
        if (leaving) { /* that leader did not know of our leaving, and would ask again */
            leave_tell(step, source.address, false);
        }
        reply_code(step, request_id, CHORD_SYNC, CHORD_FAILED_PRECONDITION, 0);
        return;
    }
    struct chord_member self;
    member_of_peer(&chord->self, &self);
    bool member = view_seat(view, &self) != NONE;
    bool known = request->sync.learner ? !member && learn_view(step, view)
                                       : range_exact(chord, &view->range, view->epoch) != NONE;
    if (!known) {
        reply_wrong_view(step, request_id, CHORD_SYNC, range);
    } else if (!transfer_sync(step, &source, range, view->epoch, request->sync.token, request_id)) {
        reply_code(step, request_id, CHORD_SYNC, CHORD_RESOURCE_EXHAUSTED, 200);
    }
}

void on_read_range(struct step *step, const struct chord_request *request, uint64_t request_id) {
    struct chord *chord = step->chord;
    struct chord_action *action;
    bool digest = request->kind == CHORD_DIGEST;
    if (!range_valid(chord, &request->rows.range)) {
        reply_code(step, request_id, request->kind, CHORD_INVALID_ARGUMENT, 0);
        return;
    }
    uint16_t index = range_at_epoch(chord, &request->rows.range, request->rows.epoch);
    if (index == NONE || view_self(chord, &range_at(chord, index)->view) == NONE) {
        reply_code(step, request_id, request->kind, CHORD_ABORTED, RETRY_MS);
    } else if (store_start(step, digest ? CHORD_STORE_DIGEST : CHORD_STORE_READ_RANGE,
                           digest ? STORE_DIGEST_REPLY : STORE_RANGE_READ, range_ref(chord, index),
                           request_id, &action) == NONE) {
        reply_code(step, request_id, request->kind, CHORD_RESOURCE_EXHAUSTED, 20);
    } else {
        action->store.slice.range = request->rows.range;
    }
}

static bool concerns(struct chord *chord, const struct chord_view *view) {
    if (view_self(chord, view) != NONE) {
        return true;
    }
    for (uint16_t i = 0; i < chord->ranges_end; i++) {
        if (range_at(chord, i)->used &&
            ranges_overlap(&range_at(chord, i)->view.range, &view->range)) {
            return true;
        }
    }
    return false;
}

/* Answers when the switch is on disk; a member that is at another view answers with that view. */
void on_decided(struct step *step, const struct chord_request *request, uint64_t request_id) {
    struct chord *chord = step->chord;
    bool changed = false;
    for (uint16_t i = 0; i < request->decided.count; i++) {
        if (!view_valid(chord, &request->decided.views[i]) || request->decided.views[i].cut) {
            reply_code(step, request_id, CHORD_DECIDED, CHORD_INVALID_ARGUMENT, 0);
            return;
        }
    }
    if (!range_room(step)) { /* we cannot confirm a view that we have no room for */
        reply_code(step, request_id, CHORD_DECIDED, CHORD_RESOURCE_EXHAUSTED, 200);
        return;
    }
    for (uint16_t i = 0; i < request->decided.count; i++) {
        uint16_t ignored;
        if (concerns(chord, &request->decided.views[i]) &&
            range_install(step, &request->decided.views[i], &ignored)) {
            changed = true;
        }
    }
    for (uint16_t i = 0; i < request->decided.count; i++) {
        const struct chord_view *view = &request->decided.views[i];
        bool member = view_self(chord, view) != NONE;
        if (newer_known(chord, &view->range, view->epoch) ||
            (member && range_exact(chord, &view->range, view->epoch) == NONE)) {
            reply_wrong_view(step, request_id, CHORD_DECIDED, &view->range);
            if (changed) {
                views_save(step, STORE_VIEWS, 0);
            }
            return;
        }
    }
    if (views_save(step, STORE_VIEWS_DECIDED, request_id) == NULL) {
        reply_code(step, request_id, CHORD_DECIDED, CHORD_RESOURCE_EXHAUSTED, 50);
    }
}

/* The view names our store as its leader, at an address that we have left: it may lead to us. */
static bool leader_moved(const struct chord *chord, const struct chord_view *view) {
    return view_self(chord, view) == view->leader && !view_leads(chord, view);
}

void on_get_view(struct step *step, const struct chord_request *request, uint64_t request_id) {
    struct chord *chord = step->chord;
    uint16_t index =
        id_valid(&request->id, chord->parameters.m) ? range_find(chord, &request->id) : NONE;
    if (index != NONE &&
        (range_at(chord, index)->resigned || leader_moved(chord, &range_at(chord, index)->view))) {
        reply_code(step, request_id, CHORD_GET_VIEW, CHORD_UNAVAILABLE, RETRY_MS);
        return;
    }
    struct chord_response *response = reply_add(step, request_id, CHORD_GET_VIEW);
    if (index != NONE) {
        struct range *range = range_at(chord, index);
        if (request->has_sender) {
            seat_elsewhere(chord, &range->view, &request->sender);
        }
        response->view.has_view = true;
        response->view.view = range->view;
        response->view.confirmed = view_leads(chord, &range->view) && range->open;
    }
}

/* ---- watching the leader ---- */

static void leader_lost(struct step *step, uint16_t index) {
    struct range *range = range_at(step->chord, index);
    if (range->leader_lost_ms == 0) {
        range->leader_lost_ms = step->chord->now_ms;
        data_wake(step->chord);
    }
}

void replica_leader_lost(struct step *step, const char *address) {
    struct chord *chord = step->chord;
    for (uint16_t i = 0; i < chord->ranges_end; i++) {
        struct range *range = range_at(chord, i);
        if (range->used && !view_leads(chord, &range->view) &&
            address_same(range->view.members[range->view.leader].address, address)) {
            leader_lost(step, i);
        }
    }
}

/* node/chord/README.md: Owner change. The ring's owner takes over at once; the other members, in
 * their order, only if it does not. Time decides when, never whether it is safe. */
static bool takes_over(struct chord *chord, struct range *range, uint16_t seat) {
    if (range->leader_lost_ms == 0 || chord->state == CHORD_STATE_LEFT) {
        return false;
    }
    if (view_leads(chord, &range->view)) {
        return true; /* restarted */
    }
    if (chord->now_ms < chord->refused_until_ms) {
        return false; /* a leader whose disk is full could write as much, and it can be read */
    }
    if (!seated(chord, &range->view.members[seat]) && !view_follows(chord, &range->view)) {
        return false; /* the others decide, and their next view gives us a seat here */
    }
    if (chord->state == CHORD_STATE_MEMBER && owns(chord, &range->view.range.hi)) {
        return true;
    }
    return chord->now_ms >= range->leader_lost_ms + PATIENCE_MS + PATIENCE_SEAT_MS * (uint64_t)seat;
}

/* How long the leader may take. Often the ring has no question for it and has measured nothing:
 * then by the slowest of the last answers to this one. */
static uint32_t watch_timeout_ms(struct chord *chord, const struct range *range,
                                 const char *address) {
    uint16_t peer = peer_find_address(chord, address);
    return peer != NONE || range->watch_trip_ms == 0
               ? peer_timeout_ms(chord, peer)
               : timeout_within(chord, 4 * range->watch_trip_ms);
}

static void watch_measure(struct chord *chord, struct range *range, const struct call *call) {
    uint32_t trip_ms = (uint32_t)(chord->now_ms - call->asked_ms) + 1;
    uint32_t former_ms = range->watch_trip_ms - range->watch_trip_ms / 8;
    range->watch_trip_ms = trip_ms > former_ms ? trip_ms : former_ms;
}

/* Asks the leader for its view; while the leader is silent, a random member. */
void replica_watch(struct step *step, uint16_t index) {
    struct chord *chord = step->chord;
    struct range *range = range_at(chord, index);
    struct chord_view *view = &range->view;
    if (range->gone) {
        return;
    }
    uint16_t seat = view_self(chord, view);
    uint16_t known = peer_find_address(chord, view->members[view->leader].address);
    if (known != NONE &&
        !store_same(peer_at(chord, known)->peer.store_id, view->members[view->leader].store_id)) {
        leader_lost(step, index); /* another store is at its address */
    }
    if (seat == view->leader) {
        leader_lost(step, index); /* we led it before our restart */
        range->strikes = STRIKES_MAX;
    }
    if (seat != NONE && !view->cut && takes_over(chord, range, seat)) {
        leader_take_over(step, index, "the leader is lost; takes over");
    }
    if (range->watching || range->watch_ms > chord->now_ms) {
        return;
    }
    range->watch_ms =
        chord->now_ms + jitter(chord, chord->config.timing.check_predecessor_period_ms);
    uint16_t target = view->leader;
    if (range->strikes >= STRIKES_MAX) {
        target = (uint16_t)(random_next(chord) % view->members_count);
    }
    bool away = seat != NONE && !seated(chord, &view->members[seat]);
    if (away && random_next(chord) % 2 == 0) {
        target = seat; /* a process that answers there has our store id: we are a copy */
    }
    struct chord_request *request;
    const struct chord_member *member = &view->members[target];
    if ((target == seat && !away) ||
        call_member(step, CALL_WATCH, range_ref(chord, index), target, member,
                    watch_timeout_ms(chord, range, member->address), &request) == NONE) {
        return;
    }
    request->kind = CHORD_GET_VIEW;
    request->id = view->range.hi;
    range->watching = true;
}

/* Drops the rows of a range: its leader confirmed a view without this store, so they are safe
 * elsewhere. */
static void retire(struct step *step, uint16_t index) {
    struct chord *chord = step->chord;
    struct chord_action *action;
    struct chord_view view = range_at(chord, index)->view;
    if (range_at(chord, index)->learning || view.cut ||
        store_start(step, CHORD_STORE_DROP_RANGE, STORE_RETIRED, NO_REF, 0, &action) == NONE) {
        return;
    }
    action->store.slice.range = view.range;
    trace_view(step, CHORD_WORD_RETIRE, CHORD_LEVEL_INFO, "confirmed elsewhere; rows dropped",
               &view);
    range_at(chord, index)->gone = true;
}

void replica_watch_reply(struct step *step, const struct call *call,
                         const struct chord_response *response) {
    uint16_t index = call->subject.slot, member = call->member;
    struct chord *chord = step->chord;
    struct range *range = range_at(chord, index);
    range->watching = false;
    if (member != NONE && member == view_self(chord, &range->view)) {
        if (response != NULL) {
            copy_refused(step, range->view.members[member].address);
        }
        return;
    }
    if (response != NULL) {
        watch_measure(chord, range, call);
    } else {
        if (range->strikes < UINT8_MAX) {
            range->strikes++;
        }
        const struct chord_peer *predecessor = predecessor_get(chord);
        if (predecessor != NULL && member != NONE &&
            address_same(range->view.members[member].address, predecessor->address)) {
            check_predecessor_now(step); /* it may be able to send, but not to receive */
        }
        if (range->strikes >= STRIKES_MAX) {
            leader_lost(step, index);
        } else {
            range->watch_ms = chord->now_ms;
            data_wake(chord);
        }
        return;
    }
    const struct chord_view *theirs = &response->view.view;
    if (response->view.has_view && theirs->epoch > range->view.epoch) {
        leader_learn(step, theirs);
        return;
    }
    if (member != range->view.leader || view_leads(chord, &range->view)) {
        return;
    }
    range->strikes = 0;
    bool same = response->view.has_view && theirs->epoch == range->view.epoch;
    if (same) {
        range->leader_lost_ms = 0;
    }
    if (same && response->view.confirmed && !range->view.cut) {
        repair_pull(step, index);
    }
    if (!same && !range->view.cut) {
        /* The decision has not reached the leader that it names: pass it on. */
        leader_send_decided(step, index, NONE, &range->view.members[range->view.leader], NULL);
    } else if (view_self(chord, &range->view) == NONE && response->view.confirmed) {
        retire(step, index);
    }
}

/*
 * What every store answers about ranges, and how one that does not lead watches the one that does.
 */
#include "state.h"

enum {
    PATIENCE_MS = 1500,
    PATIENCE_SEAT_MS = 700,
    PROMISE_MS = 660000, /* longer than a change may take (change.c) */
};

static bool range_valid(const struct chord *chord, const struct chord_range *range) {
    return id_valid(&range->lo, chord->parameters.m) && id_valid(&range->hi, chord->parameters.m);
}

bool view_formed(const struct chord_view *view) {
    if (view->epoch == 0 || view->members_count == 0 || view->members_count > CHORD_REPLICAS_MAX ||
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

/* A local view that forbids what a leader of (range, epoch) asks: a newer one, or, where this store
 * is a member, any other epoch. NONE: nothing forbids it. */
static uint16_t wrong_view(struct chord *chord, const struct chord_range *asked, uint64_t epoch) {
    for (uint16_t i = 0; i < chord->ranges_end; i++) {
        struct range *range = range_at(chord, i);
        if (range->used && ranges_overlap(&range->view.range, asked) &&
            (range->view.epoch > epoch ||
             (range->view.epoch != epoch &&
              view_member(&range->view, chord->self.store_id) != NONE &&
              range_covers(&range->view.range, asked)))) {
            return i;
        }
    }
    return NONE;
}

static void reply_view(struct step *step, uint64_t request_id, enum chord_message_kind kind,
                       const struct chord_view *view) {
    struct chord_response response;
    memset(&response, 0, sizeof response);
    response.kind = kind;
    response.view.has_view = view != NULL;
    if (view != NULL) {
        response.view.view = *view;
    }
    reply_send(step, request_id, &response);
}

void on_apply(struct step *step, const struct chord_request *request, uint64_t request_id) {
    struct chord *chord = step->chord;
    if (!range_valid(chord, &request->rows.range)) {
        reply_code(step, request_id, CHORD_APPLY, CHORD_INVALID_ARGUMENT, 0);
        return;
    }
    uint16_t wrong = wrong_view(chord, &request->rows.range, request->rows.epoch);
    struct chord_action *action;
    if (wrong != NONE) {
        reply_view(step, request_id, CHORD_APPLY, &range_at(chord, wrong)->view);
    } else if (store_start(step, CHORD_STORE_WRITE_ROWS, STORE_APPLY, NONE, 0, request_id,
                           &action) == 0) {
        reply_code(step, request_id, CHORD_APPLY, CHORD_RESOURCE_EXHAUSTED, 20);
    }
}

void on_sync(struct step *step, const struct chord_request *request, uint64_t request_id) {
    struct chord *chord = step->chord;
    if (!request->has_sender || !range_valid(chord, &request->rows.range)) {
        reply_code(step, request_id, CHORD_SYNC, CHORD_INVALID_ARGUMENT, 0);
        return;
    }
    uint16_t wrong = wrong_view(chord, &request->rows.range, request->rows.epoch);
    bool left = chord->state == CHORD_STATE_LEFT;
    if (wrong != NONE && range_at(chord, wrong)->view.epoch > request->rows.epoch) {
        reply_view(step, request_id, CHORD_SYNC, &range_at(chord, wrong)->view);
    } else if (left && request->rows.replace) { /* as a member of the next view */
        reply_code(step, request_id, CHORD_SYNC, CHORD_FAILED_PRECONDITION, 0);
    } else if (!transfer_start(step, request->sender.address, &request->rows.range,
                               request->rows.replace, request_id, NONE, 0, NONE)) {
        reply_code(step, request_id, CHORD_SYNC, CHORD_RESOURCE_EXHAUSTED, 200);
    } else {
        chord->learned[chord->learned_next].range = request->rows.range;
        chord->learned[chord->learned_next].epoch = request->rows.epoch;
        chord->learned[chord->learned_next].until_ms = chord->now_ms + PROMISE_MS;
        chord->learned_next = (uint16_t)((chord->learned_next + 1) % LEARNED_MAX);
    }
}

/* The leader of that epoch, or of a later one, may make us a member next: the rows that we told it
 * we have are a promise. It gives a change up before the promise ends. */
static bool promised(struct chord *chord, const struct chord_view *view) {
    for (uint16_t i = 0; i < LEARNED_MAX; i++) {
        if (chord->learned[i].until_ms > chord->now_ms && chord->learned[i].epoch >= view->epoch &&
            ranges_overlap(&chord->learned[i].range, &view->range)) {
            return true;
        }
    }
    return false;
}

static void read_range(struct step *step, const struct chord_request *request, uint64_t request_id,
                       enum chord_store_kind kind, enum store_purpose purpose) {
    struct chord_action *action;
    if (!range_valid(step->chord, &request->rows.range)) {
        reply_code(step, request_id, request->kind, CHORD_INVALID_ARGUMENT, 0);
    } else if (store_start(step, kind, purpose, NONE, 0, request_id, &action) == 0) {
        reply_code(step, request_id, request->kind, CHORD_RESOURCE_EXHAUSTED, 20);
    } else {
        action->store.slice.range = request->rows.range;
    }
}

void on_digest(struct step *step, const struct chord_request *request, uint64_t request_id) {
    read_range(step, request, request_id, CHORD_STORE_DIGEST, STORE_DIGEST_REPLY);
}

void on_transfer_keys(struct step *step, const struct chord_request *request, uint64_t request_id) {
    read_range(step, request, request_id, CHORD_STORE_READ_RANGE, STORE_RANGE_READ);
}

/* The local view that refuses `view`: newer, or of the same epoch with another leader. */
static uint16_t refusing(struct chord *chord, const struct chord_view *view) {
    for (uint16_t i = 0; i < chord->ranges_end; i++) {
        const struct chord_view *mine = &range_at(chord, i)->view;
        if (!range_at(chord, i)->used || !ranges_overlap(&mine->range, &view->range)) {
            continue;
        }
        bool same = memcmp(mine->members[mine->leader].store_id,
                           view->members[view->leader].store_id, CHORD_STORE_ID_BYTES) == 0;
        if (mine->epoch > view->epoch || (mine->epoch == view->epoch && !same)) {
            return i;
        }
    }
    return NONE;
}

static bool concerns(struct chord *chord, const struct chord_view *view) {
    if (view_member(view, chord->self.store_id) != NONE) {
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

void on_decided(struct step *step, const struct chord_request *request, uint64_t request_id) {
    struct chord *chord = step->chord;
    for (uint16_t i = 0; i < request->decided.count; i++) {
        if (!view_valid(chord, &request->decided.views[i])) {
            reply_code(step, request_id, CHORD_DECIDED, CHORD_INVALID_ARGUMENT, 0);
            return;
        }
        uint16_t refused = refusing(chord, &request->decided.views[i]);
        if (refused != NONE) {
            reply_view(step, request_id, CHORD_DECIDED, &range_at(chord, refused)->view);
            return;
        }
    }
    if (!range_room(step)) { /* to say yes without the view would be a lie */
        reply_code(step, request_id, CHORD_DECIDED, CHORD_RESOURCE_EXHAUSTED, 200);
        return;
    }
    for (uint16_t i = 0; i < request->decided.count; i++) {
        uint16_t ignored;
        if (concerns(chord, &request->decided.views[i])) {
            range_install(step, &request->decided.views[i], &ignored);
        }
    }
    views_save(step, STORE_VIEWS_DECIDED, request_id);
}

void on_get_view(struct step *step, const struct chord_request *request, uint64_t request_id) {
    struct chord *chord = step->chord;
    struct chord_response response;
    memset(&response, 0, sizeof response);
    response.kind = CHORD_GET_VIEW;
    uint16_t index =
        id_valid(&request->id, chord->parameters.m) ? range_find(chord, &request->id) : NONE;
    if (index != NONE) {
        struct range *range = range_at(chord, index);
        response.view.has_view = true;
        response.view.view = range->view;
        response.view.confirmed = view_leads(chord, &range->view) && range->open;
    }
    reply_send(step, request_id, &response);
}

/* ---- watching the leader ---- */

static void leader_lost(struct step *step, uint16_t index) {
    struct range *range = range_at(step->chord, index);
    if (range->leader_lost_ms == 0) {
        range->leader_lost_ms = step->chord->now_ms;
        step->chord->ranges_ms = step->chord->now_ms;
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

/* The ring's owner takes over at once; the other members, in their order, only if it does not.
 * Time decides when, never whether it is safe. */
static bool takes_over(struct chord *chord, struct range *range, uint16_t seat) {
    if (range->leader_lost_ms == 0 || chord->state == CHORD_STATE_LEFT) {
        return false;
    }
    if (chord->state == CHORD_STATE_MEMBER && owns(chord, &range->view.range.hi)) {
        return true;
    }
    return chord->now_ms >= range->leader_lost_ms + PATIENCE_MS + PATIENCE_SEAT_MS * (uint64_t)seat;
}

/* Asks the leader for its view; when it is silent, in turn the other members. */
void replica_watch(struct step *step, uint16_t index) {
    struct chord *chord = step->chord;
    struct range *range = range_at(chord, index);
    struct chord_view *view = &range->view;
    if (range->gone) {
        return;
    }
    uint16_t seat = view_member(view, chord->self.store_id);
    uint16_t known = peer_find_address(chord, view->members[view->leader].address);
    if (known != NONE && memcmp(peer_at(chord, known)->peer.store_id,
                                view->members[view->leader].store_id, CHORD_STORE_ID_BYTES) != 0) {
        leader_lost(step, index); /* its disk is another one */
    }
    if (seat != NONE && takes_over(chord, range, seat)) {
        leader_lead(step, index, "the leader is lost; takes over");
        return;
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
    struct chord_request *request;
    if (memcmp(view->members[target].store_id, chord->self.store_id, CHORD_STORE_ID_BYTES) == 0 ||
        call_start(step, CALL_WATCH, index, range->serial, target, view->members[target].address,
                   chord->config.timing.silence_ms_min * 2, &request) == NONE) {
        return;
    }
    request->kind = CHORD_GET_VIEW;
    request->id = view->range.hi;
    range->watching = true;
}

/* A view of which this store is no member is confirmed: the rows are safe elsewhere. */
static void retire(struct step *step, uint16_t index) {
    struct chord *chord = step->chord;
    struct chord_action *action;
    struct chord_view view = range_at(chord, index)->view;
    if (promised(chord, &view) ||
        store_start(step, CHORD_STORE_DROP_RANGE, STORE_RETIRED, NONE, 0, 0, &action) == 0) {
        return;
    }
    action->store.slice.range = view.range;
    trace_view(step, CHORD_WORD_RETIRE, CHORD_LEVEL_INFO, "confirmed elsewhere; rows dropped",
               &view);
    range_at(chord, index)->gone = true;
}

void replica_watch_reply(struct step *step, uint16_t index, uint16_t member,
                         const struct chord_response *response) {
    struct chord *chord = step->chord;
    struct range *range = range_at(chord, index);
    uint16_t installed;
    range->watching = false;
    if (response == NULL) {
        if (range->strikes < UINT8_MAX) {
            range->strikes++;
        }
        if (range->strikes >= STRIKES_MAX) {
            leader_lost(step, index);
        } else {
            range->watch_ms = chord->now_ms;
            chord->ranges_ms = chord->now_ms;
        }
        return;
    }
    const struct chord_view *theirs = &response->view.view;
    bool newer =
        response->view.has_view && view_valid(chord, theirs) && theirs->epoch > range->view.epoch;
    if (newer) {
        if (range_install(step, theirs, &installed)) {
            views_save(step, STORE_VIEWS, 0);
        }
        return;
    }
    if (member != range->view.leader) {
        return;
    }
    range->strikes = 0;
    bool same = response->view.has_view && theirs->epoch == range->view.epoch;
    if (same) {
        range->leader_lost_ms = 0;
    }
    if (!same) {
        /* The decision has not reached its leader: whoever knows it passes it on. */
        leader_send_decided(step, index, NONE, range->view.members[range->view.leader].address,
                            NULL);
    } else if (view_member(&range->view, chord->self.store_id) == NONE &&
               response->view.confirmed) {
        retire(step, index);
    }
}

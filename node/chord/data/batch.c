/* SPDX-License-Identifier: MIT */
/*
 * Client requests. Any member coordinates: it runs the operations whose range it leads (execute.c)
 * and forwards the rest, range after range, each once. The core keeps no operations: the host
 * gives them again with each RESUME.
 */
#include "data.h"

enum { RETRY_MS = 25, RETRY_MS_MAX = 200, MARGIN_MS = 30, STALE_MS_MAX = 300 };

void batch_due(struct chord *chord, uint64_t when_ms) {
    sooner(&chord->batches_ms, when_ms);
}

void batch_wait(struct chord *chord, struct batch *batch, uint64_t delay_ms) {
    batch->state = BATCH_WAITING;
    batch->retry_ms = chord->now_ms + delay_ms;
    batch_due(chord, batch->retry_ms);
}

static void view_hint(const struct chord_view *view, struct chord_hint *hint) {
    hint->range = view->range;
    hint->epoch = view->epoch;
    hint->counter = 0;
    memcpy(hint->address, view->members[view->leader].address, CHORD_ADDRESS_BYTES);
}

void batch_hint(struct batch *batch, const struct chord_view *view) {
    view_hint(view, &batch->hint);
}

/* ---- the end ---- */

/* The members that hold the range up: at its leader, those that have not switched; elsewhere,
 * those that the ring does not know as living. */
static void find_missing(struct chord *chord, struct batch *batch) {
    struct range *range = range_held(chord, &batch->stuck);
    if (range == NULL) {
        return;
    }
    bool leads = view_leads(chord, &range->view) && range->lived;
    batch->missing.count = 0;
    for (uint16_t i = 0; i < range->view.members_count; i++) {
        const char *address = range->view.members[i].address;
        bool there =
            leads ? (range->switched & bit(i)) != 0 : peer_find_address(chord, address) != NONE;
        if (!there && !address_same(address, chord->self.address) &&
            batch->missing.count < CHORD_MISSING_MAX) {
            memcpy(batch->missing.addresses[batch->missing.count++], address, CHORD_ADDRESS_BYTES);
        }
    }
    unsigned there = (unsigned)range->view.members_count - batch->missing.count;
    if (there >= view_majority(&range->view)) {
        batch->missing.count = 0; /* enough are there: it only takes a while */
    }
}

static void reply(struct step *step, struct batch *batch, enum chord_code unfinished, bool hold) {
    struct chord_response *response = reply_add(step, batch->request_id, CHORD_BATCH);
    response->batch.hint = batch->hint;
    response->batch.hops = batch->hops;
    response->batch.stale = batch->stale;
    response->batch.unfinished = unfinished;
    if (unfinished == CHORD_UNAVAILABLE) {
        find_missing(step->chord, batch);
        response->batch.missing = batch->missing;
        response->retry_after_ms = RETRY_MS_MAX;
    }
    step->actions->items[step->actions->count - 1].send_reply.hold = hold;
    batch->replied = true;
}

/* Frees the slot; answers first if that has not happened. */
void batch_end(struct step *step, uint16_t index, enum chord_code unfinished) {
    struct chord *chord = step->chord;
    struct batch *batch = batch_at(chord, index);
    struct range *range = batch->state == BATCH_RUNNING ? range_of(chord, batch->range) : NULL;
    if (batch->writing && range != NULL) {
        CHORD_ASSERT(range->writing > 0);
        range->writing--;
        data_wake(chord);
    }
    batch_release_keys(step, index);
    if (!batch->replied) {
        reply(step, batch, unfinished, false);
    } else {
        action_add(step, CHORD_ACTION_RELEASE)->request_id = batch->request_id;
    }
    batch->state = BATCH_FREE;
}

/* ---- coordination ---- */

static void forward(struct step *step, uint16_t index, const char *address,
                    const struct chord_range *range) {
    struct chord *chord = step->chord;
    struct batch *batch = batch_at(chord, index);
    struct chord_request *request;
    uint64_t left_ms = batch->deadline_ms > chord->now_ms ? batch->deadline_ms - chord->now_ms : 0;
    if (batch->stale && left_ms > STALE_MS_MAX) {
        left_ms = STALE_MS_MAX; /* another member will do */
    }
    uint16_t slot = NONE;
    if (!address_same(address, chord->self.address)) {
        slot = call_start(step, CALL_FORWARD, batch_ref(chord, index), NONE, address,
                          left_ms > MARGIN_MS ? (uint32_t)(left_ms - MARGIN_MS) : 1, &request);
    }
    batch->hint.address[0] = '\0';
    if (slot == NONE) {
        batch_wait(chord, batch, RETRY_MS);
        return;
    }
    batch->state = BATCH_FORWARDED;
    request->kind = CHORD_BATCH;
    request->batch.no_forward = true;
    request->batch.stale = batch->stale;
    step->actions->items[step->actions->count - 1].send_request.slice =
        (struct chord_slice){batch->request_id, *range, 0, 0};
}

/* Not led here and not to be forwarded: say who leads, as far as this node knows. */
static void not_owner(struct step *step, uint16_t index, uint16_t range_index) {
    struct chord *chord = step->chord;
    struct batch *batch = batch_at(chord, index);
    const struct chord_peer *successor = successor_at(chord, 0);
    if (range_index != NONE) {
        batch_hint(batch, &range_at(chord, range_index)->view);
    } else if (successor != NULL) {
        memset(&batch->hint, 0, sizeof batch->hint);
        memcpy(batch->hint.address, successor->address, CHORD_ADDRESS_BYTES);
    }
    batch_end(step, index, CHORD_OUT_OF_RANGE);
}

bool chord_hint_of(const struct chord *constant, const struct chord_id *id,
                   struct chord_hint *hint) {
    struct chord *chord = reading(constant);
    uint16_t index = range_find(chord, id);
    if (index == NONE) {
        return false;
    }
    view_hint(&range_at(chord, index)->view, hint);
    return true;
}

static void retry_later(struct step *step, uint16_t index) {
    struct chord *chord = step->chord;
    struct batch *batch = batch_at(chord, index);
    uint64_t delay_ms = RETRY_MS * (1 + (uint64_t)batch->tries);
    batch->tries++;
    delay_ms = delay_ms > RETRY_MS_MAX ? RETRY_MS_MAX : delay_ms;
    batch_wait(chord, batch, random_between(chord, delay_ms / 2, delay_ms));
}

/* Each retry begins elsewhere, so that a range without a leader does not hold up the keys of other
 * ranges. */
static uint32_t first_unfinished(const struct chord_operation *operations, uint32_t count,
                                 uint16_t tries) {
    uint32_t start = count > 0 ? tries * (count / 8 + 1) % count : 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t at = (start + i) % count;
        if (!operations[at].finished) {
            return at;
        }
    }
    return count;
}

/* This node answers the operation itself: it leads the key, or has a copy for a stale read. */
static bool answered_here(struct chord *chord, const struct batch *batch,
                          const struct chord_operation *operation) {
    struct chord_id id = id_from_hash(operation->hash, chord->parameters.m);
    uint16_t index = range_find(chord, &id);
    if (index == NONE || range_at(chord, index)->gone) {
        return false;
    }
    const struct chord_view *view = &range_at(chord, index)->view;
    bool copy = batch->stale && operation->kind == CHORD_GET && view_self(chord, view) != NONE;
    return copy || view_leads(chord, view);
}

/* What is not to be forwarded comes last: first everything that this node answers itself. */
static uint32_t first_here(struct chord *chord, const struct batch *batch,
                           const struct chord_operation *operations, uint32_t count,
                           uint32_t first) {
    for (uint32_t i = 0; batch->no_forward && i < count; i++) {
        uint32_t at = (first + i) % count;
        if (!operations[at].finished && answered_here(chord, batch, &operations[at])) {
            return at;
        }
    }
    return first;
}

/* Reads that any member may answer go to each in turn, without waiting for the leader. The range's
 * owner and the members behind it are known where they stand in the successor list; else, and now
 * and then, the ring is asked. */
static bool stale_forward(struct step *step, uint16_t index, const struct chord_id *id,
                          const struct chord_operation *operations, uint32_t count) {
    struct chord *chord = step->chord;
    const struct batch *batch = batch_at(chord, index);
    const unsigned turn = batch->tries % (chord->parameters.replicas + 1);
    if (!batch->stale || !in_ring(chord) || turn == chord->parameters.replicas) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (operations[i].kind != CHORD_GET) {
            return false;
        }
    }
    struct chord_range range = {chord->self.id, chord->self.id};
    for (uint16_t i = 0; successor_at(chord, i) != NULL; i++) {
        range.hi = successor_at(chord, i)->id;
        const struct chord_peer *member = successor_at(chord, (uint16_t)(i + turn));
        if (range_contains(&range, id)) {
            if (member != NULL) {
                forward(step, index, member->address, &range);
            }
            return member != NULL;
        }
        range.lo = range.hi;
    }
    return false;
}

static void batch_move(struct step *step, uint16_t index, const struct chord_operation *operations,
                       uint32_t count) {
    struct chord *chord = step->chord;
    struct batch *batch = batch_at(chord, index);
    uint32_t first = first_unfinished(operations, count, batch->tries);
    if (first == count) {
        batch_end(step, index, CHORD_OK);
        return;
    }
    if (chord->now_ms >= batch->deadline_ms) {
        batch_end(step, index, CHORD_UNAVAILABLE);
        return;
    }
    first = first_here(chord, batch, operations, count, first);
    struct chord_id id = id_from_hash(operations[first].hash, chord->parameters.m);
    uint16_t range_index = range_find(chord, &id);
    batch->stuck = id;
    if (range_index != NONE && range_at(chord, range_index)->gone &&
        (!batch->no_forward || owns(chord, &id))) {
        range_index = NONE; /* its leader may be long another */
    }
    struct range *range = range_index != NONE ? range_at(chord, range_index) : NULL;
    bool member = range != NULL && view_self(chord, &range->view) != NONE;
    if (batch->stale && member && operations[first].kind == CHORD_GET) {
        execute_stale(step, index, range_index);
    } else if (chord->left_last) {
        batch_end(step, index, CHORD_UNAVAILABLE);
    } else if (range != NULL && view_leads(chord, &range->view)) {
        execute_run(step, index, range_index, operations, count);
    } else if (batch->no_forward) {
        not_owner(step, index, range_index);
    } else if (stale_forward(step, index, &id, operations, count)) {
        return;
    } else if (batch->hint.address[0] != '\0' && batch->hint.epoch != 0 &&
               range_contains(&batch->hint.range, &id)) {
        struct chord_hint hint = batch->hint;
        forward(step, index, hint.address, &hint.range);
    } else if (range != NULL && range->leader_lost_ms == 0) {
        forward(step, index, range->view.members[range->view.leader].address, &range->view.range);
    } else if (!in_ring(chord)) {
        batch_end(step, index, CHORD_UNAVAILABLE);
    } else {
        batch->state = BATCH_LOOKING;
        if (!lookup_start(step, LOOKUP_BATCH, &id, NULL, batch_ref(chord, index), 0,
                          batch->deadline_ms)) {
            retry_later(step, index);
        }
    }
}

/* One move of a batch whose operations are at hand. A key that was handed over to it and that it
 * did not use after all goes to the next one. */
static void batch_run(struct step *step, uint16_t index, const struct chord_operation *operations,
                      uint32_t count) {
    struct batch *batch = batch_at(step->chord, index);
    batch->wants = false;
    batch_move(step, index, operations, count);
    if (batch->state != BATCH_RUNNING) {
        batch_release_keys(step, index);
    }
}

void batch_looked_up(struct step *step, uint16_t index, const struct chord_peer *owner,
                     const struct chord_peer *before, uint16_t hops) {
    struct chord *chord = step->chord;
    struct batch *batch = batch_at(chord, index);
    batch->hops = (uint16_t)(batch->hops + hops);
    const struct chord_peer *to = owner;
    if (owner != NULL && address_same(owner->address, chord->self.address)) {
        /* The ring says we own it, but no view is here yet: our successor led it before us. */
        to = batch->tries % 2 == 0 ? successor_at(chord, 0) : NULL;
    }
    if (to == NULL) {
        retry_later(step, index);
        return;
    }
    struct chord_range range = {before->id, owner->id};
    forward(step, index, to->address, &range);
}

static void forward_unanswered(struct step *step, uint16_t index) {
    batch_at(step->chord, index)->hint.address[0] = '\0';
    retry_later(step, index);
}

/* The host has finished what the reply finished; give it the rest. */
void batch_forward_reply(struct step *step, const struct call *call,
                         const struct chord_response *response) {
    uint16_t index = call->subject.slot;
    if (response == NULL) {
        forward_unanswered(step, index);
        return;
    }
    struct chord *chord = step->chord;
    struct batch *batch = batch_at(chord, index);
    struct chord_hint hint = response->batch.hint;
    batch->missing = response->batch.missing;
    if (response->batch.finished > 0) {
        batch->tries = 0;
        batch->hint = hint;
        batch->state = BATCH_RESUMED;
        action_add(step, CHORD_ACTION_RESUME)->request_id = batch->request_id;
        return;
    }
    bool useful = hint.address[0] != '\0' && hint.epoch != 0 &&
                  !address_same(hint.address, chord->self.address) && batch->tries % 3 != 2;
    retry_later(step, index);
    if (useful) {
        batch->hint = hint;
    } else {
        batch->hint.address[0] = '\0';
    }
}

/* ---- arrival, time ---- */

static uint16_t batch_find(struct chord *chord, uint64_t request_id) {
    for (uint16_t i = 0; i < chord->config.limits.batches_max; i++) {
        if (batch_at(chord, i)->state == BATCH_RESUMED &&
            batch_at(chord, i)->request_id == request_id) {
            return i;
        }
    }
    return NONE;
}

bool batch_resume(struct step *step, uint64_t request_id) {
    uint16_t index = batch_find(step->chord, request_id);
    if (index != NONE) {
        batch_run(step, index, step->event->request.operations,
                  step->event->request.operations_count);
    }
    return index != NONE;
}

void on_batch(struct step *step, const struct chord_request *request, uint64_t request_id) {
    struct chord *chord = step->chord;
    const struct chord_event *event = step->event;
    uint16_t index = batch_free(chord);
    if (index == NONE) {
        reply_code(step, request_id, CHORD_BATCH, CHORD_RESOURCE_EXHAUSTED, RETRY_MS);
        return;
    }
    struct batch *batch = batch_at(chord, index);
    memset(batch, 0, sizeof *batch);
    batch->serial = serial_new(chord);
    batch->arrival = ++chord->arrivals;
    batch->request_id = request_id;
    uint32_t timeout_ms = event->request.timeout_ms;
    batch->deadline_ms = chord->now_ms + timeout_ms - timeout_ms / 10;
    batch->no_forward = request->batch.no_forward;
    batch->stale = request->batch.stale;
    batch->keys_head = KEYS_NONE;
    batch->state = BATCH_RESUMED;
    batch_due(chord, batch->deadline_ms);
    batch_run(step, index, event->request.operations, event->request.operations_count);
}

static void wake(struct chord *chord, bool all) {
    for (uint16_t i = 0; i < chord->config.limits.batches_max; i++) {
        struct batch *batch = batch_at(chord, i);
        if (batch->state == BATCH_WAITING && (all || !batch->wants)) {
            batch->retry_ms = chord->now_ms;
            chord->batches_ms = chord->now_ms;
        }
    }
}

void batches_wake(struct step *step) {
    wake(step->chord, true);
}

/* Batches that wait for one of these keys get it in turn; there may be room for others now. */
void batch_release_keys(struct step *step, uint16_t index) {
    if (batch_at(step->chord, index)->keys_head != KEYS_NONE) {
        keys_release(step->chord, index);
        wake(step->chord, false);
    }
}

void batch_unknown(struct step *step, uint16_t index) {
    struct batch *batch = batch_at(step->chord, index);
    reply(step, batch, CHORD_UNAVAILABLE, true);
    batch->deadline_ms = UINT64_MAX;
}

static void batch_deadline(struct step *step, uint16_t index) {
    struct batch *batch = batch_at(step->chord, index);
    if (batch->state == BATCH_RUNNING && batch_sent(batch)) {
        batch_unknown(step, index);
    } else {
        batch_end(step, index, CHORD_UNAVAILABLE);
    }
}

void batches_tick(struct step *step) {
    struct chord *chord = step->chord;
    if (chord->batches_ms > chord->now_ms) {
        return;
    }
    chord->batches_ms = UINT64_MAX;
    for (uint16_t i = 0; i < chord->config.limits.batches_max; i++) {
        struct batch *batch = batch_at(chord, i);
        if (batch->state == BATCH_FREE) {
            continue;
        }
        if (!action_room(step, 48)) {
            batch_due(chord, chord->now_ms);
            return;
        }
        if (batch->deadline_ms <= chord->now_ms) {
            batch_deadline(step, i);
        } else if (batch->state == BATCH_WAITING && batch->retry_ms <= chord->now_ms) {
            batch->state = BATCH_RESUMED;
            action_add(step, CHORD_ACTION_RESUME)->request_id = batch->request_id;
        }
        struct range *range = batch->state == BATCH_RUNNING ? range_of(chord, batch->range) : NULL;
        if (range != NULL && batch_sent(batch) && batch->resend_ms <= chord->now_ms) {
            execute_send(step, i, range);
        }
        if (range != NULL && batch->store_retry_ms != 0 && batch->store_retry_ms <= chord->now_ms) {
            execute_store_again(step, i);
        }
        if (range != NULL && batch->confirm != 0) {
            confirm_again(step, batch->range.slot);
            batch_due(chord, range->check.resend_ms);
        }
        if (batch->state == BATCH_FREE) {
            continue;
        }
        batch_due(chord, batch->deadline_ms);
        if (batch->state == BATCH_WAITING) {
            batch_due(chord, batch->retry_ms);
        } else if (batch->state == BATCH_RUNNING && batch_sent(batch)) {
            batch_due(chord, batch->resend_ms);
            batch_due(chord, batch->store_retry_ms);
        }
    }
}

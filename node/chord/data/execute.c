/* SPDX-License-Identifier: MIT */
/*
 * Operations at the leader of their range. A write gets its version, goes to every member of the
 * view, and is acknowledged when a majority of them has it on disk in this epoch. One write is in
 * flight per key; a batch waits until all its keys are free.
 */
#include "data.h"

enum { RETRY_MS = 25, WAIT_MS_MAX = 200, RESEND_MS = 300, STORE_RETRY_MS = 250 };

static void send_apply(struct step *step, uint16_t index, uint16_t seat,
                       const struct chord_member *member) {
    struct chord *chord = step->chord;
    struct batch *batch = batch_at(chord, index);
    struct chord_request *request;
    uint16_t slot = call_member(step, CALL_APPLY, batch_ref(chord, index), seat, member,
                                chord->config.timing.data_timeout_ms, &request);
    if (slot == NONE) {
        if (seat == NONE) {
            change_abort(step, batch->range.slot, "no room for another call");
        } else {
            leader_member_down(step, batch->range.slot, seat);
        }
        return;
    }
    call_at(chord, slot)->range = batch->range;
    request->kind = CHORD_APPLY;
    request->rows.range = batch->slice.range;
    request->rows.epoch = batch->slice.epoch;
    request->rows.learner = seat == NONE;
    step->actions->items[step->actions->count - 1].send_request.slice = batch->slice;
    if (seat != NONE) {
        batch->sent |= bit(seat);
        range_at(chord, batch->range.slot)->member_calls[seat]++;
    } else {
        range_at(chord, batch->range.slot)->learner_calls++;
    }
}

void execute_send(struct step *step, uint16_t index, struct range *range) {
    struct chord *chord = step->chord;
    struct batch *batch = batch_at(chord, index);
    uint16_t self = view_self(chord, &range->view);
    for (uint16_t i = 0; i < range->view.members_count; i++) {
        uint64_t me = bit(i);
        if (i != self && (range->switched & me) && !((batch->acked | batch->sent) & me)) {
            send_apply(step, index, i, &range->view.members[i]);
        }
    }
    batch->resend_ms = chord->now_ms + RESEND_MS;
    batch_due(chord, batch->resend_ms);
}

struct slice_counts {
    uint32_t reads, writes, examines;
    uint32_t held; /* of the writes: their key was handed over to this batch */
};

/* node/chord/README.md: Write. One write is in flight per key, and a read waits for it. Counts the
 * operations of the slice. NULL: all can be taken now; else a key that is not free. */
static const uint8_t *key_in_flight(struct chord *chord, uint16_t index,
                                    const struct chord_range *range,
                                    const struct chord_operation *operations, uint32_t count,
                                    struct slice_counts *counts) {
    memset(counts, 0, sizeof *counts);
    for (uint32_t i = 0; i < count; i++) {
        if (!chord_operation_in(&operations[i], range, chord->parameters.m)) {
            continue;
        }
        uint16_t holder = keys_holder(chord, operations[i].hash);
        if (holder != NONE && holder != index) {
            return operations[i].hash;
        }
        bool read = operations[i].kind == CHORD_GET;
        counts->reads += read;
        counts->writes += !read;
        counts->examines += !read && operations[i].examine;
        counts->held += !read && holder == index;
    }
    return NULL;
}

static bool store_slice(struct step *step, uint16_t index, enum chord_store_kind kind,
                        enum store_purpose purpose) {
    struct batch *batch = batch_at(step->chord, index);
    struct chord_action *action;
    if (store_start(step, kind, purpose, batch_ref(step->chord, index), batch->request_id,
                    &action) == NONE) {
        return false;
    }
    action->store.slice = batch->slice;
    action->store.floor = range_at(step->chord, batch->range.slot)->view.floor;
    return true;
}

static void take_keys(struct chord *chord, uint16_t index, const struct chord_operation *operations,
                      uint32_t count) {
    struct batch *batch = batch_at(chord, index);
    for (uint32_t i = 0; i < count; i++) {
        if (operations[i].kind != CHORD_GET &&
            chord_operation_in(&operations[i], &batch->slice.range, chord->parameters.m) &&
            keys_holder(chord, operations[i].hash) != index) {
            CHORD_ASSERT(keys_take(chord, operations[i].hash, index));
        }
    }
}

static bool keys_room(const struct chord *chord, const struct slice_counts *counts) {
    /* Every batch's keys together never pass the limit: count what is taken. */
    uint32_t taken = chord->keys_taken - (counts->held > 0 ? 1 : 0);
    return taken + counts->writes <= chord->config.limits.keys_in_flight_max;
}

/* The writes go to our own store, to every member, and to a learner. */
static bool send_writes(struct step *step, uint16_t index) {
    struct batch *batch = batch_at(step->chord, index);
    struct range *range = range_of(step->chord, batch->range);
    if (!store_slice(step, index, CHORD_STORE_WRITE_OPERATIONS, STORE_BATCH_WRITE)) {
        return false;
    }
    execute_send(step, index, range);
    if (range->change.stage != CHANGE_NONE && range->change.has_newcomer) {
        send_apply(step, index, NONE, &range->change.newcomer);
    }
    return true;
}

/* What was begun is begun again later: no Apply has been sent. */
static void put_back(struct step *step, uint16_t index) {
    struct batch *batch = batch_at(step->chord, index);
    struct range *range = range_of(step->chord, batch->range);
    if (batch->writing && range != NULL) {
        range->writing--;
    }
    batch_release_keys(step, index);
    batch->writing = batch->reading = batch->examining = false;
    batch_wait(step->chord, batch, RETRY_MS);
}

static void begin(struct step *step, uint16_t index, uint16_t range_index,
                  const struct chord_operation *operations, uint32_t count,
                  const struct slice_counts *counts) {
    struct chord *chord = step->chord;
    struct batch *batch = batch_at(chord, index);
    struct range *range = range_at(chord, range_index);
    batch->state = BATCH_RUNNING;
    batch->serial = serial_new(chord); /* answers to an earlier attempt do not count for this one */
    batch->range = range_ref(chord, range_index);
    batch->slice = (struct chord_slice){batch->request_id, range->view.range, range->view.epoch,
                                        range->counter + 1};
    batch->acked = batch->sent = 0;
    batch->confirm = 0;
    batch->reading = counts->reads > 0;
    batch->examining = counts->examines > 0;
    batch->writing = counts->writes > 0;
    batch->stored = batch->nothing = false;
    batch->store_retry_ms = 0;
    if (counts->held == 0) {
        batch_release_keys(step, index); /* it only reads what was handed over to it */
    }
    if (batch->writing) {
        range->counter += count;
        range->writing++;
        take_keys(chord, index, operations, count);
    }
    bool ok =
        !batch->reading || store_slice(step, index, CHORD_STORE_READ_OPERATIONS, STORE_BATCH_READ);
    if (ok && batch->examining) {
        ok = store_slice(step, index, CHORD_STORE_EXAMINE_OPERATIONS, STORE_BATCH_EXAMINE);
    } else if (ok && batch->writing) {
        ok = send_writes(step, index);
    }
    if (!ok) {
        put_back(step, index);
    } else if (batch->reading || batch->examining) { /* to refuse a write is to read */
        batch->confirm = confirm_read(step, range_index);
        batch_due(chord, range->check.resend_ms);
    }
}

void execute_run(struct step *step, uint16_t index, uint16_t range_index,
                 const struct chord_operation *operations, uint32_t count) {
    struct chord *chord = step->chord;
    struct batch *batch = batch_at(chord, index);
    struct range *range = range_at(chord, range_index);
    struct slice_counts counts;
    batch_hint(batch, &range->view);
    if (!range->open || range->closed || range->change.stage >= CHANGE_DRAIN) {
        batch_wait(chord, batch, WAIT_MS_MAX);
        return;
    }
    const uint8_t *busy =
        key_in_flight(chord, index, &range->view.range, operations, count, &counts);
    if (busy != NULL) {
        keys_want(chord, busy, index);
        batch_wait(chord, batch, WAIT_MS_MAX);
    } else if (counts.writes > chord->config.limits.keys_in_flight_max ||
               (counts.writes > 0 && chord->now_ms < chord->writes_from_ms)) {
        batch_end(step, index, CHORD_RESOURCE_EXHAUSTED);
    } else if (!keys_room(chord, &counts) ||
               !action_room(step, 8u + 2u * range->view.members_count)) {
        batch_wait(chord, batch, RETRY_MS);
    } else {
        begin(step, index, range_index, operations, count, &counts);
    }
}

/* The slice is complete: on to the operations of other ranges, or the end. */
static void slice_done(struct step *step, uint16_t index) {
    struct chord *chord = step->chord;
    struct batch *batch = batch_at(chord, index);
    struct range *range = range_of(chord, batch->range);
    if (batch->writing && range != NULL) {
        CHORD_ASSERT(range->writing > 0);
        range->writing--;
        if (range->change.stage != CHANGE_NONE) {
            data_wake(chord);
        }
    }
    bool wrote = batch_sent(batch);
    if (range != NULL) {
        batch->hint.counter = range->counter;
    }
    for (uint16_t i = 0; wrote && range != NULL && i < range->view.members_count; i++) {
        if (!((batch->acked | batch->sent) & bit(i))) {
            range->synced &= ~bit(i); /* it had not switched yet, and was not told */
            range->sync_tokens[i] = 0;
        }
    }
    batch->writing = false;
    batch_release_keys(step, index);
    action_add(step, CHORD_ACTION_FINISHED)->finished = batch->slice;
    if (batch->replied) {
        batch_end(step, index, CHORD_OK);
        return;
    }
    batch->state = BATCH_RESUMED;
    action_add(step, CHORD_ACTION_RESUME)->request_id = batch->request_id;
}

static void check_done(struct step *step, uint16_t index) {
    struct chord *chord = step->chord;
    struct batch *batch = batch_at(chord, index);
    struct range *range = range_of(chord, batch->range);
    if (batch->state != BATCH_RUNNING || batch->reading || batch->examining ||
        batch->confirm != 0 || range == NULL) {
        return;
    }
    /* node/chord/README.md: Write. Our store and a majority have it on disk in this epoch. */
    if (!batch->writing || batch->nothing ||
        (batch->stored && bits_count(batch->acked) >= view_majority(&range->view))) {
        slice_done(step, index);
    }
}

/* Our disk is full, or has a bad row there, while the others may have the write: until we have it
 * too, our row is not the newest, and no request may read it or be decided by it. So its keys stay
 * taken, the client is told that the outcome is unknown, and the same versions are written again
 * and again. Meanwhile the leader begins no other write, and no longer tells the members that it
 * leads, so that a member with room takes over. */
static void own_write_failed(struct step *step, uint16_t index) {
    struct chord *chord = step->chord;
    struct batch *batch = batch_at(chord, index);
    batch->store_retry_ms = chord->now_ms + STORE_RETRY_MS;
    chord->writes_from_ms = chord->now_ms + 2 * STORE_RETRY_MS;
    range_at(chord, batch->range.slot)->resigned = true;
    if (!batch->replied) {
        batch_unknown(step, index);
    }
    batch_due(chord, batch->store_retry_ms);
}

void execute_store_again(struct step *step, uint16_t index) {
    struct batch *batch = batch_at(step->chord, index);
    batch->store_retry_ms = 0;
    if (!store_slice(step, index, CHORD_STORE_WRITE_OPERATIONS, STORE_BATCH_WRITE)) {
        batch->store_retry_ms = step->chord->now_ms + STORE_RETRY_MS;
        batch_due(step->chord, batch->store_retry_ms);
    }
}

void execute_stored(struct step *step, uint16_t index, enum store_purpose purpose, bool ok) {
    struct chord *chord = step->chord;
    struct batch *batch = batch_at(chord, index);
    struct range *range = range_of(chord, batch->range);
    if (batch->state != BATCH_RUNNING || range == NULL) {
        return;
    }
    if (!ok && purpose == STORE_BATCH_WRITE) {
        own_write_failed(step, index);
        return;
    }
    if (!ok) {
        batch_end(step, index, CHORD_INTERNAL);
        return;
    }
    if (purpose == STORE_BATCH_READ) {
        batch->reading = false;
    } else if (purpose == STORE_BATCH_EXAMINE) {
        batch->examining = false;
        batch->nothing = step->event->stored.rows == 0;
        if (!batch->nothing && !send_writes(step, index)) {
            put_back(step, index);
            return;
        }
    } else {
        batch->stored = true;
        range->resigned = false;
        batch->acked |= bit(view_self(chord, &range->view));
    }
    check_done(step, index);
}

void execute_applied(struct step *step, const struct call *call,
                     const struct chord_response *response) {
    struct chord *chord = step->chord;
    struct range *range = range_of(chord, call->range);
    if (range == NULL) {
        return;
    }
    bool refused = response != NULL && response->view.has_view;
    if (call->member == NONE) {
        CHORD_ASSERT(range->learner_calls > 0);
        range->learner_calls--;
        data_wake(chord);
        if (response == NULL || refused) {
            change_abort(step, call->range.slot, "the newcomer missed a write");
        }
    } else {
        CHORD_ASSERT(range->member_calls[call->member] > 0);
        range->member_calls[call->member]--;
    }
    if (refused && call->member != NONE) {
        leader_member_down(step, call->range.slot, call->member);
    }
    if (refused) {
        leader_learn(step, &response->view.view);
    }
    if (refused || call->member == NONE) {
        return;
    }
    if (response == NULL) {
        leader_member_down(step, call->range.slot, call->member);
    }
    struct batch *batch = batch_at(chord, call->subject.slot);
    if (!batch_live(chord, call->subject) || batch->state != BATCH_RUNNING ||
        !ref_same(batch->range, call->range)) {
        return;
    }
    batch->sent &= ~bit(call->member);
    if (response != NULL) {
        batch->acked |= bit(call->member);
        check_done(step, call->subject.slot);
    }
}

bool execute_confirmed(struct step *step, uint16_t index) {
    struct chord *chord = step->chord;
    struct range *range = range_at(chord, index);
    uint64_t done = range->check.done;
    bool others = false;
    for (uint16_t i = 0; i < chord->config.limits.batches_max; i++) {
        struct batch *batch = batch_at(chord, i);
        if (batch->state != BATCH_RUNNING || batch->confirm == 0 ||
            !ref_same(batch->range, range_ref(chord, index))) {
            continue;
        }
        if (batch->confirm > done || !action_room(step, 16)) {
            others = true; /* without room: with the next round */
            continue;
        }
        batch->confirm = 0;
        check_done(step, i);
    }
    return others;
}

/* The epoch is over for these: reads run again elsewhere, writes are unknown. Those end with the
 * next tick, which has room for as many answers as there are. */
void execute_range_gone(struct step *step, struct ref range) {
    struct chord *chord = step->chord;
    for (uint16_t i = 0; i < chord->config.limits.batches_max; i++) {
        struct batch *batch = batch_at(chord, i);
        if (batch->state != BATCH_RUNNING || !ref_same(batch->range, range)) {
            continue;
        }
        if (batch_sent(batch) || batch->replied) {
            batch->writing = false;
            batch->deadline_ms = chord->now_ms;
            batch_due(chord, chord->now_ms);
        } else {
            put_back(step, i);
        }
    }
}

void execute_stale(struct step *step, uint16_t index, uint16_t range_index) {
    struct chord *chord = step->chord;
    struct batch *batch = batch_at(chord, index);
    struct range *range = range_at(chord, range_index);
    batch->state = BATCH_RUNNING;
    batch->serial = serial_new(chord);
    batch->range = range_ref(chord, range_index);
    batch->writing = false;
    batch->confirm = 0;
    batch->slice = (struct chord_slice){batch->request_id, range->view.range, range->view.epoch, 0};
    batch_hint(batch, &range->view);
    batch->examining = batch->nothing = false;
    batch->reading = store_slice(step, index, CHORD_STORE_READ_OPERATIONS, STORE_BATCH_READ);
    if (!batch->reading) {
        batch_wait(chord, batch, RETRY_MS);
    }
}

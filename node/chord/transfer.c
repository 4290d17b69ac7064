/*
 * transfer_keys: pulling a range from another member, in bounded pages. First the digests are
 * compared; where they are equal nothing moves. A leader that settles keeps the newer version of
 * each row (`equal` off). A learner, or a member that fell behind, becomes equal to the leader:
 * rows of earlier epochs that the leader does not have go, so that a returning disk revives
 * nothing; rows of this epoch come by Apply as well, and the newer one stays.
 * Both ends must be at the epoch at each page: a source that has gone on may have dropped its rows,
 * a receiver that has gone on may have been given others.
 */
#include "state.h"

enum { FAILURES_MAX = 8, RETRY_MS = 200 };

static void finish(struct step *step, uint16_t index, bool ok) {
    struct transfer *transfer = transfer_at(step->chord, index);
    transfer->stage = TRANSFER_FREE;
    if (ok && transfer->rows > 0) {
        struct chord_trace *trace =
            trace_add(step, CHORD_WORD_TRANSFER_KEYS, CHORD_LEVEL_INFO, "received from");
        memcpy(trace->address, transfer->source.address, CHORD_ADDRESS_BYTES);
        trace->has_range = true;
        trace->range = transfer->range;
        trace->count = transfer->rows;
    }
    if (transfer->request_id != 0) {
        struct chord_response response;
        memset(&response, 0, sizeof response);
        response.kind = CHORD_SYNC;
        response.code = ok ? CHORD_OK : CHORD_UNAVAILABLE;
        reply_send(step, transfer->request_id, &response);
    } else if (range_at(step->chord, transfer->subject)->used &&
               range_at(step->chord, transfer->subject)->serial == transfer->subject_serial) {
        leader_pulled(step, transfer->subject, transfer->member, ok);
    }
}

static void pull(struct step *step, uint16_t index) {
    struct chord *chord = step->chord;
    struct transfer *transfer = transfer_at(chord, index);
    struct chord_request *request;
    bool digest = transfer->stage == TRANSFER_DIGEST;
    uint16_t slot =
        call_member(step, digest ? CALL_DIGEST : CALL_TRANSFER, index, transfer->serial, NONE,
                    &transfer->source, chord->config.timing.data_timeout_ms, &request);
    if (slot == NONE) {
        transfer->retry_ms = chord->now_ms + RETRY_MS;
        return;
    }
    transfer->retry_ms = 0;
    request->kind = digest ? CHORD_DIGEST : CHORD_TRANSFER_KEYS;
    request->rows.range = transfer->range;
    request->rows.epoch = transfer->epoch;
    request->rows.learner = false;
    request->rows.has_after = transfer->has_after;
    memcpy(request->rows.after, transfer->after, CHORD_ID_BYTES);
}

static void store(struct step *step, uint16_t index, enum chord_store_kind kind,
                  enum store_purpose purpose, uint64_t call_id) {
    struct transfer *transfer = transfer_at(step->chord, index);
    struct chord_action *action;
    if (store_start(step, kind, purpose, index, transfer->serial, call_id, &action) == 0) {
        finish(step, index, false);
        return;
    }
    action->store.slice.range = transfer->range;
    action->store.slice.epoch = transfer->epoch;
    action->store.equal = transfer->equal;
    action->store.done = transfer->done;
    action->store.has_after = transfer->has_before;
    memcpy(action->store.after, transfer->before, CHORD_ID_BYTES);
    memcpy(action->store.last, transfer->after, CHORD_ID_BYTES);
}

bool transfer_start(struct step *step, const struct chord_member *source,
                    const struct chord_range *range, uint64_t epoch, bool equal,
                    uint64_t request_id, uint16_t subject, uint32_t subject_serial,
                    uint16_t member) {
    struct chord *chord = step->chord;
    uint16_t index = 0;
    while (index < chord->config.limits.transfers_max &&
           transfer_at(chord, index)->stage != TRANSFER_FREE) {
        index++;
    }
    if (index == chord->config.limits.transfers_max || !action_room(step, 8)) {
        return false;
    }
    struct transfer *transfer = transfer_at(chord, index);
    memset(transfer, 0, sizeof *transfer);
    transfer->stage = TRANSFER_DIGEST;
    transfer->serial = serial_new(chord);
    transfer->equal = equal;
    transfer->epoch = epoch;
    transfer->range = *range;
    transfer->request_id = request_id;
    transfer->subject = subject;
    transfer->subject_serial = subject_serial;
    transfer->member = member;
    transfer->source = *source;
    pull(step, index);
    return true;
}

void transfer_reply(struct step *step, uint16_t index, const struct chord_response *response,
                    uint64_t call_id) {
    struct transfer *transfer = transfer_at(step->chord, index);
    if (range_at_epoch(step->chord, &transfer->range, transfer->epoch) == NONE) {
        finish(step, index, false);
        return;
    }
    if (transfer->stage == TRANSFER_DIGEST) {
        transfer->digest_rows = response->digest.rows;
        memcpy(transfer->digest, response->digest.digest, CHORD_DIGEST_BYTES);
        transfer->stage = TRANSFER_DIGEST_OWN;
        store(step, index, CHORD_STORE_DIGEST, STORE_DIGEST_OWN, 0);
        return;
    }
    transfer->done = response->transfer.done;
    transfer->rows += response->transfer.rows;
    transfer->failures = 0;
    if (response->transfer.rows == 0 && !response->transfer.done) {
        finish(step, index, false);
        return;
    }
    transfer->has_before = transfer->has_after;
    memcpy(transfer->before, transfer->after, CHORD_ID_BYTES);
    if (response->transfer.rows > 0) {
        transfer->has_after = true;
        memcpy(transfer->after, response->transfer.last, CHORD_ID_BYTES);
    }
    transfer->stage = TRANSFER_WRITE;
    store(step, index, CHORD_STORE_WRITE_PULLED, STORE_PULLED, call_id);
}

void transfer_failure(struct step *step, uint16_t index) {
    struct transfer *transfer = transfer_at(step->chord, index);
    transfer->failures++;
    if (transfer->failures >= FAILURES_MAX) {
        finish(step, index, false);
    } else {
        transfer->retry_ms = step->chord->now_ms + RETRY_MS;
        if (step->chord->ranges_ms == 0 || step->chord->ranges_ms > transfer->retry_ms) {
            step->chord->ranges_ms = transfer->retry_ms;
        }
    }
}

void transfer_stored(struct step *step, uint16_t index) {
    struct transfer *transfer = transfer_at(step->chord, index);
    if (!step->event->stored.ok) {
        finish(step, index, false);
        return;
    }
    switch (transfer->stage) {
    case TRANSFER_DIGEST_OWN:
        if (step->event->stored.rows == transfer->digest_rows &&
            memcmp(step->event->stored.digest, transfer->digest, CHORD_DIGEST_BYTES) == 0) {
            finish(step, index, true);
        } else {
            transfer->stage = TRANSFER_PULL;
            pull(step, index);
        }
        break;
    default:
        if (transfer->done) {
            finish(step, index, true);
        } else {
            transfer->stage = TRANSFER_PULL;
            pull(step, index);
        }
        break;
    }
}

void transfers_tick(struct step *step) {
    struct chord *chord = step->chord;
    for (uint16_t i = 0; i < chord->config.limits.transfers_max && action_room(step, 16); i++) {
        struct transfer *transfer = transfer_at(chord, i);
        if (transfer->stage != TRANSFER_FREE && transfer->retry_ms != 0 &&
            transfer->retry_ms <= chord->now_ms) {
            pull(step, i);
        }
    }
}

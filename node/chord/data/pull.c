/* SPDX-License-Identifier: MIT */
/*
 * transfer_keys: pulling a range from another member, in bounded pages, and only where the two
 * differ: the digests of a part are compared, a part that differs and has many rows is halved, and
 * behind an equal one the next is twice as long. A returning disk that missed a few writes compares
 * its rows a few times and moves those few; that is a tree of digests which need not be kept.
 *
 * A leader that settles keeps the newer version of each row (`equal` off), but of rows from before
 * a copy's equal_epoch it goes by the copy with the greatest equal_epoch: a write that had reached
 * only another copy was passed over when that epoch was settled, and others may have been built on
 * that since. So an epoch counts before a version, as in Paxos a ballot before a value. What is
 * left out of the others' pages by the word of a better copy must come from that copy (settle.c).
 *
 * A learner, or a member that fell behind, becomes equal to the leader: rows of earlier epochs that
 * the leader does not have go, so that a returning disk revives nothing; rows of this epoch come by
 * Apply as well, and the newer one stays. Both ends must be at the epoch at each page: a source
 * that has gone on may have dropped its rows, a receiver that has gone on may have been given
 * others.
 */
#include "data.h"

enum { FAILURES_MAX = 8, RETRY_MS = 200, DONE_MS = 20000, PART_ROWS = 16 };

static void transfers_due(struct chord *chord, uint64_t when_ms) {
    sooner(&chord->transfers_ms, when_ms);
}

/* Sync is answered soon, also while the work goes on: its leader asks again with the same token,
 * and learns then that it is done. So a lost message costs one timeout, however large the range. */
static void answer(struct step *step, struct transfer *transfer, enum chord_code code, bool done) {
    if (transfer->request_id == 0) {
        return;
    }
    struct chord_response *response = reply_add(step, transfer->request_id, CHORD_SYNC);
    response->code = code;
    response->view.confirmed = done;
    transfer->request_id = 0;
}

/* Our copy is equal to the leader's: we write that down first and tell it afterwards. True: it is
 * on disk and the leader waits for the answer. */
static bool equal_now(struct step *step, const struct transfer *transfer) {
    struct chord *chord = step->chord;
    uint16_t index = range_at_epoch(chord, &transfer->range, transfer->epoch);
    if (index != NONE && range_at(chord, index)->equal_epoch != transfer->epoch) {
        range_at(chord, index)->equal_epoch = transfer->epoch;
        views_save(step, STORE_VIEWS, 0);
    }
    return transfer->request_id != 0 && views_saved(chord);
}

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
    if (transfer->token != 0) {
        bool told = ok && equal_now(step, transfer);
        answer(step, transfer, ok ? CHORD_OK : CHORD_UNAVAILABLE, told);
        if (ok && !told && !transfer->own) {
            transfer->stage = TRANSFER_DONE; /* until the leader asks again */
            transfer->retry_ms = step->chord->now_ms + DONE_MS;
            transfers_due(step->chord, transfer->retry_ms);
        }
    } else if (range_live(step->chord, transfer->subject)) {
        settle_pulled(step, transfer->subject.slot, transfer->member, ok);
    }
}

static void pull_later(struct chord *chord, struct transfer *transfer) {
    transfer->retry_ms = chord->now_ms + RETRY_MS;
    transfers_due(chord, transfer->retry_ms);
}

static void pull(struct step *step, uint16_t index) {
    struct chord *chord = step->chord;
    struct transfer *transfer = transfer_at(chord, index);
    struct chord_request *request;
    bool digest = transfer->stage == TRANSFER_DIGEST;
    uint16_t slot =
        call_member(step, digest ? CALL_DIGEST : CALL_TRANSFER, transfer_ref(chord, index), NONE,
                    &transfer->source, chord->config.timing.data_timeout_ms, &request);
    if (slot == NONE) {
        pull_later(chord, transfer);
        return;
    }
    transfer->retry_ms = 0;
    request->kind = digest ? CHORD_DIGEST : CHORD_TRANSFER_KEYS;
    request->rows.range = transfer->part;
    request->rows.epoch = transfer->epoch;
    request->rows.learner = false;
    request->rows.has_after = transfer->has_after;
    memcpy(request->rows.after, transfer->after, CHORD_ID_BYTES);
}

/* The range whose leader pulls here to settle; NULL: this pull is not for settling, or the view is
 * over. */
static struct range *settling(struct chord *chord, const struct transfer *transfer) {
    return transfer->token == 0 ? range_of(chord, transfer->subject) : NULL;
}

/* node/chord/README.md: Settle, Equal. Up to which epoch our own rows are dropped before a page,
 * and rows of the page are skipped. */
static void choose(struct chord *chord, const struct transfer *transfer, uint64_t *drop_epoch,
                   uint64_t *skip_epoch) {
    const struct range *range = settling(chord, transfer);
    *drop_epoch = transfer->equal ? transfer->epoch : 0;
    *skip_epoch = 0;
    if (range == NULL) {
        return;
    }
    uint64_t own = settle_own_epoch(chord, range);
    uint64_t best = own > range->settle_epoch ? own : range->settle_epoch;
    if (transfer->source_epoch < best) {
        *skip_epoch = best;
    } else if (transfer->source_epoch > own) {
        *drop_epoch = transfer->source_epoch;
    }
}

static void source_learn(struct chord *chord, struct transfer *transfer, uint64_t equal_epoch) {
    struct range *range = settling(chord, transfer);
    transfer->source_epoch = equal_epoch;
    if (range != NULL) {
        settle_heard(range, transfer->member, equal_epoch);
    }
}

static void store(struct step *step, uint16_t index, enum chord_store_kind kind,
                  enum store_purpose purpose, uint64_t call_id) {
    struct transfer *transfer = transfer_at(step->chord, index);
    struct chord_action *action;
    if (store_start(step, kind, purpose, transfer_ref(step->chord, index), call_id, &action) ==
        NONE) {
        finish(step, index, false);
        return;
    }
    action->store.slice.range = transfer->part;
    action->store.slice.epoch = transfer->epoch;
    choose(step->chord, transfer, &action->store.drop_epoch, &action->store.skip_epoch);
    action->store.done = transfer->done;
    action->store.has_after = transfer->has_before;
    memcpy(action->store.after, transfer->before, CHORD_ID_BYTES);
    memcpy(action->store.last, transfer->after, CHORD_ID_BYTES);
}

static struct transfer *transfer_new(struct step *step, const struct chord_member *source,
                                     const struct chord_range *range, uint64_t epoch,
                                     uint16_t *slot) {
    struct chord *chord = step->chord;
    uint16_t index = transfer_free(chord);
    if (index == NONE || !action_room(step, 8)) {
        return NULL;
    }
    struct transfer *transfer = transfer_at(chord, index);
    memset(transfer, 0, sizeof *transfer);
    transfer->stage = TRANSFER_DIGEST;
    transfer->serial = serial_new(chord);
    transfer->epoch = epoch;
    transfer->range = transfer->part = *range;
    transfer->source = *source;
    *slot = index;
    return transfer;
}

/* ---- part by part ---- */

static void part_begin(struct transfer *transfer, const struct chord_id *lo,
                       const struct chord_id *hi) {
    transfer->part = (struct chord_range){*lo, *hi};
    transfer->has_after = transfer->has_before = transfer->done = false;
    transfer->stage = TRANSFER_DIGEST;
}

/* node/chord/README.md: Equal. A part that differs is halved, unless one of the two copies has no
 * rows there or both have few. */
static bool part_halve(struct chord *chord, struct transfer *transfer, uint64_t rows_own) {
    uint64_t theirs = transfer->digest_rows;
    struct chord_id lo = transfer->part.lo;
    struct chord_id middle = id_middle(&lo, &transfer->part.hi, chord->parameters.m);
    if (rows_own == 0 || theirs == 0 || (rows_own <= PART_ROWS && theirs <= PART_ROWS) ||
        id_equal(&middle, &lo)) {
        return false;
    }
    part_begin(transfer, &lo, &middle);
    return true;
}

/* Moves on to the next part, twice as long behind an equal one. False: this was the last. */
static bool part_next(struct chord *chord, struct transfer *transfer, bool was_equal) {
    unsigned m = chord->parameters.m;
    struct chord_id lo = transfer->part.hi, hi = lo;
    if (id_equal(&lo, &transfer->range.hi)) {
        return false;
    }
    struct chord_id width = id_distance(&transfer->part.lo, &transfer->part.hi, m);
    for (int times = was_equal ? 2 : 1; times > 0; times--) {
        struct chord_id rest = id_distance(&hi, &transfer->range.hi, m);
        hi = id_compare(&width, &rest) < 0 ? id_add(&hi, &width, m) : transfer->range.hi;
        if (id_equal(&hi, &transfer->range.hi)) {
            break;
        }
    }
    part_begin(transfer, &lo, &hi);
    return true;
}

static void part_end(struct step *step, uint16_t index, bool was_equal) {
    struct transfer *transfer = transfer_at(step->chord, index);
    if (part_next(step->chord, transfer, was_equal)) {
        answer(step, transfer, CHORD_OK, false);
        pull(step, index);
    } else {
        finish(step, index, true);
    }
}

bool transfer_settle(struct step *step, uint16_t subject, uint16_t member) {
    struct range *range = range_at(step->chord, subject);
    uint16_t index;
    struct transfer *transfer = transfer_new(step, &range->view.members[member], &range->view.range,
                                             range->view.epoch, &index);
    if (transfer == NULL) {
        return false;
    }
    transfer->subject = range_ref(step->chord, subject);
    transfer->member = member;
    pull(step, index);
    return true;
}

bool transfer_sync(struct step *step, const struct chord_member *source,
                   const struct chord_range *range, uint64_t epoch, uint64_t token,
                   uint64_t request_id) {
    struct chord *chord = step->chord;
    uint16_t index;
    for (uint16_t i = 0; i < chord->config.limits.transfers_max; i++) {
        struct transfer *old = transfer_at(chord, i);
        if (old->stage == TRANSFER_FREE || old->token == 0 || old->epoch != epoch ||
            !ranges_overlap(&old->range, range) ||
            !store_same(old->source.store_id, source->store_id)) {
            continue;
        }
        answer(step, old, CHORD_OK, false);
        if (old->token != token) {
            old->stage = TRANSFER_FREE; /* what it has found so far is too old */
            continue;
        }
        old->request_id = request_id;
        if (old->stage == TRANSFER_DONE) {
            bool saved = views_saved(chord);
            old->stage = saved ? TRANSFER_FREE : TRANSFER_DONE;
            answer(step, old, CHORD_OK, saved);
        }
        return true;
    }
    struct transfer *transfer = transfer_new(step, source, range, epoch, &index);
    if (transfer == NULL) {
        return false;
    }
    transfer->equal = true;
    transfer->own = request_id == 0;
    transfer->token = token;
    transfer->request_id = request_id;
    pull(step, index);
    return true;
}

static void unanswered(struct step *step, uint16_t index) {
    struct transfer *transfer = transfer_at(step->chord, index);
    transfer->failures++;
    if (transfer->failures >= FAILURES_MAX) {
        finish(step, index, false);
    } else {
        pull_later(step->chord, transfer);
    }
}

void transfer_reply(struct step *step, const struct call *call,
                    const struct chord_response *response) {
    uint16_t index = call->subject.slot;
    if (response == NULL) {
        unanswered(step, index);
        return;
    }
    struct transfer *transfer = transfer_at(step->chord, index);
    if (range_at_epoch(step->chord, &transfer->range, transfer->epoch) == NONE) {
        finish(step, index, false);
        return;
    }
    transfer->failures = 0;
    if (transfer->stage == TRANSFER_DIGEST) {
        source_learn(step->chord, transfer, response->digest.equal_epoch);
        transfer->digest_rows = response->digest.rows;
        memcpy(transfer->digest, response->digest.digest, CHORD_DIGEST_BYTES);
        transfer->stage = TRANSFER_DIGEST_OWN;
        store(step, index, CHORD_STORE_DIGEST, STORE_DIGEST_OWN, 0);
        return;
    }
    source_learn(step->chord, transfer, response->transfer.equal_epoch);
    transfer->done = response->transfer.done;
    transfer->rows += response->transfer.rows;
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
    store(step, index, CHORD_STORE_WRITE_PULLED, STORE_PULLED, step->event->reply.call_id);
}

void transfer_stored(struct step *step, uint16_t index) {
    struct transfer *transfer = transfer_at(step->chord, index);
    struct range *led = transfer->token == 0 ? range_of(step->chord, transfer->subject) : NULL;
    if (led != NULL && transfer->stage == TRANSFER_WRITE) { /* settling needs room */
        led->resigned = !step->event->stored.ok;
    }
    if (!step->event->stored.ok) {
        finish(step, index, false);
        return;
    }
    bool compared = transfer->stage == TRANSFER_DIGEST_OWN;
    uint64_t rows = step->event->stored.rows;
    bool equal = compared && rows == transfer->digest_rows &&
                 memcmp(step->event->stored.digest, transfer->digest, CHORD_DIGEST_BYTES) == 0;
    if (equal || (!compared && transfer->done)) {
        part_end(step, index, equal);
        return;
    }
    if (!compared || !part_halve(step->chord, transfer, rows)) {
        transfer->stage = TRANSFER_PULL;
    }
    answer(step, transfer, CHORD_OK, false);
    pull(step, index);
}

uint64_t transfers_stop(struct chord *chord, uint16_t subject) {
    uint64_t members = 0;
    for (uint16_t i = 0; i < chord->config.limits.transfers_max; i++) {
        struct transfer *transfer = transfer_at(chord, i);
        if (transfer->stage != TRANSFER_FREE && transfer->token == 0 &&
            ref_same(transfer->subject, range_ref(chord, subject))) {
            transfer->stage = TRANSFER_FREE; /* a page that is being stored is stored before others
                                                compare */
            members |= bit(transfer->member);
        }
    }
    return members;
}

void transfers_tick(struct step *step) {
    struct chord *chord = step->chord;
    if (chord->transfers_ms > chord->now_ms) {
        return;
    }
    chord->transfers_ms = UINT64_MAX;
    for (uint16_t i = 0; i < chord->config.limits.transfers_max; i++) {
        struct transfer *transfer = transfer_at(chord, i);
        if (transfer->stage == TRANSFER_FREE || transfer->retry_ms == 0) {
            continue;
        }
        bool due = transfer->retry_ms <= chord->now_ms;
        if (due && transfer->stage == TRANSFER_DONE) {
            transfer->stage = TRANSFER_FREE;
            continue;
        }
        if (due && action_room(step, 16)) {
            pull(step, i);
        }
        transfers_due(chord, transfer->retry_ms);
    }
}

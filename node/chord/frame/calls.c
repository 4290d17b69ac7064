/* SPDX-License-Identifier: MIT */
/*
 * Own requests and store operations in flight, and where their outcomes go. An id is
 * (generation, slot): a late or unknown one finds nothing and is ignored.
 */
#include "data/data.h"
#include "ring/ring.h"

enum { REFUSED_MS = 3000 };

static uint64_t id_make(uint32_t generation, uint16_t slot) {
    return (uint64_t)generation << 16 | (uint64_t)(slot + 1);
}

static uint16_t id_slot(uint64_t id, uint16_t slots) {
    uint64_t slot = id & 0xffff;
    return slot >= 1 && slot <= slots ? (uint16_t)(slot - 1) : NONE;
}

/* ---- calls ---- */

/* Fills the header and leaves the rest of *request to the caller. NONE: no call or action free. */
uint16_t call_start(struct step *step, enum call_purpose purpose, struct ref subject,
                    uint16_t member, const char *address, uint32_t timeout_ms,
                    struct chord_request **request) {
    struct chord *chord = step->chord;
    uint16_t slot = call_free(chord);
    if (slot == NONE || !action_room(step, 8)) {
        return NONE;
    }
    struct call *call = call_at(chord, slot);
    call->purpose = purpose;
    call->generation++;
    call->subject = subject;
    call->member = member;
    call->peer = NONE;
    call->asked_ms = chord->now_ms;
    struct chord_action *action = action_add(step, CHORD_ACTION_SEND_REQUEST);
    action->send_request.call_id = id_make(call->generation, slot);
    memcpy(action->send_request.address, address, CHORD_ADDRESS_BYTES);
    action->send_request.timeout_ms = timeout_ms;
    memset(&action->send_request.slice, 0, sizeof action->send_request.slice);
    *request = &action->send_request.request;
    (*request)->has_sender = chord->self.incarnation != 0 && chord->parameters.m != 0 &&
                             chord->state != CHORD_STATE_LEFT;
    (*request)->sender = chord->self;
    (*request)->target_incarnation = 0;
    memset((*request)->target_store_id, 0, CHORD_STORE_ID_BYTES);
    (*request)->has_ring_id = chord->parameters.m != 0;
    memcpy((*request)->ring_id, chord->parameters.ring_id, CHORD_RING_ID_BYTES);
    chord->messages_total++;
    return slot;
}

/* Only that life of the peer is to answer. */
void call_target(struct chord_request *request, const struct chord_peer *peer) {
    request->target_incarnation = peer->incarnation;
    memcpy(request->target_store_id, peer->store_id, CHORD_STORE_ID_BYTES);
}

/* A ring request to one life of a peer, with its own measured timeout. */
uint16_t call_peer(struct step *step, enum call_purpose purpose, const struct chord_peer *peer,
                   enum chord_message_kind kind, struct chord_request **request) {
    struct chord *chord = step->chord;
    struct chord_request *ignored;
    uint16_t index = peer_find(chord, peer);
    uint32_t timeout_ms = peer_question_ms(chord, index);
    request = request != NULL ? request : &ignored;
    uint16_t slot = call_start(step, purpose, NO_REF, NONE, peer->address, timeout_ms, request);
    if (slot != NONE) {
        (*request)->kind = kind;
        call_target(*request, peer);
        call_at(chord, slot)->peer = index;
        call_at(chord, slot)->incarnation = peer->incarnation;
    }
    return slot;
}

uint16_t call_member(struct step *step, enum call_purpose purpose, struct ref subject,
                     uint16_t seat, const struct chord_member *member, uint32_t timeout_ms,
                     struct chord_request **request) {
    uint16_t slot = call_start(step, purpose, subject, seat, member->address, timeout_ms, request);
    if (slot != NONE) {
        memcpy((*request)->target_store_id, member->store_id, CHORD_STORE_ID_BYTES);
    }
    return slot;
}

static bool call_take(struct step *step, uint64_t call_id, struct call *taken) {
    struct chord *chord = step->chord;
    uint16_t slot = id_slot(call_id, chord->config.limits.calls_max);
    if (slot == NONE) {
        return false;
    }
    struct call *call = call_at(chord, slot);
    if (call->purpose == CALL_FREE || id_make(call->generation, slot) != call_id) {
        return false;
    }
    *taken = *call;
    call->purpose = CALL_FREE;
    return true;
}

/* ---- whether what a call was about is still there ---- */

static bool join_live(struct chord *chord, struct ref subject) {
    return chord->join.open && chord->join.serial == subject.serial;
}

static bool query_live(struct chord *chord, struct ref subject) {
    return chord->query.waiting && chord->query.serial == subject.serial;
}

static bool genesis_live(struct chord *chord, struct ref subject) {
    return chord->genesis.running && chord->genesis.serial == subject.serial;
}

static bool dial_live(struct chord *chord, struct ref subject) {
    return admitted_at(chord, subject.slot)->serial == subject.serial;
}

static bool check_live(struct chord *chord, struct ref subject) {
    const struct range *range = range_at(chord, subject.slot);
    return range->used && range->check.open && range->check.serial == subject.serial;
}

/* The file to which the outcome of each kind of call belongs. `live` NULL: the call is always
 * live; `done` NULL: no code waits for the outcome. A NULL response given to `done` means that
 * none came, or one that says nothing; a verdict on the peer was carried out before. */
static const struct {
    bool (*live)(struct chord *chord, struct ref subject);
    void (*done)(struct step *step, const struct call *call, const struct chord_response *response);
} outcomes[] = {
    [CALL_JOIN] = {join_live, join_reply},
    [CALL_QUERY] = {query_live, query_reply},
    [CALL_GENESIS] = {genesis_live, genesis_reply},
    [CALL_LOOKUP] = {lookup_live, lookup_reply},
    [CALL_CHECK_PREDECESSOR] = {NULL, check_predecessor_reply},
    [CALL_DIAL] = {dial_live, dial_reply},
    [CALL_GRAVEYARD] = {NULL, graveyard_reply},
    [CALL_WATCH] = {range_live, replica_watch_reply},
    [CALL_DECIDED] = {range_live, leader_decided_reply},
    [CALL_PREPARE] = {decision_live, decide_reply},
    [CALL_ACCEPT] = {decision_live, decide_reply},
    [CALL_CHECK] = {check_live, confirm_reply},
    [CALL_SYNC] = {range_live, leader_sync_reply},
    [CALL_DIGEST] = {transfer_live, transfer_reply},
    [CALL_TRANSFER] = {transfer_live, transfer_reply},
    [CALL_APPLY] = {NULL, execute_applied}, /* also when its batch is over */
    [CALL_FORWARD] = {batch_live, batch_forward_reply},
};

static bool call_live(struct chord *chord, const struct call *call) {
    return outcomes[call->purpose].live == NULL ||
           outcomes[call->purpose].live(chord, call->subject);
}

static void call_done(struct step *step, const struct call *call,
                      const struct chord_response *response) {
    if (outcomes[call->purpose].done != NULL) {
        outcomes[call->purpose].done(step, call, response);
    }
}

/* The peer whose health a call tells, if its slot still holds that life. */
static uint16_t call_health_peer(struct chord *chord, const struct call *call) {
    return call->peer != NONE && peer_at(chord, call->peer)->peer.incarnation == call->incarnation
               ? call->peer
               : NONE;
}

void calls_reply(struct step *step) {
    struct chord *chord = step->chord;
    const struct chord_response *response = step->event->reply.response;
    struct call call;
    if (!call_take(step, step->event->reply.call_id, &call) || !call_live(chord, &call)) {
        return;
    }
    uint16_t peer = call_health_peer(chord, &call);
    if (response->gone && peer != NONE) {
        peer_failed(step, &peer_at(chord, peer)->peer, "that life of it is over");
    } else if (response->code == CHORD_WRONG_RING && peer != NONE) {
        peer_failed(step, &peer_at(chord, peer)->peer, "is in another ring now");
    } else if (peer != NONE) {
        peer_heard(chord, peer, call.asked_ms, step->event->reply.microseconds);
    }
    if (!call_live(chord, &call)) {
        return;
    }
    call_done(step, &call, response->gone || response->code != CHORD_OK ? NULL : response);
}

void calls_failure(struct step *step) {
    struct chord *chord = step->chord;
    struct call call;
    if (!call_take(step, step->event->failure.call_id, &call)) {
        return;
    }
    uint16_t peer = call_health_peer(chord, &call);
    if (peer != NONE && !step->event->failure.refused) {
        struct chord_peer silent = peer_at(chord, peer)->peer;
        trace_peer(step, CHORD_WORD_SUSPECT, CHORD_LEVEL_DEBUG, "no answer from", &silent);
        enum peer_verdict verdict = peer_silent(chord, peer, call.asked_ms);
        if (verdict == PEER_FAILED) {
            peer_failed(step, &silent, "no answer from");
        } else if (verdict == PEER_SILENT) {
            call_peer(step, CALL_SEAT, &silent, CHORD_PING, NULL);
        }
    }
    if (call_live(chord, &call)) {
        call_done(step, &call, NULL);
    }
}

/* ---- store operations ---- */

/* NONE: no slot or action free. */
uint16_t store_start(struct step *step, enum chord_store_kind kind, enum store_purpose purpose,
                     struct ref subject, uint64_t request_id, struct chord_action **action) {
    struct chord *chord = step->chord;
    uint16_t slot = store_free(chord);
    if (slot == NONE || !action_room(step, 4)) {
        return NONE;
    }
    struct store_op *store = store_at(chord, slot);
    store->purpose = purpose;
    store->generation++;
    store->subject = subject;
    store->request_id = request_id;
    *action = action_add(step, CHORD_ACTION_STORE);
    (*action)->store.store_op = id_make(store->generation, slot);
    (*action)->store.kind = kind;
    memset(&(*action)->store.slice, 0, sizeof(*action)->store.slice);
    (*action)->store.slice.request_id = request_id;
    return slot;
}

static void reply_stored(struct step *step, const struct store_op *store) {
    bool ok = step->event->stored.ok;
    const struct range *range = range_of(step->chord, store->subject);
    uint64_t equal_epoch = range != NULL ? range->equal_epoch : 0;
    struct chord_response *response = reply_add(step, store->request_id, CHORD_APPLY);
    response->code = ok ? CHORD_OK : CHORD_INTERNAL;
    switch (store->purpose) {
    case STORE_VIEWS_DECIDED:
        response->kind = CHORD_DECIDED;
        break;
    case STORE_APPLY:
        break;
    case STORE_RANGE_READ:
        response->kind = CHORD_TRANSFER_KEYS;
        response->transfer.rows = step->event->stored.rows;
        response->transfer.done = step->event->stored.done;
        memcpy(response->transfer.last, step->event->stored.last, CHORD_ID_BYTES);
        response->transfer.equal_epoch = equal_epoch;
        response->code = range != NULL ? response->code : CHORD_ABORTED;
        break;
    default:
        response->kind = CHORD_DIGEST;
        response->digest.rows = step->event->stored.rows;
        memcpy(response->digest.digest, step->event->stored.digest, CHORD_DIGEST_BYTES);
        response->digest.equal_epoch = equal_epoch;
        response->code = range != NULL ? response->code : CHORD_ABORTED;
        break;
    }
}

void stores_done(struct step *step) {
    struct chord *chord = step->chord;
    uint64_t id = step->event->stored.store_op;
    uint16_t slot = id_slot(id, chord->config.limits.calls_max);
    if (slot == NONE || store_at(chord, slot)->purpose == STORE_FREE ||
        id_make(store_at(chord, slot)->generation, slot) != id) {
        return;
    }
    struct store_op store = *store_at(chord, slot);
    store_at(chord, slot)->purpose = STORE_FREE;
    bool ok = step->event->stored.ok;
    if (!ok && (store_saves_views(&store) || store.purpose == STORE_APPLY ||
                store.purpose == STORE_BATCH_WRITE)) {
        chord->refused_until_ms = chord->now_ms + REFUSED_MS;
    }
    if (store_saves_views(&store)) {
        leader_views_saved(step, ok);
    }
    switch (store.purpose) {
    case STORE_VIEWS:
    case STORE_RETIRED:
        break;
    case STORE_VIEWS_PREPARE:
    case STORE_VIEWS_ACCEPT:
        acceptor_stored(step, &store, ok);
        break;
    case STORE_VIEWS_OWN:
        decide_stored(step, &store, ok);
        break;
    case STORE_BATCH_READ:
    case STORE_BATCH_EXAMINE:
    case STORE_BATCH_WRITE:
        if (batch_live(chord, store.subject)) {
            execute_stored(step, store.subject.slot, store.purpose, ok);
        }
        break;
    case STORE_DIGEST_OWN:
    case STORE_PULLED:
        if (transfer_live(chord, store.subject)) {
            transfer_stored(step, store.subject.slot);
        }
        break;
    case STORE_TOMBSTONES:
        if (range_live(chord, store.subject)) {
            forget_counted(step, store.subject.slot, ok);
        }
        break;
    default:
        reply_stored(step, &store);
        break;
    }
}

/* ---- replies ---- */

struct chord_response *reply_add(struct step *step, uint64_t request_id,
                                 enum chord_message_kind kind) {
    struct chord_action *action = action_add(step, CHORD_ACTION_SEND_REPLY);
    memset(&action->send_reply, 0, sizeof action->send_reply);
    action->send_reply.request_id = request_id;
    action->send_reply.response.kind = kind;
    return &action->send_reply.response;
}

void reply_code(struct step *step, uint64_t request_id, enum chord_message_kind kind,
                enum chord_code code, uint32_t retry_after_ms) {
    struct chord_response *response = reply_add(step, request_id, kind);
    response->code = code;
    response->retry_after_ms = retry_after_ms;
}

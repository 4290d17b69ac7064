/* SPDX-License-Identifier: MIT */
/*
 * A request from outside: whether it is for this node in this life, and who in the core answers it.
 */
#include "data/data.h"
#include "ring/ring.h"

enum { GONE_RETRY_MS = 200 };

/* What a client asks has no such answer: a BATCH without a code would be taken for done. */
static void reply_gone(struct step *step, uint64_t request_id, enum chord_message_kind kind) {
    if (kind == CHORD_BATCH || kind == CHORD_LOOKUP) {
        reply_code(step, request_id, kind, CHORD_UNAVAILABLE, GONE_RETRY_MS);
        return;
    }
    reply_add(step, request_id, kind)->gone = true;
}

/* The request is for another life of this node, or for another disk at its address. */
static bool other_life(const struct chord *chord, const struct chord_request *request) {
    static const uint8_t any[CHORD_STORE_ID_BYTES];
    bool other_store = !store_same(request->target_store_id, any) &&
                       !store_same(request->target_store_id, chord->self.store_id);
    return other_store || (request->target_incarnation != 0 &&
                           request->target_incarnation != chord->self.incarnation);
}

/* A request for another name of this host (perhaps its former address) is answered as if no node
 * were there: the process that the asker meant is not this one. */
static bool own_request(const struct chord *chord, const struct chord_request *request) {
    return request->has_sender && address_same(request->sender.address, chord->self.address) &&
           store_same(request->sender.store_id, chord->self.store_id);
}

static void on_ping(struct step *step, const struct chord_request *request, uint64_t request_id) {
    struct chord *chord = step->chord;
    struct chord_response *response = reply_add(step, request_id, CHORD_PING);
    response->gone =
        request->target_incarnation != 0 && (other_life(chord, request) || !in_ring(chord));
    response->ping.self = chord->self;
    response->ping.state = chord->state;
    response->ping.parameters = chord->parameters;
    response->ping.formed = chord->formed;
    response->ping.restarting = chord->join.stage != JOIN_IDLE && chord->join.restarting;
}

static void on_get_list(struct step *step, const struct chord_request *request,
                        uint64_t request_id) {
    struct chord *chord = step->chord;
    struct chord_response *response = reply_add(step, request_id, request->kind);
    const struct chord_peer *predecessor = predecessor_get(chord);
    if (chord->query.waiting) {
        response->ring.busy = true;
        return;
    }
    response->ring.forming = chord->serial_admission;
    if (request->kind == CHORD_GET_PREDECESSOR && predecessor != NULL) {
        response->ring.node = *predecessor;
    }
    successors_list(chord, &response->ring.successors);
    if (request->kind == CHORD_GET_SUCCESSORS && request->has_sender) {
        stabilize_for(chord, &request->sender);
    }
}

/* A message from a peer proves that this incarnation of the peer is alive and that every earlier
 * one is over. */
static void sender_heard(struct step *step, const struct chord_peer *sender) {
    struct chord *chord = step->chord;
    uint16_t index = peer_find_address(chord, sender->address);
    if (is_copy(chord, sender)) {
        graveyard_add(chord, sender); /* asking it tells which of the two goes on (copies.c) */
    }
    if (index == NONE) {
        return;
    }
    struct chord_peer known = peer_at(chord, index)->peer;
    bool same_store = store_same(known.store_id, sender->store_id);
    if (same_store && known.incarnation == sender->incarnation) {
        peer_heard(chord, index, chord->now_ms, 0);
    } else if (!same_store || known.incarnation < sender->incarnation) {
        peer_failed(step, &known, "returned as a new member");
    }
}

static void on_lookup(struct step *step, const struct chord_request *request, uint64_t request_id) {
    struct chord *chord = step->chord;
    uint64_t deadline_ms = chord->now_ms + step->event->request.timeout_ms;
    if (!in_ring(chord)) {
        reply_code(step, request_id, CHORD_LOOKUP, CHORD_UNAVAILABLE, GONE_RETRY_MS);
    } else if (!lookup_start(step, LOOKUP_CLIENT, &request->id, NULL, NO_REF, request_id,
                             deadline_ms)) {
        reply_code(step, request_id, CHORD_LOOKUP, CHORD_RESOURCE_EXHAUSTED, 50);
    }
}

/* Who answers what. */
static const struct {
    void (*on)(struct step *step, const struct chord_request *request, uint64_t request_id);
    bool sender; /* it must name its sender */
    bool member; /* only a member answers it */
} answers[] = {
    [CHORD_FIND_SUCCESSOR] = {on_find_successor, .member = true},
    [CHORD_GET_PREDECESSOR] = {on_get_list, .member = true},
    [CHORD_GET_SUCCESSORS] = {on_get_list, .member = true},
    [CHORD_NOTIFY] = {on_notify, .sender = true, .member = true},
    [CHORD_JOIN] = {on_join, .sender = true, .member = true},
    [CHORD_GENESIS] = {on_genesis, .sender = true},
    [CHORD_LEAVE] = {on_leave, .sender = true, .member = true},
    [CHORD_MERGE] = {on_merge, .member = true},
    [CHORD_LOOKUP] = {on_lookup},
    [CHORD_APPLY] = {on_apply},
    [CHORD_CHECK] = {on_check},
    [CHORD_SYNC] = {on_sync},
    [CHORD_DIGEST] = {on_read_range},
    [CHORD_PREPARE] = {on_decide},
    [CHORD_ACCEPT] = {on_decide},
    [CHORD_DECIDED] = {on_decided},
    [CHORD_GET_VIEW] = {on_get_view},
    [CHORD_TRANSFER_KEYS] = {on_read_range},
    [CHORD_BATCH] = {on_batch},
};

static void answer(struct step *step, const struct chord_request *request, uint64_t request_id) {
    enum chord_message_kind kind = request->kind;
    bool named = request->has_sender && peer_valid(step->chord, &request->sender);
    CHORD_ASSERT(kind < sizeof answers / sizeof answers[0] && answers[kind].on != NULL);
    if (answers[kind].sender && !named) {
        reply_code(step, request_id, kind, CHORD_INVALID_ARGUMENT, 0);
    } else if (answers[kind].member && !in_ring(step->chord)) {
        reply_gone(step, request_id, kind);
    } else {
        answers[kind].on(step, request, request_id);
    }
}

void request_arrived(struct step *step) {
    struct chord *chord = step->chord;
    const struct chord_request *request = step->event->request.request;
    uint64_t request_id = step->event->request.request_id;
    CHORD_ASSERT(request_id != 0);
    if (request->kind == CHORD_BATCH && batch_resume(step, request_id)) {
        return; /* it was let in before, whatever this node has become since */
    }
    if (request->has_ring_id && chord->parameters.m != 0 &&
        memcmp(request->ring_id, chord->parameters.ring_id, CHORD_RING_ID_BYTES) != 0) {
        reply_code(step, request_id, request->kind, CHORD_WRONG_RING, 0);
        return;
    }
    if (own_request(chord, request)) {
        reply_gone(step, request_id, request->kind);
        return;
    }
    if (request->kind == CHORD_PING) {
        if (request->has_sender && chord->parameters.m != 0 &&
            peer_valid(chord, &request->sender)) {
            sender_heard(step, &request->sender);
            join_heard(chord, &request->sender);
        }
        on_ping(step, request, request_id);
        return;
    }
    /* A ring that this node is about to make has no members and no views yet. */
    bool making = chord->state == CHORD_STATE_JOINING && chord->join.creating;
    if (chord->parameters.m == 0 || making || other_life(chord, request)) {
        reply_gone(step, request_id, request->kind);
        return;
    }
    if (request->has_sender && peer_valid(chord, &request->sender)) {
        sender_heard(step, &request->sender);
    }
    if (chord->config.limits.views_max == 0 && request->kind >= CHORD_TRANSFER_KEYS &&
        request->kind <= CHORD_BATCH) {
        reply_code(step, request_id, request->kind, CHORD_UNAVAILABLE, 0); /* routes only */
        return;
    }
    answer(step, request, request_id);
}

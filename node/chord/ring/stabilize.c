/* SPDX-License-Identifier: MIT */
/*
 * Stabilize, notify and rectify (Zave 2017, section 5; Stoica et al. 2001, section 5 for the
 * names). One maintenance query is open at a time; its answer is the only thing that changes the
 * successor list, and a pointer heard from a third party is adopted only from its target's answer.
 */
#include "ring.h"

enum { SOON_MS = 20 };

void stabilize_soon(struct chord *chord) {
    uint64_t soon_ms = chord->now_ms + random_between(chord, SOON_MS / 2, SOON_MS);
    if (chord->stabilize_ms == 0 || chord->stabilize_ms > soon_ms) {
        chord->stabilize_ms = soon_ms;
    }
}

/* Who wants to stand between us and our successor waits until we know of others that do. */
void stabilize_for(struct chord *chord, const struct chord_peer *joiner) {
    const struct chord_peer *successor = successor_at(chord, 0);
    if (successor != NULL && !peer_same(joiner, successor) &&
        id_in_open(&chord->self.id, &joiner->id, &successor->id)) {
        stabilize_soon(chord);
    }
}

static void query_send(struct step *step) {
    struct chord *chord = step->chord;
    struct query *query = &chord->query;
    static const enum chord_message_kind kinds[] = {
        [QUERY_STABILIZE] = CHORD_GET_PREDECESSOR,
        [QUERY_CANDIDATE] = CHORD_GET_SUCCESSORS,
        [QUERY_RECTIFY] = CHORD_PING,
    };
    query->retry_ms = 0;
    uint16_t slot = call_peer(step, CALL_QUERY, &query->peer, kinds[query->kind], NULL);
    query->waiting = slot != NONE;
    if (slot != NONE) {
        query->serial = serial_new(chord);
        call_at(chord, slot)->subject.serial = query->serial;
    } else {
        query->kind = QUERY_NONE;
    }
}

static void query_start(struct step *step, enum query_kind kind, const struct chord_peer *peer) {
    struct query *query = &step->chord->query;
    CHORD_ASSERT(query->kind == QUERY_NONE);
    query->kind = kind;
    query->busy_count = 0;
    query->peer = *peer;
    query_send(step);
}

void query_end(struct chord *chord) {
    chord->query.kind = QUERY_NONE;
    chord->query.waiting = false;
    chord->query.retry_ms = 0;
}

static void notify_send(struct step *step) {
    const struct chord_peer *successor = successor_at(step->chord, 0);
    if (successor != NULL) {
        call_peer(step, CALL_NOTIFY, successor, CHORD_NOTIFY, NULL);
    }
}

/* Asks `peer`, heard from a third party, for its list: its answer makes it our first successor. */
void query_candidate(struct step *step, const struct chord_peer *peer) {
    if (step->chord->query.kind == QUERY_NONE) {
        query_start(step, QUERY_CANDIDATE, peer);
    }
}

static void rectify_start(struct step *step) {
    struct chord *chord = step->chord;
    const struct chord_peer *predecessor = predecessor_get(chord);
    if (chord->candidate == NONE || chord->candidate == chord->predecessor) {
        chord->candidate = NONE;
        return;
    }
    if (predecessor == NULL) {
        predecessor_set(step, &peer_at(chord, chord->candidate)->peer);
        chord->candidate = NONE;
        return;
    }
    query_start(step, QUERY_RECTIFY, predecessor);
}

/* With an empty list the predecessor, or a finger, leads back into the ring. */
static const struct chord_peer *way_back(struct chord *chord) {
    const struct chord_peer *best = predecessor_get(chord);
    for (unsigned i = 0; i < chord->parameters.m && best == NULL; i++) {
        best = finger_get(chord, i);
    }
    return best;
}

void stabilize_tick(struct step *step) {
    struct chord *chord = step->chord;
    if (!in_ring(chord)) {
        return;
    }
    if (chord->query.kind != QUERY_NONE) {
        if (!chord->query.waiting && chord->query.retry_ms <= chord->now_ms) {
            query_send(step);
        }
        return;
    }
    if (chord->candidate != NONE) {
        rectify_start(step);
        if (chord->query.kind != QUERY_NONE) {
            return;
        }
    }
    if (chord->stabilize_ms > chord->now_ms) {
        return;
    }
    chord->stabilize_ms = chord->now_ms + jitter(chord, chord->config.timing.stabilize_period_ms);
    const struct chord_peer *successor = successor_at(chord, 0);
    if (successor != NULL) {
        query_start(step, QUERY_STABILIZE, successor);
    } else if (way_back(chord) != NULL) {
        query_start(step, QUERY_CANDIDATE, way_back(chord));
    }
}

/* Zave 2017, section 5, stabilize: the successor's list, and then whom it has as predecessor. */
static void on_stabilize_reply(struct step *step, const struct chord_response *response) {
    struct chord *chord = step->chord;
    struct chord_peer successor = chord->query.peer;
    const struct chord_peer *between = &response->ring.node;
    query_end(chord);
    genesis_is_over(chord, !response->ring.forming);
    if (chord->serial_admission) {
        struct chord_peer_list united;
        united.count = response->ring.successors.count;
        memcpy(united.items, response->ring.successors.items,
               sizeof united.items[0] * united.count);
        successors_unite(chord, &united);
        successors_adopt(step, &successor, &united);
    } else {
        successors_adopt(step, &successor, &response->ring.successors);
    }
    bool known = between->incarnation != 0 && peer_valid(chord, between);
    if (known && id_in_open(&chord->self.id, &between->id, &successor.id)) {
        if (peer_find(chord, between) == NONE) {
            /* We may have just given this member up. Our successor asks it before it believes our
             * notify, so we notify at once: its silence is not to delay that. */
            notify_send(step);
        }
        query_start(step, QUERY_CANDIDATE, between);
    } else if (!known || !peer_same(between, &chord->self)) {
        notify_send(step);
    }
}

/* Stabilize, second half: the candidate has answered, so it may be adopted with its list. */
static void on_candidate_reply(struct step *step, const struct chord_response *response) {
    struct chord *chord = step->chord;
    struct chord_peer candidate = chord->query.peer;
    const struct chord_peer *successor = successor_at(chord, 0);
    query_end(chord);
    if (successor == NULL) {
        successors_adopt(step, &candidate, &response->ring.successors);
    } else if (id_in_open(&chord->self.id, &candidate.id, &successor->id)) {
        struct chord_peer former = *successor;
        successors_adopt(step, &candidate, &response->ring.successors);
        unify_tell(step, &candidate, &former);
    }
    notify_send(step);
}

/* Zave 2017, section 5, rectify: the predecessor lives, so only a closer one replaces it. */
static void on_rectify_alive(struct step *step) {
    struct chord *chord = step->chord;
    const struct chord_peer *predecessor = predecessor_get(chord);
    query_end(chord);
    if (chord->candidate == NONE) {
        return;
    }
    struct chord_peer candidate = peer_at(chord, chord->candidate)->peer;
    chord->candidate = NONE;
    if (predecessor == NULL || id_in_open(&predecessor->id, &candidate.id, &chord->self.id)) {
        predecessor_set(step, &candidate);
    }
}

static void busy(struct step *step) {
    struct chord *chord = step->chord;
    struct query *query = &chord->query;
    query->waiting = false;
    query->busy_count++;
    if (query->busy_count >= BUSY_MAX) {
        query_end(chord);
        stabilize_soon(chord);
        return;
    }
    uint16_t index = peer_find(chord, &query->peer);
    uint64_t round_trip_ms = index != NONE ? peer_at(chord, index)->srtt_us / 1000 : 1;
    query->retry_ms =
        chord->now_ms + 1 + random_between(chord, round_trip_ms / 2, round_trip_ms * 3 / 2 + 1);
}

/* Without a verdict: the next round asks again. A verdict has ended the query (peers.c). */
static void unanswered(struct step *step) {
    struct chord *chord = step->chord;
    enum query_kind kind = chord->query.kind;
    query_end(chord);
    if (kind == QUERY_CANDIDATE) {
        notify_send(step);
    } else {
        stabilize_soon(chord);
    }
}

void query_reply(struct step *step, const struct call *call,
                 const struct chord_response *response) {
    (void)call;
    if (response == NULL) {
        unanswered(step);
        return;
    }
    struct chord *chord = step->chord;
    chord->query.waiting = false;
    if (chord->query.kind == QUERY_RECTIFY) {
        on_rectify_alive(step);
    } else if (response->ring.busy || (response->ring.forming && !chord->serial_admission)) {
        /* It is in genesis still, without the list that formed the ring: we keep ours. */
        busy(step);
    } else if (chord->query.kind == QUERY_STABILIZE) {
        on_stabilize_reply(step, response);
    } else {
        on_candidate_reply(step, response);
    }
}

/* Zave 2017, section 5: notify only records a candidate; rectify asks the old predecessor first. */
static void notified(struct step *step, const struct chord_peer *sender) {
    struct chord *chord = step->chord;
    const struct chord_peer *predecessor = predecessor_get(chord);
    if (id_equal(&sender->id, &chord->self.id) ||
        (predecessor != NULL && peer_same(predecessor, sender))) {
        return;
    }
    if (chord->candidate == NONE ||
        id_in_open(&peer_at(chord, chord->candidate)->peer.id, &sender->id, &chord->self.id)) {
        chord->candidate = peer_add(chord, sender);
    }
    if (chord->query.kind == QUERY_NONE) {
        rectify_start(step);
    }
    if (chord->successors_count == 0) {
        stabilize_soon(chord);
    }
}

void on_notify(struct step *step, const struct chord_request *request, uint64_t request_id) {
    notified(step, &request->sender);
    reply_add(step, request_id, CHORD_NOTIFY);
}

void check_predecessor_now(struct step *step) {
    struct chord *chord = step->chord;
    const struct chord_peer *predecessor = predecessor_get(chord);
    if (predecessor != NULL && !chord->checking_predecessor) {
        chord->checking_predecessor =
            call_peer(step, CALL_CHECK_PREDECESSOR, predecessor, CHORD_PING, NULL) != NONE;
    }
}

void check_predecessor_reply(struct step *step, const struct call *call,
                             const struct chord_response *response) {
    (void)call;
    step->chord->checking_predecessor = false;
    if (response == NULL) {
        step->chord->check_predecessor_ms = step->chord->now_ms;
    }
}

static bool quiet(struct chord *chord, uint16_t peer) {
    const struct peer_entry *entry = peer_at(chord, peer);
    uint32_t period_ms = chord->config.timing.check_predecessor_period_ms;
    return entry->heard_ms + 2ull * period_ms <= chord->now_ms || entry->disconnected ||
           entry->struck_ms != 0;
}

/* Lists that are united in genesis lose a member only by its silence to each, so each asks them
 * all, one after the other; the first successor is asked by stabilize. */
static void check_successor(struct step *step) {
    struct chord *chord = step->chord;
    if (!chord->serial_admission || chord->successors_count < 2) {
        return;
    }
    chord->successor_checked = (uint16_t)(chord->successor_checked + 1);
    chord->successor_checked %= chord->successors_count;
    uint16_t peer = chord->successors[chord->successor_checked];
    if (chord->successor_checked > 0 && quiet(chord, peer)) {
        call_peer(step, CALL_SEAT, &peer_at(chord, peer)->peer, CHORD_PING, NULL);
    }
}

void check_predecessor_tick(struct step *step) {
    struct chord *chord = step->chord;
    if (!in_ring(chord) || chord->check_predecessor_ms > chord->now_ms) {
        return;
    }
    chord->check_predecessor_ms =
        chord->now_ms + jitter(chord, chord->config.timing.check_predecessor_period_ms);
    check_successor(step);
    if (chord->predecessor != NONE && quiet(chord, chord->predecessor)) {
        check_predecessor_now(step);
    }
}

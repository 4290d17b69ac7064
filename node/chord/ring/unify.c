/* SPDX-License-Identifier: MIT */
/*
 * Members are suspected falsely, and one ring may fall into two. Three mechanisms bring the parts
 * together again (after Shafaat, Ghodsi, Haridi: ring unification, 2009; the self-check is the
 * strong stabilization of Liben-Nowell, Balakrishnan, Karger, PODC 2002):
 * - removed peers stay in a graveyard and are pinged slowly, and so are peers found in a ring that
 *   misses us;
 * - now and then a node looks its own id up through another member: a node found there instead
 *   belongs to a ring that misses it;
 * - a node that takes a new first successor tells it of the former one, which may belong between
 *   that one and its successor. So two rings close like a zip, and each step is checked by asking,
 *   as always.
 */
#include "ring.h"

void graveyard_clear(struct chord *chord) {
    memset(grave_at(chord, 0), 0, sizeof(struct grave) * graves_max(&chord->config.limits));
}

void graveyard_add(struct chord *chord, const struct chord_peer *peer) {
    for (uint16_t i = 0; i < graves_max(&chord->config.limits); i++) {
        if (address_same(grave_at(chord, i)->peer.address, peer->address)) {
            grave_at(chord, i)->peer = *peer;
            return;
        }
    }
    grave_at(chord, chord->graveyard_next)->peer = *peer;
    grave_at(chord, chord->graveyard_next)->open = false;
    chord->graveyard_next =
        (uint16_t)((chord->graveyard_next + 1) % graves_max(&chord->config.limits));
}

static void ping_removed(struct step *step) {
    struct chord *chord = step->chord;
    for (uint16_t i = 0; i < graves_max(&chord->config.limits); i++) {
        struct chord_request *request;
        if (grave_at(chord, i)->peer.incarnation == 0 || grave_at(chord, i)->open) {
            continue;
        }
        uint16_t slot =
            call_peer(step, CALL_GRAVEYARD, &grave_at(chord, i)->peer, CHORD_PING, &request);
        if (slot != NONE) {
            request->target_incarnation = 0; /* any life of it may be in another ring */
            call_at(chord, slot)->subject.slot = i;
            grave_at(chord, i)->open = true;
        }
    }
}

/* Looks self up through `peer`, which may see another ring than we do. */
static void look_self_up(struct step *step, const struct chord_peer *peer) {
    struct chord *chord = step->chord;
    lookup_start(step, LOOKUP_UNIFY, &chord->self.id, peer, NO_REF, 0, chord->now_ms + LOOKUP_MS);
}

static const struct chord_peer *random_peer(struct chord *chord) {
    uint16_t start = (uint16_t)(random_next(chord) % chord->config.limits.peers_max);
    for (uint16_t i = 0; i < chord->config.limits.peers_max; i++) {
        uint16_t at = (uint16_t)((start + i) % chord->config.limits.peers_max);
        if (peer_at(chord, at)->peer.incarnation != 0) {
            return &peer_at(chord, at)->peer;
        }
    }
    return NULL;
}

void graveyard_tick(struct step *step) {
    struct chord *chord = step->chord;
    if (!in_ring(chord) || chord->graveyard_ms > chord->now_ms) {
        return;
    }
    chord->graveyard_ms = chord->now_ms + jitter(chord, chord->config.timing.graveyard_period_ms);
    copies_find(chord);
    ping_removed(step);
    const struct chord_peer *peer = random_peer(chord);
    if (peer != NULL) {
        look_self_up(step, peer);
    }
}

void graveyard_reply(struct step *step, const struct call *call,
                     const struct chord_response *response) {
    struct chord *chord = step->chord;
    uint16_t index = call->subject.slot;
    if (response == NULL) { /* `gone` or silence: asked again later */
        grave_at(chord, index)->open = false;
        return;
    }
    struct chord_peer peer = response->ping.self;
    bool alone = successor_at(chord, 0) == NULL;
    if (!in_ring(chord) || response->ping.state != CHORD_STATE_MEMBER ||
        !peer_valid(chord, &peer) || peer_same(&peer, &chord->self)) {
        memset(grave_at(chord, index), 0, sizeof(struct grave));
    } else if (is_copy(chord, &peer)) {
        memset(grave_at(chord, index), 0, sizeof(struct grave));
        copy_met(step, &peer);
    } else if (alone) {
        /* It may be busy, or lost again before it is our successor: then it is asked once more. */
        grave_at(chord, index)->open = false;
        query_candidate(step, &peer);
    } else {
        memset(grave_at(chord, index), 0, sizeof(struct grave));
        look_self_up(step, &peer);
    }
}

void unify_tell(struct step *step, const struct chord_peer *target, const struct chord_peer *peer) {
    struct chord_request *request;
    if (call_peer(step, CALL_UNIFY, target, CHORD_MERGE, &request) != NONE) {
        request->peer = *peer;
    }
}

void unify_looked_up(struct step *step, const struct chord_peer *owner,
                     const struct chord_peer *before) {
    struct chord *chord = step->chord;
    const struct chord_peer *successor = successor_at(chord, 0);
    if (!in_ring(chord) || address_same(owner->address, chord->self.address)) {
        return;
    }
    if (is_copy(chord, owner)) {
        graveyard_add(chord, owner);
        return;
    }
    if (id_equal(&owner->id, &chord->self.id)) {
        struct chord_peer twin = *owner;
        if (chord->state == CHORD_STATE_MEMBER) {
            join_again(step, &twin);
        }
        return;
    }
    trace_peer(step, CHORD_WORD_MERGE, CHORD_LEVEL_INFO, "a ring without this node; its owner here",
               owner);
    graveyard_add(chord, owner); /* what follows can be lost; asked again until it finds us */
    if (successor == NULL || id_in_open(&chord->self.id, &owner->id, &successor->id)) {
        query_candidate(step, owner);
    }
    if (peer_valid(chord, before) && id_in_open(&before->id, &chord->self.id, &owner->id)) {
        unify_tell(step, before, &chord->self);
    }
}

/* A hint: that peer is a member. If it belongs next to us we ask it; otherwise we pass the hint on
 * to the nearest member before it that we know, until it arrives where it belongs. */
static void told_of(struct step *step, const struct chord_peer *peer) {
    struct chord *chord = step->chord;
    const struct chord_peer *successor = successor_at(chord, 0);
    if (!peer_valid(chord, peer) || id_equal(&peer->id, &chord->self.id)) {
        return;
    }
    if (successor == NULL || id_in_open(&chord->self.id, &peer->id, &successor->id)) {
        query_candidate(step, peer);
        return;
    }
    const struct chord_peer *nearest = NULL;
    for (uint16_t i = 0; i < chord->successors_count; i++) {
        const struct chord_peer *known = successor_at(chord, i);
        if (id_equal(&known->id, &peer->id)) {
            return;
        }
        if (id_in_open(&chord->self.id, &known->id, &peer->id)) {
            nearest = known;
        }
    }
    for (unsigned i = 0; i < chord->parameters.m; i++) {
        const struct chord_peer *known = finger_get(chord, i);
        const struct chord_id *from = nearest != NULL ? &nearest->id : &chord->self.id;
        if (known != NULL && id_in_open(from, &known->id, &peer->id)) {
            nearest = known;
        }
    }
    if (nearest != NULL) {
        unify_tell(step, nearest, peer);
    }
}

void on_merge(struct step *step, const struct chord_request *request, uint64_t request_id) {
    told_of(step, &request->peer);
    reply_add(step, request_id, CHORD_MERGE);
}

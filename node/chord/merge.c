/*
 * False suspicion happens. Removed peers stay in a graveyard and are pinged slowly; one that
 * answers again may be in a ring of its own, so both rings are sewn together there: we look our own
 * id up through it, and adopt the owner as a successor if it lies before ours (ring unification:
 * Shafaat, Ghodsi, Haridi 2009).
 */
#include "state.h"

void graveyard_add(struct chord *chord, const struct chord_peer *peer) {
    for (uint16_t i = 0; i < GRAVEYARD_MAX; i++) {
        if (address_same(chord->graveyard[i].peer.address, peer->address)) {
            chord->graveyard[i].peer = *peer;
            return;
        }
    }
    chord->graveyard[chord->graveyard_next].peer = *peer;
    chord->graveyard[chord->graveyard_next].open = false;
    chord->graveyard_next = (uint16_t)((chord->graveyard_next + 1) % GRAVEYARD_MAX);
}

void graveyard_tick(struct step *step) {
    struct chord *chord = step->chord;
    if (chord->state != CHORD_STATE_MEMBER || chord->graveyard_ms > chord->now_ms) {
        return;
    }
    chord->graveyard_ms = chord->now_ms + jitter(chord, chord->config.timing.graveyard_period_ms);
    for (uint16_t i = 0; i < GRAVEYARD_MAX; i++) {
        if (chord->graveyard[i].peer.incarnation == 0 || chord->graveyard[i].open) {
            continue;
        }
        struct chord_request *request;
        uint16_t slot =
            call_peer(step, CALL_GRAVEYARD, &chord->graveyard[i].peer, CHORD_PING, &request);
        if (slot != NONE) {
            request->target_incarnation = 0; /* any life of it may be in another ring */
            call_at(chord, slot)->subject = i;
            chord->graveyard[i].open = true;
        }
    }
}

void graveyard_reply(struct step *step, uint16_t index, const struct chord_response *response) {
    struct chord *chord = step->chord;
    struct chord_peer peer = response->ping.self;
    memset(&chord->graveyard[index], 0, sizeof chord->graveyard[index]);
    if (chord->state != CHORD_STATE_MEMBER || response->ping.state != CHORD_STATE_MEMBER ||
        !peer_valid(chord, &peer) || peer_same(&peer, &chord->self) ||
        peer_find(chord, &peer) != NONE) {
        return;
    }
    trace_peer(step, CHORD_WORD_MERGE, CHORD_LEVEL_INFO, "answers again", &peer);
    const struct chord_peer *successor = successor_at(chord, 0);
    if (successor == NULL || id_in_open(&chord->self.id, &peer.id, &successor->id)) {
        query_candidate(step, &peer);
    } else {
        lookup_start(step, LOOKUP_MERGE, &chord->self.id, &peer, NONE, 0, 0, chord->now_ms + 10000);
    }
}

/* `gone` or silence: a life that is over is forgotten, a silent one is asked again. */
void graveyard_failure(struct chord *chord, uint16_t index) {
    chord->graveyard[index].open = false;
}

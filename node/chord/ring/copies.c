/* SPDX-License-Identifier: MIT */
/*
 * Two members of the ring with one store. A copy of a disk is refused when it joins, but its
 * original may have been silent just then, or both may have come at the same time at different
 * places. Data is safe all the same (seats.c), yet a range may want one of them as a member while
 * the other has the seat, and would wait for ever. So a member that hears of another with its
 * store asks it, and when both live one stops: the one that started last, as far as incarnations
 * tell, or else the one with the greater address. Both decide by the same two facts, so they do
 * not stop for each other.
 */
#include "join.h"

bool is_copy(const struct chord *chord, const struct chord_peer *peer) {
    return store_same(peer->store_id, chord->self.store_id) &&
           !address_same(peer->address, chord->self.address);
}

void copies_find(struct chord *chord) {
    for (uint16_t i = 0; i < chord->config.limits.peers_max; i++) {
        const struct chord_peer *peer = &peer_at(chord, i)->peer;
        if (peer->incarnation != 0 && is_copy(chord, peer)) {
            graveyard_add(chord, peer);
        }
    }
}

void copy_refused(struct step *step, const char *address) {
    struct chord_action *action =
        join_refuse(step, "this store runs elsewhere: this one is a copy");
    action->refused.copy = true;
    memcpy(action->refused.address, address, CHORD_ADDRESS_BYTES);
}

void copy_met(struct step *step, const struct chord_peer *peer) {
    const struct chord_peer *self = &step->chord->self;
    if (self->incarnation != peer->incarnation
            ? self->incarnation > peer->incarnation
            : address_compare(self->address, peer->address) > 0) {
        copy_refused(step, peer->address);
    } /* Otherwise the other one stops: it has just heard of us. */
}

/* SPDX-License-Identifier: MIT */
/*
 * Seats: a member of a view is a store at an address. A disk may be copied, and then two processes
 * have one store id and the same promises. Only the process at the seat's address leads,
 * acknowledges, checks, or votes as one of a majority. Others with that store id vote only in a
 * decision of enough stores to share two with each majority, so at least one that is not copied
 * (tests/model/views_seats.pml). That is how the seats of a host follow it to another address.
 */
#include "data.h"

enum { SEAT_PERIOD_MS = 1000 };

bool seated(const struct chord *chord, const struct chord_member *member) {
    return store_same(member->store_id, chord->self.store_id) &&
           address_same(member->address, chord->self.address);
}

uint16_t view_seat(const struct chord_view *view, const struct chord_member *member) {
    uint16_t seat = view_member(view, member->store_id);
    return seat != NONE && address_same(view->members[seat].address, member->address) ? seat : NONE;
}

unsigned view_move_quorum(const struct chord_view *view) {
    unsigned quorum = view->members_count - view_majority(view) + 2;
    return quorum < view->members_count ? quorum : view->members_count;
}

unsigned view_copies_needed(const struct chord_view *view) {
    return view->moved ? view_move_quorum(view) : view_majority(view);
}

bool view_follows(struct chord *chord, const struct chord_view *view) {
    unsigned taken = 0;
    for (uint16_t i = 0; i < view->members_count; i++) {
        taken += address_same(member_address(chord, &view->members[i]), view->members[i].address);
    }
    return taken < view_copies_needed(view);
}

uint16_t peer_at_seat(struct chord *chord, const struct chord_member *member) {
    uint16_t at = peer_find_address(chord, member->address);
    return at != NONE && store_same(peer_at(chord, at)->peer.store_id, member->store_id)
               ? at
               : (uint16_t)NONE;
}

/* A member asks that has moved: the ring may know it elsewhere only, and its seat cannot follow a
 * member that its leader does not know (clients' seed 3342). */
void seat_elsewhere(struct chord *chord, const struct chord_view *view,
                    const struct chord_peer *sender) {
    uint16_t seat = view_member(view, sender->store_id);
    if (seat != NONE && !address_same(view->members[seat].address, sender->address)) {
        peer_meet(chord, sender);
    }
}

/* The latest life of its store that we know elsewhere. NULL: none. */
static const struct chord_peer *peer_elsewhere(struct chord *chord,
                                               const struct chord_member *member) {
    const struct chord_peer *best = NULL;
    for (uint16_t i = 0; i < chord->config.limits.peers_max; i++) {
        const struct chord_peer *peer = &peer_at(chord, i)->peer;
        if (peer->incarnation != 0 && (best == NULL || peer->incarnation > best->incarnation) &&
            store_same(peer->store_id, member->store_id) &&
            !address_same(peer->address, member->address)) {
            best = peer;
        }
    }
    return best;
}

/* Where a member's store runs, as far as we know: at its seat, or else at the only place
 * that we know. */
const char *member_address(struct chord *chord, const struct chord_member *member) {
    if (store_same(member->store_id, chord->self.store_id)) {
        return chord->self.address;
    }
    const struct chord_peer *elsewhere =
        peer_at_seat(chord, member) == NONE ? peer_elsewhere(chord, member) : NULL;
    return elsewhere != NULL ? elsewhere->address : member->address;
}

/* A member is known at its seat and elsewhere too: the process at the seat is asked, and given up
 * at once when it is silent. */
void seats_ask(struct step *step, const struct chord_view *view) {
    struct chord *chord = step->chord;
    for (uint16_t i = 0; i < view->members_count; i++) {
        uint16_t at = peer_at_seat(chord, &view->members[i]);
        if (at == NONE || peer_at(chord, at)->seat_asked_ms + SEAT_PERIOD_MS > chord->now_ms ||
            peer_elsewhere(chord, &view->members[i]) == NULL) {
            continue;
        }
        peer_at(chord, at)->disconnected = true;
        peer_at(chord, at)->seat_asked_ms = chord->now_ms;
        call_peer(step, CALL_SEAT, &peer_at(chord, at)->peer, CHORD_PING, NULL);
    }
}

void view_readdress(struct chord *chord, struct chord_view *view) {
    for (uint16_t i = 0; i < view->members_count; i++) {
        const char *address = member_address(chord, &view->members[i]);
        if (!address_same(address, view->members[i].address)) {
            memcpy(view->members[i].address, address, CHORD_ADDRESS_BYTES);
            view->moved = true;
        }
    }
}

/* Where a stored view seats our store this disk has run: kept with its former addresses. */
void former_add(struct chord *chord, const struct chord_view *view) {
    uint16_t seat = view_self(chord, view);
    const char *address = seat != NONE ? view->members[seat].address : chord->self.address;
    bool known = address_same(address, chord->self.address);
    for (uint16_t i = 0; i < chord->config.former_count && !known; i++) {
        known = address_same(address, chord->config.former[i].text);
    }
    if (!known && chord->config.former_count < CHORD_FORMER_MAX) {
        memcpy(chord->config.former[chord->config.former_count++].text, address,
               CHORD_ADDRESS_BYTES);
    }
}

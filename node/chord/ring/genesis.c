/* SPDX-License-Identifier: MIT */
/*
 * Genesis: the corrected protocol begins with an ideal ring of N+1 members (Zave 2017, section
 * 4.4), so until the ring has that many members one authority admits joiners one at a time and
 * hands the full ordered list to all. The same procedure brings a ring back after all its members
 * were stopped.
 */
#include "data/for_ring.h"
#include "join.h"

enum { FAILURES_MAX = 6, MISSED_MAX = 8 };

void genesis_create(struct step *step, bool fresh) {
    struct chord *chord = step->chord;
    chord->serial_admission = true;
    memcpy(chord->creator, chord->self.address, CHORD_ADDRESS_BYTES);
    if (fresh && chord->config.limits.views_max > 0) {
        data_begin(step);
    }
    if (fresh) {
        trace_peer(step, CHORD_WORD_CREATE, CHORD_LEVEL_INFO, "created a new ring", &chord->self);
    } else {
        trace_peer(step, CHORD_WORD_RECREATE, CHORD_LEVEL_INFO,
                   "no member is left running; making the ring again", &chord->self);
        /* If another node does the same, the two rings must find each other. */
        for (uint16_t i = 0; i < chord->known_count; i++) {
            graveyard_add(chord, known_at(chord, i));
        }
    }
    join_done(step, "first member");
}

/* True: it is this node. The creator while it lives, then the lowest id of the list. */
bool genesis_authority(struct chord *chord, struct chord_peer *authority) {
    *authority = chord->self;
    if (address_same(chord->creator, chord->self.address)) {
        return true;
    }
    for (uint16_t i = 0; i < chord->successors_count; i++) {
        const struct chord_peer *peer = successor_at(chord, i);
        if (address_same(peer->address, chord->creator)) {
            *authority = *peer;
            return false;
        }
        if (id_compare(&peer->id, &authority->id) < 0) {
            *authority = *peer;
        }
    }
    if (peer_same(authority, &chord->self)) {
        memcpy(chord->creator, chord->self.address, CHORD_ADDRESS_BYTES);
        return true;
    }
    return false;
}

static void insert_sorted(struct chord_peer_list *list, const struct chord_peer *peer) {
    uint16_t at = list->count;
    CHORD_ASSERT(list->count < CHORD_REPLICAS_MAX);
    while (at > 0 && id_compare(&peer->id, &list->items[at - 1].id) < 0) {
        list->items[at] = list->items[at - 1];
        at--;
    }
    list->items[at] = *peer;
    list->count++;
}

/* Makes the members of the list around `self` its successors and predecessor. */
static void adopt(struct step *step, const struct chord_peer_list *members) {
    struct chord *chord = step->chord;
    struct chord_peer_list rest;
    uint16_t self = NONE;
    for (uint16_t i = 0; i < members->count; i++) {
        if (peer_same(&members->items[i], &chord->self)) {
            self = i;
        }
    }
    CHORD_ASSERT(self != NONE);
    if (members->count == 1) {
        return;
    }
    query_end(chord); /* its answer would be older than this list */
    rest.count = 0;
    for (uint16_t i = 2; i < members->count; i++) {
        rest.items[rest.count++] = members->items[(self + i) % members->count];
    }
    successors_adopt(step, &members->items[(self + 1) % members->count], &rest);
    predecessor_set(step, &members->items[(self + members->count - 1) % members->count]);
}

static bool complete(const struct chord *chord, uint16_t members) {
    return members >= chord->parameters.n + 1;
}

static void finish(struct step *step, const struct chord_peer_list *members, bool formed) {
    struct chord *chord = step->chord;
    chord->genesis.last_ms = chord->now_ms;
    adopt(step, members);
    trace_add(step, CHORD_WORD_GENESIS, CHORD_LEVEL_DEBUG, "took the authority's list")->count =
        members->count;
    if (formed) {
        chord->formed = true;
        chord->serial_admission = false;
        trace_add(step, CHORD_WORD_GENESIS, CHORD_LEVEL_INFO, "the ring is formed")->count =
            members->count;
        identity_save(step, CHORD_STORE_IDENTITY);
    }
}

/* A round that was cut in two leaves some members in genesis who have not got its last list, and
 * each half lacks a member of the other, so that no member sees N+1 of them. A member whose
 * successor left genesis this long ago has missed that list for good. */
void genesis_is_over(struct chord *chord, bool for_successor) {
    bool missed = chord->serial_admission && !chord->genesis.running && for_successor;
    chord->formed_answers = missed ? (uint8_t)(chord->formed_answers + 1) : 0;
    if (chord->formed_answers >= MISSED_MAX) {
        chord->formed = true;
        chord->serial_admission = false;
    }
}

static void round_list(struct chord *chord, struct chord_peer_list *members) {
    members->count = chord->genesis.count;
    memcpy(members->items, genesis_member_at(chord, 0), sizeof members->items[0] * members->count);
}

static bool send_list(struct step *step, uint16_t member) {
    struct chord *chord = step->chord;
    struct genesis *genesis = &chord->genesis;
    struct chord_request *request;
    uint16_t slot = call_start(step, CALL_GENESIS, (struct ref){member, genesis->serial}, NONE,
                               genesis_member_at(chord, member)->address,
                               chord->config.timing.silence_ms_max, &request);
    if (slot == NONE) {
        return false;
    }
    request->kind = CHORD_GENESIS;
    call_target(request, genesis_member_at(chord, member));
    round_list(chord, &request->genesis.members);
    request->genesis.formed = complete(chord, genesis->count);
    return true;
}

bool genesis_cut(const struct chord *chord, const struct chord_arc *arc,
                 const struct chord_peer *joiner) {
    return chord->config.places_evenly && joiner->incarnation == 1 &&
           chord->genesis.last_ms + ARC_MS > chord->now_ms &&
           !place_halves(arc, &joiner->id, chord->parameters.m);
}

static struct chord_arc arc_around(const struct chord_peer_list *members,
                                   const struct chord_peer *joiner) {
    uint16_t at = 0;
    while (!peer_same(&members->items[at], joiner)) {
        at++;
    }
    return (struct chord_arc){members->items[(at + members->count - 1) % members->count].id,
                              members->items[(at + 1) % members->count].id};
}

enum chord_join_result genesis_admit(struct step *step, const struct chord_peer *joiner) {
    struct chord *chord = step->chord;
    struct genesis *genesis = &chord->genesis;
    if (genesis->running || chord->state != CHORD_STATE_MEMBER ||
        chord->successors_count + 2u > chord->config.limits.known_max) {
        return CHORD_JOIN_WAIT;
    }
    struct chord_peer_list members;
    members.count = 0;
    insert_sorted(&members, &chord->self);
    for (uint16_t i = 0; i < chord->successors_count; i++) {
        if (!address_same(successor_at(chord, i)->address, joiner->address)) {
            insert_sorted(&members, successor_at(chord, i));
        }
    }
    for (uint16_t i = 0; i < members.count; i++) {
        if (id_equal(&members.items[i].id, &joiner->id)) {
            return CHORD_JOIN_ID_IN_USE;
        }
    }
    insert_sorted(&members, joiner);
    struct chord_arc arc = arc_around(&members, joiner);
    if (genesis_cut(chord, &arc, joiner)) {
        return CHORD_JOIN_WAIT;
    }
    genesis->running = true;
    genesis->failures = 0;
    genesis->answered = 0;
    genesis->count = members.count;
    memcpy(genesis_member_at(chord, 0), members.items, sizeof members.items[0] * members.count);
    genesis->serial = serial_new(chord);
    trace_peer(step, CHORD_WORD_GENESIS, CHORD_LEVEL_INFO, "admitting", joiner);
    for (uint16_t i = 0; i < members.count; i++) {
        if (peer_same(&members.items[i], &chord->self)) {
            genesis->answered |= bit(i);
        } else if (peer_same(&members.items[i], joiner)) {
            genesis->joiner = i;
        }
    }
    genesis->running = send_list(step, genesis->joiner);
    return CHORD_JOIN_WAIT;
}

/* The joiner becomes a member before any other node hears of it: if it were asked earlier, it
 * would have to say that it is no member, and would be given up. */
static void tell_others(struct step *step) {
    struct genesis *genesis = &step->chord->genesis;
    for (uint16_t i = 0; i < genesis->count; i++) {
        if ((genesis->answered & bit(i)) == 0 && !send_list(step, i)) {
            genesis->running = false;
        }
    }
}

/* The round ends without `lost`. A joiner that has its list is a member: the next round tells the
 * members that have not heard. One without its list is known to no other member. */
static void round_end(struct step *step, const struct chord_peer *lost) {
    struct chord *chord = step->chord;
    struct genesis *genesis = &chord->genesis;
    struct chord_peer_list members;
    genesis->running = false;
    members.count = 0;
    for (uint16_t i = 0; i < genesis->count; i++) {
        if (!peer_same(genesis_member_at(chord, i), lost)) {
            members.items[members.count++] = *genesis_member_at(chord, i);
        }
    }
    if ((genesis->answered & bit(genesis->joiner)) != 0 &&
        !peer_same(lost, genesis_member_at(chord, genesis->joiner))) {
        finish(step, &members, complete(chord, members.count));
    }
}

static void unanswered(struct step *step, uint16_t member) {
    struct genesis *genesis = &step->chord->genesis;
    if (++genesis->failures < FAILURES_MAX && send_list(step, member)) {
        return;
    }
    struct chord_peer silent = *genesis_member_at(step->chord, member);
    trace_peer(step, CHORD_WORD_GENESIS, CHORD_LEVEL_WARN, "gave up the round: no answer from",
               &silent);
    round_end(step, &silent);
    peer_failed(step, &silent, "no answer from");
}

void genesis_reply(struct step *step, const struct call *call,
                   const struct chord_response *response) {
    uint16_t member = call->subject.slot;
    if (response == NULL) {
        unanswered(step, member);
        return;
    }
    struct genesis *genesis = &step->chord->genesis;
    genesis->answered |= bit(member);
    if (member == genesis->joiner) {
        tell_others(step);
    }
    if (bits_count(genesis->answered) == genesis->count) {
        struct chord_peer_list members;
        genesis->running = false;
        round_list(step->chord, &members);
        finish(step, &members, complete(step->chord, members.count));
    }
}

void genesis_forget(struct step *step, const struct chord_peer *peer) {
    struct genesis *genesis = &step->chord->genesis;
    for (uint16_t i = 0; genesis->running && i < genesis->count; i++) {
        if (peer_same(genesis_member_at(step->chord, i), peer)) {
            round_end(step, peer);
        }
    }
}

static bool list_valid(struct chord *chord, const struct chord_peer_list *members) {
    bool self = false;
    for (uint16_t i = 0; i < members->count; i++) {
        const struct chord_peer *peer = &members->items[i];
        self = self || peer_same(peer, &chord->self);
        if (!peer_valid(chord, peer) ||
            (i > 0 && id_compare(&members->items[i - 1].id, &peer->id) >= 0)) {
            return false;
        }
    }
    return self;
}

void on_genesis(struct step *step, const struct chord_request *request, uint64_t request_id) {
    struct chord *chord = step->chord;
    bool joining = chord->state == CHORD_STATE_JOINING;
    bool member = chord->state == CHORD_STATE_MEMBER && chord->serial_admission;
    if (!(joining || member) || !list_valid(chord, &request->genesis.members)) {
        reply_add(step, request_id, CHORD_GENESIS)->gone = true;
        return;
    }
    memcpy(chord->creator, request->sender.address, CHORD_ADDRESS_BYTES);
    chord->serial_admission = true;
    finish(step, &request->genesis.members, request->genesis.formed);
    if (joining) {
        join_done(step, "joined");
    }
    reply_add(step, request_id, CHORD_GENESIS);
}

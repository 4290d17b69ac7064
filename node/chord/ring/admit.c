/* SPDX-License-Identifier: MIT */
/*
 * Admitting a joiner: what its successor to be decides (Zave 2017, J3), or in genesis the one
 * authority.
 */
#include "join.h"

enum {
    DIALLED_MS = 5000, /* how long an answer from the joiner's address counts, */
    STAYS_MS = 200,    /* if there is room so long only, and as many round trips as the joiner */
    STAYS_ROUNDS = 10, /* needs to come back: it looks its place up anew */
    DIAL_WAIT_MS = 10,
    WAIT_MS = 50,
    GRANTED_MS = 3000, /* how long the id of one that was let in counts as taken */
};

static bool id_taken(struct chord *chord, const struct chord_peer *joiner) {
    if (id_equal(&joiner->id, &chord->self.id)) {
        return true;
    }
    for (uint16_t i = 0; i < chord->config.limits.peers_max; i++) {
        const struct chord_peer *peer = &peer_at(chord, i)->peer;
        if (peer->incarnation != 0 && id_equal(&peer->id, &joiner->id) &&
            !address_same(peer->address, joiner->address) &&
            !store_same(peer->store_id, joiner->store_id)) {
            return true;
        }
    }
    for (uint16_t i = 0; i < admitted_max(&chord->config.limits); i++) {
        if (admitted_at(chord, i)->granted && admitted_at(chord, i)->until_ms > chord->now_ms &&
            id_equal(&admitted_at(chord, i)->peer.id, &joiner->id) &&
            !address_same(admitted_at(chord, i)->peer.address, joiner->address)) {
            return true;
        }
    }
    return false;
}

/* Another one was just let in before us and has not notified us yet: where it stands is known
 * then. */
static bool arc_is_given(struct chord *chord, const struct chord_peer *joiner) {
    const struct chord_peer *predecessor = predecessor_get(chord);
    for (uint16_t i = 0; i < admitted_max(&chord->config.limits); i++) {
        const struct admitted *entry = admitted_at(chord, i);
        if (entry->granted && entry->until_ms > chord->now_ms + GRANTED_MS - ARC_MS &&
            !address_same(entry->peer.address, joiner->address) && predecessor != NULL &&
            id_in_open(&predecessor->id, &entry->peer.id, &chord->self.id)) {
            return true;
        }
    }
    return false;
}

/* ---- is it there? ---- */

/* A joiner that comes back with another id is the same one. */
static uint16_t admitted_find(struct chord *chord, const struct chord_peer *joiner) {
    for (uint16_t i = 0; i < admitted_max(&chord->config.limits); i++) {
        struct admitted *entry = admitted_at(chord, i);
        if (entry->until_ms > chord->now_ms && entry->peer.incarnation == joiner->incarnation &&
            address_same(entry->peer.address, joiner->address) &&
            store_same(entry->peer.store_id, joiner->store_id)) {
            entry->granted = entry->granted && id_equal(&entry->peer.id, &joiner->id);
            entry->peer = *joiner;
            return i;
        }
    }
    return NONE;
}

/* Nothing is open of it: it was let in, or went elsewhere. */
static bool admitted_is_over(const struct chord *chord, const struct admitted *entry) {
    if (entry->granted || entry->until_ms <= chord->now_ms) {
        return true;
    }
    if (!(entry->answered || entry->silent) || entry->original_open) {
        return false;
    }
    uint64_t asked_ms = entry->until_ms - DIALLED_MS;
    uint64_t stays_ms = asked_ms + STAYS_MS;
    if (entry->answered) {
        stays_ms = entry->answered_ms + STAYS_MS + STAYS_ROUNDS * (entry->answered_ms - asked_ms);
    }
    return stays_ms < chord->now_ms;
}

/* NONE: as many as there is room for are being asked; one after the other. */
static uint16_t admitted_take(struct chord *chord, const struct chord_peer *joiner) {
    uint16_t slot = NONE;
    for (uint16_t i = 0; i < admitted_max(&chord->config.limits); i++) {
        const struct admitted *entry = admitted_at(chord, i);
        if (admitted_is_over(chord, entry) &&
            (slot == NONE || entry->until_ms < admitted_at(chord, slot)->until_ms)) {
            slot = i;
        }
    }
    if (slot == NONE) {
        return NONE;
    }
    struct admitted *entry = admitted_at(chord, slot);
    memset(entry, 0, sizeof *entry);
    entry->peer = *joiner;
    entry->until_ms = chord->now_ms + DIALLED_MS;
    entry->serial = serial_new(chord);
    return slot;
}

/* In genesis the list that is sent first to a joiner asks it too. */
static void admitted_forget(struct chord *chord, const struct chord_peer *joiner) {
    uint16_t index = admitted_find(chord, joiner);
    if (index != NONE) {
        admitted_at(chord, index)->until_ms = 0;
    }
}

/* A peer that we know with that store, at another address. False: there is none. */
static bool original_of(struct chord *chord, const struct chord_peer *joiner,
                        struct chord_peer *original) {
    for (uint16_t i = 0; i < chord->config.limits.peers_max; i++) {
        const struct chord_peer *peer = &peer_at(chord, i)->peer;
        if (peer->incarnation != 0 && store_same(peer->store_id, joiner->store_id) &&
            !address_same(peer->address, joiner->address)) {
            *original = *peer;
            return true;
        }
    }
    return false;
}

static bool dial(struct step *step, uint16_t index, uint16_t which, const struct chord_peer *peer) {
    struct chord *chord = step->chord;
    struct chord_request *request;
    if (call_start(step, CALL_DIAL, (struct ref){index, admitted_at(chord, index)->serial}, which,
                   peer->address, chord->config.timing.silence_ms_max, &request) == NONE) {
        return false;
    }
    request->kind = CHORD_PING;
    memcpy(request->target_store_id, peer->store_id, CHORD_STORE_ID_BYTES);
    return true;
}

/* The known peers with the joiner's store id, one after the other. */
static bool dial_original(struct step *step, uint16_t index) {
    struct admitted *entry = admitted_at(step->chord, index);
    entry->original_open = original_of(step->chord, &entry->peer, &entry->original);
    return !entry->original_open || dial(step, index, 1, &entry->original);
}

void dial_reply(struct step *step, const struct call *call, const struct chord_response *response) {
    uint16_t index = call->subject.slot, which = call->member;
    struct admitted *entry = admitted_at(step->chord, index);
    bool there = response != NULL && store_same(response->ping.self.store_id, entry->peer.store_id);
    if (which == 0) {
        entry->answered = there;
        entry->answered_ms = step->chord->now_ms;
        entry->silent = !there;
        return;
    }
    /* Its former address may still be a name of its host: then the joiner itself answers there. */
    there = there && !address_same(response->ping.self.address, entry->peer.address);
    entry->original_open = false;
    entry->original_lives = there;
    if (!there) {
        struct chord_peer original = entry->original;
        peer_failed(step, &original, "its store has moved from");
        if (!dial_original(step, index)) { /* it may have moved more than once */
            entry->until_ms = 0;
        }
    }
}

/* A host of digits and dots alone is a number; 127.example.org is a name, of anything. */
static bool loopback(const char *address) {
    size_t digits = 0;
    while (address[digits] == '.' || (address[digits] >= '0' && address[digits] <= '9')) {
        digits++;
    }
    return (memcmp(address, "127.", 4) == 0 && address[digits] == ':') ||
           memcmp(address, "localhost:", 10) == 0 || memcmp(address, "[::1]:", 6) == 0;
}

/* We ask the joiner at the address that it gives, and every peer that we know with its store id: a
 * member that cannot be reached would be given up again and again, and of two with one store id
 * one is a copy. CHORD_JOIN_NONE: nothing is in the way. */
static enum chord_join_result obstacle(struct step *step, const struct chord_peer *joiner,
                                       struct chord_peer *original) {
    struct chord *chord = step->chord;
    if (loopback(joiner->address) != loopback(chord->self.address)) {
        return CHORD_JOIN_LOOPBACK;
    }
    uint16_t index = admitted_find(chord, joiner);
    if (index == NONE) {
        index = admitted_take(chord, joiner);
        if (index == NONE) {
            return CHORD_JOIN_WAIT;
        }
        if (!dial(step, index, 0, joiner) || !dial_original(step, index)) {
            admitted_at(chord, index)->until_ms = 0; /* no room for a call: the next time */
        }
        return CHORD_JOIN_WAIT;
    }
    struct admitted *entry = admitted_at(chord, index);
    *original = entry->original;
    if (entry->silent || entry->original_lives) {
        entry->until_ms = 0; /* asked again when it comes again */
    }
    return entry->original_lives                      ? CHORD_JOIN_COPY
           : entry->silent                            ? CHORD_JOIN_UNREACHABLE
           : !entry->answered || entry->original_open ? CHORD_JOIN_WAIT
                                                      : CHORD_JOIN_NONE;
}

/* ---- may it? ---- */

/* Until the joiner has notified us its id counts as taken: of two racers the second is refused. */
static void admitted_add(struct chord *chord, const struct chord_peer *joiner) {
    uint16_t index = admitted_find(chord, joiner);
    CHORD_ASSERT(index != NONE); /* it has answered */
    admitted_at(chord, index)->granted = true;
    admitted_at(chord, index)->until_ms = chord->now_ms + GRANTED_MS;
}

static enum chord_join_result place(struct chord *chord, const struct chord_peer *joiner) {
    const struct chord_peer *predecessor = predecessor_get(chord);
    if (id_taken(chord, joiner)) {
        return CHORD_JOIN_ID_IN_USE;
    }
    /* A leaving node is a member until it has left: it may be waiting for this very joiner, which
     * leads a range where the leaver holds a copy. */
    if (!in_ring(chord)) {
        return CHORD_JOIN_NOT_SUCCESSOR;
    }
    if (predecessor != NULL && !id_in_open(&predecessor->id, &joiner->id, &chord->self.id)) {
        return CHORD_JOIN_NOT_SUCCESSOR;
    }
    if (predecessor == NULL && chord->successors_count > 0) {
        return CHORD_JOIN_WAIT; /* it may have been admitted by another successor already */
    }
    struct chord_arc arc = {predecessor != NULL ? predecessor->id : chord->self.id, chord->self.id};
    if (arc_is_given(chord, joiner) || genesis_cut(chord, &arc, joiner)) {
        return CHORD_JOIN_WAIT;
    }
    return CHORD_JOIN_NONE;
}

/* Only a joiner whose place is here is asked at its address: there is room for few questions, and
 * when many joiners start at once, most come to the wrong member. */
static void admit(struct step *step, const struct chord_peer *joiner,
                  struct chord_response *response) {
    struct chord *chord = step->chord;
    response->join.result = place(chord, joiner);
    response->retry_after_ms = WAIT_MS;
    if (response->join.result != CHORD_JOIN_NONE) {
        return;
    }
    response->join.result = obstacle(step, joiner, &response->join.authority);
    response->retry_after_ms = DIAL_WAIT_MS;
    if (response->join.result == CHORD_JOIN_NONE) {
        admitted_add(chord, joiner);
        trace_peer(step, CHORD_WORD_ADMIT, CHORD_LEVEL_INFO, "admitted before self", joiner);
        response->join.result = CHORD_JOIN_ADMITTED;
        successors_list(chord, &response->join.successors);
    }
}

/* In genesis one joiner after the other. */
static void admit_in_genesis(struct step *step, const struct chord_peer *joiner,
                             struct chord_response *response) {
    struct genesis *genesis = &step->chord->genesis;
    if (!genesis->running) {
        response->join.result = obstacle(step, joiner, &response->join.authority);
        response->retry_after_ms = DIAL_WAIT_MS;
        if (response->join.result != CHORD_JOIN_NONE) {
            return;
        }
    }
    bool waits = genesis->running;
    response->join.result = genesis_admit(step, joiner);
    response->retry_after_ms = WAIT_MS;
    if (!waits && genesis->running) {
        admitted_forget(step->chord, joiner);
    }
}

void on_join(struct step *step, const struct chord_request *request, uint64_t request_id) {
    struct chord *chord = step->chord;
    struct chord_response response;
    memset(&response, 0, sizeof response);
    response.kind = CHORD_JOIN;
    response.join.formed = chord->formed;
    struct chord_peer authority;
    memset(&authority, 0, sizeof authority);
    if (store_same(request->sender.store_id, chord->self.store_id)) {
        response.join.result = CHORD_JOIN_COPY;
        response.join.authority = chord->self;
    } else if (!chord->serial_admission) {
        admit(step, &request->sender, &response);
    } else if (genesis_authority(chord, &authority)) {
        admit_in_genesis(step, &request->sender, &response);
    } else {
        response.join.result = CHORD_JOIN_REDIRECT;
        response.join.authority = authority;
    }
    *reply_add(step, request_id, CHORD_JOIN) = response;
}

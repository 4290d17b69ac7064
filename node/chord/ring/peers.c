/* SPDX-License-Identifier: MIT */
/*
 * The table of peers, and the failure detector. A question may take one timeout: by the peer's own
 * measured round trips (Jacobson 1988), and longer where the network has stalls (stalls.c). When it
 * is not answered, the peer is asked again at once, and from then on a question may take twice as
 * long (RFC 6298, 5.5). When that is not answered either the peer has failed; how many questions
 * were open at the same time does not matter. A closed connection makes one silence enough.
 */
#include "data/for_ring.h"
#include "ring.h"

int address_compare(const char *a, const char *b) {
    unsigned i = 0;
    while (a[i] == b[i] && a[i] != '\0' && i + 1 < CHORD_ADDRESS_BYTES) {
        i++;
    }
    return (uint8_t)a[i] - (uint8_t)b[i];
}

bool address_same(const char *a, const char *b) {
    return address_compare(a, b) == 0;
}

bool peer_same(const struct chord_peer *a, const struct chord_peer *b) {
    return a->incarnation == b->incarnation && id_equal(&a->id, &b->id) &&
           store_same(a->store_id, b->store_id) && address_same(a->address, b->address);
}

bool peer_valid(const struct chord *chord, const struct chord_peer *peer) {
    return peer->incarnation != 0 && peer->address[0] != '\0' &&
           peer->address[CHORD_ADDRESS_BYTES - 1] == '\0' &&
           (chord->parameters.m == 0 || id_valid(&peer->id, chord->parameters.m));
}

/* FNV-1a (Fowler, Noll, Vo); never 0. The tags lie together, so that finding a peer, which each
 * message does, does not touch the whole table. */
static uint32_t tag_of(const char *address) {
    uint32_t tag = 2166136261u;
    for (unsigned i = 0; i < CHORD_ADDRESS_BYTES && address[i] != '\0'; i++) {
        tag = (tag ^ (uint8_t)address[i]) * 16777619u;
    }
    return tag != 0 ? tag : 1;
}

uint16_t peer_find(struct chord *chord, const struct chord_peer *peer) {
    uint32_t tag = tag_of(peer->address);
    for (uint16_t i = 0; i < chord->config.limits.peers_max; i++) {
        if (*tag_at(chord, i) == tag && peer_same(&peer_at(chord, i)->peer, peer)) {
            return i;
        }
    }
    return NONE;
}

uint16_t peer_find_address(struct chord *chord, const char *address) {
    uint32_t tag = tag_of(address);
    for (uint16_t i = 0; i < chord->config.limits.peers_max; i++) {
        if (*tag_at(chord, i) == tag && address_same(peer_at(chord, i)->peer.address, address)) {
            return i;
        }
    }
    return NONE;
}

static bool in_use(struct chord *chord, uint16_t index) {
    if (index == chord->predecessor || index == chord->candidate) {
        return true;
    }
    for (uint16_t i = 0; i < chord->successors_count; i++) {
        if (chord->successors[i] == index) {
            return true;
        }
    }
    for (unsigned i = 0; i < CHORD_M_MAX; i++) {
        if (chord->fingers[i] == index) {
            return true;
        }
    }
    return false;
}

/* Health counts of calls in flight to a former owner of the slot are no harm: they only touch
 * round trips, and calls_reply checks the life. */
static uint16_t slot_take(struct chord *chord) {
    uint16_t free_slot = NONE;
    for (uint16_t i = 0; i < chord->config.limits.peers_max && free_slot == NONE; i++) {
        if (*tag_at(chord, i) == 0) {
            free_slot = i;
        }
    }
    for (uint16_t i = 0; i < chord->config.limits.peers_max && free_slot == NONE; i++) {
        if (!in_use(chord, i)) {
            free_slot = i;
        }
    }
    return free_slot;
}

uint16_t peer_add(struct chord *chord, const struct chord_peer *peer) {
    CHORD_ASSERT(peer->incarnation != 0);
    uint16_t index = peer_find(chord, peer);
    if (index != NONE) {
        if (peer->host_id != 0) { /* a member of an older version passes peers on without it */
            peer_at(chord, index)->peer.host_id = peer->host_id;
        }
        return index;
    }
    index = slot_take(chord);
    if (index != NONE) {
        struct peer_entry *entry = peer_at(chord, index);
        memset(entry, 0, sizeof *entry);
        entry->peer = *peer;
        *tag_at(chord, index) = tag_of(peer->address);
        entry->heard_ms = chord->now_ms;
    }
    return index;
}

void peer_meet(struct chord *chord, const struct chord_peer *sender) {
    if (peer_valid(chord, sender) && peer_find_address(chord, sender->address) == NONE) {
        peer_add(chord, sender);
    }
}

void peer_heard(struct chord *chord, uint16_t index, uint64_t asked_ms, uint64_t microseconds) {
    struct peer_entry *entry = peer_at(chord, index);
    uint64_t took_ms = chord->now_ms - asked_ms;
    bool late = took_ms > chord->config.timing.silence_ms_min / 2;
    /* Answered at once, it was no stall: the question before was lost. */
    stalls_seen(chord,
                late && entry->struck_ms != 0 ? chord->now_ms - entry->silent_since_ms : took_ms);
    entry->heard_ms = chord->now_ms;
    entry->struck_ms = 0;
    entry->disconnected = false;
    if (microseconds == 0) {
        return;
    }
    uint32_t sample = microseconds > 10000000 ? 10000000 : (uint32_t)microseconds;
    if (entry->srtt_us == 0) {
        entry->srtt_us = sample;
        entry->rttvar_us = sample / 2;
    } else {
        uint32_t error =
            sample > entry->srtt_us ? sample - entry->srtt_us : entry->srtt_us - sample;
        entry->rttvar_us = (3 * entry->rttvar_us + error) / 4;
        entry->srtt_us = (7 * entry->srtt_us + sample) / 8;
    }
    if (entry->srtt_us == 0) {
        entry->srtt_us = 1;
    }
}

uint32_t timeout_within(const struct chord *chord, uint32_t timeout_ms) {
    const struct chord_timing *timing = &chord->config.timing;
    if (timeout_ms < timing->silence_ms_min) {
        return timing->silence_ms_min;
    }
    return timeout_ms > timing->silence_ms_max ? timing->silence_ms_max : timeout_ms;
}

uint32_t peer_timeout_ms(struct chord *chord, uint16_t index) {
    const struct chord_timing *timing = &chord->config.timing;
    const struct peer_entry *entry = index != NONE ? peer_at(chord, index) : NULL;
    uint32_t timeout_ms = entry == NULL || entry->srtt_us == 0
                              ? timing->silence_ms_min * 2 /* nothing is measured */
                              : (entry->srtt_us + 8 * entry->rttvar_us) / 1000;
    if (entry != NULL && !entry->disconnected) { /* a stall closes no connection */
        /* Both questions take twice as long as the longest stall: each end may have one. */
        uint32_t patient_ms = stalls_ms(chord) * 2 / 3;
        timeout_ms = timeout_ms > patient_ms ? timeout_ms : patient_ms;
    }
    return timeout_within(chord, timeout_ms);
}

uint32_t peer_question_ms(struct chord *chord, uint16_t index) {
    bool again = index != NONE && peer_at(chord, index)->struck_ms != 0 &&
                 !peer_at(chord, index)->disconnected;
    return peer_timeout_ms(chord, index) * (again ? 2 : 1);
}

bool peer_healthy(struct chord *chord, uint16_t index) {
    return peer_at(chord, index)->struck_ms == 0 && !peer_at(chord, index)->disconnected;
}

enum peer_verdict peer_silent(struct chord *chord, uint16_t index, uint64_t asked_ms) {
    struct peer_entry *entry = peer_at(chord, index);
    if (entry->disconnected) {
        return PEER_FAILED;
    }
    if (chord->now_ms - asked_ms < chord->config.timing.silence_ms_min / 2) {
        return PEER_UNKNOWN; /* our own side had no room for it */
    }
    if (entry->struck_ms == 0) {
        entry->struck_ms = chord->now_ms;
        entry->silent_since_ms = asked_ms;
        return PEER_SILENT;
    }
    if (asked_ms < entry->struck_ms) {
        return PEER_UNKNOWN; /* it was open at the same time as the one that told */
    }
    uint64_t silent_ms = chord->now_ms - entry->silent_since_ms;
    return 2 * silent_ms > 5 * peer_timeout_ms(chord, index) ? PEER_FAILED : PEER_SILENT;
}

static void forget(struct step *step, uint16_t index) {
    struct chord *chord = step->chord;
    uint16_t kept = 0;
    for (uint16_t i = 0; i < chord->successors_count; i++) {
        if (chord->successors[i] != index) {
            chord->successors[kept++] = chord->successors[i];
        }
    }
    if (kept != chord->successors_count) {
        chord->successors_count = kept;
        stabilize_soon(chord);
    }
    if (chord->candidate == index) {
        chord->candidate = NONE;
    }
    if (chord->predecessor == index) {
        predecessor_set(step, NULL);
    }
    fingers_forget(chord, index);
    peer_at(chord, index)->peer.incarnation = 0;
    *tag_at(chord, index) = 0;
}

/* This life of the peer is over: whatever the reason, the repair is the same. */
static void peer_over(struct step *step, const struct chord_peer *peer, enum chord_word word,
                      enum chord_level level, const char *note) {
    struct chord *chord = step->chord;
    struct chord_peer dead = *peer; /* `peer` may point into the table */
    uint16_t index = peer_find(chord, &dead);
    if (index == NONE) {
        return;
    }
    trace_peer(step, word, level, note, &dead);
    if (chord->query.kind != QUERY_NONE && peer_same(&chord->query.peer, &dead)) {
        query_end(chord);
        stabilize_soon(chord);
    }
    forget(step, index);
    graveyard_add(chord, &dead);
    genesis_forget(step, &dead);
    data_peer_lost(step, dead.address);
}

void peer_failed(struct step *step, const struct chord_peer *peer, const char *note) {
    peer_over(step, peer, CHORD_WORD_FAILURE, CHORD_LEVEL_WARN, note);
}

/* It is also no longer a member known from before: no node waits for it when the ring is started
 * again. */
void peer_left(struct step *step, const struct chord_peer *peer) {
    struct chord *chord = step->chord;
    uint16_t kept = 0;
    for (uint16_t i = 0; i < chord->known_count; i++) {
        if (!address_same(known_at(chord, i)->address, peer->address)) {
            *known_at(chord, kept++) = *known_at(chord, i);
        }
    }
    chord->known_count = kept;
    step->chord->identity_ms = step->chord->now_ms + 100;
    peer_over(step, peer, CHORD_WORD_LEFT, CHORD_LEVEL_INFO, "has left:");
}

/* A closed connection is an immediate suspicion: probe at once. */
void peer_disconnected(struct step *step, const char *address) {
    struct chord *chord = step->chord;
    uint16_t index = peer_find_address(chord, address);
    if (index != NONE) {
        peer_at(chord, index)->disconnected = true;
        if (index == chord->predecessor) {
            chord->check_predecessor_ms = chord->now_ms;
        }
        stabilize_soon(chord);
    }
    data_disconnected(chord, address);
}

bool peer_leaving(const struct chord *constant, const uint8_t *store_id, uint64_t incarnation) {
    struct chord *chord = reading(constant);
    for (uint16_t i = 0; i < leaving_max(&chord->config.limits); i++) {
        const struct leaving *leaving = leaving_at(chord, i);
        if (leaving->until_ms > chord->now_ms && incarnation <= leaving->incarnation &&
            store_same(leaving->store_id, store_id)) {
            return true;
        }
    }
    return false;
}

/* The leaver repeats itself every second; forgotten when it stops. */
void peer_set_leaving(struct chord *chord, const struct chord_peer *peer) {
    uint16_t count = leaving_max(&chord->config.limits);
    struct leaving *slot = NULL;
    for (uint16_t i = 0; i < count; i++) {
        struct leaving *leaving = leaving_at(chord, i);
        if (store_same(leaving->store_id, peer->store_id)) {
            slot = leaving;
            break;
        }
        slot = slot == NULL || leaving->until_ms < slot->until_ms ? leaving : slot;
    }
    if (slot != NULL) {
        memcpy(slot->store_id, peer->store_id, CHORD_STORE_ID_BYTES);
        slot->incarnation = peer->incarnation;
        slot->until_ms = chord->now_ms + 4000;
    }
}

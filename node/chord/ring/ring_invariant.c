/* SPDX-License-Identifier: MIT */
/*
 * The invariant's rules of the ring: Zave's (2017, section 4), as far as one node can see them.
 */
#include "frame/counts.h"
#include "ring.h"

static bool peer_used(struct chord *chord, uint16_t index) {
    return index < chord->config.limits.peers_max && peer_at(chord, index)->peer.incarnation != 0;
}

static const char *peers_broken(struct chord *chord) {
    for (uint16_t i = 0; i < chord->config.limits.peers_max; i++) {
        const struct peer_entry *entry = peer_at(chord, i);
        if (entry->peer.incarnation == 0) {
            continue;
        }
        if (!peer_valid(chord, &entry->peer)) {
            return "a known peer has no address or an id of 2^M or more";
        }
        if (entry->struck_ms > chord->now_ms) {
            return "a peer was silent in the future";
        }
    }
    return NULL;
}

static const char *successors_broken(struct chord *chord) {
    if (chord->successors_count > CHORD_SUCCESSORS_MAX) {
        return "the successor list is longer than any";
    }
    const struct chord_id *before = &chord->self.id;
    for (uint16_t i = 0; i < chord->successors_count; i++) {
        if (!peer_used(chord, chord->successors[i])) {
            return "a successor is not a known peer";
        }
        const struct chord_id *id = &successor_at(chord, i)->id;
        if (id_equal(id, &chord->self.id)) {
            return "the successor list contains self";
        }
        if (i > 0 && id_equal(id, before)) {
            return "the successor list contains a duplicate";
        }
        if (!id_in_open(before, id, &chord->self.id)) {
            return "the successor list is not in clockwise order from self";
        }
        before = id;
    }
    return NULL;
}

/* A notifier or predecessor: none, or a known peer other than self. */
static bool neighbour_good(struct chord *chord, uint16_t index) {
    return index == NONE ||
           (peer_used(chord, index) && !id_equal(&peer_at(chord, index)->peer.id, &chord->self.id));
}

static const char *near_broken(struct chord *chord) {
    if (!neighbour_good(chord, chord->predecessor)) {
        return "the predecessor is self or not a known peer";
    }
    if (!neighbour_good(chord, chord->candidate)) {
        return "the candidate for rectify is self or not a known peer";
    }
    if (!in_ring(chord) && (chord->successors_count > 0 || chord->predecessor != NONE ||
                            chord->candidate != NONE || chord->query.kind != QUERY_NONE)) {
        return "a node that is no member has neighbours";
    }
    for (unsigned i = 0; i < CHORD_M_MAX; i++) {
        uint16_t finger = chord->fingers[i];
        if (finger != NONE && finger != FINGER_SELF && !peer_used(chord, finger)) {
            return "a finger is not a known peer";
        }
        if (finger != NONE && i >= chord->parameters.m) {
            return "there are more than M fingers";
        }
    }
    return NULL;
}

static const char *state_broken(const struct chord *chord) {
    if (chord->state > CHORD_STATE_LEFT) {
        return "the node's state has no name";
    }
    if (chord->state != CHORD_STATE_NONE && chord->self.incarnation == 0) {
        return "a started node has no incarnation";
    }
    if (in_ring(chord) && !id_valid(&chord->self.id, chord->parameters.m)) {
        return "a member's id is 2^M or more";
    }
    return NULL;
}

static const char *queries_broken(const struct chord *chord, const struct counts *counts) {
    const struct query *query = &chord->query;
    if (query->waiting && (query->kind == QUERY_NONE || counts->query_calls != 1)) {
        return "the maintenance query waits for no answer, or for two";
    }
    if (query->kind != QUERY_NONE && !query->waiting && query->retry_ms == 0) {
        return "the maintenance query is neither asked nor to be asked again";
    }
    if (query->busy_count > BUSY_MAX) {
        return "the maintenance query was Busy too often without an end";
    }
    if (chord->checking_predecessor != (counts->predecessor_calls == 1) ||
        counts->predecessor_calls > 1) {
        return "check_predecessor waits for no answer, or for two";
    }
    if (chord->finger_open != (counts->finger_lookups == 1) || counts->finger_lookups > 1) {
        return "fix_fingers waits for no lookup, or for two";
    }
    return counts->lookups != counts->lookup_calls ? "a lookup waits for no answer, or for two"
                                                   : NULL;
}

static const char *join_broken(const struct chord *chord, const struct counts *counts) {
    const struct join *join = &chord->join;
    if (join->stage == JOIN_IDLE) {
        return NULL;
    }
    if (chord->state != CHORD_STATE_JOINING) {
        return "a join goes on in a node that is not joining";
    }
    if (join->seeds_count > chord->config.limits.seeds_max || join->seed > join->seeds_count) {
        return "the join asks a seed that is not there";
    }
    if (!join->open) {
        return join->retry_ms == 0 ? "the join will never go on" : NULL;
    }
    if (join->stage == JOIN_LOOKUP || join->stage == JOIN_PROBE) {
        return counts->join_lookups == 0 ? "the join waits for no lookup" : NULL;
    }
    unsigned asked = join->stage == JOIN_PING ? bits_count(join->asking) : 1;
    return join->stage != JOIN_DERIVE && (asked == 0 || counts->join_calls != asked)
               ? "the join waits for no answer, or for two"
               : NULL;
}

static const char *genesis_broken(const struct chord *chord) {
    const struct genesis *genesis = &chord->genesis;
    if (!genesis->running) {
        return NULL;
    }
    if (!in_ring(chord)) {
        return "a genesis round runs in a node that is no member";
    }
    if (genesis->count < 2 || genesis->count > chord->config.limits.known_max ||
        genesis->answered >> genesis->count != 0) {
        return "a genesis round is beyond its list";
    }
    return NULL;
}

const char *neighbours_broken(struct chord *chord) {
    const char *broken = state_broken(chord);
    broken = broken != NULL ? broken : peers_broken(chord);
    broken = broken != NULL ? broken : successors_broken(chord);
    return broken != NULL ? broken : near_broken(chord);
}

const char *ring_broken(const struct chord *chord, const struct counts *counts) {
    const char *broken = queries_broken(chord, counts);
    broken = broken != NULL ? broken : join_broken(chord, counts);
    return broken != NULL ? broken : genesis_broken(chord);
}

/* SPDX-License-Identifier: MIT */
/*
 * The successor list and the predecessor. Lists are ordered clockwise from self, have no self and
 * no duplicates, and never wrap past self (Zave 2017, section 4).
 */
#include "data/for_ring.h"
#include "frame/hosts.h"
#include "ring.h"

const struct chord_peer *successor_at(struct chord *chord, uint16_t position) {
    return position < chord->successors_count ? &peer_at(chord, chord->successors[position])->peer
                                              : NULL;
}

const struct chord_peer *predecessor_get(struct chord *chord) {
    return chord->predecessor != NONE ? &peer_at(chord, chord->predecessor)->peer : NULL;
}

void successors_list(struct chord *chord, struct chord_peer_list *list) {
    list->count = chord->successors_count;
    for (uint16_t i = 0; i < chord->successors_count; i++) {
        list->items[i] = *successor_at(chord, i);
    }
}

static void append(struct chord *chord, struct chord_peer_list *list,
                   const struct chord_peer *peer) {
    const struct chord_id *last =
        list->count > 0 ? &list->items[list->count - 1].id : &chord->self.id;
    if (list->count < CHORD_SUCCESSORS_MAX && peer_valid(chord, peer) &&
        id_in_open(last, &peer->id, &chord->self.id)) {
        list->items[list->count++] = *peer;
    }
}

/* node/chord/README.md: Copies on different hosts. How many of the entries are kept: N, and as many
 * more as it takes until they are on REPLICAS hosts, at least two, or on all that they name. Self
 * does not count: when another host goes off, somebody of the list is left. */
static uint16_t kept(struct chord *chord, const struct chord_peer_list *list) {
    struct hosts hosts = {.count = 0};
    uint16_t wanted = (uint16_t)(chord->parameters.replicas > 2 ? chord->parameters.replicas : 2);
    uint16_t count = 0;
    for (uint16_t i = 0; i < list->count; i++) {
        bool another = hosts.count < wanted && hosts_add(&hosts, list->items[i].host_id);
        if (i < chord->parameters.n || (another && list->items[i].host_id != 0)) {
            count = (uint16_t)(i + 1);
        }
    }
    return count;
}

void successors_adopt(struct step *step, const struct chord_peer *first,
                      const struct chord_peer_list *rest) {
    struct chord *chord = step->chord;
    struct chord_peer_list list;
    list.count = 0;
    append(chord, &list, first);
    /* The first entry that is self or behind it ends the list: from there it has wrapped. */
    for (uint16_t i = 0; i < rest->count && list.count > 0; i++) {
        if (address_same(rest->items[i].address, chord->self.address) &&
            !id_equal(&rest->items[i].id, &chord->self.id)) {
            continue; /* a life of ours with another id, which is over */
        }
        uint16_t before = list.count;
        append(chord, &list, &rest->items[i]);
        if (list.count == before) {
            break;
        }
    }
    list.count = kept(chord, &list);
    bool changed = list.count != chord->successors_count;
    for (uint16_t i = 0; i < list.count && !changed; i++) {
        changed = !peer_same(&list.items[i], successor_at(chord, i));
    }
    if (!changed) {
        return;
    }
    chord->successors_count = 0;
    for (uint16_t i = 0; i < list.count; i++) {
        uint16_t index = peer_add(chord, &list.items[i]);
        if (index == NONE) {
            break;
        }
        chord->successors[chord->successors_count++] = index;
    }
    for (uint16_t i = 0; i + 1 < chord->successors_count; i++) {
        CHORD_ASSERT(id_in_open(&chord->self.id, &successor_at(chord, i)->id,
                                &successor_at(chord, (uint16_t)(i + 1))->id));
    }
    if (chord->successors_count >= chord->parameters.n && !chord->genesis.running) {
        /* N+1 members are in sight: genesis is over, also where its last list was lost on the way
         * or two rings have merged. */
        chord->serial_admission = false;
        chord->formed = true;
    }
    chord->fingers_fresh = false;
    chord->identity_ms = chord->now_ms + 1000;
    data_wake(chord);
    stabilize_soon(chord);
    if (chord->successors_count > 0) {
        trace_peer(step, CHORD_WORD_STABILIZE, CHORD_LEVEL_INFO, "successor list changed; first is",
                   successor_at(chord, 0));
    }
}

/* In genesis the authority's list is the newest there is, and every other one may be older: one
 * that lacks a member does not take it from us. The dead leave our list by their silence. */
void successors_unite(struct chord *chord, struct chord_peer_list *list) {
    for (uint16_t k = 1; k < chord->successors_count && list->count < CHORD_REPLICAS_MAX; k++) {
        const struct chord_peer *own = successor_at(chord, k);
        uint16_t at = 0;
        while (at < list->count && id_in_open(&chord->self.id, &list->items[at].id, &own->id)) {
            at++;
        }
        if (at == list->count || !id_equal(&list->items[at].id, &own->id)) {
            memmove(&list->items[at + 1], &list->items[at],
                    sizeof list->items[0] * (size_t)(list->count - at));
            list->items[at] = *own;
            list->count++;
        }
    }
}

void predecessor_set(struct step *step, const struct chord_peer *peer) {
    struct chord *chord = step->chord;
    uint16_t index = peer != NULL ? peer_add(chord, peer) : NONE;
    if (index == chord->predecessor) {
        return;
    }
    chord->predecessor = index;
    chord->predecessor_since_ms = chord->now_ms;
    chord->identity_ms = chord->now_ms + 1000;
    data_wake(chord);
    if (peer != NULL && index != NONE) {
        trace_peer(step, CHORD_WORD_RECTIFY, CHORD_LEVEL_INFO, "predecessor is now",
                   &peer_at(chord, index)->peer);
        check_predecessor_now(step); /* a connection to it, whose end will tell of its death */
    } else {
        trace_add(step, CHORD_WORD_RECTIFY, CHORD_LEVEL_INFO, "predecessor unknown");
    }
}

void neighbours_clear(struct chord *chord) {
    chord->successors_count = 0;
    chord->predecessor = NONE;
    chord->candidate = NONE;
    query_end(chord);
    chord->genesis.running = false;
    for (unsigned i = 0; i < CHORD_M_MAX; i++) {
        chord->fingers[i] = NONE;
    }
}

void ring_clear(struct chord *chord) {
    neighbours_clear(chord);
    graveyard_clear(chord);
    chord->serial_admission = false;
}

bool owns(struct chord *chord, const struct chord_id *id) {
    const struct chord_peer *predecessor = predecessor_get(chord);
    if (predecessor == NULL) {
        return chord->successors_count == 0;
    }
    return id_in_half_open(&predecessor->id, id, &chord->self.id);
}

/* How many members this node can tell there are: exact up to N+1, else N+1. */
uint32_t members_estimate(struct chord *chord) {
    if (!in_ring(chord)) {
        return 0;
    }
    uint32_t count = 1u + chord->successors_count;
    const struct chord_peer *predecessor = predecessor_get(chord);
    bool listed = predecessor == NULL;
    for (uint16_t i = 0; i < chord->successors_count && !listed; i++) {
        listed = chord->successors[i] == chord->predecessor;
    }
    return listed ? count : count + 1;
}

/* SPDX-License-Identifier: MIT */
/*
 * Where a new member stands. Ids by chance alone let one node of a small ring lead most keys (the
 * largest of n arcs is ln n times the mean). So a joiner looks at the arcs between the members, of
 * all in a small ring, at random points and beside them in a large one, and takes the salt whose id
 * halves a largest one (Kenthapadi and Manku 2005; Naor and Wieder 2003). The id stays verifiable:
 * it is hash(host:port#salt). Many joiners may look at once: whoever finds, at its lookup, that its
 * arc is not what it was chooses again.
 */
#include "join.h"

enum {
    ASKS_MAX = 32,      /* lists in a row: all of a ring of 96 with N=3 */
    ASKS_ESTIMATE = 3,  /* after so many the size can be told, */
    SMALL_RING = 160,   /* above this it is probed */
    PROBES = 12,        /* points, each with the list of the member there */
    CHOICES_STRICT = 8, /* so many times one of the best is wanted, */
    CHOICES_MAX = 40,   /* so many one that is half as good; then it is taken as it is */
    CHOICES_A_LOOK = 8, /* then all is looked at again */
    SALTS = 1 << 14,
};

/* ---- lengths: parts of the ring, which is WHOLE ---- */

#define WHOLE (UINT64_C(1) << 62)

/* The 62 bits below the m-th. */
static uint64_t length(const struct chord_id *from, const struct chord_id *to, unsigned m) {
    struct chord_id distance = id_distance(from, to, m);
    unsigned below = m > 62 ? m - 62 : 0;
    const uint8_t *last = &distance.bytes[CHORD_ID_BYTES - 1 - below / 8];
    uint64_t parts = 0;
    for (unsigned i = 0; i < 8; i++) {
        parts |= (uint64_t)last[-(int)i] << 8 * i;
    }
    parts >>= below % 8;
    if (below % 8 > 2) { /* they reach into a ninth byte */
        parts |= (uint64_t)last[-8] << (64 - below % 8);
    }
    parts <<= m < 62 ? 62 - m : 0;
    return parts == 0 && id_equal(from, to) ? WHOLE : parts;
}

static uint64_t arc_length(const struct chord_arc *arc, unsigned m) {
    return length(&arc->from, &arc->to, m);
}

/* The smaller of the two parts into which `id` cuts the arc. 0: it does not. */
static uint64_t smaller_part(const struct chord_arc *arc, const struct chord_id *id, unsigned m) {
    if (id_equal(id, &arc->from) || !id_in_open(&arc->from, id, &arc->to)) {
        return 0;
    }
    uint64_t before = length(&arc->from, id, m), behind = length(id, &arc->to, m);
    return before < behind ? before : behind;
}

static bool is_small_part(uint64_t part) {
    return part <= WHOLE / 1024;
}

bool chord_derive_id(const struct chord_wish *wish,
                     void (*hash)(void *context, uint32_t salt, struct chord_id *id), void *context,
                     uint32_t *salt, struct chord_id *id) {
    uint64_t best = 0, largest = 0;
    unsigned tries = wish->has_target ? CHORD_SALTS_MAX : wish->arcs_count > 0 ? SALTS : 1;
    for (uint16_t i = 0; i < wish->arcs_count; i++) {
        uint64_t whole = arc_length(&wish->arcs[i], wish->m);
        largest = whole > largest ? whole : largest;
    }
    /* A half, nearly; in a large ring few salts fall into an arc. */
    uint64_t enough = is_small_part(largest) ? largest / 16 * 7 : largest / 64 * 31;
    for (unsigned k = 0; k < tries; k++) {
        struct chord_id tried;
        hash(context, wish->salt_first + k, &tried);
        uint64_t part = wish->has_target && id_equal(&tried, &wish->target) ? WHOLE : 0;
        for (uint16_t i = 0; i < wish->arcs_count && !wish->has_target; i++) {
            uint64_t here = smaller_part(&wish->arcs[i], &tried, wish->m);
            part = here > part ? here : part;
        }
        if (k == 0 || part > best) {
            best = part;
            *salt = wish->salt_first + k;
            *id = tried;
        }
        if (best >= enough && best > 0) {
            break;
        }
    }
    return !wish->has_target || best > 0;
}

/* ---- the arcs that were seen ---- */

static void arc_take(struct place *place, uint16_t at) {
    place->arcs_count--;
    memmove(&place->arcs[at], &place->arcs[at + 1],
            sizeof place->arcs[0] * (size_t)(place->arcs_count - at));
}

static void arc_add(struct chord *chord, const struct chord_id *from, const struct chord_id *to) {
    struct place *place = &chord->join.place;
    unsigned m = chord->parameters.m;
    struct chord_arc arc = {*from, *to};
    uint64_t whole = arc_length(&arc, m);
    uint16_t at = 0;
    for (uint16_t i = 0; i < place->arcs_count; i++) { /* what was seen last is right */
        if (id_equal(&place->arcs[i].to, to)) {
            arc_take(place, i);
            break;
        }
    }
    while (at < place->arcs_count && arc_length(&place->arcs[at], m) >= whole) {
        at++;
    }
    if (at == CHORD_ARCS_MAX) {
        return;
    }
    uint16_t kept = place->arcs_count < CHORD_ARCS_MAX ? place->arcs_count : CHORD_ARCS_MAX - 1;
    memmove(&place->arcs[at + 1], &place->arcs[at], sizeof place->arcs[0] * (size_t)(kept - at));
    place->arcs[at] = arc;
    place->arcs_count = (uint16_t)(kept + 1);
}

/* Two members that stand next to each other: what was thought to lie there is no more. */
static void arc_found(struct chord *chord, const struct chord_id *from, const struct chord_id *to) {
    struct place *place = &chord->join.place;
    for (uint16_t i = 0; i < place->arcs_count; i++) {
        struct chord_arc arc = place->arcs[i];
        bool from_in = id_in_open(&arc.from, from, &arc.to);
        bool to_in = id_in_open(&arc.from, to, &arc.to);
        if (from_in || to_in || id_equal(&arc.from, from)) {
            arc_take(place, i);
            if (from_in) {
                arc_add(chord, &arc.from, from);
            }
            if (to_in) {
                arc_add(chord, to, &arc.to);
            }
            break;
        }
    }
    arc_add(chord, from, to);
}

/* ---- to look ---- */

static void ask(struct step *step, const struct chord_peer *peer) {
    step->chord->join.place.at = *peer;
    step->chord->join.stage = JOIN_LOOK;
    join_ask(step, peer, CHORD_GET_SUCCESSORS);
}

void place_look(struct step *step) {
    struct chord *chord = step->chord;
    struct place *place = &chord->join.place;
    place->arcs_count = 0;
    place->asks = place->seen = place->probes = 0;
    place->probing = false;
    place->first = place->last = chord->join.via.id;
    ask(step, &chord->join.via);
}

/* In a large ring any of those seen will do. */
static void choose_in(struct step *step, const struct chord_arc *arc) {
    struct chord *chord = step->chord;
    struct place *place = &chord->join.place;
    place->choices++;
    place->arc = *arc;
    place->one = !is_small_part(arc_length(arc, chord->parameters.m));
    free_id_derive(step);
}

/* Joiners that look at the same time should not all want the same arc. */
static void choose(struct step *step) {
    struct chord *chord = step->chord;
    const struct place *place = &chord->join.place;
    unsigned m = chord->parameters.m;
    uint16_t alike = 1;
    while (alike < place->arcs_count &&
           arc_length(&place->arcs[alike], m) >= arc_length(&place->arcs[0], m) / 4 * 3) {
        alike++;
    }
    choose_in(step, &place->arcs[random_between(chord, 0, alike - 1u)]);
}

static void probe(struct step *step) {
    struct chord *chord = step->chord;
    struct place *place = &chord->join.place;
    uint8_t hash[CHORD_ID_BYTES];
    if (place->probes++ == PROBES) {
        choose(step);
        return;
    }
    for (unsigned i = 0; i < CHORD_ID_BYTES; i++) {
        hash[i] = (uint8_t)random_between(chord, 0, UINT8_MAX);
    }
    struct chord_id point = id_from_hash(hash, chord->parameters.m);
    chord->join.stage = JOIN_PROBE;
    chord->join.open = true;
    if (!lookup_start(step, LOOKUP_JOIN, &point, &chord->join.via, NO_REF, 0,
                      chord->now_ms + LOOKUP_MS)) {
        join_later(chord, JOIN_PING, JOIN_RETRY_MS);
    }
}

void place_probed(struct step *step, bool found, const struct chord_peer *owner,
                  const struct chord_peer *before) {
    if (!found) {
        join_step_failed(step);
        return;
    }
    arc_found(step->chord, &before->id, &owner->id);
    step->chord->join.place.last = owner->id;
    ask(step, owner);
}

/* Whether the walk so far tells of more members than one would ask one after the other. */
static bool is_large(const struct chord *chord) {
    const struct place *place = &chord->join.place;
    uint64_t walked = length(&place->first, &place->last, chord->parameters.m);
    return place->asks >= ASKS_MAX ||
           (place->asks >= ASKS_ESTIMATE && walked / (place->seen + 1u) < WHOLE / SMALL_RING);
}

void place_look_reply(struct step *step, const struct chord_response *response) {
    struct chord *chord = step->chord;
    struct place *place = &chord->join.place;
    const struct chord_peer_list *list = &response->ring.successors;
    if (response->ring.busy) {
        join_later(chord, JOIN_LOOK, JOIN_BUSY_RETRY_MS);
        return;
    }
    bool round = list->count == 0;
    for (uint16_t i = 0; i < list->count && !round; i++) {
        const struct chord_id *id = &list->items[i].id;
        if (!peer_valid(chord, &list->items[i])) {
            join_step_failed(step);
            return;
        }
        round =
            !place->probing && place->seen > 0 && id_in_half_open(&place->last, &place->first, id);
        if (!round) {
            arc_found(chord, &place->last, id);
            place->last = *id;
            place->at = list->items[i];
            place->seen++;
        }
    }
    if (place->probing) {
        probe(step);
    } else if (round) {
        arc_found(chord, &place->last, &place->first);
        choose(step);
    } else if (++place->asks, is_large(chord)) {
        place->probing = true;
        probe(step);
    } else {
        ask(step, &place->at);
    }
}

/* ---- to choose ---- */

bool place_halves(const struct chord_arc *arc, const struct chord_id *id, unsigned m) {
    return smaller_part(arc, id, m) >= arc_length(arc, m) / 4;
}

/* Whether a part of this length is good enough. The more often others came first, the sooner. */
static bool will_do(struct chord *chord, uint64_t part) {
    const struct place *place = &chord->join.place;
    unsigned eighths = place->choices < CHOICES_STRICT ? 5 : place->choices < CHOICES_MAX ? 3 : 0;
    return part >= arc_length(&place->arcs[0], chord->parameters.m) / 16 * eighths;
}

bool place_found(struct step *step, const struct chord_peer *owner,
                 const struct chord_peer *before) {
    struct chord *chord = step->chord;
    unsigned m = chord->parameters.m;
    struct chord_arc arc = {before->id, owner->id};
    arc_found(chord, &before->id, &owner->id);
    if (will_do(chord, smaller_part(&arc, &chord->self.id, m))) {
        return true;
    }
    chord->salt++;
    if (will_do(chord, arc_length(&arc, m) / 2)) {
        choose_in(step, &arc);
    } else if (chord->join.place.choices % CHOICES_A_LOOK == 0) {
        place_look(step);
    } else {
        choose(step);
    }
    return false;
}

void place_taken(struct step *step) {
    step->chord->salt++;
    choose(step);
}

/* SPDX-License-Identifier: MIT */
/*
 * An id that nobody has: hash(host:port#salt) with the next salt after a collision; at small M,
 * after several, the middle of the largest gap that a walk round the ring saw.
 */
#include "join.h"

enum { WALKED_MAX = 1 << 16 };

void free_id_derive(struct step *step) {
    struct chord *chord = step->chord;
    struct chord_action *action = action_add(step, CHORD_ACTION_DERIVE_ID);
    action->derive_id.salt_first = chord->salt;
    action->derive_id.m = chord->parameters.m;
    action->derive_id.has_target = chord->join.has_target;
    action->derive_id.target = chord->join.target;
    const struct place *place = &chord->join.place;
    action->derive_id.arcs_count = place->one ? 1 : place->arcs_count;
    memcpy(action->derive_id.arcs, place->one ? &place->arc : place->arcs,
           sizeof place->arcs[0] * action->derive_id.arcs_count);
    chord->join.stage = JOIN_DERIVE;
    chord->join.open = true;
}

/* Another member has our id: another salt, or at small M a walk to a free id. */
void free_id_collision(struct step *step) {
    struct chord *chord = step->chord;
    struct join *join = &chord->join;
    struct chord_trace *trace =
        trace_add(step, CHORD_WORD_JOIN, CHORD_LEVEL_INFO, "the id is in use; taking another");
    trace->has_id = true;
    trace->id = chord->self.id;
    join->collisions++;
    join->has_target = false;
    if (join->collisions >= COLLISIONS_BEFORE_WALK && chord->parameters.m <= WALK_M_MAX) {
        join->walk_at = join->successor;
        join->walk_first = join->successor.id;
        join->walk_last = join->successor.id;
        memset(&join->gap, 0, sizeof join->gap);
        join->walk_whole = false;
        join->walked = 0;
        join_later(chord, JOIN_WALK, 0);
        return;
    }
    if (join->placing) {
        place_taken(step);
        return;
    }
    chord->salt++;
    free_id_derive(step);
}

static void walk_gap(struct chord *chord, const struct chord_id *from, const struct chord_id *to) {
    struct chord_id gap = id_distance(from, to, chord->parameters.m);
    if (id_compare(&gap, &chord->join.gap) > 0) {
        chord->join.gap = gap;
        chord->join.gap_from = *from;
    }
}

static struct chord_id gap_middle(const struct join *join, unsigned m) {
    struct chord_id from = join->walk_whole ? join->walk_first : join->gap_from;
    struct chord_id to = id_add(&from, &join->gap, m);
    return id_middle(&from, &to, m);
}

/* M is small here. */
static struct chord_id gap_anywhere(struct chord *chord) {
    const struct join *join = &chord->join;
    struct chord_id distance = {{0}};
    uint64_t at = random_between(chord, 1, id_word(&join->gap, CHORD_ID_BYTES - 4) - 1u);
    distance.bytes[CHORD_ID_BYTES - 2] = (uint8_t)(at >> 8);
    distance.bytes[CHORD_ID_BYTES - 1] = (uint8_t)at;
    return id_add(&join->gap_from, &distance, chord->parameters.m);
}

static void walk_end(struct step *step) {
    struct chord *chord = step->chord;
    struct join *join = &chord->join;
    struct chord_id zero = {{0}};
    struct chord_id one = id_add_power(&zero, 0, chord->parameters.m);
    if (!join->walk_whole && id_compare(&join->gap, &one) <= 0) {
        join_refuse(step, "the ring is full: every one of the 2^M ids is taken");
        return;
    }
    /* After a walk the middle was in use all the same, perhaps by one that is in no list. */
    bool again = !join->walk_whole && join->collisions > COLLISIONS_BEFORE_WALK;
    join->target = again ? gap_anywhere(chord) : gap_middle(join, chord->parameters.m);
    join->has_target = true;
    chord->salt = 0;
    free_id_derive(step);
}

void free_id_walk_reply(struct step *step, const struct chord_response *response) {
    struct chord *chord = step->chord;
    struct join *join = &chord->join;
    const struct chord_peer_list *list = &response->ring.successors;
    if (response->ring.busy) {
        join_later(chord, JOIN_WALK, JOIN_BUSY_RETRY_MS);
        return;
    }
    join->walk_whole = list->count == 0 && id_equal(&join->walk_first, &join->walk_last);
    for (uint16_t i = 0; i < list->count; i++) {
        const struct chord_id *id = &list->items[i].id;
        if (!peer_valid(chord, &list->items[i])) {
            join_step_failed(step);
            return;
        }
        if (id_in_half_open(&join->walk_last, &join->walk_first, id) &&
            !id_equal(&join->walk_last, &join->walk_first)) {
            walk_gap(chord, &join->walk_last, &join->walk_first);
            walk_end(step);
            return;
        }
        walk_gap(chord, &join->walk_last, id);
        join->walk_last = *id;
        join->walk_at = list->items[i];
    }
    if (list->count == 0) {
        walk_gap(chord, &join->walk_last, &join->walk_first);
        walk_end(step);
    } else if (++join->walked > WALKED_MAX) {
        join_later(chord, JOIN_PING, JOIN_ROUND_MS);
    } else {
        join_ask(step, &join->walk_at, CHORD_GET_SUCCESSORS);
    }
}

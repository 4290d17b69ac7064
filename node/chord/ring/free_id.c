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

static void walk_end(struct step *step) {
    struct chord *chord = step->chord;
    struct join *join = &chord->join;
    struct chord_id zero = {{0}};
    struct chord_id one = id_add_power(&zero, 0, chord->parameters.m);
    if (!join->walk_whole && id_compare(&join->gap, &one) <= 0) {
        join_refuse(step, "the ring is full: every one of the 2^M ids is taken");
        return;
    }
    struct chord_id from = join->walk_whole ? join->walk_first : join->gap_from;
    struct chord_id to = from;
    for (int i = CHORD_ID_BYTES - 1, carry = 0; i >= 0; i--) {
        carry += from.bytes[i] + join->gap.bytes[i];
        to.bytes[i] = (uint8_t)carry;
        carry >>= 8;
    }
    join->target = id_middle(&from, &to, chord->parameters.m);
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

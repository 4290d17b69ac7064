/* SPDX-License-Identifier: MIT */
/*
 * Leaving: hand every range over first, then be out of the ring. The leaver tells the leaders of
 * the ranges that it holds; it has left when no view names it and all its rows are confirmed
 * elsewhere. Where everybody leaves at once, nobody could take anything, so one stays.
 */
#include "data/for_ring.h"
#include "ring.h"

enum { LEAVE_TICK_MS = 100, REPEAT_MS = 1000, STAY_MS = 5000 };

void leave_tell(struct step *step, const char *address, bool left) {
    struct chord *chord = step->chord;
    struct chord_request *request;
    if (address_same(address, chord->self.address) ||
        call_start(step, CALL_LEAVE, NO_REF, NONE, address, chord->config.timing.silence_ms_max,
                   &request) == NONE) {
        return;
    }
    request->kind = CHORD_LEAVE;
    request->left = left;
}

static void tell_neighbours(struct step *step, bool left) {
    struct chord *chord = step->chord;
    const struct chord_peer *predecessor = predecessor_get(chord);
    if (predecessor != NULL) {
        leave_tell(step, predecessor->address, left);
    }
    for (uint16_t i = 0; i < chord->successors_count; i++) {
        if (predecessor == NULL || chord->successors[i] != chord->predecessor) {
            leave_tell(step, successor_at(chord, i)->address, left);
        }
    }
}

void leave_start(struct step *step) {
    struct chord *chord = step->chord;
    const struct chord_departure *leave = &step->event->leave;
    if (chord_leave_obstacle(chord, leave) != NULL) {
        return;
    }
    chord->next_ring = leave->next.ring;
    uint16_t seeds_max = chord->config.limits.seeds_max;
    chord->join.seeds_count =
        leave->next.seeds_count < seeds_max ? leave->next.seeds_count : seeds_max;
    memcpy(seed_at(chord, 0), leave->next.seeds,
           sizeof leave->next.seeds[0] * chord->join.seeds_count);
    if (chord->successors_count == 0) {
        last_leave(step);
        return;
    }
    chord->state = CHORD_STATE_LEAVING;
    chord->leave_ms = chord->now_ms;
    data_wake(chord);
    chord->leave_told_ms = 0;
    chord->stay_ms = chord->now_ms + STAY_MS;
    trace_peer(step, CHORD_WORD_LEAVE, CHORD_LEVEL_INFO, "handing over", &chord->self);
    identity_save(step, CHORD_STORE_IDENTITY);
}

static void leave_done(struct step *step) {
    struct chord *chord = step->chord;
    tell_neighbours(step, true);
    trace_peer(step, CHORD_WORD_LEFT, CHORD_LEVEL_INFO, "left the ring", &chord->self);
    chord->state = CHORD_STATE_LEFT;
    if (chord->next_ring.m != 0) {
        struct chord_entrance next = {.seeds_count = chord->join.seeds_count,
                                      .ring = chord->next_ring};
        memcpy(next.seeds, seed_at(chord, 0), sizeof next.seeds[0] * next.seeds_count);
        another_ring_join(step, &next);
        return;
    }
    identity_save(step, CHORD_STORE_IDENTITY);
    ring_clear(chord);
    action_add(step, CHORD_ACTION_LEFT);
}

static bool leaves_before(struct chord *chord, const struct chord_peer *peer) {
    return peer_leaving(chord, peer->store_id, peer->incarnation) &&
           id_compare(&chord->self.id, &peer->id) < 0;
}

/* All the neighbours are leaving, too, or there are none, and our id is the least. */
static bool all_leave_before(struct chord *chord) {
    const struct chord_peer *predecessor = predecessor_get(chord);
    bool before = predecessor == NULL || leaves_before(chord, predecessor);
    for (uint16_t i = 0; i < chord->successors_count && before; i++) {
        before = leaves_before(chord, successor_at(chord, i));
    }
    return before;
}

/* The others hand over to us once they no longer hear that we leave. */
static void stay(struct step *step) {
    struct chord *chord = step->chord;
    chord->state = CHORD_STATE_MEMBER;
    memset(&chord->next_ring, 0, sizeof chord->next_ring);
    data_wake(chord);
    trace_peer(step, CHORD_WORD_LEAVE, CHORD_LEVEL_WARN,
               "stays to keep the rows, as all neighbours leave too:", &chord->self);
    identity_save(step, CHORD_STORE_IDENTITY);
}

void leave_tick(struct step *step) {
    struct chord *chord = step->chord;
    if (chord->state != CHORD_STATE_LEAVING || chord->leave_ms > chord->now_ms) {
        return;
    }
    chord->leave_ms = chord->now_ms + LEAVE_TICK_MS;
    bool moves = chord->next_ring.m != 0;
    if (!data_held(chord) && !(moves && data_pulling(chord))) {
        leave_done(step);
        return;
    }
    if (!all_leave_before(chord)) {
        chord->stay_ms = chord->now_ms + STAY_MS;
    } else if (chord->stay_ms <= chord->now_ms) {
        stay(step);
        return;
    }
    if (chord->leave_told_ms > chord->now_ms) {
        return;
    }
    chord->leave_told_ms = chord->now_ms + REPEAT_MS;
    tell_neighbours(step, false);
    for (uint16_t i = 0; i < chord->ranges_end && action_room(step, 16); i++) {
        const char *leader = data_leader(chord, i);
        if (leader != NULL) {
            leave_tell(step, leader, false);
        }
    }
}

void on_leave(struct step *step, const struct chord_request *request, uint64_t request_id) {
    struct chord *chord = step->chord;
    if (request->left) {
        peer_left(step, &request->sender);
    } else {
        peer_set_leaving(chord, &request->sender);
        data_wake(chord);
    }
    reply_add(step, request_id, CHORD_LEAVE);
}

/* SPDX-License-Identifier: MIT */
/*
 * The finger table (Stoica et al. 2001, section 4.3) and fix_fingers (section 5).
 */
#include "ring.h"

enum {
    UNKNOWN_MS = 25,   /* until the next finger, when that is not known */
    CHANGED_PARTS = 4, /* of the period, while sweeps still find changes */
};

void fingers_forget(struct chord *chord, uint16_t peer) {
    for (unsigned i = 0; i < CHORD_M_MAX; i++) {
        if (chord->fingers[i] == peer) {
            chord->fingers[i] = NONE;
            chord->fingers_fresh = false;
        }
    }
}

const struct chord_peer *finger_get(struct chord *chord, unsigned finger) {
    uint16_t peer = chord->fingers[finger];
    return peer != NONE && peer != FINGER_SELF ? &peer_at(chord, peer)->peer : NULL;
}

static struct chord_id finger_start(struct chord *chord, unsigned finger) {
    return id_add_power(&chord->self.id, finger, chord->parameters.m);
}

static void finger_set(struct chord *chord, unsigned finger, uint16_t peer) {
    if (chord->fingers[finger] != peer) {
        chord->fingers[finger] = peer;
        chord->finger_changed = true;
    }
}

static void sweep_end(struct chord *chord) {
    chord->finger_next = (uint16_t)(chord->parameters.m - 1);
    chord->fingers_fresh = !chord->finger_changed;
    chord->finger_changed = false;
}

/* What is not known yet is looked up at once; what is may be outdated and is still of use. */
static uint64_t fix_fingers_pause(struct chord *chord) {
    if (chord->fingers[chord->finger_next] == NONE) {
        return UNKNOWN_MS;
    }
    uint32_t period_ms = chord->config.timing.fix_fingers_period_ms;
    return jitter(chord, chord->fingers_fresh ? period_ms : period_ms / CHANGED_PARTS);
}

/* One lookup serves every lower finger whose start the same owner covers. */
void finger_found(struct step *step, uint16_t finger, const struct chord_peer *owner,
                  const struct chord_peer *before) {
    struct chord *chord = step->chord;
    if (finger >= chord->parameters.m) {
        return;
    }
    uint16_t peer = peer_same(owner, &chord->self) ? FINGER_SELF : peer_add(chord, owner);
    int next = finger;
    struct chord_id start = finger_start(chord, finger);
    do {
        finger_set(chord, (unsigned)next, peer);
        next--;
        if (next >= 0) {
            start = finger_start(chord, (unsigned)next);
        }
    } while (next >= 0 && id_in_half_open(&before->id, &start, &owner->id) &&
             !id_equal(&before->id, &owner->id));
    if (next < 0) {
        sweep_end(chord);
    } else {
        chord->finger_next = (uint16_t)next;
    }
    chord->fix_fingers_ms = chord->now_ms + fix_fingers_pause(chord);
}

void fix_fingers_tick(struct step *step) {
    struct chord *chord = step->chord;
    if (!in_ring(chord) || chord->fix_fingers_ms > chord->now_ms) {
        return;
    }
    chord->fix_fingers_ms =
        chord->now_ms + jitter(chord, chord->config.timing.fix_fingers_period_ms);
    if (chord->finger_open) {
        return;
    }
    if (chord->finger_next >= chord->parameters.m) {
        chord->finger_next = (uint16_t)(chord->parameters.m - 1);
    }
    const struct chord_peer *successor = successor_at(chord, 0);
    struct chord_id start = finger_start(chord, chord->finger_next);
    if (successor == NULL || id_in_half_open(&chord->self.id, &start, &successor->id)) {
        uint16_t peer = successor == NULL ? FINGER_SELF : chord->successors[0];
        for (int i = chord->finger_next; i >= 0; i--) {
            finger_set(chord, (unsigned)i, peer);
        }
        sweep_end(chord);
        chord->fix_fingers_ms = chord->now_ms + fix_fingers_pause(chord);
        return;
    }
    /* The present finger knows best whether it still owns the start: one question instead of a
     * whole lookup, where nothing has changed. */
    const struct chord_peer *present = finger_get(chord, chord->finger_next);
    if (present != NULL && !peer_healthy(chord, chord->fingers[chord->finger_next])) {
        present = NULL;
    }
    chord->finger_open = true;
    if (!lookup_start(step, LOOKUP_FINGER, &start, present,
                      (struct ref){.slot = chord->finger_next}, 0, chord->now_ms + LOOKUP_MS)) {
        chord->finger_open = false;
    }
}

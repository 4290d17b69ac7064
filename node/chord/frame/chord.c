/* SPDX-License-Identifier: MIT */
/*
 * The front of the core: one step, the next deadline, and what the files of a step share.
 */
#include "data/data.h"
#include "ring/ring.h"

const struct chord_timing chord_timing_default = {
    .stabilize_period_ms = 300,
    .fix_fingers_period_ms = 500,
    .check_predecessor_period_ms = 500,
    .silence_ms_min = 350,
    .silence_ms_max = 2000,
    .range_period_ms = 200,
    .graveyard_period_ms = 5000,
    .forget_period_ms = 60000,
    .compare_period_ms = 60000,
    .data_timeout_ms = 4000,
};

/* ---- small services ---- */

/* Whether the step has room for so many more actions. */
bool action_room(const struct step *step, unsigned count) {
    return step->actions->count + count <= CHORD_ACTIONS_MAX;
}

struct chord_action *action_add(struct step *step, enum chord_action_kind kind) {
    CHORD_ASSERT(step->actions->count < CHORD_ACTIONS_MAX);
    struct chord_action *action = &step->actions->items[step->actions->count++];
    action->kind = kind;
    return action;
}

uint32_t serial_new(struct chord *chord) {
    chord->serial_last++;
    if (chord->serial_last == 0) {
        chord->serial_last = 1;
    }
    return chord->serial_last;
}

/* splitmix64 (Steele, Lea, Flood 2014). */
uint64_t random_next(struct chord *chord) {
    uint64_t z = chord->random += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

uint64_t random_between(struct chord *chord, uint64_t low, uint64_t high) {
    CHORD_ASSERT(low <= high);
    return low + random_next(chord) % (high - low + 1);
}

uint64_t jitter(struct chord *chord, uint64_t period_ms) {
    return random_between(chord, period_ms - period_ms / 4, period_ms + period_ms / 4);
}

unsigned bits_count(uint64_t bits) {
    unsigned count = 0;
    for (; bits != 0; bits &= bits - 1) {
        count++;
    }
    return count;
}

static void known_add(struct chord_identity *identity, uint16_t known_max,
                      const struct chord_peer *peer) {
    for (uint16_t i = 0; i < identity->known_count; i++) {
        if (address_same(identity->known[i].address, peer->address)) {
            return;
        }
    }
    if (identity->known_count < known_max) {
        identity->known[identity->known_count++] = *peer;
    }
}

/* What the store keeps for the next start. The known members are only replaced by a list that has
 * some: a node that ends alone must still find the ring it was in. */
void identity_save(struct step *step, enum chord_store_kind kind) {
    struct chord *chord = step->chord;
    struct chord_action *action = action_add(step, CHORD_ACTION_STORE);
    action->store.store_op = 0;
    action->store.kind = kind;
    struct chord_identity *identity = &action->store.identity;
    memset(identity, 0, sizeof *identity);
    identity->incarnation = chord->self.incarnation;
    identity->salt = chord->salt;
    identity->id = chord->self.id;
    identity->parameters = chord->parameters;
    identity->formed = chord->formed;
    bool left = chord->state == CHORD_STATE_LEFT || chord->state == CHORD_STATE_LEAVING;
    identity->left = chord->left_last ? CHORD_LEFT_LAST : left ? CHORD_HAS_LEFT : CHORD_NOT_LEFT;
    const struct chord_peer *predecessor = predecessor_get(chord);
    uint16_t known_max = chord->config.limits.known_max;
    if (predecessor != NULL) {
        known_add(identity, known_max, predecessor);
    }
    for (uint16_t i = 0; i < chord->successors_count; i++) {
        known_add(identity, known_max, successor_at(chord, i));
    }
    for (unsigned i = 0; i < chord->parameters.m; i++) {
        if (finger_get(chord, i) != NULL) {
            known_add(identity, known_max, finger_get(chord, i));
        }
    }
    if (identity->known_count == 0) {
        identity->known_count = chord->known_count;
        memcpy(identity->known, known_at(chord, 0), sizeof identity->known[0] * chord->known_count);
    } else {
        chord->known_count = identity->known_count;
        memcpy(known_at(chord, 0), identity->known, sizeof identity->known[0] * chord->known_count);
    }
    chord->identity_ms = 0;
}

/* ---- the step ---- */

static void tick(struct step *step) {
    join_tick(step);
    stabilize_tick(step);
    check_predecessor_tick(step);
    fix_fingers_tick(step);
    leave_tick(step);
    batches_tick(step);
    decisions_tick(step);
    ranges_tick(step);
    transfers_tick(step);
    graveyard_tick(step);
    struct chord *chord = step->chord;
    if (chord->identity_ms != 0 && chord->identity_ms <= chord->now_ms && action_room(step, 8)) {
        identity_save(step, CHORD_STORE_IDENTITY);
    }
}

void chord_step(struct chord *chord, const struct chord_event *event,
                struct chord_actions *actions) {
    struct step step = {chord, actions, event};
    actions->count = 0;
    actions->traces_count = 0;
    actions->traces_dropped = 0;
    if (event->now_ms > chord->now_ms) {
        chord->now_ms = event->now_ms;
    }
    switch (event->kind) {
    case CHORD_EVENT_START:
        join_start(&step);
        break;
    case CHORD_EVENT_REQUEST:
        request_arrived(&step);
        break;
    case CHORD_EVENT_REPLY:
        calls_reply(&step);
        break;
    case CHORD_EVENT_FAILURE:
        calls_failure(&step);
        break;
    case CHORD_EVENT_DISCONNECTED:
        peer_disconnected(&step, event->disconnected.text);
        break;
    case CHORD_EVENT_TICK:
        tick(&step);
        break;
    case CHORD_EVENT_STORED:
        stores_done(&step);
        break;
    case CHORD_EVENT_ID_DERIVED:
        join_derived(&step);
        break;
    case CHORD_EVENT_JOIN:
        join_start(&step);
        break;
    case CHORD_EVENT_RECOVER:
        recover_start(&step, &event->recover);
        break;
    case CHORD_EVENT_DAMAGED:
        repair_damaged(&step, &event->damaged);
        break;
    case CHORD_EVENT_LEAVE:
        leave_start(&step);
        break;
    }
}

uint64_t chord_deadline(const struct chord *chord) {
    uint64_t deadline = UINT64_MAX;
    sooner(&deadline,
           chord->join.stage != JOIN_IDLE && !chord->join.open ? chord->join.retry_ms : 0);
    if (in_ring(chord)) {
        bool query_open = chord->query.kind != QUERY_NONE;
        sooner(&deadline, query_open ? chord->query.retry_ms : chord->stabilize_ms);
        sooner(&deadline, chord->fix_fingers_ms);
        sooner(&deadline, chord->check_predecessor_ms);
        sooner(&deadline, chord->graveyard_ms);
    }
    if (chord->state == CHORD_STATE_LEAVING) {
        sooner(&deadline, chord->leave_ms);
    }
    sooner(&deadline, chord->ranges_ms);
    sooner(&deadline, chord->decisions_ms);
    sooner(&deadline, chord->batches_ms);
    sooner(&deadline, chord->transfers_ms);
    sooner(&deadline, chord->identity_ms);
    return deadline;
}

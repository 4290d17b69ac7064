/* SPDX-License-Identifier: MIT */
/*
 * The nodes that a joiner asks for the ring: the members that it knows from before, those of its
 * views, the seeds that it was given; and what it does when none of these is a member (the restart
 * of a whole ring).
 */
#include "data/for_ring.h"
#include "join.h"

enum {
    ROUNDS_BEFORE_RECREATE = 2,
    SILENCE_MS = 3000,   /* how long a known member that is silent is waited for */
    PATIENCE_MS = 20000, /* the same for a node with a lower id that answers but does not act */
    SEEDS_AT_ONCE = 8,
};

void seeds_add(struct chord *chord, const char *address) {
    struct join *join = &chord->join;
    for (uint16_t i = 0; i < join->seeds_count; i++) {
        if (address_same(seed_at(chord, i)->text, address)) {
            return;
        }
    }
    if (join->seeds_count < chord->config.limits.seeds_max && address[0] != '\0' &&
        !address_same(address, chord->self.address)) {
        memcpy(seed_at(chord, join->seeds_count++)->text, address, CHORD_ADDRESS_BYTES);
    }
}

/* Where our store had its seats: should it still run there, this disk is a copy. */
void seeds_add_former(struct chord *chord) {
    for (uint16_t i = 0; i < chord->config.former_count; i++) {
        seeds_add(chord, chord->config.former[i].text);
    }
}

/* The members known from before, and those of our views, which were near us on the ring. */
void seeds_add_known(struct chord *chord) {
    for (uint16_t i = 0; i < chord->known_count; i++) {
        seeds_add(chord, known_at(chord, i)->address);
    }
    data_members(chord, seeds_add);
}

static bool parameters_agree(const struct chord_parameters *wanted,
                             const struct chord_parameters *have) {
    return (wanted->m == 0 || wanted->m == have->m) && (wanted->n == 0 || wanted->n == have->n) &&
           (wanted->replicas == 0 || wanted->replicas == have->replicas);
}

/* What a ring was created with never changes. */
static bool parameters_same(const struct chord_parameters *a, const struct chord_parameters *b) {
    return memcmp(a->ring_id, b->ring_id, CHORD_RING_ID_BYTES) == 0 && a->m == b->m &&
           a->n == b->n && a->replicas == b->replicas;
}

static bool parameters_valid(const struct chord_parameters *parameters) {
    return parameters->m >= CHORD_M_MIN && parameters->m <= CHORD_M_MAX && parameters->n >= 1 &&
           parameters->n <= CHORD_SUCCESSORS_MAX && parameters->replicas >= 1 &&
           parameters->replicas <= parameters->n + 1;
}

/* No node is a member: once a majority of the members known last answers, the one with the lowest
 * id makes the ring again. Data is safe meanwhile, only views decide. */
static void round_end(struct step *step) {
    struct chord *chord = step->chord;
    struct join *join = &chord->join;
    bool all = bits_count(join->answered) == join->seeds_count;
    bool majority = bits_count(join->known_answered) + 1 > (chord->known_count + 1u) / 2;
    bool waited = chord->now_ms > join->started_ms + SILENCE_MS;
    bool lowest = chord->now_ms > join->lower_ms + SILENCE_MS || join->lower_ms == 0 ||
                  chord->now_ms > join->started_ms + PATIENCE_MS;
    majority = majority && (all || waited);
    join->rounds++;
    if (join->restarting && majority && lowest && join->rounds >= ROUNDS_BEFORE_RECREATE) {
        genesis_create(step, false);
        return;
    }
    if (join->rounds % 20 == 0) {
        trace_add(step, CHORD_WORD_JOIN, CHORD_LEVEL_WARN, "no member of a ring answers yet")
            ->count = join->seeds_count;
    }
    join->seed = 0;
    join->asking = 0;
    join->answered = join->known_answered = 0;
    join_later(chord, JOIN_PING, JOIN_ROUND_MS);
}

/* A member known from before asks us, perhaps from a new address: we ask it there as well. */
void join_heard(struct chord *chord, const struct chord_peer *sender) {
    for (uint16_t i = 0; i < chord->known_count && chord->state == CHORD_STATE_JOINING; i++) {
        if (store_same(known_at(chord, i)->store_id, sender->store_id)) {
            seeds_add(chord, sender->address);
        }
    }
}

/* Members known from before are told by their store: one may run at another address now. */
static void known_answers(struct chord *chord, const struct chord_peer *peer, uint16_t seed) {
    const char *asked = seed_at(chord, seed)->text;
    static const uint8_t any[CHORD_STORE_ID_BYTES];
    for (uint16_t i = 0; i < chord->known_count; i++) {
        struct chord_peer *known = known_at(chord, i);
        bool named = !store_same(known->store_id, any);
        if (named ? store_same(known->store_id, peer->store_id)
                  : address_same(known->address, asked)) {
            chord->join.known_answered |= bit(i);
        }
    }
}

/* A returning member asks several nodes at a time: many may be gone, and each of these costs a
 * timeout. */
void seeds_ask(struct step *step) {
    struct chord *chord = step->chord;
    struct join *join = &chord->join;
    unsigned window = join->returning ? SEEDS_AT_ONCE : 1;
    join->serial = join->asking == 0 ? serial_new(chord) : join->serial;
    while (join->seed < join->seeds_count && bits_count(join->asking) < window) {
        struct chord_request *request;
        if (call_start(step, CALL_JOIN, (struct ref){join->seed, join->serial}, NONE,
                       seed_at(chord, join->seed)->text, chord->config.timing.silence_ms_max,
                       &request) == NONE) {
            break;
        }
        request->kind = CHORD_PING;
        join->asking |= bit(join->seed++);
    }
    join->open = join->asking != 0;
    if (!join->open && join->seed < join->seeds_count) {
        join_later(chord, JOIN_PING, JOIN_RETRY_MS);
    } else if (!join->open) {
        round_end(step);
    }
}

void seeds_one_done(struct step *step, uint16_t seed) {
    step->chord->join.asking &= ~bit(seed);
    seeds_ask(step);
}

/* One of the nodes asked is a member: the answers of the others are ignored. */
static void seeds_all_done(struct chord *chord) {
    chord->join.asking = 0;
    chord->join.serial = serial_new(chord);
}

void seeds_reply(struct step *step, uint16_t seed, const struct chord_response *response) {
    struct chord *chord = step->chord;
    const struct chord_parameters *parameters = &response->ping.parameters;
    bool ours = chord->parameters.m == 0 || parameters_same(parameters, &chord->parameters);
    if (store_same(response->ping.self.store_id, chord->self.store_id)) {
        if (address_same(response->ping.self.address, chord->self.address)) {
            seeds_one_done(step, seed); /* the seed is this node, under another name */
        } else {
            copy_refused(step, seed_at(chord, seed)->text);
        }
        return;
    }
    if (!ours || !parameters_valid(parameters)) {
        seeds_one_done(step, seed);
        return;
    }
    if (response->ping.state != CHORD_STATE_MEMBER) {
        bool lower =
            response->ping.restarting && id_compare(&response->ping.self.id, &chord->self.id) < 0;
        if (response->ping.state == CHORD_STATE_JOINING) {
            chord->join.answered |= bit(seed);
            known_answers(chord, &response->ping.self, seed);
            chord->join.lower_ms = lower ? chord->now_ms : chord->join.lower_ms;
        }
        seeds_one_done(step, seed);
        return;
    }
    if (!parameters_agree(&chord->wanted, parameters)) {
        chord->parameters = *parameters;
        join_refuse(step, "the ring's M, N or REPLICAS differ from the values given here");
        return;
    }
    if (!peer_valid(chord, &response->ping.self)) {
        seeds_one_done(step, seed);
        return;
    }
    bool known = chord->parameters.m != 0;
    seeds_all_done(chord);
    chord->parameters = *parameters;
    chord->join.via = response->ping.self;
    if (chord->join.placing) {
        place_look(step);
    } else if (known && chord->join.collisions == 0) {
        join_look_up(step);
    } else {
        free_id_derive(step);
    }
}

/* SPDX-License-Identifier: MIT */
/*
 * Joining: find the place, be admitted by the successor there, start with its list (Zave 2017,
 * join: J1 to J3). A failed step clears everything and begins again; nothing is half joined.
 * Also the return of a node, alone or with its whole ring, and the choice of an id at small M.
 */
#include "data.h"
#include "ring.h"

enum {
    ROUND_MS = 250, /* between two rounds over all seeds */
    RETRY_MS = 150, /* after a step that failed */
    BUSY_RETRY_MS = 4,
    ROUNDS_BEFORE_RECREATE = 2,
    SILENCE_MS = 3000,   /* so long a silent member that was known is waited for */
    PATIENCE_MS = 20000, /* so long one with a lower id that answers, but does not act */
    WAIT_MS_MAX = 5000,  /* longer than that nobody can make a joiner wait */
    WALKED_MAX = 1 << 16,
    UNREACHABLE_MAX = 3,
    SEEDS_AT_ONCE = 8,
};

static void join_later(struct chord *chord, enum join_stage stage, uint64_t delay_ms) {
    chord->join.stage = stage;
    chord->join.open = false;
    chord->join.retry_ms = chord->now_ms + (delay_ms > 0 ? jitter(chord, delay_ms) : 0);
}

static void seed_add(struct chord *chord, const char *address) {
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
static void seed_former(struct chord *chord) {
    for (uint16_t i = 0; i < chord->config.former_count; i++) {
        seed_add(chord, chord->config.former[i].text);
    }
}

/* The members of our views were near us on the ring: they are stored at each decision. */
static void seed_members(struct chord *chord) {
    for (uint16_t i = 0; i < chord->ranges_end; i++) {
        const struct range *range = range_at(chord, i);
        for (uint16_t k = 0; range->used && !range->gone && k < range->view.members_count; k++) {
            seed_add(chord, range->view.members[k].address);
        }
    }
}

static void derive(struct step *step) {
    struct chord *chord = step->chord;
    struct chord_action *action = action_add(step, CHORD_ACTION_DERIVE_ID);
    action->derive_id.salt_first = chord->salt;
    action->derive_id.m = chord->parameters.m;
    action->derive_id.has_target = chord->join.has_target;
    action->derive_id.target = chord->join.target;
    chord->join.stage = JOIN_DERIVE;
    chord->join.open = true;
}

static struct chord_action *refuse(struct step *step, const char *reason) {
    struct chord_action *action = action_add(step, CHORD_ACTION_REFUSED);
    memset(&action->refused, 0, sizeof action->refused);
    action->refused.reason = reason;
    step->chord->join.stage = JOIN_IDLE;
    trace_add(step, CHORD_WORD_REFUSED, CHORD_LEVEL_WARN, reason);
    return action;
}

void copy_refused(struct step *step, const char *address) {
    struct chord_action *action = refuse(step, "this store runs elsewhere: this one is a copy");
    action->refused.copy = true;
    memcpy(action->refused.address, address, CHORD_ADDRESS_BYTES);
}

/* The first start of this process: who we were, and whom to ask. */
static void load(struct step *step) {
    struct chord *chord = step->chord;
    const struct chord_event *event = step->event;
    const struct chord_identity *stored = &event->start.stored;
    chord->left_before = stored->left;
    chord->known_count = stored->known_count < chord->config.limits.known_max
                             ? stored->known_count
                             : chord->config.limits.known_max;
    memcpy(known_at(chord, 0), stored->known, sizeof stored->known[0] * chord->known_count);
    chord->wanted = event->start.wanted;
    chord->create = event->start.create;
    chord->self.incarnation = stored->incarnation;
    chord->parameters = stored->parameters;
    chord->salt = stored->salt;
    chord->self.id = stored->id;
    chord->formed = stored->formed;
    chord->left_last = stored->left == CHORD_LEFT_LAST;
    chord->ranges_ms = chord->now_ms;
}

/* Begins to ask: the members known from before, then `seeds`. */
void join_begin(struct step *step, const struct chord_address *seeds, uint16_t count) {
    struct chord *chord = step->chord;
    struct join *join = &chord->join;
    bool known = chord->parameters.m != 0;
    memset(join, 0, sizeof *join);
    join->returning = known;
    seed_former(chord);
    for (uint16_t i = 0; known && i < chord->known_count; i++) {
        seed_add(chord, known_at(chord, i)->address);
    }
    seed_members(chord);
    for (uint16_t i = 0; i < count && i < CHORD_SEEDS_MAX; i++) {
        seed_add(chord, seeds[i].text);
    }
    chord->state = CHORD_STATE_JOINING;
    join->started_ms = chord->now_ms;
    join_later(chord, JOIN_PING, 0);
    trace_add(step, CHORD_WORD_JOIN, CHORD_LEVEL_INFO, known ? "returning to the ring" : "joining")
        ->count = join->seeds_count;
}

static void start(struct step *step) {
    struct chord *chord = step->chord;
    const struct chord_event *event = step->event;
    load(step);
    if (chord->left_last) {
        chord->state = CHORD_STATE_LEFT;
        trace_peer(step, CHORD_WORD_LEFT, CHORD_LEVEL_INFO,
                   "left before as the last member; join brings it back", &chord->self);
        action_add(step, CHORD_ACTION_LEFT);
        return;
    }
    bool was_member = chord->parameters.m != 0;
    chord->self.incarnation++;
    join_begin(step, event->start.seeds, event->start.seeds_count);
    chord->join.restarting = was_member && chord->left_before == CHORD_NOT_LEFT;
    if (was_member) {
        identity_save(step, CHORD_STORE_IDENTITY);
    } else if (chord->create && chord->join.seeds_count == 0) {
        chord->join.creating = true;
        chord->parameters = chord->wanted;
        derive(step);
    }
}

/* START, or JOIN of a node that has left. */
void join_start(struct step *step) {
    struct chord *chord = step->chord;
    const struct chord_entrance *entrance = &step->event->join;
    if (step->event->kind == CHORD_EVENT_START) {
        start(step);
    } else if (chord_join_obstacle(chord, entrance) != NULL) {
        return;
    } else if (another_ring(chord, &entrance->ring)) {
        another_ring_join(step, entrance);
    } else if (chord->left_last) {
        last_return(step);
    } else {
        chord->self.incarnation++;
        join_begin(step, entrance->seeds, entrance->seeds_count);
        identity_save(step, CHORD_STORE_IDENTITY);
    }
}

/* A member that finds another one with its id in the ring was admitted there twice: it comes again
 * as a new member with the next salt. What it holds is not touched, only views decide. The other
 * one may do the same at the same time, so each asks its former neighbours too. */
void join_again(struct step *step, const struct chord_peer *via) {
    struct chord *chord = step->chord;
    memset(&chord->join, 0, sizeof chord->join);
    seed_add(chord, via->address);
    for (uint16_t i = 0; i < chord->successors_count; i++) {
        seed_add(chord, successor_at(chord, i)->address);
    }
    for (uint16_t i = 0; i < chord->known_count; i++) {
        seed_add(chord, known_at(chord, i)->address);
    }
    seed_members(chord);
    trace_peer(step, CHORD_WORD_JOIN, CHORD_LEVEL_WARN,
               "another member has the same id; joining anew", via);
    chord->self.incarnation++;
    chord->state = CHORD_STATE_JOINING;
    chord->salt++;
    chord->join.collisions = 1;
    chord->join.started_ms = chord->now_ms;
    neighbours_clear(chord);
    join_later(chord, JOIN_PING, 0);
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

/* ---- the steps ---- */

static void step_failed(struct step *step) {
    struct join *join = &step->chord->join;
    join->open = false;
    join->seed = 0;
    join->asking = 0;
    join_later(step->chord, JOIN_PING, RETRY_MS);
}

static uint16_t ask(struct step *step, const struct chord_peer *peer,
                    enum chord_message_kind kind) {
    struct chord *chord = step->chord;
    struct chord_request *request;
    uint32_t timeout_ms = chord->config.timing.silence_ms_max;
    uint16_t slot = call_start(step, CALL_JOIN, NONE, 0, NONE, peer->address, timeout_ms, &request);
    chord->join.open = slot != NONE;
    if (slot == NONE) {
        join_later(chord, chord->join.stage, RETRY_MS);
        return NONE;
    }
    request->kind = kind;
    call_target(request, peer);
    chord->join.serial = serial_new(chord);
    call_at(chord, slot)->serial = chord->join.serial;
    return slot;
}

static void look_up(struct step *step) {
    struct chord *chord = step->chord;
    chord->join.stage = JOIN_LOOKUP;
    chord->join.open = true;
    if (!lookup_start(step, LOOKUP_JOIN, &chord->self.id, &chord->join.via, NONE, 0, 0,
                      chord->now_ms + 10000)) {
        join_later(chord, JOIN_PING, RETRY_MS);
    }
}

/* Nobody is a member: once a majority of the members known last answers, the lowest id makes the
 * ring again. Data is safe meanwhile, only views decide. */
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
    join_later(chord, JOIN_PING, ROUND_MS);
}

/* One known from before asks us, maybe from another address than we know: it is worth asking too.
 */
void join_heard(struct chord *chord, const struct chord_peer *sender) {
    for (uint16_t i = 0; i < chord->known_count && chord->state == CHORD_STATE_JOINING; i++) {
        if (memcmp(known_at(chord, i)->store_id, sender->store_id, CHORD_STORE_ID_BYTES) == 0) {
            seed_add(chord, sender->address);
        }
    }
}

/* A member known from before is one by its store: it may run at another address now. */
static void known_answers(struct chord *chord, const struct chord_peer *peer, uint16_t seed) {
    const char *asked = seed_at(chord, seed)->text;
    static const uint8_t any[CHORD_STORE_ID_BYTES];
    for (uint16_t i = 0; i < chord->known_count; i++) {
        struct chord_peer *known = known_at(chord, i);
        bool named = memcmp(known->store_id, any, sizeof any) != 0;
        if (named ? memcmp(known->store_id, peer->store_id, sizeof any) == 0
                  : address_same(known->address, asked)) {
            chord->join.known_answered |= 1ull << i;
        }
    }
}

/* Who comes back asks several at a time: many may be gone, and each of these costs a timeout. */
static void ask_seeds(struct step *step) {
    struct chord *chord = step->chord;
    struct join *join = &chord->join;
    unsigned window = join->returning ? SEEDS_AT_ONCE : 1;
    join->serial = join->asking == 0 ? serial_new(chord) : join->serial;
    while (join->seed < join->seeds_count && bits_count(join->asking) < window) {
        struct chord_request *request;
        if (call_start(step, CALL_JOIN, join->seed, join->serial, NONE,
                       seed_at(chord, join->seed)->text, chord->config.timing.silence_ms_max,
                       &request) == NONE) {
            break;
        }
        request->kind = CHORD_PING;
        join->asking |= 1ull << join->seed++;
    }
    join->open = join->asking != 0;
    if (!join->open && join->seed < join->seeds_count) {
        join_later(chord, JOIN_PING, RETRY_MS);
    } else if (!join->open) {
        round_end(step);
    }
}

static void seed_done(struct step *step, uint16_t seed) {
    step->chord->join.asking &= ~(1ull << seed);
    ask_seeds(step);
}

/* One of those asked is a member: the answers of the others are nobody's. */
static void seeds_done(struct chord *chord) {
    chord->join.asking = 0;
    chord->join.serial = serial_new(chord);
}

static void on_seed_reply(struct step *step, uint16_t seed, const struct chord_response *response) {
    struct chord *chord = step->chord;
    const struct chord_parameters *parameters = &response->ping.parameters;
    bool ours = chord->parameters.m == 0 || parameters_same(parameters, &chord->parameters);
    if (memcmp(response->ping.self.store_id, chord->self.store_id, CHORD_STORE_ID_BYTES) == 0) {
        if (address_same(response->ping.self.address, chord->self.address)) {
            seed_done(step, seed); /* by another name of ours */
        } else {
            copy_refused(step, seed_at(chord, seed)->text);
        }
        return;
    }
    if (!ours || !parameters_valid(parameters)) {
        seed_done(step, seed);
        return;
    }
    if (response->ping.state != CHORD_STATE_MEMBER) {
        bool lower =
            response->ping.restarting && id_compare(&response->ping.self.id, &chord->self.id) < 0;
        if (response->ping.state == CHORD_STATE_JOINING) {
            chord->join.answered |= 1ull << seed;
            known_answers(chord, &response->ping.self, seed);
            chord->join.lower_ms = lower ? chord->now_ms : chord->join.lower_ms;
        }
        seed_done(step, seed);
        return;
    }
    if (!parameters_agree(&chord->wanted, parameters)) {
        chord->parameters = *parameters;
        refuse(step, "the ring's M, N or REPLICAS differ from the values given here");
        return;
    }
    if (!peer_valid(chord, &response->ping.self)) {
        seed_done(step, seed);
        return;
    }
    bool known = chord->parameters.m != 0;
    seeds_done(chord);
    chord->parameters = *parameters;
    chord->join.via = response->ping.self;
    if (known && chord->join.collisions == 0) {
        look_up(step);
    } else {
        derive(step);
    }
}

void join_derived(struct step *step) {
    struct chord *chord = step->chord;
    if (chord->join.stage != JOIN_DERIVE) {
        return;
    }
    if (!step->event->id_derived.found) {
        refuse(step, "no salt gives a free id");
        return;
    }
    chord->self.id = step->event->id_derived.id;
    chord->salt = step->event->id_derived.salt;
    if (chord->join.creating) {
        genesis_create(step, true);
    } else {
        look_up(step);
    }
}

/* Another member has our id: another salt, or at small M a walk to a free id. */
static void collision(struct step *step) {
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
    derive(step);
}

static void ask_successor(struct step *step) {
    struct join *join = &step->chord->join;
    join->stage = JOIN_ASK;
    ask(step, &join->successor, CHORD_JOIN);
}

static void ask_before(struct step *step) {
    struct join *join = &step->chord->join;
    if (!peer_valid(step->chord, &join->before) || peer_same(&join->before, &join->successor)) {
        ask_successor(step); /* a ring of one */
        return;
    }
    join->stage = JOIN_BEFORE;
    ask(step, &join->before, CHORD_GET_SUCCESSORS);
}

void join_looked_up(struct step *step, bool found, const struct chord_peer *owner,
                    const struct chord_peer *before, const struct chord_peer_list *successors) {
    struct chord *chord = step->chord;
    (void)successors;
    if (chord->join.stage != JOIN_LOOKUP) {
        return;
    }
    bool ours = found && memcmp(owner->store_id, chord->self.store_id, CHORD_STORE_ID_BYTES) == 0;
    if (!found || (ours && address_same(owner->address, chord->self.address))) {
        /* Our former life is still in a list: the lookup has told its holder that it is over. */
        join_later(chord, JOIN_PING, RETRY_MS);
        chord->join.seed = 0;
        return;
    }
    chord->join.successor = *owner;
    if (ours) { /* our former address, or the one that this disk is a copy of */
        ask_successor(step);
        return;
    }
    if (id_equal(&owner->id, &chord->self.id)) {
        collision(step);
        return;
    }
    chord->join.before = *before;
    ask_before(step);
}

/* A member between the two that the predecessor to be knows, but the successor does not yet, would
 * be skipped by our list, and there may be no more than N+1 that nobody skips (Zave 2017, J2). */
static void on_before_reply(struct step *step, const struct chord_response *response) {
    struct chord *chord = step->chord;
    struct join *join = &chord->join;
    const struct chord_peer_list *list = &response->ring.successors;
    if (response->ring.busy) {
        join_later(chord, JOIN_BEFORE, BUSY_RETRY_MS);
    } else if (response->ring.forming ||
               (list->count > 0 && peer_same(&list->items[0], &join->successor) &&
                id_in_open(&join->before.id, &chord->self.id, &join->successor.id))) {
        ask_successor(step);
    } else {
        step_failed(step);
    }
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
        refuse(step, "the ring is full: every one of the 2^M ids is taken");
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
    derive(step);
}

static void on_walk_reply(struct step *step, const struct chord_response *response) {
    struct chord *chord = step->chord;
    struct join *join = &chord->join;
    const struct chord_peer_list *list = &response->ring.successors;
    if (response->ring.busy) {
        join_later(chord, JOIN_WALK, BUSY_RETRY_MS);
        return;
    }
    join->walk_whole = list->count == 0 && id_equal(&join->walk_first, &join->walk_last);
    for (uint16_t i = 0; i < list->count; i++) {
        const struct chord_id *id = &list->items[i].id;
        if (!peer_valid(chord, &list->items[i])) {
            step_failed(step);
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
        join_later(chord, JOIN_PING, ROUND_MS);
    } else {
        ask(step, &join->walk_at, CHORD_GET_SUCCESSORS);
    }
}

void join_done(struct step *step, const char *note) {
    struct chord *chord = step->chord;
    chord->join.stage = JOIN_IDLE;
    chord->join.open = false;
    chord->state = CHORD_STATE_MEMBER;
    chord->finger_next = 0;
    chord->fingers_fresh = false;
    chord->stabilize_ms = chord->now_ms;
    chord->fix_fingers_ms = chord->now_ms + 50;
    chord->check_predecessor_ms =
        chord->now_ms + jitter(chord, chord->config.timing.check_predecessor_period_ms);
    chord->graveyard_ms = chord->now_ms + chord->config.timing.graveyard_period_ms;
    chord->ranges_ms = chord->now_ms;
    trace_peer(step, CHORD_WORD_MEMBER, CHORD_LEVEL_INFO, note, &chord->self);
    identity_save(step, CHORD_STORE_IDENTITY);
}

/* Who was a member goes on asking: what is in the way may go. */
static void unreachable(struct step *step) {
    struct join *join = &step->chord->join;
    join->unreachable =
        join->unreachable < UINT8_MAX ? (uint8_t)(join->unreachable + 1) : UINT8_MAX;
    if (!join->returning && join->unreachable >= UNREACHABLE_MAX) {
        refuse(step, "its members cannot reach this node at the address that it listens on");
        return;
    }
    trace_add(step, CHORD_WORD_JOIN, CHORD_LEVEL_WARN, "members cannot reach this node here yet");
    join_later(step->chord, JOIN_BEFORE, ROUND_MS);
}

static void on_ask_reply(struct step *step, const struct chord_response *response) {
    struct chord *chord = step->chord;
    switch (response->join.result) {
    case CHORD_JOIN_ADMITTED:
        chord->formed = chord->formed || response->join.formed;
        chord->serial_admission = false;
        chord->predecessor = NONE;
        chord->successors_count = 0;
        successors_adopt(step, &chord->join.successor, &response->join.successors);
        if (chord->successors_count == 0) {
            join_later(chord, JOIN_PING, RETRY_MS);
            return;
        }
        join_done(step, "joined");
        break;
    case CHORD_JOIN_REDIRECT:
        if (!peer_valid(chord, &response->join.authority)) {
            step_failed(step);
            return;
        }
        chord->join.successor = response->join.authority;
        chord->join.stage = JOIN_ASK;
        ask(step, &chord->join.successor, CHORD_JOIN);
        break;
    case CHORD_JOIN_ID_IN_USE:
        collision(step);
        break;
    case CHORD_JOIN_COPY:
        copy_refused(step, response->join.authority.address);
        break;
    case CHORD_JOIN_LOOPBACK:
        refuse(step, "of its members' addresses and this node's just one is a loopback address: "
                     "neither can reach the other from another host");
        break;
    case CHORD_JOIN_UNREACHABLE:
        unreachable(step);
        break;
    case CHORD_JOIN_WAIT:
        join_later(chord, JOIN_BEFORE,
                   response->retry_after_ms == 0            ? 50
                   : response->retry_after_ms > WAIT_MS_MAX ? WAIT_MS_MAX
                                                            : response->retry_after_ms);
        break;
    default:
        step_failed(step);
        break;
    }
}

void join_reply(struct step *step, uint16_t seed, const struct chord_response *response) {
    step->chord->join.open = false; /* while seeds are asked ask_seeds opens it again */
    switch (step->chord->join.stage) {
    case JOIN_PING:
        on_seed_reply(step, seed, response);
        break;
    case JOIN_WALK:
        on_walk_reply(step, response);
        break;
    case JOIN_BEFORE:
        on_before_reply(step, response);
        break;
    case JOIN_ASK:
        on_ask_reply(step, response);
        break;
    default:
        break;
    }
}

void join_failure(struct step *step, uint16_t seed) {
    step->chord->join.open = false;
    if (step->chord->join.stage == JOIN_PING) {
        seed_done(step, seed);
    } else {
        step_failed(step);
    }
}

void join_tick(struct step *step) {
    struct chord *chord = step->chord;
    struct join *join = &chord->join;
    if (join->stage == JOIN_IDLE || join->open || join->retry_ms > chord->now_ms) {
        return;
    }
    switch (join->stage) {
    case JOIN_PING:
        ask_seeds(step);
        break;
    case JOIN_WALK:
        ask(step, &join->walk_at, CHORD_GET_SUCCESSORS);
        break;
    case JOIN_BEFORE:
        ask_before(step);
        break;
    case JOIN_ASK:
        ask_successor(step);
        break;
    default:
        join_later(chord, JOIN_PING, RETRY_MS);
        break;
    }
}

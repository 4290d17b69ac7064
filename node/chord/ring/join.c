/* SPDX-License-Identifier: MIT */
/*
 * Joining: find the place, be admitted by the successor there, start with its list (Zave 2017,
 * join: J1 to J3). A failed step clears everything and begins again; nothing is half joined.
 * Also the return of a node, alone or with its whole ring (seeds.c), and another id (free_id.c).
 */
#include "data/for_ring.h"
#include "join.h"

enum {
    WAIT_MS_MAX = 5000, /* the longest that an answer can make a joiner wait */
    UNREACHABLE_MAX = 3,
    JOIN_AGAIN_MS = 40,
};

void join_later(struct chord *chord, enum join_stage stage, uint64_t delay_ms) {
    chord->join.stage = stage;
    chord->join.open = false;
    chord->join.retry_ms = chord->now_ms + (delay_ms > 0 ? jitter(chord, delay_ms) : 0);
}

struct chord_action *join_refuse(struct step *step, const char *reason) {
    struct chord_action *action = action_add(step, CHORD_ACTION_REFUSED);
    memset(&action->refused, 0, sizeof action->refused);
    action->refused.reason = reason;
    step->chord->join.stage = JOIN_IDLE;
    trace_add(step, CHORD_WORD_REFUSED, CHORD_LEVEL_WARN, reason);
    return action;
}

/* The first start of this process: which member we were, and which nodes to ask. */
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
    data_wake(chord);
}

/* Begins to ask: the members known from before, then `seeds`. */
void join_begin(struct step *step, const struct chord_address *seeds, uint16_t count) {
    struct chord *chord = step->chord;
    struct join *join = &chord->join;
    bool known = chord->parameters.m != 0;
    memset(join, 0, sizeof *join);
    join->returning = known;
    join->placing = !known && chord->config.places_evenly;
    seeds_add_former(chord);
    seeds_add_known(chord);
    for (uint16_t i = 0; i < count && i < CHORD_SEEDS_MAX; i++) {
        seeds_add(chord, seeds[i].text);
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
        free_id_derive(step);
    }
}

/* Its next id is another one. */
static void leave_place(struct chord *chord) {
    chord->salt++;
    chord->join.collisions = 1;
    chord->join.placing = chord->config.places_evenly;
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
        if (entrance->another_place) {
            leave_place(chord);
        }
        identity_save(step, CHORD_STORE_IDENTITY);
    }
}

/* When a member finds another one with its id in the ring, that id was admitted twice: the member
 * joins again as a new member with the next salt. Its rows are not touched: only views decide
 * about them. The other member may do the same at the same time, so each asks its former
 * neighbours too. */
void join_again(struct step *step, const struct chord_peer *via) {
    struct chord *chord = step->chord;
    memset(&chord->join, 0, sizeof chord->join);
    seeds_add(chord, via->address);
    for (uint16_t i = 0; i < chord->successors_count; i++) {
        seeds_add(chord, successor_at(chord, i)->address);
    }
    seeds_add_known(chord);
    trace_peer(step, CHORD_WORD_JOIN, CHORD_LEVEL_WARN,
               "another member has the same id; joining anew", via);
    chord->self.incarnation++;
    chord->state = CHORD_STATE_JOINING;
    leave_place(chord);
    chord->join.started_ms = chord->now_ms;
    neighbours_clear(chord);
    join_later(chord, JOIN_PING, 0);
}

/* ---- the steps ---- */

void join_step_failed(struct step *step) {
    struct join *join = &step->chord->join;
    join->open = false;
    join->seed = 0;
    join->asking = 0;
    join_later(step->chord, JOIN_PING, JOIN_RETRY_MS);
}

uint16_t join_ask(struct step *step, const struct chord_peer *peer, enum chord_message_kind kind) {
    struct chord *chord = step->chord;
    struct chord_request *request;
    uint32_t timeout_ms = chord->config.timing.silence_ms_max;
    uint16_t slot = call_start(step, CALL_JOIN, NO_REF, NONE, peer->address, timeout_ms, &request);
    chord->join.open = slot != NONE;
    if (slot == NONE) {
        join_later(chord, chord->join.stage, JOIN_RETRY_MS);
        return NONE;
    }
    request->kind = kind;
    call_target(request, peer);
    chord->join.serial = serial_new(chord);
    call_at(chord, slot)->subject.serial = chord->join.serial;
    return slot;
}

void join_look_up(struct step *step) {
    struct chord *chord = step->chord;
    chord->join.stage = JOIN_LOOKUP;
    chord->join.open = true;
    if (!lookup_start(step, LOOKUP_JOIN, &chord->self.id, &chord->join.via, NO_REF, 0,
                      chord->now_ms + LOOKUP_MS)) {
        join_later(chord, JOIN_PING, JOIN_RETRY_MS);
    }
}

void join_derived(struct step *step) {
    struct chord *chord = step->chord;
    if (chord->join.stage != JOIN_DERIVE) {
        return;
    }
    if (!step->event->id_derived.found) {
        join_refuse(step, "no salt gives a free id");
        return;
    }
    chord->self.id = step->event->id_derived.id;
    chord->salt = step->event->id_derived.salt;
    if (chord->join.creating) {
        genesis_create(step, true);
    } else {
        join_look_up(step);
    }
}

static void ask_successor(struct step *step) {
    struct join *join = &step->chord->join;
    join->stage = JOIN_ASK;
    join_ask(step, &join->successor, CHORD_JOIN);
}

static void ask_before(struct step *step) {
    struct join *join = &step->chord->join;
    if (!peer_valid(step->chord, &join->before) || peer_same(&join->before, &join->successor)) {
        ask_successor(step); /* a ring of one */
        return;
    }
    join->stage = JOIN_BEFORE;
    join_ask(step, &join->before, CHORD_GET_SUCCESSORS);
}

void join_looked_up(struct step *step, bool found, const struct chord_peer *owner,
                    const struct chord_peer *before) {
    struct chord *chord = step->chord;
    if (chord->join.stage == JOIN_PROBE) {
        place_probed(step, found, owner, before);
        return;
    }
    if (chord->join.stage != JOIN_LOOKUP) {
        return;
    }
    bool ours = found && store_same(owner->store_id, chord->self.store_id);
    if (!found || (ours && address_same(owner->address, chord->self.address))) {
        /* Our former life is still in a list: the lookup has told its holder that it is over. */
        join_later(chord, JOIN_PING, JOIN_RETRY_MS);
        chord->join.seed = 0;
        return;
    }
    chord->join.successor = *owner;
    if (ours) { /* our former address, or the one that this disk is a copy of */
        ask_successor(step);
        return;
    }
    if (id_equal(&owner->id, &chord->self.id)) {
        free_id_collision(step);
        return;
    }
    if (chord->join.placing && !chord->join.has_target && !place_found(step, owner, before)) {
        return;
    }
    chord->join.before = *before;
    ask_before(step);
}

/* The ring has changed near our place: where is it now? */
static void look_again(struct step *step, uint64_t delay_ms) {
    if (step->chord->join.placing) {
        join_later(step->chord, JOIN_LOOKUP, delay_ms);
    } else {
        join_step_failed(step);
    }
}

/* A member between the two that the predecessor to be knows, but the successor does not yet, would
 * be skipped by our list, and there may be no more than N+1 that nobody skips (Zave 2017, J2). */
static void on_before_reply(struct step *step, const struct chord_response *response) {
    struct chord *chord = step->chord;
    struct join *join = &chord->join;
    const struct chord_peer_list *list = &response->ring.successors;
    if (response->ring.busy) {
        join_later(chord, JOIN_BEFORE, JOIN_BUSY_RETRY_MS);
    } else if (response->ring.forming) {
        ask_successor(step);
    } else if (list->count > 0 && peer_same(&list->items[0], &join->successor) &&
               id_in_open(&join->before.id, &chord->self.id, &join->successor.id)) {
        if (join->placing) {
            join->stage = JOIN_BEHIND;
            join_ask(step, &join->successor, CHORD_GET_PREDECESSOR);
        } else {
            ask_successor(step);
        }
    } else {
        look_again(step, JOIN_AGAIN_MS);
    }
}

/* A member that the predecessor to be does not know yet has taken of the arc that we chose. Since
 * we asked, that one finds out. */
static void on_behind_reply(struct step *step, const struct chord_response *response) {
    struct join *join = &step->chord->join;
    if (response->ring.busy) {
        join_later(step->chord, JOIN_BEHIND, JOIN_BUSY_RETRY_MS);
    } else if (response->ring.node.incarnation == 0 ||
               peer_same(&response->ring.node, &join->before)) {
        ask_successor(step);
    } else {
        look_again(step, JOIN_AGAIN_MS);
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
    data_wake(chord);
    trace_peer(step, CHORD_WORD_MEMBER, CHORD_LEVEL_INFO, note, &chord->self);
    identity_save(step, CHORD_STORE_IDENTITY);
}

/* A node that was a member goes on asking: the obstacle may go away. */
static void unreachable(struct step *step) {
    struct join *join = &step->chord->join;
    join->unreachable =
        join->unreachable < UINT8_MAX ? (uint8_t)(join->unreachable + 1) : UINT8_MAX;
    if (!join->returning && join->unreachable >= UNREACHABLE_MAX) {
        join_refuse(step, "its members cannot reach this node at the address that it listens on");
        return;
    }
    trace_add(step, CHORD_WORD_JOIN, CHORD_LEVEL_WARN, "members cannot reach this node here yet");
    join_later(step->chord, JOIN_BEFORE, JOIN_ROUND_MS);
}

/* Zave 2017, J3: what the successor to be, or in genesis the authority, has decided. */
static void on_ask_reply(struct step *step, const struct chord_response *response) {
    struct chord *chord = step->chord;
    switch (response->join.result) {
    case CHORD_JOIN_ADMITTED:
        chord->formed = chord->formed || response->join.formed;
        chord->serial_admission = false;
        successors_adopt(step, &chord->join.successor, &response->join.successors);
        if (chord->successors_count == 0) {
            join_later(chord, JOIN_PING, JOIN_RETRY_MS);
            return;
        }
        join_done(step, "joined");
        break;
    case CHORD_JOIN_REDIRECT:
        if (!peer_valid(chord, &response->join.authority)) {
            join_step_failed(step);
            return;
        }
        chord->join.successor = response->join.authority;
        ask_successor(step);
        break;
    case CHORD_JOIN_ID_IN_USE:
        free_id_collision(step);
        break;
    case CHORD_JOIN_COPY:
        copy_refused(step, response->join.authority.address);
        break;
    case CHORD_JOIN_LOOPBACK:
        join_refuse(step,
                    "of its members' addresses and this node's just one is a loopback address: "
                    "neither can reach the other from another host");
        break;
    case CHORD_JOIN_UNREACHABLE:
        unreachable(step);
        break;
    case CHORD_JOIN_WAIT: {
        uint32_t wait_ms = response->retry_after_ms == 0            ? 50
                           : response->retry_after_ms > WAIT_MS_MAX ? WAIT_MS_MAX
                                                                    : response->retry_after_ms;
        if (chord->join.placing) { /* others may come first, and take of the same arc */
            look_again(step, wait_ms);
        } else {
            join_later(chord, JOIN_BEFORE, wait_ms);
        }
        break;
    }
    default:
        look_again(step, JOIN_AGAIN_MS);
        break;
    }
}

static void unanswered(struct step *step, uint16_t seed) {
    step->chord->join.open = false;
    if (step->chord->join.stage == JOIN_PING) {
        seeds_one_done(step, seed);
    } else {
        join_step_failed(step);
    }
}

void join_reply(struct step *step, const struct call *call, const struct chord_response *response) {
    uint16_t seed = call->subject.slot;
    if (response == NULL) {
        unanswered(step, seed);
        return;
    }
    step->chord->join.open = false; /* seeds_ask opens it again while any is asked */
    switch (step->chord->join.stage) {
    case JOIN_PING:
        seeds_reply(step, seed, response);
        break;
    case JOIN_LOOK:
        place_look_reply(step, response);
        break;
    case JOIN_WALK:
        free_id_walk_reply(step, response);
        break;
    case JOIN_BEFORE:
        on_before_reply(step, response);
        break;
    case JOIN_BEHIND:
        on_behind_reply(step, response);
        break;
    case JOIN_ASK:
        on_ask_reply(step, response);
        break;
    default:
        break;
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
        seeds_ask(step);
        break;
    case JOIN_LOOK:
        join_ask(step, &join->place.at, CHORD_GET_SUCCESSORS);
        break;
    case JOIN_LOOKUP:
        join_look_up(step);
        break;
    case JOIN_WALK:
        join_ask(step, &join->walk_at, CHORD_GET_SUCCESSORS);
        break;
    case JOIN_BEFORE:
        ask_before(step);
        break;
    case JOIN_BEHIND:
        join_ask(step, &join->successor, CHORD_GET_PREDECESSOR);
        break;
    case JOIN_ASK:
        ask_successor(step);
        break;
    default:
        join_later(chord, JOIN_PING, JOIN_RETRY_MS);
        break;
    }
}

/*
 * The front of the core: the block, one step, the next deadline, reading the state.
 */
#include "data.h"
#include "ring.h"

enum { GONE_RETRY_MS = 200 };

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

/* ---- the block ---- */

static size_t place(size_t *end, size_t bytes) {
    size_t at = (*end + 15) / 16 * 16;
    *end = at + bytes;
    return at;
}

static uint32_t buckets_for(const struct chord_limits *limits) {
    uint32_t buckets = 16;
    while (buckets < limits->keys_in_flight_max) {
        buckets *= 2;
    }
    return buckets;
}

static uint16_t at_most(uint16_t count, uint16_t most) {
    return count < most ? count : most;
}

uint16_t admitted_max(const struct chord_limits *limits) {
    return at_most(limits->known_max, ADMITTED_MAX);
}

uint16_t graves_max(const struct chord_limits *limits) {
    return at_most(limits->known_max, GRAVEYARD_MAX);
}

uint16_t leaving_max(const struct chord_limits *limits) {
    return at_most(limits->views_max, LEAVING_MAX);
}

static struct chord_limits limits_filled(const struct chord_limits *given) {
    struct chord_limits limits = *given;
    limits.known_max = limits.known_max > 0 ? limits.known_max : CHORD_REPLICAS_MAX;
    limits.seeds_max = limits.seeds_max > 0 ? limits.seeds_max : JOIN_SEEDS_MAX;
    return limits;
}

/* Fills the offsets and returns the block's size. */
static size_t lay_out(struct chord *chord, const struct chord_limits *limits) {
    size_t end = sizeof(struct chord);
    chord->peers_at = place(&end, sizeof(struct peer_entry) * limits->peers_max);
    chord->tags_at = place(&end, sizeof(uint32_t) * limits->peers_max);
    chord->known_at = place(&end, sizeof(struct chord_peer) * limits->known_max);
    chord->genesis_at = place(&end, sizeof(struct chord_peer) * limits->known_max);
    chord->seeds_at = place(&end, sizeof(struct chord_address) * limits->seeds_max);
    chord->admitted_at = place(&end, sizeof(struct admitted) * admitted_max(limits));
    chord->graves_at = place(&end, sizeof(struct grave) * graves_max(limits));
    chord->leaving_at = place(&end, sizeof(struct leaving) * leaving_max(limits));
    chord->calls_at = place(&end, sizeof(struct call) * limits->calls_max);
    chord->stores_at = place(&end, sizeof(struct store_op) * limits->calls_max);
    chord->lookups_at = place(&end, sizeof(struct lookup) * limits->lookups_max);
    chord->paths_at = place(&end, sizeof(struct path) * limits->paths_max);
    chord->ranges_at = place(&end, sizeof(struct range) * limits->views_max);
    chord->transfers_at = place(&end, sizeof(struct transfer) * limits->transfers_max);
    chord->decisions_at = place(&end, sizeof(struct decision) * limits->decisions_max);
    chord->batches_at = place(&end, sizeof(struct batch) * limits->batches_max);
    chord->keys_at = place(&end, sizeof(struct key_entry) * limits->keys_in_flight_max);
    chord->buckets_count = buckets_for(limits);
    chord->buckets_at = place(&end, sizeof(uint32_t) * chord->buckets_count);
    return place(&end, 0);
}

size_t chord_size(const struct chord_limits *limits) {
    struct chord scratch;
    struct chord_limits filled = limits_filled(limits);
    return lay_out(&scratch, &filled);
}

struct chord *chord_init(void *memory, const struct chord_config *config) {
    struct chord *chord = memory;
    chord->config = *config;
    chord->config.limits = limits_filled(&config->limits);
    const struct chord_limits *limits = &chord->config.limits;
    CHORD_ASSERT(limits->peers_max >= 24);
    CHORD_ASSERT(limits->known_max <= CHORD_REPLICAS_MAX && limits->seeds_max <= JOIN_SEEDS_MAX);
    CHORD_ASSERT(limits->peers_max < NONE && limits->calls_max < NONE && limits->views_max < NONE);
    CHORD_ASSERT(limits->batches_max < NONE && limits->lookups_max < NONE);
    chord->random = config->seed;
    lay_out(chord, limits);
    memcpy(chord->self.address, config->address, CHORD_ADDRESS_BYTES);
    memcpy(chord->self.store_id, config->store_id, CHORD_STORE_ID_BYTES);
    chord->predecessor = NONE;
    chord->candidate = NONE;
    for (unsigned i = 0; i < CHORD_M_MAX; i++) {
        chord->fingers[i] = NONE;
    }
    chord->batches_ms = chord->decisions_ms = chord->transfers_ms = UINT64_MAX;
    keys_init(chord);
    return chord;
}

bool chord_restore_view(struct chord *chord, const struct chord_stored_view *stored) {
    uint16_t index;
    CHORD_ASSERT(chord->state == CHORD_STATE_NONE);
    for (uint16_t i = 0; i < chord->ranges_end; i++) {
        if (ranges_overlap(&range_at(chord, i)->view.range, &stored->view.range)) {
            return false;
        }
    }
    if (!view_formed(&stored->view) || !range_add(chord, &stored->view, &index)) {
        return false;
    }
    struct range *range = range_at(chord, index);
    range->learning = stored->learning;
    range->equal_epoch = stored->equal_epoch;
    range->acceptor = stored->acceptor;
    range->lived = false;
    return true;
}

/* ---- small services ---- */

/* Room that handlers may count on after action_room was asked. */
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
        if (chord->fingers[i] != NONE && chord->fingers[i] != FINGER_SELF) {
            known_add(identity, known_max, &peer_at(chord, chord->fingers[i])->peer);
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

/* ---- requests ---- */

/* What a client asks has no such answer: a BATCH without a code would be taken for done. */
static void reply_gone(struct step *step, uint64_t request_id, enum chord_message_kind kind) {
    if (kind == CHORD_BATCH || kind == CHORD_LOOKUP) {
        reply_code(step, request_id, kind, CHORD_UNAVAILABLE, GONE_RETRY_MS);
        return;
    }
    struct chord_response response = {.kind = kind, .gone = true};
    reply_send(step, request_id, &response);
}

/* The request is for another life of this node, or for another disk at its address. */
static bool other_life(const struct chord *chord, const struct chord_request *request) {
    static const uint8_t any[CHORD_STORE_ID_BYTES];
    bool other_store = memcmp(request->target_store_id, any, sizeof any) != 0 &&
                       memcmp(request->target_store_id, chord->self.store_id, sizeof any) != 0;
    return other_store || (request->target_incarnation != 0 &&
                           request->target_incarnation != chord->self.incarnation);
}

static void on_ping(struct step *step, const struct chord_request *request, uint64_t request_id) {
    struct chord *chord = step->chord;
    struct chord_response response = {.kind = CHORD_PING};
    response.gone =
        request->target_incarnation != 0 && (other_life(chord, request) || !in_ring(chord));
    response.ping.self = chord->self;
    response.ping.state = chord->state;
    response.ping.parameters = chord->parameters;
    response.ping.formed = chord->formed;
    response.ping.restarting = chord->join.stage != JOIN_IDLE && chord->join.restarting;
    reply_send(step, request_id, &response);
}

static void on_get_list(struct step *step, const struct chord_request *request,
                        uint64_t request_id) {
    struct chord *chord = step->chord;
    struct chord_response response = {.kind = request->kind};
    if (chord->query.waiting) {
        response.ring.busy = true;
    } else {
        const struct chord_peer *predecessor = predecessor_get(chord);
        response.ring.forming = chord->serial_admission;
        if (request->kind == CHORD_GET_PREDECESSOR && predecessor != NULL) {
            response.ring.node = *predecessor;
        }
        successors_list(chord, &response.ring.successors);
    }
    reply_send(step, request_id, &response);
}

/* A word from a peer is proof that this life of it is alive and every earlier one is over. */
static void sender_heard(struct step *step, const struct chord_peer *sender) {
    struct chord *chord = step->chord;
    uint16_t index = peer_find_address(chord, sender->address);
    if (index == NONE) {
        return;
    }
    struct chord_peer known = peer_at(chord, index)->peer;
    bool same_store = memcmp(known.store_id, sender->store_id, CHORD_STORE_ID_BYTES) == 0;
    if (same_store && known.incarnation == sender->incarnation) {
        peer_heard(chord, index, 0);
    } else if (!same_store || known.incarnation < sender->incarnation) {
        peer_failed(step, &known, "returned as a new member");
    }
}

static void ring_request(struct step *step, const struct chord_request *request,
                         uint64_t request_id) {
    struct chord *chord = step->chord;
    bool sender_needed = request->kind == CHORD_NOTIFY || request->kind == CHORD_JOIN ||
                         request->kind == CHORD_LEAVE || request->kind == CHORD_GENESIS;
    if (sender_needed && !(request->has_sender && peer_valid(chord, &request->sender))) {
        reply_code(step, request_id, request->kind, CHORD_INVALID_ARGUMENT, 0);
        return;
    }
    if (request->kind == CHORD_GENESIS) {
        on_genesis(step, request, request_id);
        return;
    }
    if (!in_ring(chord)) {
        reply_gone(step, request_id, request->kind);
        return;
    }
    struct chord_response response = {.kind = request->kind};
    switch (request->kind) {
    case CHORD_FIND_SUCCESSOR:
        on_find_successor(step, request, request_id);
        break;
    case CHORD_GET_PREDECESSOR:
    case CHORD_GET_SUCCESSORS:
        on_get_list(step, request, request_id);
        break;
    case CHORD_NOTIFY:
        on_notify(step, &request->sender);
        reply_send(step, request_id, &response);
        break;
    case CHORD_JOIN:
        on_join(step, request, request_id);
        break;
    case CHORD_MERGE:
        on_merge(step, &request->peer);
        reply_send(step, request_id, &response);
        break;
    case CHORD_LEAVE:
        on_leave(step, request, request_id);
        break;
    default:
        CHORD_ASSERT(false);
    }
}

static void on_request(struct step *step) {
    struct chord *chord = step->chord;
    const struct chord_request *request = step->event->request.request;
    uint64_t request_id = step->event->request.request_id;
    CHORD_ASSERT(request_id != 0);
    if (request->kind == CHORD_BATCH && batch_resume(step, request_id)) {
        return; /* it was let in before, whatever this node has become since */
    }
    if (request->has_ring_id && chord->parameters.m != 0 &&
        memcmp(request->ring_id, chord->parameters.ring_id, CHORD_RING_ID_BYTES) != 0) {
        reply_code(step, request_id, request->kind, CHORD_FAILED_PRECONDITION, 0);
        return;
    }
    if (request->kind == CHORD_PING) {
        if (request->has_sender && chord->parameters.m != 0 &&
            peer_valid(chord, &request->sender)) {
            sender_heard(step, &request->sender);
        }
        on_ping(step, request, request_id);
        return;
    }
    /* A ring that this node is about to make has no members and no views yet. */
    bool making = chord->state == CHORD_STATE_JOINING && chord->join.creating;
    if (chord->parameters.m == 0 || making || other_life(chord, request)) {
        reply_gone(step, request_id, request->kind);
        return;
    }
    if (request->has_sender && peer_valid(chord, &request->sender)) {
        sender_heard(step, &request->sender);
    }
    if (chord->config.limits.views_max == 0 && request->kind >= CHORD_TRANSFER_KEYS &&
        request->kind <= CHORD_BATCH) {
        reply_code(step, request_id, request->kind, CHORD_UNAVAILABLE, 0); /* routes only */
        return;
    }
    switch (request->kind) {
    case CHORD_APPLY:
        on_apply(step, request, request_id);
        break;
    case CHORD_CHECK:
        on_check(step, request, request_id);
        break;
    case CHORD_SYNC:
        on_sync(step, request, request_id);
        break;
    case CHORD_DIGEST:
        on_digest(step, request, request_id);
        break;
    case CHORD_PREPARE:
        on_prepare(step, request, request_id);
        break;
    case CHORD_ACCEPT:
        on_accept(step, request, request_id);
        break;
    case CHORD_DECIDED:
        on_decided(step, request, request_id);
        break;
    case CHORD_GET_VIEW:
        on_get_view(step, request, request_id);
        break;
    case CHORD_TRANSFER_KEYS:
        on_transfer_keys(step, request, request_id);
        break;
    case CHORD_BATCH:
        on_batch(step, request, request_id);
        break;
    case CHORD_LOOKUP:
        if (!in_ring(chord)) {
            reply_code(step, request_id, CHORD_LOOKUP, CHORD_UNAVAILABLE, GONE_RETRY_MS);
        } else if (!lookup_start(step, LOOKUP_CLIENT, &request->id, NULL, NONE, 0, request_id,
                                 chord->now_ms + step->event->request.timeout_ms)) {
            reply_code(step, request_id, CHORD_LOOKUP, CHORD_RESOURCE_EXHAUSTED, 50);
        }
        break;
    default:
        ring_request(step, request, request_id);
        break;
    }
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
        on_request(&step);
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

static void sooner(uint64_t *deadline, uint64_t due) {
    if (due != 0 && due < *deadline) {
        *deadline = due;
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

/* ---- reading ---- */

void chord_read_status(const struct chord *constant, struct chord_status *status) {
    /* The tables are reached through the same accessors; nothing is changed here. */
    struct chord *chord = (struct chord *)(uintptr_t)constant;
    memset(status, 0, sizeof *status);
    status->self = chord->self;
    status->state = chord->state;
    status->parameters = chord->parameters;
    status->formed = chord->formed;
    status->salt = chord->salt;
    status->maintenance_messages_total = chord->messages_total;
    const struct chord_peer *predecessor = predecessor_get(chord);
    status->has_predecessor = predecessor != NULL;
    if (predecessor != NULL) {
        status->predecessor = *predecessor;
    }
    successors_list(chord, &status->successors);
    status->left_last = chord->left_last;
    status->warning = chord->left_last ? "this node left as the last of its ring: its rows are "
                                         "here and nobody serves them; join brings it back"
                                       : "";
    uint32_t members = members_estimate(chord);
    status->survives_failures = members > 0 ? (members - 1) / 2 : 0;
    if (chord->parameters.m != 0) {
        uint32_t copies =
            members < chord->parameters.replicas ? members : chord->parameters.replicas;
        status->survives_failures = copies > 0 ? (copies - 1) / 2 : 0;
    }
    if (chord->state == CHORD_STATE_MEMBER && members < chord->parameters.n + 1) {
        status->warning = chord->formed
                              ? "the ring has fewer than N+1 members: outside the proof"
                              : "the ring is forming: fewer than N+1 members have joined so far";
    }
}

bool chord_finger_at(const struct chord *constant, unsigned index, struct chord_peer *peer) {
    struct chord *chord = (struct chord *)(uintptr_t)constant;
    if (index >= chord->parameters.m || chord->fingers[index] == NONE) {
        return false;
    }
    *peer = chord->fingers[index] == FINGER_SELF ? chord->self
                                                 : peer_at(chord, chord->fingers[index])->peer;
    return true;
}

uint16_t chord_views_count(const struct chord *constant) {
    struct chord *chord = (struct chord *)(uintptr_t)constant;
    uint16_t count = 0;
    for (uint16_t i = 0; i < chord->ranges_end; i++) {
        count = (uint16_t)(count + range_at(chord, i)->used);
    }
    return count;
}

static enum chord_range_state range_state(struct chord *chord, struct range *range) {
    if (range->gone) {
        return CHORD_RANGE_GONE;
    }
    if (range->view.cut || view_member(&range->view, chord->self.store_id) == NONE) {
        return CHORD_RANGE_RETIRED;
    }
    if (!view_leads(chord, &range->view)) {
        return CHORD_RANGE_REPLICA;
    }
    if (!range->open) {
        return CHORD_RANGE_SETTLING;
    }
    return range->change.stage >= CHANGE_DRAIN ? CHORD_RANGE_CHANGING : CHORD_RANGE_OPEN;
}

const struct chord_view *chord_view_at(const struct chord *constant, uint16_t index,
                                       enum chord_range_state *state, unsigned *copies) {
    struct chord *chord = (struct chord *)(uintptr_t)constant;
    for (uint16_t i = 0; i < chord->ranges_end; i++) {
        struct range *range = range_at(chord, i);
        if (range->used && index-- == 0) {
            *state = range_state(chord, range);
            *copies = *state >= CHORD_RANGE_SETTLING && *state <= CHORD_RANGE_CHANGING
                          ? bits_count(range->synced)
                          : 0;
            return &range->view;
        }
    }
    return NULL;
}

bool chord_stored_view(const struct chord *constant, uint16_t index,
                       struct chord_stored_view *stored) {
    struct chord *chord = (struct chord *)(uintptr_t)constant;
    for (uint16_t i = 0; i < chord->ranges_end; i++) {
        struct range *range = range_at(chord, i);
        if (range->used && index-- == 0) {
            stored->view = range->view;
            stored->learning = range->learning;
            stored->equal_epoch = range->equal_epoch;
            stored->acceptor = range->acceptor;
            return true;
        }
    }
    return false;
}

bool chord_operation_in(const struct chord_operation *operation, const struct chord_range *range,
                        unsigned m) {
    struct chord_id id = id_from_hash(operation->hash, m);
    return !operation->finished && id_in_half_open(&range->lo, &id, &range->hi);
}

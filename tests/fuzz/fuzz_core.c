/* SPDX-License-Identifier: MIT */
/*
 * Fuzzer of the core: bytes become events of one member among peers that may say anything. The
 * shapes are those that node/wire_table.c lets through; all values in them are free.
 */
#include "bytes.h"
#include "core_world.h"

#include <stdio.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { EVENTS_MAX = 200, STEPS_MAX = 1200, BURST_MAX = 200 };

/* ---- parts of messages ---- */

static struct chord_id take_id(struct world *world, struct bytes *bytes) {
    uint8_t byte = take(bytes);
    struct chord_id id = world_id(world, byte);
    if (byte == 0xff) {
        memset(&id, 0xff, sizeof id); /* no id of a ring with M < 160 */
    }
    return id;
}

static struct chord_peer take_peer(struct world *world, struct bytes *bytes) {
    uint8_t byte = take(bytes);
    struct chord_peer peer = world_peer(world, byte % PEERS);
    switch (byte >> 3) {
    case 1:
        peer.incarnation++;
        break;
    case 2:
        peer.incarnation = 0;
        break;
    case 3:
        peer.store_id[1] = 1; /* another disk at that address */
        break;
    case 4:
        peer.address[0] = '\0';
        break;
    case 5:
    case 6:
    case 7:
        peer.id = take_id(world, bytes);
        break;
    default:
        break;
    }
    return peer;
}

static void take_list(struct world *world, struct bytes *bytes, struct chord_peer_list *list) {
    unsigned count = take(bytes);
    list->count = (uint16_t)(count >= 250 ? CHORD_REPLICAS_MAX : count % 7);
    for (uint16_t i = 0; i < list->count; i++) {
        list->items[i] = take_peer(world, bytes);
        list->items[i].incarnation += list->items[i].incarnation == 0;
    }
}

static struct chord_range take_range(struct world *world, struct bytes *bytes) {
    struct chord_range range;
    range.lo = take_id(world, bytes);
    range.hi = take_id(world, bytes);
    return range;
}

static void take_view(struct world *world, struct bytes *bytes, struct chord_view *view) {
    unsigned shape = take(bytes);
    memset(view, 0, sizeof *view);
    view->range = take_range(world, bytes);
    view->epoch = take_number(bytes);
    view->epoch += view->epoch == 0;
    view->members_count = (uint16_t)(shape >= 250 ? CHORD_REPLICAS_MAX : 1 + shape % 4);
    view->leader = (uint16_t)(shape / 4 % view->members_count);
    view->settled = shape / 16 % 2 == 0;
    view->cut = shape / 32 % 4 == 3;
    view->merges.count = (uint16_t)(shape / 64 % 2);
    view->merges.items[0].epoch = view->epoch;
    for (uint16_t i = 0; i < view->members_count; i++) {
        struct chord_peer peer = take_peer(world, bytes);
        memcpy(view->members[i].store_id, peer.store_id, CHORD_STORE_ID_BYTES);
        memcpy(view->members[i].address, peer.address, CHORD_ADDRESS_BYTES);
        if (shape >= 250) {
            view->members[i].store_id[2] = (uint8_t)i;
        }
    }
}

/* ---- requests ---- */

static void take_header(struct world *world, struct bytes *bytes, struct chord_request *request) {
    uint8_t flags = take(bytes);
    struct chord_peer self = world_peer(world, SELF);
    request->sender = take_peer(world, bytes);
    request->has_sender = request->sender.incarnation != 0 && flags % 8 != 1;
    request->has_ring_id = flags % 8 >= 6;
    memcpy(request->ring_id, world->parameters.ring_id, CHORD_RING_ID_BYTES);
    request->ring_id[0] = (uint8_t)(request->ring_id[0] + (flags % 8 == 7));
    if (flags / 8 % 4 == 1) {
        request->target_incarnation = self.incarnation;
        memcpy(request->target_store_id, self.store_id, CHORD_STORE_ID_BYTES);
    } else if (flags / 8 % 4 == 2) {
        request->target_incarnation = take(bytes);
    }
}

static uint32_t take_operations(struct bytes *bytes, struct chord_operation *operations) {
    uint32_t count = take_below(bytes, OPERATIONS_MAX + 1);
    for (uint32_t i = 0; i < count; i++) {
        uint8_t byte = take(bytes);
        memset(&operations[i], 0, sizeof operations[i]);
        operations[i].kind = (enum chord_operation_kind)(1 + byte % 3);
        operations[i].examine = operations[i].kind != CHORD_GET && byte / 3 % 3 == 0;
        operations[i].hash[0] = take(bytes);
        operations[i].hash[CHORD_ID_BYTES - 1] = byte;
    }
    return count;
}

/* Often of a view that the node has, and then of a value that it can accept. */
static void take_decision(struct world *world, struct bytes *bytes, struct chord_request *request) {
    uint8_t flags = take(bytes);
    uint16_t count = chord_views_count(world->chord);
    enum chord_range_state state;
    unsigned copies;
    request->decide.ballot = flags & 1 ? take(bytes) : take_number(bytes);
    request->decide.joint = flags % 4 == 2;
    if (flags & 4 && count > 0) {
        request->decide.view =
            *chord_view_at(world->chord, (uint16_t)take_below(bytes, count), &state, &copies);
        request->decide.other =
            *chord_view_at(world->chord, (uint16_t)take_below(bytes, count), &state, &copies);
    } else {
        take_view(world, bytes, &request->decide.view);
        take_view(world, bytes, &request->decide.other);
    }
    if (flags & 8) {
        request->decide.next = request->decide.view;
        request->decide.next.epoch += flags / 16 % 4;
        request->decide.next.leader = (uint16_t)(flags / 64 % request->decide.next.members_count);
        if (request->decide.joint) {
            request->decide.next.range.hi = request->decide.other.range.hi;
            request->decide.next.merges.count = 1;
            request->decide.next.merges.items[0].epoch = request->decide.next.epoch;
            request->decide.next.merges.items[0].lo = request->decide.next.range.lo;
        } else if (flags & 64) {
            request->decide.next.range.hi = take_id(world, bytes);
        }
    } else {
        take_view(world, bytes, &request->decide.next);
    }
}

static void take_request(struct world *world, struct bytes *bytes) {
    struct chord_operation operations[OPERATIONS_MAX];
    struct chord_request request;
    uint32_t count = 0;
    memset(&request, 0, sizeof request);
    request.kind = (enum chord_message_kind)(CHORD_PING + take_below(bytes, CHORD_CHECK));
    take_header(world, bytes, &request);
    switch (request.kind) {
    case CHORD_FIND_SUCCESSOR:
    case CHORD_GET_VIEW:
    case CHORD_LOOKUP:
        request.id = take_id(world, bytes);
        break;
    case CHORD_GENESIS:
        take_list(world, bytes, &request.genesis.members);
        request.genesis.formed = take(bytes) % 2 == 1;
        break;
    case CHORD_MERGE:
        request.peer = take_peer(world, bytes);
        break;
    case CHORD_LEAVE:
        request.left = take(bytes) % 2 == 1;
        break;
    case CHORD_TRANSFER_KEYS:
    case CHORD_APPLY:
    case CHORD_CHECK:
    case CHORD_DIGEST:
        request.rows.range = take_range(world, bytes);
        request.rows.epoch = take_number(bytes);
        request.rows.learner = take(bytes) % 2 == 1;
        break;
    case CHORD_SYNC:
        take_view(world, bytes, &request.sync.view);
        request.sync.token = take(bytes) % 4;
        request.sync.learner = take(bytes) % 2 == 1;
        request.sync.range =
            take(bytes) % 2 == 1 ? request.sync.view.range : take_range(world, bytes);
        break;
    case CHORD_PREPARE:
    case CHORD_ACCEPT:
        take_decision(world, bytes, &request);
        break;
    case CHORD_DECIDED:
        request.decided.count = (uint16_t)(1 + take_below(bytes, 2));
        for (uint16_t i = 0; i < request.decided.count; i++) {
            take_view(world, bytes, &request.decided.views[i]);
        }
        break;
    case CHORD_BATCH: {
        uint8_t flags = take(bytes);
        request.batch.no_forward = flags & 1;
        request.batch.stale = flags & 2;
        count = take_operations(bytes, operations);
        break;
    }
    default:
        break;
    }
    uint32_t timeout_ms = 1 + take(bytes) * 50u;
    world_request(world, &request, timeout_ms, operations, count);
}

/* Many writes of different keys at once. */
static void take_burst(struct world *world, struct bytes *bytes) {
    struct chord_request request;
    struct chord_operation operation = {.kind = CHORD_PUT};
    unsigned count = world->config.limits.batches_max > 6 ? take_below(bytes, BURST_MAX) : 8;
    memset(&request, 0, sizeof request);
    request.kind = CHORD_BATCH;
    operation.hash[0] = take(bytes);
    for (unsigned i = 0; i < count && !world->refused; i++) {
        operation.hash[CHORD_ID_BYTES - 1] = (uint8_t)i;
        world_request(world, &request, 3000, &operation, 1);
    }
}

/* ---- answers ---- */

static void take_response(struct world *world, struct bytes *bytes,
                          struct chord_response *response) {
    uint8_t flags = take(bytes);
    switch (response->kind) {
    case CHORD_PING:
        response->ping.self = take_peer(world, bytes);
        response->ping.state = (enum chord_node_state)(flags % 8);
        response->ping.formed = flags & 8;
        response->ping.restarting = flags & 16;
        if (flags & 32) {
            response->ping.parameters.m = take(bytes);
            response->ping.parameters.n = take(bytes) % 40u;
            response->ping.parameters.replicas = take(bytes) % 8u;
        }
        break;
    case CHORD_FIND_SUCCESSOR:
    case CHORD_GET_PREDECESSOR:
    case CHORD_GET_SUCCESSORS:
        response->ring.found = flags & 1;
        response->ring.busy = flags & 2;
        response->ring.node = take_peer(world, bytes);
        response->ring.self = take_peer(world, bytes);
        take_list(world, bytes, &response->ring.successors);
        break;
    case CHORD_JOIN:
        response->join.result = (enum chord_join_result)(flags % 8);
        response->join.formed = flags & 8;
        response->join.authority = take_peer(world, bytes);
        take_list(world, bytes, &response->join.successors);
        break;
    case CHORD_TRANSFER_KEYS:
        response->transfer.rows = flags % 4;
        response->transfer.done = flags & 4;
        response->transfer.last[0] = take(bytes);
        break;
    case CHORD_DIGEST:
        response->digest.rows = flags % 4;
        break;
    case CHORD_PREPARE:
    case CHORD_ACCEPT:
        response->decide.has_view = flags % 8 == 1;
        response->decide.refused = flags % 8 == 2;
        response->decide.has_accepted = flags % 8 == 3 || flags % 8 == 4;
        response->decide.other_accepted = flags & 8;
        response->decide.promised = take_number(bytes);
        response->decide.accepted_ballot = take(bytes);
        response->decide.other_ballot = take(bytes);
        response->decide.other_epoch = take(bytes);
        take_view(world, bytes, &response->decide.view);
        break;
    case CHORD_APPLY:
    case CHORD_SYNC:
    case CHORD_DECIDED:
    case CHORD_CHECK:
    case CHORD_GET_VIEW:
        response->view.has_view = flags & 1;
        response->view.confirmed = flags & 2;
        take_view(world, bytes, &response->view.view);
        break;
    case CHORD_BATCH:
        response->batch.hint.epoch = flags % 4;
        response->batch.hint.range = take_range(world, bytes);
        memcpy(response->batch.hint.address, take_peer(world, bytes).address, CHORD_ADDRESS_BYTES);
        break;
    default:
        break;
    }
}

static void take_reply(struct world *world, struct bytes *bytes) {
    struct chord_response response;
    unsigned how = take(bytes), finished = how / 32;
    if (world->calls_count == 0) {
        return;
    }
    unsigned index = take(bytes) % world->calls_count;
    world_honest(world, &world->calls[index], &response);
    if (how % 8 == 1) {
        response.gone = true;
    } else if (how % 8 == 2) {
        response.code = CHORD_UNAVAILABLE;
        response.retry_after_ms = (uint32_t)take_number(bytes);
    } else if (how % 8 >= 3) {
        response.gone = false;
        response.retry_after_ms = (uint32_t)take_number(bytes);
        take_response(world, bytes, &response);
    }
    world_reply(world, index, &response, finished);
}

/* The others are quick and honest for a while: the way to states that lie deep. */
static void quiet(struct world *world, unsigned rounds) {
    struct chord_event stored = {.kind = CHORD_EVENT_STORED};
    stored.stored.ok = stored.stored.done = true;
    for (unsigned i = 0; i < rounds && !world->refused; i++) {
        for (unsigned k = world->stores_count; k > 0 && !world->refused; k--) {
            world_stored(world, &stored);
        }
        for (unsigned k = world->calls_count; k > 0 && !world->refused; k--) {
            struct chord_response response;
            world_honest(world, &world->calls[0], &response);
            world_reply(world, 0, &response, OPERATIONS_MAX);
        }
        if (world->deriving > 0 && !world->refused) {
            struct chord_id id = world_id(world, 0);
            world_derived(world, true, &id);
        }
        if (!world->refused) {
            uint64_t due_ms = chord_deadline(world->chord);
            world_tick(world, due_ms == UINT64_MAX ? world->now_ms : due_ms);
        }
    }
}

/* ---- events ---- */

static void take_stored(struct world *world, struct bytes *bytes) {
    struct chord_event event = {.kind = CHORD_EVENT_STORED};
    uint8_t flags = take(bytes);
    event.stored.ok = flags % 4 != 1;
    event.stored.done = flags & 4;
    event.stored.rows = flags / 8 % 4;
    if (world->stores_count > 0) {
        world_stored(world, &event);
    }
}

static void take_unknown(struct world *world, struct bytes *bytes) {
    struct chord_response response;
    struct chord_event event = {.kind = CHORD_EVENT_FAILURE};
    uint8_t byte = take(bytes);
    uint64_t id = (uint64_t)UINT32_MAX << 16 | byte % 64u; /* a generation that never comes */
    memset(&response, 0, sizeof response);
    if (byte < 64) {
        event.failure.call_id = id;
    } else if (byte < 128) {
        event.kind = CHORD_EVENT_REPLY;
        event.reply.call_id = id;
        event.reply.response = &response;
    } else if (byte < 192) {
        event.kind = CHORD_EVENT_STORED;
        event.stored.store_op = id;
    } else {
        event.kind = CHORD_EVENT_ID_DERIVED;
        event.id_derived.found = true;
    }
    world_step(world, &event);
}

static void take_join(struct world *world, struct bytes *bytes) {
    struct chord_event event = {.kind = CHORD_EVENT_JOIN};
    event.join.seeds_count = (uint16_t)take_below(bytes, 3);
    for (uint16_t i = 0; i < event.join.seeds_count; i++) {
        memcpy(event.join.seeds[i].text, take_peer(world, bytes).address, CHORD_ADDRESS_BYTES);
    }
    world_step(world, &event);
}

static void take_disconnected(struct world *world, struct bytes *bytes) {
    struct chord_event event = {.kind = CHORD_EVENT_DISCONNECTED};
    memcpy(event.disconnected.text, take_peer(world, bytes).address, CHORD_ADDRESS_BYTES);
    world_step(world, &event);
}

static void restart(struct world *world) {
    struct chord_event start = {.kind = CHORD_EVENT_START};
    start.start.stored = world->identity;
    start.start.seeds_count = 1;
    memcpy(start.start.seeds[0].text, world_peer(world, 0).address, CHORD_ADDRESS_BYTES);
    world_restart(world, &start);
}

static void take_event(struct world *world, struct bytes *bytes) {
    uint64_t due_ms = chord_deadline(world->chord);
    struct chord_id id;
    switch (take_below(bytes, 16)) {
    case 0:
        world_tick(world, due_ms == UINT64_MAX ? world->now_ms : due_ms);
        break;
    case 1:
        world_tick(world, world->now_ms + take(bytes) * 8u);
        break;
    case 2:
        world_tick(world, world->now_ms + take(bytes) * 20000u);
        break;
    case 3:
    case 4:
        take_request(world, bytes);
        break;
    case 5:
    case 6:
        take_reply(world, bytes);
        break;
    case 7:
        if (world->calls_count > 0) {
            uint8_t byte = take(bytes);
            world_failure(world, byte % world->calls_count, byte >= 192);
        }
        break;
    case 8:
        take_stored(world, bytes);
        break;
    case 9:
        id = world_id(world, take(bytes));
        world_derived(world, !id_equal(&id, &(struct chord_id){{0}}), &id);
        break;
    case 10:
        take_disconnected(world, bytes);
        break;
    case 11: {
        uint8_t byte = take(bytes);
        if (byte % 4 == 0) {
            take_join(world, bytes);
        } else if (byte % 4 == 1) {
            world_step(world, &(struct chord_event){.kind = CHORD_EVENT_LEAVE});
        } else if (byte % 4 == 2) {
            restart(world);
        } else {
            world->members = take_below(bytes, SELF + 1);
        }
        break;
    }
    case 12:
        take_unknown(world, bytes);
        break;
    case 13:
        take_burst(world, bytes);
        break;
    case 14:
        world->now_ms += take(bytes) * 10u; /* late events */
        break;
    default:
        quiet(world, take_below(bytes, 10));
        break;
    }
}

static void begin(struct world *world, struct bytes *bytes) {
    static const unsigned ms[] = {3, 4, 6, 8, 16, 160};
    struct chord_event start = {.kind = CHORD_EVENT_START};
    uint8_t shape = take(bytes);
    bool large = shape % 8 == 1;
    world_forget(world); /* *world is large: only what counts is cleared */
    memset(&world->config, 0, sizeof world->config);
    memset(&world->parameters, 0, sizeof world->parameters);
    world->views_count = 0;
    world->request_last = world->replying = 0;
    world->steps = 0;
    world->config.timing = chord_timing_default;
    world->config.seed = take(bytes);
    memcpy(world->config.address, "me:1", 5);
    world->config.store_id[0] = 0xee;
    world->config.limits = (struct chord_limits){.peers_max = 26,
                                                 .views_max = large ? 40 : 12,
                                                 .calls_max = large ? 512 : 24,
                                                 .lookups_max = large ? 32 : 4,
                                                 .paths_max = 2,
                                                 .batches_max = large ? 240 : 6,
                                                 .transfers_max = 3,
                                                 .decisions_max = 3,
                                                 .keys_in_flight_max = large ? 240 : 8};
    memset(&world->self, 0, sizeof world->self);
    memcpy(world->self.address, world->config.address, CHORD_ADDRESS_BYTES);
    memcpy(world->self.store_id, world->config.store_id, CHORD_STORE_ID_BYTES);
    world->now_ms = 1000;
    world->members = take_below(bytes, SELF + 1);
    world->parameters.m = ms[take_below(bytes, sizeof ms / sizeof ms[0])];
    world->parameters.n = 1 + take_below(bytes, 5);
    world->parameters.replicas = 1 + take_below(bytes, world->parameters.n + 1);
    memset(world->parameters.ring_id, 7, CHORD_RING_ID_BYTES);
    start.start.wanted = world->parameters;
    start.start.create = shape & 2;
    start.start.seeds_count = (uint16_t)(shape / 4 % 3);
    for (uint16_t i = 0; i < start.start.seeds_count; i++) {
        snprintf(start.start.seeds[i].text, CHORD_ADDRESS_BYTES, "p%u:1", i);
    }
    if (shape & 32) {
        struct chord_identity *stored = &start.start.stored;
        stored->incarnation = 3;
        stored->id = world_id(world, take(bytes));
        stored->parameters = world->parameters;
        stored->formed = shape & 64;
        stored->left = shape & 128;
        stored->known_count = (uint16_t)take_below(bytes, SELF);
        for (uint16_t i = 0; i < stored->known_count; i++) {
            stored->known[i] = world_peer(world, i);
        }
        world->views_count = take_below(bytes, 4);
        for (unsigned i = 0; i < world->views_count; i++) {
            struct chord_range *range = &world->views[i].view.range;
            take_view(world, bytes, &world->views[i].view);
            /* A disk holds no ids of another ring, and no epoch that nobody could decide. */
            world->views[i].view.epoch = (uint32_t)world->views[i].view.epoch;
            range->lo = id_valid(&range->lo, world->parameters.m) ? range->lo : world_id(world, 0);
            range->hi = id_valid(&range->hi, world->parameters.m) ? range->hi : world_id(world, 0);
        }
    }
    world->identity = start.start.stored;
    world_start(world, &start);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct world world;
    struct bytes bytes = {data, size};
    begin(&world, &bytes);
    for (unsigned i = 0;
         i < EVENTS_MAX && world.steps < STEPS_MAX && bytes.size > 0 && !world.refused; i++) {
        take_event(&world, &bytes);
    }
    world_drain(&world);
    world_free(&world);
    return 0;
}

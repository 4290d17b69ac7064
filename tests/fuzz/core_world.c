/* SPDX-License-Identifier: MIT */
/* See core_world.h. It takes no protocol decision; world_honest plays the other members. */
#include "core_world.h"

#include "assert.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SPINS_MAX = 1000, DRAIN_ROUNDS = 14 };

_Noreturn void chord_assert_failed(const char *file, int line, const char *condition) {
    fprintf(stderr, "%s:%d: assertion failed: %s\n", file, line, condition);
    abort();
}

_Noreturn void world_fail(const char *what) {
    fprintf(stderr, "the core broke its contract: %s\n", what);
    abort();
}

static void must(bool condition, const char *what) {
    if (!condition) {
        world_fail(what);
    }
}

/* ---- the peers ---- */

struct chord_id world_id(const struct world *world, unsigned number) {
    uint8_t hash[CHORD_ID_BYTES] = {(uint8_t)number};
    return id_from_hash(hash, world->parameters.m);
}

struct chord_peer world_peer(const struct world *world, unsigned peer) {
    struct chord_peer made = {.incarnation = 1, .address = "p?:1"};
    if (peer == SELF) {
        return world->self;
    }
    made.id = world_id(world, 16 + 32 * peer);
    made.store_id[0] = (uint8_t)(peer + 1);
    made.address[1] = (char)('0' + peer);
    return made;
}

unsigned world_peer_at(const char *address) {
    bool peer = address[0] == 'p' && address[1] >= '0' && address[1] < '0' + SELF;
    return peer ? (unsigned)(address[1] - '0') : SELF;
}

/* ---- what the core asks for ---- */

static struct world_request *request_find(struct world *world, uint64_t id) {
    for (unsigned i = 0; i < REQUESTS_MAX; i++) {
        if (id != 0 && world->requests[i].id == id) {
            return &world->requests[i];
        }
    }
    return NULL;
}

static void on_send_request(struct world *world, const struct chord_action *action) {
    const struct chord_slice *slice = &action->send_request.slice;
    must(world->calls_count < CALLS_MAX, "more calls than the limit says");
    must(action->send_request.timeout_ms >= 1 && action->send_request.timeout_ms <= TIMEOUT_MS_MAX,
         "a request with a timeout beyond all measure");
    must(action->send_request.address[CHORD_ADDRESS_BYTES - 1] == '\0', "an address without end");
    must(slice->request_id == 0 || request_find(world, slice->request_id) != NULL,
         "a call for a request that has ended");
    bool batch = action->send_request.request.kind == CHORD_BATCH;
    must(!batch || slice->request_id != 0, "a forwarded batch without operations");
    struct world_call *call = &world->calls[world->calls_count++];
    call->id = action->send_request.call_id;
    call->slice = *slice;
    call->request = action->send_request.request;
    memcpy(call->address, action->send_request.address, CHORD_ADDRESS_BYTES);
    for (unsigned i = 0; i + 1 < world->calls_count; i++) {
        must(world->calls[i].id != call->id, "one id for two calls");
    }
}

static void on_send_reply(struct world *world, const struct chord_action *action) {
    struct world_request *request = request_find(world, action->send_reply.request_id);
    must(request != NULL, "a reply to a request that has ended");
    must(!request->replied, "two replies to one request");
    must(action->send_reply.response.kind == request->request.kind, "a reply of another kind");
    must(!action->send_reply.hold || request->request.kind == CHORD_BATCH,
         "a request held that has no operations");
    request->replied = true;
    if (!action->send_reply.hold) {
        request->id = 0;
    }
}

static void on_finished(struct world *world, const struct chord_slice *slice) {
    struct world_request *request = request_find(world, slice->request_id);
    must(request != NULL, "operations finished of a request that has ended");
    operations_finish(request->operations, request->states, request->operations_count,
                      &slice->range, world->parameters.m);
}

static void store_operations(struct world *world, struct world_store *store,
                             const struct world_request *request) {
    for (uint32_t i = 0; i < request->operations_count; i++) {
        const struct chord_operation *operation = &request->operations[i];
        const struct chord_range *range = &store->slice.range;
        store->for_operation[i] =
            store->kind == CHORD_STORE_READ_OPERATIONS
                ? operation_is_read(operation, range, world->parameters.m)
                : operation_is_written(operation, &request->states[i], range, world->parameters.m);
    }
}

static void store_views(struct world *world) {
    world->views_count = 0;
    for (uint16_t i = 0; i < chord_views_count(world->chord) && i < VIEWS_MAX; i++) {
        enum chord_range_state state;
        unsigned copies;
        const struct chord_view *view = chord_view_at(world->chord, i, &state, &copies);
        must(view != NULL && copies <= view->members_count, "a view with copies that it has not");
        chord_stored_view(world->chord, i, &world->views[world->views_count++]);
    }
}

static void on_store(struct world *world, const struct chord_action *action) {
    const struct chord_slice *slice = &action->store.slice;
    struct world_request *request = request_find(world, slice->request_id);
    if (action->store.kind == CHORD_STORE_IDENTITY) {
        must(action->store.store_op == 0, "an identity whose STORED is awaited");
        world->identity = action->store.identity;
        return;
    }
    must(action->store.store_op != 0, "a STORE without an id");
    must(world->stores_count < STORES_MAX, "more store operations than the limit says");
    struct world_store *store = &world->stores[world->stores_count++];
    memset(store, 0, sizeof *store);
    store->op = action->store.store_op;
    store->kind = action->store.kind;
    store->slice = *slice;
    switch (store->kind) {
    case CHORD_STORE_EXAMINE_OPERATIONS:
    case CHORD_STORE_WRITE_OPERATIONS:
    case CHORD_STORE_READ_OPERATIONS:
        must(request != NULL && request->request.kind == CHORD_BATCH,
             "operations of no open batch");
        store_operations(world, store, request);
        break;
    case CHORD_STORE_WRITE_ROWS:
        must(request != NULL && request->request.kind == CHORD_APPLY, "rows of no open Apply");
        break;
    case CHORD_STORE_WRITE_PULLED:
        must(slice->request_id != 0 && slice->request_id == world->replying,
             "pulled rows of another reply than this one");
        break;
    case CHORD_STORE_READ_RANGE:
        must(request != NULL && request->request.kind == CHORD_TRANSFER_KEYS,
             "a page for no open TransferKeys");
        break;
    case CHORD_STORE_VIEWS:
        store_views(world);
        break;
    default:
        break;
    }
}

static void act(struct world *world, const struct chord_action *action) {
    struct world_request *request;
    switch (action->kind) {
    case CHORD_ACTION_SEND_REQUEST:
        on_send_request(world, action);
        break;
    case CHORD_ACTION_SEND_REPLY:
        on_send_reply(world, action);
        break;
    case CHORD_ACTION_RELEASE:
        request = request_find(world, action->request_id);
        must(request != NULL && request->replied, "a request released that was not held");
        request->id = 0;
        break;
    case CHORD_ACTION_RESUME:
        request = request_find(world, action->request_id);
        must(request != NULL && !request->replied, "a request resumed that has ended");
        must(world->resumes_count < REQUESTS_MAX, "more resumed requests than there are");
        world->resumes[world->resumes_count++] = action->request_id;
        break;
    case CHORD_ACTION_FINISHED:
        on_finished(world, &action->finished);
        break;
    case CHORD_ACTION_STORE:
        on_store(world, action);
        break;
    case CHORD_ACTION_DERIVE_ID:
        world->deriving++;
        break;
    case CHORD_ACTION_REFUSED:
        world->refused = true;
        break;
    case CHORD_ACTION_LEFT:
        break;
    default:
        world_fail("an action without a name");
    }
}

/* ---- steps ---- */

static void step_one(struct world *world, struct chord_event *event) {
    struct chord_status status;
    event->now_ms = world->now_ms;
    world->steps++;
    must(++world->spins < SPINS_MAX, "it steps for ever without time");
    chord_step(world->chord, event, &world->actions);
    chord_read_status(world->chord, &status);
    world->self = status.self;
    const char *broken = chord_invariant(world->chord);
    if (broken != NULL) {
        world_fail(broken);
    }
    must(world->actions.count <= CHORD_ACTIONS_MAX &&
             world->actions.traces_count <= CHORD_TRACES_MAX,
         "more actions than the limit says");
    for (uint16_t i = 0; i < world->actions.count; i++) {
        act(world, &world->actions.items[i]);
    }
}

static void give(struct world *world, const struct world_request *request) {
    struct chord_event event = {.kind = CHORD_EVENT_REQUEST};
    event.request.request_id = request->id;
    event.request.timeout_ms = request->timeout_ms;
    event.request.request = &request->request;
    event.request.operations = request->operations;
    event.request.operations_count = request->operations_count;
    step_one(world, &event);
}

void world_step(struct world *world, struct chord_event *event) {
    world->spins = event->kind == CHORD_EVENT_TICK ? world->spins : 0;
    step_one(world, event);
    while (world->resumes_count > 0 && !world->refused) {
        struct world_request *request = request_find(world, world->resumes[0]);
        world->resumes_count--;
        memmove(&world->resumes[0], &world->resumes[1],
                sizeof world->resumes[0] * world->resumes_count);
        must(request != NULL, "a request resumed that has ended");
        give(world, request);
    }
}

void world_tick(struct world *world, uint64_t now_ms) {
    struct chord_event event = {.kind = CHORD_EVENT_TICK};
    if (now_ms > world->now_ms) {
        world->now_ms = now_ms;
        world->spins = 0;
    }
    world_step(world, &event);
}

void world_request(struct world *world, const struct chord_request *request, uint32_t timeout_ms,
                   const struct chord_operation *operations, uint32_t count) {
    struct chord_event event = {.kind = CHORD_EVENT_REQUEST};
    struct world_request *slot = NULL;
    for (unsigned i = 0; i < REQUESTS_MAX && slot == NULL; i++) {
        slot = world->requests[i].id == 0 ? &world->requests[i] : NULL;
    }
    if (slot == NULL) {
        return;
    }
    memset(slot, 0, sizeof *slot);
    slot->id = ++world->request_last;
    slot->timeout_ms = timeout_ms;
    slot->request = *request;
    slot->operations_count = count;
    if (count > 0) {
        memcpy(slot->operations, operations, sizeof *operations * count);
    }
    event.request.request_id = slot->id;
    event.request.timeout_ms = timeout_ms;
    event.request.request = &slot->request;
    event.request.operations = slot->operations;
    event.request.operations_count = count;
    world_step(world, &event);
}

static struct world_call call_take(struct world *world, unsigned index) {
    struct world_call call = world->calls[index];
    world->calls[index] = world->calls[--world->calls_count];
    return call;
}

/* Duty 5: what a forwarded batch's answer finishes. Returns how many; no answer: its writes. */
static uint32_t finish_forwarded(struct world *world, const struct world_call *call,
                                 unsigned finished, bool failed) {
    struct world_request *request = request_find(world, call->slice.request_id);
    uint32_t count = 0;
    if (call->request.kind != CHORD_BATCH || request == NULL) {
        return 0;
    }
    for (uint32_t i = 0; i < request->operations_count; i++) {
        struct chord_operation *operation = &request->operations[i];
        struct operation_result result = {.code = count < finished ? CHORD_OK : CHORD_UNAVAILABLE};
        if (chord_operation_in(operation, &call->slice.range, world->parameters.m)) {
            count += operation_forwarded(operation, &request->states[i], failed ? NULL : &result);
        }
    }
    return count;
}

void world_reply(struct world *world, unsigned index, const struct chord_response *response,
                 unsigned finished) {
    struct chord_event event = {.kind = CHORD_EVENT_REPLY};
    struct world_call call = call_take(world, index);
    struct chord_response answer = *response;
    if (call.request.kind == CHORD_BATCH) {
        answer.batch.finished =
            answer.code == CHORD_OK ? finish_forwarded(world, &call, finished, false) : 0;
    }
    event.reply.call_id = world->replying = call.id;
    event.reply.microseconds = 1000;
    event.reply.response = &answer;
    world_step(world, &event);
    world->replying = 0;
}

void world_failure(struct world *world, unsigned index, bool refused) {
    struct chord_event event = {.kind = CHORD_EVENT_FAILURE};
    struct world_call call = call_take(world, index);
    finish_forwarded(world, &call, 0, true);
    event.failure.call_id = call.id;
    event.failure.refused = refused;
    world_step(world, &event);
}

void world_stored(struct world *world, const struct chord_event *stored) {
    struct chord_event event = *stored;
    struct world_store store = world->stores[0];
    struct world_request *request = request_find(world, store.slice.request_id);
    world->stores_count--;
    memmove(&world->stores[0], &world->stores[1], sizeof store * world->stores_count);
    for (uint32_t i = 0; request != NULL && i < request->operations_count; i++) {
        request->states[i].has =
            request->states[i].has || (stored->stored.ok && store.for_operation[i]);
    }
    event.kind = CHORD_EVENT_STORED;
    event.stored.store_op = store.op;
    world_step(world, &event);
}

void world_derived(struct world *world, bool found, const struct chord_id *id) {
    struct chord_event event = {.kind = CHORD_EVENT_ID_DERIVED};
    if (world->deriving > 0) {
        world->deriving--;
        event.id_derived.found = found;
        event.id_derived.id = *id;
        world_step(world, &event);
    }
}

/* ---- an honest world ---- */

/* Peers of the ring in clockwise order from `id` on, `id` itself excluded. */
static void around(const struct world *world, const struct chord_id *id,
                   struct chord_peer_list *list) {
    list->count = 0;
    for (unsigned i = 0; i < world->members; i++) {
        struct chord_peer peer = world_peer(world, i);
        uint16_t at = list->count;
        if (id_equal(&peer.id, id)) {
            continue;
        }
        while (at > 0 && id_in_open(id, &peer.id, &list->items[at - 1].id)) {
            list->items[at] = list->items[at - 1];
            at--;
        }
        list->items[at] = peer;
        list->count++;
    }
}

void world_honest(const struct world *world, const struct world_call *call,
                  struct chord_response *response) {
    struct chord_peer_list list;
    unsigned who = world_peer_at(call->address);
    struct chord_peer self = world_peer(world, who);
    memset(response, 0, sizeof *response);
    response->kind = call->request.kind;
    response->gone = who >= world->members;
    switch (call->request.kind) {
    case CHORD_PING:
        response->ping.self = self;
        response->ping.state = CHORD_STATE_MEMBER;
        response->ping.parameters = world->parameters;
        response->ping.formed = world->members > world->parameters.n;
        break;
    case CHORD_FIND_SUCCESSOR:
        around(world, &call->request.id, &list);
        response->ring.found = true;
        response->ring.node = list.count > 0 ? list.items[0] : self;
        response->ring.self = list.count > 0 ? list.items[list.count - 1] : self;
        break;
    case CHORD_GET_PREDECESSOR:
    case CHORD_GET_SUCCESSORS:
        around(world, &self.id, &list);
        if (call->request.kind == CHORD_GET_PREDECESSOR && list.count > 0) {
            response->ring.node = list.items[list.count - 1];
        }
        response->ring.successors = list;
        break;
    case CHORD_JOIN:
        around(world, &self.id, &response->join.successors);
        response->join.result = CHORD_JOIN_ADMITTED;
        response->join.formed = world->members > world->parameters.n;
        break;
    case CHORD_TRANSFER_KEYS:
        response->transfer.done = true;
        break;
    case CHORD_SYNC:
        response->view.confirmed = true;
        break;
    default:
        break;
    }
}

void world_drain(struct world *world) {
    struct chord_event stored = {.kind = CHORD_EVENT_STORED};
    stored.stored.ok = stored.stored.done = true;
    for (unsigned round = 0; round < DRAIN_ROUNDS && !world->refused; round++) {
        while (world->stores_count > 0 && !world->refused) {
            world_stored(world, &stored);
        }
        while (world->deriving > 0 && !world->refused) {
            struct chord_id id = world_id(world, 200);
            world_derived(world, true, &id);
        }
        for (unsigned i = world->calls_count; i > 0 && !world->refused; i--) {
            world_failure(world, 0, false);
        }
        if (!world->refused) {
            world_tick(world, world->now_ms + (round == 0 ? TIMEOUT_MS_MAX : 250));
        }
    }
    for (unsigned i = 0; i < REQUESTS_MAX && !world->refused; i++) {
        must(world->requests[i].id == 0 || world->requests[i].replied, "a request without a reply");
    }
}

/* ---- lives ---- */

void world_forget(struct world *world) {
    for (unsigned i = 0; i < REQUESTS_MAX; i++) {
        world->requests[i].id = 0;
    }
    world->calls_count = world->stores_count = world->resumes_count = 0;
    world->deriving = world->spins = 0;
    world->refused = false;
}

void world_start(struct world *world, const struct chord_event *start) {
    struct chord_event event = *start;
    void *memory = calloc(1, chord_size(&world->config.limits));
    must(memory != NULL, "no memory");
    world->chord = chord_init(memory, &world->config);
    for (unsigned i = 0; i < world->views_count; i++) {
        chord_restore_view(world->chord, &world->views[i]);
    }
    world_step(world, &event);
}

void world_restart(struct world *world, const struct chord_event *start) {
    world_free(world);
    world_forget(world);
    world_start(world, start);
}

void world_free(struct world *world) {
    free(world->chord);
    world->chord = NULL;
}

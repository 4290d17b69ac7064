/* SPDX-License-Identifier: MIT */
/*
 * See core_host.h: what tests call: nodes, clients, time, and looking at the whole.
 */
#include "core_host_state.h"

static const struct chord_limits small_limits = {.peers_max = 96,
                                                 .views_max = 96,
                                                 .calls_max = 512,
                                                 .lookups_max = 64,
                                                 .paths_max = 8,
                                                 .batches_max = 128,
                                                 .transfers_max = 32,
                                                 .decisions_max = 16,
                                                 .keys_in_flight_max = 4096};

struct chord_limits host_limits_small(unsigned n) {
    return (struct chord_limits){.peers_max = (uint16_t)(2 * n + 20),
                                 .known_max = (uint16_t)(n + 1),
                                 .seeds_max = 8,
                                 .calls_max = 8,
                                 .lookups_max = 3,
                                 .batches_max = 1,
                                 .transfers_max = 1,
                                 .keys_in_flight_max = 1};
}

struct host *host_new(const struct host_config *config) {
    struct host *host = memory(sizeof *host);
    host->config = *config;
    struct host_config *used = &host->config;
    used->delay_us_min = used->delay_us_max > 0 ? used->delay_us_min : 200;
    used->delay_us_max = used->delay_us_max > 0 ? used->delay_us_max : 2000;
    used->store_us_min = used->store_us_max > 0 ? used->store_us_min : 100;
    used->store_us_max = used->store_us_max > 0 ? used->store_us_max : 3000;
    used->page_rows = used->page_rows > 0 ? used->page_rows : 8;
    used->limits = used->limits.peers_max > 0 ? used->limits : small_limits;
    used->limits.views_max = used->ring_only ? 0 : used->limits.views_max;
    used->timing = used->timing.stabilize_period_ms > 0 ? used->timing : chord_timing_default;
    host->random_network = config->seed * 3 + 1;
    host->random_nodes = config->seed * 5 + 2;
    host->random_test = config->seed * 7 + 3;
    host->random_store = config->seed * 11 + 4;
    host->now_us = 1000000;
    host->wheel = memory(sizeof *host->wheel * WHEEL_MS);
    used->traces = used->traces || getenv("CHORD_TEST_TRACE") != NULL;
    host->asked = HOST_NOBODY;
    return host;
}

void host_free(struct host *host) {
    if (host == NULL) {
        return;
    }
    host->config.on_end = NULL;
    for (int i = 0; i < host->count; i++) {
        host_kill(host, i);
        core_store_clear(&host->nodes[i].public.store);
        free(host->nodes[i].callers);
    }
    for (size_t i = 0; i < host->heap_count; i++) {
        event_free(&host->events[host->heap[i].event]);
    }
    for (size_t k = 0; k < WHEEL_MS; k++) {
        for (size_t i = 0; i < host->wheel[k].count; i++) {
            event_free(&host->events[host->wheel[k].items[i].event]);
        }
        free(host->wheel[k].items);
    }
    free(host->wheel);
    free(host->heap);
    for (uint32_t i = 0; i < host->slots_used; i++) {
        free(host->slots[i].indices);
    }
    free(host->nodes);
    free(host->slots);
    free(host->links);
    free(host->events);
    free(host->events_free);
    for (size_t i = 0; i < host->clients_count; i++) {
        free(host->clients[i]->operations);
        free(host->clients[i]);
    }
    free(host->clients);
    free(host);
}

struct host_config *host_config_of(struct host *host) {
    return &host->config;
}

/* ---- nodes ---- */

static void new_disk(struct host *host, struct core_store *store) {
    core_store_clear(store);
    for (unsigned i = 0; i < CHORD_STORE_ID_BYTES; i++) {
        store->store_id[i] = (uint8_t)random_of(&host->random_nodes);
    }
}

int host_add(struct host *host) {
    CHORD_ASSERT(host->count < HOST_NODES_MAX);
    size_t room = (size_t)host->room;
    host->nodes = grown(host->nodes, (size_t)host->count, &room, sizeof *host->nodes);
    host->room = (int)room;
    struct node *node = &host->nodes[host->count];
    memset(node, 0, sizeof *node);
    snprintf(node->public.address, CHORD_ADDRESS_BYTES, "host:%d", HOST_PORT_FIRST + host->count);
    node->public.host_id =
        host->config.hosts > 0 ? 1 + (uint64_t)host->count % host->config.hosts : 0;
    node->tick_us = UINT64_MAX;
    new_disk(host, &node->public.store);
    return host->count++;
}

/* Of the rings built apart, the node that creates this one's. */
static int ring_first(const struct host *host, int index) {
    int first = 0;
    while (host->nodes[first].public.ring != host->nodes[index].public.ring) {
        first++;
    }
    return first;
}

/* The first has none: it creates. The others ask the first ones, as people do it; where there are
 * many, some anywhere: the first cannot serve all. */
static void seeds_add(struct host *host, int index, struct chord_event *event) {
    bool many = host->count > CHORD_SEEDS_MAX * 4;
    if (event->start.create) {
        return;
    }
    for (int i = 0; i < host->count && event->start.seeds_count < CHORD_SEEDS_MAX; i++) {
        int seed = many ? (int)between(&host->random_nodes, 0, (uint64_t)host->count - 1) : i;
        bool same = host->nodes[seed].public.ring == host->nodes[index].public.ring;
        if (seed != index && same) {
            memcpy(event->start.seeds[event->start.seeds_count++].text,
                   host->nodes[seed].public.address, CHORD_ADDRESS_BYTES);
        }
    }
}

void host_start(struct host *host, int index) {
    struct node *node = &host->nodes[index];
    CHORD_ASSERT(!node->public.alive);
    struct chord_config config = {.limits = host->config.limits, .timing = host->config.timing};
    config.seed = random_of(&host->random_nodes);
    config.places_evenly = host->config.places_evenly;
    memcpy(config.address, node->public.address, CHORD_ADDRESS_BYTES);
    memcpy(config.store_id, node->public.store.store_id, CHORD_STORE_ID_BYTES);
    config.host_id = node->public.host_id;
    core_store_runs_at(&node->public.store, node->public.address);
    config.former_count = node->public.store.former_count;
    memcpy(config.former, node->public.store.former, sizeof config.former);
    node->public.chord = chord_init(memory(chord_size(&config.limits)), &config);
    node->public.alive = true;
    node->public.left = false;
    node->public.refused = NULL;
    node->public.copy = false;
    node->public.lives++;
    node->tick_us = UINT64_MAX;
    node->store_us = 0;
    for (uint16_t i = 0; i < node->public.store.views_count; i++) {
        CHORD_ASSERT(chord_restore_view(node->public.chord, &node->public.store.views[i]));
    }
    struct chord_event event = {.kind = CHORD_EVENT_START};
    event.start.stored = node->public.store.identity;
    event.start.wanted = node->public.wanted;
    bool first = ring_first(host, index) == index;
    event.start.create = first && node->public.lives == 1; /* a lost disk asks the others */
    if (first) {
        event.start.wanted.m = host->config.m;
        event.start.wanted.n = host->config.n;
        event.start.wanted.replicas = host->config.replicas;
        memset(event.start.wanted.ring_id, 0x11 + node->public.ring, CHORD_RING_ID_BYTES);
    }
    seeds_add(host, index, &event);
    step(host, index, &event);
}

void host_kill(struct host *host, int index) {
    struct node *node = &host->nodes[index];
    if (!node->public.alive) {
        return;
    }
    node->public.alive = false;
    while (node->open != NULL) {
        open_free(node, node->open);
    }
    jobs_free(node);
    free(node->public.chord);
    node->public.chord = NULL;
    free(node->examined.writes);
    node->examined = (struct operation_memory){0};
    node->public.paused_until_us = 0;
    for (size_t i = 0; i < node->waiting_count; i++) {
        node->waiting[i].time_us = host->now_us;
        push(host, node->waiting[i]); /* ends the calls that it waited for */
    }
    free(node->waiting);
    node->waiting = NULL;
    node->waiting_count = node->waiting_room = 0;
    network_forget(host, index);
    if (host->config.on_end != NULL) {
        host->config.on_end(host->config.context, host, index);
    }
}

void host_wipe(struct host *host, int index) {
    CHORD_ASSERT(!host->nodes[index].public.alive);
    new_disk(host, &host->nodes[index].public.store);
}

void host_clone(struct host *host, int index, int to) {
    CHORD_ASSERT(!host->nodes[to].public.alive);
    core_store_copy(&host->nodes[to].public.store, &host->nodes[index].public.store);
    host->nodes[to].public.ring = host->nodes[index].public.ring;
    host->nodes[to].public.wanted = host->nodes[index].public.wanted;
}

/* Its port says who it is in any case: host_by_address. */
void host_move(struct host *host, int index) {
    struct host_node *node = &host->nodes[index].public;
    CHORD_ASSERT(!node->alive);
    node->moves++;
    snprintf(node->address, CHORD_ADDRESS_BYTES, "host:%d",
             HOST_PORT_FIRST + index + node->moves * HOST_NODES_MAX);
}

void host_rename(struct host *host, int index) {
    host_move(host, index);
    host->nodes[index].public.names_kept = true;
}

void host_leave(struct host *host, int index) {
    struct chord_event event = {.kind = CHORD_EVENT_LEAVE};
    step(host, index, &event);
}

void host_join(struct host *host, int index, bool another_place) {
    struct chord_event event = {.kind = CHORD_EVENT_JOIN};
    event.join.another_place = another_place;
    host->nodes[index].public.left = false;
    step(host, index, &event);
}

void host_pause(struct host *host, int index, uint64_t us) {
    struct node *node = &host->nodes[index];
    node->public.paused_until_us = host->now_us + us;
    if (us > 0 || node->waiting_count > 0) {
        push(host, (struct event){.kind = EVENT_WAKE,
                                  .time_us = node->public.paused_until_us,
                                  .node = index,
                                  .life = node->public.lives});
    }
}

void host_clock(struct host *host, int index, int ppm, uint64_t jump_us) {
    struct node *node = &host->nodes[index];
    uint64_t local_us = clock_ms(host, node) * 1000 + jump_us;
    CHORD_ASSERT(ppm > -1000000);
    node->clock_local_us = local_us;
    node->clock_since_us = host->now_us;
    node->clock_ppm = ppm;
    if (node->public.alive) { /* its next tick may be due at another moment now */
        node->tick_us = host->now_us;
        push(host, (struct event){.kind = EVENT_TICK,
                                  .time_us = host->now_us,
                                  .node = index,
                                  .life = node->public.lives});
    }
}

int host_count(const struct host *host) {
    return host->count;
}

struct host_node *host_node(struct host *host, int index) {
    CHORD_ASSERT(index >= 0 && index < host->count);
    return &host->nodes[index].public;
}

void host_status(struct host *host, int index, struct chord_status *status) {
    chord_read_status(host->nodes[index].public.chord, status);
}

/* ---- time ---- */

uint64_t host_now_us(const struct host *host) {
    return host->now_us;
}

void host_run(struct host *host, uint64_t ms) {
    uint64_t until_us = host->now_us + ms * 1000;
    while (next_us(host) <= until_us) {
        host_step(host);
    }
    host->now_us = until_us;
}

bool host_run_until(struct host *host, bool (*condition)(struct host *), uint64_t ms) {
    for (uint64_t spent = 0; spent <= ms; spent += 10) {
        if (condition(host)) {
            return true;
        }
        host_run(host, 10);
    }
    return false;
}

/* ---- clients ---- */

static struct host_call *client_new(struct host *host, int index, struct parcel *parcel,
                                    uint32_t timeout_ms) {
    struct host_call *call = memory(sizeof *call);
    call->started_us = host->now_us;
    call->operations_count = parcel->operations_count;
    call->operations =
        copy_of(parcel->operations, sizeof *parcel->operations * parcel->operations_count);
    host->clients = realloc(host->clients, sizeof *host->clients * (host->clients_count + 1));
    CHORD_ASSERT(host->clients != NULL);
    host->clients[host->clients_count++] = call;
    call_new(host, HOST_NOBODY, index, timeout_ms, parcel)->client = call;
    return call;
}

void host_forget_calls(struct host *host) {
    size_t kept = 0;
    for (size_t i = 0; i < host->clients_count; i++) {
        if (host->clients[i]->done) {
            free(host->clients[i]->operations);
            free(host->clients[i]);
        } else {
            host->clients[kept++] = host->clients[i];
        }
    }
    host->clients_count = kept;
}

struct host_call *host_batch(struct host *host, int index, const struct host_operation *operations,
                             uint32_t count, uint32_t timeout_ms) {
    struct chord_request request = {.kind = CHORD_BATCH};
    struct parcel *parcel = parcel_request(&request);
    parcel->operations = copy_of(operations, sizeof *operations * count);
    parcel->operations_count = count;
    return client_new(host, index, parcel, timeout_ms);
}

struct host_call *host_request(struct host *host, int index, const struct chord_request *request,
                               uint32_t timeout_ms) {
    return client_new(host, index, parcel_request(request), timeout_ms);
}

void host_event(struct host *host, int index, struct chord_event *event) {
    step(host, index, event);
}

int host_asked(const struct host *host) {
    return host->asked;
}

const struct chord_actions *host_actions(const struct host *host) {
    return &host->actions;
}

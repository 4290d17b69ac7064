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
                                                 .keys_in_flight_max = 4096};

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
    host->random_network = config->seed * 3 + 1;
    host->random_nodes = config->seed * 5 + 2;
    host->random_test = config->seed * 7 + 3;
    host->now_us = 1000000;
    host->traces = getenv("CHORD_TEST_TRACE") != NULL;
    return host;
}

void host_free(struct host *host) {
    if (host == NULL) {
        return;
    }
    for (int i = 0; i < host->count; i++) {
        host_kill(host, i);
        core_store_clear(&host->nodes[i].public.store);
    }
    for (size_t i = 0; i < host->heap_count; i++) {
        event_free(&host->heap[i]);
    }
    for (uint32_t i = 0; i < host->slots_used; i++) {
        free(host->slots[i].indices);
    }
    for (size_t i = 0; i < host->clients_count; i++) {
        free(host->clients[i]->operations);
        free(host->clients[i]);
    }
    free(host->clients);
    free(host->heap);
    free(host);
}

/* ---- nodes ---- */

static void new_disk(struct host *host, struct core_store *store) {
    core_store_clear(store);
    store->views = memory(sizeof *store->views * CORE_VIEWS_MAX);
    for (unsigned i = 0; i < CHORD_STORE_ID_BYTES; i++) {
        store->store_id[i] = (uint8_t)random_of(&host->random_nodes);
    }
}

int host_add(struct host *host) {
    CHORD_ASSERT(host->count < HOST_NODES_MAX);
    struct node *node = &host->nodes[host->count];
    snprintf(node->public.address, CHORD_ADDRESS_BYTES, "host:%d", 4000 + host->count);
    node->tick_us = UINT64_MAX;
    new_disk(host, &node->public.store);
    return host->count++;
}

void host_start(struct host *host, int index) {
    struct node *node = &host->nodes[index];
    CHORD_ASSERT(!node->public.alive);
    struct chord_config config = {.limits = host->config.limits, .timing = chord_timing_default};
    config.seed = random_of(&host->random_nodes);
    memcpy(config.address, node->public.address, CHORD_ADDRESS_BYTES);
    memcpy(config.store_id, node->public.store.store_id, CHORD_STORE_ID_BYTES);
    node->public.chord = chord_init(memory(chord_size(&config.limits)), &config);
    node->public.alive = true;
    node->public.left = false;
    node->public.refused = NULL;
    node->public.lives++;
    node->tick_us = UINT64_MAX;
    node->store_us = 0;
    for (uint16_t i = 0; i < node->public.store.views_count; i++) {
        CHORD_ASSERT(chord_restore_view(node->public.chord, &node->public.store.views[i]));
    }
    struct chord_event event = {.kind = CHORD_EVENT_START};
    event.start.stored = node->public.store.identity;
    event.start.wanted = node->public.wanted;
    for (int i = 0; i < index && event.start.seeds_count < CHORD_SEEDS_MAX; i++) {
        if (host->nodes[i].public.ring == node->public.ring) {
            memcpy(event.start.seeds[event.start.seeds_count++].text, host->nodes[i].public.address,
                   CHORD_ADDRESS_BYTES);
        }
    }
    event.start.create = event.start.seeds_count == 0;
    if (event.start.create) {
        event.start.wanted.m = host->config.m;
        event.start.wanted.n = host->config.n;
        event.start.wanted.replicas = host->config.replicas;
        memset(event.start.wanted.ring_id, 0x11 + node->public.ring, CHORD_RING_ID_BYTES);
    }
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
    free(node->public.chord);
    node->public.chord = NULL;
    for (uint32_t i = 0; i < host->slots_used; i++) {
        if (host->slots[i].to == index) {
            host->slots[i].broken_us = host->now_us;
        }
    }
    push(host, (struct event){
                   .kind = EVENT_BROKEN, .node = index, .time_us = host->now_us + delay(host)});
    for (int i = 0; i < host->count; i++) {
        if (host->nodes[i].public.alive) {
            push(host, (struct event){.kind = EVENT_DISCONNECTED,
                                      .node = i,
                                      .from = index,
                                      .life = host->nodes[i].public.lives,
                                      .time_us = host->now_us + delay(host)});
        }
    }
}

void host_wipe(struct host *host, int index) {
    CHORD_ASSERT(!host->nodes[index].public.alive);
    new_disk(host, &host->nodes[index].public.store);
}

void host_leave(struct host *host, int index) {
    struct chord_event event = {.kind = CHORD_EVENT_LEAVE};
    step(host, index, &event);
}

void host_join(struct host *host, int index) {
    struct chord_event event = {.kind = CHORD_EVENT_JOIN};
    host->nodes[index].public.left = false;
    step(host, index, &event);
}

void host_cut(struct host *host, int a, int b, bool cut) {
    host->cut[a][b] = host->cut[b][a] = cut;
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
    while (host->heap_count > 0 && host->heap[0].time_us <= until_us) {
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

struct host_call *host_batch(struct host *host, int index, const struct host_operation *operations,
                             uint32_t count, uint32_t timeout_ms) {
    struct parcel *parcel = memory(sizeof *parcel);
    parcel->request.kind = CHORD_BATCH;
    parcel->operations = copy_of(operations, sizeof *operations * count);
    parcel->operations_count = count;
    return client_new(host, index, parcel, timeout_ms);
}

struct host_call *host_request(struct host *host, int index, const struct chord_request *request,
                               uint32_t timeout_ms) {
    struct parcel *parcel = memory(sizeof *parcel);
    parcel->request = *request;
    return client_new(host, index, parcel, timeout_ms);
}

void host_event(struct host *host, int index, struct chord_event *event) {
    step(host, index, event);
}

const struct chord_actions *host_actions(const struct host *host) {
    return &host->actions;
}

/* ---- looking ---- */

static bool member(struct host *host, int index) {
    struct chord_status status;
    if (!host->nodes[index].public.alive) {
        return false;
    }
    host_status(host, index, &status);
    return status.state == CHORD_STATE_MEMBER || status.state == CHORD_STATE_LEAVING;
}

static struct chord_id id_at(struct host *host, int index) {
    struct chord_status status;
    host_status(host, index, &status);
    return status.self.id;
}

int host_members(struct host *host) {
    int count = 0;
    for (int i = 0; i < host->count; i++) {
        count += member(host, i);
    }
    return count;
}

int host_by_address(struct host *host, const char *address) {
    for (int i = 0; i < host->count; i++) {
        if (strcmp(host->nodes[i].public.address, address) == 0) {
            return i;
        }
    }
    return HOST_NOBODY;
}

/* The live members by clockwise distance from `from`; an equal id comes last. */
static int members_after(struct host *host, const struct chord_id *from, int members[]) {
    int count = 0;
    for (int i = 0; i < host->count; i++) {
        if (!member(host, i)) {
            continue;
        }
        struct chord_id id = id_at(host, i);
        int at = count++;
        for (; at > 0; at--) {
            struct chord_id other = id_at(host, members[at - 1]);
            if (!id_in_open(from, &id, &other)) {
                break;
            }
            members[at] = members[at - 1];
        }
        members[at] = i;
    }
    return count;
}

int host_owner(struct host *host, const struct chord_id *id) {
    int members[HOST_NODES_MAX];
    int count = members_after(host, id, members);
    struct chord_id last = {{0}};
    if (count == 0) {
        return HOST_NOBODY;
    }
    last = id_at(host, members[count - 1]);
    return id_equal(&last, id) ? members[count - 1] : members[0];
}

bool host_ideal(struct host *host) {
    int members[HOST_NODES_MAX];
    for (int i = 0; i < host->count; i++) {
        struct chord_status status;
        if (!host->nodes[i].public.alive || host->nodes[i].public.left) {
            continue;
        }
        if (!member(host, i)) {
            return false;
        }
        host_status(host, i, &status);
        int count = members_after(host, &status.self.id, members);
        if (members[count - 1] != i) {
            return false; /* another one has our id */
        }
        int wanted = count - 1 < (int)host->config.n ? count - 1 : (int)host->config.n;
        bool right = status.successors.count == wanted && status.has_predecessor == (count > 1);
        for (int k = 0; k < wanted && right; k++) {
            struct chord_status other;
            host_status(host, members[k], &other);
            right = strcmp(status.successors.items[k].address, other.self.address) == 0 &&
                    status.successors.items[k].incarnation == other.self.incarnation;
        }
        if (!right || (count > 1 &&
                       host_by_address(host, status.predecessor.address) != members[count - 2])) {
            return false;
        }
    }
    return true;
}

bool host_settled(struct host *host) {
    int members = host_members(host);
    unsigned wanted =
        (unsigned)members < host->config.replicas ? (unsigned)members : host->config.replicas;
    unsigned open = 0;
    if (!host_ideal(host)) {
        return false;
    }
    for (int i = 0; i < host->count; i++) {
        for (uint16_t k = 0; host->nodes[i].public.alive; k++) {
            enum chord_range_state state;
            unsigned copies;
            const struct chord_view *view =
                chord_view_at(host->nodes[i].public.chord, k, &state, &copies);
            if (view == NULL) {
                break;
            }
            if (state == CHORD_RANGE_SETTLING || state == CHORD_RANGE_CHANGING) {
                return false;
            }
            if (state == CHORD_RANGE_OPEN) {
                if (copies != wanted || view->members_count != wanted ||
                    host_owner(host, &view->range.hi) != i || ++open > (unsigned)members) {
                    return false;
                }
            }
        }
    }
    return open == (unsigned)members;
}

static void print_views(struct host *host, int index) {
    static const char *const states[] = {"none",     "replica", "settling", "open",
                                         "changing", "retired", "gone"};
    enum chord_range_state state;
    unsigned copies;
    const struct chord_view *view;
    for (uint16_t k = 0;
         (view = chord_view_at(host->nodes[index].public.chord, k, &state, &copies)) != NULL; k++) {
        fprintf(stderr,
                "    (%02x%02x,%02x%02x] epoch %llu %s copies %u:", view->range.lo.bytes[18],
                view->range.lo.bytes[19], view->range.hi.bytes[18], view->range.hi.bytes[19],
                (unsigned long long)view->epoch, states[state], copies);
        for (uint16_t i = 0; i < view->members_count; i++) {
            fprintf(stderr, " %s%s", view->members[i].address, i == view->leader ? "*" : "");
        }
        fprintf(stderr, "\n");
    }
}

void host_print(struct host *host) {
    fprintf(stderr, "at %llu us:\n", (unsigned long long)host->now_us);
    for (int i = 0; i < host->count; i++) {
        struct chord_status status;
        if (!host->nodes[i].public.alive) {
            fprintf(stderr, "  node %d is down\n", i);
            continue;
        }
        host_status(host, i, &status);
        fprintf(stderr, "  node %d %02x%02x state %d%s incarnation %llu predecessor %s successors",
                i, status.self.id.bytes[18], status.self.id.bytes[19], (int)status.state,
                status.formed ? " formed" : "", (unsigned long long)status.self.incarnation,
                status.has_predecessor ? status.predecessor.address : "none");
        for (uint16_t k = 0; k < status.successors.count; k++) {
            fprintf(stderr, " %s/%llu", status.successors.items[k].address,
                    (unsigned long long)status.successors.items[k].incarnation);
        }
        fprintf(stderr, "\n");
        print_views(host, i);
    }
}

uint64_t host_digest(const struct host *host) {
    return host->digest;
}

uint64_t host_random(struct host *host) {
    return random_of(&host->random_test);
}

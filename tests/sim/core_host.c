/*
 * See core_host.h: the heap of events, the network, one step of a node. It takes no protocol
 * decision.
 */
#include "core_host_state.h"

static struct host *host_now; /* for the assertion only */

_Noreturn void chord_assert_failed(const char *file, int line, const char *condition) {
    fprintf(stderr, "%s:%d: assertion failed: %s; seed %llu, at %llu us\n", file, line, condition,
            host_now != NULL ? (unsigned long long)host_now->config.seed : 0,
            host_now != NULL ? (unsigned long long)host_now->now_us : 0);
    abort();
}

uint64_t random_of(uint64_t *state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15u; /* splitmix64 */
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

uint64_t between(uint64_t *state, uint64_t low, uint64_t high) {
    return low + random_of(state) % (high - low + 1);
}

void *memory(size_t bytes) {
    void *block = calloc(1, bytes > 0 ? bytes : 1);
    CHORD_ASSERT(block != NULL);
    return block;
}

void *copy_of(const void *bytes, size_t count) {
    void *block = memory(count);
    if (count > 0) {
        memcpy(block, bytes, count);
    }
    return block;
}

/* ---- the heap ---- */

static bool before(const struct event *a, const struct event *b) {
    return a->time_us != b->time_us ? a->time_us < b->time_us : a->sequence < b->sequence;
}

void push(struct host *host, struct event event) {
    if (host->heap_count == host->heap_room) {
        host->heap_room = host->heap_room * 2 + 64;
        host->heap = realloc(host->heap, sizeof event * host->heap_room);
        CHORD_ASSERT(host->heap != NULL);
    }
    event.sequence = ++host->sequence;
    size_t at = host->heap_count++;
    for (; at > 0 && before(&event, &host->heap[(at - 1) / 2]); at = (at - 1) / 2) {
        host->heap[at] = host->heap[(at - 1) / 2];
    }
    host->heap[at] = event;
}

static struct event pop(struct host *host) {
    struct event top = host->heap[0], last = host->heap[--host->heap_count];
    size_t at = 0;
    for (size_t child; (child = 2 * at + 1) < host->heap_count; at = child) {
        if (child + 1 < host->heap_count && before(&host->heap[child + 1], &host->heap[child])) {
            child++;
        }
        if (!before(&host->heap[child], &last)) {
            break;
        }
        host->heap[at] = host->heap[child];
    }
    host->heap[at] = last;
    return top;
}

static void parcel_free(struct parcel *parcel) {
    if (parcel != NULL) {
        free(parcel->rows);
        free(parcel->operations);
        free(parcel);
    }
}

static void job_free(struct job *job) {
    if (job != NULL) {
        free(job->views);
        free(job->rows);
        free(job->indices);
        free(job);
    }
}

void event_free(struct event *event) {
    parcel_free(event->parcel);
    job_free(event->job);
}

/* ---- requests that a node holds ---- */

struct open *open_find(struct node *node, uint64_t id) {
    struct open *open = node->open;
    while (open != NULL && open->id != id) {
        open = open->next;
    }
    return open;
}

void open_free(struct node *node, struct open *open) {
    struct open **link = &node->open;
    while (*link != open) {
        link = &(*link)->next;
    }
    *link = open->next;
    parcel_free(open->parcel);
    free(open->operations);
    free(open->page);
    free(open);
}

static void give(struct host *host, int index, struct open *open) {
    struct chord_event event = {.kind = CHORD_EVENT_REQUEST};
    event.request.request_id = open->id;
    event.request.timeout_ms = open->timeout_ms;
    event.request.request = &open->parcel->request;
    event.request.operations = open->operations;
    event.request.operations_count = open->parcel->operations_count;
    step(host, index, &event);
}

/* ---- the network ---- */

uint64_t delay(struct host *host) {
    return between(&host->random_network, host->config.delay_us_min, host->config.delay_us_max);
}

static bool lost(struct host *host, int from, int to, struct parcel *parcel, bool reply) {
    struct host_message message = {from, to, reply ? parcel->response.kind : parcel->request.kind,
                                   reply ? NULL : &parcel->request,
                                   reply ? &parcel->response : NULL};
    bool line = from == HOST_NOBODY || to == HOST_NOBODY || !host->cut[from][to];
    bool lucky = random_of(&host->random_network) % 100 >= host->config.lose_percent;
    return !line || !lucky ||
           (host->config.on_message != NULL &&
            !host->config.on_message(host->config.context, &message));
}

static struct parcel *parcel_copy(const struct parcel *parcel) {
    struct parcel *copy = copy_of(parcel, sizeof *parcel);
    copy->rows = copy_of(parcel->rows, sizeof *parcel->rows * parcel->rows_count);
    copy->operations =
        copy_of(parcel->operations, sizeof *parcel->operations * parcel->operations_count);
    return copy;
}

struct slot *call_new(struct host *host, int from, int to, uint32_t timeout_ms,
                      struct parcel *parcel) {
    uint32_t at = host->slots_free > 0 ? host->slots_free - 1 : host->slots_used++;
    CHORD_ASSERT(at < CALL_SLOTS_MAX);
    host->slots_free = host->slots_free > 0 ? host->slots[at].next_free : 0;
    struct slot *slot = &host->slots[at];
    uint32_t generation = slot->generation + 1;
    memset(slot, 0, sizeof *slot);
    slot->used = true;
    slot->generation = generation;
    slot->node = from;
    slot->to = to;
    slot->life = from != HOST_NOBODY ? host->nodes[from].public.lives : 0;
    slot->sent_us = host->now_us;
    slot->kind = parcel->request.kind;
    struct event timeout = {.kind = EVENT_TIMEOUT, .call = at, .generation = generation};
    slot->unsent = to == HOST_NOBODY || !host->nodes[to].public.alive;
    if (slot->unsent && timeout_ms > CONNECT_MS_MAX) {
        timeout_ms = CONNECT_MS_MAX;
    }
    timeout.time_us = host->now_us + (uint64_t)timeout_ms * 1000;
    push(host, timeout);
    if (slot->unsent) {
        parcel_free(parcel);
        return slot;
    }
    struct event event = {.kind = EVENT_REQUEST,
                          .node = to,
                          .from = from,
                          .call = at,
                          .generation = generation,
                          .timeout_ms = timeout_ms,
                          .parcel = parcel};
    event.time_us = host->now_us + delay(host);
    if (random_of(&host->random_network) % 100 < host->config.double_percent &&
        slot->kind != CHORD_BATCH) { /* until op_id and attempt tell a repeated write */
        struct event twin = event;
        twin.parcel = parcel_copy(parcel);
        twin.time_us = host->now_us + 3 * delay(host);
        push(host, twin);
    }
    push(host, event);
    return slot;
}

/* ---- one step ---- */

static void print_traces(struct host *host, int index) {
    for (uint16_t i = 0; host->traces && i < host->actions.traces_count; i++) {
        const struct chord_trace *trace = &host->actions.traces[i];
        printf("%9.3f node %d %-17s %s %s epoch=%llu count=%llu", (double)host->now_us / 1000,
               index, chord_word_text(trace->word), trace->note, trace->address,
               (unsigned long long)trace->epoch, (unsigned long long)trace->count);
        if (trace->has_range) {
            printf(" (%02x%02x,%02x%02x]", trace->range.lo.bytes[18], trace->range.lo.bytes[19],
                   trace->range.hi.bytes[18], trace->range.hi.bytes[19]);
        }
        printf("\n");
    }
}

static void schedule_tick(struct host *host, int index) {
    struct node *node = &host->nodes[index];
    uint64_t deadline = chord_deadline(node->public.chord);
    if (deadline == UINT64_MAX) {
        return;
    }
    uint64_t due = deadline * 1000 > host->now_us ? deadline * 1000 : host->now_us;
    if (due < node->tick_us) {
        node->tick_us = due;
        push(host,
             (struct event){
                 .kind = EVENT_TICK, .time_us = due, .node = index, .life = node->public.lives});
    }
}

void step(struct host *host, int index, struct chord_event *event) {
    struct node *node = &host->nodes[index];
    host_now = host;
    event->now_ms = host->now_us / 1000;
    node->spins = node->spin_ms == event->now_ms ? node->spins + 1 : 0;
    node->spin_ms = event->now_ms;
    CHORD_ASSERT(node->spins < SPIN_MAX); /* a node that steps for ever in one millisecond */
    chord_step(node->public.chord, event, &host->actions);
    node->public.steps++;
    print_traces(host, index);
    for (uint16_t i = 0; i < host->actions.count; i++) {
        act(host, index, &host->actions.items[i]);
    }
    if (node->public.refused != NULL) {
        host_kill(host, index);
        return;
    }
    schedule_tick(host, index);
    if (host->config.on_step != NULL) {
        host->config.on_step(host->config.context, host, index);
    }
}

/* ---- what comes off the heap ---- */

static void deliver_request(struct host *host, struct event *event) {
    bool known = event->node != HOST_NOBODY && host->nodes[event->node].public.alive;
    if (!known || lost(host, event->from, event->node, event->parcel, false)) {
        return;
    }
    struct node *node = &host->nodes[event->node];
    struct open *open = memory(sizeof *open);
    struct parcel *parcel = open->parcel = event->parcel;
    event->parcel = NULL;
    open->id = ++host->request_last;
    open->call = event->call;
    open->generation = event->generation;
    open->timeout_ms = event->timeout_ms;
    open->operations = memory(sizeof *open->operations * parcel->operations_count);
    for (uint32_t i = 0; i < parcel->operations_count; i++) {
        open->operations[i].kind = parcel->operations[i].kind;
        core_hash(parcel->operations[i].key, open->operations[i].hash);
    }
    open->next = node->open;
    node->open = open;
    give(host, event->node, open);
}

static void client_done(struct host *host, struct slot *slot, struct parcel *parcel) {
    struct host_call *call = slot->client;
    call->done = true;
    call->done_us = host->now_us;
    call->code = parcel != NULL ? parcel->response.code
                 : slot->unsent ? CHORD_UNAVAILABLE
                                : CHORD_DEADLINE_EXCEEDED;
    if (parcel != NULL) {
        call->response = parcel->response;
    }
    for (uint32_t i = 0; i < call->operations_count; i++) {
        if (parcel != NULL && call->code == CHORD_OK) {
            call->operations[i] = parcel->operations[i];
        } else {
            call->operations[i].code = parcel != NULL || slot->unsent ? call->code : CHORD_UNKNOWN;
        }
    }
}

/* parcel NULL: time is up. */
static void call_end(struct host *host, struct slot *slot, struct parcel *parcel) {
    slot->done = true;
    if (slot->client != NULL) {
        client_done(host, slot, parcel);
    }
    if (slot->node == HOST_NOBODY || !host->nodes[slot->node].public.alive ||
        host->nodes[slot->node].public.lives != slot->life) {
        return;
    }
    struct chord_event event = {.kind = CHORD_EVENT_FAILURE};
    bool results = parcel != NULL && parcel->response.code == CHORD_OK;
    uint32_t count = slot->kind == CHORD_BATCH && (parcel == NULL || results)
                         ? forwarded(&host->nodes[slot->node], slot, parcel)
                         : 0;
    if (parcel == NULL) {
        event.failure.call_id = slot->call_id;
    } else {
        event.kind = CHORD_EVENT_REPLY;
        event.reply.call_id = slot->call_id;
        event.reply.microseconds = host->now_us - slot->sent_us + 1;
        event.reply.response = &parcel->response;
        if (slot->kind == CHORD_BATCH) {
            parcel->response.batch.finished = count;
        }
    }
    host->reply = parcel;
    step(host, slot->node, &event);
    host->reply = NULL;
}

static void on_timeout(struct host *host, struct slot *slot) {
    if (!slot->done) {
        call_end(host, slot, NULL);
    }
    free(slot->indices);
    slot->indices = NULL;
    slot->used = false;
    slot->next_free = host->slots_free;
    host->slots_free = (uint32_t)(slot - host->slots) + 1;
}

/* A closed connection ends the calls that were open on it. */
static void on_broken(struct host *host, int node) {
    for (uint32_t i = 0; i < host->slots_used; i++) {
        struct slot *slot = &host->slots[i];
        if (slot->used && !slot->done && slot->to == node && slot->sent_us < slot->broken_us) {
            call_end(host, slot, NULL);
        }
    }
}

static void to_node(struct host *host, struct event *event) {
    struct node *node = &host->nodes[event->node];
    struct chord_event core = {.kind = CHORD_EVENT_TICK};
    if (!node->public.alive || node->public.lives != event->life) {
        return;
    }
    switch (event->kind) {
    case EVENT_JOB:
        if (node->public.store_paused) {
            event->time_us = host->now_us + 5000;
            push(host, *event);
            event->job = NULL;
        } else {
            run_job(host, event->node, event->job);
        }
        break;
    case EVENT_RESUME: {
        struct open *open = open_find(node, event->id);
        if (open != NULL && !open->replied) {
            give(host, event->node, open);
        }
        break;
    }
    case EVENT_TICK:
        if (event->time_us == node->tick_us) {
            node->tick_us = UINT64_MAX;
            if (chord_deadline(node->public.chord) * 1000 <= host->now_us) {
                step(host, event->node, &core);
            } else {
                schedule_tick(host, event->node);
            }
        }
        break;
    case EVENT_DISCONNECTED:
        core.kind = CHORD_EVENT_DISCONNECTED;
        memcpy(core.disconnected.text, host->nodes[event->from].public.address,
               CHORD_ADDRESS_BYTES);
        step(host, event->node, &core);
        break;
    default:
        core.kind = CHORD_EVENT_ID_DERIVED;
        core.id_derived.found = event->id != 0;
        core.id_derived.salt = event->salt;
        core.id_derived.id = event->derived;
        step(host, event->node, &core);
        break;
    }
}

bool host_step(struct host *host) {
    if (host->heap_count == 0) {
        return false;
    }
    struct event event = pop(host);
    host->now_us = event.time_us;
    struct slot *slot = &host->slots[event.call];
    bool live = slot->used && slot->generation == event.generation;
    switch (event.kind) {
    case EVENT_REQUEST:
        deliver_request(host, &event);
        break;
    case EVENT_REPLY:
        if (live && !slot->done && !lost(host, event.node, slot->node, event.parcel, true)) {
            call_end(host, slot, event.parcel);
        }
        break;
    case EVENT_TIMEOUT:
        on_timeout(host, slot);
        break;
    case EVENT_BROKEN:
        on_broken(host, event.node);
        break;
    default:
        to_node(host, &event);
        break;
    }
    event_free(&event);
    return true;
}

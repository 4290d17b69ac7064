/* SPDX-License-Identifier: MIT */
/*
 * See core_host.h: the heap of events, clocks, one step of a node. It takes no protocol decision.
 */
#include "core_host_state.h"

static struct host *host_now; /* for the assertion only */

_Noreturn void chord_assert_failed(const char *file, int line, const char *condition) {
    char text[240];
    snprintf(text, sizeof text, "%s:%d: assertion failed: %s; seed %llu, at %llu us", file, line,
             condition, host_now != NULL ? (unsigned long long)host_now->config.seed : 0,
             host_now != NULL ? (unsigned long long)host_now->now_us : 0);
    if (host_now != NULL && host_now->config.on_assert != NULL) {
        host_now->config.on_assert(host_now->config.context, text);
    }
    fprintf(stderr, "%s\n", text);
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

void *grown(void *array, size_t count, size_t *room, size_t item_bytes) {
    if (count < *room) {
        return array;
    }
    *room = *room * 2 + 16;
    array = realloc(array, *room * item_bytes);
    CHORD_ASSERT(array != NULL);
    return array;
}

/* ---- the heap ---- */

static bool before(const struct due *a, const struct due *b) {
    return a->time_us != b->time_us ? a->time_us < b->time_us : a->sequence < b->sequence;
}

static uint32_t event_place(struct host *host) {
    if (host->events_free_count > 0) {
        return host->events_free[--host->events_free_count];
    }
    host->events = grown(host->events, host->events_used, &host->events_room, sizeof *host->events);
    return (uint32_t)host->events_used++;
}

static void heap_add(struct host *host, struct due due) {
    host->heap = grown(host->heap, host->heap_count, &host->heap_room, sizeof due);
    size_t at = host->heap_count++;
    for (; at > 0 && before(&due, &host->heap[(at - 1) / HEAP_WAYS]); at = (at - 1) / HEAP_WAYS) {
        host->heap[at] = host->heap[(at - 1) / HEAP_WAYS];
    }
    host->heap[at] = due;
}

void push(struct host *host, struct event event) {
    struct due due = {event.time_us, ++host->sequence, event_place(host)};
    uint64_t ms = event.time_us / 1000;
    host->events[due.event] = event;
    if (ms < host->wheel_ms || ms >= host->wheel_ms + WHEEL_MS) {
        heap_add(host, due);
        return;
    }
    struct bucket *bucket = &host->wheel[ms % WHEEL_MS];
    bucket->items = grown(bucket->items, bucket->count, &bucket->room, sizeof due);
    bucket->items[bucket->count++] = due;
    host->wheel_count++;
}

static void event_drop(struct host *host, uint32_t at) {
    host->events_free = grown(host->events_free, host->events_free_count, &host->events_free_room,
                              sizeof *host->events_free);
    host->events_free[host->events_free_count++] = at;
}

/* The next millisecond's bucket goes to the heap, but for the time-outs of calls that have ended.
 */
static void wheel_turn(struct host *host) {
    struct bucket *bucket = &host->wheel[host->wheel_ms++ % WHEEL_MS];
    host->wheel_count -= bucket->count;
    for (size_t i = 0; i < bucket->count; i++) {
        const struct event *event = &host->events[bucket->items[i].event];
        if (event->kind == EVENT_TIMEOUT && !call_open(host, event)) {
            event_drop(host, bucket->items[i].event);
        } else {
            heap_add(host, bucket->items[i]);
        }
    }
    bucket->count = 0;
}

uint64_t next_us(struct host *host) {
    while (host->wheel_count > 0 &&
           (host->heap_count == 0 || host->heap[0].time_us >= host->wheel_ms * 1000)) {
        wheel_turn(host);
    }
    uint64_t us = host->heap_count > 0 ? host->heap[0].time_us : UINT64_MAX;
    if (host->wheel_count == 0 && us != UINT64_MAX && us / 1000 >= host->wheel_ms) {
        host->wheel_ms = us / 1000 + 1; /* an empty wheel need not be turned step by step */
    }
    return us;
}

static size_t earliest_child(const struct host *host, size_t at) {
    size_t first = HEAP_WAYS * at + 1, best = first;
    for (size_t child = first + 1; child < first + HEAP_WAYS && child < host->heap_count; child++) {
        best = before(&host->heap[child], &host->heap[best]) ? child : best;
    }
    return best;
}

static struct event pop(struct host *host) {
    struct due top = host->heap[0], last = host->heap[--host->heap_count];
    size_t at = 0;
    while (HEAP_WAYS * at + 1 < host->heap_count) {
        size_t child = earliest_child(host, at);
        if (!before(&host->heap[child], &last)) {
            break;
        }
        host->heap[at] = host->heap[child];
        at = child;
    }
    host->heap[at] = last;
    event_drop(host, top.event);
    return host->events[top.event];
}

void event_free(struct event *event) {
    if (event->kind == EVENT_REQUEST || event->kind == EVENT_REPLY) {
        parcel_free(event->payload);
    } else {
        free(event->payload);
    }
}

/* ---- jobs of a node's store ---- */

void job_add(struct node *node, struct job *job) {
    if (node->jobs == NULL) {
        node->jobs_end = &node->jobs;
    }
    *node->jobs_end = job;
    node->jobs_end = &job->next;
}

static struct job *job_take(struct node *node) {
    struct job *job = node->jobs;
    node->jobs = job->next;
    return job;
}

static void job_free(struct job *job) {
    free(job->views);
    free(job->rows);
    free(job->indices);
    free(job);
}

void jobs_free(struct node *node) {
    while (node->jobs != NULL) {
        job_free(job_take(node));
    }
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
    free(open->states);
    free(open->page);
    free(open);
}

static void give(struct host *host, int index, struct open *open) {
    struct chord_event event = {.kind = CHORD_EVENT_REQUEST};
    event.request.request_id = open->id;
    event.request.timeout_ms = open->timeout_ms;
    event.request.request = parcel_request_of(open->parcel);
    event.request.operations = open->operations;
    event.request.operations_count = open->parcel->operations_count;
    step(host, index, &event);
}

void deliver_request(struct host *host, struct event *event) {
    struct node *node = &host->nodes[event->node];
    struct open *open = memory(sizeof *open);
    struct parcel *parcel = open->parcel = event->payload;
    event->payload = NULL;
    open->id = ++host->request_last;
    open->call = event->call;
    open->generation = event->generation;
    open->timeout_ms = event->timeout_ms;
    if (parcel->operations_count > 0) {
        open->operations = memory(sizeof *open->operations * parcel->operations_count);
        open->states = memory(sizeof *open->states * parcel->operations_count);
    }
    for (uint32_t i = 0; i < parcel->operations_count; i++) {
        const struct host_operation *operation = &parcel->operations[i];
        open->operations[i].kind = operation->kind;
        open->operations[i].examine =
            operation->kind != CHORD_GET &&
            (operation->if_match || operation->if_absent || operation->op_id != 0);
        core_hash(parcel->operations[i].key, open->operations[i].hash);
    }
    open->next = node->open;
    node->open = open;
    give(host, event->node, open);
}

/* ---- clocks ---- */

uint64_t clock_ms(const struct host *host, const struct node *node) {
    int64_t passed_us = (int64_t)(host->now_us - node->clock_since_us);
    int64_t drift_us = passed_us * node->clock_ppm / 1000000;
    return (node->clock_local_us + (uint64_t)(passed_us + drift_us)) / 1000;
}

uint64_t clock_host_us(const struct host *host, const struct node *node, uint64_t local_ms) {
    if (clock_ms(host, node) >= local_ms) {
        return host->now_us;
    }
    int64_t local_us = (int64_t)(local_ms * 1000 - node->clock_local_us);
    int64_t passed_us =
        node->clock_ppm == 0 ? local_us : local_us * 1000000 / (1000000 + node->clock_ppm);
    uint64_t due_us = node->clock_since_us + (uint64_t)passed_us;
    return due_us > host->now_us ? due_us : host->now_us + 1;
}

/* ---- one step ---- */

static void print_traces(struct host *host, int index) {
    for (uint16_t i = 0; host->config.traces && i < host->actions.traces_count; i++) {
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
    uint64_t deadline_ms = chord_deadline(node->public.chord);
    if (deadline_ms == UINT64_MAX) {
        return;
    }
    uint64_t due_us = clock_host_us(host, node, deadline_ms);
    if (due_us < node->tick_us) {
        node->tick_us = due_us;
        push(host,
             (struct event){
                 .kind = EVENT_TICK, .time_us = due_us, .node = index, .life = node->public.lives});
    }
}

void step(struct host *host, int index, struct chord_event *event) {
    struct node *node = &host->nodes[index];
    host_now = host;
    event->now_ms = clock_ms(host, node);
    node->spins = node->spin_ms == event->now_ms ? node->spins + 1 : 0;
    node->spin_ms = event->now_ms;
    CHORD_ASSERT(node->spins < SPIN_MAX); /* a node that steps for ever in one millisecond */
    chord_step(node->public.chord, event, &host->actions);
    bool checked =
        host->config.invariant_every == 0 || node->public.steps % host->config.invariant_every == 0;
    const char *broken = checked ? chord_invariant(node->public.chord) : NULL;
    if (broken != NULL) {
        chord_assert_failed("chord_invariant", index, broken);
    }
    node->public.steps++;
    print_traces(host, index);
    for (uint16_t i = 0; i < host->actions.count; i++) {
        act(host, index, &host->actions.items[i]);
    }
    if (host->config.on_step != NULL) {
        host->config.on_step(host->config.context, host, index);
    }
    if (node->public.refused != NULL) {
        host_kill(host, index);
        return;
    }
    schedule_tick(host, index);
}

/* ---- what comes off the heap ---- */

static void on_tick(struct host *host, struct event *event) {
    struct node *node = &host->nodes[event->node];
    struct chord_event tick = {.kind = CHORD_EVENT_TICK};
    node->tick_us = UINT64_MAX;
    if (chord_deadline(node->public.chord) <= clock_ms(host, node)) {
        step(host, event->node, &tick);
    } else {
        schedule_tick(host, event->node);
    }
}

static void on_disconnected(struct host *host, struct event *event) {
    struct chord_event core = {.kind = CHORD_EVENT_DISCONNECTED};
    memcpy(core.disconnected.text, host->nodes[event->from].public.address, CHORD_ADDRESS_BYTES);
    step(host, event->node, &core);
}

static void on_derived(struct host *host, struct event *event) {
    const struct derived *derived = event->payload;
    struct chord_event core = {.kind = CHORD_EVENT_ID_DERIVED};
    core.id_derived.found = derived->found;
    core.id_derived.salt = derived->salt;
    core.id_derived.id = derived->id;
    step(host, event->node, &core);
}

static void on_job(struct host *host, struct event *event) {
    struct node *node = &host->nodes[event->node];
    if (node->public.disk == HOST_DISK_STALLED) {
        event->time_us = host->now_us + 5000;
        push(host, *event);
    } else if (node->public.disk == HOST_DISK_FAILING) {
        host_kill(host, event->node); /* a failed sync ends the real node */
    } else {
        struct job *job = job_take(node);
        run_job(host, event->node, job);
        job_free(job);
    }
}

static void on_resume(struct host *host, struct event *event) {
    struct open *open = open_find(&host->nodes[event->node], event->request_id);
    if (open != NULL && !open->replied) {
        give(host, event->node, open);
    }
}

/* Of a life that is over, or superseded by a tick that is due earlier. */
static bool stale(const struct host *host, const struct event *event) {
    const struct node *node = event->node != HOST_NOBODY ? &host->nodes[event->node] : NULL;
    if (node == NULL || event->kind == EVENT_BROKEN) {
        return false;
    }
    return !node->public.alive || node->public.lives != event->life ||
           (event->kind == EVENT_TICK && event->time_us != node->tick_us);
}

static void take(struct host *host, struct event *event);

/* Everything in the order in which it came: a store does its jobs one after the other. */
static void on_wake(struct host *host, int index) {
    struct node *node = &host->nodes[index];
    if (node->public.paused_until_us > host->now_us) {
        return; /* it was paused once more */
    }
    struct event *waiting = node->waiting;
    size_t count = node->waiting_count;
    node->waiting = NULL;
    node->waiting_count = node->waiting_room = 0;
    for (size_t i = 0; i < count; i++) {
        take(host, &waiting[i]);
    }
    free(waiting);
}

static void dispatch(struct host *host, struct event *event) {
    switch (event->kind) {
    case EVENT_REQUEST:
        deliver_request(host, event);
        break;
    case EVENT_REPLY:
        deliver_reply(host, event);
        break;
    case EVENT_TIMEOUT:
        call_timeout(host, event);
        break;
    case EVENT_BROKEN:
        calls_broken(host, event->node);
        break;
    case EVENT_WAKE:
        on_wake(host, event->node);
        break;
    case EVENT_JOB:
        on_job(host, event);
        break;
    case EVENT_DERIVED:
        on_derived(host, event);
        break;
    case EVENT_TICK:
        on_tick(host, event);
        break;
    case EVENT_RESUME:
        on_resume(host, event);
        break;
    case EVENT_DISCONNECTED:
        on_disconnected(host, event);
        break;
    }
}

static void take(struct host *host, struct event *event) {
    if (!stale(host, event)) {
        dispatch(host, event);
    } else if (event->kind == EVENT_TIMEOUT) {
        call_timeout(host, event); /* frees the slot */
    }
    event_free(event);
}

static bool waits(const struct host *host, const struct event *event) {
    const struct node *node = event->node != HOST_NOBODY ? &host->nodes[event->node] : NULL;
    return node != NULL && event->kind != EVENT_BROKEN && event->kind != EVENT_WAKE &&
           !stale(host, event) &&
           (node->public.paused_until_us > host->now_us || node->waiting_count > 0);
}

bool host_step(struct host *host) {
    if (next_us(host) == UINT64_MAX) {
        return false;
    }
    struct event event = pop(host);
    host->now_us = event.time_us;
    uint64_t held_us = network_held_us(host, &event);
    if (held_us != 0) {
        event.time_us = held_us;
        push(host, event);
    } else if (waits(host, &event)) {
        struct node *node = &host->nodes[event.node];
        node->waiting =
            grown(node->waiting, node->waiting_count, &node->waiting_room, sizeof *node->waiting);
        node->waiting[node->waiting_count++] = event;
    } else {
        take(host, &event);
    }
    return true;
}

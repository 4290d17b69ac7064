/* SPDX-License-Identifier: MIT */
/*
 * The loop: take an item, make an event, step the core, carry out its actions; wait until the next
 * item or the core's deadline.
 */
#include "node.h"

#include "hash.h"
#include "join_words.h"
#include "log.h"
#include "wire.h"

#include <openssl/rand.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { STOP_S_MAX = 60, STOP_STARTING_S_MAX = 3 };

_Noreturn void chord_assert_failed(const char *file, int line, const char *condition) {
    log_write(LOG_ERROR, "assert", "%s:%d: %s", file, line, condition);
    abort();
}

uint64_t node_unix_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

uint64_t node_now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---- the queue ---- */

struct item *item_new(enum item_kind kind) {
    struct item *item = calloc(1, sizeof *item);
    if (item == NULL) {
        fputs("chord-node: out of memory\n", stderr);
        abort();
    }
    item->kind = kind;
    return item;
}

static void queue_push(struct queue *queue, struct item *item) {
    item->next = NULL;
    *queue->last = item;
    queue->last = &item->next;
}

static struct item *queue_pop(struct queue *queue) {
    struct item *item = queue->first;
    if (item != NULL) {
        queue->first = item->next;
        if (queue->first == NULL) {
            queue->last = &queue->first;
        }
    }
    return item;
}

void node_enqueue(struct node *node, struct item *item, bool urgent) {
    pthread_mutex_lock(&node->mutex);
    queue_push(urgent ? &node->urgent : &node->data, item);
    pthread_cond_signal(&node->wake);
    pthread_mutex_unlock(&node->mutex);
}

/* NULL: the deadline came first. */
static struct item *take_item(struct node *node, uint64_t deadline_ms) {
    pthread_mutex_lock(&node->mutex);
    while (node->urgent.first == NULL && node->data.first == NULL && node_now_ms() < deadline_ms) {
        uint64_t until_ms = deadline_ms > node_now_ms() + 1000 ? node_now_ms() + 1000 : deadline_ms;
        struct timespec until = {(time_t)(until_ms / 1000), (long)(until_ms % 1000) * 1000000};
        pthread_cond_timedwait(&node->wake, &node->mutex, &until);
    }
    struct item *item = queue_pop(&node->urgent);
    if (item == NULL) {
        item = queue_pop(&node->data);
    }
    pthread_mutex_unlock(&node->mutex);
    return item;
}

/* ---- the store ---- */

void node_submit(struct node *node, struct store_job *job, struct request *owner) {
    job->owner = owner;
    if (owner != NULL) {
        owner->references++;
    }
    store_submit(node->store, job);
}

/* ---- events ---- */

/* Envelopes say which ring they are of. */
static void learn_ring(struct node *node) {
    const uint8_t *ring_id = chord_ring_id(node->chord);
    bool same = ring_id == NULL
                    ? !node->has_ring
                    : node->has_ring && memcmp(ring_id, node->ring_id, sizeof node->ring_id) == 0;
    if (same) {
        return;
    }
    node->has_ring = ring_id != NULL;
    if (ring_id != NULL) {
        memcpy(node->ring_id, ring_id, sizeof node->ring_id);
    }
    rpc_server_set_ring(node->server, ring_id);
    rpc_client_set_ring(node->client, ring_id);
}

static void learn_m(struct node *node) {
    struct chord_status status;
    if (node->m != 0) {
        return;
    }
    chord_read_status(node->chord, &status);
    if (status.parameters.m != 0) {
        node->m = status.parameters.m;
        store_set_m(node->store, node->m);
    }
}

/* Debug builds stop at the first broken rule; the others tell whoever asks for the status. */
static void check_invariant(const struct node *node) {
#ifndef NDEBUG
    const char *broken = chord_invariant(node->chord);
    if (broken != NULL) {
        log_write(LOG_ERROR, "invariant", "%s", broken);
        abort();
    }
#else
    (void)node;
#endif
}

void node_event(struct node *node, struct chord_event *event) {
    event->now_ms = node_now_ms();
    chord_step(node->chord, event, node->actions);
    check_invariant(node);
    learn_m(node);
    learn_ring(node);
    actions_run(node);
}

static void give_request(struct node *node, struct request *request) {
    struct chord_event event = {.kind = CHORD_EVENT_REQUEST};
    event.request.request_id = request->id;
    event.request.timeout_ms = request->call != NULL ? rpc_call_remaining_ms(request->call) : 0;
    event.request.request = &request->core;
    event.request.operations = request->operations;
    event.request.operations_count = request->operations_count;
    node_event(node, &event);
}

static void reject(struct request *request, Chord__V1__Code code, const char *message,
                   uint32_t retry_after_ms) {
    rpc_call_reply(request->call, code, message, retry_after_ms, NULL);
    request->call = NULL;
}

/* False: it is answered already, waits for the store, or is refused. */
static bool prepare(struct node *node, struct request *request) {
    enum chord_message_kind kind;
    const char *error = NULL;
    if (node->creation.listens) {
        if (wire_kind(request->method, &kind) &&
            wire_decode_request(kind, request->message, &request->core, &error)) {
            creation_heard(node, &request->core);
        }
        reject(request, CHORD__V1__CODE__CODE_UNAVAILABLE, "the node is starting", 500);
        request_end(node, request);
        return false;
    }
    if (request->method >= RPC_KV_BATCH && request->method <= RPC_KV_LOOKUP) {
        return kv_request(node, request);
    }
    if (!wire_kind(request->method, &kind)) {
        admin_request(node, request);
        return false;
    }
    if (!wire_decode_request(kind, request->message, &request->core, &error)) {
        reject(request, CHORD__V1__CODE__CODE_INVALID_ARGUMENT, error, 0);
        request_end(node, request);
        return false;
    }
    notices_request(node, &request->core);
    return true;
}

static void handle_request(struct node *node, struct item *item) {
    rpc_call_taken(item->call);
    if (!rpc_method_is_data(rpc_call_method(item->call))) {
        pthread_mutex_lock(&node->mutex);
        node->ring_requests--;
        pthread_mutex_unlock(&node->mutex);
    }
    if (rpc_call_expired(item->call)) {
        rpc_call_reply(item->call, CHORD__V1__CODE__CODE_DEADLINE_EXCEEDED, NULL, 0, NULL);
        return;
    }
    struct request *request = request_new(node, item->call, item->message);
    if (request == NULL) {
        rpc_call_reply(item->call, CHORD__V1__CODE__CODE_RESOURCE_EXHAUSTED,
                       "too many open requests", 50, NULL);
        return;
    }
    if (prepare(node, request)) {
        give_request(node, request);
    }
}

static void handle_item(struct node *node, struct item *item) {
    struct chord_event event = {0};
    switch (item->kind) {
    case ITEM_REQUEST:
        handle_request(node, item);
        break;
    case ITEM_REPLY:
        action_replied(node, item);
        break;
    case ITEM_DISCONNECTED:
        event.kind = CHORD_EVENT_DISCONNECTED;
        event.disconnected = item->address;
        node_event(node, &event);
        break;
    case ITEM_STORED:
        action_stored(node, item->job);
        break;
    case ITEM_STOP:
        node->stopping = true;
        break;
    case ITEM_FAILURE:
        node->stopping = true;
        node->exit_code = NODE_EXIT_DISK;
        break;
    case ITEM_DERIVED:
        event.kind = CHORD_EVENT_ID_DERIVED;
        event.id_derived.found = item->derived.found;
        event.id_derived.salt = item->derived.salt;
        event.id_derived.id = item->derived.id;
        node_event(node, &event);
        break;
    case ITEM_RESUME:
        break;
    }
    free(item);
}

void node_wait(struct node *node, uint64_t deadline_ms) {
    struct item *item = take_item(node, deadline_ms);
    if (item != NULL) {
        handle_item(node, item);
    }
}

void node_resume(struct node *node, uint64_t request_id) {
    struct item *item = item_new(ITEM_RESUME);
    item->request_id = request_id;
    queue_push(&node->resumes, item);
}

/* Requests that the core wants again, after the step that asked. */
static void run_resumes(struct node *node) {
    struct item *item;
    while ((item = queue_pop(&node->resumes)) != NULL) {
        struct request *request = request_find(node, item->request_id);
        free(item);
        if (request != NULL) {
            give_request(node, request);
        }
    }
}

static void loop(struct node *node) {
    while (!node->stopping) {
        uint64_t deadline_ms = chord_deadline(node->chord);
        if (node->kill_at_ms != 0 && node->kill_at_ms < deadline_ms) {
            deadline_ms = node->kill_at_ms;
        }
        deadline_ms = node->scrub.next_ms < deadline_ms && !node->scrub.open ? node->scrub.next_ms
                                                                             : deadline_ms;
        node_wait(node, deadline_ms);
        run_resumes(node);
        scrub_tick(node);
        if (node->kill_at_ms != 0 && node->kill_at_ms <= node_now_ms()) {
            _exit(137); /* KYS: nothing is handed over, as if the machine had died */
        }
        if (chord_deadline(node->chord) <= node_now_ms()) {
            struct chord_event event = {.kind = CHORD_EVENT_TICK};
            node_event(node, &event);
            run_resumes(node);
        }
    }
}

/* ---- other threads ---- */

static void on_disconnect(void *context, const char *address) {
    struct item *item = item_new(ITEM_DISCONNECTED);
    snprintf(item->address.text, sizeof item->address.text, "%s", address);
    node_enqueue(context, item, true);
}

static void on_stored(void *context, struct store_job *job) {
    struct item *item = item_new(ITEM_STORED);
    item->job = job;
    node_enqueue(context, item, true);
}

static void on_disk_failure(void *context, const char *reason) {
    log_write(LOG_ERROR, "store", "the disk failed, stopping: %s", reason);
    node_enqueue(context, item_new(ITEM_FAILURE), true);
}

static void *wait_signal(void *context) {
    struct node *node = context;
    sigset_t set;
    int received;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigwait(&set, &received);
    log_write(LOG_INFO, "stop", "signal %d: stopping; nothing moves", received);
    node_enqueue(node, item_new(ITEM_STOP), true);
    sleep(atomic_load(&node->running) ? STOP_S_MAX : STOP_STARTING_S_MAX);
    fputs("chord-node: something hangs, so it ends without waiting for it\n", stderr);
    _exit(NODE_EXIT_OTHER); /* as after a power cut: what was acknowledged is on disk */
}

/* ---- start and stop ---- */

static struct chord_limits limits_for(const struct settings *settings) {
    return (struct chord_limits){
        .peers_max = 320,
        .views_max = 512,
        .calls_max = 4096,
        .lookups_max = 1024,
        .paths_max = 64,
        .batches_max = (uint16_t)(settings->channel_size + 64),
        .transfers_max = 64,
        .decisions_max = 64,
        .keys_in_flight_max = 65536,
    };
}

static bool make_core(struct node *node, const struct chord_stored_view *views,
                      size_t views_count) {
    struct chord_config config = {.limits = limits_for(&node->settings),
                                  .timing = chord_timing_default};
    memcpy(config.address, node->settings.listen, sizeof config.address);
    memcpy(config.store_id, node->store_id, sizeof config.store_id);
    const struct store_former *former = store_former(node->store);
    config.former_count = former->count;
    memcpy(config.former, former->items, sizeof config.former);
    if (RAND_bytes((unsigned char *)&config.seed, sizeof config.seed) != 1) {
        return false;
    }
    void *memory = calloc(1, chord_size(&config.limits));
    node->actions = calloc(1, sizeof *node->actions);
    node->requests_max = node->settings.channel_size + NODE_REQUESTS_EXTRA;
    node->requests = calloc(node->requests_max, sizeof *node->requests);
    if (memory == NULL || node->actions == NULL || node->requests == NULL) {
        return false;
    }
    node->examined = (struct operation_memory){node->examined_writes, EXAMINED_WRITES, 0};
    node->chord = chord_init(memory, &config);
    for (size_t i = 0; i < views_count; i++) {
        if (!chord_restore_view(node->chord, &views[i])) {
            log_write(LOG_ERROR, "store", "a stored view cannot be used");
            return false;
        }
    }
    return true;
}

/* A ring's parameters never change: an explicit other value is a mistake worth a sentence. */
static bool parameters_match(const struct settings *settings,
                             const struct chord_identity *identity) {
    const struct {
        const char *name;
        unsigned given, stored;
    } checks[] = {{"M", settings->wanted.m, identity->parameters.m},
                  {"N", settings->wanted.n, identity->parameters.n},
                  {"REPLICAS", settings->wanted.replicas, identity->parameters.replicas}};
    for (unsigned i = 0; i < 3 && identity->parameters.m != 0; i++) {
        if (checks[i].given != 0 && checks[i].given != checks[i].stored) {
            fprintf(stderr,
                    "chord-node: %s=%u was given, but the data in %s belongs to a ring with %s=%u; "
                    "use that value, or clear the data (init.py reset)\n",
                    checks[i].name, checks[i].given, settings->data, checks[i].name,
                    checks[i].stored);
            return false;
        }
    }
    return true;
}

static void start_core(struct node *node, const struct chord_identity *identity) {
    struct chord_event event = {.kind = CHORD_EVENT_START};
    event.start.stored = *identity;
    event.start.create = node->settings.create;
    event.start.wanted = node->settings.wanted;
    event.start.seeds_count = node->settings.seeds_count;
    memcpy(event.start.seeds, node->settings.seeds, sizeof event.start.seeds);
    if (node->settings.create && identity->parameters.m == 0) {
        struct chord_parameters *wanted = &event.start.wanted;
        wanted->m = wanted->m != 0 ? wanted->m : 6;
        wanted->n = wanted->n != 0 ? wanted->n : 3;
        wanted->replicas = wanted->replicas != 0 ? wanted->replicas
                           : wanted->n + 1 < 3   ? wanted->n + 1
                                                 : 3;
        if (RAND_bytes(wanted->ring_id, CHORD_RING_ID_BYTES) != 1) {
            abort();
        }
    }
    node_event(node, &event);
}

static enum node_exit open_network(struct node *node) {
    struct rpc_client_options client = {
        .key = node->settings.key, .on_disconnect = on_disconnect, .context = node};
    struct rpc_server_options server = {.address = node->settings.listen,
                                        .services = node_services,
                                        .services_count = node_services_count,
                                        .data_calls_max = node->settings.channel_size,
                                        .key = node->settings.key};
    services_attach(node);
    if (rpc_client_open(&node->client, &client) != 0) {
        fputs("chord-node: cannot start the RPC client\n", stderr);
        return NODE_EXIT_OTHER;
    }
    int rc = rpc_server_open(&node->server, &server);
    if (rc != 0) {
        fprintf(stderr, "chord-node: cannot listen on %s: %s; choose another port with --listen\n",
                node->settings.listen, strerror(-rc));
        return NODE_EXIT_LISTEN;
    }
    return NODE_EXIT_OK;
}

enum node_exit node_exit_of_store(enum store_error error) {
    return error == STORE_COPIED           ? NODE_EXIT_COPY
           : error == STORE_UNKNOWN_SCHEMA ? NODE_EXIT_FORMAT
                                           : NODE_EXIT_DATA;
}

enum node_exit node_run(const struct settings *settings) {
    static struct node node;
    struct chord_identity identity;
    struct chord_stored_view *views = NULL;
    size_t views_count = 0;
    char reason[4400];
    pthread_t signals;
    pthread_condattr_t monotonic;
    node.settings = *settings;
    node.started_ms = node_now_ms();
    node.urgent.last = &node.urgent.first;
    node.data.last = &node.data.first;
    node.resumes.last = &node.resumes.first;
    pthread_mutex_init(&node.mutex, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&node.wake, &monotonic);
    struct store_options options = {.directory = settings->data,
                                    .address = settings->listen,
                                    .moved = settings->moved,
                                    .on_done = on_stored,
                                    .on_failure = on_disk_failure,
                                    .context = &node};
    enum store_error error = store_open(&node.store, &options, node.store_id, &identity, &views,
                                        &views_count, reason, sizeof reason);
    if (error != STORE_OK) {
        fprintf(stderr, "chord-node: %s\n", reason);
        free(views);
        return node_exit_of_store(error);
    }
    enum node_exit code = NODE_EXIT_DATA;
    if (!log_open(settings->data)) {
        fprintf(stderr, "chord-node: cannot write %s/node.log\n", settings->data);
        goto out;
    }
    code = NODE_EXIT_SETTING;
    if (!parameters_match(settings, &identity)) {
        goto out;
    }
    code = NODE_EXIT_OTHER;
    if (!make_core(&node, views, views_count)) {
        fputs("chord-node: out of memory\n", stderr);
        goto out;
    }
    if (pthread_create(&signals, NULL, wait_signal, &node) != 0) {
        fputs("chord-node: cannot start a thread\n", stderr);
        goto out;
    }
    pthread_detach(signals);
    code = open_network(&node);
    if (code != NODE_EXIT_OK) {
        goto out;
    }
    atomic_store(&node.running, true);
    printf("listening %s\n", settings->listen);
    fflush(stdout);
    if (!creation_allowed(&node, &identity)) {
        code = NODE_EXIT_REFUSED;
        goto out;
    }
    join_words_start(settings);
    notices_known(&node, &identity);
    if (!node.stopping) {
        start_core(&node, &identity);
    }
    loop(&node);
    code = node.exit_code;
out:
    store_job_free(node.counted);
    free(views);
    rpc_server_close(node.server);
    rpc_client_close(node.client);
    store_close(node.store);
    log_close();
    return code;
}

/* SPDX-License-Identifier: MIT */
/*
 * From the settings to a running node, and its end: the store, the core, the network, and the
 * threads that only put items into the queue.
 */
#include "node.h"

#include "join_words.h"
#include "log.h"

#include <openssl/rand.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { STOP_S_MAX = 60, STOP_STARTING_S_MAX = 3 };

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

static enum node_exit out_of_memory(void) {
    fputs("chord-node: out of memory\n", stderr);
    return NODE_EXIT_OTHER;
}

static enum node_exit make_core(struct node *node, const struct chord_stored_view *views,
                                size_t views_count) {
    struct chord_config config = {.limits = limits_for(&node->settings),
                                  .timing = chord_timing_default,
                                  .places_evenly = true};
    memcpy(config.address, node->settings.listen, sizeof config.address);
    memcpy(config.store_id, node->store_id, sizeof config.store_id);
    config.host_id = node->settings.host.id;
    const struct store_former *former = store_former(node->store);
    config.former_count = former->count;
    memcpy(config.former, former->items, sizeof config.former);
    if (RAND_bytes((unsigned char *)&config.seed, sizeof config.seed) != 1) {
        fputs("chord-node: the system gives no random bytes\n", stderr);
        return NODE_EXIT_OTHER;
    }
    void *memory = calloc(1, chord_size(&config.limits));
    node->actions = calloc(1, sizeof *node->actions);
    node->requests_max = node->settings.channel_size + NODE_REQUESTS_EXTRA;
    node->requests = calloc(node->requests_max, sizeof *node->requests);
    if (memory == NULL || node->actions == NULL || node->requests == NULL) {
        return out_of_memory();
    }
    node->examined = (struct operation_memory){node->examined_writes, EXAMINED_WRITES, 0};
    node->chord = chord_init(memory, &config);
    for (size_t i = 0; i < views_count; i++) {
        if (!chord_restore_view(node->chord, &views[i])) {
            fprintf(stderr,
                    "chord-node: view %zu of %zu in %s/chord.db is no view of a node, or overlaps "
                    "another one: the file was changed by others; move the folder away and start "
                    "with an empty one\n",
                    i + 1, views_count, node->settings.data);
            return NODE_EXIT_FORMAT;
        }
    }
    return NODE_EXIT_OK;
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
                                        .key = node->settings.key,
                                        .also = node->settings.also_key,
                                        .client = node->settings.client_key,
                                        .reader = node->settings.reader_key};
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
    readiness_open(&node);
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
    code = make_core(&node, views, views_count);
    if (code != NODE_EXIT_OK) {
        goto out;
    }
    code = NODE_EXIT_OTHER;
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
    node_loop(&node);
    code = node.exit_code;
out:
    readiness_close(&node);
    backup_stop(&node);
    store_job_free(node.counted);
    free(views);
    rpc_server_close(node.server);
    rpc_client_close(node.client);
    store_close(node.store);
    backup_close(&node);
    log_close();
    return code;
}

/* SPDX-License-Identifier: MIT */
/*
 * What a node tells of itself: its place on the ring, its ranges, what it costs.
 */
#include "admin.h"

#include "log.h"
#include "wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { COUNT_PERIOD_MS = 250, PSS_PERIOD_MS = 5000 };

static uint64_t resident_bytes(void) {
    unsigned long long size = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file != NULL) {
        if (fscanf(file, "%llu %llu", &size, &resident) != 2) {
            resident = 0;
        }
        fclose(file);
    }
    return (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* The kernel walks all mappings for it, so it is asked seldom. */
static uint64_t proportional_bytes(void) {
    static uint64_t looked_ms, bytes;
    unsigned long long kib = 0;
    char line[128];
    if (bytes != 0 && node_now_ms() < looked_ms + PSS_PERIOD_MS) {
        return bytes;
    }
    looked_ms = node_now_ms();
    FILE *file = fopen("/proc/self/smaps_rollup", "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL &&
           sscanf(line, "Pss: %llu", &kib) != 1) {
    }
    if (file != NULL) {
        fclose(file);
    }
    bytes = kib > 0 ? (uint64_t)kib * 1024 : resident_bytes();
    return bytes;
}

static uint64_t cpu_ms(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000 +
           (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1000;
}

/* Keys are counted by the store; the answer is as fresh as the last count, so that a slow disk
 * never delays a status. */
void admin_count(struct node *node) {
    if (node->counting) {
        node->count_again = true;
        return;
    }
    struct store_job *job = store_job_new(STORE_JOB_COUNT);
    uint16_t views = chord_views_count(node->chord);
    job->views = arena_alloc(&job->arena, sizeof *job->views * (views + 1u));
    for (uint16_t i = 0; i < views; i++) {
        enum chord_range_state state;
        unsigned copies;
        const struct chord_view *view = chord_view_at(node->chord, i, &state, &copies);
        if (state != CHORD_RANGE_GONE && state != CHORD_RANGE_RETIRED) {
            job->views[job->views_count++].view = *view;
        }
    }
    node->counting = true;
    node->counted_ms = node_now_ms();
    node_submit(node, job, NULL);
}

bool admin_counted(struct node *node, struct store_job *job) {
    node->counting = false;
    if (job->ok) {
        store_job_free(node->counted);
        node->counted = job;
    }
    if (node->count_again) {
        node->count_again = false;
        admin_count(node);
    }
    return node->counted == job;
}

static uint64_t keys_counted(const struct node *node, const struct chord_range *range) {
    for (size_t i = 0; node->counted != NULL && i < node->counted->views_count; i++) {
        const struct chord_range *counted = &node->counted->views[i].view.range;
        if (id_equal(&counted->lo, &range->lo) && id_equal(&counted->hi, &range->hi)) {
            return node->counted->counts[i];
        }
    }
    return 0;
}

static void add_fingers(struct node *node, struct wire_context *wire,
                        Chord__V1__StatusResponse *message) {
    struct chord_status status;
    chord_read_status(node->chord, &status);
    message->fingers = arena_alloc(wire->arena, sizeof *message->fingers * (node->m + 1));
    for (unsigned i = 0; i < node->m; i++) {
        struct chord_peer peer;
        if (!chord_finger_at(node->chord, i, &peer)) {
            continue;
        }
        struct chord_peer *copy = arena_copy(wire->arena, &peer, sizeof peer);
        struct chord_id start = id_add_power(&status.self.id, i, node->m);
        struct chord_id *start_copy = arena_copy(wire->arena, &start, sizeof start);
        Chord__V1__Finger *finger = arena_alloc(wire->arena, sizeof *finger);
        chord__v1__finger__init(finger);
        finger->index = i;
        finger->start = wire_id(wire, start_copy);
        finger->node = wire_peer(wire, copy);
        message->fingers[message->n_fingers++] = finger;
    }
}

static void add_ranges(struct node *node, struct wire_context *wire,
                       Chord__V1__StatusResponse *message) {
    uint16_t views = chord_views_count(node->chord);
    message->ranges = arena_alloc(wire->arena, sizeof *message->ranges * (views + 1u));
    for (uint16_t i = 0; i < views; i++) {
        enum chord_range_state state;
        unsigned copies;
        const struct chord_view *view = chord_view_at(node->chord, i, &state, &copies);
        if (state == CHORD_RANGE_GONE) {
            continue;
        }
        Chord__V1__RangeStatus *range = arena_alloc(wire->arena, sizeof *range);
        chord__v1__range_status__init(range);
        range->view = wire_view(wire, view);
        range->state = (Chord__V1__RangeState)state;
        range->copies = copies;
        range->keys = keys_counted(node, &view->range);
        bool led = state == CHORD_RANGE_OPEN || state == CHORD_RANGE_CHANGING ||
                   state == CHORD_RANGE_SETTLING;
        message->keys_led += led ? range->keys : 0;
        message->ranges[message->n_ranges++] = range;
    }
}

/* The most urgent one. */
static const char *warning_of(struct node *node, const struct chord_status *status) {
    char *notice = arena_alloc(&node->scratch, NOTICE_BYTES);
    if (store_read_only(node->store)) {
        return "the disk is full: this node takes no writes";
    }
    return notices_text(node, status->state, notice) ? notice : status->warning;
}

void admin_on_status(struct node *node, struct request *request) {
    struct wire_context wire = {&node->scratch, node->m};
    struct chord_status *status = arena_alloc(&node->scratch, sizeof *status);
    Chord__V1__StatusResponse *message = arena_alloc(&node->scratch, sizeof *message);
    chord__v1__status_response__init(message);
    chord_read_status(node->chord, status);
    if (node_now_ms() >= node->counted_ms + COUNT_PERIOD_MS && !node->counting) {
        admin_count(node);
    }
    message->self = wire_peer(&wire, &status->self);
    message->state = (Chord__V1__NodeState)status->state;
    message->parameters = wire_parameters(&wire, &status->parameters);
    message->formed = status->formed;
    message->predecessor = status->has_predecessor ? wire_peer(&wire, &status->predecessor) : NULL;
    message->successors =
        arena_alloc(&node->scratch, sizeof *message->successors * (status->successors.count + 1u));
    for (uint16_t i = 0; i < status->successors.count; i++) {
        message->successors[message->n_successors++] =
            wire_peer(&wire, &status->successors.items[i]);
    }
    add_fingers(node, &wire, message);
    add_ranges(node, &wire, message);
    struct store_counts counts = store_count(node->store);
    message->keys_stored = counts.keys;
    message->bytes_stored = counts.bytes;
    message->uptime_ms = node_now_ms() - node->started_ms;
    message->salt = status->salt;
    message->survives_failures = status->survives_failures;
    message->left_last = status->left_last;
    message->warning = (char *)(uintptr_t)warning_of(node, status);
    message->rss_bytes = resident_bytes();
    message->pss_bytes = proportional_bytes();
    message->cpu_ms = cpu_ms();
    message->requests_total = rpc_server_requests_total(node->server);
    message->refused_total = rpc_server_refused_total(node->server);
    message->log_sequence = log_sequence();
    message->maintenance_messages_total = status->maintenance_messages_total;
    const char *broken = chord_invariant(node->chord);
    message->bad_rows = node->scrub.bad_count;
    message->read_only = store_read_only(node->store);
    message->synchronous = (uint32_t)store_synchronous(node->store);
    message->disk_free_bytes = store_disk_free(node->store);
    message->unix_ms = node_unix_ms();
    message->host_name = node->settings.host.name;
    message->page = (char *)(uintptr_t)node->settings.page;
    message->version = (char *)(uintptr_t)CHORD_VERSION;
    message->invariant = (char *)(uintptr_t)(broken != NULL ? broken : "");
    admin_answer(node, request, &message->base);
}

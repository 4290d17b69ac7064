/* SPDX-License-Identifier: MIT */
/*
 * What people and dashboards ask: status, logs, keys, leave, join, kill; and what a client may ask
 * about the node (meta).
 */
#include "node.h"

#include "chord/v1/admin.pb-c.h"
#include "chord/v1/meta.pb-c.h"
#include "hash.h"
#include "log.h"
#include "rpc_descriptor.h"
#include "wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
    COUNT_PERIOD_MS = 250,
    KEYS_LIMIT_DEFAULT = 100,
    KEYS_LIMIT_MAX = 1000,
    LOGS_LIMIT_DEFAULT = 100,
    LOGS_LIMIT_MAX = 1000,
    LISTING_MS_MAX = 500, /* then the answer goes with what there is, and says how far it came */
    LISTINGS_MAX = 32,    /* at a time */
    KILL_DELAY_MS = 100,  /* for the answer to leave */
};

static void answer(struct node *node, struct request *request, const ProtobufCMessage *message) {
    rpc_call_reply(request->call, CHORD__V1__CODE__CODE_OK, NULL, 0, message);
    request->call = NULL;
    arena_reset(&node->scratch);
    request_end(node, request);
}

static void refuse(struct node *node, struct request *request, Chord__V1__Code code,
                   const char *reason) {
    rpc_call_reply(request->call, code, reason, 0, NULL);
    request->call = NULL;
    request_end(node, request);
}

/* ---- status ---- */

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

/* The kernel walks all mappings for it: at most once a second. */
static uint64_t proportional_bytes(void) {
    static uint64_t looked_ms, bytes;
    unsigned long long kib = 0;
    char line[128];
    if (bytes != 0 && node_now_ms() < looked_ms + 1000) {
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

static void on_status(struct node *node, struct request *request) {
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
    message->version = (char *)(uintptr_t)CHORD_VERSION;
    message->invariant = (char *)(uintptr_t)(broken != NULL ? broken : "");
    answer(node, request, &message->base);
}

/* ---- logs ---- */

static void on_logs(struct node *node, struct request *request) {
    const Chord__V1__LogsRequest *logs = (const void *)request->message;
    size_t limit = logs->limit == 0 ? LOGS_LIMIT_DEFAULT : logs->limit;
    limit = limit > LOGS_LIMIT_MAX ? LOGS_LIMIT_MAX : limit;
    struct log_line *lines = arena_alloc(&node->scratch, sizeof *lines * limit);
    enum log_level level = logs->level == 0 ? LOG_DEBUG : (enum log_level)logs->level;
    size_t count = log_read(logs->after_sequence, level, lines, limit);
    Chord__V1__LogsResponse *message = arena_alloc(&node->scratch, sizeof *message);
    chord__v1__logs_response__init(message);
    message->lines = arena_alloc(&node->scratch, sizeof *message->lines * (count + 1));
    for (size_t i = 0; i < count; i++) {
        Chord__V1__LogLine *line = arena_alloc(&node->scratch, sizeof *line);
        chord__v1__log_line__init(line);
        line->sequence = lines[i].sequence;
        line->time_unix_ms = lines[i].time_unix_ms;
        line->level = (Chord__V1__LogLevel)lines[i].level;
        line->word = lines[i].word;
        line->text = lines[i].text;
        message->lines[message->n_lines++] = line;
    }
    answer(node, request, &message->base);
}

/* ---- keys ---- */

static void on_list_keys(struct node *node, struct request *request) {
    const Chord__V1__ListKeysRequest *list = (const void *)request->message;
    bool has_after = list->after != NULL && list->after->hash.len > 0;
    if ((has_after && list->after->hash.len != CHORD_ID_BYTES) ||
        list->prefix.len > NODE_KEY_BYTES_MAX ||
        (list->after != NULL && list->after->key.len > NODE_KEY_BYTES_MAX)) {
        refuse(node, request, CHORD__V1__CODE__CODE_INVALID_ARGUMENT,
               "a cursor has a hash of 20 bytes; a prefix and a key at most 1024");
        return;
    }
    if (node->listings == LISTINGS_MAX) {
        refuse(node, request, CHORD__V1__CODE__CODE_RESOURCE_EXHAUSTED,
               "32 listings are under way; try again in a second");
        return;
    }
    struct store_job *job = store_job_new(STORE_JOB_LIST_KEYS);
    job->until_us = (node_now_ms() + LISTING_MS_MAX) * 1000;
    size_t limit = list->limit == 0 ? KEYS_LIMIT_DEFAULT : list->limit;
    job->page_rows_max = limit > KEYS_LIMIT_MAX ? KEYS_LIMIT_MAX : limit;
    job->page_values = list->values;
    job->prefix = list->prefix.data;
    job->prefix_bytes = list->prefix.len;
    job->has_after = has_after;
    if (has_after) {
        memcpy(job->after, list->after->hash.data, CHORD_ID_BYTES);
        job->after_key = list->after->key.data;
        job->after_key_bytes = list->after->key.len;
    }
    node->listings++;
    node_submit(node, job, request);
}

static bool leads(struct node *node, const struct chord_id *id) {
    for (uint16_t i = 0; i < chord_views_count(node->chord); i++) {
        enum chord_range_state state;
        unsigned copies;
        const struct chord_view *view = chord_view_at(node->chord, i, &state, &copies);
        if ((state == CHORD_RANGE_OPEN || state == CHORD_RANGE_CHANGING ||
             state == CHORD_RANGE_SETTLING) &&
            id_in_half_open(&view->range.lo, id, &view->range.hi)) {
            return true;
        }
    }
    return false;
}

static Chord__V1__Cursor *cursor_of(struct node *node, struct store_job *job) {
    Chord__V1__Cursor *cursor = arena_alloc(&node->scratch, sizeof *cursor);
    chord__v1__cursor__init(cursor);
    cursor->hash = (ProtobufCBinaryData){CHORD_ID_BYTES, job->after};
    cursor->key = (ProtobufCBinaryData){job->after_key_bytes, job->after_key};
    return cursor;
}

static void add_key(struct node *node, Chord__V1__ListKeysResponse *message,
                    const struct store_row *row, bool led, const struct chord_id *id) {
    struct wire_context wire = {&node->scratch, node->m};
    Chord__V1__KeyInfo *info = arena_alloc(&node->scratch, sizeof *info);
    chord__v1__key_info__init(info);
    info->version = arena_alloc(&node->scratch, sizeof *info->version);
    chord__v1__version__init(info->version);
    info->version->epoch = row->epoch;
    info->version->counter = row->counter;
    info->key = (ProtobufCBinaryData){row->key_bytes, (uint8_t *)(uintptr_t)row->key};
    info->hash = (ProtobufCBinaryData){CHORD_ID_BYTES, (uint8_t *)(uintptr_t)row->hash};
    info->id = wire_id(&wire, arena_copy(&node->scratch, id, sizeof *id));
    info->value_bytes = (uint32_t)row->value_bytes;
    if (row->value != NULL) {
        info->value = (ProtobufCBinaryData){row->value_bytes, (uint8_t *)(uintptr_t)row->value};
    }
    info->expires_at_ms = row->expires_at_ms;
    info->led = led;
    message->keys[message->n_keys++] = info;
}

void admin_stored(struct node *node, struct request *request, struct store_job *job) {
    const Chord__V1__ListKeysRequest *list = (const void *)request->message;
    Chord__V1__ListKeysResponse *message = arena_alloc(&node->scratch, sizeof *message);
    node->listings--;
    if (!job->ok) {
        rpc_call_reply(request->call, CHORD__V1__CODE__CODE_INTERNAL,
                       job->refused ? "a row of the page is damaged here (chordctl doctor)"
                                    : "the store failed",
                       0, NULL);
        request->call = NULL;
        request->ended = true; /* freed when the job lets go of it */
        return;
    }
    chord__v1__list_keys_response__init(message);
    message->keys = arena_alloc(&node->scratch, sizeof *message->keys * (job->rows_count + 1));
    for (size_t i = 0; i < job->rows_count; i++) {
        struct chord_id id = id_from_hash(job->rows[i].hash, node->m != 0 ? node->m : CHORD_M_MAX);
        bool led = leads(node, &id);
        if (led || !list->led_only) {
            add_key(node, message, &job->rows[i], led, &id);
        }
    }
    message->done = job->done;
    message->next = job->done || !job->has_after ? NULL : cursor_of(node, job);
    rpc_call_reply(request->call, CHORD__V1__CODE__CODE_OK, NULL, 0, &message->base);
    request->call = NULL;
    request->ended = true;
    arena_reset(&node->scratch);
}

/* ---- leave, join, kill ---- */

/* NULL: it is one. */
static const char *read_entrance(char *const *seeds, size_t seeds_count,
                                 const Chord__V1__RingParameters *ring,
                                 struct chord_entrance *entrance) {
    if (seeds_count > CHORD_SEEDS_MAX) {
        return "at most 16 seeds";
    }
    for (size_t i = 0; i < seeds_count; i++) {
        if (strlen(seeds[i]) >= CHORD_ADDRESS_BYTES) {
            return "a seed is host:port of at most 63 bytes";
        }
        strcpy(entrance->seeds[entrance->seeds_count++].text, seeds[i]);
    }
    if (ring != NULL) {
        if (ring->ring_id.len != CHORD_RING_ID_BYTES || ring->m == 0) {
            return "a ring has an id of 16 bytes and M, N and REPLICAS";
        }
        memcpy(entrance->ring.ring_id, ring->ring_id.data, CHORD_RING_ID_BYTES);
        entrance->ring.m = ring->m;
        entrance->ring.n = ring->n;
        entrance->ring.replicas = ring->replicas;
    }
    return NULL;
}

static void on_leave(struct node *node, struct request *request) {
    const Chord__V1__AdminLeaveRequest *leave = (const void *)request->message;
    struct chord_event event = {.kind = CHORD_EVENT_LEAVE};
    const char *error =
        read_entrance(leave->next_seeds, leave->n_next_seeds, leave->next_ring, &event.leave.next);
    if (error != NULL) {
        refuse(node, request, CHORD__V1__CODE__CODE_INVALID_ARGUMENT, error);
        return;
    }
    event.leave.last = leave->last;
    error = chord_leave_obstacle(node->chord, &event.leave);
    if (error != NULL) {
        refuse(node, request, CHORD__V1__CODE__CODE_FAILED_PRECONDITION, error);
        return;
    }
    struct chord_status *status = arena_alloc(&node->scratch, sizeof *status);
    chord_read_status(node->chord, status);
    Chord__V1__AdminLeaveResponse *message = arena_alloc(&node->scratch, sizeof *message);
    chord__v1__admin_leave_response__init(message);
    message->warning = (char *)(uintptr_t)(status->survives_failures == 0
                                               ? "the ring survives no failure now; after "
                                                 "this leave it will not either"
                                               : status->warning);
    answer(node, request, &message->base);
    node_event(node, &event);
}

static void on_join(struct node *node, struct request *request) {
    const Chord__V1__AdminJoinRequest *join = (const void *)request->message;
    struct chord_event event = {.kind = CHORD_EVENT_JOIN};
    const char *error = read_entrance(join->seeds, join->n_seeds, join->ring, &event.join);
    if (error != NULL) {
        refuse(node, request, CHORD__V1__CODE__CODE_INVALID_ARGUMENT, error);
        return;
    }
    event.join.drop_rows = join->drop_rows;
    error = chord_join_obstacle(node->chord, &event.join);
    if (error != NULL) {
        refuse(node, request, CHORD__V1__CODE__CODE_FAILED_PRECONDITION, error);
        return;
    }
    Chord__V1__AdminJoinResponse message = CHORD__V1__ADMIN_JOIN_RESPONSE__INIT;
    answer(node, request, &message.base);
    node_event(node, &event);
}

static void on_kill(struct node *node, struct request *request) {
    const Chord__V1__KillRequest *kill_request = (const void *)request->message;
    struct wire_context wire = {&node->scratch, node->m};
    struct chord_status *status = arena_alloc(&node->scratch, sizeof *status);
    chord_read_status(node->chord, status);
    ProtobufCBinaryData id = wire_id(&wire, &status->self.id);
    if (kill_request->confirm.len != id.len ||
        memcmp(kill_request->confirm.data, id.data, id.len) != 0) {
        refuse(node, request, CHORD__V1__CODE__CODE_FAILED_PRECONDITION,
               "the confirmation is not this node's id");
        return;
    }
    Chord__V1__KillResponse message = CHORD__V1__KILL_RESPONSE__INIT;
    answer(node, request, &message.base);
    log_write(LOG_WARN, "kill", "killed on request; nothing is handed over");
    node->kill_at_ms = node_now_ms() + KILL_DELAY_MS;
}

/* ---- recover ---- */

static const struct chord_view *view_over(struct node *node, const struct chord_id *id) {
    enum chord_range_state state;
    unsigned copies;
    for (uint16_t i = 0; i < chord_views_count(node->chord); i++) {
        const struct chord_view *view = chord_view_at(node->chord, i, &state, &copies);
        if (id_in_half_open(&view->range.lo, id, &view->range.hi)) {
            return view;
        }
    }
    return NULL;
}

static void on_recover(struct node *node, struct request *request) {
    const Chord__V1__RecoverRequest *recover = (const void *)request->message;
    struct wire_context wire = {&node->scratch, node->m};
    struct chord_event event = {.kind = CHORD_EVENT_RECOVER};
    struct chord_range range;
    if (!wire_read_range(recover->range, &range)) {
        refuse(node, request, CHORD__V1__CODE__CODE_INVALID_ARGUMENT, "which range?");
        return;
    }
    event.recover = range.hi;
    const char *error = chord_recover_obstacle(node->chord, &range.hi);
    const struct chord_view *view = view_over(node, &range.hi);
    if (error == NULL && (view->epoch != recover->epoch || !id_equal(&view->range.lo, &range.lo) ||
                          !id_equal(&view->range.hi, &range.hi))) {
        error = "this node's view of that range is another one";
    }
    if (error != NULL) {
        refuse(node, request, CHORD__V1__CODE__CODE_FAILED_PRECONDITION, error);
        return;
    }
    node_event(node, &event);
    Chord__V1__RecoverResponse message = CHORD__V1__RECOVER_RESPONSE__INIT;
    message.view = wire_view(&wire, view_over(node, &range.hi));
    answer(node, request, &message.base);
}

/* ---- meta ---- */

static void on_info(struct node *node, struct request *request) {
    static char *names[RPC_METHODS_COUNT];
    struct wire_context wire = {&node->scratch, node->m};
    struct chord_status *status = arena_alloc(&node->scratch, sizeof *status);
    Chord__V1__GetServerInfoResponse message = CHORD__V1__GET_SERVER_INFO_RESPONSE__INIT;
    chord_read_status(node->chord, status);
    for (int i = 0; i < RPC_METHODS_COUNT; i++) {
        names[i] = (char *)(uintptr_t)rpc_method_name((enum rpc_method)i);
    }
    message.version = (char *)(uintptr_t)CHORD_VERSION;
    message.protocol_version = RPC_PROTOCOL_VERSION;
    message.methods = names;
    message.n_methods = RPC_METHODS_COUNT;
    message.parameters = wire_parameters(&wire, &status->parameters);
    message.key_bytes_max = NODE_KEY_BYTES_MAX;
    message.value_bytes_max = NODE_VALUE_BYTES_MAX;
    message.message_bytes_max = RPC_CLIENT_BYTES_MAX;
    answer(node, request, &message.base);
}

static void on_descriptors(struct node *node, struct request *request) {
    Chord__V1__GetFileDescriptorSetResponse message =
        CHORD__V1__GET_FILE_DESCRIPTOR_SET_RESPONSE__INIT;
    message.file_descriptor_set.data = (uint8_t *)(uintptr_t)rpc_descriptor_set;
    message.file_descriptor_set.len = rpc_descriptor_set_bytes;
    answer(node, request, &message.base);
}

void admin_request(struct node *node, struct request *request) {
    switch (request->method) {
    case RPC_ADMIN_STATUS:
        on_status(node, request);
        break;
    case RPC_ADMIN_LEAVE:
        on_leave(node, request);
        break;
    case RPC_ADMIN_JOIN:
        on_join(node, request);
        break;
    case RPC_ADMIN_KILL:
        on_kill(node, request);
        break;
    case RPC_ADMIN_RECOVER:
        on_recover(node, request);
        break;
    case RPC_ADMIN_LOGS:
        on_logs(node, request);
        break;
    case RPC_ADMIN_LIST_KEYS:
        on_list_keys(node, request);
        break;
    case RPC_META_GET_SERVER_INFO:
        on_info(node, request);
        break;
    default:
        on_descriptors(node, request);
        break;
    }
    arena_reset(&node->scratch);
}

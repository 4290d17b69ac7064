/* The ring and its nodes as JSON (gateway/README.md); see ring_view.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "db.h"
#include "events.h"
#include "json.h"
#include "log.h"
#include "ring_internal.h"

static json_t *id_json(const struct ring_view *view, const ProtobufCBinaryData *wire) {
    struct ring_id id;
    char hex[ID_HEX_SIZE];
    if (!view->parameters.known || wire->len == 0 || !id_from_wire(&id, wire->data, wire->len)) {
        return json_null();
    }
    id_to_hex(&id, view->parameters.m, hex);
    return json_string(hex);
}

static json_t *peer_id_json(const struct ring_view *view, const Chord__V1__Peer *peer) {
    return peer == NULL ? json_null() : id_json(view, &peer->id);
}

static json_t *peer_json(const struct ring_view *view, const Chord__V1__Peer *peer) {
    if (peer == NULL) {
        return json_null();
    }
    json_t *json = json_object();
    json_put(json, "id", id_json(view, &peer->id));
    json_put(json, "address", json_text_z(peer->address));
    return json;
}

/* (predecessor, self]; the only member has the whole ring. */
static json_t *range_json(const struct ring_view *view, const Chord__V1__StatusResponse *status) {
    if (status == NULL || status->self == NULL ||
        (status->predecessor == NULL && view->health.verdict.members != 1)) {
        return json_null();
    }
    const Chord__V1__Peer *lo = status->predecessor == NULL ? status->self : status->predecessor;
    json_t *json = json_object();
    json_put(json, "lo", id_json(view, &lo->id));
    json_put(json, "hi", id_json(view, &status->self->id));
    return json;
}

static void node_json_numbers(json_t *json, const struct view_node *node) {
    const Chord__V1__StatusResponse *status = node->status;
    bool alive = view_node_alive(node) && status != NULL;
    json_put(json, "keys", json_u64(status == NULL ? 0 : status->keys_led));
    json_put(json, "keys_stored", json_u64(status == NULL ? 0 : status->keys_stored));
    json_put(json, "bytes_stored", json_u64(status == NULL ? 0 : status->bytes_stored));
    double percent = alive ? (double)(int)(node->cpu_percent * 10 + 0.5) / 10 : 0;
    /* What a node that is down uses is nothing that anybody knows: null, not 0. */
    json_put(json, "cpu_percent", alive ? json_real(percent) : json_null());
    json_put(json, "pss_bytes", alive ? json_u64(status->pss_bytes) : json_null());
    json_put(json, "uptime_ms", alive ? json_u64(status->uptime_ms) : json_null());
    json_put(json, "incarnation",
             json_u64(status != NULL && status->self != NULL ? status->self->incarnation : 0));
}

static json_t *node_json(const struct ring_view *view, const struct view_node *node, uint64_t now) {
    const Chord__V1__StatusResponse *status = node->status;
    int slot = view_slot(view, node->address);
    json_t *json = json_object();
    json_put(json, "id", node->id[0] == '\0' ? json_null() : json_string(node->id));
    json_put(json, "address", json_text_z(node->address));
    json_put(json, "slot", slot == 0 ? json_null() : json_integer(slot));
    if (slot > 0) {
        json_put(json, "dashboard",
                 json_sprintf("http://%s:%d", view->app->settings.host,
                              view->app->settings.port + slot));
    } else {
        json_put(json, "dashboard", json_null());
    }
    json_put(json, "state", json_string(view_state_text(node->state)));
    json_put(json, "departed", json_boolean(node->departed));
    json_put(json, "since_ms", json_u64(now - node->since_ms));
    node_json_numbers(json, node);
    json_put(json, "predecessor",
             status == NULL ? json_null() : peer_id_json(view, status->predecessor));
    json_t *successors = json_array();
    for (size_t i = 0; status != NULL && i < status->n_successors; i++) {
        (void)json_array_append_new(successors, peer_id_json(view, status->successors[i]));
    }
    json_put(json, "successors", successors);
    bool member = node->state == VIEW_MEMBER || node->state == VIEW_LEAVING;
    json_put(json, "copies_short",
             json_u64(member ? ring_copies_short(status, view->health.verdict.copies_wanted) : 0));
    json_put(json, "recovered", json_u64(member ? ring_recovered(status) : 0));
    json_put(json, "bad_rows", json_integer(status == NULL ? 0 : status->bad_rows));
    json_put(json, "range", member ? range_json(view, status) : json_null());
    json_put(json, "invariant", json_text_z(status == NULL ? "" : status->invariant));
    json_put(json, "disputed",
             json_boolean(member && node->reports < 2 && view->health.verdict.members > 1));
    return json;
}

static int compare_shown(const void *a, const void *b) {
    const struct view_node *x = *(const struct view_node *const *)a;
    const struct view_node *y = *(const struct view_node *const *)b;
    int order = strcmp(x->id, y->id);
    return order != 0 ? order : strcmp(x->address, y->address);
}

/* Nodes in id order. A slot that has never run yet is no node. */
static json_t *nodes_json(const struct ring_view *view, uint64_t now) {
    json_t *array = json_array();
    const struct view_node **shown = calloc(view->nodes_count + 1, sizeof(const void *));
    if (shown == NULL) {
        return array;
    }
    size_t count = 0;
    for (size_t i = 0; i < view->nodes_count; i++) {
        bool gone = view->nodes[i]->departed && view->nodes[i]->state == VIEW_DOWN;
        if (view->nodes[i]->heard && view->nodes[i]->id[0] != '\0' &&
            !(gone && view_slot(view, view->nodes[i]->address) == 0)) {
            shown[count++] = view->nodes[i];
        }
    }
    qsort(shown, count, sizeof(shown[0]), compare_shown);
    for (size_t i = 0; i < count; i++) {
        (void)json_array_append_new(array, node_json(view, shown[i], now));
    }
    free(shown);
    return array;
}

/* Of the whole machine, between two looks; all callers hold the view's lock. */
static json_t *cpu_json(struct ring_view *view, uint64_t now) {
    unsigned long long part[8] = {0};
    FILE *file =
        now - view->machine.looked_ms < VIEW_VOLATILE_MS ? NULL : fopen("/proc/stat", "re");
    if (file != NULL &&
        fscanf(file, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &part[0], &part[1], &part[2],
               &part[3], &part[4], &part[5], &part[6], &part[7]) == 8) {
        uint64_t all = 0, idle = part[3] + part[4]; /* idle and waiting for a disk */
        for (int i = 0; i < 8; i++) {
            all += part[i];
        }
        if (view->machine.all > 0 && all > view->machine.all) {
            view->machine.percent =
                100 - 100 * (double)(idle - view->machine.idle) / (double)(all - view->machine.all);
        }
        view->machine.all = all;
        view->machine.idle = idle;
        view->machine.looked_ms = now;
    }
    if (file != NULL) {
        fclose(file);
    }
    json_t *json = json_object();
    json_put(json, "percent", json_real((double)(int)(view->machine.percent * 10 + 0.5) / 10));
    json_put(json, "cores", json_integer(sysconf(_SC_NPROCESSORS_ONLN)));
    return json;
}

static json_t *memory_json(void) {
    unsigned long long total = 0;
    unsigned long long available = 0;
    char line[128];
    FILE *file = fopen("/proc/meminfo", "re");
    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        (void)sscanf(line, "MemTotal: %llu kB", &total);
        (void)sscanf(line, "MemAvailable: %llu kB", &available);
    }
    if (file != NULL) {
        fclose(file);
    }
    json_t *json = json_object();
    json_put(json, "total_bytes", json_u64(total * 1024));
    json_put(json, "available_bytes", json_u64(available * 1024));
    return json;
}

static void ring_json_parameters(const struct ring_view *view, json_t *json) {
    char hex[2 * sizeof(view->ring_id) + 1];
    rpc_hex(hex, view->ring_id, sizeof(view->ring_id));
    json_put(json, "ring_id", json_string(hex));
    json_put(json, "m", json_integer(view->parameters.m));
    json_put(json, "n", json_integer(view->parameters.n));
    json_put(json, "replicas", json_integer(view->parameters.replicas));
}

/* Ranges that have lost their majority, and whom to start. */
static void ring_json_survival(const struct ring_view *view, json_t *json) {
    const struct survival *survival = &view->health.verdict.survival;
    json_put(json, "survives_failures", json_u64(survival->failures));
    json_put(json, "keys", json_u64(survival->keys));
    json_put(json, "keys_lost", json_u64(survival->keys_lost));
    json_put(json, "ids_lost", json_real(survival->ids_lost));
    json_t *lost = json_array();
    for (size_t i = 0; i < survival->lost_count; i++) {
        const struct survival_range *range = &survival->lost[i];
        json_t *item = json_object();
        json_put(item, "lo", id_json(view, &range->lo));
        json_put(item, "hi", id_json(view, &range->hi));
        json_put(item, "keys", json_u64(range->keys));
        json_put(item, "members", json_integer(range->members));
        json_put(item, "alive", json_integer(range->alive));
        (void)json_array_append_new(lost, item);
    }
    json_put(json, "lost", lost);
    json_t *start = json_array();
    for (size_t i = 0; i < survival->start_count; i++) {
        (void)json_array_append_new(start, json_text_z(survival->start[i]));
    }
    json_put(json, "start", start);
    json_put(json, "start_any", json_boolean(survival->start_any));
}

json_t *view_ring_json(struct ring_view *view, uint64_t now) {
    const struct view_health *health = &view->health;
    json_t *json = json_object();
    ring_json_parameters(view, json);
    json_put(json, "formed", json_boolean(health->verdict.formed));
    json_put(json, "state", json_string(health->answering ? health->state : "degraded"));
    json_put(json, "state_reason",
             json_text_z(health->answering ? health->reason : "no node answers"));
    ring_json_survival(view, json);
    json_put(json, "warning", json_text_z(health->warning));
    json_put(json, "sequence", json_u64(events_sequence(view->app->events)));
    json_put(json, "members", json_u64(health->verdict.members));
    json_put(json, "answering", json_boolean(health->answering));
    json_put(json, "memory", memory_json());
    json_put(json, "cpu", cpu_json(view, now));
    json_put(json, "nodes", nodes_json(view, now));
    return json;
}

static uint64_t hash_text(uint64_t hash, const char *text) {
    for (; text != NULL && *text != '\0'; text++) { /* FNV-1a */
        hash = (hash ^ (uint8_t)*text) * 1099511628211u;
    }
    return (hash ^ 0xff) * 1099511628211u;
}

uint64_t view_ring_hash(struct ring_view *view) {
    char numbers[160];
    uint64_t hash = hash_text(14695981039346656037u, view->health.state);
    hash = hash_text(hash, view->health.reason);
    hash = hash_text(hash, view->health.warning);
    for (size_t i = 0; i < view->nodes_count; i++) {
        const struct view_node *node = view->nodes[i];
        const Chord__V1__StatusResponse *status = node->status;
        if (!node->heard) {
            continue;
        }
        hash = hash_text(hash, node->address);
        hash = hash_text(hash, node->id);
        hash = hash_text(hash, status == NULL ? "" : status->invariant);
        snprintf(numbers, sizeof(numbers), "%d %d %llu %llu %d %u %u", node->state,
                 view_slot(view, node->address),
                 status == NULL ? 0ULL : (unsigned long long)status->keys_led,
                 status == NULL ? 0ULL : (unsigned long long)status->keys_stored, node->reports < 2,
                 ring_recovered(status), status == NULL ? 0 : status->bad_rows);
        hash = hash_text(hash, numbers);
        for (size_t k = 0; status != NULL && k < status->n_successors; k++) {
            hash = hash_text(hash, status->successors[k]->address);
        }
        hash = hash_text(hash, status != NULL && status->predecessor != NULL
                                   ? status->predecessor->address
                                   : "-");
    }
    return hash;
}

/* ---- one node in detail ---- */

static json_t *fingers_json(const struct ring_view *view, const Chord__V1__StatusResponse *status) {
    json_t *array = json_array();
    for (size_t i = 0; i < status->n_fingers; i++) {
        json_t *finger = json_object();
        json_put(finger, "index", json_integer(status->fingers[i]->index));
        json_put(finger, "start", id_json(view, &status->fingers[i]->start));
        json_put(finger, "node", peer_json(view, status->fingers[i]->node));
        (void)json_array_append_new(array, finger);
    }
    return array;
}

static const char *range_state_text(Chord__V1__RangeState state) {
    switch (state) {
    case CHORD__V1__RANGE_STATE__RANGE_STATE_REPLICA:
        return "replica";
    case CHORD__V1__RANGE_STATE__RANGE_STATE_SETTLING:
        return "settling";
    case CHORD__V1__RANGE_STATE__RANGE_STATE_OPEN:
        return "open";
    case CHORD__V1__RANGE_STATE__RANGE_STATE_CHANGING:
        return "changing";
    default:
        return "retired";
    }
}

static json_t *ranges_json(const struct ring_view *view, const Chord__V1__StatusResponse *status) {
    json_t *array = json_array();
    for (size_t i = 0; i < status->n_ranges; i++) {
        const Chord__V1__View *of = status->ranges[i]->view;
        if (of == NULL || of->range == NULL) {
            continue;
        }
        json_t *range = json_object();
        json_put(range, "lo", id_json(view, &of->range->lo));
        json_put(range, "hi", id_json(view, &of->range->hi));
        json_put(range, "epoch", json_u64(of->epoch));
        json_put(range, "leader",
                 of->leader < of->n_members ? json_text_z(of->members[of->leader]->address)
                                            : json_null());
        json_t *members = json_array();
        for (size_t k = 0; k < of->n_members; k++) {
            (void)json_array_append_new(members, json_text_z(of->members[k]->address));
        }
        json_put(range, "members", members);
        json_put(range, "copies", json_integer(status->ranges[i]->copies));
        json_put(
            range, "recovered",
            json_boolean(status->ranges[i]->view != NULL && status->ranges[i]->view->recovered));
        json_put(range, "state", json_string(range_state_text(status->ranges[i]->state)));
        (void)json_array_append_new(array, range);
    }
    return array;
}

static void node_json_detail(const struct ring_view *view, const struct view_node *node,
                             json_t *json) {
    const Chord__V1__StatusResponse *status = node->status;
    json_put(json, "predecessor",
             status == NULL ? json_null() : peer_json(view, status->predecessor));
    json_t *successors = json_array();
    for (size_t i = 0; status != NULL && i < status->n_successors; i++) {
        (void)json_array_append_new(successors, peer_json(view, status->successors[i]));
    }
    json_put(json, "successors", successors);
    json_put(json, "fingers", status == NULL ? json_array() : fingers_json(view, status));
    json_put(json, "ranges", status == NULL ? json_array() : ranges_json(view, status));
    json_put(json, "salt", json_integer(status == NULL ? 0 : status->salt));
    json_put(json, "survives_failures",
             json_integer(status == NULL ? 0 : status->survives_failures));
    json_put(json, "warning", json_text_z(status == NULL ? "" : status->warning));
    json_put(json, "requests_total", json_u64(status == NULL ? 0 : status->requests_total));
    json_put(json, "refused_total", json_u64(status == NULL ? 0 : status->refused_total));
    json_put(json, "maintenance_messages_total",
             json_u64(status == NULL ? 0 : status->maintenance_messages_total));
    json_put(json, "log_sequence", json_u64(status == NULL ? 0 : status->log_sequence));
    json_put(json, "formed", json_boolean(status != NULL && status->formed));
    json_put(json, "m", json_integer(view->parameters.m));
    json_put(json, "n", json_integer(view->parameters.n));
    json_put(json, "replicas", json_integer(view->parameters.replicas));
}

json_t *ring_view_ring_json(struct ring_view *view) {
    pthread_mutex_lock(&view->lock);
    uint64_t now = clock_now_ms();
    view_health_compute(view, now);
    json_t *json = view_ring_json(view, now);
    pthread_mutex_unlock(&view->lock);
    return json;
}

json_t *ring_view_nodes_json(struct ring_view *view) {
    pthread_mutex_lock(&view->lock);
    json_t *json = json_object();
    json_put(json, "nodes", nodes_json(view, clock_now_ms()));
    pthread_mutex_unlock(&view->lock);
    return json;
}

json_t *ring_view_node_json(struct ring_view *view, const char *name) {
    struct view_ref ref;
    if (!ring_view_find(view, name, &ref)) {
        return NULL;
    }
    json_t *json = NULL;
    pthread_mutex_lock(&view->lock);
    const struct view_node *node = view_node_find(view, ref.address);
    if (node != NULL) {
        json = node_json(view, node, clock_now_ms());
        node_json_detail(view, node, json);
    }
    pthread_mutex_unlock(&view->lock);
    return json;
}

bool ring_view_ready(struct ring_view *view, struct buf *checks) {
    pthread_mutex_lock(&view->lock);
    int slots = atomic_load(&view->app->slots);
    int missing = 0;
    bool any = false;
    for (size_t i = 0; i < view->nodes_count; i++) {
        const struct view_node *node = view->nodes[i];
        bool member = view_node_alive(node) && node->state == VIEW_MEMBER;
        any = any || member;
        /* Who left by hand is not awaited. */
        bool awaited = !view_node_alive(node) || node->state != VIEW_LEFT;
        if (view_slot(view, node->address) > 0 && !member && awaited) {
            missing++;
            (void)buf_format(checks, "[-] node %d at %s is %s\n", view_slot(view, node->address),
                             node->address,
                             node->heard ? view_state_text(node->state) : "not there yet");
        }
    }
    (void)buf_format(checks, "[%c] local nodes: %d of %d are members\n", missing == 0 ? '+' : '-',
                     slots - missing, slots);
    (void)buf_format(checks, "[%c] a member is known\n", any ? '+' : '-');
    const char *state = view->health.answering ? view->health.state : "degraded";
    bool stable = strcmp(state, "healthy") == 0 || strcmp(state, "degraded") == 0;
    (void)buf_format(checks, "[%c] ring is %s: %s\n", stable ? '+' : '-', state,
                     view->health.answering ? view->health.reason : "no node answers");
    bool ready = missing == 0 && any && stable;
    pthread_mutex_unlock(&view->lock);
    return ready;
}

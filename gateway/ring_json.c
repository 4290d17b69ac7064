/* SPDX-License-Identifier: MIT */
/* The ring and its nodes as JSON (gateway/README.md); see ring_view.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "db.h"
#include "events.h"
#include "log.h"
#include "ring_internal.h"
#include "status_json.h"

/* Of a node that never answered. */
static const Chord__V1__StatusResponse *status_of(const struct view_node *node) {
    static const Chord__V1__StatusResponse none = CHORD__V1__STATUS_RESPONSE__INIT;
    return node->status == NULL ? &none : node->status;
}

/* (predecessor, self]; the only member has the whole ring. */
static json_t *range_json(const struct ring_view *view, const Chord__V1__StatusResponse *status) {
    unsigned m = view->parameters.m;
    if (status->self == NULL ||
        (status->predecessor == NULL && view->health.verdict.members != 1)) {
        return json_null();
    }
    const Chord__V1__Peer *lo = status->predecessor == NULL ? status->self : status->predecessor;
    return json_pack("{s:o, s:o}", "lo", id_json(lo->id, m), "hi", id_json(status->self->id, m));
}

/* What a node that is down uses is nothing that anybody knows: null, not 0. */
static json_t *usage_json(const struct view_node *node) {
    if (!view_node_alive(node) || node->status == NULL) {
        return json_pack("{s:n, s:n, s:n}", "cpu_percent", "pss_bytes", "uptime_ms");
    }
    return json_pack("{s:f, s:o, s:o}", "cpu_percent",
                     (double)(int)(node->cpu_percent * 10 + 0.5) / 10, "pss_bytes",
                     json_u64(node->status->pss_bytes), "uptime_ms",
                     json_u64(node->status->uptime_ms));
}

static json_t *node_json(const struct ring_view *view, const struct view_node *node, uint64_t now) {
    const Chord__V1__StatusResponse *status = status_of(node);
    const struct settings *settings = &view->app->settings;
    const struct ring_verdict *verdict = &view->health.verdict;
    int slot = view_slot(view, node->address);
    bool member = node->state == VIEW_MEMBER || node->state == VIEW_LEAVING;
    json_t *json = json_pack(
        "{s:o, s:o, s:o, s:o, s:s, s:b, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, "
        "s:b}",
        "id", node->id[0] == '\0' ? json_null() : json_string(node->id), "address",
        json_text(node->address), "slot", slot == 0 ? json_null() : json_integer(slot), "dashboard",
        slot > 0 ? json_sprintf("http://%s:%d", settings->host, settings->port + slot)
                 : json_text(status->page[0] != '\0' ? status->page : NULL),
        "state", view_state_text(node->state), "departed", (int)node->departed, "since_ms",
        json_u64(now - node->since_ms), "keys", json_u64(status->keys_led), "keys_stored",
        json_u64(status->keys_stored), "bytes_stored", json_u64(status->bytes_stored),
        "incarnation", json_u64(status->self != NULL ? status->self->incarnation : 0),
        "copies_short", json_u64(member ? ring_copies_short(status, verdict->copies_wanted) : 0),
        "recovered", json_u64(member ? ring_recovered(status) : 0), "bad_rows",
        json_u64(status->bad_rows), "range", member ? range_json(view, status) : json_null(),
        "host", json_text(status->host_name), "invariant", json_text(status->invariant), "disputed",
        (int)(member && node->reports < 2 && verdict->members > 1));
    lists_json(json, status, view->parameters.m);
    (void)json_object_update_new(json, usage_json(node));
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
    return json_pack("{s:f, s:o}", "percent", (double)(int)(view->machine.percent * 10 + 0.5) / 10,
                     "cores", json_integer(sysconf(_SC_NPROCESSORS_ONLN)));
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
    return json_pack("{s:o, s:o}", "total_bytes", json_u64(total * 1024), "available_bytes",
                     json_u64(available * 1024));
}

static json_t *parameters_json(const struct ring_view *view) {
    return json_pack("{s:o, s:o, s:o}", "m", json_u64(view->parameters.m), "n",
                     json_u64(view->parameters.n), "replicas", json_u64(view->parameters.replicas));
}

/* Ranges that have lost their majority, and whom to start. */
static json_t *survival_json(const struct survival *survival, unsigned m) {
    json_t *lost = json_array();
    json_t *start = json_array();
    json_t *hosts = json_array();
    for (size_t i = 0; i < survival->hosts_count; i++) {
        const struct survival_host *host = &survival->hosts[i];
        (void)json_array_append_new(
            hosts, json_pack("{s:o, s:o, s:f}", "name", json_text(host->name), "members",
                             json_u64(host->members), "ids_at_risk", host->ids_at_risk));
    }
    for (size_t i = 0; i < survival->lost_count; i++) {
        const struct survival_range *range = &survival->lost[i];
        (void)json_array_append_new(
            lost, json_pack("{s:o, s:o, s:o, s:o, s:o}", "lo", id_json(range->lo, m), "hi",
                            id_json(range->hi, m), "keys", json_u64(range->keys), "members",
                            json_u64(range->members), "alive", json_u64(range->alive)));
    }
    for (size_t i = 0; i < survival->start_count; i++) {
        (void)json_array_append_new(start, json_text(survival->start[i]));
    }
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:f, s:o, s:o, s:b}", "survives_failures",
                     json_u64(survival->failures), "survives_hosts",
                     json_u64(survival->host_failures), "hosts", hosts, "keys",
                     json_u64(survival->keys), "keys_lost", json_u64(survival->keys_lost),
                     "ids_lost", survival->ids_lost, "lost", lost, "start", start, "start_any",
                     (int)survival->start_any);
}

json_t *view_ring_json(struct ring_view *view, uint64_t now) {
    const struct view_health *health = &view->health;
    char hex[2 * sizeof(view->ring_id) + 1];
    rpc_hex(hex, view->ring_id, sizeof(view->ring_id));
    json_t *json = json_pack(
        "{s:s, s:b, s:s, s:o, s:o, s:o, s:o, s:b, s:o, s:o, s:o}", "ring_id", hex, "formed",
        (int)health->verdict.formed, "state", health->answering ? health->state : "degraded",
        "state_reason", json_text(health->answering ? health->reason : "no node answers"),
        "warning", json_text(health->warning), "sequence",
        json_u64(events_sequence(view->app->events)), "members", json_u64(health->verdict.members),
        "answering", (int)health->answering, "memory", memory_json(), "cpu", cpu_json(view, now),
        "nodes", nodes_json(view, now));
    (void)json_object_update_new(json, parameters_json(view));
    (void)json_object_update_new(json,
                                 survival_json(&health->verdict.survival, view->parameters.m));
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
        const Chord__V1__StatusResponse *status = status_of(node);
        if (!node->heard) {
            continue;
        }
        hash = hash_text(hash, node->address);
        hash = hash_text(hash, node->id);
        hash = hash_text(hash, status->invariant);
        snprintf(numbers, sizeof(numbers), "%d %d %llu %llu %d %u %u", node->state,
                 view_slot(view, node->address), (unsigned long long)status->keys_led,
                 (unsigned long long)status->keys_stored, node->reports < 2, ring_recovered(status),
                 status->bad_rows);
        hash = hash_text(hash, numbers);
        for (size_t k = 0; k < status->n_successors; k++) {
            hash = hash_text(hash, status->successors[k]->address);
        }
        hash = hash_text(hash, status->predecessor != NULL ? status->predecessor->address : "-");
    }
    return hash;
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
    json_t *json = json_pack("{s:o}", "nodes", nodes_json(view, clock_now_ms()));
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
        status_detail_json(json, status_of(node), view->parameters.m);
        (void)json_object_update_new(json, parameters_json(view));
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

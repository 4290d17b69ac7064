/* SPDX-License-Identifier: MIT */
/*
 * See experiment.h.
 */
#include "experiment.h"

#include "checks.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    GROWTH_STEP_MS = 100, /* the ring may grow by a twelfth in so long */
    IDEAL_LIMIT_S = 900,  /* virtual */
    LOOK_EVERY_MS = 250, /* and where there are many, as many milliseconds as a hundredth of them */
    KEYS_PER_NODE = 100,
    LOOKUP_TIMEOUT_MS = 20000,
};

struct scene {
    const struct experiment *experiment;
    struct experiment_result *result;
    struct host *host;
    struct picture picture;
};

static void look(struct scene *scene) {
    for (int i = 0; i < host_count(scene->host); i++) {
        picture_update(&scene->picture, scene->host, i);
    }
}

static void tell(const struct scene *scene, const char *what) {
    if (scene->experiment->verbose) {
        fprintf(stderr, "%8.2f s, %d nodes: %s\n", (double)host_now_us(scene->host) / 1e6,
                host_count(scene->host), what);
    }
}

/* Looking at all is dear where there are many; the first that is wrong is looked at first. */
static bool until_ideal(struct scene *scene, bool fingers) {
    uint64_t until_us = host_now_us(scene->host) + IDEAL_LIMIT_S * 1000000ull;
    const char *why = "";
    while (host_now_us(scene->host) < until_us) {
        int node;
        look(scene);
        const char *now = check_ideal(&scene->picture, scene->host, fingers, &node);
        if (now == NULL) {
            return true;
        }
        if (now != why) {
            tell(scene, now);
            why = now;
        }
        uint64_t hundredth = (uint64_t)host_count(scene->host) / 100;
        host_run(scene->host, hundredth > LOOK_EVERY_MS ? hundredth : LOOK_EVERY_MS);
    }
    scene->result->violation = why;
    return false;
}

/* ---- bring up: by ordinary joins, as fast as the ring can take them ---- */

static void bring_up(struct scene *scene) {
    uint64_t began_us = host_now_us(scene->host);
    int wanted = (int)scene->experiment->nodes;
    while (host_count(scene->host) < wanted) {
        int now = host_count(scene->host) / 12 + 1;
        for (int i = 0; i < now && host_count(scene->host) < wanted; i++) {
            host_start(scene->host, host_add(scene->host));
        }
        host_run(scene->host, GROWTH_STEP_MS);
        if (host_count(scene->host) % 1000 < now) {
            tell(scene, "joining");
        }
    }
    until_ideal(scene, true);
    scene->result->ideal_us = host_now_us(scene->host) - began_us;
}

/* ---- lookups ---- */

static int random_member(struct scene *scene) {
    return scene->picture.ring[host_random(scene->host) % (uint64_t)scene->picture.ring_count];
}

static struct chord_id random_id(struct scene *scene) {
    uint8_t hash[CHORD_ID_BYTES];
    for (unsigned i = 0; i < CHORD_ID_BYTES; i++) {
        hash[i] = (uint8_t)host_random(scene->host);
    }
    return id_from_hash(hash, scene->experiment->m);
}

static int owner_of(const struct picture *picture, const struct chord_id *id) {
    int low = 0, high = picture->ring_count;
    while (low < high) {
        int middle = (low + high) / 2;
        if (id_compare(&picture->nodes[picture->ring[middle]].id, id) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return picture->ring[low % picture->ring_count];
}

static void lookup_round(struct scene *scene, unsigned count, bool *busy) {
    struct asked {
        struct host_call *call;
        struct chord_id id;
        int node;
    } *asked = calloc(count, sizeof *asked);
    struct experiment_result *result = scene->result;
    for (unsigned i = 0; i < count && asked != NULL; i++) {
        struct chord_request request = {.kind = CHORD_LOOKUP};
        do {
            asked[i].node = random_member(scene);
        } while (busy[asked[i].node]);
        busy[asked[i].node] = true;
        asked[i].id = request.id = random_id(scene);
        asked[i].call = host_request(scene->host, asked[i].node, &request, LOOKUP_TIMEOUT_MS);
    }
    unsigned open = count;
    for (unsigned ms = 0; open > 0 && ms < LOOKUP_TIMEOUT_MS; ms++) {
        host_run(scene->host, 1);
        open = 0;
        for (unsigned i = 0; i < count && asked != NULL; i++) {
            open += !asked[i].call->done;
        }
    }
    for (unsigned i = 0; i < count && asked != NULL; i++) {
        const struct host_call *call = asked[i].call;
        const char *owner = call->response.lookup.owner.address;
        unsigned hops = call->response.lookup.asked;
        result->lookups++;
        if (call->done && call->code == CHORD_OK && hops < EXPERIMENT_HOPS_MAX &&
            host_by_address(scene->host, owner) == owner_of(&scene->picture, &asked[i].id)) {
            result->lookups_right++;
            result->hops[hops]++;
        } else {
            result->violation = "a lookup that did not find the owner";
        }
        busy[asked[i].node] = false;
    }
    free(asked);
    host_forget_calls(scene->host);
}

static unsigned percentile(const unsigned *histogram, unsigned buckets, unsigned total,
                           double share) {
    double wanted = share * total;
    unsigned seen = 0, at = 0;
    for (; at + 1 < buckets && (seen += histogram[at]) < wanted; at++) {
    }
    return at;
}

static void measure_lookups(struct scene *scene) {
    struct experiment_result *result = scene->result;
    unsigned members = (unsigned)scene->picture.ring_count;
    unsigned at_once = members < 4 ? 1 : members / 4 < 2000 ? members / 4 : 2000;
    bool *busy = calloc((size_t)host_count(scene->host), sizeof *busy);
    for (unsigned left = scene->experiment->lookups; left > 0 && busy != NULL;) {
        unsigned now = left < at_once ? left : at_once;
        lookup_round(scene, now, busy);
        left -= now;
    }
    free(busy);
    uint64_t sum = 0;
    for (unsigned i = 0; i < EXPERIMENT_HOPS_MAX; i++) {
        sum += (uint64_t)result->hops[i] * i;
    }
    if (result->lookups_right > 0) {
        result->hops_mean = (double)sum / result->lookups_right;
        result->hops_1 = percentile(result->hops, EXPERIMENT_HOPS_MAX, result->lookups_right, 0.01);
        result->hops_50 = percentile(result->hops, EXPERIMENT_HOPS_MAX, result->lookups_right, 0.5);
        result->hops_99 =
            percentile(result->hops, EXPERIMENT_HOPS_MAX, result->lookups_right, 0.99);
    }
}

/* ---- load ---- */

static int unsigned_order(const void *a, const void *b) {
    unsigned one = *(const unsigned *)a, other = *(const unsigned *)b;
    return one < other ? -1 : one > other;
}

static void measure_load(struct scene *scene) {
    unsigned members = (unsigned)scene->picture.ring_count;
    unsigned *keys = calloc((size_t)scene->picture.count + 1, sizeof *keys);
    unsigned *sorted = calloc(members + 1, sizeof *sorted);
    for (uint64_t i = 0; i < (uint64_t)members * KEYS_PER_NODE && keys != NULL; i++) {
        struct chord_id id = random_id(scene);
        keys[owner_of(&scene->picture, &id)]++;
    }
    for (unsigned i = 0; i < members && keys != NULL && sorted != NULL; i++) {
        sorted[i] = keys[scene->picture.ring[i]];
    }
    if (sorted != NULL && members > 0) {
        qsort(sorted, members, sizeof *sorted, unsigned_order);
        scene->result->keys_1 = sorted[members / 100];
        scene->result->keys_50 = sorted[members / 2];
        scene->result->keys_99 = sorted[members - 1 - members / 100];
    }
    free(keys);
    free(sorted);
}

/* ---- quiet, and failures ---- */

static void measure_quiet(struct scene *scene) {
    uint64_t before = host_messages(scene->host);
    host_run(scene->host, scene->experiment->quiet_s * 1000ull);
    scene->result->messages_per_node_s = (double)(host_messages(scene->host) - before) /
                                         scene->experiment->quiet_s / scene->picture.ring_count;
}

static void fail_at_once(struct scene *scene) {
    unsigned count = (unsigned)scene->picture.ring_count * scene->experiment->fail_percent / 100;
    for (unsigned i = 0; i < count; i++) {
        int node = random_member(scene);
        host_kill(scene->host, node);
        picture_update(&scene->picture, scene->host, node);
    }
    scene->result->failed = count;
    uint64_t began_us = host_now_us(scene->host);
    tell(scene, "failed at once");
    if (until_ideal(scene, false)) {
        scene->result->reconnected_us = host_now_us(scene->host) - began_us;
    }
    if (scene->result->violation == NULL && until_ideal(scene, true)) {
        scene->result->healed_us = host_now_us(scene->host) - began_us;
    }
}

static uint64_t steps_of(struct host *host) {
    uint64_t steps = 0;
    for (int i = 0; i < host_count(host); i++) {
        steps += host_node(host, i)->steps;
    }
    return steps;
}

/* The paper's own rings stabilize every 30 s; a node of ours does every 300 ms. */
static struct chord_timing timing_of(const struct experiment *experiment) {
    struct chord_timing timing = chord_timing_default;
    unsigned times = experiment->slower > 0 ? experiment->slower : 1;
    timing.stabilize_period_ms *= times;
    timing.fix_fingers_period_ms *= times;
    timing.check_predecessor_period_ms *= times;
    timing.graveyard_period_ms *= times;
    return timing;
}

void experiment_run(const struct experiment *experiment, struct experiment_result *result) {
    struct scene scene = {.experiment = experiment, .result = result};
    struct host_config config = {.seed = experiment->seed,
                                 .m = experiment->m,
                                 .n = experiment->n,
                                 .replicas = 1,
                                 .timing = timing_of(experiment),
                                 .ring_only = true,
                                 .places_evenly = true,
                                 .invariant_every = UINT64_MAX,
                                 .limits = host_limits_small(experiment->n)};
    memset(result, 0, sizeof *result);
    result->node_bytes = chord_size(&config.limits);
    struct chord_limits ring = config.limits;
    ring.calls_max = ring.lookups_max = ring.batches_max = ring.transfers_max = 0;
    ring.keys_in_flight_max = 0;
    result->ring_bytes = chord_size(&ring);
    scene.host = host_new(&config);
    picture_init(&scene.picture, experiment->n);
    bring_up(&scene);
    tell(&scene, "ideal");
    if (result->violation == NULL && experiment->lookups > 0) {
        measure_lookups(&scene);
        measure_load(&scene);
        tell(&scene, "looked up");
    }
    if (result->violation == NULL && experiment->quiet_s > 0) {
        measure_quiet(&scene);
    }
    if (result->violation == NULL && experiment->fail_percent > 0) {
        fail_at_once(&scene);
        tell(&scene, "healed");
    }
    result->steps = steps_of(scene.host);
    result->messages = host_messages(scene.host);
    host_free(scene.host);
    picture_free(&scene.picture);
}

void experiment_print(const struct experiment *experiment, const struct experiment_result *result,
                      double seconds, FILE *out) {
    fprintf(out,
            "{\"nodes\": %u, \"m\": %u, \"n\": %u, \"seed\": %" PRIu64 ", \"violation\": \"%s\", "
            "\"ring_bytes\": %zu, \"node_bytes\": %zu, \"ideal_s\": %.2f, \"steps\": %" PRIu64
            ", \"messages\": %" PRIu64
            ", \"lookups\": %u, \"lookups_right\": %u, \"hops_mean\": %.3f, \"hops_1\": %u, "
            "\"hops_50\": %u, \"hops_99\": %u, \"keys_1\": %u, \"keys_50\": %u, \"keys_99\": %u, "
            "\"messages_per_node_s\": %.2f, \"failed\": %u, \"reconnected_s\": %.2f, "
            "\"healed_s\": %.2f, \"seconds\": %.1f, \"hops\": [",
            experiment->nodes, experiment->m, experiment->n, experiment->seed,
            result->violation != NULL ? result->violation : "", result->ring_bytes,
            result->node_bytes, (double)result->ideal_us / 1e6, result->steps, result->messages,
            result->lookups, result->lookups_right, result->hops_mean, result->hops_1,
            result->hops_50, result->hops_99, result->keys_1, result->keys_50, result->keys_99,
            result->messages_per_node_s, result->failed, (double)result->reconnected_us / 1e6,
            (double)result->healed_us / 1e6, seconds);
    for (unsigned i = 0; i <= result->hops_99 + 4 && i < EXPERIMENT_HOPS_MAX; i++) {
        fprintf(out, i > 0 ? ", %u" : "%u", result->hops[i]);
    }
    fprintf(out, "]}\n");
    fflush(out);
}

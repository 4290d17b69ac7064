/* SPDX-License-Identifier: MIT */
/*
 * Measurements at scale: rings of many nodes (ring only, no data) brought up by ordinary joins and
 * held against Chord's own figures (Stoica et al. 2001, section 6).
 */
#ifndef SIM_EXPERIMENT_H
#define SIM_EXPERIMENT_H

#include "core_host.h"

#include <stdio.h>

struct experiment {
    uint64_t seed;
    unsigned nodes, m, n;
    unsigned lookups;      /* from random members to random ids, each checked; 0 = none */
    unsigned fail_percent; /* so many members fail at once after that; 0 = none */
    unsigned slower;  /* every period of maintenance so many times as long; 0 and 1: as in a node */
    unsigned quiet_s; /* of virtual time, to count maintenance messages; 0 = not counted */
    bool verbose;     /* progress to stderr */
};

enum { EXPERIMENT_HOPS_MAX = 64 };

struct experiment_result {
    const char *violation; /* NULL = all held */
    size_t node_bytes;     /* of one chord_size() block */
    size_t ring_bytes;     /* of it, without room for what is in flight: calls, lookups, ... */
    uint64_t ideal_us;     /* virtual time from the first start to the ideal ring, fingers too */
    uint64_t steps, messages;
    unsigned lookups, lookups_right;
    double hops_mean;
    unsigned hops_1, hops_50, hops_99; /* percentiles */
    unsigned hops[EXPERIMENT_HOPS_MAX];
    /* keys of each node, for 100 random keys a node: mean is 100 */
    unsigned keys_1, keys_50, keys_99;
    double messages_per_node_s; /* of a quiet ring, requests and replies */
    unsigned failed;
    uint64_t reconnected_us; /* from the failures to lists and predecessors right */
    uint64_t healed_us;      /* and fingers */
};

void experiment_run(const struct experiment *experiment, struct experiment_result *result);
/* One line of JSON. */
void experiment_print(const struct experiment *experiment, const struct experiment_result *result,
                      double seconds, FILE *out);

#endif

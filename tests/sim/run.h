/* SPDX-License-Identifier: MIT */
/*
 * One run of a plan: the ring lives through it under the checkers' eyes. The result is the same
 * each time.
 */
#ifndef SIM_RUN_H
#define SIM_RUN_H

#include "plan.h"
#include "workload.h"

struct run_options {
    bool trace;       /* the core's trace words to stdout */
    FILE *history;    /* what clients were told of a key that is wrong; NULL: none */
    FILE *ring_trace; /* each change of the ring, for the model's rules; NULL: none */
};

struct run_result {
    char violation[256]; /* "" = none */
    uint64_t violation_us;
    uint64_t digest;
    uint64_t steps;       /* of all nodes */
    uint64_t proof_steps; /* of these, under the proof's assumptions: the invariant was checked */
    uint64_t messages;
    uint64_t simulated_us;
    uint64_t orders;     /* carried out */
    uint64_t suspicions; /* of live members: false ones */
    uint64_t lookups;
    bool healed;
    uint64_t heal_us; /* from the end of the faults to the ideal ring */
    uint64_t members; /* at the end */
    struct workload_counts clients;
};

void run_plan(const struct plan *plan, const struct run_options *options,
              struct run_result *result);

/* Leaves out orders as long as the same violation is still seen; prints progress to `progress`. */
void run_shrink(struct plan *plan, struct run_result *result, FILE *progress);

#endif

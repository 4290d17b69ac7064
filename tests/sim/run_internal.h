/* SPDX-License-Identifier: MIT */
/*
 * What run.c (the plan's orders) and run_watch.c (the checkers after each step) share of a run.
 */
#ifndef SIM_RUN_INTERNAL_H
#define SIM_RUN_INTERNAL_H

#include "checks.h"
#include "run.h"

#include <setjmp.h>

struct moment {
    uint64_t at_us;
    size_t order;
    bool undo;
};

struct run {
    const struct plan *plan;
    const struct run_options *options;
    struct run_result *result;
    struct host *host;
    struct workload *workload; /* NULL: no clients */
    uint64_t views[PLAN_NODES_MAX];
    struct picture picture;
    bool proof, changed;
    uint64_t ideal_us; /* without proof: since when the ring has been ideal; 0: it is not */
    bool disturbed; /* a failure or false suspicion before the first proof: genesis promises nothing
                     */
    uint32_t delay_us_max; /* in fair weather */
    size_t traces_met;
    uint8_t lost_disks[PLAN_NODES_MAX][CHORD_STORE_ID_BYTES]; /* the store ids that were on them */
    int lost_disks_count;
    struct moment *moments;
    size_t moments_count;
    jmp_buf failed;
};

/* The first one is kept. `what` and its number are added to the text; HOST_NOBODY: neither. */
void run_violation_of(struct run *run, const char *text, const char *what, int number);
void run_violation(struct run *run, const char *text, int node);
bool run_violated(const struct run *run);

/* The host's callbacks; their context is the run. */
void run_on_step(void *context, struct host *host, int node);
void run_on_end(void *context, struct host *host, int node);
void run_on_assert(void *context, const char *text);

#endif

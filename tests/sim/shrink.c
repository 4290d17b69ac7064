/* SPDX-License-Identifier: MIT */
/*
 * The shortest plan that still shows a violation: whole runs of orders are left out first, then
 * single ones, as long as the same thing goes wrong (delta debugging: Zeller, Hildebrandt 2002).
 */
#include "run.h"

#include <stdlib.h>
#include <string.h>

enum { RUNS_MAX = 600 };

/* What is broken, without the node that showed it. */
static bool same_violation(const struct run_result *a, const struct run_result *b) {
    size_t length = strcspn(a->violation, ":");
    return b->violation[0] != '\0' && strcspn(b->violation, ":") == length &&
           strncmp(a->violation, b->violation, length) == 0;
}

static bool try_without(struct plan *plan, struct run_result *result, size_t from, size_t count) {
    static const struct run_options quiet;
    struct run_result now;
    struct plan shorter;
    bool *keep = malloc(plan->orders_count + 1);
    bool fewer = false;
    if (keep == NULL) {
        return false;
    }
    memset(keep, true, plan->orders_count + 1);
    for (size_t i = from; i < from + count; i++) {
        /* Without its creator there is no ring to join: another violation by the same name. */
        keep[i] = plan->orders[i].kind == ORDER_START && plan->orders[i].a == 0;
        fewer = fewer || !keep[i];
    }
    if (!fewer) {
        free(keep);
        return false;
    }
    plan_copy(&shorter, plan, keep);
    free(keep);
    run_plan(&shorter, &quiet, &now);
    bool same = same_violation(result, &now);
    if (same) {
        plan_free(plan);
        *plan = shorter;
        *result = now;
    } else {
        plan_free(&shorter);
    }
    return same;
}

void run_shrink(struct plan *plan, struct run_result *result, FILE *progress) {
    unsigned runs = 0;
    for (size_t size = plan->orders_count / 2; size > 0 && runs < RUNS_MAX;) {
        bool shorter = false;
        for (size_t at = 0; at < plan->orders_count && runs < RUNS_MAX;) {
            size_t count = plan->orders_count - at < size ? plan->orders_count - at : size;
            runs++;
            if (try_without(plan, result, at, count)) {
                shorter = true;
            } else {
                at += count;
            }
        }
        fprintf(progress, "shrinking: %zu orders left after %u runs\n", plan->orders_count, runs);
        if (size > 1 || !shorter) {
            size /= 2;
        }
    }
}

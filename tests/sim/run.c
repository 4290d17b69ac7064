/* SPDX-License-Identifier: MIT */
/*
 * See run.h: carries out a plan's orders in time; run_watch.c looks on. The rest is checked at the
 * end: the ring heals and stays ideal, lookups find the owners, and the clients' histories can be.
 */
#include "run_internal.h"
#include "wire_mode.h"

#include <stdlib.h>
#include <string.h>

enum {
    HEAL_LIMIT_US = 180 * 1000000, /* 600 stabilize periods */
    STABLE_US = 5 * 1000000,
    LOOKUPS = 48,
    CHECK_EVERY_US = 50000,
    FORGET_MS = 1500,
    CLIENT_STEPS = 8, /* of a run with clients, whose checks are others, one is checked so */
};

/* ---- waiting for the ideal ring ---- */

/* Time passes, and the clients go on. */
static void pass(struct run *run, uint64_t ms) {
    for (uint64_t i = 0; run->workload != NULL && i < ms && !run_violated(run); i++) {
        host_run(run->host, 1);
        workload_turn(run->workload);
    }
    if (run->workload == NULL) {
        host_run(run->host, ms);
    }
}

static bool settled(struct run *run) {
    return !run->plan->data || host_settled(run->host);
}

/* A member whose leave was asked for, and that is a change still to come. */
static int leaver(const struct run *run) {
    int node = 0;
    while (node < run->picture.count && run->picture.nodes[node].state != CHORD_STATE_LEAVING) {
        node++;
    }
    return node < run->picture.count ? node : HOST_NOBODY;
}

/* A disk was copied, and both are members: one has to find that out and stop. */
static int copied_member(const struct run *run) {
    for (int i = 0; i < host_count(run->host); i++) {
        for (int k = 0; k < i && host_member(run->host, i); k++) {
            if (host_member(run->host, k) &&
                memcmp(host_node(run->host, i)->store.store_id,
                       host_node(run->host, k)->store.store_id, CHORD_STORE_ID_BYTES) == 0) {
                return i;
            }
        }
    }
    return HOST_NOBODY;
}

/* Runs until the ring is ideal with its fingers; false: not within the time. */
static bool until_ideal(struct run *run, uint64_t within_us, const char **why, int *node) {
    uint64_t until_us = host_now_us(run->host) + within_us;
    for (;;) {
        *why = check_ideal(&run->picture, run->host, true, node);
        if (*why == NULL && !settled(run)) {
            *why = "a range that is not open with all its copies";
        }
        if (*why == NULL && (*node = leaver(run)) != HOST_NOBODY) {
            *why = "a member that has not left";
        }
        if (*why == NULL && (*node = copied_member(run)) != HOST_NOBODY) {
            *why = "two members with one store";
        }
        if (*why == NULL || host_now_us(run->host) >= until_us || run_violated(run)) {
            return *why == NULL;
        }
        pass(run, CHECK_EVERY_US / 1000);
    }
}

static void expect(struct run *run, const struct order *order) {
    const char *why = NULL;
    int node = HOST_NOBODY;
    switch (order->expectation) {
    case EXPECT_IDEAL:
    case EXPECT_SETTLED:
        if (!until_ideal(run, order->amount, &why, &node)) {
            run_violation(run, why, node);
        }
        break;
    case EXPECT_ONE_RING:
        why = check_one_ring(&run->picture, &node);
        break;
    case EXPECT_LOOKUPS:
    case EXPECT_ANSWERS:
        why = check_lookups(run->host, LOOKUPS, order->expectation == EXPECT_LOOKUPS, &node);
        run->result->lookups += LOOKUPS;
        break;
    case EXPECT_REFUSED:
        node = order->a;
        why = order->a < host_count(run->host) && host_node(run->host, order->a)->refused != NULL
                  ? NULL
                  : "a node that was not refused";
        break;
    case EXPECT_KINDS:
        break;
    }
    if (why != NULL) {
        run_violation(run, why, node);
    }
}

/* ---- orders ---- */

static void heal(struct run *run) {
    host_heal(run->host);
    host_config_of(run->host)->delay_us_max = run->delay_us_max;
    for (int i = 0; i < host_count(run->host); i++) {
        host_pause(run->host, i, 0);
        host_node(run->host, i)->disk = HOST_DISK_WELL;
        host_clock(run->host, i, 0, 0);
    }
}

/* What clients were promised survives the loss of a minority of the copies: a disk is lost only
 * while every range has all of three or more. */
static bool disk_may_go(struct run *run, int node) {
    unsigned replicas = run->plan->replicas;
    return replicas >= 3 && host_members(run->host) >= (int)replicas && host_settled(run->host) &&
           (!run->plan->guard || check_failure_allowed(&run->picture, node));
}

static bool disk_lost(const struct run *run, const uint8_t *store_id) {
    for (int i = 0; i < run->lost_disks_count; i++) {
        if (memcmp(run->lost_disks[i], store_id, CHORD_STORE_ID_BYTES) == 0) {
            return true;
        }
    }
    return false;
}

/* Until its seat has followed it, a member that has moved counts as lost (node/chord/README.md,
 * "Seats"): nobody moves while a range misses the copy on a lost disk. */
static bool address_may_go(const struct run *run) {
    for (int i = 0; i < host_count(run->host); i++) {
        enum chord_range_state state;
        const struct chord_view *view;
        unsigned copies;
        for (uint16_t k = 0;
             host_node(run->host, i)->alive &&
             (view = chord_view_at(host_node(run->host, i)->chord, k, &state, &copies)) != NULL;
             k++) {
            for (uint16_t m = 0; state != CHORD_RANGE_GONE && m < view->members_count; m++) {
                if (disk_lost(run, view->members[m].store_id)) {
                    return false;
                }
            }
        }
    }
    return true;
}

/* Where the original does not run any more, that is a move. */
static bool starts_with_a_copy(const struct host_node *node) {
    return node->lives == 0 && node->store.identity.incarnation > 0;
}

static void lose_disk(struct run *run, int node) {
    if (run->lost_disks_count < PLAN_NODES_MAX) {
        memcpy(run->lost_disks[run->lost_disks_count++], host_node(run->host, node)->store.store_id,
               CHORD_STORE_ID_BYTES);
    }
    host_wipe(run->host, node);
}

static void order_node(struct run *run, const struct order *order, int node, bool undo) {
    struct host *host = run->host;
    while (order->kind == ORDER_START && host_count(host) <= node) {
        host_add(host);
    }
    if (node >= host_count(host)) {
        return;
    }
    struct host_node *public = host_node(host, node);
    switch (order->kind) {
    case ORDER_START:
    case ORDER_RESTART:
        if (!public->alive && (order->kind == ORDER_START || public->lives > 0) &&
            (!starts_with_a_copy(public) || address_may_go(run))) {
            host_start(host, node);
        }
        break;
    case ORDER_WIPE:
        if (run->plan->clients > 0 && public->alive && disk_may_go(run, node)) {
            host_kill(host, node);
        } else if (run->plan->clients > 0) {
            break;
        }
        if (!public->alive && public->lives > 0) {
            lose_disk(run, node);
            host_start(host, node);
        }
        break;
    case ORDER_CRASH:
        if (public->alive && (!run->plan->guard || check_failure_allowed(&run->picture, node))) {
            host_kill(host, node);
        }
        break;
    case ORDER_MOVE:
    case ORDER_RENAME:
        if (public->alive && address_may_go(run) &&
            (!run->plan->guard || check_failure_allowed(&run->picture, node))) {
            host_kill(host, node);
        }
        if (!public->alive && public->lives > 0) {
            if (address_may_go(run) && order->kind == ORDER_RENAME) {
                host_rename(host, node);
            } else if (address_may_go(run)) {
                host_move(host, node);
            }
            host_start(host, node);
        }
        break;
    case ORDER_LEAVE:
        if (public->alive && (!run->plan->guard || check_failure_allowed(&run->picture, node))) {
            host_leave(host, node);
        }
        break;
    case ORDER_JOIN:
    case ORDER_RESEAT:
        if (public->alive && public->left) {
            host_join(host, node, order->kind == ORDER_RESEAT);
        }
        break;
    case ORDER_PAUSE:
        host_pause(host, node, undo ? 0 : order->for_us);
        break;
    case ORDER_DRIFT:
        host_clock(host, node, undo ? 0 : (int)order->amount - PLAN_PPM_ZERO, 0);
        break;
    case ORDER_JUMP:
        host_clock(host, node, 0, order->amount);
        break;
    case ORDER_DISK:
        public
        ->disk = undo ? HOST_DISK_WELL : order->disk;
        break;
    default:
        break;
    }
}

static void clone(struct host *host, int from, int to) {
    while (host_count(host) <= to) {
        host_add(host);
    }
    if (host_node(host, to)->lives == 0 && from != to &&
        host_node(host, from)->store.identity.incarnation > 0) {
        host_clone(host, from, to);
    }
}

static void order_network(struct run *run, const struct order *order, bool undo) {
    struct host *host = run->host;
    struct host_config *config = host_config_of(host);
    bool known = order->a < host_count(host) && order->b < host_count(host);
    switch (order->kind) {
    case ORDER_CUT:
        if (known) {
            host_cut_way(host, order->a, order->b, !undo);
            host_cut_way(host, order->one_way ? order->a : order->b,
                         order->one_way ? order->b : order->a, !undo);
        }
        break;
    case ORDER_SLOW:
        if (known) {
            host_slow(host, order->a, order->b, undo ? 0 : order->amount);
        }
        break;
    case ORDER_PARTITION:
        for (int i = 0; i < order->group_count; i++) {
            if (order->group[i] < host_count(host)) {
                host_group(host, order->group[i], undo ? 0 : 1);
            }
        }
        break;
    case ORDER_LOSE:
        config->lose_percent = undo ? 0 : (unsigned)order->amount;
        break;
    case ORDER_DOUBLE:
        config->double_percent = undo ? 0 : (unsigned)order->amount;
        break;
    case ORDER_DELAY:
        config->delay_us_max = undo || order->amount < config->delay_us_min
                                   ? run->delay_us_max
                                   : (uint32_t)order->amount;
        break;
    case ORDER_CLONE:
        if (order->a < host_count(host)) {
            clone(host, order->a, order->b);
        }
        break;
    case ORDER_HEAL:
        heal(run);
        break;
    case ORDER_EXPECT:
        expect(run, order);
        break;
    default:
        for (int node = order->a; node <= order->b; node++) {
            order_node(run, order, node, undo);
        }
        break;
    }
}

static int moment_order(const void *a, const void *b) {
    const struct moment *one = a, *other = b;
    if (one->at_us != other->at_us) {
        return one->at_us < other->at_us ? -1 : 1;
    }
    return one->order < other->order ? -1 : one->order > other->order;
}

static void lay_out(struct run *run) {
    const struct plan *plan = run->plan;
    run->moments = calloc(plan->orders_count * 2 + 1, sizeof *run->moments);
    for (size_t i = 0; i < plan->orders_count && run->moments != NULL; i++) {
        const struct order *order = &plan->orders[i];
        run->moments[run->moments_count++] = (struct moment){order->at_us, i, false};
        if (order->for_us > 0) {
            run->moments[run->moments_count++] =
                (struct moment){order->at_us + order->for_us, i, true};
        }
    }
    if (run->moments_count > 0) {
        qsort(run->moments, run->moments_count, sizeof *run->moments, moment_order);
    }
}

static void run_until_us(struct run *run, uint64_t began_us, uint64_t at_us) {
    while (!run_violated(run) && host_now_us(run->host) < began_us + at_us) {
        uint64_t left_us = began_us + at_us - host_now_us(run->host);
        pass(run, left_us > CHECK_EVERY_US ? CHECK_EVERY_US / 1000 : left_us / 1000 + 1);
    }
}

/* Calls that were open when the faults ended may still end in silence, and so in a suspicion: the
 * ring counts as healed from the moment after which it stayed ideal for the longest timeout. */
static bool until_stays_ideal(struct run *run, const char **why, int *node) {
    uint64_t ended_us = host_now_us(run->host);
    do {
        if (!until_ideal(run, ended_us + HEAL_LIMIT_US - host_now_us(run->host), why, node)) {
            return false;
        }
        run->result->heal_us = host_now_us(run->host) - ended_us;
        run->changed = false;
        for (uint64_t us = 0; us < STABLE_US && !run->changed; us += CHECK_EVERY_US) {
            pass(run, CHECK_EVERY_US / 1000);
        }
    } while (run->changed && !run_violated(run) &&
             host_now_us(run->host) < ended_us + HEAL_LIMIT_US);
    *why = run->changed ? "a ring that does not stay ideal" : NULL;
    return !run->changed;
}

static void end_phase(struct run *run) {
    const char *why;
    int node = HOST_NOBODY;
    heal(run);
    for (int i = 0; i < host_count(run->host) && run->workload != NULL; i++) {
        struct host_node *public = host_node(run->host, i);
        if (!public->alive && public->lives > 0 && !public->copy) {
            host_start(run->host, i);
        }
    }
    if (!until_stays_ideal(run, &why, &node)) {
        run_violation(run, why, node);
        return;
    }
    run->result->healed = true;
    why = check_lookups(run->host, LOOKUPS, true, &node);
    run->result->lookups += LOOKUPS;
    if (why == NULL && run->changed) {
        why = "an ideal ring that changed in quiet time";
    }
    if (why != NULL) {
        run_violation(run, why, node);
    } else if (run->workload != NULL && !run_violated(run)) {
        why = workload_check(run->workload, run->options->history, &node);
        if (why != NULL) {
            run_violation_of(run, why, "key", node);
        }
    }
}

static void live_through(struct run *run) {
    const struct plan *plan = run->plan;
    uint64_t began_us = host_now_us(run->host);
    for (size_t i = 0; i < run->moments_count && !run_violated(run); i++) {
        const struct moment *moment = &run->moments[i];
        if (plan->end_us > 0 && moment->at_us > plan->end_us) {
            break;
        }
        run_until_us(run, began_us, moment->at_us);
        if (!run_violated(run)) {
            order_network(run, &plan->orders[moment->order], moment->undo);
            run->result->orders += !moment->undo;
        }
    }
    if (plan->end_us > 0) {
        run_until_us(run, began_us, plan->end_us);
        if (!run_violated(run)) {
            end_phase(run);
        }
    }
    if (run->traces_met < plan->traces_count && !run_violated(run)) {
        char text[200];
        const struct plan_trace *missing = &plan->traces[run->traces_met];
        snprintf(text, sizeof text, "trace line %zu was not met: %d %s %d", run->traces_met + 1,
                 missing->node, chord_word_text(missing->word), missing->other);
        run_violation(run, text, HOST_NOBODY);
    }
    run->result->simulated_us = host_now_us(run->host) - began_us;
}

void run_plan(const struct plan *plan, const struct run_options *options,
              struct run_result *result) {
    struct run *run = calloc(1, sizeof *run);
    if (run == NULL) {
        abort();
    }
    memset(result, 0, sizeof *result);
    run->plan = plan;
    run->options = options;
    run->result = result;
    run->delay_us_max = plan->delay_us_max;
    picture_init(&run->picture, plan->n);
    struct chord_timing timing = chord_timing_default;
    timing.forget_period_ms = FORGET_MS; /* or no plan would live to see it */
    timing.compare_period_ms = FORGET_MS;
    run->host =
        host_new(&(struct host_config){.seed = plan->seed,
                                       .m = plan->m,
                                       .n = plan->n,
                                       .replicas = plan->replicas,
                                       .hosts = plan->hosts,
                                       .delay = plan->delay,
                                       .delay_us_min = plan->delay_us_min,
                                       .delay_us_max = plan->delay_us_max,
                                       .store_us_min = plan->store_us_min,
                                       .store_us_max = plan->store_us_max,
                                       .timing = timing,
                                       .invariant_every = plan->clients > 0 ? CLIENT_STEPS : 0,
                                       .ring_only = !plan->data,
                                       .traces = options->trace,
                                       .pass = plan->wire ? wire_mode_pass : NULL,
                                       .places_evenly = plan->places_evenly,
                                       .on_step = run_on_step,
                                       .on_end = run_on_end,
                                       .on_assert = run_on_assert,
                                       .context = run});
    if (plan->clients > 0) {
        run->workload = workload_new(run->host, plan->seed, plan->clients, plan->keys);
    }
    if (options->ring_trace != NULL) {
        fprintf(options->ring_trace, "ring-trace m=%u n=%u replicas=%u hosts=%u\n", plan->m,
                plan->n, plan->replicas, plan->hosts);
    }
    lay_out(run);
    if (setjmp(run->failed) == 0) {
        live_through(run);
    }
    result->members = (uint64_t)run->picture.ring_count;
    result->messages = host_messages(run->host);
    result->digest = host_digest(run->host);
    if (run->workload != NULL) {
        result->clients = *workload_count(run->workload);
    }
    workload_free(run->workload);
    host_free(run->host);
    picture_free(&run->picture);
    free(run->moments);
    free(run);
}

/*
 * See run.h: carries out a plan's orders in time, and calls the checkers: those of one node and,
 * while the proof's assumptions hold, the invariant after each event that changed the ring; the
 * rest at the end.
 *
 * The assumptions (Zave 2017, section 4.1) begin to hold when genesis has been undisturbed and
 * every member has heard its end, or later when the ring is ideal with at least N+1 members. They
 * end with a false suspicion, or with a failure or leave that takes the last live successor of a
 * member or one of the last N+1 principals.
 */
#include "run.h"

#include "checks.h"

#include <inttypes.h>
#include <setjmp.h>
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
    bool disturbed; /* a failure or false suspicion before the first proof: genesis promises nothing
                     */
    uint32_t delay_us_max; /* in fair weather */
    size_t traces_met;
    struct moment *moments;
    size_t moments_count;
    jmp_buf failed;
};

static void violation_of(struct run *run, const char *text, const char *what, int node) {
    if (run->result->violation[0] == '\0') {
        snprintf(run->result->violation, sizeof run->result->violation, "%s", text);
        run->result->violation_us = host_now_us(run->host);
        if (node != HOST_NOBODY) {
            size_t used = strlen(run->result->violation);
            snprintf(run->result->violation + used, sizeof run->result->violation - used, ": %s %d",
                     what, node);
        }
        if (run->options->trace) {
            fflush(stdout);
            host_print(run->host);
        }
    }
}

static void violation(struct run *run, const char *text, int node) {
    violation_of(run, text, "node", node);
}

static bool violated(const struct run *run) {
    return run->result->violation[0] != '\0';
}

/* ---- after each step ---- */

static void print_entry(FILE *out, const struct picture_entry *entry) {
    fprintf(out, "%d.%u", entry->node, entry->life);
}

static void print_id(FILE *out, const struct chord_id *id, unsigned m) {
    for (unsigned i = CHORD_ID_BYTES - (m + 7) / 8; i < CHORD_ID_BYTES; i++) {
        fprintf(out, "%02x", id->bytes[i]);
    }
}

/* The word of the step: the last one that is about the ring. */
static const char *ring_word(const struct chord_actions *actions) {
    for (uint16_t i = actions->traces_count; i > 0; i--) {
        switch (actions->traces[i - 1].word) {
        case CHORD_WORD_JOIN:
        case CHORD_WORD_GENESIS:
        case CHORD_WORD_MEMBER:
        case CHORD_WORD_STABILIZE:
        case CHORD_WORD_RECTIFY:
        case CHORD_WORD_FAILURE:
        case CHORD_WORD_LEFT:
        case CHORD_WORD_LEAVE:
        case CHORD_WORD_RECREATE:
        case CHORD_WORD_CREATE:
            return chord_word_text(actions->traces[i - 1].word);
        default:
            break;
        }
    }
    return "-";
}

static void print_ring(struct run *run, int node) {
    static const char *const states[] = {"none", "joining", "member", "leaving", "left"};
    const struct picture_node *now = &run->picture.nodes[node];
    FILE *out = run->options->ring_trace;
    if (out == NULL) {
        return;
    }
    int asked = host_asked(run->host);
    fprintf(out, "ring %" PRIu64 " %d.%u %s asked=", host_now_us(run->host), node, now->life,
            ring_word(host_actions(run->host)));
    if (asked == HOST_NOBODY) {
        fprintf(out, "-");
    } else {
        fprintf(out, "%d.%u", asked, run->picture.nodes[asked].life);
    }
    fprintf(out, " state=%s id=", states[now->state]);
    print_id(out, &now->id, run->plan->m);
    fprintf(out, " succ=%s", now->successors_count == 0 ? "-" : "");
    for (uint16_t i = 0; i < now->successors_count; i++) {
        fprintf(out, i > 0 ? "," : "");
        print_entry(out, &now->successors[i]);
    }
    fprintf(out, " pred=%s", now->has_predecessor ? "" : "-");
    if (now->has_predecessor) {
        print_entry(out, &now->predecessor);
    }
    fprintf(out, "\n");
}

static void match_traces(struct run *run, int node, enum chord_word word, int other) {
    const struct plan *plan = run->plan;
    for (size_t i = 0; i < plan->traces_count; i++) {
        const struct plan_trace *line = &plan->traces[i];
        bool same = (line->node < 0 || line->node == node) && line->word == word &&
                    (line->other < 0 || line->other == other);
        if (same && line->never) {
            violation(run, "a word was traced that never should be", node);
        } else if (same && i == run->traces_met) {
            run->traces_met++;
            break;
        }
    }
    while (run->traces_met < plan->traces_count && plan->traces[run->traces_met].never) {
        run->traces_met++;
    }
}

static void on_traces(struct run *run, int node) {
    const struct chord_actions *actions = host_actions(run->host);
    for (uint16_t i = 0; i < actions->traces_count; i++) {
        const struct chord_trace *trace = &actions->traces[i];
        int other = trace->address[0] != '\0' ? host_by_address(run->host, trace->address) : -1;
        if (trace->word == CHORD_WORD_FAILURE && other >= 0 && other < run->picture.count) {
            const struct picture_node *peer = &run->picture.nodes[other];
            unsigned life =
                picture_life_of(&run->picture, other, trace->store_id, trace->incarnation);
            if (peer->member && peer->life == life) {
                run->proof = false;
                run->disturbed = true;
                run->result->suspicions++;
                if (run->options->ring_trace != NULL) {
                    fprintf(run->options->ring_trace, "suspect %" PRIu64 " %d.%u %d.%u\n",
                            host_now_us(run->host), node, run->picture.nodes[node].life, other,
                            life);
                }
            }
        }
        match_traces(run, node, trace->word, other);
    }
}

static bool all_formed(const struct picture *picture) {
    for (int i = 0; i < picture->ring_count; i++) {
        if (!picture->nodes[picture->ring[i]].formed) {
            return false;
        }
    }
    return true;
}

/* `failure`: the change was a member's end, which may break the assumptions itself. */
static void check_ring(struct run *run, bool failure) {
    int at;
    run->disturbed = run->disturbed || failure;
    if (!run->proof) {
        bool enough = run->picture.ring_count > (int)run->picture.n;
        bool genesis = enough && !run->disturbed && all_formed(&run->picture);
        run->proof =
            genesis || (enough && check_ideal(&run->picture, run->host, false, &at) == NULL);
        if (!genesis) {
            return;
        }
    }
    const char *broken = check_invariant(&run->picture, &at);
    if (broken != NULL && failure) {
        run->proof = false;
        return;
    }
    if (broken == NULL) {
        broken = check_one_ring(&run->picture, &at);
    }
    if (broken != NULL) {
        violation(run, broken, at);
    }
}

static void check_node_views(struct run *run, int node) {
    int other;
    uint64_t mark = views_mark(run->host, node);
    if (mark != run->views[node]) {
        run->views[node] = mark;
        const char *broken = check_views(run->host, node, &other);
        if (broken != NULL) {
            violation(run, broken, node);
        }
    }
}

static void on_step(void *context, struct host *host, int node) {
    struct run *run = context;
    if (run->plan->data) {
        check_node_views(run, node);
    }
    bool member = node < run->picture.count && run->picture.nodes[node].member;
    bool changed = picture_update(&run->picture, host, node);
    run->result->steps++;
    run->result->proof_steps += run->proof;
    if (host_actions(host)->traces_count > 0) {
        on_traces(run, node);
    }
    if (!changed) {
        return;
    }
    run->changed = true;
    print_ring(run, node);
    const struct picture_node *now = &run->picture.nodes[node];
    const char *broken = check_lists(&run->picture, node);
    if (broken == NULL && run->proof && !member && now->member) {
        broken = check_joined(&run->picture, node);
    }
    if (broken != NULL) {
        violation(run, broken, node);
    }
    check_ring(run, member && !now->member);
}

static void on_end(void *context, struct host *host, int node) {
    struct run *run = context;
    if (run->options->ring_trace != NULL) {
        fprintf(run->options->ring_trace, "dead %" PRIu64 " %d.%u\n", host_now_us(host), node,
                run->picture.nodes[node].life);
    }
    if (picture_update(&run->picture, host, node)) {
        run->changed = true;
        check_ring(run, true);
    }
}

static void on_assert(void *context, const char *text) {
    struct run *run = context;
    violation(run, text, HOST_NOBODY);
    longjmp(run->failed, 1);
}

/* ---- waiting for the ideal ring ---- */

/* Time passes, and the clients go on. */
static void pass(struct run *run, uint64_t ms) {
    for (uint64_t i = 0; run->workload != NULL && i < ms && !violated(run); i++) {
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
        if (*why == NULL || host_now_us(run->host) >= until_us || violated(run)) {
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
            violation(run, why, node);
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
        violation(run, why, node);
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
        if (!public->alive && (order->kind == ORDER_START || public->lives > 0)) {
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
            host_wipe(host, node);
            host_start(host, node);
        }
        break;
    case ORDER_CRASH:
        if (public->alive && (!run->plan->guard || check_failure_allowed(&run->picture, node))) {
            host_kill(host, node);
        }
        break;
    case ORDER_LEAVE:
        if (public->alive && (!run->plan->guard || check_failure_allowed(&run->picture, node))) {
            host_leave(host, node);
        }
        break;
    case ORDER_JOIN:
        if (public->alive && public->left) {
            host_join(host, node);
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
    while (!violated(run) && host_now_us(run->host) < began_us + at_us) {
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
    } while (run->changed && !violated(run) && host_now_us(run->host) < ended_us + HEAL_LIMIT_US);
    *why = run->changed ? "a ring that does not stay ideal" : NULL;
    return !run->changed;
}

static void end_phase(struct run *run) {
    const char *why;
    int node = HOST_NOBODY;
    heal(run);
    for (int i = 0; i < host_count(run->host) && run->workload != NULL; i++) {
        struct host_node *public = host_node(run->host, i);
        if (!public->alive && public->lives > 0) {
            host_start(run->host, i);
        }
    }
    if (!until_stays_ideal(run, &why, &node)) {
        violation(run, why, node);
        return;
    }
    run->result->healed = true;
    why = check_lookups(run->host, LOOKUPS, true, &node);
    run->result->lookups += LOOKUPS;
    if (why == NULL && run->changed) {
        why = "an ideal ring that changed in quiet time";
    }
    if (why != NULL) {
        violation(run, why, node);
    } else if (run->workload != NULL && !violated(run)) {
        why = workload_check(run->workload, run->options->history, &node);
        if (why != NULL) {
            violation_of(run, why, "key", node);
        }
    }
}

static void live_through(struct run *run) {
    const struct plan *plan = run->plan;
    uint64_t began_us = host_now_us(run->host);
    for (size_t i = 0; i < run->moments_count && !violated(run); i++) {
        const struct moment *moment = &run->moments[i];
        if (plan->end_us > 0 && moment->at_us > plan->end_us) {
            break;
        }
        run_until_us(run, began_us, moment->at_us);
        if (!violated(run)) {
            order_network(run, &plan->orders[moment->order], moment->undo);
            run->result->orders += !moment->undo;
        }
    }
    if (plan->end_us > 0) {
        run_until_us(run, began_us, plan->end_us);
        if (!violated(run)) {
            end_phase(run);
        }
    }
    if (run->traces_met < plan->traces_count && !violated(run)) {
        char text[200];
        const struct plan_trace *missing = &plan->traces[run->traces_met];
        snprintf(text, sizeof text, "trace line %zu was not met: %d %s %d", run->traces_met + 1,
                 missing->node, chord_word_text(missing->word), missing->other);
        violation(run, text, HOST_NOBODY);
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
                                       .delay = plan->delay,
                                       .delay_us_min = plan->delay_us_min,
                                       .delay_us_max = plan->delay_us_max,
                                       .store_us_min = plan->store_us_min,
                                       .store_us_max = plan->store_us_max,
                                       .timing = timing,
                                       .invariant_every = plan->clients > 0 ? CLIENT_STEPS : 0,
                                       .ring_only = !plan->data,
                                       .traces = options->trace,
                                       .on_step = on_step,
                                       .on_end = on_end,
                                       .on_assert = on_assert,
                                       .context = run});
    if (plan->clients > 0) {
        run->workload = workload_new(run->host, plan->seed, plan->clients, plan->keys);
    }
    if (options->ring_trace != NULL) {
        fprintf(options->ring_trace, "ring-trace m=%u n=%u\n", plan->m, plan->n);
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

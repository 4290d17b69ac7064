/* SPDX-License-Identifier: MIT */
/*
 * See plan.h: reading and writing plans.
 */
#include "plan.h"

#include "assert.h"
#include "workload.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { ERROR_BYTES = 200, LINE_BYTES = 1024, WORDS_MAX = 64 };

static const char *const order_names[ORDER_KINDS] = {
    "start", "crash",  "restart", "wipe", "clone",     "move",  "rename", "leave",
    "join",  "reseat", "pause",   "cut",  "partition", "slow",  "lose",   "double",
    "delay", "drift",  "jump",    "disk", "heal",      "expect"};
static const char *const expect_names[EXPECT_KINDS] = {"ideal",    "lookups", "answers",
                                                       "one_ring", "settled", "refused"};
static const char *const disk_names[] = {"well", "slow", "stalled", "full", "failing"};
static const char *const delay_names[] = {"uniform", "exponential", "tail"};

void plan_init(struct plan *plan) {
    memset(plan, 0, sizeof *plan);
    plan->seed = 1;
    plan->m = 16;
    plan->n = 3;
    plan->replicas = 3;
    plan->keys = 24;
    plan->delay_us_min = 200;
    plan->delay_us_max = 2000;
    plan->store_us_min = 100;
    plan->store_us_max = 3000;
}

void plan_free(struct plan *plan) {
    free(plan->orders);
    free(plan->traces);
    plan->orders = NULL;
    plan->traces = NULL;
}

struct order *plan_add(struct plan *plan, enum order_kind kind, uint64_t at_us) {
    if (plan->orders_count == plan->orders_room) {
        plan->orders_room = plan->orders_room * 2 + 16;
        plan->orders = realloc(plan->orders, sizeof *plan->orders * plan->orders_room);
        CHORD_ASSERT(plan->orders != NULL);
    }
    struct order *order = &plan->orders[plan->orders_count++];
    memset(order, 0, sizeof *order);
    order->kind = kind;
    order->at_us = at_us;
    return order;
}

static void trace_add_word(struct plan *plan, struct plan_trace trace) {
    if (plan->traces_count == plan->traces_room) {
        plan->traces_room = plan->traces_room * 2 + 16;
        plan->traces = realloc(plan->traces, sizeof *plan->traces * plan->traces_room);
        CHORD_ASSERT(plan->traces != NULL);
    }
    plan->traces[plan->traces_count++] = trace;
}

void plan_copy(struct plan *to, const struct plan *from, const bool *keep) {
    *to = *from;
    to->orders = NULL;
    to->traces = NULL;
    to->orders_count = to->orders_room = to->traces_count = to->traces_room = 0;
    for (size_t i = 0; i < from->orders_count; i++) {
        if (keep == NULL || keep[i]) {
            *plan_add(to, from->orders[i].kind, 0) = from->orders[i];
        }
    }
    for (size_t i = 0; i < from->traces_count; i++) {
        trace_add_word(to, from->traces[i]);
    }
}

/* ---- writing ---- */

static void print_time(FILE *out, uint64_t us) {
    if (us % 1000000 == 0) {
        fprintf(out, "%" PRIu64 "s", us / 1000000);
    } else if (us % 1000 == 0) {
        fprintf(out, "%" PRIu64 "ms", us / 1000);
    } else {
        fprintf(out, "%" PRIu64 "us", us);
    }
}

static void print_order(const struct order *order, FILE *out) {
    print_time(out, order->at_us);
    fprintf(out, " %s", order_names[order->kind]);
    switch (order->kind) {
    case ORDER_CLONE:
    case ORDER_CUT:
    case ORDER_SLOW:
        fprintf(out, order->one_way ? " %d>%d" : " %d %d", order->a, order->b);
        break;
    case ORDER_PARTITION:
        for (int i = 0; i < order->group_count; i++) {
            fprintf(out, "%c%d", i == 0 ? ' ' : ',', order->group[i]);
        }
        break;
    case ORDER_EXPECT:
        fprintf(out, " %s", expect_names[order->expectation]);
        if (order->expectation == EXPECT_REFUSED) {
            fprintf(out, " %d", order->a);
        } else if (order->amount > 0) {
            fprintf(out, " within ");
            print_time(out, order->amount);
        }
        break;
    case ORDER_LOSE:
    case ORDER_DOUBLE:
        fprintf(out, " %" PRIu64 "%%", order->amount);
        break;
    case ORDER_DELAY:
        fprintf(out, " ");
        print_time(out, order->amount);
        break;
    case ORDER_HEAL:
        break;
    default:
        fprintf(out, order->b > order->a ? " %d..%d" : " %d", order->a, order->b);
        break;
    }
    if (order->kind == ORDER_SLOW || order->kind == ORDER_JUMP) {
        fprintf(out, " ");
        print_time(out, order->amount);
    } else if (order->kind == ORDER_DRIFT) {
        fprintf(out, " %+" PRId64 "ppm", (int64_t)order->amount - PLAN_PPM_ZERO);
    } else if (order->kind == ORDER_DISK) {
        fprintf(out, " %s", disk_names[order->disk]);
    }
    if (order->for_us > 0) {
        fprintf(out, " for ");
        print_time(out, order->for_us);
    }
    fprintf(out, "\n");
}

void plan_print(const struct plan *plan, FILE *out) {
    fprintf(out, "m %u\nn %u\nreplicas %u\nseed %" PRIu64 "\nguard %s\ndata %s\n", plan->m, plan->n,
            plan->replicas, plan->seed, plan->guard ? "on" : "off", plan->data ? "on" : "off");
    if (plan->places_evenly) {
        fprintf(out, "places even\n");
    }
    if (plan->wire) {
        fprintf(out, "wire on\n");
    }
    if (plan->hosts > 0) {
        fprintf(out, "hosts %u\n", plan->hosts);
    }
    if (plan->clients > 0) {
        fprintf(out, "clients %u\nkeys %u\n", plan->clients, plan->keys);
    }
    fprintf(out, "delay %s %uus %uus\nstore %uus %uus\n", delay_names[plan->delay],
            plan->delay_us_min, plan->delay_us_max, plan->store_us_min, plan->store_us_max);
    if (plan->end_us > 0) {
        fprintf(out, "end ");
        print_time(out, plan->end_us);
        fprintf(out, "\n");
    }
    for (size_t i = 0; i < plan->orders_count; i++) {
        print_order(&plan->orders[i], out);
    }
    for (size_t i = 0; i < plan->traces_count; i++) {
        char node[16] = "*";
        if (plan->traces[i].node >= 0) {
            snprintf(node, sizeof node, "%d", plan->traces[i].node);
        }
        fprintf(out, "%s %s %s", plan->traces[i].never ? "never" : "trace", node,
                chord_word_text(plan->traces[i].word));
        if (plan->traces[i].other >= 0) {
            fprintf(out, " %d", plan->traces[i].other);
        }
        fprintf(out, "\n");
    }
}

/* ---- reading ---- */

struct words {
    int count;
    char *items[WORDS_MAX];
    const char *error; /* NULL: well so far */
};

static int index_of(const char *const *names, int count, const char *name) {
    for (int i = 0; i < count; i++) {
        if (strcmp(names[i], name) == 0) {
            return i;
        }
    }
    return -1;
}

static const char *word(struct words *words, int at) {
    if (at < words->count) {
        return words->items[at];
    }
    words->error = "a word is missing at the end";
    return "0";
}

static uint64_t number(struct words *words, const char *text, char **end) {
    if (text[0] < '0' || text[0] > '9') {
        words->error = "a number is wanted";
        *end = (char *)(uintptr_t)text;
        return 0;
    }
    return strtoull(text, end, 10);
}

static uint64_t time_of(struct words *words, const char *text) {
    char *unit;
    uint64_t value = number(words, text, &unit);
    uint64_t us = strcmp(unit, "us") == 0    ? 1
                  : strcmp(unit, "ms") == 0  ? 1000
                  : strcmp(unit, "s") == 0   ? 1000000
                  : strcmp(unit, "min") == 0 ? 60000000
                                             : 0;
    if (us == 0 || value > UINT64_MAX / us / 1000) {
        words->error = "a time is a number with us, ms, s or min";
        return 0;
    }
    return value * us;
}

static int node_of(struct words *words, const char *text, char **end) {
    uint64_t value = number(words, text, end);
    if (value >= PLAN_NODES_MAX) {
        words->error = "a node is a number below 1024";
        return 0;
    }
    return (int)value;
}

/* A, A..B, or A>B. */
static void nodes_of(struct words *words, struct order *order, const char *text) {
    char *end;
    order->a = order->b = node_of(words, text, &end);
    if (end[0] == '.' && end[1] == '.') {
        order->b = node_of(words, end + 2, &end);
    } else if (end[0] == '>') {
        order->one_way = true;
        order->b = node_of(words, end + 1, &end);
    }
    if (*end != '\0') {
        words->error = "nodes are A, A..B or A>B";
    }
}

static void group_of(struct words *words, struct order *order, const char *text) {
    char *at = (char *)(uintptr_t)text;
    do {
        order->group[order->group_count++] = node_of(words, at + (*at == ','), &at);
    } while (*at == ',' && order->group_count < PLAN_GROUP_MAX && words->error == NULL);
    if (*at != '\0') {
        words->error = "a partition is A,B,C";
    }
}

static void expect_of(struct words *words, struct order *order) {
    int expectation = index_of(expect_names, EXPECT_KINDS, word(words, 2));
    order->expectation = (enum expectation)(expectation < 0 ? 0 : expectation);
    if (expectation < 0) {
        words->error = "expected can be: ideal, lookups, answers, one_ring, settled, refused";
    } else if (order->expectation == EXPECT_REFUSED) {
        char *end;
        order->a = node_of(words, word(words, 3), &end);
    } else if (words->count > 3) {
        order->amount = time_of(words, word(words, 4));
    }
}

/* Returns where `for` may stand. */
static int order_words(struct words *words, struct order *order) {
    char *end;
    switch (order->kind) {
    case ORDER_CLONE:
    case ORDER_CUT:
    case ORDER_SLOW: {
        nodes_of(words, order, word(words, 2));
        int next = 3;
        if (!order->one_way) {
            order->b = node_of(words, word(words, next++), &end);
        }
        if (order->kind == ORDER_SLOW) {
            order->amount = time_of(words, word(words, next++));
        }
        return next;
    }
    case ORDER_PARTITION:
        group_of(words, order, word(words, 2));
        return 3;
    case ORDER_EXPECT:
        expect_of(words, order);
        return words->count;
    case ORDER_LOSE:
    case ORDER_DOUBLE:
        order->amount = number(words, word(words, 2), &end);
        if (strcmp(end, "%") != 0 || order->amount > 100) {
            words->error = "a share is a number up to 100 with %";
        }
        return 3;
    case ORDER_DELAY:
        order->amount = time_of(words, word(words, 2));
        return 3;
    case ORDER_HEAL:
        return 2;
    default:
        nodes_of(words, order, word(words, 2));
        break;
    }
    if (order->kind == ORDER_JUMP) {
        order->amount = time_of(words, word(words, 3));
        return 4;
    }
    if (order->kind == ORDER_DRIFT) {
        long ppm = strtol(word(words, 3), &end, 10);
        if (strcmp(end, "ppm") != 0 || ppm <= -PLAN_PPM_ZERO || ppm > PLAN_PPM_ZERO) {
            words->error = "a drift is a number with ppm, up to a million";
            ppm = 0;
        }
        order->amount = (uint64_t)(ppm + PLAN_PPM_ZERO);
        return 4;
    }
    if (order->kind == ORDER_DISK) {
        int disk = index_of(disk_names, sizeof disk_names / sizeof disk_names[0], word(words, 3));
        order->disk = (enum host_disk)(disk < 0 ? 0 : disk);
        words->error = disk < 0 ? "a disk is: well, slow, stalled, full, failing" : words->error;
        return 4;
    }
    return 3;
}

static void read_order(struct plan *plan, struct words *words) {
    int kind = index_of(order_names, ORDER_KINDS, word(words, 1));
    if (kind < 0) {
        words->error = "no such order";
        return;
    }
    struct order *order = plan_add(plan, (enum order_kind)kind, time_of(words, words->items[0]));
    int next = order_words(words, order);
    if (next < words->count && strcmp(words->items[next], "for") == 0) {
        order->for_us = time_of(words, word(words, next + 1));
    } else if (next < words->count) {
        words->error = "more words than the order takes";
    }
}

static void read_trace(struct plan *plan, struct words *words) {
    char *end;
    bool any = strcmp(word(words, 1), "*") == 0;
    struct plan_trace trace = {.node = any ? -1 : node_of(words, word(words, 1), &end),
                               .other = -1};
    trace.never = strcmp(words->items[0], "never") == 0;
    const char *name = word(words, 2);
    while (trace.word < CHORD_WORDS_COUNT && strcmp(chord_word_text(trace.word), name) != 0) {
        trace.word++;
    }
    if (trace.word == CHORD_WORDS_COUNT) {
        words->error = "no such trace word";
    }
    if (words->count > 3) {
        trace.other = node_of(words, word(words, 3), &end);
    }
    trace_add_word(plan, trace);
}

static bool read_setting(struct plan *plan, struct words *words) {
    const char *name = words->items[0], *value = word(words, 1);
    char *end;
    if (strcmp(name, "seed") == 0) {
        plan->seed = number(words, value, &end);
    } else if (strcmp(name, "m") == 0) {
        plan->m = (unsigned)number(words, value, &end);
    } else if (strcmp(name, "n") == 0) {
        plan->n = (unsigned)number(words, value, &end);
    } else if (strcmp(name, "replicas") == 0) {
        plan->replicas = (unsigned)number(words, value, &end);
    } else if (strcmp(name, "hosts") == 0) {
        plan->hosts = (unsigned)number(words, value, &end);
    } else if (strcmp(name, "guard") == 0) {
        plan->guard = strcmp(value, "on") == 0;
    } else if (strcmp(name, "places") == 0) {
        plan->places_evenly = strcmp(value, "even") == 0;
    } else if (strcmp(name, "wire") == 0) {
        plan->wire = strcmp(value, "on") == 0;
    } else if (strcmp(name, "data") == 0) {
        plan->data = strcmp(value, "on") == 0;
    } else if (strcmp(name, "clients") == 0) {
        plan->clients = (unsigned)number(words, value, &end);
        plan->data = plan->data || plan->clients > 0;
    } else if (strcmp(name, "keys") == 0) {
        plan->keys = (unsigned)number(words, value, &end);
    } else if (strcmp(name, "end") == 0) {
        plan->end_us = time_of(words, value);
    } else if (strcmp(name, "delay") == 0) {
        int delay = index_of(delay_names, sizeof delay_names / sizeof delay_names[0], value);
        words->error = delay < 0 ? "a delay is uniform, exponential or tail" : words->error;
        plan->delay = (enum host_delay)(delay < 0 ? 0 : delay);
        plan->delay_us_min = (uint32_t)time_of(words, word(words, 2));
        plan->delay_us_max = (uint32_t)time_of(words, word(words, 3));
    } else if (strcmp(name, "store") == 0) {
        plan->store_us_min = (uint32_t)time_of(words, value);
        plan->store_us_max = (uint32_t)time_of(words, word(words, 2));
    } else if (strcmp(name, "trace") == 0 || strcmp(name, "never") == 0) {
        read_trace(plan, words);
    } else {
        return false;
    }
    return true;
}

static const char *settings_wrong(const struct plan *plan) {
    if (plan->m < CHORD_M_MIN || plan->m > CHORD_M_MAX) {
        return "m is 3..160";
    }
    if (plan->n < 1 || plan->n > CHORD_SUCCESSORS_MAX) {
        return "n is 1..32";
    }
    if (plan->replicas < 1 || plan->replicas > plan->n + 1) {
        return "replicas is 1..n+1";
    }
    if (plan->clients > WORKLOAD_CLIENTS_MAX || plan->keys < 1 || plan->keys > WORKLOAD_KEYS_MAX) {
        return "clients is 0..64, keys is 1..256";
    }
    if (plan->delay_us_max < plan->delay_us_min || plan->store_us_max < plan->store_us_min ||
        plan->delay_us_max == 0 || plan->store_us_max == 0) {
        return "delay and store go from the least to the most";
    }
    return NULL;
}

bool plan_read(struct plan *plan, FILE *in, char *error) {
    char line[LINE_BYTES];
    plan_init(plan);
    for (unsigned number_of_line = 1; fgets(line, sizeof line, in) != NULL; number_of_line++) {
        struct words words = {0};
        line[strcspn(line, "#\n")] = '\0';
        for (char *at = strtok(line, " \t\r"); at != NULL && words.count < WORDS_MAX;
             at = strtok(NULL, " \t\r")) {
            words.items[words.count++] = at;
        }
        if (words.count > 0 && !read_setting(plan, &words)) {
            read_order(plan, &words);
        }
        if (words.error != NULL) {
            snprintf(error, ERROR_BYTES, "line %u: %s", number_of_line, words.error);
            plan_free(plan);
            return false;
        }
    }
    const char *wrong = settings_wrong(plan);
    if (wrong != NULL) {
        snprintf(error, ERROR_BYTES, "%s", wrong);
        plan_free(plan);
        return false;
    }
    return true;
}

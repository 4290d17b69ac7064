/* SPDX-License-Identifier: MIT */
/*
 * The plan that a seed makes: a ring comes up, nodes come, go, die and return, and whatever the
 * profile allows happens to them. The generator's stream is its own, so that a change in the
 * network's does not change the plan.
 */
#include "plan.h"

enum { SETTLE_US = 20000000, LEAST_ALIVE = 4 };

enum life { LIFE_NONE, LIFE_UP, LIFE_DOWN, LIFE_LEFT };

struct maker {
    struct plan *plan;
    const struct plan_profile *profile;
    uint64_t random;
    enum life lives[PLAN_NODES_MAX];
    int count, up;
    uint64_t off_until_us; /* until then a machine is off */
    uint64_t end_us;
    int copied; /* whose disk is copied: the proof allows one; -1: none yet */
};

static uint64_t draw(struct maker *maker, uint64_t low, uint64_t high) {
    uint64_t z = maker->random += 0x9e3779b97f4a7c15u; /* splitmix64 */
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return low + (z ^ z >> 31) % (high - low + 1);
}

/* A machine is off for a while: all that run there. One at a time, and none when the faults end:
 * who joins must find somebody whom it was told of. */
static void power_off(struct maker *maker, int node, uint64_t at_us) {
    unsigned hosts = maker->plan->hosts;
    uint64_t off_us = 1000000 + at_us % 20000000;
    if (at_us < maker->off_until_us || at_us + off_us > maker->end_us) {
        return;
    }
    maker->off_until_us = at_us + off_us;
    for (int i = node % (int)hosts; i < maker->count; i += (int)hosts) {
        if (maker->lives[i] == LIFE_UP) {
            struct order *order = plan_add(maker->plan, ORDER_CRASH, at_us);
            order->a = order->b = i;
            order = plan_add(maker->plan, ORDER_RESTART, at_us + off_us);
            order->a = order->b = i;
        }
    }
}

/* Many short ones, few long ones. */
static uint64_t while_us(struct maker *maker, uint64_t least, uint64_t most) {
    uint64_t a = draw(maker, least, most), b = draw(maker, least, most);
    return a < b ? a : b;
}

static int any(struct maker *maker, enum life life) {
    for (int tries = 0; tries < 200; tries++) {
        int node = (int)draw(maker, 0, (uint64_t)maker->count - 1);
        if (maker->lives[node] == life) {
            return node;
        }
    }
    return -1;
}

/* ---- the ring and its weather ---- */

static void settings(struct maker *maker) {
    static const unsigned ms[] = {6, 7, 8, 16, 16, 32, 64, 160}, ns[] = {2, 3, 3, 3, 4, 8};
    struct plan *plan = maker->plan;
    plan->m = maker->profile->m > 0 ? maker->profile->m : ms[draw(maker, 0, 7)];
    plan->n = maker->profile->n > 0 ? maker->profile->n : ns[draw(maker, 0, 5)];
    plan->replicas = plan->n + 1 < 3 ? plan->n + 1 : 3;
    plan->guard = true;
    /* By the seed itself, so that the rest of its plan stays as it was. */
    plan->hosts = plan->seed % 2 == 0 ? 0 : 2 + (unsigned)(plan->seed / 2 % 4);
    plan->delay = (enum host_delay)draw(maker, 0, 2);
    plan->delay_us_min = (uint32_t)draw(maker, 50, 2000);
    plan->delay_us_max = plan->delay_us_min +
                         (uint32_t)while_us(maker, 500, maker->profile->suspicion ? 200000 : 80000);
    plan->store_us_min = (uint32_t)draw(maker, 50, 500);
    plan->store_us_max = plan->store_us_min + (uint32_t)while_us(maker, 100, 30000);
}

static void bring_up(struct maker *maker) {
    int count = (int)draw(maker, maker->profile->nodes_min, maker->profile->nodes_max);
    int limit = maker->plan->m < 16 ? (3 << maker->plan->m) / 4 : count;
    bool at_once = draw(maker, 0, 2) == 0;
    maker->count = count < limit ? count : limit;
    maker->up = maker->count;
    for (int i = 0; i < maker->count; i++) {
        struct order *order = plan_add(maker->plan, ORDER_START,
                                       i == 0 || at_once ? 0 : draw(maker, 0, SETTLE_US / 2));
        order->a = order->b = i;
        maker->lives[i] = LIFE_UP;
    }
}

/* ---- who comes and goes ---- */

static void churn(struct maker *maker, uint64_t at_us) {
    static const struct {
        enum order_kind kind;
        enum life from, to;
    } moves[] = {{ORDER_CRASH, LIFE_UP, LIFE_DOWN},   {ORDER_CRASH, LIFE_UP, LIFE_DOWN},
                 {ORDER_RESTART, LIFE_DOWN, LIFE_UP}, {ORDER_RESTART, LIFE_DOWN, LIFE_UP},
                 {ORDER_WIPE, LIFE_DOWN, LIFE_UP},    {ORDER_LEAVE, LIFE_UP, LIFE_LEFT},
                 {ORDER_JOIN, LIFE_LEFT, LIFE_UP},    {ORDER_START, LIFE_NONE, LIFE_UP}};
    uint64_t pick = draw(maker, 0, sizeof moves / sizeof moves[0] - 1);
    bool wipe = moves[pick].kind == ORDER_WIPE;
    enum life from = wipe && maker->profile->wipes_living ? LIFE_UP : moves[pick].from;
    int node = from == LIFE_NONE ? maker->count : any(maker, from);
    int least = maker->count / 2 > LEAST_ALIVE ? maker->count / 2 : LEAST_ALIVE;
    bool full = maker->plan->m < 16 && maker->count >= (3 << maker->plan->m) / 4;
    if (node < 0 || (from == LIFE_UP && !wipe && maker->up <= least) ||
        (from == LIFE_NONE && (full || maker->count >= PLAN_NODES_MAX))) {
        return;
    }
    if (moves[pick].kind == ORDER_CRASH && maker->plan->hosts > 0 && at_us % 2 == 1) {
        power_off(maker, node, at_us);
        return;
    }
    struct order *order = plan_add(maker->plan, moves[pick].kind, at_us);
    if (order->kind == ORDER_JOIN && at_us % 2 == 1) {
        order->kind = ORDER_RESEAT;
    }
    order->a = order->b = node;
    maker->count += node == maker->count;
    maker->up += (moves[pick].to == LIFE_UP) - (from == LIFE_UP);
    maker->lives[node] = moves[pick].to;
}

/* ---- what else goes wrong ---- */

/* Any nodes, or those of one machine. */
static void partition(struct maker *maker, uint64_t at_us) {
    struct order *order = plan_add(maker->plan, ORDER_PARTITION, at_us);
    uint64_t one_in = draw(maker, 2, 5);
    unsigned hosts = at_us % 2 == 1 ? maker->plan->hosts : 0;
    order->for_us = while_us(maker, 500000, 20000000);
    for (int i = 0; i < maker->count && order->group_count < PLAN_GROUP_MAX; i++) {
        bool drawn = draw(maker, 1, one_in) == 1;
        if (hosts > 0 ? (unsigned)i % hosts == at_us / 2 % hosts : drawn) {
            order->group[order->group_count++] = i;
        }
    }
    if (order->group_count == 0) {
        order->group[order->group_count++] = 0;
    }
}

/* Faults that the proof's assumptions allow. */
static void mild(struct maker *maker, uint64_t at_us) {
    static const enum host_disk disks[] = {HOST_DISK_SLOW, HOST_DISK_FULL, HOST_DISK_STALLED};
    enum order_kind kinds[] = {ORDER_DOUBLE, ORDER_DRIFT, ORDER_JUMP, ORDER_DISK};
    struct order *order = plan_add(maker->plan, kinds[draw(maker, 0, 3)], at_us);
    order->a = order->b = (int)draw(maker, 0, (uint64_t)maker->count - 1);
    order->for_us = while_us(maker, 100000, 10000000);
    switch (order->kind) {
    case ORDER_DOUBLE:
        order->amount = draw(maker, 1, 40);
        break;
    case ORDER_DRIFT:
        order->amount = draw(maker, PLAN_PPM_ZERO - 50000, PLAN_PPM_ZERO + 50000);
        break;
    case ORDER_JUMP:
        order->for_us = 0;
        order->amount = while_us(maker, 1000, 60000000);
        break;
    default:
        order->disk = disks[draw(maker, 0, 2)];
        break;
    }
}

/* A disk is copied and both run, or a node comes back at another address. */
static void places(struct maker *maker, uint64_t at_us) {
    int node = any(maker, LIFE_UP);
    if (node < 0) {
        return;
    }
    if (draw(maker, 0, 1) == 0 || maker->count >= PLAN_NODES_MAX) {
        struct order *order = plan_add(maker->plan, ORDER_MOVE, at_us);
        order->a = order->b = node;
        return;
    }
    maker->copied = maker->copied < 0 ? node : maker->copied;
    struct order *order = plan_add(maker->plan, ORDER_CLONE, at_us);
    order->one_way = true;
    order->a = maker->copied;
    order->b = maker->count;
    /* It starts at once, or when it is old. */
    order = plan_add(maker->plan, ORDER_START, at_us + draw(maker, 0, 1) * draw(maker, 0, 8000000));
    order->a = order->b = maker->count;
    maker->lives[maker->count++] = LIFE_UP;
}

static void harsh(struct maker *maker, uint64_t at_us) {
    enum order_kind kinds[] = {ORDER_PAUSE, ORDER_PAUSE, ORDER_CUT,   ORDER_CUT,
                               ORDER_SLOW,  ORDER_LOSE,  ORDER_DELAY, ORDER_DISK};
    if (maker->profile->copies && draw(maker, 0, 9) == 0) {
        places(maker, at_us);
        return;
    }
    if (draw(maker, 0, 5) == 0) {
        partition(maker, at_us);
        return;
    }
    struct order *order = plan_add(maker->plan, kinds[draw(maker, 0, 7)], at_us);
    order->a = (int)draw(maker, 0, (uint64_t)maker->count - 1);
    order->b = order->a;
    order->for_us = while_us(maker, 100000, 15000000);
    switch (order->kind) {
    case ORDER_CUT:
    case ORDER_SLOW:
        order->b = (int)draw(maker, 0, (uint64_t)maker->count - 1);
        order->one_way = order->kind == ORDER_SLOW || draw(maker, 0, 1) == 1;
        order->amount = order->kind == ORDER_SLOW ? while_us(maker, 1000, 2000000) : 0;
        break;
    case ORDER_LOSE:
        order->amount = draw(maker, 1, 30);
        break;
    case ORDER_DELAY:
        order->amount = while_us(maker, 10000, 1000000);
        break;
    case ORDER_DISK:
        order->disk = HOST_DISK_FAILING;
        order->for_us = 100000;
        break;
    default:
        break;
    }
}

void plan_random(struct plan *plan, uint64_t seed, const struct plan_profile *profile) {
    struct maker maker = {.plan = plan, .profile = profile, .random = seed * 13 + 5, .copied = -1};
    plan_init(plan);
    plan->seed = seed;
    maker.end_us = SETTLE_US + (uint64_t)(profile->minutes * 60e6);
    settings(&maker);
    bring_up(&maker);
    uint64_t faults_us = (uint64_t)(profile->minutes * 60e6);
    double churns = profile->churn_per_minute * profile->minutes * maker.count;
    double faults = profile->faults_per_minute * profile->minutes;
    uint64_t total = (uint64_t)(churns + faults) + 1, at_us = SETTLE_US;
    for (uint64_t i = 0; i < total; i++) {
        at_us = SETTLE_US + faults_us * i / total + draw(&maker, 0, faults_us / total);
        if ((double)draw(&maker, 0, 999) < 1000 * churns / (churns + faults + 1e-9)) {
            churn(&maker, at_us);
        } else if (profile->suspicion && draw(&maker, 0, 2) != 0) {
            harsh(&maker, at_us);
        } else {
            mild(&maker, at_us);
        }
    }
    plan->end_us = maker.end_us;
}

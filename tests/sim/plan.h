/* SPDX-License-Identifier: MIT */
/*
 * A plan: what happens to a simulated ring, and when, as a text that people can read, shorten and
 * keep. A scenario is a plan with expectations; a seed makes a plan; a violation is reported as the
 * shortest plan that still shows it.
 *
 *   m 16                    settings first, one a line: m, n, replicas, seed,
 *                           guard on|off, wire on|off, places even|hash, store LEAST MOST, ...
 *   delay tail 1ms 40ms     delay uniform|exponential|tail LEAST MOST
 *   hosts 3                 node i is on machine i % 3, and each node knows where it is
 *   clients 4               who read and write `keys 24` from the beginning
 *   0s start 0..4           then orders: WHEN WHAT WHO [more]
 *   5s crash 2              lasting ones end `for` a while
 *   6s cut 1>3 for 2s
 *   20s expect ideal        and what must hold then
 *   trace 3 rectify 2       words that must be traced in this order: NODE|* WORD [NODE]
 *   never 2 recreate        words that must not be traced
 *
 * Times are numbers with us, ms, s or min. `#` begins a comment.
 */
#ifndef SIM_PLAN_H
#define SIM_PLAN_H

#include "core_host.h"

#include <stdio.h>

enum order_kind {
    ORDER_START,   /* nodes: for the first time; they are made when needed */
    ORDER_CRASH,   /* kill -9 */
    ORDER_RESTART, /* with its disk */
    ORDER_WIPE,    /* restart with a new disk; with clients: of a living node, when every range has
                      all of its three copies or more */
    ORDER_CLONE,   /* a>b: b, not started yet, gets a copy of a's disk; a goes on */
    ORDER_MOVE,    /* ends and starts at another address */
    ORDER_RENAME,  /* the same, and its former address leads to it too */
    ORDER_LEAVE,
    ORDER_JOIN,      /* after it has left */
    ORDER_RESEAT,    /* the same, with another id */
    ORDER_PAUSE,     /* lasting: SIGSTOP */
    ORDER_CUT,       /* lasting: a b, both ways, or a>b */
    ORDER_PARTITION, /* lasting: nodes against the others */
    ORDER_SLOW,      /* lasting: a>b amount */
    ORDER_LOSE,      /* lasting: percent */
    ORDER_DOUBLE,    /* lasting: percent */
    ORDER_DELAY,     /* lasting: the longest delay */
    ORDER_DRIFT,     /* lasting: clock, parts per million */
    ORDER_JUMP,      /* clock: ahead by amount */
    ORDER_DISK,      /* lasting: disk state */
    ORDER_HEAL,      /* the network, the pauses, the disks */
    ORDER_EXPECT,
    ORDER_KINDS
};

enum expectation {
    EXPECT_IDEAL,    /* lists, predecessors and fingers, within `amount` */
    EXPECT_LOOKUPS,  /* all right */
    EXPECT_ANSWERS,  /* all answered, by whatever owner the askers believe in */
    EXPECT_ONE_RING, /* now */
    EXPECT_SETTLED,  /* every range open with all its copies, within `amount` */
    EXPECT_REFUSED,  /* the node was refused */
    EXPECT_KINDS
};

enum { PLAN_NODES_MAX = 1024, PLAN_GROUP_MAX = 128 };

struct order {
    uint64_t at_us, for_us; /* for_us 0: until the end, or a moment */
    enum order_kind kind;
    bool one_way;
    int a, b;        /* nodes; a..b for START and others that take many */
    uint64_t amount; /* us, percent or ppm + PLAN_PPM_ZERO */
    enum host_disk disk;
    enum expectation expectation;
    int group_count;
    int group[PLAN_GROUP_MAX];
};

enum { PLAN_PPM_ZERO = 1000000 };

struct plan_trace { /* NODE WORD [OTHER] */
    int node, other;
    enum chord_word word;
    bool never;
};

struct plan {
    char name[64];
    uint64_t seed;
    unsigned m, n, replicas;
    unsigned hosts;         /* machines that the nodes are on in turn; 0: not known */
    bool guard;             /* crashes that the proof does not allow are left out */
    bool data;              /* ranges are kept; off: ring only */
    bool places_evenly;     /* new members look for their place, as chord-node's do */
    bool wire;              /* messages pass through the real encode and decode (wire_mode.h) */
    unsigned clients, keys; /* who use them; with clients all disks are back in the end */
    enum host_delay delay;
    uint32_t delay_us_min, delay_us_max, store_us_min, store_us_max;
    uint64_t end_us; /* when the faults end and the ring must become ideal; 0 = it need not */
    struct order *orders;
    size_t orders_count, orders_room;
    struct plan_trace *traces;
    size_t traces_count, traces_room;
};

/* What a random plan may contain. */
struct plan_profile {
    unsigned nodes_min, nodes_max;
    unsigned m, n; /* 0 = chosen by the seed */
    double minutes;
    double churn_per_minute;  /* joins, leaves, crashes and returns, per node */
    double faults_per_minute; /* of the other kinds, for the whole ring */
    bool copies;              /* one disk is copied, and nodes change their addresses */
    bool wipes_living;        /* disks are lost by members, with clients only where that is safe */
    bool suspicion;           /* with faults that the proof excludes: pauses, cuts, losses, ... */
};

void plan_init(struct plan *plan);
void plan_free(struct plan *plan);
struct order *plan_add(struct plan *plan, enum order_kind kind, uint64_t at_us);
void plan_copy(struct plan *to, const struct plan *from, const bool *keep); /* NULL: all orders */
void plan_print(const struct plan *plan, FILE *out);
/* False: `error` (at least 200 bytes) says which line and why. */
bool plan_read(struct plan *plan, FILE *in, char *error);
/* plan_random.c: the plan that a seed makes. */
void plan_random(struct plan *plan, uint64_t seed, const struct plan_profile *profile);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * What a member knows of the ring: peers, its join, the maintenance query that is out, lookups.
 * Parts of the block (state.h).
 */
#ifndef CHORD_RING_STATE_H
#define CHORD_RING_STATE_H

#include "chord.h"

enum {
    FINGER_SELF = 0xfffe, /* a finger whose owner is this node */
    STRIKES_MAX = 3,      /* unanswered questions in a row until a leader counts as lost */
    BUSY_MAX = 8,         /* Busy answers in a row until a query ends without a verdict */
    GRAVEYARD_MAX = 8,
    JOIN_SEEDS_MAX = 40,
    LEAVING_MAX = 16,
    ADMITTED_MAX = 8,
    FALLBACKS_MAX = 3,
    COLLISIONS_BEFORE_WALK = 4,
    WALK_M_MAX = 16,
};

/* Names what a slot of a table holds now. Whatever outlives a step (calls, store operations,
 * lookups) names its subject so, and an answer for what the slot held before is ignored. */
struct ref {
    uint16_t slot; /* NONE: nothing is named */
    uint32_t serial;
};

/* ---- peers ---- */

struct peer_entry {
    struct chord_peer peer; /* incarnation 0 = free */
    uint64_t heard_ms;
    uint32_t srtt_us, rttvar_us; /* 0 = not measured */
    uint64_t struck_ms;       /* a question had taken too long then; 0 = none since it answered */
    uint64_t silent_since_ms; /* when that one was asked */
    bool disconnected;        /* since it last answered */
    uint64_t seat_asked_ms;   /* when it was asked whether it is still there; 0 = never */
};

/* The longest wait for an answer that came, of all peers (stalls.c). */
struct stalls {
    uint32_t now_ms, before_ms; /* of this window of time and of the one before */
    uint64_t until_ms;          /* when this window ends */
};

/* ---- ring ---- */

enum join_stage {
    JOIN_IDLE,
    JOIN_PING,   /* ask a seed for the ring's parameters and whether it is a member */
    JOIN_LOOK,   /* a new member: GetSuccessors round the ring, for the arcs between its members */
    JOIN_PROBE,  /* the same in a large ring: find_successor(a random point) */
    JOIN_DERIVE, /* wait for the id */
    JOIN_LOOKUP, /* find_successor(own id) through the seed */
    JOIN_WALK,   /* small M: walk the ring for a free id */
    JOIN_BEFORE, /* GetSuccessors to the predecessor to be: is our successor next in its list? */
    JOIN_BEHIND, /* a new member: GetPredecessor to the successor to be: is it the one we know? */
    JOIN_ASK,    /* Join to the successor or the genesis authority */
};

/* What a joiner that looks for its place has seen (place.c). */
struct place {
    uint16_t arcs_count;
    struct chord_arc arcs[CHORD_ARCS_MAX]; /* the largest ones, largest first */
    bool one;                              /* of these arcs this one is wanted, */
    struct chord_arc arc;                  /* else any */
    uint16_t choices;                      /* ids that were chosen so far */
    uint16_t asks, seen, probes;           /* of this look; seen: members */
    bool probing;
    struct chord_id first, last; /* where the walk began, how far it has come */
    struct chord_peer at;
};

struct join {
    enum join_stage stage;
    bool open;       /* its step awaits an answer */
    bool creating;   /* a fresh ring, once the id is derived */
    bool restarting; /* was a member when it stopped */
    bool returning;  /* was a member once */
    bool placing;    /* its place is not settled: it may choose another id */
    struct place place;
    uint8_t unreachable; /* so often in a row members could not reach it */
    uint32_t serial;     /* of the request that is out */
    uint64_t retry_ms;   /* next attempt; 0 = none */
    uint64_t started_ms;
    struct chord_peer via;               /* the member through which we look */
    struct chord_peer successor, before; /* between which we are to stand */
    uint16_t seed;                       /* next to try */
    uint64_t asking;                     /* bit per seed that has been asked */
    uint16_t seeds_count;                /* in seed_at */
    uint32_t salt;
    uint16_t collisions;
    bool has_target; /* id chosen by the walk */
    struct chord_id target;
    struct chord_id walk_first, walk_last; /* where the walk began, how far it has come */
    struct chord_id gap, gap_from;         /* the largest distance it saw, and from where */
    struct chord_peer walk_at;
    bool walk_whole; /* a ring of one: the gap is the circle */
    uint32_t walked;
    /* Restart of a whole ring: who answered this round. */
    uint64_t answered;       /* bit per seed */
    uint64_t known_answered; /* bit per known member, wherever it runs now */
    uint64_t lower_ms;       /* when one with a lower id last answered; 0 = none has */
    uint16_t rounds;
};

enum query_kind {
    QUERY_NONE,
    QUERY_STABILIZE, /* GetPredecessor at the first successor */
    QUERY_CANDIDATE, /* GetSuccessors at a candidate for first successor */
    QUERY_RECTIFY,   /* Ping the predecessor before it is replaced */
};

struct query {
    enum query_kind kind;
    uint32_t serial; /* of the request that is out */
    bool waiting;    /* an answer is awaited: we are Busy */
    uint8_t busy_count;
    uint64_t retry_ms; /* after Busy; 0 = none */
    struct chord_peer peer;
};

struct genesis { /* one round of the admission authority */
    bool running;
    uint16_t failures;
    uint16_t joiner;  /* index in members: it is told first */
    uint64_t last_ms; /* when the last list came, our own or another's; 0: none has */
    uint32_t serial;
    uint16_t count;    /* in genesis_member_at: in id order */
    uint64_t answered; /* bit per member */
};

enum lookup_purpose {
    LOOKUP_FREE,
    LOOKUP_FINGER,
    LOOKUP_JOIN,
    LOOKUP_CLIENT,
    LOOKUP_BATCH,
    LOOKUP_UNIFY
};

struct lookup {
    enum lookup_purpose purpose;
    uint32_t serial;
    struct ref subject; /* FINGER: its index; BATCH: the batch */
    uint16_t hops;
    uint16_t restarts;
    uint16_t path; /* slot in paths, or NONE */
    uint64_t request_id;
    uint64_t deadline_ms;
    struct chord_id target;
    struct chord_peer asked;
    uint16_t fallbacks_count;
    struct chord_peer fallbacks[FALLBACKS_MAX];
};

struct path {
    bool used;
    uint16_t count;
    struct chord_hop hops[CHORD_HOPS_TRACED_MAX];
};

/* A joiner. Before it is admitted it is asked at its address; after that, until it has notified us,
 * its id counts as taken. */
struct admitted {
    struct chord_peer peer;
    uint64_t until_ms;
    uint64_t answered_ms; /* when it did */
    uint32_t serial;      /* of the questions that are out */
    bool granted;         /* admitted */
    bool answered, silent;
    bool original_open, original_lives; /* the one with its store id that we know */
    struct chord_peer original;
};

/* A peer that was removed, to be asked again now and then. */
struct grave {
    struct chord_peer peer; /* incarnation 0 = free */
    bool open;              /* a ping is under way */
};

/* A member that has said that it leaves. */
struct leaving {
    uint8_t store_id[CHORD_STORE_ID_BYTES];
    uint64_t incarnation; /* a later life has come back */
    uint64_t until_ms;
};

#endif

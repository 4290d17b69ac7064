/* SPDX-License-Identifier: MIT */
/*
 * What crosses between nodes, as plain values: the core's own form of proto/chord/v1. Rows and
 * operations never enter the core; it names them by the request or reply that carries them.
 *
 * Arrays in a message are filled from the front; a host may copy only what the counts cover.
 */
#ifndef CHORD_MESSAGE_H
#define CHORD_MESSAGE_H

#include "id.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    CHORD_SUCCESSORS_MAX = 32,
    CHORD_REPLICAS_MAX = CHORD_SUCCESSORS_MAX + 1,
    CHORD_ADDRESS_BYTES = 64, /* with the ending zero */
    CHORD_STORE_ID_BYTES = 16,
    CHORD_RING_ID_BYTES = 16,
    CHORD_DIGEST_BYTES = 16,
    CHORD_HOPS_MAX = 255,
    CHORD_HOPS_TRACED_MAX = 32,
    CHORD_MISSING_MAX = 4,
    CHORD_MERGES_MAX = 4,
};

/* The values are those of chord.v1.Code. */
enum chord_code {
    CHORD_OK = 0,
    CHORD_UNKNOWN = 2,
    CHORD_INVALID_ARGUMENT = 3,
    CHORD_DEADLINE_EXCEEDED = 4,
    CHORD_NOT_FOUND = 5,
    CHORD_RESOURCE_EXHAUSTED = 8,
    CHORD_FAILED_PRECONDITION = 9,
    CHORD_ABORTED = 10,
    CHORD_OUT_OF_RANGE = 11, /* not led here: see the hint */
    CHORD_INTERNAL = 13,
    CHORD_UNAVAILABLE = 14,
    CHORD_DATA_LOSS = 15,
    CHORD_WRONG_RING = 17, /* the request names another ring than the receiver's */
};

/* One life of one member. The values of node_state are those of chord.v1.NodeState. */
enum chord_node_state {
    CHORD_STATE_NONE,
    CHORD_STATE_JOINING,
    CHORD_STATE_MEMBER,
    CHORD_STATE_LEAVING,
    CHORD_STATE_LEFT,
};

struct chord_peer {
    struct chord_id id;
    uint8_t store_id[CHORD_STORE_ID_BYTES];
    uint64_t incarnation; /* 0 = no peer */
    uint64_t host_id;     /* peers with the same one fail together; 0 = not known */
    char address[CHORD_ADDRESS_BYTES];
};

struct chord_parameters {
    uint8_t ring_id[CHORD_RING_ID_BYTES];
    unsigned m, n, replicas;
};

struct chord_peer_list {
    uint16_t count;
    struct chord_peer items[CHORD_REPLICAS_MAX];
};

/* (lo, hi]; lo == hi is the whole ring. */
struct chord_range {
    struct chord_id lo, hi;
};

struct chord_member {
    uint8_t store_id[CHORD_STORE_ID_BYTES];
    char address[CHORD_ADDRESS_BYTES];
};

/* No ring decides this often: a message with a greater epoch is not believed. The epochs that
 * follow this one still fit in the 63 bits of a store's column. */
#define CHORD_EPOCH_MAX ((uint64_t)1 << 62)

/* The last merges that led to a view, the newest first. */
struct chord_merges {
    uint16_t count;
    struct chord_merge {
        uint64_t epoch; /* of the view that it made, and where that began */
        struct chord_id lo;
    } items[CHORD_MERGES_MAX];
};

/* The members that hold a range (the data protocol): one view per range and epoch. */
struct chord_view {
    struct chord_range range;
    uint64_t epoch; /* 0 = no view */
    /* Deletions older than (floor, 0) may have been forgotten: an absent row of this range stands
     * for one deleted then. Equal to the epoch: with this view its members forget (tombstones.c).
     */
    uint64_t floor;
    uint16_t leader;
    uint16_t members_count;
    bool settled; /* decided by the leader of a settled range, which leads on and need not settle */
    bool moved;   /* a member's address is another one than in the view before, and the range is not
                     settled since: more than a majority is needed for that (README.md, "Seats") */
    bool recovered; /* in its history a majority was given up by hand: writes may be missing */
    bool cut; /* a newer view has replaced a part of this one: only its epoch is still a fact */
    struct chord_merges merges; /* in its history: tells whether a joint decision was chosen */
    struct chord_member members[CHORD_REPLICAS_MAX];
};

/* Where the keys of a range are led; address "" = not known. */
struct chord_hint {
    struct chord_range range;
    uint64_t epoch;
    uint64_t counter; /* from its leader: the newest version so far is (epoch, counter) */
    char address[CHORD_ADDRESS_BYTES];
};

/* Members of a range that do not answer, while too few do. */
struct chord_missing {
    uint16_t count;
    char addresses[CHORD_MISSING_MAX][CHORD_ADDRESS_BYTES];
};

enum chord_message_kind {
    CHORD_PING = 1,
    CHORD_FIND_SUCCESSOR,
    CHORD_GET_PREDECESSOR,
    CHORD_GET_SUCCESSORS,
    CHORD_NOTIFY,
    CHORD_JOIN,
    CHORD_GENESIS,
    CHORD_LEAVE,
    CHORD_TRANSFER_KEYS,
    CHORD_APPLY,
    CHORD_SYNC,
    CHORD_DIGEST,
    CHORD_DECIDED,
    CHORD_GET_VIEW,
    CHORD_BATCH,
    CHORD_LOOKUP,
    CHORD_MERGE,
    CHORD_PREPARE,
    CHORD_ACCEPT,
    CHORD_CHECK,
};

struct chord_request {
    enum chord_message_kind kind;
    bool has_sender;
    bool has_ring_id;
    struct chord_peer sender;
    uint64_t target_incarnation;                   /* 0 = any life */
    uint8_t target_store_id[CHORD_STORE_ID_BYTES]; /* all 0 = any store */
    uint8_t ring_id[CHORD_RING_ID_BYTES];
    union {
        struct chord_id id; /* FIND_SUCCESSOR, GET_VIEW, LOOKUP */
        struct {
            bool formed;
            struct chord_peer_list members; /* in id order, the receiver among them */
        } genesis;
        struct chord_peer peer; /* MERGE */
        bool left;              /* LEAVE */
        struct {                /* TRANSFER_KEYS, APPLY, DIGEST, CHECK */
            struct chord_range range;
            uint64_t epoch; /* APPLY, CHECK */
            bool learner;   /* APPLY: the receiver is no member yet */
            bool has_after; /* TRANSFER_KEYS: only rows with a greater hash than `after` */
            uint8_t after[CHORD_ID_BYTES];
        } rows;
        struct {
            struct chord_view view;   /* the sender leads it */
            struct chord_range range; /* a part of it, or the whole */
            uint64_t token;           /* the same: the same attempt; never 0 */
            bool learner;             /* the receiver is no member yet */
        } sync;
        struct { /* PREPARE, ACCEPT: the Paxos instance that decides what follows `view` */
            uint64_t ballot;
            bool joint; /* a merge: also the instance of `other`, both or neither */
            struct chord_view view, other;
            struct chord_view next; /* ACCEPT */
        } decide;
        struct {
            uint16_t count; /* 1..2 */
            struct chord_view views[2];
        } decided;
        struct {
            bool no_forward;
            bool stale;
        } batch;
    };
};

enum chord_join_result {
    CHORD_JOIN_NONE,
    CHORD_JOIN_ADMITTED,
    CHORD_JOIN_WAIT,
    CHORD_JOIN_REDIRECT,
    CHORD_JOIN_ID_IN_USE,
    CHORD_JOIN_NOT_SUCCESSOR,
    CHORD_JOIN_COPY,        /* that store runs already, as `authority` */
    CHORD_JOIN_UNREACHABLE, /* the joiner does not answer at the address that it gives */
    CHORD_JOIN_LOOPBACK,    /* of the two addresses just one is a loopback address */
};

struct chord_hop {
    struct chord_peer node;
    uint64_t microseconds;
};

struct chord_response {
    enum chord_message_kind kind;
    enum chord_code code; /* not OK: only `retry_after_ms` and `hint` below mean something */
    uint32_t retry_after_ms;
    bool gone; /* the life that was asked for is over, or no member */
    union {
        struct {
            struct chord_peer self;
            enum chord_node_state state;
            struct chord_parameters parameters; /* m 0 = none yet */
            bool formed;
            bool restarting; /* it joins, and may make the ring again if no node is a member */
        } ping;
        struct { /* FIND_SUCCESSOR, GET_PREDECESSOR, GET_SUCCESSORS */
            bool found, busy;
            bool forming;           /* in genesis: only a member in genesis may believe this list */
            struct chord_peer node; /* owner, next hop, or predecessor (incarnation 0: none) */
            struct chord_peer self;
            struct chord_peer_list successors;
        } ring;
        struct {
            enum chord_join_result result;
            bool formed;
            struct chord_peer authority;
            struct chord_peer_list successors;
        } join;
        struct {
            uint64_t rows;
            bool done;                    /* nothing lies beyond */
            uint8_t last[CHORD_ID_BYTES]; /* hash of the last row; a page never splits a hash */
            uint64_t equal_epoch;         /* of the sender's copy: chord_stored_view */
        } transfer;
        struct {
            uint64_t rows;
            uint8_t digest[CHORD_DIGEST_BYTES];
            uint64_t equal_epoch;
        } digest;
        struct { /* APPLY, SYNC, DECIDED, CHECK: `view` is wrong_view; GET_VIEW: `view` is the
                    answer */
            bool has_view;
            bool confirmed; /* GET_VIEW: by a majority; SYNC: done, else it goes on */
            struct chord_view view;
        } view;
        struct {                 /* PREPARE, ACCEPT */
            bool has_view;       /* `view` is wrong_view; nothing was promised or accepted */
            bool refused;        /* a higher ballot was promised */
            bool has_accepted;   /* PREPARE: `view` was accepted at `accepted_ballot` */
            bool other_accepted; /* joint PREPARE: something was, in the other instance */
            uint64_t promised;   /* the highest ballot */
            uint64_t accepted_ballot, other_ballot;
            uint64_t other_epoch; /* `view` is a merge: of the view that is merged */
            struct chord_view view;
        } decide;
        struct {
            struct chord_hint hint;
            uint32_t finished; /* received by a coordinator: results that are final */
            uint16_t hops;
            bool stale;
            /* Sent: what operations without a result get; a write that was forwarded or begun
             * gets UNKNOWN instead, because it may still take effect. */
            enum chord_code unfinished;
            struct chord_missing missing; /* with UNAVAILABLE: as far as the answerer knows */
        } batch;
        struct {
            struct chord_peer owner;
            uint16_t asked;      /* nodes that were asked, silent ones too */
            uint16_t hops_count; /* of these, those recorded */
            struct chord_hop hops[CHORD_HOPS_TRACED_MAX];
        } lookup;
    };
};

#endif

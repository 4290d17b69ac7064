/* SPDX-License-Identifier: MIT */
/*
 * The Chord core: one ring member as a pure state machine.
 *
 * chord_step(state, event) -> actions. The core asks for no time, entropy, memory, disk or
 * network: time comes with the event, randomness is a seed in the state, everything else is an
 * action for the host. Same seed and same events give the same actions, bit for bit. The state is
 * one block of chord_size() bytes without pointers, so a copy of the block is a snapshot.
 *
 * The ring follows Zave, "Reasoning about identifier spaces: How to make Chord correct" (TSE
 * 2017); lookups and fingers Stoica et al. (SIGCOMM 2001), sections 4 and 5; ranges and views the
 * data protocol in README.md beside this file.
 *
 * Duties of the host, in this order:
 *  1. chord_init on zeroed memory; chord_restore_view for each stored view; then START.
 *  2. Give events one at a time, each with the current now_ms (monotonic, never backwards).
 *  3. Carry out the actions of a step in order before the next step.
 *  4. Answer each SEND_REQUEST with exactly one REPLY or FAILURE, each STORE with one STORED,
 *     each DERIVE_ID with one ID_DERIVED.
 *  5. Keep the rows or operations of a request until its SEND_REPLY, or, when that says `hold`,
 *     until RELEASE; those of a REPLY to TRANSFER_KEYS until the STORE that names it.
 *     When a forwarded BATCH was sent and ends in FAILURE, its writes are finished with UNKNOWN;
 *     the final results in its reply finish the operations that they belong to.
 *  6. STOREs take effect in order; STORED with success means synced to disk.
 *  7. Give TICK when chord_deadline() is reached.
 */
#ifndef CHORD_H
#define CHORD_H

#include "message.h"

#include <stddef.h>

enum {
    CHORD_ACTIONS_MAX = 128, /* of one step */
    CHORD_TRACES_MAX = 32,   /* of one step; more are dropped and counted */
    CHORD_SEEDS_MAX = 16,
    CHORD_FORMER_MAX = 8,
    CHORD_BATCH_OPERATIONS_MAX = 65536,
};

/* A greater ballot is not believed. */
#define CHORD_BALLOT_MAX (1ull << 62)

struct chord_address {
    char text[CHORD_ADDRESS_BYTES];
};

/* How much of each kind of thing one node holds. Sizes chord_size(). */
struct chord_limits {
    uint16_t peers_max;          /* distinct peers known, >= 2 N + 16 */
    uint16_t known_max;          /* members remembered for a restart, and of genesis, > N; 0: 33 */
    uint16_t seeds_max;          /* whom a joiner asks, up to 40; 0: 40 */
    uint16_t views_max;          /* ranges held at once; 0: routes only, holds no data */
    uint16_t calls_max;          /* own requests in flight */
    uint16_t lookups_max;        /* lookups in flight */
    uint16_t paths_max;          /* of these, how many may record their path */
    uint16_t batches_max;        /* client requests in flight */
    uint16_t transfers_max;      /* pulls in flight */
    uint16_t decisions_max;      /* own proposals in flight */
    uint32_t keys_in_flight_max; /* keys being written by this leader */
};

/* Everything periodic, in milliseconds. */
struct chord_timing {
    uint32_t stabilize_period_ms;
    uint32_t fix_fingers_period_ms;
    uint32_t check_predecessor_period_ms;    /* also: members watch their leaders */
    uint32_t silence_ms_min, silence_ms_max; /* bounds of one measured request timeout */
    uint32_t range_period_ms;
    uint32_t graveyard_period_ms;
    uint32_t forget_period_ms;  /* a leader looks for tombstones to forget */
    uint32_t compare_period_ms; /* it has the next of its members compare the copies */
    uint32_t data_timeout_ms;   /* Apply, Sync, Digest, TransferKeys */
};
extern const struct chord_timing chord_timing_default;

struct chord_config {
    struct chord_limits limits;
    struct chord_timing timing;
    uint64_t seed;
    char address[CHORD_ADDRESS_BYTES];
    uint8_t store_id[CHORD_STORE_ID_BYTES];
    uint64_t host_id;      /* of the machine, or of what else fails as a whole; 0: not known */
    uint16_t former_count; /* where this disk has run before, the newest first */
    struct chord_address former[CHORD_FORMER_MAX];
    bool places_evenly; /* a new member looks for its place (ring/place.c); else salt 0 tells it */
};

/* ---- events ---- */

enum chord_event_kind {
    CHORD_EVENT_START = 1,
    CHORD_EVENT_REQUEST,
    CHORD_EVENT_REPLY,
    CHORD_EVENT_FAILURE,
    CHORD_EVENT_DISCONNECTED,
    CHORD_EVENT_TICK,
    CHORD_EVENT_STORED,
    CHORD_EVENT_ID_DERIVED,
    CHORD_EVENT_JOIN,
    CHORD_EVENT_LEAVE,
    CHORD_EVENT_RECOVER,
    CHORD_EVENT_DAMAGED,
};

/* What an acceptor knows of the instance that decides the view after one of its own. */
struct chord_acceptor {
    uint64_t promised;
    bool accepted;
    uint64_t ballot;        /* at which it accepted */
    struct chord_view next; /* what; with a range beyond the own view's: a merge, and then: */
    uint64_t other_epoch;   /* of the view that is merged with ours */
};

/* One entry of the table of views, as a store keeps it. */
struct chord_stored_view {
    struct chord_view view;
    bool learning; /* we told its leader that our rows are equal: they stay */
    /* The last epoch whose leader made this copy equal to its own; 0: none. Its rows of earlier
     * epochs are as that leader had settled them. */
    uint64_t equal_epoch;
    struct chord_acceptor acceptor;
};

enum chord_left {
    CHORD_NOT_LEFT,
    CHORD_HAS_LEFT,  /* it left on purpose and handed over what it held */
    CHORD_LEFT_LAST, /* it was the last of its ring: it kept rows and views, none is served */
};

/* What a node must know of itself to come back; CHORD_STORE_IDENTITY writes it. */
struct chord_identity {
    uint64_t incarnation; /* of the life that ended; 0 = never started */
    uint32_t salt;
    struct chord_id id;
    struct chord_parameters parameters; /* m 0 = never in a ring */
    bool formed;
    uint8_t left; /* enum chord_left */
    uint16_t known_count;
    struct chord_peer known[CHORD_REPLICAS_MAX]; /* last known members */
};

/* Where a node that has left joins. */
struct chord_entrance {
    uint16_t seeds_count; /* 0: the members known from before */
    struct chord_address seeds[CHORD_SEEDS_MAX];
    struct chord_parameters ring; /* m 0: its former ring; else this one, which may be another */
    bool drop_rows;               /* going to another ring: rows that are still here may go */
    bool another_place;           /* with another id, where a new member would stand now */
};

struct chord_departure {
    bool last;                  /* also as the last member, keeping its rows (CHORD_LEFT_LAST) */
    struct chord_entrance next; /* next.ring.m not 0: and join another ring at once */
};

enum chord_operation_kind { CHORD_GET = 1, CHORD_PUT, CHORD_DELETE };

/* One operation of a batch, as far as the core needs it. */
struct chord_operation {
    enum chord_operation_kind kind;
    bool finished; /* has its final result */
    bool examine;  /* a write that depends on what is stored: a precondition, an op_id */
    uint8_t hash[CHORD_ID_BYTES];
};

struct chord_event {
    enum chord_event_kind kind;
    uint64_t now_ms;
    union {
        struct {
            struct chord_identity stored;   /* incarnation 0: a fresh database */
            bool create;                    /* fresh: make a ring when there are no seeds */
            struct chord_parameters wanted; /* ring_id for a new ring; m, n, replicas 0 = any */
            uint16_t seeds_count;
            struct chord_address seeds[CHORD_SEEDS_MAX];
        } start;
        struct {
            uint64_t request_id; /* the host's, unique while open; never 0 */
            uint32_t timeout_ms;
            const struct chord_request *request;
            const struct chord_operation *operations; /* BATCH; valid during the step */
            uint32_t operations_count;
        } request; /* also answers RESUME: the same request_id again */
        struct {
            uint64_t call_id;
            uint64_t microseconds;
            const struct chord_response *response;
        } reply;
        struct {
            uint64_t call_id;
            bool refused; /* the remote answered, but with an error of the RPC layer */
        } failure;
        struct chord_address disconnected; /* an established connection to it closed */
        struct {
            uint64_t store_op;
            bool ok;
            uint64_t rows;                /* READ_RANGE, DIGEST, EXAMINE_OPERATIONS, TOMBSTONES */
            bool done;                    /* READ_RANGE: nothing lies beyond */
            uint8_t last[CHORD_ID_BYTES]; /* READ_RANGE: hash of the last row */
            uint8_t digest[CHORD_DIGEST_BYTES];
        } stored;
        struct {
            bool found;
            uint32_t salt;
            struct chord_id id;
        } id_derived;
        struct chord_entrance join;
        struct chord_departure leave;
        struct chord_id recover; /* the range of this id goes on with the copies that are left */
        struct chord_id damaged; /* a row of this id in our store is not what was written; said
                                    again while it is so */
    };
};

/* ---- actions ---- */

enum { CHORD_ARCS_MAX = 8 };

/* From one member's id to the next one's; equal: the whole ring. */
struct chord_arc {
    struct chord_id from, to;
};

/* Which id of hash(host:port#salt) a node would like. */
struct chord_wish {
    uint32_t salt_first;
    unsigned m;
    bool has_target; /* find the salt whose id is `target`; else */
    struct chord_id target;
    uint16_t arcs_count; /* the one that halves one of these best; else take salt_first */
    struct chord_arc arcs[CHORD_ARCS_MAX];
};

enum chord_action_kind {
    CHORD_ACTION_SEND_REQUEST = 1,
    CHORD_ACTION_SEND_REPLY,
    CHORD_ACTION_RELEASE,
    CHORD_ACTION_RESUME,
    CHORD_ACTION_FINISHED,
    CHORD_ACTION_STORE,
    CHORD_ACTION_DERIVE_ID,
    CHORD_ACTION_LEFT,
    CHORD_ACTION_REFUSED,
};

enum chord_store_kind {
    CHORD_STORE_IDENTITY = 1,       /* `identity`; no STORED is awaited */
    CHORD_STORE_VIEWS,              /* the whole table, as chord_stored_view gives it now; where a
                                       view's floor is its epoch, tombstones of its range with an
                                       earlier epoch go in the same commit */
    CHORD_STORE_EXAMINE_OPERATIONS, /* of `request_id` in `range`, unfinished writes with `examine`:
                                       the host finds those that must not be written and keeps what
                                       they get instead; `rows` = writes of the slice that are
                                       left. An absent row stands for a tombstone of (floor, 0) */
    CHORD_STORE_WRITE_OPERATIONS,   /* of `request_id` in `range`, unfinished puts and deletes that
                                       were not examined away: row i
                                       of the batch gets version (epoch, counter + i) */
    CHORD_STORE_READ_OPERATIONS,    /* of `request_id` in `range`, unfinished gets */
    CHORD_STORE_WRITE_ROWS,         /* those that request `request_id` (APPLY) carries */
    CHORD_STORE_WRITE_PULLED, /* those that the reply to call `request_id` carries; with `equal`
                                 rows of `range` older than `epoch`, with a hash in (after, last]
                                 (without has_after: from the range's start; with done: to its
                                 end), give way to them */
    CHORD_STORE_READ_RANGE,   /* for the reply to `request_id` (TRANSFER_KEYS) */
    CHORD_STORE_DIGEST,       /* of `range` */
    CHORD_STORE_TOMBSTONES,   /* `rows` = those of `range` */
    CHORD_STORE_DROP_RANGE,
    CHORD_STORE_OTHER_RING, /* `identity` of another ring; all rows and views of the former one go
                               in the same commit; no STORED is awaited */
};

/* Which operations of a batch an action is about: unfinished, with ids in the range. */
struct chord_slice {
    uint64_t request_id; /* 0: the action carries no operations */
    struct chord_range range;
    uint64_t epoch;
    uint64_t counter;
};

/* The core's trace words, the same in log, dashboard, simulator and model. */
/* clang-format off */
#define CHORD_WORDS(X) \
    X(START, start) X(CREATE, create) X(JOIN, join) X(ADMIT, admit) \
    X(GENESIS, genesis) X(MEMBER, member) X(STABILIZE, stabilize) X(NOTIFY, notify) \
    X(RECTIFY, rectify) X(SUSPECT, suspect) X(FAILURE, failure) X(FIX_FINGERS, fix_fingers) \
    X(CHECK_PREDECESSOR, check_predecessor) X(MERGE, merge) X(LEAVE, leave) X(LEFT, left) \
    X(TRANSFER_KEYS, transfer_keys) X(SETTLE, settle) X(OPEN, open) X(DECIDE, decide) \
    X(VIEW, view) X(RETIRE, retire) X(SYNC, sync) X(REFUSED, refused) \
    X(RECREATE, recreate) X(LOOKUP, lookup)
/* clang-format on */

enum chord_word {
#define X(upper, lower) CHORD_WORD_##upper,
    CHORD_WORDS(X)
#undef X
        CHORD_WORDS_COUNT
};
const char *chord_word_text(enum chord_word word);

enum chord_level { CHORD_LEVEL_DEBUG = 1, CHORD_LEVEL_INFO, CHORD_LEVEL_WARN };

struct chord_trace {
    enum chord_word word;
    enum chord_level level;
    const char *note;                  /* a constant */
    char address[CHORD_ADDRESS_BYTES]; /* "" = none */
    uint64_t incarnation;              /* of the member there; 0 = none */
    uint8_t store_id[CHORD_STORE_ID_BYTES];
    bool has_id, has_range;
    struct chord_id id;
    struct chord_range range;
    uint64_t epoch; /* 0 = none */
    uint64_t count; /* 0 = none */
};

struct chord_action {
    enum chord_action_kind kind;
    union {
        struct {
            uint64_t call_id;
            char address[CHORD_ADDRESS_BYTES];
            uint32_t timeout_ms;
            struct chord_slice slice; /* APPLY: rows to send; BATCH: operations to forward */
            struct chord_request request;
        } send_request;
        struct {
            uint64_t request_id;
            bool hold; /* RELEASE follows */
            struct chord_response response;
        } send_reply;
        uint64_t request_id;         /* RELEASE, RESUME: give this request again */
        struct chord_slice finished; /* what STORE recorded for these operations is final */
        struct {
            uint64_t store_op; /* 0: no STORED is awaited */
            enum chord_store_kind kind;
            struct chord_slice slice;
            struct chord_identity identity;
            uint64_t floor; /* EXAMINE_OPERATIONS: of the range's view */
            /* WRITE_PULLED: first our rows of what the page speaks for go that are of epochs before
             * drop_epoch; of the page, rows of epochs before skip_epoch are not taken. 0: none. */
            uint64_t drop_epoch, skip_epoch;
            bool has_after, done;
            uint8_t after[CHORD_ID_BYTES], last[CHORD_ID_BYTES];
        } store;
        struct chord_wish derive_id;
        struct {
            const char *reason;                /* why this node may not be in the ring */
            bool copy;                         /* its store runs elsewhere, or ran there last: */
            char address[CHORD_ADDRESS_BYTES]; /* where; else "" */
        } refused;
    };
};

struct chord_actions {
    uint16_t count;
    uint16_t traces_count;
    uint32_t traces_dropped;
    struct chord_action items[CHORD_ACTIONS_MAX];
    struct chord_trace traces[CHORD_TRACES_MAX];
};

/* ---- the machine ---- */

struct chord;

/* Bytes of one state block. */
size_t chord_size(const struct chord_limits *limits);
/* `memory` is zeroed, 16-byte aligned, chord_size() long. Returns it as the state. */
struct chord *chord_init(void *memory, const struct chord_config *config);
/* A view that this store held when it stopped; before START. False: no room, or the view is none
 * (its fields make no sense, or it overlaps another). */
bool chord_restore_view(struct chord *chord, const struct chord_stored_view *stored);
/* One step. Clears and fills `actions`. */
void chord_step(struct chord *chord, const struct chord_event *event,
                struct chord_actions *actions);
/* For DERIVE_ID: `hash` gives the id of a salt. False: none of the salts that were tried gives the
 * target. At most CHORD_SALTS_MAX are. */
enum { CHORD_SALTS_MAX = 1 << 22 };
bool chord_derive_id(const struct chord_wish *wish,
                     void (*hash)(void *context, uint32_t salt, struct chord_id *id), void *context,
                     uint32_t *salt, struct chord_id *id);

/* When the next TICK is due; UINT64_MAX = none. */
uint64_t chord_deadline(const struct chord *chord);

/* Why LEAVE, RECOVER or JOIN would be ignored now, one sentence; NULL: it would not. */
const char *chord_leave_obstacle(const struct chord *chord, const struct chord_departure *leave);
const char *chord_recover_obstacle(const struct chord *chord, const struct chord_id *id);
const char *chord_join_obstacle(const struct chord *chord, const struct chord_entrance *entrance);

/* ---- reading the state, for dashboards, stores and checkers ---- */

struct chord_status {
    struct chord_peer self;
    enum chord_node_state state;
    struct chord_parameters parameters;
    bool formed, has_predecessor;
    bool left_last; /* CHORD_LEFT_LAST */
    uint32_t salt;
    uint32_t survives_failures;
    struct chord_peer predecessor;
    struct chord_peer_list successors;
    const char *warning; /* "" = all is well */
    uint64_t maintenance_messages_total;
};
void chord_read_status(const struct chord *chord, struct chord_status *status);
/* CHORD_RING_ID_BYTES of the ring that it is in, or was in last; NULL: none yet. Valid until the
 * next step. */
const uint8_t *chord_ring_id(const struct chord *chord);
/* False: finger `index` is not known yet. */
bool chord_finger_at(const struct chord *chord, unsigned index, struct chord_peer *peer);
/* NULL, or a constant text: the first rule of the local invariant that this state breaks. It holds
 * after chord_init and after every step; broken, it is a bug of ours. O(tables). */
const char *chord_invariant(const struct chord *chord);

/* The values are those of chord.v1.RangeState. */
enum chord_range_state {
    CHORD_RANGE_NONE,
    CHORD_RANGE_REPLICA,
    CHORD_RANGE_SETTLING,
    CHORD_RANGE_OPEN,
    CHORD_RANGE_CHANGING,
    CHORD_RANGE_RETIRED,
    CHORD_RANGE_GONE, /* only remembered, so that no older view is believed */
};
/* Who leads an id, as far as this node knows. False: it knows nothing. */
bool chord_hint_of(const struct chord *chord, const struct chord_id *id, struct chord_hint *hint);
uint16_t chord_views_count(const struct chord *chord);
/* View `index` with its state and, at the leader, the copies known to be complete (else 0). */
const struct chord_view *chord_view_at(const struct chord *chord, uint16_t index,
                                       enum chord_range_state *state, unsigned *copies);
/* What a store keeps of view `index`; false: there is none. */
bool chord_stored_view(const struct chord *chord, uint16_t index, struct chord_stored_view *stored);

/* Whether operation `operation` belongs to a slice of that range. Pure; for hosts. */
bool chord_operation_in(const struct chord_operation *operation, const struct chord_range *range,
                        unsigned m);

#endif

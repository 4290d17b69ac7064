/* SPDX-License-Identifier: MIT */
/*
 * The state of one member, private to the core, and what every file of it needs: steps, calls,
 * store operations.
 *
 * Everything lies in one block: struct chord, then its tables at fixed offsets. A table entry is
 * named by its index within a step, and by a struct ref beyond it.
 */
#ifndef CHORD_STATE_H
#define CHORD_STATE_H

#include "assert.h"
#include "ring/ring_state.h"

#include <string.h>

enum { NONE = 0xffff }; /* no index */
#define NO_REF ((struct ref){.slot = NONE})

/* ---- calls and store operations ---- */

enum call_purpose {
    CALL_FREE,
    CALL_JOIN,  /* the open step of a join */
    CALL_QUERY, /* the one maintenance query */
    CALL_NOTIFY,
    CALL_GENESIS, /* subject: index in genesis.members, serial of the round */
    CALL_LEAVE,
    CALL_UNIFY,
    CALL_LOOKUP, /* subject: lookup */
    CALL_CHECK_PREDECESSOR,
    CALL_SEAT,      /* is somebody at it? */
    CALL_DIAL,      /* subject: admitted; member 0: the joiner, 1: the one with its store id */
    CALL_GRAVEYARD, /* subject: index */
    CALL_WATCH,     /* GetView at the leader; subject: range */
    CALL_DECIDED,   /* subject: range; member */
    CALL_PREPARE,   /* subject: decision; member */
    CALL_ACCEPT,    /* subject: decision; member */
    CALL_CHECK,     /* subject: range, serial of the round; member */
    CALL_SYNC,      /* subject: range; member, NONE = the learner */
    CALL_DIGEST,    /* subject: transfer */
    CALL_TRANSFER,  /* subject: transfer */
    CALL_APPLY,     /* subject: batch; member, NONE = the learner */
    CALL_FORWARD,   /* subject: batch */
};

struct call {
    enum call_purpose purpose;
    uint32_t generation;
    struct ref subject;
    uint16_t member;
    struct ref range;     /* APPLY: whose leader sent it; outlives the batch */
    uint32_t token;       /* SYNC: its token */
    uint16_t peer;        /* whose health the outcome tells, or NONE */
    uint64_t incarnation; /* of that peer: its slot may have been given to another */
    uint64_t asked_ms;
};

enum store_purpose {
    STORE_FREE,
    STORE_VIEWS,
    STORE_VIEWS_DECIDED, /* answers request_id */
    STORE_VIEWS_PREPARE, /* answers request_id; subject: range */
    STORE_VIEWS_ACCEPT,  /* answers request_id; subject: range */
    STORE_VIEWS_OWN,     /* subject: decision */
    STORE_BATCH_READ,    /* subject: batch */
    STORE_BATCH_EXAMINE, /* subject: batch */
    STORE_BATCH_WRITE,   /* subject: batch */
    STORE_APPLY,         /* answers request_id */
    STORE_RANGE_READ,    /* answers request_id */
    STORE_DIGEST_REPLY,  /* answers request_id */
    STORE_DIGEST_OWN,    /* subject: transfer */
    STORE_PULLED,        /* subject: transfer */
    STORE_TOMBSTONES,    /* subject: range */
    STORE_RETIRED,       /* nothing waits for it */
};

struct store_op {
    enum store_purpose purpose;
    uint32_t generation;
    struct ref subject;
    uint64_t request_id;
    uint64_t ballot;  /* PREPARE, ACCEPT, OWN */
    struct ref other; /* of these: a merge, the second range; else nothing */
};

static inline bool store_saves_views(const struct store_op *store) {
    return store->purpose >= STORE_VIEWS && store->purpose <= STORE_VIEWS_OWN;
}

/* ---- the block ---- */

struct chord {
    struct chord_config config;
    uint64_t random;
    uint64_t now_ms;
    uint32_t serial_last;
    uint64_t messages_total;

    struct chord_peer self;
    enum chord_node_state state;
    struct chord_parameters parameters;
    struct chord_parameters wanted;
    enum chord_left left_before; /* as it was at the start */
    uint16_t known_count;        /* in known_at: for the restart of the whole ring */
    uint32_t salt;
    bool formed;            /* the ring had N+1 members once */
    bool left_last;         /* out of the ring with its rows: CHORD_LEFT_LAST */
    bool serial_admission;  /* genesis: one joiner at a time, by the authority */
    uint8_t formed_answers; /* of a successor that has left genesis, while we are in it; in a row */
    bool create;
    char creator[CHORD_ADDRESS_BYTES]; /* of the ring or its re-creation, while serial_admission */

    uint16_t successors_count;
    uint16_t successors[CHORD_SUCCESSORS_MAX];
    uint16_t predecessor;
    uint16_t fingers[CHORD_M_MAX];
    uint16_t finger_next;
    bool fingers_fresh; /* a full sweep found nothing new */
    bool finger_changed;
    bool finger_open;
    uint16_t candidate; /* best notifier, for rectify */
    bool checking_predecessor;
    uint16_t successor_checked; /* in genesis: index in the list */
    uint64_t predecessor_since_ms;

    uint16_t damages_count; /* in damage_at */

    struct join join;
    struct chord_parameters next_ring; /* to join when this leave is done, through join.seeds; m 0:
                                          none */
    struct query query;
    struct genesis genesis;
    struct stalls stalls;
    uint16_t graveyard_next;

    uint64_t stabilize_ms, fix_fingers_ms, check_predecessor_ms, ranges_ms, graveyard_ms, leave_ms,
        leave_told_ms, stay_ms;
    uint64_t identity_ms;      /* when to write the known members; 0 = they are written */
    uint64_t writes_from_ms;   /* before, none is begun: our disk refused one */
    uint64_t refused_until_ms; /* our disk has just refused rows or views */
    uint64_t decisions_ms;     /* when a decision is due; UINT64_MAX = none */
    uint64_t batches_ms;       /* when a batch is due; UINT64_MAX = none */
    uint64_t transfers_ms;     /* when a pull is tried again; UINT64_MAX = none */
    uint16_t ranges_end;       /* slots from here on were never used, or are free again */
    uint16_t views_saving;     /* STOREs of the table of views under way */
    uint64_t views_retry_ms;   /* when to save it again; 0 = no need */
    uint32_t keys_free, keys_used, keys_taken;
    uint64_t arrivals; /* batches so far */

    size_t peers_at, tags_at, known_at, genesis_at, seeds_at, admitted_at, graves_at, leaving_at,
        calls_at, stores_at, lookups_at, paths_at, ranges_at, transfers_at, decisions_at,
        batches_at, keys_at, buckets_at, damages_at;
    uint32_t buckets_count;
};

/* For questions: the tables are reached by the same accessors, and nothing is changed. */
static inline struct chord *reading(const struct chord *chord) {
    return (struct chord *)(uintptr_t)chord;
}

/* The accessor of a table; rooms have more of them. */
#define TABLE(name, type, offset, index_type)                                                      \
    static inline type *name(struct chord *chord, index_type index) {                              \
        return (type *)(void *)((char *)chord + chord->offset) + index;                            \
    }
TABLE(peer_at, struct peer_entry, peers_at, uint16_t)
TABLE(tag_at, uint32_t, tags_at, uint16_t) /* of each peer's address; 0 = free */
TABLE(known_at, struct chord_peer, known_at, uint16_t)
TABLE(genesis_member_at, struct chord_peer, genesis_at, uint16_t)
TABLE(seed_at, struct chord_address, seeds_at, uint16_t)
TABLE(admitted_at, struct admitted, admitted_at, uint16_t)
TABLE(grave_at, struct grave, graves_at, uint16_t)
TABLE(leaving_at, struct leaving, leaving_at, uint16_t)
TABLE(call_at, struct call, calls_at, uint16_t)
TABLE(store_at, struct store_op, stores_at, uint16_t)
TABLE(lookup_at, struct lookup, lookups_at, uint16_t)
TABLE(path_at, struct path, paths_at, uint16_t)

/* The first free slot of a table: `in_use` is 0 in a free entry. NONE: the table is full. */
#define FREE_SLOT(name, table, in_use, limit)                                                      \
    static inline uint16_t name(struct chord *chord) {                                             \
        for (uint16_t i = 0; i < chord->config.limits.limit; i++) {                                \
            if (!table(chord, i)->in_use) {                                                        \
                return i;                                                                          \
            }                                                                                      \
        }                                                                                          \
        return NONE;                                                                               \
    }
FREE_SLOT(call_free, call_at, purpose, calls_max)
FREE_SLOT(store_free, store_at, purpose, calls_max)
FREE_SLOT(lookup_free, lookup_at, purpose, lookups_max)
FREE_SLOT(path_free, path_at, used, paths_max)

static inline bool ref_same(struct ref a, struct ref b) {
    return a.slot == b.slot && a.serial == b.serial;
}

/* How an entry is named, and whether what is named so is still there. */
#define REFERENCE(name, table, in_use)                                                             \
    static inline struct ref name##_ref(struct chord *chord, uint16_t slot) {                      \
        return (struct ref){slot, table(chord, slot)->serial};                                     \
    }                                                                                              \
    static inline bool name##_live(struct chord *chord, struct ref ref) {                          \
        return ref.slot != NONE && table(chord, ref.slot)->in_use &&                               \
               table(chord, ref.slot)->serial == ref.serial;                                       \
    }
REFERENCE(lookup, lookup_at, purpose)

/* Moves a deadline forward; when_ms 0: it stays. */
static inline void sooner(uint64_t *deadline_ms, uint64_t when_ms) {
    if (when_ms != 0 && when_ms < *deadline_ms) {
        *deadline_ms = when_ms;
    }
}

/* A set of members or seeds with this one alone. */
static inline uint64_t bit(uint16_t index) {
    return 1ull << index;
}

/* The same disk, or a copy of it. */
static inline bool store_same(const uint8_t *a, const uint8_t *b) {
    return memcmp(a, b, CHORD_STORE_ID_BYTES) == 0;
}

/* One that leaves is a member until it has left. */
static inline bool in_ring(const struct chord *chord) {
    return chord->state == CHORD_STATE_MEMBER || chord->state == CHORD_STATE_LEAVING;
}

/* One step under way. */
struct step {
    struct chord *chord;
    struct chord_actions *actions;
    const struct chord_event *event;
};

/* block.c */
/* How many of each are remembered under these limits. */
uint16_t admitted_max(const struct chord_limits *limits);
uint16_t graves_max(const struct chord_limits *limits);
uint16_t leaving_max(const struct chord_limits *limits);

/* request.c */
void request_arrived(struct step *step);

/* chord.c */
struct chord_action *action_add(struct step *step, enum chord_action_kind kind);
bool action_room(const struct step *step, unsigned count);
uint32_t serial_new(struct chord *chord);
uint64_t random_next(struct chord *chord);
uint64_t random_between(struct chord *chord, uint64_t low, uint64_t high); /* [low, high] */
uint64_t jitter(struct chord *chord, uint64_t period_ms);                  /* 75 % to 125 % */
unsigned bits_count(uint64_t bits);
void identity_save(struct step *step, enum chord_store_kind kind);

/* trace.c */
struct chord_trace *trace_add(struct step *step, enum chord_word word, enum chord_level level,
                              const char *note);
void trace_peer(struct step *step, enum chord_word word, enum chord_level level, const char *note,
                const struct chord_peer *peer);
void trace_view(struct step *step, enum chord_word word, enum chord_level level, const char *note,
                const struct chord_view *view);

/* calls.c */
uint16_t call_start(struct step *step, enum call_purpose purpose, struct ref subject,
                    uint16_t member, const char *address, uint32_t timeout_ms,
                    struct chord_request **request);
/* To the store of a member and to no other disk at its address. */
uint16_t call_member(struct step *step, enum call_purpose purpose, struct ref subject,
                     uint16_t seat, const struct chord_member *member, uint32_t timeout_ms,
                     struct chord_request **request);
void call_target(struct chord_request *request, const struct chord_peer *peer);
uint16_t call_peer(struct step *step, enum call_purpose purpose, const struct chord_peer *peer,
                   enum chord_message_kind kind, struct chord_request **request);
void calls_reply(struct step *step);
void calls_failure(struct step *step);
uint16_t store_start(struct step *step, enum chord_store_kind kind, enum store_purpose purpose,
                     struct ref subject, uint64_t request_id, struct chord_action **action);
void stores_done(struct step *step);
/* Answers; the caller fills in the rest, which is all 0, before anything else is asked for. */
struct chord_response *reply_add(struct step *step, uint64_t request_id,
                                 enum chord_message_kind kind);
void reply_code(struct step *step, uint64_t request_id, enum chord_message_kind kind,
                enum chord_code code, uint32_t retry_after_ms);

#endif

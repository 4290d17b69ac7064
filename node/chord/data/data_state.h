/* SPDX-License-Identifier: MIT */
/*
 * What a member knows of the data: its ranges with their views, decisions, pulls, client requests.
 * Parts of the block (state.h).
 */
#ifndef CHORD_DATA_STATE_H
#define CHORD_DATA_STATE_H

#include "frame/state.h"

enum { DAMAGES_MAX = 8 };

#define KEYS_NONE UINT32_MAX /* end of a chain */

/* ---- ranges ---- */

enum change_stage { CHANGE_NONE, CHANGE_LEARN, CHANGE_DRAIN, CHANGE_DECIDE };

/* What the next view of a range is to be; the leader's plan. */
struct change {
    enum change_stage stage;
    bool has_newcomer, has_leaver;
    bool merge;                   /* with the range above it */
    bool forget;                  /* tombstones go with the next view */
    bool follows;                 /* is that range: the lower one's change goes for both */
    struct chord_id cut;          /* (lo, cut] goes to the new leader; hi = all of it */
    struct chord_member newcomer; /* the learner */
    struct chord_member leaver;   /* whose seat goes */
    struct chord_member leader;   /* of the part that changes */
    uint64_t token;               /* of the newcomer's Sync */
    uint64_t deadline_ms;
};

struct range {
    bool used;
    bool gone;     /* only remembered: no member, rows dropped */
    bool learning; /* we told its leader that our rows are equal: they stay */
    bool lived;    /* the switch to it was made in this life: its leader may lead */
    uint32_t serial;
    struct chord_view view;
    struct chord_acceptor acceptor; /* of the instance that decides what follows */
    uint64_t equal_epoch;           /* of our copy: chord_stored_view */
    /* at the leader; bits per member */
    uint64_t switched, synced, merged, calling;
    uint64_t counter;
    bool settled, open;
    uint64_t settle_epoch; /* settling: the greatest equal_epoch of those pulled from, */
    uint64_t settle_best;  /* and whose copies have it; bit per member */
    struct {               /* the round of Check that is out (read_check.c) */
        bool open;
        uint32_t serial;
        uint64_t round, done;     /* the last that began; the last that ended well */
        uint64_t agreed, calling; /* bit per member */
        uint64_t resend_ms;
        uint64_t wide_ms; /* until then all members are asked at once */
    } check;
    bool resigned;       /* our disk refuses writes: the members do not hear that we lead */
    bool closed;         /* a decision was proposed at ballot 0: no write is committed any more */
    uint64_t compare_ms; /* when the next member compares; 0 = not set yet */
    uint32_t compare_next;
    bool forgettable;       /* there are tombstones */
    uint64_t forget_ms;     /* when to look for them again; 0 = not set yet */
    bool taught;            /* a store that is no member was made equal and keeps its rows */
    uint64_t epoch_floor;   /* an epoch that a member remembers: the next one is above it */
    uint32_t learner_calls; /* Apply messages in flight: to learners, */
    uint16_t member_calls[CHORD_REPLICAS_MAX]; /* to each member */
    uint32_t sync_tokens[CHORD_REPLICAS_MAX];  /* of each member's Sync; 0 = a new one is needed */
    uint16_t writing;                          /* batches between their first Apply and their end */
    uint64_t retry_ms;
    uint64_t change_retry_ms;
    struct change change;
    /* at the others */
    bool damaged;    /* a row of ours is bad: to be made equal when the leader serves */
    uint8_t strikes; /* silences of the leader in a row */
    bool watching;
    uint32_t watch_trip_ms; /* about the longest that it has taken to answer lately; 0: not known */
    uint64_t leader_lost_ms; /* since when the leader is given up; 0 = it is not */
    uint64_t watch_ms;
};

/* A row of this id was damaged while this node led it. */
struct damage {
    struct chord_id id;
    bool done; /* settled from the others since */
};

/* One decision that this node proposes (Paxos proposer). */
enum decision_stage { DECISION_FREE, DECISION_PREPARE, DECISION_ACCEPT };

struct decision {
    enum decision_stage stage;
    uint32_t serial;
    struct ref range, other;  /* other: a merge, else nothing */
    uint64_t ballot, highest; /* ours; the highest that anybody promised */
    uint64_t agreed, calling; /* bit per member */
    uint64_t away;            /* those of them that were asked elsewhere than at their seat */
    bool found, other_found;  /* while preparing: `next` was accepted; a value in `other` too */
    uint64_t found_ballot, other_ballot;
    uint64_t found_epoch; /* `next` is a merge: of the view that is merged */
    uint16_t tries;
    uint64_t retry_ms; /* a new ballot then; 0 = none */
    uint64_t resend_ms;
    struct chord_view wanted; /* what we propose unless a value was accepted before */
    struct chord_view next;   /* what we propose */
};

enum transfer_stage {
    TRANSFER_FREE,
    TRANSFER_DIGEST,
    TRANSFER_DIGEST_OWN,
    TRANSFER_PULL,
    TRANSFER_WRITE,
    TRANSFER_DONE, /* Sync will ask */
};

/* One pull of a range's rows from another member. */
struct transfer {
    enum transfer_stage stage;
    uint32_t serial;
    bool equal; /* make our rows equal; else keep the newer ones */
    bool own;   /* started here, not by a Sync (damage.c) */
    bool has_after, has_before;
    bool done; /* the page being written is the last */
    uint8_t failures;
    struct chord_member source;
    struct chord_range range, part; /* part: what is compared or pulled now */
    uint64_t epoch;
    uint64_t token;      /* Sync's; 0 = settling, for `subject` */
    uint64_t request_id; /* Sync to answer; 0 = none */
    struct ref subject;
    uint16_t member;
    uint64_t rows;
    uint64_t retry_ms;
    uint64_t digest_rows;
    uint8_t digest[CHORD_DIGEST_BYTES];
    uint64_t source_epoch;                                 /* equal_epoch of the source's copy */
    uint8_t before[CHORD_ID_BYTES], after[CHORD_ID_BYTES]; /* ends of the page being written */
};

/* ---- client requests ---- */

enum batch_state {
    BATCH_FREE,
    BATCH_WAITING, /* for keys in flight, a settled range or a retry: RESUME at retry_ms */
    BATCH_RESUMED, /* RESUME is on its way */
    BATCH_LOOKING, /* for the owner */
    BATCH_FORWARDED,
    BATCH_RUNNING, /* at the leader: reads and writes of one range */
};

struct batch {
    enum batch_state state;
    uint32_t serial;
    uint64_t request_id;
    uint64_t deadline_ms;
    uint64_t retry_ms;
    bool no_forward, stale, replied, reading, examining, writing, stored, nothing;
    uint16_t tries, hops;
    struct ref range;
    struct chord_slice slice;
    uint64_t confirm; /* the round of Check that its reads wait for; 0 = none */
    uint64_t acked;   /* bit per member of the view */
    uint64_t sent;    /* bit per member: an Apply is in flight */
    uint64_t resend_ms;
    uint64_t
        store_retry_ms; /* our own store refused the write: when to ask it again; 0 = no need */
    uint32_t keys_head;
    uint64_t arrival; /* earlier ones get a key first */
    bool wants;       /* it waits for this key, which another one has: */
    uint8_t wanted[CHORD_ID_BYTES];
    struct chord_hint hint;
    struct chord_id stuck;        /* the first operation without a result */
    struct chord_missing missing; /* as another node has told */
};

/* Its writes may be on disks already: an Apply was sent, or begun. */
static inline bool batch_sent(const struct batch *batch) {
    return batch->writing && !batch->examining && !batch->nothing;
}

struct key_entry {
    uint8_t hash[CHORD_ID_BYTES];
    uint32_t next_bucket, next_batch;
    uint16_t batch;
    bool wanted; /* by others too */
};

TABLE(range_at, struct range, ranges_at, uint16_t)
TABLE(transfer_at, struct transfer, transfers_at, uint16_t)
TABLE(decision_at, struct decision, decisions_at, uint16_t)
TABLE(batch_at, struct batch, batches_at, uint16_t)
TABLE(key_at, struct key_entry, keys_at, uint32_t)
TABLE(bucket_at, uint32_t, buckets_at, uint32_t)
TABLE(damage_at, struct damage, damages_at, uint16_t)

FREE_SLOT(range_free, range_at, used, views_max)
FREE_SLOT(transfer_free, transfer_at, stage, transfers_max)
FREE_SLOT(decision_free, decision_at, stage, decisions_max)
FREE_SLOT(batch_free, batch_at, state, batches_max)

REFERENCE(range, range_at, used)
REFERENCE(transfer, transfer_at, stage)
REFERENCE(decision, decision_at, stage)
REFERENCE(batch, batch_at, state)

/* NULL: it is gone. */
static inline struct range *range_of(struct chord *chord, struct ref ref) {
    return range_live(chord, ref) ? range_at(chord, ref.slot) : NULL;
}

#endif

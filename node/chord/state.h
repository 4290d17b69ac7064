/*
 * The state of one member, private to the core, and what its files offer each other.
 *
 * Everything lies in one block: struct chord, then its tables at fixed offsets. A table entry is
 * named by its index; things that outlive a step (calls, store operations) also carry the entry's
 * serial, so that an answer for a former entry is ignored.
 */
#ifndef CHORD_STATE_H
#define CHORD_STATE_H

#include "assert.h"
#include "chord.h"

#include <string.h>

enum {
    NONE = 0xffff,
    FINGER_SELF = 0xfffe, /* a finger whose owner is this node */
    STRIKES_MAX = 3,      /* silent requests in a row until a peer counts as failed */
    BUSY_MAX = 8,         /* Busy answers in a row until a query ends without a verdict */
    GRAVEYARD_MAX = 8,
    JOIN_SEEDS_MAX = 40,
    LEAVING_MAX = 16,
    ADMITTED_MAX = 8,
    FALLBACKS_MAX = 3,
    DAMAGES_MAX = 8,
    COLLISIONS_BEFORE_WALK = 4,
    WALK_M_MAX = 16,
};

#define KEYS_NONE UINT32_MAX /* end of a chain */

/* ---- peers ---- */

struct peer_entry {
    struct chord_peer peer; /* incarnation 0 = free */
    uint64_t heard_ms;
    uint32_t srtt_us, rttvar_us; /* 0 = not measured */
    uint8_t strikes;
    bool disconnected; /* since it last answered */
};

/* ---- calls and store operations ---- */

enum call_purpose {
    CALL_FREE,
    CALL_JOIN,  /* the open step of a join */
    CALL_QUERY, /* the one maintenance query */
    CALL_NOTIFY,
    CALL_GENESIS, /* subject: index in genesis.members */
    CALL_LEAVE,
    CALL_MERGE,
    CALL_LOOKUP, /* subject: lookup */
    CALL_CHECK_PREDECESSOR,
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
    uint32_t serial; /* of the subject */
    uint16_t subject;
    uint16_t member;
    uint16_t range;        /* APPLY: whose leader sent it; outlives the batch */
    uint32_t range_serial; /* APPLY; SYNC of a learner: its change's */
    uint16_t peer;         /* whose health the outcome tells, or NONE */
    uint64_t incarnation;  /* of that peer: its slot may have been given to another */
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
    uint32_t serial;
    uint16_t subject;
    uint64_t request_id;
    uint64_t ballot; /* PREPARE, ACCEPT, OWN */
    uint16_t other;  /* of these: a merge, the second range; else NONE */
    uint32_t other_serial;
};

/* ---- ring ---- */

enum join_stage {
    JOIN_IDLE,
    JOIN_PING,   /* ask a seed for the ring's parameters and whether it is a member */
    JOIN_DERIVE, /* wait for the id */
    JOIN_LOOKUP, /* find_successor(own id) through the seed */
    JOIN_WALK,   /* small M: walk the ring for a free id */
    JOIN_BEFORE, /* GetSuccessors to the predecessor to be: does its list go on with our successor?
                  */
    JOIN_ASK,    /* Join to the successor or the genesis authority */
};

struct join {
    enum join_stage stage;
    bool open;         /* its step awaits an answer */
    bool creating;     /* a fresh ring, once the id is derived */
    bool restarting;   /* was a member when it stopped */
    uint32_t serial;   /* of the request that is out */
    uint64_t retry_ms; /* next attempt; 0 = none */
    uint64_t started_ms;
    struct chord_peer via;               /* the member through which we look */
    struct chord_peer successor, before; /* between which we are to stand */
    uint16_t seed;                       /* next to try */
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
    /* Restart of a whole ring: who of the known members answered this round. */
    uint64_t answered; /* bit per seed */
    uint64_t lower_ms; /* when one with a lower id last answered; 0 = none has */
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
    uint16_t joiner; /* index in members: it is told first */
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
    LOOKUP_MERGE
};

struct lookup {
    enum lookup_purpose purpose;
    uint32_t serial;
    uint16_t subject; /* FINGER: index; BATCH: batch */
    uint32_t subject_serial;
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

/* A joiner that was admitted: until it has notified us its id counts as taken. */
struct admitted {
    struct chord_peer peer;
    uint64_t until_ms;
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
    /* at the leader; bits per member */
    uint64_t switched, synced, merged, calling;
    uint64_t counter;
    bool settled, open;
    struct { /* the round of Check that is out (confirm.c) */
        bool open;
        uint32_t serial;
        uint64_t round, done;     /* the last that began; the last that ended well */
        uint64_t agreed, calling; /* bit per member */
        uint64_t resend_ms;
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
    uint16_t range, other; /* other: a merge, else NONE */
    uint32_t range_serial, other_serial;
    uint64_t ballot, highest; /* ours; the highest that anybody promised */
    uint64_t agreed, calling; /* bit per member */
    bool found, other_found;  /* while preparing: somebody accepted `next`; something in `other` */
    uint64_t found_ballot, other_ballot;
    uint64_t found_epoch; /* `next` is a merge: of the view that is merged */
    uint16_t tries;
    uint64_t retry_ms; /* a new ballot then; 0 = none */
    uint64_t resend_ms;
    struct chord_view wanted; /* what we propose unless somebody was before us */
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
    bool own;   /* nobody has asked for it (repair.c) */
    bool has_after, has_before;
    bool done; /* the page being written is the last */
    uint8_t failures;
    struct chord_member source;
    struct chord_range range, part; /* part: what is compared or pulled now */
    uint64_t epoch;
    uint64_t token;      /* Sync's; 0 = settling, for `subject` */
    uint64_t request_id; /* Sync to answer; 0 = none */
    uint16_t subject;
    uint16_t member;
    uint32_t subject_serial;
    uint64_t rows;
    uint64_t retry_ms;
    uint64_t digest_rows;
    uint8_t digest[CHORD_DIGEST_BYTES];
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
    uint16_t range; /* slot */
    uint32_t range_serial;
    struct chord_slice slice;
    uint64_t confirm; /* the round of Check that its reads wait for; 0 = none */
    uint64_t acked;   /* bit per member of the view */
    uint64_t sent;    /* bit per member: an Apply is in flight */
    uint64_t resend_ms;
    uint64_t
        store_retry_ms; /* our own store refused the write: when to ask it again; 0 = no need */
    uint32_t keys_head;
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
};

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
    uint64_t predecessor_since_ms;

    struct damage damages[DAMAGES_MAX];
    unsigned damages_count;

    struct join join;
    struct chord_parameters next_ring; /* to join when this leave is done, through join.seeds; m 0:
                                          none */
    struct query query;
    struct genesis genesis;
    uint16_t graveyard_next;

    uint64_t stabilize_ms, fix_fingers_ms, check_predecessor_ms, ranges_ms, graveyard_ms, leave_ms,
        leave_told_ms;
    uint64_t identity_ms;    /* when to write the known members; 0 = they are written */
    uint64_t writes_from_ms; /* before, none is begun: our disk refused one */
    uint64_t decisions_ms;   /* when a decision is due; UINT64_MAX = none */
    uint64_t batches_ms;     /* when a batch is due; UINT64_MAX = none */
    uint64_t transfers_ms;   /* when a pull is tried again; UINT64_MAX = none */
    uint16_t ranges_end;     /* slots from here on were never used, or are free again */
    uint16_t views_saving;   /* STOREs of the table of views under way */
    uint64_t views_retry_ms; /* when to save it again; 0 = no need */
    uint32_t keys_free, keys_used, keys_taken;

    size_t peers_at, tags_at, known_at, genesis_at, seeds_at, admitted_at, graves_at, leaving_at,
        calls_at, stores_at, lookups_at, paths_at, ranges_at, transfers_at, decisions_at,
        batches_at, keys_at, buckets_at;
    uint32_t buckets_count;
};

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
TABLE(range_at, struct range, ranges_at, uint16_t)
TABLE(transfer_at, struct transfer, transfers_at, uint16_t)
TABLE(decision_at, struct decision, decisions_at, uint16_t)
TABLE(batch_at, struct batch, batches_at, uint16_t)
TABLE(key_at, struct key_entry, keys_at, uint32_t)
TABLE(bucket_at, uint32_t, buckets_at, uint32_t)
#undef TABLE

/* One step under way. */
struct step {
    struct chord *chord;
    struct chord_actions *actions;
    const struct chord_event *event;
};

/* chord.c */
/* How many of each are remembered under these limits. */
uint16_t admitted_max(const struct chord_limits *limits);
uint16_t graves_max(const struct chord_limits *limits);
uint16_t leaving_max(const struct chord_limits *limits);
struct chord_action *action_add(struct step *step, enum chord_action_kind kind);
bool action_room(const struct step *step, unsigned count);
uint32_t serial_new(struct chord *chord);
uint64_t random_next(struct chord *chord);
uint64_t random_between(struct chord *chord, uint64_t low, uint64_t high); /* [low, high] */
uint64_t jitter(struct chord *chord, uint64_t period_ms);                  /* 75 % to 125 % */
void identity_save(struct step *step, enum chord_store_kind kind);

/* trace.c */
struct chord_trace *trace_add(struct step *step, enum chord_word word, enum chord_level level,
                              const char *note);
void trace_peer(struct step *step, enum chord_word word, enum chord_level level, const char *note,
                const struct chord_peer *peer);
void trace_view(struct step *step, enum chord_word word, enum chord_level level, const char *note,
                const struct chord_view *view);

/* calls.c */
uint16_t call_start(struct step *step, enum call_purpose purpose, uint16_t subject, uint32_t serial,
                    uint16_t member, const char *address, uint32_t timeout_ms,
                    struct chord_request **request);
/* To the store of a member and to no other disk at its address. */
uint16_t call_member(struct step *step, enum call_purpose purpose, uint16_t subject,
                     uint32_t serial, uint16_t seat, const struct chord_member *member,
                     uint32_t timeout_ms, struct chord_request **request);
void call_target(struct chord_request *request, const struct chord_peer *peer);
uint16_t call_peer(struct step *step, enum call_purpose purpose, const struct chord_peer *peer,
                   enum chord_message_kind kind, struct chord_request **request);
void calls_reply(struct step *step);
void calls_failure(struct step *step);
uint16_t store_slot(uint64_t id); /* of an operation just started */
uint64_t store_start(struct step *step, enum chord_store_kind kind, enum store_purpose purpose,
                     uint16_t subject, uint32_t serial, uint64_t request_id,
                     struct chord_action **action);
void stores_done(struct step *step);
void reply_send(struct step *step, uint64_t request_id, const struct chord_response *response);
void reply_code(struct step *step, uint64_t request_id, enum chord_message_kind kind,
                enum chord_code code, uint32_t retry_after_ms);

/* peers.c */
bool address_same(const char *a, const char *b);
bool peer_same(const struct chord_peer *a, const struct chord_peer *b); /* the same life */
uint16_t peer_find(struct chord *chord, const struct chord_peer *peer); /* NONE = unknown */
uint16_t peer_find_address(struct chord *chord, const char *address);
uint16_t peer_add(struct chord *chord, const struct chord_peer *peer); /* NONE = no room */
void peer_heard(struct chord *chord, uint16_t index, uint64_t microseconds);
uint32_t peer_timeout_ms(struct chord *chord, uint16_t index); /* NONE: of one we do not know */
/* One silence. True: the verdict is failure. */
bool peer_silent(struct chord *chord, uint16_t index);
bool peer_valid(const struct chord *chord, const struct chord_peer *peer);
void peer_failed(struct step *step, const struct chord_peer *peer, const char *note);
void peer_left(struct step *step, const struct chord_peer *peer);
void peer_disconnected(struct step *step, const char *address);
/* incarnation 0: any life of that store. */
bool peer_leaving(const struct chord *chord, const uint8_t *store_id, uint64_t incarnation);
void peer_set_leaving(struct chord *chord, const struct chord_peer *peer);

/* successors.c */
const struct chord_peer *successor_at(struct chord *chord, uint16_t position); /* NULL: none */
const struct chord_peer *predecessor_get(struct chord *chord);                 /* NULL: none */
void successors_list(struct chord *chord, struct chord_peer_list *list);
/* trunc([first] + rest) of the paper: ordered, no self, no duplicate, at most N. */
void successors_adopt(struct step *step, const struct chord_peer *first,
                      const struct chord_peer_list *rest);
/* Puts our own entries into `list`, which is ordered, where it lacks them. */
void successors_unite(struct chord *chord, struct chord_peer_list *list);
void predecessor_set(struct step *step, const struct chord_peer *peer); /* NULL: unknown */
void neighbours_clear(struct chord *chord); /* out of the ring: nobody is known as near */
bool owns(struct chord *chord, const struct chord_id *id); /* in (predecessor, self] */
uint32_t members_estimate(struct chord *chord);

/* join.c */
void join_start(struct step *step);
void join_begin(struct step *step, const struct chord_address *seeds, uint16_t count);
void join_tick(struct step *step);
void join_reply(struct step *step, const struct chord_response *response);
void join_failure(struct step *step);
void join_derived(struct step *step);
void join_looked_up(struct step *step, bool found, const struct chord_peer *owner,
                    const struct chord_peer *before, const struct chord_peer_list *successors);
void join_done(struct step *step, const char *note);
void join_again(struct step *step, const struct chord_peer *via); /* under another id */

/* admit.c */
void on_join(struct step *step, const struct chord_request *request, uint64_t request_id);

/* genesis.c */
void genesis_create(struct step *step, bool fresh);
bool genesis_authority(struct chord *chord, struct chord_peer *authority);
enum chord_join_result genesis_admit(struct step *step, const struct chord_peer *joiner);
void genesis_is_over(struct chord *chord, bool for_successor); /* as its answer says */
void genesis_reply(struct step *step, uint16_t member);
void genesis_failure(struct step *step, uint16_t member);
void genesis_forget(struct step *step, const struct chord_peer *peer);
void on_genesis(struct step *step, const struct chord_request *request, uint64_t request_id);

/* stabilize.c */
void stabilize_soon(struct chord *chord);
void stabilize_tick(struct step *step);
void query_end(struct chord *chord);
void query_reply(struct step *step, const struct chord_response *response);
void query_failure(struct step *step);
void query_candidate(struct step *step, const struct chord_peer *peer);
void check_predecessor_now(struct step *step);
void check_predecessor_tick(struct step *step);
void on_notify(struct step *step, const struct chord_peer *sender);

/* lookup.c */
bool lookup_start(struct step *step, enum lookup_purpose purpose, const struct chord_id *target,
                  const struct chord_peer *via, uint16_t subject, uint32_t subject_serial,
                  uint64_t request_id, uint64_t deadline_ms);
void lookup_reply(struct step *step, uint16_t index, const struct chord_response *response,
                  uint64_t microseconds);
void lookup_failure(struct step *step, uint16_t index);
void on_find_successor(struct step *step, const struct chord_request *request, uint64_t request_id);
void fix_fingers_tick(struct step *step);
void lookups_forget(struct chord *chord); /* those of this node's own; nobody awaits an answer */
void fingers_forget(struct chord *chord, uint16_t peer);

/* merge.c */
void on_merge(struct step *step, const struct chord_peer *peer);
void merge_tell(struct step *step, const struct chord_peer *target, const struct chord_peer *peer);
/* Our own id was looked up through another member. */
void merge_looked_up(struct step *step, const struct chord_peer *owner,
                     const struct chord_peer *before);
void graveyard_clear(struct chord *chord);
void graveyard_add(struct chord *chord, const struct chord_peer *peer);
void graveyard_tick(struct step *step);
void graveyard_reply(struct step *step, uint16_t index, const struct chord_response *response);
void graveyard_failure(struct chord *chord, uint16_t index);

/* leave.c */
void leave_start(struct step *step);
void leave_tick(struct step *step);
/* Tells a node that this one leaves, or has left. */
void leave_tell(struct step *step, const char *address, bool left);
void on_leave(struct step *step, const struct chord_request *request, uint64_t request_id);

/* another_ring.c: the last member, and the way to another ring */
bool another_ring(const struct chord *chord, const struct chord_parameters *ring);
void another_ring_join(struct step *step, const struct chord_entrance *entrance);
void last_leave(struct step *step);
void last_return(struct step *step);

/* ranges.c: the table of views */
uint16_t range_find(struct chord *chord, const struct chord_id *id); /* newest view over id */
bool range_add(struct chord *chord, const struct chord_view *view, uint16_t *index);
/* Makes `view` the truth for its ids where it is newer. True: the table changed. */
bool range_install(struct step *step, const struct chord_view *view, uint16_t *index);
/* The entry of exactly this view, uncut; NONE: this store is at another one. */
uint16_t range_exact(struct chord *chord, const struct chord_range *range, uint64_t epoch);
/* The entry of a view of that epoch which covers the range, uncut; NONE. */
uint16_t range_at_epoch(struct chord *chord, const struct chord_range *range, uint64_t epoch);
/* The newest view over a part of the range; NONE. */
uint16_t range_newest(struct chord *chord, const struct chord_range *range);
bool range_room(struct step *step); /* for a decision's views */
void range_remove(struct step *step, uint16_t index);
bool range_covers(const struct chord_range *outer, const struct chord_range *inner);
bool ranges_overlap(const struct chord_range *a, const struct chord_range *b);
bool view_formed(const struct chord_view *view);                              /* but for its ids */
bool view_valid(const struct chord *chord, const struct chord_view *view);    /* from outside */
uint16_t view_member(const struct chord_view *view, const uint8_t *store_id); /* NONE */
bool view_leads(const struct chord *chord, const struct chord_view *view);    /* leader is self */
unsigned view_majority(const struct chord_view *view);
bool ranges_held(struct chord *chord); /* those that are only remembered are not */

unsigned bits_count(uint64_t bits);
/* NULL: no room for a store operation. The caller may fill in more of it. */
struct store_op *views_save(struct step *step, enum store_purpose purpose, uint64_t request_id);
/* The next view when only the leader changes, to self. */
void view_owner_change(const struct chord *chord, const struct range *range,
                       struct chord_view *next);
uint64_t view_next_epoch(const struct range *range);
bool member_same(const struct chord_member *a, const struct chord_member *b);
void member_of_peer(const struct chord_peer *peer, struct chord_member *member);

/* leader.c: what a view's leader does */
void ranges_tick(struct step *step);
void leader_advance(struct step *step, uint16_t index);
void leader_take_over(struct step *step, uint16_t index, const char *note);
/* response NULL: no answer. */
void leader_decided_reply(struct step *step, uint16_t index, uint16_t member,
                          const struct chord_response *response);
void leader_peer_lost(struct step *step, const char *address);
void leader_member_down(struct step *step, uint16_t index, uint16_t member);
void ranges_lead_again(struct step *step); /* all that this node led before it stopped */
void leader_views_saved(struct step *step, bool ok);
bool leader_send_decided(struct step *step, uint16_t index, uint16_t seat,
                         const struct chord_member *member, const struct chord_view *other);
/* response NULL: no answer. */
void leader_sync_reply(struct step *step, const struct call *call,
                       const struct chord_response *response);
/* A view that somebody answered with. */
void leader_learn(struct step *step, const struct chord_view *view);
void leader_send_sync(struct step *step, uint16_t index, uint16_t member);
void leader_pulled(struct step *step, uint16_t index, uint16_t member, bool ok);

/* change.c: member change, split, hand-over, merge */
void change_plan(struct step *step, uint16_t index);
void change_advance(struct step *step, uint16_t index);
void change_learn(struct step *step, uint16_t index); /* Sync to the newcomer, again */
void change_learned(struct step *step, uint16_t index, bool ok);
void change_abort(struct step *step, uint16_t index, const char *note);
/* `next` was chosen for what follows the view of `index` (and of `other`). */
void change_decided(struct step *step, uint16_t index, uint16_t other,
                    const struct chord_view *next);

/* forget.c: tombstones that everybody has */
void forget_tick(struct step *step, uint16_t index);
void forget_counted(struct step *step, uint16_t index, bool ok);
/* Every member has the whole range on disk, and nothing is on its way. */
bool forget_possible(const struct range *range);

/* repair.c: copies that a disk has changed */
void repair_tick(struct step *step, uint16_t index);
void repair_damaged(struct step *step, const struct chord_id *id);
void repair_pull(struct step *step, uint16_t index); /* its leader serves */
/* To settle: how many others must be merged; 0: no matter whose copies make the majority. */
unsigned repair_needs(struct chord *chord, const struct range *range);
void repair_settled(struct chord *chord, const struct range *range);

/* decide.c: the proposer of a decision */
/* The next view of `index`, or of it and `other` together. False: no room now. */
bool decide_start(struct step *step, uint16_t index, uint16_t other, const struct chord_view *next);
uint16_t decide_find(struct chord *chord, uint16_t index); /* NONE: nothing is proposed for it */
void decide_stored(struct step *step, uint16_t index, uint32_t serial, uint64_t ballot, bool ok);
/* response NULL: no answer. */
void decide_reply(struct step *step, const struct call *call,
                  const struct chord_response *response);
void decisions_tick(struct step *step);

/* acceptor.c; other NULL: not joint */
bool decision_joint(const struct chord_view *view, const struct chord_view *next);
struct chord_range decision_other(const struct chord_view *view, const struct chord_view *next);
bool decision_valid(const struct chord_view *view, const struct chord_view *other,
                    const struct chord_view *next);
/* `next`, and, after a split, the view of the rest; how many. */
uint16_t decision_views(const struct chord_view *view, const struct chord_view *next,
                        struct chord_view views[2]);
/* A merge with that other view cannot have been chosen. */
bool decision_lost(struct chord *chord, const struct chord_range *other, uint64_t other_epoch,
                   const struct chord_view *joint);
/* The history of a view that merges two. */
void merges_join(const struct chord_view *a, const struct chord_view *b, struct chord_view *joint);
bool acceptor_promise(struct range *range, struct range *other, uint64_t ballot);
bool acceptor_accept(struct range *range, struct range *other, uint64_t ballot,
                     const struct chord_view *next);
/* The state of the acceptor as the answer to Prepare. */
void acceptor_tell(struct chord *chord, struct range *range, struct range *other,
                   struct chord_response *response);
void on_prepare(struct step *step, const struct chord_request *request, uint64_t request_id);
void on_accept(struct step *step, const struct chord_request *request, uint64_t request_id);
void acceptor_stored(struct step *step, const struct store_op *store, bool ok);

/* Everybody who was or is a member is told of the whole decision. */
void change_tell(struct step *step, const struct chord_view *old, const struct chord_view *views,
                 uint16_t count);

/* recover.c: a view by hand */
void recover_start(struct step *step, const struct chord_id *id);

/* replica.c: what every member of a view answers */
void replica_watch(struct step *step, uint16_t index);
void reply_wrong_view(struct step *step, uint64_t request_id, enum chord_message_kind kind,
                      const struct chord_range *range);
/* response NULL: no answer. */
void replica_watch_reply(struct step *step, uint16_t index, uint16_t member,
                         const struct chord_response *response);
void replica_leader_lost(struct step *step, const char *address);
void on_apply(struct step *step, const struct chord_request *request, uint64_t request_id);
void on_check(struct step *step, const struct chord_request *request, uint64_t request_id);
void on_sync(struct step *step, const struct chord_request *request, uint64_t request_id);
void on_digest(struct step *step, const struct chord_request *request, uint64_t request_id);
void on_decided(struct step *step, const struct chord_request *request, uint64_t request_id);
void on_get_view(struct step *step, const struct chord_request *request, uint64_t request_id);
void on_transfer_keys(struct step *step, const struct chord_request *request, uint64_t request_id);

/* transfer.c: pulling a range */
/* A leader settles: what `member` of range `subject` has that is newer. False: no room. */
bool transfer_settle(struct step *step, uint16_t subject, uint16_t member);
/* Sync, or Sync again: our rows become equal to the leader's. request_id 0: of our own accord. */
bool transfer_sync(struct step *step, const struct chord_member *source,
                   const struct chord_range *range, uint64_t epoch, uint64_t token,
                   uint64_t request_id);
void transfer_reply(struct step *step, uint16_t index, const struct chord_response *response,
                    uint64_t call_id);
void transfer_failure(struct step *step, uint16_t index);
void transfer_stored(struct step *step, uint16_t index);
/* A leader's own pulls for range `subject` end. Bits of the members they were from. */
uint64_t transfers_stop(struct chord *chord, uint16_t subject);
void transfers_tick(struct step *step);
bool transfers_open(struct chord *chord);

/* batch.c: client requests */
/* False: no RESUME went out for that request. */
bool batch_resume(struct step *step, uint64_t request_id);
void on_batch(struct step *step, const struct chord_request *request, uint64_t request_id);
void batch_looked_up(struct step *step, uint16_t index, const struct chord_peer *owner,
                     const struct chord_peer *before, uint16_t hops);
void batch_forward_reply(struct step *step, uint16_t index, const struct chord_response *response);
void batch_forward_failure(struct step *step, uint16_t index);
void batches_tick(struct step *step);
void batches_wake(struct step *step); /* something that batches wait for has changed */

void batch_wait(struct chord *chord, struct batch *batch, uint64_t delay_ms);
void batch_due(struct chord *chord, uint64_t when_ms);
void batch_end(struct step *step, uint16_t index, enum chord_code unfinished);
/* The client is told so; the batch goes on until its outcome is decided here. */
void batch_unknown(struct step *step, uint16_t index);
void batch_hint(struct batch *batch, const struct chord_view *view);
struct range *batch_range(struct chord *chord, struct batch *batch); /* NULL: its view is over */

/* execute.c: at the leader */
void execute_run(struct step *step, uint16_t index, uint16_t range_index,
                 const struct chord_operation *operations, uint32_t count);
void execute_store_again(struct step *step, uint16_t index);
void execute_stale(struct step *step, uint16_t index, uint16_t range_index);
void execute_send(struct step *step, uint16_t index, struct range *range);
void execute_stored(struct step *step, uint16_t index, enum store_purpose purpose, bool ok);
/* response NULL: no answer, or an error. Also after the batch has ended. */
void execute_applied(struct step *step, const struct call *call,
                     const struct chord_response *response);
/* A round of Check has ended well. True: some reads wait for the next. */
bool execute_confirmed(struct step *step, uint16_t range);
void execute_range_gone(struct step *step, uint16_t range, uint32_t serial);

/* confirm.c: reads are current */
uint64_t confirm_read(struct step *step, uint16_t index);
void confirm_reply(struct step *step, const struct call *call,
                   const struct chord_response *response);
void confirm_again(struct step *step, uint16_t index);

/* keys.c: keys being written */
bool keys_in_flight(struct chord *chord, const uint8_t *hash);
bool keys_take(struct chord *chord, const uint8_t *hash, uint16_t batch);
void keys_release(struct chord *chord, uint16_t batch);
void keys_init(struct chord *chord);

#endif

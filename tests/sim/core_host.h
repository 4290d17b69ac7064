/* SPDX-License-Identifier: MIT */
/*
 * The deterministic host of the core: 1 to 200,000 nodes in one process, one event heap ordered by
 * (time, sequence), no wall clock, no thread, no disk. It keeps the duties that chord.h gives a
 * host and checks the core's side of them: one reply per request, no step without end. Whatever can
 * go wrong around a node can be made to: see the faults below.
 *
 *   struct host *host = host_new(&(struct host_config){.seed = 1, .m = 6, .n = 3, .replicas = 3});
 *   host_start(host, host_add(host));      the first node creates, later ones join through it
 *   host_run(host, 1000);
 *
 * Time is in microseconds here and in milliseconds in the core. The same configuration and the same
 * calls give the same host_digest(). CHORD_TEST_TRACE=1 prints the core's trace words.
 */
#ifndef CORE_HOST_H
#define CORE_HOST_H

#include "chord.h"
#include "core_store.h"

enum { HOST_NODES_MAX = 1 << 18, HOST_NOBODY = -1 };

struct host;

/* One operation of a client: in: kind, key, value of a PUT; out: the rest. */
struct host_operation {
    enum chord_operation_kind kind;
    char key[CORE_TEXT_BYTES];
    char value[CORE_TEXT_BYTES];
    bool if_match, if_absent; /* a precondition: the version below; no value */
    uint64_t match_epoch, match_counter;
    uint64_t op_id;         /* 0 = none */
    uint64_t expires_at_ms; /* by the nodes' clocks; 0 = never */
    unsigned attempt;
    uint64_t seen_epoch, seen_counter; /* epoch 0: none */
    enum chord_code code;              /* GET and DELETE of nothing: CHORD_NOT_FOUND */
    uint64_t epoch, counter;
    bool existed; /* PUT and DELETE: the key had a value before */
};

/* A client's request, or one that a test made. */
struct host_call {
    bool done;
    enum chord_code code; /* of the whole; CHORD_DEADLINE_EXCEEDED: no answer came */
    uint64_t started_us, done_us;
    struct host_operation *operations;
    uint32_t operations_count;
    struct chord_response response;
};

/* What crosses the network, shown before it is delivered; a hostile test may change it. */
struct host_message {
    int from, to; /* nodes, or HOST_NOBODY for a client */
    enum chord_message_kind kind;
    struct chord_request *request; /* one of the two; the other is NULL */
    struct chord_response *response;
};

/* A message with what belongs to it, to be changed in place. */
struct host_cargo {
    void *message; /* a chord_request or chord_response, whole */
    struct core_row *rows;
    size_t rows_count;
    struct host_operation *operations; /* of a BATCH; of a reply the results */
    uint32_t operations_count;
};

/* How long a message is under way, between `delay_us_min` and `delay_us_max`. */
enum host_delay {
    HOST_DELAY_UNIFORM,
    HOST_DELAY_EXPONENTIAL, /* most near the least; the mean is a fifth of the span */
    HOST_DELAY_TAIL,        /* one in twenty takes up to the longest, the others a tenth of it */
};

struct host_config {
    uint64_t seed;
    unsigned m, n, replicas;
    unsigned hosts; /* node i is on machine i % hosts; 0: nobody knows where it is */
    enum host_delay delay;
    uint32_t delay_us_min, delay_us_max;   /* one way; default 200 to 2000 */
    uint32_t store_us_min, store_us_max;   /* until a job is synced; default 100 to 3000 */
    unsigned lose_percent, double_percent; /* of the messages; a BATCH is never doubled */
    /* So many messages are lost below TCP: it sends them again after 200 ms and a round trip, twice
     * as long each time, and what is sent on that line meanwhile waits (RFC 6298). */
    unsigned resend_percent;
    size_t page_rows;           /* of one transfer_keys page; default 8 */
    struct chord_limits limits; /* zero: small ones */
    struct chord_timing timing; /* zero: the default */
    /* What a message with its rows or operations becomes on its way; NULL: it stays as it is. */
    void (*pass)(bool reply, const struct host_cargo *cargo, unsigned m);
    bool (*on_message)(void *context, const struct host_message *message); /* false: lost */
    void (*on_step)(void *context, struct host *host, int node);           /* after each step */
    void (*on_end)(void *context, struct host *host, int node);            /* a life has ended */
    void (*on_assert)(void *context, const char *text); /* NULL: abort; must not return */
    void *context;
    bool ring_only;     /* no ranges, no data */
    bool places_evenly; /* as chord_config's */
    /* The local invariant is checked after each of so many steps of a node, which takes a third of
     * a run when it is each one; 0: after each. */
    uint64_t invariant_every;
    bool traces; /* the core's trace words to stdout; also CHORD_TEST_TRACE=1 */
};

enum host_disk {
    HOST_DISK_WELL,
    HOST_DISK_SLOW,    /* a job takes a hundred times as long */
    HOST_DISK_STALLED, /* jobs wait: nothing is synced */
    HOST_DISK_FULL,    /* writes of rows and views fail */
    HOST_DISK_FAILING, /* the next sync fails, and the node ends itself, as the real one does */
};

struct host_node {
    char address[CHORD_ADDRESS_BYTES];
    uint64_t host_id; /* of its machine; 0: not known */
    bool alive;
    enum host_disk disk;
    const char *refused; /* why the ring did not take it */
    int moves;           /* so often it has changed its address */
    bool names_kept;     /* its former addresses lead to it */
    bool copy;           /* since its store runs elsewhere */
    bool left;
    int ring; /* where it starts: rings built apart; the first of each creates it */
    struct chord_parameters wanted; /* given at the start; zero: any */
    unsigned lives;                 /* starts so far */
    uint64_t steps;
    uint64_t paused_until_us; /* events wait until then */
    struct chord *chord;
    struct core_store store; /* what survives a kill */
};

/* Enough for a member that only routes, in rings of up to 2^18. */
struct chord_limits host_limits_small(unsigned n);

struct host *host_new(const struct host_config *config);
void host_free(struct host *host);
struct host_config *host_config_of(struct host *host); /* delays, losses: to be changed any time */

/* ---- nodes ---- */
int host_add(struct host *host); /* a node with an empty disk; not started */
/* The first node of a ring creates it; others join through up to 16 of it, added before. */
void host_start(struct host *host, int node);
void host_kill(struct host *host, int node);          /* unsynced jobs are lost */
void host_wipe(struct host *host, int node);          /* a new disk; while it is down */
void host_clone(struct host *host, int node, int to); /* its disk gets a copy of the other's */
void host_move(struct host *host, int node);          /* to another address; while it is down */
/* To another address; the former ones stay names of it. While it is down. */
void host_rename(struct host *host, int node);
void host_leave(struct host *host, int node);
/* After it has left; with another id, or the one it had. */
void host_join(struct host *host, int node, bool another_place);
int host_count(const struct host *host);
struct host_node *host_node(struct host *host, int node);
void host_status(struct host *host, int node, struct chord_status *status);

/* ---- faults ---- */
/* Messages from a to b are lost. */
void host_cut_way(struct host *host, int from, int to, bool cut);
void host_cut(struct host *host, int a, int b, bool cut);         /* both ways */
void host_group(struct host *host, int node, unsigned group);     /* others are not reached; 0 */
void host_slow(struct host *host, int from, int to, uint64_t us); /* added to each delay */
/* What goes to or from the node from now on, or is under way, arrives when the stall is over. */
void host_stall(struct host *host, int node, uint64_t us);
void host_heal(struct host *host);                         /* the whole network is well */
void host_pause(struct host *host, int node, uint64_t us); /* as by SIGSTOP */
/* The node's clock runs `ppm` too fast from now on (negative: slow), and jumps ahead now. */
void host_clock(struct host *host, int node, int ppm, uint64_t jump_us);

/* ---- time ---- */
uint64_t host_now_us(const struct host *host);
bool host_step(struct host *host); /* one event; false: none is left */
void host_run(struct host *host, uint64_t ms);
/* Until `condition` holds, checked every 10 ms; false: not within `ms`. */
bool host_run_until(struct host *host, bool (*condition)(struct host *), uint64_t ms);

/* ---- clients: the call lives as long as the host ---- */
struct host_call *host_batch(struct host *host, int node, const struct host_operation *operations,
                             uint32_t count, uint32_t timeout_ms);
/* Any other request, as if from the network. */
struct host_call *host_request(struct host *host, int node, const struct chord_request *request,
                               uint32_t timeout_ms);
void host_forget_calls(struct host *host); /* those that are done; what they held is gone */
/* One event straight into a node: for late and unknown ids, and for garbage. */
void host_event(struct host *host, int node, struct chord_event *event);
const struct chord_actions *host_actions(const struct host *host); /* of the last step */
/* Whose reply or silence the last step was about; HOST_NOBODY: it was something else. */
int host_asked(const struct host *host);

/* ---- looking ---- */
bool host_member(struct host *host, int node); /* alive, and a member or leaving */
/* Every live node is a member (or has left), and every member's predecessor and successor list is
 * right against the set of live members. */
bool host_ideal(struct host *host);
/* How many successors `ring[at]` lists in an ideal ring, whose members stand in `ring` in the order
 * of their ids; *machines: on so many do it and they live. */
int host_successors_wanted(struct host *host, const int *ring, int count, int at,
                           unsigned *machines);
/* Every key id is led by its ring owner in one open range with all the copies that can exist, on as
 * many machines as its list reaches. */
bool host_settled(struct host *host);
int host_members(struct host *host);
int host_by_address(const struct host *host, const char *address); /* HOST_NOBODY: unknown */
/* The same, where a host's former addresses are still names of it (host_rename). */
int host_reached(const struct host *host, const char *address);
int host_owner(struct host *host, const struct chord_id *id); /* among the live members */
void host_print(struct host *host); /* members, lists and views, to stderr, for a failing test */
uint64_t host_digest(const struct host *host);   /* of every action so far */
uint64_t host_random(struct host *host);         /* a stream for the test itself */
uint64_t host_messages(const struct host *host); /* requests and replies sent so far */
/* When the oldest call about the ring that is still open was sent; UINT64_MAX: none is. */
uint64_t host_oldest_ring_call_us(const struct host *host);
uint64_t host_rows_pulled(const struct host *host); /* by transfer_keys so far */

#endif

/*
 * A small deterministic host for the core: many nodes in one process, one event heap ordered by
 * (time, sequence), no wall clock, no thread, no disk. It keeps the duties that chord.h gives a
 * host and checks the core's side of them: one reply per request, no step without end.
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

enum { HOST_NODES_MAX = 40, HOST_NOBODY = -1 };

struct host;

/* One operation of a client: in: kind, key, value of a PUT; out: the rest. */
struct host_operation {
    enum chord_operation_kind kind;
    char key[CORE_TEXT_BYTES];
    char value[CORE_TEXT_BYTES];
    enum chord_code code; /* GET and DELETE of nothing: CHORD_NOT_FOUND */
    uint64_t epoch, counter;
    bool has, maybe; /* the host's: a result is recorded; it may have been executed */
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

struct host_config {
    uint64_t seed;
    unsigned m, n, replicas;
    uint32_t delay_us_min, delay_us_max;   /* one way; default 200 to 2000 */
    uint32_t store_us_min, store_us_max;   /* until a job is synced; default 100 to 3000 */
    unsigned lose_percent, double_percent; /* of the messages; a BATCH is never doubled */
    size_t page_rows;                      /* of one transfer_keys page; default 8 */
    struct chord_limits limits;            /* zero: small ones */
    bool (*on_message)(void *context, const struct host_message *message); /* false: lost */
    void (*on_step)(void *context, struct host *host, int node);           /* after each step */
    void *context;
};

struct host_node {
    char address[CHORD_ADDRESS_BYTES];
    bool alive;
    bool store_paused;   /* jobs wait: nothing is synced */
    bool store_full;     /* writes of rows fail */
    const char *refused; /* why the ring did not take it */
    bool left;
    int ring; /* where it starts: rings built apart; the first of each creates it */
    struct chord_parameters wanted; /* given at the start; zero: any */
    unsigned lives;                 /* starts so far */
    uint64_t steps;
    struct chord *chord;
    struct core_store store; /* what survives a kill */
};

struct host *host_new(const struct host_config *config);
void host_free(struct host *host);

/* ---- nodes ---- */
int host_add(struct host *host); /* a node with an empty disk; not started */
void host_start(struct host *host,
                int node);                   /* the first creates; others join through all so far */
void host_kill(struct host *host, int node); /* unsynced jobs are lost */
void host_wipe(struct host *host, int node); /* a new disk; while it is down */
void host_leave(struct host *host, int node);
void host_join(struct host *host, int node);              /* after it has left */
void host_cut(struct host *host, int a, int b, bool cut); /* the link, both ways */
int host_count(const struct host *host);
struct host_node *host_node(struct host *host, int node);
void host_status(struct host *host, int node, struct chord_status *status);

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
/* One event straight into a node: for late and unknown ids, and for garbage. */
void host_event(struct host *host, int node, struct chord_event *event);
const struct chord_actions *host_actions(const struct host *host); /* of the last step */

/* ---- looking ---- */
/* Every live node is a member (or has left), and every member's predecessor and successor list is
 * right against the set of live members. */
bool host_ideal(struct host *host);
/* Every key id is led by its ring owner in one open range with all the copies that can exist. */
bool host_settled(struct host *host);
int host_members(struct host *host);
int host_by_address(struct host *host, const char *address);  /* HOST_NOBODY: unknown */
int host_owner(struct host *host, const struct chord_id *id); /* among the live members */
void host_print(struct host *host); /* members, lists and views, to stderr, for a failing test */
uint64_t host_digest(const struct host *host); /* of every action so far */
uint64_t host_random(struct host *host);       /* a stream for the test itself */

#endif

/* SPDX-License-Identifier: MIT */
/*
 * One core and the world around it, as chord.h describes a host: it keeps the host's duties and
 * checks the core's side of the contract after each step, and the local invariant. It aborts with
 * a sentence at the first breach.
 *
 * The world has PEERS peers with fixed addresses, spread evenly over the circle; peer SELF is the
 * core itself.
 */
#ifndef FUZZ_CORE_WORLD_H
#define FUZZ_CORE_WORLD_H

#include "operations.h"

enum {
    PEERS = 8,
    SELF = PEERS - 1,
    OPERATIONS_MAX = 4, /* of one batch */
    REQUESTS_MAX = 320,
    CALLS_MAX = 600,
    STORES_MAX = 600,
    VIEWS_MAX = 64,
    TIMEOUT_MS_MAX = 600000, /* the RPC runtime gives no request more */
};

/* A request that the core has not finished. */
struct world_request {
    uint64_t id; /* 0 = free */
    uint32_t timeout_ms;
    bool replied;
    struct chord_request request;
    uint32_t operations_count;
    struct chord_operation operations[OPERATIONS_MAX];
    struct operation_state states[OPERATIONS_MAX]; /* `has`: a STORE for it is on disk */
};

struct world_call {
    uint64_t id; /* 0 = free */
    char address[CHORD_ADDRESS_BYTES];
    struct chord_slice slice;
    struct chord_request request;
};

struct world_store {
    uint64_t op;
    enum chord_store_kind kind;
    struct chord_slice slice;
    bool for_operation[OPERATIONS_MAX];
};

struct world {
    struct chord *chord;
    struct chord_config config;
    struct chord_parameters parameters; /* of the ring that the peers say they are in */
    unsigned members;                   /* peers 0..members-1 are in it */
    struct chord_peer self;
    uint64_t now_ms, request_last;
    bool refused; /* the core has given up; the host ends it */
    unsigned deriving;
    unsigned steps;
    unsigned spins; /* steps in a row that need nothing from outside, not even time */
    struct world_request requests[REQUESTS_MAX];
    struct world_call calls[CALLS_MAX];
    unsigned calls_count;
    struct world_store stores[STORES_MAX];
    unsigned stores_count;
    uint64_t resumes[REQUESTS_MAX];
    unsigned resumes_count;
    uint64_t replying; /* the call whose reply is being given: WRITE_PULLED may name it */
    struct chord_identity identity; /* what is on the disk, if the core dies now */
    struct chord_stored_view views[VIEWS_MAX];
    unsigned views_count;
    struct chord_actions actions;
};

/* Says what is wrong and aborts. */
_Noreturn void world_fail(const char *what);

struct chord_id world_id(const struct world *world, unsigned number);     /* of 256 places */
struct chord_peer world_peer(const struct world *world, unsigned peer);   /* in its first life */
unsigned world_peer_at(const char *address);                              /* SELF: unknown */
void world_start(struct world *world, const struct chord_event *start);   /* with the views */
void world_restart(struct world *world, const struct chord_event *start); /* after a crash */
void world_forget(struct world *world); /* what is under way; the rest of *world stays */
void world_free(struct world *world);
void world_step(struct world *world, struct chord_event *event);
void world_tick(struct world *world, uint64_t now_ms);
/* Gives a request with its operations; nothing when the host has no slot for it. */
void world_request(struct world *world, const struct chord_request *request, uint32_t timeout_ms,
                   const struct chord_operation *operations, uint32_t count);
/* Answers call number `index` of calls; `finished`: how many forwarded operations are final. */
void world_reply(struct world *world, unsigned index, const struct chord_response *response,
                 unsigned finished);
void world_failure(struct world *world, unsigned index, bool refused);
/* What an honest member of a quiet ring would answer. */
void world_honest(const struct world *world, const struct world_call *call,
                  struct chord_response *response);
/* The oldest store operation is done. */
void world_stored(struct world *world, const struct chord_event *stored);
void world_derived(struct world *world, bool found, const struct chord_id *id);
/* All calls fail, all stores succeed, time goes on: every request must be answered by then. */
void world_drain(struct world *world);

#endif

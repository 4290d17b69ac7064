/*
 * The inside of core_host, shared by its three files: core_host.c moves events, core_host_actions.c
 * carries out what a step asked for, core_host_nodes.c is what tests call.
 */
#ifndef CORE_HOST_STATE_H
#define CORE_HOST_STATE_H

#include "assert.h"
#include "core_host.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    CALL_SLOTS_MAX = 1 << 16,
    SPIN_MAX = 2000,
    CONNECT_MS_MAX = 1000, /* without a connection a call ends after so long, unsent */
};

enum event_kind {
    EVENT_REQUEST,
    EVENT_REPLY,
    EVENT_TIMEOUT,
    EVENT_JOB,
    EVENT_DERIVED,
    EVENT_TICK,
    EVENT_RESUME,
    EVENT_DISCONNECTED,
    EVENT_BROKEN
};

/* A request or reply on its way, with the rows or operations that belong to it. */
struct parcel {
    struct chord_request request;
    struct chord_response response;
    struct core_row *rows;
    size_t rows_count;
    struct host_operation *operations;
    uint32_t operations_count;
};

struct job {
    enum chord_store_kind kind;
    uint64_t store_op, request_id;
    struct chord_identity identity;
    struct chord_view *views;
    uint16_t views_count;
    struct core_row *rows;
    uint32_t *indices; /* of the operations that the rows belong to */
    size_t rows_count;
    struct chord_range range;
    bool has_after;
    uint8_t after[CHORD_ID_BYTES];
};

struct event {
    uint64_t time_us, sequence;
    enum event_kind kind;
    int node; /* to whom; the life it is meant for */
    unsigned life;
    uint32_t call, generation;
    uint64_t id; /* request id, or DERIVED: found */
    uint32_t salt, timeout_ms;
    struct chord_id derived;
    struct parcel *parcel;
    struct job *job;
    int from;
};

/* One request in flight; freed by its timeout, so that a late reply finds another generation. */
struct slot {
    bool used, done;
    bool unsent; /* nobody was there: nothing was executed */
    uint32_t generation, next_free;
    int node; /* the caller, or HOST_NOBODY */
    int to;
    unsigned life;
    uint64_t call_id, sent_us, broken_us, request_id; /* broken: its connection closed then */
    enum chord_message_kind kind;
    uint32_t *indices;
    uint32_t indices_count;
    struct host_call *client;
};

/* A request that a node has not finished. */
struct open {
    uint64_t id;
    struct parcel *parcel;
    struct chord_operation *operations;
    uint32_t call, generation, timeout_ms;
    bool replied;
    struct core_row *page;
    size_t page_count;
    struct open *next;
};

struct node {
    struct host_node public;
    struct open *open;
    uint64_t tick_us, store_us, spin_ms;
    unsigned spins;
};

struct host {
    struct host_config config;
    uint64_t now_us, sequence, digest, request_last;
    uint64_t random_network, random_nodes, random_test;
    struct node nodes[HOST_NODES_MAX];
    int count;
    bool cut[HOST_NODES_MAX][HOST_NODES_MAX];
    struct event *heap;
    size_t heap_count, heap_room;
    struct slot slots[CALL_SLOTS_MAX];
    uint32_t slots_used, slots_free; /* free: a chain of index + 1 */
    struct host_call **clients;
    size_t clients_count;
    const struct parcel *reply; /* being delivered: WRITE_PULLED copies its rows */
    struct chord_actions actions;
    bool traces;
};

/* core_host.c */
uint64_t random_of(uint64_t *state);
uint64_t between(uint64_t *state, uint64_t low, uint64_t high); /* [low, high] */
void *memory(size_t bytes);                                     /* zeroed; never NULL */
void *copy_of(const void *bytes, size_t count);
void push(struct host *host, struct event event);
void event_free(struct event *event);
struct open *open_find(struct node *node, uint64_t id); /* NULL: it has ended */
void open_free(struct node *node, struct open *open);
uint64_t delay(struct host *host);
struct slot *call_new(struct host *host, int from, int to, uint32_t timeout_ms,
                      struct parcel *parcel);
void step(struct host *host, int index, struct chord_event *event);

/* core_host_actions.c */
void act(struct host *host, int index, const struct chord_action *action);
void run_job(struct host *host, int index, struct job *job);
/* How many operations a forwarded batch finished; parcel NULL: no answer came. */
uint32_t forwarded(struct node *node, const struct slot *slot, const struct parcel *parcel);

#endif

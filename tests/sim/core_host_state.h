/* SPDX-License-Identifier: MIT */
/*
 * The inside of core_host, shared by its files: core_host.c moves events, core_host_network.c
 * carries messages, core_host_actions.c carries out what a step asked for, core_host_nodes.c and
 * core_host_look.c are what tests call.
 */
#ifndef CORE_HOST_STATE_H
#define CORE_HOST_STATE_H

#include "assert.h"
#include "core_host.h"
#include "operations.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SPIN_MAX = 2000,
    HEAP_WAYS = 4,
    WHEEL_MS = 1 << 13,
    CONNECT_MS_MAX = 1000, /* without a connection a call ends after so long, unsent */
    SLOW_DISK_FACTOR = 100,
    HOST_PORT_FIRST = 4000,
    CONTACTS = 64, /* whom a node has called, so that the end of the other is told to it */
};

enum event_kind {
    EVENT_REQUEST,
    EVENT_REPLY,
    EVENT_TIMEOUT,
    EVENT_JOB, /* the store's next one is done */
    EVENT_DERIVED,
    EVENT_TICK,
    EVENT_RESUME,
    EVENT_DISCONNECTED,
    EVENT_BROKEN,
    EVENT_WAKE /* the end of a pause */
};

/* A request or reply on its way, with the rows or operations that belong to it. */
struct parcel {
    enum chord_message_kind kind;
    void *message; /* a chord_request or chord_response as far as its counts cover */
    struct core_row *rows;
    size_t rows_count;
    struct host_operation *operations;
    uint32_t operations_count;
};

struct job {
    enum chord_store_kind kind;
    uint64_t store_op, request_id;
    struct chord_identity identity;
    struct chord_stored_view *views;
    uint16_t views_count;
    struct core_row *rows;
    uint32_t *indices; /* of the operations that the rows belong to */
    size_t rows_count;
    struct chord_range range;
    uint64_t floor, drop_epoch, skip_epoch;
    uint64_t epoch, counter; /* of a batch's first write */
    bool has_after, done;
    uint8_t after[CHORD_ID_BYTES], last[CHORD_ID_BYTES];
    struct job *next;
};

struct derived {
    bool found;
    uint32_t salt;
    struct chord_id id;
};

struct event {
    uint64_t time_us;
    enum event_kind kind;
    int node;      /* to whom */
    unsigned life; /* of that node: another life does not get it */
    int from;
    uint32_t call, generation; /* its slot */
    uint32_t timeout_ms;       /* REQUEST */
    uint64_t request_id;       /* RESUME */
    void *payload;             /* REQUEST, REPLY: parcel; DERIVED: derived */
};

/* A place in the heap; the event lies in `events`, so that sifting moves little. */
struct due {
    uint64_t time_us, sequence;
    uint32_t event;
};

/* What is due within one millisecond of the near future, in no order yet. */
struct bucket {
    size_t count, room;
    struct due *items;
};

/* One request in flight. It is freed at its end; a late reply finds another generation. */
struct slot {
    bool used, unsent; /* unsent: nobody was there, nothing was executed */
    uint32_t generation, next_free;
    uint32_t before, after; /* in the chain of calls to the same node; index + 1, 0 = none */
    int node;               /* the caller, or HOST_NOBODY */
    int to;
    unsigned life;
    uint64_t call_id, sent_us, request_id;
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
    struct operation_state *states;
    uint32_t call, generation, timeout_ms;
    bool replied;
    struct core_row *page;
    size_t page_count;
    struct open *next;
};

struct caller {
    int node;
    unsigned life;
};

struct node {
    struct host_node public;
    struct open *open;
    struct job *jobs, **jobs_end; /* of its store, which does one after the other */
    uint64_t tick_us, store_us, spin_ms, broken_us;
    uint64_t stalled_until_us; /* its line */
    unsigned spins;
    uint32_t calls; /* chain of those under way to it; index + 1 */
    unsigned group;
    /* its clock: local = clock_local_us + (now - clock_since_us) * (1 + ppm / 10^6) */
    int clock_ppm;
    uint64_t clock_since_us, clock_local_us;
    int contacts[CONTACTS]; /* by index modulo CONTACTS; node + 1 */
    struct event *waiting;  /* what came during a pause, in order */
    size_t waiting_count, waiting_room;
    struct caller *callers; /* who has a connection to this one */
    size_t callers_count, callers_room;
    struct operation_memory examined; /* made with the first write that is examined */
};

struct link {
    int from, to;
    bool cut;
    uint64_t slow_us;
    uint64_t resent_us; /* until then TCP holds back what is sent */
};

struct host {
    struct host_config config;
    uint64_t now_us, sequence, digest, request_last, messages, rows_pulled;
    uint64_t random_network, random_store, random_nodes, random_test;
    struct node *nodes;
    int count, room;
    struct link *links;
    size_t links_count;
    bool grouped; /* somebody is in a group of its own */
    /* Events of the next WHEEL_MS wait in a wheel of buckets; only those of the present millisecond
     * and of the far future are in the heap. Most are time-outs of calls that end before. */
    struct bucket *wheel;
    uint64_t wheel_ms; /* the first bucket that is not yet in the heap */
    size_t wheel_count;
    struct due *heap;
    size_t heap_count, heap_room;
    struct event *events;
    size_t events_used, events_room;
    uint32_t *events_free; /* as many as are free */
    size_t events_free_count, events_free_room;
    struct slot *slots;
    uint32_t slots_used, slots_room, slots_free; /* free: a chain of index + 1 */
    struct host_call **clients;
    size_t clients_count;
    const struct parcel *reply; /* being delivered: WRITE_PULLED copies its rows */
    struct chord_actions actions;
    int asked; /* during a step: whose reply or silence it is about */
};

/* core_host.c */
uint64_t random_of(uint64_t *state);
uint64_t between(uint64_t *state, uint64_t low, uint64_t high); /* [low, high] */
void *memory(size_t bytes);                                     /* zeroed; never NULL */
void *copy_of(const void *bytes, size_t count);
/* Room for one more in a growing array; returns the array. */
void *grown(void *array, size_t count, size_t *room, size_t item_bytes);
void push(struct host *host, struct event event);
/* When the next event is due; UINT64_MAX: there is none. */
uint64_t next_us(struct host *host);
void event_free(struct event *event);
void job_add(struct node *node, struct job *job);
void jobs_free(struct node *node);
struct open *open_find(struct node *node, uint64_t id); /* NULL: it has ended */
void open_free(struct node *node, struct open *open);
void step(struct host *host, int index, struct chord_event *event);
uint64_t clock_ms(const struct host *host, const struct node *node);
/* When that clock shows `local_ms`; never before now. */
uint64_t clock_host_us(const struct host *host, const struct node *node, uint64_t local_ms);

/* core_host_network.c */
struct parcel *parcel_request(const struct chord_request *request);
struct parcel *parcel_response(const struct chord_response *response);
void parcel_free(struct parcel *parcel);
const struct chord_request *parcel_request_of(const struct parcel *parcel);
struct slot *call_new(struct host *host, int from, int to, uint32_t timeout_ms,
                      struct parcel *parcel);
void reply_new(struct host *host, int from, const struct open *open, struct parcel *parcel);
void deliver_request(struct host *host, struct event *event);
void deliver_reply(struct host *host, struct event *event);
void call_timeout(struct host *host, struct event *event);
bool call_open(const struct host *host, const struct event *event); /* its call has not ended */
void calls_broken(struct host *host, int node);
uint64_t network_held_us(const struct host *host, const struct event *event);
void network_forget(struct host *host, int node); /* its life has ended */

/* core_host_actions.c */
void act(struct host *host, int index, const struct chord_action *action);
void run_job(struct host *host, int index, struct job *job);
/* How many operations a forwarded batch finished; parcel NULL: no answer came. */
uint32_t forwarded(struct node *node, const struct slot *slot, const struct parcel *parcel);

#endif

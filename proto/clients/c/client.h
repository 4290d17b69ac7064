/* SPDX-License-Identifier: MIT */
/*
 * The inside of libchord-client, for its own files and for programs of this project that watch the
 * ring themselves (the gateway) or choose whom to ask (chordctl).
 */
#ifndef CHORD_CLIENT_INTERNAL_H
#define CHORD_CLIENT_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "chord/v1/admin.pb-c.h"
#include "chord/v1/kv.pb-c.h"
#include "chord_client.h"
#include "clock.h"
#include "hints.h"
#include "rpc.h"

enum {
    CLIENT_TIMEOUT_MS = 8000, /* a failed node is replaced within 3 s */
    CLIENT_ATTEMPT_MS = 2000,
    CLIENT_NOBODY_MS = 1000,
};

struct client_leader {
    struct ring_id lo, hi; /* its range is (lo, hi] */
    uint64_t epoch;        /* 0 = nobody */
    char address[CHORD_ADDRESS_SIZE];
};

/* Who is there to be asked. All are called from several threads. */
struct client_watch {
    /* A member, another one at each call if it can be. false: none is there, `why` may say more. */
    bool (*member)(void *context, char address[CHORD_ADDRESS_SIZE], char *why, size_t why_size);
    /* It could not do what it was asked; `silent`: it did not answer, or belongs to another ring.
     */
    void (*mistrust)(void *context, const char *address, bool silent);
    void (*learn)(void *context, const char *address); /* a member; NULL = ignored */
    bool (*full)(void *context); /* no disk of those that answer has room; NULL = never */
    /* Who leads the id, as far as is known. false: nobody, or not known now. NULL: nodes are asked.
     */
    bool (*leader)(void *context, const struct ring_id *id, struct client_leader *leader);
    void (*disconnected)(void *context, const char *address); /* a connection closed; or NULL */
    void *context;
};

struct client_setup {
    const struct rpc_key *key;
    struct client_watch watch;
    bool ring_of_first; /* the client belongs to the ring of the first answer */
    uint32_t timeout_ms, attempt_ms;
    uint32_t nobody_ms; /* while nobody is there, for how long that is looked at again */
    uint32_t probe_ms;  /* whether somebody listens at an address is looked at before it is asked,
                           for so long; 0 = it is not */
};

struct operation;
struct flows;

struct chord_client {
    struct rpc_client *rpc;
    struct client_watch watch;
    struct seeds *seeds; /* the watch, where no other one is given */
    struct hints *hints;
    struct flows *flows;
    atomic_uint m;             /* identifier bits; 0 = not known yet, and then no hints are used */
    atomic_uint m_asked;       /* operations until it was asked for */
    atomic_bool ring_of_first; /* ... and none has answered yet */
    atomic_bool stopping;
    pthread_rwlock_t sending; /* held by who sends; after a stop nobody does */
    uint32_t timeout_ms, attempt_ms, nobody_ms, probe_ms;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    atomic_size_t open;         /* operations under way, and calls of the client's own */
    struct operation **waiting; /* for their next attempt: a heap, the first due first */
    size_t waiting_count, waiting_capacity;
    bool flows_wait; /* for the thread, which sends them */
    bool closing;
    bool thread_runs;
    pthread_t thread;
};

/* A client with connections of its own. Copies the setup. 0, or a negative errno. */
int client_new(struct chord_client **client, const struct client_setup *setup);
/* The ring that its calls are meant for from now on. */
void client_set_ring(struct chord_client *client, const uint8_t ring_id[RPC_RING_ID_BYTES]);
/* One request to one node; `done` must only hand on (rpc.h). Not after chord_client_stop. */
void client_ask(struct chord_client *client, const char *address, enum rpc_method method,
                const ProtobufCMessage *request, uint32_t timeout_ms, rpc_reply_fn *done,
                void *context);
void client_set_m(struct chord_client *client, unsigned m);
/* What an answer tells of the ring. */
void client_hear(struct chord_client *client, const struct rpc_reply *reply);
void client_hear_hint(struct chord_client *client, const Chord__V1__OwnerHint *hint);
void client_hear_version(struct chord_client *client, const struct ring_id *id,
                         const Chord__V1__Version *version);
/* No answer, or one of another ring: nothing is sent there by a hint. */
void client_hear_silence(struct chord_client *client, const char *address);
/* The same of a Batch's answer, NULL: none, from `address`, empty: nobody was there. */
void client_hear_batch(struct chord_client *client, const struct rpc_reply *reply,
                       const Chord__V1__BatchResponse *response, const char *address);
bool client_is_silence(const struct rpc_reply *reply);
/* An answer of the other side; one that cannot be trusted is one too. */
bool client_is_answer(const struct rpc_reply *reply);
/* ProtobufCBinaryData is not const, and nothing writes to it. */
ProtobufCBinaryData client_bytes(const void *data, size_t size);
/* Where the key lies; false: not known yet. */
bool client_key_id(struct chord_client *client, const void *key, size_t key_size,
                   struct ring_id *id);

/* ---- client.c and operation.c ---- */

/* Sends it again at its due time. */
void client_wait(struct chord_client *client, struct operation *operation);
/* Its thread calls flows_send. */
void client_wake(struct chord_client *client);
uint64_t operation_due_ms(const struct operation *operation);
void operation_resume(struct operation *operation);
/* Each operation and call of its own, from its start to its end. false: no memory. */
bool client_opened(struct chord_client *client);
void client_closed(struct chord_client *client);
/* The second operation of a client asks for M. */
void client_learn_m(struct chord_client *client, const char *address);

/* ---- call.c ---- */

struct client_call {
    const char *address; /* NULL: any member, and another one until the time is over */
    bool patient;        /* the same for this one address; else it is asked once */
    enum rpc_method method;
    const ProtobufCMessage *request;
    uint32_t timeout_ms; /* 0 = the client's */
};
/* Waits. true: *reply has the response. Free it in either case. */
bool client_call(struct chord_client *client, const struct client_call *call,
                 struct chord_answer *answer, struct rpc_reply *reply);
/* Hears of the ring from this node or, for NULL, from any: its M, and further members. */
bool client_learn(struct chord_client *client, const char *address, uint32_t timeout_ms,
                  struct chord_answer *answer);
void client_hear_status(struct chord_client *client, const Chord__V1__StatusResponse *status);

/* ---- walk.c ---- */

/* A row points into the info. */
void client_row_take(struct chord_row *row, const Chord__V1__KeyInfo *info, bool values);

/* ---- seeds.c: the members a program was given, and those it heard of ---- */

struct seeds;
/* NULL: said. */
struct seeds *seeds_new(const char *members, uint32_t probe_ms, char *error, size_t error_size);
void seeds_free(struct seeds *seeds);
size_t seeds_count(struct seeds *seeds);
struct client_watch seeds_watch(struct seeds *seeds);
/* As client_new, with these members as its seeds, which are its watch. A sentence in `error`. */
int client_open(struct chord_client **client, const struct client_setup *setup, const char *members,
                char *error, size_t error_size);

/* ---- address.c ---- */

bool address_is_valid(const char *text); /* "host:port" */
/* A quick look whether something listens there: 0, or a positive errno. A dead host's port answers
 * at once, while an RPC would wait for a connection until its deadline. */
int address_probe(const char *address, uint32_t timeout_ms);

#endif

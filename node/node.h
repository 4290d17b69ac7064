/* SPDX-License-Identifier: MIT */
/*
 * The shell around the core: one thread that gives events and carries out actions. Everything else
 * (nng's threads, the store's thread, signals) only puts items into its queue.
 */
#ifndef NODE_NODE_H
#define NODE_NODE_H

#include "arena.h"
#include "chord.h"
#include "chord/v1/kv.pb-c.h"
#include "creation.h"
#include "host_id.h"
#include "notices.h"
#include "operations.h"
#include "readiness.h"
#include "rpc.h"
#include "store.h"

#include <pthread.h>
#include <stdatomic.h>

enum {
    NODE_RING_REQUESTS_MAX = 4096, /* ring and admin requests waiting */
    NODE_REQUESTS_EXTRA = 2048,    /* request slots beyond the channel size */
    NODE_KEY_BYTES_MAX = 1024,
    NODE_VALUE_BYTES_MAX = 1024 * 1024,
    EXAMINED_WRITES =
        4096,             /* remembered, with an op_id: what some dozens wrote of one key lately */
    SCRUB_BAD_MAX = 1024, /* bad rows remembered; with more the count stays there */
};

enum node_exit {
    NODE_EXIT_OK = 0,
    NODE_EXIT_OTHER = 1,
    NODE_EXIT_SETTING = 2,
    NODE_EXIT_LISTEN = 3,
    NODE_EXIT_DATA = 4,
    NODE_EXIT_REFUSED = 5,
    NODE_EXIT_DISK = 6,
    NODE_EXIT_COPY = 7,   /* the store runs elsewhere, or its file is not where it was made */
    NODE_EXIT_FORMAT = 8, /* the data is of a form that this program does not know */
};

struct settings {
    char listen[CHORD_ADDRESS_BYTES];
    const char *data;
    bool create, exit_with_parent;
    bool moved; /* the copied data is the only copy that is left: somebody says so */
    uint16_t seeds_count;
    struct chord_address seeds[CHORD_SEEDS_MAX];
    struct chord_parameters wanted; /* 0 = not given */
    uint32_t channel_size;
    struct host_id host;
    const char *page; /* where people see this node; "": not known */
    struct rpc_key key, also_key, client_key, reader_key; /* struct rpc_server_options */
};

/* One request that somebody waits for. */
struct request {
    uint64_t id;
    struct rpc_call *call; /* NULL once answered */
    enum rpc_method method;
    const ProtobufCMessage *message; /* lives as long as the call, or, once kept, the request */
    struct rpc_arena *kept;
    struct chord_request core;
    unsigned references; /* jobs that still point into it */
    bool ended;
    struct arena arena;
    struct chord_operation *operations;
    const Chord__V1__Operation **messages;
    struct operation_state *states;
    ProtobufCBinaryData *values; /* of reads, in `arena` */
    uint32_t operations_count;
    struct chord_id key_id; /* LOOKUP */
    struct store_job *page; /* rows of the answer */
};

/* What an own request needs when its answer comes. */
struct call_context {
    struct node *node;
    uint64_t call_id;
    enum chord_message_kind kind;
    struct chord_address to;
    uint64_t request_id; /* BATCH: whose operations were forwarded */
    uint32_t *indices;
    uint32_t indices_count;
};

enum item_kind {
    ITEM_REQUEST,
    ITEM_REPLY,
    ITEM_DISCONNECTED,
    ITEM_STORED,
    ITEM_STOP,
    ITEM_FAILURE,
    ITEM_RESUME,
    ITEM_DERIVED,
    ITEM_BACKUP_CHECKED,
};

struct item {
    struct item *next;
    enum item_kind kind;
    struct rpc_call *call;
    const ProtobufCMessage *message;
    struct rpc_reply reply;
    struct call_context *context;
    struct chord_address address;
    struct store_job *job;
    uint64_t request_id; /* to give again */
    struct {
        bool found;
        uint32_t salt;
        struct chord_id id;
    } derived;
};

struct queue {
    struct item *first, **last;
};

struct request_slot {
    uint32_t generation;
    struct request *request;
};

/* The background check of all rows. */
struct scrub {
    uint64_t next_ms;
    uint64_t pass_ms; /* when the pass over all rows goes on */
    bool open;        /* a job is under way */
    bool again;       /* it looks at a row known to be bad */
    bool has_after;
    uint8_t after[CHORD_ID_BYTES];
    unsigned turn;
    unsigned bad_count;
    uint8_t bad[SCRUB_BAD_MAX][CHORD_ID_BYTES]; /* hashes of the rows known to be bad */
};

/* The backup that is under way. */
struct node_backup {
    struct backup *made; /* NULL: none */
    struct request *request;
    uint64_t began_ms;
    bool checked_now; /* by the thread */
    pthread_t thread;
};

struct node {
    struct settings settings;
    struct chord *chord;
    struct chord_actions *actions;
    struct store *store;
    struct rpc_server *server;
    struct rpc_client *client;
    struct arena scratch; /* of one action */

    pthread_mutex_t mutex;
    pthread_cond_t wake;
    struct queue urgent, data; /* ring, admin and outcomes first; guarded by mutex */
    bool rests;                /* the loop waits to be woken; guarded by mutex */
    unsigned ring_requests;    /* guarded by mutex */

    struct request_slot *requests;
    uint32_t requests_max;
    struct queue resumes;                  /* core thread only: requests to give again */
    const ProtobufCMessage *reply_message; /* of the REPLY being handled */
    uint32_t seeds_told;                   /* bit i: why seed i cannot be joined (join_words.c) */

    struct notices notices;
    struct creation creation;
    struct readiness readiness;

    uint8_t store_id[CHORD_STORE_ID_BYTES];
    uint64_t started_ms;
    uint64_t kill_at_ms; /* 0 = not killed */
    bool stopping;
    atomic_bool running; /* the loop is near; before, a library may hang at its start */
    enum node_exit exit_code;
    unsigned m;    /* last known */
    bool has_ring; /* what envelopes say */
    uint8_t ring_id[CHORD_RING_ID_BYTES];
    struct store_job *counted; /* the last count of keys; NULL: none yet */
    uint64_t counted_ms;
    bool counting, count_again;
    unsigned listings; /* under way in the store */
    struct scrub scrub;
    struct node_backup backup;
    struct operation_memory examined; /* into the next */
    struct operation_past examined_writes[EXAMINED_WRITES];
};

/* node.c */
uint64_t node_now_ms(void);
uint64_t node_unix_ms(void); /* for expiry and for people; nothing else asks it */
void node_event(struct node *node, struct chord_event *event); /* step and carry out */
void node_wait(struct node *node, uint64_t deadline_ms);       /* and handles what comes first */
void node_enqueue(struct node *node, struct item *item, bool urgent);
struct item *item_new(enum item_kind kind);
void node_resume(struct node *node, uint64_t request_id); /* after this step */
void node_submit(struct node *node, struct store_job *job, struct request *owner);
void node_loop(struct node *node); /* until it stops */

/* start.c */
enum node_exit node_exit_of_store(enum store_error error); /* of a store that did not open */
enum node_exit node_run(const struct settings *settings);

/* request.c */
struct request *request_new(struct node *node, struct rpc_call *call,
                            const ProtobufCMessage *message); /* NULL: no slot */
struct request *request_find(struct node *node, uint64_t id);
void request_end(struct node *node, struct request *request);
void request_unref(struct node *node, struct request *request);

/* actions.c */
void actions_run(struct node *node);
void action_replied(struct node *node, struct item *item);
void action_stored(struct node *node, struct store_job *job);

/* kv.c: batches as seen from outside */
bool kv_request(struct node *node, struct request *request); /* false: refused, answered */
void kv_reply(struct node *node, struct request *request, const struct chord_response *response);
struct store_row *kv_rows(struct node *node, struct request *request,
                          const struct chord_slice *slice, bool writes, struct arena *arena,
                          size_t *count);
struct operation_row kv_row(const struct store_row *row);
/* kv_examine.c: the keys that must be read before the slice's writes; how many writes are left. */
struct store_row *kv_examine_rows(struct node *node, struct request *request,
                                  const struct chord_slice *slice, struct arena *arena,
                                  size_t *count);
uint64_t kv_examined(struct node *node, struct request *request, const struct store_job *job);
void kv_stored(struct node *node, struct request *request, const struct store_job *job,
               bool writes);
void kv_finished(struct node *node, struct request *request, const struct chord_slice *slice);
ProtobufCMessage *kv_forward(struct node *node, struct request *request,
                             const struct chord_slice *slice, const struct chord_request *core,
                             struct call_context *context);
/* Merges the results; returns how many are final. response NULL: no answer. */
void kv_unsent(struct node *node, const struct call_context *context);
uint32_t kv_forwarded(struct node *node, const struct call_context *context,
                      const Chord__V1__BatchResponse *response);

/* admin.c */
void admin_request(struct node *node, struct request *request);
void admin_stored(struct node *node, struct request *request, struct store_job *job);
void admin_count(struct node *node); /* anew, since the ranges are others now */
bool admin_counted(struct node *node, struct store_job *job); /* true: it keeps the job */

/* admin_backup.c */
void backup_copied(struct node *node, const struct store_job *job);
void backup_checked(struct node *node);
void backup_stop(struct node *node);  /* before the store is closed */
void backup_close(struct node *node); /* and after */

/* scrub.c */
void scrub_tick(struct node *node);
void scrub_done(struct node *node, const struct store_job *job);
void scrub_look(struct node *node, const struct store_job *job); /* at what a job has read */

/* services.c */
extern ProtobufCService *const node_services[];
extern const size_t node_services_count;
void services_attach(struct node *node);

#endif

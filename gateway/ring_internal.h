/* SPDX-License-Identifier: MIT */
/* What the files of the ring view share; only they include it. The lock is held in all of it. */
#ifndef GATEWAY_RING_INTERNAL_H
#define GATEWAY_RING_INTERNAL_H

#include <pthread.h>

#include "chord/v1/admin.pb-c.h"
#include "ring_verdict.h"
#include "ring_view.h"

struct view_node {
    char address[SETTINGS_ADDRESS_SIZE];
    char id[ID_HEX_SIZE];
    bool heard; /* it was a node once: it has answered, now or before our restart */
    enum view_state state;
    bool fell;         /* it was down since it was last a member */
    bool departed;     /* it left; it may stop now and nobody misses it */
    uint64_t since_ms; /* monotonic: in this state */
    uint64_t learned_ms;
    uint64_t referred_ms; /* somebody last named it */
    unsigned failures;    /* in a row */
    bool lost;            /* its connection closed and it has not answered since */
    bool asking;
    uint64_t ask_at_ms;
    struct rpc_reply reply;                  /* owns `status` */
    const Chord__V1__StatusResponse *status; /* the newest answer, kept when it goes down */
    double cpu_percent;
    bool log_asking;
    uint64_t log_sequence; /* the newest line that was passed on */
    json_t *log;           /* of a local node its newest lines, for when it is down; NULL: none */
    unsigned reports;      /* how many nodes name it, itself included */
};

/* The judgement over the whole ring. */
struct view_health {
    const char *state; /* "healthy", "healing", "forming", "degraded" */
    char reason[512];
    char warning[256];
    struct ring_verdict verdict; /* its survival points into the nodes' answers */
    bool answering;              /* at least one node answers */
};

enum view_answer_kind { VIEW_ANSWER_STATUS, VIEW_ANSWER_LOG, VIEW_ANSWER_DISCONNECT };

struct view_answer {
    struct view_answer *next;
    struct rpc_reply reply;
    enum view_answer_kind kind;
    char address[SETTINGS_ADDRESS_SIZE];
};

struct ring_view {
    struct app *app;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_t thread;
    bool thread_runs;
    bool stopping;
    /* Sorted by address. */
    struct view_node *nodes[VIEW_NODES_MAX];
    size_t nodes_count;
    struct view_parameters parameters;
    bool ring_known; /* the ring that the gateway belongs to (ring_of.c) */
    uint8_t ring_id[16];
    struct view_health health;
    uint64_t leaderless_since_ms; /* 0 = every key has a leader */
    struct {
        uint64_t looked_ms, all, idle; /* of /proc/stat */
        double percent;
    } machine;
    unsigned alive_turn;
    uint64_t published_ms;
    uint64_t published_hash;
    uint64_t started_ms;
    bool first_round_done;
    /* Answers wait here; the callbacks take only this lock. */
    pthread_mutex_t inbox_lock;
    struct view_answer *inbox;
};

struct view_node *view_node_find(struct ring_view *view, const char *address);
struct view_node *view_node_add(struct ring_view *view, const char *address, uint64_t now);
int view_slot(const struct ring_view *view, const char *address);
bool view_node_alive(const struct view_node *node);

/* ring_update.c: what an answer changes. */
/* A former name of a node's host still leads to it: it is the node at the address that it gives. */
bool view_renamed(struct ring_view *view, const struct view_node *node,
                  const struct rpc_reply *reply, uint64_t now);
void view_status_apply(struct ring_view *view, struct view_node *node, struct rpc_reply *reply,
                       uint64_t now);
void view_status_failed(struct ring_view *view, struct view_node *node,
                        const struct rpc_reply *reply, uint64_t now);
void view_log_apply(struct ring_view *view, struct view_node *node, struct rpc_reply *reply);

/* ring_of.c: which ring the gateway belongs to. app->ring is open. */
void view_ring_restore(struct ring_view *view);
/* False: the node that said this is in another ring. */
bool view_ring_is_ours(struct ring_view *view, const Chord__V1__StatusResponse *status);
/* True: all nodes of this host have gone to another ring, and the gateway with them; what was known
 * of the others is of no use any more. */
bool view_ring_follow(struct ring_view *view);

/* ring_state.c: the comparison with the ideal ring. */
void view_health_compute(struct ring_view *view, uint64_t now);

/* ring_json.c */
json_t *view_ring_json(struct ring_view *view, uint64_t now);
/* What counts as a change; processor and memory do not. */
uint64_t view_ring_hash(struct ring_view *view);

#endif

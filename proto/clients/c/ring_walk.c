/* SPDX-License-Identifier: MIT */
/*
 * The walk round the ring by AdminService.Status: whoever an answer names is asked next, all of one
 * round at the same time.
 */
#include "ring_walk.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

enum {
    WALK_FROM_MAX = 4,
    WALK_CALL_MS = 2000,
    WALK_PROBE_MS = 500,
    WALK_OPEN_MAX = 64,
    CLOCK_TRIPS = 3
};

struct walk_wait {
    pthread_mutex_t lock;
    pthread_cond_t answered;
    size_t open;
};

struct walk_call {
    struct walk_wait *wait;
    struct rpc_reply reply;
};

/* On a thread of the RPC runtime. */
static void walk_answered(void *context, struct rpc_reply *reply) {
    struct walk_call *call = context;
    struct walk_wait *wait = call->wait; /* the call may be freed once the lock is open */
    pthread_mutex_lock(&wait->lock);
    call->reply = *reply;
    wait->open--;
    pthread_cond_signal(&wait->answered);
    pthread_mutex_unlock(&wait->lock);
}

static void walk_add(struct ring_walk *walk, const char *address, ProtobufCBinaryData id) {
    if (address == NULL || !address_is_valid(address)) {
        return;
    }
    for (size_t i = 0; i < walk->nodes_count; i++) {
        if (strcmp(walk->nodes[i].address, address) == 0) {
            if (walk->nodes[i].id_told.len == 0) {
                walk->nodes[i].id_told = id;
            }
            return;
        }
    }
    if (walk->nodes_count == RING_WALK_NODES_MAX) {
        walk->cut = true;
        return;
    }
    struct ring_node *node = &walk->nodes[walk->nodes_count++];
    memcpy(node->address, address, strlen(address) + 1);
    node->id_told = id;
}

static void walk_add_peer(struct ring_walk *walk, const Chord__V1__Peer *peer) {
    if (peer != NULL) {
        walk_add(walk, peer->address, peer->id);
    }
}

/* Everybody that an answer names. */
static void walk_harvest(struct ring_walk *walk, const Chord__V1__StatusResponse *status) {
    walk_add_peer(walk, status->predecessor);
    for (size_t i = 0; i < status->n_successors; i++) {
        walk_add_peer(walk, status->successors[i]);
    }
    for (size_t i = 0; i < status->n_fingers; i++) {
        walk_add_peer(walk, status->fingers[i]->node);
    }
    for (size_t i = 0; i < status->n_ranges; i++) {
        const Chord__V1__View *view = status->ranges[i]->view;
        for (size_t k = 0; view != NULL && k < view->n_members; k++) {
            walk_add(walk, view->members[k]->address, (ProtobufCBinaryData){0});
        }
    }
}

/* A node may be known to us as localhost and to the ring as 127.0.0.1. */
static void node_rename(struct ring_walk *walk, struct ring_node *node, const char *address) {
    for (size_t i = 0; i < walk->nodes_count && !node->alias; i++) {
        node->alias = &walk->nodes[i] != node && strcmp(walk->nodes[i].address, address) == 0;
    }
    if (!node->alias) {
        memcpy(node->address, address, strlen(address) + 1);
    }
}

static void node_take(struct ring_walk *walk, struct ring_node *node,
                      const struct rpc_reply *reply) {
    const Chord__V1__StatusResponse *status =
        (const Chord__V1__StatusResponse *)(const void *)reply->response;
    node->reply = *reply;
    if (reply->code != CHORD__V1__CODE__CODE_OK || status == NULL || status->self == NULL) {
        return;
    }
    node->status = status;
    if (strcmp(status->self->address, node->address) != 0 &&
        address_is_valid(status->self->address)) {
        node_rename(walk, node, status->self->address);
    }
    walk_harvest(walk, status);
}

/* Asks at most WALK_OPEN_MAX nodes from *at on, at the same time. */
static void walk_round(struct chord_client *client, struct ring_walk *walk, uint32_t timeout_ms,
                       size_t *at) {
    struct walk_call calls[WALK_OPEN_MAX];
    size_t of[WALK_OPEN_MAX];
    size_t count = 0;
    struct walk_wait wait = {.lock = PTHREAD_MUTEX_INITIALIZER,
                             .answered = PTHREAD_COND_INITIALIZER};
    Chord__V1__StatusRequest request = CHORD__V1__STATUS_REQUEST__INIT;
    for (; *at < walk->nodes_count && count < WALK_OPEN_MAX; (*at)++) {
        struct ring_node *node = &walk->nodes[*at];
        int error = address_probe(node->address, WALK_PROBE_MS);
        if (error != 0) {
            snprintf(node->reply.message, sizeof node->reply.message, "%s: %s", node->address,
                     strerror(error));
            node->reply.local = node->reply.unsent = true;
            node->reply.code = CHORD__V1__CODE__CODE_UNAVAILABLE;
            continue;
        }
        pthread_mutex_lock(&wait.lock);
        wait.open++;
        pthread_mutex_unlock(&wait.lock);
        calls[count].wait = &wait;
        of[count] = *at;
        rpc_client_call(client->rpc, node->address, RPC_ADMIN_STATUS, &request.base, timeout_ms,
                        walk_answered, &calls[count]);
        count++;
    }
    pthread_mutex_lock(&wait.lock);
    while (wait.open > 0) {
        pthread_cond_wait(&wait.answered, &wait.lock);
    }
    pthread_mutex_unlock(&wait.lock);
    for (size_t i = 0; i < count; i++) {
        node_take(walk, &walk->nodes[of[i]], &calls[i].reply);
    }
}

static int compare_nodes(const void *a, const void *b) {
    const struct ring_node *x = a;
    const struct ring_node *y = b;
    int order = strcmp(x->id, y->id); /* same number of digits; "?" before them */
    return order != 0 ? order : strcmp(x->address, y->address);
}

static void walk_drop_aliases(struct ring_walk *walk) {
    size_t kept = 0;
    for (size_t i = 0; i < walk->nodes_count; i++) {
        if (walk->nodes[i].alias) {
            rpc_reply_free(&walk->nodes[i].reply);
        } else {
            walk->nodes[kept++] = walk->nodes[i];
        }
    }
    walk->nodes_count = kept;
}

static void walk_sort(struct ring_walk *walk) {
    for (size_t i = 0; i < walk->nodes_count && walk->m == 0; i++) {
        const Chord__V1__StatusResponse *status = walk->nodes[i].status;
        walk->m = status != NULL && status->parameters != NULL ? status->parameters->m : 0;
    }
    for (size_t i = 0; i < walk->nodes_count; i++) {
        struct ring_node *node = &walk->nodes[i];
        ring_id_text(node->id, node->status != NULL ? node->status->self->id : node->id_told,
                     walk->m);
    }
    walk_drop_aliases(walk); /* ids told live in the answers: after their texts are made */
    qsort(walk->nodes, walk->nodes_count, sizeof walk->nodes[0], compare_nodes);
}

/* A few members to begin with, since one of them may not answer. */
static void walk_begin(struct chord_client *client, struct ring_walk *walk) {
    char address[CHORD_ADDRESS_SIZE];
    snprintf(walk->none.message, sizeof walk->none.message, "no node of the ring answers");
    for (size_t tried = 0; tried < WALK_FROM_MAX && walk->nodes != NULL; tried++) {
        if (!client->watch.member(client->watch.context, address, walk->none.message,
                                  sizeof walk->none.message)) {
            break;
        }
        walk_add(walk, address, (ProtobufCBinaryData){0});
        client->watch.mistrust(client->watch.context, address, false); /* another one, then */
    }
}

static void none_take(struct ring_walk *walk) {
    const struct ring_node *first = walk->nodes_count > 0 ? &walk->nodes[0] : NULL;
    bool empty = first != NULL && first->reply.code == CHORD__V1__CODE__CODE_OK;
    walk->none.nobody = first == NULL || !client_is_answer(&first->reply);
    if (first != NULL) {
        walk->none.answered = !walk->none.nobody;
        walk->none.code = empty ? CHORD_CODE_INTERNAL : (int)first->reply.code;
        memcpy(walk->none.address, first->address, sizeof walk->none.address);
        snprintf(walk->none.message, sizeof walk->none.message, "%s",
                 empty ? "its answer is empty" : first->reply.message);
    }
}

bool ring_walk(struct chord_client *client, struct ring_walk *walk) {
    uint32_t wait_ms = client->timeout_ms < WALK_CALL_MS ? client->timeout_ms : WALK_CALL_MS;
    *walk = (struct ring_walk){.nodes = calloc(RING_WALK_NODES_MAX, sizeof walk->nodes[0])};
    walk_begin(client, walk);
    for (size_t at = 0; at < walk->nodes_count;) {
        walk_round(client, walk, wait_ms, &at);
    }
    for (size_t i = 0; i < walk->nodes_count; i++) {
        if (walk->nodes[i].status != NULL) {
            walk_sort(walk);
            return true;
        }
    }
    none_take(walk);
    return false;
}

void ring_walk_judge(const struct ring_walk *walk, struct ring_verdict *verdict) {
    struct survival_node *nodes = calloc(walk->nodes_count + 1, sizeof *nodes);
    *verdict = (struct ring_verdict){.fault = RING_NO_MEMORY, .text = "there is no memory"};
    for (size_t i = 0; nodes != NULL && i < walk->nodes_count; i++) {
        const struct ring_node *node = &walk->nodes[i];
        nodes[i] = (struct survival_node){node->address, node->status != NULL, node->status};
    }
    if (nodes != NULL) {
        ring_judge(nodes, walk->nodes_count, walk->m, verdict);
    }
    if (walk->cut) {
        verdict->fault = RING_NO_MEMORY;
        snprintf(verdict->text, sizeof verdict->text,
                 "the ring has more than %d nodes; only these were looked at", RING_WALK_NODES_MAX);
    }
    free(nodes);
}

static double clock_ms(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec * 1000 + (double)now.tv_nsec / 1000000;
}

void ring_walk_clocks(struct chord_client *client, struct ring_walk *walk) {
    Chord__V1__StatusRequest request = CHORD__V1__STATUS_REQUEST__INIT;
    for (size_t i = 0; i < walk->nodes_count; i++) {
        struct ring_node *node = &walk->nodes[i];
        /* The shortest of a few trips says most. */
        for (unsigned turn = 0; ring_is_member(node->status) && turn < CLOCK_TRIPS; turn++) {
            struct rpc_reply reply;
            double wall = clock_ms(CLOCK_REALTIME), began = clock_ms(CLOCK_MONOTONIC);
            rpc_client_call_wait(client->rpc, node->address, RPC_ADMIN_STATUS, &request.base,
                                 WALK_CALL_MS, &reply);
            double trip = clock_ms(CLOCK_MONOTONIC) - began;
            const Chord__V1__StatusResponse *status =
                (const Chord__V1__StatusResponse *)(const void *)reply.response;
            if (reply.code == CHORD__V1__CODE__CODE_OK && status != NULL && status->unix_ms != 0 &&
                (!node->clock_known || trip < node->clock_trip_ms)) {
                node->clock_known = true;
                node->clock_trip_ms = trip;
                node->clock_ahead_ms = (double)status->unix_ms - (wall + trip / 2);
            }
            rpc_reply_free(&reply);
        }
    }
}

void ring_walk_free(struct ring_walk *walk) {
    for (size_t i = 0; i < walk->nodes_count; i++) {
        rpc_reply_free(&walk->nodes[i].reply);
    }
    free(walk->nodes);
    walk->nodes = NULL;
    walk->nodes_count = 0;
}

const struct ring_node *ring_walk_find_id(const struct ring_walk *walk, const char *id) {
    for (size_t i = 0; i < walk->nodes_count; i++) {
        if (strcasecmp(walk->nodes[i].id, id) == 0) {
            return &walk->nodes[i];
        }
    }
    return NULL;
}

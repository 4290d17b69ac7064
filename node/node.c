/* SPDX-License-Identifier: MIT */
/*
 * The loop: take an item, make an event, step the core, carry out its actions; wait until the next
 * item or the core's deadline.
 */
#include "node.h"

#include "log.h"
#include "wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

_Noreturn void chord_assert_failed(const char *file, int line, const char *condition) {
    log_write(LOG_ERROR, "assert", "%s:%d: %s", file, line, condition);
    abort();
}

uint64_t node_unix_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

uint64_t node_now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---- the queue ---- */

struct item *item_new(enum item_kind kind) {
    struct item *item = calloc(1, sizeof *item);
    if (item == NULL) {
        fputs("chord-node: out of memory\n", stderr);
        abort();
    }
    item->kind = kind;
    return item;
}

static void queue_push(struct queue *queue, struct item *item) {
    item->next = NULL;
    *queue->last = item;
    queue->last = &item->next;
}

static struct item *queue_pop(struct queue *queue) {
    struct item *item = queue->first;
    if (item != NULL) {
        queue->first = item->next;
        if (queue->first == NULL) {
            queue->last = &queue->first;
        }
    }
    return item;
}

void node_enqueue(struct node *node, struct item *item, bool urgent) {
    pthread_mutex_lock(&node->mutex);
    queue_push(urgent ? &node->urgent : &node->data, item);
    bool rests = node->rests;
    node->rests = false;
    pthread_mutex_unlock(&node->mutex);
    if (rests) { /* once, and not into a lock that is held */
        pthread_cond_signal(&node->wake);
    }
}

/* NULL: the deadline came first. */
static struct item *take_item(struct node *node, uint64_t deadline_ms) {
    pthread_mutex_lock(&node->mutex);
    while (node->urgent.first == NULL && node->data.first == NULL && node_now_ms() < deadline_ms) {
        uint64_t until_ms = deadline_ms > node_now_ms() + 1000 ? node_now_ms() + 1000 : deadline_ms;
        struct timespec until = {(time_t)(until_ms / 1000), (long)(until_ms % 1000) * 1000000};
        node->rests = true;
        pthread_cond_timedwait(&node->wake, &node->mutex, &until);
    }
    node->rests = false;
    struct item *item = queue_pop(&node->urgent);
    if (item == NULL) {
        item = queue_pop(&node->data);
    }
    pthread_mutex_unlock(&node->mutex);
    return item;
}

/* ---- the store ---- */

void node_submit(struct node *node, struct store_job *job, struct request *owner) {
    job->owner = owner;
    if (owner != NULL) {
        owner->references++;
    }
    store_submit(node->store, job);
}

/* ---- events ---- */

/* Envelopes say which ring they are of. */
static void learn_ring(struct node *node) {
    const uint8_t *ring_id = chord_ring_id(node->chord);
    bool same = ring_id == NULL
                    ? !node->has_ring
                    : node->has_ring && memcmp(ring_id, node->ring_id, sizeof node->ring_id) == 0;
    if (same) {
        return;
    }
    node->has_ring = ring_id != NULL;
    if (ring_id != NULL) {
        memcpy(node->ring_id, ring_id, sizeof node->ring_id);
    }
    rpc_server_set_ring(node->server, ring_id);
    rpc_client_set_ring(node->client, ring_id);
}

static void learn_m(struct node *node) {
    struct chord_status status;
    if (node->m != 0) {
        return;
    }
    chord_read_status(node->chord, &status);
    if (status.parameters.m != 0) {
        node->m = status.parameters.m;
        store_set_m(node->store, node->m);
    }
}

/* Debug builds stop at the first broken rule; the others tell whoever asks for the status. */
static void check_invariant(const struct node *node) {
#ifndef NDEBUG
    const char *broken = chord_invariant(node->chord);
    if (broken != NULL) {
        log_write(LOG_ERROR, "invariant", "%s", broken);
        abort();
    }
#else
    (void)node;
#endif
}

void node_event(struct node *node, struct chord_event *event) {
    event->now_ms = node_now_ms();
    chord_step(node->chord, event, node->actions);
    check_invariant(node);
    learn_m(node);
    learn_ring(node);
    actions_run(node);
}

static void give_request(struct node *node, struct request *request) {
    struct chord_event event = {.kind = CHORD_EVENT_REQUEST};
    event.request.request_id = request->id;
    event.request.timeout_ms = request->call != NULL ? rpc_call_remaining_ms(request->call) : 0;
    event.request.request = &request->core;
    event.request.operations = request->operations;
    event.request.operations_count = request->operations_count;
    node_event(node, &event);
}

static void reject(struct request *request, Chord__V1__Code code, const char *message,
                   uint32_t retry_after_ms) {
    rpc_call_reply(request->call, code, message, retry_after_ms, NULL);
    request->call = NULL;
}

/* False: it is answered already, waits for the store, or is refused. */
static bool prepare(struct node *node, struct request *request) {
    enum chord_message_kind kind;
    const char *error = NULL;
    if (node->creation.listens) {
        if (wire_kind(request->method, &kind) &&
            wire_decode_request(kind, request->message, &request->core, &error)) {
            creation_heard(node, &request->core);
        }
        reject(request, CHORD__V1__CODE__CODE_UNAVAILABLE, "the node is starting", 500);
        request_end(node, request);
        return false;
    }
    if (request->method >= RPC_KV_BATCH && request->method <= RPC_KV_LOOKUP) {
        return kv_request(node, request);
    }
    if (!wire_kind(request->method, &kind)) {
        admin_request(node, request);
        return false;
    }
    if (!wire_decode_request(kind, request->message, &request->core, &error)) {
        reject(request, CHORD__V1__CODE__CODE_INVALID_ARGUMENT, error, 0);
        request_end(node, request);
        return false;
    }
    notices_request(node, &request->core);
    return true;
}

static void handle_request(struct node *node, struct item *item) {
    rpc_call_taken(item->call);
    if (!rpc_method_is_data(rpc_call_method(item->call))) {
        pthread_mutex_lock(&node->mutex);
        node->ring_requests--;
        pthread_mutex_unlock(&node->mutex);
    }
    if (rpc_call_expired(item->call)) {
        rpc_call_reply(item->call, CHORD__V1__CODE__CODE_DEADLINE_EXCEEDED, NULL, 0, NULL);
        return;
    }
    struct request *request = request_new(node, item->call, item->message);
    if (request == NULL) {
        rpc_call_reply(item->call, CHORD__V1__CODE__CODE_RESOURCE_EXHAUSTED,
                       "too many open requests", 50, NULL);
        return;
    }
    if (prepare(node, request)) {
        give_request(node, request);
    }
}

static void handle_item(struct node *node, struct item *item) {
    struct chord_event event = {0};
    switch (item->kind) {
    case ITEM_REQUEST:
        handle_request(node, item);
        break;
    case ITEM_REPLY:
        action_replied(node, item);
        break;
    case ITEM_DISCONNECTED:
        event.kind = CHORD_EVENT_DISCONNECTED;
        event.disconnected = item->address;
        node_event(node, &event);
        break;
    case ITEM_STORED:
        action_stored(node, item->job);
        break;
    case ITEM_STOP:
        node->stopping = true;
        break;
    case ITEM_FAILURE:
        node->stopping = true;
        node->exit_code = NODE_EXIT_DISK;
        break;
    case ITEM_DERIVED:
        event.kind = CHORD_EVENT_ID_DERIVED;
        event.id_derived.found = item->derived.found;
        event.id_derived.salt = item->derived.salt;
        event.id_derived.id = item->derived.id;
        node_event(node, &event);
        break;
    case ITEM_BACKUP_CHECKED:
        backup_checked(node);
        break;
    case ITEM_RESUME:
        break;
    }
    free(item);
}

void node_wait(struct node *node, uint64_t deadline_ms) {
    struct item *item = take_item(node, deadline_ms);
    if (item != NULL) {
        handle_item(node, item);
    }
}

void node_resume(struct node *node, uint64_t request_id) {
    struct item *item = item_new(ITEM_RESUME);
    item->request_id = request_id;
    queue_push(&node->resumes, item);
}

/* Requests that the core wants again, after the step that asked. */
static void run_resumes(struct node *node) {
    struct item *item;
    while ((item = queue_pop(&node->resumes)) != NULL) {
        struct request *request = request_find(node, item->request_id);
        free(item);
        if (request != NULL) {
            give_request(node, request);
        }
    }
}

void node_loop(struct node *node) {
    while (!node->stopping) {
        uint64_t deadline_ms = chord_deadline(node->chord);
        if (node->kill_at_ms != 0 && node->kill_at_ms < deadline_ms) {
            deadline_ms = node->kill_at_ms;
        }
        deadline_ms = node->scrub.next_ms < deadline_ms && !node->scrub.open ? node->scrub.next_ms
                                                                             : deadline_ms;
        uint64_t tell_ms = readiness_next_ms(node);
        deadline_ms = tell_ms < deadline_ms ? tell_ms : deadline_ms;
        node_wait(node, deadline_ms);
        run_resumes(node);
        scrub_tick(node);
        readiness_tick(node);
        if (node->kill_at_ms != 0 && node->kill_at_ms <= node_now_ms()) {
            _exit(137); /* KYS: nothing is handed over, as if the machine had died */
        }
        if (chord_deadline(node->chord) <= node_now_ms()) {
            struct chord_event event = {.kind = CHORD_EVENT_TICK};
            node_event(node, &event);
            run_resumes(node);
        }
    }
}

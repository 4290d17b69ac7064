/* SPDX-License-Identifier: MIT */
/*
 * Coalescing: operations that wait at one moment for the same leader travel as one Batch. While few
 * calls are out to that leader an operation is sent at once; else it waits until one of them comes
 * back. No timer: the busier the leader, the larger the batches. Where many operations are under
 * way, what can be sent at once is sent by the client's thread: until it runs, others join.
 *
 * A flow is what may travel together: operations on one range, for its leader, either reads, stale
 * reads or changes, so that none waits for what another kind needs. An operation that is large, not
 * well formed, or was tried before travels alone, and so does a change of a key of which another
 * one is under way: it neither delays nor fails others.
 */
#include <stdlib.h>
#include <string.h>

#include "operation.h"

enum {
    OPERATIONS_MAX = 128,
    BYTES_MAX = 256 * 1024, /* keys and values of a call */
    SMALL_BYTES = 16 * 1024,
    BUCKETS = 256,
    DIRECT_MAX = 8, /* operations of a client: with more, its thread sends */
};

enum flow_kind { FLOW_READ, FLOW_READ_STALE, FLOW_CHANGE };

/* Calls that are out at the same time: a change waits for disks, and the next ones can be laid out
 * meanwhile. */
static const unsigned calls_open_max[] = {
    [FLOW_READ] = 1, [FLOW_READ_STALE] = 1, [FLOW_CHANGE] = 2};

struct flow {
    struct flow *next; /* in its bucket */
    char address[CHORD_ADDRESS_SIZE];
    struct ring_id range_hi;
    enum flow_kind kind;
    unsigned calls_open;
    bool due;              /* one of these calls is the client's thread's to send */
    struct flow *next_due; /* ... and the next flow's of which that is so */
    struct call *out;
    struct operation *first, **last; /* waiting; only while all calls are out, or due */
};

struct flows {
    pthread_mutex_t lock;
    struct flow *buckets[BUCKETS];
    struct flow *first_due;
};

struct call {
    struct call *next; /* of those that are out */
    struct chord_client *client;
    struct flow *flow; /* NULL: an operation alone */
    size_t count;
    struct operation *operations[];
};

struct flows *flows_new(void) {
    struct flows *flows = calloc(1, sizeof *flows);
    if (flows != NULL) {
        pthread_mutex_init(&flows->lock, NULL);
    }
    return flows;
}

void flows_free(struct flows *flows) {
    if (flows != NULL) {
        pthread_mutex_destroy(&flows->lock);
        free(flows);
    }
}

/* ---- which flow ---- */

static enum flow_kind kind_of(const struct operation *operation) {
    return operation->asked.kind != CHORD_GET ? FLOW_CHANGE
           : operation->asked.stale           ? FLOW_READ_STALE
                                              : FLOW_READ;
}

/* For an attempt as long as any. */
static bool has_time(const struct operation *operation) {
    return operation_timeout_ms(operation) == operation->client->attempt_ms;
}

/* A node refuses a whole batch for one operation that is not well formed. */
static bool is_sociable(const struct operation *operation) {
    const struct chord_operation *asked = &operation->asked;
    return operation->hinted && !operation->alone && asked->value_size <= SMALL_BYTES &&
           !(asked->if_absent && asked->if_match) && has_time(operation);
}

static struct flow **flow_bucket(struct flows *flows, const struct ring_id *range_hi,
                                 enum flow_kind kind) {
    uint32_t hash = 2166136261u ^ (uint32_t)kind;
    for (size_t i = 0; i < ID_BYTES; i++) {
        hash = (hash ^ range_hi->bytes[i]) * 16777619u;
    }
    return &flows->buckets[(hash ^ hash >> 16) % BUCKETS];
}

/* NULL: no memory. With the lock held. */
static struct flow *flow_get(struct flows *flows, const struct operation *operation) {
    enum flow_kind kind = kind_of(operation);
    struct flow **bucket = flow_bucket(flows, &operation->range_hi, kind);
    for (struct flow *flow = *bucket; flow != NULL; flow = flow->next) {
        if (flow->kind == kind && id_compare(&flow->range_hi, &operation->range_hi) == 0 &&
            strcmp(flow->address, operation->result.address) == 0) {
            return flow;
        }
    }
    struct flow *flow = calloc(1, sizeof *flow);
    if (flow != NULL) {
        memcpy(flow->address, operation->result.address, sizeof flow->address);
        flow->range_hi = operation->range_hi;
        flow->kind = kind;
        flow->last = &flow->first;
        flow->next = *bucket;
        *bucket = flow;
    }
    return flow;
}

static void flow_drop(struct flows *flows, struct flow *flow) {
    struct flow **at = flow_bucket(flows, &flow->range_hi, flow->kind);
    while (*at != flow) {
        at = &(*at)->next;
    }
    *at = flow->next;
    free(flow);
}

/* ---- a call ---- */

static void call_send(struct call *call);

static bool same_key(const struct operation *a, const struct operation *b) {
    return a->asked.key_size == b->asked.key_size &&
           memcmp(a->asked.key, b->asked.key, a->asked.key_size) == 0;
}

/* Changes of one key take turns at their leader. One that waits there would keep its whole batch,
 * and one that waits here would lose its turn to those who do not. With the lock held. */
static bool flow_has_key(const struct flow *flow, const struct operation *wanted) {
    for (const struct operation *at = flow->first; at != NULL; at = at->next) {
        if (same_key(at, wanted)) {
            return true;
        }
    }
    for (const struct call *call = flow->out; call != NULL; call = call->next) {
        for (size_t i = 0; i < call->count; i++) {
            if (same_key(call->operations[i], wanted)) {
                return true;
            }
        }
    }
    return false;
}

static void call_enter(struct flow *flow, struct call *call) {
    call->next = flow->out;
    flow->out = call;
}

static void call_leave(struct flow *flow, const struct call *call) {
    struct call **at = &flow->out;
    while (*at != call) {
        at = &(*at)->next;
    }
    *at = call->next;
}

/* The first one that waits. */
static struct operation *flow_pop(struct flow *flow) {
    struct operation *operation = flow->first;
    flow->first = operation->next;
    flow->last = flow->first == NULL ? &flow->first : flow->last;
    return operation;
}

/* The next ones that wait, in their order. NULL: none, or no memory. With the lock held. */
static struct call *flow_fill(struct chord_client *client, struct flow *flow) {
    size_t bytes = 0;
    struct call *call = flow->first == NULL
                            ? NULL
                            : calloc(1, sizeof *call + OPERATIONS_MAX * sizeof call->operations[0]);
    if (call == NULL) {
        return NULL;
    }
    call->client = client;
    call->flow = flow;
    while (flow->first != NULL && call->count < OPERATIONS_MAX) {
        struct operation *operation = flow->first;
        if (!has_time(operation)) {
            operation->alone = true; /* its time is not the others' */
            operation_hand_over(flow_pop(flow));
            continue;
        }
        bytes += operation->asked.key_size + operation->asked.value_size;
        if (bytes > BYTES_MAX) {
            break;
        }
        call->operations[call->count++] = flow_pop(flow);
    }
    if (call->count == 0) {
        free(call);
        return NULL;
    }
    flow->calls_open++;
    call_enter(flow, call);
    return call;
}

/* Each finds its target anew. */
static void hand_over_all(struct operation *operation) {
    while (operation != NULL) {
        struct operation *next = operation->next;
        operation_hand_over(operation);
        operation = next;
    }
}

/* Instead of a call that is over, or (NULL) due: the next one, where `goes`. With client->sending
 * held. */
static void flow_go_on(struct chord_client *client, struct flow *flow, const struct call *over,
                       bool goes) {
    struct flows *flows = client->flows;
    struct operation *rest = NULL;
    pthread_mutex_lock(&flows->lock);
    flow->calls_open--;
    if (over != NULL) {
        call_leave(flow, over);
    }
    struct call *call = goes ? flow_fill(client, flow) : NULL;
    if (call == NULL) {
        rest = flow->first;
        flow->first = NULL;
        flow->last = &flow->first;
        if (flow->calls_open == 0) {
            flow_drop(flows, flow);
        }
    }
    pthread_mutex_unlock(&flows->lock);
    if (call != NULL) {
        call_send(call);
    }
    hand_over_all(rest);
}

/* NULL: none is. It stays until its call is over. */
static struct flow *flows_take_due(struct flows *flows) {
    pthread_mutex_lock(&flows->lock);
    struct flow *flow = flows->first_due;
    if (flow != NULL) {
        flows->first_due = flow->next_due;
        flow->due = false;
    }
    pthread_mutex_unlock(&flows->lock);
    return flow;
}

void flows_send(struct chord_client *client) {
    struct flow *flow;
    pthread_rwlock_rdlock(&client->sending);
    while ((flow = flows_take_due(client->flows)) != NULL) {
        flow_go_on(client, flow, NULL, !atomic_load(&client->stopping));
    }
    pthread_rwlock_unlock(&client->sending);
}

/* `went_well`: the next ones go the same way. */
static void flow_returned(const struct call *call, bool went_well) {
    struct chord_client *client = call->client;
    pthread_rwlock_rdlock(&client->sending);
    flow_go_on(client, call->flow, call, went_well && !atomic_load(&client->stopping));
    pthread_rwlock_unlock(&client->sending);
}

/* On a thread of the RPC runtime, or where the call cannot start inside it. */
static void call_answered(void *context, struct rpc_reply *reply) {
    struct call *call = context;
    struct chord_client *client = call->client;
    enum attempts_next next[OPERATIONS_MAX];
    char address[CHORD_ADDRESS_SIZE];
    bool refused = false;
    const Chord__V1__BatchResponse *response =
        reply->code == CHORD__V1__CODE__CODE_OK ? (const void *)reply->response : NULL;
    if (response != NULL && response->n_results != call->count) {
        response = NULL;
    }
    memcpy(address, call->operations[0]->result.address, sizeof address);
    client_hear_batch(client, reply, response, address);
    if (call->flow != NULL) {
        flow_returned(call, response != NULL);
    }
    for (size_t i = 0; i < call->count; i++) {
        next[i] = operation_take(call->operations[i], reply, response, i);
        refused |= next[i] == ATTEMPTS_LATER;
    }
    if (refused && !client_is_silence(reply)) {
        client->watch.mistrust(client->watch.context, address, false);
    }
    rpc_reply_free(reply);
    for (size_t i = 0; i < call->count; i++) {
        operation_go_on(call->operations[i], next[i]);
    }
    free(call);
}

static void call_send(struct call *call) {
    struct operation_message messages[OPERATIONS_MAX];
    Chord__V1__Operation *pointers[OPERATIONS_MAX];
    Chord__V1__BatchRequest request = CHORD__V1__BATCH_REQUEST__INIT;
    struct operation *first = call->operations[0];
    uint32_t timeout_ms = UINT32_MAX;
    for (size_t i = 0; i < call->count; i++) {
        uint32_t own_ms = operation_timeout_ms(call->operations[i]);
        timeout_ms = own_ms < timeout_ms ? own_ms : timeout_ms;
        operation_fill(call->operations[i], &messages[i]);
        pointers[i] = &messages[i].operation;
    }
    request.operations = pointers;
    request.n_operations = call->count;
    request.consistency = kind_of(first) == FLOW_READ_STALE
                              ? CHORD__V1__CONSISTENCY__CONSISTENCY_STALE
                              : CHORD__V1__CONSISTENCY__CONSISTENCY_LINEARIZABLE;
    rpc_client_call(call->client->rpc, first->result.address, RPC_KV_BATCH, &request.base,
                    timeout_ms, call_answered, call);
}

/* Into a call of its own. */
static struct call *call_alone(struct operation *operation, struct flow *flow) {
    struct call *call = calloc(1, sizeof *call + sizeof call->operations[0]);
    if (call != NULL) {
        call->client = operation->client;
        call->flow = flow;
        call->count = 1;
        call->operations[0] = operation;
    }
    return call;
}

/* It waits for the others of its flow. true: the client's thread must be told. With the lock held.
 */
static bool flow_join(struct flows *flows, struct flow *flow, struct operation *operation) {
    bool was_due = flows->first_due != NULL;
    *flow->last = operation;
    flow->last = &operation->next;
    if (!flow->due && flow->calls_open < calls_open_max[flow->kind]) {
        flow->due = true;
        flow->calls_open++;
        flow->next_due = flows->first_due;
        flows->first_due = flow;
    }
    return !was_due && flows->first_due != NULL;
}

void flow_send(struct operation *operation) {
    struct chord_client *client = operation->client;
    struct flows *flows = client->flows;
    struct flow *flow = NULL;
    struct call *call = NULL;
    bool waits = false;
    bool wake = false;
    bool together = is_sociable(operation);
    operation->next = NULL;
    if (together) {
        pthread_mutex_lock(&flows->lock);
        flow = flow_get(flows, operation);
        together = flow != NULL && !(flow->kind == FLOW_CHANGE && flow_has_key(flow, operation));
        waits = together && (flow->due || flow->calls_open == calls_open_max[flow->kind] ||
                             atomic_load(&client->open) > DIRECT_MAX);
        if (waits) {
            wake = flow_join(flows, flow, operation);
        } else if (together && (call = call_alone(operation, flow)) != NULL) {
            flow->calls_open++;
            call_enter(flow, call);
        }
        if (flow != NULL && flow->calls_open == 0) {
            flow_drop(flows, flow);
        }
        pthread_mutex_unlock(&flows->lock);
    }
    if (!together) {
        call = call_alone(operation, NULL);
    }
    if (wake) {
        client_wake(client);
    } else if (call != NULL) {
        call_send(call);
    } else if (!waits) {
        operation_go_on(
            operation,
            operation_unsent(operation, CHORD__V1__CODE__CODE_RESOURCE_EXHAUSTED, "no memory"));
    }
}

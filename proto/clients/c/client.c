/* SPDX-License-Identifier: MIT */
/*
 * A client of a ring: what it has heard of the ring, and the one thread that sends what waits for
 * its next attempt. The operations themselves: operation.c.
 */
#include "operation.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "private.h"
#include "ring_check.h"

enum { LEARN_MS = 1000, PEERS_MAX = 2048 };

const char *chord_code_text(int code) {
    return rpc_code_text((Chord__V1__Code)code);
}

/* ---- what is known of the ring ---- */

void client_set_m(struct chord_client *client, unsigned m) {
    if (m <= ID_BITS_MAX) {
        atomic_store(&client->m, m);
    }
}

bool client_key_id(struct chord_client *client, const void *key, size_t key_size,
                   struct ring_id *id) {
    uint8_t hash[ID_BYTES];
    unsigned m = atomic_load(&client->m);
    if (m == 0 || !id_hash_key(key, key_size, hash)) {
        return false;
    }
    id_from_hash(id, hash, m);
    return true;
}

void client_hear(struct chord_client *client, const struct rpc_reply *reply) {
    if (reply->has_ring && atomic_exchange(&client->ring_of_first, false)) {
        rpc_client_set_ring(client->rpc, reply->ring_id);
    }
}

void client_hear_hint(struct chord_client *client, const Chord__V1__OwnerHint *hint) {
    struct ring_id lo;
    struct ring_id hi;
    if (hint == NULL || hint->address == NULL || !address_is_valid(hint->address) ||
        !ring_range_ids(hint->range, &lo, &hi)) {
        return;
    }
    hints_put(client->hints, &lo, &hi, hint->epoch, hint->address);
    if (hint->counter > 0) {
        hints_seen(client->hints, &hi, hint->epoch, hint->counter);
    }
    if (client->watch.learn != NULL) {
        client->watch.learn(client->watch.context, hint->address);
    }
}

void client_hear_version(struct chord_client *client, const struct ring_id *id,
                         const Chord__V1__Version *version) {
    if (version != NULL) {
        hints_seen(client->hints, id, version->epoch, version->counter);
    }
}

bool client_is_silence(const struct rpc_reply *reply) {
    return reply->local || reply->code == CHORD__V1__CODE__CODE_WRONG_RING;
}

bool client_is_answer(const struct rpc_reply *reply) {
    return !reply->local || reply->code == CHORD__V1__CODE__CODE_UNAUTHENTICATED;
}

ProtobufCBinaryData client_bytes(const void *data, size_t size) {
    union {
        const void *in;
        uint8_t *out;
    } pointer = {.in = data};
    return (ProtobufCBinaryData){size, pointer.out};
}

void client_hear_silence(struct chord_client *client, const char *address) {
    hints_forget_address(client->hints, address);
    client->watch.mistrust(client->watch.context, address, true);
}

void client_hear_batch(struct chord_client *client, const struct rpc_reply *reply,
                       const Chord__V1__BatchResponse *response, const char *address) {
    client_hear(client, reply);
    if (response != NULL) {
        client_hear_hint(client, response->hint);
        for (size_t i = 0; i < response->n_hints; i++) {
            client_hear_hint(client, response->hints[i]);
        }
    } else if (address[0] != '\0' && client_is_silence(reply)) {
        client_hear_silence(client, address);
    }
}

static void m_told(void *context, struct rpc_reply *reply) {
    struct chord_client *client = context;
    const Chord__V1__StatusResponse *status =
        (const Chord__V1__StatusResponse *)(const void *)reply->response;
    if (reply->code == CHORD__V1__CODE__CODE_OK && status != NULL) {
        client_hear_status(client, status);
    }
    rpc_reply_free(reply);
    client_closed(client);
}

/* A client that makes a single operation has no use for M. */
void client_learn_m(struct chord_client *client, const char *address) {
    Chord__V1__StatusRequest request = CHORD__V1__STATUS_REQUEST__INIT;
    if (atomic_load(&client->m) == 0 && atomic_fetch_add(&client->m_asked, 1) % 64 == 1 &&
        client_opened(client)) {
        rpc_client_call(client->rpc, address, RPC_ADMIN_STATUS, &request.base, LEARN_MS, m_told,
                        client);
    }
}

/* ---- what waits for its next attempt: a binary heap ---- */

static bool due_before(const struct chord_client *client, size_t a, size_t b) {
    return operation_due_ms(client->waiting[a]) < operation_due_ms(client->waiting[b]);
}

static void heap_swap(struct chord_client *client, size_t a, size_t b) {
    struct operation *held = client->waiting[a];
    client->waiting[a] = client->waiting[b];
    client->waiting[b] = held;
}

static void heap_add(struct chord_client *client, struct operation *operation) {
    size_t at = client->waiting_count++;
    client->waiting[at] = operation;
    for (; at > 0 && due_before(client, at, (at - 1) / 2); at = (at - 1) / 2) {
        heap_swap(client, at, (at - 1) / 2);
    }
}

static struct operation *heap_take(struct chord_client *client) {
    struct operation *first = client->waiting[0];
    client->waiting[0] = client->waiting[--client->waiting_count];
    for (size_t at = 0;;) {
        size_t least = at;
        for (size_t child = 2 * at + 1; child <= 2 * at + 2; child++) {
            if (child < client->waiting_count && due_before(client, child, least)) {
                least = child;
            }
        }
        if (least == at) {
            return first;
        }
        heap_swap(client, at, least);
        at = least;
    }
}

void client_wait(struct chord_client *client, struct operation *operation) {
    pthread_mutex_lock(&client->lock);
    assert(client->waiting_count < client->waiting_capacity);
    heap_add(client, operation);
    if (client->waiting[0] == operation) {
        pthread_cond_signal(&client->changed);
    }
    pthread_mutex_unlock(&client->lock);
}

void client_wake(struct chord_client *client) {
    pthread_mutex_lock(&client->lock);
    client->flows_wait = true;
    pthread_cond_signal(&client->changed);
    pthread_mutex_unlock(&client->lock);
}

/* Room for all operations to wait at the same time, so that none fails when it has to wait. */
bool client_opened(struct chord_client *client) {
    pthread_mutex_lock(&client->lock);
    bool room = client->open < client->waiting_capacity;
    if (!room) {
        size_t capacity = 2 * client->waiting_capacity + 64;
        struct operation **waiting =
            reallocarray(client->waiting, capacity, sizeof client->waiting[0]);
        room = waiting != NULL;
        client->waiting = room ? waiting : client->waiting;
        client->waiting_capacity = room ? capacity : client->waiting_capacity;
    }
    client->open += room;
    pthread_mutex_unlock(&client->lock);
    return room;
}

void client_closed(struct chord_client *client) {
    pthread_mutex_lock(&client->lock);
    client->open--;
    if (client->closing) {
        pthread_cond_signal(&client->changed);
    }
    pthread_mutex_unlock(&client->lock);
}

/* With the lock held, which is let go meanwhile. */
static void first_await(struct chord_client *client) {
    uint64_t due_ms = client->waiting_count > 0 ? operation_due_ms(client->waiting[0]) : UINT64_MAX;
    if (client->flows_wait) {
        client->flows_wait = false;
        pthread_mutex_unlock(&client->lock);
        flows_send(client);
        pthread_mutex_lock(&client->lock);
    } else if (client->waiting_count == 0) {
        pthread_cond_wait(&client->changed, &client->lock);
    } else if (atomic_load(&client->stopping) || due_ms <= clock_now_ms()) {
        struct operation *operation = heap_take(client);
        pthread_mutex_unlock(&client->lock);
        operation_resume(operation);
        pthread_mutex_lock(&client->lock);
    } else {
        clock_cond_wait(&client->changed, &client->lock, due_ms);
    }
}

static void *client_thread(void *context) {
    struct chord_client *client = context;
    pthread_mutex_lock(&client->lock);
    while (!client->closing || client->open > 0) {
        first_await(client);
    }
    pthread_mutex_unlock(&client->lock);
    return NULL;
}

/* ---- opening and closing ---- */

/* On a thread of the RPC runtime. */
static void on_disconnect(void *context, const char *address) {
    const struct chord_client *client = context;
    if (client->watch.disconnected != NULL) {
        client->watch.disconnected(client->watch.context, address);
    }
}

int client_new(struct chord_client **out, const struct client_setup *setup) {
    struct chord_client *client = calloc(1, sizeof *client);
    *out = NULL;
    if (client == NULL) {
        return -ENOMEM;
    }
    const struct rpc_client_options options = {.key = *setup->key,
                                               .peers_max = PEERS_MAX,
                                               .on_disconnect = on_disconnect,
                                               .context = client};
    client->watch = setup->watch;
    client->timeout_ms = setup->timeout_ms != 0 ? setup->timeout_ms : CLIENT_TIMEOUT_MS;
    client->attempt_ms = setup->attempt_ms != 0 ? setup->attempt_ms : CLIENT_ATTEMPT_MS;
    client->nobody_ms = setup->nobody_ms;
    client->probe_ms = setup->probe_ms;
    atomic_store(&client->ring_of_first, setup->ring_of_first);
    pthread_mutex_init(&client->lock, NULL);
    pthread_rwlock_init(&client->sending, NULL);
    clock_cond_init(&client->changed);
    client->hints = hints_new();
    client->flows = flows_new();
    int rc = client->hints == NULL || client->flows == NULL
                 ? -ENOMEM
                 : rpc_client_open(&client->rpc, &options);
    if (rc == 0) {
        rc = -pthread_create(&client->thread, NULL, client_thread, client);
        client->thread_runs = rc == 0;
    }
    if (rc != 0) {
        chord_client_close(client);
        return rc;
    }
    *out = client;
    return 0;
}

void client_set_ring(struct chord_client *client, const uint8_t ring_id[RPC_RING_ID_BYTES]) {
    rpc_client_set_ring(client->rpc, ring_id);
}

void client_ask(struct chord_client *client, const char *address, enum rpc_method method,
                const ProtobufCMessage *request, uint32_t timeout_ms, rpc_reply_fn *done,
                void *context) {
    rpc_client_call(client->rpc, address, method, request, timeout_ms, done, context);
}

void chord_client_stop(struct chord_client *client) {
    pthread_mutex_lock(&client->lock);
    atomic_store(&client->stopping, true);
    pthread_cond_broadcast(&client->changed);
    pthread_mutex_unlock(&client->lock);
    pthread_rwlock_wrlock(&client->sending);
    pthread_rwlock_unlock(&client->sending);
}

void chord_client_close(struct chord_client *client) {
    if (client == NULL) {
        return;
    }
    chord_client_stop(client);
    rpc_client_close(client->rpc);
    pthread_mutex_lock(&client->lock);
    client->closing = true;
    pthread_cond_broadcast(&client->changed);
    pthread_mutex_unlock(&client->lock);
    if (client->thread_runs) {
        pthread_join(client->thread, NULL);
    }
    pthread_cond_destroy(&client->changed);
    pthread_rwlock_destroy(&client->sending);
    pthread_mutex_destroy(&client->lock);
    hints_free(client->hints);
    flows_free(client->flows);
    seeds_free(client->seeds);
    free(client->waiting);
    free(client);
}

int client_open(struct chord_client **client, const struct client_setup *setup, const char *members,
                char *error, size_t error_size) {
    struct client_setup own = *setup;
    struct seeds *seeds = seeds_new(members, setup->probe_ms, error, error_size);
    *client = NULL;
    if (seeds == NULL) {
        return -EINVAL;
    }
    own.watch = seeds_watch(seeds);
    own.ring_of_first = true;
    int rc = client_new(client, &own);
    if (rc != 0) {
        seeds_free(seeds);
        snprintf(error, error_size, "no connection can be opened: %s", strerror(-rc));
        return rc;
    }
    (*client)->seeds = seeds;
    return 0;
}

int chord_client_open(struct chord_client **client, const struct chord_client_options *options,
                      char *error, size_t error_size) {
    struct rpc_key key = {.bytes_count = 0};
    const struct client_setup setup = {.key = &key,
                                       .timeout_ms = options->timeout_ms,
                                       .attempt_ms = options->attempt_ms,
                                       .nobody_ms = CLIENT_NOBODY_MS};
    const char *path = options->ring_key_file;
    int rc = path == NULL ? 0 : rpc_key_read(&key, path);
    *client = NULL;
    if (rc != 0) {
        snprintf(error, error_size, "%s cannot be used: %s", path, private_secret_error(rc));
        return rc;
    }
    return client_open(client, &setup, options->members, error, error_size);
}

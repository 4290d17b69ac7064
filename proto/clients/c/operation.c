/* SPDX-License-Identifier: MIT */
/*
 * One operation until its outcome is known: whom it is sent to, how long that one is waited for,
 * and what is reported in the end. What goes with each attempt, and whether there is another one:
 * attempts.h.
 *
 * The first attempt is sent on the caller's thread, an answer is taken on a thread of the RPC
 * runtime, a further attempt is sent on the client's own. Only one of them has the operation at a
 * time.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "attempts.h"
#include "client.h"

enum {
    PAUSE_MS_FIRST = 20,
    PAUSE_MS_MAX = 500,
    ATTEMPT_MS_MIN = 50, /* with less, "not done" would only become "not known" */
};

struct operation {
    struct chord_client *client;
    struct chord_operation asked;
    struct attempts attempts;
    struct ring_id id;
    bool id_known;
    bool by_hint; /* the next attempt goes where the hints say */
    uint64_t began_ms, end_ms, due_ms;
    uint32_t pause_ms;
    Chord__V1__Code code; /* of the last attempt */
    struct chord_result result;
    chord_done_fn *done;
    void *context;
};

uint64_t operation_due_ms(const struct operation *operation) {
    return operation->due_ms;
}

/* ---- the end ---- */

/* `is_over`: time or patience ended before the operation did. */
static void operation_end(struct operation *operation, bool is_over) {
    struct chord_client *client = operation->client;
    struct chord_result *result = &operation->result;
    Chord__V1__Code code = operation->code;
    result->missing_count = is_over ? result->missing_count : 0;
    if (result->missing_count > 0) {
        /* What a member said of the missing ones, rather than the silence of who was asked then. */
        code = CHORD__V1__CODE__CODE_UNAVAILABLE;
    }
    result->fate = attempts_fate(&operation->attempts, code);
    result->code = (int)attempts_code(&operation->attempts, code);
    result->repeated = operation->attempts.maybe && result->fate == CHORD_DONE;
    operation->done(operation->context, result);
    free(operation);
    client_closed(client);
}

void chord_result_free(struct chord_result *result) {
    rpc_arena_free(result->owner);
    result->owner = NULL;
    result->value = NULL;
    result->value_size = 0;
}

/* ---- an answer ---- */

static void missing_take(struct chord_result *result, const Chord__V1__BatchResponse *response) {
    if (response->n_missing == 0) {
        return;
    }
    result->missing_count = 0;
    for (size_t i = 0; i < response->n_missing && i < CHORD_MISSING_MAX; i++) {
        snprintf(result->missing[result->missing_count++], CHORD_ADDRESS_SIZE, "%.63s",
                 response->missing[i]);
    }
}

/* What the node said of the operation; NULL: nothing. */
static const Chord__V1__OperationResult *answer_take(struct operation *operation,
                                                     const struct rpc_reply *reply) {
    struct chord_result *result = &operation->result;
    const Chord__V1__BatchResponse *response =
        reply->code == CHORD__V1__CODE__CODE_OK ? (const void *)reply->response : NULL;
    result->answered = client_is_answer(reply);
    result->retry_after_ms = reply->retry_after_ms;
    snprintf(result->message, sizeof result->message, "%s", reply->message);
    operation->code = reply->code;
    client_hear(operation->client, reply);
    if (response == NULL || response->n_results != 1) {
        if (reply->code == CHORD__V1__CODE__CODE_OK) {
            operation->code = CHORD__V1__CODE__CODE_UNKNOWN;
            snprintf(result->message, sizeof result->message, "its answer has no result");
        }
        return NULL;
    }
    const Chord__V1__OperationResult *told = response->results[0];
    client_hear_hint(operation->client, response->hint);
    for (size_t i = 0; i < response->n_hints; i++) {
        client_hear_hint(operation->client, response->hints[i]);
    }
    /* Of what was read nothing is kept: who has seen nothing may overwrite a row that is damaged.
     */
    if (operation->id_known && operation->attempts.writes) {
        client_hear_version(operation->client, &operation->id, told->version);
    }
    missing_take(result, response);
    operation->code = told->code;
    result->existed = told->existed;
    result->stale = response->stale;
    result->expires_at_ms = told->expires_at_ms;
    result->value = told->value.data;
    result->value_size = told->value.len;
    if (told->version != NULL) {
        result->version = (struct chord_version){told->version->epoch, told->version->counter};
    }
    return told;
}

/* A random part of it, so that those who were refused together do not come back together. */
static uint64_t pause_next(struct operation *operation) {
    uint32_t random = 0;
    (void)!getrandom(&random, sizeof random, GRND_NONBLOCK);
    uint64_t half = operation->pause_ms / 2;
    uint64_t wait_ms = half + random % (half + 1);
    operation->pause_ms *= 2;
    if (operation->pause_ms > PAUSE_MS_MAX) {
        operation->pause_ms = PAUSE_MS_MAX;
    }
    uint64_t asked_ms = operation->result.retry_after_ms;
    return wait_ms > asked_ms ? wait_ms : asked_ms < PAUSE_MS_MAX ? asked_ms : PAUSE_MS_MAX;
}

/* Another attempt, or the end. */
static void operation_judge(struct operation *operation, enum attempts_next next) {
    struct chord_client *client = operation->client;
    struct chord_result *result = &operation->result;
    bool writes = operation->attempts.writes;
    uint64_t now_ms = clock_now_ms();
    uint64_t wait_ms = next == ATTEMPTS_LATER ? pause_next(operation) : 0;
    result->full = next != ATTEMPTS_END && writes && client->watch.full != NULL &&
                   client->watch.full(client->watch.context);
    bool over = now_ms + wait_ms + ATTEMPT_MS_MIN >= operation->end_ms || result->full ||
                (result->nobody && now_ms + wait_ms >= operation->began_ms + client->nobody_ms) ||
                atomic_load(&client->stopping);
    if (next == ATTEMPTS_END || over) {
        operation_end(operation, next != ATTEMPTS_END);
        return;
    }
    chord_result_free(result);
    operation->by_hint = next == ATTEMPTS_AT_ONCE;
    operation->due_ms = now_ms + wait_ms;
    client_wait(client, operation);
}

/* On a thread of the RPC runtime. */
static void operation_answered(void *context, struct rpc_reply *reply) {
    struct operation *operation = context;
    struct chord_client *client = operation->client;
    struct chord_result *result = &operation->result;
    const Chord__V1__OperationResult *told = answer_take(operation, reply);
    enum attempts_next next = attempts_take(&operation->attempts, reply, told);
    if (client_is_silence(reply)) {
        client_hear_silence(client, result->address);
    } else if (next == ATTEMPTS_LATER) {
        client->watch.mistrust(client->watch.context, result->address, false);
    }
    result->owner = reply->arena; /* the value lives there */
    operation_judge(operation, next);
}

/* ---- an attempt ---- */

static bool target_choose(struct operation *operation) {
    struct chord_client *client = operation->client;
    struct chord_result *result = &operation->result;
    struct hint hint;
    if (operation->by_hint && operation->id_known &&
        hints_find(client->hints, &operation->id, &hint)) {
        memcpy(result->address, hint.address, sizeof result->address);
        return true;
    }
    snprintf(result->message, sizeof result->message, "no node of the ring answers");
    return client->watch.member(client->watch.context, result->address, result->message,
                                sizeof result->message);
}

static void operation_send(struct operation *operation) {
    static const Chord__V1__OperationKind kinds[] = {
        [CHORD_GET] = CHORD__V1__OPERATION_KIND__OPERATION_KIND_GET,
        [CHORD_PUT] = CHORD__V1__OPERATION_KIND__OPERATION_KIND_PUT,
        [CHORD_DELETE] = CHORD__V1__OPERATION_KIND__OPERATION_KIND_DELETE,
    };
    struct chord_client *client = operation->client;
    const struct chord_operation *asked = &operation->asked;
    Chord__V1__BatchRequest request = CHORD__V1__BATCH_REQUEST__INIT;
    Chord__V1__Operation message = CHORD__V1__OPERATION__INIT;
    Chord__V1__Operation *messages[] = {&message};
    Chord__V1__Precondition condition = CHORD__V1__PRECONDITION__INIT;
    Chord__V1__Version wanted = CHORD__V1__VERSION__INIT, seen;
    message.kind = kinds[asked->kind];
    message.key = client_bytes(asked->key, asked->key_size);
    message.value = client_bytes(asked->value, asked->value_size);
    message.expires_at_ms = asked->expires_at_ms;
    attempts_fill(&operation->attempts, &message, &seen);
    wanted.epoch = asked->version.epoch;
    wanted.counter = asked->version.counter;
    condition.absent = asked->if_absent;
    condition.version = asked->if_match ? &wanted : NULL;
    if (operation->attempts.writes && (asked->if_absent || asked->if_match)) {
        message.precondition = &condition;
    }
    request.operations = messages;
    request.n_operations = 1;
    request.consistency = asked->stale ? CHORD__V1__CONSISTENCY__CONSISTENCY_STALE
                                       : CHORD__V1__CONSISTENCY__CONSISTENCY_LINEARIZABLE;
    uint64_t now_ms = clock_now_ms();
    uint64_t left_ms = now_ms < operation->end_ms ? operation->end_ms - now_ms : 1;
    uint32_t timeout_ms = (uint32_t)(left_ms < client->attempt_ms ? left_ms : client->attempt_ms);
    rpc_client_call(client->rpc, operation->result.address, RPC_KV_BATCH, &request.base, timeout_ms,
                    operation_answered, operation);
}

/* There was no attempt. */
static void operation_unsent(struct operation *operation, const char *message) {
    struct chord_result *result = &operation->result;
    operation->code = CHORD__V1__CODE__CODE_UNAVAILABLE;
    result->answered = false;
    result->retry_after_ms = 0;
    if (message != NULL) {
        snprintf(result->message, sizeof result->message, "%s", message);
    }
    operation_judge(operation, ATTEMPTS_LATER);
}

void operation_resume(struct operation *operation) {
    struct chord_client *client = operation->client;
    pthread_rwlock_rdlock(&client->sending); /* else the RPC client may be closed meanwhile */
    operation->result.nobody = false;
    if (atomic_load(&client->stopping)) {
        operation_unsent(operation, "the client is closing");
    } else if (!target_choose(operation)) {
        operation->result.nobody = true;
        operation_unsent(operation, NULL);
    } else {
        client_learn_m(client, operation->result.address);
        operation_send(operation);
    }
    pthread_rwlock_unlock(&client->sending);
}

/* ---- the start ---- */

/* The newest version heard: of the range, or by who made the condition. */
static bool attempts_begin(struct operation *operation) {
    const struct chord_operation *asked = &operation->asked;
    struct chord_version seen = {0, 0};
    uint8_t op_id[CHORD_OP_ID_BYTES];
    struct hint hint;
    if (asked->kind == CHORD_GET) {
        attempts_start(&operation->attempts, NULL, 0, 0);
        return true;
    }
    if (operation->id_known && hints_find(operation->client->hints, &operation->id, &hint)) {
        seen = (struct chord_version){hint.seen_epoch, hint.seen_counter};
    }
    const struct chord_version *wanted = &asked->version;
    if (asked->if_match && (wanted->epoch > seen.epoch ||
                            (wanted->epoch == seen.epoch && wanted->counter > seen.counter))) {
        seen = *wanted;
    }
    bool named = getrandom(op_id, sizeof op_id, 0) == (ssize_t)sizeof op_id;
    attempts_start(&operation->attempts, op_id, seen.epoch, seen.counter);
    return named;
}

void chord_start(struct chord_client *client, const struct chord_operation *asked,
                 chord_done_fn *done, void *context) {
    struct operation *operation = calloc(1, sizeof *operation);
    if (operation == NULL || !client_opened(client)) {
        struct chord_result none = {.fate = CHORD_NOT_DONE, .code = CHORD_CODE_RESOURCE_EXHAUSTED};
        snprintf(none.message, sizeof none.message, "no memory");
        free(operation);
        done(context, &none);
        return;
    }
    operation->client = client;
    operation->asked = *asked;
    operation->done = done;
    operation->context = context;
    operation->began_ms = clock_now_ms();
    operation->end_ms =
        operation->began_ms + (asked->timeout_ms > 0 ? asked->timeout_ms : client->timeout_ms);
    operation->pause_ms = PAUSE_MS_FIRST;
    operation->by_hint = true;
    operation->id_known = client_key_id(client, asked->key, asked->key_size, &operation->id);
    if (!attempts_begin(operation)) {
        operation->code = CHORD__V1__CODE__CODE_RESOURCE_EXHAUSTED;
        snprintf(operation->result.message, sizeof operation->result.message,
                 "the system gives no random numbers, which name the operations");
        operation_end(operation, false);
        return;
    }
    operation_resume(operation);
}

/* ---- waiting ---- */

struct waiter {
    pthread_mutex_t lock;
    pthread_cond_t done;
    size_t open;
};

struct waiting {
    struct waiter *waiter;
    struct chord_result *result;
};

static void waiting_done(void *context, struct chord_result *result) {
    struct waiting *waiting = context;
    struct waiter *waiter = waiting->waiter; /* both may be gone once the lock is open */
    *waiting->result = *result;
    pthread_mutex_lock(&waiter->lock);
    if (--waiter->open == 0) {
        pthread_cond_signal(&waiter->done);
    }
    pthread_mutex_unlock(&waiter->lock);
}

void chord_run(struct chord_client *client, const struct chord_operation *operations, size_t count,
               struct chord_result *results) {
    enum { AT_ONCE = 256 };
    struct waiting waiting[AT_ONCE];
    struct waiter waiter = {
        .lock = PTHREAD_MUTEX_INITIALIZER, .done = PTHREAD_COND_INITIALIZER, .open = 0};
    for (size_t from = 0; from < count; from += AT_ONCE) {
        size_t some = count - from < AT_ONCE ? count - from : AT_ONCE;
        waiter.open = some;
        for (size_t i = 0; i < some; i++) {
            waiting[i] = (struct waiting){&waiter, &results[from + i]};
            chord_start(client, &operations[from + i], waiting_done, &waiting[i]);
        }
        pthread_mutex_lock(&waiter.lock);
        while (waiter.open > 0) {
            pthread_cond_wait(&waiter.done, &waiter.lock);
        }
        pthread_mutex_unlock(&waiter.lock);
    }
}

static enum chord_fate run_one(struct chord_client *client, enum chord_kind kind, const char *key,
                               const void *value, size_t value_size, struct chord_result *result) {
    struct chord_operation operation = {.kind = kind,
                                        .key = key,
                                        .key_size = strlen(key),
                                        .value = value,
                                        .value_size = value_size};
    chord_run(client, &operation, 1, result);
    return result->fate;
}

enum chord_fate chord_get(struct chord_client *client, const char *key,
                          struct chord_result *result) {
    return run_one(client, CHORD_GET, key, NULL, 0, result);
}

enum chord_fate chord_put(struct chord_client *client, const char *key, const void *value,
                          size_t value_size, struct chord_result *result) {
    return run_one(client, CHORD_PUT, key, value, value_size, result);
}

enum chord_fate chord_delete(struct chord_client *client, const char *key,
                             struct chord_result *result) {
    return run_one(client, CHORD_DELETE, key, NULL, 0, result);
}

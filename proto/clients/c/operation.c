/* SPDX-License-Identifier: MIT */
/*
 * One operation until its outcome is known: whom it is sent to, how long that one is waited for,
 * and what is reported in the end. What goes with each attempt, and whether there is another one:
 * attempts.h. With which others it is sent: flow.c.
 *
 * The first attempt is sent on the caller's thread or waits in a flow, an answer is taken on a
 * thread of the RPC runtime, a further attempt is sent on the client's own. Only one of them has
 * the operation at a time.
 */
#include <errno.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "operation.h"

enum {
    PAUSE_MS_FIRST = 20,
    PAUSE_MS_MAX = 500,
    ATTEMPT_MS_MIN = 50, /* with less, "not done" would only become "not known" */
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
        /* Rather what a member said of the missing ones than that the last one asked was silent. */
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

/* Who was asked, whom that one asked for the leader, and the leader. */
static void hops_take(struct chord_result *result, const Chord__V1__BatchResponse *response) {
    result->hops++;
    if (response != NULL) {
        bool forwarded = response->hint != NULL && !response->stale &&
                         strcmp(response->hint->address, result->address) != 0;
        result->hops += response->hops + forwarded;
    }
}

static void told_take(struct operation *operation, const struct rpc_reply *reply,
                      const Chord__V1__BatchResponse *response,
                      const Chord__V1__OperationResult *told) {
    struct chord_result *result = &operation->result;
    /* Nothing of what was read counts as seen: a writer that has seen nothing may overwrite a
     * damaged row. */
    if (operation->id_known && operation->attempts.writes) {
        client_hear_version(operation->client, &operation->id, told->version);
    }
    missing_take(result, response);
    operation->code = told->code;
    result->existed = told->existed;
    result->stale = response->stale;
    result->expires_at_ms = told->expires_at_ms;
    if (told->value.len > 0) { /* it lives in the reply's arena */
        result->owner = rpc_arena_share(reply->arena);
        result->value = told->value.data;
        result->value_size = told->value.len;
    }
    if (told->version != NULL) {
        result->version = (struct chord_version){told->version->epoch, told->version->counter};
    }
}

enum attempts_next operation_take(struct operation *operation, const struct rpc_reply *reply,
                                  const Chord__V1__BatchResponse *response, size_t at) {
    struct chord_result *result = &operation->result;
    const Chord__V1__OperationResult *told = response != NULL ? response->results[at] : NULL;
    hops_take(result, response);
    result->answered = client_is_answer(reply);
    result->retry_after_ms = reply->retry_after_ms;
    snprintf(result->message, sizeof result->message, "%s", reply->message);
    operation->code = reply->code;
    if (told != NULL) {
        told_take(operation, reply, response, told);
    } else if (reply->code == CHORD__V1__CODE__CODE_OK) {
        operation->code = CHORD__V1__CODE__CODE_UNKNOWN;
        snprintf(result->message, sizeof result->message, "its answer has no result");
    }
    enum attempts_next next = attempts_take(&operation->attempts, reply, told);
    if (next == ATTEMPTS_LATER && told != NULL && response->n_results > 1 &&
        told->code == CHORD__V1__CODE__CODE_RESOURCE_EXHAUSTED && !operation->attempts.writes) {
        next = ATTEMPTS_AT_ONCE; /* the others' values left no room for this one's */
    }
    operation->alone = true; /* whatever keeps it is not to keep others */
    return next;
}

/* A random part of the pause, so that operations refused together do not return together. */
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

void operation_hand_over(struct operation *operation) {
    operation->due_ms = clock_now_ms();
    client_wait(operation->client, operation);
}

void operation_go_on(struct operation *operation, enum attempts_next next) {
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

/* ---- an attempt ---- */

static bool target_choose(struct operation *operation) {
    struct chord_client *client = operation->client;
    struct chord_result *result = &operation->result;
    struct hint hint;
    if (operation->by_hint && operation->id_known &&
        hints_find(client->hints, &operation->id, &hint) && hint.address[0] != '\0') {
        memcpy(result->address, hint.address, sizeof result->address);
        operation->hinted = true;
        operation->range_hi = hint.hi;
        return true;
    }
    operation->hinted = false;
    snprintf(result->message, sizeof result->message, "no node of the ring answers");
    return client->watch.member(client->watch.context, result->address, result->message,
                                sizeof result->message);
}

/* The newest version heard: of the range, or by who made the condition. A leader whose range has
 * not come to the epoch that was seen does not answer, so a version that nobody gave out, or of
 * another ring, must not count. */
static void seen_hear(struct operation *operation) {
    const struct chord_version *wanted = &operation->asked.version;
    struct attempts *attempts = &operation->attempts;
    struct hint hint = {.epoch = 0};
    if (operation->id_known && hints_find(operation->client->hints, &operation->id, &hint)) {
        attempts->seen_epoch = hint.seen_epoch;
        attempts->seen_counter = hint.seen_counter;
    }
    if (operation->asked.if_match && wanted->epoch <= hint.epoch &&
        (wanted->epoch > attempts->seen_epoch ||
         (wanted->epoch == attempts->seen_epoch && wanted->counter > attempts->seen_counter))) {
        attempts->seen_epoch = wanted->epoch;
        attempts->seen_counter = wanted->counter;
    }
}

void operation_fill(struct operation *operation, struct operation_message *message) {
    static const Chord__V1__OperationKind kinds[] = {
        [CHORD_GET] = CHORD__V1__OPERATION_KIND__OPERATION_KIND_GET,
        [CHORD_PUT] = CHORD__V1__OPERATION_KIND__OPERATION_KIND_PUT,
        [CHORD_DELETE] = CHORD__V1__OPERATION_KIND__OPERATION_KIND_DELETE,
    };
    const struct chord_operation *asked = &operation->asked;
    if (!operation->begun && operation->attempts.writes) {
        seen_hear(operation);
    }
    operation->begun = true;
    chord__v1__operation__init(&message->operation);
    message->operation.kind = kinds[asked->kind];
    message->operation.key = client_bytes(asked->key, asked->key_size);
    message->operation.value = client_bytes(asked->value, asked->value_size);
    message->operation.expires_at_ms = asked->expires_at_ms;
    attempts_fill(&operation->attempts, &message->operation, &message->seen);
    chord__v1__version__init(&message->wanted);
    message->wanted.epoch = asked->version.epoch;
    message->wanted.counter = asked->version.counter;
    chord__v1__precondition__init(&message->condition);
    message->condition.absent = asked->if_absent;
    message->condition.version = asked->if_match ? &message->wanted : NULL;
    if (operation->attempts.writes && (asked->if_absent || asked->if_match)) {
        message->operation.precondition = &message->condition;
    }
}

uint32_t operation_timeout_ms(const struct operation *operation) {
    uint64_t now_ms = clock_now_ms();
    uint64_t left_ms = now_ms < operation->end_ms ? operation->end_ms - now_ms : 1;
    uint32_t attempt_ms = operation->client->attempt_ms;
    return left_ms < attempt_ms ? (uint32_t)left_ms : attempt_ms;
}

enum attempts_next operation_unsent(struct operation *operation, Chord__V1__Code code,
                                    const char *why) {
    struct chord_result *result = &operation->result;
    operation->code = code;
    result->answered = false;
    result->retry_after_ms = 0;
    if (why != NULL) {
        snprintf(result->message, sizeof result->message, "%s", why);
    }
    return ATTEMPTS_LATER;
}

void operation_resume(struct operation *operation) {
    struct chord_client *client = operation->client;
    pthread_rwlock_rdlock(&client->sending); /* else the RPC client may be closed meanwhile */
    operation->result.nobody = false;
    if (atomic_load(&client->stopping)) {
        operation_go_on(operation, operation_unsent(operation, CHORD__V1__CODE__CODE_UNAVAILABLE,
                                                    "the client is closing"));
    } else if (!target_choose(operation)) {
        operation->result.nobody = true;
        operation_go_on(operation,
                        operation_unsent(operation, CHORD__V1__CODE__CODE_UNAVAILABLE, NULL));
    } else {
        client_learn_m(client, operation->result.address);
        flow_send(operation);
    }
    pthread_rwlock_unlock(&client->sending);
}

/* ---- the start ---- */

/* What no node takes is not sent. NULL: it may be. */
static const char *refusal_of(const struct chord_operation *asked) {
    if (asked->key_size < 1 || asked->key_size > CHORD_KEY_BYTES_MAX) {
        return "a key has 1 to 1024 bytes";
    }
    if (asked->kind == CHORD_PUT && asked->value_size > CHORD_VALUE_BYTES_MAX) {
        return "a value has at most 1 MiB";
    }
    return NULL;
}

static bool attempts_begin(struct operation *operation) {
    uint8_t op_id[CHORD_OP_ID_BYTES];
    if (operation->asked.kind == CHORD_GET) {
        attempts_start(&operation->attempts, NULL, 0, 0);
        return true;
    }
    bool named = getrandom(op_id, sizeof op_id, 0) == (ssize_t)sizeof op_id;
    attempts_start(&operation->attempts, op_id, 0, 0);
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
    const char *refusal = refusal_of(asked);
    if (refusal != NULL) {
        operation->code = CHORD__V1__CODE__CODE_INVALID_ARGUMENT;
        snprintf(operation->result.message, sizeof operation->result.message, "%s", refusal);
        operation_end(operation, false);
        return;
    }
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
    sem_t done;
    atomic_size_t open;
};

struct waiting {
    struct waiter *waiter;
    struct chord_result *result;
};

static void waiting_done(void *context, struct chord_result *result) {
    struct waiting *waiting = context;
    struct waiter *waiter = waiting->waiter;
    *waiting->result = *result;
    if (atomic_fetch_sub(&waiter->open, 1) == 1) {
        sem_post(&waiter->done); /* both may be gone now */
    }
}

void chord_run(struct chord_client *client, const struct chord_operation *operations, size_t count,
               struct chord_result *results) {
    enum { AT_ONCE = 256 };
    struct waiting waiting[AT_ONCE];
    struct waiter waiter;
    sem_init(&waiter.done, 0, 0);
    for (size_t from = 0; from < count; from += AT_ONCE) {
        size_t some = count - from < AT_ONCE ? count - from : AT_ONCE;
        atomic_init(&waiter.open, some);
        for (size_t i = 0; i < some; i++) {
            waiting[i] = (struct waiting){&waiter, &results[from + i]};
            chord_start(client, &operations[from + i], waiting_done, &waiting[i]);
        }
        while (sem_wait(&waiter.done) != 0) { /* a signal came */
        }
    }
    sem_destroy(&waiter.done);
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

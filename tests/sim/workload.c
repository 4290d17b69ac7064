/* SPDX-License-Identifier: MIT */
/*
 * See workload.h. A write with an op_id is sent again until its outcome is known; one without is
 * sent again only while it certainly was not executed. Each put writes a number of its own, so that
 * a value names its write. Now and then a late copy of a write turns up when its client has long
 * had its answer.
 */
#include "workload.h"

#include "assert.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    TRIES_MAX = 12,
    PAUSE_US_MAX = 8000, /* between two operations of a client */
    RETRY_US_MAX = 400000,
    COPY_ONE_IN = 6,       /* writes with an op_id of which a late copy turns up ... */
    COPY_US_MAX = 4000000, /* ... so long after the end */
    TIMEOUT_MS_MIN = 200,
    TIMEOUT_MS_MAX = 3000,
    END_MS = 10000,
    LAST_READS = 2, /* of each key, at the end */
    LAST_TRIES = 40,
};

/* What a client knows of a key. */
struct known {
    struct history_version seen;
    uint64_t value; /* at the version below; LINEAR_NOTHING: no value to compare with */
    struct history_version version;
};

struct client {
    unsigned number;
    bool busy; /* with an operation; no call: it waits to send it again */
    struct host_call *call;
    uint64_t next_us;
    unsigned key, tries;
    bool maybe;                           /* an earlier attempt may have been executed */
    struct host_operation request, first; /* as sent last, and at first */
    struct history_entry entry;
    struct known *known; /* of each key */
    struct host_operation copy;
    uint64_t copy_us; /* when that is sent; 0 = none */
};

struct workload {
    struct host *host;
    uint64_t random, value_last, op_last;
    unsigned clients_count, keys_count;
    bool ending;
    struct client *clients;
    struct history *histories; /* of each key */
    struct workload_counts counts;
};

static void *zeroed(size_t count, size_t bytes) {
    void *memory = calloc(count, bytes);
    CHORD_ASSERT(memory != NULL);
    return memory;
}

static uint64_t draw(struct workload *workload, uint64_t low, uint64_t high) {
    uint64_t z = workload->random += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return low + (z ^ z >> 31) % (high - low + 1);
}

struct workload *workload_new(struct host *host, uint64_t seed, unsigned clients, unsigned keys) {
    struct workload *workload = zeroed(1, sizeof *workload);
    CHORD_ASSERT(clients > 0 && clients <= WORKLOAD_CLIENTS_MAX);
    CHORD_ASSERT(keys > 0 && keys <= WORKLOAD_KEYS_MAX);
    workload->host = host;
    workload->random = seed * 17 + 6;
    workload->clients_count = clients;
    workload->keys_count = keys;
    workload->clients = zeroed(clients, sizeof *workload->clients);
    workload->histories = zeroed(keys, sizeof *workload->histories);
    for (unsigned i = 0; i < clients; i++) {
        workload->clients[i].number = i;
        workload->clients[i].known = zeroed(keys, sizeof *workload->clients[i].known);
    }
    return workload;
}

void workload_free(struct workload *workload) {
    if (workload == NULL) {
        return;
    }
    for (unsigned i = 0; i < workload->clients_count; i++) {
        free(workload->clients[i].known);
    }
    for (unsigned i = 0; i < workload->keys_count; i++) {
        history_free(&workload->histories[i]);
    }
    free(workload->clients);
    free(workload->histories);
    free(workload);
}

const struct workload_counts *workload_count(const struct workload *workload) {
    return &workload->counts;
}

/* ---- what to ask ---- */

static void prepare_get(struct client *client) {
    client->request.kind = CHORD_GET;
    client->entry.operation.kind = LINEAR_GET;
}

static void prepare_write(struct workload *workload, struct client *client, bool put) {
    const struct known *known = &client->known[client->key];
    struct linear_operation *operation = &client->entry.operation;
    uint64_t condition = draw(workload, 0, 9);
    client->request.kind = put ? CHORD_PUT : CHORD_DELETE;
    operation->kind = put ? LINEAR_PUT : LINEAR_DELETE;
    if (put) {
        operation->value = ++workload->value_last;
        snprintf(client->request.value, sizeof client->request.value, "%" PRIu64, operation->value);
    }
    if (condition < 4 && known->value != LINEAR_NOTHING) {
        operation->condition = LINEAR_IF_MATCH;
        operation->match = known->value;
        client->request.if_match = true;
        client->request.match_epoch = known->version.epoch;
        client->request.match_counter = known->version.counter;
    } else if (condition < 6 && put) {
        operation->condition = LINEAR_IF_ABSENT;
        client->request.if_absent = true;
    }
    if (draw(workload, 0, 3) > 0) {
        client->request.op_id = ++workload->op_last;
        client->request.seen_epoch = known->seen.epoch;
        client->request.seen_counter = known->seen.counter;
    }
}

static void begin(struct client *client, unsigned key) {
    client->key = key;
    client->tries = 0;
    client->maybe = false;
    client->busy = true;
    client->request = (struct host_operation){.attempt = 1};
    client->entry = (struct history_entry){.client = client->number};
    snprintf(client->request.key, sizeof client->request.key, "key %u", key);
}

static void choose(struct workload *workload, struct client *client) {
    uint64_t what = draw(workload, 0, 9);
    begin(client, (unsigned)draw(workload, 0, workload->keys_count - 1));
    if (what < 4 || client->known[client->key].seen.epoch == 0) {
        prepare_get(client);
    } else {
        prepare_write(workload, client, what < 9);
    }
}

static int any_node(struct workload *workload) {
    int node = HOST_NOBODY;
    for (int tries = 0; tries < 4 && host_count(workload->host) > 0; tries++) {
        node = (int)draw(workload, 0, (uint64_t)host_count(workload->host) - 1);
        if (host_member(workload->host, node)) {
            break;
        }
    }
    return node;
}

static void send(struct workload *workload, struct client *client, uint32_t timeout_ms) {
    client->entry.node = any_node(workload);
    client->tries++;
    if (client->entry.node == HOST_NOBODY) {
        client->busy = false;
        return;
    }
    if (!client->maybe) { /* what was certainly not executed was not begun */
        client->entry.operation.called = host_now_us(workload->host);
    }
    client->entry.attempts = client->request.attempt;
    client->first = client->tries == 1 ? client->request : client->first;
    client->call = host_batch(workload->host, client->entry.node, &client->request, 1, timeout_ms);
}

/* ---- what was answered ---- */

static void see(struct known *known, uint64_t epoch, uint64_t counter) {
    if (epoch > known->seen.epoch ||
        (epoch == known->seen.epoch && counter > known->seen.counter)) {
        known->seen = (struct history_version){epoch, counter};
    }
}

static void learn(struct client *client, const struct host_operation *answer) {
    struct known *known = &client->known[client->key];
    see(known, answer->epoch, answer->counter);
    const struct chord_hint *hint = &client->call->response.batch.hint;
    if (client->call->code == CHORD_OK && hint->address[0] != '\0') { /* else none is sent */
        see(known, hint->epoch, hint->counter);
    }
}

/* The operation has ended so; it becomes part of its key's history. */
static void end(struct workload *workload, struct client *client, enum linear_outcome outcome,
                const struct host_operation *answer) {
    struct known *known = &client->known[client->key];
    struct history_entry *entry = &client->entry;
    struct workload_counts *counts = &workload->counts;
    bool read = entry->operation.kind == LINEAR_GET;
    entry->operation.outcome = outcome;
    entry->operation.returned = host_now_us(workload->host);
    if (answer != NULL) {
        entry->version = (struct history_version){answer->epoch, answer->counter};
        known->value = outcome == LINEAR_DONE && entry->operation.kind != LINEAR_DELETE
                           ? entry->operation.value
                           : LINEAR_NOTHING;
        known->version = entry->version;
    }
    history_add(&workload->histories[client->key], entry);
    if (client->request.op_id != 0 && draw(workload, 1, COPY_ONE_IN) == 1) {
        client->copy = draw(workload, 0, 1) == 0 ? client->first : client->request;
        client->copy_us = host_now_us(workload->host) + draw(workload, 1, COPY_US_MAX);
    }
    counts->reads += read;
    counts->acknowledged += !read && outcome == LINEAR_DONE;
    counts->refused += outcome == LINEAR_REFUSED;
    counts->unknown += outcome == LINEAR_UNKNOWN;
    client->busy = false;
}

static void again_or_end(struct workload *workload, struct client *client) {
    bool again = client->tries < TRIES_MAX && !workload->ending &&
                 (!client->maybe || client->request.op_id != 0);
    if (again) {
        client->next_us = host_now_us(workload->host) + draw(workload, 1000, RETRY_US_MAX);
    } else if (client->maybe) {
        end(workload, client, LINEAR_UNKNOWN, NULL);
    } else {
        workload->counts.failed++;
        client->busy = false;
    }
}

static void take_get(struct workload *workload, struct client *client,
                     const struct host_operation *answer) {
    if (answer->code == CHORD_OK || answer->code == CHORD_NOT_FOUND) {
        client->entry.operation.value =
            answer->code == CHORD_OK ? strtoull(answer->value, NULL, 10) : LINEAR_NOTHING;
        end(workload, client, LINEAR_DONE, answer);
    } else {
        again_or_end(workload, client);
    }
}

static void take_write(struct workload *workload, struct client *client,
                       const struct host_operation *answer) {
    struct linear_operation *operation = &client->entry.operation;
    switch (answer->code) {
    case CHORD_OK:
    case CHORD_NOT_FOUND:
        operation->existed = answer->existed ? LINEAR_EXISTED : LINEAR_DID_NOT_EXIST;
        CHORD_ASSERT(operation->kind == LINEAR_PUT ||
                     answer->existed == (answer->code == CHORD_OK));
        end(workload, client, LINEAR_DONE, answer);
        return;
    case CHORD_FAILED_PRECONDITION:
        end(workload, client, LINEAR_REFUSED, answer);
        return;
    case CHORD_UNKNOWN:
        client->maybe = true;
        if (answer->epoch > 0) { /* overwritten since: nobody can tell any more */
            end(workload, client, LINEAR_UNKNOWN, NULL);
            return;
        }
        if (client->request.op_id != 0) {
            client->request.attempt++;
            workload->counts.retries++;
        }
        break;
    case CHORD_ABORTED:
        client->request.seen_epoch = answer->epoch;
        client->request.seen_counter = answer->counter;
        break;
    default: /* not executed, this time */
        break;
    }
    again_or_end(workload, client);
}

static void take_answer(struct workload *workload, struct client *client) {
    const struct host_operation *answer = &client->call->operations[0];
    learn(client, answer);
    client->next_us = host_now_us(workload->host) + draw(workload, 0, PAUSE_US_MAX);
    if (client->request.kind == CHORD_GET) {
        take_get(workload, client, answer);
    } else {
        take_write(workload, client, answer);
    }
    client->call = NULL;
}

static bool take_answers(struct workload *workload) {
    bool some = false;
    for (unsigned i = 0; i < workload->clients_count; i++) {
        struct client *client = &workload->clients[i];
        if (client->call != NULL && client->call->done) {
            take_answer(workload, client);
            some = true;
        }
    }
    if (some) {
        host_forget_calls(workload->host);
    }
    return some;
}

/* Nobody hears what becomes of it. */
static void send_copy(struct workload *workload, struct client *client) {
    int node = any_node(workload);
    if (node != HOST_NOBODY) {
        host_batch(workload->host, node, &client->copy, 1, TIMEOUT_MS_MAX);
        workload->counts.copies++;
    }
    client->copy_us = 0;
}

void workload_turn(struct workload *workload) {
    take_answers(workload);
    for (unsigned i = 0; i < workload->clients_count && !workload->ending; i++) {
        struct client *client = &workload->clients[i];
        if (client->copy_us != 0 && client->copy_us <= host_now_us(workload->host)) {
            send_copy(workload, client);
        }
        if (client->call == NULL && client->next_us <= host_now_us(workload->host)) {
            if (!client->busy) {
                choose(workload, client);
            }
            send(workload, client, (uint32_t)draw(workload, TIMEOUT_MS_MIN, TIMEOUT_MS_MAX));
        }
    }
}

/* ---- the end ---- */

static bool busy(const struct workload *workload) {
    for (unsigned i = 0; i < workload->clients_count; i++) {
        if (workload->clients[i].call != NULL) {
            return true;
        }
    }
    return false;
}

static void drain(struct workload *workload) {
    for (unsigned ms = 0; busy(workload); ms++) {
        CHORD_ASSERT(ms < END_MS); /* every call ends */
        host_run(workload->host, 1);
        take_answers(workload);
    }
}

/* Those that waited to send again end with what they know. */
static void end_clients(struct workload *workload) {
    workload->ending = true;
    drain(workload);
    for (unsigned i = 0; i < workload->clients_count; i++) {
        if (workload->clients[i].busy) {
            again_or_end(workload, &workload->clients[i]);
        }
    }
}

static const char *read_last(struct workload *workload, unsigned key) {
    struct client *client = &workload->clients[0];
    struct history *history = &workload->histories[key];
    size_t before = history->count;
    for (int tries = 0; tries < LAST_TRIES && history->count == before; tries++) {
        begin(client, key);
        prepare_get(client);
        send(workload, client, TIMEOUT_MS_MAX);
        drain(workload);
        if (history->count == before) {
            host_run(workload->host, RETRY_US_MAX / 1000);
        }
    }
    return history->count > before ? NULL : "a key that cannot be read in a well ring";
}

static const char *check_key(struct workload *workload, unsigned key, size_t *entry) {
    struct history *history = &workload->histories[key];
    const char *wrong = NULL;
    for (int i = 0; i < LAST_READS && wrong == NULL; i++) {
        wrong = read_last(workload, key);
        if (wrong == NULL) {
            struct history_entry last = history->entries[history->count - 1];
            wrong = history_check_kept(history, &last, entry);
        }
    }
    if (wrong == NULL) {
        bool given_up;
        wrong = history_check(history, entry, &given_up);
        workload->counts.given_up += given_up;
    }
    return wrong;
}

const char *workload_check(struct workload *workload, FILE *out, int *key) {
    end_clients(workload);
    for (unsigned i = 0; i < workload->keys_count; i++) {
        size_t entry = 0;
        const char *wrong = check_key(workload, i, &entry);
        if (wrong != NULL) {
            *key = (int)i;
            if (out != NULL && workload->histories[i].count > 0) {
                fprintf(out, "key %u: %s\n", i, wrong);
                history_print(&workload->histories[i], entry, out);
            }
            return wrong;
        }
    }
    return NULL;
}

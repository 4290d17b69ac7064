/* SPDX-License-Identifier: MIT */
/*
 * Bulk load: a bounded window of rows, in the order of their hashes, sent as batches to the nodes
 * that lead them and again until each row's outcome is known or the time is over. Batches go out
 * from the caller's thread; answers come on the RPC runtime's threads and are only put in a list
 * there.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "attempts.h"
#include "buf.h"
#include "client.h"

enum {
    BATCH_BYTES_MAX = 1024 * 1024, /* packed */
    BATCH_ROWS_MAX = 8192,
    BATCHES_OPEN_MAX = 3,
    ROW_PACKED_BYTES = 96,   /* of an operation, beside key and value; measured at most 76 */
    BATCH_TIMEOUT_MS = 3000, /* at first; each round that ends so doubles it */
    BATCH_TIMEOUT_MS_MAX = 12000,
    ROWS_MAX_FIRST = 65536, /* of a window: twice as many where that was fast, half where slow */
    ROWS_MAX_LEAST = 32768,
    FAST_MS = 1500,
    SLOW_MS = 4000,
    NOBODY_MS = 5000, /* a ring in which no node answers is awaited for no longer */
    PAUSE_MS_FIRST = 25,
    PAUSE_MS_MAX = 1000,
};

enum row_state { ROW_WAITING, ROW_STORED, ROW_FAILED, ROW_REPLACED };

struct row {
    uint8_t hash[ID_BYTES];
    size_t at; /* key, then value, in the window's bytes */
    uint32_t key_size;
    uint32_t value_size;
    uint64_t line;
    uint64_t expires_at_ms;
    struct attempts attempts;
    enum row_state state;
    bool begun; /* an attempt was sent */
};

struct batch {
    struct batch *next;
    struct chord_load *load;
    struct rpc_reply reply;
    char address[CHORD_ADDRESS_SIZE];
    size_t rows_count;
    uint32_t rows[]; /* places among the window's */
};

struct chord_load {
    struct chord_client *client;
    struct chord_load_events events;
    struct buf bytes;
    struct row *rows;
    size_t rows_count, rows_max, stored;
    uint32_t *order; /* rows by hash, key, place */
    struct batch_message *message;
    char reason[200];     /* why rows were not stored, the last one's */
    uint32_t timeout_ms;  /* of a batch; a slow disk needs more than a node that is gone */
    bool timed_out;       /* one did in this round */
    bool reached;         /* somebody took or refused something, in this round */
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t answered;
    struct batch *answers;
    unsigned open;
};

struct batch_message {
    Chord__V1__Operation operations[BATCH_ROWS_MAX];
    Chord__V1__Version seen[BATCH_ROWS_MAX];
    Chord__V1__Operation *pointers[BATCH_ROWS_MAX];
};

struct chord_load *chord_load_new(struct chord_client *client,
                                  const struct chord_load_events *events) {
    struct chord_load *load = calloc(1, sizeof *load);
    if (load == NULL) {
        return NULL;
    }
    load->client = client;
    load->events = *events;
    load->rows_max = ROWS_MAX_FIRST;
    pthread_mutex_init(&load->lock, NULL);
    pthread_cond_init(&load->answered, NULL);
    load->rows = calloc(CHORD_LOAD_ROWS_MAX, sizeof load->rows[0]);
    load->order = calloc(CHORD_LOAD_ROWS_MAX, sizeof load->order[0]);
    load->message = malloc(sizeof *load->message);
    if (load->rows == NULL || load->order == NULL || load->message == NULL) {
        chord_load_free(load);
        return NULL;
    }
    return load;
}

void chord_load_free(struct chord_load *load) {
    if (load != NULL) {
        free(load->rows);
        free(load->order);
        free(load->message);
        buf_free(&load->bytes);
        pthread_cond_destroy(&load->answered);
        pthread_mutex_destroy(&load->lock);
        free(load);
    }
}

size_t chord_load_rows(const struct chord_load *load) {
    return load->rows_count;
}

bool chord_load_fits(const struct chord_load *load, size_t key_size, size_t value_size) {
    return load->rows_count < load->rows_max &&
           load->bytes.size + key_size + value_size <= CHORD_LOAD_BYTES_MAX;
}

bool chord_load_add(struct chord_load *load, uint64_t line, const void *key, size_t key_size,
                    const void *value, size_t value_size, uint64_t expires_at_ms) {
    struct row *row = &load->rows[load->rows_count];
    *row = (struct row){.at = load->bytes.size,
                        .key_size = (uint32_t)key_size,
                        .value_size = (uint32_t)value_size,
                        .line = line,
                        .expires_at_ms = expires_at_ms};
    if (!buf_append(&load->bytes, key, key_size) || !buf_append(&load->bytes, value, value_size) ||
        !id_hash_key(key, key_size, row->hash)) {
        return false;
    }
    load->rows_count++;
    return true;
}

/* ---- order ---- */

static int compare_keys(const struct chord_load *load, const struct row *x, const struct row *y) {
    int order = memcmp(x->hash, y->hash, ID_BYTES);
    if (order == 0) {
        order = (x->key_size > y->key_size) - (x->key_size < y->key_size);
    }
    return order != 0 ? order
                      : memcmp(load->bytes.data + x->at, load->bytes.data + y->at, x->key_size);
}

static int compare_rows(const void *a, const void *b, void *context) {
    const struct chord_load *load = context;
    uint32_t i = *(const uint32_t *)a;
    uint32_t k = *(const uint32_t *)b;
    int order = compare_keys(load, &load->rows[i], &load->rows[k]);
    return order != 0 ? order : (i > k) - (i < k);
}

/* The operations of a batch are concurrent: of rows with one key only the last is sent. */
static bool rows_prepare(struct chord_load *load) {
    uint8_t op_id[CHORD_OP_ID_BYTES];
    if (getrandom(op_id, sizeof op_id, 0) != (ssize_t)sizeof op_id) {
        snprintf(load->reason, sizeof load->reason,
                 "the system gives no random numbers, which name the operations");
        return false;
    }
    for (size_t i = 0; i < load->rows_count; i++) {
        load->order[i] = (uint32_t)i;
    }
    qsort_r(load->order, load->rows_count, sizeof load->order[0], compare_rows, load);
    for (size_t i = 0; i < load->rows_count; i++) {
        struct row *row = &load->rows[load->order[i]];
        if (i + 1 < load->rows_count &&
            compare_keys(load, row, &load->rows[load->order[i + 1]]) == 0) {
            row->state = ROW_REPLACED;
        }
        /* Unique in the window by the number, and over windows by 12 random bytes. */
        uint32_t number = (uint32_t)i;
        memcpy(op_id + sizeof op_id - sizeof number, &number, sizeof number);
        attempts_start(&row->attempts, op_id, 0, 0);
    }
    return true;
}

/* ---- a batch ---- */

/* On a thread of the RPC runtime. */
static void batch_answered(void *context, struct rpc_reply *reply) {
    struct batch *batch = context;
    struct chord_load *load = batch->load;
    batch->reply = *reply;
    pthread_mutex_lock(&load->lock);
    batch->next = load->answers;
    load->answers = batch;
    pthread_cond_signal(&load->answered);
    pthread_mutex_unlock(&load->lock);
}

/* Who leads the row, and what was heard of its range; an empty address where nothing was. */
static struct hint row_hint(const struct chord_load *load, const struct row *row) {
    struct hint hint = {.address = ""};
    struct ring_id id;
    unsigned m = atomic_load(&load->client->m);
    if (m > 0) {
        id_from_hash(&id, row->hash, m);
        (void)hints_find(load->client->hints, &id, &hint);
    }
    return hint;
}

static void batch_add(struct chord_load *load, struct batch *batch, uint32_t index,
                      const struct hint *hint) {
    struct row *row = &load->rows[index];
    size_t at = batch->rows_count;
    Chord__V1__Operation *operation = &load->message->operations[at];
    chord__v1__operation__init(operation);
    operation->kind = CHORD__V1__OPERATION_KIND__OPERATION_KIND_PUT;
    operation->key = (ProtobufCBinaryData){row->key_size, load->bytes.data + row->at};
    operation->value =
        (ProtobufCBinaryData){row->value_size, load->bytes.data + row->at + row->key_size};
    operation->expires_at_ms = row->expires_at_ms;
    if (!row->begun) {
        row->begun = true;
        row->attempts.seen_epoch = hint->seen_epoch;
        row->attempts.seen_counter = hint->seen_counter;
    }
    attempts_fill(&row->attempts, operation, &load->message->seen[at]);
    load->message->pointers[at] = operation;
    batch->rows[batch->rows_count++] = index;
}

/* Rows of one leader from order[*from] on that wait, within the limits. NULL: none, or no memory.
 */
static struct batch *batch_fill(struct chord_load *load, size_t *from) {
    struct batch *batch = NULL;
    size_t bytes = 0;
    for (; *from < load->rows_count; (*from)++) {
        uint32_t index = load->order[*from];
        const struct row *row = &load->rows[index];
        if (row->state != ROW_WAITING) {
            continue;
        }
        struct hint hint = row_hint(load, row);
        size_t more = (size_t)row->key_size + row->value_size + ROW_PACKED_BYTES;
        if (batch == NULL) {
            batch = calloc(1, sizeof *batch + BATCH_ROWS_MAX * sizeof batch->rows[0]);
            if (batch == NULL) {
                return NULL;
            }
            batch->load = load;
            memcpy(batch->address, hint.address, sizeof batch->address);
        } else if (strcmp(batch->address, hint.address) != 0 || bytes + more > BATCH_BYTES_MAX ||
                   batch->rows_count >= BATCH_ROWS_MAX) {
            break;
        }
        batch_add(load, batch, index, &hint);
        bytes += more;
    }
    return batch;
}

static void batch_send(struct chord_load *load, struct batch *batch) {
    struct chord_client *client = load->client;
    Chord__V1__BatchRequest request = CHORD__V1__BATCH_REQUEST__INIT;
    struct rpc_reply nobody = {
        .code = CHORD__V1__CODE__CODE_UNAVAILABLE, .local = true, .unsent = true};
    request.operations = load->message->pointers;
    request.n_operations = batch->rows_count;
    snprintf(nobody.message, sizeof nobody.message, "no node of the ring answers");
    load->open++;
    pthread_rwlock_rdlock(&client->sending);
    if (atomic_load(&client->stopping)) {
        snprintf(nobody.message, sizeof nobody.message, "the client is closing");
        batch_answered(batch, &nobody);
    } else if (batch->address[0] == '\0' &&
               !client->watch.member(client->watch.context, batch->address, nobody.message,
                                     sizeof nobody.message)) {
        batch->address[0] = '\0';
        batch_answered(batch, &nobody);
    } else {
        rpc_client_call(client->rpc, batch->address, RPC_KV_BATCH, &request.base, load->timeout_ms,
                        batch_answered, batch);
    }
    pthread_rwlock_unlock(&client->sending);
}

/* ---- answers ---- */

static void row_failed(struct chord_load *load, struct row *row) {
    row->state = ROW_FAILED;
    if (load->events.failed != NULL) {
        load->events.failed(load->events.context, row->line, load->reason);
    }
}

static void row_take(struct chord_load *load, struct row *row, const struct rpc_reply *reply,
                     const Chord__V1__OperationResult *result) {
    Chord__V1__Code code = result != NULL ? result->code : reply->code;
    enum attempts_next next = attempts_take(&row->attempts, reply, result);
    load->timed_out |= code == CHORD__V1__CODE__CODE_DEADLINE_EXCEEDED;
    if (result != NULL && atomic_load(&load->client->m) > 0) {
        struct ring_id id;
        id_from_hash(&id, row->hash, atomic_load(&load->client->m));
        client_hear_version(load->client, &id, result->version);
    }
    if (next == ATTEMPTS_END && attempts_fate(&row->attempts, code) == CHORD_DONE) {
        row->state = ROW_STORED;
        return;
    }
    bool bare = result == NULL && code == CHORD__V1__CODE__CODE_OK;
    const char *message = bare             ? "a result is missing in the answer"
                          : result == NULL ? reply->message
                                           : "";
    snprintf(load->reason, sizeof load->reason, "%s%s%.150s",
             bare ? "INTERNAL" : rpc_code_text(code), message[0] == '\0' ? "" : ": ", message);
    if (next == ATTEMPTS_END) {
        row_failed(load, row);
    }
}

static void stored_tell(struct chord_load *load, size_t rows) {
    load->stored += rows;
    if (rows > 0 && load->events.stored != NULL) {
        load->events.stored(load->events.context, rows);
    }
}

static void batch_take(struct chord_load *load, struct batch *batch) {
    struct chord_client *client = load->client;
    const struct rpc_reply *reply = &batch->reply;
    const Chord__V1__BatchResponse *response =
        reply->code == CHORD__V1__CODE__CODE_OK ? (const void *)reply->response : NULL;
    client_hear_batch(client, reply, response, batch->address);
    load->reached |= !reply->unsent;
    if (response == NULL && load->events.again != NULL) {
        load->events.again(load->events.context, batch->rows_count, batch->address, reply->message);
    }
    bool all = true;
    size_t stored = 0;
    for (size_t i = 0; i < batch->rows_count; i++) {
        struct row *row = &load->rows[batch->rows[i]];
        bool has = response != NULL && i < response->n_results;
        row_take(load, row, reply, has ? response->results[i] : NULL);
        all = all && row->state != ROW_WAITING;
        stored += row->state == ROW_STORED;
    }
    stored_tell(load, stored);
    if (response != NULL && !all) {
        client->watch.mistrust(client->watch.context, batch->address, false);
    }
    rpc_reply_free(&batch->reply);
    free(batch);
}

/* Takes answers until at most `open_max` batches are out. */
static void answers_take(struct chord_load *load, unsigned open_max) {
    pthread_mutex_lock(&load->lock);
    while (load->open > open_max) {
        while (load->answers == NULL) {
            pthread_cond_wait(&load->answered, &load->lock);
        }
        struct batch *batch = load->answers;
        load->answers = batch->next;
        load->open--;
        pthread_mutex_unlock(&load->lock);
        batch_take(load, batch);
        pthread_mutex_lock(&load->lock);
    }
    pthread_mutex_unlock(&load->lock);
}

/* ---- rounds ---- */

static bool rows_wait(const struct chord_load *load) {
    for (size_t i = 0; i < load->rows_count; i++) {
        if (load->rows[i].state == ROW_WAITING) {
            return true;
        }
    }
    return false;
}

static bool is_cancelled(const struct chord_load *load) {
    return atomic_load(&load->client->stopping) ||
           (load->events.cancelled != NULL && load->events.cancelled(load->events.context));
}

static void round_run(struct chord_load *load) {
    struct batch *batch;
    size_t from = 0;
    load->timed_out = load->reached = false;
    while ((batch = batch_fill(load, &from)) != NULL) {
        batch_send(load, batch);
        answers_take(load, BATCHES_OPEN_MAX - 1);
        if (is_cancelled(load)) {
            break;
        }
    }
    answers_take(load, 0);
    if (load->timed_out && load->timeout_ms < BATCH_TIMEOUT_MS_MAX) {
        load->timeout_ms *= 2;
    }
}

/* A row that a later one with its key replaced shares that one's fate. */
static void rows_settle(struct chord_load *load, struct chord_load_result *result) {
    const struct row *next = NULL;
    for (size_t i = load->rows_count; i-- > 0; next = &load->rows[load->order[i]]) {
        struct row *row = &load->rows[load->order[i]];
        if (row->state == ROW_REPLACED && next != NULL && next->state == ROW_STORED) {
            row->state = ROW_STORED;
        } else if (row->state == ROW_REPLACED || row->state == ROW_WAITING) {
            row->attempts.maybe |=
                row->state == ROW_REPLACED && next != NULL && next->attempts.maybe;
            row_failed(load, row);
        }
        if (row->state == ROW_STORED) {
            result->stored++;
            continue;
        }
        result->failed++;
        result->fate = row->attempts.maybe          ? CHORD_MAYBE_DONE
                       : result->fate == CHORD_DONE ? CHORD_NOT_DONE
                                                    : result->fate;
        if (result->failed_line == 0 || row->line < result->failed_line) {
            result->failed_line = row->line;
        }
    }
}

/* A row's page of a node's database holds rows next to it in the order of the hashes: the more rows
 * a window has, the fewer pages are written for each. */
static void rows_max_adapt(struct chord_load *load, uint64_t took_ms) {
    bool full = load->rows_count == load->rows_max;
    if (took_ms > SLOW_MS && load->rows_max > ROWS_MAX_LEAST) {
        load->rows_max /= 2;
    } else if (full && took_ms < FAST_MS && load->rows_max < CHORD_LOAD_ROWS_MAX) {
        load->rows_max *= 2;
    }
}

static void load_empty(struct chord_load *load) {
    load->rows_count = 0;
    buf_clear(&load->bytes);
}

void chord_load_flush(struct chord_load *load, uint32_t timeout_ms,
                      struct chord_load_result *result) {
    uint64_t begun_ms = clock_now_ms();
    uint64_t end_ms = begun_ms + timeout_ms;
    uint64_t reached_ms = begun_ms;
    uint64_t wait_ms = PAUSE_MS_FIRST;
    load->stored = 0;
    *result = (struct chord_load_result){.fate = CHORD_DONE};
    load->timeout_ms = timeout_ms < BATCH_TIMEOUT_MS ? timeout_ms : BATCH_TIMEOUT_MS;
    snprintf(load->reason, sizeof load->reason, "no memory");
    for (bool going = rows_prepare(load); going;) {
        round_run(load);
        uint64_t now_ms = clock_now_ms();
        reached_ms = load->reached ? now_ms : reached_ms;
        going = rows_wait(load) && now_ms + wait_ms < end_ms && !is_cancelled(load) &&
                now_ms - reached_ms <= NOBODY_MS;
        if (going) {
            clock_pause_ms(wait_ms);
            wait_ms = 2 * wait_ms < PAUSE_MS_MAX ? 2 * wait_ms : PAUSE_MS_MAX;
        }
    }
    if (load->events.cancelled != NULL && load->events.cancelled(load->events.context)) {
        snprintf(load->reason, sizeof load->reason, "cancelled");
    }
    rows_settle(load, result);
    stored_tell(load, result->stored - load->stored);
    rows_max_adapt(load, clock_now_ms() - begun_ms);
    result->reached = load->reached;
    snprintf(result->reason, sizeof result->reason, "%s", load->reason);
    load_empty(load);
}

void chord_load_drop(struct chord_load *load, const char *reason) {
    snprintf(load->reason, sizeof load->reason, "%s", reason);
    for (size_t i = 0; i < load->rows_count; i++) {
        row_failed(load, &load->rows[i]);
    }
    load_empty(load);
}

/* Storing a window of rows; see import_window.h. Batches go out from the import's thread, answers
 * come back on the RPC runtime's threads and are only put in a list there. */
#include "import_window.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "buf.h"
#include "chord/v1/kv.pb-c.h"
#include "hints.h"
#include "ids.h"
#include "kv_target.h"
#include "log.h"
#include "ring_view.h"

enum row_state { ROW_WAITING, ROW_SENT, ROW_STORED, ROW_FAILED, ROW_REPLACED };

struct window_row {
    uint8_t hash[ID_BYTES];
    uint8_t op_id[16];
    size_t at; /* key, then value, in the window's bytes */
    uint32_t key_size;
    uint32_t value_size;
    uint64_t line;
    uint64_t expires_at_ms;
    uint32_t attempt;
    uint64_t seen_epoch; /* before the first attempt; 0 = nothing */
    uint64_t seen_counter;
    enum row_state state;
};

struct window_batch {
    struct window_batch *next;
    struct import_window *window;
    struct rpc_reply reply;
    char address[SETTINGS_ADDRESS_SIZE];
    size_t rows_count;
    uint32_t rows[]; /* places in the window's order */
};

struct import_window {
    struct app *app;
    struct operation *operation;
    struct buf bytes;
    struct window_row *rows;
    size_t rows_count;
    uint32_t *order;  /* rows by hash */
    unsigned attempt; /* rounds since the flush began */
    char reason[200]; /* why rows were refused last */
    /* Answers. */
    pthread_mutex_t lock;
    pthread_cond_t answered;
    struct window_batch *answers;
    unsigned open;
    uint32_t timeout_ms; /* of a batch; a slow disk needs more than a node that is gone */
    bool timed_out;      /* one did in this round */
};

struct import_window *import_window_new(struct app *app, struct operation *operation) {
    struct import_window *window = calloc(1, sizeof(*window));
    if (window == NULL) {
        return NULL;
    }
    window->app = app;
    window->operation = operation;
    pthread_mutex_init(&window->lock, NULL);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&window->answered, &attributes);
    pthread_condattr_destroy(&attributes);
    window->rows = calloc(IMPORT_WINDOW_ROWS_MAX, sizeof(window->rows[0]));
    window->order = calloc(IMPORT_WINDOW_ROWS_MAX, sizeof(window->order[0]));
    if (window->rows == NULL || window->order == NULL) {
        import_window_free(window);
        return NULL;
    }
    return window;
}

void import_window_free(struct import_window *window) {
    if (window != NULL) {
        free(window->rows);
        free(window->order);
        buf_free(&window->bytes);
        pthread_cond_destroy(&window->answered);
        pthread_mutex_destroy(&window->lock);
        free(window);
    }
}

size_t import_window_rows(const struct import_window *window) {
    return window->rows_count;
}

bool import_window_fits(const struct import_window *window, size_t key_size, size_t value_size) {
    return window->rows_count < IMPORT_WINDOW_ROWS_MAX &&
           window->bytes.size + key_size + value_size <= IMPORT_WINDOW_BYTES_MAX;
}

bool import_window_add(struct import_window *window, const struct csv_record *record) {
    struct window_row *row = &window->rows[window->rows_count];
    memset(row, 0, sizeof(*row));
    row->at = window->bytes.size;
    row->key_size = (uint32_t)record->key_size;
    row->value_size = (uint32_t)record->value_size;
    row->expires_at_ms = record->expires_at_ms;
    row->line = record->line;
    if (!buf_append(&window->bytes, record->key, record->key_size) ||
        !buf_append(&window->bytes, record->value, record->value_size) ||
        !id_hash_key(record->key, record->key_size, row->hash)) {
        return false;
    }
    window->rows_count++;
    return true;
}

/* ---- order ---- */

static int compare_rows(const void *a, const void *b, void *context) {
    const struct import_window *window = context;
    uint32_t i = *(const uint32_t *)a;
    uint32_t k = *(const uint32_t *)b;
    const struct window_row *x = &window->rows[i];
    const struct window_row *y = &window->rows[k];
    int order = memcmp(x->hash, y->hash, ID_BYTES);
    if (order == 0) {
        order = (x->key_size > y->key_size) - (x->key_size < y->key_size);
    }
    if (order == 0) {
        order = memcmp(window->bytes.data + x->at, window->bytes.data + y->at, x->key_size);
    }
    return order != 0 ? order : (i > k) - (i < k);
}

static bool same_key(const struct import_window *window, const struct window_row *x,
                     const struct window_row *y) {
    return x->key_size == y->key_size && memcmp(x->hash, y->hash, ID_BYTES) == 0 &&
           memcmp(window->bytes.data + x->at, window->bytes.data + y->at, x->key_size) == 0;
}

/* The operations of one batch are concurrent: of two rows with one key only the later is sent. */
static bool rows_prepare(struct import_window *window) {
    for (size_t i = 0; i < window->rows_count; i++) {
        window->order[i] = (uint32_t)i;
    }
    qsort_r(window->order, window->rows_count, sizeof(window->order[0]), compare_rows, window);
    uint8_t seed[16];
    if (getrandom(seed, sizeof(seed), 0) != (ssize_t)sizeof(seed)) {
        return false;
    }
    for (size_t i = 0; i < window->rows_count; i++) {
        struct window_row *row = &window->rows[window->order[i]];
        if (i + 1 < window->rows_count &&
            same_key(window, row, &window->rows[window->order[i + 1]])) {
            row->state = ROW_REPLACED;
        }
        /* Unique in the window by the number, and over windows by 12 random bytes. */
        uint32_t number = (uint32_t)i;
        memcpy(row->op_id, seed, sizeof(seed));
        memcpy(row->op_id + 12, &number, sizeof(number));
    }
    return true;
}

/* ---- sending ---- */

/* On a thread of the RPC runtime. */
static void batch_answered(void *context, struct rpc_reply *reply) {
    struct window_batch *batch = context;
    struct import_window *window = batch->window;
    batch->reply = *reply;
    pthread_mutex_lock(&window->lock);
    batch->next = window->answers;
    window->answers = batch;
    pthread_cond_signal(&window->answered);
    pthread_mutex_unlock(&window->lock);
}

static void row_target(struct import_window *window, const struct window_row *row, unsigned m,
                       char address[SETTINGS_ADDRESS_SIZE], struct hint *hint) {
    struct ring_id id;
    memset(hint, 0, sizeof(*hint));
    address[0] = '\0';
    if (m > 0) {
        id_from_hash(&id, row->hash, m);
        if (hints_find(window->app->hints, &id, hint)) {
            memcpy(address, hint->address, SETTINGS_ADDRESS_SIZE);
        }
    }
}

struct batch_message {
    Chord__V1__Operation operations[IMPORT_BATCH_ROWS_MAX];
    Chord__V1__Version seen[IMPORT_BATCH_ROWS_MAX];
    Chord__V1__Operation *pointers[IMPORT_BATCH_ROWS_MAX];
};

static void batch_add(struct import_window *window, struct window_batch *batch,
                      struct batch_message *message, uint32_t index, const struct hint *hint) {
    struct window_row *row = &window->rows[index];
    size_t at = batch->rows_count;
    Chord__V1__Operation *operation = &message->operations[at];
    chord__v1__operation__init(operation);
    operation->kind = CHORD__V1__OPERATION_KIND__OPERATION_KIND_PUT;
    operation->key.data = window->bytes.data + row->at;
    operation->key.len = row->key_size;
    operation->value.data = window->bytes.data + row->at + row->key_size;
    operation->value.len = row->value_size;
    operation->expires_at_ms = row->expires_at_ms;
    operation->op_id.data = row->op_id;
    operation->op_id.len = sizeof(row->op_id);
    if (row->attempt++ == 0 && row->seen_epoch == 0) {
        row->seen_epoch = hint->seen_epoch;
        row->seen_counter = hint->seen_counter;
    }
    operation->attempt = row->attempt;
    chord__v1__version__init(&message->seen[at]);
    message->seen[at].epoch = row->seen_epoch; /* (0, 0): nothing is known of the key */
    message->seen[at].counter = row->seen_counter;
    operation->seen = &message->seen[at];
    message->pointers[at] = operation;
    batch->rows[batch->rows_count++] = index;
    row->state = ROW_SENT;
}

/* Fills a batch from order[*from] on: rows of one leader, within the limits. */
static struct window_batch *batch_fill(struct import_window *window, size_t *from,
                                       struct batch_message *message) {
    enum { OPERATION_BYTES = 96 }; /* of the packed form, beside key and value */
    struct window_batch *batch = NULL;
    size_t bytes = 0;
    unsigned m = ring_view_parameters(window->app->view).m;
    for (; *from < window->rows_count; (*from)++) {
        uint32_t index = window->order[*from];
        const struct window_row *row = &window->rows[index];
        if (row->state != ROW_WAITING) {
            continue;
        }
        char address[SETTINGS_ADDRESS_SIZE];
        struct hint hint;
        row_target(window, row, m, address, &hint);
        size_t more = (size_t)row->key_size + row->value_size + OPERATION_BYTES;
        if (batch == NULL) {
            batch = calloc(1, sizeof(*batch) + IMPORT_BATCH_ROWS_MAX * sizeof(batch->rows[0]));
            if (batch == NULL) {
                return NULL;
            }
            batch->window = window;
            memcpy(batch->address, address, sizeof(address));
        } else if (strcmp(batch->address, address) != 0 || bytes + more > IMPORT_BATCH_BYTES_MAX ||
                   batch->rows_count >= IMPORT_BATCH_ROWS_MAX) {
            break;
        }
        batch_add(window, batch, message, index, &hint);
        bytes += more;
    }
    return batch;
}

static void batch_send(struct import_window *window, struct window_batch *batch,
                       struct batch_message *message) {
    Chord__V1__BatchRequest request = CHORD__V1__BATCH_REQUEST__INIT;
    request.operations = message->pointers;
    request.n_operations = batch->rows_count;
    if (batch->address[0] == '\0') {
        kv_target_find(window->app, NULL, window->attempt + 1, batch->address);
    }
    window->open++;
    if (batch->address[0] == '\0') {
        struct rpc_reply nobody = {.code = CHORD__V1__CODE__CODE_UNAVAILABLE, .local = true};
        snprintf(nobody.message, sizeof(nobody.message), "no node of the ring answers");
        batch_answered(batch, &nobody);
        return;
    }
    rpc_client_call(window->app->client, batch->address, RPC_KV_BATCH, &request.base,
                    window->timeout_ms, batch_answered, batch);
}

/* ---- answers ---- */

static void reason_set(struct import_window *window, Chord__V1__Code code, const char *message) {
    snprintf(window->reason, sizeof(window->reason), "%s%s%.150s", rpc_code_text(code),
             message[0] == '\0' ? "" : ": ", message);
}

static void row_failed(struct import_window *window, struct window_row *row) {
    row->state = ROW_FAILED;
    operation_row_failed(window->operation, row->line, window->reason);
}

static void row_answered(struct import_window *window, struct window_row *row, Chord__V1__Code code,
                         const char *message) {
    if (code == CHORD__V1__CODE__CODE_OK) {
        row->state = ROW_STORED;
        return;
    }
    reason_set(window, code, message);
    bool hopeless = code == CHORD__V1__CODE__CODE_INVALID_ARGUMENT ||
                    code == CHORD__V1__CODE__CODE_PERMISSION_DENIED ||
                    code == CHORD__V1__CODE__CODE_UNAUTHENTICATED ||
                    code == CHORD__V1__CODE__CODE_UNIMPLEMENTED ||
                    code == CHORD__V1__CODE__CODE_OUT_OF_RANGE;
    if (hopeless) {
        row_failed(window, row);
    } else {
        row->state = ROW_WAITING; /* a put of the same value is safe to repeat */
    }
}

static void batch_take(struct import_window *window, struct window_batch *batch) {
    const struct rpc_reply *reply = &batch->reply;
    const Chord__V1__BatchResponse *response =
        reply->code == CHORD__V1__CODE__CODE_OK
            ? (const Chord__V1__BatchResponse *)(const void *)reply->response
            : NULL;
    struct view_parameters ring = ring_view_parameters(window->app->view);
    if (response != NULL) {
        kv_hint_keep(window->app, response->hint);
    } else {
        window->timed_out |= reply->code == CHORD__V1__CODE__CODE_DEADLINE_EXCEEDED;
        log_line("INFO", "import", "%zu rows are sent again: %s: %s", batch->rows_count,
                 batch->address, reply->message);
    }
    bool elsewhere = reply->local || reply->code == CHORD__V1__CODE__CODE_WRONG_RING;
    if (elsewhere && batch->address[0] != '\0' && response == NULL) {
        hints_forget_address(window->app->hints, batch->address);
        ring_view_poke(window->app->view, batch->address);
    }
    for (size_t i = 0; i < batch->rows_count; i++) {
        struct window_row *row = &window->rows[batch->rows[i]];
        if (response == NULL) {
            Chord__V1__Code code = reply->code == CHORD__V1__CODE__CODE_OK
                                       ? CHORD__V1__CODE__CODE_INTERNAL
                                       : reply->code;
            row_answered(window, row, code, reply->message);
        } else if (i >= response->n_results) {
            row_answered(window, row, CHORD__V1__CODE__CODE_INTERNAL, "a result is missing");
        } else {
            const Chord__V1__OperationResult *result = response->results[i];
            row_answered(window, row, result->code, "");
            bool done = result->code != CHORD__V1__CODE__CODE_UNAVAILABLE &&
                        result->code != CHORD__V1__CODE__CODE_RESOURCE_EXHAUSTED &&
                        result->code != CHORD__V1__CODE__CODE_ABORTED;
            if (!done && row->attempt == 1) {
                row->attempt = 0;              /* it was certainly not written */
                if (result->version != NULL) { /* the key is newer than we knew */
                    row->seen_epoch = result->version->epoch;
                    row->seen_counter = result->version->counter;
                }
            }
            window->timed_out |= result->code == CHORD__V1__CODE__CODE_DEADLINE_EXCEEDED;
            if (result->version != NULL && ring.known) {
                struct ring_id id;
                id_from_hash(&id, row->hash, ring.m);
                hints_seen(window->app->hints, &id, result->version->epoch,
                           result->version->counter);
            }
        }
    }
    rpc_reply_free(&batch->reply);
    free(batch);
}

/* Takes answers until at most `open_max` batches are out. */
static void answers_take(struct import_window *window, unsigned open_max) {
    pthread_mutex_lock(&window->lock);
    while (window->open > open_max) {
        while (window->answers == NULL) {
            pthread_cond_wait(&window->answered, &window->lock);
        }
        struct window_batch *batch = window->answers;
        window->answers = batch->next;
        window->open--;
        pthread_mutex_unlock(&window->lock);
        batch_take(window, batch);
        pthread_mutex_lock(&window->lock);
    }
    pthread_mutex_unlock(&window->lock);
}

static size_t rows_in(const struct import_window *window, enum row_state state) {
    size_t count = 0;
    for (size_t i = 0; i < window->rows_count; i++) {
        count += window->rows[i].state == state;
    }
    return count;
}

/* A row that a later one with the same key replaced shares that one's fate. */
static size_t replaced_settle(struct import_window *window) {
    size_t stored = 0;
    for (size_t i = window->rows_count; i-- > 0;) {
        struct window_row *row = &window->rows[window->order[i]];
        if (row->state != ROW_REPLACED || i + 1 >= window->rows_count) {
            continue;
        }
        if (window->rows[window->order[i + 1]].state == ROW_STORED) {
            row->state = ROW_STORED;
            stored++;
        } else {
            row_failed(window, row);
        }
    }
    return stored;
}

static void round_send(struct import_window *window, struct batch_message *message) {
    size_t from = 0;
    for (;;) {
        struct window_batch *batch = batch_fill(window, &from, message);
        if (batch == NULL) {
            break;
        }
        batch_send(window, batch, message);
        answers_take(window, IMPORT_BATCHES_OPEN_MAX - 1);
        if (operation_cancelled(window->operation) || atomic_load(&window->app->stopping)) {
            break;
        }
    }
    answers_take(window, 0);
}

static void round_pause(unsigned attempt) {
    unsigned ms = attempt < 5 ? 50u << attempt : 1000;
    struct timespec wait = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    nanosleep(&wait, NULL);
}

size_t import_window_flush(struct import_window *window, char *reason, size_t reason_size) {
    uint64_t end = clock_now_ms() + IMPORT_ROW_MS;
    struct batch_message *message = malloc(sizeof(*message));
    snprintf(window->reason, sizeof(window->reason), "no memory");
    bool ready = message != NULL && rows_prepare(window);
    uint64_t nobody_since = 0;
    window->timeout_ms = IMPORT_BATCH_TIMEOUT_MS;
    size_t stored = 0;
    for (window->attempt = 0; ready; window->attempt++) {
        window->timed_out = false;
        round_send(window, message);
        if (window->timed_out && window->timeout_ms < IMPORT_BATCH_TIMEOUT_MS_MAX) {
            window->timeout_ms *= 2;
        }
        size_t now = rows_in(window, ROW_STORED);
        operation_rows_stored(window->operation, now - stored);
        stored = now;
        if (rows_in(window, ROW_WAITING) == 0 || clock_now_ms() >= end ||
            operation_cancelled(window->operation) || atomic_load(&window->app->stopping)) {
            break;
        }
        struct view_ref ref;
        bool nobody = ring_view_alive(window->app->view, &ref, 1) == 0;
        nobody_since = !nobody ? 0 : nobody_since == 0 ? clock_now_ms() : nobody_since;
        if (nobody && clock_now_ms() - nobody_since > IMPORT_NOBODY_MS) {
            break;
        }
        round_pause(window->attempt);
    }
    if (operation_cancelled(window->operation)) {
        snprintf(window->reason, sizeof(window->reason), "cancelled");
    }
    for (size_t i = 0; i < window->rows_count; i++) {
        if (window->rows[i].state == ROW_WAITING || window->rows[i].state == ROW_SENT) {
            row_failed(window, &window->rows[i]);
        }
    }
    operation_rows_stored(window->operation, replaced_settle(window));
    size_t failed = rows_in(window, ROW_FAILED);
    snprintf(reason, reason_size, "%s", window->reason);
    window->rows_count = 0;
    buf_clear(&window->bytes);
    free(message);
    return failed;
}

void import_window_drop(struct import_window *window, const char *reason) {
    snprintf(window->reason, sizeof(window->reason), "%s", reason);
    for (size_t i = 0; i < window->rows_count; i++) {
        row_failed(window, &window->rows[i]);
    }
    window->rows_count = 0;
    buf_clear(&window->bytes);
}

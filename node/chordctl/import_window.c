/* Storing a window of rows; see import_window.h. Rounds: all rows that wait go out as batches at
 * the same time, then all answers are read, then those that wait again go out once more. */
#include "import_window.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "text.h"

enum {
    HASH_BYTES = 20,
    OP_ID_BYTES = 16,
    ROW_PACKED_BYTES = 96,  /* of an operation, beside key and value; measured at most 76 */
    BATCHES_MAX = 64,       /* of one round */
    NOBODY_ROUNDS_MAX = 20, /* in which no node could be reached */
    PAUSE_MS_FIRST = 25,
    PAUSE_MS_MAX = 500,
};

enum row_state { ROW_WAITING, ROW_STORED, ROW_REPLACED, ROW_FAILED };

struct row {
    uint8_t hash[HASH_BYTES];
    uint8_t op_id[OP_ID_BYTES];
    size_t at; /* key, then value, in the window's bytes */
    uint32_t key_size;
    uint32_t value_size;
    uint64_t line;
    uint64_t expires_at_ms;
    uint32_t lost; /* attempts that may have been carried out */
    bool unknown;  /* there are such */
    uint64_t seen_epoch;
    uint64_t seen_counter;
    enum row_state state;
};

struct batch {
    struct import_window *window;
    struct rpc_reply reply;
    const char *address;
    uint32_t rows_count;
    struct row *rows[BATCH_ROWS_MAX];
};

struct import_window {
    struct ctl *ctl;
    EVP_MD *sha1;
    EVP_MD_CTX *digest;
    struct bytes bytes;
    struct row *rows;
    size_t rows_count;
    struct row **order; /* by hash, key, line */
    unsigned round;
    bool reached;     /* some node took something in this round */
    bool hopeless;    /* a refusal that another attempt will not change */
    char reason[300]; /* why rows wait */
    pthread_mutex_t lock;
    pthread_cond_t answered;
    size_t open;
};

struct import_window *import_window_new(struct ctl *ctl) {
    struct import_window *window = memory_new(1, sizeof *window);
    window->ctl = ctl;
    window->rows = memory_new(WINDOW_ROWS_MAX, sizeof window->rows[0]);
    window->order = memory_new(WINDOW_ROWS_MAX, sizeof(struct row *));
    pthread_mutex_init(&window->lock, NULL);
    pthread_cond_init(&window->answered, NULL);
    window->sha1 = EVP_MD_fetch(NULL, "SHA1", NULL);
    window->digest = EVP_MD_CTX_new();
    if (window->sha1 == NULL || window->digest == NULL) {
        ctl_error("the library libcrypto of this host offers no SHA-1, which places the keys");
        exit(CTL_REFUSED);
    }
    return window;
}

void import_window_free(struct import_window *window) {
    EVP_MD_CTX_free(window->digest);
    EVP_MD_free(window->sha1);
    pthread_cond_destroy(&window->answered);
    pthread_mutex_destroy(&window->lock);
    bytes_free(&window->bytes);
    free(window->order);
    free(window->rows);
    free(window);
}

size_t import_window_rows(const struct import_window *window) {
    return window->rows_count;
}

bool import_window_fits(const struct import_window *window, size_t key_size, size_t value_size) {
    return window->rows_count < WINDOW_ROWS_MAX &&
           window->bytes.size + key_size + value_size <= WINDOW_BYTES_MAX;
}

void import_window_add(struct import_window *window, uint64_t line, const void *key,
                       size_t key_size, const void *value, size_t value_size,
                       uint64_t expires_at_ms) {
    struct row *row = &window->rows[window->rows_count++];
    *row = (struct row){.at = window->bytes.size,
                        .key_size = (uint32_t)key_size,
                        .value_size = (uint32_t)value_size,
                        .line = line,
                        .expires_at_ms = expires_at_ms};
    bytes_append(&window->bytes, key, key_size);
    bytes_append(&window->bytes, value, value_size);
    EVP_DigestInit_ex(window->digest, window->sha1, NULL);
    EVP_DigestUpdate(window->digest, key, key_size);
    EVP_DigestFinal_ex(window->digest, row->hash, NULL);
}

/* ---- order ---- */

static int compare_keys(const struct import_window *window, const struct row *x,
                        const struct row *y) {
    int order = memcmp(x->hash, y->hash, HASH_BYTES);
    if (order == 0) {
        order = (x->key_size > y->key_size) - (x->key_size < y->key_size);
    }
    return order != 0 ? order
                      : memcmp(window->bytes.data + x->at, window->bytes.data + y->at, x->key_size);
}

static int compare_rows(const void *a, const void *b, void *context) {
    const struct row *x = *(const struct row *const *)a;
    const struct row *y = *(const struct row *const *)b;
    int order = compare_keys(context, x, y);
    return order != 0 ? order : (x > y) - (x < y); /* rows stand in the order of the file */
}

/* The operations of a batch are concurrent: of rows with one key only the last is sent. */
static void rows_prepare(struct import_window *window) {
    uint8_t seed[OP_ID_BYTES];
    if (getrandom(seed, sizeof seed, 0) != (ssize_t)sizeof seed) {
        ctl_error("the system gives no random numbers, which name the operations");
        exit(CTL_REFUSED);
    }
    for (size_t i = 0; i < window->rows_count; i++) {
        window->order[i] = &window->rows[i];
    }
    qsort_r(window->order, window->rows_count, sizeof(struct row *), compare_rows, window);
    for (size_t i = 0; i < window->rows_count; i++) {
        struct row *row = window->order[i];
        uint32_t number = (uint32_t)i;
        if (i + 1 < window->rows_count && compare_keys(window, row, window->order[i + 1]) == 0) {
            row->state = ROW_REPLACED;
        }
        /* Unique in the window by the number, and over windows by 12 random bytes. */
        memcpy(row->op_id, seed, sizeof seed);
        memcpy(row->op_id + sizeof seed - sizeof number, &number, sizeof number);
    }
}

/* ---- a batch ---- */

/* On a thread of the RPC runtime. */
static void batch_answered(void *context, struct rpc_reply *reply) {
    struct batch *batch = context;
    struct import_window *window = batch->window;
    batch->reply = *reply;
    pthread_mutex_lock(&window->lock);
    window->open--;
    pthread_cond_signal(&window->answered);
    pthread_mutex_unlock(&window->lock);
}

/* Takes rows that wait from order[*from] on, within the limits. NULL: none wait. */
static struct batch *batch_fill(struct import_window *window, size_t *from) {
    struct batch *batch = NULL;
    size_t bytes = 0;
    for (; *from < window->rows_count; (*from)++) {
        struct row *row = window->order[*from];
        size_t more = (size_t)row->key_size + row->value_size + ROW_PACKED_BYTES;
        if (row->state != ROW_WAITING) {
            continue;
        }
        if (batch == NULL) {
            batch = memory_new(1, sizeof *batch);
            batch->window = window;
        } else if (bytes + more > BATCH_BYTES_MAX || batch->rows_count == BATCH_ROWS_MAX) {
            break;
        }
        batch->rows[batch->rows_count++] = row;
        bytes += more;
    }
    return batch;
}

struct batch_message {
    Chord__V1__Operation operations[BATCH_ROWS_MAX];
    Chord__V1__Operation *pointers[BATCH_ROWS_MAX];
    Chord__V1__Version seen[BATCH_ROWS_MAX];
};

static void operation_fill(const struct import_window *window, struct row *row,
                           Chord__V1__Operation *operation, Chord__V1__Version *seen) {
    chord__v1__operation__init(operation);
    operation->kind = CHORD__V1__OPERATION_KIND__OPERATION_KIND_PUT;
    operation->key = (ProtobufCBinaryData){row->key_size, window->bytes.data + row->at};
    operation->value =
        (ProtobufCBinaryData){row->value_size, window->bytes.data + row->at + row->key_size};
    operation->op_id = (ProtobufCBinaryData){OP_ID_BYTES, row->op_id};
    operation->expires_at_ms = row->expires_at_ms;
    operation->attempt = row->lost + 1;
    chord__v1__version__init(seen);
    seen->epoch = row->seen_epoch; /* (0, 0): nothing is known of the key */
    seen->counter = row->seen_counter;
    operation->seen = seen;
}

static void batch_send(struct import_window *window, struct batch *batch, uint32_t timeout_ms) {
    Chord__V1__BatchRequest request = CHORD__V1__BATCH_REQUEST__INIT;
    struct batch_message *message = memory_new(1, sizeof *message);
    for (uint32_t i = 0; i < batch->rows_count; i++) {
        operation_fill(window, batch->rows[i], &message->operations[i], &message->seen[i]);
        message->pointers[i] = &message->operations[i];
    }
    request.operations = message->pointers;
    request.n_operations = batch->rows_count;
    pthread_mutex_lock(&window->lock);
    window->open++;
    pthread_mutex_unlock(&window->lock);
    rpc_client_call(window->ctl->client, batch->address, RPC_KV_BATCH, &request.base, timeout_ms,
                    batch_answered, batch);
    free(message); /* the request is packed */
}

/* ---- answers ---- */

static bool code_is_hopeless(Chord__V1__Code code) {
    return code == CHORD__V1__CODE__CODE_INVALID_ARGUMENT ||
           code == CHORD__V1__CODE__CODE_PERMISSION_DENIED ||
           code == CHORD__V1__CODE__CODE_UNAUTHENTICATED ||
           code == CHORD__V1__CODE__CODE_FAILED_PRECONDITION ||
           code == CHORD__V1__CODE__CODE_UNIMPLEMENTED || code == CHORD__V1__CODE__CODE_DATA_LOSS;
}

static void row_answered(struct import_window *window, struct row *row, Chord__V1__Code code,
                         const char *message) {
    if (code == CHORD__V1__CODE__CODE_OK) {
        row->state = ROW_STORED;
        return;
    }
    snprintf(window->reason, sizeof window->reason, "%s%s%s", rpc_code_text(code),
             message[0] != '\0' ? ": " : "", message);
    if (code_is_hopeless(code)) {
        row->state = ROW_FAILED;
        window->hopeless = true;
    }
}

static void batch_take(struct import_window *window, struct batch *batch) {
    const struct rpc_reply *reply = &batch->reply;
    const Chord__V1__BatchResponse *response =
        reply->code == CHORD__V1__CODE__CODE_OK
            ? (const Chord__V1__BatchResponse *)(const void *)reply->response
            : NULL;
    enum call_fate fate = call_fate(reply, true);
    window->reached = window->reached || fate != CALL_NOT_SENT;
    for (uint32_t i = 0; i < batch->rows_count; i++) {
        struct row *row = batch->rows[i];
        if (response == NULL || i >= response->n_results) {
            bool broken = reply->code == CHORD__V1__CODE__CODE_OK;
            row->lost += broken || fate == CALL_LOST;
            row->unknown = row->lost > 0;
            row_answered(window, row, broken ? CHORD__V1__CODE__CODE_INTERNAL : reply->code,
                         broken ? "a result is missing in the answer" : reply->message);
            continue;
        }
        const Chord__V1__OperationResult *result = response->results[i];
        if (result->code == CHORD__V1__CODE__CODE_ABORTED && row->lost == 0 &&
            result->version != NULL) { /* not done: the key is newer than was known */
            row->seen_epoch = result->version->epoch;
            row->seen_counter = result->version->counter;
        }
        row->lost += result->code == CHORD__V1__CODE__CODE_UNKNOWN ||
                     result->code == CHORD__V1__CODE__CODE_DEADLINE_EXCEEDED;
        row->unknown = row->lost > 0;
        row_answered(window, row, result->code, "");
    }
    rpc_reply_free(&batch->reply);
    free(batch);
}

/* ---- rounds ---- */

/* The next node that listens, from the round's own on, so that attempts go round. NULL: none. */
static const char *target_choose(struct import_window *window) {
    struct ctl *ctl = window->ctl;
    int error = 0;
    for (size_t i = 0; i < ctl->nodes_count; i++) {
        const char *address = ctl->nodes[(window->round + i) % ctl->nodes_count];
        error = address_probe(address, 500);
        if (error == 0) {
            return address;
        }
    }
    snprintf(window->reason, sizeof window->reason, "no node answers (%s)", strerror(error));
    return NULL;
}

static void round_run(struct import_window *window, uint32_t ask_ms) {
    struct batch *batches[BATCHES_MAX];
    size_t count = 0;
    size_t from = 0;
    const char *address = target_choose(window);
    window->reached = false;
    while (address != NULL && count < BATCHES_MAX) {
        struct batch *batch = batch_fill(window, &from);
        if (batch == NULL) {
            break;
        }
        batch->address = address;
        batches[count++] = batch;
        batch_send(window, batch, ask_ms);
    }
    pthread_mutex_lock(&window->lock);
    while (window->open > 0) {
        pthread_cond_wait(&window->answered, &window->lock);
    }
    pthread_mutex_unlock(&window->lock);
    for (size_t i = 0; i < count; i++) {
        batch_take(window, batches[i]);
    }
}

static size_t rows_waiting(const struct import_window *window) {
    size_t count = 0;
    for (size_t i = 0; i < window->rows_count; i++) {
        count += window->rows[i].state == ROW_WAITING;
    }
    return count;
}

/* A row that a later one with its key replaced shares that one's fate. */
static void result_make(struct import_window *window, struct window_result *result) {
    bool unknown = false;
    struct row *next = NULL;
    for (size_t i = window->rows_count; i-- > 0; next = window->order[i]) {
        struct row *row = window->order[i];
        if (row->state == ROW_REPLACED) {
            row->state = next->state;
            row->unknown = next->unknown;
        }
        if (row->state == ROW_STORED) {
            result->stored++;
            continue;
        }
        result->failed++;
        unknown = unknown || row->unknown;
        if (result->failed_line == 0 || row->line < result->failed_line) {
            result->failed_line = row->line;
        }
    }
    if (result->failed > 0) {
        result->exit_code = unknown ? CTL_UNKNOWN : window->reached ? CTL_REFUSED : CTL_NO_NODE;
        snprintf(result->reason, sizeof result->reason, "%s", window->reason);
    }
}

void import_window_flush(struct import_window *window, uint64_t timeout_ms,
                         struct window_result *result) {
    uint64_t end_ms = clock_now_ms() + timeout_ms;
    uint64_t wait_ms = PAUSE_MS_FIRST;
    unsigned nobody = 0;
    *result = (struct window_result){.exit_code = CTL_OK};
    window->hopeless = false;
    rows_prepare(window);
    while (rows_waiting(window) > 0) {
        uint64_t now_ms = clock_now_ms();
        uint64_t left_ms = now_ms < end_ms ? end_ms - now_ms : 1;
        round_run(window, (uint32_t)(left_ms < BATCH_ASK_MS ? left_ms : BATCH_ASK_MS));
        nobody = window->reached ? 0 : nobody + 1;
        if (rows_waiting(window) == 0 || window->hopeless || nobody == NOBODY_ROUNDS_MAX ||
            clock_now_ms() >= end_ms) {
            break;
        }
        window->round++;
        pause_ms(wait_ms);
        wait_ms = 2 * wait_ms < PAUSE_MS_MAX ? 2 * wait_ms : PAUSE_MS_MAX;
    }
    result_make(window, result);
    window->rows_count = 0;
    window->bytes.size = 0;
}

/* SPDX-License-Identifier: MIT */
/* The table of operations; see operations.h. One lock: the numbers change a few times a batch. */
#include "operations.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "json.h"
#include "log.h"
#include "routes.h"

struct operation_error {
    uint64_t line;
    char reason[160];
};

struct operation {
    struct operations *operations;
    char id[OPERATION_ID_MAX + 1];
    enum operation_state state;
    uint64_t number; /* age */
    int64_t bytes_total;
    uint64_t bytes_read;
    struct csv_import_account account;
    char form[16];
    char charset[16];
    char delimiter[16];
    struct operation_error *errors;
    size_t errors_count;
    char error[300];
    uint64_t published_ms;
    atomic_bool cancelled;
};

struct operations {
    pthread_mutex_t lock;
    struct events *events;
    struct db *db;
    struct operation *table[OPERATIONS_MAX];
    size_t count;
    size_t running;
    uint64_t numbers;
};

struct operations *operations_new(struct events *events, struct db *db) {
    struct operations *operations = calloc(1, sizeof(*operations));
    if (operations != NULL) {
        pthread_mutex_init(&operations->lock, NULL);
        operations->events = events;
        operations->db = db;
    }
    return operations;
}

static void operation_free(struct operation *operation) {
    free(operation->errors);
    free(operation);
}

void operations_free(struct operations *operations) {
    if (operations != NULL) {
        for (size_t i = 0; i < operations->count; i++) {
            operation_free(operations->table[i]);
        }
        pthread_mutex_destroy(&operations->lock);
        free(operations);
    }
}

bool operation_id_valid(const char *id) {
    size_t size = strspn(id, "abcdefghijklmnopqrstuvwxyz0123456789-");
    return id[size] == '\0' && size >= OPERATION_ID_MIN && size <= OPERATION_ID_MAX;
}

static struct operation *operation_find(struct operations *operations, const char *id) {
    for (size_t i = 0; i < operations->count; i++) {
        if (strcmp(operations->table[i]->id, id) == 0) {
            return operations->table[i];
        }
    }
    return NULL;
}

/* Makes room by dropping the oldest that has ended. */
static bool table_make_room(struct operations *operations) {
    if (operations->count < OPERATIONS_MAX) {
        return true;
    }
    size_t oldest = OPERATIONS_MAX;
    for (size_t i = 0; i < operations->count; i++) {
        const struct operation *operation = operations->table[i];
        if (operation->state != OPERATION_RUNNING &&
            (oldest == OPERATIONS_MAX || operation->number < operations->table[oldest]->number)) {
            oldest = i;
        }
    }
    if (oldest == OPERATIONS_MAX) {
        return false;
    }
    operation_free(operations->table[oldest]);
    operations->table[oldest] = operations->table[--operations->count];
    return true;
}

static void id_random(char id[OPERATION_ID_MAX + 1]) {
    uint8_t bytes[8];
    if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes)) {
        uint64_t now = clock_unix_ms();
        memcpy(bytes, &now, sizeof(bytes));
    }
    for (size_t i = 0; i < sizeof(bytes); i++) {
        snprintf(id + 2 * i, 3, "%02x", bytes[i]);
    }
}

int operation_start(struct operations *operations, const char *id, int64_t bytes_total,
                    struct operation **out) {
    struct operation *operation = calloc(1, sizeof(*operation));
    if (operation == NULL) {
        return -ENOMEM;
    }
    operation->errors = calloc(OPERATION_ERRORS_MAX, sizeof(operation->errors[0]));
    operation->operations = operations;
    operation->bytes_total = bytes_total;
    if (id != NULL) {
        snprintf(operation->id, sizeof(operation->id), "%s", id);
    } else {
        id_random(operation->id);
    }
    char *saved = id == NULL ? NULL : db_operation_read(operations->db, id);
    pthread_mutex_lock(&operations->lock);
    int result = operation->errors == NULL ? -ENOMEM : 0;
    if (result == 0 && (saved != NULL || operation_find(operations, operation->id) != NULL)) {
        result = -EEXIST;
    } else if (operations->running >= OPERATIONS_RUNNING_MAX || !table_make_room(operations)) {
        result = -EBUSY;
    }
    if (result == 0) {
        operation->number = ++operations->numbers;
        operations->table[operations->count++] = operation;
        operations->running++;
    }
    pthread_mutex_unlock(&operations->lock);
    free(saved);
    if (result != 0) {
        operation_free(operation);
        operation = NULL;
    }
    *out = operation;
    return result;
}

const char *operation_id(const struct operation *operation) {
    return operation->id;
}

static const char *const states[] = {"running", "done", "partial", "failed", "cancelled"};

static json_t *operation_json(const struct operation *operation) {
    json_t *errors = json_array();
    for (size_t i = 0; i < operation->errors_count; i++) {
        const struct operation_error *error = &operation->errors[i];
        (void)json_array_append_new(errors, json_pack("{s:o, s:o}", "line", json_u64(error->line),
                                                      "reason", json_text(error->reason)));
    }
    return json_pack(
        "{s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "id", operation->id,
        "state", states[operation->state], "bytes_read", json_u64(operation->bytes_read),
        "bytes_total",
        operation->bytes_total < 0 ? json_null() : json_u64((uint64_t)operation->bytes_total),
        "rows_read", json_u64(operation->account.rows_read), "rows_stored",
        json_u64(operation->account.rows_stored), "rows_failed",
        json_u64(operation->account.rows_failed), "rows_completed",
        json_u64(operation->account.rows_completed), "form", json_text(operation->form), "charset",
        json_text(operation->charset), "delimiter", json_text(operation->delimiter), "errors",
        errors, "error", json_text(operation->error));
}

/* Unlocks. Progress goes out at most four times a second. */
static void operation_unlock(struct operation *operation) {
    struct operations *operations = operation->operations;
    uint64_t now = clock_now_ms();
    json_t *json = NULL;
    if (now - operation->published_ms >= OPERATION_PUBLISH_MS) {
        operation->published_ms = now;
        json = operation_json(operation);
    }
    pthread_mutex_unlock(&operations->lock);
    if (json != NULL) {
        events_publish(operations->events, "import", json, false);
    }
}

void operation_progress(struct operation *operation, const struct csv_import_account *account,
                        const struct csv_table *table, uint64_t bytes_read) {
    pthread_mutex_lock(&operation->operations->lock);
    operation->account = *account;
    operation->bytes_read = bytes_read;
    snprintf(operation->form, sizeof(operation->form), "%s", csv_table_form(table));
    snprintf(operation->charset, sizeof(operation->charset), "%s", csv_table_charset(table));
    snprintf(operation->delimiter, sizeof(operation->delimiter), "%s", csv_table_delimiter(table));
    operation_unlock(operation);
}

void operation_row_failed(struct operation *operation, uint64_t line, const char *reason) {
    pthread_mutex_lock(&operation->operations->lock);
    if (operation->errors_count < OPERATION_ERRORS_MAX) {
        struct operation_error *error = &operation->errors[operation->errors_count++];
        error->line = line;
        snprintf(error->reason, sizeof(error->reason), "%s", reason);
    }
    pthread_mutex_unlock(&operation->operations->lock);
}

bool operation_cancelled(struct operation *operation) {
    return atomic_load(&operation->cancelled);
}

json_t *operation_end(struct operation *operation, enum operation_state state, const char *error) {
    struct operations *operations = operation->operations;
    pthread_mutex_lock(&operations->lock);
    operation->state = state;
    snprintf(operation->error, sizeof(operation->error), "%s", error);
    operations->running--;
    json_t *json = operation_json(operation);
    log_line("INFO", "import", "%s %s: %llu rows stored, %llu failed%s%s", operation->id,
             states[state], (unsigned long long)operation->account.rows_stored,
             (unsigned long long)operation->account.rows_failed, error[0] == '\0' ? "" : ": ",
             error);
    char id[OPERATION_ID_MAX + 1];
    memcpy(id, operation->id, sizeof(id));
    pthread_mutex_unlock(&operations->lock);
    char *text = json_dumps(json, JSON_COMPACT);
    if (text != NULL) {
        db_operation_save(operations->db, id, text);
        free(text);
    }
    events_publish(operations->events, "import", json_incref(json), true);
    return json;
}

json_t *operations_json(struct operations *operations, const char *id) {
    pthread_mutex_lock(&operations->lock);
    const struct operation *operation = operation_find(operations, id);
    json_t *json = operation == NULL ? NULL : operation_json(operation);
    pthread_mutex_unlock(&operations->lock);
    if (json == NULL) {
        char *text = db_operation_read(operations->db, id);
        json = text == NULL ? NULL : json_loads(text, 0, NULL);
        free(text);
    }
    return json;
}

bool operations_cancel(struct operations *operations, const char *id) {
    pthread_mutex_lock(&operations->lock);
    struct operation *operation = operation_find(operations, id);
    if (operation != NULL) {
        atomic_store(&operation->cancelled, true);
    }
    pthread_mutex_unlock(&operations->lock);
    return operation != NULL;
}

/* ---- over HTTP ---- */

static const char *operation_named(struct http_request *request, const struct buf *argument) {
    const char *id = (const char *)argument->data;
    if (strlen(id) == argument->size && operation_id_valid(id)) {
        return id;
    }
    http_problem(request, 404, "NOT_FOUND", "no operation is known as '%.80s'", id);
    return NULL;
}

void operation_get(struct app *app, struct http_request *request, const struct buf *argument) {
    const char *id = operation_named(request, argument);
    json_t *json = id == NULL ? NULL : operations_json(app->operations, id);
    if (json != NULL) {
        http_reply_json(request, 200, NULL, json);
    } else if (id != NULL) {
        http_problem(request, 404, "NOT_FOUND", "no operation is known as '%s'", id);
    }
}

void operation_delete(struct app *app, struct http_request *request, const struct buf *argument) {
    const char *id = operation_named(request, argument);
    if (id == NULL) {
        return;
    }
    bool known = operations_cancel(app->operations, id);
    json_t *json = operations_json(app->operations, id);
    if (json != NULL) {
        http_reply_json(request, 202, NULL, json);
    } else if (!known) {
        http_problem(request, 404, "NOT_FOUND", "no operation is known as '%s'", id);
    }
}

/* SPDX-License-Identifier: MIT */
/*
 * Import operations: a bounded table of what runs and what ran lately; the end of each is saved in
 * gateway.db. Thread safe.
 */
#ifndef GATEWAY_OPERATIONS_H
#define GATEWAY_OPERATIONS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "csv_import.h"
#include "db.h"
#include "events.h"

enum {
    OPERATIONS_MAX = 64,        /* kept in memory */
    OPERATIONS_RUNNING_MAX = 8, /* each holds a thread and its window of rows */
    OPERATION_ID_MIN = 8,
    OPERATION_ID_MAX = 64,
    OPERATION_ERRORS_MAX = 100,
    OPERATION_PUBLISH_MS = 250,
};

enum operation_state {
    OPERATION_RUNNING,
    OPERATION_DONE,    /* every row is stored */
    OPERATION_PARTIAL, /* the file was read to its end; some rows are stored, some are not */
    OPERATION_FAILED,
    OPERATION_CANCELLED,
};

struct operations;
struct operation;

struct operations *operations_new(struct events *events, struct db *db); /* NULL = no memory */
void operations_free(struct operations *operations);

bool operation_id_valid(const char *id);
/* `id` NULL = a random one. bytes_total < 0 = not known. 0, -EEXIST (the id was used), -EBUSY (too
 * many run), -ENOMEM. */
int operation_start(struct operations *operations, const char *id, int64_t bytes_total,
                    struct operation **operation);
const char *operation_id(const struct operation *operation);
/* How far it is, and how the file is read. Copied. */
void operation_progress(struct operation *operation, const struct csv_import_account *account,
                        const struct csv_table *table, uint64_t bytes_read);
/* Keeps the first 100 reasons. */
void operation_row_failed(struct operation *operation, uint64_t line, const char *reason);
bool operation_cancelled(struct operation *operation);
/* Ends it and tells everyone; the pointer is not to be used again. The JSON is the caller's. */
json_t *operation_end(struct operation *operation, enum operation_state state, const char *error);

json_t *operations_json(struct operations *operations, const char *id); /* NULL = unknown */
/* false = unknown. One that has ended stays as it is. */
bool operations_cancel(struct operations *operations, const char *id);

#endif

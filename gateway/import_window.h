/*
 * The rows of an import that are under way: a bounded window, sorted by key hash, sent as batches
 * to the nodes that lead them, repeated until each row is acknowledged or its time is over.
 */
#ifndef GATEWAY_IMPORT_WINDOW_H
#define GATEWAY_IMPORT_WINDOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "app.h"
#include "csv_table.h"
#include "operations.h"

enum {
    IMPORT_WINDOW_BYTES_MAX = 4 * 1024 * 1024, /* keys and values */
    IMPORT_WINDOW_ROWS_MAX = 32768,
    IMPORT_BATCH_BYTES_MAX = 1024 * 1024,
    IMPORT_BATCH_ROWS_MAX = 8192,
    IMPORT_BATCHES_OPEN_MAX = 3,
    IMPORT_BATCH_TIMEOUT_MS = 3000, /* at first; each round that ends so doubles it */
    IMPORT_BATCH_TIMEOUT_MS_MAX = 12000,
    IMPORT_ROW_MS = 30000,   /* a row that is not acknowledged after that has failed */
    IMPORT_NOBODY_MS = 5000, /* nor is a ring in which no node answers awaited for longer */
};

struct import_window;

struct import_window *import_window_new(struct app *app, struct operation *operation);
void import_window_free(struct import_window *window);
size_t import_window_rows(const struct import_window *window);
/* Whether one more row of that size fits. */
bool import_window_fits(const struct import_window *window, size_t key_size, size_t value_size);
/* false = no memory. Copies. */
bool import_window_add(struct import_window *window, const struct csv_record *record);
/* Stores all rows and empties the window. Rows that failed are told to the operation; returns how
 * many, with the last reason. Ends early when the operation is cancelled. */
size_t import_window_flush(struct import_window *window, char *reason, size_t reason_size);
/* Instead of that: none of the rows was sent, and each is told to the operation as failed. */
void import_window_drop(struct import_window *window, const char *reason);

#endif

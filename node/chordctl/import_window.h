/*
 * The rows of an import or a merge that are under way: a bounded window, in the order of their
 * hashes (so that a batch goes to few leaders), sent as batches until every row is acknowledged or
 * the time is over.
 */
#ifndef CHORDCTL_IMPORT_WINDOW_H
#define CHORDCTL_IMPORT_WINDOW_H

#include "ctl.h"

enum {
    WINDOW_ROWS_MAX = 32768,
    WINDOW_BYTES_MAX = 4 * 1024 * 1024, /* keys and values */
    BATCH_ROWS_MAX = 8192,
    BATCH_BYTES_MAX = 1024 * 1024, /* packed */
    BATCH_ASK_MS = 8000,
};

struct import_window;

struct window_result {
    int exit_code;        /* CTL_OK: every row is stored */
    size_t stored;        /* rows, those included that a later row with the same key replaced */
    size_t failed;        /* rows that were not, or not surely, stored */
    uint64_t failed_line; /* the first of them */
    char reason[300];     /* why not */
};

struct import_window *import_window_new(struct ctl *ctl);
void import_window_free(struct import_window *window);
size_t import_window_rows(const struct import_window *window);
/* Whether one more row of that size fits. */
bool import_window_fits(const struct import_window *window, size_t key_size, size_t value_size);
/* Copies. */
void import_window_add(struct import_window *window, uint64_t line, const void *key,
                       size_t key_size, const void *value, size_t value_size,
                       uint64_t expires_at_ms); /* unix time; 0 = never */
/* Stores all rows and empties the window; `timeout_ms` from now. */
void import_window_flush(struct import_window *window, uint64_t timeout_ms,
                         struct window_result *result);

#endif

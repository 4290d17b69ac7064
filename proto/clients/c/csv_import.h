/* SPDX-License-Identifier: MIT */
/*
 * A CSV file into the ring, in memory that does not grow with the file: its rows go into a window
 * of chord_load, which is stored when it is full or old. The account closes: every row that was
 * read is stored or has failed.
 */
#ifndef CHORD_CSV_IMPORT_H
#define CHORD_CSV_IMPORT_H

#include "chord_client.h"
#include "csv_table.h"

enum csv_import_end {
    CSV_IMPORT_GOING,     /* or read to its end */
    CSV_IMPORT_BAD_INPUT, /* nothing of the file can be read, or no row of it was stored */
    CSV_IMPORT_NOT_WHOLE, /* an export that was cut or changed */
    CSV_IMPORT_ABORTED,   /* by a bad row, where that was asked for */
    CSV_IMPORT_RING,      /* the ring takes no writes, or there is no memory */
    CSV_IMPORT_CUT,       /* the rest of the file never came */
    CSV_IMPORT_CANCELLED,
};

struct csv_import_account {
    uint64_t bytes_read, rows_read, rows_stored, rows_failed;
    uint64_t rows_completed; /* absent cells were taken as empty */
    enum csv_import_end end;
    char error[300];               /* why it ended before the file did; else empty */
    struct chord_load_result ring; /* of the last window */
};

struct csv_import_options {
    struct csv_table_options table;
    bool abort_on_error; /* stop at a bad row */
    uint32_t store_ms;   /* how long a window is tried */
};

/* The options that people give, by their names, up to a NULL. */
extern const char *const csv_import_option_names[];
/* Takes an option by its name; unknown names are somebody else's. NULL, or what it must be. */
const char *csv_import_option(struct csv_import_options *options, const char *name,
                              const char *text);

/* All run on the thread that feeds. */
struct csv_import_events {
    bool (*cancelled)(void *context); /* NULL: never */
    void (*progress)(void *context, const struct csv_import_account *account);
    /* `bad`: the file's fault, not the ring's. */
    void (*failed)(void *context, uint64_t line, const char *reason, bool bad);
    void (*again)(void *context, size_t rows, const char *address, const char *reason); /* NULL */
    void *context;
};

struct csv_import;

/* Copies both. NULL: no memory. */
struct csv_import *csv_import_new(struct chord_client *client,
                                  const struct csv_import_options *options,
                                  const struct csv_import_events *events);
void csv_import_free(struct csv_import *import); /* accepts NULL */
/* Before the first byte, for one that still may be set. */
struct csv_import_options *csv_import_options(struct csv_import *import);

/* false: it is over. */
bool csv_import_feed(struct csv_import *import, const void *data, size_t size);
/* The end of the file. */
bool csv_import_finish(struct csv_import *import);
/* Ends it; the first reason counts. Always false. */
bool csv_import_fail(struct csv_import *import, enum csv_import_end end, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The same as CSV_IMPORT_CUT, with the rows that are whole. */
bool csv_import_cut(struct csv_import *import, const char *error);
/* In the end: what was read whole is stored, whatever ended it, but for the ring itself. */
void csv_import_settle(struct csv_import *import);
const struct csv_import_account *csv_import_account(const struct csv_import *import);
/* How the file was read: csv_table_form and so on. */
const struct csv_table *csv_import_table(const struct csv_import *import);

#endif

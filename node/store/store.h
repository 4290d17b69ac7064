/* SPDX-License-Identifier: MIT */
/*
 * The store: rows, views and the node's identity in one SQLite file. One connection, used by one
 * thread at a time, does every read, write and checkpoint (SQLite 3.40.1 loses commits when two
 * connections write and checkpoint at once), in the order in which the jobs came, many jobs per
 * commit. A job is done when its commit is on disk (synchronous=FULL).
 */
#ifndef NODE_STORE_H
#define NODE_STORE_H

#include "arena.h"
#include "chord.h"

enum {
    STORE_PAGE_BYTES_MAX = 1024 * 1024, /* rows of one READ_RANGE or LIST_KEYS */
    STORE_PAGE_ROWS_MAX = 16384,
    STORE_KEY_BYTES_MAX = 1024,
    STORE_OP_ID_BYTES = 16,
    STORE_SCHEMA_VERSION = 8,  /* FORMAT.md */
    STORE_SCHEMA_PREVIOUS = 6, /* a step back writes it, or one between */
    STORE_SCRUB_ROWS = 1000,   /* of one SCRUB, and at most */
    STORE_SCRUB_BYTES = 1024 * 1024,
};

enum store_row_kind { STORE_VALUE = 1, STORE_TOMBSTONE = 2 }; /* = chord.v1.RowKind */

struct store_row {
    uint8_t hash[CHORD_ID_BYTES];
    const uint8_t *key;
    size_t key_bytes;
    uint64_t epoch, counter;
    enum store_row_kind kind; /* 0: not found */
    const uint8_t *value;
    size_t value_bytes;
    uint8_t op_id[STORE_OP_ID_BYTES];
    uint8_t op_id_bytes;
    uint64_t expires_at_ms;
    bool existed;  /* its writer was told: the key had a value before */
    bool replaced; /* written: this store held a value there */
    bool bad;      /* read: the checksum does not match; write: a bad row stands in the way */
};

enum store_job_kind {
    STORE_JOB_WRITE = 1,  /* rows: keep each where it is newer */
    STORE_JOB_EQUAL,      /* the same; rows of the range older than `epoch`, with a hash in (after,
                             last] or to the end when `done`, go first */
    STORE_JOB_EXAMINE,    /* as READ, before a write */
    STORE_JOB_READ,       /* rows: fill in what is stored under each key */
    STORE_JOB_READ_RANGE, /* page_*: the next page of a range */
    STORE_JOB_LIST_KEYS,  /* values with the prefix, over every row, in slices between other jobs;
                             ends early at `until_us`; then `after` is how far it came */
    STORE_JOB_DIGEST,
    STORE_JOB_DROP_RANGE,
    STORE_JOB_IDENTITY,
    STORE_JOB_VIEWS,
    STORE_JOB_OTHER_RING, /* identity; all rows and views go */
    STORE_JOB_TOMBSTONES, /* digest_rows = those in the range */
    STORE_JOB_COUNT,      /* counts[i] = values in the range of views[i] */
    STORE_JOB_SCRUB,      /* checks rows from `after` on, to `last` at most; rows: the bad ones;
                             then `last` is as far as it came, and done: all */
    STORE_JOB_BACKUP,     /* a copy of the database, in slices between other jobs */
};

struct store_job {
    struct store_job *next;
    enum store_job_kind kind;
    uint64_t store_op;  /* 0: the core awaits nothing */
    void *owner;        /* the submitter's */
    struct arena arena; /* rows, results and whatever else lives as long as the job */

    struct store_row *rows;
    size_t rows_count;
    struct chord_range range;
    uint64_t epoch;           /* EXAMINE: the floor */
    struct chord_slice first; /* EXAMINE: the version of the batch's first write */
    bool has_after;
    uint8_t after[CHORD_ID_BYTES];
    uint8_t *after_key; /* LIST_KEYS: with `after`, exactly where to go on; NULL: after the hash */
    size_t after_key_bytes;
    const uint8_t *prefix;
    size_t prefix_bytes;
    size_t page_rows_max, page_bytes;
    bool page_values;  /* LIST_KEYS: with values */
    uint64_t until_us; /* LIST_KEYS: monotonic */
    struct chord_identity *identity;
    struct chord_stored_view *views;
    size_t views_count;
    uint64_t *counts;
    struct backup *backup; /* BACKUP: one that has begun (store_backup.h), the submitter's */

    bool ok;
    bool refused; /* not ok since a row is bad; the commit is */
    bool done;    /* a page: nothing lies beyond */
    bool more;    /* LIST_KEYS, BACKUP, inside the store: another slice is to come */
    uint8_t last[CHORD_ID_BYTES];
    uint64_t digest_rows;
    uint8_t digest[CHORD_DIGEST_BYTES];
};

struct store_counts {
    uint64_t keys, bytes; /* keys with a value; bytes of keys and values */
};

/* Where a node with this file has run, the newest first. */
struct store_former {
    uint16_t count;
    struct chord_address items[CHORD_FORMER_MAX];
};

struct store;

enum store_error {
    STORE_OK = 0,
    STORE_UNUSABLE = -1, /* the folder cannot be written */
    STORE_LOCKED = -2,   /* another process has it */
    STORE_FAILED = -3,   /* SQLite said no */
    STORE_COPIED = -4,   /* the file is not where it was made: a copy (store_place.c) */
    STORE_UNKNOWN_SCHEMA =
        -5, /* of a later version, or with a record of a form that is not known */
};

struct store_options {
    const char *directory; /* made when missing */
    const char *address;   /* where the node runs; NULL: nowhere */
    bool moved;            /* somebody says that a copied file is the only one that is left */
    /* On the store's thread, after the commit, or inside store_submit. The job is the receiver's
     * again. */
    void (*on_done)(void *context, struct store_job *job);
    /* On the store's thread: the disk failed, nothing more will be written. */
    void (*on_failure)(void *context, const char *reason);
    void *context;
};

/* Opens or creates. A file that is no database any more is put aside as chord.db.corrupt; one that
 * is a database but cannot be understood stays as it is (STORE_UNKNOWN_SCHEMA). Fills store id,
 * identity (incarnation 0 = new) and views. `reason` gets a sentence on failure. */
enum store_error store_open(struct store **store, const struct store_options *options,
                            uint8_t store_id[CHORD_STORE_ID_BYTES], struct chord_identity *identity,
                            struct chord_stored_view **views, size_t *views_count, char *reason,
                            size_t reason_bytes);
/* Of a stopped node: its database gets an earlier schema, down to STORE_SCHEMA_PREVIOUS, in one
 * transaction, with all that it has promised and stored. `reason` gets a sentence in any case.
 */
enum store_error store_downgrade(const char *directory, int schema, char *reason,
                                 size_t reason_bytes);
/* The ring's identifier bits, once known: needed for ranges. */
void store_set_m(struct store *store, unsigned m);
/* From one thread only. A short read may be done when this returns. */
void store_submit(struct store *store, struct store_job *job);
/* Finishes all jobs, syncs, closes. Accepts NULL. */
void store_close(struct store *store);

struct store_job *store_job_new(enum store_job_kind kind);
void store_job_free(struct store_job *job);

/* All values. Any thread. */
struct store_counts store_count(struct store *store);
const struct store_former *store_former(const struct store *store);
bool store_read_only(struct store *store);     /* the disk is full */
int store_synchronous(struct store *store);    /* as SQLite says; 2 = FULL */
uint64_t store_disk_free(struct store *store); /* bytes of its file system; UINT64_MAX: unknown */

#endif

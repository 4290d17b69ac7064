/* SPDX-License-Identifier: MIT */
/*
 * The store's thread: takes all queued jobs, runs them in one transaction, commits, then reports
 * them done. Checkpoints run here too, when there is nothing else to do. While it rests a submitter
 * may visit the store, so that "store's thread only" means: of whoever has it, handed over by the
 * mutex.
 */
#include "store_clock.h"
#include "store.h"

#include "log.h"
#include "store_backup.h"
#include "store_database.h"
#include "store_files.h"
#include "store_place.h"
#include "store_rows.h"

#include <errno.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum {
    GROUP_JOBS_MAX = 512,
    GROUP_READ_BYTES_MAX = 8 * 1024 * 1024, /* values that a group has read before it ends early */
    CHECKPOINT_PAGES = 1000,                /* idle: checkpoint from here on, */
    CHECKPOINT_REST_MS = 50,  /* if no job came for so long: the next one would have to wait, and a
                                 page that it writes anew would be copied twice. At once where */
    CHECKPOINT_ROOM_MB = 256, /* the disk has less room than a few such logs */
    CHECKPOINT_PAGES_HARD = 16000, /* busy: even then */
    FILES_PERIOD_MS = 1000,        /* idle: look for the files so often */
    LISTING_REST = 2, /* times as long as the slice took: a search takes a third of a core */
    VISIT_ROWS_MAX = 64,
    VISIT_US = 5000,        /* one that took longer, */
    VISIT_REST_US = 500000, /* or waited for the disk, is followed by none for so long */
};

struct jobs {
    struct store_job *first, **last;
};

struct store {
    struct store_options options;
    struct store_tables tables;
    struct database database;
    sqlite3 *db; /* the database's */
    int synchronous;
    char wal_path[DATABASE_PATH_BYTES + 8];
    struct store_file file, wal;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    struct jobs jobs;     /* guarded by mutex, like the next two */
    struct jobs listings; /* wait their turn: one slice between two groups of the others */
    bool closing;
    bool rests;              /* the thread waits to be woken; guarded by mutex, like the next */
    bool visited;            /* by a submitter who reads for himself while the thread rests */
    uint64_t visit_after_us; /* submitters' only: no visit before */
    bool slice_next;         /* store's thread only, like the next */
    uint64_t slice_after_us; /* monotonic: listings rest until then */
    atomic_uint m;
    atomic_bool read_only;
    struct store_former former; /* not changed after the start */
    bool failed;                /* store's thread only, like the next */
    int wal_pages;              /* not yet checkpointed */
};

struct store_job *store_job_new(enum store_job_kind kind) {
    struct store_job *job = calloc(1, sizeof *job);
    if (job == NULL) {
        fputs("chord-node: out of memory\n", stderr);
        abort();
    }
    job->kind = kind;
    return job;
}

void store_job_free(struct store_job *job) {
    if (job != NULL) {
        arena_free(&job->arena);
        free(job);
    }
}

static void jobs_push(struct jobs *jobs, struct store_job *job) {
    job->next = NULL;
    *jobs->last = job;
    jobs->last = &job->next;
}

/* The oldest ones, at most so many. */
static struct store_job *jobs_take(struct jobs *jobs, int count) {
    struct store_job *taken = jobs->first, *end = taken;
    for (int i = 1; end != NULL && end->next != NULL && i < count; i++) {
        end = end->next;
    }
    if (end != NULL) {
        jobs->first = end->next;
        jobs->last = jobs->first == NULL ? &jobs->first : jobs->last;
        end->next = NULL;
    }
    return taken;
}

/* ---- the node's own data ---- */

static int write_other_ring(struct store *store, const struct store_job *job) {
    int rc = sqlite3_exec(store->db, "DELETE FROM views; DELETE FROM rows", NULL, NULL, NULL);
    if (rc == SQLITE_OK) {
        rc = state_put(store->db, RECORD_IDENTITY, job->identity);
    }
    return rc == SQLITE_OK ? tables_recount(&store->tables) : rc;
}

/* With a view that forgets, its tombstones go in the same commit. */
static int write_views(struct store *store, const struct store_job *job) {
    int rc = state_put_views(store->db, job->views, job->views_count);
    for (size_t i = 0; i < job->views_count && rc == SQLITE_OK; i++) {
        const struct chord_view *view = &job->views[i].view;
        if (view->floor == view->epoch && !view->cut) {
            rc = tables_forget(&store->tables, &view->range, view->floor);
        }
    }
    return rc;
}

/* ---- the thread ---- */

static int run_job(struct store *store, struct store_job *job) {
    store->tables.m = atomic_load(&store->m);
    database_work_begins(&store->database);
    switch (job->kind) {
    case STORE_JOB_WRITE:
        return tables_write(&store->tables, job);
    case STORE_JOB_EQUAL:
        return tables_equal(&store->tables, job);
    case STORE_JOB_EXAMINE:
    case STORE_JOB_READ:
        return tables_read(&store->tables, job);
    case STORE_JOB_READ_RANGE:
        return tables_page(&store->tables, job);
    case STORE_JOB_LIST_KEYS:
        return tables_list(&store->tables, job);
    case STORE_JOB_DIGEST:
        return tables_digest(&store->tables, job);
    case STORE_JOB_DROP_RANGE:
        return tables_drop(&store->tables, job);
    case STORE_JOB_IDENTITY:
        return state_put(store->db, RECORD_IDENTITY, job->identity);
    case STORE_JOB_VIEWS:
        return write_views(store, job);
    case STORE_JOB_TOMBSTONES:
        return tables_tombstones(&store->tables, job);
    case STORE_JOB_OTHER_RING:
        return write_other_ring(store, job);
    case STORE_JOB_SCRUB:
        return tables_scrub(&store->tables, job);
    case STORE_JOB_COUNT:
        return tables_count(&store->tables, job);
    case STORE_JOB_BACKUP:
        job->more = backup_slice(job->backup, store->db);
        return SQLITE_OK; /* whatever became of the copy, the store is well */
    }
    return SQLITE_MISUSE;
}

/* Whether it waits its turn, to be in nobody's way. */
static bool job_has_slices(const struct store_job *job) {
    return job->kind == STORE_JOB_LIST_KEYS || job->kind == STORE_JOB_BACKUP;
}

static bool job_writes(const struct store_job *job) {
    return job->kind == STORE_JOB_WRITE || job->kind == STORE_JOB_EQUAL ||
           job->kind == STORE_JOB_DROP_RANGE || job->kind == STORE_JOB_IDENTITY ||
           job->kind == STORE_JOB_VIEWS || job->kind == STORE_JOB_OTHER_RING;
}

/* A failed sync must not be tried again: what the kernel dropped would count as written. */
static bool fatal(int rc) {
    int primary = rc & 0xff;
    return database_damaged(rc) || primary == SQLITE_IOERR || primary == SQLITE_READONLY ||
           primary == SQLITE_NOMEM;
}

static void fail(struct store *store, int rc) {
    if (fatal(rc) && !store->failed) {
        char reason[sizeof store->database.path + 200];
        store->failed = true;
        snprintf(reason, sizeof reason, "%s: %s (SQLite code %d)", store->database.path,
                 sqlite3_errstr(rc), rc);
        store->options.on_failure(store->options.context, reason);
    } else if ((rc & 0xff) == SQLITE_FULL && !atomic_exchange(&store->read_only, true)) {
        log_write(LOG_ERROR, "store", "disk full: %s takes no writes until there is room",
                  store->database.path);
    }
}

static void checkpoint(struct store *store);

/* False: the store has failed; now, if a file was removed or replaced, since what is written would
 * be lost. A log that lost its name can still be read: it goes into the database first. */
static bool files_hold(struct store *store) {
    bool database = store_file_moved(&store->file);
    if (store->failed || !(database || store_file_moved(&store->wal))) {
        return !store->failed;
    }
    if (!database) {
        checkpoint(store);
        if (store->failed) {
            return false;
        }
    }
    char reason[sizeof store->database.path + 300];
    snprintf(reason, sizeof reason,
             "%s was removed, renamed or replaced under the running node; put it back, start again",
             database ? store->file.path : store->wal.path);
    store->failed = true;
    store->options.on_failure(store->options.context, reason);
    return false;
}

static size_t job_bytes_read(const struct store_job *job) {
    size_t bytes = 0;
    for (size_t i = 0; job->kind == STORE_JOB_READ && i < job->rows_count; i++) {
        bytes += job->rows[i].value_bytes;
    }
    return bytes;
}

/* These jobs go back to the front of the queue. */
static void put_back(struct store *store, struct store_job *jobs) {
    struct store_job *end = jobs;
    while (end->next != NULL) {
        end = end->next;
    }
    pthread_mutex_lock(&store->mutex);
    end->next = store->jobs.first;
    if (store->jobs.first == NULL) {
        store->jobs.last = &end->next;
    }
    store->jobs.first = jobs;
    pthread_mutex_unlock(&store->mutex);
}

/* Jobs of one transaction: all are on disk, or none is. It ends early when it has read much, since
 * the values of the whole group wait for its end. */
static void run_group(struct store *store, struct store_job *group) {
    bool writes = false, serves = false;
    size_t read_bytes = 0;
    for (struct store_job *job = group; job != NULL; job = job->next) {
        writes = writes || job_writes(job);
        serves = serves || (job_writes(job) && job->kind != STORE_JOB_IDENTITY);
    }
    int rc = store->failed ? SQLITE_IOERR : SQLITE_OK;
    if (rc == SQLITE_OK) {
        rc = sqlite3_exec(store->db, writes ? "BEGIN IMMEDIATE" : "BEGIN", NULL, NULL, NULL);
    }
    for (struct store_job *job = group; job != NULL; job = job->next) {
        if (rc == SQLITE_OK) {
            rc = run_job(store, job);
        }
        job->ok = rc == SQLITE_OK;
        read_bytes += job_bytes_read(job);
        if (read_bytes > GROUP_READ_BYTES_MAX && job->next != NULL) {
            put_back(store, job->next);
            job->next = NULL;
        }
    }
    if (rc == SQLITE_OK && serves) {
        database_served(&store->database);
    }
    if (rc == SQLITE_OK) {
        rc = sqlite3_exec(store->db, "COMMIT", NULL, NULL, NULL);
    }
    if (rc == SQLITE_OK && writes && !files_hold(store)) {
        rc = SQLITE_IOERR;
    }
    if (rc != SQLITE_OK) {
        if (!sqlite3_get_autocommit(store->db)) {
            sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL);
        }
        fail(store, rc);
        if (!store->failed) {
            tables_recount(&store->tables);
        }
    } else if (writes) {
        atomic_store(&store->read_only, false);
    }
    while (group != NULL) {
        struct store_job *job = group;
        group = job->next;
        job->ok = job->ok && !job->refused && (rc == SQLITE_OK || !job_writes(job));
        if (job->ok && job->more) {
            pthread_mutex_lock(&store->mutex);
            jobs_push(&store->listings, job);
            pthread_mutex_unlock(&store->mutex);
            continue;
        }
        if (job->kind == STORE_JOB_BACKUP) {
            backup_leave(job->backup);
        }
        store->options.on_done(store->options.context, job);
    }
}

static int on_wal(void *context, sqlite3 *db, const char *name, int pages) {
    struct store *store = context;
    (void)db;
    (void)name;
    store->wal_pages = pages;
    return SQLITE_OK;
}

static void checkpoint(struct store *store) {
    int rc = sqlite3_wal_checkpoint_v2(store->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    store->wal_pages = 0;
    if (rc != SQLITE_OK) {
        fail(store, rc);
    }
}

/* How long it rests before a checkpoint. */
static uint64_t checkpoint_rest_ms(struct store *store) {
    return store_disk_free(store) >> 20 < CHECKPOINT_ROOM_MB ? 0 : CHECKPOINT_REST_MS;
}

/* Until a job comes, a listing has rested, or it is time to look after the files or the log. */
static void wait_job(struct store *store) {
    bool listing = store->listings.first != NULL;
    bool long_log = store->wal_pages >= CHECKPOINT_PAGES && !store->failed;
    uint64_t rest_ms = long_log ? checkpoint_rest_ms(store) : FILES_PERIOD_MS;
    uint64_t until_us = listing ? store->slice_after_us : store_now_us() + rest_ms * 1000;
    struct timespec until = {(time_t)(until_us / 1000000), (long)(until_us % 1000000) * 1000};
    store->rests = true;
    int rc = pthread_cond_timedwait(&store->wake, &store->mutex, &until);
    store->rests = false;
    while (store->visited) {
        pthread_cond_wait(&store->wake, &store->mutex);
    }
    if (rc == ETIMEDOUT && !listing) {
        pthread_mutex_unlock(&store->mutex);
        if (long_log) {
            checkpoint(store);
        } else {
            files_hold(store);
        }
        pthread_mutex_lock(&store->mutex);
    }
}

/* A listing gets its turn after each group of other jobs. */
static bool slice_is_due(const struct store *store) {
    return store->listings.first != NULL && (store->slice_next || store->jobs.first == NULL) &&
           (store->closing || store_now_us() >= store->slice_after_us);
}

/* The next group, oldest first, or one slice of a listing. NULL: closing and nothing left. */
static struct store_job *take_group(struct store *store) {
    bool slice;
    pthread_mutex_lock(&store->mutex);
    while (!(slice = slice_is_due(store)) && store->jobs.first == NULL && !store->closing) {
        wait_job(store);
    }
    store->slice_next = !slice;
    struct store_job *group =
        slice ? jobs_take(&store->listings, 1) : jobs_take(&store->jobs, GROUP_JOBS_MAX);
    pthread_mutex_unlock(&store->mutex);
    return group;
}

static void *run(void *argument) {
    struct store *store = argument;
    struct store_job *group;
    while ((group = take_group(store)) != NULL) {
        bool slice = job_has_slices(group);
        uint64_t began_us = store_now_us();
        run_group(store, group);
        if (slice) {
            store->slice_after_us = store_now_us() + LISTING_REST * (store_now_us() - began_us);
        }
        if (store->wal_pages >= CHECKPOINT_PAGES_HARD && !store->failed) {
            checkpoint(store);
        }
    }
    if (!store->failed) {
        checkpoint(store);
    }
    return NULL;
}

static long disk_reads_of_thread(void) {
    struct rusage usage = {0};
    getrusage(RUSAGE_THREAD, &usage);
    return usage.ru_inblock + usage.ru_majflt;
}

/* A short read that finds the store at rest is done by its submitter, which spares two hand-overs
 * between threads. False: it was not. */
static bool visit(struct store *store, struct store_job *job) {
    if (job->kind != STORE_JOB_READ || job->rows_count > VISIT_ROWS_MAX ||
        store_now_us() < store->visit_after_us) {
        return false;
    }
    pthread_mutex_lock(&store->mutex);
    bool may = store->rests && !store->visited && store->jobs.first == NULL && !store->closing;
    store->visited = store->visited || may;
    pthread_mutex_unlock(&store->mutex);
    if (!may) {
        return false;
    }
    long disk_reads = disk_reads_of_thread();
    uint64_t began_us = store_now_us();
    run_group(store, job);
    uint64_t ended_us = store_now_us();
    if (ended_us - began_us > VISIT_US || disk_reads_of_thread() != disk_reads) {
        store->visit_after_us = ended_us + VISIT_REST_US;
    }
    pthread_mutex_lock(&store->mutex);
    store->visited = false;
    bool awaited = !store->rests;
    pthread_mutex_unlock(&store->mutex);
    if (awaited) {
        pthread_cond_signal(&store->wake);
    }
    return true;
}

void store_submit(struct store *store, struct store_job *job) {
    if (visit(store, job)) {
        return;
    }
    pthread_mutex_lock(&store->mutex);
    jobs_push(job_has_slices(job) ? &store->listings : &store->jobs, job);
    bool rests = store->rests;
    store->rests = false;
    pthread_mutex_unlock(&store->mutex);
    if (rests) { /* once, and not into a lock that is held */
        pthread_cond_signal(&store->wake);
    }
}

/* ---- open and close ---- */

static int read_number(void *number, int columns, char **values, char **names) {
    (void)names;
    *(int *)number = columns == 1 && values[0] != NULL ? atoi(values[0]) : -1;
    return 0;
}

static int open_tables(struct store *store, struct store_state *state, struct store_found *found) {
    int rc = database_open(&store->database, state, found);
    store->db = store->database.db;
    if (rc == SQLITE_OK) {
        rc = sqlite3_exec(store->db, "PRAGMA synchronous", read_number, &store->synchronous, NULL);
    }
    if (rc == SQLITE_OK) {
        sqlite3_wal_hook(store->db, on_wal, store);
        rc = tables_open(&store->tables, store->db);
    }
    if (rc == SQLITE_OK && !(store_file_note(&store->file, store->database.path) &&
                             store_file_note(&store->wal, store->wal_path))) {
        rc = SQLITE_CANTOPEN;
    }
    return rc;
}

static void close_tables(struct store *store) {
    tables_close(&store->tables);
    database_close(&store->database);
    store->db = NULL;
    memset(&store->tables, 0, sizeof store->tables);
}

/* Puts a file aside that SQLite cannot read any more, and begins with an empty one. */
static enum store_error open_state(struct store *store, struct store_state *state, char *reason,
                                   size_t reason_bytes) {
    struct store_found found = {""};
    int rc = open_tables(store, state, &found);
    if (database_damaged(rc)) {
        close_tables(store);
        free(state->views);
        database_put_aside(&store->database);
        rc = open_tables(store, state, &found);
    }
    if (rc == SQLITE_OK && !state->has[RECORD_STORE_ID]) {
        rc = RAND_bytes(state->id.bytes, sizeof state->id.bytes) == 1
                 ? state_put(store->db, RECORD_STORE_ID, &state->id)
                 : SQLITE_ERROR;
    }
    if (rc == STORE_UNKNOWN_FORM) {
        return database_unknown(&store->database, &found, reason, reason_bytes);
    }
    if (rc != SQLITE_OK) {
        snprintf(reason, reason_bytes, "cannot open %s: %s%s%s", store->database.path,
                 sqlite3_errstr(rc), found.text[0] != '\0' ? "; " : "", found.text);
        return STORE_FAILED;
    }
    return STORE_OK;
}

enum store_error store_open(struct store **opened, const struct store_options *options,
                            uint8_t store_id[CHORD_STORE_ID_BYTES], struct chord_identity *identity,
                            struct chord_stored_view **views, size_t *views_count, char *reason,
                            size_t reason_bytes) {
    struct store *store = calloc(1, sizeof *store);
    if (store == NULL) {
        snprintf(reason, reason_bytes, "out of memory");
        return STORE_FAILED;
    }
    struct store_state state = {.views = NULL};
    store->options = *options;
    store->jobs.last = &store->jobs.first;
    store->listings.last = &store->listings.first;
    atomic_store(&store->m, CHORD_M_MAX);
    enum store_error error =
        database_take(&store->database, options->directory, reason, reason_bytes);
    if (error != STORE_OK) {
        goto out;
    }
    snprintf(store->wal_path, sizeof store->wal_path, "%s-wal", store->database.path);
    error = open_state(store, &state, reason, reason_bytes);
    *views = state.views;
    *views_count = state.views_count;
    if (error != STORE_OK) {
        goto out;
    }
    enum place_result place = place_take(store->db, store->database.path,
                                         options->address != NULL ? options->address : "",
                                         options->moved, &state, reason, reason_bytes);
    if (place != PLACE_OK) {
        error = place == PLACE_COPY ? STORE_COPIED : STORE_FAILED;
        goto out;
    }
    memcpy(store_id, state.id.bytes, CHORD_STORE_ID_BYTES);
    *identity = state.identity;
    store->former = state.former;
    if (identity->parameters.m != 0) {
        store_set_m(store, identity->parameters.m);
    }
    pthread_mutex_init(&store->mutex, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&store->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    if (pthread_create(&store->thread, NULL, run, store) != 0) {
        snprintf(reason, reason_bytes, "cannot start a thread");
        error = STORE_FAILED;
        goto out;
    }
    *opened = store;
    return STORE_OK;
out:
    close_tables(store);
    database_release(&store->database);
    free(store);
    return error;
}

void store_set_m(struct store *store, unsigned m) {
    atomic_store(&store->m, m);
}

void store_close(struct store *store) {
    if (store == NULL) {
        return;
    }
    pthread_mutex_lock(&store->mutex);
    store->closing = true;
    pthread_cond_signal(&store->wake);
    pthread_mutex_unlock(&store->mutex);
    pthread_join(store->thread, NULL);
    close_tables(store);
    database_release(&store->database);
    pthread_mutex_destroy(&store->mutex);
    pthread_cond_destroy(&store->wake);
    free(store);
}

struct store_counts store_count(struct store *store) {
    struct store_counts counts = {0, 0};
    for (unsigned i = 0; i < STORE_BUCKETS; i++) {
        counts.keys += (uint64_t)atomic_load_explicit(&store->tables.keys[i], memory_order_relaxed);
        counts.bytes +=
            (uint64_t)atomic_load_explicit(&store->tables.bytes[i], memory_order_relaxed);
    }
    return counts;
}

const struct store_former *store_former(const struct store *store) {
    return &store->former;
}

bool store_read_only(struct store *store) {
    return atomic_load(&store->read_only);
}

int store_synchronous(struct store *store) {
    return store->synchronous;
}

uint64_t store_disk_free(struct store *store) {
    return store_path_free(store->database.path);
}

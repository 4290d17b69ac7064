/* SPDX-License-Identifier: MIT */
/*
 * Fuzzer of the database's file: one that this store wrote, or an older one of unit/golden, is
 * changed as the input says (bytes, page headers, pages over each other, a shorter file, its log),
 * and then opened and used through store.h. Whatever the file is, the store opens it, or says in
 * words why not; one that it does not understand stays as it is to the byte; every job ends; and a
 * row that it gives out for good is one that was written.
 *
 * It works in a folder of its own under /dev/shm, removed at the end.
 */
#include "bytes.h"

#include "assert.h"
#include "hash.h"
#include "log.h"
#include "store.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    FILE_BYTES_MAX = 256 * 1024,
    ROWS_MAX = 64,
    SMALL_ROWS = 24,
    LARGE_ROWS = 2,
    LARGE_BYTES = 3000,
    EDITS_MAX = 64,
    PAGE_BYTES = 4096,
    JOBS_MAX = 40, /* for one walk over all rows */
};

struct file {
    uint8_t bytes[FILE_BYTES_MAX];
    size_t size;
};

/* A file that was found sound, and the rows in it. */
struct base {
    struct file database, wal;
    struct store_job *rows;
    bool older; /* of schema 6 */
};

static struct base bases[3]; /* of this schema, with its log; of this schema; of schema 6 */
static char folder[32], database_path[64], wal_path[80];

static void must(bool condition, const char *what) {
    if (!condition) {
        fprintf(stderr, "fuzz_store: %s\n", what);
        abort();
    }
}

_Noreturn void chord_assert_failed(const char *file, int line, const char *condition) {
    fprintf(stderr, "%s:%d: assertion failed: %s\n", file, line, condition);
    abort();
}

/* In the place of the node's, which would fill the screen. */
void log_write(enum log_level level, const char *word, const char *format, ...) {
    (void)level;
    (void)word;
    (void)format;
}

/* ---- files ---- */

static void folder_clear(void) {
    char path[400];
    DIR *directory = opendir(folder);
    for (struct dirent *entry; directory != NULL && (entry = readdir(directory)) != NULL;) {
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        unlink(path);
    }
    if (directory != NULL) {
        closedir(directory);
    }
}

static void folder_remove(void) {
    folder_clear();
    rmdir(folder);
}

static void file_read(struct file *file, const char *path) {
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = descriptor < 0 ? 0 : read(descriptor, file->bytes, sizeof file->bytes);
    file->size = got > 0 ? (size_t)got : 0;
    if (descriptor >= 0) {
        close(descriptor);
    }
}

static void file_write(const struct file *file, const char *path) {
    int descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    must(descriptor >= 0 && write(descriptor, file->bytes, file->size) == (ssize_t)file->size,
         "no room for the file");
    close(descriptor);
}

static bool file_is(const struct file *file, const char *path) {
    static struct file now;
    file_read(&now, path);
    return now.size == file->size && memcmp(now.bytes, file->bytes, now.size) == 0;
}

/* ---- the store ---- */

static struct {
    struct store *store;
    pthread_mutex_t mutex;
    pthread_cond_t done;
    bool job_done, failed;
    enum store_error error;
    char reason[4400];
} used = {.mutex = PTHREAD_MUTEX_INITIALIZER, .done = PTHREAD_COND_INITIALIZER};

static void on_done(void *context, struct store_job *job) {
    (void)context;
    (void)job;
    pthread_mutex_lock(&used.mutex);
    used.job_done = true;
    pthread_cond_signal(&used.done);
    pthread_mutex_unlock(&used.mutex);
}

static void on_failure(void *context, const char *reason) {
    (void)context;
    must(reason[0] != '\0', "it failed without a reason");
    used.failed = true; /* read after a job of the same thread is done */
}

static bool store_begin(void) {
    struct store_options options = {.directory = folder,
                                    .address = "127.0.0.1:4001",
                                    .moved = true, /* a file that was written anew is a copy */
                                    .on_done = on_done,
                                    .on_failure = on_failure};
    uint8_t store_id[CHORD_STORE_ID_BYTES];
    static struct chord_identity identity;
    struct chord_stored_view *views = NULL;
    size_t views_count = 0;
    used.failed = false;
    used.reason[0] = '\0';
    used.error = store_open(&used.store, &options, store_id, &identity, &views, &views_count,
                            used.reason, sizeof used.reason);
    free(views);
    must(used.error == STORE_OK || used.reason[0] != '\0',
         "it is not opened, and nobody knows why");
    return used.error == STORE_OK;
}

static void run(struct store_job *job) {
    used.job_done = false;
    store_submit(used.store, job);
    pthread_mutex_lock(&used.mutex);
    while (!used.job_done) {
        pthread_cond_wait(&used.done, &used.mutex);
    }
    pthread_mutex_unlock(&used.mutex);
}

static void run_and_free(struct store_job *job) {
    run(job);
    store_job_free(job);
}

static struct store_job *job_of_ring(enum store_job_kind kind) {
    struct store_job *job = store_job_new(kind);
    job->page_rows_max = ROWS_MAX;
    job->page_values = true;
    memset(job->last, 0xff, sizeof job->last);
    return job;
}

/* ---- what it gives out ---- */

/* The checksum of schema 6 left the hash (the scrub looks at it) and the op_id out. */
static bool same(const struct store_row *a, const struct store_row *b, bool older) {
    bool rest = memcmp(a->hash, b->hash, sizeof a->hash) == 0 && a->op_id_bytes == b->op_id_bytes &&
                memcmp(a->op_id, b->op_id, a->op_id_bytes) == 0;
    return (rest || older) && a->key_bytes == b->key_bytes &&
           memcmp(a->key, b->key, a->key_bytes) == 0 && a->epoch == b->epoch &&
           a->counter == b->counter && a->kind == b->kind && a->value_bytes == b->value_bytes &&
           memcmp(a->value, b->value, a->value_bytes) == 0 && a->expires_at_ms == b->expires_at_ms;
}

static void known(const struct base *base, const struct store_row *row) {
    bool found = row->kind == 0 || row->bad;
    for (size_t i = 0; i < base->rows->rows_count && !found; i++) {
        found = same(row, &base->rows->rows[i], base->older);
    }
    must(found, "a row is given out that nobody wrote");
}

static void read_rows(const struct base *base) {
    struct store_job *job = store_job_new(STORE_JOB_READ);
    job->rows_count = base->rows->rows_count;
    job->rows = arena_alloc(&job->arena, sizeof *job->rows * (job->rows_count + 1));
    for (size_t i = 0; i < job->rows_count; i++) {
        const struct store_row *row = &base->rows->rows[i];
        memcpy(job->rows[i].hash, row->hash, sizeof row->hash);
        job->rows[i].key = row->key;
        job->rows[i].key_bytes = row->key_bytes;
    }
    run(job);
    for (size_t i = 0; job->ok && i < job->rows_count; i++) {
        known(base, &job->rows[i]);
    }
    store_job_free(job);
}

/* Pages of rows, or a scrub, from the first to the last; each ends further than the one before. */
static void walk(const struct base *base, enum store_job_kind kind) {
    uint8_t after[CHORD_ID_BYTES] = {0};
    bool done = false;
    for (unsigned i = 0; i < JOBS_MAX && !done; i++) {
        struct store_job *job = job_of_ring(kind);
        job->has_after = i > 0;
        memcpy(job->after, after, sizeof after);
        run(job);
        for (size_t k = 0; job->ok && kind == STORE_JOB_READ_RANGE && k < job->rows_count; k++) {
            known(base, &job->rows[k]);
        }
        memcpy(after, job->last, sizeof after);
        done = job->done || !job->ok;
        store_job_free(job);
    }
}

static void list(const struct base *base) {
    struct store_job *job = job_of_ring(STORE_JOB_LIST_KEYS);
    run(job);
    for (size_t i = 0; job->ok && i < job->rows_count; i++) {
        known(base, &job->rows[i]);
    }
    store_job_free(job);
}

/* What is written is read, whatever else is in the file. */
static void write_and_read(void) {
    static const char key[] = "written over a file that was changed";
    struct store_job *job = store_job_new(STORE_JOB_WRITE);
    struct store_row row = {.key = (const uint8_t *)key,
                            .key_bytes = sizeof key,
                            .epoch = 1000,
                            .counter = 7,
                            .kind = STORE_VALUE,
                            .value = (const uint8_t *)key,
                            .value_bytes = sizeof key};
    hash_key(row.key, row.key_bytes, row.hash);
    job->rows = arena_copy(&job->arena, &row, sizeof row);
    job->rows_count = 1;
    run(job);
    bool written = job->ok;
    job->kind = STORE_JOB_READ;
    run(job);
    must(!written || !job->ok ||
             (job->rows[0].counter == 7 && !job->rows[0].bad &&
              job->rows[0].value_bytes == sizeof key),
         "a row that was written is not there");
    store_job_free(job);
}

static void use(const struct base *base) {
    read_rows(base);
    walk(base, STORE_JOB_READ_RANGE);
    walk(base, STORE_JOB_SCRUB);
    list(base);
    run_and_free(job_of_ring(STORE_JOB_DIGEST));
    run_and_free(job_of_ring(STORE_JOB_TOMBSTONES));
    struct store_job *views = job_of_ring(STORE_JOB_VIEWS);
    struct chord_stored_view view = {.view = {.epoch = 9, .floor = 9, .members_count = 1}};
    views->views = arena_copy(&views->arena, &view, sizeof view);
    views->views_count = 1;
    run_and_free(views);
    write_and_read();
    run_and_free(job_of_ring(STORE_JOB_DROP_RANGE));
    (void)store_count(used.store);
    store_close(used.store);
}

/* ---- the files to begin with ---- */

static void write_rows(void) {
    static uint8_t value[LARGE_BYTES];
    static char keys[SMALL_ROWS + LARGE_ROWS][16];
    struct store_job *job = store_job_new(STORE_JOB_WRITE);
    job->rows_count = SMALL_ROWS + LARGE_ROWS;
    job->rows = arena_alloc(&job->arena, sizeof *job->rows * job->rows_count);
    memset(value, 'v', sizeof value);
    for (unsigned i = 0; i < job->rows_count; i++) {
        struct store_row *row = &job->rows[i];
        row->key = (const uint8_t *)keys[i];
        row->key_bytes = (size_t)snprintf(keys[i], sizeof keys[i], "key %u", i);
        hash_key(row->key, row->key_bytes, row->hash);
        row->epoch = 3;
        row->counter = i;
        row->kind = i % 6 == 5 ? STORE_TOMBSTONE : STORE_VALUE;
        row->value = value;
        row->value_bytes = row->kind == STORE_TOMBSTONE ? 0 : i >= SMALL_ROWS ? LARGE_BYTES : 5 * i;
        row->expires_at_ms = i % 7 == 0 ? 1 : 0;
        row->op_id_bytes = i % 2 == 0 ? STORE_OP_ID_BYTES : 0;
    }
    run(job);
    must(job->ok, "the first rows");
    store_job_free(job);
}

static void write_state(void) {
    static struct chord_identity identity = {
        .incarnation = 5, .parameters = {.m = 6, .n = 3, .replicas = 3}, .known_count = 1};
    struct store_job *job = store_job_new(STORE_JOB_IDENTITY);
    job->identity = &identity;
    run_and_free(job);
    job = store_job_new(STORE_JOB_VIEWS);
    struct chord_stored_view view = {.view = {.epoch = 2, .floor = 1, .members_count = 1}};
    job->views = arena_copy(&job->arena, &view, sizeof view);
    job->views_count = 1;
    run_and_free(job);
}

/* Of an open store. */
static void rows_keep(struct base *base) {
    base->rows = job_of_ring(STORE_JOB_READ_RANGE);
    run(base->rows);
    must(base->rows->done && base->rows->rows_count > 0, "no rows to begin with");
}

static void prepare(void) {
    struct base *open_base = &bases[0], *closed = &bases[1], *older = &bases[2];
    snprintf(folder, sizeof folder, "/dev/shm/fuzz-store-XXXXXX");
    must(mkdtemp(folder) != NULL, "no folder in /dev/shm");
    atexit(folder_remove);
    snprintf(database_path, sizeof database_path, "%s/chord.db", folder);
    snprintf(wal_path, sizeof wal_path, "%s-wal", database_path);
    must(hash_open(), "no SHA-1");
    must(store_begin(), "no store");
    write_state();
    write_rows();
    rows_keep(open_base);
    file_read(&open_base->database, database_path);
    file_read(&open_base->wal, wal_path);
    store_close(used.store);
    must(open_base->wal.size > 0, "no log");
    file_read(&closed->database, database_path);
    closed->rows = open_base->rows;
    older->older = true;
    file_read(&older->database, GOLDEN_FOLDER "/schema-6.db");
    must(older->database.size > 0, "no " GOLDEN_FOLDER "/schema-6.db");
    file_write(&older->database, database_path);
    must(store_begin(), used.reason);
    rows_keep(older);
    store_close(used.store);
}

/* ---- changes ---- */

static size_t take_place(struct bytes *bytes, size_t below) {
    size_t place = take(bytes);
    place = place << 8 | take(bytes);
    place = place << 8 | take(bytes);
    return below > 0 ? place % below : 0;
}

/* The start of a page: where its cells are, and the first of them. */
static size_t take_head(struct bytes *bytes, size_t size) {
    size_t pages = size / PAGE_BYTES;
    size_t page = pages > 0 ? take(bytes) % pages : 0;
    size_t at = page * PAGE_BYTES + (page == 0 ? 100u : 0u) + take(bytes) % 64u;
    return at < size ? at : 0;
}

static void edit(struct file *file, struct bytes *bytes) {
    size_t size = file->size, pages = size / PAGE_BYTES;
    uint8_t what = take(bytes);
    if (size == 0) {
        return;
    }
    switch (what % 8) {
    case 0:
    case 1:
        file->bytes[take_place(bytes, size)] = take(bytes);
        break;
    case 2:
        file->bytes[take_place(bytes, size)] ^= (uint8_t)(1u << take_below(bytes, 8));
        break;
    case 3:
    case 4: {
        size_t at = take_head(bytes, size);
        file->bytes[at] = take(bytes);
        break;
    }
    case 5:
        file->bytes[take_below(bytes, 100) % size] = take(bytes);
        break;
    case 6:
        if (pages > 0) {
            size_t from = take(bytes) % pages, to = take(bytes) % pages;
            memmove(file->bytes + to * PAGE_BYTES, file->bytes + from * PAGE_BYTES, PAGE_BYTES);
        }
        break;
    default:
        file->size =
            what & 8 ? take_place(bytes, size + 1) : take(bytes) % (pages + 1) * PAGE_BYTES;
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct file database, wal;
    struct bytes bytes = {data, size};
    if (folder[0] == '\0') {
        prepare();
    }
    const struct base *base = &bases[take_below(&bytes, sizeof bases / sizeof bases[0])];
    bool of_wal = false;
    database = base->database;
    wal = base->wal;
    for (unsigned i = 0; i < EDITS_MAX && bytes.size > 0; i++) {
        of_wal = wal.size > 0 && take(&bytes) % 2 == 1;
        edit(of_wal ? &wal : &database, &bytes);
    }
    folder_clear();
    file_write(&database, database_path);
    if (wal.size > 0) {
        file_write(&wal, wal_path);
    }
    if (store_begin()) {
        use(base);
    } else if (used.error == STORE_UNKNOWN_SCHEMA) {
        must(wal.size > 0 || file_is(&database, database_path),
             "a file that was not understood is another now");
    }
    return 0;
}

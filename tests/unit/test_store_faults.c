/* SPDX-License-Identifier: MIT */
/*
 * The store on a disk that fails. A SQLite VFS in front of the real one counts writes, truncations,
 * syncs and opens and fails the k-th, once or from then on, or cuts the power there: what was not
 * synced is gone. Swept over every k: what was reported as stored is there after reopening.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hash.h"
#include "store_golden.h"

enum { SNAPSHOTS_MAX = 8, JOBS = 14, OPERATIONS_MAX = 400 };

enum fault { FAULT_NONE, FAULT_ONCE, FAULT_FOR_EVER, FAULT_POWER, FAULT_FULL, FAULT_SYNC };

/* All of it under one lock: the store's thread and the test's use it. */
static struct {
    pthread_mutex_t lock;
    enum fault fault;
    unsigned at;      /* the k-th operation from arming on */
    unsigned counted; /* operations since arming */
    bool fired;
    unsigned syncs, writes; /* ever */
    struct {
        char name[256];
        uint8_t *bytes;
        size_t count;
    } synced[SNAPSHOTS_MAX]; /* what each file held at its last sync */
} disk = {.lock = PTHREAD_MUTEX_INITIALIZER};

struct shim_file {
    sqlite3_file base;
    char name[256];
    sqlite3_file *real;
};

static sqlite3_vfs *real_vfs;

static void arm(enum fault fault, unsigned at) {
    pthread_mutex_lock(&disk.lock);
    disk.fault = fault;
    disk.at = at;
    disk.counted = 0;
    disk.fired = false;
    pthread_mutex_unlock(&disk.lock);
}

/* SQLITE_OK: go on. */
static int trial(int failure, bool sync) {
    int rc = SQLITE_OK;
    pthread_mutex_lock(&disk.lock);
    disk.syncs += sync;
    disk.writes += !sync;
    if (disk.fault == FAULT_FULL) {
        rc = sync ? SQLITE_OK : SQLITE_FULL;
    } else if (disk.fault == FAULT_SYNC) {
        rc = sync ? SQLITE_IOERR_FSYNC : SQLITE_OK;
    } else if (disk.fault != FAULT_NONE) {
        disk.counted++;
        bool now = disk.counted == disk.at;
        disk.fired = disk.fired || now;
        if (now || (disk.fired && disk.fault != FAULT_ONCE)) {
            rc = failure;
        }
    }
    pthread_mutex_unlock(&disk.lock);
    return rc;
}

/* ---- what a power cut leaves ---- */

static void snapshot(struct shim_file *file) {
    sqlite3_int64 size = 0;
    unsigned slot = 0;
    if (file->name[0] == '\0' || file->real->pMethods->xFileSize(file->real, &size) != SQLITE_OK) {
        return;
    }
    while (slot < SNAPSHOTS_MAX && strcmp(disk.synced[slot].name, file->name) != 0) {
        slot++;
    }
    for (unsigned i = 0; slot == SNAPSHOTS_MAX && i < SNAPSHOTS_MAX; i++) {
        slot = disk.synced[i].name[0] == '\0' ? i : slot;
    }
    if (slot == SNAPSHOTS_MAX) {
        return;
    }
    free(disk.synced[slot].bytes);
    snprintf(disk.synced[slot].name, sizeof disk.synced[slot].name, "%s", file->name);
    disk.synced[slot].bytes = calloc(1, (size_t)size + 1);
    disk.synced[slot].count = (size_t)size;
    if (disk.synced[slot].bytes == NULL) {
        abort();
    }
    file->real->pMethods->xRead(file->real, disk.synced[slot].bytes, (int)size, 0);
}

static void forget_snapshots(void) {
    for (unsigned i = 0; i < SNAPSHOTS_MAX; i++) {
        free(disk.synced[i].bytes);
        memset(&disk.synced[i], 0, sizeof disk.synced[i]);
    }
}

/* The files as they were at their last sync. */
static void power_back(void) {
    for (unsigned i = 0; i < SNAPSHOTS_MAX; i++) {
        if (disk.synced[i].name[0] == '\0') {
            continue;
        }
        FILE *file = fopen(disk.synced[i].name, "w");
        assert_non_null(file);
        assert_int_equal(fwrite(disk.synced[i].bytes, 1, disk.synced[i].count, file),
                         disk.synced[i].count);
        fclose(file);
    }
}

/* ---- the shim ---- */

#define REAL(file) (((struct shim_file *)(void *)(file))->real)

static int shim_close(sqlite3_file *file) {
    int rc = REAL(file)->pMethods != NULL ? REAL(file)->pMethods->xClose(REAL(file)) : SQLITE_OK;
    sqlite3_free(REAL(file));
    return rc;
}

static int shim_read(sqlite3_file *file, void *bytes, int count, sqlite3_int64 at) {
    return REAL(file)->pMethods->xRead(REAL(file), bytes, count, at);
}

static int shim_write(sqlite3_file *file, const void *bytes, int count, sqlite3_int64 at) {
    int rc = trial(SQLITE_IOERR_WRITE, false);
    if (rc != SQLITE_OK && count > 1) {
        REAL(file)->pMethods->xWrite(REAL(file), bytes, count / 2, at); /* a torn write */
    }
    return rc != SQLITE_OK ? rc : REAL(file)->pMethods->xWrite(REAL(file), bytes, count, at);
}

static int shim_truncate(sqlite3_file *file, sqlite3_int64 size) {
    int rc = trial(SQLITE_IOERR_TRUNCATE, false);
    return rc != SQLITE_OK ? rc : REAL(file)->pMethods->xTruncate(REAL(file), size);
}

static int shim_sync(sqlite3_file *file, int flags) {
    int rc = trial(SQLITE_IOERR_FSYNC, true);
    (void)flags; /* the real sync would only cost time */
    if (rc == SQLITE_OK) {
        snapshot((struct shim_file *)(void *)file);
    }
    return rc;
}

static int shim_size(sqlite3_file *file, sqlite3_int64 *size) {
    return REAL(file)->pMethods->xFileSize(REAL(file), size);
}

static int shim_lock(sqlite3_file *file, int lock) {
    return REAL(file)->pMethods->xLock(REAL(file), lock);
}

static int shim_unlock(sqlite3_file *file, int lock) {
    return REAL(file)->pMethods->xUnlock(REAL(file), lock);
}

static int shim_check_lock(sqlite3_file *file, int *locked) {
    return REAL(file)->pMethods->xCheckReservedLock(REAL(file), locked);
}

static int shim_control(sqlite3_file *file, int operation, void *argument) {
    return REAL(file)->pMethods->xFileControl(REAL(file), operation, argument);
}

static int shim_sector(sqlite3_file *file) {
    return REAL(file)->pMethods->xSectorSize(REAL(file));
}

static int shim_device(sqlite3_file *file) {
    (void)file;
    return 0; /* nothing is atomic, nothing is ordered */
}

/* Version 1: no shared memory, so the store must be in exclusive mode, as it says it is. */
static const sqlite3_io_methods shim_methods = {
    .iVersion = 1,
    .xClose = shim_close,
    .xRead = shim_read,
    .xWrite = shim_write,
    .xTruncate = shim_truncate,
    .xSync = shim_sync,
    .xFileSize = shim_size,
    .xLock = shim_lock,
    .xUnlock = shim_unlock,
    .xCheckReservedLock = shim_check_lock,
    .xFileControl = shim_control,
    .xSectorSize = shim_sector,
    .xDeviceCharacteristics = shim_device,
};

static int shim_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out) {
    struct shim_file *shim = (struct shim_file *)(void *)file;
    (void)vfs;
    memset(shim, 0, sizeof *shim);
    int rc = trial(SQLITE_CANTOPEN, false);
    if (rc != SQLITE_OK) {
        return rc;
    }
    shim->real = sqlite3_malloc(real_vfs->szOsFile);
    if (shim->real == NULL) {
        return SQLITE_NOMEM;
    }
    memset(shim->real, 0, (size_t)real_vfs->szOsFile);
    snprintf(shim->name, sizeof shim->name, "%s", name != NULL ? name : "");
    rc = real_vfs->xOpen(real_vfs, name, shim->real, flags, out);
    if (rc != SQLITE_OK) {
        sqlite3_free(shim->real);
        shim->real = NULL;
        return rc;
    }
    shim->base.pMethods = &shim_methods;
    return SQLITE_OK;
}

/* A deleted file does not come back with the power; without power nothing is deleted. */
static int shim_delete(sqlite3_vfs *vfs, const char *name, int sync) {
    (void)vfs;
    if (disk.fired && disk.fault == FAULT_POWER) {
        return SQLITE_IOERR_DELETE;
    }
    for (unsigned i = 0; i < SNAPSHOTS_MAX; i++) {
        if (strcmp(disk.synced[i].name, name) == 0) {
            free(disk.synced[i].bytes);
            memset(&disk.synced[i], 0, sizeof disk.synced[i]);
        }
    }
    return real_vfs->xDelete(real_vfs, name, sync);
}

static void shim_register(void) {
    static sqlite3_vfs shim;
    real_vfs = sqlite3_vfs_find(NULL);
    shim = *real_vfs;
    shim.zName = "failing";
    shim.szOsFile = (int)sizeof(struct shim_file);
    shim.xOpen = shim_open;
    shim.xDelete = shim_delete;
    sqlite3_vfs_register(&shim, 1);
}

/* ---- the workload ---- */

static struct fixture fixture;

/* Which writes were reported as stored: job i writes keys i*10..i*10+2 and again key 1000. */
static void workload(bool reported[JOBS]) {
    struct store_job *jobs[JOBS];
    for (unsigned i = 0; i < JOBS; i++) {
        jobs[i] = store_job_new(STORE_JOB_WRITE);
        jobs[i]->rows = arena_alloc(&jobs[i]->arena, sizeof *jobs[i]->rows * 4);
        jobs[i]->rows_count = 4;
        for (unsigned k = 0; k < 3; k++) {
            row_set(jobs[i], &jobs[i]->rows[k], i * 10 + k, 1, 1, STORE_VALUE, 3000);
        }
        row_set(jobs[i], &jobs[i]->rows[3], 1000, 1, i + 1, STORE_VALUE, 100);
    }
    unsigned before = fixture.done_count;
    for (unsigned i = 0; i < JOBS; i++) {
        store_submit(fixture.store, jobs[i]);
        if (i % 4 == 3) { /* groups of different sizes */
            fixture_wait(&fixture, before + i + 1);
        }
    }
    fixture_wait(&fixture, before + JOBS);
    for (unsigned i = 0; i < JOBS; i++) {
        reported[i] = jobs[i]->ok;
        store_job_free(jobs[i]);
    }
}

static void check_reported(const bool reported[JOBS], unsigned k) {
    uint64_t newest = 0;
    for (unsigned i = 0; i < JOBS; i++) {
        for (unsigned part = 0; reported[i] && part < 3; part++) {
            if (!has_key(&fixture, i * 10 + part, 1, 1)) {
                fail_msg("fault %u: job %u was reported as stored, key %u is not there", k, i,
                         i * 10 + part);
            }
        }
        newest = reported[i] ? i + 1 : newest;
    }
    struct store_job *job = read_key(&fixture, 1000);
    assert_true(job->ok);
    assert_true(newest == 0 || job->rows[0].kind == STORE_VALUE);
    assert_true(newest == 0 || (job->rows[0].counter >= newest && !job->rows[0].bad));
    store_job_free(job);
}

static void begin(void) {
    arm(FAULT_NONE, 0);
    forget_snapshots();
    fixture_new(&fixture);
}

static int teardown(void **state) {
    (void)state;
    arm(FAULT_NONE, 0);
    fixture_free(&fixture);
    forget_snapshots();
    return 0;
}

/* Sweeps k until the workload ends without reaching it; returns how many were swept. */
static unsigned sweep(enum fault fault) {
    unsigned k = 1;
    for (bool reached = true; reached && k < OPERATIONS_MAX; k++) {
        bool reported[JOBS];
        begin();
        assert_int_equal(fixture_open(&fixture), STORE_OK);
        arm(fault, k);
        workload(reported);
        fixture_close(&fixture);
        reached = disk.fired;
        arm(FAULT_NONE, 0);
        if (fault == FAULT_POWER && reached) {
            power_back();
        }
        if (fixture_open(&fixture) != STORE_OK) {
            fail_msg("fault %u: %s", k, fixture.reason);
        }
        check_reported(reported, k);
        bool again[JOBS]; /* and it works as ever */
        workload(again);
        assert_true(again[0] && again[JOBS - 1]);
        fixture_free(&fixture);
    }
    fixture_new(&fixture); /* for the teardown */
    assert_in_range(k, 20, OPERATIONS_MAX - 1);
    return k;
}

static void test_kth_operation_fails_once(void **state) {
    (void)state;
    print_message("%u faults\n", sweep(FAULT_ONCE) - 1);
}

static void test_kth_operation_and_all_after_it_fail(void **state) {
    (void)state;
    print_message("%u faults\n", sweep(FAULT_FOR_EVER) - 1);
}

static void test_power_cut_at_the_kth_operation(void **state) {
    (void)state;
    print_message("%u faults\n", sweep(FAULT_POWER) - 1);
}

/* Opening fails cleanly at every step, or the store is usable; nothing stored before is lost. */
static void test_kth_operation_fails_while_opening(void **state) {
    (void)state;
    unsigned refused = 0, k = 1;
    begin();
    assert_int_equal(fixture_open(&fixture), STORE_OK);
    assert_true(write_keys(&fixture, 0, 50, 1, 1, 500));
    fixture_close(&fixture);
    for (bool reached = true; reached && k < 100; k++) {
        arm(FAULT_FOR_EVER, k);
        enum store_error error = fixture_open(&fixture);
        reached = disk.fired;
        if (error == STORE_OK) {
            fixture_close(&fixture);
        } else {
            assert_true(fixture.reason[0] != '\0');
            fixture.store = NULL;
            refused++;
        }
        arm(FAULT_NONE, 0);
        assert_int_equal(fixture_open(&fixture), STORE_OK);
        assert_int_equal(store_count(fixture.store).keys, 50);
        assert_true(has_key(&fixture, 49, 1, 1));
        fixture_close(&fixture);
    }
    assert_true(refused > 0 && k < 100);
}

/* A database of the schema before is upgraded, or is what it was: whole in either case. */
static unsigned sweep_upgrade(enum fault fault) {
    unsigned refused = 0, k = 1;
    for (bool reached = true; reached && k < OPERATIONS_MAX; k++) {
        begin();
        fixture.moved = true; /* the golden file was made elsewhere */
        golden_copy(&fixture, 6);
        arm(fault, k);
        refused += fixture_open(&fixture) != STORE_OK;
        fixture_close(&fixture);
        reached = disk.fired;
        arm(FAULT_NONE, 0);
        if (fault == FAULT_POWER && reached) {
            power_back();
        }
        if (fixture_open(&fixture) != STORE_OK) {
            fail_msg("fault %u: %s", k, fixture.reason);
        }
        golden_check(&fixture);
        assert_true(write_keys(&fixture, 5000, 1, 9, 1, 100));
        fixture_free(&fixture);
    }
    fixture_new(&fixture); /* for the teardown */
    assert_in_range(refused, 10, OPERATIONS_MAX);
    assert_in_range(k, 20, OPERATIONS_MAX - 1);
    return k;
}

static void test_kth_operation_fails_while_upgrading(void **state) {
    (void)state;
    print_message("%u faults\n", sweep_upgrade(FAULT_ONCE) - 1);
    print_message("%u faults\n", sweep_upgrade(FAULT_FOR_EVER) - 1);
    print_message("%u faults\n", sweep_upgrade(FAULT_POWER) - 1);
}

/* ---- disk full, failed sync ---- */

static void test_full_disk_is_read_only_then_recovers(void **state) {
    (void)state;
    begin();
    assert_int_equal(fixture_open(&fixture), STORE_OK);
    assert_true(write_keys(&fixture, 0, 20, 1, 1, 2000));
    arm(FAULT_FULL, 0);
    for (unsigned i = 0; i < 3; i++) {
        assert_false(write_keys(&fixture, 100 + i, 5, 1, 1, 20000));
        assert_true(store_read_only(fixture.store));
        assert_true(has_key(&fixture, 7, 1, 1)); /* reads go on */
        assert_false(has_key(&fixture, 100 + i, 1, 1));
        assert_int_equal(store_count(fixture.store).keys, 20);
    }
    assert_int_equal(fixture.failures, 0); /* no reason to stop */
    arm(FAULT_NONE, 0);
    assert_true(write_keys(&fixture, 200, 20, 1, 1, 2000));
    assert_false(store_read_only(fixture.store));
    assert_int_equal(store_count(fixture.store).keys, 40);
    fixture_reopen(&fixture);
    assert_int_equal(store_count(fixture.store).keys, 40);
    assert_true(has_key(&fixture, 219, 1, 1));
}

/* A failed sync is never tried again: the kernel may have dropped what it should have written. */
static void test_failed_sync_stops_for_good(void **state) {
    (void)state;
    begin();
    assert_int_equal(fixture_open(&fixture), STORE_OK);
    assert_true(write_keys(&fixture, 0, 20, 1, 1, 2000));
    arm(FAULT_SYNC, 0);
    assert_false(write_keys(&fixture, 100, 5, 1, 1, 2000));
    assert_int_equal(fixture.failures, 1);
    assert_non_null(strstr(fixture.failure, fixture.directory));
    arm(FAULT_NONE, 0); /* the disk is well again; the store does not believe it */
    for (unsigned i = 0; i < 3; i++) {
        assert_false(write_keys(&fixture, 200 + i, 1, 1, 1, 10));
    }
    assert_int_equal(fixture.failures, 1);
    fixture_reopen(&fixture);
    assert_true(has_key(&fixture, 19, 1, 1));
    assert_true(write_keys(&fixture, 300, 1, 1, 1, 10));
}

/* Every acknowledged group was synced at least once: no shortcut through the page cache. */
static void test_each_commit_is_synced(void **state) {
    (void)state;
    begin();
    assert_int_equal(fixture_open(&fixture), STORE_OK);
    for (unsigned i = 0; i < 20; i++) {
        unsigned before = disk.syncs;
        assert_true(write_keys(&fixture, i, 1, 1, 1, 100));
        assert_true(disk.syncs > before);
    }
}

#define TEST(name) cmocka_unit_test_teardown(name, teardown)

int main(void) {
    if (!hash_open()) {
        return 1;
    }
    shim_register();
    const struct CMUnitTest tests[] = {
        TEST(test_kth_operation_fails_once),
        TEST(test_kth_operation_and_all_after_it_fail),
        TEST(test_power_cut_at_the_kth_operation),
        TEST(test_kth_operation_fails_while_opening),
        TEST(test_kth_operation_fails_while_upgrading),
        TEST(test_full_disk_is_read_only_then_recovers),
        TEST(test_failed_sync_stops_for_good),
        TEST(test_each_commit_is_synced),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    hash_close();
    return failed;
}

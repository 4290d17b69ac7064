/* SPDX-License-Identifier: MIT */
/*
 * A copy of a store that is in use (store_backup.h): what it shows, that nobody waits for it, what
 * refuses one, and that a copy that is not sound gets no name.
 */
#include "store_backup.h"

#include "hash.h"
#include "store_fixture.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static struct fixture fixture;
static struct backup backup;

static int setup(void **state) {
    (void)state;
    umask(077);
    fixture_new(&fixture);
    fixture_reopen(&fixture);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    fixture_free(&fixture);
    return 0;
}

static struct store_job *job_of_backup(unsigned keep) {
    struct store_job *job = store_job_new(STORE_JOB_BACKUP);
    assert_true(backup_begin(&backup, fixture.directory, keep));
    job->backup = &backup;
    return job;
}

static void back_up(unsigned keep) {
    struct store_job *job = job_of_backup(keep);
    fixture_run(&fixture, job);
    store_job_free(job);
    if (backup.error == BACKUP_OK) {
        backup_check(&backup);
    }
}

static unsigned files_in_folder(void) {
    char folder[200];
    unsigned count = 0;
    snprintf(folder, sizeof folder, "%s/backup", fixture.directory);
    DIR *files = opendir(folder);
    assert_non_null(files);
    for (struct dirent *file; (file = readdir(files)) != NULL;) {
        count += file->d_name[0] != '.';
    }
    closedir(files);
    return count;
}

/* The first number of the first row. */
static int64_t copy_number(const char *sql) {
    sqlite3 *db;
    sqlite3_stmt *statement;
    char name[BACKUP_PATH_BYTES + 30];
    snprintf(name, sizeof name, "file:%s?immutable=1", backup.path);
    assert_int_equal(sqlite3_open_v2(name, &db, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, NULL), 0);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &statement, NULL), 0);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    int64_t number = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    sqlite3_close(db);
    return number;
}

static void test_a_copy(void **state) {
    (void)state;
    struct stat file;
    assert_true(write_keys(&fixture, 0, 300, 1, 1, 100));
    assert_true(write_keys(&fixture, 1000, 3, 1, 1, 900000)); /* beside the rows */
    back_up(0);
    assert_int_equal(backup.error, BACKUP_OK);
    assert_int_equal(backup.rows, 303);
    assert_int_equal(stat(backup.path, &file), 0);
    assert_int_equal(file.st_mode & 0777, 0600);
    assert_int_equal(file.st_size, backup.bytes);
    assert_int_equal(copy_number("SELECT count(*) FROM rows"), 303);
    assert_int_equal(files_in_folder(), 1);
}

/* Writes pass between the slices, and are in the copy: each was done before its end. */
static void test_nobody_waits_for_it(void **state) {
    (void)state;
    enum { ROWS = 20000, WRITES = 20 };
    for (uint64_t key = 0; key < ROWS; key += 1000) {
        assert_true(write_keys(&fixture, key, 1000, 1, 1, 1000));
    }
    unsigned before = fixture.done_count;
    bool ended = false;
    struct store_job *job = job_of_backup(0);
    job->store_op = 1;
    job->owner = &ended;
    store_submit(fixture.store, job);
    for (uint64_t i = 0; i < WRITES; i++) {
        assert_true(write_keys(&fixture, i * 997, 1, 2, 1, 1000));
    }
    fixture_wait(&fixture, before + WRITES + 1);
    store_job_free(job);
    unsigned passed = 0;
    while (fixture.order[before + passed] != 1) {
        passed++;
    }
    assert_in_range(passed, 1, WRITES); /* of a copy in one piece it would be none */
    backup_check(&backup);
    assert_int_equal(backup.error, BACKUP_OK);
    assert_int_equal(backup.rows, ROWS);
    assert_in_range(copy_number("SELECT count(*) FROM rows WHERE epoch = 2"), passed, WRITES);
    assert_true(has_key(&fixture, 0, 2, 1));
}

static void test_how_many_are_kept(void **state) {
    (void)state;
    char first[BACKUP_PATH_BYTES], second[BACKUP_PATH_BYTES];
    assert_true(write_keys(&fixture, 0, 3, 1, 1, 10));
    for (unsigned i = 0; i < BACKUP_KEEP_MAX; i++) {
        back_up(0);
        assert_int_equal(backup.error, BACKUP_OK);
        memcpy(i == 0 ? first : second, backup.path, sizeof first);
        usleep(1000); /* they are named by the millisecond */
    }
    assert_int_equal(files_in_folder(), BACKUP_KEEP_MAX);
    assert_false(backup_begin(&backup, fixture.directory, 0));
    assert_int_equal(backup.error, BACKUP_REFUSED);
    assert_non_null(strstr(backup.reason, "16 backups"));

    char notes[200];
    snprintf(notes, sizeof notes, "%s/backup/chord-notes.db", fixture.directory);
    close(open(notes, O_CREAT | O_WRONLY, 0600)); /* somebody's own */
    back_up(2);
    assert_int_equal(backup.error, BACKUP_OK);
    assert_int_equal(files_in_folder(), 2 + 1);
    assert_int_equal(access(backup.path, F_OK), 0);
    assert_int_equal(access(second, F_OK), 0); /* the newest of the others */
    assert_int_not_equal(access(first, F_OK), 0);
    assert_int_equal(access(notes, F_OK), 0);
}

static void test_a_copy_needs_room(void **state) {
    (void)state;
    char folder[] = "/tmp/chord-backup-XXXXXX", path[200];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/chord.db", folder);
    int file = open(path, O_CREAT | O_WRONLY, 0600);
    assert_int_equal(ftruncate(file, (off_t)1 << 43), 0); /* takes no room itself */
    close(file);
    assert_false(backup_begin(&backup, folder, 0));
    assert_int_equal(backup.error, BACKUP_REFUSED);
    assert_non_null(strstr(backup.reason, "make room"));
    unlink(path);
    rmdir(backup.folder);
    rmdir(folder);
}

/* Bytes of the copy that are changed before it is read: a value, and the root of a tree. */
static void change_copy(const char *text, size_t size, unsigned char to) {
    FILE *file = fopen(backup.made, "r+b");
    static char bytes[1 << 20];
    size_t count = fread(bytes, 1, sizeof bytes, file);
    char *found = memmem(bytes, count, text, size);
    assert_non_null(found);
    fseek(file, found - bytes + (long)size, SEEK_SET);
    fputc(to, file);
    fclose(file);
}

static void test_a_bad_copy_gets_no_name(void **state) {
    (void)state;
    assert_true(write_keys(&fixture, 0, 50, 1, 1, 100));
    struct store_job *key = read_key(&fixture, 7);
    assert_int_equal(key->rows[0].kind, STORE_VALUE);
    for (unsigned i = 0; i < 2; i++) {
        struct store_job *job = job_of_backup(0);
        fixture_run(&fixture, job);
        store_job_free(job);
        if (i == 0) { /* a byte of a value: only the row's checksum knows */
            change_copy((const char *)key->rows[0].value, 20,
                        (unsigned char)~key->rows[0].value[20]);
        } else { /* the kind of a page */
            FILE *file = fopen(backup.made, "r+b");
            fseek(file, 4096, SEEK_SET);
            fputc(0x55, file);
            fclose(file);
        }
        backup_check(&backup);
        assert_int_equal(backup.error, BACKUP_DAMAGED);
        assert_int_equal(files_in_folder(), 0);
    }
    store_job_free(key);
    back_up(0); /* the store itself is well */
    assert_int_equal(backup.error, BACKUP_OK);
}

/* A store that closes does not wait for a copy, and leaves no part of one. */
static void test_stopped(void **state) {
    (void)state;
    for (uint64_t key = 0; key < 10000; key += 1000) {
        assert_true(write_keys(&fixture, key, 1000, 1, 1, 1000));
    }
    struct store_job *job = job_of_backup(0);
    atomic_store(&backup.stop, true);
    fixture_run(&fixture, job);
    store_job_free(job);
    assert_int_equal(backup.error, BACKUP_FAILED);
    assert_int_equal(files_in_folder(), 0);
}

int main(void) {
    if (!hash_open()) {
        return 1;
    }
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_a_copy),
        TEST(test_nobody_waits_for_it),
        TEST(test_how_many_are_kept),
        TEST(test_a_copy_needs_room),
        TEST(test_a_bad_copy_gets_no_name),
        TEST(test_stopped),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    hash_close();
    return failed;
}

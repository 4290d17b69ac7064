/* SPDX-License-Identifier: MIT */
/*
 * The store whose files go away under it: whatever is done to them, the next write is not reported
 * as stored, an idle store notices by itself, and what was reported before is not lost when its
 * database is still there.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hash.h"
#include "store_fixture.h"

enum { ROWS = 50 };

static struct fixture fixture;

static int setup(void **state) {
    (void)state;
    fixture_new(&fixture);
    return fixture_open(&fixture) == STORE_OK ? 0 : -1;
}

static int teardown(void **state) {
    (void)state;
    fixture_free(&fixture);
    return 0;
}

static char *in_folder(const char *name) {
    static char paths[2][sizeof fixture.directory + 40];
    static unsigned turn;
    char *path = paths[turn++ % 2];
    snprintf(path, sizeof paths[0], "%s/%s", fixture.directory, name);
    return path;
}

static void write_file(const char *path) {
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs("something else", file);
    fclose(file);
}

static void unlink_database(void) {
    assert_int_equal(unlink(in_folder("chord.db")), 0);
}

static void unlink_log(void) {
    assert_int_equal(unlink(in_folder("chord.db-wal")), 0);
}

static void rename_database(void) {
    assert_int_equal(rename(in_folder("chord.db"), in_folder("elsewhere.db")), 0);
}

static void replace_database(void) {
    write_file(in_folder("other"));
    assert_int_equal(rename(in_folder("other"), in_folder("chord.db")), 0);
}

static void replace_log(void) {
    write_file(in_folder("other"));
    assert_int_equal(rename(in_folder("other"), in_folder("chord.db-wal")), 0);
}

static void rename_folder(void) {
    char aside[sizeof fixture.directory + 8];
    snprintf(aside, sizeof aside, "%s-aside", fixture.directory);
    assert_int_equal(rename(fixture.directory, aside), 0);
    snprintf(fixture.directory, sizeof fixture.directory, "%.55s", aside); /* for the clean-up */
}

static const struct way {
    const char *name;
    void (*act)(void);
    bool database_stays; /* where it can be opened again, with every row */
} ways[] = {
    {"database unlinked", unlink_database, false},
    {"database renamed", rename_database, false},
    {"database replaced", replace_database, false},
    {"log unlinked", unlink_log, true},
    {"log replaced", replace_log, true},
    {"folder renamed", rename_folder, true},
};

static void expect_failure(const struct way *way) {
    pthread_mutex_lock(&fixture.mutex);
    if (fixture.failures != 1 || strstr(fixture.failure, "removed, renamed or replaced") == NULL) {
        fail_msg("%s: %u failures, %s", way->name, fixture.failures, fixture.failure);
    }
    pthread_mutex_unlock(&fixture.mutex);
}

static void test_next_write_is_not_stored(void **state) {
    const struct way *way = *state;
    *state = NULL;
    setup(NULL);
    assert_true(write_keys(&fixture, 0, ROWS, 1, 1, 200));
    way->act();
    if (write_keys(&fixture, ROWS, 1, 1, 2, 200)) {
        fail_msg("%s: a write was reported as stored", way->name);
    }
    expect_failure(way);
    assert_false(write_keys(&fixture, ROWS + 1, 1, 1, 3, 200));
    expect_failure(way);
    fixture_close(&fixture);
    if (way->database_stays) {
        assert_int_equal(fixture_open(&fixture), STORE_OK);
        for (uint64_t key = 0; key < ROWS; key++) {
            assert_true(has_key(&fixture, key, 1, 1));
        }
    }
    teardown(NULL);
}

/* Nobody writes: it is found all the same. */
static void test_idle_store_notices(void **state) {
    const struct way *way = *state;
    *state = NULL;
    setup(NULL);
    assert_true(write_keys(&fixture, 0, ROWS, 1, 1, 200));
    way->act();
    pthread_mutex_lock(&fixture.mutex);
    while (fixture.failures == 0) {
        pthread_cond_wait(&fixture.done, &fixture.mutex);
    }
    pthread_mutex_unlock(&fixture.mutex);
    expect_failure(way);
    teardown(NULL);
}

int main(void) {
    enum { WAYS = sizeof ways / sizeof ways[0] };
    struct CMUnitTest tests[WAYS + 2];
    for (unsigned i = 0; i < WAYS; i++) {
        void *way = (void *)(uintptr_t)&ways[i];
        tests[i] =
            (struct CMUnitTest){ways[i].name, test_next_write_is_not_stored, NULL, NULL, way};
    }
    for (unsigned i = 0; i < 2; i++) { /* it takes a second each */
        void *way = (void *)(uintptr_t)&ways[3 * i];
        tests[WAYS + i] =
            (struct CMUnitTest){"idle store notices", test_idle_store_notices, NULL, NULL, way};
    }
    if (!hash_open()) {
        return 1;
    }
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    hash_close();
    return failed;
}

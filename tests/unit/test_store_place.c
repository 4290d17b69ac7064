/* SPDX-License-Identifier: MIT */
/*
 * A store knows where its file lives: a copy of it is refused, the file itself is not, also after
 * it was renamed and at another address.
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

static void copy(const char *from, const char *to) {
    char command[300];
    snprintf(command, sizeof command, "cp -p %s/chord.db %s/chord.db", from, to);
    assert_int_equal(system(command), 0);
}

/* One store with a row, closed; an empty folder beside it. */
static void two_folders(struct fixture *original, struct fixture *other) {
    fixture_new(original);
    fixture_reopen(original);
    assert_true(write_keys(original, 1, 1, 1, 1, 10));
    fixture_close(original);
    fixture_new(other);
}

static void test_copy_is_refused(void **state) {
    static struct fixture original, other;
    (void)state;
    two_folders(&original, &other);
    copy(original.directory, other.directory);
    assert_int_equal(fixture_open(&other), STORE_COPIED);
    assert_non_null(strstr(other.reason, original.directory));
    assert_non_null(strstr(other.reason, other.directory));
    assert_non_null(strstr(other.reason, "127.0.0.1:4001"));
    assert_non_null(strstr(other.reason, "--moved"));
    fixture_reopen(&original); /* nothing has happened to it */
    assert_true(has_key(&original, 1, 1, 1));
    fixture_free(&other);
    fixture_free(&original);
}

static void test_moved_goes_on(void **state) {
    static struct fixture original, other;
    (void)state;
    two_folders(&original, &other);
    copy(original.directory, other.directory);
    other.moved = true;
    assert_int_equal(fixture_open(&other), STORE_OK);
    assert_memory_equal(other.store_id, original.store_id, CHORD_STORE_ID_BYTES);
    assert_true(has_key(&other, 1, 1, 1));
    fixture_close(&other);
    other.moved = false; /* from now on it is at home here */
    fixture_reopen(&other);
    fixture_free(&other);
    fixture_free(&original);
}

static void test_renamed_file_is_the_same(void **state) {
    static struct fixture original, other;
    char from[100], to[100];
    (void)state;
    two_folders(&original, &other);
    snprintf(from, sizeof from, "%s/chord.db", original.directory);
    snprintf(to, sizeof to, "%s/chord.db", other.directory);
    assert_int_equal(rename(from, to), 0);
    fixture_reopen(&other);
    assert_true(has_key(&other, 1, 1, 1));
    assert_int_equal(store_former(other.store)->count, 1);
    assert_string_equal(store_former(other.store)->items[0].text, "127.0.0.1:4001");
    fixture_free(&other);
    fixture_free(&original);
}

int main(void) {
    if (!hash_open()) {
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_copy_is_refused),
        cmocka_unit_test(test_moved_goes_on),
        cmocka_unit_test(test_renamed_file_is_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * The reader of histories of real processes: what it reads, what it refuses, and that a known bad
 * history is told from a good one after it went through a file.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "history_file.h"

#define GOOD_LINE "op a put always done unsaid 1 0 10 20 1 1 0 2 1\n"

static size_t read_text(struct history_file *file, const char *text, const char **wrong) {
    FILE *in = fmemopen((void *)(uintptr_t)text, strlen(text), "r");
    assert_non_null(in);
    size_t line = history_file_read(file, in, wrong);
    fclose(in);
    return line;
}

static void test_every_word_of_a_line(void **state) {
    struct history_file file;
    const char *wrong;
    (void)state;
    assert_int_equal(read_text(&file,
                               GOOD_LINE "op b delete match unknown not 0 7 30 0 3 4 5 6 7\n"
                                         "last a get always done unsaid 1 0 50 60 1 1 0 2 1\n",
                               &wrong),
                     0);
    assert_null(wrong);
    assert_int_equal(file.count, 2);
    assert_string_equal(file.keys[0].name, "a");
    assert_int_equal(file.keys[0].history.count, 2);
    assert_true(file.keys[0].read_last);
    assert_int_equal(file.keys[0].last.operation.called, 50);
    assert_false(file.keys[1].read_last);
    const struct history_entry *entry = &file.keys[1].history.entries[0];
    assert_int_equal(entry->operation.kind, LINEAR_DELETE);
    assert_int_equal(entry->operation.condition, LINEAR_IF_MATCH);
    assert_int_equal(entry->operation.outcome, LINEAR_UNKNOWN);
    assert_int_equal(entry->operation.existed, LINEAR_DID_NOT_EXIST);
    assert_int_equal(entry->operation.match, 7);
    assert_int_equal(entry->operation.called, 30);
    assert_int_equal(entry->version.epoch, 3);
    assert_int_equal(entry->version.counter, 4);
    assert_int_equal(entry->client, 5);
    assert_int_equal(entry->node, 6);
    assert_int_equal(entry->attempts, 7);
    history_file_free(&file);
}

static void test_what_is_refused(void **state) {
    static const char *const lines[] = {
        "\n",
        "op\n",
        "op a put always done unsaid 1 0 10 20 1 1 0 2\n",     /* a word too few */
        "op a put always done unsaid 1 0 10 20 1 1 0 2 1 1\n", /* one too many */
        "op a put always done unsaid 1 0 10 20 1 1 0 2 1",     /* no end: cut off */
        "op  put always done unsaid 1 0 10 20 1 1 0 2 1\n",    /* no key */
        "OP a put always done unsaid 1 0 10 20 1 1 0 2 1\n",
        "op a push always done unsaid 1 0 10 20 1 1 0 2 1\n",
        "op a put ever done unsaid 1 0 10 20 1 1 0 2 1\n",
        "op a put always did unsaid 1 0 10 20 1 1 0 2 1\n",
        "op a put always done said 1 0 10 20 1 1 0 2 1\n",
        "op a put always done unsaid -1 0 10 20 1 1 0 2 1\n",
        "op a put always done unsaid 1x 0 10 20 1 1 0 2 1\n",
        "op a put always done unsaid 99999999999999999999 0 10 20 1 1 0 2 1\n",
        "op a put always done unsaid 1 0 10 20 1 1 99999 2 1\n",
        "op a put always done unsaid 1 0 30 20 1 1 0 2 1\n",  /* back in time */
        "op a put always done unsaid 0 0 10 20 1 1 0 2 1\n",  /* a put of nothing */
        "op a get always done existed 1 0 10 20 1 1 0 2 1\n", /* reads do not say so */
        "op a get always unknown unsaid 1 0 10 20 1 1 0 2 1\n",
        "op a put always refused unsaid 1 0 10 20 1 1 0 2 1\n",
        "last a put always done unsaid 1 0 10 20 1 1 0 2 1\n",
        ("op aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa put "
         "always done unsaid 1 0 10 20 1 1 0 2 1\n"),
    };
    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        struct history_file file;
        const char *wrong = NULL;
        char text[1024];
        snprintf(text, sizeof text, GOOD_LINE "%s", lines[i]);
        if (read_text(&file, text, &wrong) != 2 || wrong == NULL) {
            fail_msg("was read: %s", lines[i]);
        }
        history_file_free(&file);
    }
}

static const char *verdict_of(const char *text) {
    struct history_file file;
    const char *wrong;
    size_t entry;
    bool given_up;
    assert_int_equal(read_text(&file, text, &wrong), 0);
    assert_int_equal(file.count, 1);
    const struct history_key *key = &file.keys[0];
    wrong = history_check(&key->history, &entry, &given_up);
    if (wrong == NULL && key->read_last) {
        wrong = history_check_kept(&key->history, &key->last, &entry);
    }
    assert_false(given_up);
    history_file_free(&file);
    return wrong;
}

static void test_a_bad_history_is_told_from_a_good_one(void **state) {
    (void)state;
    assert_null(verdict_of(GOOD_LINE "op a put always done unsaid 2 0 30 40 1 2 0 2 1\n"
                                     "last a get always done unsaid 2 0 50 60 1 2 0 2 1\n"));
    /* The older value again. */
    assert_non_null(verdict_of(GOOD_LINE "op a put always done unsaid 2 0 30 40 1 2 0 2 1\n"
                                         "op a get always done unsaid 1 0 50 60 1 1 0 2 1\n"));
    /* Nothing where something was acknowledged. */
    assert_non_null(verdict_of(GOOD_LINE "last a get always done unsaid 0 0 50 60 0 0 0 2 1\n"));
    /* One write, two versions. */
    assert_non_null(verdict_of(GOOD_LINE "op a get always done unsaid 1 0 30 40 1 1 0 2 1\n"
                                         "op a get always done unsaid 1 0 50 60 2 9 0 2 1\n"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_word_of_a_line),
        cmocka_unit_test(test_what_is_refused),
        cmocka_unit_test(test_a_bad_history_is_told_from_a_good_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

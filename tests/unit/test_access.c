/* SPDX-License-Identifier: MIT */
/*
 * Who may do what through the gateway: the lines of API_TOKEN_FILE, the search for a token, the
 * sessions of one-time links. A failure of the random test prints the seed; CHORD_TEST_SEED=n
 * replays it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "sessions.h"
#include "tokens.h"

#define ONE "C0x7mZ1rTq9LwYb2"
#define TWO "Jt4Xo9qHs6VnKd3e"

static struct tokens tokens;

/* What is wrong with the text; "" = nothing. */
static const char *parse(const char *text) {
    static char error[256];
    error[0] = '\0';
    /* On the heap, so that a read past the end is seen. */
    size_t size = strlen(text);
    char *copy = malloc(size + (size == 0));
    assert_non_null(copy);
    memcpy(copy, text, size);
    bool good = tokens_parse(&tokens, copy, size, error, sizeof(error));
    free(copy);
    assert_true(good == (error[0] == '\0'));
    return error;
}

static const struct api_token *find(const char *text) {
    return tokens_find(&tokens, text, strlen(text));
}

static void test_bare(void **state) {
    (void)state;
    const char *const texts[] = {ONE, ONE "\n", ONE "\r\n", ONE "\n\n# of the office\n  \n",
                                 "a secret of some length"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        assert_string_equal(parse(texts[i]), "");
        assert_int_equal(tokens.count, 1);
        assert_int_equal(tokens.all[0].role, ROLE_OPERATOR);
        assert_string_equal(tokens.all[0].name, "operator");
    }
    assert_non_null(find("a secret of some length"));
}

static void test_roles(void **state) {
    (void)state;
    assert_string_equal(parse("# who may do what\n\n  reader\t" ONE "  grafana\r\noperator " TWO),
                        "");
    assert_int_equal(tokens.count, 2);
    assert_int_equal(find(ONE)->role, ROLE_READER);
    assert_string_equal(find(ONE)->name, "grafana");
    assert_int_equal(find(TWO)->role, ROLE_OPERATOR);
    assert_string_equal(find(TWO)->name, "operator-4");
    assert_null(find("operator " TWO));
    assert_null(find(ONE "x"));
    assert_null(find("C0x7mZ1rTq9LwYb"));
    assert_null(find(""));
    assert_null(tokens_find(&tokens, ONE "\0", sizeof(ONE) + 1));
}

static void test_refused(void **state) {
    (void)state;
    static const struct {
        const char *text, *says;
    } rows[] = {
        {"", "no token"},
        {"\n# nothing\n", "no token"},
        {"short", "line 1: the token is too short"},
        {"reader short", "line 1: the token is too short"},
        {"reader " ONE "\nwriter passwordpasswordpass", "line 2: the token can be guessed"},
        {"aaaaaaaaaaaaaaaaaaaaaaaa", "line 1: the token can be guessed"},
        {"reader " ONE "\n\nwriter " ONE, "line 3: the same token as in line 1"},
        {"reeder " ONE, "line 1: its first word is no role"},
        {"Operator " ONE " alice", "line 1: its first word is no role"},
        {"# x\n" ONE, "line 2: its first word is no role"},
        {"reader", "line 1: the token is too short"}, /* six bytes alone */
        {"# x\nreader", "line 2: it must be a role, a token"},
        {"reader " ONE " a b", "line 1: it must be a role, a token"},
        {"reader " ONE " gr\xc3\xa4", "line 1: the name"},
        {"reader " ONE " abcdefghijklmnopqrstuvwxyz0123456", "line 1: the name"},
        {ONE "\nreader " TWO, "line 2: a file whose first line is a token alone"},
        {"reader C0x7mZ1rTq\x01LwYb2", "line 1: the token has a control character"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *error = parse(rows[i].text);
        if (strstr(error, rows[i].says) == NULL) {
            fail_msg("'%s' gives '%s', not '%s'", rows[i].text, error, rows[i].says);
        }
        assert_null(strstr(error, "C0x7")); /* tokens are not shown */
    }
}

static void test_limits(void **state) {
    (void)state;
    static char text[TOKENS_FILE_BYTES_MAX];
    size_t size = 0;
    for (int i = 0; i <= TOKENS_MAX; i++) {
        if (i == TOKENS_MAX) {
            assert_string_equal(parse(text), "");
        }
        size +=
            (size_t)snprintf(text + size, sizeof(text) - size, "reader C0x7mZ1rTq9LwY%02d\n", i);
    }
    assert_string_equal(parse(text), "line 65: more than 64 tokens");
    char long_line[TOKEN_BYTES_MAX + 2] = "C0x7mZ1rTq9LwYb2"; /* the rest becomes digits */
    memset(long_line + 16, '5', sizeof(long_line) - 17);
    assert_non_null(strstr(parse(long_line), "too long: it has 257 bytes"));
    long_line[TOKEN_BYTES_MAX] = '\0';
    assert_string_equal(parse(long_line), "");
    assert_non_null(find(long_line));
}

/* Any bytes: refused with a sentence, or tokens that are found. */
static void test_any_bytes(void **state) {
    (void)state;
    static const char *const pieces[] = {"reader ", "writer ",  "operator ", ONE,   TWO, "\n",
                                         "\r\n",    " alice\n", "#",         "\t",  " ", "x",
                                         "\x80",    "",         "reeder ",   "\x01"};
    const char *seed_text = getenv("CHORD_TEST_SEED");
    uint64_t seed = seed_text != NULL ? strtoull(seed_text, NULL, 10) : (uint64_t)time(NULL);
    print_message("CHORD_TEST_SEED=%llu\n", (unsigned long long)seed);
    srand((unsigned)seed);
    size_t good = 0;
    for (int run = 0; run < 20000; run++) {
        char text[512] = "";
        for (int i = rand() % 12; i >= 0; i--) {
            strcat(text, pieces[(size_t)rand() % (sizeof(pieces) / sizeof(pieces[0]))]);
        }
        if (parse(text)[0] != '\0') {
            continue;
        }
        good++;
        for (size_t i = 0; i < tokens.count; i++) {
            assert_ptr_equal(find(tokens.all[i].text), &tokens.all[i]);
            assert_true(tokens.all[i].role >= ROLE_READER && tokens.all[i].role <= ROLE_OPERATOR);
            assert_true(tokens.all[i].name[0] != '\0');
        }
    }
    assert_true(good > 100);
}

static void test_sessions(void **state) {
    (void)state;
    struct sessions *sessions = sessions_new();
    char first[SESSION_ID_BYTES + 1], id[SESSION_ID_BYTES + 1];
    assert_true(sessions_begin(sessions, 1000, first));
    assert_true(sessions_has(sessions, 1000, first, SESSION_ID_BYTES));
    assert_false(sessions_has(sessions, 1000, first, SESSION_ID_BYTES - 1));
    assert_false(sessions_has(sessions, 1000 + SESSION_MS_MAX, first, SESSION_ID_BYTES));
    char zeros[SESSION_ID_BYTES] = {0};
    assert_false(sessions_has(sessions, 1000, zeros, sizeof(zeros)));
    for (uint64_t i = 1; i <= SESSIONS_MAX; i++) {
        assert_true(sessions_has(sessions, 1000, first, SESSION_ID_BYTES));
        assert_true(sessions_begin(sessions, 1000 + i, id));
        assert_string_not_equal(id, first);
    }
    assert_false(sessions_has(sessions, 1000, first, SESSION_ID_BYTES)); /* the oldest gave way */
    assert_true(sessions_has(sessions, 1000, id, SESSION_ID_BYTES));
    sessions_end(sessions, id, SESSION_ID_BYTES);
    assert_false(sessions_has(sessions, 1000, id, SESSION_ID_BYTES));
    sessions_free(sessions);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bare),      cmocka_unit_test(test_roles),
        cmocka_unit_test(test_refused),   cmocka_unit_test(test_limits),
        cmocka_unit_test(test_any_bytes), cmocka_unit_test(test_sessions),
    };
    return cmocka_run_group_tests_name("access", tests, NULL, NULL);
}

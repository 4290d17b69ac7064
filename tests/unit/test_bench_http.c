/* SPDX-License-Identifier: MIT */
/* How the HTTP load generator reads answers and fills templates (tests/bench). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "answer.h"
#include "template.h"

/* ---- answers ---- */

struct example {
    const char *bytes;
    unsigned status;
    const char *body;
    bool closes;
};

static const struct example examples[] = {
    {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, "hello", false},
    {"HTTP/1.1 200 OK\r\ncontent-length:5\r\nconnection: close\r\n\r\nhello", 200, "hello", true},
    {"HTTP/1.1 204 No Content\r\n\r\n", 204, "", false},
    {"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", 404, "", false},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n7;x=y\r\n, "
     "world\r\n0\r\n\r\n",
     200, "hello, world", false},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n",
     200, "0123456789abcdef", false},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 200, "", false},
};

/* In pieces of that many bytes: whole with the last one, and not before. */
static void read_in_pieces(const struct example *example, size_t piece, struct answer *answer) {
    size_t count = strlen(example->bytes);
    answer_clear(answer);
    for (size_t at = 0; at < count; at += piece) {
        size_t more = count - at < piece ? count - at : piece;
        text_add(&answer->in, example->bytes + at, more);
        assert_int_equal(answer_read(answer), at + more < count ? ANSWER_PARTIAL : ANSWER_WHOLE);
    }
    assert_int_equal(answer->status, example->status);
    assert_int_equal(answer->body.count, strlen(example->body));
    if (answer->body.count > 0) {
        assert_memory_equal(answer->body.bytes, example->body, answer->body.count);
    }
    assert_int_equal(answer->closes, example->closes);
}

static void answers_come_in_any_pieces(void **state) {
    (void)state;
    struct answer answer = {.status = 0};
    for (size_t at = 0; at < sizeof examples / sizeof *examples; at++) {
        for (size_t piece = 1; piece <= strlen(examples[at].bytes); piece++) {
            read_in_pieces(&examples[at], piece, &answer);
        }
    }
    answer_free(&answer);
}

static void what_is_no_answer_is_broken(void **state) {
    (void)state;
    const char *const broken[] = {
        "SSH-2.0-OpenSSH\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    };
    for (size_t at = 0; at < sizeof broken / sizeof *broken; at++) {
        struct answer answer = {.status = 0};
        text_add(&answer.in, broken[at], strlen(broken[at]));
        assert_int_equal(answer_read(&answer), ANSWER_BROKEN);
        answer_free(&answer);
    }
}

/* ---- templates ---- */

static void check_template(const char *template, const char *value, const char *expected) {
    struct text text = {.count = 0};
    text_expand(&text, template, "key", value, strlen(value));
    text_add(&text, "", 1);
    assert_string_equal(text.bytes, expected);
    free(text.bytes);
}

static void templates_are_filled(void **state) {
    (void)state;
    check_template("GET /kv/@KEY@", "", "GET /kv/key");
    check_template("{\"k\":\"@KEY64@\",\"v\":\"@VALUE64@\"}", "fo",
                   "{\"k\":\"a2V5\",\"v\":\"Zm8=\"}");
    check_template("@VALUE@@KEY@", "v", "vkey");
    check_template("a@b@", "v", "a@b@");
    check_template("", "v", "");
}

/* RFC 4648, section 10. */
static void base64_is_the_standards(void **state) {
    (void)state;
    check_template("@VALUE64@", "", "");
    check_template("@VALUE64@", "f", "Zg==");
    check_template("@VALUE64@", "fo", "Zm8=");
    check_template("@VALUE64@", "foo", "Zm9v");
    check_template("@VALUE64@", "foobar", "Zm9vYmFy");
    check_template("@VALUE64@", "\xff\xfe\xfd", "//79");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_come_in_any_pieces),
        cmocka_unit_test(what_is_no_answer_is_broken),
        cmocka_unit_test(templates_are_filled),
        cmocka_unit_test(base64_is_the_standards),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/* proto/utf8: what is UTF-8, and lines that show what they are. */
#include "utf8.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void test_valid(void **state) {
    (void)state;
    static const struct {
        const char *text;
        bool valid;
    } cases[] = {
        {"", true},
        {"a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", true}, /* 1 to 4 bytes */
        {"\x80", false},                                 /* no first byte */
        {"\xc0\xaf", false},                             /* a longer form */
        {"\xe0\x80\xaf", false},
        {"\xed\xa0\x80", false},     /* a surrogate */
        {"\xf4\x90\x80\x80", false}, /* beyond U+10FFFF */
        {"\xe2\x82", false},         /* cut */
        {"\xc3(", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(utf8_is_valid(cases[i].text, strlen(cases[i].text)), cases[i].valid);
    }
}

static void test_lines(void **state) {
    (void)state;
    static const struct {
        const char *text, *line;
    } cases[] = {
        {"a key, \xc3\xa9\xe2\x82\xac", "a key, \xc3\xa9\xe2\x82\xac"},
        {"two\nlines\r\x1b[31mred", "two?lines??[31mred"},
        {"\xc2\x9b"
         "31mC1",
         "??31mC1"},
        {"\xe2\x80\xae"
         "txt.exe",
         "???txt.exe"},              /* right to left */
        {"a\xe2\x81\xa6z", "a???z"}, /* an isolate */
        {"\xef\xbb\xbf"
         "bom",
         "???bom"},
        {"bad \xff byte, cut \xe2\x82", "bad ? byte, cut ??"},
        {"\x7f", "?"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[64];
        strcpy(text, cases[i].text);
        utf8_make_line(text);
        assert_string_equal(text, cases[i].line);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_valid), cmocka_unit_test(test_lines)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

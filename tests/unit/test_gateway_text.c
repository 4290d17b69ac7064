/* SPDX-License-Identifier: MIT */
/*
 * The gateway's text readers: multipart forms, percent-decoding, Host and Origin, ids, hints.
 * A failure of a random test prints the seed; CHORD_TEST_SEED=n replays it.
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

#include "buf.h"
#include "ids.h"
#include "multipart.h"
#include "url.h"

static uint64_t seed_base;

static uint64_t random_next(uint64_t *state) {
    *state += 0x9e3779b97f4a7c15u; /* splitmix64 */
    uint64_t z = *state;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* ---- multipart ---- */

static bool on_part(void *context, const struct multipart_part *part) {
    return buf_format(context, "[%s%s:", part->name, part->is_file ? "*" : "");
}

static bool on_data(void *context, const void *data, size_t size) {
    return buf_append(context, data, size);
}

static bool on_part_end(void *context) {
    return buf_append(context, "]", 1);
}

/* "" + what the parts were, and at the end ! for an error, ? for an unfinished body. */
static struct buf form_read(const char *boundary, const char *text, size_t size, uint64_t *random) {
    struct buf out = {0};
    const struct multipart_handler handler = {on_part, on_data, on_part_end, &out};
    struct multipart *multipart = multipart_new(boundary, &handler);
    assert_non_null(multipart);
    bool ok = true;
    for (size_t at = 0; at < size && ok;) {
        size_t part = random == NULL ? size : 1 + (size_t)(random_next(random) % 9);
        part = part > size - at ? size - at : part;
        char *copy = malloc(part);
        assert_non_null(copy);
        memcpy(copy, text + at, part);
        ok = multipart_feed(multipart, copy, part);
        free(copy);
        at += part;
    }
    if (!ok) {
        assert_true(buf_append(&out, "!", 1));
    } else if (!multipart_is_complete(multipart)) {
        assert_true(buf_append(&out, "?", 1));
    }
    multipart_free(multipart);
    assert_true(buf_append(&out, "", 1));
    return out;
}

static void expect_form(const char *boundary, const char *text, const char *parts) {
    struct buf whole = form_read(boundary, text, strlen(text), NULL);
    assert_string_equal((const char *)whole.data, parts);
    for (uint64_t k = 0; k < 50; k++) {
        uint64_t random = seed_base + k;
        struct buf split = form_read(boundary, text, strlen(text), &random);
        assert_string_equal((const char *)split.data, parts);
        buf_free(&split);
    }
    buf_free(&whole);
}

#define FILE_HEAD "Content-Disposition: form-data; name=\"file\"; filename=\"a.csv\"\r\n"

static void test_multipart(void **state) {
    (void)state;
    expect_form("B",
                "--B\r\n" FILE_HEAD "Content-Type: text/csv\r\n\r\nk,v\r\na,b\r\n\r\n--B--\r\n",
                "[file*:k,v\r\na,b\r\n]");
    expect_form(
        "B",
        "--B\r\nContent-Disposition: form-data; name=\"key_column\"\r\n\r\nid\r\n--B\r\n" FILE_HEAD
        "\r\nx\r\n--B--",
        "[key_column:id][file*:x]");
    expect_form("B", "preamble\r\n--B\r\n" FILE_HEAD "\r\n--\r\n--Bx\r\n", "[file*:--]!");
    expect_form("B", "--B\r\n" FILE_HEAD "\r\n\r\n--B--\r\nepilogue --B", "[file*:]");
    expect_form("B", "--B--\r\n", "");
    expect_form("B", "--B\r\n" FILE_HEAD "\r\nabc", "[file*:?");
}

static void test_multipart_bad(void **state) {
    (void)state;
    expect_form("B", "--B\r\n\r\n\r\n--B--", "[:]");
    expect_form("B", "--B  \r\n" FILE_HEAD "\r\nx\r\n--B--", "[file*:x]");
    char text[9000];
    memset(text, 'h', sizeof(text) - 1);
    memcpy(text, "--B\r\n", 5);
    text[sizeof(text) - 1] = '\0';
    expect_form("B", text, "!");
    char boundary[MULTIPART_BOUNDARY_BYTES_MAX + 1];
    assert_true(multipart_boundary("multipart/form-data; boundary=abc", boundary));
    assert_string_equal(boundary, "abc");
    assert_true(multipart_boundary("multipart/form-data; charset=x; Boundary=\"a b\"", boundary));
    assert_string_equal(boundary, "a b");
    assert_false(multipart_boundary("multipart/form-data", boundary));
    assert_false(multipart_boundary("multipart/form-data; boundary=", boundary));
    assert_false(
        multipart_boundary("multipart/form-data; "
                           "boundary=0123456789012345678901234567890123456789012345678901234567890"
                           "12345678901",
                           boundary));
}

/* Bytes that look much like boundaries: splits do not matter, and what is a file's stays. */
static void test_multipart_random(void **state) {
    (void)state;
    static const char alphabet[] = "\r\n--Bx:;";
    for (uint64_t round = 0; round < 3000; round++) {
        uint64_t random = seed_base + round * 104729;
        char text[300] = "--B\r\n" FILE_HEAD "\r\n";
        size_t size = strlen(text);
        size_t more = (size_t)(random_next(&random) % 120);
        for (size_t i = 0; i < more; i++) {
            text[size++] = alphabet[random_next(&random) % (sizeof(alphabet) - 1)];
        }
        if (random_next(&random) % 2 == 0) {
            memcpy(text + size, "\r\n--B--", 7);
            size += 7;
        }
        struct buf whole = form_read("B", text, size, NULL);
        struct buf split = form_read("B", text, size, &random);
        /* On an error the amount given out before may differ; without one nothing may. */
        bool failed = strchr((const char *)whole.data, '!') != NULL;
        bool failed_too = strchr((const char *)split.data, '!') != NULL;
        if (failed != failed_too ||
            (!failed && strcmp((const char *)whole.data, (const char *)split.data) != 0)) {
            print_message("replay with CHORD_TEST_SEED=%llu (round %llu)\n",
                          (unsigned long long)seed_base, (unsigned long long)round);
            fail();
        }
        buf_free(&whole);
        buf_free(&split);
    }
}

/* ---- URLs ---- */

static void test_decode(void **state) {
    (void)state;
    struct buf out = {0};
    assert_true(url_decode(&out, "a%2Fb%00%c3%A4+", 15, false));
    assert_int_equal(out.size, 7);
    assert_memory_equal(out.data, "a/b\0\xc3\xa4+", 7);
    buf_clear(&out);
    assert_false(url_decode(&out, "%", 1, false));
    assert_false(url_decode(&out, "%4", 2, false));
    assert_false(url_decode(&out, "%g0", 3, false));
    bool malformed = false;
    assert_true(url_parameter("a=1&key=x+y%21&b", "key", &out, &malformed));
    assert_string_equal((const char *)out.data, "x y!");
    assert_true(url_parameter("a=1&b", "b", &out, NULL));
    assert_int_equal(out.size, 0);
    assert_false(url_parameter("akey=1", "key", &out, &malformed));
    assert_false(malformed);
    assert_false(url_parameter("key=%1", "key", &out, &malformed));
    assert_true(malformed);
    assert_false(url_parameter(NULL, "key", &out, NULL));
    uint64_t number = 0;
    assert_true(url_parameter_number("limit=5", "limit", 1, 10, 3, &number));
    assert_int_equal(number, 5);
    assert_true(url_parameter_number("", "limit", 1, 10, 3, &number));
    assert_int_equal(number, 3);
    assert_false(url_parameter_number("limit=11", "limit", 1, 10, 3, &number));
    assert_false(url_parameter_number("limit=-1", "limit", 0, 10, 3, &number));
    assert_false(url_parameter_number("limit=1x", "limit", 0, 10, 3, &number));
    assert_false(
        url_parameter_number("limit=99999999999999999999999", "limit", 0, UINT64_MAX, 3, &number));
    buf_free(&out);
}

static void test_host(void **state) {
    (void)state;
    static const char *const names[] = {"127.0.0.1", "localhost"};
    assert_true(url_host_allowed("127.0.0.1:3000", names, 2));
    assert_true(url_host_allowed("LOCALHOST", names, 2));
    assert_true(url_host_allowed("localhost.:3001", names, 2));
    static const char *const wrong[] = {
        "",           "evil.com",           "localhost:3000:1",
        "localhost:", "localhost.evil.com", "evil@localhost",
        ":3000",      "localhost:x",        "127.0.0.1.evil.com:80"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        assert_false(url_host_allowed(wrong[i], names, 2));
    }
    assert_true(url_origin_is_host("http://localhost:3000", "localhost:3000"));
    assert_true(url_origin_is_host("https://a.ts.net", "a.ts.net"));
    assert_true(url_origin_is_host("http://a:80", "a"));
    assert_false(url_origin_is_host("http://localhost:3001", "localhost:3000"));
    assert_false(url_origin_is_host("null", "localhost:3000"));
    assert_false(url_origin_is_host("http://localhost:3000.evil.com", "localhost:3000"));
    assert_false(url_origin_is_host("http://localhost", "localhost:3000"));
    assert_false(url_origin_is_host("", ""));
}

/* ---- ids ---- */

static void test_ids(void **state) {
    (void)state;
    uint8_t hash[ID_BYTES];
    struct ring_id id;
    char hex[ID_HEX_SIZE];
    assert_true(id_hash_key("abc", 3, hash)); /* FIPS 180 */
    id_from_hash(&id, hash, 160);
    id_to_hex(&id, 160, hex);
    assert_string_equal(hex, "a9993e364706816aba3e25717850c26c9cd0d89d");
    id_from_hash(&id, hash, 6); /* 0xa9 = 1010 1001: the top six bits are 101010 */
    id_to_hex(&id, 6, hex);
    assert_string_equal(hex, "2a");
    id_from_hash(&id, hash, 3);
    id_to_hex(&id, 3, hex);
    assert_string_equal(hex, "5");
    id_from_hash(&id, hash, 32);
    id_to_hex(&id, 32, hex);
    assert_string_equal(hex, "a9993e36");
    for (unsigned m = ID_BITS_MIN; m <= ID_BITS_MAX; m++) {
        uint8_t wire[ID_BYTES];
        uint8_t last[ID_BYTES];
        struct ring_id other;
        id_from_hash(&id, hash, m);
        assert_int_equal(id_to_wire(&id, m, wire), (m + 7) / 8);
        assert_true(id_from_wire(&other, wire, (m + 7) / 8));
        assert_int_equal(id_compare(&id, &other), 0);
        id_to_hex(&id, m, hex);
        assert_true(id_from_hex(&other, m, hex));
        assert_int_equal(id_compare(&id, &other), 0);
        id_last_hash(&id, m, last);
        assert_true(memcmp(last, hash, ID_BYTES) >= 0);
        id_from_hash(&other, last, m);
        assert_int_equal(id_compare(&id, &other), 0);
        id_max(&id, m);
        assert_true(id_increment(&id, m));
        id_from_hash(&id, (const uint8_t[ID_BYTES]){0}, m);
        assert_false(id_increment(&id, m));
    }
    assert_false(id_from_hex(&id, 6, "2"));
    assert_false(id_from_hex(&id, 6, "2g"));
    assert_false(id_from_wire(&id, hash, 21));
}

int main(void) {
    const char *given = getenv("CHORD_TEST_SEED");
    seed_base = given != NULL ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
    printf("CHORD_TEST_SEED=%llu\n", (unsigned long long)seed_base);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_multipart),
        cmocka_unit_test(test_multipart_bad),
        cmocka_unit_test(test_multipart_random),
        cmocka_unit_test(test_decode),
        cmocka_unit_test(test_host),
        cmocka_unit_test(test_ids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

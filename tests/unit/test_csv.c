/* SPDX-License-Identifier: MIT */
/*
 * The CSV reader and writer: examples, the same input in random splits, and libcsv as an oracle on
 * random well-formed files. A failure prints the seed; CHORD_TEST_SEED=n replays it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <csv.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "buf.h"
#include "csv_reader.h"

static uint64_t seed_base;
static struct csv_options options; /* of the test that runs */

static uint64_t random_next(uint64_t *state) {
    *state += 0x9e3779b97f4a7c15u; /* splitmix64 */
    uint64_t z = *state;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static size_t random_below(uint64_t *state, size_t limit) {
    return (size_t)(random_next(state) % limit);
}

/* Every row as a line of text: "LINE|field|field\n" or "LINE!error\n". */
static bool on_row(void *context, const struct csv_row *row) {
    struct buf *out = context;
    assert_true(buf_format(out, "%llu", (unsigned long long)row->line));
    if (row->error != NULL) {
        assert_true(buf_format(out, "!%s", row->error));
    }
    for (size_t i = 0; i < row->fields_count; i++) {
        assert_true(buf_append(out, "|", 1));
        assert_true(buf_append(out, row->fields[i].data, row->fields[i].size));
    }
    return buf_append(out, "\n", 1);
}

/* How many lines of the file the rows are made of: a bad one is one line. */
static bool on_row_lines(void *context, const struct csv_row *row) {
    size_t *sum = context;
    *sum += 1;
    for (size_t i = 0; i < row->fields_count; i++) {
        for (size_t k = 0; k < row->fields[i].size; k++) {
            *sum += row->fields[i].data[k] == '\n';
        }
    }
    return true;
}

static struct buf read_split(const char *text, size_t size, uint64_t *random) {
    struct buf out = {0};
    struct csv_reader *reader = csv_reader_new(&options, on_row, &out);
    assert_non_null(reader);
    for (size_t at = 0; at < size;) {
        size_t part = random == NULL ? size : 1 + random_below(random, 7);
        part = part > size - at ? size - at : part;
        /* A copy of its own, so that the sanitizer sees a read past the end. */
        char *copy = malloc(part);
        assert_non_null(copy);
        memcpy(copy, text + at, part);
        assert_true(csv_reader_feed(reader, copy, part));
        free(copy);
        at += part;
    }
    assert_true(csv_reader_finish(reader));
    csv_reader_free(reader);
    assert_true(buf_append(&out, "", 1));
    return out;
}

static void expect(const char *text, size_t size, const char *rows) {
    struct buf whole = read_split(text, size, NULL);
    assert_string_equal((const char *)whole.data, rows);
    for (uint64_t k = 0; k < 20; k++) {
        uint64_t random = seed_base + k;
        struct buf split = read_split(text, size, &random);
        assert_string_equal((const char *)split.data, rows);
        buf_free(&split);
    }
    buf_free(&whole);
}

static void expect_text(const char *text, const char *rows) {
    expect(text, strlen(text), rows);
}

static void test_plain(void **state) {
    (void)state;
    expect_text("", "");
    expect_text("k,v\n", "1|k|v\n");
    expect_text("k,v", "1|k|v\n");
    expect_text("k,v\r\na,b\r\n", "1|k|v\n2|a|b\n");
    expect_text("k,v\n\xc3\xa4,b", "1|k|v\n2|\xc3\xa4|b\n");
    expect_text("a", "1|a\n");
    expect_text(",\n", "1||\n");
    expect_text("a,", "1|a|\n");
    expect_text("\n\na,b\n\r\n\nc,d\n", "3|a|b\n6|c|d\n");
    expect_text(" a , b \n", "1| a | b \n");
}

static void test_quotes(void **state) {
    (void)state;
    expect_text("\"a\",\"b,c\"\n", "1|a|b,c\n");
    expect_text("a,\"x\ny\"\nb,c\n", "1|a|x\ny\n3|b|c\n");
    expect_text("a,\"x\r\ny\"\r\nb,c\r\n", "1|a|x\r\ny\n3|b|c\n");
    expect_text("a,\"say \"\"hi\"\"\"\n", "1|a|say \"hi\"\n");
    expect_text("\"\"\n", "1|\n");
    expect_text("a,\"\"", "1|a|\n");
    expect_text("\"\"\"\",b", "1|\"|b\n");
}

static void test_bad_rows(void **state) {
    (void)state;
    options.strict = true;
    expect_text("a,b\"c\nd,e\n", "1!a quote stands inside a field that is not in quotes\n2|d|e\n");
    options.strict = false;
    expect_text("a,5\" pipe\nd,e\"\"\n", "1|a|5\" pipe\n2|d|e\"\"\n");
    expect_text("a,\"b\"c\nd,e\n", "1!text follows a closing quote\n2|d|e\n");
    expect_text("k,v\na,b\rc\nd,e\n",
                "1|k|v\n2!a carriage return is not followed by a line feed\n3|d|e\n");
    expect_text("a,\"b\nc,d\ne,f\n", "1!a quote is opened and never closed\n2|c|d\n3|e|f\n");
    /* The quote that ends it belongs to a later row, which is read again and is right. */
    expect_text("a,\"b\nc,d\n\"e\",f\ng,h\n",
                "1!text follows a closing quote\n2|c|d\n3|e|f\n4|g|h\n");
    expect_text("a,\"b", "1!a quote is opened and never closed\n");
    expect("a,\0\nb,c\n", 8, "1!the row holds a NUL byte\n2|b|c\n");
    expect_text("a,\xff\nb,c\n", "1!the row is not UTF-8 text\n2|b|c\n");
    expect_text("a,\xed\xa0\x80\nb,\xc0\x80\nc,\xf4\x90\x80\x80\nd,\xf0\x9f\x98\x80\n",
                "1!the row is not UTF-8 text\n2!the row is not UTF-8 text\n"
                "3!the row is not UTF-8 text\n4|d|\xf0\x9f\x98\x80\n");
}

static void test_delimiters(void **state) {
    (void)state;
    expect_text("sep=;\nk;v\na,b;c\n", "2|k|v\n3|a,b|c\n");
    expect_text("\"sep=|\"\r\nk|v\r\n", "2|k|v\n");
    expect_text("sep=x\n", "");
    expect_text("sep=\nk,v\n", "1|sep=\n2|k|v\n");
    expect_text("k;v;w\na;1,5;2\n", "1|k|v|w\n2|a|1,5|2\n");
    expect_text("k\tv\na\tb;c,d\n", "1|k|v\n2|a|b;c,d\n");
    expect_text("\"a;b;c\",v\nx,y\n", "1|a;b;c|v\n2|x|y\n");
    expect_text("5\" pipe,v\n\"x\",y\n", "1|5\" pipe|v\n2|x|y\n");
    expect_text("a;b,c\n", "1|a;b|c\n"); /* as many: the comma */
    options.delimiter = ';';
    expect_text("k,v\na;b\n", "1|k,v\n2|a|b\n");
    options.delimiter = '\0';
}

/* Old Macintosh files end their lines with CR. */
static void test_carriage_returns(void **state) {
    (void)state;
    expect_text("k,v\ra,b\r\"c\rd\",e\rf,g", "1|k|v\n2|a|b\n3|c\rd|e\n5|f|g\n");
    expect_text("k,v\ra,\"b\rc,d\r", "1|k|v\n2!a quote is opened and never closed\n3|c|d\n");
    expect_text("a,b\r", "1|a|b\n");
}

static void append_times(struct buf *text, const char *piece, size_t bytes) {
    while (text->size < bytes) {
        assert_true(buf_append_text(text, piece));
    }
}

static size_t count(const struct buf *out, char what) {
    size_t found = 0;
    for (size_t i = 0; i < out->size; i++) {
        found += out->data[i] == (uint8_t)what;
    }
    return found;
}

static void test_limits(void **state) {
    (void)state;
    struct buf text = {0};
    for (int i = 0; i < CSV_FIELDS_MAX; i++) {
        assert_true(buf_append(&text, ",", 1));
    }
    assert_true(buf_append_text(&text, "\nb,c\n"));
    expect((const char *)text.data, text.size, "1!the row has more than 4096 fields\n2|b|c\n");
    buf_clear(&text);
    /* A quoted field that is too long is bad, and its other lines are looked at. */
    assert_true(buf_append_text(&text, "k,v\na,\""));
    append_times(&text, "inner,line\n", CSV_ROW_BYTES_MAX + 100);
    assert_true(buf_append_text(&text, "\"\nb,c\n"));
    struct buf out = read_split((const char *)text.data, text.size, NULL);
    assert_non_null(strstr((const char *)out.data, "2!the row is longer"));
    assert_non_null(strstr((const char *)out.data, "\n3|inner|line\n"));
    buf_free(&out);
    buf_clear(&text);
    /* A line that is too long without quotes. */
    assert_true(buf_append_text(&text, "k,v\na,"));
    append_times(&text, "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
                 CSV_ROW_BYTES_MAX + 100);
    assert_true(buf_append_text(&text, "\nb,c\n"));
    out = read_split((const char *)text.data, text.size, NULL);
    assert_non_null(strstr((const char *)out.data, "2!the row is longer"));
    assert_non_null(strstr((const char *)out.data, "3|b|c\n"));
    buf_free(&out);
    buf_free(&text);
}

/* A quote that is never closed costs its own line, however many follow; also when they are more
 * than a row may have. */
static void test_stray_quote(void **state) {
    (void)state;
    for (size_t rows = 20; rows <= 200000; rows *= 100) {
        struct buf text = {0};
        for (size_t i = 0; i < rows; i++) {
            assert_true(buf_format(&text, "key-%zu,%svalue %zu\n", i, i == 10 ? "\"" : "", i));
        }
        struct buf out = read_split((const char *)text.data, text.size, NULL);
        assert_int_equal(count(&out, '\n'), rows);
        assert_int_equal(count(&out, '!'), 1);
        assert_non_null(strstr((const char *)out.data, "\n11!"));
        assert_non_null(strstr((const char *)out.data, "\n12|key-11|value 11\n"));
        buf_free(&out);
        buf_free(&text);
    }
}

/* Lines of which each opens a quote that the next ones seem to go on with: time stays linear (this
 * takes minutes where each is looked at to the limit), and each line is in one row. */
static void test_many_stray_quotes(void **state) {
    (void)state;
    static const char *const lines[] = {"a\",\"x\n", "a,\"\n", "\"\"\",\"\n", "a\",\"x\"\",y\n"};
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        struct buf text = {0};
        append_times(&text, lines[i], 512 * 1024);
        size_t sum = 0;
        struct csv_reader *reader = csv_reader_new(&options, on_row_lines, &sum);
        assert_true(csv_reader_feed(reader, text.data, text.size));
        assert_true(csv_reader_finish(reader));
        csv_reader_free(reader);
        assert_int_equal(sum, text.size / strlen(lines[i]));
        buf_free(&text);
    }
}

static bool on_row_stop(void *context, const struct csv_row *row) {
    (void)row;
    return --*(int *)context > 0;
}

static void test_stop(void **state) {
    (void)state;
    int rows = 2;
    struct csv_reader *reader = csv_reader_new(NULL, on_row_stop, &rows);
    assert_false(csv_reader_feed(reader, "a\nb\nc\nd\n", 8));
    assert_int_equal(rows, 0);
    assert_false(csv_reader_feed(reader, "e\n", 2));
    assert_int_equal(rows, 0);
    csv_reader_free(reader);
}

/* ---- libcsv as the oracle ---- */

struct oracle {
    struct buf out;
    bool row_open;
};

static void oracle_field(void *data, size_t size, void *context) {
    struct oracle *oracle = context;
    oracle->row_open = true;
    assert_true(buf_append(&oracle->out, "|", 1));
    assert_true(buf_append(&oracle->out, data == NULL ? "" : data, size));
}

static void oracle_row(int c, void *context) {
    struct oracle *oracle = context;
    (void)c;
    oracle->row_open = false;
    assert_true(buf_append(&oracle->out, "\n", 1));
}

static int nothing_is_blank(unsigned char c) {
    (void)c;
    return 0;
}

static bool on_row_plain(void *context, const struct csv_row *row) {
    struct buf *out = context;
    assert_null(row->error);
    for (size_t i = 0; i < row->fields_count; i++) {
        assert_true(buf_append(out, "|", 1));
        assert_true(buf_append(out, row->fields[i].data, row->fields[i].size));
    }
    return buf_append(out, "\n", 1);
}

static void random_file(struct buf *text, uint64_t *random) {
    static const char *const pieces[] = {"a",   "bc", "\"",   ",",        "\n",          "\r\n",
                                         "x y", "7",  "\"\"", "\xc3\xa4", "\xe2\x82\xac"};
    size_t rows = 1 + random_below(random, 20);
    const char *line_end = random_below(random, 2) == 0 ? "\n" : "\r\n";
    for (size_t row = 0; row < rows; row++) {
        size_t fields = 2 + random_below(random, 4);
        for (size_t i = 0; i < fields; i++) {
            struct buf field = {0};
            size_t count = random_below(random, 6);
            for (size_t k = 0; k < count; k++) {
                size_t piece = random_below(random, sizeof(pieces) / sizeof(pieces[0]));
                assert_true(buf_append_text(&field, pieces[piece]));
            }
            assert_true(i == 0 || buf_append(text, ",", 1));
            assert_true(csv_write_field(text, field.data, field.size));
            buf_free(&field);
        }
        assert_true(buf_append_text(text, line_end));
    }
}

static void test_oracle(void **state) {
    (void)state;
    for (uint64_t round = 0; round < 500; round++) {
        uint64_t random = seed_base + round * 1000003;
        struct buf text = {0};
        random_file(&text, &random);
        struct oracle oracle = {0};
        struct csv_parser parser;
        assert_int_equal(csv_init(&parser, CSV_STRICT | CSV_STRICT_FINI), 0);
        csv_set_space_func(&parser, nothing_is_blank); /* it trims blanks otherwise */
        assert_int_equal(
            csv_parse(&parser, text.data, text.size, oracle_field, oracle_row, &oracle), text.size);
        csv_fini(&parser, oracle_field, oracle_row, &oracle);
        csv_free(&parser);
        struct buf out = {0};
        struct csv_options comma = {.delimiter = ',', .strict = true};
        struct csv_reader *reader = csv_reader_new(&comma, on_row_plain, &out);
        for (size_t at = 0; at < text.size;) {
            size_t part = 1 + random_below(&random, 9);
            part = part > text.size - at ? text.size - at : part;
            assert_true(csv_reader_feed(reader, text.data + at, part));
            at += part;
        }
        assert_true(csv_reader_finish(reader));
        csv_reader_free(reader);
        if (out.size != oracle.out.size || memcmp(out.data, oracle.out.data, out.size) != 0) {
            print_message("seed %llu round %llu: replay with CHORD_TEST_SEED=%llu\n",
                          (unsigned long long)seed_base, (unsigned long long)round,
                          (unsigned long long)seed_base);
            fail();
        }
        buf_free(&out);
        buf_free(&oracle.out);
        buf_free(&text);
    }
}

/* Any bytes, any splits: the same rows, no crash, and it ends. */
static void test_junk(void **state) {
    (void)state;
    static const char alphabet[] = "\"\",\n\r\na\xc3\xff\0b";
    for (uint64_t round = 0; round < 3000; round++) {
        uint64_t random = seed_base + round * 7919;
        char text[80];
        size_t size = random_below(&random, sizeof(text));
        for (size_t i = 0; i < size; i++) {
            text[i] = alphabet[random_below(&random, sizeof(alphabet) - 1)];
        }
        struct buf whole = read_split(text, size, NULL);
        struct buf split = read_split(text, size, &random);
        if (whole.size != split.size || memcmp(whole.data, split.data, whole.size) != 0) {
            print_message("%.*s\n---\n%.*s---\n%.*s---\n", (int)size, text, (int)whole.size,
                          (const char *)whole.data, (int)split.size, (const char *)split.data);
            print_message("replay with CHORD_TEST_SEED=%llu (round %llu)\n",
                          (unsigned long long)seed_base, (unsigned long long)round);
            fail();
        }
        buf_free(&whole);
        buf_free(&split);
    }
}

int main(void) {
    const char *given = getenv("CHORD_TEST_SEED");
    seed_base = given != NULL ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
    printf("CHORD_TEST_SEED=%llu\n", (unsigned long long)seed_base);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_quotes),
        cmocka_unit_test(test_bad_rows),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_stop),
        cmocka_unit_test(test_oracle),
        cmocka_unit_test(test_junk),
        cmocka_unit_test(test_delimiters),
        cmocka_unit_test(test_carriage_returns),
        cmocka_unit_test(test_stray_quote),
        cmocka_unit_test(test_many_stray_quotes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

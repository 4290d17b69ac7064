/* SPDX-License-Identifier: MIT */
/*
 * Ranges of the store's rows: pages, lists, digests, dropping, and becoming equal to another store;
 * each exact, on any part of the circle.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "hash.h"
#include "store_fixture.h"

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

/* ---- pages ---- */

/* Reads a range to its end page by page; how many rows, each once, in clockwise order. */
static size_t read_range(const struct chord_range *range, unsigned m, size_t rows_max,
                         size_t *pages) {
    uint8_t after[CHORD_ID_BYTES], first[CHORD_ID_BYTES];
    struct chord_id before;
    size_t total = 0;
    bool done = false, has_after = false;
    id_last_hash(&range->lo, m, first);
    memcpy(before.bytes, first, CHORD_ID_BYTES);
    *pages = 0;
    while (!done) {
        struct store_job *job = store_job_new(STORE_JOB_READ_RANGE);
        job->range = *range;
        job->page_rows_max = rows_max;
        job->page_values = true;
        job->has_after = has_after;
        memcpy(job->after, after, has_after ? CHORD_ID_BYTES : 0);
        fixture_run(&fixture, job);
        assert_true(job->ok);
        for (size_t i = 0; i < job->rows_count; i++) {
            struct chord_id hash, start;
            memcpy(hash.bytes, job->rows[i].hash, CHORD_ID_BYTES);
            memcpy(start.bytes, first, CHORD_ID_BYTES);
            struct chord_id id = id_from_hash(hash.bytes, m);
            assert_true(id_in_half_open(&range->lo, &id, &range->hi));
            /* Clockwise from the start, never back. */
            struct chord_id now = id_distance(&start, &hash, CHORD_M_MAX);
            struct chord_id then = id_distance(&start, &before, CHORD_M_MAX);
            assert_true(total == 0 || id_compare(&now, &then) > 0);
            before = hash;
            total++;
        }
        assert_true(job->done || job->rows_count > 0);
        assert_true(rows_max == 0 || job->rows_count <= rows_max);
        if (job->rows_count > 0) {
            assert_memory_equal(job->last, job->rows[job->rows_count - 1].hash, CHORD_ID_BYTES);
            memcpy(after, job->last, CHORD_ID_BYTES);
            has_after = true;
        }
        done = job->done;
        store_job_free(job);
        *pages += 1;
    }
    return total;
}

static size_t count_in(const struct chord_range *range, unsigned m, uint64_t keys) {
    size_t count = 0;
    for (uint64_t key = 0; key < keys; key++) {
        char text[32];
        uint8_t hash[CHORD_ID_BYTES];
        int bytes = snprintf(text, sizeof text, "key %012llu", (unsigned long long)key);
        hash_key((const uint8_t *)text, (size_t)bytes, hash);
        struct chord_id id = id_from_hash(hash, m);
        count += id_in_half_open(&range->lo, &id, &range->hi);
    }
    return count;
}

static uint64_t count_job(const struct chord_range *range) {
    struct chord_stored_view view;
    memset(&view, 0, sizeof view);
    view.view.range = *range;
    struct store_job *job = store_job_new(STORE_JOB_COUNT);
    job->views = &view;
    job->views_count = 1;
    fixture_run(&fixture, job);
    assert_true(job->ok);
    uint64_t count = job->counts[0];
    store_job_free(job);
    return count;
}

static void test_ranges_pages_counts_digests(void **state) {
    (void)state;
    enum { KEYS_MAX = 2000 };
    static const unsigned ms[] = {3, 6, 32, 61};
    assert_true(write_keys(&fixture, 0, KEYS_MAX, 1, 1, 20));
    for (unsigned i = 0; i < sizeof ms / sizeof ms[0]; i++) {
        uint64_t size = UINT64_C(1) << ms[i];
        store_set_m(fixture.store, ms[i]);
        for (unsigned k = 0; k < 24; k++) {
            struct chord_range range = {small_id((size / 24 * k + k * 7919) % size),
                                        small_id((size / 5 * k + 3) % size)};
            if (k < 2) { /* the whole ring, from two places */
                range.hi = range.lo;
            } else if (k == 2) { /* up to the very end, from the very start, and across */
                range = (struct chord_range){small_id(size / 2), small_id(size - 1)};
            } else if (k == 3) {
                range = (struct chord_range){small_id(size - 1), small_id(size / 2)};
            } else if (k == 4) {
                range = (struct chord_range){small_id(size - 2), small_id(0)};
            }
            size_t expected = count_in(&range, ms[i], KEYS_MAX), pages;
            uint64_t rows;
            uint8_t digest[CHORD_DIGEST_BYTES];
            assert_int_equal(read_range(&range, ms[i], 0, &pages), expected);
            assert_int_equal(read_range(&range, ms[i], 100, &pages), expected);
            assert_true(pages >= expected / 100);
            assert_int_equal(count_job(&range), expected);
            digest_of(&fixture, &range, &rows, digest);
            assert_int_equal(rows, expected);
        }
    }
}

/* Small pages end exactly at their limit; the last one says so. */
static void test_page_sizes(void **state) {
    (void)state;
    struct chord_range whole = whole_ring();
    size_t pages;
    store_set_m(fixture.store, 32);
    assert_int_equal(read_range(&whole, 32, 10, &pages), 0);
    assert_int_equal(pages, 1);
    assert_true(write_keys(&fixture, 0, 100, 1, 1, 20));
    for (size_t rows_max = 1; rows_max <= 101; rows_max += 9) {
        assert_int_equal(read_range(&whole, 32, rows_max, &pages), 100);
        assert_in_range(pages, (100 + rows_max - 1) / rows_max, 100 / rows_max + 2);
    }
}

/* 1 MiB of values per page: big values make pages of few rows, never empty ones. */
static void test_pages_of_big_values(void **state) {
    (void)state;
    struct chord_range whole = whole_ring();
    size_t pages;
    store_set_m(fixture.store, 32);
    for (uint64_t key = 0; key < 8; key++) {
        assert_true(write_keys(&fixture, key, 1, 1, 1, key % 2 == 0 ? 1024 * 1024 : 400000));
    }
    assert_int_equal(read_range(&whole, 32, 0, &pages), 8);
    assert_in_range(pages, 6, 9);
}

/* Two keys of one hash stay in one page (made by hand: SHA-1 gives none). */
static void test_a_page_never_splits_a_hash(void **state) {
    (void)state;
    enum { GROUPS = 10, SAME = 7 };
    struct store_job *job = store_job_new(STORE_JOB_WRITE);
    job->rows = arena_alloc(&job->arena, sizeof *job->rows * GROUPS * SAME);
    job->rows_count = GROUPS * SAME;
    for (unsigned i = 0; i < GROUPS * SAME; i++) {
        row_set(job, &job->rows[i], i, 1, 1, STORE_VALUE, 10);
        memset(job->rows[i].hash, (int)(i / SAME * 20 + 5), CHORD_ID_BYTES);
    }
    fixture_run(&fixture, job);
    assert_true(job->ok);
    store_job_free(job);
    store_set_m(fixture.store, 32);
    for (size_t rows_max = 1; rows_max < 30; rows_max++) {
        uint8_t after[CHORD_ID_BYTES];
        size_t total = 0;
        for (bool done = false, first = true; !done; first = false) {
            job = store_job_new(STORE_JOB_READ_RANGE);
            job->range = whole_ring();
            job->page_rows_max = rows_max;
            job->has_after = !first;
            memcpy(job->after, after, first ? 0 : CHORD_ID_BYTES);
            fixture_run(&fixture, job);
            assert_true(job->ok);
            assert_int_equal(job->rows_count % SAME, 0); /* whole groups only */
            total += job->rows_count;
            memcpy(after, job->last, CHORD_ID_BYTES);
            done = job->done;
            store_job_free(job);
        }
        assert_int_equal(total, GROUPS * SAME);
    }
}

static void test_list_keys(void **state) {
    (void)state;
    bool existed;
    assert_true(write_keys(&fixture, 0, 250, 1, 1, 20));
    write_one(&fixture, 7, 2, 1, STORE_TOMBSTONE, 0, &existed);
    static const struct {
        const char *prefix;
        size_t expected;
    } lists[] = {{"", 249},
                 {"key 0000000001", 100},
                 {"key 000000000007", 0},
                 {"kez", 0},
                 {"key 0000000000999999999999", 0}};
    for (unsigned i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        uint8_t after[CHORD_ID_BYTES], key[64];
        size_t total = 0, key_bytes = 0;
        for (bool done = false, first = true; !done; first = false) {
            struct store_job *job = store_job_new(STORE_JOB_LIST_KEYS);
            job->prefix = (const uint8_t *)lists[i].prefix;
            job->prefix_bytes = strlen(lists[i].prefix);
            job->page_rows_max = 40;
            job->has_after = !first;
            memcpy(job->after, after, first ? 0 : CHORD_ID_BYTES);
            job->after_key = first ? NULL : key;
            job->after_key_bytes = key_bytes;
            fixture_run(&fixture, job);
            assert_true(job->ok && job->rows_count <= 40);
            total += job->rows_count;
            done = job->done || job->rows_count == 0;
            if (job->rows_count > 0) {
                const struct store_row *last = &job->rows[job->rows_count - 1];
                memcpy(after, last->hash, CHORD_ID_BYTES);
                memcpy(key, last->key, last->key_bytes);
                key_bytes = last->key_bytes;
            }
            store_job_free(job);
        }
        assert_int_equal(total, lists[i].expected);
    }
}

/* A search over every row lets the jobs pass that came after it, many times; and when its time is
 * over it says how far it came, from where another one goes on. */
static void test_a_search_keeps_nobody_waiting(void **state) {
    (void)state;
    enum { ROWS = 20000, WRITES = 20 };
    static const char nobody[] = "nobody";
    for (uint64_t key = 0; key < ROWS; key += 1000) {
        assert_true(write_keys(&fixture, key, 1000, 1, 1, 20));
    }
    bool found = false;
    struct store_job *search = store_job_new(STORE_JOB_LIST_KEYS);
    search->prefix = (const uint8_t *)nobody;
    search->prefix_bytes = strlen(nobody);
    search->page_rows_max = 10;
    search->until_us = UINT64_MAX;
    search->store_op = 1;
    search->owner = &found;
    unsigned before = fixture.done_count;
    store_submit(fixture.store, search);
    for (uint64_t i = 0; i < WRITES; i++) {
        assert_true(write_keys(&fixture, i, 1, 2, 1, 20));
    }
    fixture_wait(&fixture, before + WRITES + 1);
    assert_true(found && search->ok && search->done && search->rows_count == 0);
    /* Nearly all came first; how many is the scheduler's. In one queue it would be none. */
    unsigned passed = 0;
    while (fixture.order[before + passed] != 1) {
        passed++;
    }
    assert_in_range(passed, 1, WRITES);
    store_job_free(search);

    size_t parts = 0;
    for (bool done = false; !done; parts++) {
        struct store_job *part = store_job_new(STORE_JOB_LIST_KEYS);
        static uint8_t after[CHORD_ID_BYTES], key[STORE_KEY_BYTES_MAX];
        static size_t key_bytes;
        part->prefix = (const uint8_t *)nobody;
        part->prefix_bytes = strlen(nobody);
        part->page_rows_max = 10; /* and no time at all */
        part->has_after = parts > 0;
        memcpy(part->after, after, sizeof after);
        part->after_key = key;
        part->after_key_bytes = key_bytes;
        fixture_run(&fixture, part);
        assert_true(part->ok && part->rows_count == 0 && part->has_after);
        done = part->done;
        memcpy(after, part->after, sizeof after);
        memcpy(key, part->after_key, key_bytes = part->after_key_bytes);
        store_job_free(part);
    }
    assert_in_range(parts, ROWS / 512, ROWS);
}

/* ---- equal to another store ---- */

/* Copies a range of one store to another, page by page, as a learner does. */
static void pull(struct fixture *from, struct fixture *to, const struct chord_range *range,
                 uint64_t epoch, size_t page_rows) {
    uint8_t after[CHORD_ID_BYTES];
    for (bool first = true, done = false; !done; first = false) {
        struct store_job *page = store_job_new(STORE_JOB_READ_RANGE);
        struct store_job *equal = store_job_new(STORE_JOB_EQUAL);
        page->range = equal->range = *range;
        page->page_values = true;
        page->page_rows_max = page_rows;
        page->has_after = equal->has_after = !first;
        memcpy(page->after, after, first ? 0 : CHORD_ID_BYTES);
        memcpy(equal->after, after, first ? 0 : CHORD_ID_BYTES);
        fixture_run(from, page);
        assert_true(page->ok);
        equal->rows = page->rows;
        equal->rows_count = page->rows_count;
        equal->epoch = epoch;
        equal->done = done = page->done;
        memcpy(equal->last, page->last, CHORD_ID_BYTES);
        memcpy(after, page->last, CHORD_ID_BYTES);
        fixture_run(to, equal);
        assert_true(equal->ok);
        store_job_free(equal);
        store_job_free(page);
    }
}

/* Rows of earlier epochs that the other does not have go, those of this epoch stay, and nothing
 * outside the range is touched. Ranges over 2^m too. */
static void test_equal_to_another(void **state) {
    (void)state;
    enum { M = 6, EPOCH = 5, ROWS = 120 };
    struct fixture leader;
    fixture_new(&leader);
    assert_int_equal(fixture_open(&leader), STORE_OK);
    store_set_m(leader.store, M);
    store_set_m(fixture.store, M);
    for (unsigned round = 0; round < 24; round++) {
        struct chord_range range = {small_id(round * 7 % 64), small_id(round * 29 % 64)};
        struct chord_range whole = whole_ring(), rest = {range.hi, range.lo};
        uint64_t all, counted, inside;
        uint8_t outside[2][CHORD_DIGEST_BYTES], leaders[CHORD_DIGEST_BYTES],
            ours[CHORD_DIGEST_BYTES];
        uint64_t base = round * 1000;
        for (uint64_t key = base; key < base + ROWS; key++) {
            if (key % 3 != 0) {
                assert_true(write_keys(&leader, key, 1, 1 + key % 4, key, 10));
            }
            if (key % 4 != 0) { /* behind, ahead, or of its own */
                assert_true(write_keys(&fixture, key, 1, 1 + key % 5 % 4, key + key % 2, 12));
            }
            if (key % 11 == 0) { /* came by Apply: newer than any page */
                assert_true(write_keys(&fixture, key, 1, EPOCH, key, 14));
            }
        }
        digest_of(&fixture, &rest, &all, outside[0]);
        pull(&leader, &fixture, &range, EPOCH, 1 + round % 9);
        digest_of(&fixture, &rest, &counted, outside[1]);
        if (round * 7 % 64 != round * 29 % 64) { /* else the rest is the whole ring as well */
            assert_int_equal(all, counted);
            assert_memory_equal(outside[0], outside[1], CHORD_DIGEST_BYTES);
        }
        for (uint64_t key = base; key < base + ROWS; key++) {
            uint8_t hash[CHORD_ID_BYTES];
            struct store_job *here = read_key(&fixture, key), *there = read_key(&leader, key);
            memcpy(hash, here->rows[0].hash, CHORD_ID_BYTES);
            struct chord_id id = id_from_hash(hash, M);
            if (id_in_half_open(&range.lo, &id, &range.hi)) {
                bool of_this = here->rows[0].kind != 0 && here->rows[0].epoch == EPOCH;
                assert_int_equal(of_this, key % 11 == 0);
                if (!of_this) {
                    assert_int_equal(here->rows[0].kind, there->rows[0].kind);
                    assert_int_equal(here->rows[0].counter, there->rows[0].counter);
                    assert_int_equal(here->rows[0].epoch, there->rows[0].epoch);
                }
            }
            store_job_free(here);
            store_job_free(there);
        }
        assert_int_equal(count_job(&whole), store_count(fixture.store).keys);
        pull(&fixture, &leader, &range, EPOCH + 1, 1000); /* and back: really equal */
        digest_of(&leader, &range, &inside, leaders);
        digest_of(&fixture, &range, &counted, ours);
        assert_int_equal(inside, counted);
        assert_memory_equal(leaders, ours, CHORD_DIGEST_BYTES);
    }
    fixture_free(&leader);
}

/* ---- digests, dropping, counting ---- */

static void test_digest_knows_no_order(void **state) {
    (void)state;
    struct chord_range whole = whole_ring();
    uint8_t digests[4][CHORD_DIGEST_BYTES];
    uint64_t rows;
    for (unsigned round = 0; round < 3; round++) {
        for (uint64_t i = 0; i < 50; i++) { /* 7 and 50 have no common divisor */
            uint64_t key = round == 0 ? i : round == 1 ? 49 - i : i * 7 % 50;
            assert_true(write_keys(&fixture, key, 1, 1 + key % 3, key + 1, 10));
        }
        digest_of(&fixture, &whole, &rows, digests[round]);
        assert_int_equal(rows, 50);
        struct store_job *job = store_job_new(STORE_JOB_DROP_RANGE);
        job->range = whole;
        fixture_run(&fixture, job);
        assert_true(job->ok);
        store_job_free(job);
        digest_of(&fixture, &whole, &rows, digests[3]);
        assert_int_equal(rows, 0);
        assert_memory_not_equal(digests[3], digests[round], CHORD_DIGEST_BYTES);
        assert_int_equal(store_count(fixture.store).keys, 0);
        assert_int_equal(store_count(fixture.store).bytes, 0);
    }
    assert_memory_equal(digests[0], digests[1], CHORD_DIGEST_BYTES);
    assert_memory_equal(digests[0], digests[2], CHORD_DIGEST_BYTES);
    /* One other version anywhere is another digest. */
    for (uint64_t key = 0; key < 50; key++) {
        assert_true(write_keys(&fixture, key, 1, 1 + key % 3, key + 1 + (key == 31), 10));
    }
    digest_of(&fixture, &whole, &rows, digests[3]);
    assert_memory_not_equal(digests[0], digests[3], CHORD_DIGEST_BYTES);
}

static void test_drop_range_is_exact(void **state) {
    (void)state;
    enum { KEYS_MAX = 600 };
    size_t left = KEYS_MAX, pages;
    store_set_m(fixture.store, 6);
    assert_true(write_keys(&fixture, 0, KEYS_MAX, 1, 1, 20));
    for (uint64_t k = 0; k < 8; k++) {
        /* Eight pieces round the circle; the first wraps. */
        struct chord_range range = {small_id((60 + 8 * k) % 64), small_id((60 + 8 * k + 8) % 64)};
        struct store_job *job = store_job_new(STORE_JOB_DROP_RANGE);
        size_t inside = count_in(&range, 6, KEYS_MAX);
        assert_true(inside > 0);
        job->range = range;
        fixture_run(&fixture, job);
        assert_true(job->ok);
        store_job_free(job);
        left -= inside;
        struct chord_range whole = whole_ring();
        assert_int_equal(read_range(&range, 6, 0, &pages), 0);
        assert_int_equal(read_range(&whole, 6, 0, &pages), left);
        assert_int_equal(store_count(fixture.store).keys, left);
    }
    assert_int_equal(left, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    if (!hash_open()) {
        return 1;
    }
    const struct CMUnitTest tests[] = {
        TEST(test_ranges_pages_counts_digests),
        TEST(test_page_sizes),
        TEST(test_pages_of_big_values),
        TEST(test_a_page_never_splits_a_hash),
        TEST(test_list_keys),
        TEST(test_a_search_keeps_nobody_waiting),
        TEST(test_equal_to_another),
        TEST(test_digest_knows_no_order),
        TEST(test_drop_range_is_exact),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    hash_close();
    return failed;
}

/* SPDX-License-Identifier: MIT */
/*
 * Arithmetic on the identifier circle: 64-bit integers as the oracle for small M, laws for every M
 * from 3 to 160. A failure prints the seed; CHORD_TEST_SEED=n replays it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "assert.h"
#include "id.h"

static uint64_t seed_base;
static uint64_t random_state;

_Noreturn void chord_assert_failed(const char *file, int line, const char *condition) {
    fprintf(stderr, "%s:%d: %s; replay: CHORD_TEST_SEED=%llu\n", file, line, condition,
            (unsigned long long)seed_base);
    abort();
}

static uint64_t random_next(void) {
    uint64_t z = random_state += 0x9e3779b97f4a7c15u; /* splitmix64 */
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static int reseed(void **state) {
    (void)state;
    random_state = seed_base;
    return 0;
}

/* ---- conversions: independent of the code under test ---- */

static struct chord_id from_integer(uint64_t value) {
    struct chord_id id = {{0}};
    for (int i = 0; i < 8; i++) {
        id.bytes[CHORD_ID_BYTES - 1 - i] = (uint8_t)(value >> 8 * i);
    }
    return id;
}

static uint64_t to_integer(const struct chord_id *id) {
    uint64_t value = 0;
    for (int i = 0; i < CHORD_ID_BYTES; i++) {
        assert_true(i >= CHORD_ID_BYTES - 8 || id->bytes[i] == 0);
        value = value << 8 | id->bytes[i];
    }
    return value;
}

/* Bit 0 is the lowest. */
static unsigned bit_of(const uint8_t bytes[CHORD_ID_BYTES], unsigned bit) {
    return (unsigned)bytes[CHORD_ID_BYTES - 1 - bit / 8] >> bit % 8 & 1u;
}

static void random_bytes(uint8_t bytes[CHORD_ID_BYTES]) {
    for (int i = 0; i < CHORD_ID_BYTES; i++) {
        bytes[i] = (uint8_t)random_next();
    }
    /* Long runs of ones and zeros are where carries go wrong. */
    uint64_t shape = random_next() % 4;
    unsigned at = (unsigned)(random_next() % CHORD_ID_BYTES);
    if (shape == 1) {
        memset(bytes + at, 0xff, CHORD_ID_BYTES - at);
    } else if (shape == 2) {
        memset(bytes + at, 0, CHORD_ID_BYTES - at);
    } else if (shape == 3) {
        memset(bytes, random_next() % 2 == 0 ? 0xff : 0, at);
    }
}

static struct chord_id random_id(unsigned m) {
    struct chord_id id;
    random_bytes(id.bytes);
    for (unsigned bit = m; bit < CHORD_M_MAX; bit++) {
        id.bytes[CHORD_ID_BYTES - 1 - bit / 8] &= (uint8_t) ~(1u << bit % 8);
    }
    return id;
}

/* ---- the oracle: every id of a small circle ---- */

static void test_order_against_integers(void **state) {
    (void)state;
    for (int i = 0; i < 20000; i++) {
        uint64_t a = random_next() >> random_next() % 64;
        uint64_t b = random_next() % 4 == 0 ? a : random_next() >> random_next() % 64;
        struct chord_id x = from_integer(a), y = from_integer(b);
        int order = id_compare(&x, &y);
        assert_int_equal((order > 0) - (order < 0), (a > b) - (a < b));
        assert_int_equal(id_equal(&x, &y), a == b);
    }
}

/* Walks the circle clockwise from a, as a person would. */
static bool oracle_in_open(unsigned a, unsigned x, unsigned b, unsigned size) {
    for (unsigned at = (a + 1) % size; at != b; at = (at + 1) % size) {
        if (at == x) {
            return true;
        }
        if (at == a) {
            return false; /* unreachable: a == b ends the loop there */
        }
    }
    return false;
}

static void test_intervals_exhaustive(void **state) {
    (void)state;
    for (unsigned m = 3; m <= 5; m++) {
        unsigned size = 1u << m;
        for (unsigned a = 0; a < size; a++) {
            for (unsigned b = 0; b < size; b++) {
                for (unsigned x = 0; x < size; x++) {
                    struct chord_id ia = from_integer(a), ix = from_integer(x),
                                    ib = from_integer(b);
                    bool open = oracle_in_open(a, x, b, size);
                    assert_int_equal(id_in_open(&ia, &ix, &ib), open);
                    assert_int_equal(id_in_half_open(&ia, &ix, &ib), open || x == b);
                }
            }
        }
    }
}

static void test_intervals_equal_ends(void **state) {
    (void)state;
    for (unsigned m = CHORD_M_MIN; m <= CHORD_M_MAX; m++) {
        for (int i = 0; i < 50; i++) {
            struct chord_id a = random_id(m), x = random_id(m);
            assert_false(id_in_open(&a, &a, &a));
            assert_true(id_in_half_open(&a, &a, &a));
            assert_int_equal(id_in_open(&a, &x, &a), !id_equal(&a, &x));
            assert_true(id_in_half_open(&a, &x, &a));
        }
    }
}

/* (a, b] and (b, a] cut the circle in two for a != b. */
static void test_intervals_partition(void **state) {
    (void)state;
    for (unsigned m = CHORD_M_MIN; m <= CHORD_M_MAX; m++) {
        for (int i = 0; i < 100; i++) {
            struct chord_id a = random_id(m), b = random_id(m), x = random_id(m);
            if (id_equal(&a, &b)) {
                continue;
            }
            assert_int_equal(id_in_half_open(&a, &x, &b) + id_in_half_open(&b, &x, &a), 1);
            assert_int_equal(id_in_open(&a, &x, &b),
                             id_in_half_open(&a, &x, &b) && !id_equal(&x, &b));
            /* x in (a, b] exactly when it is no farther from a than b is, and not a. */
            struct chord_id to_x = id_distance(&a, &x, m), to_b = id_distance(&a, &b, m);
            bool near = !id_equal(&x, &a) && id_compare(&to_x, &to_b) <= 0;
            assert_int_equal(id_in_half_open(&a, &x, &b), near);
        }
    }
}

static void test_arithmetic_against_integers(void **state) {
    (void)state;
    for (unsigned m = CHORD_M_MIN; m <= 63; m++) {
        uint64_t mask = ((uint64_t)1 << m) - 1;
        for (int i = 0; i < 300; i++) {
            uint64_t a = random_next() & mask;
            uint64_t b = random_next() % 8 == 0 ? a : random_next() & mask;
            unsigned exponent = (unsigned)(random_next() % m);
            struct chord_id x = from_integer(a), y = from_integer(b);
            struct chord_id sum = id_add_power(&x, exponent, m);
            struct chord_id distance = id_distance(&x, &y, m);
            struct chord_id middle = id_middle(&x, &y, m);
            assert_true(to_integer(&sum) == ((a + ((uint64_t)1 << exponent)) & mask));
            assert_true(to_integer(&distance) == ((b - a) & mask));
            uint64_t step = a == b ? (uint64_t)1 << (m - 1) : ((b - a) & mask) / 2;
            assert_true(to_integer(&middle) == ((a + step) & mask));
        }
    }
}

static void test_arithmetic_laws(void **state) {
    (void)state;
    for (unsigned m = CHORD_M_MIN; m <= CHORD_M_MAX; m++) {
        struct chord_id zero = {{0}};
        for (unsigned exponent = 0; exponent < m; exponent++) {
            struct chord_id a = random_id(m);
            struct chord_id sum = id_add_power(&a, exponent, m);
            struct chord_id back = id_distance(&a, &sum, m);
            struct chord_id power = id_add_power(&zero, exponent, m);
            assert_true(id_valid(&sum, m));
            assert_true(id_equal(&back, &power));
            for (unsigned bit = 0; bit < CHORD_M_MAX; bit++) {
                assert_int_equal(bit_of(power.bytes, bit), bit == exponent);
            }
            /* 2^e twice is 2^(e+1); 2^(m-1) twice is the whole circle. */
            struct chord_id twice = id_add_power(&sum, exponent, m);
            struct chord_id next = exponent + 1 < m ? id_add_power(&a, exponent + 1, m) : a;
            assert_true(id_equal(&twice, &next));
        }
        for (int i = 0; i < 100; i++) {
            struct chord_id a = random_id(m), b = random_id(m);
            struct chord_id there = id_distance(&a, &b, m), back = id_distance(&b, &a, m);
            struct chord_id self = id_distance(&a, &a, m);
            struct chord_id middle = id_middle(&a, &b, m);
            struct chord_id left = id_distance(&a, &middle, m);
            struct chord_id right = id_distance(&middle, &b, m);
            assert_true(id_equal(&self, &zero));
            assert_true(id_valid(&there, m) && id_valid(&middle, m));
            struct chord_id negated = id_distance(&there, &zero, m);
            assert_true(id_equal(&negated, &back));
            /* The two halves differ by at most one. */
            struct chord_id difference = id_distance(&left, &right, m);
            struct chord_id one = id_add_power(&zero, 0, m);
            assert_true(id_equal(&difference, &zero) || id_equal(&difference, &one));
        }
    }
}

static void test_add_power_wraps(void **state) {
    (void)state;
    for (unsigned m = CHORD_M_MIN; m <= CHORD_M_MAX; m++) {
        struct chord_id zero = {{0}};
        struct chord_id one = id_add_power(&zero, 0, m);
        struct chord_id top = id_distance(&one, &zero, m); /* 2^m - 1 */
        for (unsigned bit = 0; bit < CHORD_M_MAX; bit++) {
            assert_int_equal(bit_of(top.bytes, bit), bit < m);
        }
        struct chord_id wrapped = id_add_power(&top, 0, m);
        assert_true(id_equal(&wrapped, &zero));
    }
}

static void test_valid(void **state) {
    (void)state;
    for (unsigned m = CHORD_M_MIN; m <= CHORD_M_MAX; m++) {
        struct chord_id id = random_id(m);
        assert_true(id_valid(&id, m));
        for (unsigned bit = m; bit < CHORD_M_MAX; bit++) {
            struct chord_id beyond = id;
            beyond.bytes[CHORD_ID_BYTES - 1 - bit / 8] |= (uint8_t)(1u << bit % 8);
            assert_false(id_valid(&beyond, m));
        }
    }
}

/* ---- hashes ---- */

static void test_id_from_hash_is_top_bits(void **state) {
    (void)state;
    for (unsigned m = CHORD_M_MIN; m <= CHORD_M_MAX; m++) {
        for (int i = 0; i < 20; i++) {
            uint8_t hash[CHORD_ID_BYTES];
            random_bytes(hash);
            struct chord_id id = id_from_hash(hash, m);
            for (unsigned bit = 0; bit < CHORD_M_MAX; bit++) {
                unsigned expected = bit < m ? bit_of(hash, bit + CHORD_M_MAX - m) : 0;
                assert_int_equal(bit_of(id.bytes, bit), expected);
            }
        }
    }
}

/* hash + 1; false: it was the last of all. */
static bool next_hash(uint8_t hash[CHORD_ID_BYTES]) {
    for (int i = CHORD_ID_BYTES - 1; i >= 0; i--) {
        if (++hash[i] != 0) {
            return true;
        }
    }
    return false;
}

static void test_last_hash_round_trip(void **state) {
    (void)state;
    for (unsigned m = CHORD_M_MIN; m <= CHORD_M_MAX; m++) {
        for (int i = 0; i < 100; i++) {
            uint8_t hash[CHORD_ID_BYTES], last[CHORD_ID_BYTES];
            random_bytes(hash);
            struct chord_id id = id_from_hash(hash, m);
            id_last_hash(&id, m, last);
            struct chord_id of_last = id_from_hash(last, m);
            assert_true(id_valid(&id, m));
            assert_true(memcmp(hash, last, CHORD_ID_BYTES) <= 0);
            assert_true(id_equal(&of_last, &id));
            struct chord_id next_id = id_add_power(&id, 0, m);
            next_hash(last); /* after the last hash of all comes 0, as after the last id */
            struct chord_id of_next = id_from_hash(last, m);
            assert_true(id_equal(&of_next, &next_id));
        }
    }
}

/* A hash is in the interval of hashes exactly when its id is in the interval of ids: the store
 * relies on it. */
static void test_hash_intervals_are_id_intervals(void **state) {
    (void)state;
    for (unsigned m = CHORD_M_MIN; m <= CHORD_M_MAX; m += m < 16 ? 1 : 7) {
        for (int i = 0; i < 300; i++) {
            struct chord_id lo = random_id(m), hi = random_id(m), lo_hash, hi_hash, hash;
            random_bytes(hash.bytes);
            if (id_equal(&lo, &hi)) {
                continue;
            }
            id_last_hash(&lo, m, lo_hash.bytes);
            id_last_hash(&hi, m, hi_hash.bytes);
            struct chord_id id = id_from_hash(hash.bytes, m);
            assert_int_equal(id_in_half_open(&lo_hash, &hash, &hi_hash),
                             id_in_half_open(&lo, &id, &hi));
        }
    }
}

/* SHA-1("abc") = a9993e36 4706816a ba3e2571 7850c26c 9cd0d89d (FIPS 180, appendix A). */
static void test_sha1_vector(void **state) {
    (void)state;
    uint8_t hash[CHORD_ID_BYTES];
    static const uint8_t abc[CHORD_ID_BYTES] = {0xa9, 0x99, 0x3e, 0x36, 0x47, 0x06, 0x81,
                                                0x6a, 0xba, 0x3e, 0x25, 0x71, 0x78, 0x50,
                                                0xc2, 0x6c, 0x9c, 0xd0, 0xd8, 0x9d};
    assert_int_equal(EVP_Digest("abc", 3, hash, NULL, EVP_sha1(), NULL), 1);
    assert_memory_equal(hash, abc, CHORD_ID_BYTES);
    static const struct {
        unsigned m;
        uint64_t id;
    } tops[] = {{3, 5},
                {4, 0xa},
                {6, 0x2a},
                {8, 0xa9},
                {12, 0xa99},
                {32, 0xa9993e36},
                {61, 0xa9993e364706816a >> 3},
                {64, 0xa9993e364706816a}};
    for (unsigned i = 0; i < sizeof tops / sizeof tops[0]; i++) {
        struct chord_id id = id_from_hash(hash, tops[i].m);
        assert_true(to_integer(&id) == tops[i].id);
    }
    struct chord_id whole = id_from_hash(hash, CHORD_M_MAX);
    assert_memory_equal(whole.bytes, abc, CHORD_ID_BYTES);
}

int main(void) {
    const char *given = getenv("CHORD_TEST_SEED");
    seed_base = given != NULL ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
    printf("replay: CHORD_TEST_SEED=%llu test_id\n", (unsigned long long)seed_base);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_order_against_integers, reseed),
        cmocka_unit_test_setup(test_intervals_exhaustive, reseed),
        cmocka_unit_test_setup(test_intervals_equal_ends, reseed),
        cmocka_unit_test_setup(test_intervals_partition, reseed),
        cmocka_unit_test_setup(test_arithmetic_against_integers, reseed),
        cmocka_unit_test_setup(test_arithmetic_laws, reseed),
        cmocka_unit_test_setup(test_add_power_wraps, reseed),
        cmocka_unit_test_setup(test_valid, reseed),
        cmocka_unit_test_setup(test_id_from_hash_is_top_bits, reseed),
        cmocka_unit_test_setup(test_last_hash_round_trip, reseed),
        cmocka_unit_test_setup(test_hash_intervals_are_id_intervals, reseed),
        cmocka_unit_test_setup(test_sha1_vector, reseed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

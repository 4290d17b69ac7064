/* SPDX-License-Identifier: MIT */
/* The histogram, the draws and the schedule of the load generators (tests/bench). */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "histogram.h"
#include "work.h"
#include "zipf.h"

static const uint64_t ms = 1000000; /* in ns */

static struct histogram *empty_histogram(void) {
    static struct histogram histogram;
    memset(&histogram, 0, sizeof histogram);
    return &histogram;
}

/* ---- histogram ---- */

static void a_value_is_kept_to_a_64th(void **state) {
    (void)state;
    for (uint64_t value = 1; value < (uint64_t)1 << HISTOGRAM_VALUE_BITS;
         value = value * 5 / 4 + 1) {
        struct histogram *histogram = empty_histogram();
        histogram_add(histogram, value);
        histogram_add(histogram, (uint64_t)1 << 39); /* so that the maximum does not help */
        uint64_t median = histogram_quantile(histogram, 0.5);
        uint64_t least = value < (uint64_t)1 << 39 ? value : (uint64_t)1 << 39;
        assert_in_range(median, least, least + least / 64);
    }
}

static void small_values_are_exact(void **state) {
    (void)state;
    struct histogram *histogram = empty_histogram();
    for (uint64_t value = 0; value < 100; value++) {
        histogram_add(histogram, value);
    }
    assert_int_equal(histogram_quantile(histogram, 0.5), 49); /* 50 of 100 are at most 49 */
    assert_int_equal(histogram_quantile(histogram, 0.99), 98);
    assert_int_equal(histogram_quantile(histogram, 0.999), 99);
    assert_int_equal(histogram_quantile(histogram, 0), 0);
    assert_int_equal(histogram_quantile(histogram, 1), 99);
    assert_int_equal(histogram->sum, 4950);
}

static void quantiles_of_many(void **state) {
    (void)state;
    struct histogram *histogram = empty_histogram();
    for (uint64_t value = 1; value <= 1000000; value++) {
        histogram_add(histogram, value);
    }
    const double shares[] = {0.01, 0.5, 0.9, 0.99, 0.999};
    for (size_t at = 0; at < sizeof shares / sizeof *shares; at++) {
        uint64_t exact = (uint64_t)(shares[at] * 1000000);
        assert_in_range(histogram_quantile(histogram, shares[at]), exact, exact + exact / 64);
    }
    assert_int_equal(histogram_quantile(histogram, 1), 1000000);
}

static void nothing_and_too_much(void **state) {
    (void)state;
    struct histogram *histogram = empty_histogram();
    assert_int_equal(histogram_quantile(histogram, 0.5), 0);
    histogram_add(histogram, UINT64_MAX);
    assert_int_equal(histogram_quantile(histogram, 0.5), ((uint64_t)1 << HISTOGRAM_VALUE_BITS) - 1);
}

/* ---- draws ---- */

enum { RANKS = 100, DRAWS = 1000000 };

static void count_draws(double theta, double *counts) {
    struct zipf zipf;
    uint64_t random = 7;
    assert_int_equal(zipf_init(&zipf, RANKS, theta), 0);
    memset(counts, 0, RANKS * sizeof *counts);
    for (int draw = 0; draw < DRAWS; draw++) {
        counts[zipf_rank(&zipf, random_uniform(&random))]++;
    }
    zipf_free(&zipf);
}

/* Every rank within five standard deviations of what the law says. */
static void check_law(double theta) {
    double counts[RANKS];
    double sum = 0;
    count_draws(theta, counts);
    for (int rank = 0; rank < RANKS; rank++) {
        sum += 1 / pow(rank + 1, theta);
    }
    for (int rank = 0; rank < RANKS; rank++) {
        double share = 1 / pow(rank + 1, theta) / sum;
        double deviation = sqrt(DRAWS * share * (1 - share));
        assert_true(fabs(counts[rank] - DRAWS * share) < 5 * deviation);
    }
}

static void draws_follow_zipfs_law(void **state) {
    (void)state;
    check_law(0.99);
    check_law(0);
}

static void the_ends_are_ranks(void **state) {
    (void)state;
    struct zipf zipf;
    assert_int_equal(zipf_init(&zipf, RANKS, 0.99), 0);
    assert_int_equal(zipf_rank(&zipf, 0), 0);
    assert_int_equal(zipf_rank(&zipf, 1 - 0x1p-53), RANKS - 1);
    zipf_free(&zipf);
}

/* ---- what begins when ---- */

static struct work *new_work(double rate) {
    static struct work work;
    struct work_options options;
    work_flags(&options);
    options.rate = rate;
    options.seconds = 2;
    options.warm_up = 0;
    work_init(&work, &options);
    work_begin(&work);
    return &work;
}

/* A server that stands still for a second is charged for the 100 who would have come. */
static void a_stall_costs_all_who_would_have_come(void **state) {
    (void)state;
    struct work *work = new_work(100);
    uint64_t stalled_until = work->began_ns + 1000 * ms;
    struct task task;
    uint64_t at;
    int taken = 0;
    for (; work_take(work, stalled_until, &task, &at); taken++) {
        assert_int_equal(task.intended_ns, work->began_ns + (uint64_t)taken * 10 * ms);
        work_done(work, &task, stalled_until, NULL);
    }
    assert_int_equal(taken, 101);
    assert_int_equal(at, work->began_ns + 1010 * ms);
    assert_in_range(histogram_quantile(&work->latencies, 0.5), 490 * ms, 510 * ms);
    work_free(work);
}

static void a_closed_loop_begins_at_once_and_ends(void **state) {
    (void)state;
    struct work *work = new_work(0);
    struct task task;
    uint64_t at;
    assert_true(work_take(work, work->began_ns, &task, &at));
    assert_true(work_take(work, work->began_ns, &task, &at));
    work_done(work, &task, work->began_ns + ms, NULL);
    work_done(work, &task, work->ends_ns, NULL); /* too late to count */
    assert_int_equal(work->done, 1);
    assert_false(work_take(work, work->ends_ns, &task, &at));
    assert_true(at == UINT64_MAX);
    work_free(work);
}

/* Slower than the whole measurement: one operation in so much time, not none. */
static void the_first_counts_however_late(void **state) {
    (void)state;
    struct work *work = new_work(0);
    struct task task;
    uint64_t at;
    assert_true(work_take(work, work->began_ns, &task, &at));
    assert_true(work_take(work, work->began_ns, &task, &at));
    work_done(work, &task, work->ends_ns + ms, NULL);
    work_done(work, &task, work->ends_ns + 2 * ms, NULL);
    assert_int_equal(work->done, 1);
    assert_int_equal(work->last_done_ns, work->ends_ns + ms);
    work_free(work);
}

static void filling_takes_each_key_once(void **state) {
    (void)state;
    struct work *work = new_work(0);
    struct task task;
    uint64_t at;
    work_begin_fill(work);
    for (uint64_t key = 0; key < work->options.keys; key++) {
        assert_true(work_take(work, work->began_ns, &task, &at));
        assert_false(task.is_read);
        assert_int_equal(task.key, key);
        work_done(work, &task, work->began_ns, NULL);
    }
    assert_false(work_take(work, work->began_ns, &task, &at));
    assert_int_equal(work->done, 0);
    work_free(work);
}

static void errors_are_counted_and_the_first_is_told(void **state) {
    (void)state;
    struct work *work = new_work(0);
    struct task task;
    uint64_t at;
    assert_true(work_take(work, work->began_ns, &task, &at));
    work_done(work, &task, work->began_ns, "first");
    work_done(work, &task, work->began_ns, "second");
    assert_int_equal(work->errors, 2);
    assert_string_equal(work->reason, "first");
    work_free(work);
}

static void values_are_looked_at(void **state) {
    (void)state;
    struct work *work = new_work(0);
    char value[64];
    work_value(work, 7, value);
    assert_null(work_check(work, 7, value, sizeof value));
    assert_non_null(work_check(work, 8, value, sizeof value));
    assert_non_null(work_check(work, 7, value, sizeof value - 1));
    work_free(work);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_value_is_kept_to_a_64th),
        cmocka_unit_test(small_values_are_exact),
        cmocka_unit_test(quantiles_of_many),
        cmocka_unit_test(nothing_and_too_much),
        cmocka_unit_test(draws_follow_zipfs_law),
        cmocka_unit_test(the_ends_are_ranks),
        cmocka_unit_test(a_stall_costs_all_who_would_have_come),
        cmocka_unit_test(a_closed_loop_begins_at_once_and_ends),
        cmocka_unit_test(the_first_counts_however_late),
        cmocka_unit_test(filling_takes_each_key_once),
        cmocka_unit_test(errors_are_counted_and_the_first_is_told),
        cmocka_unit_test(values_are_looked_at),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * What a load generator does, whatever it speaks: which operation on which key begins when, what a
 * value looks like, and the figures at the end. Knows no network; for one thread.
 *
 * A closed loop begins an operation as soon as one of `in_flight` has ended. An open one (`rate`)
 * begins them at moments that are fixed beforehand, and a latency counts from that moment even if
 * the operation had to wait for its turn: a server that stalls is charged for all who would have
 * come meanwhile (no coordinated omission).
 */
#ifndef BENCH_WORK_H
#define BENCH_WORK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "flags.h"
#include "histogram.h"
#include "zipf.h"

enum { WORK_KEY_SIZE = 20, WORK_VALUE_BYTES_MIN = 16, WORK_REASON_SIZE = 240 };

struct work_options {
    const char *kind; /* "get", "put", "mix" */
    uint64_t keys, value_bytes, in_flight, seed;
    double reads;   /* percent of a mix */
    double zipf;    /* theta; 0: every key alike */
    double rate;    /* operations a second; 0: a closed loop */
    double seconds; /* that count */
    double warm_up; /* seconds before these */
    bool fill;      /* first each key is stored once, as fast as it goes */
    bool exit_with_parent;
};

/* The flags of every load generator, and what holds without them. */
const struct flag *work_flags(struct work_options *options);

struct task {
    bool is_read;
    uint64_t key;
    uint64_t intended_ns; /* when it should begin: from then on its time counts */
    uint32_t hops;        /* when it has ended: members that it went through; 0: not known */
};

struct work {
    struct work_options options;
    bool filling;
    uint64_t random;
    struct zipf zipf;
    uint64_t began_ns, counted_from_ns, ends_ns, last_done_ns;
    uint64_t started, done, errors, hops;
    char reason[WORK_REASON_SIZE]; /* of the first error */
    struct histogram latencies;    /* ns, of what counts */
};

uint64_t work_now_ns(void); /* monotonic */

/* If so asked, this process ends when its parent does. */
void work_watch_parent(const struct work_options *options);
/* Ends the program when an option is wrong. */
void work_init(struct work *work, const struct work_options *options);
void work_free(struct work *work);
/* From now on each key is stored once; and: from now on the measurement. */
void work_begin_fill(struct work *work);
void work_begin(struct work *work);

/* The next operation, if one may begin now. Else *at_ns says when (UINT64_MAX: never). */
bool work_take(struct work *work, uint64_t now_ns, struct task *task, uint64_t *at_ns);
/* It has ended; a `reason` is an error's. */
void work_done(struct work *work, const struct task *task, uint64_t now_ns, const char *reason);
/* One JSON object with a line's end, to stdout. Returns what main should: 0, or 1 after errors. */
int work_print(const struct work *work);

/* The text of a key, ended by 0. */
void work_key(uint64_t key, char text[WORK_KEY_SIZE]);
/* value_bytes of them; they begin with the key's text. */
void work_value(const struct work *work, uint64_t key, char *value);
/* What is wrong with a value that was read; NULL: nothing. */
const char *work_check(const struct work *work, uint64_t key, const void *value, size_t size);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Operations that are begun here and end on other threads: keeps as many under way as the work says
 * (work.h). What an operation is, the program knows.
 */
#ifndef BENCH_LOOP_H
#define BENCH_LOOP_H

#include <pthread.h>

#include "work.h"

/* One of the operations in flight; its memory is used again and again. */
struct loop_slot {
    struct loop *loop;
    struct loop_slot *next;
    size_t number; /* from 0 */
    struct task task;
    char key[WORK_KEY_SIZE];
    char *value; /* of a put: what to store; has room for value_bytes */
    uint64_t done_ns;
    bool failed;
    char reason[WORK_REASON_SIZE];
};

/* Begins slot->task; loop_done says that it has ended, on whatever thread. */
typedef void loop_start_fn(struct loop_slot *slot, void *context);

struct loop {
    struct work work;
    loop_start_fn *start;
    void *context;
    struct loop_slot *slots, *idle;
    size_t running;
    pthread_mutex_t lock;
    pthread_cond_t some_done;
    struct loop_slot *done; /* under the lock */
};

/* Ends the program when an option is wrong. */
void loop_init(struct loop *loop, const struct work_options *options, loop_start_fn *start,
               void *context);
/* The keys are stored, if so asked; then all is measured. */
void loop_run(struct loop *loop);
/* `reason`: of an error, else NULL; copied. */
void loop_done(struct loop_slot *slot, const char *reason);
void loop_free(struct loop *loop);

#endif

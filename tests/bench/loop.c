/* SPDX-License-Identifier: MIT */
#include "loop.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void loop_done(struct loop_slot *slot, const char *reason) {
    struct loop *loop = slot->loop;
    slot->done_ns = work_now_ns();
    slot->failed = reason != NULL;
    snprintf(slot->reason, sizeof slot->reason, "%s", slot->failed ? reason : "");
    pthread_mutex_lock(&loop->lock);
    bool first = loop->done == NULL;
    slot->next = loop->done;
    loop->done = slot;
    if (first) {
        pthread_cond_signal(&loop->some_done);
    }
    pthread_mutex_unlock(&loop->lock);
}

static void start(struct loop *loop, const struct task *task) {
    struct loop_slot *slot = loop->idle;
    loop->idle = slot->next;
    loop->running++;
    slot->task = *task;
    work_key(task->key, slot->key);
    if (!task->is_read) {
        work_value(&loop->work, task->key, slot->value);
    }
    loop->start(slot, loop->context);
}

static struct loop_slot *wait_for_some(struct loop *loop, uint64_t until_ns) {
    struct timespec until = {.tv_sec = (time_t)(until_ns / 1000000000),
                             .tv_nsec = (long)(until_ns % 1000000000)};
    pthread_mutex_lock(&loop->lock);
    while (loop->done == NULL) {
        int ended = until_ns == UINT64_MAX
                        ? pthread_cond_wait(&loop->some_done, &loop->lock)
                        : pthread_cond_timedwait(&loop->some_done, &loop->lock, &until);
        if (ended != 0) {
            break;
        }
    }
    struct loop_slot *some = loop->done;
    loop->done = NULL;
    pthread_mutex_unlock(&loop->lock);
    return some;
}

static void put_back(struct loop *loop, struct loop_slot *slot) {
    work_done(&loop->work, &slot->task, slot->done_ns, slot->failed ? slot->reason : NULL);
    slot->next = loop->idle;
    loop->idle = slot;
    loop->running--;
}

/* Until all that should begin has ended. */
static void run(struct loop *loop) {
    for (;;) {
        struct task task;
        uint64_t at_ns = UINT64_MAX;
        while (loop->idle != NULL && work_take(&loop->work, work_now_ns(), &task, &at_ns)) {
            start(loop, &task);
        }
        if (loop->running == 0 && at_ns == UINT64_MAX) {
            return;
        }
        for (struct loop_slot *slot = wait_for_some(loop, at_ns), *next; slot != NULL;
             slot = next) {
            next = slot->next;
            put_back(loop, slot);
        }
    }
}

void loop_run(struct loop *loop) {
    if (loop->work.options.fill) {
        work_begin_fill(&loop->work);
        run(loop);
    }
    work_begin(&loop->work);
    run(loop);
}

static void make_slots(struct loop *loop) {
    size_t count = loop->work.options.in_flight;
    size_t bytes = loop->work.options.value_bytes;
    loop->slots = calloc(count, sizeof *loop->slots);
    char *values = malloc(count * bytes);
    if (loop->slots == NULL || values == NULL) {
        flags_refuse("no memory for %zu operations of %zu bytes", count, bytes);
    }
    for (size_t at = 0; at < count; at++) {
        loop->slots[at] = (struct loop_slot){
            .loop = loop, .number = at, .value = values + at * bytes, .next = loop->idle};
        loop->idle = &loop->slots[at];
    }
}

void loop_init(struct loop *loop, const struct work_options *options, loop_start_fn *start_one,
               void *context) {
    work_init(&loop->work, options);
    loop->start = start_one;
    loop->context = context;
    make_slots(loop);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&loop->some_done, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&loop->lock, NULL);
}

void loop_free(struct loop *loop) {
    free(loop->slots[0].value);
    free(loop->slots);
    work_free(&loop->work);
    pthread_cond_destroy(&loop->some_done);
    pthread_mutex_destroy(&loop->lock);
}

/* SPDX-License-Identifier: MIT */
/*
 * Load on a ring through libchord-client, as any program would use it: of its header nothing but
 * chord_client.h. Prints one line of JSON (work.h).
 *
 *     load --members 127.0.0.1:4001 --fill --kind get --value-bytes 64 --in-flight 64 --seconds 5
 */
#include <chord_client.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "work.h"

struct load;

/* One of the operations in flight; its memory is used again and again. */
struct slot {
    struct load *load;
    struct slot *next;
    struct task task;
    char key[WORK_KEY_SIZE];
    char *value;
    uint64_t done_ns;
    bool failed;
    char reason[WORK_REASON_SIZE];
};

struct load {
    struct work work;
    struct chord_client *client;
    bool stale;
    struct slot *slots, *idle;
    size_t running;
    pthread_mutex_t lock;
    pthread_cond_t some_done;
    struct slot *done; /* under the lock */
};

static const char *why_wrong(const struct slot *slot, const struct chord_result *result,
                             char *reason) {
    if (result->fate != CHORD_DONE || result->code != CHORD_CODE_OK) {
        snprintf(reason, WORK_REASON_SIZE, "%s of %s: %s %.180s",
                 slot->task.is_read ? "get" : "put", slot->key, chord_code_text(result->code),
                 result->message);
        return reason;
    }
    return slot->task.is_read
               ? work_check(&slot->load->work, slot->task.key, result->value, result->value_size)
               : NULL;
}

static void operation_done(void *context, struct chord_result *result) {
    struct slot *slot = context;
    struct load *load = slot->load;
    char text[WORK_REASON_SIZE];
    slot->done_ns = work_now_ns();
    const char *reason = why_wrong(slot, result, text);
    slot->failed = reason != NULL;
    snprintf(slot->reason, sizeof slot->reason, "%s", slot->failed ? reason : "");
    chord_result_free(result);
    pthread_mutex_lock(&load->lock);
    bool first = load->done == NULL;
    slot->next = load->done;
    load->done = slot;
    if (first) {
        pthread_cond_signal(&load->some_done);
    }
    pthread_mutex_unlock(&load->lock);
}

static void start(struct load *load, const struct task *task) {
    struct slot *slot = load->idle;
    load->idle = slot->next;
    load->running++;
    slot->task = *task;
    work_key(task->key, slot->key);
    struct chord_operation operation = {.kind = task->is_read ? CHORD_GET : CHORD_PUT,
                                        .key = slot->key,
                                        .key_size = strlen(slot->key),
                                        .stale = task->is_read && load->stale};
    if (!task->is_read) {
        work_value(&load->work, task->key, slot->value);
        operation.value = slot->value;
        operation.value_size = load->work.options.value_bytes;
    }
    chord_start(load->client, &operation, operation_done, slot);
}

static struct slot *wait_for_some(struct load *load, uint64_t until_ns) {
    struct timespec until = {.tv_sec = (time_t)(until_ns / 1000000000),
                             .tv_nsec = (long)(until_ns % 1000000000)};
    pthread_mutex_lock(&load->lock);
    while (load->done == NULL) {
        int ended = until_ns == UINT64_MAX
                        ? pthread_cond_wait(&load->some_done, &load->lock)
                        : pthread_cond_timedwait(&load->some_done, &load->lock, &until);
        if (ended != 0) {
            break;
        }
    }
    struct slot *some = load->done;
    load->done = NULL;
    pthread_mutex_unlock(&load->lock);
    return some;
}

static void put_back(struct load *load, struct slot *slot) {
    work_done(&load->work, &slot->task, slot->done_ns, slot->failed ? slot->reason : NULL);
    slot->next = load->idle;
    load->idle = slot;
    load->running--;
}

/* Until all that should begin has ended. */
static void run(struct load *load) {
    for (;;) {
        struct task task;
        uint64_t at_ns = UINT64_MAX;
        while (load->idle != NULL && work_take(&load->work, work_now_ns(), &task, &at_ns)) {
            start(load, &task);
        }
        if (load->running == 0 && at_ns == UINT64_MAX) {
            return;
        }
        for (struct slot *slot = wait_for_some(load, at_ns), *next; slot != NULL; slot = next) {
            next = slot->next;
            put_back(load, slot);
        }
    }
}

static void make_slots(struct load *load) {
    size_t count = load->work.options.in_flight;
    size_t bytes = load->work.options.value_bytes;
    load->slots = calloc(count, sizeof *load->slots);
    char *values = malloc(count * bytes);
    if (load->slots == NULL || values == NULL) {
        flags_refuse("no memory for %zu operations of %zu bytes", count, bytes);
    }
    for (size_t at = 0; at < count; at++) {
        load->slots[at] =
            (struct slot){.load = load, .value = values + at * bytes, .next = load->idle};
        load->idle = &load->slots[at];
    }
}

static void init_lock(struct load *load) {
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&load->some_done, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&load->lock, NULL);
}

int main(int argc, char **argv) {
    static struct load load;
    struct work_options work;
    struct chord_client_options options = {.members = NULL};
    const struct flag own[] = {
        {.name = "members", .text = &options.members, .help = "HOST:PORT, several with commas"},
        {.name = "ring-key-file", .text = &options.ring_key_file, .help = "the key of the ring"},
        {.name = "stale", .is_there = &load.stale, .help = "gets take any member's value"},
        {.name = NULL}};
    flags_read(argc, argv, "load on a ring through libchord-client",
               (const struct flag *const[]){own, work_flags(&work)}, 2);
    if (options.members == NULL) {
        flags_refuse("--members HOST:PORT says where the ring is");
    }
    work_init(&load.work, &work);
    make_slots(&load);
    init_lock(&load);
    char error[200];
    if (chord_client_open(&load.client, &options, error, sizeof error) != 0) {
        flags_refuse("%s", error);
    }
    if (work.fill) {
        work_begin_fill(&load.work);
        run(&load);
    }
    work_begin(&load.work);
    run(&load);
    chord_client_close(load.client);
    int code = work_print(&load.work);
    free(load.slots[0].value);
    free(load.slots);
    work_free(&load.work);
    return code;
}

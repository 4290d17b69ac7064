/* SPDX-License-Identifier: MIT */
/* See resources.h. */
#include "resources.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
    STACK_BYTES =
        1024 * 1024, /* nothing recurses; the default of 8 MiB is address space for naught */
    THREADS_OWN = 5, /* main, store, signals, the RPC client's timer, the RPC server's sweep */
    THREADS_NNG = 8, /* its resolvers, poller, reaper, timers */
    THREADS_NNG_TASKS_MAX = 16,
    THREADS_MAX = 512,
    FILES_MIN = 64,
    MEMORY_SPARE_BYTES = 96 * 1024 * 1024, /* of address space: requests and answers, the core */
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static void *wait_for_all(void *unused) {
    pthread_mutex_lock(&mutex);
    pthread_mutex_unlock(&mutex);
    return unused;
}

static size_t threads_needed(void) {
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    size_t count = processors < 1 ? 1 : (size_t)processors;
    size_t tasks = 2 * count < THREADS_NNG_TASKS_MAX ? 2 * count : THREADS_NNG_TASKS_MAX;
    size_t all = THREADS_OWN + THREADS_NNG + tasks + count;
    return all < THREADS_MAX ? all : THREADS_MAX;
}

/* As many threads at once as will be needed, and the memory that they work with. */
static bool threads_start(size_t count) {
    static pthread_t threads[THREADS_MAX];
    size_t started = 0;
    void *spare = malloc(MEMORY_SPARE_BYTES);
    pthread_mutex_lock(&mutex);
    while (spare != NULL && started < count &&
           pthread_create(&threads[started], NULL, wait_for_all, NULL) == 0) {
        started++;
    }
    pthread_mutex_unlock(&mutex);
    for (size_t i = 0; i < started; i++) {
        pthread_join(threads[i], NULL);
    }
    free(spare);
    return started == count;
}

bool resources_suffice(char *reason, size_t reason_bytes) {
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
        if (files.rlim_max < FILES_MIN) {
            snprintf(reason, reason_bytes,
                     "only %llu files may be open; at least %d are needed, one for each "
                     "connection; raise the limit (ulimit -n, LimitNOFILE=)",
                     (unsigned long long)files.rlim_max, FILES_MIN);
            return false;
        }
    }
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    pthread_setattr_default_np(&attributes);
    pthread_attr_destroy(&attributes);
    size_t count = threads_needed();
    if (!threads_start(count)) {
        snprintf(reason, reason_bytes,
                 "cannot start %zu threads with %d MiB to work in; raise the limit of memory "
                 "(ulimit -v, LimitAS=) or of threads (ulimit -u, TasksMax=)",
                 count, MEMORY_SPARE_BYTES / 1024 / 1024);
        return false;
    }
    return true;
}

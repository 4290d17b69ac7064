/* SPDX-License-Identifier: MIT */
/* See clock.h. */
#include "clock.h"

#include <time.h>

static uint64_t clock_ms(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static struct timespec timespec_of(uint64_t ms) {
    return (struct timespec){.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};
}

uint64_t clock_now_ms(void) {
    return clock_ms(CLOCK_MONOTONIC);
}

uint64_t clock_unix_ms(void) {
    return clock_ms(CLOCK_REALTIME);
}

void clock_pause_ms(uint64_t ms) {
    struct timespec wait = timespec_of(ms);
    nanosleep(&wait, NULL);
}

void clock_cond_init(pthread_cond_t *cond) {
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &attributes);
    pthread_condattr_destroy(&attributes);
}

void clock_cond_wait(pthread_cond_t *cond, pthread_mutex_t *lock, uint64_t until_ms) {
    struct timespec until = timespec_of(until_ms);
    (void)pthread_cond_timedwait(cond, lock, &until);
}

/* SPDX-License-Identifier: MIT */
/*
 * A wall clock that is wrong, by LD_PRELOAD, for one program: CHORD_CLOCK_CONTROL names a file with
 * the milliseconds that it is ahead, read at each look, so that it can jump. Time that only passes
 * (CLOCK_MONOTONIC) is as it is, as on a host whose clock somebody sets.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long long ahead_ms(void) {
    const char *path = getenv("CHORD_CLOCK_CONTROL");
    char text[24] = "";
    int control = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (control >= 0) {
        if (read(control, text, sizeof text - 1) < 0) {
            text[0] = '\0';
        }
        close(control);
    }
    return strtoll(text, NULL, 10);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int result = (int)syscall(SYS_clock_gettime, clock, now);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        long long ms = (long long)now->tv_sec * 1000 + now->tv_nsec / 1000000 + ahead_ms();
        now->tv_sec = ms / 1000;
        now->tv_nsec = ms % 1000 * 1000000;
    }
    return result;
}

time_t time(time_t *seconds) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (seconds != NULL) {
        *seconds = now.tv_sec;
    }
    return now.tv_sec;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec exact;
    int result = clock_gettime(CLOCK_REALTIME, &exact);
    (void)zone;
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return result;
}

/* SPDX-License-Identifier: MIT */
/* Time, read and waited for. Knows nothing but clocks. */
#ifndef CHORD_CLOCK_H
#define CHORD_CLOCK_H

#include <pthread.h>
#include <stdint.h>

uint64_t clock_now_ms(void);  /* monotonic */
uint64_t clock_unix_ms(void); /* wall clock */
void clock_pause_ms(uint64_t ms);
/* A condition that is waited for by the monotonic clock. */
void clock_cond_init(pthread_cond_t *cond);
/* Until it is signalled or that time of clock_now_ms has come. */
void clock_cond_wait(pthread_cond_t *cond, pthread_mutex_t *lock, uint64_t until_ms);

#endif

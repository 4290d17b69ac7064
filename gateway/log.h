/* SPDX-License-Identifier: MIT */
/* The gateway's own log: lines on stderr, in the nodes' format. */
#ifndef GATEWAY_LOG_H
#define GATEWAY_LOG_H

#include "clock.h"

/* level: "INFO", "WARN", "ERROR"; word: what it is about, one word. Thread safe. */
void log_line(const char *level, const char *word, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif

/* SPDX-License-Identifier: MIT */
/* The log: lines in a file and on stderr, the newest ones in memory for the dashboards. */
#ifndef NODE_LOG_H
#define NODE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_DEBUG = 1, LOG_INFO, LOG_WARN, LOG_ERROR }; /* = chord.v1.LogLevel */
enum { LOG_LINES_MAX = 1000, LOG_TEXT_BYTES = 240, LOG_WORD_BYTES = 24 };

struct log_line {
    uint64_t sequence;
    uint64_t time_unix_ms;
    enum log_level level;
    char word[LOG_WORD_BYTES];
    char text[LOG_TEXT_BYTES];
};

/* Opens DIR/node.log for appending; rotated to node.log.1 at 16 MiB. False: errno tells. */
bool log_open(const char *directory);
void log_close(void);

/* Thread-safe. Longer texts are cut. */
void log_write(enum log_level level, const char *word, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Copies up to `lines_max` lines of at least `level` with a sequence above `after`, oldest first;
 * after 0: the newest. Returns how many. */
size_t log_read(uint64_t after, enum log_level level, struct log_line *lines, size_t lines_max);
uint64_t log_sequence(void);

#endif

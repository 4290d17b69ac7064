/* SPDX-License-Identifier: MIT */
/* Log lines and clocks; see log.h. */
#include "log.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include "utf8.h"

void log_line(const char *level, const char *word, const char *format, ...) {
    uint64_t now = clock_unix_ms();
    time_t seconds = (time_t)(now / 1000);
    struct tm utc;
    gmtime_r(&seconds, &utc);
    char when[32];
    strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%S", &utc);
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    utf8_make_line(text); /* what comes from outside must not fake lines, or colour them */
    fprintf(stderr, "%s.%03uZ %s %s %s\n", when, (unsigned)(now % 1000), level, word, text);
}

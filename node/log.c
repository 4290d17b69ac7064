/* SPDX-License-Identifier: MIT */
/*
 * The log. One line: 2026-11-23T06:46:41.123Z INFO join joining 3
 */
#include "log.h"

#include "utf8.h"

#include "private.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { FILE_BYTES_MAX = 16 * 1024 * 1024 };

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct log_line lines[LOG_LINES_MAX]; /* ring; line s at s % LOG_LINES_MAX */
static uint64_t sequence_last;
static FILE *file;
static char path[4096];
static const char *const level_texts[] = {"", "DEBUG", "INFO", "WARN", "ERROR"};

bool log_open(const char *directory) {
    snprintf(path, sizeof path, "%s/node.log", directory);
    file = private_append(path);
    return file != NULL;
}

void log_close(void) {
    pthread_mutex_lock(&mutex);
    if (file != NULL) {
        fclose(file);
        file = NULL;
    }
    pthread_mutex_unlock(&mutex);
}

static void rotate(void) {
    char old[sizeof path + 2];
    snprintf(old, sizeof old, "%s.1", path);
    fclose(file);
    rename(path, old);
    file = private_append(path);
}

static void print(FILE *out, const struct log_line *line) {
    time_t seconds = (time_t)(line->time_unix_ms / 1000);
    struct tm utc;
    char when[32];
    gmtime_r(&seconds, &utc);
    strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%S", &utc);
    fprintf(out, "%s.%03uZ %s %s %s\n", when, (unsigned)(line->time_unix_ms % 1000),
            level_texts[line->level], line->word, line->text);
}

void log_write(enum log_level level, const char *word, const char *format, ...) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    pthread_mutex_lock(&mutex);
    struct log_line *line = &lines[++sequence_last % LOG_LINES_MAX];
    line->sequence = sequence_last;
    line->time_unix_ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
    line->level = level;
    snprintf(line->word, sizeof line->word, "%s", word);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line->text, sizeof line->text, format, arguments);
    va_end(arguments);
    utf8_make_line(line->text); /* it may quote others, and goes into answers */
    if (level >= LOG_INFO) {
        print(stderr, line);
    }
    if (file != NULL) {
        print(file, line);
        fflush(file);
        if (ftell(file) > FILE_BYTES_MAX) {
            rotate();
        }
    }
    pthread_mutex_unlock(&mutex);
}

size_t log_read(uint64_t after, enum log_level level, struct log_line *out, size_t lines_max) {
    size_t count = 0;
    pthread_mutex_lock(&mutex);
    uint64_t oldest = sequence_last > LOG_LINES_MAX ? sequence_last - LOG_LINES_MAX + 1 : 1;
    uint64_t first = after + 1 > oldest ? after + 1 : oldest;
    if (after == 0) {
        /* The newest ones: walk back until enough lines are of the level. */
        size_t found = 0;
        first = sequence_last + 1;
        while (first > oldest && found < lines_max) {
            first--;
            found += lines[first % LOG_LINES_MAX].level >= level;
        }
    }
    for (uint64_t s = first; s <= sequence_last && count < lines_max; s++) {
        if (lines[s % LOG_LINES_MAX].level >= level) {
            out[count++] = lines[s % LOG_LINES_MAX];
        }
    }
    pthread_mutex_unlock(&mutex);
    return count;
}

uint64_t log_sequence(void) {
    pthread_mutex_lock(&mutex);
    uint64_t sequence = sequence_last;
    pthread_mutex_unlock(&mutex);
    return sequence;
}

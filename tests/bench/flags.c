/* SPDX-License-Identifier: MIT */
#include "flags.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *program = "bench";

_Noreturn void flags_refuse(const char *format, ...) {
    va_list arguments;
    fprintf(stderr, "%s: ", program);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(2);
}

static _Noreturn void help(const char *what, const struct flag *const *tables, size_t count) {
    printf("%s: %s\n", program, what);
    for (size_t table = 0; table < count; table++) {
        for (const struct flag *flag = tables[table]; flag->name != NULL; flag++) {
            printf("  --%-14s %s\n", flag->name, flag->help);
        }
    }
    exit(0);
}

static const struct flag *find(const char *word, const struct flag *const *tables, size_t count) {
    for (size_t table = 0; table < count; table++) {
        for (const struct flag *flag = tables[table]; flag->name != NULL; flag++) {
            if (strncmp(word, "--", 2) == 0 && strcmp(word + 2, flag->name) == 0) {
                return flag;
            }
        }
    }
    flags_refuse("what is %s? --help names the flags", word);
}

static void take(const struct flag *flag, const char *value) {
    char *end = NULL;
    errno = 0;
    if (flag->text != NULL) {
        *flag->text = value;
        return;
    }
    double real = strtod(value, &end);
    if (errno != 0 || end == value || *end != '\0' || !(real >= 0 && real <= 1e15)) {
        flags_refuse("--%s %s: not a number that is 0 or more", flag->name, value);
    }
    if (flag->real != NULL) {
        *flag->real = real;
        return;
    }
    *flag->number = (uint64_t)real;
    if ((double)*flag->number != real) {
        flags_refuse("--%s %s: not a whole number", flag->name, value);
    }
}

void flags_read(int argc, char **argv, const char *what, const struct flag *const *tables,
                size_t tables_count) {
    program = strrchr(argv[0], '/') != NULL ? strrchr(argv[0], '/') + 1 : argv[0];
    for (int at = 1; at < argc; at++) {
        if (strcmp(argv[at], "--help") == 0) {
            help(what, tables, tables_count);
        }
        const struct flag *flag = find(argv[at], tables, tables_count);
        if (flag->is_there != NULL) {
            *flag->is_there = true;
        } else if (++at == argc) {
            flags_refuse("--%s needs a value", flag->name);
        } else {
            take(flag, argv[at]);
        }
    }
}

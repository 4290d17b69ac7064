/* SPDX-License-Identifier: MIT */
/* The command line of a bench program: a table of flags. */
#ifndef BENCH_FLAGS_H
#define BENCH_FLAGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct flag {
    const char *name; /* without the dashes */
    /* Exactly one of these: where the value goes. */
    const char **text;
    uint64_t *number;
    double *real;   /* not negative */
    bool *is_there; /* takes no value */
    const char *help;
};

/* The tables end with a flag without a name. A word that is wrong, or --help, ends the program (2,
 * 0) with a sentence. */
void flags_read(int argc, char **argv, const char *what, const struct flag *const *tables,
                size_t tables_count);
/* Ends the program (2) with that sentence. */
_Noreturn void flags_refuse(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif

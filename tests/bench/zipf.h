/* SPDX-License-Identifier: MIT */
/*
 * Ranks as Zipf's law has them: rank r (from 0) comes in proportion to 1 / (r + 1)^theta. From a
 * table of sums, so exactly, where the usual formula (Gray et al. 1994, as in YCSB) is right for
 * the first two ranks only.
 */
#ifndef BENCH_ZIPF_H
#define BENCH_ZIPF_H

#include <stddef.h>
#include <stdint.h>

struct zipf {
    size_t count;
    double *sums; /* sums[r]: the probability of ranks 0 to r */
};

/* 0, or -ENOMEM. count > 0; theta 0: all ranks alike. */
int zipf_init(struct zipf *zipf, size_t count, double theta);
void zipf_free(struct zipf *zipf);
/* The rank of one draw; `uniform` in [0, 1). */
size_t zipf_rank(const struct zipf *zipf, double uniform);

/* A stream of random numbers (splitmix64): the state is any number. */
uint64_t random_next(uint64_t *state);
double random_uniform(uint64_t *state); /* [0, 1) */

#endif

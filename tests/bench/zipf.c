/* SPDX-License-Identifier: MIT */
#include "zipf.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

int zipf_init(struct zipf *zipf, size_t count, double theta) {
    zipf->count = count;
    zipf->sums = malloc(count * sizeof *zipf->sums);
    if (zipf->sums == NULL) {
        return -ENOMEM;
    }
    double sum = 0;
    for (size_t rank = 0; rank < count; rank++) {
        sum += pow((double)rank + 1, -theta);
        zipf->sums[rank] = sum;
    }
    for (size_t rank = 0; rank < count; rank++) {
        zipf->sums[rank] /= sum;
    }
    return 0;
}

void zipf_free(struct zipf *zipf) {
    free(zipf->sums);
    zipf->sums = NULL;
}

size_t zipf_rank(const struct zipf *zipf, double uniform) {
    size_t low = 0;
    size_t high = zipf->count - 1;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (zipf->sums[middle] > uniform) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

uint64_t random_next(uint64_t *state) {
    uint64_t mixed = *state += 0x9e3779b97f4a7c15;
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111eb;
    return mixed ^ (mixed >> 31);
}

double random_uniform(uint64_t *state) {
    return (double)(random_next(state) >> 11) * 0x1p-53;
}

/* SPDX-License-Identifier: MIT */
/* The cache of owner hints; see hints.h. Sorted by hi, looked up by binary search. */
#include "hints.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct hints {
    pthread_mutex_t lock;
    size_t count;
    struct hint entries[HINTS_MAX]; /* by hi, no two overlap */
};

struct hints *hints_new(void) {
    struct hints *hints = calloc(1, sizeof(*hints));
    if (hints != NULL) {
        pthread_mutex_init(&hints->lock, NULL);
    }
    return hints;
}

void hints_free(struct hints *hints) {
    if (hints != NULL) {
        pthread_mutex_destroy(&hints->lock);
        free(hints);
    }
}

/* The first entry whose hi is at or after id. */
static size_t hints_lower(const struct hints *hints, const struct ring_id *id) {
    size_t low = 0;
    size_t high = hints->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (id_compare(&hints->entries[middle].hi, id) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static struct hint *hints_entry(struct hints *hints, const struct ring_id *id) {
    if (hints->count == 0) {
        return NULL;
    }
    struct hint *entry = &hints->entries[hints_lower(hints, id) % hints->count];
    return id_in_range(id, &entry->lo, &entry->hi) ? entry : NULL;
}

/* (a, b] and (c, d] share a point. */
static bool ranges_overlap(const struct hint *a, const struct hint *b) {
    return id_in_range(&a->hi, &b->lo, &b->hi) || id_in_range(&b->hi, &a->lo, &a->hi);
}

static void hints_remove(struct hints *hints, size_t index) {
    hints->count--;
    memmove(&hints->entries[index], &hints->entries[index + 1],
            (hints->count - index) * sizeof(hints->entries[0]));
}

void hints_put(struct hints *hints, const struct ring_id *lo, const struct ring_id *hi,
               uint64_t epoch, const char *address) {
    struct hint hint = {.lo = *lo, .hi = *hi, .epoch = epoch};
    snprintf(hint.address, sizeof(hint.address), "%s", address);
    pthread_mutex_lock(&hints->lock);
    const struct hint *same = hints_entry(hints, hi);
    if (same != NULL && id_compare(&same->hi, hi) == 0 && id_compare(&same->lo, lo) == 0) {
        hint.seen_epoch = same->seen_epoch; /* stays true, whoever leads */
        hint.seen_counter = same->seen_counter;
    }
    for (size_t i = 0; i < hints->count; i++) {
        if (ranges_overlap(&hint, &hints->entries[i]) && hints->entries[i].epoch > epoch &&
            hints->entries[i].address[0] != '\0') {
            goto out;
        }
    }
    for (size_t i = hints->count; i-- > 0;) {
        if (ranges_overlap(&hint, &hints->entries[i])) {
            hints_remove(hints, i);
        }
    }
    if (hints->count < HINTS_MAX) {
        size_t at = hints_lower(hints, hi);
        memmove(&hints->entries[at + 1], &hints->entries[at],
                (hints->count - at) * sizeof(hints->entries[0]));
        hints->entries[at] = hint;
        hints->count++;
    }
out:
    pthread_mutex_unlock(&hints->lock);
}

bool hints_find(struct hints *hints, const struct ring_id *id, struct hint *hint) {
    pthread_mutex_lock(&hints->lock);
    const struct hint *entry = hints_entry(hints, id);
    if (entry != NULL) {
        *hint = *entry;
    }
    pthread_mutex_unlock(&hints->lock);
    return entry != NULL;
}

void hints_seen(struct hints *hints, const struct ring_id *id, uint64_t epoch, uint64_t counter) {
    pthread_mutex_lock(&hints->lock);
    struct hint *entry = hints_entry(hints, id);
    if (entry != NULL && (epoch > entry->seen_epoch ||
                          (epoch == entry->seen_epoch && counter > entry->seen_counter))) {
        entry->seen_epoch = epoch;
        entry->seen_counter = counter;
    }
    pthread_mutex_unlock(&hints->lock);
}

void hints_clear(struct hints *hints) {
    pthread_mutex_lock(&hints->lock);
    hints->count = 0;
    pthread_mutex_unlock(&hints->lock);
}

void hints_forget_address(struct hints *hints, const char *address) {
    pthread_mutex_lock(&hints->lock);
    for (size_t i = 0; i < hints->count; i++) {
        if (strcmp(hints->entries[i].address, address) == 0) {
            hints->entries[i].address[0] = '\0';
        }
    }
    pthread_mutex_unlock(&hints->lock);
}

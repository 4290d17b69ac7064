/* SPDX-License-Identifier: MIT */
/*
 * Zave's inductive invariant (TSE 2017, section 5; see checks.h). Dead entries of a list still
 * count as entries: only live ones can be skipped.
 */
#include "checks.h"

#include <stdlib.h>
#include <string.h>

/* Members strictly between two ids, as a run of positions in the ring. */
static void skip(const struct picture *picture, const struct chord_id *from,
                 const struct chord_id *to, bool *skipped) {
    for (int i = 0; i < picture->ring_count; i++) {
        if (!skipped[i] && id_in_open(from, &picture->nodes[picture->ring[i]].id, to)) {
            skipped[i] = true;
        }
    }
}

static bool live_but(const struct picture *picture, const struct picture_entry *entry, int gone) {
    return entry->node != gone && picture_live(picture, entry);
}

static const char *invariant(const struct picture *picture, int gone, int *node) {
    unsigned members = (unsigned)picture->ring_count, principals = 0;
    bool *skipped = calloc(members + 1, sizeof *skipped);
    const char *broken = skipped == NULL ? "no memory for the check" : NULL;
    *node = HOST_NOBODY;
    for (unsigned i = 0; i < members && broken == NULL; i++) {
        const struct picture_node *member = &picture->nodes[picture->ring[i]];
        if (picture->ring[i] == gone) {
            continue;
        }
        bool live = false;
        const struct chord_id *before = &member->id;
        for (uint16_t k = 0; k < member->successors_count; k++) {
            live = live || live_but(picture, &member->successors[k], gone);
            skip(picture, before, &member->successors[k].id, skipped);
            before = &member->successors[k].id;
        }
        if (!live) {
            *node = picture->ring[i];
            broken = "a member without a live successor";
        }
    }
    for (unsigned i = 0; i < members && broken == NULL; i++) {
        principals += !skipped[i] && picture->ring[i] != gone;
    }
    if (broken == NULL && principals < picture->n + 1) {
        broken = "fewer than N+1 principals";
    }
    free(skipped);
    return broken;
}

const char *check_invariant(const struct picture *picture, int *node) {
    return invariant(picture, HOST_NOBODY, node);
}

bool check_failure_allowed(const struct picture *picture, int gone) {
    int node;
    return invariant(picture, gone, &node) == NULL;
}

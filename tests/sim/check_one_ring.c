/* SPDX-License-Identifier: MIT */
/*
 * One ordered ring (Zave 2017, section 6): see checks.h.
 */
#include "checks.h"

#include <stdlib.h>

/* The first live entry of its list: where its lookups go on. HOST_NOBODY: none. */
static int next_of(const struct picture *picture, int node) {
    const struct picture_node *member = &picture->nodes[node];
    for (uint16_t i = 0; i < member->successors_count; i++) {
        if (picture_live(picture, &member->successors[i])) {
            return member->successors[i].node;
        }
    }
    return HOST_NOBODY;
}

enum mark { UNSEEN, SEEN, ON_RING };

/* Walks from `start` until it meets what was seen; the first walk leaves the cycle marked. */
static const char *walk(const struct picture *picture, enum mark *marks, int start, bool first,
                        int *node) {
    int at = start;
    for (; marks[at] == UNSEEN; at = next_of(picture, at)) {
        marks[at] = SEEN;
        if (next_of(picture, at) == HOST_NOBODY) {
            *node = at;
            return "a member that leads nowhere";
        }
    }
    if (!first) {
        return NULL;
    }
    int wraps = 0;
    for (; marks[at] != ON_RING; at = next_of(picture, at)) {
        marks[at] = ON_RING;
        wraps += id_compare(&picture->nodes[next_of(picture, at)].id, &picture->nodes[at].id) <= 0;
    }
    *node = at;
    return wraps > 1 ? "a ring out of the order of ids" : NULL;
}

const char *check_one_ring(const struct picture *picture, int *node) {
    enum mark *marks = calloc((size_t)picture->count + 1, sizeof *marks);
    const char *broken = marks == NULL ? "no memory for the check" : NULL;
    *node = HOST_NOBODY;
    for (int i = 0; i < picture->ring_count && broken == NULL && picture->ring_count > 1; i++) {
        if (marks[picture->ring[i]] == UNSEEN) {
            broken = walk(picture, marks, picture->ring[i], i == 0, node);
        }
    }
    /* Each member's way now ends in something seen: in the one ring, or in a second cycle. */
    for (int i = 0; i < picture->ring_count && broken == NULL && picture->ring_count > 1; i++) {
        int at = picture->ring[i], steps = 0;
        while (marks[at] != ON_RING && steps++ <= picture->ring_count) {
            at = next_of(picture, at);
        }
        if (marks[at] != ON_RING) {
            *node = picture->ring[i];
            broken = "two rings";
        }
    }
    free(marks);
    return broken;
}

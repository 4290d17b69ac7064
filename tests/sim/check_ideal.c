/* SPDX-License-Identifier: MIT */
/*
 * The ideal ring (Zave 2017, section 3; Stoica et al. 2001, theorem 2 for fingers): see checks.h.
 */
#include "checks.h"

/* The member that owns an id. */
static int owner_of(const struct picture *picture, const struct chord_id *id) {
    int low = 0, high = picture->ring_count; /* the first member not before it */
    while (low < high) {
        int middle = (low + high) / 2;
        if (id_compare(&picture->nodes[picture->ring[middle]].id, id) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return picture->ring[low % picture->ring_count];
}

static const char *fingers_right(const struct picture *picture, struct host *host, int node) {
    const struct picture_node *member = &picture->nodes[node];
    unsigned m = host_config_of(host)->m;
    struct chord_id before = member->id;
    int owner = HOST_NOBODY;
    for (unsigned i = 0; i < m; i++) {
        struct chord_id start = id_add_power(&member->id, i, m);
        struct chord_peer finger;
        if (owner == HOST_NOBODY || id_equal(&before, &picture->nodes[owner].id) ||
            !id_in_half_open(&before, &start, &picture->nodes[owner].id)) {
            owner = owner_of(picture, &start);
        }
        before = start;
        if (!chord_finger_at(host_node(host, node)->chord, i, &finger) ||
            host_by_address(host, finger.address) != owner ||
            picture_life_of(picture, owner, finger.store_id, finger.incarnation) !=
                picture->nodes[owner].life) {
            return "a finger that is not the owner of its start";
        }
    }
    return NULL;
}

static bool is(const struct picture *picture, const struct picture_entry *entry, int node) {
    return entry->node == node && picture_live(picture, entry);
}

const char *check_ideal(const struct picture *picture, struct host *host, bool fingers, int *node) {
    int count = picture->ring_count;
    for (int i = 0; i < picture->count; i++) {
        *node = i;
        if (picture->nodes[i].state == CHORD_STATE_JOINING) {
            return "a node that has not joined";
        }
    }
    for (int at = 0; at < count; at++) {
        *node = picture->ring[at];
        const struct picture_node *member = &picture->nodes[*node];
        if (count > 1 &&
            id_equal(&member->id, &picture->nodes[picture->ring[(at + 1) % count]].id)) {
            return "two members with one id";
        }
        unsigned machines;
        int wanted = host_successors_wanted(host, picture->ring, count, at, &machines);
        if (member->successors_count != wanted) {
            return "a successor list of the wrong length";
        }
        for (int k = 0; k < wanted; k++) {
            if (!is(picture, &member->successors[k], picture->ring[(at + 1 + k) % count])) {
                return "a successor list that is not the next members";
            }
        }
        if (member->has_predecessor != (count > 1) ||
            (count > 1 &&
             !is(picture, &member->predecessor, picture->ring[(at + count - 1) % count]))) {
            return "a predecessor that is not the member before";
        }
        const char *broken = fingers ? fingers_right(picture, host, *node) : NULL;
        if (broken != NULL) {
            return broken;
        }
    }
    *node = HOST_NOBODY;
    return NULL;
}

/* SPDX-License-Identifier: MIT */
/*
 * The shape of one successor list (Zave 2017, section 4): see checks.h.
 */
#include "checks.h"

const char *check_lists(const struct picture *picture, int node) {
    const struct picture_node *member = &picture->nodes[node];
    const struct chord_id *before = &member->id;
    if (!member->member) {
        return NULL;
    }
    for (uint16_t i = 0; i < member->successors_count; i++) {
        const struct picture_entry *entry = &member->successors[i];
        if (entry->node == node || id_equal(&entry->id, &member->id)) {
            return "a successor list that contains its owner";
        }
        if (!id_in_open(before, &entry->id, &member->id)) {
            return "a successor list out of order, wrapped or with a duplicate";
        }
        before = &entry->id;
    }
    return NULL;
}

const char *check_joined(const struct picture *picture, int node) {
    return picture->n > 1 && picture->nodes[node].successors_count < 2
               ? "a new member that knows only one successor"
               : NULL;
}

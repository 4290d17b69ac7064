/* SPDX-License-Identifier: MIT */
/*
 * Views: one decision for each key and epoch. See checks.h.
 */
#include "checks.h"

#include <string.h>

bool views_overlap(const struct chord_view *a, const struct chord_view *b) {
    const struct chord_range *one = &a->range, *other = &b->range;
    return id_equal(&one->lo, &one->hi) || id_equal(&other->lo, &other->hi) ||
           id_in_half_open(&one->lo, &other->hi, &one->hi) ||
           id_in_half_open(&other->lo, &one->hi, &other->hi);
}

bool views_same(const struct chord_view *a, const struct chord_view *b) {
    bool same = id_equal(&a->range.lo, &b->range.lo) && id_equal(&a->range.hi, &b->range.hi) &&
                a->leader == b->leader && a->members_count == b->members_count &&
                a->settled == b->settled && a->merges.count == b->merges.count;
    for (uint16_t i = 0; same && i < a->members_count; i++) {
        same = memcmp(a->members[i].store_id, b->members[i].store_id, CHORD_STORE_ID_BYTES) == 0;
    }
    return same;
}

static bool contradicts(struct host *host, int node, const struct chord_view *view) {
    const struct chord_view *theirs;
    enum chord_range_state state;
    unsigned copies;
    const struct host_node *other = host_node(host, node);
    for (uint16_t at = 0;
         other->alive && (theirs = chord_view_at(other->chord, at, &state, &copies)) != NULL;
         at++) {
        if (theirs->epoch == view->epoch && !theirs->cut && views_overlap(view, theirs) &&
            !views_same(view, theirs)) {
            return true;
        }
    }
    return false;
}

const char *check_views(struct host *host, int node, int *other) {
    const struct chord_view *view;
    enum chord_range_state state;
    unsigned copies;
    const struct host_node *mine = host_node(host, node);
    for (uint16_t at = 0;
         mine->alive && (view = chord_view_at(mine->chord, at, &state, &copies)) != NULL; at++) {
        for (*other = 0; !view->cut && *other < host_count(host); (*other)++) {
            if (*other != node && contradicts(host, *other, view)) {
                return "two views of one key and one epoch";
            }
        }
    }
    return NULL;
}

uint64_t views_mark(struct host *host, int node) {
    const struct chord_view *view;
    enum chord_range_state state;
    unsigned copies;
    const struct host_node *mine = host_node(host, node);
    uint64_t sum = 1;
    for (uint16_t at = 0;
         mine->alive && (view = chord_view_at(mine->chord, at, &state, &copies)) != NULL; at++) {
        uint64_t facts[] = {view->epoch,
                            view->leader,
                            view->members_count,
                            view->cut,
                            view->settled,
                            view->merges.count,
                            view->range.lo.bytes[CHORD_ID_BYTES - 1],
                            view->range.hi.bytes[CHORD_ID_BYTES - 1]};
        for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++) {
            sum = (sum ^ facts[i]) * 0x9e3779b97f4a7c15u;
            sum ^= sum >> 31;
        }
    }
    return sum;
}

/* SPDX-License-Identifier: MIT */
/* The checks of ranges: who leads them, and each one's view as its leader has it against what its
 * members say. */
#include "checkup.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct led {
    const struct ring_node *node;
    const Chord__V1__RangeStatus *range;
};

struct ranges {
    struct led *items; /* by hi, then by epoch */
    size_t count;
    unsigned m;
};

struct range_text {
    char text[2 * ID_HEX_SIZE + 8];
};

static struct range_text range_text(const Chord__V1__Range *range, unsigned m) {
    struct range_text out;
    char lo[ID_HEX_SIZE], hi[ID_HEX_SIZE];
    ring_id_text(lo, range->lo, m);
    ring_id_text(hi, range->hi, m);
    snprintf(out.text, sizeof out.text, "(%s, %s]", lo, hi);
    return out;
}

/* Ids are of one size in one ring; those that are not sort by size. */
static int id_order(ProtobufCBinaryData a, ProtobufCBinaryData b) {
    if (a.len != b.len) {
        return a.len < b.len ? -1 : 1;
    }
    return a.len == 0 ? 0 : memcmp(a.data, b.data, a.len);
}

static const Chord__V1__View *view_of(const struct led *led) {
    return led->range->view;
}

static int compare_led(const void *a, const void *b) {
    const Chord__V1__View *x = view_of(a), *y = view_of(b);
    int order = id_order(x->range->hi, y->range->hi);
    return order != 0 ? order : (x->epoch > y->epoch) - (x->epoch < y->epoch);
}

static void collect(const struct checkup *checkup, struct ranges *ranges) {
    size_t room = 1;
    for (size_t i = 0; i < checkup->members_count; i++) {
        room += checkup->members[i]->status->n_ranges;
    }
    *ranges =
        (struct ranges){.items = memory_new(room, sizeof ranges->items[0]), .m = checkup->walk->m};
    for (size_t i = 0; i < checkup->members_count; i++) {
        const Chord__V1__StatusResponse *status = checkup->members[i]->status;
        for (size_t k = 0; k < status->n_ranges; k++) {
            if (ring_leads(status->self->address, status->ranges[k])) {
                ranges->items[ranges->count++] =
                    (struct led){checkup->members[i], status->ranges[k]};
            }
        }
    }
    qsort(ranges->items, ranges->count, sizeof ranges->items[0], compare_led);
}

/* ---- who leads ---- */

static bool inside(const Chord__V1__Range *range, ProtobufCBinaryData x) {
    struct ring_id at;
    return id_from_wire(&at, x.data, x.len) && ring_range_has(range, &at);
}

static void check_overlap(struct check *check, const struct led *led, const struct led *next,
                          unsigned m) {
    const Chord__V1__Range *range = view_of(led)->range, *after = view_of(next)->range;
    struct range_text text = range_text(range, m);
    if (!inside(range, after->hi) && !inside(after, range->hi)) {
        return;
    }
    if (view_of(led)->epoch == view_of(next)->epoch) {
        check_find(check, CHECKUP_FAIL, "this is a bug: keep the logs of both nodes",
                   "nodes %s and %s both lead a part of %s at the same epoch", led->node->id,
                   next->node->id, text.text);
    } else {
        check_find(check, CHECKUP_WARN, "look again: the older one notices and serves no more",
                   "nodes %s and %s both believe to lead a part of %s, at different epochs",
                   led->node->id, next->node->id, text.text);
    }
}

static void check_leaders(struct checkup *checkup, const struct ranges *ranges) {
    const struct survival *survival = &checkup->verdict.survival;
    struct check *check =
        check_of_members(checkup, "leaders", "every key has exactly one leader, and it serves");
    if (ranges->count == 0) {
        check_find(check, CHECKUP_FAIL, "start the nodes that are missing",
                   "nobody leads any range");
    } else if (!survival->all_led) {
        const Chord__V1__Range gap = {.lo = survival->gap_lo, .hi = survival->gap_hi};
        check_find(check, CHECKUP_FAIL,
                   "start the nodes that are missing; if their disks are lost for good: "
                   "chordctl recover",
                   "nobody leads the keys %s", range_text(&gap, ranges->m).text);
    }
    for (size_t i = 0; i < ranges->count; i++) {
        const struct led *led = &ranges->items[i];
        if (led->range->state != CHORD__V1__RANGE_STATE__RANGE_STATE_OPEN) {
            check_find(check, CHECKUP_WARN, "wait; when it stays so, look which nodes are down",
                       "the range %s of node %s is not open yet",
                       range_text(view_of(led)->range, ranges->m).text, led->node->id);
        }
        if (ranges->count > 1) {
            check_overlap(check, led, &ranges->items[(i + 1) % ranges->count], ranges->m);
        }
    }
}

static void check_owners(struct checkup *checkup, const struct ranges *ranges) {
    struct check *check =
        check_of_members(checkup, "owners", "each range is led by its owner on the ring");
    for (size_t i = 0; i < ranges->count && checkup->members_count > 0; i++) {
        const struct led *led = &ranges->items[i];
        const struct ring_node *owner = checkup->members[0]; /* also of what lies beyond the last */
        for (size_t k = checkup->members_count; k-- > 0;) {
            if (id_order(view_of(led)->range->hi, checkup->members[k]->status->self->id) <= 0) {
                owner = checkup->members[k];
            }
        }
        if (owner != led->node) {
            check_find(check, CHECKUP_WARN, "wait: it is handed over once copies are complete",
                       "the range %s belongs to node %s and is still led by %s",
                       range_text(view_of(led)->range, ranges->m).text, owner->id, led->node->id);
        }
    }
}

/* ---- what members say of it ---- */

static bool members_same(const Chord__V1__View *a, const Chord__V1__View *b) {
    bool same = a->n_members == b->n_members && a->leader == b->leader;
    for (size_t i = 0; same && i < a->n_members; i++) {
        same = id_order(a->members[i]->store_id, b->members[i]->store_id) == 0;
    }
    return same;
}

/* The newest view that a node has over the last id of a range; NULL: none. */
static const Chord__V1__View *view_at(const Chord__V1__StatusResponse *status,
                                      const Chord__V1__Range *range) {
    const Chord__V1__View *newest = NULL;
    for (size_t i = 0; i < status->n_ranges; i++) {
        const Chord__V1__View *view = status->ranges[i]->view;
        if (view != NULL && view->range != NULL && inside(view->range, range->hi) &&
            (newest == NULL || view->epoch > newest->epoch)) {
            newest = view;
        }
    }
    return newest;
}

static void check_member(struct check *check, const struct led *led, const struct ring_node *member,
                         unsigned m) {
    const Chord__V1__View *of = view_of(led);
    const Chord__V1__View *view = view_at(member->status, of->range);
    struct range_text text = range_text(of->range, m);
    bool same_range = view != NULL && id_order(view->range->lo, of->range->lo) == 0 &&
                      id_order(view->range->hi, of->range->hi) == 0;
    if (view == NULL || view->epoch < of->epoch) {
        check_find(check, CHECKUP_WARN, "wait: the leader tells it",
                   "node %s has not switched to the view of %s at epoch %llu yet", member->id,
                   text.text, (unsigned long long)of->epoch);
    } else if (view->epoch > of->epoch) {
        check_find(check, CHECKUP_WARN, "look again: a change is under way",
                   "node %s has a newer view of %s than its leader %s", member->id, text.text,
                   led->node->id);
    } else if (!same_range || !members_same(view, of)) {
        check_find(check, CHECKUP_FAIL, "this is a bug: keep the logs and databases of both nodes",
                   "nodes %s and %s have different views of %s for the same epoch %llu", member->id,
                   led->node->id, text.text, (unsigned long long)of->epoch);
    }
}

static void check_views(struct checkup *checkup, const struct ranges *ranges) {
    struct check *check = check_of_members(
        checkup, "views", "all members of each range that answer have the same view");
    for (size_t i = 0; i < ranges->count; i++) {
        const Chord__V1__View *view = view_of(&ranges->items[i]);
        for (size_t k = 0; k < view->n_members; k++) {
            for (size_t n = 0; n < checkup->members_count; n++) {
                const struct ring_node *node = checkup->members[n];
                if (strcmp(node->address, view->members[k]->address) == 0) {
                    check_member(check, &ranges->items[i], node, ranges->m);
                }
            }
        }
    }
}

static void check_copies(struct checkup *checkup, const struct ranges *ranges) {
    char passed[120];
    unsigned wanted = checkup->verdict.copies_wanted;
    snprintf(passed, sizeof passed, "every range has %u of %u complete copies", wanted, wanted);
    struct check *check = check_of_members(checkup, "copies", passed);
    for (size_t i = 0; i < ranges->count; i++) {
        const struct led *led = &ranges->items[i];
        const Chord__V1__View *view = view_of(led);
        struct range_text text = range_text(view->range, ranges->m);
        if (led->range->copies < view->n_members / 2 + 1) {
            check_find(check, CHECKUP_FAIL,
                       "start the members that are down; if their disks are lost for good: "
                       "chordctl recover",
                       "the range %s has %u complete copies of %zu: no majority", text.text,
                       led->range->copies, view->n_members);
        } else if (led->range->copies < wanted) {
            check_find(check, CHECKUP_WARN, "wait: they are made complete again",
                       "the range %s has %u of %u complete copies", text.text, led->range->copies,
                       wanted);
        }
    }
}

static void check_recovered(struct checkup *checkup, const struct ranges *ranges) {
    struct check *check =
        check_of_members(checkup, "recovered", "no range has ever gone on without a majority");
    for (size_t i = 0; i < ranges->count; i++) {
        const Chord__V1__View *view = view_of(&ranges->items[i]);
        if (view->recovered) {
            check_find(
                check, CHECKUP_WARN, "compare with your own records; the mark stays",
                "the range %s was recovered by hand once: acknowledged writes may be missing",
                range_text(view->range, ranges->m).text);
        }
    }
}

void checkup_ranges(struct checkup *checkup) {
    struct ranges ranges;
    collect(checkup, &ranges);
    check_leaders(checkup, &ranges);
    check_owners(checkup, &ranges);
    check_views(checkup, &ranges);
    check_copies(checkup, &ranges);
    check_recovered(checkup, &ranges);
    free(ranges.items);
}

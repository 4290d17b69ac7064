/* SPDX-License-Identifier: MIT */
/*
 * The table of views: for each key id the newest view that this store knows. Views never overlap
 * here; a newer one cuts what it covers out of the older ones. Even when a store has nothing to do
 * with a range any more it remembers the last epoch, so that a late copy of an older decision is
 * refused: when stores forgot it, such a copy once made a second leader. A range is named by its
 * interval, so no id of its own is needed: along the history of any key id epochs only rise.
 */
#include "data.h"

enum { PIECES_MAX = 8 }; /* slots that a decision of two views may need at once */

void member_of_peer(const struct chord_peer *peer, struct chord_member *member) {
    memcpy(member->store_id, peer->store_id, CHORD_STORE_ID_BYTES);
    memcpy(member->address, peer->address, CHORD_ADDRESS_BYTES);
}

uint16_t view_member(const struct chord_view *view, const uint8_t *store_id) {
    for (uint16_t i = 0; i < view->members_count; i++) {
        if (store_same(view->members[i].store_id, store_id)) {
            return i;
        }
    }
    return NONE;
}

uint16_t view_self(const struct chord *chord, const struct chord_view *view) {
    return view_member(view, chord->self.store_id);
}

bool view_leads(const struct chord *chord, const struct chord_view *view) {
    return seated(chord, &view->members[view->leader]);
}

struct range *range_led(struct chord *chord, uint16_t index) {
    struct range *range = range_at(chord, index);
    return range->used && range->lived && !range->view.cut && view_leads(chord, &range->view)
               ? range
               : NULL;
}

uint64_t view_next_epoch(const struct range *range) {
    return (range->view.epoch > range->epoch_floor ? range->view.epoch : range->epoch_floor) + 1;
}

void view_owner_change(struct chord *chord, const struct range *range, struct chord_view *next) {
    *next = range->view;
    next->epoch = view_next_epoch(range);
    next->leader = view_self(chord, &range->view);
    next->settled = false;
    if (view_follows(chord, &range->view)) {
        view_readdress(chord, next);
    }
}

unsigned view_majority(const struct chord_view *view) {
    return view->members_count / 2u + 1;
}

bool range_all_equal(const struct range *range) {
    uint64_t all = ((uint64_t)1 << range->view.members_count) - 1;
    return (range->switched & range->synced & all) == all;
}

static bool whole(const struct chord_range *range) {
    return id_equal(&range->lo, &range->hi);
}

bool range_contains(const struct chord_range *range, const struct chord_id *id) {
    return id_in_half_open(&range->lo, id, &range->hi);
}

bool ranges_overlap(const struct chord_range *a, const struct chord_range *b) {
    return whole(a) || whole(b) || range_contains(a, &b->hi) || range_contains(b, &a->hi);
}

/* a minus b into pieces; how many: 0..2. */
static unsigned subtract(const struct chord_range *a, const struct chord_range *b,
                         struct chord_range pieces[2]) {
    if (!ranges_overlap(a, b)) {
        pieces[0] = *a;
        return 1;
    }
    if (whole(b)) {
        return 0;
    }
    if (whole(a)) {
        pieces[0] = (struct chord_range){b->hi, b->lo};
        return 1;
    }
    bool lo_inside = id_in_open(&a->lo, &b->lo, &a->hi);
    bool hi_inside = id_in_open(&a->lo, &b->hi, &a->hi);
    if (lo_inside && hi_inside && !id_in_open(&b->lo, &b->hi, &a->hi)) {
        pieces[0] = (struct chord_range){b->hi, b->lo}; /* b covers both ends of a */
        return 1;
    }
    unsigned count = 0;
    if (lo_inside) {
        pieces[count++] = (struct chord_range){a->lo, b->lo};
    }
    if (hi_inside) {
        pieces[count++] = (struct chord_range){b->hi, a->hi};
    }
    return count;
}

bool range_covers(const struct chord_range *outer, const struct chord_range *inner) {
    struct chord_range pieces[2];
    return subtract(inner, outer, pieces) == 0;
}

uint16_t range_find(struct chord *chord, const struct chord_id *id) {
    for (uint16_t i = 0; i < chord->ranges_end; i++) {
        if (range_at(chord, i)->used && range_contains(&range_at(chord, i)->view.range, id)) {
            return i;
        }
    }
    return NONE;
}

struct range *range_held(struct chord *chord, const struct chord_id *id) {
    uint16_t index = range_find(chord, id);
    struct range *range = index != NONE ? range_at(chord, index) : NULL;
    return range != NULL && !range->view.cut && view_self(chord, &range->view) != NONE ? range
                                                                                       : NULL;
}

uint16_t range_exact(struct chord *chord, const struct chord_range *range, uint64_t epoch) {
    uint16_t index = range_find(chord, &range->hi);
    const struct chord_view *view = index != NONE ? &range_at(chord, index)->view : NULL;
    return view != NULL && !view->cut && view->epoch == epoch &&
                   id_equal(&view->range.lo, &range->lo) && id_equal(&view->range.hi, &range->hi)
               ? index
               : NONE;
}

uint16_t range_at_epoch(struct chord *chord, const struct chord_range *range, uint64_t epoch) {
    uint16_t index = range_find(chord, &range->hi);
    const struct chord_view *view = index != NONE ? &range_at(chord, index)->view : NULL;
    return view != NULL && !view->cut && view->epoch == epoch && range_covers(&view->range, range)
               ? index
               : NONE;
}

uint16_t range_newest(struct chord *chord, const struct chord_range *range) {
    uint16_t newest = NONE;
    for (uint16_t i = 0; i < chord->ranges_end; i++) {
        struct range *other = range_at(chord, i);
        if (other->used && ranges_overlap(&other->view.range, range) &&
            (newest == NONE || other->view.epoch > range_at(chord, newest)->view.epoch ||
             (other->view.epoch == range_at(chord, newest)->view.epoch && !other->view.cut))) {
            newest = i;
        }
    }
    return newest;
}

bool range_add(struct chord *chord, const struct chord_view *view, uint16_t *index) {
    *index = range_free(chord);
    if (*index == NONE) {
        return false;
    }
    struct range *range = range_at(chord, *index);
    memset(range, 0, sizeof *range);
    range->used = true;
    range->serial = serial_new(chord);
    range->view = *view;
    range->lived = true;
    if (*index >= chord->ranges_end) {
        chord->ranges_end = (uint16_t)(*index + 1);
    }
    return true;
}

void range_remove(struct step *step, uint16_t index) {
    struct chord *chord = step->chord;
    range_at(chord, index)->used = false;
    while (chord->ranges_end > 0 && !range_at(chord, (uint16_t)(chord->ranges_end - 1))->used) {
        chord->ranges_end--;
    }
    execute_range_gone(step, range_ref(chord, index));
}

/* node/chord/README.md: A piece is no view. What a newer view leaves over of an older one keeps the
 * old epoch, as a memory: what follows that view is decided, so no store leads a piece or votes
 * about it. */
static bool cut_out(struct step *step, uint16_t index, const struct chord_range *covered) {
    struct chord *chord = step->chord;
    struct chord_range pieces[2];
    struct range old = *range_at(chord, index);
    struct chord_view view = old.view;
    unsigned count = subtract(&view.range, covered, pieces);
    range_remove(step, index);
    for (unsigned i = 0; i < count; i++) {
        uint16_t piece;
        view.range = pieces[i];
        view.cut = true;
        if (!range_add(chord, &view, &piece)) {
            return false;
        }
        range_at(chord, piece)->gone = old.gone;
        range_at(chord, piece)->learning = old.learning;
        range_at(chord, piece)->equal_epoch = old.equal_epoch;
    }
    return true;
}

/* Room in a full table: two neighbours that are only remembered become one with the greater epoch.
 * That may refuse a rightful view of the lower one; its leader then decides a higher epoch
 * (epoch_floor). */
static bool coalesce(struct step *step) {
    struct chord *chord = step->chord;
    for (uint16_t i = 0; i < chord->ranges_end; i++) {
        struct range *lower = range_at(chord, i);
        for (uint16_t k = 0; k < chord->ranges_end && lower->used && lower->gone; k++) {
            struct range *upper = range_at(chord, k);
            if (k == i || !upper->used || !upper->gone ||
                !id_equal(&lower->view.range.hi, &upper->view.range.lo)) {
                continue;
            }
            struct chord_id lo = lower->view.range.lo;
            struct chord_id hi = upper->view.range.hi;
            if (upper->view.epoch > lower->view.epoch) {
                lower->view = upper->view;
            }
            lower->view.range = (struct chord_range){lo, hi};
            lower->view.cut = true;
            range_remove(step, k);
            return true;
        }
    }
    return false;
}

bool range_room(struct step *step) {
    struct chord *chord = step->chord;
    unsigned used = 0;
    for (uint16_t i = 0; i < chord->ranges_end; i++) {
        used += range_at(chord, i)->used;
    }
    while (used + PIECES_MAX > chord->config.limits.views_max && coalesce(step)) {
        used--;
    }
    return used + PIECES_MAX <= chord->config.limits.views_max;
}

/* Deletions are forgotten when all members at their seats have them: their copies were equal then.
 * A copy of a disk that is older must not bring back what was deleted since. */
static bool forgets(const struct chord *chord, const struct chord_view *view) {
    uint16_t seat = view_self(chord, view);
    return view->floor == view->epoch && seat != NONE && seated(chord, &view->members[seat]);
}

bool range_install(struct step *step, const struct chord_view *view, uint16_t *index) {
    struct chord *chord = step->chord;
    *index = NONE;
    CHORD_ASSERT(!view->cut);
    for (uint16_t i = 0; i < chord->ranges_end; i++) {
        struct range *range = range_at(chord, i);
        if (range->used && ranges_overlap(&range->view.range, &view->range) &&
            range->view.epoch >= view->epoch) {
            return false; /* node/chord/README.md: Memory of epochs */
        }
    }
    if (!range_room(step)) {
        trace_view(step, CHORD_WORD_VIEW, CHORD_LEVEL_WARN, "no room for another view", view);
        return false;
    }
    uint64_t equal_epoch = UINT64_MAX; /* of the copy as it was; of two that become one the lower */
    for (uint16_t i = 0; i < chord->ranges_end; i++) {
        struct range *range = range_at(chord, i);
        if (range->used && range->view.epoch < view->epoch &&
            ranges_overlap(&range->view.range, &view->range)) {
            uint64_t one = range->gone ? 0 : range->equal_epoch;
            equal_epoch = one < equal_epoch ? one : equal_epoch;
            CHORD_ASSERT(cut_out(step, i, &view->range));
        }
    }
    CHORD_ASSERT(range_add(chord, view, index));
    range_at(chord, *index)->equal_epoch = forgets(chord, view)        ? view->epoch
                                           : equal_epoch == UINT64_MAX ? 0
                                                                       : equal_epoch;
    data_wake(chord);
    trace_view(step, CHORD_WORD_VIEW, CHORD_LEVEL_INFO,
               view_self(chord, view) != NONE ? "member of" : "not a member of", view);
    batches_wake(step);
    return true;
}

/* The part of `range` that lies in `other`. False: it is in two pieces, or there is none. */
static bool part_in(const struct chord_range *range, const struct chord_range *other,
                    struct chord_range *part) {
    struct chord_range outside[2], left[2];
    unsigned count = subtract(range, other, outside);
    *part = *range;
    for (unsigned i = 0; i < count; i++) {
        if (subtract(part, &outside[i], left) != 1) {
            return false;
        }
        *part = left[0];
    }
    return true;
}

bool range_remember(struct step *step, const struct chord_view *view) {
    struct chord *chord = step->chord;
    for (uint16_t i = 0; i < chord->ranges_end; i++) {
        struct range old = *range_at(chord, i);
        struct chord_view piece = *view;
        uint16_t index;
        if (!old.used || old.gone || old.view.epoch >= view->epoch ||
            !ranges_overlap(&old.view.range, &view->range) ||
            !part_in(&old.view.range, &view->range, &piece.range) || !range_room(step)) {
            continue;
        }
        piece.cut = true;
        CHORD_ASSERT(cut_out(step, i, &view->range) && range_add(chord, &piece, &index));
        range_at(chord, index)->equal_epoch = old.equal_epoch;
        data_wake(chord);
        trace_view(step, CHORD_WORD_VIEW, CHORD_LEVEL_INFO, "over meanwhile:", &piece);
        batches_wake(step);
        return true;
    }
    return false;
}

bool views_saved(const struct chord *chord) {
    return chord->views_saving == 0 && chord->views_retry_ms == 0;
}

struct store_op *views_save(struct step *step, enum store_purpose purpose, uint64_t request_id) {
    struct chord *chord = step->chord;
    struct chord_action *action;
    uint16_t slot = store_start(step, CHORD_STORE_VIEWS, purpose, NO_REF, request_id, &action);
    if (slot == NONE) {
        chord->views_retry_ms = chord->now_ms; /* what is not saved now is saved with the next */
        return NULL;
    }
    chord->views_saving++;
    return store_at(chord, slot);
}

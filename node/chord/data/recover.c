/* SPDX-License-Identifier: MIT */
/*
 * A majority of a range's copies is lost for good: a person says that the range is to go on with
 * those that are left. The view is written without a decision, far above every epoch that the
 * lost ones can have decided among themselves, and it is marked, as is everything that follows from
 * it: acknowledged writes may be missing. The protocol promises nothing across this step.
 */
#include "data.h"

enum { EPOCHS_ABOVE = 1000 };

/* Self, and the members that the ring knows as living. */
static struct chord_view survivors(struct chord *chord, const struct chord_view *old) {
    struct chord_view next = *old;
    next.members_count = 0;
    member_of_peer(&chord->self, &next.members[next.members_count++]);
    for (uint16_t i = 0; i < old->members_count; i++) {
        struct chord_member member = old->members[i];
        memcpy(member.address, member_address(chord, &member), CHORD_ADDRESS_BYTES);
        if (peer_at_seat(chord, &member) != NONE) {
            next.members[next.members_count++] = member;
        }
    }
    next.moved = false;
    next.leader = 0;
    next.epoch += EPOCHS_ABOVE;
    next.settled = false;
    next.recovered = true;
    return next;
}

const char *chord_recover_obstacle(const struct chord *constant, const struct chord_id *id) {
    struct chord *chord = reading(constant);
    if (chord->state != CHORD_STATE_MEMBER) {
        return "this node is no member of the ring";
    }
    const struct range *range = id_valid(id, chord->parameters.m) ? range_held(chord, id) : NULL;
    if (range == NULL) {
        return "this node holds no copy of that range";
    }
    struct chord_view next = survivors(chord, &range->view);
    if (next.members_count >= view_majority(&range->view)) {
        return "a majority of the range's members is in the ring: it heals by itself";
    }
    if (next.epoch > CHORD_EPOCH_MAX) {
        return "the range has been recovered too often";
    }
    return NULL;
}

void recover_start(struct step *step, const struct chord_id *id) {
    struct chord *chord = step->chord;
    uint16_t installed;
    if (chord_recover_obstacle(chord, id) != NULL) {
        return;
    }
    struct chord_view old = range_at(chord, range_find(chord, id))->view;
    struct chord_view next = survivors(chord, &old);
    if (!range_install(step, &next, &installed)) {
        return;
    }
    trace_view(step, CHORD_WORD_DECIDE, CHORD_LEVEL_WARN,
               "recovered by hand, acknowledged writes may be missing; led by", &next);
    views_save(step, STORE_VIEWS, 0);
    change_tell(step, &old, &next, 1);
}

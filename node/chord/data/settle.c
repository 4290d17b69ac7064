/* SPDX-License-Identifier: MIT */
/*
 * A new leader settles before it serves: it takes the newest rows of a majority, the best copy
 * among them, and makes a majority equal to itself (node/chord/README.md: Settle). The best copy is
 * the one that was made equal at the latest epoch: it says which of the older rows are the newest.
 */
#include "data.h"

enum { RETRY_MS = 400 };

/* node/chord/README.md: Repair. A damaged copy of ours counts as never made equal. */
uint64_t settle_own_epoch(struct chord *chord, const struct range *range) {
    return repair_needs(chord, range) > 0 ? 0 : range->equal_epoch;
}

/* node/chord/README.md: Settle. Once a better copy has told its equal_epoch, the pages of the
 * others are read by that epoch. */
void settle_heard(struct range *range, uint16_t member, uint64_t equal_epoch) {
    if (equal_epoch > range->settle_epoch) {
        range->settle_epoch = equal_epoch;
        range->settle_best = 0;
    }
    if (equal_epoch == range->settle_epoch) {
        range->settle_best |= bit(member);
    }
}

/* node/chord/README.md: Settle. The best copy was lost before it was read to its end: because of
 * what it had told, rows of the others were left out, so the others are read again. */
void settle_lost(struct step *step, uint16_t index, uint16_t member) {
    struct chord *chord = step->chord;
    struct range *range = range_at(chord, index);
    if (range->settled || (range->merged & bit(member)) || !(range->settle_best & bit(member))) {
        return;
    }
    range->settle_best &= ~bit(member);
    if (range->settle_best == 0 && range->settle_epoch > settle_own_epoch(chord, range)) {
        range->calling &= ~transfers_stop(chord, index);
        range->merged &= bit(view_self(chord, &range->view));
        range->settle_epoch = 0;
    }
}

/* Our pull from a member has ended, while settling. */
void settle_pulled(struct step *step, uint16_t index, uint16_t member, bool ok) {
    struct range *range = range_led(step->chord, index);
    if (range == NULL) {
        return;
    }
    range->calling &= ~bit(member);
    if (ok) {
        range->merged |= bit(member);
    } else {
        range->retry_ms = step->chord->now_ms + RETRY_MS;
        settle_lost(step, index, member);
    }
    data_wake(step->chord);
}

/* node/chord/README.md: Settle. First we take the newest rows from a majority that includes the
 * best copy, then we make a majority equal to us. Once the first part is done nothing more is
 * pulled: a row that came after a member had compared would be read here and lie on no majority. */
void settle_advance(struct step *step, uint16_t index) {
    struct range *range = range_at(step->chord, index);
    unsigned majority = view_majority(&range->view);
    unsigned copies = view_copies_needed(&range->view);
    unsigned others = repair_needs(step->chord, range);
    uint64_t self = bit(view_self(step->chord, &range->view));
    bool best = range->settle_epoch <= settle_own_epoch(step->chord, range) ||
                (range->merged & range->settle_best) != 0;
    bool merged =
        best && bits_count(range->merged) >= copies && bits_count(range->merged & ~self) >= others;
    if (merged) {
        range->calling &= ~transfers_stop(step->chord, index);
    }
    for (uint16_t i = 0; i < range->view.members_count; i++) {
        uint64_t me = bit(i);
        if (!(range->switched & me) || (range->calling & me)) {
            continue;
        }
        if (merged) {
            if (!(range->synced & me)) {
                leader_send_sync(step, index, i);
            }
        } else if (!(range->merged & me) && transfer_settle(step, index, i)) {
            range->calling |= me;
        }
    }
    if (merged && bits_count(range->synced & range->switched) >= majority) {
        range->settled = true;
        range->equal_epoch = range->view.epoch;
        views_save(step, STORE_VIEWS, 0);
        repair_settled(step->chord, range);
        trace_view(step, CHORD_WORD_SETTLE, CHORD_LEVEL_INFO, "a majority of copies is equal",
                   &range->view);
    }
}

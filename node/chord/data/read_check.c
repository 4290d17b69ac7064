/* SPDX-License-Identifier: MIT */
/*
 * Read confirmation: a read at the leader is current when a majority of the members, the leader
 * included, says after the read began that it is still at this epoch: then no write of a later
 * epoch was finished before the read began. One round of Check is out per range; reads that come
 * meanwhile share the next one. No clock, no lease.
 */
#include "data.h"

enum {
    RESEND_MS = 150,
    HEDGE_MS = 20,  /* so long those suffice that make a majority, */
    WIDE_MS = 1000, /* and once they did not, all are asked at once for so long */
};

/* Asks so many members of those that have not been, a different one first in each round. */
static void ask(struct step *step, uint16_t index, unsigned count) {
    struct chord *chord = step->chord;
    struct range *range = range_at(chord, index);
    uint16_t members = range->view.members_count;
    for (uint16_t k = 0; k < members && count > 0; k++) {
        uint16_t i = (uint16_t)((range->check.round + k) % members);
        struct chord_request *request;
        if (((range->check.agreed | range->check.calling) & bit(i)) ||
            call_member(step, CALL_CHECK, (struct ref){index, range->check.serial}, i,
                        &range->view.members[i], chord->config.timing.silence_ms_max,
                        &request) == NONE) {
            continue;
        }
        count--;
        range->check.calling |= bit(i);
        request->kind = CHORD_CHECK;
        request->rows.range = range->view.range;
        request->rows.epoch = range->view.epoch;
    }
}

static void ask_all(struct step *step, uint16_t index) {
    struct range *range = range_at(step->chord, index);
    ask(step, index, range->view.members_count);
    range->check.resend_ms = step->chord->now_ms + RESEND_MS;
}

static void begin(struct step *step, uint16_t index) {
    struct chord *chord = step->chord;
    struct range *range = range_at(chord, index);
    range->check.open = true;
    range->check.round++;
    range->check.serial = serial_new(chord); /* an answer to the round before is no answer */
    range->check.agreed = bit(view_self(chord, &range->view));
    range->check.calling = 0;
    if (chord->now_ms < range->check.wide_ms) {
        ask_all(step, index);
    } else {
        ask(step, index, view_majority(&range->view) - 1);
        range->check.resend_ms = chord->now_ms + HEDGE_MS;
    }
    batch_due(chord, range->check.resend_ms);
}

static bool round_done(struct step *step, uint16_t index) {
    struct range *range = range_at(step->chord, index);
    if (range->check.open && bits_count(range->check.agreed) >= view_majority(&range->view)) {
        range->check.open = false;
        range->check.done = range->check.round;
    }
    return !range->check.open;
}

/* The round that must end before a read that begins now is confirmed; 0 = it is already. */
uint64_t confirm_read(struct step *step, uint16_t index) {
    struct range *range = range_at(step->chord, index);
    if (range->check.open) {
        return range->check.round + 1;
    }
    begin(step, index);
    return round_done(step, index) ? 0 : range->check.round;
}

void confirm_reply(struct step *step, const struct call *call,
                   const struct chord_response *response) {
    struct chord *chord = step->chord;
    uint16_t index = call->subject.slot;
    struct range *range = range_at(chord, index);
    range->check.calling &= ~bit(call->member);
    if (response == NULL) {
        return; /* it is asked again as long as a read waits */
    }
    if (response->view.has_view) {
        leader_learn(step, &response->view.view);
        return;
    }
    range->check.agreed |= bit(call->member);
    if (round_done(step, index)) {
        struct ref same = range_ref(chord, index);
        if (execute_confirmed(step, index) && range_live(chord, same) && !range->check.open) {
            begin(step, index);
        }
    }
}

/* A read still waits for the range's round. */
void confirm_again(struct step *step, uint16_t index) {
    struct range *range = range_at(step->chord, index);
    if (range->check.open && range->check.resend_ms <= step->chord->now_ms) {
        range->check.wide_ms = step->chord->now_ms + WIDE_MS;
        ask_all(step, index);
    } else if (!range->check.open) {
        begin(step, index);
    }
}

/* SPDX-License-Identifier: MIT */
/*
 * The proposer of a decision (Lamport, "Paxos made simple", 2001): the next view of a range, or of
 * two that are merged. The leader of a view proposes at ballot 0 without asking first, once, and
 * only in the life in which it switched to the view; from then on it commits no write in that
 * epoch. Everybody else, and the leader when it is refused, prepares a ballot above 0 and proposes
 * what was accepted at the highest ballot. A ballot is used by one proposer once: its own acceptor
 * promises it, on disk, before Prepare leaves.
 */
#include "data.h"

/* ballot = (round << 38) + (a random number << 6) + seat: two processes with one store id have the
 * same seat, and must not use the same ballot. */
enum {
    ROUND_SHIFT = 38,
    SEAT_BITS = 6,
    SEATS = 1 << SEAT_BITS,
    RESEND_MS = 400,
    BACKOFF_MS_MIN = 30,
    BACKOFF_MS = 120,
    BACKOFF_TRIES_MAX = 10,
    ROOM = 90, /* actions of a decision and of telling it */
};
_Static_assert((int)SEATS >= (int)CHORD_REPLICAS_MAX, "a seat fits a ballot");

uint16_t decide_find(struct chord *chord, uint16_t index) {
    struct ref range = range_ref(chord, index);
    for (uint16_t i = 0; i < chord->config.limits.decisions_max; i++) {
        struct decision *decision = decision_at(chord, i);
        if (decision->stage != DECISION_FREE &&
            (ref_same(decision->range, range) || ref_same(decision->other, range))) {
            return i;
        }
    }
    return NONE;
}

static void due(struct chord *chord, uint64_t when_ms) {
    sooner(&chord->decisions_ms, when_ms);
}

/* ---- messages ---- */

static void send(struct step *step, uint16_t index, uint16_t seat) {
    struct chord *chord = step->chord;
    struct decision *decision = decision_at(chord, index);
    struct range *range = range_at(chord, decision->range.slot);
    struct range *other = range_of(chord, decision->other);
    bool prepare = decision->stage == DECISION_PREPARE;
    struct chord_request *request;
    struct chord_member member = range->view.members[seat];
    memcpy(member.address, member_address(chord, &member), CHORD_ADDRESS_BYTES);
    if (call_member(step, prepare ? CALL_PREPARE : CALL_ACCEPT, decision_ref(chord, index), seat,
                    &member, chord->config.timing.silence_ms_max, &request) == NONE) {
        return;
    }
    if (!address_same(member.address, range->view.members[seat].address)) {
        decision->away |= bit(seat);
    }
    decision->calling |= bit(seat);
    request->kind = prepare ? CHORD_PREPARE : CHORD_ACCEPT;
    request->decide.ballot = decision->ballot;
    request->decide.view = range->view;
    request->decide.joint = other != NULL;
    if (other != NULL) {
        request->decide.other = other->view;
    }
    if (!prepare) {
        request->decide.next = decision->next;
    }
}

static void send_all(struct step *step, uint16_t index) {
    struct chord *chord = step->chord;
    struct decision *decision = decision_at(chord, index);
    struct range *range = range_at(chord, decision->range.slot);
    uint16_t self = view_self(chord, &range->view);
    bool ready = decision->stage == DECISION_ACCEPT || decision->agreed & bit(self);
    for (uint16_t i = 0; i < range->view.members_count && ready; i++) {
        if (i != self && !((decision->agreed | decision->calling) & bit(i))) {
            send(step, index, i);
        }
    }
    decision->resend_ms = chord->now_ms + RESEND_MS;
    due(chord, decision->resend_ms);
}

/* ---- stages ---- */

static void save_own(struct step *step, uint16_t index) {
    struct decision *decision = decision_at(step->chord, index);
    struct store_op *store = views_save(step, STORE_VIEWS_OWN, 0);
    if (store == NULL) {
        decision->retry_ms = step->chord->now_ms + BACKOFF_MS;
        due(step->chord, decision->retry_ms);
        return;
    }
    store->subject = decision_ref(step->chord, index);
    store->ballot = decision->ballot;
}

/* Two proposers can disturb each other for ever (Paxos made simple, section 2.4). So each tries
 * another ballot after a random time, which grows with each try. */
static void back_off(struct step *step, struct decision *decision) {
    struct chord *chord = step->chord;
    decision->tries =
        decision->tries < BACKOFF_TRIES_MAX ? decision->tries + 1u : BACKOFF_TRIES_MAX;
    decision->retry_ms = chord->now_ms + random_between(chord, BACKOFF_MS_MIN,
                                                        (uint64_t)BACKOFF_MS * decision->tries);
    due(chord, decision->retry_ms);
}

static void new_round(struct chord *chord, struct decision *decision, enum decision_stage stage) {
    struct range *range = range_at(chord, decision->range.slot);
    decision->stage = stage;
    decision->serial = serial_new(chord); /* answers to the round before are ignored */
    uint16_t self = view_self(chord, &range->view);
    decision->agreed = decision->calling = 0;
    decision->away = seated(chord, &range->view.members[self]) ? 0 : bit(self);
    decision->retry_ms = 0;
    decision->resend_ms = chord->now_ms + RESEND_MS;
    due(chord, decision->resend_ms);
}

/* Paxos made simple, phase 2a: our own acceptor accepts first, then the others are asked. */
static void begin_accept(struct step *step, uint16_t index) {
    struct chord *chord = step->chord;
    struct decision *decision = decision_at(chord, index);
    struct range *range = range_at(chord, decision->range.slot);
    new_round(chord, decision, DECISION_ACCEPT);
    if (!acceptor_accept(range, range_of(chord, decision->other), decision->ballot,
                         &decision->next)) {
        back_off(step, decision);
        return;
    }
    send_all(step, index);
    save_own(step, index);
}

/* Paxos made simple, phase 1a: a ballot above all that we have heard of, which our own acceptor
 * promises, on disk, before Prepare leaves. */
static void begin_prepare(struct step *step, uint16_t index) {
    struct chord *chord = step->chord;
    struct decision *decision = decision_at(chord, index);
    struct range *range = range_at(chord, decision->range.slot);
    struct range *other = range_of(chord, decision->other);
    uint64_t highest = decision->highest;
    highest = range->acceptor.promised > highest ? range->acceptor.promised : highest;
    if (other != NULL && other->acceptor.promised > highest) {
        highest = other->acceptor.promised;
    }
    new_round(chord, decision, DECISION_PREPARE);
    decision->found = decision->other_found = false;
    decision->ballot = ((highest >> ROUND_SHIFT) + 1) << ROUND_SHIFT |
                       random_between(chord, 0, (1ull << (ROUND_SHIFT - SEAT_BITS)) - 1)
                           << SEAT_BITS |
                       view_self(chord, &range->view);
    CHORD_ASSERT(acceptor_promise(range, other, decision->ballot));
    save_own(step, index);
}

/* ---- what the acceptors have told ---- */

static void end(struct decision *decision) {
    memset(decision, 0, sizeof *decision);
}

/* Paxos made simple, phase 2a: of the accepted values, the one with the highest ballot. */
static void found(struct decision *decision, const struct chord_response *response) {
    if (response->decide.has_accepted &&
        (!decision->found || response->decide.accepted_ballot > decision->found_ballot)) {
        decision->found = true;
        decision->found_ballot = response->decide.accepted_ballot;
        decision->next = response->decide.view;
        decision->found_epoch = response->decide.other_epoch;
    }
    if (response->decide.other_accepted &&
        (!decision->other_found || response->decide.other_ballot > decision->other_ballot)) {
        decision->other_found = true;
        decision->other_ballot = response->decide.other_ballot;
    }
}

/* An acceptor accepted a merge, and we asked about this range alone: ask about both. */
static void join_other(struct step *step, uint16_t index) {
    struct chord *chord = step->chord;
    struct decision *decision = decision_at(chord, index);
    struct range *range = range_at(chord, decision->range.slot);
    struct chord_range rest = decision_other(&range->view, &decision->next);
    uint16_t other = range_exact(chord, &rest, decision->found_epoch);
    if (other == NONE) {
        /* We do not know whether the merge was chosen or lost; a member that does will tell us. */
        trace_view(step, CHORD_WORD_DECIDE, CHORD_LEVEL_WARN, "a merge is open; waits to learn",
                   &range->view);
        back_off(step, decision);
        return;
    }
    decision->other = range_ref(chord, other);
    begin_prepare(step, index);
}

/* Paxos made simple, phase 2a: a majority has promised, so the value accepted at the highest
 * ballot is proposed, or our own when none was accepted. */
static void prepared(struct step *step, uint16_t index) {
    struct chord *chord = step->chord;
    struct decision *decision = decision_at(chord, index);
    struct range *range = range_at(chord, decision->range.slot);
    struct range *other = range_of(chord, decision->other);
    bool merge = decision->found && decision_joint(&range->view, &decision->next);
    if (merge) {
        struct chord_range rest = decision_other(&range->view, &decision->next);
        if (decision_lost(chord, &rest, decision->found_epoch, &decision->next)) {
            decision->found = merge = false;
        }
    }
    /* A merge is accepted in both instances or in neither: it cannot be proposed in one alone. */
    if (merge && other == NULL) {
        join_other(step, index);
        return;
    }
    if (merge && decision->other_found && decision->other_ballot > decision->found_ballot) {
        decision->found = false; /* a higher ballot accepted there: the merge was not chosen */
    }
    merge = decision->found && merge;
    if (!decision->found) {
        decision->next = decision->wanted;
        merge = decision_joint(&range->view, &decision->next);
        if (merge && (other == NULL || decision->other_found)) {
            /* The other range has its own decision: this one goes on alone. */
            view_owner_change(chord, range, &decision->wanted);
            decision->next = decision->wanted;
            merge = false;
        }
    }
    if (!merge) {
        decision->other = NO_REF;
        other = NULL;
    }
    if (decision_valid(&range->view, other != NULL ? &other->view : NULL, &decision->next)) {
        begin_accept(step, index);
    } else {
        back_off(step, decision); /* an acceptor reports a value that cannot be decided */
    }
}

static void majority_reached(struct step *step, uint16_t index) {
    struct chord *chord = step->chord;
    struct decision *decision = decision_at(chord, index);
    if (decision->stage == DECISION_PREPARE) {
        prepared(step, index);
        return;
    }
    struct decision chosen = *decision;
    end(decision);
    change_decided(step, chosen.range.slot, chosen.other.slot, &chosen.next);
}

/* Our own acceptor always counts: its promise keeps the ballot ours. A majority of the seats
 * decides, or enough stores that two decisions share at least one that is not copied
 * (node/chord/README.md: Seats). */
static bool majority(struct chord *chord, const struct decision *decision) {
    struct range *range = range_at(chord, decision->range.slot);
    uint64_t self = bit(view_self(chord, &range->view));
    return (decision->agreed & self) &&
           (bits_count(decision->agreed & ~decision->away) >= view_majority(&range->view) ||
            bits_count(decision->agreed) >= view_move_quorum(&range->view));
}

static void agree(struct step *step, uint16_t index, uint16_t seat) {
    struct decision *decision = decision_at(step->chord, index);
    decision->agreed |= bit(seat);
    if (majority(step->chord, decision) && action_room(step, ROOM)) {
        majority_reached(step, index);
    }
}

/* Our own acceptor is on disk. */
void decide_stored(struct step *step, const struct store_op *store, bool ok) {
    struct chord *chord = step->chord;
    uint16_t index = store->subject.slot;
    struct decision *decision = decision_at(chord, index);
    struct range *range = range_of(chord, decision->range);
    if (!decision_live(chord, store->subject) || range == NULL) {
        return;
    }
    if (!ok || range->acceptor.promised != store->ballot) {
        back_off(step, decision);
        return;
    }
    uint16_t self = view_self(chord, &range->view);
    decision->agreed |= bit(self);
    if (decision->stage == DECISION_PREPARE) {
        struct chord_response own;
        memset(&own, 0, sizeof own);
        acceptor_tell(chord, range, range_of(chord, decision->other), &own);
        found(decision, &own);
        send_all(step, index);
    }
    agree(step, index, self);
}

void decide_reply(struct step *step, const struct call *call,
                  const struct chord_response *response) {
    struct chord *chord = step->chord;
    struct decision *decision = decision_at(chord, call->subject.slot);
    struct range *range = range_of(chord, decision->range);
    decision->calling &= ~bit(call->member);
    if (range == NULL || response == NULL) {
        return; /* asked again with the next resend */
    }
    if (response->decide.has_view) {
        leader_learn(step, &response->decide.view);
        return;
    }
    /* Paxos made simple, section 2.2: a proposer that hears of a higher ballot abandons its own. */
    if (response->decide.refused) {
        if (response->decide.promised > decision->highest &&
            response->decide.promised <= CHORD_BALLOT_MAX) {
            decision->highest = response->decide.promised;
        }
        if (decision->retry_ms == 0) {
            back_off(step, decision);
        }
        return;
    }
    if (response->decide.has_accepted && !view_valid(chord, &response->decide.view)) {
        return;
    }
    if (decision->stage == DECISION_PREPARE) {
        found(decision, response);
    }
    agree(step, call->subject.slot, call->member);
}

/* ---- begin, time ---- */

bool decide_start(struct step *step, uint16_t index, uint16_t other,
                  const struct chord_view *next) {
    struct chord *chord = step->chord;
    uint16_t slot = decision_free(chord);
    if (slot == NONE || !action_room(step, 48)) {
        return false;
    }
    struct decision *decision = decision_at(chord, slot);
    struct range *range = range_at(chord, index);
    struct range *second = other != NONE ? range_at(chord, other) : NULL;
    end(decision);
    decision->range = range_ref(chord, index);
    decision->other = second != NULL ? range_ref(chord, other) : NO_REF;
    decision->wanted = decision->next = *next;
    /* node/chord/README.md: Decision. Ballot 0 needs no phase 1: only the leader uses it, and only
     * once. */
    bool first = view_leads(chord, &range->view) && range->lived && !range->closed &&
                 (second == NULL || !second->closed);
    if (!first) {
        begin_prepare(step, slot);
        return true;
    }
    range->closed = true;
    if (second != NULL) {
        second->closed = true;
    }
    begin_accept(step, slot);
    return true;
}

void decisions_tick(struct step *step) {
    struct chord *chord = step->chord;
    if (chord->decisions_ms > chord->now_ms) {
        return;
    }
    chord->decisions_ms = UINT64_MAX;
    for (uint16_t i = 0; i < chord->config.limits.decisions_max; i++) {
        struct decision *decision = decision_at(chord, i);
        if (decision->stage == DECISION_FREE) {
            continue;
        }
        if (!action_room(step, ROOM)) {
            due(chord, chord->now_ms);
            return;
        }
        if (range_of(chord, decision->range) == NULL) {
            end(decision); /* decided */
            continue;
        }
        if (decision->other.slot != NONE && range_of(chord, decision->other) == NULL) {
            /* The other range has a newer view: it is the merge with ours, or the merge is lost. */
            decision->other = NO_REF;
            decision->retry_ms = chord->now_ms;
        }
        if (decision->retry_ms != 0 && decision->retry_ms <= chord->now_ms) {
            begin_prepare(step, i);
        } else if (decision->retry_ms == 0 && majority(chord, decision)) {
            majority_reached(step, i);
        } else if (decision->resend_ms <= chord->now_ms && decision->retry_ms == 0) {
            send_all(step, i);
        }
        if (decision->stage != DECISION_FREE) {
            due(chord, decision->retry_ms != 0 ? decision->retry_ms : decision->resend_ms);
        }
    }
}

/* SPDX-License-Identifier: MIT */
/*
 * The local invariant: what is true of one member's state after every step, whatever the others
 * said. The rules of the ring are Zave's (2017, section 4), as far as one node can see them; the
 * others say that every index leads to something in use, and that whatever waits is waited for.
 * It reads all of the state and changes none of it. What only holds between nodes is not here.
 *
 * Deliberately no rule: that a member has a successor (all of its list may have died, and the way
 * back takes a while), that fingers are right (they are hints), that the predecessor precedes
 * (rectify decides that with an answer, which may be old).
 */
#include "data.h"
#include "ring.h"

/* What is under way, counted over the tables in one pass each. */
struct counts {
    unsigned join_calls, query_calls, lookup_calls, watch_calls, forward_calls, apply_calls;
    unsigned predecessor_calls, views_stores;
    unsigned transfer_waits; /* calls and store operations whose end a transfer awaits */
    unsigned finger_lookups, join_lookups, batch_lookups, lookups, lookup_paths;
    unsigned writing_batches, looking_batches, forwarded_batches, batches_with_keys;
};

static bool peer_used(struct chord *chord, uint16_t index) {
    return index < chord->config.limits.peers_max && peer_at(chord, index)->peer.incarnation != 0;
}

/* ---- the ring ---- */

static const char *peers_broken(struct chord *chord) {
    for (uint16_t i = 0; i < chord->config.limits.peers_max; i++) {
        const struct peer_entry *entry = peer_at(chord, i);
        if (entry->peer.incarnation == 0) {
            continue;
        }
        if (!peer_valid(chord, &entry->peer)) {
            return "a known peer has no address or an id of 2^M or more";
        }
        if (entry->strikes > STRIKES_MAX) {
            return "a peer has more strikes than make it failed";
        }
    }
    return NULL;
}

static const char *successors_broken(struct chord *chord) {
    if (chord->successors_count > CHORD_SUCCESSORS_MAX ||
        chord->successors_count > chord->parameters.n) {
        return "the successor list is longer than N";
    }
    const struct chord_id *before = &chord->self.id;
    for (uint16_t i = 0; i < chord->successors_count; i++) {
        if (!peer_used(chord, chord->successors[i])) {
            return "a successor is not a known peer";
        }
        const struct chord_id *id = &successor_at(chord, i)->id;
        if (id_equal(id, &chord->self.id)) {
            return "the successor list contains self";
        }
        if (i > 0 && id_equal(id, before)) {
            return "the successor list contains a duplicate";
        }
        if (!id_in_open(before, id, &chord->self.id)) {
            return "the successor list is not in clockwise order from self";
        }
        before = id;
    }
    return NULL;
}

/* A notifier or predecessor: none, or a known peer other than self. */
static bool neighbour_good(struct chord *chord, uint16_t index) {
    return index == NONE ||
           (peer_used(chord, index) && !id_equal(&peer_at(chord, index)->peer.id, &chord->self.id));
}

static const char *neighbours_broken(struct chord *chord) {
    if (!neighbour_good(chord, chord->predecessor)) {
        return "the predecessor is self or not a known peer";
    }
    if (!neighbour_good(chord, chord->candidate)) {
        return "the candidate for rectify is self or not a known peer";
    }
    if (!in_ring(chord) && (chord->successors_count > 0 || chord->predecessor != NONE ||
                            chord->candidate != NONE || chord->query.kind != QUERY_NONE)) {
        return "a node that is no member has neighbours";
    }
    for (unsigned i = 0; i < CHORD_M_MAX; i++) {
        uint16_t finger = chord->fingers[i];
        if (finger != NONE && finger != FINGER_SELF && !peer_used(chord, finger)) {
            return "a finger is not a known peer";
        }
        if (finger != NONE && i >= chord->parameters.m) {
            return "there are more than M fingers";
        }
    }
    return NULL;
}

static const char *state_broken(const struct chord *chord) {
    if (chord->state > CHORD_STATE_LEFT) {
        return "the node's state has no name";
    }
    if (chord->state != CHORD_STATE_NONE && chord->self.incarnation == 0) {
        return "a started node has no incarnation";
    }
    if (in_ring(chord) && !id_valid(&chord->self.id, chord->parameters.m)) {
        return "a member's id is 2^M or more";
    }
    return NULL;
}

/* ---- what is asked, and awaited ---- */

static bool call_indices_good(const struct chord *chord, const struct call *call) {
    const struct chord_limits *limits = &chord->config.limits;
    if ((call->peer != NONE && call->peer >= limits->peers_max) ||
        (call->member != NONE && call->member >= CHORD_REPLICAS_MAX)) {
        return false;
    }
    switch (call->purpose) {
    case CALL_GENESIS:
        return call->subject < CHORD_REPLICAS_MAX;
    case CALL_LOOKUP:
        return call->subject < limits->lookups_max;
    case CALL_GRAVEYARD:
        return call->subject < graves_max(&chord->config.limits);
    case CALL_WATCH:
    case CALL_DECIDED:
    case CALL_SYNC:
    case CALL_CHECK:
        return call->subject < limits->views_max;
    case CALL_PREPARE:
    case CALL_ACCEPT:
        return call->subject < limits->decisions_max;
    case CALL_DIGEST:
    case CALL_TRANSFER:
        return call->subject < limits->transfers_max;
    case CALL_APPLY:
        return call->subject < limits->batches_max && call->range < limits->views_max;
    case CALL_FORWARD:
        return call->subject < limits->batches_max;
    default:
        return call->purpose <= CALL_FORWARD;
    }
}

static bool range_live(struct chord *chord, uint16_t index, uint32_t serial) {
    return range_at(chord, index)->used && range_at(chord, index)->serial == serial;
}

static bool transfer_live(struct chord *chord, uint16_t index, uint32_t serial) {
    return transfer_at(chord, index)->stage != TRANSFER_FREE &&
           transfer_at(chord, index)->serial == serial;
}

static bool batch_live(struct chord *chord, uint16_t index, uint32_t serial) {
    return batch_at(chord, index)->state != BATCH_FREE && batch_at(chord, index)->serial == serial;
}

static void call_count(struct chord *chord, const struct call *call, struct counts *counts) {
    switch (call->purpose) {
    case CALL_JOIN:
        counts->join_calls += call->serial == chord->join.serial;
        break;
    case CALL_QUERY:
        counts->query_calls += call->serial == chord->query.serial;
        break;
    case CALL_LOOKUP:
        counts->lookup_calls += lookup_at(chord, call->subject)->purpose != LOOKUP_FREE &&
                                lookup_at(chord, call->subject)->serial == call->serial;
        break;
    case CALL_CHECK_PREDECESSOR:
        counts->predecessor_calls++;
        break;
    case CALL_WATCH:
        counts->watch_calls += range_live(chord, call->subject, call->serial);
        break;
    case CALL_DIGEST:
    case CALL_TRANSFER:
        counts->transfer_waits += transfer_live(chord, call->subject, call->serial);
        break;
    case CALL_APPLY:
        counts->apply_calls += range_live(chord, call->range, call->range_serial);
        break;
    case CALL_FORWARD:
        counts->forward_calls += batch_live(chord, call->subject, call->serial);
        break;
    default:
        break;
    }
}

static const char *calls_broken(struct chord *chord, struct counts *counts) {
    for (uint16_t i = 0; i < chord->config.limits.calls_max; i++) {
        const struct call *call = call_at(chord, i);
        if (call->purpose == CALL_FREE) {
            continue;
        }
        if (!call_indices_good(chord, call)) {
            return "a call is about something outside its table";
        }
        call_count(chord, call, counts);
    }
    return NULL;
}

static const char *stores_broken(struct chord *chord, struct counts *counts) {
    const struct chord_limits *limits = &chord->config.limits;
    for (uint16_t i = 0; i < limits->calls_max; i++) {
        const struct store_op *store = store_at(chord, i);
        switch (store->purpose) {
        case STORE_VIEWS:
        case STORE_VIEWS_DECIDED:
            counts->views_stores++;
            break;
        case STORE_VIEWS_PREPARE:
        case STORE_VIEWS_ACCEPT:
        case STORE_VIEWS_OWN:
            counts->views_stores++;
            if (store->subject >=
                (store->purpose == STORE_VIEWS_OWN ? limits->decisions_max : limits->views_max)) {
                return "a store operation is about something outside its table";
            }
            break;
        case STORE_BATCH_READ:
        case STORE_BATCH_EXAMINE:
        case STORE_BATCH_WRITE:
            if (store->subject >= limits->batches_max) {
                return "a store operation is about something outside its table";
            }
            break;
        case STORE_TOMBSTONES:
            if (store->subject >= limits->views_max) {
                return "a store operation is about something outside its table";
            }
            break;
        case STORE_DIGEST_OWN:
        case STORE_PULLED:
            if (store->subject >= limits->transfers_max) {
                return "a store operation is about something outside its table";
            }
            counts->transfer_waits += transfer_live(chord, store->subject, store->serial);
            break;
        default:
            break;
        }
    }
    return NULL;
}

static const char *lookups_broken(struct chord *chord, struct counts *counts) {
    const struct chord_limits *limits = &chord->config.limits;
    unsigned paths = 0;
    for (uint16_t i = 0; i < limits->lookups_max; i++) {
        const struct lookup *lookup = lookup_at(chord, i);
        if (lookup->purpose == LOOKUP_FREE) {
            continue;
        }
        counts->lookups++;
        counts->finger_lookups += lookup->purpose == LOOKUP_FINGER;
        counts->join_lookups += lookup->purpose == LOOKUP_JOIN;
        if (lookup->hops > CHORD_HOPS_MAX || lookup->fallbacks_count > FALLBACKS_MAX) {
            return "a lookup is beyond its limits";
        }
        if (lookup->purpose == LOOKUP_BATCH) {
            if (lookup->subject >= limits->batches_max) {
                return "a lookup is for a batch outside the table";
            }
            counts->batch_lookups += batch_live(chord, lookup->subject, lookup->subject_serial) &&
                                     batch_at(chord, lookup->subject)->state == BATCH_LOOKING;
        }
        if (lookup->path != NONE) {
            counts->lookup_paths++;
            if (lookup->path >= limits->paths_max || !path_at(chord, lookup->path)->used) {
                return "a lookup records its path in a slot that is not its own";
            }
        }
    }
    for (uint16_t i = 0; i < limits->paths_max; i++) {
        paths += path_at(chord, i)->used;
    }
    return paths != counts->lookup_paths ? "a path belongs to no lookup" : NULL;
}

static const char *queries_broken(const struct chord *chord, const struct counts *counts) {
    const struct query *query = &chord->query;
    if (query->waiting && (query->kind == QUERY_NONE || counts->query_calls != 1)) {
        return "the maintenance query waits for no answer, or for two";
    }
    if (query->kind != QUERY_NONE && !query->waiting && query->retry_ms == 0) {
        return "the maintenance query is neither asked nor to be asked again";
    }
    if (query->busy_count > BUSY_MAX) {
        return "the maintenance query was Busy too often without an end";
    }
    if (chord->checking_predecessor != (counts->predecessor_calls == 1) ||
        counts->predecessor_calls > 1) {
        return "check_predecessor waits for no answer, or for two";
    }
    if (chord->finger_open != (counts->finger_lookups == 1) || counts->finger_lookups > 1) {
        return "fix_fingers waits for no lookup, or for two";
    }
    return counts->lookups != counts->lookup_calls ? "a lookup waits for no answer, or for two"
                                                   : NULL;
}

static const char *join_broken(const struct chord *chord, const struct counts *counts) {
    const struct join *join = &chord->join;
    if (join->stage == JOIN_IDLE) {
        return NULL;
    }
    if (chord->state != CHORD_STATE_JOINING) {
        return "a join goes on in a node that is not joining";
    }
    if (join->seeds_count > chord->config.limits.seeds_max || join->seed > join->seeds_count) {
        return "the join asks a seed that is not there";
    }
    if (!join->open) {
        return join->retry_ms == 0 ? "the join will never go on" : NULL;
    }
    if (join->stage == JOIN_LOOKUP) {
        return counts->join_lookups == 0 ? "the join waits for no lookup" : NULL;
    }
    unsigned asked = join->stage == JOIN_PING ? bits_count(join->asking) : 1;
    return join->stage != JOIN_DERIVE && (asked == 0 || counts->join_calls != asked)
               ? "the join waits for no answer, or for two"
               : NULL;
}

static const char *genesis_broken(const struct chord *chord) {
    const struct genesis *genesis = &chord->genesis;
    if (!genesis->running) {
        return NULL;
    }
    if (!in_ring(chord)) {
        return "a genesis round runs in a node that is no member";
    }
    if (genesis->count < 2 || genesis->count > chord->config.limits.known_max ||
        genesis->answered >> genesis->count != 0) {
        return "a genesis round is beyond its list";
    }
    return NULL;
}

/* ---- ranges ---- */

static const char *view_broken(struct chord *chord, const struct range *range) {
    const struct chord_view *view = &range->view;
    if (view->epoch == 0) {
        return "a view has no epoch";
    }
    if (view->members_count == 0 || view->members_count > CHORD_REPLICAS_MAX ||
        view->leader >= view->members_count) {
        return "a view has no members, too many, or no leader among them";
    }
    for (uint16_t i = 0; i < view->members_count; i++) {
        if (view_member(view, view->members[i].store_id) != i) {
            return "a view has two seats for one store";
        }
    }
    if (chord->parameters.m != 0 && (!id_valid(&view->range.lo, chord->parameters.m) ||
                                     !id_valid(&view->range.hi, chord->parameters.m))) {
        return "a view's range has an id of 2^M or more";
    }
    return NULL;
}

static const char *leading_broken(struct chord *chord, const struct range *range) {
    bool leads = view_leads(chord, &range->view);
    uint64_t bits = range->switched | range->synced | range->merged | range->calling;
    if (bits >> range->view.members_count != 0) {
        return "a view counts members that it does not have";
    }
    if (range->gone && view_member(&range->view, chord->self.store_id) != NONE) {
        return "a range is only remembered, but its view has a seat here";
    }
    if (range->open && !(leads && range->settled && range->lived && !range->view.cut)) {
        return "a range is open without a leader here or before it is settled";
    }
    if (!leads && (range->writing > 0 || range->change.stage != CHANGE_NONE)) {
        return "a range is written or changed by one who does not lead it";
    }
    return NULL;
}

static const char *ranges_broken(struct chord *chord, const struct counts *counts) {
    uint16_t views_max = chord->config.limits.views_max;
    unsigned writing = 0, watching = 0, applying = 0;
    uint16_t end = 0;
    for (uint16_t i = 0; i < views_max; i++) {
        end = range_at(chord, i)->used ? (uint16_t)(i + 1) : end;
    }
    if (chord->ranges_end != end) {
        return "the end of the table of views is wrong";
    }
    for (uint16_t i = 0; i < end; i++) {
        const struct range *range = range_at(chord, i);
        if (!range->used) {
            continue;
        }
        const char *broken = view_broken(chord, range);
        broken = broken != NULL ? broken : leading_broken(chord, range);
        if (broken != NULL) {
            return broken;
        }
        for (uint16_t k = 0; k < i; k++) {
            if (range_at(chord, k)->used &&
                ranges_overlap(&range_at(chord, k)->view.range, &range->view.range)) {
                return "two views overlap";
            }
        }
        writing += range->writing;
        applying += range->learner_calls;
        for (uint16_t k = 0; k < CHORD_REPLICAS_MAX; k++) {
            applying += range->member_calls[k];
        }
        watching += range->watching;
    }
    if (writing != counts->writing_batches) {
        return "a range counts other writes than those in flight";
    }
    if (applying != counts->apply_calls) {
        return "a range counts other Apply messages than those in flight";
    }
    return watching != counts->watch_calls ? "a range waits for no answer of its leader, or for two"
                                           : NULL;
}

static const char *transfers_broken(struct chord *chord, const struct counts *counts) {
    unsigned waiting = 0;
    for (uint16_t i = 0; i < chord->config.limits.transfers_max; i++) {
        const struct transfer *transfer = transfer_at(chord, i);
        if (transfer->stage == TRANSFER_FREE) {
            continue;
        }
        waiting += transfer->retry_ms == 0;
        if (transfer->retry_ms != 0 && chord->transfers_ms > transfer->retry_ms) {
            return "a transfer is to be tried again, but no tick will come";
        }
        if (transfer->request_id == 0 && transfer->subject >= chord->config.limits.views_max) {
            return "a transfer is for a range outside the table";
        }
    }
    return waiting != counts->transfer_waits ? "a transfer waits for nothing, or for two" : NULL;
}

static const char *decisions_broken(struct chord *chord) {
    for (uint16_t i = 0; i < chord->config.limits.decisions_max; i++) {
        const struct decision *decision = decision_at(chord, i);
        if (decision->stage == DECISION_FREE) {
            continue;
        }
        if (decision->range >= chord->config.limits.views_max ||
            (decision->other != NONE && decision->other >= chord->config.limits.views_max)) {
            return "a decision is about a range outside the table";
        }
        uint64_t due_ms = decision->retry_ms != 0 ? decision->retry_ms : decision->resend_ms;
        if (chord->decisions_ms > due_ms && chord->decisions_ms > chord->now_ms) {
            return "a decision is due, but no tick will come";
        }
    }
    return NULL;
}

/* ---- client requests ---- */

static const char *batches_broken(struct chord *chord, struct counts *counts) {
    const struct chord_limits *limits = &chord->config.limits;
    for (uint16_t i = 0; i < limits->batches_max; i++) {
        struct batch *batch = batch_at(chord, i);
        if (batch->state == BATCH_FREE) {
            continue;
        }
        bool running = batch->state == BATCH_RUNNING;
        if (running && batch->range >= limits->views_max) {
            return "a batch runs in a range outside the table";
        }
        bool handed = batch->state == BATCH_WAITING || batch->state == BATCH_RESUMED;
        if (batch->keys_head != KEYS_NONE && !running &&
            !(handed && key_at(chord, batch->keys_head)->next_batch == KEYS_NONE)) {
            return "a batch that does not run holds keys";
        }
        uint64_t due_ms = batch->deadline_ms;
        if (batch->state == BATCH_WAITING && batch->retry_ms < due_ms) {
            due_ms = batch->retry_ms;
        }
        if (due_ms != UINT64_MAX && chord->batches_ms > due_ms &&
            chord->batches_ms > chord->now_ms) {
            return "a batch is due, but no tick will come";
        }
        counts->batches_with_keys += batch->keys_head != KEYS_NONE;
        counts->writing_batches += running && batch->writing && batch_range(chord, batch) != NULL;
        counts->looking_batches += batch->state == BATCH_LOOKING;
        counts->forwarded_batches += batch->state == BATCH_FORWARDED;
    }
    return NULL;
}

static const char *counters_broken(const struct chord *chord, const struct counts *counts) {
    if (counts->looking_batches != counts->batch_lookups) {
        return "a batch waits for no lookup, or for two";
    }
    if (counts->forwarded_batches != counts->forward_calls) {
        return "a batch that was forwarded waits for no answer, or for two";
    }
    if (chord->keys_taken > chord->keys_used ||
        chord->keys_used > chord->config.limits.keys_in_flight_max ||
        (chord->keys_taken == 0) != (counts->batches_with_keys == 0)) {
        return "the keys in flight are counted wrong";
    }
    return chord->views_saving != counts->views_stores ? "the saving of views is counted wrong"
                                                       : NULL;
}

const char *chord_invariant(const struct chord *constant) {
    struct chord *chord = (struct chord *)(uintptr_t)constant;
    struct counts counts;
    memset(&counts, 0, sizeof counts);
    const char *broken = state_broken(chord);
    broken = broken != NULL ? broken : peers_broken(chord);
    broken = broken != NULL ? broken : successors_broken(chord);
    broken = broken != NULL ? broken : neighbours_broken(chord);
    broken = broken != NULL ? broken : calls_broken(chord, &counts);
    broken = broken != NULL ? broken : stores_broken(chord, &counts);
    broken = broken != NULL ? broken : lookups_broken(chord, &counts);
    broken = broken != NULL ? broken : queries_broken(chord, &counts);
    broken = broken != NULL ? broken : join_broken(chord, &counts);
    broken = broken != NULL ? broken : genesis_broken(chord);
    broken = broken != NULL ? broken : batches_broken(chord, &counts);
    broken = broken != NULL ? broken : ranges_broken(chord, &counts);
    broken = broken != NULL ? broken : transfers_broken(chord, &counts);
    broken = broken != NULL ? broken : decisions_broken(chord);
    return broken != NULL ? broken : counters_broken(chord, &counts);
}

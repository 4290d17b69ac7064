/* SPDX-License-Identifier: MIT */
/*
 * The local invariant: what is true of one member's state after every step, whatever the others
 * said. The rules of the ring are Zave's (2017, section 4), as far as one node can see them; the
 * other rules say that every index names an entry in use, and that each entry that waits has a
 * call or a timer that ends its wait. It reads all of the state and changes none of it. What only
 * holds between nodes is not here.
 *
 * Deliberately no rule: that a member has a successor (all of its list may have died, and the way
 * back takes a while), that fingers are right (they are hints), that the predecessor precedes
 * (rectify decides that with an answer, which may be old).
 */
#include "counts.h"
#include "data/data.h"
#include "ring/ring.h"

static bool call_indices_good(const struct chord *chord, const struct call *call) {
    const struct chord_limits *limits = &chord->config.limits;
    if ((call->peer != NONE && call->peer >= limits->peers_max) ||
        (call->member != NONE && call->member >= CHORD_REPLICAS_MAX)) {
        return false;
    }
    switch (call->purpose) {
    case CALL_GENESIS:
        return call->subject.slot < CHORD_REPLICAS_MAX;
    case CALL_LOOKUP:
        return call->subject.slot < limits->lookups_max;
    case CALL_GRAVEYARD:
        return call->subject.slot < graves_max(&chord->config.limits);
    case CALL_WATCH:
    case CALL_DECIDED:
    case CALL_SYNC:
    case CALL_CHECK:
        return call->subject.slot < limits->views_max;
    case CALL_PREPARE:
    case CALL_ACCEPT:
        return call->subject.slot < limits->decisions_max;
    case CALL_DIGEST:
    case CALL_TRANSFER:
        return call->subject.slot < limits->transfers_max;
    case CALL_APPLY:
        return call->subject.slot < limits->batches_max && call->range.slot < limits->views_max;
    case CALL_FORWARD:
        return call->subject.slot < limits->batches_max;
    default:
        return call->purpose <= CALL_FORWARD;
    }
}

static void call_count(struct chord *chord, const struct call *call, struct counts *counts) {
    switch (call->purpose) {
    case CALL_JOIN:
        counts->join_calls += call->subject.serial == chord->join.serial;
        break;
    case CALL_QUERY:
        counts->query_calls += call->subject.serial == chord->query.serial;
        break;
    case CALL_LOOKUP:
        counts->lookup_calls += lookup_live(chord, call->subject);
        break;
    case CALL_CHECK_PREDECESSOR:
        counts->predecessor_calls++;
        break;
    case CALL_WATCH:
        counts->watch_calls += range_live(chord, call->subject);
        break;
    case CALL_DIGEST:
    case CALL_TRANSFER:
        counts->transfer_waits += transfer_live(chord, call->subject);
        break;
    case CALL_APPLY:
        counts->apply_calls += range_live(chord, call->range);
        break;
    case CALL_FORWARD:
        counts->forward_calls += batch_live(chord, call->subject);
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
            if (store->subject.slot >=
                (store->purpose == STORE_VIEWS_OWN ? limits->decisions_max : limits->views_max)) {
                return "a store operation is about something outside its table";
            }
            break;
        case STORE_BATCH_READ:
        case STORE_BATCH_EXAMINE:
        case STORE_BATCH_WRITE:
            if (store->subject.slot >= limits->batches_max) {
                return "a store operation is about something outside its table";
            }
            break;
        case STORE_TOMBSTONES:
            if (store->subject.slot >= limits->views_max) {
                return "a store operation is about something outside its table";
            }
            break;
        case STORE_DIGEST_OWN:
        case STORE_PULLED:
            if (store->subject.slot >= limits->transfers_max) {
                return "a store operation is about something outside its table";
            }
            counts->transfer_waits += transfer_live(chord, store->subject);
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
            if (lookup->subject.slot >= limits->batches_max) {
                return "a lookup is for a batch outside the table";
            }
            counts->batch_lookups += batch_live(chord, lookup->subject) &&
                                     batch_at(chord, lookup->subject.slot)->state == BATCH_LOOKING;
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

const char *chord_invariant(const struct chord *constant) {
    struct chord *chord = (struct chord *)(uintptr_t)constant;
    struct counts counts;
    memset(&counts, 0, sizeof counts);
    const char *broken = neighbours_broken(chord);
    broken = broken != NULL ? broken : calls_broken(chord, &counts);
    broken = broken != NULL ? broken : stores_broken(chord, &counts);
    broken = broken != NULL ? broken : lookups_broken(chord, &counts);
    broken = broken != NULL ? broken : ring_broken(chord, &counts);
    return broken != NULL ? broken : data_broken(chord, &counts);
}

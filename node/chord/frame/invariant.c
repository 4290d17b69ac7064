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

enum { ANY = 1 << 16 }; /* more than every slot */

/* How many slots has the table that a call's subject is in? */
static unsigned call_subjects(const struct chord_limits *limits, enum call_purpose purpose) {
    switch (purpose) {
    case CALL_GENESIS:
        return CHORD_REPLICAS_MAX;
    case CALL_LOOKUP:
        return limits->lookups_max;
    case CALL_GRAVEYARD:
        return graves_max(limits);
    case CALL_WATCH:
    case CALL_DECIDED:
    case CALL_SYNC:
    case CALL_CHECK:
        return limits->views_max;
    case CALL_PREPARE:
    case CALL_ACCEPT:
        return limits->decisions_max;
    case CALL_DIGEST:
    case CALL_TRANSFER:
        return limits->transfers_max;
    case CALL_APPLY:
    case CALL_FORWARD:
        return limits->batches_max;
    default:
        return ANY;
    }
}

static bool call_indices_good(const struct chord *chord, const struct call *call) {
    const struct chord_limits *limits = &chord->config.limits;
    return (call->peer == NONE || call->peer < limits->peers_max) &&
           (call->member == NONE || call->member < CHORD_REPLICAS_MAX) &&
           (call->purpose != CALL_APPLY || call->range.slot < limits->views_max) &&
           call->purpose <= CALL_FORWARD &&
           call->subject.slot < call_subjects(limits, call->purpose);
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

static unsigned store_subjects(const struct chord_limits *limits, enum store_purpose purpose) {
    switch (purpose) {
    case STORE_VIEWS_PREPARE:
    case STORE_VIEWS_ACCEPT:
    case STORE_TOMBSTONES:
        return limits->views_max;
    case STORE_VIEWS_OWN:
        return limits->decisions_max;
    case STORE_BATCH_READ:
    case STORE_BATCH_EXAMINE:
    case STORE_BATCH_WRITE:
        return limits->batches_max;
    case STORE_DIGEST_OWN:
    case STORE_PULLED:
        return limits->transfers_max;
    default:
        return ANY;
    }
}

static const char *stores_broken(struct chord *chord, struct counts *counts) {
    const struct chord_limits *limits = &chord->config.limits;
    for (uint16_t i = 0; i < limits->calls_max; i++) {
        const struct store_op *store = store_at(chord, i);
        if (store->subject.slot >= store_subjects(limits, store->purpose)) {
            return "a store operation is about something outside its table";
        }
        counts->views_stores += store_saves_views(store);
        counts->transfer_waits +=
            (store->purpose == STORE_DIGEST_OWN || store->purpose == STORE_PULLED) &&
            transfer_live(chord, store->subject);
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
    struct chord *chord = reading(constant);
    struct counts counts;
    memset(&counts, 0, sizeof counts);
    const char *broken = neighbours_broken(chord);
    broken = broken != NULL ? broken : calls_broken(chord, &counts);
    broken = broken != NULL ? broken : stores_broken(chord, &counts);
    broken = broken != NULL ? broken : lookups_broken(chord, &counts);
    broken = broken != NULL ? broken : ring_broken(chord, &counts);
    return broken != NULL ? broken : data_broken(chord, &counts);
}

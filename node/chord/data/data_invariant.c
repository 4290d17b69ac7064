/* SPDX-License-Identifier: MIT */
/*
 * The invariant's rules of the data: views, pulls, decisions, client requests.
 */
#include "data.h"
#include "frame/counts.h"

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
    if (range->gone && view_self(chord, &range->view) != NONE) {
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
        for (int k = 0; k < CHORD_REPLICAS_MAX; k++) {
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
        if (transfer->request_id == 0 && transfer->subject.slot >= chord->config.limits.views_max) {
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
        if (decision->range.slot >= chord->config.limits.views_max ||
            (decision->other.slot != NONE &&
             decision->other.slot >= chord->config.limits.views_max)) {
            return "a decision is about a range outside the table";
        }
        uint64_t due_ms = decision->retry_ms != 0 ? decision->retry_ms : decision->resend_ms;
        if (chord->decisions_ms > due_ms && chord->decisions_ms > chord->now_ms) {
            return "a decision is due, but no tick will come";
        }
    }
    return NULL;
}

static const char *batches_broken(struct chord *chord, struct counts *counts) {
    const struct chord_limits *limits = &chord->config.limits;
    for (uint16_t i = 0; i < limits->batches_max; i++) {
        struct batch *batch = batch_at(chord, i);
        if (batch->state == BATCH_FREE) {
            continue;
        }
        bool running = batch->state == BATCH_RUNNING;
        if (running && batch->range.slot >= limits->views_max) {
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
        counts->writing_batches += running && batch->writing && range_live(chord, batch->range);
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

const char *data_broken(struct chord *chord, struct counts *counts) {
    const char *broken = batches_broken(chord, counts);
    broken = broken != NULL ? broken : ranges_broken(chord, counts);
    broken = broken != NULL ? broken : transfers_broken(chord, counts);
    broken = broken != NULL ? broken : decisions_broken(chord);
    return broken != NULL ? broken : counters_broken(chord, counts);
}

/* SPDX-License-Identifier: MIT */
/*
 * Trace: what the core tells people, in the same words everywhere.
 */
#include "state.h"

const char *chord_word_text(enum chord_word word) {
    static const char *const texts[CHORD_WORDS_COUNT] = {
#define X(upper, lower) [CHORD_WORD_##upper] = #lower,
        CHORD_WORDS(X)
#undef X
    };
    return word < CHORD_WORDS_COUNT ? texts[word] : "?";
}

struct chord_trace *trace_add(struct step *step, enum chord_word word, enum chord_level level,
                              const char *note) {
    struct chord_actions *actions = step->actions;
    /* The last slot takes what is beyond the limit. */
    struct chord_trace *trace = &actions->traces[CHORD_TRACES_MAX - 1];
    if (actions->traces_count < CHORD_TRACES_MAX) {
        trace = &actions->traces[actions->traces_count++];
    } else {
        actions->traces_dropped++;
    }
    memset(trace, 0, sizeof *trace);
    trace->word = word;
    trace->level = level;
    trace->note = note;
    return trace;
}

void trace_peer(struct step *step, enum chord_word word, enum chord_level level, const char *note,
                const struct chord_peer *peer) {
    struct chord_trace *trace = trace_add(step, word, level, note);
    memcpy(trace->address, peer->address, CHORD_ADDRESS_BYTES);
    memcpy(trace->store_id, peer->store_id, CHORD_STORE_ID_BYTES);
    trace->incarnation = peer->incarnation;
    trace->has_id = true;
    trace->id = peer->id;
}

void trace_view(struct step *step, enum chord_word word, enum chord_level level, const char *note,
                const struct chord_view *view) {
    struct chord_trace *trace = trace_add(step, word, level, note);
    memcpy(trace->address, view->members[view->leader].address, CHORD_ADDRESS_BYTES);
    trace->has_range = true;
    trace->range = view->range;
    trace->epoch = view->epoch;
    trace->count = view->members_count;
}

/* SPDX-License-Identifier: MIT */
/*
 * See run.h: after each step of a node, what there is to see: the checkers of one node and, while
 * the proof's assumptions hold, the invariant after each event that changed the ring; trace words.
 *
 * The assumptions (Zave 2017, section 4.1) begin to hold when genesis has been undisturbed and
 * every member has heard its end, or later when the ring has become ideal with at least N+1 members
 * and each question asked before that has ended: an answer on its way may hold a list of the time
 * when they did not. They end with a false suspicion, or with a failure or leave that takes the
 * last live successor of a member or one of the last N+1 principals.
 */
#include "run_internal.h"

#include <inttypes.h>
#include <string.h>

void run_violation_of(struct run *run, const char *text, const char *what, int number) {
    if (run->result->violation[0] == '\0') {
        snprintf(run->result->violation, sizeof run->result->violation, "%s", text);
        run->result->violation_us = host_now_us(run->host);
        if (number != HOST_NOBODY) {
            size_t used = strlen(run->result->violation);
            snprintf(run->result->violation + used, sizeof run->result->violation - used, ": %s %d",
                     what, number);
        }
        if (run->options->trace) {
            fflush(stdout);
            host_print(run->host);
        }
    }
}

void run_violation(struct run *run, const char *text, int node) {
    run_violation_of(run, text, "node", node);
}

bool run_violated(const struct run *run) {
    return run->result->violation[0] != '\0';
}

/* ---- the ring's changes, for the model's rules ---- */

static void print_entry(FILE *out, const struct picture_entry *entry) {
    fprintf(out, "%d.%u", entry->node, entry->life);
}

static void print_id(FILE *out, const struct chord_id *id, unsigned m) {
    for (unsigned i = CHORD_ID_BYTES - (m + 7) / 8; i < CHORD_ID_BYTES; i++) {
        fprintf(out, "%02x", id->bytes[i]);
    }
}

/* The word of the step: the last one that is about the ring. */
static const char *ring_word(const struct chord_actions *actions) {
    for (uint16_t i = actions->traces_count; i > 0; i--) {
        switch (actions->traces[i - 1].word) {
        case CHORD_WORD_JOIN:
        case CHORD_WORD_GENESIS:
        case CHORD_WORD_MEMBER:
        case CHORD_WORD_STABILIZE:
        case CHORD_WORD_RECTIFY:
        case CHORD_WORD_FAILURE:
        case CHORD_WORD_LEFT:
        case CHORD_WORD_LEAVE:
        case CHORD_WORD_RECREATE:
        case CHORD_WORD_CREATE:
            return chord_word_text(actions->traces[i - 1].word);
        default:
            break;
        }
    }
    return "-";
}

static void print_ring(struct run *run, int node) {
    static const char *const states[] = {"none", "joining", "member", "leaving", "left"};
    const struct picture_node *now = &run->picture.nodes[node];
    FILE *out = run->options->ring_trace;
    if (out == NULL) {
        return;
    }
    int asked = host_asked(run->host);
    fprintf(out, "ring %" PRIu64 " %d.%u %s asked=", host_now_us(run->host), node, now->life,
            ring_word(host_actions(run->host)));
    if (asked == HOST_NOBODY) {
        fprintf(out, "-");
    } else {
        fprintf(out, "%d.%u", asked, run->picture.nodes[asked].life);
    }
    fprintf(out, " state=%s id=", states[now->state]);
    print_id(out, &now->id, run->plan->m);
    fprintf(out, " succ=%s", now->successors_count == 0 ? "-" : "");
    for (uint16_t i = 0; i < now->successors_count; i++) {
        fprintf(out, i > 0 ? "," : "");
        print_entry(out, &now->successors[i]);
    }
    fprintf(out, " pred=%s", now->has_predecessor ? "" : "-");
    if (now->has_predecessor) {
        print_entry(out, &now->predecessor);
    }
    fprintf(out, "\n");
}

static void assumptions_end(struct run *run) {
    run->proof = false;
    run->ideal_us = 0;
}

/* ---- trace words ---- */

static void match_traces(struct run *run, int node, enum chord_word word, int other) {
    const struct plan *plan = run->plan;
    for (size_t i = 0; i < plan->traces_count; i++) {
        const struct plan_trace *line = &plan->traces[i];
        bool same = (line->node < 0 || line->node == node) && line->word == word &&
                    (line->other < 0 || line->other == other);
        if (same && line->never) {
            run_violation(run, "a word was traced that never should be", node);
        } else if (same && i == run->traces_met) {
            run->traces_met++;
            break;
        }
    }
    while (run->traces_met < plan->traces_count && plan->traces[run->traces_met].never) {
        run->traces_met++;
    }
}

static void on_traces(struct run *run, int node) {
    const struct chord_actions *actions = host_actions(run->host);
    for (uint16_t i = 0; i < actions->traces_count; i++) {
        const struct chord_trace *trace = &actions->traces[i];
        int other = trace->address[0] != '\0' ? host_by_address(run->host, trace->address) : -1;
        if (trace->word == CHORD_WORD_FAILURE && other >= 0 && other < run->picture.count) {
            const struct picture_node *peer = &run->picture.nodes[other];
            unsigned life =
                picture_life_of(&run->picture, other, trace->store_id, trace->incarnation);
            if (peer->member && peer->life == life) {
                assumptions_end(run);
                run->disturbed = true;
                run->result->suspicions++;
                if (run->options->ring_trace != NULL) {
                    fprintf(run->options->ring_trace, "suspect %" PRIu64 " %d.%u %d.%u\n",
                            host_now_us(run->host), node, run->picture.nodes[node].life, other,
                            life);
                }
            }
        }
        if (trace->word == CHORD_WORD_RECREATE && run->picture.ring_count > 1) {
            /* Those who were down together are a majority of what they knew, and cut off from the
             * members that live: they take all of these for dead. unify.c makes one ring of it. */
            assumptions_end(run);
            run->disturbed = true;
            run->result->suspicions++;
        }
        match_traces(run, node, trace->word, other);
    }
}

/* ---- the checkers ---- */

static bool all_formed(const struct picture *picture) {
    for (int i = 0; i < picture->ring_count; i++) {
        if (!picture->nodes[picture->ring[i]].formed) {
            return false;
        }
    }
    return true;
}

/* `failure`: the change was a member's end, which may break the assumptions itself. */
static void check_ring(struct run *run, bool failure) {
    int at;
    run->disturbed = run->disturbed || failure;
    if (!run->proof) {
        bool enough = run->picture.ring_count > (int)run->picture.n;
        run->proof = enough && !run->disturbed && all_formed(&run->picture);
        if (!run->proof) {
            bool ideal = enough && check_ideal(&run->picture, run->host, false, &at) == NULL;
            run->ideal_us = ideal ? host_now_us(run->host) : 0;
            return;
        }
    }
    const char *broken = check_invariant(&run->picture, &at);
    if (broken != NULL && failure) {
        assumptions_end(run);
        return;
    }
    if (broken == NULL) {
        broken = check_one_ring(&run->picture, &at);
    }
    if (broken != NULL) {
        run_violation(run, broken, at);
    }
}

static void check_node_views(struct run *run, int node) {
    int other;
    uint64_t mark = views_mark(run->host, node);
    if (mark != run->views[node]) {
        run->views[node] = mark;
        const char *broken = check_views(run->host, node, &other);
        if (broken != NULL) {
            run_violation(run, broken, node);
        }
    }
}

void run_on_step(void *context, struct host *host, int node) {
    struct run *run = context;
    if (run->plan->data) {
        check_node_views(run, node);
    }
    bool member = node < run->picture.count && run->picture.nodes[node].member;
    bool changed = picture_update(&run->picture, host, node);
    run->result->steps++;
    if (!run->proof && run->ideal_us > 0 && !changed &&
        host_oldest_ring_call_us(host) >= run->ideal_us) {
        run->proof = true;
    }
    run->result->proof_steps += run->proof;
    if (host_actions(host)->traces_count > 0) {
        on_traces(run, node);
    }
    if (!changed) {
        return;
    }
    run->changed = true;
    print_ring(run, node);
    const struct picture_node *now = &run->picture.nodes[node];
    const char *broken = check_lists(&run->picture, node);
    if (broken == NULL && run->proof && !member && now->member) {
        broken = check_joined(&run->picture, node);
    }
    if (broken != NULL) {
        run_violation(run, broken, node);
    }
    check_ring(run, member && !now->member);
}

void run_on_end(void *context, struct host *host, int node) {
    struct run *run = context;
    if (run->options->ring_trace != NULL) {
        fprintf(run->options->ring_trace, "dead %" PRIu64 " %d.%u\n", host_now_us(host), node,
                run->picture.nodes[node].life);
    }
    if (picture_update(&run->picture, host, node)) {
        run->changed = true;
        check_ring(run, true);
    }
}

void run_on_assert(void *context, const char *text) {
    struct run *run = context;
    run_violation(run, text, HOST_NOBODY);
    longjmp(run->failed, 1);
}

/* SPDX-License-Identifier: MIT */
/*
 * chordctl rebalance: members that lead little leave and join where much is led, one after the
 * other, each only while every range has all its copies.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl.h"
#include "output.h"
#include "ring_evenness.h"

enum { LOOK_MS = 200, STEP_MS_DEFAULT = 120000 };

/* The members of the ring, as they stand. */
struct stand {
    struct ring_walk walk;
    struct ring_verdict verdict;
    size_t count;
    const struct ring_node *members[EVENNESS_MEMBERS_MAX]; /* of the walk: in the order of ids */
    uint64_t points[EVENNESS_MEMBERS_MAX];
};

struct rebalance {
    struct ctl *ctl;
    uint32_t step_ms;
    size_t moves_count;
    struct evenness_move moves[EVENNESS_MEMBERS_MAX];
    char addresses[EVENNESS_MEMBERS_MAX][CHORD_ADDRESS_SIZE]; /* of those that go */
};

/* ---- the ring as it is ---- */

static void stand_free(struct stand *stand) {
    survival_free(&stand->verdict.survival);
    ring_walk_free(&stand->walk);
}

static void stand_read(struct ctl *ctl, struct stand *stand) {
    walk_ring(ctl, &stand->walk);
    ring_walk_judge(&stand->walk, &stand->verdict);
    stand->count = 0;
    for (size_t i = 0; i < stand->walk.nodes_count; i++) {
        const struct ring_node *node = &stand->walk.nodes[i];
        struct ring_id id;
        if (!ring_is_member(node->status) || node->alias ||
            !id_from_wire(&id, node->status->self->id.data, node->status->self->id.len)) {
            continue;
        }
        if (stand->count == EVENNESS_MEMBERS_MAX) {
            ctl_fail(CTL_REFUSED, "the ring has more than %d members: a plan is made for no more",
                     EVENNESS_MEMBERS_MAX);
        }
        stand->points[stand->count] = evenness_point(&id, stand->walk.m);
        stand->members[stand->count++] = node;
    }
}

/* Ideal, with all its copies: nobody may go before. Ends the program when that takes too long. */
static void whole_await(const struct rebalance *rebalance, struct stand *stand) {
    uint64_t end_ms = clock_now_ms() + rebalance->step_ms;
    while (true) {
        stand_read(rebalance->ctl, stand);
        if (stand->verdict.fault == RING_IDEAL) {
            return;
        }
        if (clock_now_ms() > end_ms) {
            ctl_fail(CTL_REFUSED, "the ring is not whole (%s); nobody else was moved",
                     stand->verdict.text);
        }
        stand_free(stand);
        clock_pause_ms(LOOK_MS);
    }
}

/* ---- the plan ---- */

static uint64_t keys_led(const struct ring_node *node) {
    return node->status->keys_led;
}

/* Keys that are handed over by the leave and then by the join, copies not counted. */
static uint64_t keys_moved(const struct stand *stand, const struct evenness_move *move) {
    return keys_led(stand->members[move->member]) + keys_led(stand->members[move->takes]) / 2;
}

static void evenness_text(struct evenness evenness, char *out, size_t size) {
    snprintf(out, size, "%.2f to %.2f of the mean", evenness.smallest, evenness.largest);
}

static void plan_table(const struct rebalance *rebalance, const struct stand *stand) {
    struct table *table = table_new("STEP MOVES ID >KEYS HALVES >KEYS >MOVED ARCS-AFTER");
    for (size_t i = 0; i < rebalance->moves_count; i++) {
        const struct evenness_move *move = &rebalance->moves[i];
        char text[64];
        table_number(table, i + 1);
        table_text(table, stand->members[move->member]->address);
        table_text(table, stand->members[move->member]->id);
        table_number(table, keys_led(stand->members[move->member]));
        table_text(table, stand->members[move->takes]->address);
        table_number(table, keys_led(stand->members[move->takes]));
        table_number(table, keys_moved(stand, move));
        evenness_text(move->after, text, sizeof text);
        table_text(table, text);
    }
    table_print(table);
}

static json_t *evenness_json(struct evenness evenness) {
    return json_pack("{s:f, s:f}", "largest", evenness.largest, "smallest", evenness.smallest);
}

static json_t *plan_json(const struct rebalance *rebalance, const struct stand *stand) {
    json_t *moves = json_array();
    for (size_t i = 0; i < rebalance->moves_count; i++) {
        const struct evenness_move *move = &rebalance->moves[i];
        const struct ring_node *member = stand->members[move->member];
        (void)json_array_append_new(
            moves,
            json_pack("{s:o, s:s, s:o, s:o, s:o}", "address", json_text(member->address), "id",
                      member->id, "halves", json_text(stand->members[move->takes]->address),
                      "keys_moved", json_u64(keys_moved(stand, move)), "after",
                      evenness_json(move->after)));
    }
    return moves;
}

static void plan_make(struct rebalance *rebalance, const struct stand *stand) {
    rebalance->moves_count =
        evenness_plan(stand->points, stand->count, stand->walk.m, rebalance->moves);
    for (size_t i = 0; i < rebalance->moves_count; i++) {
        snprintf(rebalance->addresses[i], sizeof rebalance->addresses[i], "%s",
                 stand->members[rebalance->moves[i].member]->address);
    }
}

/* Without one of them each key must still have all its copies, and the ring its N+1. */
static void room_check(const struct stand *stand) {
    const Chord__V1__RingParameters *ring = stand->members[0]->status->parameters;
    if (stand->count <= ring->replicas || stand->count <= ring->n + 1) {
        ctl_fail(CTL_REFUSED,
                 "a ring of %zu (N=%u, REPLICAS=%u) has no member to spare while it moves; add one",
                 stand->count, ring->n, ring->replicas);
    }
}

/* ---- a move ---- */

static void move_run(const struct rebalance *rebalance, const char *address) {
    const struct chord_command leave = {.kind = CHORD_LEAVE, .node = address};
    const struct chord_command join = {.kind = CHORD_JOIN, .node = address, .another_place = true};
    struct chord_told told;
    ctl_note("%s leaves; should this be cut short, 'chordctl join %s' brings it back", address,
             address);
    call_tell(rebalance->ctl, &leave, &told);
    node_await(rebalance->ctl, address, CHORD__V1__NODE_STATE__NODE_STATE_LEFT, rebalance->step_ms);
    call_tell(rebalance->ctl, &join, &told);
    node_await(rebalance->ctl, address, CHORD__V1__NODE_STATE__NODE_STATE_MEMBER,
               rebalance->step_ms);
}

static bool confirmed(const struct arguments *arguments, const struct stand *stand) {
    char typed[ASK_BYTES];
    if (arguments_option(arguments, "dry-run") != NULL) {
        return false;
    }
    room_check(stand);
    if (arguments_option(arguments, "yes") == NULL) {
        ask_check("--yes or --dry-run", "");
        ask("each one leaves, joins elsewhere, and its copies are made whole before the next goes; "
            "type yes to go on",
            typed);
        if (strcmp(typed, "yes") != 0) {
            ctl_fail(CTL_REFUSED, "'%s' is not 'yes'; nothing was changed", typed);
        }
    }
    return true;
}

/* What others did meanwhile counts: a ring that is even is left alone. Returns how many moved. */
static size_t carry_out(struct rebalance *rebalance, struct stand *stand) {
    for (size_t i = 0; i < rebalance->moves_count; i++) {
        if (evenness_is_good(evenness_of(stand->points, stand->count))) {
            return i;
        }
        stand_free(stand);
        move_run(rebalance, rebalance->addresses[i]);
        whole_await(rebalance, stand);
        char text[64];
        evenness_text(evenness_of(stand->points, stand->count), text, sizeof text);
        ctl_note("%zu of %zu: %s has moved; arcs %s", i + 1, rebalance->moves_count,
                 rebalance->addresses[i], text);
    }
    return rebalance->moves_count;
}

static int rebalance_run(struct ctl *ctl, const struct arguments *arguments) {
    struct rebalance *rebalance = calloc(1, sizeof *rebalance);
    struct stand *stand = calloc(1, sizeof *stand);
    if (rebalance == NULL || stand == NULL) {
        ctl_fail(CTL_REFUSED, "no memory");
    }
    rebalance->ctl = ctl;
    rebalance->step_ms = ctl->timeout_given ? ctl->timeout_ms : STEP_MS_DEFAULT;
    nodes_learn(ctl);
    whole_await(rebalance, stand);
    struct evenness before = evenness_of(stand->points, stand->count), after = before;
    plan_make(rebalance, stand);
    json_t *moves = plan_json(rebalance, stand);
    char text[64];
    evenness_text(before, text, sizeof text);
    size_t moved = 0;
    if (!ctl->json) {
        line_print("%zu members lead arcs of %s%s", stand->count, text,
                   evenness_is_good(before)      ? ": even enough"
                   : rebalance->moves_count == 0 ? "; no move would help"
                                                 : "");
        if (rebalance->moves_count > 0) {
            plan_table(rebalance, stand);
        }
    }
    if (rebalance->moves_count > 0 && confirmed(arguments, stand)) {
        moved = carry_out(rebalance, stand);
        after = evenness_of(stand->points, stand->count);
        evenness_text(after, text, sizeof text);
        if (!ctl->json) {
            line_print("moved %zu; arcs %s", moved, text);
        }
    }
    if (ctl->json) {
        json_print(json_pack("{s:o, s:o, s:o, s:o}", "before", evenness_json(before), "moves",
                             moves, "moved", json_u64(moved), "after", evenness_json(after)));
    } else {
        json_decref(moves);
    }
    stand_free(stand);
    free(stand);
    free(rebalance);
    return CTL_OK;
}

static const struct flag rebalance_options[] = {
    {'n', "dry-run", NULL, "show the plan only"},
    {'y', "yes", NULL, "carry it out unasked"},
    {0, NULL, NULL, NULL},
};

const struct command rebalance_command = {
    .name = "rebalance",
    .words = "",
    .summary = "even arcs: members that lead little go where much is led",
    .help =
        "Shows who would move, how many keys that moves and how even the ring is then, asks,\n"
        "and does it: each in turn leaves and joins at another place, and all copies are whole\n"
        "before the next one goes. A ring as joins leave it (largest arc at most 2.2 times the\n"
        "mean and 4 times the smallest) is even enough. --timeout: of each step, 120 s.\n",
    .options = rebalance_options,
    .run = rebalance_run,
};

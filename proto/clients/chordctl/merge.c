/* SPDX-License-Identifier: MIT */
/*
 * chordctl merge: two rings that were built apart become one. Their views and epochs know nothing
 * of each other, so nothing is zipped: the members of one ring hand over and go to the other, one
 * after the other, until the last holds every row alone; it stops serving, its rows are copied as
 * any client would, and it goes too. At each moment every acknowledged write is in one of the two.
 */
#include "merge.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "output.h"
#include "ctl.h"

enum { COUNT_MS = 260 };

/* ---- the two rings ---- */

static void ring_open(struct merge *merge, struct merge_ring *ring, const char *option,
                      const char *address) {
    if (address == NULL || !address_is_valid(address)) {
        ctl_fail(CTL_USAGE,
                 address == NULL ? "--%s HOST:PORT is missing: a member of each ring is needed"
                                 : "--%s '%s' is no address; give HOST:PORT",
                 option, address);
    }
    ring->ctl = *merge->ctl;
    memcpy(ring->address, address, strlen(address) + 1);
    session_client_open(&ring->ctl, address, option); /* a client belongs to one ring */
}

/* The address by which the named node calls itself. */
static void ring_read(struct merge_ring *ring, char self[CHORD_ADDRESS_SIZE]) {
    struct rpc_reply reply;
    const Chord__V1__StatusResponse *status = call_status(&ring->ctl, ring->address, &reply);
    const Chord__V1__RingParameters *told = status->parameters;
    if (told == NULL || told->ring_id.len != sizeof ring->name.id) {
        ctl_fail(CTL_REFUSED, "%s is in no ring", ring->address);
    }
    memcpy(ring->name.id, told->ring_id.data, sizeof ring->name.id);
    ring->name.m = told->m;
    ring->name.n = told->n;
    ring->name.replicas = told->replicas;
    if (address_is_valid(status->self->address)) {
        memcpy(self, status->self->address, strlen(status->self->address) + 1);
    }
    rpc_reply_free(&reply);
}

static bool one_ring(const struct merge *merge) {
    return memcmp(merge->from.name.id, merge->into.name.id, sizeof merge->from.name.id) == 0;
}

static void parameters_compare(const struct merge *merge) {
    const struct chord_ring_name *a = &merge->from.name, *b = &merge->into.name;
    if (a->m != b->m || a->n != b->n || a->replicas != b->replicas) {
        ctl_fail(
            CTL_REFUSED,
            "the rings differ: from has M=%u N=%u REPLICAS=%u, into has M=%u N=%u REPLICAS=%u; "
            "export the keys of the one and import them into the other instead",
            a->m, a->n, a->replicas, b->m, b->n, b->replicas);
    }
}

static void seed_add(struct merge_ring *ring, const char *address) {
    char *member = ring->members[ring->seeds_count];
    memcpy(member, address, strlen(address) + 1);
    ring->seeds[ring->seeds_count++] = member;
}

/* Whom to join through: the one that was named first, then the others. */
static void seeds_take(struct merge_ring *ring, const struct ring_walk *walk) {
    ring->seeds_count = 0;
    seed_add(ring, ring->address);
    for (size_t i = 0; i < walk->nodes_count && ring->seeds_count < MERGE_SEEDS_MAX; i++) {
        if (ring_is_member(walk->nodes[i].status) &&
            strcmp(walk->nodes[i].address, ring->address) != 0) {
            seed_add(ring, walk->nodes[i].address);
        }
    }
}

/* A node counts its keys when it is asked, at most every 250 ms, and answers with the count before.
 * `exact`: the second look makes it count in the ideal ring, the third hears that. */
static void ring_await_ideal(struct merge_ring *ring, const char *what, uint32_t timeout_ms,
                             bool exact) {
    uint64_t end_ms = clock_now_ms() + timeout_ms;
    struct ring_walk walk;
    struct ring_verdict verdict;
    for (unsigned ideal = 0;;) {
        walk_ring(&ring->ctl, &walk);
        ring_walk_judge(&walk, &verdict);
        ring->keys = verdict.survival.keys;
        ring->members_count = verdict.members;
        survival_free(&verdict.survival);
        seeds_take(ring, &walk);
        ring_walk_free(&walk);
        ideal = verdict.fault == RING_IDEAL ? ideal + 1 : 0;
        if (ideal == (exact ? 3 : 2)) {
            return;
        }
        if (clock_now_ms() >= end_ms) {
            ctl_fail(CTL_REFUSED, "the %s ring is not ideal after %u ms: %s", what, timeout_ms,
                     verdict.text);
        }
        clock_pause_ms(exact ? COUNT_MS : 2 * MERGE_PAUSE_MS);
    }
}

/* ---- before anything is changed ---- */

static void room_check(const struct merge *merge) {
    unsigned m = merge->into.name.m;
    size_t from = merge->from.members_count, into = merge->into.members_count;
    if (m < 32 && from + into > (size_t)1 << m) {
        ctl_fail(CTL_REFUSED, "%zu and %zu members are more than the %zu ids that M=%u has", from,
                 into, (size_t)1 << m, m);
    }
}

static void confirm(const struct merge *merge) {
    char typed[ASK_BYTES];
    ask_check("--yes", "");
    ctl_note("%zu member%s with %llu keys go, one after the other, to the ring of %s, which has "
             "%zu members with %llu keys",
             merge->from.members_count, merge->from.members_count == 1 ? "" : "s",
             (unsigned long long)merge->from.keys, merge->into.address, merge->into.members_count,
             (unsigned long long)merge->into.keys);
    ctl_note("when both have a key with different values, that of the %s ring stays; the other one "
             "is written to %s",
             merge->replace ? "from" : "into", merge->conflicts_path);
    ctl_note("%s goes last; from when it is alone until its rows are copied, nobody serves them",
             merge->last);
    ask("type merge to go on", typed);
    if (strcmp(typed, "merge") != 0) {
        ctl_fail(CTL_REFUSED, "'%s' is not 'merge'; nothing was changed", typed);
    }
}

/* ---- the members ---- */

/* Another member of `from` than the last; false: none is seen. */
static bool other_member(struct merge *merge, char address[CHORD_ADDRESS_SIZE]) {
    const ProtobufCBinaryData ring_id =
        client_bytes(merge->from.name.id, sizeof merge->from.name.id);
    struct ring_walk walk;
    bool found = false;
    walk_ring(&merge->from.ctl, &walk);
    for (size_t i = 0; i < walk.nodes_count && !found; i++) {
        const struct ring_node *node = &walk.nodes[i];
        found = ring_is_member(node->status) && strcmp(node->address, merge->last) != 0 &&
                ring_bytes_equal(node->status->parameters->ring_id, ring_id);
        if (found) {
            memcpy(address, node->address, sizeof node->address);
        }
    }
    ring_walk_free(&walk);
    return found;
}

/* Until the last one is alone and has left. */
static void members_move(struct merge *merge) {
    uint64_t end_ms = clock_now_ms() + merge->step_ms;
    char address[CHORD_ADDRESS_SIZE];
    char reason[MERGE_REASON_BYTES] = "";
    for (;;) {
        bool found = other_member(merge, address);
        if (found) {
            merge_move(merge, address);
            merge->moved++;
            end_ms = clock_now_ms() + merge->step_ms;
            if (merge->progress) {
                ctl_note("%s is in the other ring", address);
            }
        } else if (merge_leave_last(merge, reason)) {
            return;
        }
        if (clock_now_ms() >= end_ms) {
            ctl_fail(CTL_REFUSED, "%s cannot leave as the last of its ring: %s", merge->last,
                     reason);
        }
        clock_pause_ms(found ? 0 : MERGE_PAUSE_MS);
    }
}

/* ---- the command ---- */

static void result_print(struct merge *merge, const char *result) {
    if (merge->ctl->json) {
        json_print(json_pack(
            "{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "result", result, "members_moved",
            json_u64(merge->moved), "rows_read", json_u64(merge->rows_read), "rows_copied",
            json_u64(merge->rows_copied), "rows_same", json_u64(merge->rows_same), "conflicts",
            json_u64(merge->conflicts), "conflicts_file",
            json_text(merge->conflicts > 0 ? merge->conflicts_file : NULL), "members",
            json_u64(merge->into.members_count), "keys", json_u64(merge->into.keys)));
        return;
    }
    line_print("%s: %zu members, %llu keys", result, merge->into.members_count,
               (unsigned long long)merge->into.keys);
    if (merge->rows_read > 0) {
        line_print("%llu rows read, %llu copied, %llu there already, %llu conflicts",
                   (unsigned long long)merge->rows_read, (unsigned long long)merge->rows_copied,
                   (unsigned long long)merge->rows_same, (unsigned long long)merge->conflicts);
    }
    if (merge->conflicts > 0) {
        line_print("in conflicts the %s ring's value stayed; the others: %s",
                   merge->replace ? "from" : "into", merge->conflicts_file);
    }
}

/* Before anything is changed: whether it can be. */
static void rings_check(struct merge *merge) {
    struct merge_look look;
    parameters_compare(merge);
    merge_look(merge, merge->last, &look);
    if (!look.left_last && look.state != CHORD__V1__NODE_STATE__NODE_STATE_MEMBER) {
        ctl_fail(CTL_REFUSED, "%s is %s; name a member of its ring with --from", merge->last,
                 ring_state_text(look.state));
    }
    ring_await_ideal(&merge->into, "into", merge->ctl->timeout_ms, false);
    if (!look.left_last) {
        ring_await_ideal(&merge->from, "from", merge->ctl->timeout_ms, false);
    }
    room_check(merge);
}

static int merge_run(struct ctl *ctl, const struct arguments *arguments) {
    static struct merge merge; /* the clients of its rings live to the end of the program */
    char self[CHORD_ADDRESS_SIZE];
    const char *conflict = arguments_option(arguments, "on-conflict");
    const char *path = arguments_option(arguments, "conflicts");
    if (conflict != NULL && strcmp(conflict, "keep") != 0 && strcmp(conflict, "replace") != 0) {
        ctl_fail(CTL_USAGE, "--on-conflict '%s' is not known: give keep or replace", conflict);
    }
    merge.ctl = ctl;
    merge.replace = conflict != NULL && strcmp(conflict, "replace") == 0;
    merge.conflicts_path = path != NULL ? path : "merge-conflicts.csv";
    merge.step_ms = ctl->timeout_given ? ctl->timeout_ms : MERGE_STEP_MS;
    merge.progress = isatty(STDERR_FILENO);
    ring_open(&merge, &merge.from, "from", arguments_option(arguments, "from"));
    ring_open(&merge, &merge.into, "into", arguments_option(arguments, "into"));
    ring_read(&merge.into, self);
    ring_read(&merge.from, merge.last);
    bool were_one = one_ring(&merge);
    if (!were_one) {
        rings_check(&merge);
        if (arguments_option(arguments, "yes") == NULL) {
            confirm(&merge);
        }
        members_move(&merge);
        merge_rows_copy(&merge);
        merge_move(&merge, merge.last);
        merge.moved++;
    }
    ring_await_ideal(&merge.into, were_one ? "one" : "merged", merge.step_ms, true);
    result_print(&merge, were_one ? "one ring already" : "merged");
    return CTL_OK;
}

static const struct flag merge_options[] = {
    {0, "from", "HOST:PORT", "a member of the ring that goes; it goes last"},
    {0, "into", "HOST:PORT", "a member of the ring that stays"},
    {0, "on-conflict", "keep|replace", "keep the value of the into ring (default), or replace it"},
    {0, "conflicts", "FILE", "where values that lose go (merge-conflicts.csv)"},
    {'y', "yes", NULL, "do not ask"},
    {0, NULL, NULL, NULL},
};

const struct command merge_command = {
    .name = "merge",
    .words = "",
    .summary = "join two rings that were built apart",
    .help = "The members of the from ring leave it and join the into ring, one after the other. "
            "The last\n"
            "one holds every row then; it stops serving, its rows are copied, and it joins too. "
            "Both rings\n"
            "need the same M, N and REPLICAS. Meanwhile a key of the from ring is found through "
            "members\n"
            "that are still there, and for the time of the copy by nobody. Interrupted, run the "
            "same command\n"
            "again: it goes on. Not wanted any more: chordctl join brings the last one back as its "
            "old ring.\n"
            "FILE has the lossless form of chordctl export: chordctl import takes it back. A file "
            "that is\n"
            "there, of an interrupted run perhaps, stays as it is: values go to FILE.2 then, and "
            "so on.\n"
            "--timeout: for one step, default 600000.\n"
            "Parts of one ring that lost sight of each other need no command: they find each "
            "other.\n",
    .options = merge_options,
    .run = merge_run,
};

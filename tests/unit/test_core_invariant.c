/* SPDX-License-Identifier: MIT */
/*
 * chord_invariant: a good state breaks no rule, and each way of spoiling it is told by its own
 * text. The states are made by hand, so this test may know the inside of the core.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/data.h"
#include "ring/ring.h"

enum { M = 8 };

_Noreturn void chord_assert_failed(const char *file, int line, const char *condition) {
    fprintf(stderr, "%s:%d: assertion failed: %s\n", file, line, condition);
    abort();
}

static struct chord_id id_of(unsigned value) {
    struct chord_id id = {{0}};
    id.bytes[CHORD_ID_BYTES - 1] = (uint8_t)value;
    return id;
}

static void peer_put(struct chord *chord, uint16_t index, unsigned id) {
    struct chord_peer *peer = &peer_at(chord, index)->peer;
    peer->id = id_of(id);
    peer->incarnation = 1;
    peer->store_id[0] = (uint8_t)id;
    snprintf(peer->address, sizeof peer->address, "node:%u", id);
}

static struct range *range_put(struct chord *chord, uint16_t index, unsigned lo, unsigned hi) {
    struct range *range = range_at(chord, index);
    range->used = range->settled = range->open = range->lived = true;
    range->serial = index + 1u;
    range->view.range = (struct chord_range){id_of(lo), id_of(hi)};
    range->view.epoch = 1;
    range->view.members_count = 2;
    memcpy(range->view.members[0].store_id, chord->self.store_id, CHORD_STORE_ID_BYTES);
    memcpy(range->view.members[0].address, chord->self.address, CHORD_ADDRESS_BYTES);
    range->view.members[1].store_id[0] = 20;
    chord->ranges_end = index >= chord->ranges_end ? (uint16_t)(index + 1) : chord->ranges_end;
    return range;
}

/* Member 10 of a ring with 20, 30 and 200; it leads (200, 10] and has written nothing. */
static struct chord *good_new(void) {
    struct chord_config config = {.limits = {.peers_max = 24,
                                             .views_max = 12,
                                             .calls_max = 8,
                                             .lookups_max = 4,
                                             .paths_max = 2,
                                             .batches_max = 4,
                                             .transfers_max = 2,
                                             .decisions_max = 2,
                                             .keys_in_flight_max = 8},
                                  .timing = chord_timing_default,
                                  .seed = 1,
                                  .address = "node:10",
                                  .store_id = {10}};
    void *memory = calloc(1, chord_size(&config.limits));
    assert_non_null(memory);
    struct chord *chord = chord_init(memory, &config);
    chord->parameters.m = M;
    chord->parameters.n = 3;
    chord->parameters.replicas = 3;
    chord->self.id = id_of(10);
    chord->self.incarnation = 1;
    chord->state = CHORD_STATE_MEMBER;
    chord->now_ms = 1000;
    peer_put(chord, 0, 20);
    peer_put(chord, 1, 30);
    peer_put(chord, 2, 200);
    for (uint16_t i = 0; i < 3; i++) {
        chord->successors[chord->successors_count++] = i;
    }
    chord->predecessor = 2;
    chord->fingers[0] = 0;
    chord->fingers[M - 1] = 2;
    range_put(chord, 0, 200, 10);
    return chord;
}

/* ---- ways to spoil it ---- */

#define SPOIL(name) static void name(struct chord *chord)

SPOIL(no_incarnation) {
    chord->self.incarnation = 0;
}
SPOIL(no_state) {
    chord->state = (enum chord_node_state)9;
}
SPOIL(large_id) {
    chord->self.id.bytes[0] = 1;
}
SPOIL(peer_without_address) {
    peer_at(chord, 1)->peer.address[0] = '\0';
}
SPOIL(silent_in_the_future) {
    peer_at(chord, 1)->struck_ms = chord->now_ms + 1;
}
SPOIL(long_list) {
    chord->successors_count = CHORD_SUCCESSORS_MAX + 1;
}
SPOIL(unknown_successor) {
    chord->successors[1] = 7;
}
SPOIL(self_in_list) {
    peer_put(chord, 3, 10);
    chord->successors[2] = 3;
}
SPOIL(duplicate) {
    chord->successors[1] = 0;
}
SPOIL(disorder) {
    chord->successors[0] = 1;
    chord->successors[1] = 0;
}
SPOIL(wrapped) {
    peer_put(chord, 3, 9);
    peer_put(chord, 4, 15);
    chord->successors[1] = 3;
    chord->successors[2] = 4;
}
SPOIL(self_before) {
    peer_put(chord, 3, 10);
    chord->predecessor = 3;
}
SPOIL(unknown_before) {
    chord->predecessor = 9;
}
SPOIL(unknown_candidate) {
    chord->candidate = 9;
}
SPOIL(left_with_neighbours) {
    chord->state = CHORD_STATE_LEFT;
}
SPOIL(unknown_finger) {
    chord->fingers[1] = 9;
}
SPOIL(finger_beyond) {
    chord->fingers[M] = 0;
}
SPOIL(call_beyond) {
    call_at(chord, 0)->purpose = CALL_LOOKUP;
    call_at(chord, 0)->subject.slot = 99;
}
SPOIL(store_beyond) {
    store_at(chord, 0)->purpose = STORE_PULLED;
    store_at(chord, 0)->subject.slot = 99;
}
SPOIL(lookup_beyond) {
    lookup_at(chord, 0)->purpose = LOOKUP_UNIFY;
    lookup_at(chord, 0)->path = NONE;
    lookup_at(chord, 0)->hops = CHORD_HOPS_MAX + 1;
}
SPOIL(lookup_of_no_batch) {
    lookup_at(chord, 0)->purpose = LOOKUP_BATCH;
    lookup_at(chord, 0)->path = NONE;
    lookup_at(chord, 0)->subject.slot = 99;
}
SPOIL(lookup_with_foreign_path) {
    lookup_at(chord, 0)->purpose = LOOKUP_CLIENT;
    lookup_at(chord, 0)->path = 1;
}
SPOIL(lost_path) {
    path_at(chord, 0)->used = true;
}
SPOIL(silent_lookup) {
    lookup_at(chord, 0)->purpose = LOOKUP_UNIFY;
    lookup_at(chord, 0)->path = NONE;
}
SPOIL(silent_query) {
    chord->query.kind = QUERY_STABILIZE;
    chord->query.waiting = true;
}
SPOIL(two_queries) {
    silent_query(chord);
    call_at(chord, 0)->purpose = call_at(chord, 1)->purpose = CALL_QUERY;
    call_at(chord, 0)->peer = call_at(chord, 1)->peer = NONE;
    call_at(chord, 0)->member = call_at(chord, 1)->member = NONE;
}
SPOIL(sleeping_query) {
    chord->query.kind = QUERY_STABILIZE;
}
SPOIL(busy_query) {
    chord->query.busy_count = BUSY_MAX + 1;
}
SPOIL(silent_check) {
    chord->checking_predecessor = true;
}
SPOIL(silent_finger) {
    chord->finger_open = true;
}
SPOIL(joining_member) {
    chord->join.stage = JOIN_PING;
}
static void joining(struct chord *chord) {
    neighbours_clear(chord);
    chord->state = CHORD_STATE_JOINING;
    chord->join.stage = JOIN_PING;
    chord->join.seeds_count = 2;
}
SPOIL(no_such_seed) {
    joining(chord);
    chord->join.seed = 3;
}
SPOIL(sleeping_join) {
    joining(chord);
}
SPOIL(silent_join) {
    joining(chord);
    chord->join.open = true;
}
SPOIL(join_without_lookup) {
    joining(chord);
    chord->join.stage = JOIN_LOOKUP;
    chord->join.open = true;
}
SPOIL(genesis_outside) {
    neighbours_clear(chord);
    chord->state = CHORD_STATE_LEFT;
    chord->genesis.running = true;
}
SPOIL(genesis_beyond) {
    chord->genesis.running = true;
    chord->genesis.count = 2;
    chord->genesis.answered = 4;
}
static struct batch *batch_put(struct chord *chord, enum batch_state state) {
    struct batch *batch = batch_at(chord, 0);
    batch->state = state;
    batch->keys_head = KEYS_NONE;
    batch->deadline_ms = batch->retry_ms = 5000;
    chord->batches_ms = 2000;
    return batch;
}
SPOIL(batch_beyond) {
    batch_put(chord, BATCH_RUNNING)->range.slot = 99;
}
SPOIL(idle_keys) {
    batch_put(chord, BATCH_WAITING)->keys_head = 0;
}
SPOIL(forgotten_batch) {
    batch_put(chord, BATCH_WAITING);
    chord->batches_ms = 6000;
}
SPOIL(lost_lookup) {
    batch_put(chord, BATCH_LOOKING);
}
SPOIL(lost_forward) {
    batch_put(chord, BATCH_FORWARDED);
}
SPOIL(lost_keys) {
    chord->keys_taken = chord->keys_used = 1;
}
SPOIL(lost_write) {
    struct batch *batch = batch_put(chord, BATCH_RUNNING);
    batch->writing = true;
    batch->range.serial = 1;
}
SPOIL(lost_saving) {
    chord->views_saving = 1;
}
SPOIL(ranges_end_wrong) {
    chord->ranges_end = 2;
}
SPOIL(no_epoch) {
    range_at(chord, 0)->view.epoch = 0;
}
SPOIL(no_leader) {
    range_at(chord, 0)->view.leader = 2;
}
SPOIL(two_seats) {
    range_at(chord, 0)->view.members[1].store_id[0] = 10;
}
SPOIL(large_range) {
    range_at(chord, 0)->view.range.lo.bytes[0] = 1;
}
SPOIL(foreign_bits) {
    range_at(chord, 0)->synced = 4;
}
SPOIL(gone_with_seat) {
    range_at(chord, 0)->gone = true;
}
SPOIL(open_unsettled) {
    range_at(chord, 0)->settled = false;
}
SPOIL(open_in_another_life) {
    range_at(chord, 0)->lived = false;
}
SPOIL(lost_apply) {
    range_at(chord, 0)->member_calls[1] = 1;
}
SPOIL(decision_beyond) {
    decision_at(chord, 1)->stage = DECISION_PREPARE;
    decision_at(chord, 1)->range.slot = 99;
}
SPOIL(forgotten_decision) {
    decision_at(chord, 1)->stage = DECISION_ACCEPT;
    decision_at(chord, 1)->other = NO_REF;
    decision_at(chord, 1)->resend_ms = 2000;
}
SPOIL(changed_by_another) {
    range_at(chord, 0)->open = false;
    range_at(chord, 0)->view.leader = 1;
    range_at(chord, 0)->change.stage = CHANGE_LEARN;
}
SPOIL(overlap) {
    range_put(chord, 1, 5, 20);
}
SPOIL(silent_watch) {
    range_at(chord, 0)->watching = true;
}
SPOIL(silent_transfer) {
    transfer_at(chord, 0)->stage = TRANSFER_PULL;
}
SPOIL(forgotten_transfer) {
    transfer_at(chord, 0)->stage = TRANSFER_PULL;
    transfer_at(chord, 0)->retry_ms = 2000;
}
SPOIL(transfer_beyond) {
    transfer_at(chord, 0)->stage = TRANSFER_PULL;
    transfer_at(chord, 0)->subject.slot = 99;
}

static const struct {
    void (*spoil)(struct chord *chord);
    const char *text;
} cases[] = {
    {no_incarnation, "a started node has no incarnation"},
    {no_state, "the node's state has no name"},
    {large_id, "a member's id is 2^M or more"},
    {peer_without_address, "a known peer has no address or an id of 2^M or more"},
    {silent_in_the_future, "a peer was silent in the future"},
    {long_list, "the successor list is longer than any"},
    {unknown_successor, "a successor is not a known peer"},
    {self_in_list, "the successor list contains self"},
    {duplicate, "the successor list contains a duplicate"},
    {disorder, "the successor list is not in clockwise order from self"},
    {wrapped, "the successor list is not in clockwise order from self"},
    {self_before, "the predecessor is self or not a known peer"},
    {unknown_before, "the predecessor is self or not a known peer"},
    {unknown_candidate, "the candidate for rectify is self or not a known peer"},
    {left_with_neighbours, "a node that is no member has neighbours"},
    {unknown_finger, "a finger is not a known peer"},
    {finger_beyond, "there are more than M fingers"},
    {call_beyond, "a call is about something outside its table"},
    {store_beyond, "a store operation is about something outside its table"},
    {lookup_beyond, "a lookup is beyond its limits"},
    {lookup_of_no_batch, "a lookup is for a batch outside the table"},
    {lookup_with_foreign_path, "a lookup records its path in a slot that is not its own"},
    {lost_path, "a path belongs to no lookup"},
    {silent_lookup, "a lookup waits for no answer, or for two"},
    {silent_query, "the maintenance query waits for no answer, or for two"},
    {two_queries, "the maintenance query waits for no answer, or for two"},
    {sleeping_query, "the maintenance query is neither asked nor to be asked again"},
    {busy_query, "the maintenance query was Busy too often without an end"},
    {silent_check, "check_predecessor waits for no answer, or for two"},
    {silent_finger, "fix_fingers waits for no lookup, or for two"},
    {joining_member, "a join goes on in a node that is not joining"},
    {no_such_seed, "the join asks a seed that is not there"},
    {sleeping_join, "the join will never go on"},
    {silent_join, "the join waits for no answer, or for two"},
    {join_without_lookup, "the join waits for no lookup"},
    {genesis_outside, "a genesis round runs in a node that is no member"},
    {genesis_beyond, "a genesis round is beyond its list"},
    {batch_beyond, "a batch runs in a range outside the table"},
    {idle_keys, "a batch that does not run holds keys"},
    {forgotten_batch, "a batch is due, but no tick will come"},
    {lost_lookup, "a batch waits for no lookup, or for two"},
    {lost_forward, "a batch that was forwarded waits for no answer, or for two"},
    {lost_keys, "the keys in flight are counted wrong"},
    {lost_write, "a range counts other writes than those in flight"},
    {lost_saving, "the saving of views is counted wrong"},
    {ranges_end_wrong, "the end of the table of views is wrong"},
    {no_epoch, "a view has no epoch"},
    {no_leader, "a view has no members, too many, or no leader among them"},
    {two_seats, "a view has two seats for one store"},
    {large_range, "a view's range has an id of 2^M or more"},
    {foreign_bits, "a view counts members that it does not have"},
    {gone_with_seat, "a range is only remembered, but its view has a seat here"},
    {open_unsettled, "a range is open without a leader here or before it is settled"},
    {open_in_another_life, "a range is open without a leader here or before it is settled"},
    {lost_apply, "a range counts other Apply messages than those in flight"},
    {decision_beyond, "a decision is about a range outside the table"},
    {forgotten_decision, "a decision is due, but no tick will come"},
    {changed_by_another, "a range is written or changed by one who does not lead it"},
    {overlap, "two views overlap"},
    {silent_watch, "a range waits for no answer of its leader, or for two"},
    {silent_transfer, "a transfer waits for nothing, or for two"},
    {forgotten_transfer, "a transfer is to be tried again, but no tick will come"},
    {transfer_beyond, "a transfer is for a range outside the table"},
};

static void test_good(void **state) {
    (void)state;
    struct chord *chord = good_new();
    assert_null(chord_invariant(chord));
    free(chord);
}

static void test_each_rule(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct chord *chord = good_new();
        cases[i].spoil(chord);
        const char *broken = chord_invariant(chord);
        if (broken == NULL) {
            fail_msg("nothing is told, expected: %s", cases[i].text);
        }
        assert_string_equal(broken, cases[i].text);
        free(chord);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_each_rule),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

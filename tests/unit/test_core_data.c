/* SPDX-License-Identifier: MIT */
/*
 * Keys on core_host: what is acknowledged is on a majority, and stays readable through joins,
 * leaves, splits, merges and restarts; what was accepted is decided.
 */
#include "data_fixture.h"

/* ---- acknowledged means a majority ---- */

static void test_no_reply_before_a_majority_stored(void **state) {
    (void)state;
    FOR_SEEDS {
        struct host *host = ring_new(3, 3, 5);
        int leader;
        const struct chord_view *view = view_of(host, 1, &leader);
        check(view != NULL && view->members_count == 3);
        int members[3];
        for (int i = 0; i < 3; i++) {
            members[i] = host_by_address(host, view->members[i].address);
        }
        for (unsigned paused = 0; paused < 8; paused++) {
            unsigned left = 3;
            for (int i = 0; i < 3; i++) {
                host_node(host, members[i])->disk =
                    paused >> i & 1 ? HOST_DISK_STALLED : HOST_DISK_WELL;
                left -= paused >> i & 1;
            }
            struct host_call *call = one(host, leader, CHORD_PUT, 1, 100 + paused, 5000);
            host_run(host, 250);
            /* The leader's own copy is always one of those that count. */
            bool acknowledged = left >= 2 && host_node(host, leader)->disk == HOST_DISK_WELL;
            check(call->done == acknowledged);
            check(!call->done || (call->operations[0].code == CHORD_OK &&
                                  copies_of(host, &call->operations[0]) >= 2));
            for (int i = 0; i < 3; i++) {
                host_node(host, members[i])->disk = HOST_DISK_WELL;
            }
            wait_for(host, call);
            check(call->operations[0].code == CHORD_OK);
            check(copies_of(host, &call->operations[0]) >= 2);
            check(host_run_until(host, whole, 20000));
            view_of(host, 1, &leader);
        }
        ring_free(host);
    }
}

/* Whatever is lost with a kill right after the acknowledgement: the write is not. */
static void test_kill_right_after_the_acknowledgement(void **state) {
    (void)state;
    FOR_SEEDS {
        struct host *host = ring_new(3, 3, 6);
        for (unsigned round = 0; round < 6; round++) {
            int leader;
            view_of(host, round, &leader);
            struct host_call *call = one(host, live_node(host), CHORD_PUT, round, round, 5000);
            while (!call->done) {
                host_step(host);
            }
            check(call->operations[0].code == CHORD_OK);
            host_kill(host, leader);
            struct host_call *read = insist(host, CHORD_GET, round, 0);
            check(read->operations[0].code == CHORD_OK);
            struct host_operation expected = make(CHORD_PUT, round, round);
            check(strcmp(read->operations[0].value, expected.value) == 0);
            host_start(host, leader);
            check(host_run_until(host, whole, 60000));
        }
        ring_free(host);
    }
}

/* A disk that lied until a power cut: everything since is gone from it, rows and views. Its node
 * leads again what it had led, in the same epoch for all that it knows. */
static void test_a_disk_that_has_forgotten_that_it_leads(void **state) {
    (void)state;
    FOR_SEEDS {
        for (int liar = 0; liar < 3; liar++) {
            struct host *host = ring_new(3, 3, 3);
            struct core_store honest = {0};
            core_store_copy(&honest, &host_node(host, liar)->store);
            host_start(host, host_add(host));
            check(host_run_until(host, whole, 60000));
            put_all(host, 0);
            check(host_run_until(host, copies_equal, 10000));
            host_kill(host, liar);
            core_store_copy(&host_node(host, liar)->store, &honest);
            core_store_clear(&honest);
            host_start(host, liar);
            check_reads(host, 0, true);
            check(host_run_until(host, whole, 60000));
            check_all(host, 0);
            ring_free(host);
        }
    }
}

/* Its writer may know of the next view while the leader of this one still serves: what is written
 * here would be older than `seen`, and a repeat would be done once more by the next leader. */
static void test_a_write_waits_for_the_epoch_it_has_seen(void **state) {
    (void)state;
    FOR_SEEDS {
        struct host *host = ring_new(3, 3, 3);
        put_all(host, 0);
        int leader;
        struct host_operation write = make(CHORD_PUT, 7, 4711);
        write.op_id = 1;
        write.attempt = 1;
        write.seen_epoch = view_of(host, 7, &leader)->epoch + 1;
        for (int node = 0; node < 3; node++) {
            struct host_call *call = host_batch(host, node, &write, 1, 2000);
            wait_for(host, call);
            enum chord_code code = call->operations[0].code;
            check(call->code == CHORD_OK);
            check(code == CHORD_UNAVAILABLE || /* one that asks the leader may run out of time */
                  (code == CHORD_UNKNOWN && node != leader));
        }
        check_reads(host, 0, false);
        write.seen_epoch--;
        struct host_call *call = host_batch(host, leader, &write, 1, 2000);
        wait_for(host, call);
        check(call->operations[0].code == CHORD_ABORTED); /* the row is newer, as it should be */
        ring_free(host);
    }
}

static void test_no_majority_is_unknown(void **state) {
    (void)state;
    FOR_SEEDS {
        struct host *host = ring_new(2, 3, 3);
        put_all(host, 0);
        int leader;
        view_of(host, 7, &leader);
        for (int i = 0; i < 3; i++) {
            if (i != leader) {
                host_kill(host, i);
            }
        }
        struct host_call *call = one(host, leader, CHORD_PUT, 7, 4711, 2000);
        wait_for(host, call);
        check(call->operations[0].code == CHORD_UNKNOWN);
        check(call->done_us - call->started_us < 2100000); /* by its deadline */
        for (int i = 0; i < 3; i++) {
            if (i != leader) {
                host_start(host, i);
            }
        }
        check(host_run_until(host, whole, 90000));
        /* Either it happened or it did not; everybody says the same. */
        char seen[CORE_TEXT_BYTES] = "";
        for (int i = 0; i < 3; i++) {
            struct host_call *read = one(host, i, CHORD_GET, 7, 0, 5000);
            wait_for(host, read);
            check(read->operations[0].code == CHORD_OK);
            check(seen[0] == '\0' || strcmp(seen, read->operations[0].value) == 0);
            memcpy(seen, read->operations[0].value, CORE_TEXT_BYTES);
        }
        check(strcmp(seen, "value 4711") == 0 || strcmp(seen, "value 7") == 0);
        ring_free(host);
    }
}

/* ---- coming and going ---- */

static void test_split_and_merge_keep_all_keys(void **state) {
    (void)state;
    FOR_SEEDS {
        struct host *host = ring_new(3, 3, 1);
        put_all(host, 0);
        for (int i = 1; i < 8; i++) { /* every join splits a range */
            host_start(host, host_add(host));
            check_all(host, 0);
            check(host_run_until(host, whole, 60000));
            check(host_members(host) == i + 1);
        }
        check_all(host, 0);
        for (int i = 7; i > 3; i--) { /* every failure ends in a merge */
            host_kill(host, i);
            check(host_run_until(host, whole, 60000));
            check_all(host, 0);
        }
        ring_free(host);
    }
}

static void test_join_many_at_once(void **state) {
    (void)state;
    FOR_SEEDS {
        struct host *host = ring_new(3, 3, 4);
        put_all(host, 0);
        for (int i = 0; i < 8; i++) {
            host_start(host, host_add(host));
        }
        check_all(host, 0);
        check(host_run_until(host, whole, 120000));
        check(host_members(host) == 12);
        check_all(host, 0);
        ring_free(host);
    }
}

static void test_leave_and_return(void **state) {
    (void)state;
    FOR_SEEDS {
        struct host *host = ring_new(3, 3, 6);
        put_all(host, 0);
        for (int node = 0; node < 6; node += 2) {
            leave(host, node);
            check(host_run_until(host, whole, 60000));
            check_all(host, 0);
            put_all(host, 1000);
            host_join(host, node, false); /* with its old rows, of no worth now */
            check(host_run_until(host, whole, 60000));
            check_all(host, 1000);
            put_all(host, 0);
        }
        ring_free(host);
    }
}

static void test_leave_down_to_one(void **state) {
    (void)state;
    FOR_SEEDS {
        struct host *host = ring_new(3, 3, 5);
        put_all(host, 0);
        for (int node = 4; node >= 1; node--) {
            leave(host, node);
            check_all(host, 0);
        }
        check(host_run_until(host, whole, 60000));
        put_all(host, 50);
        check_all(host, 50);
        ring_free(host);
    }
}

static void test_whole_ring_restarts_with_its_keys(void **state) {
    (void)state;
    FOR_SEEDS {
        struct host *host = ring_new(3, 3, 6);
        put_all(host, 0);
        host_run(host, 3000);
        for (int round = 0; round < 3; round++) {
            for (int i = 0; i < 6; i++) {
                host_kill(host, i);
            }
            for (int i = 0; i < 6; i++) {
                host_start(host, (i + round) % 6);
                host_run(host, host_random(host) % 300);
            }
            check(host_run_until(host, whole, 120000));
            check_all(host, (unsigned)round * 1000);
            put_all(host, (unsigned)(round + 1) * 1000);
        }
        ring_free(host);
    }
}

/* ---- epochs ---- */

static void test_wrong_epoch_is_refused(void **state) {
    (void)state;
    FOR_SEEDS {
        struct host *host = ring_new(3, 3, 5);
        int leader;
        struct chord_view view = *view_of(host, 1, &leader);
        for (uint16_t i = 0; i < view.members_count; i++) {
            int member = host_by_address(host, view.members[i].address);
            for (int difference = -2; difference <= 2; difference++) {
                struct chord_request apply = {.kind = CHORD_APPLY};
                apply.rows.range = view.range;
                apply.rows.epoch = view.epoch + (uint64_t)difference;
                struct host_call *call = host_request(host, member, &apply, 2000);
                wait_for(host, call);
                check(call->code == CHORD_OK && !call->response.gone);
                check(call->response.view.has_view == (difference != 0));
                check(difference == 0 || call->response.view.view.epoch == view.epoch);
            }
        }
        ring_free(host);
    }
}

static void decide(struct host *host, int node, const struct chord_view *view) {
    struct chord_request decided = {.kind = CHORD_DECIDED};
    decided.decided.count = 1;
    decided.decided.views[0] = *view;
    struct host_call *call = host_request(host, node, &decided, 2000);
    wait_for(host, call);
    check(call->code == CHORD_OK && !call->response.view.has_view);
}

/* Between nodes nothing of a decision arrives. */
static bool decided_lost(void *context, const struct host_message *message) {
    const bool *on = context;
    return !*on || message->kind != CHORD_DECIDED || message->from == HOST_NOBODY ||
           message->to == HOST_NOBODY;
}

static bool has_piece(struct host *host, int node, const struct chord_range *range,
                      uint64_t epoch) {
    enum chord_range_state state;
    unsigned copies;
    const struct chord_view *view;
    for (uint16_t at = 0;
         (view = chord_view_at(host_node(host, node)->chord, at, &state, &copies)) != NULL; at++) {
        if (view->cut && view->epoch == epoch && id_equal(&view->range.lo, &range->lo) &&
            id_equal(&view->range.hi, &range->hi)) {
            return true;
        }
    }
    return false;
}

/* A member missed a view without it, and one of the two into which that was divided. It hears of
 * the first one when that is over for half of its range: what it knows of the other half is older,
 * so who the members were is worth knowing (client seed 9145: it could never leave). */
static void test_what_is_left_of_a_view_that_is_over(void **state) {
    (void)state;
    FOR_SEEDS {
        bool lost = false;
        struct host *host = ring_of(
            (struct host_config){
                .n = 3, .replicas = 3, .on_message = decided_lost, .context = &lost},
            4);
        check(host_run_until(host, whole, 20000));
        lost = true;
        int leader, left = HOST_NOBODY;
        struct chord_view next = *view_of(host, 1, &leader);
        for (int node = 0; node < 4; node++) { /* who has no copy yet takes somebody's seat */
            uint16_t seat = 0;
            while (seat < 3 && host_by_address(host, next.members[seat].address) != node) {
                seat++;
            }
            if (seat == 3) {
                struct chord_status status;
                host_status(host, node, &status);
                uint16_t taken = next.leader == 0 ? 1 : 0;
                left = host_by_address(host, next.members[taken].address);
                memcpy(next.members[taken].store_id, status.self.store_id, CHORD_STORE_ID_BYTES);
                memcpy(next.members[taken].address, status.self.address, CHORD_ADDRESS_BYTES);
            }
        }
        next.epoch++;
        struct chord_view half = next;
        half.epoch++;
        half.range.hi = id_middle(&next.range.lo, &next.range.hi, M);
        struct chord_range rest = {half.range.hi, next.range.hi};
        decide(host, left, &half);
        check(has_piece(host, left, &rest, next.epoch - 1));
        decide(host, leader, &next);
        for (int i = 0; i < 5000 && !has_piece(host, left, &rest, next.epoch); i++) {
            host_run(host, 1);
        }
        check(has_piece(host, left, &rest, next.epoch));
        ring_free(host);
    }
}

/* ---- decisions ---- */

/* A member dies; its leader decides who follows, and is killed before it hears that this was
 * accepted, so that only the other member knows of it. */
struct half_decided {
    bool on;
    int leader;
    unsigned delivered;
    struct chord_view next;
    bool seen, other; /* that view, or another one of its epoch, was installed by somebody */
};

static bool half_decide(void *context, const struct host_message *message) {
    struct half_decided *half = context;
    if (!half->on || message->kind != CHORD_ACCEPT) {
        return true;
    }
    if (message->request != NULL && message->from == half->leader &&
        message->request->decide.ballot == 0 &&
        (half->delivered == 0 || views_same(&half->next, &message->request->decide.next))) {
        half->next = message->request->decide.next;
        half->delivered++;
        return true;
    }
    return message->response == NULL || message->to != half->leader;
}

static void watch_decision(void *context, struct host *host, int node) {
    struct half_decided *half = context;
    enum chord_range_state state;
    unsigned copies;
    const struct chord_view *view;
    for (uint16_t at = 0;
         half->delivered > 0 && host_node(host, node)->alive &&
         (view = chord_view_at(host_node(host, node)->chord, at, &state, &copies)) != NULL;
         at++) {
        if (view->epoch == half->next.epoch && !view->cut && views_overlap(view, &half->next)) {
            bool same = views_same(view, &half->next);
            half->seen = half->seen || same;
            half->other = half->other || !same;
        }
    }
    find_double_view(NULL, host, node);
}

static void test_what_was_accepted_is_decided(void **state) {
    (void)state;
    unsigned seen = 0;
    FOR_SEEDS {
        struct half_decided half = {.leader = HOST_NOBODY};
        struct host *host = host_new(&(struct host_config){.seed = seed_now,
                                                           .m = M,
                                                           .n = 3,
                                                           .replicas = 3,
                                                           .on_message = half_decide,
                                                           .on_step = watch_decision,
                                                           .context = &half});
        double_view[0] = '\0';
        current = host;
        for (int i = 0; i < 5; i++) {
            host_start(host, host_add(host));
        }
        check(host_run_until(host, whole, 60000));
        put_all(host, 0);
        struct chord_view view = *view_of(host, 1, &half.leader);
        int dead = host_by_address(host, view.members[1].address);
        half.on = true;
        host_kill(host, dead);
        for (int i = 0; i < 20000 && half.delivered == 0; i++) {
            host_run(host, 1);
        }
        host_run(host, 20); /* it is accepted, and on disk */
        host_kill(host, half.leader);
        half.on = false;
        host_start(host, dead);
        host_run(host, 8000);
        check(!half.other);
        seen += half.seen;
        host_start(host, half.leader);
        check(host_run_until(host, whole, 60000));
        check_all(host, 0);
        ring_free(host);
    }
    assert_true(seen > 0);
}

static struct chord_id id_of(unsigned key) {
    struct host_operation operation = make(CHORD_GET, key, 0);
    uint8_t hash[CHORD_ID_BYTES];
    core_hash(operation.key, hash);
    return id_from_hash(hash, M);
}

/* Two of three copies are lost for good: nothing is served, except stale copies, until somebody
 * says so; then what the last copy has, marked for ever. */
static void test_recover(void **state) {
    (void)state;
    FOR_SEEDS {
        struct host *host = ring_new(2, 3, 3);
        put_all(host, 0);
        check(host_run_until(host, whole, 20000));
        int left = (int)(seed_now % 3);
        struct chord_event recover = {.kind = CHORD_EVENT_RECOVER};
        recover.recover = id_of(1);
        host_event(host, left, &recover); /* not while there is a majority */
        check(host_run_until(host, whole, 20000));
        for (int i = 0; i < 3; i++) {
            if (i != left) {
                host_kill(host, i);
                host_wipe(host, i);
            }
        }
        host_run(host, 5000);
        struct host_call *read = one(host, left, CHORD_GET, 1, 0, 2000);
        wait_for(host, read);
        check(read->operations[0].code == CHORD_UNAVAILABLE);
        check(read->response.batch.missing.count == 2); /* and who they are */
        for (uint16_t i = 0; i < 2; i++) {
            int missing = host_by_address(host, read->response.batch.missing.addresses[i]);
            check(missing != HOST_NOBODY && missing != left);
        }
        for (unsigned key = 0; key < KEYS; key++) { /* whichever range has the key */
            recover.recover = id_of(key);
            host_event(host, left, &recover);
        }
        check(host_run_until(host, host_settled, 20000));
        check_reads(host, 0, true);
        enum chord_range_state range_state;
        unsigned copies;
        const struct chord_view *view =
            chord_view_at(host_node(host, left)->chord, 0, &range_state, &copies);
        check(view->recovered);
        for (int i = 0; i < 3; i++) {
            if (i != left) {
                host_start(host, i); /* new disks */
            }
        }
        check(host_run_until(host, whole, 60000));
        check_all(host, 0);
        view = chord_view_at(host_node(host, left)->chord, 0, &range_state, &copies);
        check(view->recovered && view->members_count == 3);
        ring_free(host);
    }
}

/* Each was a lost copy: a store that had just learned a range as its next member dropped the rows,
 * because the view before, without it, was confirmed in that moment. */
/* A node that no ring has let in yet does nothing, and says so: it never says OK. */
static void test_before_the_first_join(void **state) {
    (void)state;
    FOR_SEEDS {
        struct host *host = ring_new(3, 3, 3);
        int node = host_add(host);
        for (int i = 0; i < node; i++) {
            host_cut(host, node, i, true);
        }
        host_start(host, node);
        host_run(host, 100);
        const struct host_call *put = one(host, node, CHORD_PUT, 1, 1, 1000);
        wait_for(host, put);
        check(put->operations[0].code == CHORD_UNAVAILABLE);
        const struct host_call *get = one(host, node, CHORD_GET, 1, 0, 1000);
        wait_for(host, get);
        check(get->operations[0].code == CHORD_UNAVAILABLE);
        ring_free(host);
    }
}

static void test_seeds_of_former_bugs(void **state) {
    static const struct {
        void (*test)(void **state);
        uint64_t seed;
    } bugs[] = {{test_whole_ring_restarts_with_its_keys, 3},
                {test_split_and_merge_keep_all_keys, 55}};
    uint64_t first = seed_first;
    unsigned count = seeds_count;
    seeds_count = 1;
    for (unsigned i = 0; i < sizeof bugs / sizeof bugs[0]; i++) {
        seed_first = bugs[i].seed;
        bugs[i].test(state);
    }
    seed_first = first;
    seeds_count = count;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_no_reply_before_a_majority_stored, teardown),
        cmocka_unit_test_teardown(test_kill_right_after_the_acknowledgement, teardown),
        cmocka_unit_test_teardown(test_a_disk_that_has_forgotten_that_it_leads, teardown),
        cmocka_unit_test_teardown(test_a_write_waits_for_the_epoch_it_has_seen, teardown),
        cmocka_unit_test_teardown(test_no_majority_is_unknown, teardown),
        cmocka_unit_test_teardown(test_split_and_merge_keep_all_keys, teardown),
        cmocka_unit_test_teardown(test_join_many_at_once, teardown),
        cmocka_unit_test_teardown(test_leave_and_return, teardown),
        cmocka_unit_test_teardown(test_leave_down_to_one, teardown),
        cmocka_unit_test_teardown(test_whole_ring_restarts_with_its_keys, teardown),
        cmocka_unit_test_teardown(test_wrong_epoch_is_refused, teardown),
        cmocka_unit_test_teardown(test_what_is_left_of_a_view_that_is_over, teardown),
        cmocka_unit_test_teardown(test_what_was_accepted_is_decided, teardown),
        cmocka_unit_test_teardown(test_recover, teardown),
        cmocka_unit_test_teardown(test_before_the_first_join, teardown),
        cmocka_unit_test_teardown(test_seeds_of_former_bugs, teardown),
    };
    seeds_choose("test_core_data", 2);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

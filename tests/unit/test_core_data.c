/*
 * Keys on core_host: what is acknowledged is on a majority and stays readable through joins,
 * leaves, failures, partitions, splits and merges. After every step a checker looks for two views
 * of one key and one epoch. CHORD_TEST_SEED=n CHORD_TEST_RUNS=k runs the k seeds from n on,
 * CHORD_TEST_TRACE=1 tells all.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checks.h"

enum { M = 16, KEYS = 60, CLIENTS = 16, FORGET_MS = 2000 };

static uint64_t seed_first = 1;
static unsigned seeds_count = 2;
static uint64_t seed_now;
static char double_view[200]; /* the first that the checker saw */
static struct host *current;  /* freed also when a test fails */

#define FOR_SEEDS for (seed_now = seed_first; seed_now < seed_first + seeds_count; seed_now++)

#define check(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            if (current != NULL) {                                                                 \
                host_print(current);                                                               \
            }                                                                                      \
            fail_msg("%s; replay: CHORD_TEST_SEED=%llu CHORD_TEST_RUNS=1 test_core_data",          \
                     #condition, (unsigned long long)seed_now);                                    \
        }                                                                                          \
    } while (0)

/* ---- the checker ---- */

static const struct chord_view *serving(struct host *host, int node, uint16_t *at) {
    enum chord_range_state state;
    unsigned copies;
    const struct chord_view *view;
    while (host_node(host, node)->alive &&
           (view = chord_view_at(host_node(host, node)->chord, (*at)++, &state, &copies)) != NULL) {
        if (state == CHORD_RANGE_OPEN || state == CHORD_RANGE_CHANGING) {
            return view;
        }
    }
    return NULL;
}

static void find_double_view(void *context, struct host *host, int node) {
    int other;
    (void)context;
    const char *wrong = double_view[0] == '\0' ? check_views(host, node, &other) : NULL;
    if (wrong != NULL) {
        snprintf(double_view, sizeof double_view, "%s: nodes %d and %d at %llu us", wrong, node,
                 other, (unsigned long long)host_now_us(host));
    }
}

static struct host *ring_new(unsigned n, unsigned replicas, int count) {
    struct chord_timing timing = chord_timing_default;
    timing.forget_period_ms = FORGET_MS;
    struct host *host = host_new(&(struct host_config){.seed = seed_now,
                                                       .m = M,
                                                       .n = n,
                                                       .replicas = replicas,
                                                       .timing = timing,
                                                       .on_step = find_double_view});
    double_view[0] = '\0';
    current = host;
    for (int i = 0; i < count; i++) {
        host_start(host, host_add(host));
    }
    check(host_run_until(host, host_settled, 60000));
    return host;
}

static void ring_free(struct host *host) {
    if (double_view[0] != '\0') {
        fail_msg("%s; replay: CHORD_TEST_SEED=%llu CHORD_TEST_RUNS=1 test_core_data", double_view,
                 (unsigned long long)seed_now);
    }
    host_free(host);
    current = NULL;
}

static int teardown(void **state) {
    (void)state;
    host_free(current);
    current = NULL;
    return 0;
}

/* ---- clients ---- */

static struct host_operation make(enum chord_operation_kind kind, unsigned key, unsigned value) {
    struct host_operation operation = {.kind = kind};
    snprintf(operation.key, sizeof operation.key, "key %u", key);
    if (kind == CHORD_PUT) {
        snprintf(operation.value, sizeof operation.value, "value %u", value);
    }
    return operation;
}

/* A node that takes requests: one that joins, or has left, answers UNAVAILABLE at once. */
static bool serves(struct host *host, int node) {
    struct chord_status status;
    if (!host_node(host, node)->alive) {
        return false;
    }
    host_status(host, node, &status);
    return status.state == CHORD_STATE_MEMBER || status.state == CHORD_STATE_LEAVING;
}

static int live_node(struct host *host) {
    int node;
    do {
        node = (int)(host_random(host) % (uint64_t)host_count(host));
    } while (!serves(host, node));
    return node;
}

static void wait_for(struct host *host, const struct host_call *call) {
    for (int i = 0; i < 20000 && !call->done; i++) {
        host_run(host, 1);
    }
    check(call->done);
}

static struct host_call *one(struct host *host, int node, enum chord_operation_kind kind,
                             unsigned key, unsigned value, uint32_t timeout_ms) {
    struct host_operation operation = make(kind, key, value);
    return host_batch(host, node, &operation, 1, timeout_ms);
}

static void put_all(struct host *host, unsigned value) {
    for (unsigned key = 0; key < KEYS; key += 12) {
        struct host_operation operations[12];
        for (unsigned i = 0; i < 12; i++) {
            operations[i] = make(CHORD_PUT, key + i, value + key + i);
        }
        struct host_call *call = host_batch(host, live_node(host), operations, 12, 10000);
        wait_for(host, call);
        check(call->code == CHORD_OK);
        for (unsigned i = 0; i < 12; i++) {
            check(call->operations[i].code == CHORD_OK);
            check(call->operations[i].epoch > 0 && call->operations[i].counter > 0);
        }
    }
}

/* Every key through every live node; `patient`: after a failure reads may have to be asked again.
 */
static void check_reads(struct host *host, unsigned value, bool patient) {
    for (int node = 0; node < host_count(host); node++) {
        struct host_operation operations[KEYS];
        if (!serves(host, node)) {
            continue;
        }
        for (unsigned key = 0; key < KEYS; key++) {
            operations[key] = make(CHORD_GET, key, 0);
        }
        struct host_call *call;
        bool again;
        int tries = 0;
        do {
            call = host_batch(host, node, operations, KEYS, patient ? 1000 : 10000);
            wait_for(host, call);
            again = false;
            for (unsigned key = 0; key < KEYS; key++) {
                enum chord_code code = call->operations[key].code;
                again = again || code == CHORD_UNAVAILABLE || code == CHORD_UNKNOWN;
            }
        } while (again && patient && ++tries < 30);
        check(call->code == CHORD_OK);
        for (unsigned key = 0; key < KEYS; key++) {
            struct host_operation expected = make(CHORD_PUT, key, value + key);
            if (call->operations[key].code != CHORD_OK) {
                print_error("key %u read through node %d: code %d\n", key, node,
                            (int)call->operations[key].code);
            }
            check(call->operations[key].code == CHORD_OK);
            check(strcmp(call->operations[key].value, expected.value) == 0);
        }
    }
}

static void check_all(struct host *host, unsigned value) {
    check_reads(host, value, false);
}

/* Asked again until somebody knows; a write may then have happened more than once. */
static struct host_call *insist(struct host *host, enum chord_operation_kind kind, unsigned key,
                                unsigned value) {
    struct host_call *call = NULL;
    for (int tries = 0; tries < 30; tries++) {
        call = one(host, live_node(host), kind, key, value, 1000);
        wait_for(host, call);
        enum chord_code code = call->operations[0].code;
        if (code == CHORD_OK || code == CHORD_NOT_FOUND) {
            break;
        }
    }
    return call;
}

/* Who leads a key, and where its copies are on disk. */
static const struct chord_view *view_of(struct host *host, unsigned key, int *leader) {
    struct host_operation operation = make(CHORD_GET, key, 0);
    uint8_t hash[CHORD_ID_BYTES];
    core_hash(operation.key, hash);
    struct chord_id id = id_from_hash(hash, M);
    const struct chord_view *view;
    for (*leader = 0; *leader < host_count(host); (*leader)++) {
        for (uint16_t at = 0; (view = serving(host, *leader, &at)) != NULL;) {
            if (id_in_half_open(&view->range.lo, &id, &view->range.hi)) {
                return view;
            }
        }
    }
    return NULL;
}

static unsigned copies_of(struct host *host, const struct host_operation *written) {
    unsigned copies = 0;
    for (int i = 0; i < host_count(host); i++) {
        const struct core_row *row = core_store_find(&host_node(host, i)->store, written->key);
        copies += row != NULL && row->epoch == written->epoch && row->counter == written->counter;
    }
    return copies;
}

/* All members of each served range hold the same rows. */
static bool copies_equal(struct host *host) {
    for (int node = 0; node < host_count(host); node++) {
        const struct chord_view *view;
        for (uint16_t at = 0; (view = serving(host, node, &at)) != NULL;) {
            uint8_t first[CHORD_DIGEST_BYTES], other[CHORD_DIGEST_BYTES];
            core_store_digest(&host_node(host, node)->store, &view->range, M, first);
            for (uint16_t i = 0; i < view->members_count; i++) {
                int member = host_by_address(host, view->members[i].address);
                core_store_digest(&host_node(host, member)->store, &view->range, M, other);
                if (memcmp(first, other, CHORD_DIGEST_BYTES) != 0) {
                    return false;
                }
            }
        }
    }
    return true;
}

static bool whole(struct host *host) {
    return host_settled(host) && copies_equal(host);
}

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

/* Loses every Apply to one node, or (HOST_NOBODY) from one node. */
struct apply_filter {
    bool on;
    int from, to;
};

static bool drop_applies(void *context, const struct host_message *message) {
    const struct apply_filter *filter = context;
    return !(filter->on && message->request != NULL && message->kind == CHORD_APPLY &&
             (message->to == filter->to || message->from == filter->from));
}

static struct host *filtered_ring(struct apply_filter *filter) {
    struct host *host = host_new(&(struct host_config){.seed = seed_now,
                                                       .m = M,
                                                       .n = 3,
                                                       .replicas = 3,
                                                       .on_message = drop_applies,
                                                       .context = filter,
                                                       .on_step = find_double_view});
    double_view[0] = '\0';
    current = host;
    for (int i = 0; i < 5; i++) {
        host_start(host, host_add(host));
    }
    check(host_run_until(host, host_settled, 60000));
    put_all(host, 0);
    return host;
}

/* The next leader missed the last write; the other member did not: settle finds it. */
static void test_settle_finds_what_the_new_leader_missed(void **state) {
    (void)state;
    FOR_SEEDS {
        struct apply_filter filter = {.from = HOST_NOBODY};
        struct host *host = filtered_ring(&filter);
        for (unsigned key = 0; key < 6; key++) {
            int leader;
            const struct chord_view *view = view_of(host, key, &leader);
            filter.to = host_by_address(host, view->members[1].address); /* the ring's next owner */
            filter.on = true;
            struct host_call *call = one(host, leader, CHORD_PUT, key, 500, 3000);
            wait_for(host, call);
            check(call->operations[0].code == CHORD_OK);
            check(copies_of(host, &call->operations[0]) == 2);
            host_kill(host, leader);
            filter.on = false;
            /* Asked all the time, so that the first moment in which it serves is seen. */
            struct host_call *reads[400];
            unsigned answers = 0;
            for (unsigned i = 0; i < 400; i++) {
                reads[i] = one(host, filter.to, CHORD_GET, key, 0, 4000);
                host_run(host, 10);
            }
            for (unsigned i = 0; i < 400; i++) {
                wait_for(host, reads[i]);
                const struct host_operation *got = &reads[i]->operations[0];
                check(got->code != CHORD_NOT_FOUND);
                check(got->code != CHORD_OK || strcmp(got->value, "value 500") == 0);
                check(got->code != CHORD_OK || got->epoch == call->operations[0].epoch);
                answers += got->code == CHORD_OK;
            }
            check(answers > 0);
            host_start(host, leader);
            check(host_run_until(host, whole, 60000));
        }
        ring_free(host);
    }
}

/* A write that only its dead leader's disk holds: when that disk comes back after its seat was
 * given away, it is made equal, whatever it holds. */
static void test_a_returning_disk_revives_nothing(void **state) {
    (void)state;
    FOR_SEEDS {
        struct apply_filter filter = {.to = HOST_NOBODY};
        struct host *host = filtered_ring(&filter);
        int leader;
        view_of(host, 9, &leader);
        filter.from = leader;
        filter.on = true;
        struct host_call *call = one(host, leader, CHORD_PUT, 9, 666, 5000);
        host_run(host, 200);
        check(!call->done);
        host_kill(host, leader);
        filter.on = false;
        check(host_run_until(host, whole, 60000)); /* its seat has gone to another */
        check_reads(host, 0, true);
        host_start(host, leader);
        check(host_run_until(host, whole, 60000));
        check_all(host, 0);
        host_run(host, 20000);
        check(whole(host));
        check_all(host, 0);
        ring_free(host);
    }
}

/* The disk has lost a row, and the store has noticed. */
static void damage(struct host *host, int node, unsigned key) {
    struct host_operation operation = make(CHORD_GET, key, 0);
    struct core_store *store = &host_node(host, node)->store;
    struct chord_event event = {.kind = CHORD_EVENT_DAMAGED};
    const struct core_row *row = core_store_find(store, operation.key);
    check(row != NULL);
    size_t at = (size_t)(row - store->rows);
    event.damaged = id_from_hash(row->hash, M);
    memmove(&store->rows[at], &store->rows[at + 1], sizeof *row * (store->rows_count - at - 1));
    store->rows_count--;
    host_event(host, node, &event);
}

static void test_a_damaged_copy_is_made_equal(void **state) {
    (void)state;
    FOR_SEEDS {
        struct apply_filter filter = {.from = HOST_NOBODY, .to = HOST_NOBODY};
        struct host *host = filtered_ring(&filter);
        for (unsigned key = 0; key < 6; key++) {
            int leader;
            const struct chord_view *view = view_of(host, key, &leader);
            uint64_t epoch = view->epoch;
            damage(host, host_by_address(host, view->members[1 + key % 2].address), key);
            check(!copies_equal(host));
            check(host_run_until(host, whole, 20000));
            check(view_of(host, key, &leader)->epoch == epoch);
        }
        check_all(host, 0);
        ring_free(host);
    }
}

/* The leader and one member have a write, the other has not; then the leader's copy is damaged. It
 * does not count itself when it settles, or it would find that the other two agree on nothing. */
static void test_a_damaged_leader_asks_all_others(void **state) {
    (void)state;
    FOR_SEEDS {
        struct apply_filter filter = {.from = HOST_NOBODY};
        struct host *host = filtered_ring(&filter);
        for (unsigned key = 0; key < 6; key++) {
            int leader;
            const struct chord_view *view = view_of(host, key, &leader);
            int holder = host_by_address(host, view->members[2].address);
            filter.to = host_by_address(host, view->members[1].address);
            filter.on = true;
            struct host_call *call = one(host, leader, CHORD_PUT, key, 500, 3000);
            wait_for(host, call);
            check(call->operations[0].code == CHORD_OK);
            check(copies_of(host, &call->operations[0]) == 2);
            host_slow(host, holder, leader, 100000); /* the other answers first */
            damage(host, leader, key);
            filter.on = false;
            for (unsigned i = 0; i < 100; i++) {
                struct host_call *read = one(host, filter.to, CHORD_GET, key, 0, 4000);
                wait_for(host, read);
                const struct host_operation *got = &read->operations[0];
                check(got->code != CHORD_NOT_FOUND);
                check(got->code != CHORD_OK || strcmp(got->value, "value 500") == 0);
            }
            host_slow(host, holder, leader, 0);
            check(host_run_until(host, whole, 60000));
        }
        ring_free(host);
    }
}

/* A leader whose own disk is full says that the outcome is unknown, and another takes over. */
static void test_full_disk(void **state) {
    (void)state;
    FOR_SEEDS {
        struct host *host = ring_new(3, 3, 5);
        put_all(host, 0);
        int leader, next;
        view_of(host, 3, &leader);
        host_node(host, leader)->disk = HOST_DISK_FULL;
        struct host_call *call = one(host, live_node(host), CHORD_PUT, 3, 999, 3000);
        wait_for(host, call);
        check(call->operations[0].code == CHORD_UNKNOWN); /* the others have it, perhaps */
        call = insist(host, CHORD_PUT, 3, 3);             /* until a member with room leads */
        check(call->operations[0].code == CHORD_OK);
        view_of(host, 3, &next);
        check(next != leader);
        host_node(host, leader)->disk = HOST_DISK_WELL;
        check(host_run_until(host, whole, 60000));
        check_all(host, 0);
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

static void leave(struct host *host, int node) {
    host_leave(host, node);
    for (int i = 0; i < 600 && !host_node(host, node)->left; i++) {
        host_run(host, 100);
    }
    check(host_node(host, node)->left);
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
            host_join(host, node); /* with its old rows, of no worth now */
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

/* A disk that was away learns what it missed: changes and deletions both. */
static void test_returning_disk_is_made_equal(void **state) {
    (void)state;
    FOR_SEEDS {
        struct host *host = ring_new(3, 3, 5);
        put_all(host, 0);
        int node = (int)(seed_now % 5);
        host_kill(host, node);
        host_run(host, seed_now % 2 == 0 ? 0 : 20000); /* its seat is still there, or is not */
        for (unsigned key = 0; key < KEYS; key++) {
            enum chord_operation_kind kind = key % 2 == 0 ? CHORD_PUT : CHORD_DELETE;
            struct host_call *call = insist(host, kind, key, 7000);
            check(call->operations[0].code == CHORD_OK ||
                  (kind == CHORD_DELETE && call->operations[0].code == CHORD_NOT_FOUND));
        }
        host_start(host, node);
        check(host_run_until(host, whole, 60000));
        for (unsigned key = 0; key < KEYS; key++) {
            struct host_call *call = one(host, node, CHORD_GET, key, 0, 10000);
            wait_for(host, call);
            check(call->operations[0].code == (key % 2 == 0 ? CHORD_OK : CHORD_NOT_FOUND));
        }
        ring_free(host);
    }
}

/* Of many rows only those that differ are moved, and not many beside them. */
static void test_returning_disk_moves_what_differs(void **state) {
    enum { ROWS = 600, LATE = 4, NEAR = 40 };
    (void)state;
    FOR_SEEDS {
        struct host *host = ring_new(3, 3, 3);
        for (unsigned key = 0; key < ROWS; key++) {
            check(insist(host, CHORD_PUT, key, 7000)->operations[0].code == CHORD_OK);
            host_forget_calls(host);
        }
        check(host_run_until(host, whole, 60000));
        int node = (int)(seed_now % 3);
        host_kill(host, node);
        for (unsigned i = 0; i < LATE; i++) {
            unsigned key = (unsigned)(host_random(host) % ROWS);
            check(insist(host, CHORD_PUT, key, 8000)->operations[0].code == CHORD_OK);
        }
        uint64_t before = host_rows_pulled(host);
        host_start(host, node);
        check(host_run_until(host, whole, 60000));
        check(host_rows_pulled(host) > before);
        check(host_rows_pulled(host) - before <= LATE * NEAR);
        ring_free(host);
    }
}

static void test_lost_disk_is_filled_again(void **state) {
    (void)state;
    FOR_SEEDS {
        struct host *host = ring_new(3, 3, 5);
        put_all(host, 0);
        for (int node = 1; node < 5; node++) {
            host_kill(host, node);
            host_wipe(host, node);
            host_start(host, node); /* the same address, another replica */
            check(host_run_until(host, whole, 90000));
            check_all(host, 0);
        }
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

/* ---- load ---- */

/* One sequential client per key knows which values it may see. */
struct client {
    struct host_call *call;
    int node;
    unsigned values[8]; /* the last acknowledged one and the unknown ones since; 0 = none */
    unsigned values_count, next;
    unsigned asked, refused;
};

static bool allowed(const struct client *client, const struct host_operation *got) {
    for (unsigned i = 0; i < client->values_count; i++) {
        char value[CORE_TEXT_BYTES] = "";
        if (client->values[i] != 0) {
            snprintf(value, sizeof value, "value %u", client->values[i]);
        }
        if (strcmp(got->code == CHORD_OK ? got->value : "", value) == 0) {
            return true;
        }
    }
    return false;
}

static void client_end(struct host *host, struct client *client) {
    const struct host_operation *operation = &client->call->operations[0];
    unsigned value = operation->kind == CHORD_DELETE ? 0 : client->next;
    bool done = operation->code == CHORD_OK || operation->code == CHORD_NOT_FOUND;
    /* Left or died before it got the request: nothing was executed, a client asks somebody else. */
    bool nobody = operation->code == CHORD_UNAVAILABLE && !serves(host, client->node);
    client->asked++;
    if (operation->kind == CHORD_GET) {
        check(!done || allowed(client, operation));
        client->refused += !done && !nobody;
        if (!done && getenv("CHORD_TEST_TRACE") != NULL) {
            print_message(
                "a read of %s: code %d after %llu ms\n", operation->key, (int)operation->code,
                (unsigned long long)(client->call->done_us - client->call->started_us) / 1000);
        }
    } else if (done) {
        client->values[0] = value;
        client->values_count = 1;
    } else {
        client->refused += !nobody;
        if (operation->code == CHORD_UNKNOWN && client->values_count < 8) {
            client->values[client->values_count++] = value;
        }
    }
    client->call = NULL;
}

static void client_begin(struct host *host, struct client *client, unsigned key) {
    uint64_t dice = host_random(host) % 10;
    bool full = client->values_count >= 8;
    enum chord_operation_kind kind = dice < 5 || full ? CHORD_GET
                                     : dice < 9       ? CHORD_PUT
                                                      : CHORD_DELETE;
    client->next++;
    client->node = live_node(host);
    client->call = one(host, client->node, kind, 1000 + key, client->next, 8000);
}

static void load(struct host *host, struct client clients[CLIENTS], unsigned ms) {
    for (unsigned t = 0; t < ms; t++) {
        for (unsigned i = 0; i < CLIENTS; i++) {
            if (clients[i].call != NULL && clients[i].call->done) {
                client_end(host, &clients[i]);
            } else if (clients[i].call == NULL && host_random(host) % 32 == 0) {
                client_begin(host, &clients[i], i);
            }
        }
        host_run(host, 1);
    }
}

static void load_end(struct host *host, struct client clients[CLIENTS]) {
    for (unsigned i = 0; i < CLIENTS; i++) {
        if (clients[i].call != NULL) {
            wait_for(host, clients[i].call);
            client_end(host, &clients[i]);
        }
    }
}

static unsigned refusals(const struct client clients[CLIENTS]) {
    unsigned count = 0;
    for (unsigned i = 0; i < CLIENTS; i++) {
        count += clients[i].refused;
        check(clients[i].asked > 10);
    }
    return count;
}

static void clients_new(struct client clients[CLIENTS]) {
    memset(clients, 0, sizeof *clients * CLIENTS);
    for (unsigned i = 0; i < CLIENTS; i++) {
        clients[i].values_count = 1; /* nothing */
    }
}

/* Joins and leaves under load: nothing is missed, nothing refused or unknown. */
static void test_leave_and_join_under_load(void **state) {
    (void)state;
    FOR_SEEDS {
        struct host *host = ring_new(3, 3, 6);
        struct client clients[CLIENTS];
        clients_new(clients);
        load(host, clients, 500);
        for (int node = 1; node < 4; node++) {
            host_leave(host, node);
            load(host, clients, 3000);
            check(host_node(host, node)->left);
            if (node == 2) {
                host_start(host, host_add(host));
            }
            load(host, clients, 1000);
        }
        load_end(host, clients);
        check(refusals(clients) == 0);
        check(host_run_until(host, whole, 60000));
        ring_free(host);
    }
}

/* Failures under load: some operations fail, none that was acknowledged is lost. */
static void test_kill_under_load(void **state) {
    (void)state;
    FOR_SEEDS {
        struct host *host = ring_new(3, 3, 6);
        struct client clients[CLIENTS];
        clients_new(clients);
        load(host, clients, 500);
        for (int round = 0; round < 4; round++) {
            int node = live_node(host);
            host_kill(host, node);
            load(host, clients, 200 + (unsigned)(host_random(host) % 4000));
            host_start(host, node);
            load(host, clients, 1500);
            check(host_run_until(host, whole, 60000)); /* one failure at a time */
        }
        load_end(host, clients);
        check(host_run_until(host, whole, 60000));
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

/* ---- conditions and duplicates ---- */

static struct host_call *run_one(struct host *host, int node, struct host_operation operation) {
    struct host_call *call = host_batch(host, node, &operation, 1, 8000);
    wait_for(host, call);
    return call;
}

static void test_conditions(void **state) {
    (void)state;
    FOR_SEEDS {
        struct host *host = ring_new(3, 3, 5);
        struct host_operation create = make(CHORD_PUT, 1, 1), change;
        create.if_absent = true;
        struct host_call *first = run_one(host, 0, create);
        check(first->operations[0].code == CHORD_OK);
        struct host_call *second = run_one(host, 1, create);
        check(second->operations[0].code == CHORD_FAILED_PRECONDITION);
        check(second->operations[0].epoch == first->operations[0].epoch &&
              second->operations[0].counter == first->operations[0].counter);
        change = make(CHORD_PUT, 1, 2);
        change.if_match = true;
        change.match_epoch = first->operations[0].epoch;
        change.match_counter = first->operations[0].counter;
        check(run_one(host, 2, change)->operations[0].code == CHORD_OK);
        check(run_one(host, 3, change)->operations[0].code == CHORD_FAILED_PRECONDITION);
        check(strcmp(one(host, 4, CHORD_GET, 1, 0, 5000)->operations[0].key, "key 1") == 0);
        change.kind = CHORD_DELETE; /* a version that is gone */
        check(run_one(host, 4, change)->operations[0].code == CHORD_FAILED_PRECONDITION);
        check(insist(host, CHORD_DELETE, 1, 0)->operations[0].code == CHORD_OK);
        check(run_one(host, 0, create)->operations[0].code == CHORD_OK); /* absent again */
        ring_free(host);
    }
}

/* A counter that clients raise by compare and swap through all kinds of trouble: each success is
 * one step. A lost or doubled write, a stale comparison or two leaders break the count. */
static void test_compare_and_swap_under_failures(void **state) {
    (void)state;
    FOR_SEEDS {
        struct host *host = ring_new(3, 3, 6);
        unsigned done = 0, unknown = 0;
        uint64_t op_id = 0;
        check(insist(host, CHORD_PUT, 5, 0)->operations[0].code == CHORD_OK);
        for (int round = 0; round < 60; round++) {
            int victim = live_node(host);
            if (round % 10 == 4) {
                host_group(host, victim, 1);
            } else if (round % 10 == 8) {
                host_heal(host);
            }
            struct host_call *calls[4];
            for (int i = 0; i < 4; i++) { /* at once: at most one of those with one version wins */
                struct host_call *read = one(host, live_node(host), CHORD_GET, 5, 0, 400);
                wait_for(host, read);
                calls[i] = NULL;
                unsigned value;
                if (read->operations[0].code != CHORD_OK ||
                    sscanf(read->operations[0].value, "value %u", &value) != 1) {
                    continue;
                }
                struct host_operation swap = make(CHORD_PUT, 5, value + 1);
                swap.if_match = true;
                swap.match_epoch = swap.seen_epoch = read->operations[0].epoch;
                swap.match_counter = swap.seen_counter = read->operations[0].counter;
                swap.op_id = ++op_id;
                swap.attempt = 1;
                calls[i] = host_batch(host, live_node(host), &swap, 1, 700);
                if (i % 2 == 1) {
                    wait_for(host, calls[i]);
                }
            }
            for (int i = 0; i < 4; i++) {
                if (calls[i] == NULL) {
                    continue;
                }
                wait_for(host, calls[i]);
                struct host_operation again = calls[i]->operations[0];
                for (unsigned tries = 0; again.code == CHORD_UNKNOWN && tries < 20; tries++) {
                    again.attempt = 2 + tries;
                    host_heal(host);
                    host_run(host, 300);
                    again = run_one(host, live_node(host), again)->operations[0];
                }
                done += again.code == CHORD_OK;
                unknown += again.code == CHORD_UNKNOWN;
            }
        }
        host_heal(host);
        check(host_run_until(host, whole, 60000));
        struct host_call *read = one(host, 0, CHORD_GET, 5, 0, 5000);
        wait_for(host, read);
        unsigned value = 0;
        check(sscanf(read->operations[0].value, "value %u", &value) == 1);
        check(done > 20);
        check(value >= done && value <= done + unknown);
        ring_free(host);
    }
}

/* The same write comes again: as a copy, as a retry, late. */
static void test_a_write_takes_effect_once(void **state) {
    (void)state;
    FOR_SEEDS {
        struct host *host = ring_new(3, 3, 5);
        struct host_operation put = make(CHORD_PUT, 1, 1), other = make(CHORD_PUT, 1, 2);
        put.op_id = 77;
        put.attempt = 1;
        struct host_operation first = run_one(host, 0, put)->operations[0];
        check(first.code == CHORD_OK);
        for (unsigned attempt = 1; attempt <= 3; attempt++) {
            put.attempt = attempt;
            struct host_operation again = run_one(host, 1, put)->operations[0];
            check(again.code == CHORD_OK && again.epoch == first.epoch &&
                  again.counter == first.counter);
        }
        other.op_id = 78; /* somebody else, who has seen it */
        other.attempt = 1;
        other.seen_epoch = first.epoch;
        other.seen_counter = first.counter;
        struct host_operation second = run_one(host, 2, other)->operations[0];
        check(second.code == CHORD_OK && second.counter > first.counter);
        check(run_one(host, 3, put)->operations[0].code == CHORD_UNKNOWN); /* overtaken */
        put.attempt = 1;
        put.seen_epoch = put.seen_counter = 1; /* a late copy */
        struct host_operation late = run_one(host, 3, put)->operations[0];
        check(late.code == CHORD_ABORTED && late.epoch == second.epoch &&
              late.counter == second.counter);
        struct host_call *read = one(host, 4, CHORD_GET, 1, 0, 5000);
        wait_for(host, read);
        check(strcmp(read->operations[0].value, "value 2") == 0);
        /* A retry of what never arrived is executed. */
        struct host_operation lost = make(CHORD_PUT, 1, 3);
        lost.op_id = 79;
        lost.attempt = 2;
        lost.seen_epoch = second.epoch;
        lost.seen_counter = second.counter;
        check(run_one(host, 0, lost)->operations[0].code == CHORD_OK);
        ring_free(host);
    }
}

static unsigned tombstones(struct host *host) {
    const struct chord_range all = {{{0}}, {{0}}};
    size_t count = 0;
    for (int i = 0; i < host_count(host); i++) {
        count += core_store_tombstones(&host_node(host, i)->store, &all, M);
    }
    return (unsigned)count;
}

static bool forgotten(struct host *host) {
    return tombstones(host) == 0;
}

/* Deletions are forgotten when every copy has them, not before; a write that they had overtaken
 * still does not happen again. */
static void test_deletions_are_forgotten(void **state) {
    (void)state;
    FOR_SEEDS {
        struct host *host = ring_new(3, 3, 3);
        struct host_operation put = make(CHORD_PUT, 1, 1);
        put.op_id = 77;
        put.attempt = 1;
        put_all(host, 0);
        check(run_one(host, 0, put)->operations[0].code == CHORD_OK);
        host_run(host, FORGET_MS * 3); /* there is nothing to forget: no floor yet */
        int away = (int)(seed_now % 3);
        host_kill(host, away);
        for (unsigned key = 0; key < KEYS / 2; key++) {
            insist(host, CHORD_DELETE, key, 0);
        }
        host_run(host, FORGET_MS * 5);
        check(tombstones(host) == 2 * KEYS / 2); /* one copy still has the values */
        host_start(host, away);
        check(host_run_until(host, forgotten, FORGET_MS * 10));
        check(host_run_until(host, whole, 20000));
        for (unsigned key = 0; key < KEYS; key++) {
            struct host_call *read = insist(host, CHORD_GET, key, 0);
            check(read->operations[0].code == (key < KEYS / 2 ? CHORD_NOT_FOUND : CHORD_OK));
        }
        put.attempt = 2;
        check(run_one(host, live_node(host), put)->operations[0].code == CHORD_UNKNOWN);
        put.attempt = 1;
        put.seen_epoch = put.seen_counter = 1; /* a late copy */
        struct host_operation late = run_one(host, live_node(host), put)->operations[0];
        check(late.code == CHORD_ABORTED && late.epoch > 1);
        put.seen_epoch = late.epoch; /* with what that answer has told it is executed */
        put.seen_counter = late.counter;
        check(run_one(host, live_node(host), put)->operations[0].code == CHORD_OK);
        ring_free(host);
    }
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

/* Members that are cut off and believed dead, leaders among them: what the others acknowledge
 * meanwhile is not contradicted by those, neither then nor when they are back. */
static void test_partitions_under_load(void **state) {
    (void)state;
    FOR_SEEDS {
        struct host *host = ring_new(3, 3, 6);
        struct client clients[CLIENTS];
        clients_new(clients);
        load(host, clients, 500);
        for (int round = 0; round < 6; round++) {
            int first = live_node(host), second = live_node(host);
            if (round % 3 == 2) {
                for (int i = 0; i < 6; i++) { /* it hears everything and is not heard, or so */
                    host_cut_way(host, round == 2 ? first : i, round == 2 ? i : first, true);
                }
            } else {
                host_group(host, first, 1);
                host_group(host, second, round % 2 == 0 ? 1 : 2);
            }
            load(host, clients, 200 + (unsigned)(host_random(host) % 6000));
            host_heal(host);
            load(host, clients, 1500);
        }
        load_end(host, clients);
        check(host_run_until(host, whole, 120000));
        ring_free(host);
    }
}

/* A server may run a request twice. */
static void test_doubled_messages_under_load(void **state) {
    (void)state;
    FOR_SEEDS {
        struct host *host = host_new(&(struct host_config){.seed = seed_now,
                                                           .m = M,
                                                           .n = 3,
                                                           .replicas = 3,
                                                           .double_percent = 30,
                                                           .on_step = find_double_view});
        struct client clients[CLIENTS];
        double_view[0] = '\0';
        current = host;
        for (int i = 0; i < 5; i++) {
            host_start(host, host_add(host));
        }
        check(host_run_until(host, host_settled, 60000));
        clients_new(clients);
        load(host, clients, 4000);
        host_leave(host, 2);
        load(host, clients, 4000);
        load_end(host, clients);
        check(host_run_until(host, whole, 60000));
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
    const char *seed = getenv("CHORD_TEST_SEED"), *runs = getenv("CHORD_TEST_RUNS");
    seed_first = seed != NULL ? strtoull(seed, NULL, 10) : seed_first;
    seeds_count = runs != NULL ? (unsigned)strtoul(runs, NULL, 10) : seeds_count;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_no_reply_before_a_majority_stored, teardown),
        cmocka_unit_test_teardown(test_kill_right_after_the_acknowledgement, teardown),
        cmocka_unit_test_teardown(test_no_majority_is_unknown, teardown),
        cmocka_unit_test_teardown(test_settle_finds_what_the_new_leader_missed, teardown),
        cmocka_unit_test_teardown(test_a_returning_disk_revives_nothing, teardown),
        cmocka_unit_test_teardown(test_a_damaged_copy_is_made_equal, teardown),
        cmocka_unit_test_teardown(test_a_damaged_leader_asks_all_others, teardown),
        cmocka_unit_test_teardown(test_full_disk, teardown),
        cmocka_unit_test_teardown(test_split_and_merge_keep_all_keys, teardown),
        cmocka_unit_test_teardown(test_join_many_at_once, teardown),
        cmocka_unit_test_teardown(test_leave_and_return, teardown),
        cmocka_unit_test_teardown(test_leave_down_to_one, teardown),
        cmocka_unit_test_teardown(test_returning_disk_is_made_equal, teardown),
        cmocka_unit_test_teardown(test_returning_disk_moves_what_differs, teardown),
        cmocka_unit_test_teardown(test_lost_disk_is_filled_again, teardown),
        cmocka_unit_test_teardown(test_whole_ring_restarts_with_its_keys, teardown),
        cmocka_unit_test_teardown(test_wrong_epoch_is_refused, teardown),
        cmocka_unit_test_teardown(test_leave_and_join_under_load, teardown),
        cmocka_unit_test_teardown(test_kill_under_load, teardown),
        cmocka_unit_test_teardown(test_what_was_accepted_is_decided, teardown),
        cmocka_unit_test_teardown(test_conditions, teardown),
        cmocka_unit_test_teardown(test_compare_and_swap_under_failures, teardown),
        cmocka_unit_test_teardown(test_a_write_takes_effect_once, teardown),
        cmocka_unit_test_teardown(test_deletions_are_forgotten, teardown),
        cmocka_unit_test_teardown(test_recover, teardown),
        cmocka_unit_test_teardown(test_partitions_under_load, teardown),
        cmocka_unit_test_teardown(test_doubled_messages_under_load, teardown),
        cmocka_unit_test_teardown(test_before_the_first_join, teardown),
        cmocka_unit_test_teardown(test_seeds_of_former_bugs, teardown),
    };
    cmocka_set_test_filter(getenv("CHORD_TEST_NAME")); /* NULL: all */
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/* See data_fixture.h. */
#include "data_fixture.h"

char double_view[200]; /* the first that the checker saw */

/* ---- the checker ---- */

const struct chord_view *serving(struct host *host, int node, uint16_t *at) {
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

void find_double_view(void *context, struct host *host, int node) {
    int other;
    (void)context;
    const char *wrong = double_view[0] == '\0' ? check_views(host, node, &other) : NULL;
    if (wrong != NULL) {
        snprintf(double_view, sizeof double_view, "%s: nodes %d and %d at %llu us", wrong, node,
                 other, (unsigned long long)host_now_us(host));
    }
}

struct host *ring_of(struct host_config config, int count) {
    config.seed = seed_now;
    config.m = M;
    config.on_step = find_double_view;
    struct host *host = host_new(&config);
    double_view[0] = '\0';
    current = host;
    for (int i = 0; i < count; i++) {
        host_start(host, host_add(host));
    }
    check(host_run_until(host, host_settled, 60000));
    return host;
}

struct host *ring_new(unsigned n, unsigned replicas, int count) {
    struct chord_timing timing = chord_timing_default;
    timing.forget_period_ms = FORGET_MS;
    return ring_of((struct host_config){.n = n, .replicas = replicas, .timing = timing}, count);
}

void ring_free(struct host *host) {
    if (double_view[0] != '\0') {
        fail_msg("%s; replay: CHORD_TEST_SEED=%llu CHORD_TEST_RUNS=1 %s", double_view,
                 (unsigned long long)seed_now, test_program);
    }
    host_free(host);
    current = NULL;
}

/* ---- clients ---- */

struct host_operation make(enum chord_operation_kind kind, unsigned key, unsigned value) {
    struct host_operation operation = {.kind = kind};
    snprintf(operation.key, sizeof operation.key, "key %u", key);
    if (kind == CHORD_PUT) {
        snprintf(operation.value, sizeof operation.value, "value %u", value);
    }
    return operation;
}

bool serves(struct host *host, int node) {
    struct chord_status status;
    if (!host_node(host, node)->alive) {
        return false;
    }
    host_status(host, node, &status);
    return status.state == CHORD_STATE_MEMBER || status.state == CHORD_STATE_LEAVING;
}

int live_node(struct host *host) {
    int node;
    do {
        node = (int)(host_random(host) % (uint64_t)host_count(host));
    } while (!serves(host, node));
    return node;
}

void wait_for(struct host *host, const struct host_call *call) {
    for (int i = 0; i < 20000 && !call->done; i++) {
        host_run(host, 1);
    }
    check(call->done);
}

struct host_call *one(struct host *host, int node, enum chord_operation_kind kind, unsigned key,
                      unsigned value, uint32_t timeout_ms) {
    struct host_operation operation = make(kind, key, value);
    return host_batch(host, node, &operation, 1, timeout_ms);
}

void put_all(struct host *host, unsigned value) {
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

void check_reads(struct host *host, unsigned value, bool patient) {
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

void check_all(struct host *host, unsigned value) {
    check_reads(host, value, false);
}

struct host_call *insist(struct host *host, enum chord_operation_kind kind, unsigned key,
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

const struct chord_view *view_led(struct host *host, int node, unsigned key) {
    struct host_operation operation = make(CHORD_GET, key, 0);
    uint8_t hash[CHORD_ID_BYTES];
    core_hash(operation.key, hash);
    struct chord_id id = id_from_hash(hash, M);
    const struct chord_view *view;
    for (uint16_t at = 0; (view = serving(host, node, &at)) != NULL;) {
        if (id_in_half_open(&view->range.lo, &id, &view->range.hi)) {
            break;
        }
    }
    return view;
}

const struct chord_view *view_of(struct host *host, unsigned key, int *leader) {
    const struct chord_view *view = NULL;
    for (*leader = 0; *leader < host_count(host); (*leader)++) {
        if ((view = view_led(host, *leader, key)) != NULL) {
            break;
        }
    }
    return view;
}

unsigned copies_of(struct host *host, const struct host_operation *written) {
    unsigned copies = 0;
    for (int i = 0; i < host_count(host); i++) {
        const struct core_row *row = core_store_find(&host_node(host, i)->store, written->key);
        copies += row != NULL && row->epoch == written->epoch && row->counter == written->counter;
    }
    return copies;
}

bool copies_equal(struct host *host) {
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

bool whole(struct host *host) {
    return host_settled(host) && copies_equal(host);
}

void leave(struct host *host, int node) {
    host_leave(host, node);
    for (int i = 0; i < 600 && !host_node(host, node)->left; i++) {
        host_run(host, 100);
    }
    check(host_node(host, node)->left);
}

/* ---- conditions and duplicates ---- */

struct host_call *run_one(struct host *host, int node, struct host_operation operation) {
    struct host_call *call = host_batch(host, node, &operation, 1, 8000);
    wait_for(host, call);
    return call;
}

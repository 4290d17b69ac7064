/* SPDX-License-Identifier: MIT */
/*
 * Whom a ring takes: a joiner that its members cannot reach, and a mix of loopback and other
 * addresses, are refused within seconds with the reason, and the ring stays as it was. In a ring of
 * one (genesis) as in one that has formed.
 */
#include "core_seeds.h"

enum { M = 16, N = 3, REPLICAS = 3, REFUSED_MS = 10000 };

static int unheard; /* no ping gets there; HOST_NOBODY: none is lost */

static bool network(void *context, const struct host_message *message) {
    (void)context;
    return message->request == NULL || message->kind != CHORD_PING || message->to != unheard;
}

static struct host *ring_new(int count) {
    unheard = HOST_NOBODY;
    current = host_new(&(struct host_config){
        .seed = seed_now, .m = M, .n = N, .replicas = REPLICAS, .on_message = network});
    for (int i = 0; i < count; i++) {
        host_start(current, host_add(current));
    }
    check(host_run_until(current, host_ideal, 60000));
    return current;
}

static void end(struct host *host) {
    host_free(host);
    current = NULL;
}

static void check_refused(struct host *host, int node, const char *reason) {
    int members = host_members(host);
    for (int i = 0; i < REFUSED_MS / 10 && host_node(host, node)->refused == NULL; i++) {
        host_run(host, 10);
    }
    check(host_node(host, node)->refused != NULL);
    check(strstr(host_node(host, node)->refused, reason) != NULL);
    check(host_members(host) == members && host_ideal(host));
}

static void test_who_cannot_be_reached_is_refused(void **state) {
    (void)state;
    FOR_SEEDS {
        for (int count = 1; count <= 4; count += 3) {
            struct host *host = ring_new(count);
            unheard = host_add(host);
            host_start(host, unheard);
            check_refused(host, unheard, "cannot reach this node");
            unheard = HOST_NOBODY;
            host_start(host, host_add(host)); /* what was refused is in nobody's way */
            check(host_run_until(host, host_ideal, 20000));
            check(host_members(host) == count + 1);
            end(host);
        }
    }
}

/* One lost question is no verdict. */
static void test_who_is_reached_a_little_later_joins(void **state) {
    (void)state;
    FOR_SEEDS {
        struct host *host = ring_new(4);
        unheard = host_add(host);
        host_start(host, unheard);
        host_run(host, 800);
        check(host_members(host) == 4);
        unheard = HOST_NOBODY;
        check(host_run_until(host, host_ideal, 20000));
        check(host_members(host) == 5);
        end(host);
    }
}

/* It was a member here: what is in the way may go. */
static void test_a_member_that_comes_back_waits(void **state) {
    (void)state;
    FOR_SEEDS {
        struct host *host = ring_new(4);
        host_kill(host, 3);
        host_run(host, 20000);
        unheard = 3;
        host_start(host, 3);
        host_run(host, 3 * REFUSED_MS);
        check(host_node(host, 3)->refused == NULL && host_members(host) == 3);
        unheard = HOST_NOBODY;
        check(host_run_until(host, host_ideal, 20000));
        check(host_members(host) == 4);
        end(host);
    }
}

static void at(struct host *host, int node, const char *address) {
    memcpy(host_node(host, node)->address, address, strlen(address) + 1);
}

static void test_a_loopback_joiner_is_refused(void **state) {
    static const char *const addresses[] = {"127.0.0.1:9", "127.1.2.3:9", "localhost:9", "[::1]:9"};
    (void)state;
    FOR_SEEDS {
        for (size_t i = 0; i < 2 * sizeof addresses / sizeof addresses[0]; i++) {
            struct host *host = ring_new(i % 2 == 0 ? 1 : 4);
            int joiner = host_add(host);
            at(host, joiner, addresses[i / 2]);
            host_start(host, joiner);
            check_refused(host, joiner, "just one is a loopback address");
            end(host);
        }
    }
}

/* The host of these tests brings nothing to a loopback address, so the member is asked directly. */
static void test_a_ring_on_loopback_takes_loopback_only(void **state) {
    static const struct {
        const char *address;
        bool loopback;
    } joiners[] = {{"host:9", false},     {"12.7.0.1:9", false},  {"10.0.0.1:9", false},
                   {"127.0.0.1:9", true}, {"localhost:9", true},  {"localhost.example:9", false},
                   {"[::1]:9", true},     {"[::12]:9", false},    {"127.example.org:9", false},
                   {"127.9:9", true},     {"127.0.0.1x:9", false}};
    (void)state;
    FOR_SEEDS {
        unheard = HOST_NOBODY;
        struct host *host =
            host_new(&(struct host_config){.seed = seed_now, .m = M, .n = N, .replicas = REPLICAS});
        current = host;
        at(host, host_add(host), "127.0.0.1:7");
        host_start(host, 0);
        host_run(host, 1000);
        check(host_members(host) == 1);
        struct chord_status status;
        host_status(host, 0, &status);
        for (size_t i = 0; i < sizeof joiners / sizeof joiners[0]; i++) {
            struct chord_request request = {
                .kind = CHORD_JOIN, .has_sender = true, .sender = status.self};
            snprintf(request.sender.address, sizeof request.sender.address, "%s",
                     joiners[i].address);
            request.sender.id.bytes[CHORD_ID_BYTES - 1] ^= 1;
            memset(request.sender.store_id, (int)i + 1, sizeof request.sender.store_id);
            struct host_call *call = host_request(host, 0, &request, 3000);
            for (int ms = 0; ms < 3000 && !call->done; ms++) {
                host_run(host, 1);
            }
            check(call->done && call->code == CHORD_OK);
            check(call->response.join.result ==
                  (joiners[i].loopback ? CHORD_JOIN_WAIT : CHORD_JOIN_LOOPBACK));
            host_run(host, 10000);
        }
        check(host_members(host) == 1);
        end(host);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_who_cannot_be_reached_is_refused, teardown),
        cmocka_unit_test_teardown(test_who_is_reached_a_little_later_joins, teardown),
        cmocka_unit_test_teardown(test_a_member_that_comes_back_waits, teardown),
        cmocka_unit_test_teardown(test_a_loopback_joiner_is_refused, teardown),
        cmocka_unit_test_teardown(test_a_ring_on_loopback_takes_loopback_only, teardown),
    };
    seeds_choose("test_core_admit", 10);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * Clients that read and write all the time while nodes come, go, fail and lose sight of each other.
 */
#include "data_fixture.h"

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
        struct host *host =
            ring_of((struct host_config){.n = 3, .replicas = 3, .double_percent = 30}, 5);
        struct client clients[CLIENTS];
        clients_new(clients);
        load(host, clients, 4000);
        host_leave(host, 2);
        load(host, clients, 4000);
        load_end(host, clients);
        check(host_run_until(host, whole, 60000));
        ring_free(host);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_leave_and_join_under_load, teardown),
        cmocka_unit_test_teardown(test_kill_under_load, teardown),
        cmocka_unit_test_teardown(test_partitions_under_load, teardown),
        cmocka_unit_test_teardown(test_doubled_messages_under_load, teardown),
    };
    seeds_choose("test_core_load", 2);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * Which operations travel together, and that each keeps its own end: the client library against a
 * server in this process that holds each call until the test lets it go.
 */
#include "client.h"
#include "client_server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { CALLS_MAX = 200, OPERATIONS = 64, WAIT_S = 10, ATTEMPT_MS = 60000 };

struct held {
    void *call;
    const Chord__V1__BatchRequest *request;
    size_t count;
    char first[32], last[32]; /* keys */
    bool stale;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of the rest */
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static struct held calls[CALLS_MAX];
static size_t calls_count;
static bool holds; /* else each call is answered at once */
static size_t ended;
static struct rpc_server *server;
static char address[64];

/* ---- the server ---- */

static bool is_key(const Chord__V1__Operation *operation, const char *start) {
    return operation->key.len >= strlen(start) &&
           memcmp(operation->key.data, start, strlen(start)) == 0;
}

/* Each read gives the key as its value. "busy..." is refused while it has company. */
static void answer(const struct held *held) {
    static Chord__V1__OperationResult results[1024];
    static Chord__V1__OperationResult *pointers[1024];
    Chord__V1__BatchResponse response = CHORD__V1__BATCH_RESPONSE__INIT;
    for (size_t i = 0; i < held->count; i++) {
        const Chord__V1__Operation *operation = held->request->operations[i];
        bool company = held->count > 1;
        chord__v1__operation_result__init(&results[i]);
        results[i].code = company && is_key(operation, "busy") ? CHORD__V1__CODE__CODE_UNAVAILABLE
                          : company && is_key(operation, "room")
                              ? CHORD__V1__CODE__CODE_RESOURCE_EXHAUSTED
                              : CHORD__V1__CODE__CODE_OK;
        if (results[i].code == CHORD__V1__CODE__CODE_OK) {
            results[i].value = operation->key;
        }
        pointers[i] = &results[i];
    }
    response.results = pointers;
    response.n_results = held->count;
    rpc_call_reply(held->call, CHORD__V1__CODE__CODE_OK, NULL, 0, &response.base);
}

static void key_copy(char out[32], const Chord__V1__Operation *operation) {
    snprintf(out, 32, "%.*s", (int)operation->key.len, (const char *)operation->key.data);
}

static void serve_batch(const Chord__V1__BatchRequest *request, void *call) {
    pthread_mutex_lock(&lock);
    assert_true(calls_count < CALLS_MAX);
    struct held *held = &calls[calls_count++];
    *held =
        (struct held){.call = call,
                      .request = request,
                      .count = request->n_operations,
                      .stale = request->consistency == CHORD__V1__CONSISTENCY__CONSISTENCY_STALE};
    key_copy(held->first, request->operations[0]);
    key_copy(held->last, request->operations[held->count - 1]);
    if (!holds) {
        answer(held);
        held->call = NULL;
    }
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static int server_start(void **state) {
    (void)state;
    return client_server_open(&server, address, serve_batch, CALLS_MAX);
}

static int server_stop(void **state) {
    (void)state;
    rpc_server_close(server);
    return 0;
}

/* With the lock held. */
static void wait_changed(const char *what) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += WAIT_S;
    if (pthread_cond_timedwait(&changed, &lock, &until) != 0) {
        pthread_mutex_unlock(&lock);
        fail_msg("not within %d s: %s (%zu calls, %zu ended)", WAIT_S, what, calls_count, ended);
    }
}

/* The call with that number, as it came. */
static const struct held *call_await(size_t number) {
    pthread_mutex_lock(&lock);
    while (calls_count <= number) {
        wait_changed("a call");
    }
    pthread_mutex_unlock(&lock);
    return &calls[number];
}

static void call_release(size_t number) {
    struct held *held = &calls[number];
    (void)call_await(number);
    pthread_mutex_lock(&lock);
    answer(held);
    held->call = NULL;
    pthread_mutex_unlock(&lock);
}

static void expect_call(size_t number, size_t count, const char *first, const char *last) {
    const struct held *held = call_await(number);
    assert_string_equal(held->first, first);
    assert_string_equal(held->last, last);
    assert_int_equal(held->count, count);
}

/* ---- the client: it knows that the server leads every key ---- */

static struct chord_client *client;
static char keys[OPERATIONS][32];
static struct chord_result results[OPERATIONS];
static size_t started;

static int set_up(void **state) {
    char error[200] = "";
    /* No attempt is given up: a busy machine must not look like a lost answer. */
    const struct chord_client_options options = {
        .members = address, .timeout_ms = 2 * ATTEMPT_MS, .attempt_ms = ATTEMPT_MS};
    const struct ring_id id = {{0}};
    (void)state;
    memset(results, 0, sizeof results);
    calls_count = started = ended = 0;
    holds = true;
    if (chord_client_open(&client, &options, error, sizeof error) != 0) {
        return -1;
    }
    client_set_m(client, 32);
    hints_put(client->hints, &id, &id, 1, address);
    return 0;
}

static void on_done(void *context, struct chord_result *result) {
    pthread_mutex_lock(&lock);
    *(struct chord_result *)context = *result;
    ended++;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

/* Returns its number. */
static size_t start(struct chord_operation operation, const char *key) {
    size_t number = started++;
    snprintf(keys[number], sizeof keys[number], "%s", key);
    operation.key = keys[number];
    operation.key_size = strlen(key);
    chord_start(client, &operation, on_done, &results[number]);
    return number;
}

static size_t start_get(const char *key) {
    return start((struct chord_operation){.kind = CHORD_GET}, key);
}

static size_t start_put(const char *key) {
    return start((struct chord_operation){.kind = CHORD_PUT, .value = "v", .value_size = 1}, key);
}

static void await_ended(size_t count) {
    pthread_mutex_lock(&lock);
    while (ended < count) {
        wait_changed("the end of operations");
    }
    pthread_mutex_unlock(&lock);
}

/* Answers what is held, and from now on everything at once. */
static void release_all(void) {
    pthread_mutex_lock(&lock);
    holds = false;
    for (size_t i = 0; i < calls_count; i++) {
        if (calls[i].call != NULL) {
            answer(&calls[i]);
            calls[i].call = NULL;
        }
    }
    pthread_mutex_unlock(&lock);
}

static int tear_down(void **state) {
    (void)state;
    release_all();
    await_ended(started);
    for (size_t i = started; i-- > 0;) {
        chord_result_free(&results[i]);
    }
    chord_client_close(client);
    return 0;
}

static void expect_done(void) {
    release_all();
    await_ended(started);
    for (size_t i = 0; i < started; i++) {
        assert_int_equal(results[i].fate, CHORD_DONE);
    }
}

/* ---- tests ---- */

static void test_those_that_wait_travel_together(void **state) {
    (void)state;
    char key[32];
    start_get("first");
    expect_call(0, 1, "first", "first");
    for (unsigned i = 1; i <= 20; i++) {
        snprintf(key, sizeof key, "key %u", i);
        start_get(key);
    }
    call_release(0);
    expect_call(1, 20, "key 1", "key 20");
    start_get("later");
    call_release(1);
    expect_call(2, 1, "later", "later");
    expect_done();
    for (size_t i = 0; i < started; i++) { /* each has its own */
        assert_int_equal(results[i].value_size, strlen(keys[i]));
        assert_memory_equal(results[i].value, keys[i], results[i].value_size);
    }
    assert_int_equal(calls_count, 3);
}

static void test_no_more_than_a_call_may_have(void **state) {
    (void)state;
    static char value[16 * 1024];
    const struct chord_operation put = {
        .kind = CHORD_PUT, .value = value, .value_size = sizeof value};
    char key[32];
    start(put, "a");
    start(put, "b");
    for (unsigned i = 0; i < 20; i++) { /* 320 KiB */
        snprintf(key, sizeof key, "key %02u", i);
        start(put, key);
    }
    (void)call_await(1);
    call_release(0);
    expect_call(2, 15, "key 00", "key 14");
    call_release(1);
    expect_call(3, 5, "key 15", "key 19");
    expect_done();
}

static void test_each_kind_travels_by_itself(void **state) {
    (void)state;
    const struct chord_operation stale = {.kind = CHORD_GET, .stale = true};
    start_get("read");
    expect_call(0, 1, "read", "read");
    start(stale, "stale"); /* it does not wait for the read, */
    expect_call(1, 1, "stale", "stale");
    assert_true(calls[1].stale);
    start_put("change"); /* nor does a change, and two may be out */
    expect_call(2, 1, "change", "change");
    start_put("other");
    expect_call(3, 1, "other", "other");
    start_get("read 2");
    start(stale, "stale 2");
    start_put("change 2");
    start(stale, "stale 3");
    call_release(1);
    expect_call(4, 2, "stale 2", "stale 3");
    assert_true(calls[4].stale);
    call_release(2);
    expect_call(5, 1, "change 2", "change 2");
    call_release(0);
    expect_call(6, 1, "read 2", "read 2");
    assert_false(calls[6].stale);
    expect_done();
}

/* They take turns at the leader, and nobody waits for them. */
static void test_changes_of_one_key_travel_apart(void **state) {
    (void)state;
    start_put("a");
    start_put("b");
    (void)call_await(1);
    start_put("a"); /* it is out already */
    expect_call(2, 1, "a", "a");
    start_put("x");
    start_put("x"); /* it waits already */
    expect_call(3, 1, "x", "x");
    start_put("y");
    call_release(0);
    expect_call(4, 2, "x", "y");
    expect_done();
}

static void test_some_travel_alone(void **state) {
    (void)state;
    static char value[1024 * 1024];
    start_put("a");
    start_put("b");
    (void)call_await(1);
    start((struct chord_operation){.kind = CHORD_PUT, .value = value, .value_size = sizeof value},
          "large");
    expect_call(2, 1, "large", "large");
    /* A node refuses it with its batch. */
    start((struct chord_operation){.kind = CHORD_PUT, .if_absent = true, .if_match = true}, "both");
    expect_call(3, 1, "both", "both");
    start((struct chord_operation){.kind = CHORD_PUT, .timeout_ms = ATTEMPT_MS / 2}, "hurry");
    expect_call(4, 1, "hurry", "hurry");
    expect_done();
}

static void test_what_no_node_takes_is_not_sent(void **state) {
    (void)state;
    static char value[1024 * 1024 + 1];
    size_t refused[] = {
        start_get(""),
        start(
            (struct chord_operation){.kind = CHORD_PUT, .value = value, .value_size = sizeof value},
            "k"),
        start((struct chord_operation){.kind = CHORD_DELETE}, ""),
    };
    await_ended(3);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(results[refused[i]].code, CHORD_CODE_INVALID_ARGUMENT);
        assert_int_equal(results[refused[i]].fate, CHORD_NOT_DONE);
        assert_string_not_equal(results[refused[i]].message, "");
    }
    assert_int_equal(calls_count, 0);
}

static void test_a_refusal_is_one_operations(void **state) {
    (void)state;
    start_get("first");
    (void)call_await(0);
    size_t busy = start_get("busy");
    start_get("plain");
    call_release(0);
    expect_call(1, 2, "busy", "plain");
    call_release(1);
    await_ended(2); /* the first, and the refused one's neighbour */
    assert_int_equal(results[busy].fate, 0);
    assert_null(results[busy].value);
    expect_call(2, 1, "busy", "busy");
    start_get("other"); /* it does not wait for that one */
    expect_call(3, 1, "other", "other");
    expect_done();
}

static void test_values_that_leave_no_room(void **state) {
    (void)state;
    start_get("first");
    (void)call_await(0);
    start_get("room 1");
    start_get("room 2");
    call_release(0);
    call_release(1);
    (void)call_await(3); /* each by itself */
    assert_int_equal(calls[2].count, 1);
    assert_int_equal(calls[3].count, 1);
    expect_done();
}

/* A node that does not do its work keeps nobody who waits for it. */
static void test_a_call_fails(void **state) {
    (void)state;
    char key[32];
    start_put("a");
    start_put("b");
    (void)call_await(1);
    for (unsigned i = 0; i < 20; i++) {
        snprintf(key, sizeof key, "key %u", i);
        start_put(key);
    }
    pthread_mutex_lock(&lock);
    rpc_call_reply(calls[0].call, CHORD__V1__CODE__CODE_UNAVAILABLE, NULL, 0, NULL);
    calls[0].call = NULL;
    pthread_mutex_unlock(&lock);
    (void)call_await(2); /* the first of those that waited, while call 1 is still held */
    expect_done();
}

static void test_close_while_some_wait(void **state) {
    (void)state;
    start_put("a");
    start_put("b");
    (void)call_await(1);
    start_put("c");
    start_put("d");
    chord_client_close(client);
    assert_int_equal(ended, 4);
    assert_int_equal(results[0].fate, CHORD_MAYBE_DONE);
    assert_int_equal(results[2].fate, CHORD_NOT_DONE); /* it never left */
    assert_int_equal(results[3].fate, CHORD_NOT_DONE);
    client = NULL;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_those_that_wait_travel_together),
        TEST(test_no_more_than_a_call_may_have),
        TEST(test_each_kind_travels_by_itself),
        TEST(test_changes_of_one_key_travel_apart),
        TEST(test_some_travel_alone),
        TEST(test_what_no_node_takes_is_not_sent),
        TEST(test_a_refusal_is_one_operations),
        TEST(test_values_that_leave_no_room),
        TEST(test_a_call_fails),
        TEST(test_close_while_some_wait),
    };
    return cmocka_run_group_tests(tests, server_start, server_stop);
}

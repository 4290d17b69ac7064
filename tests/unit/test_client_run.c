/* SPDX-License-Identifier: MIT */
/*
 * The client library against a server in this process that refuses, forgets and knows better, by
 * the name of the key: many operations in flight, and what is told of each in the end.
 */
#include "attempts.h"
#include "client.h"
#include "client_server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { KINDS = 4, IN_FLIGHT = 4000 };

static const char *const kinds[KINDS] = {"plain", "busy", "lost", "newer"};
static atomic_uint calls[KINDS]; /* of the server */
static atomic_uint wrong;        /* attempts that the recipe forbids */
static unsigned char first_seen[IN_FLIGHT];
static struct rpc_server *server;
static char address[64];

/* ---- the server ---- */

static Chord__V1__Code decide(const Chord__V1__Operation *operation,
                              Chord__V1__OperationResult *result) {
    char key[40];
    unsigned number = 0;
    char kind[10] = "";
    snprintf(key, sizeof key, "%.*s", (int)operation->key.len, (const char *)operation->key.data);
    if (sscanf(key, "%9[a-z]-%u", kind, &number) != 2 || strcmp(kind, "never") == 0) {
        return CHORD__V1__CODE__CODE_UNAVAILABLE;
    }
    bool first = number >= IN_FLIGHT || first_seen[number]++ == 0;
    bool nothing_seen = operation->seen == NULL || operation->seen->epoch == 0;
    for (unsigned i = 0; i < KINDS; i++) {
        calls[i] += strcmp(kind, kinds[i]) == 0;
    }
    if (strcmp(kind, "busy") == 0) {
        wrong += operation->attempt != 1;
        return first ? CHORD__V1__CODE__CODE_UNAVAILABLE : CHORD__V1__CODE__CODE_OK;
    }
    if (strcmp(kind, "lost") == 0) {
        wrong += operation->attempt != (first ? 1u : 2u) || !nothing_seen;
        return first ? CHORD__V1__CODE__CODE_UNKNOWN : CHORD__V1__CODE__CODE_OK;
    }
    if (strcmp(kind, "newer") == 0 && first) {
        result->version->epoch = 3;
        result->version->counter = 7;
        wrong += !nothing_seen;
        return CHORD__V1__CODE__CODE_ABORTED;
    }
    wrong += operation->attempt != 1 || (strcmp(kind, "newer") == 0 && nothing_seen);
    return CHORD__V1__CODE__CODE_OK;
}

static void serve_batch(const Chord__V1__BatchRequest *request, void *call) {
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    Chord__V1__BatchResponse response = CHORD__V1__BATCH_RESPONSE__INIT;
    Chord__V1__OperationResult result = CHORD__V1__OPERATION_RESULT__INIT;
    Chord__V1__OperationResult *results[] = {&result};
    Chord__V1__Version version = CHORD__V1__VERSION__INIT;
    char *missing[] = {address};
    result.version = &version;
    pthread_mutex_lock(&lock);
    result.code = decide(request->operations[0], &result);
    pthread_mutex_unlock(&lock);
    response.results = results;
    response.n_results = 1;
    response.missing = missing;
    response.n_missing = result.code == CHORD__V1__CODE__CODE_UNAVAILABLE;
    rpc_call_reply(call, CHORD__V1__CODE__CODE_OK, NULL, 0, &response.base);
}

static int server_start(void **state) {
    (void)state;
    return client_server_open(&server, address, serve_batch, 2 * IN_FLIGHT);
}

static int server_stop(void **state) {
    (void)state;
    rpc_server_close(server);
    return 0;
}

/* ---- the client ---- */

static struct chord_client *client_to(const char *members) {
    struct chord_client *client;
    char error[200] = "";
    /* No attempt is given up: a busy machine must not look like a lost answer. */
    const struct chord_client_options options = {.members = members, .attempt_ms = 60000};
    if (chord_client_open(&client, &options, error, sizeof error) != 0) {
        fail_msg("%s", error);
    }
    return client;
}

struct tally {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned ended, done, not_done, maybe, repeated;
};

static void on_done(void *context, struct chord_result *result) {
    struct tally *tally = context;
    pthread_mutex_lock(&tally->lock);
    tally->ended++;
    tally->done += result->fate == CHORD_DONE;
    tally->not_done += result->fate == CHORD_NOT_DONE;
    tally->maybe += result->fate == CHORD_MAYBE_DONE;
    tally->repeated += result->repeated;
    pthread_cond_signal(&tally->changed);
    pthread_mutex_unlock(&tally->lock);
    chord_result_free(result);
}

static char keys[IN_FLIGHT][24];

static void start_all(struct chord_client *client, struct tally *tally, const char *only) {
    *tally = (struct tally){.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    for (unsigned i = 0; i < IN_FLIGHT; i++) {
        snprintf(keys[i], sizeof keys[i], "%s-%u", only != NULL ? only : kinds[i % KINDS], i);
        const struct chord_operation put = {.kind = CHORD_PUT,
                                            .key = keys[i],
                                            .key_size = strlen(keys[i]),
                                            .value = "value",
                                            .value_size = 5,
                                            .timeout_ms = 60000};
        chord_start(client, &put, on_done, tally);
    }
}

static void test_many_in_flight(void **state) {
    (void)state;
    struct tally tally;
    struct chord_client *client = client_to(address);
    start_all(client, &tally, NULL);
    pthread_mutex_lock(&tally.lock);
    while (tally.ended < IN_FLIGHT) {
        pthread_cond_wait(&tally.changed, &tally.lock);
    }
    pthread_mutex_unlock(&tally.lock);
    chord_client_close(client);
    assert_int_equal(tally.done, IN_FLIGHT);
    assert_int_equal(tally.repeated, IN_FLIGHT / KINDS); /* the lost ones */
    assert_int_equal(wrong, 0);
    assert_int_equal(calls[0], IN_FLIGHT / KINDS);
    for (unsigned i = 1; i < KINDS; i++) {
        assert_int_equal(calls[i], 2 * IN_FLIGHT / KINDS);
    }
}

static void test_close_ends_what_is_under_way(void **state) {
    (void)state;
    struct tally tally;
    struct chord_client *client = client_to(address);
    start_all(client, &tally, "never");
    chord_client_close(client);
    assert_int_equal(tally.ended, IN_FLIGHT);
    assert_int_equal(tally.done, 0); /* and what was on its way may have been done */
}

static void test_time_is_over(void **state) {
    (void)state;
    struct chord_result result;
    struct chord_client *client = client_to(address);
    const struct chord_operation put = {
        .kind = CHORD_PUT, .key = "never-1", .key_size = 7, .timeout_ms = 300};
    chord_run(client, &put, 1, &result);
    assert_int_equal(result.fate, CHORD_NOT_DONE);
    assert_int_equal(result.code, CHORD_CODE_UNAVAILABLE);
    assert_int_equal(result.missing_count, 1);
    assert_string_equal(result.missing[0], address);
    chord_result_free(&result);
    chord_client_close(client);
}

static void test_nobody_listens(void **state) {
    (void)state;
    struct chord_result result;
    struct chord_client *client = client_to("127.0.0.1:1");
    const struct chord_operation put = {
        .kind = CHORD_PUT, .key = "plain-1", .key_size = 7, .timeout_ms = 300};
    chord_run(client, &put, 1, &result);
    assert_int_equal(result.fate, CHORD_NOT_DONE); /* it never left this process */
    assert_false(result.answered);
    chord_result_free(&result);
    chord_client_close(client);
    /* The second one is asked when the first does not listen. */
    char both[100];
    snprintf(both, sizeof both, "127.0.0.1:1,%s", address);
    client = client_to(both);
    assert_int_equal(chord_put(client, "plain-9999", "x", 1, &result), CHORD_DONE);
    chord_result_free(&result);
    chord_client_close(client);
}

static void test_members_must_be_addresses(void **state) {
    (void)state;
    struct chord_client *client;
    char error[200];
    struct chord_client_options options = {.members = "127.0.0.1:1,nowhere"};
    assert_int_not_equal(chord_client_open(&client, &options, error, sizeof error), 0);
    assert_non_null(strstr(error, "'nowhere'"));
    options.members = "";
    assert_int_not_equal(chord_client_open(&client, &options, error, sizeof error), 0);
    options = (struct chord_client_options){.members = address, .ring_key_file = "/nonexistent"};
    assert_int_not_equal(chord_client_open(&client, &options, error, sizeof error), 0);
    assert_non_null(strstr(error, "/nonexistent"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_many_in_flight),
        cmocka_unit_test(test_close_ends_what_is_under_way),
        cmocka_unit_test(test_time_is_over),
        cmocka_unit_test(test_nobody_listens),
        cmocka_unit_test(test_members_must_be_addresses),
    };
    return cmocka_run_group_tests(tests, server_start, server_stop);
}

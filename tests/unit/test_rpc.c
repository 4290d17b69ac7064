/* SPDX-License-Identifier: MIT */
/*
 * The RPC runtime as its users see it: calls, many at once, deadlines, lost connections, admission,
 * keys.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rpc_descriptor.h"
#include "rpc_fixture.h"

#define KEY_A "0123456789abcdef-ring-a"
#define KEY_B "0123456789abcdef-ring-b"

static void assert_reply(struct rpc_reply *reply, Chord__V1__Code code, bool local) {
    if (reply->code != code || reply->local != local) {
        fail_msg("got %s %s \"%s\", expected %s", reply->local ? "local" : "remote",
                 rpc_code_text(reply->code), reply->message, rpc_code_text(code));
    }
    rpc_reply_free(reply);
}

static void test_method_table(void **state) {
    (void)state;
    enum rpc_method method;
    for (int i = 0; i < RPC_METHODS_COUNT; i++) {
        assert_true(rpc_method_find(rpc_method_name((enum rpc_method)i), &method));
        assert_int_equal(method, i);
        assert_non_null(rpc_method_request(method));
        assert_non_null(rpc_method_response(method));
    }
    assert_string_equal(rpc_method_name(RPC_KV_BATCH), "chord.v1.KvService/Batch");
    assert_ptr_equal(rpc_method_request(RPC_RING_JOIN), &chord__v1__join_request__descriptor);
    assert_ptr_equal(rpc_method_response(RPC_ADMIN_JOIN),
                     &chord__v1__admin_join_response__descriptor);
    assert_false(rpc_method_find("chord.v1.KvService/Nothing", &method));
    assert_int_equal(rpc_method_lane(RPC_REPLICA_DECIDED), RPC_LANE_RING);
    assert_int_equal(rpc_method_lane(RPC_REPLICA_APPLY), RPC_LANE_DATA);
    assert_false(rpc_method_is_data(RPC_REPLICA_APPLY));
    assert_true(rpc_method_is_data(RPC_ADMIN_LIST_KEYS));
    assert_int_equal(rpc_method_role(RPC_ADMIN_BACKUP), RPC_ROLE_MEMBER);
    assert_int_equal(rpc_method_role(RPC_META_DESCRIBE), RPC_ROLE_READER);
    assert_true(rpc_method_is_anyones(RPC_META_DESCRIBE));
    assert_string_equal(rpc_code_text(CHORD__V1__CODE__CODE_NOT_FOUND), "NOT_FOUND");
    assert_string_equal(rpc_code_text((Chord__V1__Code)-5), "UNRECOGNISED");
    assert_true(rpc_descriptor_set_bytes > 1000);
    assert_int_equal(rpc_descriptor_set[0], 0x0a); /* FileDescriptorSet.file */
}

/* A message type that contains itself could be nested 20,000 deep on the wire and overrun the
 * stack of protobuf-c, which counts no levels. */
static void assert_not_recursive(const ProtobufCMessageDescriptor *type, int depth) {
    if (depth > 10) {
        fail_msg("%s is recursive", type->name);
    }
    for (unsigned i = 0; i < type->n_fields; i++) {
        if (type->fields[i].type == PROTOBUF_C_TYPE_MESSAGE) {
            assert_not_recursive(type->fields[i].descriptor, depth + 1);
        }
    }
}

static void test_no_recursive_message(void **state) {
    (void)state;
    for (int i = 0; i < RPC_METHODS_COUNT; i++) {
        assert_not_recursive(rpc_method_request((enum rpc_method)i), 0);
        assert_not_recursive(rpc_method_response((enum rpc_method)i), 0);
    }
}

static void test_echo(void **state) {
    (void)state;
    struct fixture f;
    fixture_open(&f, 10, NULL);
    struct rpc_reply reply = fixture_get(&f, "apple", 3000);
    assert_int_equal(reply.code, CHORD__V1__CODE__CODE_OK);
    assert_false(reply.local);
    const Chord__V1__GetResponse *get = (const Chord__V1__GetResponse *)reply.response;
    assert_int_equal(get->result->value.len, 5);
    assert_memory_equal(get->result->value.data, "apple", 5);
    rpc_reply_free(&reply);

    reply = fixture_ping(&f, 3000);
    assert_int_equal(reply.code, CHORD__V1__CODE__CODE_OK);
    assert_true(((const Chord__V1__PingResponse *)reply.response)->formed);
    rpc_reply_free(&reply);

    /* An answer with all fields at their defaults packs to nothing and is still an answer. */
    Chord__V1__BatchRequest batch = CHORD__V1__BATCH_REQUEST__INIT;
    rpc_client_call_wait(f.client, f.address, RPC_KV_BATCH, &batch.base, 3000, &reply);
    assert_non_null(reply.response);
    assert_reply(&reply, CHORD__V1__CODE__CODE_OK, false);

    Chord__V1__FindSuccessorRequest find = CHORD__V1__FIND_SUCCESSOR_REQUEST__INIT;
    rpc_client_call_wait(f.client, f.address, RPC_RING_FIND_SUCCESSOR, &find.base, 0, &reply);
    assert_true(((const Chord__V1__FindSuccessorResponse *)reply.response)->found);
    assert_reply(&reply, CHORD__V1__CODE__CODE_OK, false);
    assert_int_equal(rpc_server_requests_total(f.server), 4);
    fixture_close(&f);
}

static void test_pipelining(void **state) {
    (void)state;
    struct fixture f;
    fixture_open(&f, 1000, NULL);
    struct tally tally = {0};
    for (int i = 0; i < 200; i++) {
        char key[20];
        snprintf(key, sizeof key, "key-%d", i);
        tally_get(&f, &tally, key, 5000);
    }
    tally_wait(&tally, 200);
    assert_int_equal(tally.ok, 200);
    assert_int_equal(tally.wrong, 0);

    /* All open at the same time; one that needs no waiting passes them. */
    struct tally slow = {0};
    for (int i = 0; i < 200; i++) {
        tally_get(&f, &slow, "hold", 10000);
    }
    fixture_wait_held(200);
    struct rpc_reply reply = fixture_get(&f, "fast", 3000);
    assert_reply(&reply, CHORD__V1__CODE__CODE_OK, false);
    fixture_release();
    tally_wait(&slow, 200);
    assert_int_equal(slow.ok, 200);
    fixture_close(&f);
}

static void test_timeout(void **state) {
    (void)state;
    struct fixture f;
    fixture_open(&f, 10, NULL);
    struct rpc_reply reply = fixture_get(&f, "hold", 100);
    assert_true(reply.microseconds >= 100000 && reply.microseconds < 2000000);
    assert_false(reply.disconnected);
    assert_reply(&reply, CHORD__V1__CODE__CODE_DEADLINE_EXCEEDED, true);
    fixture_wait_held(1);
    fixture_release(); /* an answer nobody waits for */
    reply = fixture_get(&f, "next", 3000);
    assert_reply(&reply, CHORD__V1__CODE__CODE_OK, false);
    fixture_close(&f);
}

static void test_nobody_there(void **state) {
    (void)state;
    struct fixture f;
    fixture_open(&f, 0, NULL);
    struct rpc_reply reply = fixture_ping(&f, 100);
    assert_false(reply.disconnected);
    assert_reply(&reply, CHORD__V1__CODE__CODE_UNAVAILABLE, true);

    /* A call waits for a connection that comes before its deadline. */
    struct tally tally = {0};
    tally_get(&f, &tally, "early", 8000);
    fixture_server_open(&f, 10, NULL);
    tally_wait(&tally, 1);
    assert_int_equal(tally.ok, 1);
    fixture_close(&f);
}

static void test_bad_address(void **state) {
    (void)state;
    static const char *const addresses[] = {
        "",
        ":1",
        "host",
        "host:",
        "host:0",
        "host:65536",
        "h:1 ",
        "a b:80",
        "host:1/x",
        "host:80:x",
        "tcp://host:80",
        "[::1:80",
        "host:000001",
        "a-name-that-is-longer-than-sixty-three-bytes-and-so-does-not-fit.example:80"};
    struct fixture f;
    fixture_open(&f, 0, NULL);
    for (size_t i = 0; i < sizeof addresses / sizeof addresses[0]; i++) {
        Chord__V1__PingRequest request = CHORD__V1__PING_REQUEST__INIT;
        struct rpc_reply reply;
        rpc_client_call_wait(f.client, addresses[i], RPC_RING_PING, &request.base, 100, &reply);
        assert_reply(&reply, CHORD__V1__CODE__CODE_INVALID_ARGUMENT, true);
        struct rpc_server_options options = {.address = addresses[i], .data_calls_max = 1};
        assert_int_equal(rpc_server_open(&f.server, &options), -EINVAL);
    }
    fixture_close(&f);
}

static void test_who_reaches_an_address(void **state) {
    static const struct {
        const char *host;
        bool loopback, private;
    } hosts[] = {{"127.0.0.1", true, true},
                 {"127.255.0.9", true, true},
                 {"localhost", true, true},
                 {"100.64.0.1", false, true},
                 {"100.128.0.1", false, false},
                 {"12.7.0.1", false, false},
                 {"127.example.org", false, false},
                 {"127.0.0.1.example.org", false, false},
                 {"100.64.example.org", false, false},
                 {"localhost.example", false, false}};
    (void)state;
    for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++) {
        if (rpc_host_is_loopback(hosts[i].host) != hosts[i].loopback ||
            rpc_host_is_private(hosts[i].host) != hosts[i].private) {
            fail_msg("%s", hosts[i].host);
        }
    }
}

static void test_address_in_use(void **state) {
    (void)state;
    struct fixture f;
    fixture_open(&f, 10, NULL);
    struct rpc_server *second;
    struct rpc_server_options options = {.address = f.address, .data_calls_max = 1};
    assert_int_equal(rpc_server_open(&second, &options), -EADDRINUSE);
    options.address = "203.0.113.9:17099"; /* an address for documentation: not ours */
    assert_int_equal(rpc_server_open(&second, &options), -EADDRNOTAVAIL);
    fixture_close(&f);
}

static void test_server_death(void **state) {
    (void)state;
    struct fixture f;
    fixture_open(&f, 1000, NULL);
    struct tally tally = {0};
    for (int i = 0; i < 50; i++) {
        tally_get(&f, &tally, "hold", 60000);
    }
    fixture_wait_held(50);
    rpc_server_close(f.server);
    f.server = NULL;
    tally_wait(&tally, 50);
    assert_int_equal(tally.disconnected, 50);
    assert_int_equal(tally.last_code, CHORD__V1__CODE__CODE_UNAVAILABLE);
    fixture_wait_disconnects(1);
    fixture_release(); /* replies to calls whose server is gone */

    /* The same address serves again: the client finds it by itself. */
    fixture_server_open(&f, 10, NULL);
    struct rpc_reply reply = fixture_get(&f, "again", 8000);
    assert_reply(&reply, CHORD__V1__CODE__CODE_OK, false);
    fixture_close(&f);
}

/* Large messages under way in both directions each time the server goes: nng has lost itself here
 * (rpc_nng_fix.c). */
static void test_server_death_during_transfers(void **state) {
    (void)state;
    enum { ROUNDS = 10, CALLS = 16, TRIES = 50 };
    struct fixture f;
    fixture_open(&f, 1000, NULL);
    char *key = malloc(600 * 1024);
    assert_non_null(key);
    memset(key, 'k', 600 * 1024);
    key[600 * 1024 - 1] = '\0';
    for (size_t round = 0; round < ROUNDS; round++) {
        struct tally tally = {0};
        for (size_t i = 0; i < CALLS; i++) {
            tally_get(&f, &tally, key, 30000);
        }
        tally_wait(&tally, 1 + round % 8);
        rpc_server_close(f.server);
        fixture_server_open(&f, 1000, NULL);
        tally_wait(&tally, CALLS);
        /* The client may not have seen yet that the other lane's connection is gone too. */
        struct rpc_reply reply = fixture_ping(&f, 8000);
        for (int i = 0; i < TRIES && (reply.disconnected || reply.unsent); i++) {
            reply = fixture_ping(&f, 8000);
        }
        assert_reply(&reply, CHORD__V1__CODE__CODE_OK, false);
    }
    free(key);
    fixture_close(&f);
}

static void test_client_close_ends_calls(void **state) {
    (void)state;
    struct fixture f;
    fixture_open(&f, 1000, NULL);
    struct tally tally = {0};
    for (int i = 0; i < 20; i++) {
        tally_get(&f, &tally, "hold", 60000);
    }
    fixture_wait_held(20);
    struct fixture nobody = f;
    snprintf(nobody.address, sizeof nobody.address, "127.0.0.1:%d", fixture_port());
    tally_get(&nobody, &tally, "unsent", 60000);
    rpc_client_close(f.client);
    f.client = NULL;
    assert_int_equal(tally.answered, 21);
    assert_int_equal(tally.last_code, CHORD__V1__CODE__CODE_UNAVAILABLE);
    assert_int_equal(tally.disconnected, 0);
    fixture_close(&f);
}

static void test_admission(void **state) {
    (void)state;
    struct fixture f;
    fixture_open(&f, 8, NULL);
    struct tally tally = {0};
    for (int i = 0; i < 20; i++) {
        tally_get(&f, &tally, "hold", 10000);
    }
    fixture_wait_held(8);
    tally_wait(&tally, 12);
    assert_int_equal(tally.exhausted, 12);
    assert_int_equal(rpc_server_refused_total(f.server), 12);
    struct rpc_reply reply = fixture_ping(&f, 3000);
    assert_reply(&reply, CHORD__V1__CODE__CODE_OK, false);
    fixture_release();
    tally_wait(&tally, 20);
    assert_int_equal(tally.ok, 8);
    reply = fixture_get(&f, "room again", 3000);
    assert_reply(&reply, CHORD__V1__CODE__CODE_OK, false);
    fixture_close(&f);
}

static void test_sizes(void **state) {
    (void)state;
    struct fixture f;
    fixture_open(&f, 10, NULL);
    size_t most = 1024 * 1024;
    char *key = malloc(RPC_MESSAGE_BYTES_MAX + 1);
    assert_non_null(key);
    memset(key, 'k', RPC_MESSAGE_BYTES_MAX);
    key[most] = '\0';
    struct rpc_reply reply = fixture_get(&f, key, 5000);
    assert_int_equal(reply.code, CHORD__V1__CODE__CODE_OK);
    const Chord__V1__GetResponse *get = (const Chord__V1__GetResponse *)reply.response;
    assert_int_equal(get->result->value.len, most);
    assert_memory_equal(get->result->value.data, key, most);
    rpc_reply_free(&reply);

    memset(key, 'k', RPC_MESSAGE_BYTES_MAX);
    key[RPC_MESSAGE_BYTES_MAX] = '\0';
    reply = fixture_get(&f, key, 5000);
    assert_reply(&reply, CHORD__V1__CODE__CODE_INVALID_ARGUMENT, true);
    free(key);

    Chord__V1__LogsRequest logs = CHORD__V1__LOGS_REQUEST__INIT;
    rpc_client_call_wait(f.client, f.address, RPC_ADMIN_LOGS, &logs.base, 5000, &reply);
    assert_reply(&reply, CHORD__V1__CODE__CODE_INTERNAL, false);
    fixture_close(&f);
}

static size_t threads_count(void) {
    DIR *tasks = opendir("/proc/self/task");
    assert_non_null(tasks);
    size_t count = 0;
    while (readdir(tasks) != NULL) {
        count++;
    }
    closedir(tasks);
    return count;
}

/* The first of all tests, as nng's threads stay. A thread that came with the first call would have
 * the stack that somebody else may just have made the default. */
static void test_open_starts_the_threads(void **state) {
    (void)state;
    size_t before = threads_count();
    struct rpc_client_options options = {0};
    struct fixture f = {0};
    assert_int_equal(rpc_client_open(&f.client, &options), 0);
    size_t opened = threads_count();
    assert_true(opened > before);
    snprintf(f.address, sizeof f.address, "127.0.0.1:1");
    struct rpc_reply reply = fixture_ping(&f, 500);
    assert_reply(&reply, CHORD__V1__CODE__CODE_UNAVAILABLE, true);
    assert_int_equal(threads_count(), opened);
    rpc_client_close(f.client);
}

static void test_unserved(void **state) {
    (void)state;
    struct fixture f;
    fixture_open(&f, 10, NULL);
    struct rpc_reply reply;
    /* A service that is not there, and a service without this handler. */
    Chord__V1__GetServerInfoRequest info = CHORD__V1__GET_SERVER_INFO_REQUEST__INIT;
    rpc_client_call_wait(f.client, f.address, RPC_META_GET_SERVER_INFO, &info.base, 3000, &reply);
    assert_reply(&reply, CHORD__V1__CODE__CODE_UNIMPLEMENTED, false);
    Chord__V1__PutRequest put = CHORD__V1__PUT_REQUEST__INIT;
    rpc_client_call_wait(f.client, f.address, RPC_KV_PUT, &put.base, 3000, &reply);
    assert_reply(&reply, CHORD__V1__CODE__CODE_UNIMPLEMENTED, false);
    fixture_close(&f);
}

static void test_keys(void **state) {
    (void)state;
    struct fixture f;
    fixture_open(&f, 10, KEY_A);
    struct rpc_reply reply = fixture_get(&f, "signed", 3000);
    assert_reply(&reply, CHORD__V1__CODE__CODE_OK, false);
    struct rpc_client *with_key = f.client;

    struct rpc_client_options options = {0};
    assert_int_equal(rpc_client_open(&f.client, &options), 0);
    reply = fixture_get(&f, "no key", 3000);
    assert_reply(&reply, CHORD__V1__CODE__CODE_UNAUTHENTICATED, false);
    rpc_client_close(f.client);

    options.key = fixture_key(KEY_B);
    assert_int_equal(rpc_client_open(&f.client, &options), 0);
    reply = fixture_get(&f, "other key", 3000); /* nor does this client believe the answer */
    assert_reply(&reply, CHORD__V1__CODE__CODE_UNAUTHENTICATED, true);
    rpc_client_close(f.client);
    f.client = with_key;
    fixture_close(&f);
}

static void test_key_file(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int rc;
        size_t bytes;
    } cases[] = {
        {"0123456789abcdef\n", 0, 16},
        {"0123456789abcdef0\r\nrest", 0, 17},
        {"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ+/", 0, 64},
        {"0123456789012345678901234567890123456789012345678901234567890123", -EKEYREJECTED, 0},
        {"abcdefgabcdfegacbdefg\n", -EKEYREJECTED, 0},
        {"01234567890123456789012345678901234567890123456789012345678901234\n", -EINVAL, 0},
        {"0123456789abcde\n", -EINVAL, 0},
        {"", -EINVAL, 0},
        {"\n0123456789abcdef\n", -EINVAL, 0},
        {"\xef\xbb\xbf"
         "0123456789abcdef\n",
         -EILSEQ, 0},
    };
    char path[] = "/tmp/chord-rpc-key-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t bytes = strlen(cases[i].text);
        struct rpc_key key = {0};
        assert_int_equal(ftruncate(fd, 0), 0);
        assert_int_equal(pwrite(fd, cases[i].text, bytes, 0), bytes);
        assert_int_equal(rpc_key_read(&key, path), cases[i].rc);
        assert_int_equal(key.bytes_count, cases[i].bytes);
    }
    struct rpc_key key;
    static const mode_t wide[] = {0640, 0604, 0620, 0602, 0777};
    for (size_t i = 0; i < sizeof wide / sizeof wide[0]; i++) {
        assert_int_equal(fchmod(fd, wide[i]), 0);
        assert_int_equal(rpc_key_read(&key, path), -EPERM);
    }
    assert_int_equal(rpc_key_read(&key, "/tmp"), -EISDIR);
    close(fd);
    unlink(path);
    assert_int_equal(rpc_key_read(&key, path), -ENOENT);
}

/* More peers than the client keeps: the idle ones are hung up on and come back when called. */
static void test_peers_max(void **state) {
    (void)state;
    struct fixture servers[4];
    for (int i = 0; i < 4; i++) {
        fixture_open(&servers[i], 10, NULL);
        rpc_client_close(servers[i].client);
    }
    struct rpc_client_options options = {.peers_max = 2};
    struct rpc_client *client;
    assert_int_equal(rpc_client_open(&client, &options), 0);
    for (int round = 0; round < 12; round++) {
        servers[round % 4].client = client;
        struct rpc_reply reply = fixture_ping(&servers[round % 4], 5000);
        assert_reply(&reply, CHORD__V1__CODE__CODE_OK, false);
    }
    rpc_client_close(client);
    for (int i = 0; i < 4; i++) {
        servers[i].client = NULL;
        fixture_close(&servers[i]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_open_starts_the_threads),
        cmocka_unit_test(test_method_table),
        cmocka_unit_test(test_no_recursive_message),
        cmocka_unit_test(test_echo),
        cmocka_unit_test(test_pipelining),
        cmocka_unit_test(test_timeout),
        cmocka_unit_test(test_nobody_there),
        cmocka_unit_test(test_bad_address),
        cmocka_unit_test(test_who_reaches_an_address),
        cmocka_unit_test(test_address_in_use),
        cmocka_unit_test(test_server_death),
        cmocka_unit_test(test_server_death_during_transfers),
        cmocka_unit_test(test_client_close_ends_calls),
        cmocka_unit_test(test_admission),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_unserved),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_key_file),
        cmocka_unit_test(test_peers_max),
    };
    return cmocka_run_group_tests_name("rpc", tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * The client's connection, seen from the other end: when it dials, what it makes of strange peers,
 * and that what it calls unsent never leaves.
 */
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "rpc_fixture.h"

/* A client of an address where no server of ours is. */
static void client_open(struct fixture *f) {
    struct rpc_client_options options = {0};
    *f = (struct fixture){.port = fixture_port()};
    snprintf(f->address, sizeof f->address, "127.0.0.1:%d", f->port);
    assert_int_equal(rpc_client_open(&f->client, &options), 0);
}

static int accept_within(int listener, int ms) {
    struct pollfd ready = {.fd = listener, .events = POLLIN};
    return poll(&ready, 1, ms) > 0 ? accept4(listener, NULL, NULL, SOCK_CLOEXEC) : -1;
}

static void assert_unsent(struct rpc_reply *reply) {
    assert_int_equal(reply->code, CHORD__V1__CODE__CODE_UNAVAILABLE);
    assert_true(reply->local && reply->unsent);
    rpc_reply_free(reply);
}

/* ---- dialling ---- */

/* As behind a firewall that drops: nobody says no, and each attempt ends by its time. */
static void test_connect_that_hangs(void **state) {
    (void)state;
    enum { FILLERS = 8 };
    struct fixture f;
    int fillers[FILLERS];
    client_open(&f);
    int listener = raw_listen(f.port);
    assert_int_equal(listen(listener, 0), 0);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)f.port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    for (int i = 0; i < FILLERS; i++) { /* the queue is full: the next SYN is dropped */
        fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        (void)connect(fillers[i], (struct sockaddr *)&address, sizeof address);
    }
    for (int i = 0; i < 3; i++) {
        struct rpc_reply reply = fixture_get(&f, "nobody", 3000);
        assert_unsent(&reply);
    }
    for (int i = 0; i < FILLERS; i++) {
        close(fillers[i]);
    }
    struct tally tally = {0};
    uint8_t hello[8];
    bool greeted = false;
    for (int tries = 0; tries < 10 && !greeted; tries++) {
        tally_get(&f, &tally, "somebody", 1000);
        for (int fd; !greeted && (fd = accept_within(listener, 1000)) >= 0; close(fd)) {
            greeted = recv(fd, hello, sizeof hello, MSG_WAITALL) == sizeof hello &&
                      memcmp(hello, "\0SP\0\0\x30\0\0", sizeof hello) == 0;
        }
    }
    assert_true(greeted);
    rpc_client_close(f.client);
    close(listener);
}

/* Who speaks another protocol gets no request, and is not dialled without end. */
static void test_strange_hello(void **state) {
    (void)state;
    static const char *const hellos[] = {"HTTP/1.1 400 Bad Request\r\n\r\n", "\0SP\0\0\x30\0\0",
                                         "\0SP\0\1\x31\0\0", "SSH-2.0-x\r\n"};
    for (size_t i = 0; i < sizeof hellos / sizeof hellos[0]; i++) {
        struct fixture f;
        struct tally tally = {0};
        client_open(&f);
        int listener = raw_listen(f.port);
        tally_get(&f, &tally, "for you?", 800);
        int attempts = 0;
        for (int fd; (fd = accept_within(listener, 1200)) >= 0; attempts++) {
            uint8_t bytes[64];
            ssize_t got, total = 0;
            raw_send(fd, hellos[i], 8);
            while ((got = recv(fd, bytes, sizeof bytes, 0)) > 0) {
                total += got;
            }
            assert_true(total <= 8); /* the hello, and no request */
            close(fd);
        }
        tally_wait(&tally, 1);
        assert_int_equal(tally.last_code, CHORD__V1__CODE__CODE_UNAVAILABLE);
        assert_int_equal(tally.disconnected, 0);
        assert_true(attempts >= 2 && attempts <= 6); /* after 50, 100, 200, 400 ms */
        rpc_client_close(f.client);
        close(listener);
    }
}

/* ---- what was sent ---- */

enum { CALLS = 24, KEY_BYTES = 400 * 1024 };

struct sent_call {
    char *key;
    bool ended, unsent;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static size_t ended;

static void sent_reply(void *context, struct rpc_reply *reply) {
    struct sent_call *call = context;
    pthread_mutex_lock(&lock);
    call->ended = true;
    call->unsent = reply->unsent;
    ended++;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
    rpc_reply_free(reply);
}

/* Reads to the end of the connection: which calls' keys begin in what came? */
static size_t keys_received(int fd, bool seen[CALLS]) {
    size_t room = (size_t)CALLS * (KEY_BYTES + 1024), count = 0, keys = 0;
    char *bytes = malloc(room + 1);
    assert_non_null(bytes);
    for (ssize_t got; (got = recv(fd, bytes + count, room - count, 0)) > 0;) {
        count += (size_t)got;
    }
    bytes[count] = '\0';
    for (size_t i = 0; i < CALLS; i++) {
        char mark[16];
        int length = snprintf(mark, sizeof mark, "<key %03zu>", i);
        seen[i] = memmem(bytes, count, mark, (size_t)length) != NULL;
        keys += seen[i];
    }
    free(bytes);
    return keys;
}

/* A peer that takes connections and reads nothing. Calls whose requests are called unsent may be
 * made elsewhere at once, so not a byte of them may arrive later. */
static void test_unsent_never_leaves(void **state) {
    (void)state;
    static struct sent_call calls[CALLS];
    bool seen[CALLS];
    struct fixture f;
    client_open(&f);
    int listener = raw_listen(f.port);
    struct tally patient = {0};
    tally_get(&f, &patient, "keeps the connection", 3000);
    int small = 4096;
    assert_int_equal(setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &small, sizeof small), 0);
    for (size_t i = 0; i < CALLS; i++) {
        calls[i] = (struct sent_call){.key = malloc(KEY_BYTES)};
        assert_non_null(calls[i].key);
        memset(calls[i].key, 'k', KEY_BYTES);
        int length = snprintf(calls[i].key, KEY_BYTES, "<key %03zu>", i);
        calls[i].key[length] = 'k';
        Chord__V1__GetRequest request = CHORD__V1__GET_REQUEST__INIT;
        request.key = (ProtobufCBinaryData){KEY_BYTES, (uint8_t *)calls[i].key};
        rpc_client_call(f.client, f.address, RPC_KV_GET, &request.base, 400 + (uint32_t)i * 5,
                        sent_reply, &calls[i]);
    }
    int fd = accept_within(listener, 5000);
    assert_true(fd >= 0);
    raw_send(fd, "\0SP\0\0\x31\0\0", 8);
    pthread_mutex_lock(&lock);
    while (ended < CALLS) {
        pthread_cond_wait(&changed, &lock);
    }
    pthread_mutex_unlock(&lock);
    size_t unsent = 0, wrong = 0, keys = keys_received(fd, seen);
    for (size_t i = 0; i < CALLS; i++) {
        unsent += calls[i].unsent;
        wrong += calls[i].unsent && seen[i];
        free(calls[i].key);
    }
    print_message("%zu of %d unsent, %zu arrived\n", unsent, CALLS, keys);
    tally_wait(&patient, 1);
    assert_int_equal(wrong, 0);
    assert_true(unsent > 0 && unsent < CALLS);
    rpc_client_close(f.client);
    close(fd);
    close(listener);
}

/* ---- answers ---- */

/* Answers to ids that nobody waits for are nothing; the right one still counts. */
static void test_answers_to_nobody(void **state) {
    (void)state;
    struct fixture f;
    struct tally tally = {0};
    uint8_t body[4096], answer[256];
    uint32_t id;
    client_open(&f);
    int listener = raw_listen(f.port);
    tally_get(&f, &tally, "whose?", 5000);
    int fd = accept_within(listener, 5000);
    assert_true(fd >= 0);
    raw_send(fd, "\0SP\0\0\x31\0\0", 8);
    assert_int_equal(recv(fd, body, 8, MSG_WAITALL), 8);
    size_t got = raw_receive_message(fd, &id, body, sizeof body);
    Chord__V1__RpcRequest *request = chord__v1__rpc_request__unpack(NULL, got, body);
    assert_non_null(request);
    Chord__V1__RpcResponse response = CHORD__V1__RPC_RESPONSE__INIT;
    response.protocol_version = RPC_PROTOCOL_VERSION;
    response.request_id = request->request_id;
    response.code = CHORD__V1__CODE__CODE_NOT_FOUND;
    size_t bytes = chord__v1__rpc_response__pack(&response, answer);
    chord__v1__rpc_request__free_unpacked(request, NULL);
    for (uint32_t wrong = 1; wrong < 200; wrong++) {
        raw_send_message(fd, id + wrong, answer, bytes);
        raw_send_message(fd, id & 0x7fffffff, answer, bytes);
    }
    raw_send_message(fd, id, answer, bytes);
    raw_send_message(fd, id, answer, bytes); /* and once more */
    tally_wait(&tally, 1);                   /* by that one: another request_id would be INTERNAL */
    assert_int_equal(tally.last_code, CHORD__V1__CODE__CODE_NOT_FOUND);
    rpc_client_close(f.client);
    close(fd);
    close(listener);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_connect_that_hangs),
        cmocka_unit_test(test_strange_hello),
        cmocka_unit_test(test_unsent_never_leaves),
        cmocka_unit_test(test_answers_to_nobody),
    };
    return cmocka_run_group_tests_name("rpc_link", tests, NULL, NULL);
}

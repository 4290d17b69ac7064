/* SPDX-License-Identifier: MIT */
/*
 * Strangers who do not want an answer but the server's time, memory and slots: they never read,
 * they only connect, they send a byte now and then, they have no key. Meanwhile others must be
 * served at once, and what the server holds must stay within its bounds.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "rpc_fixture.h"
#include "rpc_server.h"

enum {
    PINGS = 24000,
    PING_US_MAX = 1000 * 1000, /* under a sanitizer, on a busy machine */
    FRAME_BYTES_MAX = 256,
};

static uint64_t now_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* Length, id and envelope of one request. */
static size_t frame_pack(uint8_t *out, enum rpc_method method, const void *payload,
                         size_t payload_bytes) {
    Chord__V1__RpcRequest request = CHORD__V1__RPC_REQUEST__INIT;
    request.protocol_version = RPC_PROTOCOL_VERSION;
    request.method = (char *)rpc_method_name(method);
    request.request_id = (ProtobufCBinaryData){.len = 4, .data = (uint8_t *)"flod"};
    request.payload = (ProtobufCBinaryData){.len = payload_bytes, .data = (uint8_t *)payload};
    size_t length = 4 + chord__v1__rpc_request__pack(&request, out + 12);
    memset(out, 0, 12);
    for (int i = 0; i < 4; i++) {
        out[7 - i] = (uint8_t)(length >> 8 * i);
    }
    out[8] = 0x80;
    return 8 + length;
}

/* Sends as long as the server takes it, and reads nothing. Returns the bytes taken. */
static size_t send_until_held_back(int fd, const uint8_t *bytes, size_t count) {
    size_t sent = 0;
    while (sent < count) {
        struct pollfd ready = {.fd = fd, .events = POLLOUT};
        if (poll(&ready, 1, 100) == 0) {
            break;
        }
        ssize_t n = send(fd, bytes + sent, count - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno != EAGAIN) {
            break;
        }
        sent += n > 0 ? (size_t)n : 0;
    }
    return sent;
}

static void assert_served_at_once(const struct fixture *f) {
    uint64_t slowest_us = 0;
    for (int i = 0; i < 20; i++) {
        struct rpc_reply reply = fixture_ping(f, 5000);
        if (reply.code != CHORD__V1__CODE__CODE_OK) {
            fail_msg("ping %d after %llu us: %s: %s", i, (unsigned long long)reply.microseconds,
                     rpc_code_text(reply.code), reply.message);
        }
        slowest_us = reply.microseconds > slowest_us ? reply.microseconds : slowest_us;
        rpc_reply_free(&reply);
    }
    print_message("the slowest of 20 pings: %llu us\n", (unsigned long long)slowest_us);
    assert_true(slowest_us < PING_US_MAX);
}

static bool is_closed_within(int fd, int ms) {
    uint64_t until_us = now_us() + (uint64_t)ms * 1000;
    while (now_us() < until_us) {
        struct pollfd ready = {.fd = fd, .events = POLLRDHUP};
        if (poll(&ready, 1, 50) > 0 && (ready.revents & (POLLHUP | POLLERR | POLLRDHUP)) != 0) {
            return true;
        }
    }
    return false;
}

/* ---- who never reads ---- */

static void flood_of_pings(const char *key) {
    struct fixture f;
    static uint8_t frames[PINGS * FRAME_BYTES_MAX];
    size_t frame_bytes = frame_pack(frames, RPC_RING_PING, NULL, 0);
    for (size_t i = 1; i < PINGS; i++) {
        memcpy(frames + i * frame_bytes, frames, frame_bytes);
    }
    fixture_open(&f, 1000, key);
    int fds[4];
    for (int i = 0; i < 4; i++) {
        fds[i] = raw_connect(f.port);
        raw_handshake(fds[i]);
        int small = 4096; /* what is in the sockets' buffers has been sent */
        assert_int_equal(setsockopt(fds[i], SOL_SOCKET, SO_RCVBUF, &small, sizeof small), 0);
        send_until_held_back(fds[i], frames, PINGS * frame_bytes);
        assert_served_at_once(&f);
        assert_true(rpc_server_held_bytes(f.server) < 1024 * 1024);
    }
    if (key != NULL) {
        for (int i = 0; i < 4; i++) {
            assert_true(is_closed_within(fds[i], 2000));
        }
    }
    for (int i = 0; i < 4; i++) {
        close(fds[i]);
    }
    fixture_close(&f);
}

static void test_answers_never_read(void **state) {
    (void)state;
    flood_of_pings(NULL);
}

static void test_answers_never_read_by_strangers(void **state) {
    (void)state;
    flood_of_pings("0123456789abcdef");
}

/* 1,200 values of 1 MiB that nobody reads: they stay within the budget, and connections are closed
 * until memory is not short any more. */
static void test_large_answers_never_read(void **state) {
    (void)state;
    enum { CONNECTIONS = 24, GETS = 50, KEY_BYTES = 1024 * 1024 };
    struct fixture f;
    Chord__V1__GetRequest get = CHORD__V1__GET_REQUEST__INIT;
    uint8_t *key = malloc(KEY_BYTES);
    uint8_t *payload = malloc(KEY_BYTES + 64);
    uint8_t *frame = malloc(KEY_BYTES + FRAME_BYTES_MAX);
    assert_true(key != NULL && payload != NULL && frame != NULL);
    memset(key, 'x', KEY_BYTES);
    get.key = (ProtobufCBinaryData){.len = KEY_BYTES, .data = key};
    size_t frame_bytes =
        frame_pack(frame, RPC_KV_GET, payload, chord__v1__get_request__pack(&get, payload));
    fixture_open(&f, 1000, NULL);
    int fds[CONNECTIONS];
    size_t most = 0;
    for (int i = 0; i < CONNECTIONS; i++) {
        fds[i] = raw_connect(f.port);
        raw_handshake(fds[i]);
        for (int k = 0; k < GETS; k++) {
            bool taken = send_until_held_back(fds[i], frame, frame_bytes) == frame_bytes;
            size_t held = rpc_server_held_bytes(f.server);
            most = held > most ? held : most;
            if (!taken) {
                break;
            }
        }
    }
    print_message("held at most: %zu bytes\n", most);
    assert_true(most > RPC_UNSENT_BYTES_MAX / 2);
    assert_true(most <= RPC_HELD_BYTES_MAX + RPC_ARENA_BYTES_MAX);
    assert_served_at_once(&f);
    uint64_t until_us = now_us() + 3 * RPC_PATIENCE_SHORT_MS * UINT64_C(1000);
    while (rpc_server_held_bytes(f.server) > RPC_HELD_BYTES_MAX / 2 && now_us() < until_us) {
        usleep(10000);
    }
    assert_true(rpc_server_held_bytes(f.server) <= RPC_HELD_BYTES_MAX / 2);
    for (int i = 0; i < CONNECTIONS; i++) {
        close(fds[i]);
    }
    struct rpc_reply reply = fixture_get(&f, "small again", 5000);
    assert_int_equal(reply.code, CHORD__V1__CODE__CODE_OK);
    rpc_reply_free(&reply);
    free(frame);
    free(payload);
    free(key);
    fixture_close(&f);
}

/* Who reads slowly but reads gets every answer, in order. */
static void test_slow_reader(void **state) {
    (void)state;
    enum { GETS = 300, KEY_BYTES = 8 * 1024 };
    struct fixture f;
    Chord__V1__GetRequest get = CHORD__V1__GET_REQUEST__INIT;
    static uint8_t key[KEY_BYTES], payload[KEY_BYTES + 64];
    static uint8_t frame[KEY_BYTES + FRAME_BYTES_MAX], body[KEY_BYTES + FRAME_BYTES_MAX];
    uint32_t sp_id;
    get.key = (ProtobufCBinaryData){.len = sizeof key, .data = key};
    size_t frame_bytes =
        frame_pack(frame, RPC_KV_GET, payload, chord__v1__get_request__pack(&get, payload));
    fixture_open(&f, 1000, NULL);
    int fd = raw_connect(f.port);
    raw_handshake(fd);
    int answered = 0;
    for (int asked = 0; asked < GETS; asked++) {
        while (asked - answered > 0 && send_until_held_back(fd, frame, 1) == 0) {
            raw_receive_message(fd, &sp_id, body, sizeof body);
            answered++;
        }
        if (asked == answered) {
            send_until_held_back(fd, frame, 1);
        }
        raw_send(fd, frame + 1, frame_bytes - 1);
    }
    for (; answered < GETS; answered++) {
        assert_true(raw_receive_message(fd, &sp_id, body, sizeof body) > KEY_BYTES);
    }
    close(fd);
    fixture_close(&f);
}

/* ---- who only connects ---- */

static void files_allow(rlim_t wanted) {
    struct rlimit files;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &files), 0);
    if (files.rlim_max < wanted) {
        skip();
    }
    files.rlim_cur = files.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &files), 0);
}

/* All slots taken by connections that say nothing: a newcomer gets in at once, a member's
 * connection is not the one that makes room, and who sends a byte now and then is soon closed. */
static void test_idle_connections(void **state) {
    (void)state;
    static int fds[RPC_CONNECTIONS_MAX + 200];
    struct fixture f;
    files_allow(2 * (RPC_CONNECTIONS_MAX + 300));
    fixture_open(&f, 1000, NULL);
    int member = raw_connect(f.port);
    raw_handshake(member);
    uint8_t ping[FRAME_BYTES_MAX], answer[FRAME_BYTES_MAX];
    uint32_t sp_id;
    size_t ping_bytes = frame_pack(ping, RPC_RING_PING, NULL, 0);
    raw_send(member, ping, ping_bytes);
    raw_receive_message(member, &sp_id, answer, sizeof answer);
    const int count = sizeof fds / sizeof fds[0];
    for (int i = 0; i < count; i++) {
        fds[i] = raw_connect(f.port);
        raw_handshake(fds[i]);
    }
    assert_served_at_once(&f);
    raw_send(member, ping, ping_bytes);
    raw_receive_message(member, &sp_id, answer, sizeof answer);
    assert_true(is_closed_within(fds[0], 1000)); /* the oldest made room */

    int slow = raw_connect(f.port);
    int half_hello = raw_connect(f.port);
    raw_handshake(slow);
    raw_send(half_hello, "\0SP", 3);
    bool closed = false;
    for (size_t i = 0; i < ping_bytes && !closed; i++) {
        closed = send(slow, ping + i, 1, MSG_NOSIGNAL) < 0 || is_closed_within(slow, 100);
    }
    assert_true(closed);
    assert_true(is_closed_within(half_hello, 2 * RPC_PATIENCE_SHORT_MS));
    close(slow);
    close(half_hello);
    close(member);
    for (int i = 0; i < count; i++) {
        close(fds[i]);
    }
    fixture_close(&f);
}

/*
 * A flood keeps the lock busy: the sweep waits for it, and meanwhile somebody is heard. Who was
 * heard after the sweep looked at its clock must not be taken for idle. It was, and the connections
 * of honest callers closed.
 */
static void test_heard_after_the_sweep_looked(void **state) {
    (void)state;
    struct fixture f;
    uint8_t ping[FRAME_BYTES_MAX], answer[FRAME_BYTES_MAX];
    uint32_t sp_id;
    fixture_open(&f, 10, NULL);
    int fd = raw_connect(f.port);
    raw_handshake(fd);
    for (int round = 0; round < 2; round++) { /* one that never asked; one that did */
        pthread_mutex_lock(&f.server->lock);
        struct rpc_connection *connection = f.server->connections;
        assert_true(connection != NULL && connection->spoke == (round > 0));
        rpc_connection_sweep(connection, connection->heard_ms - 1);
        assert_false(connection->closed);
        pthread_mutex_unlock(&f.server->lock);
        raw_send(fd, ping, frame_pack(ping, RPC_RING_PING, NULL, 0));
        raw_receive_message(fd, &sp_id, answer, sizeof answer);
    }
    close(fd);
    fixture_close(&f);
}

/* ---- who has no key ---- */

static void test_wrong_macs_end_a_connection(void **state) {
    (void)state;
    struct fixture f;
    uint8_t ping[FRAME_BYTES_MAX], answer[FRAME_BYTES_MAX];
    uint32_t sp_id;
    size_t ping_bytes = frame_pack(ping, RPC_RING_PING, NULL, 0);
    fixture_open(&f, 10, "0123456789abcdef");
    int fd = raw_connect(f.port);
    raw_handshake(fd);
    for (int i = 0; i < RPC_UNAUTHENTICATED_MAX; i++) {
        raw_send(fd, ping, ping_bytes);
        raw_receive_message(fd, &sp_id, answer, sizeof answer);
    }
    assert_true(raw_is_closed(fd));
    close(fd);
    assert_served_at_once(&f);
    fixture_close(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers_never_read),
        cmocka_unit_test(test_answers_never_read_by_strangers),
        cmocka_unit_test(test_large_answers_never_read),
        cmocka_unit_test(test_slow_reader),
        cmocka_unit_test(test_idle_connections),
        cmocka_unit_test(test_heard_after_the_sweep_looked),
        cmocka_unit_test(test_wrong_macs_end_a_connection),
    };
    return cmocka_run_group_tests_name("rpc_flood", tests, NULL, NULL);
}

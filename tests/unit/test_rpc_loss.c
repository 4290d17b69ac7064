/* SPDX-License-Identifier: MIT */
/*
 * Connections that are lost all the time, on both sides, under load: every call ends once and
 * nothing leaks. What counts is LeakSanitizer at the exit; without it this only checks that calls
 * end, and takes less time.
 */
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "rpc_fixture.h"

#if defined(__SANITIZE_ADDRESS__)
enum { SECONDS = 7 };
#else
enum { SECONDS = 1 };
#endif
enum {
    STRANGERS = 24,
    CALLERS = 3,
    OPEN_MAX = 2000, /* calls at a time */
    VALUE_BYTES = 300 * 1024,
};

/* One of the threads below; none of them may use cmocka's assertions. */
struct worker {
    pthread_t thread;
    unsigned seed;
    int listener; /* of a peer that hangs up */
    int port;     /* of the server to hang up on */
    struct load *load;
};

struct load {
    atomic_bool stop;
    atomic_uint lost; /* connections */
    atomic_uint calls;
    atomic_uint answers;
    struct rpc_client *client;
    char addresses[STRANGERS][RPC_ADDRESS_BYTES_MAX + 1];
    const uint8_t *frames; /* what a caller who hangs up sends */
    size_t frames_bytes;
    size_t frame_bytes;
};

static unsigned below(struct worker *worker, unsigned limit) {
    return (unsigned)rand_r(&worker->seed) % limit;
}

/* Reads up to so many bytes, while they keep coming. */
static void read_some(int fd, size_t wanted, unsigned patience_us) {
    uint8_t bytes[16 * 1024];
    struct timeval patience = {.tv_usec = patience_us};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    while (wanted > 0) {
        ssize_t n = recv(fd, bytes, wanted < sizeof bytes ? wanted : sizeof bytes, 0);
        if (n <= 0) {
            return;
        }
        wanted -= (size_t)n;
    }
}

/* With a reset, as when a process with unread data is killed, or in order. */
static void hang_up(struct worker *worker, int fd) {
    if (below(worker, 2) == 0) {
        struct linger now = {.l_onoff = 1};
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    }
    close(fd);
    worker->load->lost++;
}

static void workers_start(struct load *load, struct worker *workers, size_t count,
                          void *(*run)(void *)) {
    for (size_t i = 0; i < count; i++) {
        workers[i].seed = (unsigned)i + 1;
        workers[i].load = load;
        assert_int_equal(pthread_create(&workers[i].thread, NULL, run, &workers[i]), 0);
    }
}

static void workers_join(struct worker *workers, size_t count) {
    for (size_t i = 0; i < count; i++) {
        pthread_join(workers[i].thread, NULL);
    }
}

/* ---- a client whose peers hang up ---- */

static void *peer_run(void *context) {
    struct worker *worker = context;
    while (!worker->load->stop) {
        struct pollfd ready = {.fd = worker->listener, .events = POLLIN};
        int fd = poll(&ready, 1, 100) > 0 ? accept(worker->listener, NULL, NULL) : -1;
        if (fd >= 0) {
            send(fd, "\0SP\0\0\x31\0\0", 8, MSG_NOSIGNAL);
            read_some(fd, (size_t)below(worker, 100) * below(worker, 5000), 20000);
            hang_up(worker, fd);
        }
    }
    return NULL;
}

static void count_answer(void *context, struct rpc_reply *reply) {
    rpc_reply_free(reply);
    ((struct load *)context)->answers++;
}

/* Short and long timeouts: calls that end before, while and after they are sent. */
static void *client_run(void *context) {
    static const uint8_t value[VALUE_BYTES];
    struct worker *worker = context;
    struct load *load = worker->load;
    while (!load->stop) {
        usleep(below(worker, 400));
        if (load->calls - load->answers > OPEN_MAX) {
            continue;
        }
        Chord__V1__GetRequest request = CHORD__V1__GET_REQUEST__INIT;
        request.key.data = (uint8_t *)value;
        request.key.len = below(worker, 10) == 0 ? below(worker, VALUE_BYTES) : below(worker, 500);
        load->calls++;
        rpc_client_call(load->client, load->addresses[below(worker, STRANGERS)], RPC_KV_GET,
                        &request.base, 1 + below(worker, 400), count_answer, load);
    }
    return NULL;
}

static void test_peers_that_hang_up(void **state) {
    (void)state;
    static struct load load;
    struct worker peers[STRANGERS] = {0};
    struct worker callers[CALLERS] = {0};
    struct rpc_client_options options = {0};
    for (size_t i = 0; i < STRANGERS; i++) {
        int port = fixture_port();
        snprintf(load.addresses[i], sizeof load.addresses[i], "127.0.0.1:%d", port);
        peers[i].listener = raw_listen(port);
    }
    assert_int_equal(rpc_client_open(&load.client, &options), 0);
    workers_start(&load, peers, STRANGERS, peer_run);
    workers_start(&load, callers, CALLERS, client_run);
    sleep(SECONDS);
    load.stop = true;
    workers_join(callers, CALLERS);
    rpc_client_close(load.client);
    workers_join(peers, STRANGERS);
    for (size_t i = 0; i < STRANGERS; i++) {
        close(peers[i].listener);
    }
    print_message("%u calls, %u connections lost\n", load.calls, load.lost);
    assert_true(load.calls > 0 && load.lost > 0);
    assert_int_equal(load.answers, load.calls);
}

/* ---- a server whose callers hang up ---- */

static void *stranger_run(void *context) {
    struct worker *worker = context;
    struct load *load = worker->load;
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)worker->port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    while (!load->stop) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0) {
            send(fd, "\0SP\0\0\x30\0\0", 8, MSG_NOSIGNAL);
            for (size_t at = 0; at < load->frames_bytes; at += load->frame_bytes) {
                send(fd, load->frames + at, load->frame_bytes, MSG_NOSIGNAL);
            }
            usleep(below(worker, 1500));
            read_some(fd, below(worker, 20000), 1000);
        }
        hang_up(worker, fd);
    }
    return NULL;
}

static void test_callers_that_hang_up(void **state) {
    (void)state;
    enum { FRAMES = 20, FRAME_BYTES_MAX = 256 };
    static struct load load;
    static uint8_t frames[FRAMES * FRAME_BYTES_MAX];
    struct worker strangers[8] = {0};
    const size_t count = sizeof strangers / sizeof strangers[0];
    struct fixture f;
    fixture_open(&f, 100, NULL);
    for (size_t i = 0; i < FRAMES; i++) {
        Chord__V1__RpcRequest request = CHORD__V1__RPC_REQUEST__INIT;
        request.protocol_version = RPC_PROTOCOL_VERSION;
        request.method = (char *)rpc_method_name(RPC_RING_PING);
        request.request_id = (ProtobufCBinaryData){.len = 4, .data = (uint8_t *)"loss"};
        uint8_t *frame = frames + load.frames_bytes;
        size_t bytes = chord__v1__rpc_request__pack(&request, frame + 12);
        frame[7] = (uint8_t)(bytes + 4);
        frame[8] = 0x80;
        frame[11] = (uint8_t)i;
        load.frame_bytes = 12 + bytes;
        load.frames_bytes += load.frame_bytes;
    }
    load.frames = frames;
    for (size_t i = 0; i < count; i++) {
        strangers[i].port = f.port;
    }
    workers_start(&load, strangers, count, stranger_run);
    sleep(SECONDS);
    load.stop = true;
    workers_join(strangers, count);
    print_message("%u connections lost\n", load.lost);
    assert_true(load.lost > 0);
    struct rpc_reply reply = fixture_ping(&f, 5000);
    assert_int_equal(reply.code, CHORD__V1__CODE__CODE_OK);
    rpc_reply_free(&reply);
    fixture_close(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_peers_that_hang_up),
        cmocka_unit_test(test_callers_that_hang_up),
    };
    return cmocka_run_group_tests_name("rpc_loss", tests, NULL, NULL);
}

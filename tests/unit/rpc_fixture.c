/* SPDX-License-Identifier: MIT */
/* See rpc_fixture.h. */
#include "rpc_fixture.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { PORT_FIRST = 17000, PORT_LAST = 17099, HELD_MAX = 2048, WAIT_S = 10 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static struct rpc_call *held[HELD_MAX];
static size_t held_count;
static size_t disconnects;

/* ---- handlers ---- */

static void reply_get(struct rpc_call *call, ProtobufCBinaryData value) {
    Chord__V1__GetResponse response = CHORD__V1__GET_RESPONSE__INIT;
    Chord__V1__OperationResult result = CHORD__V1__OPERATION_RESULT__INIT;
    result.value = value;
    response.result = &result;
    rpc_call_reply(call, CHORD__V1__CODE__CODE_OK, NULL, 0, &response.base);
}

static void handle_get(Chord__V1__KvService_Service *service, const Chord__V1__GetRequest *request,
                       Chord__V1__GetResponse_Closure closure, void *closure_data) {
    (void)service;
    (void)closure;
    struct rpc_call *call = closure_data;
    rpc_call_taken(call);
    if (request->key.len < 4 || memcmp(request->key.data, "hold", 4) != 0) {
        reply_get(call, request->key);
        return;
    }
    pthread_mutex_lock(&lock);
    assert_true(held_count < HELD_MAX);
    held[held_count++] = call;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void handle_batch(Chord__V1__KvService_Service *service,
                         const Chord__V1__BatchRequest *request,
                         Chord__V1__BatchResponse_Closure closure, void *closure_data) {
    (void)service;
    (void)closure;
    Chord__V1__BatchResponse response = CHORD__V1__BATCH_RESPONSE__INIT;
    response.hops = (uint32_t)request->n_operations;
    rpc_call_reply(closure_data, CHORD__V1__CODE__CODE_OK, NULL, 0, &response.base);
}

static void handle_ping(Chord__V1__RingService_Service *service,
                        const Chord__V1__PingRequest *request,
                        Chord__V1__PingResponse_Closure closure, void *closure_data) {
    (void)service;
    (void)request;
    (void)closure;
    assert_int_equal(rpc_call_method(closure_data), RPC_RING_PING);
    Chord__V1__PingResponse response = CHORD__V1__PING_RESPONSE__INIT;
    response.formed = !rpc_call_expired(closure_data);
    rpc_call_reply(closure_data, CHORD__V1__CODE__CODE_OK, NULL, 0, &response.base);
}

static void handle_find_successor(Chord__V1__RingService_Service *service,
                                  const Chord__V1__FindSuccessorRequest *request,
                                  Chord__V1__FindSuccessorResponse_Closure closure,
                                  void *closure_data) {
    (void)service;
    (void)request;
    Chord__V1__FindSuccessorResponse response = CHORD__V1__FIND_SUCCESSOR_RESPONSE__INIT;
    response.found = true;
    closure(&response, closure_data);
}

static void handle_logs(Chord__V1__AdminService_Service *service,
                        const Chord__V1__LogsRequest *request,
                        Chord__V1__LogsResponse_Closure closure, void *closure_data) {
    (void)service;
    (void)request;
    char *text = malloc(RPC_MESSAGE_BYTES_MAX + 1);
    assert_non_null(text);
    memset(text, 'x', RPC_MESSAGE_BYTES_MAX);
    text[RPC_MESSAGE_BYTES_MAX] = '\0';
    Chord__V1__LogLine line = CHORD__V1__LOG_LINE__INIT;
    line.text = text;
    Chord__V1__LogLine *lines[] = {&line};
    Chord__V1__LogsResponse response = CHORD__V1__LOGS_RESPONSE__INIT;
    response.lines = lines;
    response.n_lines = 1;
    closure(&response, closure_data);
    free(text);
}

static Chord__V1__KvService_Service kv_service = {
    .base = CHORD__V1__KV_SERVICE__BASE_INIT, .get = handle_get, .batch = handle_batch};
static Chord__V1__RingService_Service ring_service = {.base = CHORD__V1__RING_SERVICE__BASE_INIT,
                                                      .ping = handle_ping,
                                                      .find_successor = handle_find_successor};
static Chord__V1__AdminService_Service admin_service = {.base = CHORD__V1__ADMIN_SERVICE__BASE_INIT,
                                                        .logs = handle_logs};

/* ---- waiting ---- */

static void wait_for(const size_t *value, size_t wanted, const char *what) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += WAIT_S;
    pthread_mutex_lock(&lock);
    while (*value < wanted && pthread_cond_timedwait(&changed, &lock, &until) == 0) {
    }
    size_t reached = *value;
    pthread_mutex_unlock(&lock);
    if (reached < wanted) {
        fail_msg("only %zu of %zu %s within %d s", reached, wanted, what, WAIT_S);
    }
}

void fixture_wait_held(size_t count) {
    wait_for(&held_count, count, "calls held");
}

void fixture_wait_disconnects(size_t count) {
    wait_for(&disconnects, count, "disconnects");
}

void fixture_release(void) {
    static struct rpc_call *taken[HELD_MAX];
    pthread_mutex_lock(&lock);
    size_t count = held_count;
    memcpy(taken, held, count * sizeof taken[0]);
    held_count = 0;
    pthread_mutex_unlock(&lock);
    for (size_t i = 0; i < count; i++) {
        reply_get(taken[i], (ProtobufCBinaryData){0});
    }
}

/* ---- server and client ---- */

static void on_disconnect(void *context, const char *address) {
    assert_string_equal(((struct fixture *)context)->address, address);
    pthread_mutex_lock(&lock);
    disconnects++;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static struct sockaddr_in raw_address(int port) {
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)port),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static bool port_is_free(int port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int on = 1;
    struct sockaddr_in address = raw_address(port);
    bool free = fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
                bind(fd, (struct sockaddr *)&address, sizeof address) == 0;
    close(fd);
    return free;
}

/* Another run of the tests may be using some. */
int fixture_port(void) {
    static int next = 0;
    if (next == 0) {
        next = PORT_FIRST + getpid() % 10 * 10;
    }
    for (int tries = PORT_FIRST; tries <= PORT_LAST; tries++) {
        int port = next++;
        if (next > PORT_LAST) {
            next = PORT_FIRST;
        }
        if (port_is_free(port)) {
            return port;
        }
    }
    fail_msg("no port of %d..%d is free", PORT_FIRST, PORT_LAST);
    return 0;
}

struct rpc_key fixture_key(const char *text) {
    struct rpc_key key = {0};
    if (text != NULL) {
        key.bytes_count = strlen(text);
        memcpy(key.bytes, text, key.bytes_count);
    }
    return key;
}

void fixture_server_open(struct fixture *fixture, size_t data_calls_max, const char *key_text) {
    ProtobufCService *services[] = {&kv_service.base, &ring_service.base, &admin_service.base};
    struct rpc_server_options options = {.address = fixture->address,
                                         .services = services,
                                         .services_count = 3,
                                         .data_calls_max = data_calls_max,
                                         .key = fixture_key(key_text)};
    assert_int_equal(rpc_server_open(&fixture->server, &options), 0);
}

void fixture_open(struct fixture *fixture, size_t data_calls_max, const char *key_text) {
    memset(fixture, 0, sizeof *fixture);
    disconnects = 0;
    fixture->port = fixture_port();
    snprintf(fixture->address, sizeof fixture->address, "127.0.0.1:%d", fixture->port);
    if (data_calls_max > 0) {
        fixture_server_open(fixture, data_calls_max, key_text);
    }
    struct rpc_client_options options = {
        .key = fixture_key(key_text), .on_disconnect = on_disconnect, .context = fixture};
    assert_int_equal(rpc_client_open(&fixture->client, &options), 0);
}

void fixture_close(struct fixture *fixture) {
    rpc_client_close(fixture->client);
    rpc_server_close(fixture->server);
    fixture_release();
}

struct rpc_reply fixture_get(const struct fixture *fixture, const char *key, uint32_t timeout_ms) {
    Chord__V1__GetRequest request = CHORD__V1__GET_REQUEST__INIT;
    request.key.data = (uint8_t *)key;
    request.key.len = strlen(key);
    struct rpc_reply reply;
    rpc_client_call_wait(fixture->client, fixture->address, RPC_KV_GET, &request.base, timeout_ms,
                         &reply);
    return reply;
}

struct rpc_reply fixture_ping(const struct fixture *fixture, uint32_t timeout_ms) {
    Chord__V1__PingRequest request = CHORD__V1__PING_REQUEST__INIT;
    struct rpc_reply reply;
    rpc_client_call_wait(fixture->client, fixture->address, RPC_RING_PING, &request.base,
                         timeout_ms, &reply);
    return reply;
}

struct tally_call {
    struct tally *tally;
    char key[40];
};

static void tally_reply(void *context, struct rpc_reply *reply) {
    struct tally_call *call = context;
    struct tally *tally = call->tally;
    const Chord__V1__GetResponse *get = (const Chord__V1__GetResponse *)reply->response;
    pthread_mutex_lock(&lock);
    tally->answered++;
    tally->ok += reply->code == CHORD__V1__CODE__CODE_OK;
    tally->exhausted += reply->code == CHORD__V1__CODE__CODE_RESOURCE_EXHAUSTED &&
                        reply->retry_after_ms > 0 && !reply->local;
    tally->disconnected += reply->disconnected;
    tally->wrong +=
        get != NULL && (get->result->value.len != strlen(call->key) ||
                        memcmp(get->result->value.data, call->key, get->result->value.len) != 0);
    tally->last_code = reply->code;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
    rpc_reply_free(reply);
    free(call);
}

void tally_get(const struct fixture *fixture, struct tally *tally, const char *key,
               uint32_t timeout_ms) {
    struct tally_call *call = calloc(1, sizeof *call);
    assert_non_null(call);
    call->tally = tally;
    snprintf(call->key, sizeof call->key, "%s", key);
    Chord__V1__GetRequest request = CHORD__V1__GET_REQUEST__INIT;
    request.key.data = (uint8_t *)key;
    request.key.len = strlen(key);
    rpc_client_call(fixture->client, fixture->address, RPC_KV_GET, &request.base, timeout_ms,
                    tally_reply, call);
}

void tally_wait(struct tally *tally, size_t answered) {
    wait_for(&tally->answered, answered, "answers");
}

/* ---- bare sockets ---- */

static void raw_limit(int fd) {
    struct timeval timeout = {.tv_sec = 5};
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout), 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout), 0);
    int on = 1; /* else each message waits 40 ms between its two writes */
    assert_int_equal(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), 0);
}

int raw_connect(int port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    raw_limit(fd);
    struct sockaddr_in address = raw_address(port);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

int raw_listen(int port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    raw_limit(fd);
    int on = 1;
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), 0);
    struct sockaddr_in address = raw_address(port);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 16), 0);
    return fd;
}

void raw_send(int fd, const void *bytes, size_t count) {
    assert_int_equal(send(fd, bytes, count, MSG_NOSIGNAL), count);
}

static void raw_receive(int fd, void *bytes, size_t count) {
    size_t got = 0;
    while (got < count) {
        ssize_t n = recv(fd, (uint8_t *)bytes + got, count - got, 0);
        assert_true(n > 0);
        got += (size_t)n;
    }
}

void raw_handshake(int fd) {
    static const uint8_t ours[8] = {0, 'S', 'P', 0, 0, 0x30, 0, 0};
    static const uint8_t theirs[8] = {0, 'S', 'P', 0, 0, 0x31, 0, 0};
    uint8_t got[8];
    raw_send(fd, ours, sizeof ours);
    raw_receive(fd, got, sizeof got);
    assert_memory_equal(got, theirs, sizeof got);
}

void raw_send_message(int fd, uint32_t sp_id, const void *body, size_t count) {
    uint8_t head[12] = {0};
    uint64_t length = count + 4;
    for (int i = 0; i < 8; i++) {
        head[7 - i] = (uint8_t)(length >> 8 * i);
    }
    for (int i = 0; i < 4; i++) {
        head[11 - i] = (uint8_t)(sp_id >> 8 * i);
    }
    raw_send(fd, head, sizeof head);
    if (count > 0) {
        raw_send(fd, body, count);
    }
}

size_t raw_receive_message(int fd, uint32_t *sp_id, uint8_t *body, size_t body_max) {
    uint8_t head[12];
    raw_receive(fd, head, sizeof head);
    uint64_t length = 0;
    *sp_id = 0;
    for (int i = 0; i < 8; i++) {
        length = length << 8 | head[i];
    }
    for (int i = 8; i < 12; i++) {
        *sp_id = *sp_id << 8 | head[i];
    }
    assert_true(length >= 4 && length - 4 <= body_max);
    raw_receive(fd, body, (size_t)length - 4);
    return (size_t)length - 4;
}

bool raw_is_closed(int fd) {
    uint8_t byte;
    ssize_t n;
    while ((n = recv(fd, &byte, 1, 0)) > 0) {
    }
    return n == 0 || errno == ECONNRESET;
}

Chord__V1__RpcResponse *raw_ask(int fd, const void *envelope, size_t count) {
    static uint32_t next_id = 0x80000000;
    uint8_t body[4096];
    uint32_t sp_id;
    raw_send_message(fd, ++next_id, envelope, count);
    size_t got = raw_receive_message(fd, &sp_id, body, sizeof body);
    assert_int_equal(sp_id, next_id);
    Chord__V1__RpcResponse *response = chord__v1__rpc_response__unpack(NULL, got, body);
    assert_non_null(response);
    return response;
}

Chord__V1__Code raw_call(int fd, const void *envelope, size_t count) {
    Chord__V1__RpcResponse *response = raw_ask(fd, envelope, count);
    Chord__V1__Code code = response->code;
    chord__v1__rpc_response__free_unpacked(response, NULL);
    return code;
}

/* SPDX-License-Identifier: MIT */
/*
 * What strangers may send to a server's port, and to a client: junk before, in and behind the
 * framing, broken and greedy messages. Each time the server must answer or hang up, and serve the
 * next caller.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "rpc_fixture.h"

enum { ENVELOPE_MAX = 4096 };

static void assert_still_serves(const struct fixture *f) {
    struct rpc_reply reply = fixture_get(f, "alive", 5000);
    if (reply.code != CHORD__V1__CODE__CODE_OK) {
        fail_msg("the server does not serve any more: %s", reply.message);
    }
    rpc_reply_free(&reply);
}

static size_t envelope_pack(uint8_t *out, const char *method, uint32_t version, size_t id_bytes,
                            const void *payload, size_t payload_bytes) {
    static uint8_t id[64] = {1, 2, 3, 4};
    Chord__V1__RpcRequest request = CHORD__V1__RPC_REQUEST__INIT;
    request.protocol_version = version;
    request.method = (char *)method;
    request.request_id = (ProtobufCBinaryData){.len = id_bytes, .data = id};
    request.payload = (ProtobufCBinaryData){.len = payload_bytes, .data = (uint8_t *)payload};
    return chord__v1__rpc_request__pack(&request, out);
}

static Chord__V1__Code call_with(int fd, const char *method, uint32_t version, size_t id_bytes,
                                 const void *payload, size_t payload_bytes) {
    uint8_t *envelope = malloc(ENVELOPE_MAX + payload_bytes);
    assert_non_null(envelope);
    size_t count = envelope_pack(envelope, method, version, id_bytes, payload, payload_bytes);
    Chord__V1__Code code = raw_call(fd, envelope, count);
    free(envelope);
    return code;
}

static void test_junk_handshake(void **state) {
    (void)state;
    static const char *const junk[] = {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "\0SP\0\0\x10\0\0",
                                       "\0SP\1\0\x30\0\0", "\x16\x03\x01\x02\0\x01\0\x01"};
    struct fixture f;
    fixture_open(&f, 10, NULL);
    for (size_t i = 0; i < sizeof junk / sizeof junk[0]; i++) {
        int fd = raw_connect(f.port);
        raw_send(fd, junk[i], 8);
        assert_true(raw_is_closed(fd));
        close(fd);
    }
    /* Those who connect and say nothing, or half of it, and leave. */
    for (int i = 0; i < 50; i++) {
        int fd = raw_connect(f.port);
        raw_send(fd, "\0SP\0", (size_t)i % 5);
        close(fd);
    }
    assert_still_serves(&f);
    fixture_close(&f);
}

static void test_junk_framing(void **state) {
    (void)state;
    static const uint8_t frames[][12] = {
        {0, 0, 0, 0, 0, 0, 0, 0},                         /* no room for an id */
        {0, 0, 0, 0, 0, 0, 0, 3, 1, 2, 3},                /* nor here */
        {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, /* 2^64 - 1 bytes will follow */
        {0, 0, 0, 0, 0, 0x20, 0, 1, 0x80, 0, 0, 1},       /* 2 MiB and one */
        {0x80, 0, 0, 0, 0, 0, 0, 0},                      /* negative */
    };
    struct fixture f;
    fixture_open(&f, 10, NULL);
    for (size_t i = 0; i < sizeof frames / sizeof frames[0]; i++) {
        int fd = raw_connect(f.port);
        raw_handshake(fd);
        raw_send(fd, frames[i], sizeof frames[i]);
        assert_true(raw_is_closed(fd));
        close(fd);
    }
    /* A message that stops in the middle. */
    int fd = raw_connect(f.port);
    raw_handshake(fd);
    raw_send(fd, "\0\0\0\0\0\0\x10\0\x80\0\0\1half", 16);
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    assert_true(raw_is_closed(fd));
    close(fd);
    /* An id without the end mark: forwarders without end. Dropped, not answered. */
    fd = raw_connect(f.port);
    raw_handshake(fd);
    uint8_t hops[64] = {0};
    raw_send_message(fd, 1, hops, sizeof hops);
    assert_int_equal(call_with(fd, "chord.v1.RingService/Ping", 1, 4, NULL, 0),
                     CHORD__V1__CODE__CODE_OK);
    close(fd);
    assert_still_serves(&f);
    fixture_close(&f);
}

static void assert_answer_is_utf8(int fd, const char *method) {
    uint8_t envelope[ENVELOPE_MAX], body[ENVELOPE_MAX];
    uint32_t sp_id;
    raw_send_message(fd, 0x80000001, envelope, envelope_pack(envelope, method, 1, 4, NULL, 0));
    size_t got = raw_receive_message(fd, &sp_id, body, sizeof body);
    Chord__V1__RpcResponse *response = chord__v1__rpc_response__unpack(NULL, got, body);
    assert_non_null(response);
    assert_int_equal(response->code, CHORD__V1__CODE__CODE_UNIMPLEMENTED);
    assert_true(strlen(response->message) > 0);
    assert_true(rpc_texts_are_valid(&response->base));
    chord__v1__rpc_response__free_unpacked(response, NULL);
}

static void test_junk_envelope(void **state) {
    (void)state;
    const char *ping = "chord.v1.RingService/Ping";
    struct fixture f;
    fixture_open(&f, 10, NULL);
    int fd = raw_connect(f.port);
    raw_handshake(fd);
    assert_int_equal(call_with(fd, ping, 1, 4, NULL, 0), CHORD__V1__CODE__CODE_OK);
    assert_int_equal(call_with(fd, ping, 1, 16, NULL, 0), CHORD__V1__CODE__CODE_OK);
    assert_int_equal(call_with(fd, ping, 1, 0, NULL, 0), CHORD__V1__CODE__CODE_INVALID_ARGUMENT);
    assert_int_equal(call_with(fd, ping, 1, 17, NULL, 0), CHORD__V1__CODE__CODE_INVALID_ARGUMENT);
    assert_int_equal(call_with(fd, ping, 2, 4, NULL, 0), CHORD__V1__CODE__CODE_UNIMPLEMENTED);
    assert_int_equal(call_with(fd, "", 1, 4, NULL, 0), CHORD__V1__CODE__CODE_UNIMPLEMENTED);
    assert_int_equal(call_with(fd, "chord.v1.RingService/Explode%s%n", 1, 4, NULL, 0),
                     CHORD__V1__CODE__CODE_UNIMPLEMENTED);
    /* The answer to a method that is no UTF-8, or is cut within a character, can be read. */
    assert_answer_is_utf8(fd, "chord.v1.\xff\xfe/\xc3");
    char long_name[120];
    memset(long_name, 'x', sizeof long_name);
    memcpy(long_name + 98, "\xe2\x82\xac\xe2\x82\xac", 7);
    assert_answer_is_utf8(fd, long_name);
    /* Nor is a text taken that is none: it would come back in the answers to others. */
    const char *join = "chord.v1.RingService/Ping";
    assert_int_equal(call_with(fd, join, 1, 4, "\x0a\x04\x12\x02\xff\xfe", 6),
                     CHORD__V1__CODE__CODE_INVALID_ARGUMENT);
    assert_int_equal(call_with(fd, ping, 1, 4, "\x0a\xff", 2),
                     CHORD__V1__CODE__CODE_INVALID_ARGUMENT);
    assert_int_equal(raw_call(fd, "", 0), CHORD__V1__CODE__CODE_INVALID_ARGUMENT);
    assert_int_equal(raw_call(fd, "\xff\xff\xff\xff", 4), CHORD__V1__CODE__CODE_INVALID_ARGUMENT);

    /* Every beginning of a good envelope, and every change of one byte. */
    uint8_t good[ENVELOPE_MAX];
    uint8_t bad[ENVELOPE_MAX];
    size_t count = envelope_pack(good, ping, 1, 4, "\x0a\x00", 2);
    for (size_t i = 0; i < count; i++) {
        raw_call(fd, good, i);
        for (int flip = 1; flip <= 128; flip *= 2) {
            memcpy(bad, good, count);
            bad[i] ^= (uint8_t)flip;
            raw_call(fd, bad, count);
        }
    }
    close(fd);
    assert_still_serves(&f);
    fixture_close(&f);
}

/* On a connection of its own, since a few wrong MACs end one. */
static Chord__V1__Code call_once(int port, const void *envelope, size_t count) {
    int fd = raw_connect(port);
    raw_handshake(fd);
    Chord__V1__Code code = raw_call(fd, envelope, count);
    close(fd);
    return code;
}

/* One of the envelopes in proto/vectors.txt; how many bytes. */
static size_t vector(const char *name, uint8_t bytes[ENVELOPE_MAX]) {
    FILE *file = fopen(CHORD_VECTORS, "r");
    char line[2 * ENVELOPE_MAX];
    size_t count = 0, length = strlen(name);
    assert_non_null(file);
    while (fgets(line, sizeof line, file) != NULL && count == 0) {
        if (strncmp(line, name, length) != 0 || line[length] != ' ') {
            continue;
        }
        for (const char *at = line + length + 1; sscanf(at, "%2hhx", &bytes[count]) == 1; at += 2) {
            count++;
        }
    }
    fclose(file);
    assert_true(count > 0);
    return count;
}

/* The bytes of proto/README.md. */
static void test_documented_bytes(void **state) {
    (void)state;
    static const char payload[] = "\x32\x09\x0a\x07\x1a\x05"
                                  "apple";
    uint8_t request[ENVELOPE_MAX], answer[ENVELOPE_MAX], key[ENVELOPE_MAX + 1];
    const size_t count = vector("request", request);
    assert_true(vector("answer", answer) > 10);
    key[vector("key", key)] = 0;
    uint8_t body[ENVELOPE_MAX];
    uint32_t sp_id;
    struct fixture f;
    fixture_open(&f, 10, NULL);
    int fd = raw_connect(f.port);
    raw_handshake(fd);
    assert_int_equal(count, 44);
    raw_send_message(fd, 0x80000001, request, count);
    size_t received = raw_receive_message(fd, &sp_id, body, sizeof body);
    assert_int_equal(sp_id, 0x80000001);
    assert_memory_equal(body, answer, 10); /* its start and clock follow, which are its own */
    assert_memory_equal(body + received - (sizeof payload - 1), payload, sizeof payload - 1);
    close(fd);
    fixture_close(&f);

    /* Signed for another process: the MAC is right, and nothing is done. */
    fixture_open(&f, 10, (const char *)key);
    fd = raw_connect(f.port);
    raw_handshake(fd);
    size_t at = vector("signed_request", body);
    size_t mac_length = at - 33;
    assert_int_equal(raw_call(fd, body, at), CHORD__V1__CODE__CODE_CHALLENGE);
    close(fd);
    assert_int_equal(call_once(f.port, body, count), CHORD__V1__CODE__CODE_UNAUTHENTICATED);
    /* One byte less, and any byte changed. */
    body[mac_length]--;
    assert_int_equal(call_once(f.port, body, at - 1), CHORD__V1__CODE__CODE_UNAUTHENTICATED);
    body[mac_length]++;
    for (size_t i = 4; i < at; i++) {
        body[i] ^= 1;
        Chord__V1__Code code = call_once(f.port, body, at);
        assert_true(code == CHORD__V1__CODE__CODE_UNAUTHENTICATED ||
                    code == CHORD__V1__CODE__CODE_INVALID_ARGUMENT);
        body[i] ^= 1;
    }
    fixture_close(&f);
}

static void test_random_payloads(void **state) {
    (void)state;
    struct fixture f;
    fixture_open(&f, 10, NULL);
    int fd = raw_connect(f.port);
    raw_handshake(fd);
    const char *text = getenv("CHORD_SEED");
    unsigned seed = text == NULL ? 1 : (unsigned)strtoul(text, NULL, 10);
    print_message("replay: CHORD_SEED=%u test_rpc_hostile\n", seed);
    for (int i = 0; i < 2000; i++) {
        uint8_t payload[200];
        size_t count = (size_t)rand_r(&seed) % sizeof payload;
        for (size_t at = 0; at < count; at++) {
            /* Mostly small numbers: they look like tags and lengths. */
            payload[at] = (uint8_t)(rand_r(&seed) % (rand_r(&seed) % 4 == 0 ? 256 : 24));
        }
        enum rpc_method method = i % 2 == 0 ? RPC_KV_BATCH : RPC_RING_PING;
        call_with(fd, rpc_method_name(method), 1, 4, payload, count);
    }
    close(fd);
    assert_still_serves(&f);
    fixture_close(&f);
}

/* Half a million empty operations in 1 MiB: 60 MiB of structs if one let them. */
static void test_arena_bound(void **state) {
    (void)state;
    struct fixture f;
    fixture_open(&f, 10, NULL);
    int fd = raw_connect(f.port);
    raw_handshake(fd);
    size_t count = 1024 * 1024;
    uint8_t *payload = malloc(count);
    assert_non_null(payload);
    for (size_t i = 0; i < count; i += 2) {
        payload[i] = 0x0a; /* BatchRequest.operations */
        payload[i + 1] = 0;
    }
    const char *batch = "chord.v1.KvService/Batch";
    assert_int_equal(call_with(fd, batch, 1, 4, payload, count),
                     CHORD__V1__CODE__CODE_INVALID_ARGUMENT);
    /* The same as fields nobody knows. */
    for (size_t i = 0; i < count; i += 2) {
        payload[i] = 0x7a;
    }
    assert_int_equal(call_with(fd, batch, 1, 4, payload, count),
                     CHORD__V1__CODE__CODE_INVALID_ARGUMENT);
    /* And in the envelope itself. */
    assert_int_equal(raw_call(fd, payload, count), CHORD__V1__CODE__CODE_INVALID_ARGUMENT);
    /* Above the envelope's limit and below nng's: answered. */
    uint8_t *large = calloc(1, RPC_MESSAGE_BYTES_MAX + 1);
    assert_non_null(large);
    assert_int_equal(raw_call(fd, large, RPC_MESSAGE_BYTES_MAX + 1),
                     CHORD__V1__CODE__CODE_INVALID_ARGUMENT);
    free(large);
    free(payload);
    close(fd);
    assert_still_serves(&f);
    fixture_close(&f);
}

/* A honest batch as an import sends it: 8,192 rows in 1 MiB must fit the memory budget. */
static void test_import_batch_fits(void **state) {
    (void)state;
    enum { ROWS = 8192 };
    struct fixture f;
    fixture_open(&f, 10, NULL);
    Chord__V1__Operation *operations = calloc(ROWS, sizeof *operations);
    Chord__V1__Operation **list = calloc(ROWS, sizeof *list);
    assert_non_null(operations);
    assert_non_null(list);
    static uint8_t bytes[90];
    for (int i = 0; i < ROWS; i++) {
        chord__v1__operation__init(&operations[i]);
        operations[i].kind = CHORD__V1__OPERATION_KIND__OPERATION_KIND_PUT;
        operations[i].key = (ProtobufCBinaryData){.len = 12, .data = bytes};
        operations[i].value = (ProtobufCBinaryData){.len = 80, .data = bytes};
        operations[i].op_id = (ProtobufCBinaryData){.len = 16, .data = bytes};
        operations[i].attempt = 1;
        list[i] = &operations[i];
    }
    Chord__V1__BatchRequest request = CHORD__V1__BATCH_REQUEST__INIT;
    request.operations = list;
    request.n_operations = ROWS;
    struct rpc_reply reply;
    rpc_client_call_wait(f.client, f.address, RPC_KV_BATCH, &request.base, 5000, &reply);
    assert_int_equal(reply.code, CHORD__V1__CODE__CODE_OK);
    assert_int_equal(((const Chord__V1__BatchResponse *)reply.response)->hops, ROWS);
    rpc_reply_free(&reply);
    free(operations);
    free(list);
    fixture_close(&f);
}

/* ---- a client among strangers ---- */

/* Takes the client's call on a bare listener: the connection and the SP id of the request. */
static int peer_accept(int listener, uint32_t *sp_id) {
    static const uint8_t rep[8] = {0, 'S', 'P', 0, 0, 0x31, 0, 0};
    uint8_t got[ENVELOPE_MAX];
    int fd = accept(listener, NULL, NULL);
    assert_true(fd >= 0);
    raw_send(fd, rep, sizeof rep);
    assert_int_equal(recv(fd, got, 8, MSG_WAITALL), 8);
    raw_receive_message(fd, sp_id, got, sizeof got);
    return fd;
}

/* Answers one call with these bytes, or hangs up when NULL. */
static struct tally peer_answers(const void *bytes, size_t count) {
    struct fixture f;
    struct tally tally = {0};
    uint32_t sp_id;
    fixture_open(&f, 0, NULL);
    int listener = raw_listen(f.port);
    tally_get(&f, &tally, "key", 60000);
    int fd = peer_accept(listener, &sp_id);
    if (bytes != NULL) {
        raw_send_message(fd, sp_id, bytes, count);
    } else {
        close(fd);
    }
    tally_wait(&tally, 1);
    if (bytes != NULL) {
        close(fd);
    } else {
        fixture_wait_disconnects(1);
    }
    close(listener);
    fixture_close(&f);
    return tally;
}

static void test_peer_hangs_up(void **state) {
    (void)state;
    struct tally tally = peer_answers(NULL, 0);
    assert_int_equal(tally.disconnected, 1);
    assert_int_equal(tally.last_code, CHORD__V1__CODE__CODE_UNAVAILABLE);
}

static void test_peer_answers_junk(void **state) {
    (void)state;
    assert_int_equal(peer_answers("\xff\xff", 2).last_code, CHORD__V1__CODE__CODE_INTERNAL);
    assert_int_equal(peer_answers("", 0).last_code, CHORD__V1__CODE__CODE_INTERNAL);
    /* Another request's id, and a code nobody knows. */
    assert_int_equal(peer_answers("\x12\x02hi", 4).last_code, CHORD__V1__CODE__CODE_INTERNAL);
    assert_int_equal(peer_answers("\x18\x63", 2).last_code, CHORD__V1__CODE__CODE_UNKNOWN);
    assert_int_equal(peer_answers("\x18\x03", 2).last_code, CHORD__V1__CODE__CODE_INVALID_ARGUMENT);
}

/* An answer above the receive limit costs the connection, not the process. */
static void test_peer_answers_too_much(void **state) {
    (void)state;
    struct fixture f;
    struct tally tally = {0};
    uint32_t sp_id;
    fixture_open(&f, 0, NULL);
    int listener = raw_listen(f.port);
    tally_get(&f, &tally, "key", 60000);
    int fd = peer_accept(listener, &sp_id);
    raw_send(fd, "\0\0\0\x7f\0\0\0\0", 8);
    tally_wait(&tally, 1);
    assert_int_equal(tally.disconnected, 1);
    close(fd);
    close(listener);
    fixture_close(&f);
}

/* A connection that says nothing during a whole call is given up: the next call has a new one. */
static void test_peer_is_silent(void **state) {
    (void)state;
    struct fixture f;
    struct tally tally = {0};
    uint32_t sp_id;
    fixture_open(&f, 0, NULL);
    int listener = raw_listen(f.port);
    tally_get(&f, &tally, "key", 300);
    int silent = peer_accept(listener, &sp_id);
    tally_wait(&tally, 1);
    assert_int_equal(tally.last_code, CHORD__V1__CODE__CODE_DEADLINE_EXCEEDED);
    assert_true(raw_is_closed(silent));
    tally_get(&f, &tally, "key", 60000);
    int fd = peer_accept(listener, &sp_id);
    raw_send_message(fd, sp_id, "\x18\x03", 2);
    tally_wait(&tally, 2);
    assert_int_equal(tally.last_code, CHORD__V1__CODE__CODE_INVALID_ARGUMENT);
    close(silent);
    close(fd);
    close(listener);
    fixture_close(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_junk_handshake),    cmocka_unit_test(test_junk_framing),
        cmocka_unit_test(test_junk_envelope),     cmocka_unit_test(test_documented_bytes),
        cmocka_unit_test(test_random_payloads),   cmocka_unit_test(test_arena_bound),
        cmocka_unit_test(test_import_batch_fits), cmocka_unit_test(test_peer_hangs_up),
        cmocka_unit_test(test_peer_answers_junk), cmocka_unit_test(test_peer_answers_too_much),
        cmocka_unit_test(test_peer_is_silent),
    };
    return cmocka_run_group_tests_name("rpc_hostile", tests, NULL, NULL);
}

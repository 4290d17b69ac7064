/* SPDX-License-Identifier: MIT */
/* Which requests are for whom: another ring, another process, a recorded one. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "rpc_fixture.h"
#include "rpc_receiver.h"

#define KEY "0123456789abcdef"

static const uint8_t ring_a[RPC_RING_ID_BYTES] = "ring a.........";
static const uint8_t ring_b[RPC_RING_ID_BYTES] = "ring b.........";

static ProtobufCBinaryData bytes_of(const uint8_t *bytes, size_t count) {
    return (ProtobufCBinaryData){count, (uint8_t *)(uintptr_t)bytes};
}

static Chord__V1__Code check(struct rpc_receiver *receiver, const Chord__V1__RpcRequest *request) {
    char text[RPC_MESSAGE_TEXT_MAX + 1] = "";
    Chord__V1__Code code = rpc_receiver_check(receiver, request, text, sizeof text);
    assert_int_equal(code != CHORD__V1__CODE__CODE_OK, text[0] != '\0');
    return code;
}

static void test_ring(void **state) {
    (void)state;
    struct rpc_receiver *receiver;
    Chord__V1__RpcRequest request = CHORD__V1__RPC_REQUEST__INIT;
    assert_int_equal(rpc_receiver_open(&receiver, false), 0);
    for (int round = 0; round < 3; round++) {
        static const uint8_t *const rings[] = {NULL, ring_a, ring_b};
        rpc_receiver_set_ring(receiver, rings[round]);
        request.ring_id = bytes_of(NULL, 0);
        assert_int_equal(check(receiver, &request), CHORD__V1__CODE__CODE_OK);
        request.ring_id = bytes_of(ring_a, 15);
        assert_int_equal(check(receiver, &request), CHORD__V1__CODE__CODE_INVALID_ARGUMENT);
        request.ring_id = bytes_of(ring_a, 16);
        assert_int_equal(check(receiver, &request),
                         round == 2 ? CHORD__V1__CODE__CODE_WRONG_RING : CHORD__V1__CODE__CODE_OK);
    }
    rpc_receiver_set_ring(receiver, NULL);
    assert_int_equal(check(receiver, &request), CHORD__V1__CODE__CODE_OK);
    rpc_receiver_close(receiver);
}

static void test_once(void **state) {
    (void)state;
    struct rpc_receiver *receiver, *other;
    struct rpc_receiver_room room;
    Chord__V1__RpcResponse self = CHORD__V1__RPC_RESPONSE__INIT;
    Chord__V1__RpcResponse stranger = CHORD__V1__RPC_RESPONSE__INIT;
    Chord__V1__RpcRequest request = CHORD__V1__RPC_REQUEST__INIT;
    uint8_t mac[RPC_MAC_BYTES] = {[7] = 1};
    assert_int_equal(rpc_receiver_open(&receiver, true), 0);
    assert_int_equal(rpc_receiver_open(&other, true), 0);
    rpc_receiver_name(receiver, &self, &room);
    rpc_receiver_name(other, &stranger, &room);
    assert_int_equal(self.start.len, RPC_START_BYTES);
    assert_memory_not_equal(self.start.data, stranger.start.data, RPC_START_BYTES);
    request.mac = bytes_of(mac, sizeof mac);
    request.sent_ms = self.clock_ms;
    assert_int_equal(check(receiver, &request), CHORD__V1__CODE__CODE_CHALLENGE); /* for nobody */
    request.receiver = stranger.start;
    assert_int_equal(check(receiver, &request), CHORD__V1__CODE__CODE_CHALLENGE);
    request.receiver = self.start;
    request.sent_ms = self.clock_ms + RPC_WINDOW_MS + 60000;
    assert_int_equal(check(receiver, &request), CHORD__V1__CODE__CODE_CHALLENGE);
    request.sent_ms = UINT64_MAX;
    assert_int_equal(check(receiver, &request), CHORD__V1__CODE__CODE_CHALLENGE);
    request.sent_ms = self.clock_ms;
    /* Enough to grow several times; each once. */
    for (int round = 0; round < 2; round++) {
        for (unsigned i = 0; i < 5000; i++) {
            memcpy(mac, &i, sizeof i);
            assert_int_equal(check(receiver, &request), round == 0
                                                            ? CHORD__V1__CODE__CODE_OK
                                                            : CHORD__V1__CODE__CODE_CHALLENGE);
        }
    }
    rpc_receiver_close(receiver);
    rpc_receiver_close(other);
}

/* ---- over the network ---- */

static void assert_get(const struct fixture *f, Chord__V1__Code code) {
    struct rpc_reply reply = fixture_get(f, "key", 5000);
    if (reply.code != code) {
        fail_msg("got %s \"%s\", expected %s", rpc_code_text(reply.code), reply.message,
                 rpc_code_text(code));
    }
    rpc_reply_free(&reply);
}

static void test_client_of_a_ring(void **state) {
    (void)state;
    static const char *const keys[] = {NULL, KEY};
    for (int keyed = 0; keyed < 2; keyed++) {
        struct fixture f;
        fixture_open(&f, 10, keys[keyed]);
        rpc_server_set_ring(f.server, ring_b);
        assert_get(&f, CHORD__V1__CODE__CODE_OK); /* meant for any ring */
        rpc_client_set_ring(f.client, ring_a);
        assert_get(&f, CHORD__V1__CODE__CODE_WRONG_RING);
        rpc_client_set_ring(f.client, ring_b);
        struct rpc_reply reply = fixture_get(&f, "key", 5000);
        assert_int_equal(reply.code, CHORD__V1__CODE__CODE_OK);
        assert_true(reply.has_ring);
        assert_memory_equal(reply.ring_id, ring_b, sizeof ring_b);
        rpc_reply_free(&reply);
        fixture_close(&f);
    }
}

/* Another process at the same address: the first call is signed for the one that is gone, is
 * refused, signed anew, and nobody notices. */
static void test_another_process(void **state) {
    (void)state;
    struct fixture f;
    fixture_open(&f, 10, KEY);
    for (int round = 0; round < 3; round++) {
        assert_get(&f, CHORD__V1__CODE__CODE_OK);
        assert_get(&f, CHORD__V1__CODE__CODE_OK);
        assert_int_equal(rpc_server_requests_total(f.server), 3);
        rpc_server_close(f.server);
        fixture_server_open(&f, 10, KEY);
        fixture_wait_disconnects((size_t)round + 1);
    }
    fixture_close(&f);
}

/* What a listener recorded, sent again: to the same process, to another one, and there again. */
static void test_recorded(void **state) {
    (void)state;
    struct fixture f, g;
    fixture_open(&f, 10, KEY);
    fixture_open(&g, 10, KEY);
    struct rpc_key key = fixture_key(KEY);
    struct rpc_mac *mac;
    assert_int_equal(rpc_mac_open(&mac, &key), 0);
    Chord__V1__RpcRequest request = CHORD__V1__RPC_REQUEST__INIT;
    Chord__V1__GetRequest get = CHORD__V1__GET_REQUEST__INIT;
    get.key = bytes_of((const uint8_t *)"key", 3);
    request.protocol_version = RPC_PROTOCOL_VERSION;
    request.method = "chord.v1.KvService/Get";
    request.request_id = bytes_of((const uint8_t *)"id", 2);
    int fd = raw_connect(f.port);
    int other = raw_connect(g.port);
    raw_handshake(fd);
    raw_handshake(other);
    nng_msg *msg;
    size_t payload_bytes;
    assert_int_equal(rpc_envelope_pack_request(&msg, true, &request, &get.base, &payload_bytes), 0);
    uint8_t nobody[RPC_START_BYTES] = {0};
    request.receiver = bytes_of(nobody, sizeof nobody);
    assert_true(rpc_envelope_sign_request(msg, mac, &request, payload_bytes));
    Chord__V1__RpcResponse *answer = raw_ask(fd, nng_msg_body(msg), nng_msg_len(msg));
    assert_int_equal(answer->code, CHORD__V1__CODE__CODE_CHALLENGE);
    request.receiver = answer->start;
    request.sent_ms = answer->clock_ms;
    assert_true(rpc_envelope_sign_request(msg, mac, &request, payload_bytes));
    chord__v1__rpc_response__free_unpacked(answer, NULL);
    assert_int_equal(raw_call(fd, nng_msg_body(msg), nng_msg_len(msg)), CHORD__V1__CODE__CODE_OK);
    assert_int_equal(raw_call(fd, nng_msg_body(msg), nng_msg_len(msg)),
                     CHORD__V1__CODE__CODE_CHALLENGE);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(raw_call(other, nng_msg_body(msg), nng_msg_len(msg)),
                         CHORD__V1__CODE__CODE_CHALLENGE);
    }
    nng_msg_free(msg);
    rpc_mac_close(mac);
    close(fd);
    close(other);
    fixture_close(&f);
    fixture_close(&g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ring),
        cmocka_unit_test(test_once),
        cmocka_unit_test(test_client_of_a_ring),
        cmocka_unit_test(test_another_process),
        cmocka_unit_test(test_recorded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * The envelope: packs a payload straight into an nng message behind the envelope's other fields
 * (protobuf allows any order; payload and mac have the highest numbers anyway), so that a payload
 * of 1 MiB is written once. Also the small things that server and client share: clock, addresses,
 * error numbers.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "rpc_internal.h"

enum {
    FIELD_HEAD_BYTES = 6, /* tag and a 32-bit length */
    MAC_FIELD_BYTES = 2 + RPC_MAC_BYTES,
    SIGNATURE_BYTES = 2 + RPC_START_BYTES + 9 + MAC_FIELD_BYTES, /* receiver, sent_ms, mac */
};

/* Writes tag and length of a length-delimited field. */
static size_t field_head_write(uint8_t *out, unsigned field, size_t length) {
    size_t at = 0;
    out[at++] = (uint8_t)(field << 3 | 2);
    while (length >= 0x80) {
        out[at++] = (uint8_t)(length | 0x80);
        length >>= 7;
    }
    out[at++] = (uint8_t)length;
    return at;
}

/* Allocates *msg with the packed head and payload, and tail_bytes of room behind them. */
static int envelope_start(nng_msg **msg, const ProtobufCMessage *head, unsigned payload_field,
                          const ProtobufCMessage *payload, size_t tail_bytes,
                          ProtobufCBinaryData *packed_payload) {
    size_t head_bytes = protobuf_c_message_get_packed_size(head);
    size_t payload_bytes = payload == NULL ? 0 : protobuf_c_message_get_packed_size(payload);
    uint8_t field_head[FIELD_HEAD_BYTES];
    if (head_bytes > RPC_MESSAGE_BYTES_MAX || payload_bytes > RPC_MESSAGE_BYTES_MAX) {
        return -EMSGSIZE;
    }
    size_t field_head_bytes =
        payload_bytes == 0 ? 0 : field_head_write(field_head, payload_field, payload_bytes);
    size_t total = head_bytes + field_head_bytes + payload_bytes + tail_bytes;
    if (total > RPC_MESSAGE_BYTES_MAX) {
        return -EMSGSIZE;
    }
    if (nng_msg_alloc(msg, total) != 0) {
        return -ENOMEM;
    }
    uint8_t *at = nng_msg_body(*msg);
    at += protobuf_c_message_pack(head, at);
    memcpy(at, field_head, field_head_bytes);
    at += field_head_bytes;
    *packed_payload = (ProtobufCBinaryData){.len = payload_bytes, .data = at};
    if (payload_bytes > 0) {
        protobuf_c_message_pack(payload, at);
    }
    return 0;
}

static uint8_t *bytes_field_write(uint8_t *at, unsigned field, const uint8_t *bytes, size_t count) {
    at += field_head_write(at, field, count);
    memcpy(at, bytes, count);
    return at + count;
}

static uint8_t *fixed64_field_write(uint8_t *at, unsigned field, uint64_t number) {
    *at++ = (uint8_t)(field << 3 | 1);
    for (unsigned i = 0; i < 8; i++) {
        *at++ = (uint8_t)(number >> 8 * i);
    }
    return at;
}

int rpc_envelope_pack_request(nng_msg **msg, bool signs, const Chord__V1__RpcRequest *envelope,
                              const ProtobufCMessage *payload, size_t *payload_bytes) {
    ProtobufCBinaryData packed = {0};
    int rc = envelope_start(msg, &envelope->base, 5, payload, signs ? SIGNATURE_BYTES : 0, &packed);
    *payload_bytes = packed.len;
    return rc;
}

/* Receiver, time and MAC are as long as they are whatever they say, and stand last: so a request
 * can be signed anew for another receiver without being packed anew. */
bool rpc_envelope_sign_request(nng_msg *msg, struct rpc_mac *mac,
                               const Chord__V1__RpcRequest *envelope, size_t payload_bytes) {
    uint8_t *at = (uint8_t *)nng_msg_body(msg) + nng_msg_len(msg) - SIGNATURE_BYTES;
    uint8_t bytes[RPC_MAC_BYTES];
    assert(envelope->receiver.len == RPC_START_BYTES);
    if (!rpc_mac_request(mac, envelope, (ProtobufCBinaryData){payload_bytes, at - payload_bytes},
                         bytes)) {
        return false;
    }
    at = bytes_field_write(at, 8, envelope->receiver.data, RPC_START_BYTES);
    at = fixed64_field_write(at, 9, envelope->sent_ms);
    bytes_field_write(at, 6, bytes, RPC_MAC_BYTES);
    return true;
}

int rpc_envelope_pack_response(nng_msg **msg, struct rpc_mac *mac,
                               const Chord__V1__RpcResponse *envelope,
                               const ProtobufCMessage *payload) {
    ProtobufCBinaryData packed;
    int rc = envelope_start(msg, &envelope->base, 6, payload, mac != NULL ? MAC_FIELD_BYTES : 0,
                            &packed);
    if (rc != 0 || mac == NULL) {
        return rc;
    }
    uint8_t bytes[RPC_MAC_BYTES];
    if (!rpc_mac_response(mac, envelope, packed, bytes)) {
        nng_msg_free(*msg);
        return -ENOMEM;
    }
    uint8_t *at = (uint8_t *)nng_msg_body(*msg) + nng_msg_len(*msg) - MAC_FIELD_BYTES;
    bytes_field_write(at, 7, bytes, RPC_MAC_BYTES);
    return 0;
}

void rpc_hex(char *text, const uint8_t *bytes, size_t bytes_count) {
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < bytes_count; i++) {
        *text++ = digits[bytes[i] >> 4];
        *text++ = digits[bytes[i] & 15];
    }
    *text = '\0';
}

uint64_t rpc_now_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

int rpc_thread_start(pthread_t *thread, size_t stack_bytes, void *(*run)(void *), void *context) {
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, stack_bytes);
    int rc = pthread_create(thread, &attributes, run, context);
    pthread_attr_destroy(&attributes);
    return -rc;
}

int rpc_errno_from_nng(int nng_error) {
    if (nng_error >= NNG_ESYSERR) {
        return -(nng_error - NNG_ESYSERR);
    }
    switch (nng_error) {
    case 0:
        return 0;
    case NNG_EADDRINUSE:
        return -EADDRINUSE;
    case NNG_EADDRINVAL:
        return -EADDRNOTAVAIL;
    case NNG_EPERM:
        return -EACCES;
    case NNG_ENOMEM:
        return -ENOMEM;
    case NNG_ENOFILES:
        return -EMFILE;
    case NNG_EINVAL:
    case NNG_ENOTSUP:
        return -EINVAL;
    default:
        return -EIO;
    }
}

bool rpc_address_url(char url[RPC_URL_BYTES], const char *address) {
    size_t bytes = strlen(address);
    const char *colon = strrchr(address, ':');
    if (bytes > RPC_ADDRESS_BYTES_MAX || colon == NULL || colon == address) {
        return false;
    }
    static const char host_bytes[] =
        "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-_";
    size_t host_count = (size_t)(colon - address);
    bool bracketed = address[0] == '[' && colon[-1] == ']' && host_count > 2;
    if (bracketed ? strspn(address + 1, "0123456789abcdefABCDEF:.") != host_count - 2
                  : strspn(address, host_bytes) != host_count) {
        return false;
    }
    size_t digits = strspn(colon + 1, "0123456789");
    if (digits == 0 || digits > 5 || colon[1 + digits] != '\0') {
        return false;
    }
    long port = strtol(colon + 1, NULL, 10);
    if (port < 1 || port > 65535) {
        return false;
    }
    /* IPv4, as everything here: "localhost" is often ::1 first, where nobody listens. */
    snprintf(url, RPC_URL_BYTES, "tcp4://%s", address);
    return true;
}

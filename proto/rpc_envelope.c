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

/* Allocates *msg with the packed head and payload; *rest is the room that was left for the MAC. */
static int envelope_start(nng_msg **msg, const ProtobufCMessage *head, unsigned payload_field,
                          const ProtobufCMessage *payload, bool with_mac,
                          ProtobufCBinaryData *packed_payload) {
    size_t head_bytes = protobuf_c_message_get_packed_size(head);
    size_t payload_bytes = payload == NULL ? 0 : protobuf_c_message_get_packed_size(payload);
    uint8_t field_head[FIELD_HEAD_BYTES];
    if (head_bytes > RPC_MESSAGE_BYTES_MAX || payload_bytes > RPC_MESSAGE_BYTES_MAX) {
        return -EMSGSIZE;
    }
    size_t field_head_bytes =
        payload_bytes == 0 ? 0 : field_head_write(field_head, payload_field, payload_bytes);
    size_t total = head_bytes + field_head_bytes + payload_bytes + (with_mac ? MAC_FIELD_BYTES : 0);
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

static void envelope_end(nng_msg *msg, unsigned mac_field, const uint8_t mac[RPC_MAC_BYTES]) {
    uint8_t *at = (uint8_t *)nng_msg_body(msg) + nng_msg_len(msg) - MAC_FIELD_BYTES;
    at += field_head_write(at, mac_field, RPC_MAC_BYTES);
    memcpy(at, mac, RPC_MAC_BYTES);
}

int rpc_envelope_pack_request(nng_msg **msg, struct rpc_mac *mac,
                              const Chord__V1__RpcRequest *envelope,
                              const ProtobufCMessage *payload) {
    ProtobufCBinaryData packed;
    int rc = envelope_start(msg, &envelope->base, 5, payload, mac != NULL, &packed);
    if (rc != 0 || mac == NULL) {
        return rc;
    }
    uint8_t bytes[RPC_MAC_BYTES];
    if (!rpc_mac_request(mac, envelope, packed, bytes)) {
        nng_msg_free(*msg);
        return -ENOMEM;
    }
    envelope_end(*msg, 6, bytes);
    return 0;
}

int rpc_envelope_pack_response(nng_msg **msg, struct rpc_mac *mac,
                               const Chord__V1__RpcResponse *envelope,
                               const ProtobufCMessage *payload) {
    ProtobufCBinaryData packed;
    int rc = envelope_start(msg, &envelope->base, 6, payload, mac != NULL, &packed);
    if (rc != 0 || mac == NULL) {
        return rc;
    }
    uint8_t bytes[RPC_MAC_BYTES];
    if (!rpc_mac_response(mac, envelope, packed, bytes)) {
        nng_msg_free(*msg);
        return -ENOMEM;
    }
    envelope_end(*msg, 7, bytes);
    return 0;
}

uint64_t rpc_now_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
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

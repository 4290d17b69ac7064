/* SPDX-License-Identifier: MIT */
/*
 * Authenticates envelopes: HMAC-SHA-256 under the ring key. What is signed is written field by
 * field with lengths (proto/README.md), not as packed protobuf, because two encoders may pack the
 * same message differently. What stops a recorded request from working again is rpc_receiver.c.
 */
#include <ctype.h>
#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <stdlib.h>
#include <string.h>

#include "private.h"
#include "rpc_internal.h"

struct rpc_mac {
    EVP_MAC *algorithm;
    EVP_MAC_CTX *keyed; /* never updated, only duplicated: fetching and keying happen once */
};

int rpc_key_read(struct rpc_key *key, const char *path) {
    struct rpc_key read = {0};
    int rc = private_secret(path, read.bytes, 16, sizeof read.bytes, &read.bytes_count);
    if (rc == 0) {
        *key = read;
    }
    OPENSSL_cleanse(&read, sizeof read);
    return rc;
}

int rpc_mac_open(struct rpc_mac **out, const struct rpc_key *key) {
    *out = NULL;
    if (key->bytes_count == 0) {
        return 0;
    }
    if (key->bytes_count > sizeof key->bytes) {
        return -EINVAL;
    }
    struct rpc_mac *mac = calloc(1, sizeof *mac);
    if (mac == NULL) {
        return -ENOMEM;
    }
    char digest[] = "SHA256";
    OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };
    mac->algorithm = EVP_MAC_fetch(NULL, "HMAC", NULL);
    mac->keyed = mac->algorithm == NULL ? NULL : EVP_MAC_CTX_new(mac->algorithm);
    if (mac->keyed == NULL ||
        EVP_MAC_init(mac->keyed, key->bytes, key->bytes_count, parameters) != 1) {
        rpc_mac_close(mac);
        return -ENOMEM;
    }
    *out = mac;
    return 0;
}

void rpc_mac_close(struct rpc_mac *mac) {
    if (mac != NULL) {
        EVP_MAC_CTX_free(mac->keyed);
        EVP_MAC_free(mac->algorithm);
        free(mac);
    }
}

static void mac_number(EVP_MAC_CTX *ctx, uint32_t number) {
    uint8_t bytes[4] = {(uint8_t)(number >> 24), (uint8_t)(number >> 16), (uint8_t)(number >> 8),
                        (uint8_t)number};
    EVP_MAC_update(ctx, bytes, sizeof bytes);
}

static void mac_long(EVP_MAC_CTX *ctx, uint64_t number) {
    mac_number(ctx, (uint32_t)(number >> 32));
    mac_number(ctx, (uint32_t)number);
}

static void mac_bytes(EVP_MAC_CTX *ctx, const void *bytes, size_t count) {
    mac_number(ctx, (uint32_t)count);
    if (count > 0) {
        EVP_MAC_update(ctx, bytes, count);
    }
}

static void mac_text(EVP_MAC_CTX *ctx, const char *text) {
    mac_bytes(ctx, text, strlen(text));
}

static bool mac_final(EVP_MAC_CTX *ctx, uint8_t out[RPC_MAC_BYTES]) {
    size_t written = 0;
    bool ok = EVP_MAC_final(ctx, out, &written, RPC_MAC_BYTES) == 1 && written == RPC_MAC_BYTES;
    EVP_MAC_CTX_free(ctx);
    return ok;
}

/* The first field names the kind of envelope, so that an answer never passes as a request. */
bool rpc_mac_request(struct rpc_mac *mac, const Chord__V1__RpcRequest *request,
                     ProtobufCBinaryData payload, uint8_t out[RPC_MAC_BYTES]) {
    EVP_MAC_CTX *ctx = EVP_MAC_CTX_dup(mac->keyed);
    if (ctx == NULL) {
        return false;
    }
    mac_text(ctx, "chord.v1.RpcRequest");
    mac_number(ctx, request->protocol_version);
    mac_text(ctx, request->method);
    mac_bytes(ctx, request->request_id.data, request->request_id.len);
    mac_number(ctx, request->timeout_ms);
    mac_bytes(ctx, payload.data, payload.len);
    mac_bytes(ctx, request->ring_id.data, request->ring_id.len);
    mac_bytes(ctx, request->receiver.data, request->receiver.len);
    mac_long(ctx, request->sent_ms);
    return mac_final(ctx, out);
}

bool rpc_mac_response(struct rpc_mac *mac, const Chord__V1__RpcResponse *response,
                      ProtobufCBinaryData payload, uint8_t out[RPC_MAC_BYTES]) {
    EVP_MAC_CTX *ctx = EVP_MAC_CTX_dup(mac->keyed);
    if (ctx == NULL) {
        return false;
    }
    mac_text(ctx, "chord.v1.RpcResponse");
    mac_number(ctx, response->protocol_version);
    mac_bytes(ctx, response->request_id.data, response->request_id.len);
    mac_number(ctx, (uint32_t)response->code);
    mac_text(ctx, response->message);
    mac_number(ctx, response->retry_after_ms);
    mac_bytes(ctx, payload.data, payload.len);
    mac_bytes(ctx, response->ring_id.data, response->ring_id.len);
    mac_bytes(ctx, response->start.data, response->start.len);
    mac_long(ctx, response->clock_ms);
    return mac_final(ctx, out);
}

bool rpc_mac_equal(const uint8_t expected[RPC_MAC_BYTES], ProtobufCBinaryData given) {
    return given.len == RPC_MAC_BYTES && CRYPTO_memcmp(expected, given.data, RPC_MAC_BYTES) == 0;
}

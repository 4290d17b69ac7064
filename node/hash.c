/* SPDX-License-Identifier: MIT */
/*
 * SHA-1 for placement. The digest is fetched once and the context reused: an implicit fetch for
 * each call is slow in OpenSSL 3.0.
 */
#include "hash.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

static EVP_MD *digest;
static EVP_MD_CTX *context;

bool hash_open(void) {
    digest = EVP_MD_fetch(NULL, "SHA1", NULL);
    context = EVP_MD_CTX_new();
    return digest != NULL && context != NULL;
}

void hash_close(void) {
    EVP_MD_CTX_free(context);
    EVP_MD_free(digest);
    context = NULL;
    digest = NULL;
}

void hash_key(const uint8_t *key, size_t key_bytes, uint8_t hash[CHORD_ID_BYTES]) {
    unsigned bytes = CHORD_ID_BYTES;
    if (EVP_DigestInit_ex2(context, digest, NULL) != 1 ||
        EVP_DigestUpdate(context, key, key_bytes) != 1 ||
        EVP_DigestFinal_ex(context, hash, &bytes) != 1) {
        fputs("chord-node: OpenSSL cannot compute SHA-1\n", stderr);
        abort();
    }
}

struct named {
    const char *address;
    unsigned m;
};

static void id_of_salt(void *context_of, uint32_t salt, struct chord_id *id) {
    const struct named *named = context_of;
    uint8_t hash[CHORD_ID_BYTES];
    char text[CHORD_ADDRESS_BYTES + 16];
    int length = snprintf(text, sizeof text, "%s#%u", named->address, salt);
    hash_key((const uint8_t *)text, (size_t)length, hash);
    *id = id_from_hash(hash, named->m);
}

bool hash_derive_id(const char *address, const struct chord_wish *wish, uint32_t *salt,
                    struct chord_id *id) {
    struct named named = {address, wish->m};
    return chord_derive_id(wish, id_of_salt, &named, salt, id);
}

/* SPDX-License-Identifier: MIT */
/* Ring ids; see ids.h. SHA-1 places keys on the ring (Stoica et al. 2001, section 4.2). */
#include "ids.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <string.h>

bool id_from_wire(struct ring_id *id, const uint8_t *data, size_t size) {
    if (size > ID_BYTES) {
        return false;
    }
    memset(id->bytes, 0, ID_BYTES);
    if (size > 0) {
        memcpy(id->bytes + (ID_BYTES - size), data, size);
    }
    return true;
}

size_t id_to_wire(const struct ring_id *id, unsigned m, uint8_t out[ID_BYTES]) {
    size_t size = (m + 7) / 8;
    memcpy(out, id->bytes + (ID_BYTES - size), size);
    return size;
}

void id_from_hash(struct ring_id *id, const uint8_t hash[ID_BYTES], unsigned m) {
    unsigned shift = ID_BITS_MAX - m;
    unsigned bytes = shift / 8;
    unsigned bits = shift % 8;
    memset(id->bytes, 0, ID_BYTES);
    for (unsigned i = ID_BYTES; i-- > bytes;) {
        unsigned from = i - bytes;
        unsigned value = (unsigned)hash[from] >> bits;
        if (from > 0 && bits > 0) {
            value |= (unsigned)hash[from - 1] << (8 - bits);
        }
        id->bytes[i] = (uint8_t)value;
    }
}

void id_last_hash(const struct ring_id *id, unsigned m, uint8_t hash[ID_BYTES]) {
    unsigned shift = ID_BITS_MAX - m;
    unsigned bytes = shift / 8;
    unsigned bits = shift % 8;
    memset(hash, 0xff, ID_BYTES);
    for (unsigned i = 0; i < ID_BYTES - bytes; i++) {
        unsigned from = i + bytes;
        unsigned value = (unsigned)id->bytes[from] << bits;
        if (bits > 0) {
            /* The bits that come in from the right: the next byte's, or ones after the end. */
            unsigned next = from + 1 < ID_BYTES ? id->bytes[from + 1] : 0xffu;
            value |= next >> (8 - bits);
        }
        hash[i] = (uint8_t)value;
    }
}

void id_to_hex(const struct ring_id *id, unsigned m, char out[ID_HEX_SIZE]) {
    static const char digits[] = "0123456789abcdef";
    unsigned count = (m + 3) / 4;
    for (unsigned i = 0; i < count; i++) {
        unsigned nibble = 2 * ID_BYTES - count + i;
        unsigned byte = id->bytes[nibble / 2];
        out[i] = digits[nibble % 2 == 0 ? byte >> 4 : byte & 15u];
    }
    out[count] = '\0';
}

int hex_digit(char c) {
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    if (c >= 'A' && c <= 'F') {
        return c - 'A' + 10;
    }
    return -1;
}

bool id_from_hex(struct ring_id *id, unsigned m, const char *text) {
    unsigned count = (m + 3) / 4;
    if (strlen(text) != count) {
        return false;
    }
    memset(id->bytes, 0, ID_BYTES);
    for (unsigned i = 0; i < count; i++) {
        int value = hex_digit(text[i]);
        if (value < 0) {
            return false;
        }
        unsigned nibble = 2 * ID_BYTES - count + i;
        unsigned shifted = nibble % 2 == 0 ? (unsigned)value << 4 : (unsigned)value;
        id->bytes[nibble / 2] = (uint8_t)(id->bytes[nibble / 2] | shifted);
    }
    return true;
}

int id_compare(const struct ring_id *a, const struct ring_id *b) {
    return memcmp(a->bytes, b->bytes, ID_BYTES);
}

bool id_in_range(const struct ring_id *x, const struct ring_id *lo, const struct ring_id *hi) {
    int order = id_compare(lo, hi);
    if (order == 0) {
        return true;
    }
    bool above = id_compare(x, lo) > 0;
    bool below = id_compare(x, hi) <= 0;
    return order < 0 ? above && below : above || below;
}

void id_max(struct ring_id *id, unsigned m) {
    uint8_t ones[ID_BYTES];
    memset(ones, 0xff, sizeof(ones));
    id_from_hash(id, ones, m);
}

bool id_increment(struct ring_id *id, unsigned m) {
    struct ring_id max;
    id_max(&max, m);
    if (id_compare(id, &max) >= 0) {
        memset(id->bytes, 0, ID_BYTES);
        return true;
    }
    for (unsigned i = ID_BYTES; i-- > 0;) {
        id->bytes[i]++;
        if (id->bytes[i] != 0) {
            break;
        }
    }
    return false;
}

/* Fetched once: the implicit fetch of OpenSSL 3.0 costs more than the hash itself. */
static EVP_MD *sha1;
static pthread_once_t sha1_once = PTHREAD_ONCE_INIT;
static _Thread_local EVP_MD_CTX *sha1_context;
static pthread_key_t sha1_key;

static void sha1_context_free(void *context) {
    EVP_MD_CTX_free(context);
}

static void sha1_fetch(void) {
    sha1 = EVP_MD_fetch(NULL, "SHA1", NULL);
    (void)pthread_key_create(&sha1_key, sha1_context_free);
}

bool id_hash_key(const void *key, size_t size, uint8_t hash[ID_BYTES]) {
    (void)pthread_once(&sha1_once, sha1_fetch);
    if (sha1 == NULL) {
        return false;
    }
    if (sha1_context == NULL) {
        sha1_context = EVP_MD_CTX_new();
        (void)pthread_setspecific(sha1_key, sha1_context);
    }
    unsigned length = ID_BYTES;
    return sha1_context != NULL && EVP_DigestInit_ex2(sha1_context, sha1, NULL) == 1 &&
           EVP_DigestUpdate(sha1_context, key, size) == 1 &&
           EVP_DigestFinal_ex(sha1_context, hash, &length) == 1;
}

/* SPDX-License-Identifier: MIT */
/* SHA-1 by OpenSSL: it places nodes and keys on the ring and protects nothing. */
#ifndef NODE_HASH_H
#define NODE_HASH_H

#include "chord.h"

#include <stdint.h>

/* Fetches the digest once, before threads start. False: OpenSSL has no SHA-1. */
bool hash_open(void);
void hash_close(void);

/* All 160 bits of a key's hash. One thread at a time. */
void hash_key(const uint8_t *key, size_t key_bytes, uint8_t hash[CHORD_ID_BYTES]);

/* An id of "host:port#salt" as wished, and its salt: chord_derive_id. */
bool hash_derive_id(const char *address, const struct chord_wish *wish, uint32_t *salt,
                    struct chord_id *id);

#endif

/* SPDX-License-Identifier: MIT */
/* Checksums of rows and of what the copies of a range have in common. Pure. */
#ifndef NODE_ROW_CHECKSUM_H
#define NODE_ROW_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

/* All columns of a row but its checksum, as the table has them. */
struct row_columns {
    const void *hash, *key, *op_id, *value;
    size_t hash_bytes, key_bytes, op_id_bytes, value_bytes;
    int64_t epoch, counter, kind, expires_at_ms, existed;
};

/* XXH3-64 of one string of bytes that holds every column and the length of each, so that no two
 * rows have the same string: any change by a disk, of any bits, goes unseen with probability 2^-64.
 * It guards against disks, not against people. */
int64_t row_checksum(const struct row_columns *row);
/* That of schemas 1 to 6: without hash and op_id. */
int64_t row_checksum_6(const struct row_columns *row);

/* The digests of a range are made of these. They are compared between nodes: never change them. */
uint64_t checksum_mix(uint64_t z);
uint64_t checksum_bytes(uint64_t seed, const uint8_t *bytes, size_t count);

#endif

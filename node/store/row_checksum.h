/* The checksum of a row, and the mixing that digests of rows share. Pure. */
#ifndef NODE_ROW_CHECKSUM_H
#define NODE_ROW_CHECKSUM_H

#include "store.h"

uint64_t checksum_mix(uint64_t z);
uint64_t checksum_bytes(uint64_t seed, const uint8_t *bytes, size_t count);
/* Guards a row against a disk that changes it; not against people. */
int64_t row_checksum(const struct store_row *row);

#endif

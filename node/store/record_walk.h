/* SPDX-License-Identifier: MIT */
/*
 * A walk over the fields of a record: the same functions write it and read it, so that no field can
 * be written and not read. Once a field does not fit or is out of its bounds the walk has failed;
 * what comes after stays zero. Private to the store's records.
 */
#ifndef NODE_RECORD_WALK_H
#define NODE_RECORD_WALK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct record_walk {
    uint8_t *bytes; /* not written when reading */
    size_t size, at;
    bool reading;
    bool failed;
};

void walk_bytes(struct record_walk *walk, void *bytes, size_t count);
void walk_u64(struct record_walk *walk, uint64_t *value);
void walk_u32(struct record_walk *walk, uint32_t *value);
void walk_u16(struct record_walk *walk, uint16_t *value, uint16_t most);
void walk_u8(struct record_walk *walk, uint8_t *value, uint8_t most);
void walk_flag(struct record_walk *walk, bool *flag);
/* Its length in two bytes, then as many; `room` counts the ending zero, which is not stored. */
void walk_text(struct record_walk *walk, char *text, size_t room);
/* Bytes without a meaning: written as zeros, skipped when read. */
void walk_gap(struct record_walk *walk, size_t count);

#endif

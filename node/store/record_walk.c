/* SPDX-License-Identifier: MIT */
/* See record_walk.h. */
#include "record_walk.h"

#include <string.h>

/* The next `count` bytes of the record, or NULL. */
static uint8_t *take(struct record_walk *walk, size_t count) {
    if (walk->failed || walk->size - walk->at < count) {
        walk->failed = true;
        return NULL;
    }
    uint8_t *bytes = walk->bytes + walk->at;
    walk->at += count;
    return bytes;
}

void walk_bytes(struct record_walk *walk, void *bytes, size_t count) {
    uint8_t *place = take(walk, count);
    if (place != NULL && count > 0) {
        memcpy(walk->reading ? bytes : place, walk->reading ? place : bytes, count);
    }
}

void walk_gap(struct record_walk *walk, size_t count) {
    uint8_t *place = take(walk, count);
    if (place != NULL && !walk->reading) {
        memset(place, 0, count);
    }
}

static void walk_number(struct record_walk *walk, uint64_t *value, unsigned count, uint64_t most) {
    uint8_t *place = take(walk, count);
    uint64_t number = walk->reading ? 0 : *value;
    for (unsigned i = 0; i < count && place != NULL; i++) {
        if (walk->reading) {
            number |= (uint64_t)place[i] << (8 * i);
        } else {
            place[i] = (uint8_t)(number >> (8 * i));
        }
    }
    if (number > most) {
        walk->failed = true;
        number = 0;
    }
    *value = number;
}

void walk_u64(struct record_walk *walk, uint64_t *value) {
    walk_number(walk, value, 8, UINT64_MAX);
}

void walk_u32(struct record_walk *walk, uint32_t *value) {
    uint64_t number = *value;
    walk_number(walk, &number, 4, UINT32_MAX);
    *value = (uint32_t)number;
}

void walk_u16(struct record_walk *walk, uint16_t *value, uint16_t most) {
    uint64_t number = *value;
    walk_number(walk, &number, 2, most);
    *value = (uint16_t)number;
}

void walk_u8(struct record_walk *walk, uint8_t *value, uint8_t most) {
    uint64_t number = *value;
    walk_number(walk, &number, 1, most);
    *value = (uint8_t)number;
}

void walk_flag(struct record_walk *walk, bool *flag) {
    uint8_t value = *flag;
    walk_u8(walk, &value, 1);
    *flag = value == 1;
}

void walk_text(struct record_walk *walk, char *text, size_t room) {
    uint16_t length = walk->reading ? 0 : (uint16_t)strnlen(text, room);
    walk_u16(walk, &length, (uint16_t)(room - 1));
    walk_bytes(walk, text, length);
    if (walk->reading && memchr(text, '\0', length) != NULL) {
        walk->failed = true;
    }
}

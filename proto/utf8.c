/* SPDX-License-Identifier: MIT */
/* UTF-8 (Unicode, table 3-7); see utf8.h. */
#include "utf8.h"

#include <string.h>

size_t utf8_read(const uint8_t *bytes, size_t bytes_count, uint32_t *point) {
    uint8_t first = bytes_count > 0 ? bytes[0] : 0x80;
    if (first < 0x80) {
        *point = first;
        return 1;
    }
    size_t length = first >= 0xc2 && first <= 0xdf   ? 2
                    : first >= 0xe0 && first <= 0xef ? 3
                    : first >= 0xf0 && first <= 0xf4 ? 4
                                                     : 0;
    if (length == 0 || length > bytes_count) {
        return 0;
    }
    /* No longer forms, no surrogates, nothing beyond U+10FFFF. */
    uint8_t low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    uint8_t high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    if (bytes[1] < low || bytes[1] > high) {
        return 0;
    }
    *point = first & (0xffu >> (length + 1));
    for (size_t i = 1; i < length; i++) {
        if ((bytes[i] & 0xc0) != 0x80) {
            return 0;
        }
        *point = *point << 6 | (bytes[i] & 0x3f);
    }
    return length;
}

bool utf8_is_valid(const void *text, size_t size) {
    const uint8_t *bytes = text;
    uint32_t point;
    for (size_t at = 0, length; at < size; at += length) {
        length = utf8_read(bytes + at, size - at, &point);
        if (length == 0) {
            return false;
        }
    }
    return true;
}

bool utf8_is_unsafe(uint32_t point) {
    return point < 0x20 || (point >= 0x7f && point <= 0x9f) || point == 0xad ||
           (point >= 0x200b && point <= 0x200f) || (point >= 0x2028 && point <= 0x202e) ||
           (point >= 0x2060 && point <= 0x206f) || point == 0x61c || point == 0xfeff ||
           (point >= 0xe0000 && point <= 0xe007f);
}

void utf8_make_line(char *text) {
    size_t size = strlen(text);
    for (size_t at = 0; at < size;) {
        uint32_t point;
        size_t length = utf8_read((const uint8_t *)text + at, size - at, &point);
        if (length == 0 || utf8_is_unsafe(point)) {
            length = length == 0 ? 1 : length;
            memset(text + at, '?', length);
        }
        at += length;
    }
}

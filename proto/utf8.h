/* SPDX-License-Identifier: MIT */
/* UTF-8, read once for all: texts of messages, CSV, what chordctl prints. Knows nothing but bytes.
 */
#ifndef CHORD_UTF8_H
#define CHORD_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The length of the well-formed sequence (Unicode, table 3-7) at bytes, and its code point; 0 =
 * none. */
size_t utf8_read(const uint8_t *bytes, size_t bytes_count, uint32_t *point);
bool utf8_is_valid(const void *text, size_t size);
/* Whether a code point moves, hides or reorders what stands around it where it is shown: controls
 * (C0, C1), marks of direction, joiners, tags. */
bool utf8_is_unsafe(uint32_t point);
/* Makes a text one line that shows what it is: each byte that is unsafe or not UTF-8 becomes '?'.
 */
void utf8_make_line(char *text);

#endif

/* SPDX-License-Identifier: MIT */
/* Bytes as text for people and scripts: hex ids, base64, escaping. Nothing of the ring. */
#ifndef CHORDCTL_TEXT_H
#define CHORDCTL_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"

/* Never NULL: without memory the program ends. */
void *memory_new(size_t count, size_t size);
void *memory_grow(void *old, size_t count, size_t size);
_Noreturn void memory_missing(void);

/* As buf_append; without memory the program ends. */
void bytes_append(struct buf *buf, const void *data, size_t size);

bool id_text_is_valid(const char *text, unsigned m);

/* Bytes that do not move the cursor, colour the screen or reorder the line: control characters,
 * what is no UTF-8, and the marks that change the direction or hide are written \n, \x1b, \u{202e};
 * a backslash is doubled. The caller frees. */
char *text_escape(const void *data, size_t size);
size_t text_width(const char *text); /* code points */

bool base64_decode(const char *text, struct buf *decoded); /* appends; false = no base64 */

#endif

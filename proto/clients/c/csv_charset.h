/* SPDX-License-Identifier: MIT */
/*
 * Bytes of a text file to UTF-8, as they arrive. Byte order marks are taken away. What cannot be
 * converted becomes a byte that no UTF-8 has, so that the row that holds it is found bad.
 */
#ifndef CHORD_CSV_CHARSET_H
#define CHORD_CSV_CHARSET_H

#include <stdbool.h>
#include <stddef.h>

#include "buf.h"

struct csv_charset;

/* auto: UTF-16 by its mark or by its zeros; else Windows-1252 when the first bytes beyond ASCII
 * (4 KiB from there on) are none of them UTF-8 and all of them text in it; else UTF-8. */
/* The canonical name (static) of a name in either case; NULL = not known. */
const char *csv_charset_known(const char *name);
/* The names it knows, for messages. */
#define CSV_CHARSETS                                                                               \
    "auto, utf-8, utf-16, utf-16le, utf-16be, windows-1252, iso-8859-1, iso-8859-15"

/* NULL = no memory, or this host's libc has no such conversion (errno). */
struct csv_charset *csv_charset_new(const char *name);
/* Appends what is certain to `out`; `last` = nothing comes any more. false = no memory. */
bool csv_charset_feed(struct csv_charset *charset, const void *data, size_t size, bool last,
                      struct buf *out);
/* What the file is read as; "utf-8" while nothing speaks against it. */
const char *csv_charset_name(const struct csv_charset *charset);
void csv_charset_free(struct csv_charset *charset);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Keys and values as a CSV file, in three forms. Every file ends with a row that says how many rows
 * it has and their checksum, so that a file that was cut can be told from a whole one.
 *
 * plain        header key,value; the bytes as they are. For other programs; no round trip where a
 *              key or value is no text, or expires.
 * lossless     header key,value,chord:base64,chord:expires_at_ms. The third cell names the cells
 *              that are base64 (RFC 4648): nothing, "key", "value" or "key value"; the fourth is
 *              unix time, empty = never. Any bytes come back.
 * spreadsheet  header chord:key,chord:value and a byte order mark; a cell that a spreadsheet could
 *              take for a formula (it begins with = + - @ TAB or CR), or that begins with ', gets a
 *              ' in front. Import removes it. For people to read.
 *
 * The last row: the key cell is `chord:end`, the value cell `N rows, sha256 HEX`, the third of the
 * lossless form `end`. The checksum is the SHA-256 of every row as netstrings: key, value,
 * expires_at_ms in decimal (0 = never; always 0 but in the lossless form), each as LENGTH:BYTES and
 * a comma. It is of what the rows mean: other quotes or line ends do not change it.
 */
#ifndef CHORD_CSV_EXPORT_H
#define CHORD_CSV_EXPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "chord_client.h"

enum csv_form { CSV_PLAIN, CSV_LOSSLESS, CSV_SPREADSHEET };

#define CSV_FORMS "csv, lossless or spreadsheet"

/* "csv", "lossless", "spreadsheet". false = another. */
bool csv_form_read(const char *text, enum csv_form *form);
const char *csv_form_name(enum csv_form form);

/* ---- the checksum, for writer and reader ---- */

enum { CSV_DIGEST_HEX_SIZE = 65 };

struct csv_digest;
struct csv_digest *csv_digest_new(void); /* NULL = no memory, or no SHA-256 on this host */
bool csv_digest_row(struct csv_digest *digest, const void *key, size_t key_size, const void *value,
                    size_t value_size, uint64_t expires_at_ms);
/* Of the rows so far; more may follow. */
bool csv_digest_text(const struct csv_digest *digest, char hex[CSV_DIGEST_HEX_SIZE]);
void csv_digest_free(struct csv_digest *digest); /* accepts NULL */

/* ---- writing ---- */

struct csv_export;
struct csv_export *csv_export_new(enum csv_form form); /* NULL as csv_digest_new */
void csv_export_free(struct csv_export *export);
uint64_t csv_export_rows(const struct csv_export *export);
/* Each appends to `out`; false = no memory. */
bool csv_export_head(struct csv_export *export, struct buf *out);
bool csv_export_row(struct csv_export *export, struct buf *out, const void *key, size_t key_size,
                    const void *value, size_t value_size, uint64_t expires_at_ms);
bool csv_export_page(struct csv_export *export, struct buf *out, const struct chord_page *page);
bool csv_export_end(struct csv_export *export, struct buf *out);

/* ---- what both sides agree on ---- */

#define CSV_END_KEY "chord:end"
#define CSV_LOSSLESS_BASE64 "chord:base64"
#define CSV_LOSSLESS_EXPIRES "chord:expires_at_ms"
#define CSV_SPREADSHEET_KEY "chord:key"
#define CSV_SPREADSHEET_VALUE "chord:value"

bool csv_cell_is_escaped(enum csv_form form, const uint8_t *cell, size_t size);

#endif

/* SPDX-License-Identifier: MIT */
/* The writer of the three forms; see csv_export.h. */
#include "csv_export.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "csv_reader.h"

static const char *const form_names[] = {"csv", "lossless", "spreadsheet"};

bool csv_form_read(const char *text, enum csv_form *form) {
    for (size_t i = 0; i < sizeof(form_names) / sizeof(form_names[0]); i++) {
        if (strcmp(text, form_names[i]) == 0) {
            *form = (enum csv_form)i;
            return true;
        }
    }
    return false;
}

const char *csv_form_name(enum csv_form form) {
    return form_names[form];
}

/* ---- the checksum ---- */

struct csv_digest {
    EVP_MD_CTX *context;
};

struct csv_digest *csv_digest_new(void) {
    struct csv_digest *digest = calloc(1, sizeof(*digest));
    if (digest == NULL) {
        return NULL;
    }
    digest->context = EVP_MD_CTX_new();
    if (digest->context == NULL || EVP_DigestInit_ex(digest->context, EVP_sha256(), NULL) != 1) {
        csv_digest_free(digest);
        return NULL;
    }
    return digest;
}

void csv_digest_free(struct csv_digest *digest) {
    if (digest != NULL) {
        EVP_MD_CTX_free(digest->context);
        free(digest);
    }
}

static bool netstring(struct csv_digest *digest, const void *data, size_t size) {
    char length[24];
    int written = snprintf(length, sizeof(length), "%zu:", size);
    return EVP_DigestUpdate(digest->context, length, (size_t)written) == 1 &&
           EVP_DigestUpdate(digest->context, data, size) == 1 &&
           EVP_DigestUpdate(digest->context, ",", 1) == 1;
}

bool csv_digest_row(struct csv_digest *digest, const void *key, size_t key_size, const void *value,
                    size_t value_size, uint64_t expires_at_ms) {
    char expires[24];
    int size = snprintf(expires, sizeof(expires), "%llu", (unsigned long long)expires_at_ms);
    return netstring(digest, key, key_size) && netstring(digest, value, value_size) &&
           netstring(digest, expires, (size_t)size);
}

bool csv_digest_text(const struct csv_digest *digest, char hex[CSV_DIGEST_HEX_SIZE]) {
    uint8_t hash[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    EVP_MD_CTX *copy = EVP_MD_CTX_new();
    bool ok = copy != NULL && EVP_MD_CTX_copy_ex(copy, digest->context) == 1 &&
              EVP_DigestFinal_ex(copy, hash, &size) == 1;
    EVP_MD_CTX_free(copy);
    for (unsigned i = 0; ok && i < size; i++) {
        snprintf(hex + 2 * (size_t)i, 3, "%02x", hash[i]);
    }
    return ok;
}

/* ---- cells ---- */

bool csv_cell_is_escaped(enum csv_form form, const uint8_t *cell, size_t size) {
    return form == CSV_SPREADSHEET && size > 0 && memchr("=+-@\t\r'", cell[0], 7) != NULL;
}

static bool cell_base64(struct buf *out, const void *data, size_t size) {
    if (!buf_reserve(out, (size + 2) / 3 * 4 + 1)) {
        return false;
    }
    out->size += (size_t)EVP_EncodeBlock(out->data + out->size, data, (int)size);
    return true;
}

/* With a ' before it where the form wants one. */
static bool cell_text(enum csv_form form, struct buf *out, const void *data, size_t size) {
    if (!csv_cell_is_escaped(form, data, size)) {
        return csv_write_field(out, data, size);
    }
    struct buf escaped = {0};
    bool ok = buf_append(&escaped, "'", 1) && buf_append(&escaped, data, size) &&
              csv_write_field(out, escaped.data, escaped.size);
    buf_free(&escaped);
    return ok;
}

/* ---- the file ---- */

struct csv_export {
    enum csv_form form;
    uint64_t rows;
    struct csv_digest *digest;
};

struct csv_export *csv_export_new(enum csv_form form) {
    struct csv_export *export = calloc(1, sizeof(*export));
    if (export == NULL) {
        return NULL;
    }
    export->form = form;
    export->digest = csv_digest_new();
    if (export->digest == NULL) {
        csv_export_free(export);
        return NULL;
    }
    return export;
}

void csv_export_free(struct csv_export *export) {
    if (export != NULL) {
        csv_digest_free(export->digest);
        free(export);
    }
}

uint64_t csv_export_rows(const struct csv_export *export) {
    return export->rows;
}

bool csv_export_head(struct csv_export *export, struct buf *out) {
    static const char *const heads[] = {
        "key,value\r\n",
        "key,value," CSV_LOSSLESS_BASE64 "," CSV_LOSSLESS_EXPIRES "\r\n",
        "\xef\xbb\xbf" CSV_SPREADSHEET_KEY "," CSV_SPREADSHEET_VALUE "\r\n",
    };
    return buf_append_text(out, heads[export->form]);
}

static bool row_lossless(struct buf *out, const void *key, size_t key_size, const void *value,
                         size_t value_size, uint64_t expires_at_ms) {
    bool key_text = csv_text_is_valid(key, key_size);
    bool value_text = csv_text_is_valid(value, value_size);
    bool ok = (key_text ? csv_write_field(out, key, key_size) : cell_base64(out, key, key_size)) &&
              buf_append(out, ",", 1) &&
              (value_text ? csv_write_field(out, value, value_size)
                          : cell_base64(out, value, value_size)) &&
              buf_append_text(out, key_text && value_text ? ","
                                   : key_text             ? ",value"
                                   : value_text           ? ",key"
                                                          : ",key value");
    if (expires_at_ms == 0) {
        return ok && buf_append_text(out, ",\r\n");
    }
    return ok && buf_format(out, ",%llu\r\n", (unsigned long long)expires_at_ms);
}

bool csv_export_row(struct csv_export *export, struct buf *out, const void *key, size_t key_size,
                    const void *value, size_t value_size, uint64_t expires_at_ms) {
    bool lossless = export->form == CSV_LOSSLESS;
    uint64_t expires = lossless ? expires_at_ms : 0;
    export->rows++;
    if (!csv_digest_row(export->digest, key, key_size, value, value_size, expires)) {
        return false;
    }
    if (lossless) {
        return row_lossless(out, key, key_size, value, value_size, expires);
    }
    return cell_text(export->form, out, key, key_size) && buf_append(out, ",", 1) &&
           cell_text(export->form, out, value, value_size) && buf_append(out, "\r\n", 2);
}

bool csv_export_page(struct csv_export *export, struct buf *out, const struct chord_page *page) {
    bool ok = true;
    for (size_t i = 0; i < page->count && ok; i++) {
        const struct chord_row *row = &page->rows[i];
        ok = csv_export_row(export, out, row->key, row->key_size, row->value, row->value_size,
                            row->expires_at_ms);
    }
    return ok;
}

bool csv_export_end(struct csv_export *export, struct buf *out) {
    char hex[CSV_DIGEST_HEX_SIZE];
    return csv_digest_text(export->digest, hex) &&
           buf_format(out, CSV_END_KEY ",\"%llu rows, sha256 %s\"%s\r\n",
                      (unsigned long long)export->rows, hex,
                      export->form == CSV_LOSSLESS ? ",end," : "");
}

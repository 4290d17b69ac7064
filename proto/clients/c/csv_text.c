/* SPDX-License-Identifier: MIT */
/* Names of delimiters, and the writer of fields; see csv_reader.h. */
#include <string.h>

#include "csv_reader.h"
#include "utf8.h"

/* A NUL is no text. */
size_t csv_utf8_sequence(const uint8_t *data, size_t size) {
    uint32_t point;
    return data[0] == 0 ? 0 : utf8_read(data, size, &point);
}

bool csv_text_is_valid(const uint8_t *data, size_t size) {
    for (size_t at = 0; at < size;) {
        size_t length = csv_utf8_sequence(data + at, size - at);
        if (length == 0) {
            return false;
        }
        at += length;
    }
    return true;
}

bool csv_write_field(struct buf *out, const void *data, size_t size) {
    const uint8_t *bytes = data;
    bool quotes = false;
    for (size_t i = 0; i < size && !quotes; i++) {
        quotes = bytes[i] == ',' || bytes[i] == '"' || bytes[i] == '\r' || bytes[i] == '\n';
    }
    if (!quotes) {
        return buf_append(out, data, size);
    }
    bool ok = buf_append(out, "\"", 1);
    for (size_t i = 0; i < size && ok;) {
        const uint8_t *quote = memchr(bytes + i, '"', size - i);
        size_t run = quote == NULL ? size - i : (size_t)(quote - (bytes + i)) + 1;
        ok = buf_append(out, bytes + i, run) && (quote == NULL || buf_append(out, "\"", 1));
        i += run;
    }
    return ok && buf_append(out, "\"", 1);
}

static const struct {
    const char *name;
    char c;
} delimiters[] = {{"comma", ','}, {"semicolon", ';'}, {"tab", '\t'}, {"pipe", '|'}, {"space", ' '}};

bool csv_delimiter_read(const char *text, char *delimiter) {
    *delimiter = '\0';
    if (strcmp(text, "auto") == 0 || text[0] == '\0') {
        return true;
    }
    for (size_t i = 0; i < sizeof(delimiters) / sizeof(delimiters[0]); i++) {
        if (strcmp(text, delimiters[i].name) == 0) {
            *delimiter = delimiters[i].c;
            return true;
        }
    }
    *delimiter = text[0];
    return text[1] == '\0' && strchr("\"\r\n", text[0]) == NULL && (unsigned char)text[0] < 0x80;
}

void csv_delimiter_name(char delimiter, char name[CSV_DELIMITER_NAME_SIZE]) {
    for (size_t i = 0; i < sizeof(delimiters) / sizeof(delimiters[0]); i++) {
        if (delimiters[i].c == delimiter) {
            strcpy(name, delimiters[i].name);
            return;
        }
    }
    name[0] = delimiter;
    name[1] = '\0';
}

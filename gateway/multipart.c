/* SPDX-License-Identifier: MIT */
/* The multipart/form-data reader; see multipart.h. */
#include "multipart.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "buf.h"

enum multipart_state {
    MULTIPART_PREAMBLE,
    MULTIPART_AFTER_DELIMITER, /* CRLF: a part; "--": the end */
    MULTIPART_HEADERS,
    MULTIPART_BODY,
    MULTIPART_END,
    MULTIPART_FAILED,
};

struct multipart {
    struct multipart_handler handler;
    enum multipart_state state;
    const char *error;
    char delimiter[MULTIPART_BOUNDARY_BYTES_MAX + 5]; /* CRLF -- boundary */
    size_t delimiter_size;
    struct buf held; /* what cannot be decided yet */
    size_t preamble_bytes;
    unsigned parts;
};

/* The value of `name` among ;-separated parameters; handles quotes. false when absent. */
static bool parameter_get(const char *text, const char *name, char *out, size_t out_size) {
    size_t name_size = strlen(name);
    const char *at = strchr(text, ';');
    while (at != NULL) {
        at++;
        at += strspn(at, " \t");
        bool match = strncasecmp(at, name, name_size) == 0 && at[name_size] == '=';
        at += strcspn(at, "=;");
        size_t size = 0;
        bool fits = true;
        if (*at == '=' && at[1] == '"') {
            for (at += 2; *at != '\0' && *at != '"'; at++) {
                if (*at == '\\' && at[1] != '\0') {
                    at++;
                }
                fits = fits && size + 1 < out_size;
                if (match && fits) {
                    out[size++] = *at;
                }
            }
        } else if (*at == '=') {
            for (at++; *at != '\0' && *at != ';' && !isspace((unsigned char)*at); at++) {
                fits = fits && size + 1 < out_size;
                if (match && fits) {
                    out[size++] = *at;
                }
            }
        }
        if (match) {
            out[size] = '\0';
            return fits;
        }
        at = strchr(at, ';');
    }
    return false;
}

bool multipart_boundary(const char *content_type, char boundary[MULTIPART_BOUNDARY_BYTES_MAX + 1]) {
    return parameter_get(content_type, "boundary", boundary, MULTIPART_BOUNDARY_BYTES_MAX + 1) &&
           boundary[0] != '\0';
}

struct multipart *multipart_new(const char *boundary, const struct multipart_handler *handler) {
    struct multipart *multipart = calloc(1, sizeof(*multipart));
    if (multipart == NULL) {
        return NULL;
    }
    multipart->handler = *handler;
    snprintf(multipart->delimiter, sizeof(multipart->delimiter), "\r\n--%s", boundary);
    multipart->delimiter_size = strlen(multipart->delimiter);
    /* The first delimiter needs no line break before it: pretend there was one. */
    if (!buf_append(&multipart->held, "\r\n", 2)) {
        multipart_free(multipart);
        return NULL;
    }
    return multipart;
}

void multipart_free(struct multipart *multipart) {
    if (multipart != NULL) {
        buf_free(&multipart->held);
        free(multipart);
    }
}

bool multipart_is_complete(const struct multipart *multipart) {
    return multipart->state == MULTIPART_END;
}

const char *multipart_error(const struct multipart *multipart) {
    return multipart->error;
}

static void multipart_fail(struct multipart *multipart, const char *error) {
    multipart->state = MULTIPART_FAILED;
    multipart->error = error;
}

/* Everything before the delimiter goes out; true = the delimiter was found and taken away. */
static bool multipart_until_delimiter(struct multipart *multipart, bool emit) {
    struct buf *held = &multipart->held;
    const uint8_t *found =
        memmem(held->data, held->size, multipart->delimiter, multipart->delimiter_size);
    size_t sure = 0;
    if (found != NULL) {
        sure = (size_t)(found - held->data);
    } else if (held->size >= multipart->delimiter_size) {
        sure = held->size - (multipart->delimiter_size - 1);
    }
    if (emit && sure > 0 &&
        !multipart->handler.on_data(multipart->handler.context, held->data, sure)) {
        multipart_fail(multipart, NULL);
        return false;
    }
    if (!emit) {
        multipart->preamble_bytes += sure;
        if (multipart->preamble_bytes > MULTIPART_PREAMBLE_BYTES_MAX) {
            multipart_fail(multipart, "the boundary named in Content-Type is not in the body");
            return false;
        }
    }
    buf_drop(held, found != NULL ? sure + multipart->delimiter_size : sure);
    return found != NULL;
}

/* true = one of the states moved on. */
static bool multipart_after_delimiter(struct multipart *multipart) {
    struct buf *held = &multipart->held;
    if (held->size < 2) {
        return false;
    }
    if (memcmp(held->data, "--", 2) == 0) {
        multipart->state = MULTIPART_END;
        return true;
    }
    const uint8_t *end = memchr(held->data, '\n', held->size);
    if (end == NULL) {
        if (held->size > 256) {
            multipart_fail(multipart, "a boundary line does not end");
        }
        return false;
    }
    for (const uint8_t *at = held->data; at < end; at++) {
        if (*at != ' ' && *at != '\t' && *at != '\r') {
            multipart_fail(multipart, "text follows a boundary");
            return false;
        }
    }
    /* Leave the line break: headers then always begin after one, also when there are none. */
    buf_drop(held, (size_t)(end - held->data));
    multipart->state = MULTIPART_HEADERS;
    return true;
}

static void headers_read(struct multipart_part *part, char *text) {
    char *save = NULL;
    for (char *line = strtok_r(text, "\r\n", &save); line != NULL;
         line = strtok_r(NULL, "\r\n", &save)) {
        static const char name[] = "Content-Disposition:";
        if (strncasecmp(line, name, sizeof(name) - 1) == 0) {
            char file[512];
            (void)parameter_get(line, "name", part->name, sizeof(part->name));
            file[0] = '\0';
            part->is_file = parameter_get(line, "filename", file, sizeof(file)) ||
                            parameter_get(line, "filename*", file, sizeof(file)) || file[0] != '\0';
        }
    }
}

static bool multipart_headers(struct multipart *multipart) {
    struct buf *held = &multipart->held;
    const uint8_t *end = NULL;
    size_t gap = 0;
    for (size_t i = 0; i < held->size && end == NULL; i++) {
        if (held->data[i] != '\n') {
            continue;
        }
        if (i + 1 < held->size && held->data[i + 1] == '\n') {
            gap = 2;
            end = held->data + i;
        } else if (i + 2 < held->size && held->data[i + 1] == '\r' && held->data[i + 2] == '\n') {
            gap = 3;
            end = held->data + i;
        }
    }
    size_t size = end == NULL ? held->size : (size_t)(end - held->data);
    if (size > MULTIPART_HEADERS_BYTES_MAX) {
        multipart_fail(multipart, "the headers of a part are longer than 8 KiB");
        return false;
    }
    if (end == NULL) {
        return false;
    }
    if (++multipart->parts > MULTIPART_PARTS_MAX) {
        multipart_fail(multipart, "the body has more than 64 parts");
        return false;
    }
    char text[MULTIPART_HEADERS_BYTES_MAX + 1];
    for (size_t i = 0; i < size; i++) {
        text[i] = held->data[i] == 0 ? '?' : (char)held->data[i];
    }
    text[size] = '\0';
    struct multipart_part part = {0};
    headers_read(&part, text);
    /* An empty part's delimiter follows the headers at once: keep a line break before the body. */
    buf_drop(held, size + gap);
    multipart->state = MULTIPART_BODY;
    if (!multipart->handler.on_part(multipart->handler.context, &part)) {
        multipart_fail(multipart, NULL);
    }
    return true;
}

static bool multipart_step(struct multipart *multipart) {
    switch (multipart->state) {
    case MULTIPART_PREAMBLE:
        if (multipart_until_delimiter(multipart, false)) {
            multipart->state = MULTIPART_AFTER_DELIMITER;
            return true;
        }
        return false;
    case MULTIPART_AFTER_DELIMITER:
        return multipart_after_delimiter(multipart);
    case MULTIPART_HEADERS:
        return multipart_headers(multipart);
    case MULTIPART_BODY:
        if (multipart_until_delimiter(multipart, true)) {
            multipart->state = MULTIPART_AFTER_DELIMITER;
            if (!multipart->handler.on_part_end(multipart->handler.context)) {
                multipart_fail(multipart, NULL);
            }
            return true;
        }
        return false;
    case MULTIPART_END:
    case MULTIPART_FAILED:
        break;
    }
    return false;
}

bool multipart_feed(struct multipart *multipart, const void *data, size_t size) {
    if (multipart->state == MULTIPART_END) {
        return true; /* the epilogue means nothing */
    }
    if (multipart->state == MULTIPART_FAILED) {
        return false;
    }
    if (!buf_append(&multipart->held, data, size)) {
        multipart_fail(multipart, "no memory");
    }
    while (multipart_step(multipart)) {
    }
    return multipart->state != MULTIPART_FAILED;
}

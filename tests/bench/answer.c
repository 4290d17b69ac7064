/* SPDX-License-Identifier: MIT */
#include "answer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void answer_clear(struct answer *answer) {
    struct answer empty = {.in = answer->in, .body = answer->body};
    empty.in.count = 0;
    empty.body.count = 0;
    *answer = empty;
}

void answer_free(struct answer *answer) {
    free(answer->in.bytes);
    free(answer->body.bytes);
}

/* The line that begins at `at`, ended by 0 in place of CRLF; NULL: it is not whole yet. */
static char *take_line(struct answer *answer) {
    char *line = answer->in.bytes + answer->at;
    char *end = memchr(line, '\n', answer->in.count - answer->at);
    if (end == NULL) {
        return NULL;
    }
    answer->at = (size_t)(end + 1 - answer->in.bytes);
    end -= end > line && end[-1] == '\r';
    *end = '\0';
    return line;
}

static void read_field(struct answer *answer, const char *line) {
    const char *value = strchr(line, ':');
    if (value == NULL) {
        return;
    }
    value += 1 + strspn(value + 1, " ");
    if (strncasecmp(line, "content-length:", 15) == 0) {
        answer->left = strtoull(value, NULL, 10);
    } else if (strncasecmp(line, "transfer-encoding:", 18) == 0) {
        answer->chunked = strcasecmp(value, "chunked") == 0;
    } else if (strncasecmp(line, "connection:", 11) == 0) {
        answer->closes = strcasecmp(value, "close") == 0;
    }
}

/* A head is looked at when all of it is there. */
static enum answer_state read_head(struct answer *answer) {
    if (answer->in.count < 4 || memmem(answer->in.bytes, answer->in.count, "\r\n\r\n", 4) == NULL) {
        return ANSWER_PARTIAL;
    }
    char *line = take_line(answer);
    if (line == NULL || sscanf(line, "HTTP/1.1 %3u", &answer->status) != 1) {
        return ANSWER_BROKEN;
    }
    while ((line = take_line(answer)) != NULL && *line != '\0') {
        read_field(answer, line);
    }
    answer->has_head = true;
    return ANSWER_WHOLE;
}

/* What has come of the body or of the chunk. */
static void take_bytes(struct answer *answer) {
    size_t there = answer->in.count - answer->at;
    size_t count = there < answer->left ? there : answer->left;
    text_add(&answer->body, answer->in.bytes + answer->at, count);
    answer->at += count;
    answer->left -= count;
}

/* A line there is a chunk's size, or ends the bytes of the one before, or (trailers are not
 * expected) ends it all. */
static enum answer_state read_chunks(struct answer *answer) {
    for (;;) {
        take_bytes(answer);
        char *line = answer->left > 0 ? NULL : take_line(answer);
        if (line == NULL) {
            return ANSWER_PARTIAL;
        }
        if (*line == '\0' && answer->last_chunk) {
            return ANSWER_WHOLE;
        }
        if (*line != '\0') {
            char *end = line;
            answer->left = strtoull(line, &end, 16);
            answer->last_chunk = answer->left == 0;
            if (end == line) {
                return ANSWER_BROKEN;
            }
        }
    }
}

enum answer_state answer_read(struct answer *answer) {
    if (!answer->has_head) {
        enum answer_state state = read_head(answer);
        if (state != ANSWER_WHOLE) {
            return state;
        }
    }
    if (answer->status == 204 || answer->status == 304) {
        return ANSWER_WHOLE;
    }
    if (answer->chunked) {
        return read_chunks(answer);
    }
    take_bytes(answer);
    return answer->left == 0 ? ANSWER_WHOLE : ANSWER_PARTIAL;
}

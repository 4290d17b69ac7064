/* SPDX-License-Identifier: MIT */
/*
 * One HTTP/1.1 answer, read as its bytes come: of a known length, in chunks, or without a body. Not
 * until the connection's end: what the bench asks keeps its connections. Knows no socket.
 */
#ifndef BENCH_ANSWER_H
#define BENCH_ANSWER_H

#include <stdbool.h>

#include "template.h"

struct answer {
    struct text in;   /* all that has come; its memory is used again */
    struct text body; /* without the chunks' frames */
    unsigned status;
    bool has_head, chunked, last_chunk, closes;
    size_t at;   /* in `in`: what has been read */
    size_t left; /* of the body, or of this chunk */
};

enum answer_state { ANSWER_PARTIAL, ANSWER_WHOLE, ANSWER_BROKEN };

/* The next one may come. */
void answer_clear(struct answer *answer);
/* After bytes were added to `in`. */
enum answer_state answer_read(struct answer *answer);
void answer_free(struct answer *answer);

#endif

/* SPDX-License-Identifier: MIT */
/* See rpc_frames.h. */
#include "rpc_frames.h"

#include <stdlib.h>
#include <string.h>

enum {
    SEND_PARTS = 8,              /* what nng takes at once */
    SEND_BYTES_MAX = 256 * 1024, /* written under the lock at once */
    SMALL_READS = 256,           /* in a row, then a buffer was too large for a while */
};

const uint8_t rpc_hello_req[RPC_HELLO_BYTES] = {0, 'S', 'P', 0, 0, 0x30, 0, 0};
const uint8_t rpc_hello_rep[RPC_HELLO_BYTES] = {0, 'S', 'P', 0, 0, 0x31, 0, 0};

/* ---- in ---- */

static uint64_t be64(const uint8_t *bytes) {
    uint64_t number = 0;
    for (int i = 0; i < RPC_LENGTH_BYTES; i++) {
        number = number << 8 | bytes[i];
    }
    return number;
}

size_t rpc_inbox_wanted(const struct rpc_inbox *in, const uint8_t hello[RPC_HELLO_BYTES]) {
    const uint8_t *at = in->bytes + in->at;
    size_t have = in->count - in->at;
    if (!in->greeted) {
        size_t compared = have < RPC_HELLO_BYTES ? have : RPC_HELLO_BYTES;
        return memcmp(at, hello, compared) == 0 ? RPC_HELLO_BYTES : 0;
    }
    if (have < RPC_LENGTH_BYTES) {
        return RPC_LENGTH_BYTES;
    }
    uint64_t length = be64(at);
    return length < RPC_ID_BYTES || length > RPC_RECEIVE_BYTES_MAX
               ? 0
               : RPC_LENGTH_BYTES + (size_t)length;
}

void rpc_inbox_read(struct rpc_inbox *in, size_t bytes) {
    in->count += bytes;
    in->small = in->count > RPC_BUFFER_BYTES ? 0 : in->small + 1;
}

bool rpc_inbox_resize(struct rpc_inbox *in, size_t capacity) {
    uint8_t *bytes = realloc(in->bytes, capacity);
    if (bytes == NULL) {
        return false;
    }
    in->bytes = bytes;
    in->capacity = capacity;
    in->small = 0;
    return true;
}

size_t rpc_inbox_compact(struct rpc_inbox *in, size_t wanted, bool may_stay) {
    size_t have = in->count - in->at;
    if (in->at > 0) {
        memmove(in->bytes, in->bytes + in->at, have);
        in->at = 0;
        in->count = have;
    }
    bool stays = may_stay && in->capacity <= RPC_BUFFER_FREE_BYTES && in->small < SMALL_READS;
    if (have == 0 && in->capacity > RPC_BUFFER_BYTES && !stays) {
        (void)rpc_inbox_resize(in, RPC_BUFFER_BYTES);
    }
    if (have < in->capacity) {
        return in->capacity;
    }
    size_t capacity = 2 * have < RPC_BUFFER_FREE_BYTES ? RPC_BUFFER_FREE_BYTES : 2 * have;
    size_t enough = may_stay && wanted < RPC_BUFFER_FREE_BYTES ? RPC_BUFFER_FREE_BYTES : wanted;
    return capacity > enough ? enough : capacity;
}

void rpc_inbox_recv(struct rpc_inbox *in, nng_stream *stream, nng_aio *aio) {
    nng_iov room = {in->bytes + in->count, in->capacity - in->count};
    nng_aio_set_iov(aio, 1, &room);
    nng_stream_recv(stream, aio);
}

void rpc_inbox_free(struct rpc_inbox *in) {
    free(in->bytes);
    *in = (struct rpc_inbox){0};
}

/* ---- out ---- */

struct rpc_frame *rpc_frame_new(nng_msg *msg, const uint8_t *trace, size_t trace_bytes) {
    struct rpc_frame *frame = calloc(1, sizeof *frame);
    if (frame == NULL) {
        nng_msg_free(msg);
        return NULL;
    }
    uint64_t length = trace_bytes + nng_msg_len(msg);
    for (int i = 0; i < RPC_LENGTH_BYTES; i++) {
        frame->head[RPC_LENGTH_BYTES - 1 - i] = (uint8_t)(length >> 8 * i);
    }
    memcpy(frame->head + RPC_LENGTH_BYTES, trace, trace_bytes);
    frame->head_bytes = RPC_LENGTH_BYTES + trace_bytes;
    frame->msg = msg;
    return frame;
}

struct rpc_frame *rpc_frame_hello(const uint8_t hello[RPC_HELLO_BYTES]) {
    struct rpc_frame *frame = calloc(1, sizeof *frame);
    if (frame != NULL) {
        memcpy(frame->head, hello, RPC_HELLO_BYTES);
        frame->head_bytes = RPC_HELLO_BYTES;
    }
    return frame;
}

void rpc_frame_free(struct rpc_frame *frame) {
    if (frame != NULL) {
        nng_msg_free(frame->msg);
        free(frame);
    }
}

static size_t frame_msg_bytes(const struct rpc_frame *frame) {
    return frame->msg == NULL ? 0 : nng_msg_len(frame->msg);
}

int rpc_outbox_open(struct rpc_outbox *out, void (*writable)(void *), void *context) {
    int rv;
    *out = (struct rpc_outbox){.last = &out->first};
    if ((rv = nng_aio_alloc(&out->now, NULL, NULL)) != 0 ||
        (rv = nng_aio_alloc(&out->later, writable, context)) != 0) {
        nng_aio_free(out->now);
        out->now = NULL;
        return rv;
    }
    nng_aio_set_timeout(out->now, NNG_DURATION_INFINITE);
    nng_aio_set_timeout(out->later, NNG_DURATION_INFINITE);
    return 0;
}

void rpc_outbox_push(struct rpc_outbox *out, struct rpc_frame *frame) {
    frame->next = NULL;
    *out->last = frame;
    out->last = &frame->next;
    out->count++;
    out->bytes += frame_msg_bytes(frame);
}

/* Out of the queue. */
static struct rpc_frame *outbox_unlink(struct rpc_outbox *out, struct rpc_frame **at) {
    struct rpc_frame *frame = *at;
    *at = frame->next;
    if (out->last == &frame->next) {
        out->last = at;
    }
    out->count--;
    out->bytes -= frame_msg_bytes(frame);
    return frame;
}

struct rpc_frame *rpc_outbox_take(struct rpc_outbox *out, const bool *sent) {
    for (struct rpc_frame **at = &out->first; *at != NULL; at = &(*at)->next) {
        if ((*at)->sent == sent) {
            return outbox_unlink(out, at);
        }
    }
    return NULL;
}

/* Lays out what comes next: at most so many frames. */
static unsigned outbox_parts(const struct rpc_outbox *out, unsigned frames,
                             nng_iov parts[SEND_PARTS]) {
    unsigned count = 0;
    size_t total = 0, skip = out->at;
    for (struct rpc_frame *frame = out->first;
         frame != NULL && frames-- > 0 && count + 2 <= SEND_PARTS && total < SEND_BYTES_MAX;
         frame = frame->next) {
        const nng_iov both[] = {
            {frame->head, frame->head_bytes},
            {frame->msg == NULL ? NULL : nng_msg_body(frame->msg), frame_msg_bytes(frame)},
        };
        for (int i = 0; i < 2; i++) {
            size_t skipped = skip < both[i].iov_len ? skip : both[i].iov_len;
            size_t left = both[i].iov_len - skipped;
            size_t taken = left < SEND_BYTES_MAX - total ? left : SEND_BYTES_MAX - total;
            skip -= skipped;
            if (taken > 0) {
                parts[count++] = (nng_iov){(uint8_t *)both[i].iov_buf + skipped, taken};
                total += taken;
            }
        }
    }
    return count;
}

static void frame_begins(struct rpc_frame *frame) {
    if (frame->sent != NULL) {
        *frame->sent = true;
        frame->sent = NULL;
    }
}

/* So many bytes are written. */
static void outbox_advance(struct rpc_outbox *out, size_t bytes) {
    while (bytes > 0) {
        struct rpc_frame *frame = out->first;
        size_t left = frame->head_bytes + frame_msg_bytes(frame) - out->at;
        frame_begins(frame);
        if (bytes < left) {
            out->at += bytes;
            return;
        }
        bytes -= left;
        out->at = 0;
        rpc_frame_free(outbox_unlink(out, &out->first));
    }
}

/* Writes at once what the stream takes. nng tries that inside the call, and an aio without a
 * callback costs no thread's turn; where the stream takes nothing the attempt is called off, and
 * then nothing was written (nng ends a send with its first bytes). */
static int outbox_write(struct rpc_outbox *out, nng_stream *stream, size_t *written) {
    nng_iov parts[SEND_PARTS];
    nng_aio_set_iov(out->now, outbox_parts(out, UINT32_MAX, parts), parts);
    nng_stream_send(stream, out->now);
    nng_aio_cancel(out->now);
    nng_aio_wait(out->now);
    int rv = nng_aio_result(out->now);
    *written = rv == 0 ? nng_aio_count(out->now) : 0;
    outbox_advance(out, *written);
    return rv == NNG_ECANCELED ? 0 : rv;
}

int64_t rpc_outbox_send(struct rpc_outbox *out, nng_stream *stream) {
    size_t total = 0, written = 1;
    while (out->first != NULL && !out->sending && written > 0 && total < SEND_BYTES_MAX) {
        int rv = outbox_write(out, stream, &written);
        if (rv != 0) {
            return -(int64_t)rv;
        }
        total += written;
    }
    if (out->first != NULL && !out->sending) {
        nng_iov parts[SEND_PARTS];
        frame_begins(out->first);
        nng_aio_set_iov(out->later, outbox_parts(out, 1, parts), parts);
        out->sending = true;
        nng_stream_send(stream, out->later);
    }
    return (int64_t)total;
}

int64_t rpc_outbox_sent(struct rpc_outbox *out) {
    int rv = nng_aio_result(out->later);
    size_t bytes = rv == 0 ? nng_aio_count(out->later) : 0;
    out->sending = false;
    outbox_advance(out, bytes);
    return rv == 0 ? (int64_t)bytes : -(int64_t)rv;
}

void rpc_outbox_clear(struct rpc_outbox *out) {
    while (out->first != NULL) {
        rpc_frame_free(outbox_unlink(out, &out->first));
    }
    out->at = 0;
}

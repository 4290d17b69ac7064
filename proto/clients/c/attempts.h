/* SPDX-License-Identifier: MIT */
/*
 * One operation until its outcome is known: the writer's recipe of proto/README.md ("Writing"). It
 * says what goes with each attempt and whether there is another; it sends nothing. Pure.
 */
#ifndef CHORD_ATTEMPTS_H
#define CHORD_ATTEMPTS_H

#include "chord/v1/kv.pb-c.h"
#include "fate.h"

enum { CHORD_OP_ID_BYTES = 16 };

struct attempts {
    bool writes;
    bool maybe;      /* an attempt may have been carried out */
    uint32_t number; /* of the next attempt that may be carried out: 1, 2, ... */
    uint64_t seen_epoch, seen_counter;
    uint8_t op_id[CHORD_OP_ID_BYTES];
};

enum attempts_next {
    ATTEMPTS_END,     /* nothing more can be found out */
    ATTEMPTS_LATER,   /* again, after a pause */
    ATTEMPTS_AT_ONCE, /* again, there is nothing to wait for */
};

/* A read needs no op_id: NULL. The newest version heard of the key or its range is (seen_epoch,
 * seen_counter); (0, 0): nothing was heard. */
void attempts_start(struct attempts *attempts, const uint8_t op_id[CHORD_OP_ID_BYTES],
                    uint64_t seen_epoch, uint64_t seen_counter);
/* Writes op_id, attempt and seen into a message; they point into `attempts` and `seen`. */
void attempts_fill(struct attempts *attempts, Chord__V1__Operation *operation,
                   Chord__V1__Version *seen);
/* What became of an attempt: the call's reply, and of the operation the node's result; NULL where
 * the answer has none. */
enum attempts_next attempts_take(struct attempts *attempts, const struct rpc_reply *reply,
                                 const Chord__V1__OperationResult *result);
/* All attempts together, when `code` is how the last one ended. */
enum chord_fate attempts_fate(const struct attempts *attempts, Chord__V1__Code code);
/* The code to report for them: UNKNOWN where an earlier attempt may have been carried out. */
Chord__V1__Code attempts_code(const struct attempts *attempts, Chord__V1__Code code);

#endif

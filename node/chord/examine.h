/*
 * What a write that is examined is told by what its leader knows of the key: the rules against
 * taking effect twice (kv.proto), and the precondition. Hosts call it when they carry out
 * CHORD_STORE_EXAMINE_OPERATIONS; it owns no memory and knows nothing of batches.
 */
#ifndef CHORD_EXAMINE_H
#define CHORD_EXAMINE_H

#include "message.h"

enum { EXAMINE_OP_ID_BYTES = 16 };

/* Orders the writes of one key: first the epoch, then the counter. */
struct examine_version {
    uint64_t epoch, counter;
};

struct examine_write {
    uint8_t hash[CHORD_ID_BYTES];
    bool deletes;
    bool has_op_id, has_seen;
    uint8_t op_id[EXAMINE_OP_ID_BYTES];
    uint32_t attempt;     /* 0 is read as 1 */
    uint64_t content;     /* a digest of what the write is: kind, value, expiry */
    bool absent, matches; /* its precondition: no value; that version */
    struct examine_version seen, match;
};

/* The key's newest row at the leader. */
struct examine_row {
    bool found, value; /* there is one; it holds a value that has not expired */
    bool bad;          /* a disk has changed it: nothing of it can be believed */
    bool existed;      /* its writer was told: the key had a value before */
    bool has_op_id;
    uint8_t op_id[EXAMINE_OP_ID_BYTES];
    uint64_t content; /* wanted only when the op_id is the write's */
    struct examine_version version;
};

/* The writes with an op_id that this leader executed last, oldest forgotten first. It lives no
 * longer than the process, and says nothing of what others have led. */
struct examine_past {
    uint8_t hash[CHORD_ID_BYTES];
    uint8_t op_id[EXAMINE_OP_ID_BYTES];
    struct examine_version version, before; /* what it replaced */
    uint64_t content;
    bool existed;
};
struct examine_memory {
    struct examine_past *writes; /* `room` of them, the host's */
    uint32_t room;
    uint64_t count; /* ever remembered */
};

struct examine_answer {
    bool held; /* it is not written, and gets the next two as its result */
    enum chord_code code;
    struct examine_version version; /* epoch 0: none */
    bool existed;                   /* also when it is written: what its writer is to be told */
};

/* epoch: of the leader's view; floor: the view's. An absent row stands for a deletion at (floor,
 * 0). What is not held is remembered: its host writes it at `next`. */
struct examine_answer examine(const struct examine_write *write, const struct examine_row *row,
                              uint64_t epoch, uint64_t floor, struct examine_version next,
                              struct examine_memory *memory);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * The rule book of operations: which of two rows is newer, what an epoch's end drops, what a write
 * that is examined is told by what its leader knows of the key (the rules against taking effect
 * twice, kv.proto), and what becomes of the operations of a request: written, read, answered by
 * another node, or not known. Whoever hosts the core calls it when it carries out the actions that
 * are about rows and operations; node, simulator and fuzzer link this very object. It owns no
 * memory and knows nothing of batches.
 */
#ifndef CHORD_OPERATIONS_H
#define CHORD_OPERATIONS_H

#include "chord.h"

enum { OPERATION_OP_ID_BYTES = 16 };

/* ---- rows ---- */

/* Orders the writes of one key: first the epoch, then the counter. Epoch 0: none. */
struct row_version {
    uint64_t epoch, counter;
};

bool row_newer(struct row_version a, struct row_version b);
/* Whether a row takes the place of a stored one. A bad row (a disk has changed it) gives way to its
 * own version too. */
bool row_replaces(struct row_version row, struct row_version stored, bool stored_bad);
/* Whether an epoch's end drops a row: `floor` is the epoch whose view forgets older deletions. */
bool row_forgotten(struct row_version row, bool deleted, uint64_t floor);
/* While a copy is made equal to its leader's: whether one of its rows gives way to the leader's
 * page. The epoch of a bad row proves nothing. */
bool row_gives_way(struct row_version row, bool bad, uint64_t drop_epoch);

/* The key's newest row at this node. */
struct operation_row {
    bool found;
    bool bad;               /* the disk has changed the row: no field can be believed */
    bool deleted;           /* it is a tombstone */
    bool existed;           /* its writer was told: the key had a value before */
    uint64_t expires_at_ms; /* Unix time; 0: never */
    bool has_op_id;
    uint8_t op_id[OPERATION_OP_ID_BYTES];
    uint64_t content; /* wanted only when the op_id is the write's */
    struct row_version version;
};

/* ---- examining ---- */

/* A write that depends on what is stored. */
struct operation_write {
    uint8_t hash[CHORD_ID_BYTES];
    bool deletes;
    bool has_op_id, has_seen;
    uint8_t op_id[OPERATION_OP_ID_BYTES];
    uint32_t attempt;     /* 0 is read as 1 */
    uint64_t content;     /* a digest of what the write is: kind, value, expiry */
    bool absent, matches; /* its precondition: no value; that version */
    struct row_version seen, match;
};

/* The writes with an op_id that this leader executed last, oldest forgotten first. It lives no
 * longer than the process, and says nothing of what others have led. */
struct operation_past {
    uint8_t hash[CHORD_ID_BYTES];
    uint8_t op_id[OPERATION_OP_ID_BYTES];
    struct row_version version, before; /* what it replaced */
    uint64_t content;
    bool existed;
};
struct operation_memory {
    struct operation_past *writes; /* `room` of them, the host's */
    uint32_t room;
    uint64_t count; /* ever remembered */
};

struct operation_answer {
    bool held; /* it is not written, and gets the next two as its result */
    enum chord_code code;
    struct row_version version; /* epoch 0: none */
    bool existed; /* valid also when the row is written: what its writer is to be told */
};

/* `next` is the version that the host writes when the answer is not held, and then it is
 * remembered; its epoch is that of the leader's view. floor: the view's; an absent row stands for a
 * deletion at (floor, 0). unix_ms: now. */
struct operation_answer operation_examine(const struct operation_write *write,
                                          const struct operation_row *row, uint64_t floor,
                                          struct row_version next, uint64_t unix_ms,
                                          struct operation_memory *memory);

/* ---- results ---- */

struct operation_result {
    enum chord_code code;
    bool existed;               /* a write: the key had a value before */
    struct row_version version; /* epoch 0: none */
    uint64_t expires_at_ms;     /* a read; 0: never */
};

/* What the host knows of one operation of a request. */
struct operation_state {
    bool has;   /* `result` is recorded; final once the operation is finished */
    bool maybe; /* a write that was sent or begun: it may take effect */
    bool held;  /* examined, and not written: the result says why */
    struct operation_result result;
};

/* What a store action is about: EXAMINE_OPERATIONS, WRITE_OPERATIONS (and the rows of APPLY),
 * READ_OPERATIONS. */
bool operation_is_examined(const struct chord_operation *operation, const struct chord_range *range,
                           unsigned m);
bool operation_is_written(const struct chord_operation *operation,
                          const struct operation_state *state, const struct chord_range *range,
                          unsigned m);
bool operation_is_read(const struct chord_operation *operation, const struct chord_range *range,
                       unsigned m);
/* Operation `index` of a request writes this version. */
struct row_version operation_version(const struct chord_slice *slice, uint32_t index);
/* What its row keeps, so that a repeat is told the same: the key had a value before. */
bool operation_existed(const struct chord_operation *operation,
                       const struct operation_state *state);
/* Writes of the range that are left, for STORED. */
uint64_t operations_left(const struct chord_operation *operations,
                         const struct operation_state *states, uint32_t count,
                         const struct chord_range *range, unsigned m);

/* Each records what has become of an operation; one that is finished keeps its result. */
void operation_examined(struct operation_state *state, const struct operation_answer *answer);
/* replaced: the store held a value of the key. */
void operation_written(const struct chord_operation *operation, struct operation_state *state,
                       struct row_version version, bool replaced);
/* True: the row's value goes with it. */
bool operation_read(const struct chord_operation *operation, struct operation_state *state,
                    const struct operation_row *row, uint64_t unix_ms);
/* FINISHED: what is recorded for the operations of the range is final. */
void operations_finish(struct chord_operation *operations, const struct operation_state *states,
                       uint32_t count, const struct chord_range *range, unsigned m);

/* Before it is forwarded. */
void operation_sent(const struct chord_operation *operation, struct operation_state *state);
/* How a forwarded operation ended: with the other node's result; NULL: no answer came and the
 * outcome is not known, or the operation was never sent. True: it is finished by that. */
bool operation_forwarded(struct chord_operation *operation, struct operation_state *state,
                         const struct operation_result *result);
void operation_unsent(struct operation_state *state);

/* What the client is told. unfinished: the answer's code for what is not finished. */
struct operation_result operation_told(const struct chord_operation *operation,
                                       const struct operation_state *state,
                                       enum chord_code unfinished);

#endif

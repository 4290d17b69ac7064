/* SPDX-License-Identifier: MIT */
/*
 * See operations.h. A write that comes with an op_id and with the newest version that its writer
 * knew (`seen`) before its first attempt can have been executed only after that version. So if the
 * row has no newer version, the write was never executed. If it has, the leader looks through the
 * newer ones: while it leads in one epoch, and has room, it remembers which write made which
 * version, and over which. When it remembers all versions back to `seen` and this write made none
 * of them, the write was not executed either: others merely wrote the key in the meantime.
 *
 * The writer may know of a later epoch than the leader, from a hint. What is written here would be
 * older than `seen`, and a repeat would be executed once more: it has to wait for the later leader.
 *
 * A writer that was told once that the outcome cannot be known is told so by every later leader: a
 * version that one leader does not remember is of an epoch that no later leader counts.
 */
#include "operations.h"

#include <string.h>

/* ---- rows ---- */

bool row_newer(struct row_version a, struct row_version b) {
    return a.epoch > b.epoch || (a.epoch == b.epoch && a.counter > b.counter);
}

bool row_replaces(struct row_version row, struct row_version stored, bool stored_bad) {
    return stored_bad ? !row_newer(stored, row) : row_newer(row, stored);
}

bool row_forgotten(struct row_version row, bool deleted, uint64_t floor) {
    return deleted && row.epoch < floor;
}

bool row_gives_way(struct row_version row, bool bad, uint64_t drop_epoch) {
    return bad || row.epoch < drop_epoch;
}

static bool has_value(const struct operation_row *row, uint64_t unix_ms) {
    bool expired = row->expires_at_ms != 0 && row->expires_at_ms <= unix_ms;
    return row->found && !row->deleted && !expired;
}

/* ---- examining ---- */

static bool same(struct row_version a, struct row_version b) {
    return a.epoch == b.epoch && a.counter == b.counter;
}

enum past { NEVER_EXECUTED, EXECUTED, CANNOT_TELL };

/* From the newest version back to what the writer had seen. EXECUTED: *found. */
static enum past look_back(const struct operation_write *write, struct row_version newest,
                           uint64_t epoch, const struct operation_memory *memory,
                           const struct operation_past **found) {
    struct row_version at = newest;
    uint64_t oldest = memory->count > memory->room ? memory->count - memory->room : 0;
    for (uint64_t i = memory->count; i > oldest && at.epoch == epoch && row_newer(at, write->seen);
         i--) {
        const struct operation_past *past = &memory->writes[(i - 1) % memory->room];
        if (!same(past->version, at) || memcmp(past->hash, write->hash, CHORD_ID_BYTES) != 0) {
            continue;
        }
        if (memcmp(past->op_id, write->op_id, OPERATION_OP_ID_BYTES) == 0) {
            *found = past;
            return EXECUTED;
        }
        at = past->before;
    }
    return row_newer(at, write->seen) ? CANNOT_TELL : NEVER_EXECUTED;
}

static void remember(struct operation_memory *memory, const struct operation_write *write,
                     struct row_version version, struct row_version before, bool existed) {
    struct operation_past *past = &memory->writes[memory->count++ % memory->room];
    memcpy(past->hash, write->hash, CHORD_ID_BYTES);
    memcpy(past->op_id, write->op_id, OPERATION_OP_ID_BYTES);
    past->version = version;
    past->before = before;
    past->content = write->content;
    past->existed = existed;
}

/* It was executed before, or another write has its op_id. */
static struct operation_answer repeated(const struct operation_write *write, uint64_t content,
                                        struct row_version version, bool existed) {
    if (write->content != content) {
        return (struct operation_answer){.held = true, .code = CHORD_INVALID_ARGUMENT};
    }
    enum chord_code code = write->deletes && !existed ? CHORD_NOT_FOUND : CHORD_OK;
    return (struct operation_answer){true, code, version, existed};
}

static bool condition_holds(const struct operation_write *write, struct row_version version,
                            bool value) {
    return !(write->absent && value) && (!write->matches || (value && same(version, write->match)));
}

/* Only what does not ask what was there may take the place of a bad row; nor does it ask when it
 * has seen nothing. */
static struct operation_answer examine_bad(const struct operation_write *write) {
    bool asks = write->absent || write->matches || write->attempt > 1 ||
                (write->has_seen && write->seen.epoch > 0);
    return (struct operation_answer){.held = asks, .code = asks ? CHORD_DATA_LOSS : CHORD_OK};
}

struct operation_answer operation_examine(const struct operation_write *write,
                                          const struct operation_row *row, uint64_t floor,
                                          struct row_version next, uint64_t unix_ms,
                                          struct operation_memory *memory) {
    struct row_version newest = row->found ? row->version : (struct row_version){floor, 0};
    bool conditional = write->absent || write->matches, later = write->attempt > 1;
    bool value = has_value(row, unix_ms);
    if (row->bad) {
        return examine_bad(write);
    }
    if (write->has_op_id && row->found && row->has_op_id &&
        memcmp(row->op_id, write->op_id, OPERATION_OP_ID_BYTES) == 0) {
        return repeated(write, row->content, row->version, row->existed);
    }
    if (write->has_op_id && write->has_seen && write->seen.epoch > next.epoch) {
        return (struct operation_answer){.held = true, .code = CHORD_UNAVAILABLE};
    }
    enum past past = NEVER_EXECUTED;
    if (write->has_op_id && (later || write->has_seen)) {
        const struct operation_past *found;
        past = look_back(write, newest, next.epoch, memory, &found);
        if (past == EXECUTED) {
            return repeated(write, found->content, found->version, found->existed);
        }
        /* A condition that was refused once may hold again: a late copy of the write must find
         * newer versions, no matter which write made them. */
        if (conditional && row_newer(newest, write->seen)) {
            past = CANNOT_TELL;
        }
    }
    if (past == CANNOT_TELL && later) {
        return (struct operation_answer){true, CHORD_UNKNOWN, newest, value};
    }
    if (!condition_holds(write, row->version, value)) {
        return (struct operation_answer){true, CHORD_FAILED_PRECONDITION,
                                         row->found ? row->version : (struct row_version){0, 0},
                                         value};
    }
    if (past == CANNOT_TELL) {
        return (struct operation_answer){true, CHORD_ABORTED, newest, value};
    }
    if (write->has_op_id) {
        remember(memory, write, next, newest, value);
    }
    return (struct operation_answer){.held = false, .code = CHORD_OK, .existed = value};
}

/* ---- which operations an action is about ---- */

bool chord_operation_in(const struct chord_operation *operation, const struct chord_range *range,
                        unsigned m) {
    struct chord_id id = id_from_hash(operation->hash, m);
    return !operation->finished && id_in_half_open(&range->lo, &id, &range->hi);
}

bool operation_is_examined(const struct chord_operation *operation, const struct chord_range *range,
                           unsigned m) {
    return operation->kind != CHORD_GET && operation->examine &&
           chord_operation_in(operation, range, m);
}

bool operation_is_written(const struct chord_operation *operation,
                          const struct operation_state *state, const struct chord_range *range,
                          unsigned m) {
    return operation->kind != CHORD_GET && !state->held && chord_operation_in(operation, range, m);
}

bool operation_is_read(const struct chord_operation *operation, const struct chord_range *range,
                       unsigned m) {
    return operation->kind == CHORD_GET && chord_operation_in(operation, range, m);
}

struct row_version operation_version(const struct chord_slice *slice, uint32_t index) {
    return (struct row_version){slice->epoch, slice->counter + index};
}

bool operation_existed(const struct chord_operation *operation,
                       const struct operation_state *state) {
    return operation->examine && state->result.existed;
}

uint64_t operations_left(const struct chord_operation *operations,
                         const struct operation_state *states, uint32_t count,
                         const struct chord_range *range, unsigned m) {
    uint64_t left = 0;
    for (uint32_t i = 0; i < count; i++) {
        left += operation_is_written(&operations[i], &states[i], range, m);
    }
    return left;
}

/* ---- results ---- */

void operation_examined(struct operation_state *state, const struct operation_answer *answer) {
    state->held = answer->held;
    state->result.existed = answer->existed;
    if (answer->held) {
        state->has = true;
        state->result.code = answer->code;
        state->result.version = answer->version;
    }
}

void operation_written(const struct chord_operation *operation, struct operation_state *state,
                       struct row_version version, bool replaced) {
    if (operation->finished) {
        return;
    }
    struct operation_result *result = &state->result;
    result->existed = operation->examine ? result->existed : replaced;
    result->version = version;
    result->code = operation->kind == CHORD_DELETE && !result->existed ? CHORD_NOT_FOUND : CHORD_OK;
    state->has = true;
}

bool operation_read(const struct chord_operation *operation, struct operation_state *state,
                    const struct operation_row *row, uint64_t unix_ms) {
    if (operation->finished) {
        return false;
    }
    bool value = has_value(row, unix_ms) && !row->bad;
    state->has = true;
    state->result = (struct operation_result){
        .code = row->bad ? CHORD_DATA_LOSS
                : value  ? CHORD_OK
                         : CHORD_NOT_FOUND,
        .version = row->found ? row->version : (struct row_version){0, 0},
        .expires_at_ms = row->expires_at_ms,
    };
    return value;
}

void operations_finish(struct chord_operation *operations, const struct operation_state *states,
                       uint32_t count, const struct chord_range *range, unsigned m) {
    for (uint32_t i = 0; i < count; i++) {
        if (states[i].has && chord_operation_in(&operations[i], range, m)) {
            operations[i].finished = true;
        }
    }
}

void operation_sent(const struct chord_operation *operation, struct operation_state *state) {
    state->maybe = operation->kind != CHORD_GET;
}

void operation_unsent(struct operation_state *state) {
    state->maybe = false;
}

/* Codes that say: nothing was executed, ask somewhere else or later. */
static bool not_executed(enum chord_code code) {
    return code == CHORD_OUT_OF_RANGE || code == CHORD_UNAVAILABLE ||
           code == CHORD_RESOURCE_EXHAUSTED;
}

bool operation_forwarded(struct chord_operation *operation, struct operation_state *state,
                         const struct operation_result *result) {
    if (operation->finished || (result == NULL && operation->kind == CHORD_GET)) {
        return false; /* a read may be asked again */
    }
    if (result != NULL && not_executed(result->code)) {
        operation_unsent(state);
        return false;
    }
    state->has = true;
    state->result = result != NULL ? *result : (struct operation_result){.code = CHORD_UNKNOWN};
    operation->finished = true;
    return true;
}

struct operation_result operation_told(const struct chord_operation *operation,
                                       const struct operation_state *state,
                                       enum chord_code unfinished) {
    if (operation->finished) {
        return state->result;
    }
    return (struct operation_result){.code = state->maybe ? CHORD_UNKNOWN : unfinished};
}

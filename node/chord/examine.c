/*
 * See examine.h. A write that comes with an op_id and with the newest version that its writer knew
 * (`seen`) before its first attempt can have been executed only after that version. So where no
 * newer one is there, it never was. Where newer ones are there, the leader looks through them: it
 * remembers which write made which version over which, as long as it leads in one epoch and has
 * room. When all versions back to `seen` are among these and none is this write's, it was never
 * executed either, and others merely wrote the key in the meantime.
 *
 * Who was told once that it cannot be known is told so for ever, whichever leader is asked: a
 * version that one leader does not remember is of an epoch that no later one counts.
 */
#include "examine.h"

#include <string.h>

static bool after(struct examine_version a, struct examine_version b) {
    return a.epoch > b.epoch || (a.epoch == b.epoch && a.counter > b.counter);
}

static bool same(struct examine_version a, struct examine_version b) {
    return a.epoch == b.epoch && a.counter == b.counter;
}

enum past { NEVER_EXECUTED, EXECUTED, CANNOT_TELL };

/* From the newest version back to what the writer had seen. EXECUTED: *found. */
static enum past look_back(const struct examine_write *write, struct examine_version newest,
                           uint64_t epoch, const struct examine_memory *memory,
                           const struct examine_past **found) {
    struct examine_version at = newest;
    uint64_t oldest = memory->count > memory->room ? memory->count - memory->room : 0;
    for (uint64_t i = memory->count; i > oldest && at.epoch == epoch && after(at, write->seen);
         i--) {
        const struct examine_past *past = &memory->writes[(i - 1) % memory->room];
        if (!same(past->version, at) || memcmp(past->hash, write->hash, CHORD_ID_BYTES) != 0) {
            continue;
        }
        if (memcmp(past->op_id, write->op_id, EXAMINE_OP_ID_BYTES) == 0) {
            *found = past;
            return EXECUTED;
        }
        at = past->before;
    }
    return after(at, write->seen) ? CANNOT_TELL : NEVER_EXECUTED;
}

static void remember(struct examine_memory *memory, const struct examine_write *write,
                     struct examine_version version, struct examine_version before, bool existed) {
    struct examine_past *past = &memory->writes[memory->count++ % memory->room];
    memcpy(past->hash, write->hash, CHORD_ID_BYTES);
    memcpy(past->op_id, write->op_id, EXAMINE_OP_ID_BYTES);
    past->version = version;
    past->before = before;
    past->content = write->content;
    past->existed = existed;
}

/* It was executed before, or another write has its op_id. */
static struct examine_answer repeated(const struct examine_write *write, uint64_t content,
                                      struct examine_version version, bool existed) {
    if (write->content != content) {
        return (struct examine_answer){.held = true, .code = CHORD_INVALID_ARGUMENT};
    }
    enum chord_code code = write->deletes && !existed ? CHORD_NOT_FOUND : CHORD_OK;
    return (struct examine_answer){true, code, version, existed};
}

static bool condition_holds(const struct examine_write *write, const struct examine_row *row) {
    return !(write->absent && row->value) &&
           (!write->matches || (row->value && same(row->version, write->match)));
}

/* Only what does not ask what was there may take the place of a bad row; nor does it ask when it has
 * seen nothing. */
static struct examine_answer examine_bad(const struct examine_write *write) {
    bool asks = write->absent || write->matches || write->attempt > 1 ||
                (write->has_seen && write->seen.epoch > 0);
    return (struct examine_answer){.held = asks, .code = asks ? CHORD_DATA_LOSS : CHORD_OK};
}

struct examine_answer examine(const struct examine_write *write, const struct examine_row *row,
                              uint64_t epoch, uint64_t floor, struct examine_version next,
                              struct examine_memory *memory) {
    struct examine_version newest = row->found ? row->version : (struct examine_version){floor, 0};
    bool conditional = write->absent || write->matches, later = write->attempt > 1;
    if (row->bad) {
        return examine_bad(write);
    }
    if (write->has_op_id && row->found && row->has_op_id &&
        memcmp(row->op_id, write->op_id, EXAMINE_OP_ID_BYTES) == 0) {
        return repeated(write, row->content, row->version, row->existed);
    }
    enum past past = NEVER_EXECUTED;
    if (write->has_op_id && (later || write->has_seen)) {
        const struct examine_past *found;
        past = look_back(write, newest, epoch, memory, &found);
        if (past == EXECUTED) {
            return repeated(write, found->content, found->version, found->existed);
        }
        /* A condition that was refused once may hold again: a late copy of it must find that there
         * are newer versions, whoever made them. */
        if (conditional && after(newest, write->seen)) {
            past = CANNOT_TELL;
        }
    }
    if (past == CANNOT_TELL && later) {
        return (struct examine_answer){true, CHORD_UNKNOWN, newest, row->value};
    }
    if (!condition_holds(write, row)) {
        return (struct examine_answer){true, CHORD_FAILED_PRECONDITION,
                                       row->found ? row->version : (struct examine_version){0, 0},
                                       row->value};
    }
    if (past == CANNOT_TELL) {
        return (struct examine_answer){true, CHORD_ABORTED, newest, row->value};
    }
    if (write->has_op_id) {
        remember(memory, write, next, newest, row->value);
    }
    return (struct examine_answer){.held = false, .code = CHORD_OK, .existed = row->value};
}

/*
 * Writes that are examined before they are written: the operation and the key's row as
 * chord/examine.h wants them, and what it says as the operation's result.
 */
#include "node.h"

#include "examine.h"
#include "row_checksum.h"

#include <string.h>

struct store_row *kv_examine_rows(struct node *node, struct request *request,
                                  const struct chord_slice *slice, struct arena *arena,
                                  size_t *count) {
    struct store_row *rows = arena_alloc(arena, sizeof *rows * request->operations_count);
    *count = 0;
    for (uint32_t i = 0; i < request->operations_count; i++) {
        request->states[i].held = false;
        if (kv_in_slice(node, request, i, &slice->range, true) && request->operations[i].examine) {
            struct store_row *row = &rows[(*count)++];
            memcpy(row->hash, request->operations[i].hash, CHORD_ID_BYTES);
            row->key = request->messages[i]->key.data;
            row->key_bytes = request->messages[i]->key.len;
        }
    }
    return rows;
}

/* Of two writes with one op_id these differ, unless the second repeats the first. */
static uint64_t content_of(bool deletes, uint64_t expires_at_ms, const uint8_t *value,
                           size_t value_bytes) {
    return deletes ? 1 : checksum_bytes(checksum_mix(expires_at_ms + 2), value, value_bytes);
}

static struct examine_version version_of(const Chord__V1__Version *version) {
    return (struct examine_version){version->epoch, version->counter};
}

static struct examine_write write_of(const Chord__V1__Operation *operation,
                                     const struct chord_operation *bare) {
    struct examine_write write = {
        .deletes = bare->kind == CHORD_DELETE,
        .has_op_id = operation->op_id.len == STORE_OP_ID_BYTES,
        .has_seen = operation->seen != NULL,
        .attempt = operation->attempt,
    };
    const Chord__V1__Precondition *wanted = operation->precondition;
    memcpy(write.hash, bare->hash, CHORD_ID_BYTES);
    if (write.has_op_id) {
        memcpy(write.op_id, operation->op_id.data, STORE_OP_ID_BYTES);
        write.content = content_of(write.deletes, operation->expires_at_ms, operation->value.data,
                                   operation->value.len);
    }
    if (write.has_seen) {
        write.seen = version_of(operation->seen);
    }
    if (wanted != NULL) {
        write.absent = wanted->absent;
        write.matches = wanted->version != NULL;
        if (write.matches) {
            write.match = version_of(wanted->version);
        }
    }
    return write;
}

static struct examine_row row_of(const struct store_row *row, const struct examine_write *write) {
    bool expired = row->expires_at_ms != 0 && row->expires_at_ms <= node_unix_ms();
    struct examine_row known = {
        .found = row->kind != 0,
        .value = row->kind == STORE_VALUE && !expired,
        .bad = row->bad,
        .existed = row->existed,
        .has_op_id = row->op_id_bytes == STORE_OP_ID_BYTES,
        .version = {row->epoch, row->counter},
    };
    memcpy(known.op_id, row->op_id, STORE_OP_ID_BYTES);
    if (known.has_op_id && memcmp(known.op_id, write->op_id, STORE_OP_ID_BYTES) == 0) {
        known.content = content_of(row->kind == STORE_TOMBSTONE, row->expires_at_ms, row->value,
                                   row->value_bytes);
    }
    return known;
}

uint64_t kv_examined(struct node *node, struct request *request, const struct store_job *job) {
    uint64_t left = 0;
    uint32_t i = 0;
    for (size_t r = 0; r < job->rows_count; r++) {
        while (request->messages[i]->key.data != job->rows[r].key) {
            i++;
        }
        struct operation_state *state = &request->states[i];
        struct examine_write write = write_of(request->messages[i], &request->operations[i]);
        struct examine_row row = row_of(&job->rows[r], &write);
        struct examine_version next = {job->first.epoch, job->first.counter + i};
        struct examine_answer answer =
            examine(&write, &row, job->first.epoch, job->epoch, next, &node->examined);
        state->held = answer.held;
        state->existed = answer.existed;
        if (answer.held) {
            state->has = true;
            state->code = (Chord__V1__Code)answer.code;
            state->epoch = answer.version.epoch;
            state->counter = answer.version.counter;
        }
    }
    for (i = 0; i < request->operations_count; i++) {
        left += kv_in_slice(node, request, i, &job->range, true) && !request->states[i].held;
    }
    return left;
}

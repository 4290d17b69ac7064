/* SPDX-License-Identifier: MIT */
/*
 * Writes that are examined before they are written: the operation and the key's row as
 * chord/operations.h wants them, and what it says as the operation's result.
 */
#include "node.h"

#include "operations.h"
#include "row_checksum.h"
#include "wire.h"

#include <string.h>

struct store_row *kv_examine_rows(struct node *node, struct request *request,
                                  const struct chord_slice *slice, struct arena *arena,
                                  size_t *count) {
    struct store_row *rows = arena_alloc(arena, sizeof *rows * request->operations_count);
    *count = 0;
    for (uint32_t i = 0; i < request->operations_count; i++) {
        if (operation_is_examined(&request->operations[i], &slice->range, node->m)) {
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

static struct operation_write write_of(const Chord__V1__Operation *message,
                                       const struct chord_operation *bare) {
    struct wire_operation operation;
    const char *error;
    (void)wire_read_operation(message, &operation, &error); /* kv_request has, too */
    struct operation_write write = operation.write;
    memcpy(write.hash, bare->hash, CHORD_ID_BYTES);
    write.deletes = bare->kind == CHORD_DELETE;
    if (write.has_op_id) {
        write.content = content_of(write.deletes, operation.expires_at_ms, operation.value,
                                   operation.value_bytes);
    }
    return write;
}

static struct operation_row row_of(const struct store_row *row,
                                   const struct operation_write *write) {
    struct operation_row known = kv_row(row);
    if (known.has_op_id && memcmp(known.op_id, write->op_id, STORE_OP_ID_BYTES) == 0) {
        known.content = content_of(row->kind == STORE_TOMBSTONE, row->expires_at_ms, row->value,
                                   row->value_bytes);
    }
    return known;
}

uint64_t kv_examined(struct node *node, struct request *request, const struct store_job *job) {
    uint32_t i = 0;
    for (size_t r = 0; r < job->rows_count; r++) {
        while (request->messages[i]->key.data != job->rows[r].key) {
            i++;
        }
        struct operation_write write = write_of(request->messages[i], &request->operations[i]);
        struct operation_row row = row_of(&job->rows[r], &write);
        struct row_version next = {job->first.epoch, job->first.counter + i};
        struct operation_answer answer =
            operation_examine(&write, &row, job->epoch, next, node_unix_ms(), &node->examined);
        operation_examined(&request->states[i], &answer);
    }
    return operations_left(request->operations, request->states, request->operations_count,
                           &job->range, node->m);
}

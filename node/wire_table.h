/* SPDX-License-Identifier: MIT */
/*
 * What a message carries, as tables: one row for each field of a .proto message, in its order, says
 * which member of the core's struct that is and within which bounds. Two interpreters walk them:
 * wire_encode.c and wire_decode.c; so do the round trip and the fuzzer (tests/unit/wire_walk.h). A
 * field without a row, or with one of another name, fails test_wire_table.
 */
#ifndef NODE_WIRE_TABLE_H
#define NODE_WIRE_TABLE_H

#include "chord.h"
#include "rpc.h"

#include <protobuf-c/protobuf-c.h>
#include <string.h>

enum wire_form {
    WIRE_NUMBER, /* an unsigned number, enum or bool of 1, 2, 4 or 8 bytes; least to most */
    WIRE_CHOICE, /* a bool that is sent as `least` or `most`, and true when that is read */
    WIRE_ID,     /* struct chord_id; ceil(m/8) bytes are sent, up to 20 read */
    WIRE_TEXT,   /* char[], with its ending zero */
    WIRE_FIXED,  /* uint8_t[], all of it */
    WIRE_SHORT,  /* uint8_t[], the first `count` of it */
    WIRE_SLICE,  /* a pointer to `count` bytes, least to most of them; not copied */
    WIRE_PART,   /* a message of its own: `inner` */
    WIRE_LIST,   /* an array of `inner`, the first `count` of it, least to most of them */
    WIRE_TEXTS,  /* an array of texts; those beyond `most`, and after one too long, are not read */
    WIRE_ROWS,   /* struct store_row beside the core's struct: wire_read_row reads each; read,
                    the core hears their number (`count`) and the hash of the last (`core`) */
    WIRE_BESIDE, /* neither: the caller's, or not used */
};

enum {
    WIRE_REQUIRED = 1,   /* PART: a message without it is refused */
    WIRE_MAYBE = 2,      /* FIXED: empty is read as zeros */
    WIRE_ZERO_EMPTY = 4, /* FIXED: zeros are sent as empty */
    WIRE_ENDS = 8,       /* NUMBER: not 0: what follows in the message is not read */
};

/* A member of the core's struct: where, and its bytes; 0 bytes: none. */
struct wire_member {
    uint16_t at, bytes;
};

struct wire_field {
    const char *name; /* in the .proto file */
    enum wire_form form;
    unsigned flags;
    struct wire_member core; /* LIST: its first item */
    struct wire_member count;
    /* Not 0, or a text that is not empty: the field is there. A bool is set when the field is
     * read, others have a row. */
    struct wire_member shown;
    struct wire_member unless; /* a bool; true: the field is neither sent nor looked at */
    struct wire_member below;  /* NUMBER: less than this one, which is read before */
    uint64_t least, most;      /* most 0: as much as `core` can hold */
    const struct wire_table *inner;
    const char *refusal; /* said when it is out of its bounds; NULL: what the method says */
};

struct wire_table {
    const ProtobufCMessageDescriptor *descriptor;
    const struct wire_field *fields;
    unsigned fields_count;
    /* Zeroed before the message is read, or when it is absent: members without a row of it. */
    struct wire_member cleared;
    /* 0: no such thing is there, and a list may not have it: a peer's incarnation. */
    struct wire_member key;
    unsigned void_without; /* number of the field that makes the message absent when it is 0 */
};

extern const struct wire_table wire_peer_table, wire_range_table, wire_view_table,
    wire_parameters_table, wire_hint_table, wire_row_table, wire_operation_table, wire_result_table,
    wire_get_table, wire_put_table, wire_delete_table;

/* The two of one kind, over chord_request and chord_response. The header is the first field of each
 * request but a client's: BATCH, whose operations and results have tables of their own, and LOOKUP,
 * which has none (kv.c). */
struct wire_message {
    enum rpc_method method;
    struct wire_table request, response;
};
/* By kind; [0] is none. */
extern const struct wire_message wire_messages[CHORD_CHECK + 1];

/* ---- for who walks a table ---- */

/* A member as a number. */
static inline uint64_t wire_number(const void *core, struct wire_member member) {
    uint64_t eight = 0;
    uint32_t four;
    uint16_t two;
    const uint8_t *at = (const uint8_t *)core + member.at;
    switch (member.bytes) {
    case 1:
        return *at;
    case 2:
        memcpy(&two, at, sizeof two);
        return two;
    case 4:
        memcpy(&four, at, sizeof four);
        return four;
    case 8:
        memcpy(&eight, at, sizeof eight);
        return eight;
    default:
        return *at; /* a text: 0 when it is empty */
    }
}

static inline void wire_set_number(void *core, struct wire_member member, uint64_t value) {
    uint32_t four = (uint32_t)value;
    uint16_t two = (uint16_t)value;
    uint8_t *at = (uint8_t *)core + member.at;
    switch (member.bytes) {
    case 1:
        *at = (uint8_t)value;
        break;
    case 2:
        memcpy(at, &two, sizeof two);
        break;
    case 4:
        memcpy(at, &four, sizeof four);
        break;
    default:
        memcpy(at, &value, sizeof value);
        break;
    }
}

/* The greatest value of a number, the most bytes of a slice, the most items of a list. */
static inline uint64_t wire_most(const struct wire_field *row) {
    return row->most != 0 ? row->most : UINT64_MAX >> (64 - 8 * row->core.bytes);
}

/* Only what the other half of a message says it is: `unless` stands before the field. */
static inline bool wire_left_out(const struct wire_field *row, const void *core) {
    return row->unless.bytes != 0 && wire_number(core, row->unless) != 0;
}

struct store_row;
struct wire_context;

/* The message, in the context's arena; it points into `core` and `rows`. */
void *wire_encode(struct wire_context *context, const struct wire_table *table, const void *core,
                  const struct store_row *rows, size_t rows_count);
/* The first field that is out of its bounds; NULL: none is. */
const struct wire_field *wire_decode(const struct wire_table *table, const void *message,
                                     void *core);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Protobuf <-> core: the two forms of a message between nodes. Which field is which member is said
 * once, in wire_table.c. Decoding copies (but a row's key and value stay in the message); encoding
 * points into the core's message, which must live as long, and the arena.
 */
#ifndef NODE_WIRE_H
#define NODE_WIRE_H

#include "arena.h"
#include "chord.h"
#include "chord/v1/kv.pb-c.h"
#include "chord/v1/replica.pb-c.h"
#include "chord/v1/ring.pb-c.h"
#include "operations.h"
#include "rpc.h"
#include "store.h"
#include "wire_table.h"

/* The ring's m bits, or 0 while unknown (ids then take 20 bytes). */
struct wire_context {
    struct arena *arena;
    unsigned m;
};

/* The method that carries a core message, and back. */
enum rpc_method wire_method(enum chord_message_kind kind);
bool wire_kind(enum rpc_method method, enum chord_message_kind *kind);

/* False: a field is out of its bounds; the sentence says which. */
bool wire_decode_request(enum chord_message_kind kind, const ProtobufCMessage *message,
                         struct chord_request *request, const char **error);
bool wire_decode_response(enum chord_message_kind kind, const ProtobufCMessage *message,
                          struct chord_response *response, const char **error);

/* Rows are the message's `rows`, where it has some. A BATCH comes without its operations, results
 * and hints. NULL: LOOKUP, whose request carries a key. */
ProtobufCMessage *wire_encode_request(struct wire_context *context,
                                      const struct chord_request *request,
                                      const struct store_row *rows, size_t rows_count);
ProtobufCMessage *wire_encode_response(struct wire_context *context,
                                       const struct chord_response *response,
                                       const struct store_row *rows, size_t rows_count);
Chord__V1__LookupResponse *wire_encode_lookup(struct wire_context *context,
                                              const struct chord_response *response,
                                              const struct chord_id *key_id);

/* One operation of a client, as an Operation carries it. Its slices stay in the message. */
struct wire_operation {
    enum chord_operation_kind kind;
    const uint8_t *key, *value;
    size_t key_bytes, value_bytes; /* 1 to 1024, 0 to 1 MiB */
    bool has_precondition;
    struct operation_write write; /* but hash, content and deletes */
    uint64_t expires_at_ms;       /* Unix time; 0: never */
};
struct wire_result {
    struct operation_result told;
    const uint8_t *value; /* of a GET; in the message */
    size_t value_bytes;
};
/* False: a field is out of its bounds; the sentence says which. */
bool wire_read_operation(const Chord__V1__Operation *message, struct wire_operation *operation,
                         const char **error);
Chord__V1__Operation *wire_operation(struct wire_context *context,
                                     const struct wire_operation *operation);
void wire_read_result(const Chord__V1__OperationResult *message, struct wire_result *result);
Chord__V1__OperationResult *wire_result(struct wire_context *context,
                                        const struct wire_result *result);
/* What a Get, Put or Delete answers. */
ProtobufCMessage *wire_encode_single(struct wire_context *context, enum rpc_method method,
                                     const struct chord_response *response,
                                     Chord__V1__OperationResult *result);

/* Parts that other services use too. */
Chord__V1__Peer *wire_peer(struct wire_context *context, const struct chord_peer *peer);
Chord__V1__View *wire_view(struct wire_context *context, const struct chord_view *view);
Chord__V1__RingParameters *wire_parameters(struct wire_context *context,
                                           const struct chord_parameters *parameters);
ProtobufCBinaryData wire_id(struct wire_context *context, const struct chord_id *id);
Chord__V1__OwnerHint *wire_hint(struct wire_context *context, const struct chord_hint *hint);
bool wire_read_range(const Chord__V1__Range *message, struct chord_range *range);
bool wire_read_row(const Chord__V1__Row *message, struct store_row *row);

#endif

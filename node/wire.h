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

/* Rows are the message's `rows`, where it has some; BATCH and LOOKUP are not made here. */
ProtobufCMessage *wire_encode_request(struct wire_context *context,
                                      const struct chord_request *request,
                                      const struct store_row *rows, size_t rows_count);
ProtobufCMessage *wire_encode_response(struct wire_context *context,
                                       const struct chord_response *response,
                                       const struct store_row *rows, size_t rows_count);
Chord__V1__LookupResponse *wire_encode_lookup(struct wire_context *context,
                                              const struct chord_response *response,
                                              const struct chord_id *key_id);

/* Parts that other services use too. */
Chord__V1__Peer *wire_peer(struct wire_context *context, const struct chord_peer *peer);
Chord__V1__View *wire_view(struct wire_context *context, const struct chord_view *view);
Chord__V1__RingParameters *wire_parameters(struct wire_context *context,
                                           const struct chord_parameters *parameters);
ProtobufCBinaryData wire_id(struct wire_context *context, const struct chord_id *id);
Chord__V1__OwnerHint *wire_hint(struct wire_context *context, const struct chord_hint *hint);
bool wire_read_range(const Chord__V1__Range *message, struct chord_range *range);
char **wire_missing(struct wire_context *context, const struct chord_missing *missing,
                    size_t *count);
bool wire_read_missing(char *const *addresses, size_t count, struct chord_missing *missing);
bool wire_read_hint(const Chord__V1__OwnerHint *message, struct chord_hint *hint);
bool wire_read_row(const Chord__V1__Row *message, struct store_row *row);

#endif

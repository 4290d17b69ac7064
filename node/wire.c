/* SPDX-License-Identifier: MIT */
/*
 * The messages between nodes and their parts by name. See wire_table.c for what is in them.
 */
#include "wire.h"

#include "hash.h"

#include <string.h>

/* ---- messages ---- */

enum rpc_method wire_method(enum chord_message_kind kind) {
    return wire_messages[kind].method;
}

bool wire_kind(enum rpc_method method, enum chord_message_kind *kind) {
    for (unsigned i = CHORD_PING; i <= CHORD_CHECK; i++) {
        if (wire_messages[i].method == method) {
            *kind = (enum chord_message_kind)i;
            return true;
        }
    }
    return false;
}

bool wire_decode_request(enum chord_message_kind kind, const ProtobufCMessage *message,
                         struct chord_request *request, const char **error) {
    const struct wire_table *table = &wire_messages[kind].request;
    if (table->descriptor == NULL) {
        *error = "a lookup is not a request between nodes";
        return false;
    }
    const struct wire_field *bad = wire_decode(table, message, request);
    request->kind = kind;
    if (bad == &table->fields[0]) {
        *error = "header: an id of at most 20 bytes, an address of at most 63, a ring id of 16";
    } else if (bad != NULL) {
        *error = "a field is missing or out of its bounds (see the .proto file)";
    }
    return bad == NULL;
}

bool wire_decode_response(enum chord_message_kind kind, const ProtobufCMessage *message,
                          struct chord_response *response, const char **error) {
    const struct wire_table *table = &wire_messages[kind].response;
    response->kind = kind;
    response->code = CHORD_OK;
    response->retry_after_ms = 0;
    if (table->descriptor != NULL && wire_decode(table, message, response) == NULL) {
        return true;
    }
    *error = "an answer with a field out of its bounds";
    return false;
}

ProtobufCMessage *wire_encode_request(struct wire_context *context,
                                      const struct chord_request *request,
                                      const struct store_row *rows, size_t rows_count) {
    const struct wire_table *table = &wire_messages[request->kind].request;
    return table->descriptor != NULL ? wire_encode(context, table, request, rows, rows_count)
                                     : NULL;
}

ProtobufCMessage *wire_encode_response(struct wire_context *context,
                                       const struct chord_response *response,
                                       const struct store_row *rows, size_t rows_count) {
    const struct wire_table *table = &wire_messages[response->kind].response;
    return wire_encode(context, table, response, rows, rows_count);
}

Chord__V1__LookupResponse *wire_encode_lookup(struct wire_context *context,
                                              const struct chord_response *response,
                                              const struct chord_id *key_id) {
    Chord__V1__LookupResponse *message = (void *)wire_encode_response(context, response, NULL, 0);
    message->key_id = wire_id(context, key_id);
    return message;
}

/* ---- parts ---- */

Chord__V1__Peer *wire_peer(struct wire_context *context, const struct chord_peer *peer) {
    return wire_encode(context, &wire_peer_table, peer, NULL, 0);
}

Chord__V1__View *wire_view(struct wire_context *context, const struct chord_view *view) {
    return wire_encode(context, &wire_view_table, view, NULL, 0);
}

Chord__V1__RingParameters *wire_parameters(struct wire_context *context,
                                           const struct chord_parameters *parameters) {
    return wire_encode(context, &wire_parameters_table, parameters, NULL, 0);
}

Chord__V1__OwnerHint *wire_hint(struct wire_context *context, const struct chord_hint *hint) {
    return hint->address[0] == '\0' ? NULL : wire_encode(context, &wire_hint_table, hint, NULL, 0);
}

bool wire_read_range(const Chord__V1__Range *message, struct chord_range *range) {
    return message != NULL && wire_decode(&wire_range_table, message, range) == NULL;
}

bool wire_read_row(const Chord__V1__Row *message, struct store_row *row) {
    if (wire_decode(&wire_row_table, message, row) != NULL) {
        return false;
    }
    hash_key(row->key, row->key_bytes, row->hash);
    return true;
}

/* ---- what clients ask ---- */

bool wire_read_operation(const Chord__V1__Operation *message, struct wire_operation *operation,
                         const char **error) {
    const struct wire_field *bad = wire_decode(&wire_operation_table, message, operation);
    *error = bad != NULL ? bad->refusal
             : operation->write.matches && operation->write.absent
                 ? "a precondition names a version or says absent, not both"
                 : NULL;
    return *error == NULL;
}

Chord__V1__Operation *wire_operation(struct wire_context *context,
                                     const struct wire_operation *operation) {
    return wire_encode(context, &wire_operation_table, operation, NULL, 0);
}

void wire_read_result(const Chord__V1__OperationResult *message, struct wire_result *result) {
    (void)wire_decode(&wire_result_table, message, result); /* nothing of it has bounds */
}

Chord__V1__OperationResult *wire_result(struct wire_context *context,
                                        const struct wire_result *result) {
    return wire_encode(context, &wire_result_table, result, NULL, 0);
}

ProtobufCMessage *wire_encode_single(struct wire_context *context, enum rpc_method method,
                                     const struct chord_response *response,
                                     Chord__V1__OperationResult *result) {
    const struct wire_table *table = method == RPC_KV_GET   ? &wire_get_table
                                     : method == RPC_KV_PUT ? &wire_put_table
                                                            : &wire_delete_table;
    ProtobufCMessage *message = wire_encode(context, table, response, NULL, 0);
    ((Chord__V1__PutResponse *)(void *)message)->result = result; /* field 1 of each */
    return message;
}

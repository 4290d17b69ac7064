/* SPDX-License-Identifier: MIT */
/*
 * Protobuf <-> core. Every count and length from outside is checked here, so that the core only
 * sees messages of its own shapes.
 */
#include "wire.h"

#include "hash.h"

#include <string.h>

/* ---- methods ---- */

static const struct {
    enum chord_message_kind kind;
    enum rpc_method method;
} methods[] = {
    {CHORD_PING, RPC_RING_PING},
    {CHORD_FIND_SUCCESSOR, RPC_RING_FIND_SUCCESSOR},
    {CHORD_GET_PREDECESSOR, RPC_RING_GET_PREDECESSOR},
    {CHORD_GET_SUCCESSORS, RPC_RING_GET_SUCCESSORS},
    {CHORD_NOTIFY, RPC_RING_NOTIFY},
    {CHORD_JOIN, RPC_RING_JOIN},
    {CHORD_GENESIS, RPC_RING_GENESIS},
    {CHORD_LEAVE, RPC_RING_LEAVE},
    {CHORD_TRANSFER_KEYS, RPC_RING_TRANSFER_KEYS},
    {CHORD_APPLY, RPC_REPLICA_APPLY},
    {CHORD_SYNC, RPC_REPLICA_SYNC},
    {CHORD_DIGEST, RPC_REPLICA_DIGEST},
    {CHORD_DECIDED, RPC_REPLICA_DECIDED},
    {CHORD_GET_VIEW, RPC_REPLICA_GET_VIEW},
    {CHORD_BATCH, RPC_KV_BATCH},
    {CHORD_LOOKUP, RPC_KV_LOOKUP},
    {CHORD_MERGE, RPC_RING_MERGE},
    {CHORD_PREPARE, RPC_REPLICA_PREPARE},
    {CHORD_ACCEPT, RPC_REPLICA_ACCEPT},
    {CHORD_CHECK, RPC_REPLICA_CHECK},
};
enum { METHODS = sizeof methods / sizeof methods[0] };

enum rpc_method wire_method(enum chord_message_kind kind) {
    return methods[kind - CHORD_PING].method;
}

bool wire_kind(enum rpc_method method, enum chord_message_kind *kind) {
    for (unsigned i = 0; i < METHODS; i++) {
        if (methods[i].method == method) {
            *kind = methods[i].kind;
            return true;
        }
    }
    return false;
}

/* ---- reading parts ---- */

static bool read_id(ProtobufCBinaryData bytes, struct chord_id *id) {
    memset(id, 0, sizeof *id);
    if (bytes.len > CHORD_ID_BYTES) {
        return false;
    }
    if (bytes.len > 0) {
        memcpy(id->bytes + CHORD_ID_BYTES - bytes.len, bytes.data, bytes.len);
    }
    return true;
}

static bool read_fixed(ProtobufCBinaryData bytes, uint8_t *out, size_t count) {
    if (bytes.len != count) {
        return false;
    }
    memcpy(out, bytes.data, count);
    return true;
}

static bool read_address(const char *text, char out[CHORD_ADDRESS_BYTES]) {
    size_t length = strlen(text);
    memset(out, 0, CHORD_ADDRESS_BYTES);
    if (length >= CHORD_ADDRESS_BYTES) {
        return false;
    }
    memcpy(out, text, length);
    return true;
}

/* Absent: incarnation 0, which the core reads as no peer. */
static bool read_peer(const Chord__V1__Peer *message, struct chord_peer *peer) {
    memset(peer, 0, sizeof *peer);
    if (message == NULL) {
        return true;
    }
    peer->incarnation = message->incarnation;
    return read_id(message->id, &peer->id) && read_address(message->address, peer->address) &&
           (message->store_id.len == 0 ||
            read_fixed(message->store_id, peer->store_id, CHORD_STORE_ID_BYTES));
}

static bool read_peers(Chord__V1__Peer **messages, size_t count, struct chord_peer_list *list) {
    list->count = 0;
    if (count > CHORD_REPLICAS_MAX) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (!read_peer(messages[i], &list->items[i]) || list->items[i].incarnation == 0) {
            return false;
        }
    }
    list->count = (uint16_t)count;
    return true;
}

bool wire_read_range(const Chord__V1__Range *message, struct chord_range *range) {
    return message != NULL && read_id(message->lo, &range->lo) && read_id(message->hi, &range->hi);
}

static bool read_view(const Chord__V1__View *message, struct chord_view *view) {
    memset(view, 0, offsetof(struct chord_view, members));
    if (!wire_read_range(message->range, &view->range) || message->epoch == 0 ||
        message->epoch > CHORD_EPOCH_MAX || message->n_members == 0 ||
        message->n_members > CHORD_REPLICAS_MAX || message->leader >= message->n_members ||
        message->n_merges > CHORD_MERGES_MAX) {
        return false;
    }
    view->epoch = message->epoch;
    view->leader = (uint16_t)message->leader;
    view->settled = message->settled;
    view->cut = message->cut;
    view->moved = message->moved;
    view->recovered = message->recovered;
    view->floor = message->floor;
    view->merges.count = (uint16_t)message->n_merges;
    for (size_t i = 0; i < message->n_merges; i++) {
        view->merges.items[i].epoch = message->merges[i]->epoch;
        if (!read_id(message->merges[i]->lo, &view->merges.items[i].lo)) {
            return false;
        }
    }
    view->members_count = (uint16_t)message->n_members;
    for (size_t i = 0; i < message->n_members; i++) {
        struct chord_member *member = &view->members[i];
        if (!read_fixed(message->members[i]->store_id, member->store_id, CHORD_STORE_ID_BYTES) ||
            !read_address(message->members[i]->address, member->address)) {
            return false;
        }
    }
    return true;
}

bool wire_read_hint(const Chord__V1__OwnerHint *message, struct chord_hint *hint) {
    memset(hint, 0, sizeof *hint);
    if (message == NULL) {
        return true;
    }
    hint->epoch = message->epoch;
    hint->counter = message->counter;
    bool ok = read_address(message->address, hint->address);
    return ok && (message->range == NULL || wire_read_range(message->range, &hint->range));
}

bool wire_read_missing(char *const *addresses, size_t count, struct chord_missing *missing) {
    missing->count = 0;
    for (size_t i = 0; i < count && i < CHORD_MISSING_MAX; i++) {
        if (!read_address(addresses[i], missing->addresses[i])) {
            return false;
        }
        missing->count++;
    }
    return true;
}

bool wire_read_row(const Chord__V1__Row *message, struct store_row *row) {
    memset(row, 0, sizeof *row);
    if (message->key.len < 1 || message->key.len > 1024 || message->value.len > 1024 * 1024 ||
        message->version == NULL || message->version->epoch > INT64_MAX ||
        message->version->counter > INT64_MAX || message->expires_at_ms > INT64_MAX ||
        message->op_id.len > STORE_OP_ID_BYTES ||
        (message->kind != CHORD__V1__ROW_KIND__ROW_KIND_VALUE &&
         message->kind != CHORD__V1__ROW_KIND__ROW_KIND_TOMBSTONE)) {
        return false;
    }
    hash_key(message->key.data, message->key.len, row->hash);
    row->key = message->key.data;
    row->key_bytes = message->key.len;
    row->value = message->value.data;
    row->value_bytes = message->value.len;
    row->epoch = message->version->epoch;
    row->counter = message->version->counter;
    row->kind = (enum store_row_kind)message->kind;
    row->op_id_bytes = (uint8_t)message->op_id.len;
    if (message->op_id.len > 0) {
        memcpy(row->op_id, message->op_id.data, message->op_id.len);
    }
    row->expires_at_ms = message->expires_at_ms;
    row->existed = message->existed;
    return true;
}

/* ---- requests in ---- */

static bool read_header(const Chord__V1__RingHeader *header, struct chord_request *request) {
    request->has_sender = request->has_ring_id = false;
    request->target_incarnation = 0;
    memset(request->target_store_id, 0, CHORD_STORE_ID_BYTES);
    if (header == NULL) {
        return true;
    }
    request->target_incarnation = header->target_incarnation;
    if (header->target_store_id.len > 0 &&
        !read_fixed(header->target_store_id, request->target_store_id, CHORD_STORE_ID_BYTES)) {
        return false;
    }
    request->has_sender = header->sender != NULL && header->sender->incarnation != 0;
    if (!read_peer(header->sender, &request->sender)) {
        return false;
    }
    request->has_ring_id = header->ring_id.len > 0;
    return header->ring_id.len == 0 ||
           read_fixed(header->ring_id, request->ring_id, CHORD_RING_ID_BYTES);
}

static bool read_decided(const Chord__V1__DecidedRequest *message, struct chord_request *request) {
    if (message->n_views < 1 || message->n_views > 2) {
        return false;
    }
    request->decided.count = (uint16_t)message->n_views;
    for (size_t i = 0; i < message->n_views; i++) {
        if (!read_view(message->views[i], &request->decided.views[i])) {
            return false;
        }
    }
    return true;
}

static bool read_transfer(const Chord__V1__TransferKeysRequest *message,
                          struct chord_request *request) {
    request->rows.epoch = message->epoch;
    request->rows.learner = false;
    request->rows.has_after = message->after != NULL && message->after->hash.len > 0;
    return wire_read_range(message->range, &request->rows.range) &&
           (!request->rows.has_after ||
            read_fixed(message->after->hash, request->rows.after, CHORD_ID_BYTES));
}

static bool read_decide(const Chord__V1__View *view, const Chord__V1__View *other, uint64_t ballot,
                        struct chord_request *request) {
    request->decide.ballot = ballot;
    request->decide.joint = other != NULL;
    return view != NULL && read_view(view, &request->decide.view) &&
           (other == NULL || read_view(other, &request->decide.other));
}

static bool read_rows_request(const Chord__V1__Range *range, uint64_t epoch, bool learner,
                              struct chord_request *request) {
    request->rows.epoch = epoch;
    request->rows.learner = learner;
    request->rows.has_after = false;
    return wire_read_range(range, &request->rows.range);
}

/* The fields of one message; every request's first field is its header. */
#define AS(type, message) ((const Chord__V1__##type *)(const void *)(message))

static bool read_body(enum chord_message_kind kind, const ProtobufCMessage *message,
                      struct chord_request *request) {
    switch (kind) {
    case CHORD_FIND_SUCCESSOR:
        return read_id(AS(FindSuccessorRequest, message)->id, &request->id);
    case CHORD_GET_VIEW:
        return read_id(AS(GetViewRequest, message)->id, &request->id);
    case CHORD_GENESIS:
        request->genesis.formed = AS(GenesisRequest, message)->formed;
        return AS(GenesisRequest, message)->n_members > 0 &&
               read_peers(AS(GenesisRequest, message)->members,
                          AS(GenesisRequest, message)->n_members, &request->genesis.members);
    case CHORD_MERGE:
        return read_peer(AS(MergeRequest, message)->peer, &request->peer);
    case CHORD_LEAVE:
        request->left = AS(LeaveRequest, message)->left;
        return true;
    case CHORD_TRANSFER_KEYS:
        return read_transfer(AS(TransferKeysRequest, message), request);
    case CHORD_APPLY:
        return read_rows_request(AS(ApplyRequest, message)->range, AS(ApplyRequest, message)->epoch,
                                 AS(ApplyRequest, message)->learner, request);
    case CHORD_CHECK:
        return read_rows_request(AS(CheckRequest, message)->range, AS(CheckRequest, message)->epoch,
                                 false, request);
    case CHORD_SYNC:
        request->sync.learner = AS(SyncRequest, message)->learner;
        request->sync.token = AS(SyncRequest, message)->token;
        return AS(SyncRequest, message)->view != NULL &&
               read_view(AS(SyncRequest, message)->view, &request->sync.view) &&
               wire_read_range(AS(SyncRequest, message)->range, &request->sync.range);
    case CHORD_PREPARE:
        return read_decide(AS(PrepareRequest, message)->view, AS(PrepareRequest, message)->other,
                           AS(PrepareRequest, message)->ballot, request);
    case CHORD_ACCEPT:
        return read_decide(AS(AcceptRequest, message)->view, AS(AcceptRequest, message)->other,
                           AS(AcceptRequest, message)->ballot, request) &&
               AS(AcceptRequest, message)->next != NULL &&
               read_view(AS(AcceptRequest, message)->next, &request->decide.next);
    case CHORD_DIGEST:
        return read_rows_request(AS(DigestRequest, message)->range,
                                 AS(DigestRequest, message)->epoch, false, request);
    case CHORD_DECIDED:
        return read_decided(AS(DecidedRequest, message), request);
    default:
        return true;
    }
}

bool wire_decode_request(enum chord_message_kind kind, const ProtobufCMessage *message,
                         struct chord_request *request, const char **error) {
    request->kind = kind;
    /* PingRequest stands for all: the header is field 1 of each. */
    if (!read_header(AS(PingRequest, message)->header, request)) {
        *error = "header: an id of at most 20 bytes, an address of at most 63, a ring id of 16";
        return false;
    }
    if (!read_body(kind, message, request)) {
        *error = "a field is missing or out of its bounds (see the .proto file)";
        return false;
    }
    return true;
}

/* ---- responses in ---- */

static bool read_ring(struct chord_response *response, const Chord__V1__Peer *node,
                      Chord__V1__Peer **successors, size_t count) {
    return read_peer(node, &response->ring.node) &&
           read_peers(successors, count, &response->ring.successors);
}

static bool read_wrong_view(const Chord__V1__View *view, struct chord_response *response) {
    response->view.has_view = view != NULL;
    response->view.confirmed = false;
    return view == NULL || read_view(view, &response->view.view);
}

/* One view in the core's form: the one that is wrong, or the one accepted. */
static bool read_prepared(const Chord__V1__PrepareResponse *message,
                          struct chord_response *response) {
    const Chord__V1__View *view =
        message->wrong_view != NULL ? message->wrong_view : message->accepted;
    response->decide.has_view = message->wrong_view != NULL;
    response->decide.refused = message->refused;
    response->decide.promised = message->promised;
    response->decide.has_accepted = message->wrong_view == NULL && message->accepted != NULL;
    response->decide.accepted_ballot = message->accepted_ballot;
    response->decide.other_epoch = message->other_epoch;
    response->decide.other_accepted = message->other_accepted;
    response->decide.other_ballot = message->other_ballot;
    return view == NULL || read_view(view, &response->decide.view);
}

static bool read_accepted(const Chord__V1__AcceptResponse *message,
                          struct chord_response *response) {
    response->decide.has_view = message->wrong_view != NULL;
    response->decide.has_accepted = response->decide.other_accepted = false;
    response->decide.refused = message->refused;
    response->decide.promised = message->promised;
    return message->wrong_view == NULL || read_view(message->wrong_view, &response->decide.view);
}

static bool read_ping(const Chord__V1__PingResponse *message, struct chord_response *response) {
    memset(&response->ping, 0, sizeof response->ping);
    response->ping.state = (enum chord_node_state)message->state;
    response->ping.formed = message->formed;
    response->ping.restarting = message->restarting;
    if (message->parameters != NULL && message->parameters->m != 0) {
        struct chord_parameters *parameters = &response->ping.parameters;
        parameters->m = message->parameters->m;
        parameters->n = message->parameters->n;
        parameters->replicas = message->parameters->replicas;
        if (!read_fixed(message->parameters->ring_id, parameters->ring_id, CHORD_RING_ID_BYTES)) {
            return false;
        }
    }
    return read_peer(message->self, &response->ping.self);
}

static bool read_join(const Chord__V1__JoinResponse *message, struct chord_response *response) {
    response->join.result = (enum chord_join_result)message->result;
    response->join.formed = message->formed;
    response->retry_after_ms = message->retry_after_ms;
    return read_peer(message->authority, &response->join.authority) &&
           read_peers(message->successors, message->n_successors, &response->join.successors);
}

static bool read_find(const Chord__V1__FindSuccessorResponse *message,
                      struct chord_response *response) {
    response->ring.found = message->found;
    response->ring.busy = false;
    return read_peer(message->self, &response->ring.self) &&
           read_ring(response, message->node, message->successors, message->n_successors);
}

static bool read_transferred(const Chord__V1__TransferKeysResponse *message,
                             struct chord_response *response) {
    memset(&response->transfer, 0, sizeof response->transfer);
    response->transfer.rows = message->n_rows;
    response->transfer.done = message->done;
    response->transfer.equal_epoch = message->equal_epoch;
    if (message->n_rows > 0) {
        const Chord__V1__Row *last = message->rows[message->n_rows - 1];
        hash_key(last->key.data, last->key.len, response->transfer.last);
    }
    return true;
}

static bool read_response(enum chord_message_kind kind, const ProtobufCMessage *message,
                          struct chord_response *response) {
    switch (kind) {
    case CHORD_PING:
        return read_ping(AS(PingResponse, message), response);
    case CHORD_FIND_SUCCESSOR:
        return read_find(AS(FindSuccessorResponse, message), response);
    case CHORD_GET_PREDECESSOR:
        response->ring.busy = AS(GetPredecessorResponse, message)->busy;
        response->ring.forming = AS(GetPredecessorResponse, message)->forming;
        return read_ring(response, AS(GetPredecessorResponse, message)->predecessor,
                         AS(GetPredecessorResponse, message)->successors,
                         AS(GetPredecessorResponse, message)->n_successors);
    case CHORD_GET_SUCCESSORS:
        response->ring.busy = AS(GetSuccessorsResponse, message)->busy;
        response->ring.forming = AS(GetSuccessorsResponse, message)->forming;
        return read_ring(response, NULL, AS(GetSuccessorsResponse, message)->successors,
                         AS(GetSuccessorsResponse, message)->n_successors);
    case CHORD_JOIN:
        return read_join(AS(JoinResponse, message), response);
    case CHORD_TRANSFER_KEYS:
        return read_transferred(AS(TransferKeysResponse, message), response);
    case CHORD_APPLY:
        return read_wrong_view(AS(ApplyResponse, message)->wrong_view, response);
    case CHORD_SYNC:
        if (!read_wrong_view(AS(SyncResponse, message)->wrong_view, response)) {
            return false;
        }
        response->view.confirmed = AS(SyncResponse, message)->done;
        return true;
    case CHORD_DECIDED:
        return read_wrong_view(AS(DecidedResponse, message)->wrong_view, response);
    case CHORD_CHECK:
        return read_wrong_view(AS(CheckResponse, message)->wrong_view, response);
    case CHORD_PREPARE:
        return read_prepared(AS(PrepareResponse, message), response);
    case CHORD_ACCEPT:
        return read_accepted(AS(AcceptResponse, message), response);
    case CHORD_GET_VIEW:
        if (!read_wrong_view(AS(GetViewResponse, message)->view, response)) {
            return false;
        }
        response->view.confirmed = AS(GetViewResponse, message)->confirmed;
        return true;
    case CHORD_DIGEST:
        response->digest.rows = AS(DigestResponse, message)->rows;
        response->digest.equal_epoch = AS(DigestResponse, message)->equal_epoch;
        return AS(DigestResponse, message)->gone ||
               read_fixed(AS(DigestResponse, message)->digest, response->digest.digest,
                          CHORD_DIGEST_BYTES);
    default:
        return true;
    }
}

bool wire_decode_response(enum chord_message_kind kind, const ProtobufCMessage *message,
                          struct chord_response *response, const char **error) {
    response->kind = kind;
    response->code = CHORD_OK;
    response->retry_after_ms = 0;
    /* `gone` is field 1 of every ring and replica response. */
    response->gone = AS(PingResponse, message)->gone;
    if (response->gone) {
        return true;
    }
    *error = "an answer with a field out of its bounds";
    return read_response(kind, message, response);
}

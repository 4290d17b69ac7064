/* SPDX-License-Identifier: MIT */
/*
 * Core -> protobuf. What is made lives in the arena or points into the core's message.
 */
#include "wire.h"

#include <string.h>

static ProtobufCBinaryData bytes_of(const void *bytes, size_t count) {
    return (ProtobufCBinaryData){count, (uint8_t *)(uintptr_t)bytes};
}

static char *text_of(const char *text) {
    return (char *)(uintptr_t)text;
}

ProtobufCBinaryData wire_id(struct wire_context *context, const struct chord_id *id) {
    size_t count = context->m == 0 ? CHORD_ID_BYTES : (context->m + 7) / 8;
    return bytes_of(id->bytes + CHORD_ID_BYTES - count, count);
}

Chord__V1__Peer *wire_peer(struct wire_context *context, const struct chord_peer *peer) {
    Chord__V1__Peer *message = arena_alloc(context->arena, sizeof *message);
    chord__v1__peer__init(message);
    message->id = wire_id(context, &peer->id);
    message->address = text_of(peer->address);
    message->incarnation = peer->incarnation;
    message->store_id = bytes_of(peer->store_id, CHORD_STORE_ID_BYTES);
    return message;
}

static Chord__V1__Peer *peer_or_none(struct wire_context *context, const struct chord_peer *peer) {
    return peer->incarnation != 0 ? wire_peer(context, peer) : NULL;
}

static Chord__V1__Peer **peers(struct wire_context *context, const struct chord_peer_list *list,
                               size_t *count) {
    Chord__V1__Peer **messages = arena_alloc(context->arena, sizeof *messages * (list->count + 1u));
    for (uint16_t i = 0; i < list->count; i++) {
        messages[i] = wire_peer(context, &list->items[i]);
    }
    *count = list->count;
    return messages;
}

static Chord__V1__Range *range_of(struct wire_context *context, const struct chord_range *range) {
    Chord__V1__Range *message = arena_alloc(context->arena, sizeof *message);
    chord__v1__range__init(message);
    message->lo = wire_id(context, &range->lo);
    message->hi = wire_id(context, &range->hi);
    return message;
}

Chord__V1__View *wire_view(struct wire_context *context, const struct chord_view *view) {
    Chord__V1__View *message = arena_alloc(context->arena, sizeof *message);
    chord__v1__view__init(message);
    message->range = range_of(context, &view->range);
    message->epoch = view->epoch;
    message->leader = view->leader;
    message->settled = view->settled;
    message->cut = view->cut;
    message->recovered = view->recovered;
    message->floor = view->floor;
    message->n_merges = view->merges.count;
    message->merges =
        arena_alloc(context->arena, sizeof *message->merges * (view->merges.count + 1u));
    for (uint16_t i = 0; i < view->merges.count; i++) {
        message->merges[i] = arena_alloc(context->arena, sizeof *message->merges[i]);
        chord__v1__merged__init(message->merges[i]);
        message->merges[i]->epoch = view->merges.items[i].epoch;
        message->merges[i]->lo = wire_id(context, &view->merges.items[i].lo);
    }
    message->moved = view->moved;
    message->n_members = view->members_count;
    message->members =
        arena_alloc(context->arena, sizeof *message->members * (view->members_count + 1u));
    for (uint16_t i = 0; i < view->members_count; i++) {
        Chord__V1__Member *member = arena_alloc(context->arena, sizeof *member);
        chord__v1__member__init(member);
        member->store_id = bytes_of(view->members[i].store_id, CHORD_STORE_ID_BYTES);
        member->address = text_of(view->members[i].address);
        message->members[i] = member;
    }
    return message;
}

Chord__V1__RingParameters *wire_parameters(struct wire_context *context,
                                           const struct chord_parameters *parameters) {
    Chord__V1__RingParameters *message = arena_alloc(context->arena, sizeof *message);
    chord__v1__ring_parameters__init(message);
    message->ring_id = bytes_of(parameters->ring_id, CHORD_RING_ID_BYTES);
    message->m = parameters->m;
    message->n = parameters->n;
    message->replicas = parameters->replicas;
    return message;
}

Chord__V1__OwnerHint *wire_hint(struct wire_context *context, const struct chord_hint *hint) {
    if (hint->address[0] == '\0') {
        return NULL;
    }
    Chord__V1__OwnerHint *message = arena_alloc(context->arena, sizeof *message);
    chord__v1__owner_hint__init(message);
    message->address = text_of(hint->address);
    message->epoch = hint->epoch;
    message->counter = hint->counter;
    message->range = hint->epoch != 0 ? range_of(context, &hint->range) : NULL;
    return message;
}

char **wire_missing(struct wire_context *context, const struct chord_missing *missing,
                    size_t *count) {
    char **texts = arena_alloc(context->arena, sizeof *texts * CHORD_MISSING_MAX);
    for (uint16_t i = 0; i < missing->count; i++) {
        texts[i] = text_of(missing->addresses[i]);
    }
    *count = missing->count;
    return texts;
}

static Chord__V1__Row **rows_of(struct wire_context *context, const struct store_row *rows,
                                size_t count) {
    Chord__V1__Row **messages = arena_alloc(context->arena, sizeof *messages * (count + 1));
    struct row_message {
        Chord__V1__Row row;
        Chord__V1__Version version;
    } *made = arena_alloc(context->arena, sizeof *made * (count + 1));
    for (size_t i = 0; i < count; i++) {
        chord__v1__row__init(&made[i].row);
        chord__v1__version__init(&made[i].version);
        made[i].version.epoch = rows[i].epoch;
        made[i].version.counter = rows[i].counter;
        made[i].row.version = &made[i].version;
        made[i].row.key = bytes_of(rows[i].key, rows[i].key_bytes);
        made[i].row.value = bytes_of(rows[i].value, rows[i].value_bytes);
        made[i].row.kind = (Chord__V1__RowKind)rows[i].kind;
        made[i].row.op_id = bytes_of(rows[i].op_id, rows[i].op_id_bytes);
        made[i].row.expires_at_ms = rows[i].expires_at_ms;
        made[i].row.existed = rows[i].existed;
        messages[i] = &made[i].row;
    }
    return messages;
}

/* ---- requests ---- */

static Chord__V1__RingHeader *header(struct wire_context *context,
                                     const struct chord_request *request) {
    Chord__V1__RingHeader *message = arena_alloc(context->arena, sizeof *message);
    chord__v1__ring_header__init(message);
    message->sender = request->has_sender ? wire_peer(context, &request->sender) : NULL;
    message->target_incarnation = request->target_incarnation;
    static const uint8_t any[CHORD_STORE_ID_BYTES];
    if (memcmp(request->target_store_id, any, sizeof any) != 0) {
        message->target_store_id = bytes_of(request->target_store_id, CHORD_STORE_ID_BYTES);
    }
    if (request->has_ring_id) {
        message->ring_id = bytes_of(request->ring_id, CHORD_RING_ID_BYTES);
    }
    return message;
}

/* Makes a message of the type, with its header. */
#define REQUEST(type, init)                                                                        \
    Chord__V1__##type *message = arena_alloc(context->arena, sizeof *message);                     \
    chord__v1__##init##__init(message);                                                            \
    message->header = header(context, request)

#define PLAIN_REQUEST(kind, type, init)                                                            \
    case kind: {                                                                                   \
        REQUEST(type, init);                                                                       \
        return &message->base;                                                                     \
    }

static ProtobufCMessage *encode_transfer(struct wire_context *context,
                                         const struct chord_request *request) {
    REQUEST(TransferKeysRequest, transfer_keys_request);
    message->range = range_of(context, &request->rows.range);
    message->epoch = request->rows.epoch;
    if (request->rows.has_after) {
        message->after = arena_alloc(context->arena, sizeof *message->after);
        chord__v1__cursor__init(message->after);
        message->after->hash = bytes_of(request->rows.after, CHORD_ID_BYTES);
    }
    return &message->base;
}

static ProtobufCMessage *encode_apply(struct wire_context *context,
                                      const struct chord_request *request,
                                      const struct store_row *rows, size_t rows_count) {
    REQUEST(ApplyRequest, apply_request);
    message->range = range_of(context, &request->rows.range);
    message->epoch = request->rows.epoch;
    message->learner = request->rows.learner;
    message->rows = rows_of(context, rows, rows_count);
    message->n_rows = rows_count;
    return &message->base;
}

static ProtobufCMessage *encode_sync(struct wire_context *context,
                                     const struct chord_request *request) {
    REQUEST(SyncRequest, sync_request);
    message->view = wire_view(context, &request->sync.view);
    message->range = range_of(context, &request->sync.range);
    message->learner = request->sync.learner;
    message->token = request->sync.token;
    return &message->base;
}

static ProtobufCMessage *encode_prepare(struct wire_context *context,
                                        const struct chord_request *request) {
    REQUEST(PrepareRequest, prepare_request);
    message->ballot = request->decide.ballot;
    message->view = wire_view(context, &request->decide.view);
    message->other = request->decide.joint ? wire_view(context, &request->decide.other) : NULL;
    return &message->base;
}

static ProtobufCMessage *encode_accept(struct wire_context *context,
                                       const struct chord_request *request) {
    REQUEST(AcceptRequest, accept_request);
    message->ballot = request->decide.ballot;
    message->view = wire_view(context, &request->decide.view);
    message->other = request->decide.joint ? wire_view(context, &request->decide.other) : NULL;
    message->next = wire_view(context, &request->decide.next);
    return &message->base;
}

static ProtobufCMessage *encode_decided(struct wire_context *context,
                                        const struct chord_request *request) {
    REQUEST(DecidedRequest, decided_request);
    message->views = arena_alloc(context->arena, sizeof *message->views * 2);
    message->n_views = request->decided.count;
    for (uint16_t i = 0; i < request->decided.count; i++) {
        message->views[i] = wire_view(context, &request->decided.views[i]);
    }
    return &message->base;
}

ProtobufCMessage *wire_encode_request(struct wire_context *context,
                                      const struct chord_request *request,
                                      const struct store_row *rows, size_t rows_count) {
    switch (request->kind) {
        PLAIN_REQUEST(CHORD_PING, PingRequest, ping_request)
        PLAIN_REQUEST(CHORD_GET_PREDECESSOR, GetPredecessorRequest, get_predecessor_request)
        PLAIN_REQUEST(CHORD_GET_SUCCESSORS, GetSuccessorsRequest, get_successors_request)
        PLAIN_REQUEST(CHORD_NOTIFY, NotifyRequest, notify_request)
        PLAIN_REQUEST(CHORD_JOIN, JoinRequest, join_request)
    case CHORD_FIND_SUCCESSOR: {
        REQUEST(FindSuccessorRequest, find_successor_request);
        message->id = wire_id(context, &request->id);
        return &message->base;
    }
    case CHORD_GET_VIEW: {
        REQUEST(GetViewRequest, get_view_request);
        message->id = wire_id(context, &request->id);
        return &message->base;
    }
    case CHORD_GENESIS: {
        REQUEST(GenesisRequest, genesis_request);
        message->members = peers(context, &request->genesis.members, &message->n_members);
        message->formed = request->genesis.formed;
        return &message->base;
    }
    case CHORD_MERGE: {
        REQUEST(MergeRequest, merge_request);
        message->peer = wire_peer(context, &request->peer);
        return &message->base;
    }
    case CHORD_LEAVE: {
        REQUEST(LeaveRequest, leave_request);
        message->left = request->left;
        return &message->base;
    }
    case CHORD_DIGEST: {
        REQUEST(DigestRequest, digest_request);
        message->range = range_of(context, &request->rows.range);
        message->epoch = request->rows.epoch;
        return &message->base;
    }
    case CHORD_CHECK: {
        REQUEST(CheckRequest, check_request);
        message->range = range_of(context, &request->rows.range);
        message->epoch = request->rows.epoch;
        return &message->base;
    }
    case CHORD_PREPARE:
        return encode_prepare(context, request);
    case CHORD_ACCEPT:
        return encode_accept(context, request);
    case CHORD_TRANSFER_KEYS:
        return encode_transfer(context, request);
    case CHORD_APPLY:
        return encode_apply(context, request, rows, rows_count);
    case CHORD_SYNC:
        return encode_sync(context, request);
    case CHORD_DECIDED:
        return encode_decided(context, request);
    default:
        return NULL;
    }
}

/* ---- responses ---- */

#define RESPONSE(type, init)                                                                       \
    Chord__V1__##type *message = arena_alloc(context->arena, sizeof *message);                     \
    chord__v1__##init##__init(message);                                                            \
    message->gone = response->gone

#define PLAIN_RESPONSE(kind, type, init)                                                           \
    case kind: {                                                                                   \
        RESPONSE(type, init);                                                                      \
        return &message->base;                                                                     \
    }

#define WRONG_VIEW_RESPONSE(kind, type, init)                                                      \
    case kind: {                                                                                   \
        RESPONSE(type, init);                                                                      \
        message->wrong_view =                                                                      \
            response->view.has_view ? wire_view(context, &response->view.view) : NULL;             \
        return &message->base;                                                                     \
    }

static ProtobufCMessage *encode_ping(struct wire_context *context,
                                     const struct chord_response *response) {
    RESPONSE(PingResponse, ping_response);
    message->self = peer_or_none(context, &response->ping.self);
    message->state = (Chord__V1__NodeState)response->ping.state;
    message->parameters = wire_parameters(context, &response->ping.parameters);
    message->formed = response->ping.formed;
    message->restarting = response->ping.restarting;
    return &message->base;
}

static ProtobufCMessage *encode_find(struct wire_context *context,
                                     const struct chord_response *response) {
    RESPONSE(FindSuccessorResponse, find_successor_response);
    if (!response->gone) {
        message->found = response->ring.found;
        message->node = peer_or_none(context, &response->ring.node);
        message->self = peer_or_none(context, &response->ring.self);
        message->successors = peers(context, &response->ring.successors, &message->n_successors);
    }
    return &message->base;
}

static ProtobufCMessage *encode_predecessor(struct wire_context *context,
                                            const struct chord_response *response) {
    RESPONSE(GetPredecessorResponse, get_predecessor_response);
    if (!response->gone) {
        message->busy = response->ring.busy;
        message->forming = response->ring.forming;
        message->predecessor = peer_or_none(context, &response->ring.node);
        message->successors = peers(context, &response->ring.successors, &message->n_successors);
    }
    return &message->base;
}

static ProtobufCMessage *encode_successors(struct wire_context *context,
                                           const struct chord_response *response) {
    RESPONSE(GetSuccessorsResponse, get_successors_response);
    if (!response->gone) {
        message->busy = response->ring.busy;
        message->forming = response->ring.forming;
        message->successors = peers(context, &response->ring.successors, &message->n_successors);
    }
    return &message->base;
}

static ProtobufCMessage *encode_join(struct wire_context *context,
                                     const struct chord_response *response) {
    RESPONSE(JoinResponse, join_response);
    if (!response->gone) {
        message->result = (Chord__V1__JoinResult)response->join.result;
        message->retry_after_ms = response->retry_after_ms;
        message->authority = peer_or_none(context, &response->join.authority);
        message->formed = response->join.formed;
        message->successors = peers(context, &response->join.successors, &message->n_successors);
    }
    return &message->base;
}

static ProtobufCMessage *encode_transferred(struct wire_context *context,
                                            const struct chord_response *response,
                                            const struct store_row *rows, size_t rows_count) {
    RESPONSE(TransferKeysResponse, transfer_keys_response);
    message->rows = rows_of(context, rows, rows_count);
    message->n_rows = rows_count;
    message->done = response->transfer.done;
    message->equal_epoch = response->transfer.equal_epoch;
    return &message->base;
}

static ProtobufCMessage *encode_prepared(struct wire_context *context,
                                         const struct chord_response *response) {
    RESPONSE(PrepareResponse, prepare_response);
    message->refused = response->decide.refused;
    message->promised = response->decide.promised;
    if (response->decide.has_view) {
        message->wrong_view = wire_view(context, &response->decide.view);
    } else if (response->decide.has_accepted) {
        message->accepted = wire_view(context, &response->decide.view);
        message->accepted_ballot = response->decide.accepted_ballot;
        message->other_epoch = response->decide.other_epoch;
    }
    message->other_accepted = response->decide.other_accepted;
    message->other_ballot = response->decide.other_ballot;
    return &message->base;
}

static ProtobufCMessage *encode_digest(struct wire_context *context,
                                       const struct chord_response *response) {
    RESPONSE(DigestResponse, digest_response);
    message->rows = response->digest.rows;
    message->digest = bytes_of(response->digest.digest, CHORD_DIGEST_BYTES);
    message->equal_epoch = response->digest.equal_epoch;
    return &message->base;
}

ProtobufCMessage *wire_encode_response(struct wire_context *context,
                                       const struct chord_response *response,
                                       const struct store_row *rows, size_t rows_count) {
    switch (response->kind) {
        PLAIN_RESPONSE(CHORD_NOTIFY, NotifyResponse, notify_response)
        PLAIN_RESPONSE(CHORD_GENESIS, GenesisResponse, genesis_response)
        PLAIN_RESPONSE(CHORD_LEAVE, LeaveResponse, leave_response)
        PLAIN_RESPONSE(CHORD_MERGE, MergeResponse, merge_response)
        WRONG_VIEW_RESPONSE(CHORD_APPLY, ApplyResponse, apply_response)
    case CHORD_SYNC: {
        RESPONSE(SyncResponse, sync_response);
        message->wrong_view =
            response->view.has_view ? wire_view(context, &response->view.view) : NULL;
        message->done = response->view.confirmed;
        return &message->base;
    }
        WRONG_VIEW_RESPONSE(CHORD_DECIDED, DecidedResponse, decided_response)
        WRONG_VIEW_RESPONSE(CHORD_CHECK, CheckResponse, check_response)
    case CHORD_PREPARE:
        return encode_prepared(context, response);
    case CHORD_ACCEPT: {
        RESPONSE(AcceptResponse, accept_response);
        message->wrong_view =
            response->decide.has_view ? wire_view(context, &response->decide.view) : NULL;
        message->refused = response->decide.refused;
        message->promised = response->decide.promised;
        return &message->base;
    }
    case CHORD_GET_VIEW: {
        RESPONSE(GetViewResponse, get_view_response);
        message->view = response->view.has_view ? wire_view(context, &response->view.view) : NULL;
        message->confirmed = response->view.confirmed;
        return &message->base;
    }
    case CHORD_PING:
        return encode_ping(context, response);
    case CHORD_FIND_SUCCESSOR:
        return encode_find(context, response);
    case CHORD_GET_PREDECESSOR:
        return encode_predecessor(context, response);
    case CHORD_GET_SUCCESSORS:
        return encode_successors(context, response);
    case CHORD_JOIN:
        return encode_join(context, response);
    case CHORD_TRANSFER_KEYS:
        return encode_transferred(context, response, rows, rows_count);
    case CHORD_DIGEST:
        return encode_digest(context, response);
    default:
        return NULL;
    }
}

Chord__V1__LookupResponse *wire_encode_lookup(struct wire_context *context,
                                              const struct chord_response *response,
                                              const struct chord_id *key_id) {
    Chord__V1__LookupResponse *message = arena_alloc(context->arena, sizeof *message);
    chord__v1__lookup_response__init(message);
    message->key_id = wire_id(context, key_id);
    message->owner = wire_peer(context, &response->lookup.owner);
    message->n_hops = response->lookup.hops_count;
    message->hops = arena_alloc(context->arena, sizeof *message->hops * (message->n_hops + 1));
    for (size_t i = 0; i < message->n_hops; i++) {
        Chord__V1__Hop *hop = arena_alloc(context->arena, sizeof *hop);
        chord__v1__hop__init(hop);
        hop->node = wire_peer(context, &response->lookup.hops[i].node);
        hop->microseconds = response->lookup.hops[i].microseconds;
        message->hops[i] = hop;
    }
    return message;
}

/* SPDX-License-Identifier: MIT */
/* What a node is told to do: leave, join, end, recover a range. Sent once. */
#include <stdio.h>
#include <string.h>

#include "client.h"

enum { SEEDS_MAX = 64 };

/* The request, and what it points to. */
struct telling {
    union {
        Chord__V1__AdminLeaveRequest leave;
        Chord__V1__AdminJoinRequest join;
        Chord__V1__KillRequest kill;
        Chord__V1__RecoverRequest recover;
        ProtobufCMessage base;
    } request;
    uint8_t id[ID_BYTES], lo[ID_BYTES];
    char *seeds[SEEDS_MAX];
    size_t seeds_count;
    Chord__V1__RingParameters ring;
    Chord__V1__Range range;
};

static const enum rpc_method methods[] = {
    [CHORD_LEAVE] = RPC_ADMIN_LEAVE,
    [CHORD_JOIN] = RPC_ADMIN_JOIN,
    [CHORD_KILL] = RPC_ADMIN_KILL,
    [CHORD_RECOVER] = RPC_ADMIN_RECOVER,
};

/* An id as hex has the digits of its ring's M; on the wire it has that many bits. */
static bool id_take(const char *hex, uint8_t bytes[ID_BYTES], ProtobufCBinaryData *out) {
    struct ring_id id;
    size_t digits = hex == NULL ? 0 : strlen(hex);
    if (digits == 0 || digits > 2 * ID_BYTES || !id_from_hex(&id, 4 * (unsigned)digits, hex)) {
        return false;
    }
    *out = (ProtobufCBinaryData){id_to_wire(&id, 4 * (unsigned)digits, bytes), bytes};
    return true;
}

static Chord__V1__RingParameters *ring_take(struct telling *telling,
                                            const struct chord_command *command) {
    const struct chord_ring_name *name = command->ring;
    if (name == NULL) {
        return NULL;
    }
    chord__v1__ring_parameters__init(&telling->ring);
    telling->ring.ring_id = client_bytes(name->id, sizeof name->id);
    telling->ring.m = name->m;
    telling->ring.n = name->n;
    telling->ring.replicas = name->replicas;
    return &telling->ring;
}

static void seeds_take(struct telling *telling, const struct chord_command *command) {
    while (telling->seeds_count < command->seeds_count && telling->seeds_count < SEEDS_MAX) {
        ProtobufCBinaryData seed = client_bytes(command->seeds[telling->seeds_count], 0);
        telling->seeds[telling->seeds_count++] = (char *)seed.data;
    }
}

/* false: the text is no id. */
static bool request_make(struct telling *telling, const struct chord_command *command) {
    seeds_take(telling, command);
    switch (command->kind) {
    case CHORD_LEAVE:
        chord__v1__admin_leave_request__init(&telling->request.leave);
        telling->request.leave.last = command->last;
        telling->request.leave.next_ring = ring_take(telling, command);
        telling->request.leave.next_seeds = telling->seeds;
        telling->request.leave.n_next_seeds = telling->seeds_count;
        return true;
    case CHORD_JOIN:
        chord__v1__admin_join_request__init(&telling->request.join);
        telling->request.join.ring = ring_take(telling, command);
        telling->request.join.seeds = telling->seeds;
        telling->request.join.n_seeds = telling->seeds_count;
        telling->request.join.drop_rows = command->drop_rows;
        telling->request.join.another_place = command->another_place;
        return true;
    case CHORD_KILL:
        chord__v1__kill_request__init(&telling->request.kill);
        return id_take(command->id, telling->id, &telling->request.kill.confirm);
    default:
        chord__v1__recover_request__init(&telling->request.recover);
        chord__v1__range__init(&telling->range);
        telling->request.recover.range = &telling->range;
        telling->request.recover.epoch = command->epoch;
        return id_take(command->lo, telling->lo, &telling->range.lo) &&
               id_take(command->id, telling->id, &telling->range.hi);
    }
}

static void response_take(enum chord_command_kind kind, const ProtobufCMessage *response,
                          struct chord_told *told) {
    if (kind == CHORD_LEAVE) {
        const Chord__V1__AdminLeaveResponse *leave = (const void *)response;
        snprintf(told->warning, sizeof told->warning, "%s", leave->warning);
    } else if (kind == CHORD_RECOVER) {
        const Chord__V1__View *view =
            ((const Chord__V1__RecoverResponse *)(const void *)response)->view;
        told->epoch = view != NULL ? view->epoch : 0;
        told->copies = view != NULL ? view->n_members : 0;
    }
}

bool chord_tell(struct chord_client *client, const struct chord_command *command,
                struct chord_told *told) {
    struct telling telling = {.seeds_count = 0};
    struct rpc_reply reply;
    *told = (struct chord_told){.epoch = 0};
    if (!request_make(&telling, command)) {
        told->answer = (struct chord_answer){.fate = CHORD_NOT_DONE,
                                             .code = CHORD_CODE_INVALID_ARGUMENT,
                                             .answered = true,
                                             .message = "an id must be the digits of its ring, in "
                                                        "hex"};
        snprintf(told->answer.address, sizeof told->answer.address, "%s", command->node);
        return false;
    }
    const struct client_call call = {.address = command->node,
                                     .method = methods[command->kind],
                                     .request = &telling.request.base,
                                     .timeout_ms = command->timeout_ms};
    bool done = client_call(client, &call, &told->answer, &reply);
    if (done) {
        response_take(command->kind, reply.response, told);
    }
    rpc_reply_free(&reply);
    return done;
}

/* SPDX-License-Identifier: MIT */
/*
 * What a client asks to find out what it talks to: versions and limits, the contract itself, and
 * where else the ring can be reached.
 */
#include "admin.h"

#include "chord/v1/meta.pb-c.h"
#include "rpc_descriptor.h"
#include "wire.h"

#include <string.h>

static void info_write(const struct chord_status *status, struct wire_context *wire,
                       Chord__V1__GetServerInfoResponse *info) {
    static char *names[RPC_METHODS_COUNT];
    for (int i = 0; i < RPC_METHODS_COUNT; i++) {
        names[i] = (char *)(uintptr_t)rpc_method_name((enum rpc_method)i);
    }
    chord__v1__get_server_info_response__init(info);
    info->version = (char *)(uintptr_t)CHORD_VERSION;
    info->protocol_version = RPC_PROTOCOL_VERSION;
    info->methods = names;
    info->n_methods = RPC_METHODS_COUNT;
    info->parameters = wire_parameters(wire, &status->parameters);
    info->key_bytes_max = NODE_KEY_BYTES_MAX;
    info->value_bytes_max = NODE_VALUE_BYTES_MAX;
    info->message_bytes_max = RPC_CLIENT_BYTES_MAX;
}

static ProtobufCBinaryData descriptors(void) {
    return (ProtobufCBinaryData){rpc_descriptor_set_bytes,
                                 (uint8_t *)(uintptr_t)rpc_descriptor_set};
}

static void on_info(struct node *node, struct request *request) {
    struct wire_context wire = {&node->scratch, node->m};
    struct chord_status *status = arena_alloc(&node->scratch, sizeof *status);
    Chord__V1__GetServerInfoResponse message;
    chord_read_status(node->chord, status);
    info_write(status, &wire, &message);
    admin_answer(node, request, &message.base);
}

static void on_descriptors(struct node *node, struct request *request) {
    Chord__V1__GetFileDescriptorSetResponse message =
        CHORD__V1__GET_FILE_DESCRIPTOR_SET_RESPONSE__INIT;
    message.file_descriptor_set = descriptors();
    admin_answer(node, request, &message.base);
}

/* ---- all in one answer ---- */

/* Each address once. */
static void member_add(Chord__V1__DescribeResponse *message, struct wire_context *wire,
                       const struct chord_peer *peer) {
    for (size_t i = 0; i < message->n_members; i++) {
        if (strcmp(message->members[i]->address, peer->address) == 0) {
            return;
        }
    }
    message->members[message->n_members++] =
        wire_peer(wire, arena_copy(wire->arena, peer, sizeof *peer));
}

static void members_write(struct node *node, const struct chord_status *status,
                          struct wire_context *wire, Chord__V1__DescribeResponse *message) {
    size_t most = 2u + status->successors.count + node->m;
    struct chord_peer finger;
    message->members = arena_alloc(wire->arena, sizeof *message->members * most);
    if (status->state == CHORD_STATE_MEMBER) {
        member_add(message, wire, &status->self);
    }
    for (uint16_t i = 0; i < status->successors.count; i++) {
        member_add(message, wire, &status->successors.items[i]);
    }
    for (unsigned i = 0; i < node->m; i++) {
        if (chord_finger_at(node->chord, i, &finger)) {
            member_add(message, wire, &finger);
        }
    }
    if (status->has_predecessor) {
        member_add(message, wire, &status->predecessor);
    }
}

static void on_describe(struct node *node, struct request *request) {
    struct wire_context wire = {&node->scratch, node->m};
    struct chord_status *status = arena_alloc(&node->scratch, sizeof *status);
    Chord__V1__GetServerInfoResponse info;
    Chord__V1__DescribeResponse message = CHORD__V1__DESCRIBE_RESPONSE__INIT;
    chord_read_status(node->chord, status);
    info_write(status, &wire, &info);
    message.info = &info;
    message.file_descriptor_set = descriptors();
    message.self = wire_peer(&wire, &status->self);
    message.state = (Chord__V1__NodeState)status->state;
    members_write(node, status, &wire, &message);
    admin_answer(node, request, &message.base);
}

void meta_request(struct node *node, struct request *request) {
    switch (request->method) {
    case RPC_META_GET_SERVER_INFO:
        on_info(node, request);
        break;
    case RPC_META_DESCRIBE:
        on_describe(node, request);
        break;
    default:
        on_descriptors(node, request);
        break;
    }
}

/* SPDX-License-Identifier: MIT */
/*
 * The table of methods: names, message types, lanes. Built from RPC_METHODS and the generated
 * service descriptors, so that a name which is not in a .proto file does not pass the first call.
 * Knows no sockets.
 */
#include <assert.h>
#include <pthread.h>
#include <string.h>

#include "chord/v1/admin.pb-c.h"
#include "chord/v1/kv.pb-c.h"
#include "chord/v1/meta.pb-c.h"
#include "chord/v1/replica.pb-c.h"
#include "chord/v1/ring.pb-c.h"
#include "rpc_internal.h"

#define DESCRIPTOR_RingService chord__v1__ring_service__descriptor
#define DESCRIPTOR_ReplicaService chord__v1__replica_service__descriptor
#define DESCRIPTOR_KvService chord__v1__kv_service__descriptor
#define DESCRIPTOR_AdminService chord__v1__admin_service__descriptor
#define DESCRIPTOR_MetaService chord__v1__meta_service__descriptor

struct method_row {
    const char *name; /* as on the wire */
    const char *short_name;
    const ProtobufCServiceDescriptor *service;
};

static const struct method_row method_rows[RPC_METHODS_COUNT] = {
#define X(suffix, service, method)                                                                 \
    [RPC_##suffix] = {"chord.v1." #service "/" #method, #method, &DESCRIPTOR_##service},
    RPC_METHODS(X)
#undef X
};

static const ProtobufCMethodDescriptor *method_descriptors[RPC_METHODS_COUNT];
static pthread_once_t method_once = PTHREAD_ONCE_INIT;

static void method_resolve(void) {
    for (int i = 0; i < RPC_METHODS_COUNT; i++) {
        method_descriptors[i] = protobuf_c_service_descriptor_get_method_by_name(
            method_rows[i].service, method_rows[i].short_name);
        assert(method_descriptors[i] != NULL);
    }
}

static const ProtobufCMethodDescriptor *method_descriptor(enum rpc_method method) {
    assert(method < RPC_METHODS_COUNT);
    pthread_once(&method_once, method_resolve);
    return method_descriptors[method];
}

const char *rpc_method_name(enum rpc_method method) {
    assert(method < RPC_METHODS_COUNT);
    return method_rows[method].name;
}

bool rpc_method_find(const char *name, enum rpc_method *method) {
    for (int i = 0; i < RPC_METHODS_COUNT; i++) {
        if (strcmp(method_rows[i].name, name) == 0) {
            *method = (enum rpc_method)i;
            return true;
        }
    }
    return false;
}

const ProtobufCMessageDescriptor *rpc_method_request(enum rpc_method method) {
    return method_descriptor(method)->input;
}

const ProtobufCMessageDescriptor *rpc_method_response(enum rpc_method method) {
    return method_descriptor(method)->output;
}

const ProtobufCServiceDescriptor *rpc_method_service(enum rpc_method method) {
    assert(method < RPC_METHODS_COUNT);
    return method_rows[method].service;
}

unsigned rpc_method_index(enum rpc_method method) {
    return (unsigned)(method_descriptor(method) - rpc_method_service(method)->methods);
}

/* What carries rows travels apart, so that a full data connection never delays maintenance. */
enum rpc_lane rpc_method_lane(enum rpc_method method) {
    switch (method) {
    case RPC_RING_TRANSFER_KEYS:
    case RPC_REPLICA_APPLY:
    case RPC_REPLICA_SYNC:
    case RPC_REPLICA_DIGEST:
    case RPC_KV_BATCH:
    case RPC_KV_GET:
    case RPC_KV_PUT:
    case RPC_KV_DELETE:
    case RPC_KV_LOOKUP:
    case RPC_ADMIN_LIST_KEYS:
        return RPC_LANE_DATA;
    default:
        return RPC_LANE_RING;
    }
}

/* What replicas tell each other is never refused: a refused Apply would stall a write that was
 * already admitted elsewhere. */
bool rpc_method_is_data(enum rpc_method method) {
    switch (method) {
    case RPC_RING_TRANSFER_KEYS:
    case RPC_KV_BATCH:
    case RPC_KV_GET:
    case RPC_KV_PUT:
    case RPC_KV_DELETE:
    case RPC_KV_LOOKUP:
    case RPC_ADMIN_LIST_KEYS:
        return true;
    default:
        return false;
    }
}

bool rpc_method_is_anyones(enum rpc_method method) {
    switch (method) {
    case RPC_ADMIN_STATUS:
    case RPC_ADMIN_LOGS:
    case RPC_META_GET_SERVER_INFO:
    case RPC_META_GET_FILE_DESCRIPTOR_SET:
    case RPC_META_DESCRIBE:
        return true;
    default:
        return false;
    }
}

enum rpc_role rpc_method_role(enum rpc_method method) {
    switch (method) {
    case RPC_KV_BATCH: /* its operations decide: node/kv.c */
    case RPC_KV_GET:
    case RPC_KV_LOOKUP:
    case RPC_ADMIN_STATUS:
    case RPC_ADMIN_LIST_KEYS:
    case RPC_META_GET_SERVER_INFO:
    case RPC_META_GET_FILE_DESCRIPTOR_SET:
    case RPC_META_DESCRIBE:
        return RPC_ROLE_READER;
    case RPC_KV_PUT:
    case RPC_KV_DELETE:
        return RPC_ROLE_CLIENT;
    default:
        return RPC_ROLE_MEMBER;
    }
}

bool rpc_code_is_known(Chord__V1__Code code) {
    return protobuf_c_enum_descriptor_get_value(&chord__v1__code__descriptor, (int)code) != NULL;
}

bool rpc_method_is_between_members(enum rpc_method method) {
    return rpc_method_service(method) == &chord__v1__ring_service__descriptor ||
           rpc_method_service(method) == &chord__v1__replica_service__descriptor;
}

const char *rpc_code_text(Chord__V1__Code code) {
    static const char *const texts[] = {
        [CHORD__V1__CODE__CODE_OK] = "OK",
        [CHORD__V1__CODE__CODE_CANCELLED] = "CANCELLED",
        [CHORD__V1__CODE__CODE_UNKNOWN] = "UNKNOWN",
        [CHORD__V1__CODE__CODE_INVALID_ARGUMENT] = "INVALID_ARGUMENT",
        [CHORD__V1__CODE__CODE_DEADLINE_EXCEEDED] = "DEADLINE_EXCEEDED",
        [CHORD__V1__CODE__CODE_NOT_FOUND] = "NOT_FOUND",
        [CHORD__V1__CODE__CODE_ALREADY_EXISTS] = "ALREADY_EXISTS",
        [CHORD__V1__CODE__CODE_PERMISSION_DENIED] = "PERMISSION_DENIED",
        [CHORD__V1__CODE__CODE_RESOURCE_EXHAUSTED] = "RESOURCE_EXHAUSTED",
        [CHORD__V1__CODE__CODE_FAILED_PRECONDITION] = "FAILED_PRECONDITION",
        [CHORD__V1__CODE__CODE_ABORTED] = "ABORTED",
        [CHORD__V1__CODE__CODE_OUT_OF_RANGE] = "OUT_OF_RANGE",
        [CHORD__V1__CODE__CODE_UNIMPLEMENTED] = "UNIMPLEMENTED",
        [CHORD__V1__CODE__CODE_INTERNAL] = "INTERNAL",
        [CHORD__V1__CODE__CODE_UNAVAILABLE] = "UNAVAILABLE",
        [CHORD__V1__CODE__CODE_DATA_LOSS] = "DATA_LOSS",
        [CHORD__V1__CODE__CODE_UNAUTHENTICATED] = "UNAUTHENTICATED",
        [CHORD__V1__CODE__CODE_WRONG_RING] = "WRONG_RING",
        [CHORD__V1__CODE__CODE_CHALLENGE] = "CHALLENGE",
    };
    return rpc_code_is_known(code) ? texts[code] : "UNRECOGNISED";
}

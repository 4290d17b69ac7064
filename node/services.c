/* SPDX-License-Identifier: MIT */
/*
 * The services that a node offers, as protobuf-c declares them: a method without a function here
 * does not link. Every function only puts the request into the node's queue.
 */
#include "node.h"

#include "chord/v1/admin.pb-c.h"
#include "chord/v1/kv.pb-c.h"
#include "chord/v1/meta.pb-c.h"
#include "chord/v1/replica.pb-c.h"
#include "chord/v1/ring.pb-c.h"

static struct node *node_attached; /* handlers get no context of their own from protobuf-c */

void services_attach(struct node *node) {
    node_attached = node;
}

static void enqueue(const ProtobufCMessage *message, void *closure_data) {
    struct node *node = node_attached;
    struct rpc_call *call = closure_data;
    bool data = rpc_method_is_data(rpc_call_method(call));
    bool refused = false;
    if (!data) {
        pthread_mutex_lock(&node->mutex);
        refused = node->ring_requests >= NODE_RING_REQUESTS_MAX;
        node->ring_requests += !refused;
        pthread_mutex_unlock(&node->mutex);
    }
    if (refused) {
        rpc_call_reply(call, CHORD__V1__CODE__CODE_RESOURCE_EXHAUSTED,
                       "too many ring and admin requests are waiting", 20, NULL);
        return;
    }
    struct item *item = item_new(ITEM_REQUEST);
    item->call = call;
    item->message = message;
    node_enqueue(node, item, !data);
}

#define HANDLER(service, method, Method, Request, Response)                                        \
    static void service##__##method(Chord__V1__##Method##_Service *unused,                         \
                                    const Chord__V1__##Request *input,                             \
                                    Chord__V1__##Response##_Closure closure, void *closure_data) { \
        (void)unused;                                                                              \
        (void)closure;                                                                             \
        enqueue(&input->base, closure_data);                                                       \
    }
#define RING(method, Name) HANDLER(ring, method, RingService, Name##Request, Name##Response)
#define REPLICA(method, Name)                                                                      \
    HANDLER(replica, method, ReplicaService, Name##Request, Name##Response)
#define KV(method, Name) HANDLER(kv, method, KvService, Name##Request, Name##Response)
#define ADMIN(method, Name) HANDLER(admin, method, AdminService, Name##Request, Name##Response)
#define META(method, Name) HANDLER(meta, method, MetaService, Name##Request, Name##Response)

RING(ping, Ping)
RING(find_successor, FindSuccessor)
RING(get_predecessor, GetPredecessor)
RING(get_successors, GetSuccessors)
RING(notify, Notify)
RING(join, Join)
RING(genesis, Genesis)
RING(leave, Leave)
RING(merge, Merge)
RING(transfer_keys, TransferKeys)
REPLICA(apply, Apply)
REPLICA(sync, Sync)
REPLICA(digest, Digest)
REPLICA(decided, Decided)
REPLICA(get_view, GetView)
REPLICA(check, Check)
REPLICA(prepare, Prepare)
REPLICA(accept, Accept)
KV(batch, Batch)
KV(get, Get)
KV(put, Put)
KV(delete, Delete)
KV(lookup, Lookup)
ADMIN(status, Status)
ADMIN(leave, AdminLeave)
ADMIN(join, AdminJoin)
ADMIN(kill, Kill)
ADMIN(recover, Recover)
ADMIN(logs, Logs)
ADMIN(list_keys, ListKeys)
ADMIN(backup, Backup)
META(get_server_info, GetServerInfo)
META(get_file_descriptor_set, GetFileDescriptorSet)
META(describe, Describe)

static Chord__V1__RingService_Service ring_service = CHORD__V1__RING_SERVICE__INIT(ring__);
static Chord__V1__ReplicaService_Service replica_service =
    CHORD__V1__REPLICA_SERVICE__INIT(replica__);
static Chord__V1__KvService_Service kv_service = CHORD__V1__KV_SERVICE__INIT(kv__);
static Chord__V1__AdminService_Service admin_service = CHORD__V1__ADMIN_SERVICE__INIT(admin__);
static Chord__V1__MetaService_Service meta_service = CHORD__V1__META_SERVICE__INIT(meta__);

ProtobufCService *const node_services[] = {&ring_service.base, &replica_service.base,
                                           &kv_service.base, &admin_service.base,
                                           &meta_service.base};
const size_t node_services_count = sizeof node_services / sizeof node_services[0];

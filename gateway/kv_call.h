/*
 * One request about a key to the ring: to the node that leads the key by the cached hint, and on to
 * other members while the time lasts; a repeated write keeps its op_id. Knows no HTTP.
 */
#ifndef GATEWAY_KV_CALL_H
#define GATEWAY_KV_CALL_H

#include "app.h"
#include "chord/v1/kv.pb-c.h"
#include "ids.h"
#include "rpc.h"

struct kv_request {
    const uint8_t *key;
    size_t key_size;
    struct ring_id id;
    bool id_known;
    Chord__V1__Operation *operation; /* NULL for a get */
    enum rpc_method method;
    const ProtobufCMessage *message;
    bool unknown; /* an earlier attempt may have taken effect */
    bool looked;  /* the precondition is what a look at the value made of it */
};

/* What a node said of the key; the pointers are the reply's. */
struct kv_answer {
    Chord__V1__Code code;
    const Chord__V1__OperationResult *result; /* NULL when the node gave none */
    const Chord__V1__OwnerHint *hint;
    char **missing; /* members that do not answer, while too few do */
    size_t missing_count;
    bool nobody; /* no member was there to ask */
    bool full;   /* no disk of those that answer has room */
};

/* Until an answer that trying again cannot better, or the time is over. `reply` owns what the
 * answer points to: rpc_reply_free it. */
struct kv_answer kv_call(struct app *app, struct kv_request *kv, struct rpc_reply *reply);

#endif

/* SPDX-License-Identifier: MIT */
/* The requests that somebody waits for: slots, whose generations tell an old id apart. */
#include "node.h"

#include <stdlib.h>

struct request *request_new(struct node *node, struct rpc_call *call,
                            const ProtobufCMessage *message) {
    for (uint32_t i = 0; i < node->requests_max; i++) {
        struct request_slot *slot = &node->requests[i];
        if (slot->request == NULL) {
            struct request *request = calloc(1, sizeof *request);
            if (request == NULL) {
                return NULL;
            }
            slot->generation++;
            slot->request = request;
            request->id = (uint64_t)slot->generation << 32 | (i + 1);
            request->call = call;
            request->method = rpc_call_method(call);
            request->message = message;
            return request;
        }
    }
    return NULL;
}

struct request *request_find(struct node *node, uint64_t id) {
    uint64_t slot = id & 0xffffffff;
    struct request *request =
        slot >= 1 && slot <= node->requests_max ? node->requests[slot - 1].request : NULL;
    return request != NULL && request->id == id ? request : NULL;
}

static void request_free(struct node *node, struct request *request) {
    node->requests[(request->id & 0xffffffff) - 1].request = NULL;
    store_job_free(request->page);
    arena_free(&request->arena);
    rpc_arena_free(request->kept);
    if (request->call != NULL) {
        rpc_call_reply(request->call, CHORD__V1__CODE__CODE_INTERNAL, NULL, 0, NULL);
    }
    free(request);
}

/* The core is done with it. Jobs that point into it keep it until they are done. */
void request_end(struct node *node, struct request *request) {
    request->ended = true;
    if (request->references == 0) {
        request_free(node, request);
    }
}

void request_unref(struct node *node, struct request *request) {
    request->references--;
    if (request->ended && request->references == 0) {
        request_free(node, request);
    }
}

/* SPDX-License-Identifier: MIT */
/* See client_server.h. */
#include "client_server.h"

#include <stdio.h>
#include <unistd.h>

static client_server_batch_fn *serve;

static void serve_batch(Chord__V1__KvService_Service *service,
                        const Chord__V1__BatchRequest *request,
                        Chord__V1__BatchResponse_Closure closure, void *call) {
    (void)service;
    (void)closure;
    serve(request, call);
}

#define UNSERVED(name, Name)                                                                       \
    static void serve_##name(Chord__V1__KvService_Service *service,                                \
                             const Chord__V1__##Name##Request *request,                            \
                             Chord__V1__##Name##Response_Closure closure, void *call) {            \
        (void)service;                                                                             \
        (void)request;                                                                             \
        (void)closure;                                                                             \
        rpc_call_reply(call, CHORD__V1__CODE__CODE_UNIMPLEMENTED, NULL, 0, NULL);                  \
    }
UNSERVED(get, Get)
UNSERVED(put, Put)
UNSERVED(delete, Delete)
UNSERVED(lookup, Lookup)

int client_server_open(struct rpc_server **server, char address[64], client_server_batch_fn *batch,
                       size_t calls_max) {
    static Chord__V1__KvService_Service kv = CHORD__V1__KV_SERVICE__INIT(serve_);
    static ProtobufCService *const services[] = {&kv.base};
    int rc = -1;
    serve = batch;
    for (unsigned port = 21000 + (unsigned)getpid() % 9000, tries = 0; rc != 0 && tries < 50;
         port++, tries++) {
        snprintf(address, 64, "127.0.0.1:%u", port);
        const struct rpc_server_options options = {.address = address,
                                                   .services = services,
                                                   .services_count = 1,
                                                   .data_calls_max = calls_max};
        rc = rpc_server_open(server, &options);
    }
    return rc;
}

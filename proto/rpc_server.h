/*
 * The server's inside: one REP socket with many contexts, each a state machine receive -> handler
 * -> reply. Internal to rpc_server.c (contexts, replies, opening and closing) and rpc_dispatch.c
 * (what a received message leads to).
 */
#ifndef CHORD_RPC_SERVER_H
#define CHORD_RPC_SERVER_H

#include <pthread.h>
#include <stdatomic.h>

#include "rpc_internal.h"
#include "rpc_receiver.h"

struct rpc_call {
    struct rpc_server *server;
    struct rpc_call *next; /* all calls of the server */
    nng_ctx ctx;
    nng_aio *aio;
    bool open;       /* between the handler and the reply */
    bool sending;    /* the aio sends, else it receives */
    const void *msg; /* the answer; once it was sent it is nng's and this only its address */
    bool data;       /* counted as data */
    enum rpc_method method;
    uint64_t received_us;
    uint32_t timeout_ms;
    size_t message_bytes;
    uint8_t request_id[RPC_REQUEST_ID_BYTES_MAX];
    size_t request_id_bytes;
    struct rpc_arena *arena; /* what the request message lives in */
};

struct rpc_server {
    pthread_mutex_t lock;
    nng_socket socket;
    struct rpc_mac *mac;
    struct rpc_receiver *receiver;
    ProtobufCService **services;
    size_t services_count;
    size_t data_calls_max;
    struct rpc_call *calls;
    size_t calls_count;
    size_t calls_max;
    size_t receiving; /* contexts that wait for a request */
    size_t data_open;
    size_t data_bytes_open;
    bool closing;     /* nothing starts any more */
    bool closed;      /* calls that are still open are lingering */
    size_t lingering; /* how many */
    atomic_uint_fast64_t requests_total;
    atomic_uint_fast64_t refused_total;
    atomic_int connections;
};

/* Answers every message, whatever is in it; owns msg. On the callback's thread. */
void rpc_call_dispatch(struct rpc_call *call, nng_msg *msg);

#endif

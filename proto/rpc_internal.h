/* SPDX-License-Identifier: MIT */
/*
 * What the files of the RPC runtime share with each other. Nobody else includes it.
 */
#ifndef CHORD_RPC_INTERNAL_H
#define CHORD_RPC_INTERNAL_H

#include <nng/nng.h>
#include <pthread.h>

#include "rpc.h"

enum {
    RPC_REQUEST_ID_BYTES_MAX = 16,
    RPC_START_BYTES = 16, /* what names one start of a server */
    RPC_MAC_BYTES = 32,
    RPC_MESSAGE_TEXT_MAX = 199,            /* characters of an error sentence */
    RPC_CONNECTIONS_MAX = 2048,            /* of one server; one more takes another's place */
    RPC_HELD_BYTES_MAX = 64 * 1024 * 1024, /* requests and answers of one server, until these are
                                              sent; strangers get three quarters */
    RPC_UNSENT_ANSWERS_MAX = 64,           /* of one connection; with more it is not read from */
    RPC_UNSENT_BYTES_MAX = 8 * 1024 * 1024,
    RPC_WAITING_MAX = 32, /* requests of one connection that no handler's owner has taken up */
    RPC_UNAUTHENTICATED_MAX = 3, /* wrong MACs of one connection, then it is closed */
    RPC_REFUSED_RETRY_MS = 50,
    RPC_PATIENCE_MS = 10000,             /* for the hello, a message or an answer on its way, and */
    RPC_PATIENCE_SHORT_MS = 1000,        /* for strangers when slots or memory are short; */
    RPC_SLOWEST_BYTES_PER_S = 16 * 1024, /* longer for what moves so fast */
    RPC_SILENT_MS_MAX = 60000,           /* a connection that never asked for anything */
    RPC_IDLE_MS_MAX = 900000,            /* one that did; callers of this runtime hang up first */
    RPC_SWEEP_MS = 100,
    RPC_SWEEP_QUIET_MS = 2000, /* while nothing is under way whose time could be over */
    RPC_GREET_MS_MAX = 3000,   /* for the other's hello; TCP is there, so it is worth a wait */
    RPC_RECONNECT_MS_MIN = 50,
    RPC_RECONNECT_MS_MAX = 500, /* below RPC_CONNECT_MS_MAX, so that a peer that is back is found */
    RPC_PEERS_MAX_DEFAULT = 256,
    RPC_PEER_IDLE_MS = 300000,    /* a peer that nobody called for so long is hung up on */
    RPC_CLIENT_CALLS_MAX = 16384, /* open calls of one client */
};

/* ---- rpc_method.c ---- */

const ProtobufCServiceDescriptor *rpc_method_service(enum rpc_method method);
bool rpc_method_is_between_members(enum rpc_method method);
unsigned rpc_method_index(enum rpc_method method); /* its place in the service */
bool rpc_code_is_known(Chord__V1__Code code);      /* the wire may carry any number */

/* ---- rpc_arena.c: heap with a budget, freed as a whole ---- */

/* NULL when there is no memory. */
struct rpc_arena *rpc_arena_new(size_t bytes_max);
ProtobufCAllocator *rpc_arena_allocator(struct rpc_arena *arena);
size_t rpc_arena_used(const struct rpc_arena *arena);
bool rpc_arena_exhausted(const struct rpc_arena *arena); /* an allocation was refused */
/* Unpacks into a new arena; the message lives as long as *arena. On failure NULL, *arena NULL and
 * *exhausted tells a message that is too rich from one that cannot be read. */
ProtobufCMessage *rpc_arena_unpack(struct rpc_arena **arena, bool *exhausted,
                                   const ProtobufCMessageDescriptor *descriptor, const void *bytes,
                                   size_t bytes_count);

/* ---- rpc_mac.c: HMAC-SHA-256 of envelopes ---- */

struct rpc_mac; /* a key, ready for use; shared by threads */

/* *mac becomes NULL when the key is empty. 0 or negative errno. */
int rpc_mac_open(struct rpc_mac **mac, const struct rpc_key *key);
void rpc_mac_close(struct rpc_mac *mac);
/* The payload is given apart, because it may not be in the envelope yet. False: no memory. */
bool rpc_mac_request(struct rpc_mac *mac, const Chord__V1__RpcRequest *request,
                     ProtobufCBinaryData payload, uint8_t out[RPC_MAC_BYTES]);
bool rpc_mac_response(struct rpc_mac *mac, const Chord__V1__RpcResponse *response,
                      ProtobufCBinaryData payload, uint8_t out[RPC_MAC_BYTES]);
bool rpc_mac_equal(const uint8_t expected[RPC_MAC_BYTES], ProtobufCBinaryData given);

/* ---- rpc_envelope.c ---- */

/* Packs the envelope with `payload` (NULL = empty) into a new nng message. `envelope` must have
 * payload, receiver, sent_ms and mac empty. `signs`: room is left for the last three, which
 * rpc_envelope_sign_request writes. 0, -EMSGSIZE (above RPC_MESSAGE_BYTES_MAX) or -ENOMEM. */
int rpc_envelope_pack_request(nng_msg **msg, bool signs, const Chord__V1__RpcRequest *envelope,
                              const ProtobufCMessage *payload, size_t *payload_bytes);
/* (Again) with the receiver and sent_ms of `envelope`, which is the one that was packed otherwise.
 * `receiver` is RPC_START_BYTES long. False: no memory. */
bool rpc_envelope_sign_request(nng_msg *msg, struct rpc_mac *mac,
                               const Chord__V1__RpcRequest *envelope, size_t payload_bytes);
/* The same with the MAC (NULL = none) at once. */
int rpc_envelope_pack_response(nng_msg **msg, struct rpc_mac *mac,
                               const Chord__V1__RpcResponse *envelope,
                               const ProtobufCMessage *payload);

/* ---- rpc_nng_fix.c ---- */

/* Before anything else of nng: it starts its threads, once in the process. 0, or -ENOMEM. */
int rpc_nng_start(void);
/* ---- shared small things (rpc_envelope.c) ---- */

uint64_t rpc_now_us(void); /* CLOCK_MONOTONIC */
/* 0 or negative errno. */
int rpc_thread_start(pthread_t *thread, size_t stack_bytes, void *(*run)(void *), void *context);
int rpc_errno_from_nng(int nng_error); /* negative errno */
/* "tcp://host:port" of "host:port" into url. False: not such an address. */
enum { RPC_URL_BYTES = RPC_ADDRESS_BYTES_MAX + 8 };
bool rpc_address_url(char url[RPC_URL_BYTES], const char *address);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * The RPC runtime: protobuf messages in one envelope, REQ/REP over nng. The only code that includes
 * nng. It knows methods and bytes; it knows nothing of rings, keys or HTTP.
 *
 * Threads: callbacks run on nng's threads or the client's own and must only enqueue. Every function
 * here may be called from any thread except where it says otherwise. Never fork after
 * rpc_server_open or rpc_client_open.
 */
#ifndef CHORD_RPC_H
#define CHORD_RPC_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "chord/v1/envelope.pb-c.h"

enum {
    RPC_PROTOCOL_VERSION = 1,
    RPC_MESSAGE_BYTES_MAX = 1792 * 1024,            /* a whole envelope; checked before sending */
    RPC_CLIENT_BYTES_MAX = 1024 * 1024 + 64 * 1024, /* a client's request; the rest is room for
                                                       what an Apply adds to each row */
    RPC_RECEIVE_BYTES_MAX = 2 * 1024 * 1024,        /* nng closes the connection above this */
    RPC_ARENA_BYTES_MAX = 8 * 1024 * 1024, /* heap that unpacking one message may use: 8,192 small
                                              rows of 1 MiB together need more than 4 MiB */
    RPC_ADDRESS_BYTES_MAX = 63,            /* "host:port" */
    RPC_TIMEOUT_MS_DEFAULT = 3000,
    RPC_TIMEOUT_MS_MAX = 600000,
    RPC_CONNECT_MS_MAX = 1000, /* without a connection a call ends after so long, unsent */
    RPC_RING_ID_BYTES = 16,
};

/* Every method of every service: (enum suffix, service, method). */
#define RPC_METHODS(X)                                                                             \
    X(RING_PING, RingService, Ping)                                                                \
    X(RING_FIND_SUCCESSOR, RingService, FindSuccessor)                                             \
    X(RING_GET_PREDECESSOR, RingService, GetPredecessor)                                           \
    X(RING_GET_SUCCESSORS, RingService, GetSuccessors)                                             \
    X(RING_NOTIFY, RingService, Notify)                                                            \
    X(RING_JOIN, RingService, Join)                                                                \
    X(RING_GENESIS, RingService, Genesis)                                                          \
    X(RING_LEAVE, RingService, Leave)                                                              \
    X(RING_MERGE, RingService, Merge)                                                              \
    X(RING_TRANSFER_KEYS, RingService, TransferKeys)                                               \
    X(REPLICA_APPLY, ReplicaService, Apply)                                                        \
    X(REPLICA_SYNC, ReplicaService, Sync)                                                          \
    X(REPLICA_DIGEST, ReplicaService, Digest)                                                      \
    X(REPLICA_DECIDED, ReplicaService, Decided)                                                    \
    X(REPLICA_GET_VIEW, ReplicaService, GetView)                                                   \
    X(REPLICA_CHECK, ReplicaService, Check)                                                        \
    X(REPLICA_PREPARE, ReplicaService, Prepare)                                                    \
    X(REPLICA_ACCEPT, ReplicaService, Accept)                                                      \
    X(KV_BATCH, KvService, Batch)                                                                  \
    X(KV_GET, KvService, Get)                                                                      \
    X(KV_PUT, KvService, Put)                                                                      \
    X(KV_DELETE, KvService, Delete)                                                                \
    X(KV_LOOKUP, KvService, Lookup)                                                                \
    X(ADMIN_STATUS, AdminService, Status)                                                          \
    X(ADMIN_LEAVE, AdminService, Leave)                                                            \
    X(ADMIN_JOIN, AdminService, Join)                                                              \
    X(ADMIN_KILL, AdminService, Kill)                                                              \
    X(ADMIN_RECOVER, AdminService, Recover)                                                        \
    X(ADMIN_LOGS, AdminService, Logs)                                                              \
    X(ADMIN_LIST_KEYS, AdminService, ListKeys)                                                     \
    X(ADMIN_BACKUP, AdminService, Backup)                                                          \
    X(META_GET_SERVER_INFO, MetaService, GetServerInfo)                                            \
    X(META_GET_FILE_DESCRIPTOR_SET, MetaService, GetFileDescriptorSet)                             \
    X(META_DESCRIBE, MetaService, Describe)

enum rpc_method {
#define X(suffix, service, method) RPC_##suffix,
    RPC_METHODS(X)
#undef X
        RPC_METHODS_COUNT
};

/* What a key allows; each role may do what those before it may. */
enum rpc_role {
    RPC_ROLE_READER, /* reads keys, asks who one is */
    RPC_ROLE_CLIENT, /* and writes them */
    RPC_ROLE_MEMBER, /* everything: it is, or commands, a member */
};

/* Two sockets per peer, so that data never delays maintenance. */
enum rpc_lane { RPC_LANE_RING, RPC_LANE_DATA };

const char *rpc_method_name(enum rpc_method method); /* "chord.v1.RingService/Ping" */
bool rpc_method_find(const char *name, enum rpc_method *method);
const ProtobufCMessageDescriptor *rpc_method_request(enum rpc_method method);
const ProtobufCMessageDescriptor *rpc_method_response(enum rpc_method method);
enum rpc_lane rpc_method_lane(enum rpc_method method); /* the lane a call of it travels on */
bool rpc_method_is_data(enum rpc_method method);       /* counts against the channel size */
bool rpc_method_is_anyones(enum rpc_method method);    /* asks who one is: meant for any ring */
/* Who may call it: at least this. */
enum rpc_role rpc_method_role(enum rpc_method method);
/* Lower-case hex, of a ring id for example; `text` has room for 2 * bytes_count + 1. */
void rpc_hex(char *text, const uint8_t *bytes, size_t bytes_count);
const char *rpc_code_text(Chord__V1__Code code); /* "NOT_FOUND" */

/* What is not UTF-8 becomes '?'. */
void rpc_utf8_repair(char *text);
/* Whether all texts in the message are UTF-8. */
bool rpc_texts_are_valid(const ProtobufCMessage *message);

/* Only this machine reaches it: a number of 127.0.0.0/8, or localhost. */
bool rpc_host_is_loopback(const char *host);
/* Only this machine or the own Tailscale network reaches it, so it may go without secrets. */
bool rpc_host_is_private(const char *host);

/* The key that authenticates every envelope of a ring; bytes_count 0 = none. Copied. */
struct rpc_key {
    uint8_t bytes[64];
    size_t bytes_count;
};
/* Reads a key file (first line, 16..64 bytes). 0, or negative errno. */
int rpc_key_read(struct rpc_key *key, const char *path);

/* ---- server ---- */

struct rpc_server;
struct rpc_call; /* one request being served; exactly one rpc_call_reply ends it */

struct rpc_server_options {
    const char *address; /* "host:port" to listen on */
    /* The services, as generated by protobuf-c (CHORD__V1__RING_SERVICE__INIT): a method without a
     * handler does not link. A handler runs on an nng thread with closure_data = the rpc_call; it
     * must only enqueue. The request message lives until the reply. */
    ProtobufCService *const *services;
    size_t services_count;
    size_t data_calls_max; /* open data requests above this are answered RESOURCE_EXHAUSTED */
    struct rpc_key key;    /* the members'; empty: everybody may call everything, and there must be
                              no other key */
    struct rpc_key also;   /* the members' too, while the ring's key is being changed; or empty */
    struct rpc_key client, reader; /* what they allow: enum rpc_role; or empty */
};

/* 0, or a negative errno (-EADDRINUSE, -EACCES, -EINVAL, -ENOMEM). On failure nothing is open. */
int rpc_server_open(struct rpc_server **server, const struct rpc_server_options *options);
/* Stops listening and waits for callbacks; calls still open are dropped. Accepts NULL. */
void rpc_server_close(struct rpc_server *server);
/* The ring that this process belongs to, RPC_RING_ID_BYTES; NULL: none (any more). Each answer says
 * so, and what is meant for another ring is answered WRONG_RING. */
void rpc_server_set_ring(struct rpc_server *server, const uint8_t *ring_id);
/* What requests and answers take just now, until these are sent. */
size_t rpc_server_held_bytes(struct rpc_server *server);
uint64_t rpc_server_refused_total(const struct rpc_server *server);
uint64_t rpc_server_requests_total(const struct rpc_server *server);

/* Valid inside a handler and until the reply. */
enum rpc_role rpc_call_role(const struct rpc_call *call); /* of the key that signed it */
enum rpc_method rpc_call_method(const struct rpc_call *call);
bool rpc_call_expired(const struct rpc_call *call);          /* the caller no longer waits */
uint32_t rpc_call_remaining_ms(const struct rpc_call *call); /* 0 when expired */
/* Out of the handler's queue. Until then, or its reply, it counts against RPC_WAITING_MAX of its
 * connection, so that no connection fills a queue alone. */
void rpc_call_taken(struct rpc_call *call);
/* What the answer will need is in memory from now on: so many bytes more count as held until it is
 * sent. False: the server holds too much already; answer RESOURCE_EXHAUSTED. */
bool rpc_call_hold(struct rpc_call *call, size_t bytes);
/* Makes the request message outlive the reply: the caller frees what this returns, with
 * rpc_arena_free, when it needs the message no more. At most once per call. */
struct rpc_arena;
struct rpc_arena *rpc_call_keep(struct rpc_call *call);
/* What is in it goes with the last of those that share it. Accepts NULL. */
void rpc_arena_free(struct rpc_arena *arena);
struct rpc_arena *rpc_arena_share(struct rpc_arena *arena); /* one more rpc_arena_free is needed */
/* Ends the call. `message` NULL = the code's text; `response` NULL = none. The response is packed
 * before this returns. A response above RPC_MESSAGE_BYTES_MAX becomes INTERNAL. */
void rpc_call_reply(struct rpc_call *call, Chord__V1__Code code, const char *message,
                    uint32_t retry_after_ms, const ProtobufCMessage *response);

/* ---- client ---- */

struct rpc_client;

struct rpc_reply {
    Chord__V1__Code code; /* the remote's (WRONG_RING: it belongs to another ring than is meant,
                             nothing was done), or UNAVAILABLE (connection lost, closed; nobody
                             there), DEADLINE_EXCEEDED (no answer in time), INTERNAL (an answer that
                             cannot be read), INVALID_ARGUMENT (request too large, bad address) */
    bool local;           /* the code was made here: nothing is known of the remote's outcome */
    bool disconnected;    /* the connection closed while the call was open */
    bool unsent;          /* local: the request never left this process, so nothing was executed */
    char message[200];
    uint32_t retry_after_ms;
    bool has_ring; /* the answer names the ring that the remote belongs to */
    uint8_t ring_id[RPC_RING_ID_BYTES];
    uint64_t microseconds;      /* from call to answer */
    ProtobufCMessage *response; /* NULL when absent; owned by the reply */
    struct rpc_arena *arena;    /* internal: what response lives in */
};
/* Frees the response; the struct itself is the caller's. */
void rpc_reply_free(struct rpc_reply *reply);

struct rpc_client_options {
    struct rpc_key key;
    size_t peers_max; /* connections kept; the least recently used idle one is closed. 0 = 256 */
    /* NULL, or called on an nng thread when an established connection to a peer closes. */
    void (*on_disconnect)(void *context, const char *address);
    void *context;
};

/* Starts every thread that calls will need, with the default stack of this moment. */
int rpc_client_open(struct rpc_client **client, const struct rpc_client_options *options);
/* The ring that calls are meant for, RPC_RING_ID_BYTES; NULL, and at first: any. It goes with each
 * call but those of methods that are anyone's. An answer from another ring is WRONG_RING. */
void rpc_client_set_ring(struct rpc_client *client, const uint8_t *ring_id);
/* Ends open calls (their callbacks run with UNAVAILABLE), then closes. Accepts NULL. */
void rpc_client_close(struct rpc_client *client);

/* Runs once, on a thread of nng's or of the client's or, where the call cannot start, inside
 * rpc_client_call. The callee owns *reply's response and calls rpc_reply_free (the struct may be
 * copied first). */
typedef void rpc_reply_fn(void *context, struct rpc_reply *reply);

/* Sends one request. The request is packed before this returns. `on_reply` always runs once. */
void rpc_client_call(struct rpc_client *client, const char *address, enum rpc_method method,
                     const ProtobufCMessage *request, uint32_t timeout_ms, rpc_reply_fn *on_reply,
                     void *context);
/* The same, waiting. Not from a callback. Free the reply with rpc_reply_free. */
void rpc_client_call_wait(struct rpc_client *client, const char *address, enum rpc_method method,
                          const ProtobufCMessage *request, uint32_t timeout_ms,
                          struct rpc_reply *reply);

#endif

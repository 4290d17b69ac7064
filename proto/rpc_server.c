/*
 * Serves requests: one REP socket with many contexts, each a state machine receive -> handler ->
 * reply. Contexts are made as load asks for them, because a node allows a thousand and an idle one
 * needs a few. Knows methods and messages; what they mean is the handlers' business.
 *
 * Lock: server->lock guards `closing`, the counts and every start of an nng operation, so that
 * none starts after rpc_server_close has stopped its aio (nng would drop it without a word). nng
 * never runs our callbacks inside the call that starts an operation, so holding it there is safe.
 */
#include <errno.h>
#include <nng/nng.h>
#include <nng/protocol/reqrep0/rep.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rpc_internal.h"

enum {
    CONTEXTS_FIRST = 16,
    CONTEXTS_STEP = 16,
    CONTEXTS_FREE_MIN = 8, /* below this many waiting receives, more are made */
    CONTEXTS_RESERVE = 64, /* beyond data_calls_max: what maintenance always has */
};

struct rpc_call {
    struct rpc_server *server;
    struct rpc_call *next; /* all calls of the server */
    nng_ctx ctx;
    nng_aio *aio;
    bool open;    /* between the handler and the reply */
    bool sending; /* the aio sends, else it receives */
    bool data;    /* counted as data */
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

/* Calls that outlived their server and were not replied to yet. */
static pthread_mutex_t lingering_lock = PTHREAD_MUTEX_INITIALIZER;
static struct rpc_call *lingering_calls;

static void call_event(void *context);

/* ---- contexts ---- */

static void call_free(struct rpc_call *call) {
    nng_aio_free(call->aio);
    rpc_arena_free(call->arena);
    free(call);
}

/* Adds one context and lets it receive. With the lock held. */
static int call_add(struct rpc_server *server) {
    struct rpc_call *call = calloc(1, sizeof *call);
    if (call == NULL) {
        return -ENOMEM;
    }
    call->server = server;
    int rv = nng_aio_alloc(&call->aio, call_event, call);
    if (rv == 0) {
        rv = nng_ctx_open(&call->ctx, server->socket);
    }
    if (rv != 0) {
        call_free(call);
        return rpc_errno_from_nng(rv);
    }
    call->next = server->calls;
    server->calls = call;
    server->calls_count++;
    server->receiving++;
    nng_aio_set_timeout(call->aio, NNG_DURATION_INFINITE);
    nng_ctx_recv(call->ctx, call->aio);
    return 0;
}

static void call_receive(struct rpc_call *call) {
    struct rpc_server *server = call->server;
    pthread_mutex_lock(&server->lock);
    if (!server->closing) {
        server->receiving++;
        call->sending = false;
        nng_aio_set_timeout(call->aio, NNG_DURATION_INFINITE);
        nng_ctx_recv(call->ctx, call->aio);
    }
    pthread_mutex_unlock(&server->lock);
}

/* ---- replies ---- */

static nng_msg *call_pack(const struct rpc_call *call, Chord__V1__Code code, const char *message,
                          uint32_t retry_after_ms, const ProtobufCMessage *response) {
    char text[RPC_MESSAGE_TEXT_MAX + 1];
    if (message == NULL) {
        message = code == CHORD__V1__CODE__CODE_OK ? "" : rpc_code_text(code);
    }
    snprintf(text, sizeof text, "%s", message);
    Chord__V1__RpcResponse envelope = CHORD__V1__RPC_RESPONSE__INIT;
    envelope.protocol_version = RPC_PROTOCOL_VERSION;
    envelope.request_id.data = (uint8_t *)call->request_id;
    envelope.request_id.len = call->request_id_bytes;
    envelope.code = code;
    envelope.message = text;
    envelope.retry_after_ms = retry_after_ms;
    nng_msg *msg = NULL;
    int rc = rpc_envelope_pack_response(&msg, call->server->mac, &envelope, response);
    if (rc == -EMSGSIZE) {
        snprintf(text, sizeof text, "the answer is larger than %d bytes; ask for less",
                 RPC_MESSAGE_BYTES_MAX);
        envelope.code = CHORD__V1__CODE__CODE_INTERNAL;
        envelope.retry_after_ms = 0;
        rc = rpc_envelope_pack_response(&msg, call->server->mac, &envelope, NULL);
    }
    return rc == 0 ? msg : NULL;
}

static void server_free(struct rpc_server *server) {
    rpc_mac_close(server->mac);
    pthread_mutex_destroy(&server->lock);
    free(server->services);
    free(server);
}

/* A reply that comes when the server is closing or closed: nobody is told. With the lock held;
 * releases it. */
static void call_abandon(struct rpc_call *call) {
    struct rpc_server *server = call->server;
    call->open = false;
    bool closed = server->closed;
    bool last = closed && --server->lingering == 0;
    pthread_mutex_unlock(&server->lock);
    if (!closed) {
        return; /* rpc_server_close has not come to it yet and frees it */
    }
    pthread_mutex_lock(&lingering_lock);
    for (struct rpc_call **at = &lingering_calls; *at != NULL; at = &(*at)->next) {
        if (*at == call) {
            *at = call->next;
            break;
        }
    }
    pthread_mutex_unlock(&lingering_lock);
    call_free(call);
    if (last) {
        server_free(server);
    }
}

void rpc_call_reply(struct rpc_call *call, Chord__V1__Code code, const char *message,
                    uint32_t retry_after_ms, const ProtobufCMessage *response) {
    struct rpc_server *server = call->server;
    nng_msg *msg = call_pack(call, code, message, retry_after_ms, response);
    struct rpc_arena *arena = call->arena;
    pthread_mutex_lock(&server->lock);
    call->arena = NULL;
    if (server->closing) {
        call_abandon(call);
        goto out;
    }
    if (call->data) {
        server->data_open--;
        server->data_bytes_open -= call->message_bytes;
        call->data = false;
    }
    call->open = false;
    call->sending = true;
    nng_aio_set_timeout(call->aio, RPC_REPLY_TIMEOUT_MS);
    nng_aio_set_msg(call->aio, msg);
    nng_ctx_send(call->ctx, call->aio);
    msg = NULL;
    pthread_mutex_unlock(&server->lock);
out:
    nng_msg_free(msg);
    rpc_arena_free(arena);
}

static void call_reply_error(struct rpc_call *call, Chord__V1__Code code, const char *text) {
    rpc_call_reply(call, code, text, 0, NULL);
}

/* ---- requests ---- */

/* What protobuf-c calls when a handler answers through its closure instead of rpc_call_reply. */
static void call_closure(const ProtobufCMessage *message, void *closure_data) {
    struct rpc_call *call = closure_data;
    if (message == NULL) {
        call_reply_error(call, CHORD__V1__CODE__CODE_INTERNAL, "the handler gave no answer");
    } else {
        rpc_call_reply(call, CHORD__V1__CODE__CODE_OK, NULL, 0, message);
    }
}

/* The service that serves the method, or NULL. A handler left NULL counts as none. */
static ProtobufCService *server_service(const struct rpc_server *server, enum rpc_method method) {
    const ProtobufCServiceDescriptor *descriptor = rpc_method_service(method);
    for (size_t i = 0; i < server->services_count; i++) {
        ProtobufCService *service = server->services[i];
        if (service->descriptor == descriptor) {
            typedef void (*handler_fn)(void);
            const handler_fn *handlers = (const handler_fn *)(service + 1);
            return handlers[rpc_method_index(method)] == NULL ? NULL : service;
        }
    }
    return NULL;
}

/* Everything about the envelope that is not the payload. True: goes on. */
static bool call_check(struct rpc_call *call, const Chord__V1__RpcRequest *envelope) {
    struct rpc_server *server = call->server;
    char text[RPC_MESSAGE_TEXT_MAX + 1];
    ProtobufCBinaryData id = envelope->request_id;
    if (id.len < 1 || id.len > RPC_REQUEST_ID_BYTES_MAX) {
        snprintf(text, sizeof text, "request_id has %zu bytes; give 1 to %d", id.len,
                 RPC_REQUEST_ID_BYTES_MAX);
        call_reply_error(call, CHORD__V1__CODE__CODE_INVALID_ARGUMENT, text);
        return false;
    }
    memcpy(call->request_id, id.data, id.len);
    call->request_id_bytes = id.len;
    uint8_t expected[RPC_MAC_BYTES];
    if (server->mac != NULL &&
        (!rpc_mac_request(server->mac, envelope, envelope->payload, expected) ||
         !rpc_mac_equal(expected, envelope->mac))) {
        call_reply_error(call, CHORD__V1__CODE__CODE_UNAUTHENTICATED,
                         envelope->mac.len == 0
                             ? "this ring has a key and the request has no mac; give the ring key"
                             : "the mac is wrong; use the key of this ring");
        return false;
    }
    if (envelope->protocol_version != RPC_PROTOCOL_VERSION) {
        snprintf(text, sizeof text, "protocol version %u is not spoken here; use %d",
                 envelope->protocol_version, RPC_PROTOCOL_VERSION);
        call_reply_error(call, CHORD__V1__CODE__CODE_UNIMPLEMENTED, text);
        return false;
    }
    if (!rpc_method_find(envelope->method, &call->method)) {
        snprintf(text, sizeof text, "there is no method \"%.100s\" here", envelope->method);
        call_reply_error(call, CHORD__V1__CODE__CODE_UNIMPLEMENTED, text);
        return false;
    }
    call->timeout_ms = envelope->timeout_ms == 0                   ? RPC_TIMEOUT_MS_DEFAULT
                       : envelope->timeout_ms > RPC_TIMEOUT_MS_MAX ? RPC_TIMEOUT_MS_MAX
                                                                   : envelope->timeout_ms;
    return true;
}

/* Data beyond the channel's size is refused here, so that it costs nothing but this answer. */
static bool call_admit(struct rpc_call *call) {
    struct rpc_server *server = call->server;
    if (!rpc_method_is_data(call->method)) {
        return true;
    }
    pthread_mutex_lock(&server->lock);
    bool admitted = server->data_open < server->data_calls_max &&
                    call->message_bytes <= RPC_DATA_BYTES_MAX - server->data_bytes_open;
    if (admitted) {
        server->data_open++;
        server->data_bytes_open += call->message_bytes;
        call->data = true;
    }
    pthread_mutex_unlock(&server->lock);
    if (!admitted) {
        atomic_fetch_add(&server->refused_total, 1);
        rpc_call_reply(call, CHORD__V1__CODE__CODE_RESOURCE_EXHAUSTED,
                       "this node has as many data requests open as its channel size allows",
                       RPC_REFUSED_RETRY_MS, NULL);
    }
    return admitted;
}

static void call_invoke(struct rpc_call *call, const Chord__V1__RpcRequest *envelope) {
    char text[RPC_MESSAGE_TEXT_MAX + 1];
    ProtobufCService *service = server_service(call->server, call->method);
    if (service == NULL) {
        snprintf(text, sizeof text, "%s is not served here", rpc_method_name(call->method));
        call_reply_error(call, CHORD__V1__CODE__CODE_UNIMPLEMENTED, text);
        return;
    }
    if (!call_admit(call)) {
        return;
    }
    const ProtobufCMessageDescriptor *type = rpc_method_request(call->method);
    bool exhausted;
    ProtobufCMessage *request = rpc_arena_unpack(&call->arena, &exhausted, type,
                                                 envelope->payload.data, envelope->payload.len);
    if (request == NULL) {
        snprintf(text, sizeof text,
                 exhausted ? "the %s needs more than %d bytes of memory; send less at a time"
                           : "the payload is not a %s",
                 type->name, RPC_ARENA_BYTES_MAX);
        call_reply_error(call, CHORD__V1__CODE__CODE_INVALID_ARGUMENT, text);
        return;
    }
    service->invoke(service, rpc_method_index(call->method), request, call_closure, call);
}

/* Answers every message, whatever is in it. */
static void call_serve(struct rpc_call *call, nng_msg *msg) {
    char text[RPC_MESSAGE_TEXT_MAX + 1];
    call->request_id_bytes = 0;
    call->timeout_ms = RPC_TIMEOUT_MS_DEFAULT;
    call->received_us = rpc_now_us();
    call->message_bytes = nng_msg_len(msg);
    atomic_fetch_add(&call->server->requests_total, 1);
    if (call->message_bytes > RPC_MESSAGE_BYTES_MAX) {
        snprintf(text, sizeof text, "the message has %zu bytes; at most %d are allowed",
                 call->message_bytes, RPC_MESSAGE_BYTES_MAX);
        nng_msg_free(msg);
        call_reply_error(call, CHORD__V1__CODE__CODE_INVALID_ARGUMENT, text);
        return;
    }
    struct rpc_arena *arena = NULL;
    bool exhausted;
    Chord__V1__RpcRequest *envelope = (Chord__V1__RpcRequest *)rpc_arena_unpack(
        &arena, &exhausted, &chord__v1__rpc_request__descriptor, nng_msg_body(msg),
        nng_msg_len(msg));
    nng_msg_free(msg);
    if (envelope == NULL) {
        call_reply_error(call, CHORD__V1__CODE__CODE_INVALID_ARGUMENT,
                         "the message is not a chord.v1.RpcRequest");
        return;
    }
    if (call_check(call, envelope)) {
        call_invoke(call, envelope);
    }
    rpc_arena_free(arena);
}

/* A receive or a send has ended. */
static void call_event(void *context) {
    struct rpc_call *call = context;
    struct rpc_server *server = call->server;
    int rv = nng_aio_result(call->aio);
    if (call->sending) {
        if (rv != 0) {
            nng_msg_free(nng_aio_get_msg(call->aio)); /* not sent: still ours */
            nng_aio_set_msg(call->aio, NULL);
        }
        call_receive(call);
        return;
    }
    pthread_mutex_lock(&server->lock);
    server->receiving--;
    bool closing = server->closing;
    call->open = rv == 0 && !closing;
    for (int i = 0;
         i < CONTEXTS_STEP && !closing && server->receiving < CONTEXTS_FREE_MIN + CONTEXTS_STEP &&
         server->calls_count < server->calls_max;
         i++) {
        if (call_add(server) != 0) {
            break; /* no memory: those that are there go on */
        }
    }
    pthread_mutex_unlock(&server->lock);
    nng_msg *msg = rv == 0 ? nng_aio_get_msg(call->aio) : NULL;
    nng_aio_set_msg(call->aio, NULL);
    if (closing) {
        nng_msg_free(msg);
    } else if (rv != 0) {
        call_receive(call);
    } else {
        call_serve(call, msg);
    }
}

enum rpc_method rpc_call_method(const struct rpc_call *call) {
    return call->method;
}

uint32_t rpc_call_remaining_ms(const struct rpc_call *call) {
    uint64_t passed_ms = (rpc_now_us() - call->received_us) / 1000;
    return passed_ms >= call->timeout_ms ? 0 : call->timeout_ms - (uint32_t)passed_ms;
}

bool rpc_call_expired(const struct rpc_call *call) {
    return rpc_call_remaining_ms(call) == 0;
}

/* ---- the server ---- */

static void server_pipe_event(nng_pipe pipe, nng_pipe_ev event, void *context) {
    struct rpc_server *server = context;
    if (event == NNG_PIPE_EV_ADD_PRE) {
        if (atomic_fetch_add(&server->connections, 1) >= RPC_CONNECTIONS_MAX) {
            nng_pipe_close(pipe);
        }
    } else if (event == NNG_PIPE_EV_REM_POST) {
        atomic_fetch_sub(&server->connections, 1);
    }
}

static int server_listen(struct rpc_server *server, const char *url) {
    nng_listener listener;
    int rv = nng_rep0_open(&server->socket);
    if (rv != 0) {
        return rv;
    }
    if ((rv = nng_pipe_notify(server->socket, NNG_PIPE_EV_ADD_PRE, server_pipe_event, server)) ||
        (rv = nng_pipe_notify(server->socket, NNG_PIPE_EV_REM_POST, server_pipe_event, server)) ||
        (rv = nng_listener_create(&listener, server->socket, url)) ||
        (rv = nng_listener_set_size(listener, NNG_OPT_RECVMAXSZ, RPC_RECEIVE_BYTES_MAX))) {
        return rv;
    }
    pthread_mutex_lock(&server->lock);
    for (int i = 0; i < CONTEXTS_FIRST && rv == 0; i++) {
        rv = call_add(server) == 0 ? 0 : NNG_ENOMEM;
    }
    pthread_mutex_unlock(&server->lock);
    return rv != 0 ? rv : nng_listener_start(listener, 0);
}

int rpc_server_open(struct rpc_server **out, const struct rpc_server_options *options) {
    *out = NULL;
    char url[RPC_URL_BYTES];
    if (!rpc_address_url(url, options->address)) {
        return -EINVAL;
    }
    struct rpc_server *server = calloc(1, sizeof *server);
    if (server == NULL) {
        return -ENOMEM;
    }
    pthread_mutex_init(&server->lock, NULL);
    server->socket = (nng_socket)NNG_SOCKET_INITIALIZER;
    server->data_calls_max = options->data_calls_max;
    server->calls_max = options->data_calls_max + CONTEXTS_RESERVE;
    server->services_count = options->services_count;
    server->services = calloc(options->services_count + 1, sizeof *server->services);
    int rc = server->services == NULL ? -ENOMEM : rpc_mac_open(&server->mac, &options->key);
    if (rc == 0) {
        for (size_t i = 0; i < options->services_count; i++) {
            server->services[i] = options->services[i];
        }
        rc = rpc_errno_from_nng(server_listen(server, url));
    }
    if (rc != 0) {
        rpc_server_close(server);
        return rc;
    }
    *out = server;
    return 0;
}

/* Frees the calls nobody holds; the others linger until their reply. True: none is left. */
static bool server_release_calls(struct rpc_server *server) {
    struct rpc_call *freed = NULL;
    pthread_mutex_lock(&server->lock);
    server->closed = true;
    for (struct rpc_call *call = server->calls, *next; call != NULL; call = next) {
        next = call->next;
        if (call->open) {
            server->lingering++;
            pthread_mutex_lock(&lingering_lock);
            call->next = lingering_calls;
            lingering_calls = call;
            pthread_mutex_unlock(&lingering_lock);
        } else {
            call->next = freed;
            freed = call;
        }
    }
    bool none = server->lingering == 0;
    pthread_mutex_unlock(&server->lock);
    for (struct rpc_call *next; freed != NULL; freed = next) {
        next = freed->next;
        call_free(freed);
    }
    return none;
}

void rpc_server_close(struct rpc_server *server) {
    if (server == NULL) {
        return;
    }
    pthread_mutex_lock(&server->lock);
    server->closing = true;
    pthread_mutex_unlock(&server->lock);
    /* `closing` keeps the list from growing. */
    for (struct rpc_call *call = server->calls; call != NULL; call = call->next) {
        nng_aio_stop(call->aio);
    }
    for (struct rpc_call *call = server->calls; call != NULL; call = call->next) {
        nng_ctx_close(call->ctx);
    }
    if (nng_socket_id(server->socket) > 0) {
        nng_close(server->socket);
    }
    if (server_release_calls(server)) {
        server_free(server);
    }
}

uint64_t rpc_server_refused_total(const struct rpc_server *server) {
    return atomic_load(&server->refused_total);
}

uint64_t rpc_server_requests_total(const struct rpc_server *server) {
    return atomic_load(&server->requests_total);
}

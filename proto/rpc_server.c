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
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rpc_server.h"

enum {
    CONTEXTS_FIRST = 16,
    CONTEXTS_STEP = 16,
    CONTEXTS_FREE_MIN = 8, /* below this many waiting receives, more are made */
    CONTEXTS_RESERVE = 64, /* beyond data_calls_max: what maintenance always has */
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
    struct rpc_receiver_room room;
    rpc_receiver_name(call->server->receiver, &envelope, &room);
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
    rpc_receiver_close(server->receiver);
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

struct rpc_arena *rpc_call_keep(struct rpc_call *call) {
    struct rpc_arena *arena = call->arena;
    call->arena = NULL;
    return arena;
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
    call->msg = msg;
    nng_aio_set_timeout(call->aio, RPC_REPLY_TIMEOUT_MS);
    nng_aio_set_msg(call->aio, msg);
    nng_ctx_send(call->ctx, call->aio);
    msg = NULL;
    pthread_mutex_unlock(&server->lock);
out:
    nng_msg_free(msg);
    rpc_arena_free(arena);
}

/* ---- events ---- */

/* A receive or a send has ended. */
static void call_event(void *context) {
    struct rpc_call *call = context;
    struct rpc_server *server = call->server;
    int rv = nng_aio_result(call->aio);
    if (call->sending) {
        if (rv != 0) {
            nng_msg_free(nng_aio_get_msg(call->aio)); /* not sent: still ours */
            nng_aio_set_msg(call->aio, NULL);
        } else {
            rpc_nng_fix_given(call->msg);
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
        rpc_call_dispatch(call, msg);
    }
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
        (rv = rpc_nng_fix_listener(&listener, server->socket, url)) ||
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
    rpc_nng_fix_init();
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
        rc = rpc_receiver_open(&server->receiver, server->mac != NULL);
    }
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

void rpc_server_set_ring(struct rpc_server *server, const uint8_t *ring_id) {
    rpc_receiver_set_ring(server->receiver, ring_id);
}

uint64_t rpc_server_refused_total(const struct rpc_server *server) {
    return atomic_load(&server->refused_total);
}

uint64_t rpc_server_requests_total(const struct rpc_server *server) {
    return atomic_load(&server->requests_total);
}

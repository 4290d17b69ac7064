/* SPDX-License-Identifier: MIT */
/*
 * Calls: one request, one answer, one deadline, exactly one callback. A call that finds no
 * connection waits for it until its deadline; one whose connection closes ends at once. Nothing is
 * ever executed twice: whether to try again is the caller's decision. Only what a ring with a key
 * refused with CHALLENGE, unexecuted, is signed anew and sent once more.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "clock.h"
#include "rpc_peer.h"

/* ---- the way of a call ---- */

/* `rv`: 0 when an answer came, else the nng error that ends the call. */
static void pending_end(struct rpc_pending *pending, int rv, struct rpc_reply *reply) {
    struct rpc_client *client = pending->link->peer->client;
    rpc_reply_fn *on_reply = pending->on_reply;
    void *context = pending->context;
    reply->microseconds = rpc_now_us() - pending->started_us;
    pthread_mutex_lock(&client->lock);
    rpc_link_told(pending, rv);
    pthread_mutex_unlock(&client->lock);
    nng_msg_free(pending->copy);
    free(pending);
    on_reply(context, reply);
    pthread_mutex_lock(&client->lock);
    if (--client->calls_open == 0 && client->closing) {
        pthread_cond_broadcast(&client->changed);
    }
    pthread_mutex_unlock(&client->lock);
}

void rpc_pending_fail(struct rpc_pending *pending, int rv) {
    for (struct rpc_pending *next; pending != NULL; pending = next) {
        struct rpc_reply reply;
        next = pending->next;
        rpc_reply_from_nng(&reply, pending, rv);
        reply.unsent = !pending->sent;
        pending_end(pending, rv, &reply);
    }
}

/* Puts the packed request on its link; takes the message. False: no memory. With the lock held. */
static bool pending_start(struct rpc_pending *pending, nng_msg *msg) {
    pending->id = ++pending->link->ids | UINT32_C(1) << 31; /* the top bit: no forwarder's */
    const uint8_t id[RPC_ID_BYTES] = {(uint8_t)(pending->id >> 24), (uint8_t)(pending->id >> 16),
                                      (uint8_t)(pending->id >> 8), (uint8_t)pending->id};
    struct rpc_frame *frame = rpc_frame_new(msg, id, sizeof id);
    if (frame != NULL) {
        pending->sent = false;
        rpc_link_start(pending->link, pending, frame);
    }
    return frame != NULL;
}

static void envelope_fill(Chord__V1__RpcRequest *envelope, const struct rpc_pending *pending) {
    chord__v1__rpc_request__init(envelope);
    envelope->protocol_version = RPC_PROTOCOL_VERSION;
    envelope->method = (char *)rpc_method_name(pending->method);
    envelope->request_id.data = (uint8_t *)pending->request_id;
    envelope->request_id.len = sizeof pending->request_id;
    envelope->timeout_ms = pending->timeout_ms;
    if (pending->has_ring) {
        envelope->ring_id = (ProtobufCBinaryData){RPC_RING_ID_BYTES, (uint8_t *)pending->ring_id};
    }
}

/* For the process that the peer was when it last answered; for nobody when it never has. */
static bool pending_sign(struct rpc_client *client, const struct rpc_pending *pending,
                         const uint8_t start[RPC_START_BYTES], uint64_t clock_us, nng_msg *msg) {
    Chord__V1__RpcRequest envelope;
    envelope_fill(&envelope, pending);
    envelope.receiver = (ProtobufCBinaryData){RPC_START_BYTES, (uint8_t *)start};
    envelope.sent_ms = (rpc_now_us() - clock_us) / 1000;
    return rpc_envelope_sign_request(msg, client->mac, &envelope, pending->payload_bytes);
}

/* The request was refused unexecuted, since it was signed for another process or time. True: it is
 * on its way again, signed for what the refusal said. */
static bool pending_send_again(struct rpc_pending *pending) {
    struct rpc_peer *peer = pending->link->peer;
    struct rpc_client *client = peer->client;
    nng_msg *msg = pending->copy;
    uint8_t start[RPC_START_BYTES];
    pthread_mutex_lock(&client->lock);
    memcpy(start, peer->start, sizeof start);
    uint64_t clock_us = peer->clock_us;
    pthread_mutex_unlock(&client->lock);
    if (msg == NULL || !pending_sign(client, pending, start, clock_us, msg)) {
        return false;
    }
    pthread_mutex_lock(&client->lock);
    bool goes = !client->closing && rpc_now_us() < rpc_pending_deadline_us(pending);
    if (goes) {
        pending->copy = NULL;
        goes = pending_start(pending, msg);
    }
    pthread_mutex_unlock(&client->lock);
    return goes;
}

void rpc_pending_answer(struct rpc_pending *pending, const uint8_t *bytes, size_t bytes_count) {
    struct rpc_reply reply;
    rpc_reply_from_bytes(&reply, pending, bytes, bytes_count);
    if (reply.code == CHORD__V1__CODE__CODE_CHALLENGE) {
        if (pending_send_again(pending)) {
            return;
        }
        reply.code = CHORD__V1__CODE__CODE_UNAVAILABLE; /* nothing was done */
    }
    pending_end(pending, 0, &reply);
}

/* Takes the message. 0, or the nng error that says why not. With the lock held. */
static int client_start(struct rpc_client *client, struct rpc_peer *peer,
                        const struct rpc_pending *wanted, nng_msg *msg) {
    struct rpc_link *link = &peer->links[rpc_method_lane(wanted->method)];
    int rv = rpc_link_open(link);
    struct rpc_pending *pending = rv == 0 ? malloc(sizeof *pending) : NULL;
    if (pending == NULL) {
        nng_msg_free(msg);
        return rv == 0 ? NNG_ENOMEM : rv;
    }
    *pending = *wanted;
    pending->link = link;
    if (!pending_start(pending, msg)) {
        free(pending);
        return NNG_ENOMEM;
    }
    link->open_count++;
    client->calls_open++;
    return 0;
}

/* The request's id, and which ring it is meant for. */
static void client_name(struct rpc_client *client, struct rpc_pending *wanted) {
    pthread_mutex_lock(&client->lock);
    uint64_t number = client->requests_total++;
    wanted->has_ring = client->has_ring && !rpc_method_is_anyones(wanted->method);
    memcpy(wanted->ring_id, client->ring_id, sizeof wanted->ring_id);
    pthread_mutex_unlock(&client->lock);
    memcpy(wanted->request_id, &client->request_prefix, 8);
    memcpy(wanted->request_id + 8, &number, 8);
}

/* Signs for the peer and keeps a copy for the case that it is another process by now. */
static int client_sign(struct rpc_client *client, const char *address, const char *url,
                       struct rpc_pending *wanted, nng_msg *msg) {
    uint8_t start[RPC_START_BYTES] = {0};
    uint64_t clock_us = 0;
    pthread_mutex_lock(&client->lock);
    const struct rpc_peer *peer = rpc_peer_get(client, address, url);
    if (peer != NULL && peer->has_start) {
        memcpy(start, peer->start, sizeof start);
        clock_us = peer->clock_us;
    }
    pthread_mutex_unlock(&client->lock);
    return pending_sign(client, wanted, start, clock_us, msg) &&
                   nng_msg_dup(&wanted->copy, msg) == 0
               ? 0
               : -ENOMEM;
}

static nng_msg *client_pack(struct rpc_client *client, const char *address, const char *url,
                            struct rpc_pending *wanted, const ProtobufCMessage *request,
                            struct rpc_reply *reply) {
    Chord__V1__RpcRequest envelope;
    nng_msg *msg = NULL;
    envelope_fill(&envelope, wanted);
    int rc = rpc_envelope_pack_request(&msg, client->mac != NULL, &envelope, request,
                                       &wanted->payload_bytes);
    if (rc == 0 && client->mac != NULL && (rc = client_sign(client, address, url, wanted, msg))) {
        nng_msg_free(msg);
    }
    if (rc == 0) {
        return msg;
    }
    if (rc == -EMSGSIZE) {
        rpc_reply_error(reply, CHORD__V1__CODE__CODE_INVALID_ARGUMENT,
                        "the request is larger than %d bytes; send less at a time",
                        RPC_MESSAGE_BYTES_MAX);
    } else {
        rpc_reply_error(reply, CHORD__V1__CODE__CODE_RESOURCE_EXHAUSTED,
                        "no memory for a request (at most %d bytes)", RPC_MESSAGE_BYTES_MAX);
    }
    return NULL;
}

/* True: on its way. Else *reply says why not. */
static bool client_send(struct rpc_client *client, const char *address, const char *url,
                        const struct rpc_pending *wanted, nng_msg *msg, struct rpc_reply *reply) {
    pthread_mutex_lock(&client->lock);
    int rv = client->closing                              ? NNG_ECLOSED
             : client->calls_open >= RPC_CLIENT_CALLS_MAX ? NNG_EAGAIN
                                                          : 0;
    struct rpc_peer *peer = rv == 0 ? rpc_peer_get(client, address, url) : NULL;
    if (peer != NULL) {
        rv = client_start(client, peer, wanted, msg);
    } else {
        rv = rv == 0 ? NNG_ENOMEM : rv;
        nng_msg_free(msg);
    }
    pthread_mutex_unlock(&client->lock);
    if (rv == 0) {
        return true;
    }
    if (rv == NNG_EAGAIN) {
        rpc_reply_error(reply, CHORD__V1__CODE__CODE_RESOURCE_EXHAUSTED,
                        "%d calls are open already; wait for some of them", RPC_CLIENT_CALLS_MAX);
    } else {
        rpc_reply_error(reply, CHORD__V1__CODE__CODE_UNAVAILABLE, "cannot call %s: %s", address,
                        rv == NNG_ECLOSED ? "the client is closing" : nng_strerror(rv));
    }
    nng_msg_free(wanted->copy);
    return false;
}

void rpc_client_call(struct rpc_client *client, const char *address, enum rpc_method method,
                     const ProtobufCMessage *request, uint32_t timeout_ms, rpc_reply_fn *on_reply,
                     void *context) {
    assert(request->descriptor == rpc_method_request(method));
    struct rpc_pending wanted = {.method = method, .on_reply = on_reply, .context = context};
    struct rpc_reply reply;
    char url[RPC_URL_BYTES];
    wanted.started_us = rpc_now_us();
    wanted.timeout_ms = timeout_ms == 0 ? RPC_TIMEOUT_MS_DEFAULT : timeout_ms;
    if (wanted.timeout_ms > RPC_TIMEOUT_MS_MAX) {
        wanted.timeout_ms = RPC_TIMEOUT_MS_MAX;
    }
    if (!rpc_address_url(url, address)) {
        rpc_reply_error(&reply, CHORD__V1__CODE__CODE_INVALID_ARGUMENT,
                        "\"%.64s\" is no address; give host:port", address);
        reply.unsent = true;
        on_reply(context, &reply);
        return;
    }
    client_name(client, &wanted);
    nng_msg *msg = client_pack(client, address, url, &wanted, request, &reply);
    if (msg == NULL || !client_send(client, address, url, &wanted, msg, &reply)) {
        reply.unsent = true;
        on_reply(context, &reply);
    }
}

/* ---- waiting calls ---- */

struct call_waiter {
    pthread_mutex_t lock;
    pthread_cond_t answered;
    bool done;
    struct rpc_reply *reply;
};

static void waiter_reply(void *context, struct rpc_reply *reply) {
    struct call_waiter *waiter = context;
    pthread_mutex_lock(&waiter->lock);
    *waiter->reply = *reply;
    waiter->done = true;
    pthread_cond_signal(&waiter->answered);
    pthread_mutex_unlock(&waiter->lock);
}

void rpc_client_call_wait(struct rpc_client *client, const char *address, enum rpc_method method,
                          const ProtobufCMessage *request, uint32_t timeout_ms,
                          struct rpc_reply *reply) {
    struct call_waiter waiter = {
        .lock = PTHREAD_MUTEX_INITIALIZER, .answered = PTHREAD_COND_INITIALIZER, .reply = reply};
    rpc_client_call(client, address, method, request, timeout_ms, waiter_reply, &waiter);
    pthread_mutex_lock(&waiter.lock);
    while (!waiter.done) {
        pthread_cond_wait(&waiter.answered, &waiter.lock);
    }
    pthread_mutex_unlock(&waiter.lock);
    pthread_cond_destroy(&waiter.answered);
    pthread_mutex_destroy(&waiter.lock);
}

/* ---- the client ---- */

int rpc_client_open(struct rpc_client **out, const struct rpc_client_options *options) {
    *out = NULL;
    struct rpc_client *client = calloc(1, sizeof *client);
    if (client == NULL) {
        return -ENOMEM;
    }
    pthread_mutex_init(&client->lock, NULL);
    clock_cond_init(&client->changed);
    client->peers_max = options->peers_max == 0 ? RPC_PEERS_MAX_DEFAULT : options->peers_max;
    client->on_disconnect = options->on_disconnect;
    client->context = options->context;
    int rc = rpc_nng_start();
    if (rc == 0) {
        rc = rpc_mac_open(&client->mac, &options->key);
    }
    if (rc == 0 && getrandom(&client->request_prefix, sizeof client->request_prefix, 0) !=
                       sizeof client->request_prefix) {
        rc = -EIO;
    }
    if (rc == 0) {
        rc = rpc_timer_start(client);
    }
    if (rc != 0) {
        rpc_client_close(client);
        return rc;
    }
    *out = client;
    return 0;
}

void rpc_client_set_ring(struct rpc_client *client, const uint8_t *ring_id) {
    pthread_mutex_lock(&client->lock);
    client->has_ring = ring_id != NULL;
    if (ring_id != NULL) {
        memcpy(client->ring_id, ring_id, RPC_RING_ID_BYTES);
    }
    pthread_mutex_unlock(&client->lock);
}

void rpc_client_close(struct rpc_client *client) {
    if (client == NULL) {
        return;
    }
    pthread_mutex_lock(&client->lock);
    client->closing = true;
    struct rpc_pending *ended = NULL, **last = &ended;
    for (struct rpc_peer *peer = client->peers; peer != NULL; peer = peer->next) {
        for (int lane = 0; lane < RPC_LANES; lane++) {
            last = rpc_link_take_all(&peer->links[lane], last);
        }
    }
    pthread_mutex_unlock(&client->lock);
    rpc_pending_fail(ended, NNG_ECLOSED);
    pthread_mutex_lock(&client->lock);
    while (client->calls_open > 0) {
        pthread_cond_wait(&client->changed, &client->lock);
    }
    pthread_mutex_unlock(&client->lock);
    rpc_timer_stop(client);
    while (client->peers != NULL) {
        struct rpc_peer *peer = client->peers;
        client->peers = peer->next;
        rpc_peer_close(peer);
    }
    rpc_mac_close(client->mac);
    pthread_cond_destroy(&client->changed);
    pthread_mutex_destroy(&client->lock);
    free(client);
}

/* The way of find_successor over the ring (Chord, section IV), as a node that walked it tells. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chord/v1/admin.pb-c.h"
#include "client.h"
#include "fate.h"

enum { PAUSE_MS = 50 };

/* Calls a member that answers, or `from`, until another attempt has the same end or the time is
 * over. A request that changes nothing. */
static void call_member(struct chord_client *client, const char *from, enum rpc_method method,
                        const ProtobufCMessage *request, uint64_t end_ms,
                        struct chord_lookup *lookup, struct rpc_reply *reply) {
    uint64_t began_ms = client_now_ms();
    for (;;) {
        uint64_t now_ms = client_now_ms();
        uint64_t left_ms = now_ms < end_ms ? end_ms - now_ms : 1;
        char why[sizeof reply->message] = "no node of the ring answers";
        *reply = (struct rpc_reply){
            .code = CHORD__V1__CODE__CODE_UNAVAILABLE, .local = true, .unsent = true};
        if (from != NULL) {
            snprintf(lookup->address, sizeof lookup->address, "%s", from);
        }
        lookup->nobody = from == NULL && !client->watch.member(client->watch.context,
                                                               lookup->address, why, sizeof why);
        snprintf(reply->message, sizeof reply->message, "%s", why);
        if (!lookup->nobody) {
            uint32_t wait_ms =
                left_ms < client->attempt_ms ? (uint32_t)left_ms : client->attempt_ms;
            rpc_client_call_wait(client->rpc, lookup->address, method, request, wait_ms, reply);
            client_hear(client, reply);
        }
        uint64_t patience_ms = lookup->nobody ? began_ms + client->nobody_ms : end_ms;
        if (chord_outcome_of_reply(reply).again == CHORD_AGAIN_NEVER ||
            client_now_ms() + PAUSE_MS >= patience_ms || atomic_load(&client->stopping)) {
            return;
        }
        if (!lookup->nobody) {
            client->watch.mistrust(client->watch.context, lookup->address,
                                   client_is_silence(reply));
        }
        rpc_reply_free(reply);
        client_pause_ms(PAUSE_MS);
    }
}

/* The ring's M is the number of bits of its ids; only their bytes are in the answer. */
static unsigned m_await(struct chord_client *client, struct chord_lookup *lookup, uint64_t end_ms) {
    char address[CHORD_ADDRESS_SIZE];
    Chord__V1__StatusRequest request = CHORD__V1__STATUS_REQUEST__INIT;
    struct rpc_reply reply;
    if (atomic_load(&client->m) == 0) {
        memcpy(address, lookup->address, sizeof address);
        call_member(client, address, RPC_ADMIN_STATUS, &request.base, end_ms, lookup, &reply);
        const Chord__V1__StatusResponse *status =
            (const Chord__V1__StatusResponse *)(const void *)reply.response;
        if (status != NULL && status->parameters != NULL) {
            client_set_m(client, status->parameters->m);
        }
        rpc_reply_free(&reply);
    }
    return atomic_load(&client->m);
}

static void id_take(char out[CHORD_ID_SIZE], ProtobufCBinaryData bytes, unsigned m) {
    struct ring_id id;
    out[0] = '\0';
    if (m > 0 && bytes.len == (m + 7) / 8 && id_from_wire(&id, bytes.data, bytes.len)) {
        id_to_hex(&id, m, out);
    }
}

static void peer_take(struct chord_peer *out, const Chord__V1__Peer *peer, unsigned m) {
    if (peer != NULL) {
        id_take(out->id, peer->id, m);
        snprintf(out->address, sizeof out->address, "%.63s", peer->address);
    }
}

static bool answer_take(struct chord_lookup *lookup, const Chord__V1__LookupResponse *response,
                        unsigned m) {
    lookup->hops = calloc(response->n_hops + 1, sizeof lookup->hops[0]);
    if (lookup->hops == NULL) {
        return false;
    }
    id_take(lookup->key_id, response->key_id, m);
    peer_take(&lookup->owner, response->owner, m);
    lookup->hops_count = response->n_hops;
    for (size_t i = 0; i < response->n_hops; i++) {
        peer_take(&lookup->hops[i].node, response->hops[i]->node, m);
        lookup->hops[i].microseconds = response->hops[i]->microseconds;
    }
    return true;
}

bool chord_lookup(struct chord_client *client, const void *key, size_t key_size, const char *from,
                  uint32_t timeout_ms, struct chord_lookup *lookup) {
    Chord__V1__LookupRequest request = CHORD__V1__LOOKUP_REQUEST__INIT;
    struct rpc_reply reply;
    uint64_t end_ms = client_now_ms() + (timeout_ms > 0 ? timeout_ms : client->timeout_ms);
    *lookup = (struct chord_lookup){0};
    request.key = client_bytes(key, key_size);
    call_member(client, from, RPC_KV_LOOKUP, &request.base, end_ms, lookup, &reply);
    const Chord__V1__LookupResponse *response =
        reply.code == CHORD__V1__CODE__CODE_OK ? (const void *)reply.response : NULL;
    lookup->code = (int)reply.code;
    lookup->answered = client_is_answer(&reply);
    lookup->retry_after_ms = reply.retry_after_ms;
    snprintf(lookup->message, sizeof lookup->message, "%s", reply.message);
    if (reply.code == CHORD__V1__CODE__CODE_OK && (response == NULL || response->owner == NULL)) {
        lookup->code = CHORD_CODE_INTERNAL;
        snprintf(lookup->message, sizeof lookup->message, "it names no owner");
    } else if (response != NULL &&
               !answer_take(lookup, response, m_await(client, lookup, end_ms))) {
        lookup->code = CHORD_CODE_RESOURCE_EXHAUSTED;
        snprintf(lookup->message, sizeof lookup->message, "no memory");
    }
    rpc_reply_free(&reply);
    return lookup->code == CHORD_CODE_OK;
}

void chord_lookup_free(struct chord_lookup *lookup) {
    free(lookup->hops);
    lookup->hops = NULL;
    lookup->hops_count = 0;
}

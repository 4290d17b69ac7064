/* SPDX-License-Identifier: MIT */
/* The way of find_successor over the ring (Stoica et al. 2001, section 4.3), as a node that walked
 * it tells. */
#include <stdio.h>
#include <stdlib.h>

#include "client.h"

/* The ring's M is the number of bits of its ids; only their bytes are in the answer. */
static unsigned m_await(struct chord_client *client, const char *address) {
    struct chord_answer answer;
    if (atomic_load(&client->m) == 0) {
        (void)client_learn(client, address, 0, &answer);
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
    const struct client_call call = {.address = from,
                                     .patient = true,
                                     .method = RPC_KV_LOOKUP,
                                     .request = &request.base,
                                     .timeout_ms = timeout_ms};
    struct chord_answer *answer = &lookup->answer;
    struct rpc_reply reply;
    *lookup = (struct chord_lookup){.hops_count = 0};
    request.key = client_bytes(key, key_size);
    bool ok = client_call(client, &call, answer, &reply);
    const Chord__V1__LookupResponse *response = ok ? (const void *)reply.response : NULL;
    if (ok && response->owner == NULL) {
        answer->code = CHORD_CODE_INTERNAL;
        snprintf(answer->message, sizeof answer->message, "it names no owner");
    } else if (ok && !answer_take(lookup, response, m_await(client, answer->address))) {
        answer->code = CHORD_CODE_RESOURCE_EXHAUSTED;
        snprintf(answer->message, sizeof answer->message, "no memory");
    }
    rpc_reply_free(&reply);
    return answer->code == CHORD_CODE_OK;
}

void chord_lookup_free(struct chord_lookup *lookup) {
    free(lookup->hops);
    lookup->hops = NULL;
    lookup->hops_count = 0;
}

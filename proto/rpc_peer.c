/* SPDX-License-Identifier: MIT */
/*
 * Who is called: a peer for each address, kept as long as it is of use. Knows nothing of what calls
 * mean.
 */
#include <stdlib.h>
#include <string.h>

#include "rpc_peer.h"

static bool peer_is_idle(const struct rpc_peer *peer) {
    return peer->links[RPC_LANE_RING].open_count == 0 && peer->links[RPC_LANE_DATA].open_count == 0;
}

void rpc_peer_changed(struct rpc_peer *peer) {
    if (peer->given_up && peer_is_idle(peer)) {
        rpc_timer_wake_at(peer->client, 1);
    }
}

void rpc_peer_close(struct rpc_peer *peer) {
    for (int lane = 0; lane < RPC_LANES; lane++) {
        rpc_link_close(&peer->links[lane]);
    }
    free(peer);
}

/* Moves *at from the peers to the doomed. */
static void peer_doom(struct rpc_client *client, struct rpc_peer **at) {
    struct rpc_peer *peer = *at;
    *at = peer->next;
    client->peers_count--;
    peer->closing = true;
    peer->next = client->doomed;
    client->doomed = peer;
    rpc_timer_wake_at(client, 1);
}

/* Hangs up on the idle peer that was used longest ago. When none is idle, one more is allowed:
 * RPC_CLIENT_CALLS_MAX bounds how many can be busy. */
static void peer_evict(struct rpc_client *client) {
    struct rpc_peer **victim = NULL;
    for (struct rpc_peer **at = &client->peers; *at != NULL; at = &(*at)->next) {
        if (peer_is_idle(*at)) {
            victim = at;
        }
    }
    if (victim != NULL) {
        peer_doom(client, victim);
    }
}

static struct rpc_peer *peer_new(struct rpc_client *client, const char *address, const char *url) {
    struct rpc_peer *peer = calloc(1, sizeof *peer);
    if (peer == NULL) {
        return NULL;
    }
    peer->client = client;
    strcpy(peer->address, address);
    strcpy(peer->url, url);
    for (int lane = 0; lane < RPC_LANES; lane++) {
        peer->links[lane].peer = peer;
    }
    if (client->peers_count >= client->peers_max) {
        peer_evict(client);
    }
    client->peers_count++;
    return peer;
}

struct rpc_peer *rpc_peer_get(struct rpc_client *client, const char *address, const char *url) {
    struct rpc_peer **at = &client->peers;
    while (*at != NULL && ((*at)->given_up || strcmp((*at)->address, address) != 0)) {
        at = &(*at)->next;
    }
    struct rpc_peer *peer = *at;
    if (peer != NULL) {
        *at = peer->next;
    } else if ((peer = peer_new(client, address, url)) == NULL) {
        return NULL;
    }
    peer->next = client->peers;
    client->peers = peer;
    peer->used_us = rpc_now_us();
    return peer;
}

void rpc_peers_tidy(struct rpc_client *client) {
    uint64_t now = rpc_now_us();
    for (struct rpc_peer **at = &client->peers; *at != NULL;) {
        bool unused = now - (*at)->used_us > RPC_PEER_IDLE_MS * UINT64_C(1000);
        if (peer_is_idle(*at) && ((*at)->given_up || unused)) {
            peer_doom(client, at);
        } else {
            at = &(*at)->next;
        }
    }
}

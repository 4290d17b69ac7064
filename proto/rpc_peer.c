/* SPDX-License-Identifier: MIT */
/*
 * Connections to peers: opened at the first call, dialled by nng until they are up, hung up on when
 * idle. Knows sockets and pipes, nothing of what calls mean. One socket per peer and lane: a REQ
 * socket with two peers would share requests out between them.
 */
#include <nng/nng.h>
#include <nng/protocol/reqrep0/req.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "rpc_peer.h"

enum { JANITOR_PERIOD_MS = 30000 };

/* ---- links ---- */

/* Called by nng when a connection has closed. */
static void link_disconnected(nng_pipe pipe, nng_pipe_ev event, void *context) {
    (void)pipe;
    (void)event;
    struct rpc_link *link = context;
    struct rpc_client *client = link->peer->client;
    pthread_mutex_lock(&client->lock);
    bool ours = client->closing || link->peer->closing;
    /* Those that were sent end by nng itself (ECONNRESET); this ends those that wait their turn
     * behind them. Aborting an aio only asks; its callback comes on another thread. */
    for (struct rpc_pending *pending = link->open; pending != NULL; pending = pending->next) {
        nng_aio_abort(pending->aio, NNG_ECONNRESET);
    }
    pthread_mutex_unlock(&client->lock);
    if (!ours && client->on_disconnect != NULL) {
        client->on_disconnect(client->context, link->peer->address);
    }
}

static int link_dial(struct rpc_link *link) {
    nng_socket socket = link->socket;
    nng_dialer dialer;
    int rv;
    if ((rv = nng_socket_set_ms(socket, NNG_OPT_REQ_RESENDTIME, NNG_DURATION_INFINITE)) ||
        (rv = nng_pipe_notify(socket, NNG_PIPE_EV_REM_POST, link_disconnected, link)) ||
        (rv = rpc_nng_fix_dialer(&dialer, socket, link->peer->url)) ||
        (rv = nng_dialer_set_size(dialer, NNG_OPT_RECVMAXSZ, RPC_RECEIVE_BYTES_MAX)) ||
        (rv = nng_dialer_set_ms(dialer, NNG_OPT_RECONNMINT, RPC_RECONNECT_MS_MIN)) ||
        (rv = nng_dialer_set_ms(dialer, NNG_OPT_RECONNMAXT, RPC_RECONNECT_MS_MAX))) {
        return rv;
    }
    return nng_dialer_start(dialer, NNG_FLAG_NONBLOCK);
}

int rpc_link_open(struct rpc_link *link) {
    if (nng_socket_id(link->socket) > 0) {
        return 0;
    }
    int rv = nng_req0_open(&link->socket);
    if (rv == 0 && (rv = link_dial(link)) != 0) {
        nng_close(link->socket); /* no pipe was ever there: nothing to wait for */
    }
    if (rv != 0) {
        link->socket = (nng_socket)NNG_SOCKET_INITIALIZER;
    }
    return rv;
}

static void pending_free(struct rpc_pending *pending) {
    nng_aio_free(pending->aio);
    free(pending);
}

struct rpc_pending *rpc_link_take(struct rpc_link *link, void (*callback)(void *)) {
    struct rpc_pending *pending = link->spare;
    if (pending != NULL) {
        link->spare = pending->next;
    } else {
        pending = calloc(1, sizeof *pending);
        if (pending == NULL) {
            return NULL;
        }
        pending->link = link;
        if (nng_aio_alloc(&pending->aio, callback, pending) != 0 ||
            nng_ctx_open(&pending->ctx, link->socket) != 0) {
            pending_free(pending);
            return NULL;
        }
    }
    pending->receiving = false;
    pending->previous = NULL;
    pending->next = link->open;
    if (link->open != NULL) {
        link->open->previous = pending;
    }
    link->open = pending;
    link->open_count++;
    return pending;
}

static bool peer_is_idle(const struct rpc_peer *peer) {
    return peer->links[RPC_LANE_RING].open_count == 0 && peer->links[RPC_LANE_DATA].open_count == 0;
}

/* A connection that was silent during a whole call may have lost packets to a cut cable or a dead
 * router: TCP sends them again after 0.2, 0.4, 0.8, ... s, so that it would stay silent for up to
 * as long as the cut was, once that is over. A new connection works at once. */
static void link_judge(struct rpc_link *link, const struct rpc_pending *pending, int rv) {
    if (rv == 0) {
        link->heard_us = rpc_now_us();
    } else if (rv == NNG_ETIMEDOUT && link->heard_us < pending->started_us) {
        link->peer->given_up = true;
    }
}

void rpc_link_give_back(struct rpc_pending *pending, int rv) {
    struct rpc_link *link = pending->link;
    link_judge(link, pending, rv);
    if (pending->previous != NULL) {
        pending->previous->next = pending->next;
    } else {
        link->open = pending->next;
    }
    if (pending->next != NULL) {
        pending->next->previous = pending->previous;
    }
    link->open_count--;
    pending->next = link->spare;
    link->spare = pending;
    if (link->peer->given_up && peer_is_idle(link->peer)) {
        pthread_cond_broadcast(&link->peer->client->changed);
    }
}

static void link_close(struct rpc_link *link) {
    if (nng_socket_id(link->socket) <= 0) {
        return;
    }
    while (link->spare != NULL) {
        struct rpc_pending *pending = link->spare;
        link->spare = pending->next;
        /* First the aio: nng's thread of deadlines may still be in the cancellation that ended the
         * call, with the context's lock in its hand. Only freeing the aio waits for that. */
        nng_aio_free(pending->aio);
        nng_ctx_close(pending->ctx);
        free(pending);
    }
    nng_close(link->socket); /* returns after the last pipe event */
}

/* ---- peers ---- */

void rpc_peer_close(struct rpc_peer *peer) {
    for (int lane = 0; lane < RPC_LANES; lane++) {
        link_close(&peer->links[lane]);
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
    pthread_cond_broadcast(&client->changed);
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
        peer->links[lane].socket = (nng_socket)NNG_SOCKET_INITIALIZER;
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

/* ---- the janitor ---- */

static void janitor_doom_unneeded(struct rpc_client *client) {
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

static void *janitor_run(void *context) {
    struct rpc_client *client = context;
    pthread_mutex_lock(&client->lock);
    while (!client->closing || client->doomed != NULL) {
        janitor_doom_unneeded(client);
        struct rpc_peer *peer = client->doomed;
        if (peer != NULL) {
            client->doomed = peer->next;
            pthread_mutex_unlock(&client->lock);
            rpc_peer_close(peer);
            pthread_mutex_lock(&client->lock);
            continue;
        }
        clock_cond_wait(&client->changed, &client->lock, clock_now_ms() + JANITOR_PERIOD_MS);
    }
    pthread_mutex_unlock(&client->lock);
    return NULL;
}

int rpc_janitor_start(struct rpc_client *client) {
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 256 * 1024);
    int rc = pthread_create(&client->janitor, &attributes, janitor_run, client);
    pthread_attr_destroy(&attributes);
    client->janitor_runs = rc == 0;
    return -rc;
}

void rpc_janitor_stop(struct rpc_client *client) {
    if (client->janitor_runs) {
        pthread_mutex_lock(&client->lock);
        pthread_cond_broadcast(&client->changed);
        pthread_mutex_unlock(&client->lock);
        pthread_join(client->janitor, NULL);
        client->janitor_runs = false;
    }
}

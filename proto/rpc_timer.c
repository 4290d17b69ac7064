/* SPDX-License-Identifier: MIT */
/*
 * What time demands of the client, on one thread of its own: calls end at their deadlines, links
 * that calls wait for are dialled again, and dialling and greeting end in time; peers that nobody
 * needs are hung up on (nng must not be closed from its own callbacks). It sleeps until the
 * earliest of these: seldom, since most calls are over long before.
 */
#include <errno.h>

#include "clock.h"
#include "rpc_peer.h"

enum {
    TIDY_PERIOD_MS = 30000,
    STACK_BYTES = 256 * 1024,
};

uint64_t rpc_pending_deadline_us(const struct rpc_pending *pending) {
    uint32_t ms = pending->sent ? pending->timeout_ms : rpc_pending_connect_ms(pending);
    return pending->started_us + ms * UINT64_C(1000);
}

void rpc_timer_wake_at(struct rpc_client *client, uint64_t us) {
    if (us < client->timer_us) {
        client->timer_us = us;
        pthread_cond_broadcast(&client->changed);
    }
}

/* The calls of the link whose time is over, taken out; behind *last. */
static struct rpc_pending **link_expire(struct rpc_link *link, uint64_t now_us, uint64_t *next_us,
                                        struct rpc_pending **last) {
    for (struct rpc_pending *pending = link->open, *next; pending != NULL; pending = next) {
        uint64_t deadline_us = rpc_pending_deadline_us(pending);
        next = pending->next;
        if (deadline_us <= now_us) {
            rpc_link_take(pending);
            pending->next = NULL;
            *last = pending;
            last = &pending->next;
        } else if (deadline_us < *next_us) {
            *next_us = deadline_us;
        }
    }
    return last;
}

static void link_look(struct rpc_link *link, uint64_t now_us, uint64_t *next_us) {
    if (rpc_link_due_us(link) <= now_us) {
        rpc_link_due(link);
    }
    uint64_t due_us = rpc_link_due_us(link);
    if (due_us < *next_us) {
        *next_us = due_us;
    }
}

/* Returns the calls that end now; *next_us becomes earlier when there is something to do before. */
static struct rpc_pending *client_look(struct rpc_client *client, uint64_t *next_us) {
    struct rpc_pending *ended = NULL, **last = &ended;
    uint64_t now_us = rpc_now_us();
    for (struct rpc_peer *peer = client->peers; peer != NULL; peer = peer->next) {
        for (int lane = 0; lane < RPC_LANES; lane++) {
            last = link_expire(&peer->links[lane], now_us, next_us, last);
            link_look(&peer->links[lane], now_us, next_us);
        }
    }
    return ended;
}

static void *timer_run(void *context) {
    struct rpc_client *client = context;
    pthread_mutex_lock(&client->lock);
    while (!client->closing || client->doomed != NULL) {
        uint64_t next_us = rpc_now_us() + TIDY_PERIOD_MS * UINT64_C(1000);
        client->timer_us = 0;
        rpc_peers_tidy(client);
        struct rpc_peer *peer = client->doomed;
        struct rpc_pending *ended = client_look(client, &next_us);
        if (peer != NULL || ended != NULL) {
            client->doomed = peer != NULL ? peer->next : NULL;
            pthread_mutex_unlock(&client->lock);
            rpc_pending_fail(ended, NNG_ETIMEDOUT);
            if (peer != NULL) {
                rpc_peer_close(peer);
            }
            pthread_mutex_lock(&client->lock);
            continue;
        }
        client->timer_us = next_us;
        while (client->timer_us > rpc_now_us() && !client->closing) {
            clock_cond_wait(&client->changed, &client->lock, client->timer_us / 1000 + 1);
        }
    }
    pthread_mutex_unlock(&client->lock);
    return NULL;
}

int rpc_timer_start(struct rpc_client *client) {
    int rc = rpc_thread_start(&client->timer, STACK_BYTES, timer_run, client);
    client->timer_runs = rc == 0;
    return rc;
}

void rpc_timer_stop(struct rpc_client *client) {
    if (client->timer_runs) {
        pthread_mutex_lock(&client->lock);
        pthread_cond_broadcast(&client->changed);
        pthread_mutex_unlock(&client->lock);
        pthread_join(client->timer, NULL);
        client->timer_runs = false;
    }
}

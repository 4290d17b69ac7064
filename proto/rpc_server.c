/* SPDX-License-Identifier: MIT */
/*
 * Serves requests: listens, lets connections in, looks after them. Who gets in: everybody, as long
 * as there are slots; then one more takes the place of the stranger that was silent for longest,
 * and of a member of the ring only if that was silent for long. Knows methods and messages; what
 * they mean is the handlers' business.
 */
#include <errno.h>
#include <stdlib.h>

#include "clock.h"
#include "rpc_server.h"

enum {
    KNOWN_IDLE_MS = 60000, /* so long a member is not asked to make room */
    SWEEP_STACK_BYTES = 128 * 1024,
};

bool rpc_server_has_room(const struct rpc_server *server, bool known, size_t bytes) {
    size_t limit = known ? RPC_HELD_BYTES_MAX : RPC_HELD_BYTES_MAX / 4 * 3;
    return server->held_bytes < limit && bytes <= limit - server->held_bytes;
}

bool rpc_server_is_short(const struct rpc_server *server) {
    return server->held_bytes > RPC_HELD_BYTES_MAX / 2 ||
           server->connections_count > RPC_CONNECTIONS_MAX / 4 * 3;
}

/* ---- who gets in ---- */

/* The one that makes room: not known before known, without open calls before others, then whoever
 * was silent for longest. NULL: nobody. */
static struct rpc_connection *connection_victim(const struct rpc_server *server) {
    struct rpc_connection *victim = NULL;
    uint64_t now_ms = rpc_now_us() / 1000;
    for (struct rpc_connection *c = server->connections; c != NULL; c = c->next) {
        if (c->closed || (c->known && (c->calls != NULL || now_ms - c->heard_ms < KNOWN_IDLE_MS))) {
            continue;
        }
        bool busy = c->calls != NULL, victim_busy = victim != NULL && victim->calls != NULL;
        if (victim == NULL || (victim->known && !c->known) ||
            (victim->known == c->known &&
             (victim_busy != busy ? victim_busy : c->heard_ms < victim->heard_ms))) {
            victim = c;
        }
    }
    return victim;
}

static void server_admit(struct rpc_server *server, nng_stream *stream) {
    if (server->connections_count >= RPC_CONNECTIONS_MAX) {
        struct rpc_connection *victim = connection_victim(server);
        if (victim == NULL) {
            nng_stream_close(stream);
            nng_stream_free(stream);
            return;
        }
        rpc_connection_close(victim);
    }
    rpc_connection_open(server, stream);
}

static void server_accept(struct rpc_server *server) {
    server->accept_waits = false;
    nng_stream_listener_accept(server->listener, server->accept_aio);
}

static void accept_event(void *context) {
    struct rpc_server *server = context;
    int rv = nng_aio_result(server->accept_aio);
    nng_stream *stream = rv == 0 ? nng_aio_get_output(server->accept_aio, 0) : NULL;
    pthread_mutex_lock(&server->lock);
    if (server->closing) {
        if (stream != NULL) {
            nng_stream_close(stream);
            nng_stream_free(stream);
        }
    } else if (stream != NULL) {
        server_admit(server, stream);
        server_accept(server);
    } else {
        server->accept_waits = true;
        rpc_server_sweep_soon(server);
    }
    pthread_mutex_unlock(&server->lock);
}

/* ---- the sweep ---- */

/* An own thread and not nng_sleep_aio: whenever a time of nng's is over, its thread spins until the
 * clock shows the next millisecond, which made nine tenths of an idle node's processor time. */
static void *sweep_run(void *context) {
    struct rpc_server *server = context;
    pthread_mutex_lock(&server->lock);
    while (!server->closing) {
        bool quiet = true;
        uint64_t now_ms = rpc_now_us() / 1000; /* not from before a wait for the lock */
        for (struct rpc_connection *c = server->connections, *next; c != NULL; c = next) {
            next = c->next;
            quiet = rpc_connection_sweep(c, now_ms) && quiet;
        }
        if (server->accept_waits) {
            server_accept(server);
            quiet = false;
        }
        server->sweep_ms = rpc_now_us() / 1000 + (quiet ? RPC_SWEEP_QUIET_MS : RPC_SWEEP_MS);
        while (!server->closing && rpc_now_us() / 1000 < server->sweep_ms) {
            clock_cond_wait(&server->sweep, &server->lock, server->sweep_ms);
        }
    }
    pthread_mutex_unlock(&server->lock);
    return NULL;
}

void rpc_server_sweep_soon(struct rpc_server *server) {
    uint64_t soon_ms = rpc_now_us() / 1000 + RPC_SWEEP_MS;
    if (soon_ms < server->sweep_ms) {
        server->sweep_ms = soon_ms;
        pthread_cond_signal(&server->sweep);
    }
}

static int sweep_start(struct rpc_server *server) {
    int rc = rpc_thread_start(&server->sweeper, SWEEP_STACK_BYTES, sweep_run, server);
    server->sweeps = rc == 0;
    return rc;
}

/* ---- the server ---- */

static int server_listen(struct rpc_server *server, const char *url) {
    int rv;
    if ((rv = nng_aio_alloc(&server->accept_aio, accept_event, server)) ||
        (rv = nng_stream_listener_alloc(&server->listener, url)) ||
        (rv = nng_stream_listener_set_bool(server->listener, NNG_OPT_TCP_NODELAY, true)) ||
        (rv = nng_stream_listener_set_bool(server->listener, NNG_OPT_TCP_KEEPALIVE, true)) ||
        (rv = nng_stream_listener_listen(server->listener))) {
        return rv;
    }
    pthread_mutex_lock(&server->lock);
    server_accept(server);
    pthread_mutex_unlock(&server->lock);
    return 0;
}

static int doors_open(struct rpc_server *server, const struct rpc_server_options *options) {
    const struct {
        const struct rpc_key *key;
        enum rpc_role role;
    } doors[RPC_DOORS_MAX] = {{&options->key, RPC_ROLE_MEMBER},
                              {&options->also, RPC_ROLE_MEMBER},
                              {&options->client, RPC_ROLE_CLIENT},
                              {&options->reader, RPC_ROLE_READER}};
    for (size_t i = 0; i < RPC_DOORS_MAX; i++) {
        if (doors[i].key->bytes_count == 0) {
            continue;
        }
        if (options->key.bytes_count == 0) {
            return -EINVAL; /* else members would need no key, and clients one */
        }
        struct rpc_door *door = &server->doors[server->doors_count];
        int rc = rpc_mac_open(&door->mac, doors[i].key);
        if (rc != 0) {
            return rc;
        }
        door->role = doors[i].role;
        server->doors_count++;
    }
    return 0;
}

int rpc_server_open(struct rpc_server **out, const struct rpc_server_options *options) {
    *out = NULL;
    char url[RPC_URL_BYTES];
    if (rpc_nng_start() != 0) {
        return -ENOMEM;
    }
    if (!rpc_address_url(url, options->address)) {
        return -EINVAL;
    }
    struct rpc_server *server = calloc(1, sizeof *server);
    if (server == NULL) {
        return -ENOMEM;
    }
    pthread_mutex_init(&server->lock, NULL);
    pthread_cond_init(&server->gone, NULL);
    clock_cond_init(&server->sweep);
    server->data_calls_max = options->data_calls_max;
    server->services_count = options->services_count;
    server->services = calloc(options->services_count + 1, sizeof *server->services);
    int rc = server->services == NULL ? -ENOMEM : doors_open(server, options);
    if (rc == 0) {
        rc = rpc_receiver_open(&server->receiver, server->doors_count > 0);
    }
    if (rc == 0) {
        for (size_t i = 0; i < options->services_count; i++) {
            server->services[i] = options->services[i];
        }
        rc = rpc_errno_from_nng(server_listen(server, url));
    }
    if (rc == 0) {
        rc = sweep_start(server);
    }
    if (rc != 0) {
        rpc_server_close(server);
        return rc;
    }
    *out = server;
    return 0;
}

void rpc_server_close(struct rpc_server *server) {
    if (server == NULL) {
        return;
    }
    pthread_mutex_lock(&server->lock);
    server->closing = true; /* from now on no connection comes, and no operation starts */
    pthread_cond_signal(&server->sweep);
    pthread_mutex_unlock(&server->lock);
    if (server->listener != NULL) {
        nng_stream_listener_close(server->listener);
    }
    nng_aio_stop(server->accept_aio);
    if (server->sweeps) {
        pthread_join(server->sweeper, NULL);
    }
    pthread_mutex_lock(&server->lock);
    for (struct rpc_connection *c = server->connections, *next; c != NULL; c = next) {
        next = c->next;
        rpc_connection_close(c);
    }
    while (server->connections_count > 0) {
        pthread_cond_wait(&server->gone, &server->lock);
    }
    server->closed = true;
    bool none = server->calls_open == 0;
    pthread_mutex_unlock(&server->lock);
    nng_aio_free(server->accept_aio);
    if (server->listener != NULL) {
        nng_stream_listener_free(server->listener);
    }
    if (none) {
        rpc_server_free(server);
    }
}

void rpc_server_set_ring(struct rpc_server *server, const uint8_t *ring_id) {
    rpc_receiver_set_ring(server->receiver, ring_id);
}

size_t rpc_server_held_bytes(struct rpc_server *server) {
    pthread_mutex_lock(&server->lock);
    size_t bytes = server->held_bytes;
    pthread_mutex_unlock(&server->lock);
    return bytes;
}

uint64_t rpc_server_refused_total(const struct rpc_server *server) {
    return atomic_load(&server->refused_total);
}

uint64_t rpc_server_requests_total(const struct rpc_server *server) {
    return atomic_load(&server->requests_total);
}

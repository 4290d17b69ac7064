/* SPDX-License-Identifier: MIT */
/*
 * What the files of the HTTP side share.
 *
 * civetweb is the engine: it listens, queues and accepts, gives each connection a thread, keeps
 * connections alive, writes and closes. It is not asked to read requests (http_wire.c says why).
 * A connection belongs to its thread; what http_crowd.c reads of it is under the server's lock.
 */
#ifndef GATEWAY_HTTP_INTERNAL_H
#define GATEWAY_HTTP_INTERNAL_H

#include <civetweb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>

#include "http.h"
#include "http_chunks.h"
#include "http_head.h"

/* What a connection's thread is doing; bits, so that several can be meant. */
enum http_phase {
    HTTP_PHASE_HEAD = 1,   /* waits for a request */
    HTTP_PHASE_HELD = 2,   /* a refusal that is sent later, see http_check.c */
    HTTP_PHASE_WORK = 4,   /* a handler runs */
    HTTP_PHASE_BODY = 8,   /* a handler waits for the body */
    HTTP_PHASE_WRITE = 16, /* an answer is being sent */
    HTTP_PHASE_DRAIN = 32, /* has answered for the last time; lets the client read it */
};

/* One civetweb context: the ports that were there at the start, or one that came later. */
struct http_engine {
    struct http_server *server;
    struct mg_context *context;
    size_t threads;
    size_t reserve; /* threads that are kept free for who comes next */
    /* Under the server's lock. */
    size_t connections;
    size_t leaving;    /* of them, those that were told to give way */
    size_t handlers;   /* that run, the quick ones not counted */
    uint64_t accepted; /* connections, ever; */
    uint64_t begun;    /* of them, in the same order, have or had a thread */
};

struct http_connection {
    struct http_engine *engine;
    struct mg_connection *mg; /* during a request */
    int fd;
    int slot;
    char peer[INET_ADDRSTRLEN];
    in_port_t peer_port;
    uint64_t number; /* of those that the engine accepted */
    uint64_t accepted_ms;
    bool late; /* it waited too long for a thread */
    /* Under the server's lock. */
    struct http_connection *next; /* the server's list of all */
    struct http_connection *before;
    enum http_phase phase;
    uint64_t since_ms; /* when the phase began, or its last progress */
    size_t held_bytes; /* of an answer that waits for its client */
    bool gave_way;
    /* The request. */
    char *head_text;
    struct http_head head;
    struct http_refusal refusal; /* status 0 = none */
    char detail[256];            /* its reason, when that is no constant */
    struct http_chunks chunks;
    uint64_t body_decoded;   /* bytes */
    uint64_t body_waited_ms; /* for the client */
    bool body_done;
    enum http_body_fault body_fault;
    bool broken; /* no more of the answer can be sent */
};

struct http_server {
    struct http_options options;
    struct in_addr address;
    atomic_bool stopping;
    struct http_engine engines[HTTP_PORTS_MAX];
    size_t engines_count;
    int listeners[HTTP_PORTS_MAX];
    size_t listeners_count;
    pthread_mutex_t lock; /* of what follows, and of the connections' states */
    struct http_connection *all;
    size_t held_bytes;
    struct http_guesses *guesses;
};

const char *http_status_text(int status);

/* ---- http_wire.c: bytes in ---- */

/* The thread that calls starts the server's next engine: its listening sockets are noted.
 * NULL = it is done. */
void http_wire_starting(struct http_server *server);
/* The thread that calls accepts for this engine, or serves its connections. */
void http_wire_accepting(struct http_engine *engine);
void http_wire_serving(struct http_engine *engine);
/* The thread that calls has got a connection: which one shows with its first byte. */
void http_wire_begin(void);
/* The connection that the calling thread serves, or NULL; forgets it. */
struct http_connection *http_wire_served(void);
struct http_connection *http_wire_end(void);
/* Reads some of the body, waiting up to `wait_ms` for it: > 0 bytes; 0 the end; -EAGAIN nothing
 * came; -EPIPE it was cut off; -EBADMSG its chunks are malformed. */
int64_t http_wire_body(struct http_connection *connection, uint8_t *out, size_t size, int wait_ms);
/* Waits until the time is over or the connection is. */
void http_wire_hold(struct http_connection *connection, unsigned ms);
/* Ends what is sent and takes what still comes: closing with bytes unread would take the answer
 * from the client's hands. */
void http_wire_drain(struct http_connection *connection);
/* Ends the connection so that the client sees that the answer is not whole. */
void http_wire_reset(struct http_connection *connection);
/* Forgets the request. */
void http_wire_next(struct http_connection *connection);

/* ---- http_crowd.c: who holds threads and memory, and gives way ---- */

/* A new connection; NULL = no memory. */
struct http_connection *http_crowd_enter(struct http_engine *engine, int fd,
                                         const struct sockaddr_in *peer);
/* The one with this socket, or NULL. */
struct http_connection *http_crowd_find(struct http_engine *engine, int fd);
/* The one that entered from there, or NULL. */
struct http_connection *http_crowd_find_peer(struct http_engine *engine, const char *peer,
                                             in_port_t peer_port, int slot);
/* A thread took the next in the queue. */
void http_crowd_begun(struct http_engine *engine);
/* Frees it. */
void http_crowd_leave(struct http_connection *connection);
void http_crowd_phase(struct http_connection *connection, enum http_phase phase);
/* Whether a handler may run now; then http_crowd_work_end follows. */
bool http_crowd_work_begin(struct http_connection *connection);
void http_crowd_work_end(struct http_connection *connection);
/* Whether connections should end after their answer, so that others get their threads. */
bool http_crowded(struct http_engine *engine);
/* An answer of this size waits for its client; 0 = no longer. */
void http_crowd_hold(struct http_connection *connection, size_t bytes);
/* Ends all connections. */
void http_crowd_end(struct http_server *server);

/* ---- http_check.c ---- */

/* The rules that a request meets before its handler. `*hold_ms`: how long the refusal waits before
 * it is sent. */
struct http_refusal http_check(struct http_server *server, struct http_connection *connection,
                               unsigned *hold_ms);
struct http_guesses *http_guesses_new(void);
void http_guesses_free(struct http_guesses *guesses);

#endif

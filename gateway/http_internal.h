/* SPDX-License-Identifier: MIT */
/*
 * What the files of the HTTP side share.
 *
 * civetweb is the engine: it listens, queues and accepts, gives each connection that has something
 * to do a thread (http_idle.c), writes and closes. It is not asked to read requests (http_wire.c
 * says why). A connection belongs to its thread, or to the accepting one while it has none; what
 * http_crowd.c reads of it is under the server's lock.
 */
#ifndef GATEWAY_HTTP_INTERNAL_H
#define GATEWAY_HTTP_INTERNAL_H

#include <civetweb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>

#include "http.h"
#include "http_chunks.h"
#include "http_head.h"

/* What a connection is doing; bits, so that several can be meant. */
enum http_phase {
    HTTP_PHASE_NEW = 1,     /* has said nothing yet; it has no thread, */
    HTTP_PHASE_IDLE = 2,    /* nor has one that was answered and is silent */
    HTTP_PHASE_READY = 4,   /* a request is there, or may be at once */
    HTTP_PHASE_HEAD = 8,    /* waits for the rest of a head */
    HTTP_PHASE_HELD = 16,   /* a refusal that is sent later, see http_check.c */
    HTTP_PHASE_WORK = 32,   /* a handler runs */
    HTTP_PHASE_BODY = 64,   /* a handler waits for the body */
    HTTP_PHASE_WRITE = 128, /* an answer is being sent */
    HTTP_PHASE_DRAIN = 256, /* has answered for the last time; lets the client read it */
};

TAILQ_HEAD(http_connections, http_connection);

/* One civetweb context: the ports that were there at the start, or one that came later. */
struct http_engine {
    struct http_server *server;
    struct mg_context *context;
    size_t threads;
    size_t reserve;         /* threads that are kept free for who comes next */
    size_t listeners_begin; /* its first of the server's */
    int waiting;            /* an epoll set: listening sockets, and connections without a thread */
    int alarm;              /* a timer, in that set */
    /* Under the server's lock. */
    struct http_connections new, idle; /* without a thread, by the time since they are */
    struct http_connections busy;      /* with one, or in civetweb's queue */
    size_t idle_count;                 /* of both */
    size_t busy_count;
    size_t patient;     /* of the busy ones, those that wait for their clients */
    size_t leaving;     /* busy ones that were told to give way */
    size_t handlers;    /* that run, the quick ones not counted */
    uint64_t worked_ms; /* when the last of them ended */
    pthread_cond_t work_ended;
    uint64_t queued; /* times that a connection went to the queue; */
    uint64_t begun;  /* of them, in the same order, have or had a thread */
    bool hurries;    /* the alarm looks for a thread that can be freed */
};

struct http_connection {
    struct http_engine *engine;
    struct mg_connection *mg; /* during a request */
    int fd;
    int slot;
    struct sockaddr_in from;
    char peer[INET_ADDRSTRLEN];
    uint64_t number; /* in the engine's queue */
    uint64_t ready_ms;
    bool late;  /* it waited too long for a thread */
    int turn;   /* requests since it has its thread */
    bool stays; /* when its thread is done with it */
    /* Under the server's lock. */
    TAILQ_ENTRY(http_connection) beside; /* in the engine's list that its phase says */
    enum http_phase phase;
    uint64_t since_ms; /* when the phase began, or its last progress */
    size_t held_bytes; /* of an answer that waits for its client */
    bool gave_way;
    /* The request. */
    char *head_text;
    struct http_head head;
    struct http_refusal refusal; /* status 0 = none */
    enum role needs;             /* what the request needs; NONE also for what is open */
    struct access_who who;
    char detail[256]; /* its reason, when that is no constant */
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
    pthread_mutex_t lock;           /* of what follows, and of the connections' states */
    struct http_connection **by_fd; /* NULL where a descriptor is no connection's */
    size_t by_fd_size;
    size_t held_bytes;
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
/* Whether the client asks for more, now or soon. */
bool http_wire_goes_on(struct http_connection *connection);
/* When civetweb closes it, on this thread, it goes on without a thread. */
void http_wire_keep(struct http_connection *connection);
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

/* ---- http_idle.c: connections without a thread ---- */

/* On the engine's accepting thread, before it does anything. 0 or -errno. */
int http_idle_open(struct http_engine *engine);
void http_idle_close(struct http_engine *engine);
/* The next that has something to do, which then is busy; NULL = none. On the accepting thread. */
struct http_connection *http_idle_next(struct http_engine *engine);
/* The connection gives up its thread and its descriptor, which the caller closes, and stays under
 * another one. False = there is none; then it is as it was. */
bool http_idle_keep(struct http_connection *connection);
/* Adds to the engine's set: a connection, the engine's alarm, or a listening socket. */
bool http_idle_watch(const struct http_engine *engine, int fd, void *of);
/* The accepting thread looks for what took too long, after this time. */
void http_idle_alarm(struct http_engine *engine, unsigned ms);

/* ---- http_crowd.c: who holds threads, descriptors and memory, and gives way ---- */

/* A new connection, idle; NULL = no memory. */
struct http_connection *http_crowd_enter(struct http_engine *engine, int fd,
                                         const struct sockaddr_in *peer);
/* The one with this socket, or NULL. */
struct http_connection *http_crowd_find(struct http_engine *engine, int fd);
/* The one that entered from there, or NULL. */
struct http_connection *http_crowd_find_peer(struct http_engine *engine, const char *peer,
                                             in_port_t peer_port, int slot);
/* It goes to the queue: it is busy. */
void http_crowd_begins(struct http_connection *connection);
/* A thread took the next in the queue. */
void http_crowd_begun(struct http_engine *engine);
/* It is idle, under another descriptor, and in the engine's set; false = not in the set. */
bool http_crowd_idle(struct http_connection *connection, int fd);
/* Frees it. */
void http_crowd_leave(struct http_connection *connection);
void http_crowd_phase(struct http_connection *connection, enum http_phase phase);
/* Whether a handler may run; then http_crowd_work_end follows. While others end, it waits for its
 * turn. */
bool http_crowd_work_begin(struct http_connection *connection);
void http_crowd_work_end(struct http_connection *connection);
/* Whether it has been served often enough while others may wait for a thread. */
bool http_crowd_turn_is_over(struct http_connection *connection);
/* Of those without a thread, the one that has been so for longest, if there are more connections
 * than that; one that has been so for too long; NULL = none. */
struct http_connection *http_crowd_longest_idle(struct http_engine *engine, size_t more_than);
struct http_connection *http_crowd_idle_too_long(struct http_engine *engine);
/* Sees that threads are free, and sets the alarm for the next time. */
void http_crowd_look(struct http_engine *engine);
/* An answer of this size waits for its client; 0 = no longer. */
void http_crowd_hold(struct http_connection *connection, size_t bytes);
/* Ends all connections. */
void http_crowd_end(struct http_server *server);
/* Frees those of an engine that has stopped. */
void http_crowd_free(struct http_engine *engine);

/* ---- http_check.c ---- */

/* The rules that a request meets before its handler. `*hold_ms`: how long the refusal waits before
 * it is sent. */
struct http_refusal http_check(struct http_server *server, struct http_connection *connection,
                               unsigned *hold_ms);

/* ---- http_access.c ---- */

/* Whether who asks has the role; it notes in the connection who that is. `change`: what a foreign
 * page must not make a browser do. */
struct http_refusal http_access_check(struct http_server *server,
                                      struct http_connection *connection, enum role needs,
                                      bool change, unsigned *hold_ms);

#endif

/*
 * What the files of the HTTP side share.
 *
 * A connection has one owner at a time: the poller (http_poll.c, one thread) while bytes are
 * awaited or an answer is on its way, a worker (http.c) while a handler runs. So no thread waits
 * for a client's bytes, but one that takes a large upload or feeds an open stream.
 */
#ifndef GATEWAY_HTTP_INTERNAL_H
#define GATEWAY_HTTP_INTERNAL_H

#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>

#include "http.h"
#include "http_chunks.h"
#include "http_head.h"

enum http_phase {
    HTTP_PHASE_HEAD,  /* waits for a request */
    HTTP_PHASE_BODY,  /* reads its body ahead */
    HTTP_PHASE_HELD,  /* a refusal that is sent later, see http_check.c */
    HTTP_PHASE_WRITE, /* sends the rest of an answer */
    HTTP_PHASE_DRAIN, /* has answered for the last time; lets the client read it */
    HTTP_PHASE_CLOSED,
};

enum { HTTP_POLL_WAKE = 1 }; /* the wake_fd's mark in epoll */

struct http_connection {
    struct http_connection *all_next; /* the server's list of all */
    struct http_connection *all_before;
    struct http_connection *queue_next;
    int fd;
    int slot;
    char peer[INET_ADDRSTRLEN];
    bool with_poller;
    enum http_phase phase;
    uint64_t since_ms;    /* when the phase began */
    uint64_t progress_ms; /* when bytes last went through */
    uint64_t queued_ms;
    /* What arrived and was not taken: [in_taken, in.size). */
    struct buf in;
    size_t in_taken;
    size_t scanned;
    bool answered; /* at least one request */
    /* The request. */
    char *head_text;
    struct http_head head;
    struct http_refusal refusal; /* status 0 = none */
    char detail[256];            /* its reason, when that is no constant */
    struct http_chunks chunks;
    struct buf body; /* read ahead: [body_taken, body.size) */
    size_t body_taken;
    uint64_t body_decoded;   /* bytes */
    uint64_t body_waited_ms; /* by a worker */
    bool body_done;
    enum http_body_fault body_fault;
    /* The answer. */
    struct buf out;
    size_t out_sent;
    bool close; /* after it */
    bool reset; /* the answer is not whole: end it so that this shows */
};

struct http_queue {
    struct http_connection *first;
    struct http_connection *last;
    pthread_cond_t filled;
};

struct http_server {
    struct http_options options;
    struct in_addr address;
    int epoll_fd;
    int wake_fd;
    atomic_bool stopping;
    pthread_t poller;
    bool poller_runs;
    pthread_t workers[HTTP_WORKERS + HTTP_QUICK_WORKERS];
    size_t workers_count;
    pthread_mutex_t lock; /* of what follows */
    struct http_connection *all;
    size_t connections;
    size_t connections_max;
    struct http_queue normal;
    struct http_queue quick;          /* what must be answered within a second, and refusals */
    struct http_connection *returned; /* to the poller */
    struct http_connection *closed;   /* the poller's own, until the end of its turn */
    int listeners[HTTP_PORTS_MAX];
    size_t listeners_count;
    struct http_guesses *guesses; /* the poller's own */
};

const char *http_status_text(int status);

/* http_connection.c. `wait_ms` 0 = what is there now. */
/* Receives some bytes: > 0, 0 the client sends no more, -EAGAIN nothing within the time, -EPIPE. */
int http_connection_receive(struct http_connection *connection, int wait_ms);
/* Takes bytes of the body out of what arrived: > 0, 0 = more must arrive or it is done; sets
 * body_done or body_fault. */
size_t http_connection_body(struct http_connection *connection, uint8_t *out, size_t size);
/* Sends of `out`: 0 all of it, -EAGAIN not all within the time, -EPIPE. */
int http_connection_send(struct http_connection *connection, int wait_ms);
/* Forgets the request; what arrived of the next one stays. */
void http_connection_next(struct http_connection *connection);
void http_connection_free(struct http_connection *connection);
/* Whether what came of the body is too little for the time that it was waited for. */
bool http_body_too_slow(const struct http_connection *connection, uint64_t waited_ms);

/* http_queue.c */
void http_queue_push(struct http_server *server, struct http_queue *queue,
                     struct http_connection *connection);
/* Waits for one; NULL when the server stops. */
struct http_connection *http_queue_pop(struct http_server *server, struct http_queue *queue);
/* Lets the quick workers answer what no other took in time: 503. */
void http_queue_overdue(struct http_server *server, uint64_t now);

/* http_poll.c */
void *http_poll_run(void *server);
/* Gives a connection back to the poller. */
void http_poll_return(struct http_server *server, struct http_connection *connection);
void http_poll_wake(struct http_server *server);
/* Adds a listening socket, which becomes the server's. 0 or negative errno. */
int http_poll_listen(struct http_server *server, int fd, int slot);

/* http_check.c: the rules that a request meets before its handler; on the poller's thread.
 * `*hold_ms`: how long the refusal waits before it is sent. */
struct http_refusal http_check(struct http_server *server, struct http_connection *connection,
                               unsigned *hold_ms);
struct http_guesses *http_guesses_new(void);

#endif

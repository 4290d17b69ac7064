/* SPDX-License-Identifier: MIT */
/*
 * Who holds threads and memory, and who gives way when they run short; see http_internal.h.
 *
 * civetweb gives each connection a thread for as long as it lasts. So that idle and slow clients
 * shut nobody out, a few threads stay free: when a connection would take one of them, the one that
 * has waited longest for its client is ended.
 */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http_internal.h"
#include "log.h"

enum { YOUNG_MS = 20, YOUNG_LOOK_US = 5000 };

/* It has just come or was just answered: its request may be on the way. */
static bool is_young(const struct http_connection *connection) {
    return connection->phase == HTTP_PHASE_HEAD && clock_now_ms() < connection->since_ms + YOUNG_MS;
}

/* What came for it is about to be read. */
static bool has_unread(const struct http_connection *connection) {
    int bytes = 0;
    return ioctl(connection->fd, FIONREAD, &bytes) == 0 && bytes > 0;
}

/* With the lock held. Ends the one of the engine's connections (NULL = of all) that has been in one
 * of the phases for longest. Its thread sees the end of the stream and cleans up. */
static bool oldest_gives_way(struct http_server *server, const struct http_engine *engine,
                             unsigned phases) {
    struct http_connection *oldest = NULL;
    for (struct http_connection *each = server->all; each != NULL; each = each->next) {
        bool has_thread = each->number < each->engine->begun; /* else it would free none */
        if ((each->phase & phases) != 0 && has_thread && !each->gave_way &&
            (engine == NULL || each->engine == engine) &&
            (oldest == NULL || each->since_ms < oldest->since_ms) &&
            ((each->phase & (HTTP_PHASE_HEAD | HTTP_PHASE_BODY)) == 0 ||
             !(is_young(each) || has_unread(each)))) {
            oldest = each;
        }
    }
    if (oldest != NULL) {
        oldest->gave_way = true;
        oldest->engine->leaving++;
        (void)shutdown(oldest->fd, SHUT_RDWR);
    }
    return oldest != NULL;
}

/* With the lock held; false = nobody could give way. */
static bool keep_threads_free(struct http_server *server, struct http_engine *engine) {
    while (engine->connections - engine->leaving > engine->threads - engine->reserve &&
           (oldest_gives_way(server, engine, HTTP_PHASE_DRAIN | HTTP_PHASE_HELD) ||
            oldest_gives_way(server, engine, HTTP_PHASE_HEAD | HTTP_PHASE_BODY))) {
    }
    return engine->connections - engine->leaving <= engine->threads - engine->reserve;
}

struct http_connection *http_crowd_enter(struct http_engine *engine, int fd,
                                         const struct sockaddr_in *peer) {
    struct http_server *server = engine->server;
    struct http_connection *connection = calloc(1, sizeof(*connection));
    struct sockaddr_in local = {0};
    socklen_t size = sizeof(local);
    if (connection == NULL) {
        return NULL;
    }
    (void)getsockname(fd, (struct sockaddr *)&local, &size);
    connection->engine = engine;
    connection->fd = fd;
    connection->slot = ntohs(local.sin_port) - server->options.port;
    connection->phase = HTTP_PHASE_HEAD;
    connection->accepted_ms = clock_now_ms();
    connection->since_ms = connection->accepted_ms;
    connection->head = HTTP_HEAD_NONE;
    inet_ntop(AF_INET, &peer->sin_addr, connection->peer, sizeof(connection->peer));
    connection->peer_port = ntohs(peer->sin_port);
    pthread_mutex_lock(&server->lock);
    connection->next = server->all;
    if (server->all != NULL) {
        server->all->before = connection;
    }
    server->all = connection;
    connection->number = engine->accepted++;
    engine->connections++;
    for (int i = 0; !keep_threads_free(server, engine) && i * YOUNG_LOOK_US <= YOUNG_MS * 1000;
         i++) {
        pthread_mutex_unlock(&server->lock);
        (void)usleep(YOUNG_LOOK_US); /* nobody is young for long */
        pthread_mutex_lock(&server->lock);
    }
    pthread_mutex_unlock(&server->lock);
    return connection;
}

void http_crowd_begun(struct http_engine *engine) {
    pthread_mutex_lock(&engine->server->lock);
    engine->begun++;
    pthread_mutex_unlock(&engine->server->lock);
}

struct http_connection *http_crowd_find(struct http_engine *engine, int fd) {
    struct http_server *server = engine->server;
    pthread_mutex_lock(&server->lock);
    struct http_connection *found = server->all;
    while (found != NULL && found->fd != fd) {
        found = found->next;
    }
    pthread_mutex_unlock(&server->lock);
    return found;
}

struct http_connection *http_crowd_find_peer(struct http_engine *engine, const char *peer,
                                             in_port_t peer_port, int slot) {
    struct http_server *server = engine->server;
    pthread_mutex_lock(&server->lock);
    struct http_connection *found = server->all;
    while (found != NULL && (found->slot != slot || found->peer_port != peer_port ||
                             strcmp(found->peer, peer) != 0)) {
        found = found->next;
    }
    pthread_mutex_unlock(&server->lock);
    return found;
}

void http_crowd_leave(struct http_connection *connection) {
    struct http_server *server = connection->engine->server;
    pthread_mutex_lock(&server->lock);
    if (connection->before != NULL) {
        connection->before->next = connection->next;
    } else {
        server->all = connection->next;
    }
    if (connection->next != NULL) {
        connection->next->before = connection->before;
    }
    connection->engine->connections--;
    connection->engine->leaving -= connection->gave_way;
    pthread_mutex_unlock(&server->lock);
    free(connection->head_text);
    free(connection);
}

void http_crowd_phase(struct http_connection *connection, enum http_phase phase) {
    struct http_server *server = connection->engine->server;
    uint64_t now = clock_now_ms();
    pthread_mutex_lock(&server->lock);
    connection->phase = phase;
    connection->since_ms = now;
    (void)keep_threads_free(server, connection->engine);
    pthread_mutex_unlock(&server->lock);
}

bool http_crowd_work_begin(struct http_connection *connection) {
    struct http_engine *engine = connection->engine;
    struct http_server *server = engine->server;
    pthread_mutex_lock(&server->lock);
    /* One that waits for its body ends at once when it gives way. */
    bool may = engine->handlers < engine->threads - 2 * engine->reserve ||
               oldest_gives_way(server, engine, HTTP_PHASE_BODY);
    engine->handlers += may;
    pthread_mutex_unlock(&server->lock);
    return may;
}

void http_crowd_work_end(struct http_connection *connection) {
    struct http_server *server = connection->engine->server;
    pthread_mutex_lock(&server->lock);
    connection->engine->handlers--;
    pthread_mutex_unlock(&server->lock);
}

bool http_crowded(struct http_engine *engine) {
    pthread_mutex_lock(&engine->server->lock);
    bool crowded = engine->connections >= engine->threads - 2 * engine->reserve;
    pthread_mutex_unlock(&engine->server->lock);
    return crowded;
}

void http_crowd_hold(struct http_connection *connection, size_t bytes) {
    struct http_server *server = connection->engine->server;
    pthread_mutex_lock(&server->lock);
    server->held_bytes += bytes - connection->held_bytes;
    connection->held_bytes = bytes;
    if (bytes > 0 && server->held_bytes > HTTP_HELD_BYTES_MAX) {
        (void)oldest_gives_way(server, NULL, HTTP_PHASE_WRITE);
    }
    pthread_mutex_unlock(&server->lock);
}

void http_crowd_end(struct http_server *server) {
    pthread_mutex_lock(&server->lock);
    for (struct http_connection *each = server->all; each != NULL; each = each->next) {
        (void)shutdown(each->fd, SHUT_RDWR);
    }
    pthread_mutex_unlock(&server->lock);
}

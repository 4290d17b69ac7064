/* SPDX-License-Identifier: MIT */
/*
 * Who holds threads, descriptors and memory, and who gives way when they run short; see
 * http_internal.h.
 *
 * A connection has one of civetweb's threads while it has something to do (http_idle.c). So that
 * slow clients shut nobody out, a few threads stay free: when a connection would take one of them,
 * the one that has waited longest for its client is ended. Those without a thread are bounded by
 * their number and by time.
 */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http_internal.h"
#include "log.h"

enum { YOUNG_MS = 20, LOOK_MS = 1000, FLOW_MS = 500, TURN_REQUESTS = 4, FDS_MORE = 1024 };

/* They wait for their client, so they may have to give way. */
enum {
    PATIENT = HTTP_PHASE_HEAD | HTTP_PHASE_BODY | HTTP_PHASE_HELD | HTTP_PHASE_DRAIN,
};

/* The rest of its head may be on the way. */
static bool is_young(const struct http_connection *connection) {
    return connection->phase == HTTP_PHASE_HEAD && clock_now_ms() < connection->since_ms + YOUNG_MS;
}

/* What came for it is about to be read. */
static bool has_unread(const struct http_connection *connection) {
    int bytes = 0;
    return ioctl(connection->fd, FIONREAD, &bytes) == 0 && bytes > 0;
}

/* With the lock held. The one of the engine's connections that has been in one of the phases for
 * longest, or NULL. */
static struct http_connection *oldest_of(const struct http_engine *engine, unsigned phases) {
    struct http_connection *oldest = NULL;
    struct http_connection *each;
    TAILQ_FOREACH(each, &engine->busy, beside) {
        bool has_thread = each->number < engine->begun; /* else it would free none */
        if ((each->phase & phases) != 0 && has_thread && !each->gave_way &&
            (oldest == NULL || each->since_ms < oldest->since_ms) &&
            ((each->phase & (HTTP_PHASE_HEAD | HTTP_PHASE_BODY)) == 0 ||
             !(is_young(each) || has_unread(each)))) {
            oldest = each;
        }
    }
    return oldest;
}

/* With the lock held. */
static void phase_set(struct http_connection *connection, enum http_phase phase) {
    struct http_engine *engine = connection->engine;
    engine->patient -= (connection->phase & PATIENT) != 0;
    engine->patient += (phase & PATIENT) != 0;
    connection->phase = phase;
    connection->since_ms = clock_now_ms();
}

/* Its thread sees the end of the stream and cleans up. */
static bool gives_way(struct http_connection *connection) {
    if (connection != NULL) {
        connection->gave_way = true;
        connection->engine->leaving++;
        (void)shutdown(connection->fd, SHUT_RDWR);
    }
    return connection != NULL;
}

static bool is_short_of_threads(const struct http_engine *engine) {
    return engine->busy_count - engine->leaving > engine->threads - engine->reserve;
}

/* With the lock held. */
static void keep_threads_free(struct http_engine *engine) {
    while (engine->patient > 0 && is_short_of_threads(engine) &&
           (gives_way(oldest_of(engine, HTTP_PHASE_DRAIN | HTTP_PHASE_HELD)) ||
            gives_way(oldest_of(engine, HTTP_PHASE_HEAD | HTTP_PHASE_BODY)))) {
    }
    if (engine->patient > 0 && is_short_of_threads(engine) && !engine->hurries) {
        engine->hurries = true;
        http_idle_alarm(engine, YOUNG_MS); /* nobody is young for long */
    }
}

/* With the lock held: `fd` is the connection's, or nobody's. False = no memory. */
static bool fd_is_of(struct http_server *server, int fd, struct http_connection *connection) {
    size_t at = (size_t)fd;
    if (at >= server->by_fd_size) {
        size_t size = at + FDS_MORE;
        void *more = realloc(server->by_fd, size * sizeof(struct http_connection *));
        if (more == NULL) {
            return false;
        }
        server->by_fd = more;
        memset(server->by_fd + server->by_fd_size, 0,
               (size - server->by_fd_size) * sizeof(struct http_connection *));
        server->by_fd_size = size;
    }
    server->by_fd[at] = connection;
    return true;
}

/* ---- a connection's life ---- */

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
    connection->phase = HTTP_PHASE_NEW;
    connection->since_ms = clock_now_ms();
    connection->head = HTTP_HEAD_NONE;
    connection->from = *peer;
    inet_ntop(AF_INET, &peer->sin_addr, connection->peer, sizeof(connection->peer));
    pthread_mutex_lock(&server->lock);
    bool ok = fd_is_of(server, fd, connection);
    if (ok) {
        TAILQ_INSERT_TAIL(&engine->new, connection, beside);
        if (engine->idle_count++ == 0 && engine->busy_count == 0) {
            http_idle_alarm(engine, LOOK_MS);
        }
    }
    pthread_mutex_unlock(&server->lock);
    if (!ok) {
        free(connection);
    }
    return ok ? connection : NULL;
}

static struct http_connections *list_of(const struct http_connection *connection) {
    struct http_engine *engine = connection->engine;
    return connection->phase == HTTP_PHASE_NEW    ? &engine->new
           : connection->phase == HTTP_PHASE_IDLE ? &engine->idle
                                                  : &engine->busy;
}

/* With the lock held. */
static void list_leave(struct http_connection *connection) {
    struct http_engine *engine = connection->engine;
    bool idle = (connection->phase & (HTTP_PHASE_NEW | HTTP_PHASE_IDLE)) != 0;
    TAILQ_REMOVE(list_of(connection), connection, beside);
    engine->idle_count -= idle;
    engine->busy_count -= !idle;
    engine->leaving -= connection->gave_way;
    connection->gave_way = false;
}

void http_crowd_begins(struct http_connection *connection) {
    struct http_engine *engine = connection->engine;
    pthread_mutex_lock(&engine->server->lock);
    list_leave(connection);
    phase_set(connection, HTTP_PHASE_READY);
    connection->ready_ms = connection->since_ms;
    connection->stays = false;
    connection->turn = 0;
    connection->number = engine->queued++;
    TAILQ_INSERT_TAIL(&engine->busy, connection, beside);
    engine->busy_count++;
    keep_threads_free(engine);
    pthread_mutex_unlock(&engine->server->lock);
}

void http_crowd_begun(struct http_engine *engine) {
    pthread_mutex_lock(&engine->server->lock);
    engine->begun++;
    pthread_mutex_unlock(&engine->server->lock);
}

bool http_crowd_idle(struct http_connection *connection, int fd) {
    struct http_engine *engine = connection->engine;
    struct http_server *server = engine->server;
    pthread_mutex_lock(&server->lock);
    list_leave(connection);
    (void)fd_is_of(server, connection->fd, NULL);
    connection->fd = fd;
    phase_set(connection, HTTP_PHASE_IDLE);
    TAILQ_INSERT_TAIL(&engine->idle, connection, beside);
    engine->idle_count++;
    /* Last: then the accepting thread may have it. */
    bool ok = fd_is_of(server, fd, connection) && http_idle_watch(engine, fd, connection);
    pthread_mutex_unlock(&server->lock);
    return ok;
}

struct http_connection *http_crowd_find(struct http_engine *engine, int fd) {
    struct http_server *server = engine->server;
    pthread_mutex_lock(&server->lock);
    struct http_connection *found =
        (size_t)fd < server->by_fd_size ? server->by_fd[(size_t)fd] : NULL;
    pthread_mutex_unlock(&server->lock);
    return found;
}

struct http_connection *http_crowd_find_peer(struct http_engine *engine, const char *peer,
                                             in_port_t peer_port, int slot) {
    struct http_connection *found;
    pthread_mutex_lock(&engine->server->lock);
    TAILQ_FOREACH(found, &engine->busy, beside) {
        if (found->slot == slot && ntohs(found->from.sin_port) == peer_port &&
            strcmp(found->peer, peer) == 0) {
            break;
        }
    }
    pthread_mutex_unlock(&engine->server->lock);
    return found;
}

void http_crowd_leave(struct http_connection *connection) {
    struct http_server *server = connection->engine->server;
    pthread_mutex_lock(&server->lock);
    list_leave(connection);
    phase_set(connection, HTTP_PHASE_IDLE);
    (void)fd_is_of(server, connection->fd, NULL);
    pthread_mutex_unlock(&server->lock);
    free(connection->head_text);
    free(connection);
}

void http_crowd_phase(struct http_connection *connection, enum http_phase phase) {
    struct http_server *server = connection->engine->server;
    pthread_mutex_lock(&server->lock);
    phase_set(connection, phase);
    keep_threads_free(connection->engine);
    pthread_mutex_unlock(&server->lock);
}

/* ---- what runs short ---- */

struct http_connection *http_crowd_longest_idle(struct http_engine *engine, size_t more_than) {
    pthread_mutex_lock(&engine->server->lock);
    struct http_connection *found = TAILQ_FIRST(&engine->new);
    struct http_connection *idle = TAILQ_FIRST(&engine->idle);
    found = found == NULL || (idle != NULL && idle->since_ms < found->since_ms) ? idle : found;
    found = engine->idle_count + engine->busy_count > more_than ? found : NULL;
    pthread_mutex_unlock(&engine->server->lock);
    return found;
}

struct http_connection *http_crowd_idle_too_long(struct http_engine *engine) {
    uint64_t now = clock_now_ms();
    pthread_mutex_lock(&engine->server->lock);
    struct http_connection *found = TAILQ_FIRST(&engine->new);
    struct http_connection *idle = TAILQ_FIRST(&engine->idle);
    if (found == NULL || now < found->since_ms + HTTP_HEAD_MS_MAX) {
        found = idle != NULL && now >= idle->since_ms + HTTP_IDLE_MS_MAX ? idle : NULL;
    }
    pthread_mutex_unlock(&engine->server->lock);
    return found;
}

void http_crowd_look(struct http_engine *engine) {
    pthread_mutex_lock(&engine->server->lock);
    engine->hurries = false;
    keep_threads_free(engine);
    if (!engine->hurries && engine->idle_count + engine->busy_count > 0) {
        http_idle_alarm(engine, LOOK_MS);
    }
    pthread_mutex_unlock(&engine->server->lock);
}

bool http_crowd_work_begin(struct http_connection *connection) {
    struct http_engine *engine = connection->engine;
    pthread_mutex_lock(&engine->server->lock);
    while (engine->handlers >= engine->threads - 2 * engine->reserve) {
        uint64_t now = clock_now_ms();
        /* One that waits for its body ends at once when it gives way. */
        if (!gives_way(oldest_of(engine, HTTP_PHASE_BODY)) && now >= engine->worked_ms + FLOW_MS) {
            break;
        }
        clock_cond_wait(&engine->work_ended, &engine->server->lock, now + FLOW_MS);
    }
    bool may = engine->handlers < engine->threads - 2 * engine->reserve;
    engine->handlers += may;
    pthread_mutex_unlock(&engine->server->lock);
    return may;
}

void http_crowd_work_end(struct http_connection *connection) {
    struct http_engine *engine = connection->engine;
    uint64_t now = clock_now_ms();
    pthread_mutex_lock(&engine->server->lock);
    engine->handlers--;
    engine->worked_ms = now;
    pthread_cond_signal(&engine->work_ended);
    pthread_mutex_unlock(&engine->server->lock);
}

bool http_crowd_turn_is_over(struct http_connection *connection) {
    struct http_engine *engine = connection->engine;
    pthread_mutex_lock(&engine->server->lock);
    bool crowd = engine->idle_count + engine->busy_count > engine->threads - 2 * engine->reserve;
    pthread_mutex_unlock(&engine->server->lock);
    return ++connection->turn >= TURN_REQUESTS && crowd;
}

void http_crowd_hold(struct http_connection *connection, size_t bytes) {
    struct http_server *server = connection->engine->server;
    pthread_mutex_lock(&server->lock);
    server->held_bytes += bytes - connection->held_bytes;
    connection->held_bytes = bytes;
    if (bytes > 0 && server->held_bytes > HTTP_HELD_BYTES_MAX) {
        struct http_connection *slowest = NULL;
        for (size_t i = 0; i < server->engines_count; i++) {
            struct http_connection *slow = oldest_of(&server->engines[i], HTTP_PHASE_WRITE);
            if (slow != NULL && (slowest == NULL || slow->since_ms < slowest->since_ms)) {
                slowest = slow;
            }
        }
        (void)gives_way(slowest);
    }
    pthread_mutex_unlock(&server->lock);
}

static void end_all(const struct http_connections *list) {
    struct http_connection *each;
    TAILQ_FOREACH(each, list, beside) {
        (void)shutdown(each->fd, SHUT_RDWR);
    }
}

void http_crowd_end(struct http_server *server) {
    pthread_mutex_lock(&server->lock);
    for (size_t i = 0; i < server->engines_count; i++) {
        end_all(&server->engines[i].new);
        end_all(&server->engines[i].idle);
        end_all(&server->engines[i].busy);
    }
    pthread_mutex_unlock(&server->lock);
}

void http_crowd_free(struct http_engine *engine) {
    struct http_connections *lists[] = {&engine->new, &engine->idle, &engine->busy};
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        while (!TAILQ_EMPTY(lists[i])) {
            struct http_connection *connection = TAILQ_FIRST(lists[i]);
            if ((connection->phase & (HTTP_PHASE_NEW | HTTP_PHASE_IDLE)) != 0) {
                close(connection->fd);
            }
            http_crowd_leave(connection);
        }
    }
}

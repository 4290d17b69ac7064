/* SPDX-License-Identifier: MIT */
/*
 * Connections that wait for a request, without a thread; see http_internal.h.
 *
 * civetweb gives a connection a thread for as long as it lasts, and most connections do nothing
 * most of the time. So it gets one only while there is something to do: a new connection, and one
 * whose client has not asked again soon after its answer, wait in an epoll set of their engine's.
 * That set stands where civetweb has its listening socket, which only its accepting thread uses, to
 * poll it and to accept from it (http_wire.c): what is accepted is a connection with bytes to read,
 * new or not. A connection goes back to the set under a second descriptor, while civetweb closes
 * the first and believes that it has ended.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "http_internal.h"
#include "log.h"

enum { EVENTS_A_TURN = 64 };

bool http_idle_watch(const struct http_engine *engine, int fd, void *of) {
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = of};
    return epoll_ctl(engine->waiting, EPOLL_CTL_ADD, fd, &event) == 0;
}

/* The listening socket moves to another descriptor; what is at its own from now on is `instead`. */
static int listener_replace(struct http_engine *engine, int *listener, int instead) {
    int fd = fcntl(*listener, F_DUPFD_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    int result = dup3(instead, *listener, O_CLOEXEC) < 0 ? -errno : 0;
    *listener = fd;
    (void)fcntl(fd, F_SETFL, O_NONBLOCK);
    return result != 0 || http_idle_watch(engine, fd, listener) ? result : -errno;
}

int http_idle_open(struct http_engine *engine) {
    struct http_server *server = engine->server;
    int never = eventfd(0, EFD_CLOEXEC);
    engine->waiting = epoll_create1(EPOLL_CLOEXEC);
    engine->alarm = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    int result = never < 0 || engine->waiting < 0 || engine->alarm < 0 ||
                         !http_idle_watch(engine, engine->alarm, engine)
                     ? -errno
                     : 0;
    for (size_t i = engine->listeners_begin; i < server->listeners_count && result == 0; i++) {
        result = listener_replace(engine, &server->listeners[i],
                                  i == engine->listeners_begin ? engine->waiting : never);
    }
    if (never >= 0) {
        close(never); /* its copies stay */
    }
    return result;
}

void http_idle_close(struct http_engine *engine) {
    if (engine->waiting >= 0) {
        close(engine->waiting);
    }
    if (engine->alarm >= 0) {
        close(engine->alarm);
    }
}

void http_idle_alarm(struct http_engine *engine, unsigned ms) {
    struct itimerspec when = {.it_value = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L}};
    (void)timerfd_settime(engine->alarm, 0, &when, NULL);
}

/* ---- what civetweb's accepting thread does ---- */

/* One in the engine's set, which it leaves with its only descriptor. */
static void end(struct http_connection *connection) {
    int fd = connection->fd;
    http_crowd_leave(connection);
    close(fd);
}

static void accept_all(struct http_engine *engine, int listener) {
    struct sockaddr_in peer = {0};
    for (int i = 0; i < EVENTS_A_TURN; i++) {
        socklen_t size = sizeof(peer);
        int fd = accept4(listener, (struct sockaddr *)&peer, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
        struct http_connection *oldest = NULL;
        if (fd < 0 && (errno == EMFILE || errno == ENFILE) &&
            (oldest = http_crowd_longest_idle(engine, 0)) != NULL) {
            end(oldest);
            continue;
        }
        if (fd < 0) {
            return;
        }
        struct http_connection *connection = http_crowd_enter(engine, fd, &peer);
        if (connection == NULL) {
            close(fd);
        } else if (!http_idle_watch(engine, fd, connection)) {
            end(connection);
        }
        oldest = http_crowd_longest_idle(engine, HTTP_CONNECTIONS_MAX);
        if (oldest != NULL) {
            end(oldest);
        }
    }
}

static void alarm_rings(struct http_engine *engine) {
    uint64_t times;
    struct http_connection *late;
    (void)!read(engine->alarm, &times, sizeof(times));
    while ((late = http_crowd_idle_too_long(engine)) != NULL) {
        end(late);
    }
    http_crowd_look(engine);
}

struct http_connection *http_idle_next(struct http_engine *engine) {
    struct epoll_event event;
    for (int i = 0; i < EVENTS_A_TURN && epoll_wait(engine->waiting, &event, 1, 0) == 1; i++) {
        const int *listeners = engine->server->listeners;
        uintptr_t of = (uintptr_t)event.data.ptr;
        if (event.data.ptr == engine) {
            alarm_rings(engine);
        } else if (of >= (uintptr_t)listeners && of < (uintptr_t)(listeners + HTTP_PORTS_MAX)) {
            accept_all(engine, *(const int *)event.data.ptr);
        } else {
            struct http_connection *connection = event.data.ptr;
            http_crowd_begins(connection);
            (void)epoll_ctl(engine->waiting, EPOLL_CTL_DEL, connection->fd, NULL);
            return connection;
        }
    }
    return NULL;
}

/* ---- what the thread of a connection does ---- */

bool http_idle_keep(struct http_connection *connection) {
    int fd = fcntl(connection->fd, F_DUPFD_CLOEXEC, 0);
    if (fd >= 0 && !http_crowd_idle(connection, fd)) {
        (void)shutdown(fd, SHUT_RDWR); /* nobody will see what comes: it ends */
    }
    return fd >= 0;
}

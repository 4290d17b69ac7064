/* The HTTP server: ports, threads, start and stop; see http.h. */
#include "http.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http_internal.h"
#include "log.h"

const char *http_status_text(int status) {
    static const struct {
        int status;
        const char *text;
    } texts[] = {
        {200, "OK"},
        {201, "Created"},
        {202, "Accepted"},
        {204, "No Content"},
        {304, "Not Modified"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {411, "Length Required"},
        {412, "Precondition Failed"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {417, "Expectation Failed"},
        {422, "Unprocessable Content"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
        {507, "Insufficient Storage"},
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (texts[i].status == status) {
            return texts[i].text;
        }
    }
    return "Status";
}

/* ---- workers ---- */

static void serve(struct http_server *server, struct http_connection *connection) {
    const struct http_head *head = &connection->head;
    struct http_request request = {
        .method = head->method,
        .path = head->path,
        .query = head->query,
        .client = connection->peer,
        .lines = head,
        .slot = connection->slot,
        .body_bytes = head->body_bytes,
        .head = strcmp(head->method, "HEAD") == 0,
        .connection = connection,
    };
    const struct http_refusal *refusal = &connection->refusal;
    if (refusal->status != 0) {
        request.close = true; /* where its body ends may not be known */
        http_problem_more(&request, refusal->status, refusal->code, refusal->headers, NULL, "%s",
                          refusal->reason);
    } else {
        server->options.handler(server->options.context, &request);
    }
    if (!request.replied) {
        http_problem(&request, 500, "INTERNAL", "no answer was made");
    }
    connection->close = connection->close || request.close;
}

static void work(struct http_server *server, struct http_queue *queue) {
    for (;;) {
        struct http_connection *connection = http_queue_pop(server, queue);
        if (connection == NULL) {
            return;
        }
        serve(server, connection);
        http_poll_return(server, connection);
    }
}

static void *work_normal(void *server) {
    work(server, &((struct http_server *)server)->normal);
    return NULL;
}

static void *work_quick(void *server) {
    work(server, &((struct http_server *)server)->quick);
    return NULL;
}

static int threads_start(struct http_server *server) {
    pthread_attr_t small;
    int result = 0;
    pthread_attr_init(&small);
    (void)pthread_attr_setstacksize(&small, HTTP_WORKER_STACK_BYTES);
    for (int i = 0; i < HTTP_WORKERS + HTTP_QUICK_WORKERS && result == 0; i++) {
        result = pthread_create(&server->workers[i], &small,
                                i < HTTP_QUICK_WORKERS ? work_quick : work_normal, server);
        server->workers_count += result == 0;
    }
    if (result == 0) {
        result = pthread_create(&server->poller, NULL, http_poll_run, server);
        server->poller_runs = result == 0;
    }
    pthread_attr_destroy(&small);
    return -result;
}

/* ---- ports ---- */

static int host_resolve(const char *host, struct in_addr *address) {
    struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    if (getaddrinfo(host, NULL, &hints, &found) != 0 || found == NULL) {
        return -EADDRNOTAVAIL;
    }
    *address = ((const struct sockaddr_in *)(const void *)found->ai_addr)->sin_addr;
    freeaddrinfo(found);
    return 0;
}

static int port_open(struct http_server *server, int slot) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return -errno;
    }
    int one = 1;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = server->address};
    at.sin_port = htons((uint16_t)(server->options.port + slot));
    bool listens = bind(fd, (const struct sockaddr *)&at, sizeof(at)) == 0 && listen(fd, 512) == 0;
    int result = listens ? http_poll_listen(server, fd, slot) : -errno;
    if (result != 0) {
        close(fd);
    }
    return result;
}

int http_server_add_slot(struct http_server *server, int slot) {
    return port_open(server, slot);
}

/* ---- start and stop ---- */

static struct http_server *server_new(const struct http_options *options) {
    struct http_server *server = calloc(1, sizeof(*server));
    if (server == NULL) {
        return NULL;
    }
    server->options = *options;
    server->guesses = http_guesses_new();
    server->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    server->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pthread_mutex_init(&server->lock, NULL);
    pthread_cond_init(&server->normal.filled, NULL);
    pthread_cond_init(&server->quick.filled, NULL);
    /* Half of the files: the rest is for nodes, databases and listeners. */
    struct rlimit files = {.rlim_cur = 1024};
    (void)getrlimit(RLIMIT_NOFILE, &files);
    server->connections_max = files.rlim_cur / 2 < HTTP_CONNECTIONS_MAX ? (size_t)files.rlim_cur / 2
                                                                        : HTTP_CONNECTIONS_MAX;
    struct epoll_event wake = {.events = EPOLLIN, .data.u64 = HTTP_POLL_WAKE};
    if (server->guesses == NULL || server->epoll_fd < 0 || server->wake_fd < 0 ||
        epoll_ctl(server->epoll_fd, EPOLL_CTL_ADD, server->wake_fd, &wake) != 0) {
        http_server_close(server);
        return NULL;
    }
    return server;
}

int http_server_open(struct http_server **out, const struct http_options *options, char *error,
                     size_t error_size) {
    struct http_server *server = server_new(options);
    int result = server == NULL ? -ENOMEM : host_resolve(options->host, &server->address);
    if (result != 0) {
        snprintf(error, error_size,
                 "cannot listen on %s: the name has no IPv4 address here; set "
                 "HOST to an address of this machine",
                 options->host);
    }
    for (int i = 0; i <= options->slots && result == 0; i++) {
        result = port_open(server, i);
        if (result != 0) {
            snprintf(error, error_size, "cannot listen on %s:%d: %s; choose another PORT or HOST",
                     options->host, options->port + i, strerror(-result));
        }
    }
    if (result == 0) {
        result = threads_start(server);
        if (result != 0) {
            snprintf(error, error_size, "cannot start %d threads: %s",
                     HTTP_WORKERS + HTTP_QUICK_WORKERS, strerror(-result));
        }
    }
    if (result != 0) {
        http_server_close(server);
        server = NULL;
    }
    *out = server;
    return result;
}

/* A handler in the middle of a slow client's bytes ends when its connection does. */
static void connections_end(struct http_server *server) {
    pthread_mutex_lock(&server->lock);
    atomic_store(&server->stopping, true);
    for (struct http_connection *each = server->all; each != NULL; each = each->all_next) {
        (void)shutdown(each->fd, SHUT_RDWR);
    }
    pthread_cond_broadcast(&server->normal.filled);
    pthread_cond_broadcast(&server->quick.filled);
    pthread_mutex_unlock(&server->lock);
    http_poll_wake(server);
}

void http_server_close(struct http_server *server) {
    if (server == NULL) {
        return;
    }
    connections_end(server);
    if (server->poller_runs) {
        pthread_join(server->poller, NULL);
    }
    for (size_t i = 0; i < server->workers_count; i++) {
        pthread_join(server->workers[i], NULL);
    }
    while (server->all != NULL) {
        struct http_connection *connection = server->all;
        server->all = connection->all_next;
        http_connection_free(connection);
    }
    for (size_t i = 0; i < server->listeners_count; i++) {
        close(server->listeners[i]);
    }
    close(server->epoll_fd);
    close(server->wake_fd);
    pthread_cond_destroy(&server->normal.filled);
    pthread_cond_destroy(&server->quick.filled);
    pthread_mutex_destroy(&server->lock);
    free(server->guesses);
    free(server);
}

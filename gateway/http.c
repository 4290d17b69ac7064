/* SPDX-License-Identifier: MIT */
/* civetweb wrapped: ports, threads, a request's way to its handler; see http.h. */
#include "http.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

/* ---- a request, on its connection's thread ---- */

static struct http_refusal busy(void) {
    return (struct http_refusal){.status = 503,
                                 .code = "RESOURCE_EXHAUSTED",
                                 .reason = "the gateway has more to do than it can; try again",
                                 .headers = "Retry-After: 1\r\n"};
}

/* What a page needs to ask for another token; NULL = that is not what is wrong. */
static json_t *role_lacks(const struct http_connection *connection) {
    const struct access_who *who = &connection->who;
    return who->role != ROLE_NONE && who->role < connection->needs
               ? json_pack("{s:s}", "needed_role", role_text(connection->needs))
               : NULL;
}

static void serve(struct http_connection *connection, struct http_request *request) {
    const struct http_options *options = &connection->engine->server->options;
    bool quick = (options->traits(connection->head.path) & HTTP_QUICK) != 0;
    struct http_refusal *refusal = &connection->refusal;
    bool counted = false;
    if (refusal->status == 0 && !quick) {
        counted = !connection->late && http_crowd_work_begin(connection);
        *refusal = counted ? *refusal : busy();
    }
    if (refusal->status != 0) {
        request->close = true; /* where its body ends may not be known */
        http_problem_more(request, refusal->status, refusal->code, refusal->headers,
                          role_lacks(connection), "%s", refusal->reason);
    } else {
        options->handler(options->context, request);
    }
    if (!request->replied) {
        http_problem(request, 500, "INTERNAL", "no answer was made");
    }
    if (counted) {
        http_crowd_work_end(connection);
    }
}

/* All requests come through here; civetweb's own handling is never reached. */
static int on_request(struct mg_connection *mg) {
    struct http_connection *connection = http_wire_served();
    if (connection == NULL) { /* libcivetweb does not call our recv: it is linked statically */
        log_line("ERROR", "http", "requests came past the checks; link libcivetweb dynamically");
        mg_disable_connection_keep_alive(mg);
        return 500;
    }
    struct http_server *server = connection->engine->server;
    const struct http_head *head = &connection->head;
    unsigned hold_ms = 0;
    connection->mg = mg;
    connection->needs = ROLE_NONE;
    connection->who = (struct access_who){.role = ROLE_NONE};
    if (connection->refusal.status == 0) {
        connection->refusal = http_check(server, connection, &hold_ms);
    }
    struct http_request request = {
        .method = head->method,
        .path = head->path,
        .query = head->query,
        .client = connection->peer,
        .lines = head,
        .slot = connection->slot,
        .body_bytes = head->body_bytes,
        .head = strcmp(head->method, "HEAD") == 0,
        .needs = connection->needs,
        .who = connection->who,
        .connection = connection,
    };
    if (hold_ms > 0) {
        http_wire_hold(connection, hold_ms);
    }
    serve(connection, &request);
    if (server->options.answered != NULL) {
        server->options.answered(server->options.context, &request);
    }
    if (request.close) {
        mg_disable_connection_keep_alive(mg);
        http_wire_drain(connection);
    }
    http_wire_next(connection);
    if (!request.close && !http_wire_goes_on(connection)) {
        connection->stays = true;
        mg_disable_connection_keep_alive(mg);
    }
    return request.status;
}

/* ---- threads and connections ---- */

static void *on_thread(const struct mg_context *context, int type) {
    (type == 0 ? http_wire_accepting : http_wire_serving)(mg_get_user_data(context));
    return NULL;
}

static int on_connection(const struct mg_connection *mg, void **data) {
    (void)mg; /* it says nothing of the connection yet */
    (void)data;
    http_wire_begin();
    return 0;
}

static void on_close(const struct mg_connection *mg) {
    struct http_connection *connection = http_wire_end();
    const struct mg_request_info *info = mg_get_request_info(mg);
    if (connection == NULL && info != NULL) { /* nothing came from it */
        struct http_engine *engine = info->user_data;
        connection = http_crowd_find_peer(engine, info->remote_addr, (in_port_t)info->remote_port,
                                          info->server_port - engine->server->options.port);
    }
    if (connection != NULL && connection->stays) {
        http_wire_keep(connection);
    } else if (connection != NULL) {
        http_crowd_leave(connection);
    }
}

static int on_log(const struct mg_connection *mg, const char *message) {
    if (mg == NULL) {
        log_line("WARN", "http", "%s", message);
    }
    return 1; /* what single clients do wrong is not worth lines */
}

/*
 * The stacks of civetweb's threads. The distributions build it for 100 KiB, and no option of
 * mg_start changes that. Handlers need more: jansson takes 180 KiB for an array that nests 2,048
 * deep, before it refuses more. So, as in http_wire.c, this definition comes before the C
 * library's. Only the thread that starts an engine gets another size from it, and only as long as
 * it does so.
 */
static _Thread_local bool starts_engine;

int pthread_attr_setstacksize(pthread_attr_t *attributes, size_t bytes) {
    int (*real)(pthread_attr_t *, size_t);
    /* ISO C has no conversion from void * to a function pointer; POSIX promises that it works. */
    *(void **)&real = dlsym(RTLD_NEXT, "pthread_attr_setstacksize");
    bool small = starts_engine && bytes < HTTP_THREAD_STACK_BYTES;
    return real(attributes, small ? HTTP_THREAD_STACK_BYTES : bytes);
}

static struct mg_context *civetweb_start(const struct mg_callbacks *callbacks,
                                         struct http_engine *engine, const char *const *options) {
    starts_engine = true;
    http_wire_starting(engine->server);
    struct mg_context *context = mg_start(callbacks, engine, (const char **)(uintptr_t)options);
    http_wire_starting(NULL);
    starts_engine = false;
    return context;
}

static int engine_start(struct http_server *server, const char *ports, size_t threads,
                        size_t reserve) {
    static const struct mg_callbacks callbacks = {
        .begin_request = on_request,
        .init_thread = on_thread,
        .init_connection = on_connection,
        .connection_close = on_close,
        .log_message = on_log,
    };
    char threads_text[12];
    char send_text[12];
    char idle_text[12];
    snprintf(threads_text, sizeof(threads_text), "%zu", threads);
    snprintf(send_text, sizeof(send_text), "%d", HTTP_SEND_MS_MAX);
    snprintf(idle_text, sizeof(idle_text), "%d", HTTP_IDLE_MS_MAX);
    const char *const options[] = {
        "listening_ports", ports, "num_threads", threads_text, "connection_queue", "1000",
        "listen_backlog", "512", "request_timeout_ms", send_text, "enable_keep_alive", "yes",
        "keep_alive_timeout_ms", idle_text, "tcp_nodelay", "1", "max_request_size",
        "1024", /* of ours; see http_wire.c */
        "decode_url", "no",
        /* Never reached, and off all the same. */
        "access_control_allow_origin", "", "access_control_allow_methods", "",
        "access_control_allow_headers", "", "cgi_pattern", "", "enable_directory_listing", "no",
        NULL};
    if (server->engines_count >= HTTP_PORTS_MAX) {
        return -ENFILE;
    }
    struct http_engine *engine = &server->engines[server->engines_count];
    *engine = (struct http_engine){.server = server,
                                   .threads = threads,
                                   .reserve = reserve,
                                   .listeners_begin = server->listeners_count,
                                   .waiting = -1,
                                   .alarm = -1};
    clock_cond_init(&engine->work_ended);
    TAILQ_INIT(&engine->new);
    TAILQ_INIT(&engine->idle);
    TAILQ_INIT(&engine->busy);
    engine->context = civetweb_start(&callbacks, engine, options);
    server->engines_count += engine->context != NULL;
    return engine->context == NULL ? -EADDRINUSE : 0;
}

/* ---- ports ---- */

/* To a dotted IPv4 address, which is all that this civetweb binds. */
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

/* Adds the slot's port to the list. civetweb only says "cannot start"; trying it tells why. */
static int port_add(struct http_server *server, int slot, struct buf *ports) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    int one = 1;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = server->address};
    at.sin_port = htons((uint16_t)(server->options.port + slot));
    bool listens = bind(fd, (const struct sockaddr *)&at, sizeof(at)) == 0 && listen(fd, 1) == 0;
    int result = listens ? 0 : -errno;
    close(fd);
    char ip[INET_ADDRSTRLEN];
    inet_ntop(AF_INET, &server->address, ip, sizeof(ip));
    if (result == 0 && !buf_format(ports, "%s%s:%d", ports->size == 0 ? "" : ",", ip,
                                   server->options.port + slot)) {
        result = -ENOMEM;
    }
    return result;
}

int http_server_add_slot(struct http_server *server, int slot) {
    struct buf ports = {0};
    int result = port_add(server, slot, &ports);
    if (result == 0) {
        result = buf_append(&ports, "", 1)
                     ? engine_start(server, (const char *)ports.data, HTTP_ADDED_THREADS,
                                    HTTP_ADDED_THREADS_FREE)
                     : -ENOMEM;
    }
    buf_free(&ports);
    return result;
}

/* ---- start and stop ---- */

static struct http_server *server_new(const struct http_options *options) {
    struct http_server *server = calloc(1, sizeof(*server));
    if (server == NULL) {
        return NULL;
    }
    server->options = *options;
    pthread_mutex_init(&server->lock, NULL);
    mg_init_library(0);
    return server;
}

int http_server_open(struct http_server **out, const struct http_options *options, char *error,
                     size_t error_size) {
    struct http_server *server = server_new(options);
    struct buf ports = {0};
    int result = server == NULL ? -ENOMEM : host_resolve(options->host, &server->address);
    if (result != 0) {
        snprintf(error, error_size,
                 "cannot listen on %s: the name has no IPv4 address here; set "
                 "HOST to an address of this machine",
                 options->host);
    }
    for (int i = 0; i <= options->slots && result == 0; i++) {
        result = port_add(server, i, &ports);
        if (result != 0) {
            snprintf(error, error_size, "cannot listen on %s:%d: %s; choose another PORT or HOST",
                     options->host, options->port + i, strerror(-result));
        }
    }
    if (result == 0) {
        result = buf_append(&ports, "", 1) ? engine_start(server, (const char *)ports.data,
                                                          HTTP_THREADS, HTTP_THREADS_FREE)
                                           : -ENOMEM;
        if (result != 0) {
            snprintf(error, error_size, "cannot serve %s:%d and the %d ports after it",
                     options->host, options->port, options->slots);
        }
    }
    buf_free(&ports);
    if (result != 0) {
        http_server_close(server);
        server = NULL;
    }
    *out = server;
    return result;
}

void http_server_close(struct http_server *server) {
    if (server == NULL) {
        return;
    }
    /* civetweb looks every two seconds whether it is to stop, unless something happens. */
    for (size_t i = 0; i < server->listeners_count; i++) {
        (void)shutdown(server->listeners[i], SHUT_RDWR);
    }
    http_crowd_end(server);
    for (size_t i = 0; i < server->engines_count; i++) {
        mg_stop(server->engines[i].context);
        http_crowd_free(&server->engines[i]);
        http_idle_close(&server->engines[i]);
    }
    for (size_t i = 0; i < server->listeners_count; i++) {
        close(server->listeners[i]);
    }
    free(server->by_fd);
    mg_exit_library();
    pthread_mutex_destroy(&server->lock);
    free(server);
}

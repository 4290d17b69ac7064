/* civetweb wrapped: starting, stopping, ports, and the checks before a handler; see http.h. */
#include "http.h"

#include <arpa/inet.h>
#include <civetweb.h>
#include <errno.h>
#include <netdb.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http_internal.h"
#include "log.h"
#include "url.h"

struct http_server {
    struct http_options options;
    struct mg_context *contexts[HTTP_PORTS_MAX];
    size_t contexts_count;
    char start_error[256];
};

static const char *status_text(int status) {
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
        {415, "Unsupported Media Type"},
        {421, "Misdirected Request"},
        {422, "Unprocessable Content"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {507, "Insufficient Storage"},
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (texts[i].status == status) {
            return texts[i].text;
        }
    }
    return "Status";
}

const char *http_status_text(int status) {
    return status_text(status);
}

static bool method_is_change(const char *method) {
    return strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0 &&
           strcmp(method, "OPTIONS") != 0;
}

static bool token_matches(const struct http_request *request, const char *token) {
    const char *given = http_header(request, "Authorization");
    if (given == NULL || strncasecmp(given, "Bearer ", 7) != 0) {
        return false;
    }
    given += 7;
    /* The length may show; the content may not. */
    return strlen(given) == strlen(token) && CRYPTO_memcmp(given, token, strlen(token)) == 0;
}

/* Browsers tell where a request comes from; curl does not and is no browser. */
static bool same_origin(struct http_request *request, const char *host, bool change) {
    const char *site = http_header(request, "Sec-Fetch-Site");
    const char *mode = http_header(request, "Sec-Fetch-Mode");
    const char *origin = http_header(request, "Origin");
    bool navigate = !change && mode != NULL && strcasecmp(mode, "navigate") == 0;
    if (site != NULL && !navigate && strcasecmp(site, "same-origin") != 0 &&
        (change || strcasecmp(site, "none") != 0)) {
        return false;
    }
    return origin == NULL || navigate || url_origin_is_host(origin, host);
}

static bool request_allowed(struct http_server *server, struct http_request *request) {
    const struct http_options *options = &server->options;
    const char *host = http_header(request, "Host");
    if (host == NULL || !url_host_allowed(host, options->names, options->names_count)) {
        request->close = true;
        http_problem(request, 403, "PERMISSION_DENIED",
                     "the Host header '%.100s' names none of this gateway's names; use %s, or add "
                     "the name to HOST_NAMES",
                     host == NULL ? "" : host, options->host);
        return false;
    }
    bool change = method_is_change(request->method);
    if (!same_origin(request, host, change)) {
        request->close = true;
        http_problem(request, 403, "PERMISSION_DENIED",
                     "the request comes from another site; open the page of this gateway itself");
        return false;
    }
    if (change && options->api_token != NULL && !token_matches(request, options->api_token)) {
        request->close = true;
        http_problem_more(request, 401, "UNAUTHENTICATED", "WWW-Authenticate: Bearer\r\n", NULL,
                          "changes need the header 'Authorization: Bearer TOKEN' with the token of "
                          "this gateway's API_TOKEN_FILE");
        return false;
    }
    return true;
}

static bool method_known(const char *method) {
    static const char *const methods[] = {"GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS"};
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        if (strcmp(method, methods[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* Length and encoding of the body. A request with both is a smuggling attempt. */
static bool request_body_known(struct http_request *request, const struct mg_request_info *info) {
    const char *encoding = http_header(request, "Transfer-Encoding");
    const char *length = http_header(request, "Content-Length");
    request->body_bytes = info->content_length > 0 ? info->content_length : 0;
    if (encoding != NULL) {
        request->body_bytes = -1;
        if (length != NULL || strcasecmp(encoding, "chunked") != 0) {
            request->close = true;
            request->body_done = true;
            http_problem(request, 400, "INVALID_ARGUMENT",
                         "a body comes either with Content-Length or in chunks, not both");
            return false;
        }
    } else if (length != NULL &&
               (info->content_length < 0 || length[0] == '\0' || strlen(length) > 15 ||
                length[strspn(length, "0123456789")] != '\0')) {
        request->close = true;
        request->body_done = true;
        http_problem(request, 400, "INVALID_ARGUMENT", "Content-Length is no number");
        return false;
    }
    request->body_done = request->body_bytes == 0;
    return true;
}

/* Every request comes through here, whatever its path; civetweb's own handling is never reached. */
static int on_request(struct mg_connection *connection) {
    const struct mg_request_info *info = mg_get_request_info(connection);
    struct http_server *server = info->user_data;
    struct http_request request = {
        .method = info->request_method,
        .path = info->local_uri_raw == NULL ? "*" : info->local_uri_raw,
        .query = info->query_string,
        .slot = info->server_port - server->options.port,
        .head = strcmp(info->request_method, "HEAD") == 0,
        .connection = connection,
    };
    if (!request_body_known(&request, info)) {
        return request.status;
    }
    if (!method_known(request.method)) {
        request.close = true;
        http_problem(&request, 501, "UNIMPLEMENTED", "the method %.20s is not known here",
                     request.method);
    } else if (request_allowed(server, &request)) {
        server->options.handler(server->options.context, &request);
    }
    if (!request.replied) {
        http_problem(&request, 500, "INTERNAL", "no answer was made");
    }
    return request.status;
}

/* A request that civetweb itself cannot read. */
static int on_http_error(struct mg_connection *connection, int status, const char *message) {
    char body[512];
    int size = snprintf(body, sizeof(body),
                        "{\"type\":\"about:blank\",\"title\":\"%s\",\"status\":%d,"
                        "\"detail\":\"the request cannot be read\",\"code\":\"INVALID_ARGUMENT\"}",
                        status_text(status), status);
    (void)message;
    mg_disable_connection_keep_alive(connection);
    mg_printf(connection,
              "HTTP/1.1 %d %s\r\nContent-Type: application/problem+json\r\n"
              "Content-Length: %d\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n"
              "%s",
              status, status_text(status), size, body);
    return 0;
}

static int on_log(const struct mg_connection *connection, const char *message) {
    if (connection == NULL) {
        log_line("WARN", "http", "%s", message);
    }
    return 1; /* what single clients do wrong is not worth lines */
}

static int context_start(struct http_server *server, const char *ports, int threads) {
    char threads_text[12];
    char timeout_text[12];
    snprintf(threads_text, sizeof(threads_text), "%d", threads);
    snprintf(timeout_text, sizeof(timeout_text), "%d", HTTP_REQUEST_TIMEOUT_MS);
    const char *options[] = {"listening_ports",
                             ports,
                             "num_threads",
                             threads_text,
                             "connection_queue",
                             "200",
                             "listen_backlog",
                             "200",
                             "request_timeout_ms",
                             timeout_text,
                             "enable_keep_alive",
                             "yes",
                             "keep_alive_timeout_ms",
                             "3000",
                             "linger_timeout_ms",
                             "500",
                             "tcp_nodelay",
                             "1",
                             "max_request_size",
                             "16384",
                             "decode_url",
                             "no",
                             "access_control_allow_origin",
                             "",
                             "access_control_allow_methods",
                             "",
                             "access_control_allow_headers",
                             "",
                             "cgi_pattern",
                             "",
                             "enable_directory_listing",
                             "no",
                             NULL};
    const struct mg_callbacks callbacks = {
        .begin_request = on_request,
        .http_error = on_http_error,
        .log_message = on_log,
    };
    if (server->contexts_count >= HTTP_PORTS_MAX) {
        return -ENFILE;
    }
    struct mg_context *context = mg_start(&callbacks, server, options);
    if (context == NULL) {
        return -EADDRINUSE;
    }
    server->contexts[server->contexts_count++] = context;
    return 0;
}

/* Resolves to a dotted IPv4 address, which is all that this civetweb binds. */
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

/* civetweb only says "cannot start"; trying the port ourselves tells why. */
static int port_try(struct in_addr address, int port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    int one = 1;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = address};
    at.sin_port = htons((uint16_t)port);
    int result = bind(fd, (const struct sockaddr *)&at, sizeof(at)) == 0 ? 0 : -errno;
    if (result == 0 && listen(fd, 1) != 0) {
        result = -errno;
    }
    close(fd);
    return result;
}

int http_server_open(struct http_server **out, const struct http_options *options, char *error,
                     size_t error_size) {
    struct http_server *server = calloc(1, sizeof(*server));
    struct buf ports = {0};
    struct in_addr address;
    int result = server == NULL ? -ENOMEM : host_resolve(options->host, &address);
    if (result != 0) {
        snprintf(error, error_size,
                 "cannot listen on %s: the name has no IPv4 address here; set "
                 "HOST to an address of this machine",
                 options->host);
        goto out;
    }
    server->options = *options;
    char ip[INET_ADDRSTRLEN];
    inet_ntop(AF_INET, &address, ip, sizeof(ip));
    for (int i = 0; i <= options->slots && result == 0; i++) {
        result = port_try(address, options->port + i);
        if (result != 0) {
            snprintf(error, error_size, "cannot listen on %s:%d: %s; choose another PORT or HOST",
                     options->host, options->port + i, strerror(-result));
        } else if (!buf_format(&ports, "%s%s:%d", i == 0 ? "" : ",", ip, options->port + i)) {
            result = -ENOMEM;
        }
    }
    if (result == 0) {
        mg_init_library(0);
        result = buf_append(&ports, "", 1)
                     ? context_start(server, (const char *)ports.data, HTTP_THREADS)
                     : -ENOMEM;
        if (result != 0) {
            snprintf(error, error_size, "cannot listen on %s:%d and the %d ports after it",
                     options->host, options->port, options->slots);
        }
    }
out:
    buf_free(&ports);
    if (result != 0) {
        free(server);
        server = NULL;
    }
    *out = server;
    return result;
}

int http_server_add_slot(struct http_server *server, int slot) {
    struct in_addr address;
    int result = host_resolve(server->options.host, &address);
    if (result == 0) {
        result = port_try(address, server->options.port + slot);
    }
    if (result != 0) {
        return result;
    }
    char ip[INET_ADDRSTRLEN];
    char ports[INET_ADDRSTRLEN + 8];
    inet_ntop(AF_INET, &address, ip, sizeof(ip));
    snprintf(ports, sizeof(ports), "%s:%d", ip, server->options.port + slot);
    return context_start(server, ports, HTTP_ADDED_THREADS);
}

void http_server_close(struct http_server *server) {
    if (server == NULL) {
        return;
    }
    for (size_t i = 0; i < server->contexts_count; i++) {
        mg_stop(server->contexts[i]);
    }
    mg_exit_library();
    free(server);
}

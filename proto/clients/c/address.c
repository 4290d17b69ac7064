/* SPDX-License-Identifier: MIT */
/* "host:port" as text, and a quick look whether something listens there. */
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client.h"

bool address_is_valid(const char *text) {
    const char *colon = strrchr(text, ':');
    if (colon == NULL || colon == text || strlen(text) >= CHORD_ADDRESS_SIZE) {
        return false;
    }
    size_t host = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                               ".-_[]:%");
    size_t digits = strspn(colon + 1, "0123456789");
    long port = strtol(colon + 1, NULL, 10);
    return host >= (size_t)(colon - text) && digits > 0 && digits <= 5 &&
           colon[1 + digits] == '\0' && port > 0 && port <= 65535;
}

static int probe_one(const struct addrinfo *info, uint32_t timeout_ms) {
    int fd = socket(info->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return errno;
    }
    int error = connect(fd, info->ai_addr, info->ai_addrlen) == 0 ? 0 : errno;
    if (error == EINPROGRESS) {
        struct pollfd poll_fd = {.fd = fd, .events = POLLOUT};
        socklen_t size = sizeof error;
        if (poll(&poll_fd, 1, (int)timeout_ms) != 1) {
            error = ETIMEDOUT;
        } else if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0) {
            error = errno;
        }
    }
    close(fd);
    return error;
}

int address_probe(const char *address, uint32_t timeout_ms) {
    char host[CHORD_ADDRESS_SIZE];
    const char *colon = strrchr(address, ':');
    if (colon == NULL) {
        return EINVAL;
    }
    snprintf(host, sizeof host, "%.*s", (int)(colon - address), address);
    size_t length = strlen(host);
    if (host[0] == '[' && host[length - 1] == ']') {
        memmove(host, host + 1, length - 2);
        host[length - 2] = '\0';
    }
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    if (getaddrinfo(host, colon + 1, &hints, &found) != 0) {
        return EADDRNOTAVAIL;
    }
    int error = EADDRNOTAVAIL;
    for (const struct addrinfo *info = found; info != NULL && error != 0; info = info->ai_next) {
        error = probe_one(info, timeout_ms);
    }
    freeaddrinfo(found);
    return error;
}

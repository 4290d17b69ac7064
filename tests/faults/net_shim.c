/* SPDX-License-Identifier: MIT */
/*
 * Puts a proxy between nodes where there are no network namespaces, by LD_PRELOAD: a node that is
 * told to listen on CHORD_NET_PORT listens CHORD_NET_SHIFT ports above, and what it connects to on
 * the loopback sees it come from CHORD_NET_SOURCE (127.0.0.x). The proxy (proxy.py) listens on the
 * ports that the nodes know of each other, and tells by the source who calls.
 */
#include <arpa/inet.h>
#include <dlfcn.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

typedef int address_fn(int socket, const struct sockaddr *address, socklen_t length);

static address_fn *real(const char *name) {
    address_fn *function;
    void *found = dlsym(RTLD_NEXT, name);
    memcpy(&function, &found, sizeof function); /* C has no cast for it */
    return function;
}

static uint16_t number(const char *name) {
    const char *text = getenv(name);
    return text != NULL ? (uint16_t)strtoul(text, NULL, 10) : 0;
}

/* False: not an IPv4 address. */
static int ipv4(struct sockaddr_in *copy, const struct sockaddr *address, socklen_t length) {
    if (address->sa_family != AF_INET || length < sizeof *copy) {
        return 0;
    }
    memcpy(copy, address, sizeof *copy);
    return 1;
}

/* glibc declares the address as a union of pointers. */
int bind(int socket, __CONST_SOCKADDR_ARG to, socklen_t length) {
    const struct sockaddr *address = to.__sockaddr__;
    struct sockaddr_in own;
    if (ipv4(&own, address, length) && ntohs(own.sin_port) == number("CHORD_NET_PORT")) {
        own.sin_port = htons((uint16_t)(ntohs(own.sin_port) + number("CHORD_NET_SHIFT")));
        return real("bind")(socket, (const struct sockaddr *)&own, sizeof own);
    }
    return real("bind")(socket, address, length);
}

int connect(int socket, __CONST_SOCKADDR_ARG to, socklen_t length) {
    const struct sockaddr *address = to.__sockaddr__;
    struct sockaddr_in copy, from = {.sin_family = AF_INET};
    const char *source = getenv("CHORD_NET_SOURCE");
    if (source != NULL && ipv4(&copy, address, length) &&
        inet_pton(AF_INET, source, &from.sin_addr) == 1) {
        real("bind")(socket, (const struct sockaddr *)&from, sizeof from);
    }
    return real("connect")(socket, address, length);
}

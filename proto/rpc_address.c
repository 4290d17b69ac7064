/* SPDX-License-Identifier: MIT */
/*
 * Addresses of hosts, as text: who can reach them. Knows no sockets.
 */
#include <arpa/inet.h>
#include <string.h>

#include "rpc.h"

bool rpc_host_is_loopback(const char *host) {
    struct in_addr address;
    return strcmp(host, "localhost") == 0 ||
           (inet_pton(AF_INET, host, &address) == 1 && ntohl(address.s_addr) >> 24 == 127);
}

/* Loopback and Tailscale's 100.64.0.0/10. */
bool rpc_host_is_private(const char *host) {
    struct in_addr address;
    return rpc_host_is_loopback(host) || (inet_pton(AF_INET, host, &address) == 1 &&
                                          ntohl(address.s_addr) >> 22 == (100u << 2 | 1u));
}

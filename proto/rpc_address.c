/* SPDX-License-Identifier: MIT */
/*
 * Addresses of hosts, as text: who can reach them. Knows no sockets.
 */
#include <arpa/inet.h>
#include <string.h>

#include "rpc.h"

/* Loopback and Tailscale's 100.64.0.0/10. */
bool rpc_host_is_private(const char *host) {
    struct in_addr address;
    if (strcmp(host, "localhost") == 0) {
        return true;
    }
    if (inet_pton(AF_INET, host, &address) != 1) {
        return false;
    }
    uint32_t bits = ntohl(address.s_addr);
    return bits >> 24 == 127 || bits >> 22 == (100u << 2 | 1u);
}

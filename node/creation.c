/* SPDX-License-Identifier: MIT */
/* See creation.h. */
#include "creation.h"

#include "node.h"

#include <stdio.h>
#include <string.h>

/* Longer than from one call of a lost member to the next (graveyard_period_ms, and a quarter). */
enum { LISTEN_MS = 7000 };

/* Who is there is on the same machine then: its nodes' folders tell (init.py looks at them). */
static bool is_loopback(const char *listen) {
    char host[CHORD_ADDRESS_BYTES];
    snprintf(host, sizeof host, "%.*s", (int)strcspn(listen, ":"), listen);
    return rpc_host_is_loopback(host);
}

void creation_heard(struct node *node, const struct chord_request *request) {
    struct creation *creation = &node->creation;
    if (request->has_sender && request->has_ring_id &&
        strcmp(request->sender.address, node->settings.listen) != 0) {
        memcpy(creation->by, request->sender.address, sizeof creation->by);
        memcpy(creation->ring_id, request->ring_id, sizeof creation->ring_id);
    }
}

bool creation_allowed(struct node *node, const struct chord_identity *identity) {
    const struct settings *settings = &node->settings;
    struct creation *creation = &node->creation;
    if (!settings->create || settings->seeds_count > 0 || identity->parameters.m != 0 ||
        is_loopback(settings->listen)) {
        return true;
    }
    uint64_t deadline_ms = node_now_ms() + LISTEN_MS;
    creation->listens = true;
    while (!node->stopping && creation->by[0] == '\0' && node_now_ms() < deadline_ms) {
        node_wait(node, deadline_ms);
    }
    creation->listens = false;
    if (creation->by[0] == '\0') {
        return true;
    }
    char ring[2 * CHORD_RING_ID_BYTES + 1];
    rpc_hex(ring, creation->ring_id, CHORD_RING_ID_BYTES);
    fprintf(
        stderr,
        "chord-node: %s looks for a lost member of ring %s at this address, %s, and there is no "
        "data in %s: --create would make another, empty ring. Put the data back, or come back as "
        "a new member with --join %s; for a new ring choose another port\n",
        creation->by, ring, settings->listen, settings->data, creation->by);
    return false;
}

/* SPDX-License-Identifier: MIT */
/*
 * What a service manager (systemd) is told of this node: ready once it is a member that has
 * stabilized, one sentence on what it does now, and that its loop goes round. Core thread only.
 */
#ifndef NODE_READINESS_H
#define NODE_READINESS_H

#include "sd_notify.h"

struct node;
struct call_context;
struct rpc_reply;

struct readiness {
    struct sd_notify notify;
    bool has_stabilized; /* a successor has answered it as a member */
    uint64_t look_ms;    /* when to look at its state again */
};

void readiness_open(struct node *node); /* before the first thread */
/* Every answer to a request of ours, and every failure of one. */
void readiness_reply(struct node *node, const struct call_context *context,
                     const struct rpc_reply *reply);
void readiness_tick(struct node *node); /* once a round of the loop */
/* When the loop must go round for it at the latest; UINT64_MAX: it need not. */
uint64_t readiness_next_ms(const struct node *node);
void readiness_close(struct node *node);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * What a node notices of its place in the ring, in words for people: for whom it waits while it is
 * out of its ring, and that a copy of its disk runs. Log lines and the status's warning; the core
 * decides all by itself. Core thread only.
 */
#ifndef NODE_NOTICES_H
#define NODE_NOTICES_H

#include "chord.h"

struct node;
struct call_context;
struct rpc_reply;

enum { NOTICE_BYTES = 512 }; /* with the longest addresses; a line of the log is cut sooner */

struct notices {
    uint16_t known_count;
    struct chord_peer known[CHORD_REPLICAS_MAX]; /* members of the ring as the store has them */
    uint64_t heard_ms[CHORD_REPLICAS_MAX];       /* when each answered last; 0 = not yet */
    uint64_t member_ms;                          /* when one that is in a ring answered last */
    uint64_t out_since_ms;                       /* 0 = it is no joiner */
    uint64_t told_ms;
    char told[NOTICE_BYTES];
    char copy[CHORD_ADDRESS_BYTES]; /* who runs with our store id */
    uint64_t copy_ms, copy_told_ms; /* when it was heard last, and told last; 0 = never */
};

/* The members that the next start will know. */
void notices_known(struct node *node, const struct chord_identity *identity);
void notices_request(struct node *node, const struct chord_request *request);
/* Every answer to a request of ours, and every failure of one. */
void notices_reply(struct node *node, const struct call_context *context,
                   const struct rpc_reply *reply);
/* One sentence of at most NOTICE_BYTES into `out`; false: there is nothing to say. */
bool notices_text(const struct node *node, enum chord_node_state state, char out[NOTICE_BYTES]);

#endif

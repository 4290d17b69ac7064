/* SPDX-License-Identifier: MIT */
/*
 * All nodes of a ring that can be reached from some of its members, each with its own status, and
 * the verdict on them. chord_client.h has the short form, chord_ring_look.
 */
#ifndef CHORD_RING_WALK_H
#define CHORD_RING_WALK_H

#include "client.h"
#include "ring_verdict.h"

enum { RING_WALK_NODES_MAX = 4096 };

struct ring_node {
    char address[CHORD_ADDRESS_SIZE];
    char id[ID_HEX_SIZE];        /* "?" while nobody told */
    ProtobufCBinaryData id_told; /* by whoever named it; lives in that one's reply */
    bool alias;                  /* another name of a node that stands here already */
    struct rpc_reply reply;
    const Chord__V1__StatusResponse *status; /* NULL: it did not answer */
    bool clock_known;
    double clock_ahead_ms; /* of ours, at the middle of the question's round trip */
    double clock_trip_ms;  /* that round trip: the difference is known to half of it */
};

struct ring_walk {
    struct ring_node *nodes; /* sorted by id */
    size_t nodes_count;
    unsigned m;
    bool cut;                 /* there are more than RING_WALK_NODES_MAX */
    struct chord_answer none; /* when no node answered: what came of the first that was asked */
};

/* From some members on that the client's watch names; a node that does not answer is waited for at
 * most 2 s. false: none of them is a node that answers (`none` says why not), or there is no memory
 * (no `nodes`). Free it with ring_walk_free in either case. */
bool ring_walk(struct chord_client *client, struct ring_walk *walk);
void ring_walk_free(struct ring_walk *walk);
/* Compares the members' clocks with ours; after ring_walk, when the connections stand. */
void ring_walk_clocks(struct chord_client *client, struct ring_walk *walk);
const struct ring_node *ring_walk_find_id(const struct ring_walk *walk, const char *id);

/* Of nodes that are down only what others say counts. As ring_judge. */
void ring_walk_judge(const struct ring_walk *walk, struct ring_verdict *verdict);

/* Takes the range over the id that the node at this address leads by its status, if it is newer. */
void client_leader_take(struct client_leader *leader, const char *address,
                        const Chord__V1__StatusResponse *status, const struct ring_id *id);

#endif

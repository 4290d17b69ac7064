/* All nodes that can be reached from the ones we know, each with its own status. */
#ifndef CHORDCTL_WALK_H
#define CHORDCTL_WALK_H

#include "ctl.h"
#include "ring_check.h"
#include "ring_survival.h"
#include "text.h"

enum { WALK_NODES_MAX = 4096 };

struct walk_node {
    char address[RPC_ADDRESS_BYTES_MAX + 1];
    char id[TEXT_ID_SIZE];       /* "?" while nobody told */
    ProtobufCBinaryData id_told; /* by whoever named it; lives in that one's reply */
    bool alias;                  /* another name of a node that stands here already */
    struct rpc_reply reply;
    const Chord__V1__StatusResponse *status; /* NULL: it did not answer */
    bool clock_known;
    double clock_ahead_ms; /* of ours, at the middle of the question's round trip */
    double clock_trip_ms;  /* that round trip: the difference is known to half of it */
};

struct walk {
    struct walk_node *nodes; /* sorted by id */
    size_t nodes_count;
    unsigned m;
    bool cut; /* there are more than WALK_NODES_MAX */
};

/* CTL_OK, or said. Free with walk_free. */
int walk_ring(struct ctl *ctl, struct walk *walk);
void walk_free(struct walk *walk);
/* Compares the members' clocks with ours; after walk_ring, when the connections stand. */
void walk_clocks(struct ctl *ctl, struct walk *walk);
const struct walk_node *walk_find_id(const struct walk *walk, const char *id);

struct verdict {
    bool ideal;
    char text[500]; /* one sentence */
    size_t members;
    unsigned survives_failures;
    uint64_t keys, keys_lost; /* all; those in ranges that have lost their majority */
};

/* Over every range, as the gateway computes it; of nodes that are down only what others say. Free
 * it with survival_free. */
void walk_survival(const struct walk *walk, struct survival *survival);

/* The ring as it is against the ring as it should be (Zave 2017: the ideal state). */
void verdict_make(const struct walk *walk, struct verdict *verdict);
/* Predecessors and successor lists alone; false: verdict->text says which is wrong. */
bool verdict_lists(const struct walk *walk, struct verdict *verdict);
/* The members a range could have now. */
unsigned verdict_copies_wanted(const struct walk *walk);

const char *state_text(Chord__V1__NodeState state);

#endif

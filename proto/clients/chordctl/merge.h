/* SPDX-License-Identifier: MIT */
/* What the files of chordctl merge share: the two rings, and how far it has come. */
#ifndef CHORDCTL_MERGE_H
#define CHORDCTL_MERGE_H

#include <limits.h>

#include "ctl.h"

enum {
    MERGE_STEP_MS = 600000,
    MERGE_PAUSE_MS = 50,
    MERGE_REASON_BYTES = 300,
    MERGE_SEEDS_MAX = 16,
};

/* One of the two rings: whom to ask there, and what it is. */
struct merge_ring {
    struct ctl ctl;
    struct chord_ring_name name;
    char address[CHORD_ADDRESS_SIZE];                  /* the member that was named */
    char members[MERGE_SEEDS_MAX][CHORD_ADDRESS_SIZE]; /* for who joins; that one is the first */
    const char *seeds[MERGE_SEEDS_MAX];
    size_t seeds_count;
    size_t members_count;
    uint64_t keys;
};

struct merge {
    struct ctl *ctl;
    struct merge_ring from, into;
    char last[RPC_ADDRESS_BYTES_MAX + 1]; /* of `from`, the node that goes last */
    uint32_t step_ms;                     /* how long one step may take */
    bool replace;                         /* on conflict the rows of `from` win */
    const char *conflicts_path;           /* where the values that lose are to be written */
    char conflicts_file[PATH_MAX];        /* and are */
    bool progress;
    uint64_t moved, rows_read, rows_copied, rows_same, conflicts;
};

/* merge_node.c: one node on its way. */

struct merge_look {
    bool answered;
    char reason[MERGE_REASON_BYTES]; /* why not */
    Chord__V1__NodeState state;
    bool left_last;
    bool in_from, in_into; /* which ring it belongs to */
};
void merge_look(struct merge *merge, const char *address, struct merge_look *look);
/* Until the node is a member of `into`. */
void merge_move(struct merge *merge, const char *address);
/* True: `last` has left as the last member of `from`. Else the reason: it may not be alone yet. */
bool merge_leave_last(struct merge *merge, char reason[MERGE_REASON_BYTES]);

/* merge_losers.c: the values that lose, as a file. */
struct merge_losers;
struct merge_losers *merge_losers_new(struct merge *merge);
void merge_losers_free(struct merge_losers *losers);
void merge_losers_add(struct merge_losers *losers, const ProtobufCBinaryData *key,
                      const ProtobufCBinaryData *value, uint64_t expires_at_ms);
/* What was added is on disk; where the file is made, its name is in merge->conflicts_file. */
void merge_losers_write(struct merge_losers *losers);

/* merge_rows.c: every row of the last node into the other ring. */
void merge_rows_copy(struct merge *merge);

#endif

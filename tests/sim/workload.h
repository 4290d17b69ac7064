/* SPDX-License-Identifier: MIT */
/*
 * The clients of a simulated ring: each asks one thing at a time, of any node, and sends again by
 * the rules of kv.proto, as a good client does. What they were told becomes the history of each
 * key. Knows nothing of the ring.
 */
#ifndef SIM_WORKLOAD_H
#define SIM_WORKLOAD_H

#include "core_host.h"
#include "history.h"

enum { WORKLOAD_CLIENTS_MAX = 64, WORKLOAD_KEYS_MAX = 256 };

struct workload_counts {
    uint64_t reads, acknowledged, refused; /* answered; refused: by their preconditions */
    uint64_t unknown;                      /* writes whose outcome nobody could tell */
    uint64_t failed;                       /* certainly not executed, however often asked */
    uint64_t copies;                       /* of writes that had ended */
    uint64_t retries;                      /* of the writes, under the same op_id */
    uint64_t given_up;                     /* histories too hard to check */
};

struct workload;

struct workload *workload_new(struct host *host, uint64_t seed, unsigned clients, unsigned keys);
void workload_free(struct workload *workload);
/* Takes the answers that have come and asks on; to be called each millisecond. */
void workload_turn(struct workload *workload);
/* Lets the clients end, then reads all keys of a well ring, and checks everything. NULL, or what is
 * wrong, with the key; its history goes to `out`, unless that is NULL. Takes virtual time. */
const char *workload_check(struct workload *workload, FILE *out, int *key);
const struct workload_counts *workload_count(const struct workload *workload);

#endif

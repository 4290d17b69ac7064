/* SPDX-License-Identifier: MIT */
/*
 * What the clients of a run did and were told, key by key, and whether that can be: each history
 * is linearizable, one write has one version, and nothing acknowledged is gone. Knows nothing of
 * how the clients ask.
 */
#ifndef SIM_HISTORY_H
#define SIM_HISTORY_H

#include "linear.h"

#include <stdio.h>

struct history_version {
    uint64_t epoch, counter; /* both 0: not told */
};

struct history_entry {
    struct linear_operation operation;
    struct history_version version; /* of what was read or written */
    unsigned client, attempts;
    int node; /* the last that was asked */
};

struct history {
    size_t count, room;
    struct history_entry *entries;
};

void history_add(struct history *history, const struct history_entry *entry);
void history_free(struct history *history);
/* NULL, or what is wrong, and with which entry. `given_up`: the search was too long to be ended. */
const char *history_check(const struct history *history, size_t *entry, bool *given_up);
/* The same of the ledger: what a read at the end found is not older than what was acknowledged. */
const char *history_check_kept(const struct history *history, const struct history_entry *last,
                               size_t *entry);
/* Those around one entry, in the order of their calls. */
void history_print(const struct history *history, size_t entry, FILE *out);

#endif

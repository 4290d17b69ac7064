/* SPDX-License-Identifier: MIT */
/*
 * Hosts met so far while one goes through members (node/chord/README.md: Copies on different
 * hosts).
 */
#ifndef CHORD_HOSTS_H
#define CHORD_HOSTS_H

#include "message.h"

struct hosts {
    uint16_t count;
    uint64_t items[CHORD_REPLICAS_MAX];
};

/* False: it was there, or there is no room. A host that is not known is another one each time. */
static inline bool hosts_add(struct hosts *hosts, uint64_t host_id) {
    for (uint16_t i = 0; i < hosts->count; i++) {
        if (host_id != 0 && hosts->items[i] == host_id) {
            return false;
        }
    }
    if (hosts->count == CHORD_REPLICAS_MAX) {
        return false;
    }
    hosts->items[hosts->count++] = host_id;
    return true;
}

#endif

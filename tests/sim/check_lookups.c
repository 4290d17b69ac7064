/* SPDX-License-Identifier: MIT */
/*
 * Lookups: every one ends, with an answer, and on an ideal ring with the true owner: see checks.h.
 */
#include "checks.h"

#include <stdio.h>

enum { LOOKUP_TIMEOUT_MS = 30000, AT_ONCE = 32 };

static int random_member(struct host *host) {
    int first = host_count(host) == 0 ? 0 : (int)(host_random(host) % (uint64_t)host_count(host));
    for (int i = 0; i < host_count(host); i++) {
        int node = (first + i) % host_count(host);
        if (host_member(host, node)) {
            return node;
        }
    }
    return HOST_NOBODY;
}

const char *check_lookups(struct host *host, unsigned count, bool owners, int *node) {
    struct {
        int node;
        struct chord_id id;
        struct host_call *call;
    } asked[AT_ONCE];
    for (unsigned done = 0; done < count;) {
        unsigned now = 0;
        for (; now < AT_ONCE && done < count; now++, done++) {
            struct chord_request request = {.kind = CHORD_LOOKUP};
            uint8_t hash[CHORD_ID_BYTES];
            char text[32];
            snprintf(text, sizeof text, "%llx", (unsigned long long)host_random(host));
            core_hash(text, hash);
            asked[now].node = *node = random_member(host);
            if (*node == HOST_NOBODY) {
                return "no member is left to ask";
            }
            asked[now].id = request.id = id_from_hash(hash, host_config_of(host)->m);
            asked[now].call = host_request(host, asked[now].node, &request, LOOKUP_TIMEOUT_MS);
        }
        unsigned open = now;
        for (unsigned ms = 0; open > 0 && ms < LOOKUP_TIMEOUT_MS + 10; ms++) {
            host_run(host, 1);
            open = 0;
            for (unsigned i = 0; i < now; i++) {
                open += !asked[i].call->done;
            }
        }
        for (unsigned i = 0; i < now; i++) {
            const struct host_call *call = asked[i].call;
            *node = asked[i].node;
            if (!call->done || call->code != CHORD_OK) {
                return "a lookup without an answer";
            }
            if (owners && host_by_address(host, call->response.lookup.owner.address) !=
                              host_owner(host, &asked[i].id)) {
                return "a lookup that found another node than the owner";
            }
        }
    }
    *node = HOST_NOBODY;
    return NULL;
}

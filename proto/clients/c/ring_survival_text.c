/* SPDX-License-Identifier: MIT */
/* What the ring still bears, in words; see ring_survival.h. */
#include "ring_survival.h"

#include <stdio.h>
#include <string.h>

void survival_whom(const struct survival *survival, size_t names_max, char *text, size_t size) {
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < survival->start_count && i < names_max && used < size; i++) {
        const char *between = survival->start_any ? " or " : " and ";
        int more =
            snprintf(text + used, size - used, "%s%s", i == 0 ? "" : between, survival->start[i]);
        used += more > 0 ? (size_t)more : 0;
    }
}

void survival_hosts_text(const struct survival *survival, char *text, size_t size) {
    const struct survival_host *worst = NULL;
    text[0] = '\0';
    for (size_t i = 0; i < survival->hosts_count; i++) {
        const struct survival_host *host = &survival->hosts[i];
        worst = worst == NULL || host->ids_at_risk > worst->ids_at_risk ? host : worst;
    }
    if (survival->hosts_count < 2) {
        return;
    }
    if (survival->host_failures > 0) {
        snprintf(text, size, ", or any %u of %zu hosts", survival->host_failures,
                 survival->hosts_count);
    } else {
        snprintf(text, size,
                 ", but none of %zu hosts: without %s %.0f %% of the ids have no majority",
                 survival->hosts_count, worst->name[0] != '\0' ? worst->name : "one",
                 100 * worst->ids_at_risk);
    }
}

void survival_text(const struct survival *survival, char *text, size_t size) {
    bool keys = survival->keys_lost > 0;
    double share = keys ? (double)survival->keys_lost / (double)survival->keys : survival->ids_lost;
    enum { NAMES_MAX = 4 };
    char how_many[32], whom[(NAMES_MAX + 1) * (SURVIVAL_ADDRESS_BYTES + 6)] = "";
    text[0] = '\0';
    if (survival->lost_count == 0) {
        return;
    }
    if (share > 0.9999) {
        snprintf(how_many, sizeof how_many, "all");
    } else if (share < 0.01) {
        snprintf(how_many, sizeof how_many, "under 1 %% of the");
    } else {
        snprintf(how_many, sizeof how_many, "%.0f %% of the", share > 0.99 ? 99 : 100 * share);
    }
    survival_whom(survival, NAMES_MAX, whom, sizeof whom);
    if (survival->start_count > NAMES_MAX) {
        size_t used = strlen(whom);
        snprintf(whom + used, sizeof whom - used, " %s %zu more",
                 survival->start_any ? "or one of" : "and", survival->start_count - NAMES_MAX);
    }
    snprintf(text, size, "%s %s have lost their majority; start %s", how_many,
             keys ? "keys" : "ids", whom[0] != '\0' ? whom : "the nodes that are down");
}

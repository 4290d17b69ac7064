/* SPDX-License-Identifier: MIT */
/*
 * What the ring still bears, from what its nodes say of themselves: computed over every range, so
 * that gateway and chordctl say the same. Of each id the newest view counts, whoever tells of it; a
 * range has lost its majority when more of that view's members are down than it can do without.
 *
 * Pure: no I/O, no clock.
 */
#ifndef CHORD_RING_SURVIVAL_H
#define CHORD_RING_SURVIVAL_H

#include "chord/v1/admin.pb-c.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SURVIVAL_START_MAX = 16, SURVIVAL_ADDRESS_BYTES = 64 };

struct survival_node {
    const char *address;
    bool alive;                              /* it answers, or is not yet known not to */
    const Chord__V1__StatusResponse *status; /* the newest, also of one that is down; NULL: none */
};

/* (lo, hi]; the bytes live in the statuses. */
struct survival_range {
    ProtobufCBinaryData lo, hi;
    uint64_t keys;
    unsigned members, alive;
};

/* Nodes that fail together: a machine, or what its HOST_ID names. */
struct survival_host {
    uint64_t id;        /* 0: those of which nobody knows where they are, as one */
    const char *name;   /* lives in a status */
    unsigned members;   /* that answer */
    double ids_at_risk; /* the share of all ids whose ranges have no majority without it, 0 to 1 */
};

struct survival {
    uint32_t failures;           /* further ones that every range bears */
    uint32_t host_failures;      /* so many whole hosts may go, whichever they are */
    struct survival_host *hosts; /* with members that answer; by name */
    size_t hosts_count;
    uint64_t keys;              /* values in all ranges, as far as anybody has told */
    uint64_t keys_lost;         /* of these in ranges that have lost their majority */
    double ids_lost;            /* the share of all ids, 0 to 1 */
    bool all_led;               /* each id is led by somebody who is alive; else: */
    ProtobufCBinaryData gap_lo; /* nobody leads (gap_lo, gap_hi]; empty: nobody tells of any view */
    ProtobufCBinaryData gap_hi;
    struct survival_range *lost; /* by lo */
    size_t lost_count;
    /* Members that are down: any one of them brings all ranges back, or all of them together. */
    char start[SURVIVAL_START_MAX][SURVIVAL_ADDRESS_BYTES];
    size_t start_count;
    bool start_any;
};

/* false: no memory. Free it with survival_free, after which it is empty. */
bool survival_make(const struct survival_node *nodes, size_t count, unsigned m,
                   struct survival *survival);
void survival_free(struct survival *survival);
/* Of `start`, at most so many: "A or B", where any one is enough, else "A and B". */
void survival_whom(const struct survival *survival, size_t names_max, char *text, size_t size);
/* What to add to "survives 1 failure": ", or any 1 of 3 hosts"; where none may go, which one takes
 * most. Empty with one host. */
void survival_hosts_text(const struct survival *survival, char *text, size_t size);
/* "90 % of the keys have lost their majority; start A or B"; empty when none has. */
void survival_text(const struct survival *survival, char *text, size_t size);

#endif

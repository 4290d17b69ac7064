/* SPDX-License-Identifier: MIT */
/* The checks of nodes and of the ring's shape; those of ranges are in checkup_ranges.c. */
#include "checkup.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { SYNCHRONOUS_FULL = 2 };
#define DISK_FREE_LOW (256ull * 1024 * 1024)

const char *checkup_level_text(enum checkup_level level) {
    return level == CHECKUP_PASS ? "PASS" : level == CHECKUP_WARN ? "WARN" : "FAIL";
}

struct check *check_new(struct checkup *checkup, const char *name, const char *passed) {
    struct check *check = &checkup->checks[checkup->count++];
    *check = (struct check){.name = name, .advice = ""};
    snprintf(check->reason, sizeof check->reason, "%s", passed);
    return check;
}

struct check *check_of_members(struct checkup *checkup, const char *name, const char *passed) {
    return check_new(checkup, name,
                     checkup->members_count > 0 ? passed : "skipped: nobody is a member");
}

void check_find(struct check *check, enum checkup_level level, const char *advice,
                const char *format, ...) {
    if (level < check->level || level == CHECKUP_PASS) {
        return;
    }
    if (level == check->level) {
        check->more++;
        return;
    }
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(check->reason, sizeof check->reason, format, arguments);
    va_end(arguments);
    check->level = level;
    check->advice = advice;
    check->more = 0;
}

/* ---- nodes ---- */

static void check_nodes(struct checkup *checkup) {
    const struct ring_walk *walk = checkup->walk;
    struct check *check = check_new(checkup, "nodes", "every node that is named answers");
    for (size_t i = 0; i < walk->nodes_count; i++) {
        const struct ring_node *node = &walk->nodes[i];
        if (node->status == NULL) {
            check_find(check, CHECKUP_WARN, "start it; or wait until the others have replaced it",
                       "node %s at %s does not answer, and others still name it", node->id,
                       node->address);
        } else if (node->status->state != CHORD__V1__NODE_STATE__NODE_STATE_MEMBER &&
                   node->status->state != CHORD__V1__NODE_STATE__NODE_STATE_LEFT) {
            check_find(check, CHECKUP_WARN, "wait until that is done", "node %s at %s is %s",
                       node->id, node->address, ring_state_text(node->status->state));
        }
    }
    if (walk->cut) {
        check_find(check, CHECKUP_WARN, "",
                   "the ring has more than %d nodes; only these are judged", RING_WALK_NODES_MAX);
    }
    if (checkup->members_count == 0) {
        check_find(check, CHECKUP_FAIL, "start the ring", "no node that answers is a member");
    }
}

static void check_parameters(struct checkup *checkup) {
    struct check *check = check_of_members(
        checkup, "parameters", "ring id, M, N, REPLICAS and version are the same everywhere");
    for (size_t i = 1; i < checkup->members_count; i++) {
        const struct ring_node *first = checkup->members[0], *node = checkup->members[i];
        const Chord__V1__RingParameters *a = first->status->parameters;
        const Chord__V1__RingParameters *b = node->status->parameters;
        if (!ring_bytes_equal(a->ring_id, b->ring_id)) {
            check_find(check, CHECKUP_FAIL, "make them one with chordctl merge",
                       "these are two rings: %s and %s have different ring ids", first->address,
                       node->address);
        } else if (a->m != b->m || a->n != b->n || a->replicas != b->replicas) {
            check_find(check, CHECKUP_FAIL, "clear the data of the node that is wrong",
                       "%s and %s of one ring have different M, N or REPLICAS", first->address,
                       node->address);
        } else if (strcmp(first->status->version, node->status->version) != 0) {
            check_find(check, CHECKUP_WARN, "go on with the upgrade",
                       "%s is of version %s and %s of %s", first->address, first->status->version,
                       node->address, node->status->version);
        }
    }
}

/* ---- the ring ---- */

static void check_lists(struct checkup *checkup) {
    struct check *check = check_of_members(
        checkup, "lists", "every predecessor and successor list is what it should be");
    if (checkup->verdict.lists[0] != '\0') {
        check_find(check, CHECKUP_WARN, "stabilize mends this within seconds; look again", "%s",
                   checkup->verdict.lists);
    }
}

static void check_invariant(struct checkup *checkup) {
    struct check *check = check_of_members(checkup, "invariant",
                                           "the local invariant of Chord holds at every member");
    for (size_t i = 0; i < checkup->members_count; i++) {
        const struct ring_node *node = checkup->members[i];
        if (node->status->invariant[0] != '\0') {
            check_find(check, CHECKUP_FAIL, "this is a bug: keep the node's log, restart the node",
                       "node %s: %s", node->id, node->status->invariant);
        }
    }
}

/* What makes the ring bear the loss of a host. */
static const char *hosts_advice(const struct survival *survival, const struct checkup *checkup) {
    unsigned replicas = checkup->members[0]->status->parameters->replicas;
    return replicas < 3                ? "a ring of two copies a key bears no loss"
           : survival->hosts_count < 3 ? "start nodes on a third host"
                                       : "copies move to other hosts within seconds; look again";
}

static void check_principals(struct checkup *checkup) {
    char text[400], hosts[200];
    size_t count = checkup->members_count;
    unsigned n = count > 0 ? checkup->members[0]->status->parameters->n : 0;
    const struct survival *survival = &checkup->verdict.survival;
    unsigned survives = survival->failures;
    survival_hosts_text(survival, hosts, sizeof hosts);
    snprintf(text, sizeof text, "%zu members, at least N+1 = %u; the ring survives %u failure%s%s",
             count, n + 1, survives, survives == 1 ? "" : "s", hosts);
    struct check *check = check_of_members(checkup, "members", text);
    if (count > 0 && count < n + 1u) {
        check_find(check, CHECKUP_WARN, "start more nodes",
                   "%zu members are fewer than N+1 = %u, for which the ring is proven", count,
                   n + 1);
    } else if (count > 0 && survives == 0) {
        check_find(check, CHECKUP_WARN, "wait until copies are complete, or start more nodes",
                   "the ring survives no further failure just now");
    } else if (survival->hosts_count > 1 && survival->host_failures == 0) {
        check_find(check, CHECKUP_WARN, hosts_advice(survival, checkup),
                   "the ring survives %u failure%s%s", survives, survives == 1 ? "" : "s", hosts);
    }
    check = check_of_members(checkup, "majorities", "every range has a majority of its members");
    if (survival->lost_count > 0) { /* in the words of the commands that wait for the ring */
        char lost[380];
        survival_text(survival, lost, sizeof lost);
        check_find(check, CHECKUP_FAIL, "", "%s", lost);
    }
}

/* ---- disks and clocks ---- */

static void check_rows(struct checkup *checkup) {
    struct check *check =
        check_of_members(checkup, "rows", "no row with a wrong checksum is known");
    for (size_t i = 0; i < checkup->members_count; i++) {
        const struct ring_node *node = checkup->members[i];
        if (node->status->bad_rows > 0) {
            check_find(
                check, CHECKUP_FAIL,
                "restart that node: it gets good copies from the others; a key without any must be "
                "written anew; test the disk",
                "node %s at %s has %u row%s that its disk has changed (they are not given out)",
                node->id, node->address, node->status->bad_rows,
                node->status->bad_rows == 1 ? "" : "s");
        }
    }
}

static void check_disk(struct checkup *checkup) {
    struct check *check =
        check_of_members(checkup, "disk", "every node writes, has room, and syncs each commit");
    for (size_t i = 0; i < checkup->members_count; i++) {
        const struct ring_node *node = checkup->members[i];
        const Chord__V1__StatusResponse *status = node->status;
        if (status->read_only) {
            check_find(check, CHECKUP_FAIL, "make room there",
                       "the disk of node %s at %s is full: it takes no writes", node->id,
                       node->address);
        } else if (status->synchronous != 0 && status->synchronous != SYNCHRONOUS_FULL) {
            check_find(check, CHECKUP_FAIL, "this is a bug: a power cut may lose writes",
                       "node %s at %s runs SQLite with synchronous=%u, not FULL", node->id,
                       node->address, status->synchronous);
        } else if (status->version[0] != '\0' && status->disk_free_bytes < DISK_FREE_LOW) {
            check_find(check, CHECKUP_WARN, "make room there",
                       "the disk of node %s at %s has %" PRIu64 " MiB left", node->id,
                       node->address, status->disk_free_bytes / (1024 * 1024));
        }
    }
}

/* Large differences change nothing but the moment at which keys expire. */
static void check_clocks(struct checkup *checkup) {
    double least = 0, most = 0, trip = 0;
    unsigned known = 0;
    char text[200];
    for (size_t i = 0; i < checkup->members_count; i++) {
        const struct ring_node *node = checkup->members[i];
        if (node->clock_known) {
            least = known == 0 || node->clock_ahead_ms < least ? node->clock_ahead_ms : least;
            most = known == 0 || node->clock_ahead_ms > most ? node->clock_ahead_ms : most;
            trip = node->clock_trip_ms > trip ? node->clock_trip_ms : trip;
            known++;
        }
    }
    if (known == 0) {
        check_new(checkup, "clocks", "skipped: no node tells its clock");
        return;
    }
    snprintf(text, sizeof text,
             "they differ by %.3f s, measured to %.3f s; nothing but the expiry of keys uses them",
             (most - least) / 1000, (trip / 2 + 1) / 1000);
    check_new(checkup, "clocks", text);
}

/* What a node says of itself begins with its address, and comes before what all say of the ring. */
static void check_warnings(struct checkup *checkup) {
    struct check *check = check_new(checkup, "warnings", "no node has one");
    const struct ring_walk *walk = checkup->walk;
    for (size_t i = 0; i < 2 * walk->nodes_count; i++) {
        const struct ring_node *node = &walk->nodes[i % walk->nodes_count];
        const char *warning = node->status != NULL ? node->status->warning : "";
        bool of_itself = strncmp(warning, node->address, strlen(node->address)) == 0;
        if (warning[0] != '\0' && of_itself == (i < walk->nodes_count)) {
            check_find(check, CHECKUP_WARN, "", "node %s: %s", node->id, warning);
        }
    }
}

void checkup_make(const struct ring_walk *walk, struct checkup *checkup) {
    memset(checkup, 0, sizeof *checkup);
    checkup->walk = walk;
    for (size_t i = 0; i < walk->nodes_count; i++) {
        if (ring_is_member(walk->nodes[i].status)) {
            checkup->members[checkup->members_count++] = &walk->nodes[i];
        }
    }
    ring_walk_judge(walk, &checkup->verdict);
    if (checkup->verdict.fault == RING_NO_MEMORY && !walk->cut) {
        memory_missing();
    }
    check_nodes(checkup);
    check_parameters(checkup);
    check_principals(checkup);
    check_lists(checkup);
    check_invariant(checkup);
    checkup_ranges(checkup);
    check_rows(checkup);
    check_disk(checkup);
    check_clocks(checkup);
    check_warnings(checkup);
    for (size_t i = 0; i < checkup->count; i++) {
        enum checkup_level level = checkup->checks[i].level;
        checkup->worst = level > checkup->worst ? level : checkup->worst;
    }
}

/* SPDX-License-Identifier: MIT */
/* The health of a ring as a list of checks, from the statuses of its nodes alone. Pure. */
#ifndef CHORDCTL_CHECKUP_H
#define CHORDCTL_CHECKUP_H

#include "ring_walk.h"
#include "text.h"

enum checkup_level { CHECKUP_PASS, CHECKUP_WARN, CHECKUP_FAIL };

enum { CHECKUP_CHECKS_MAX = 16 };

/* The worst that a check has found. */
struct check {
    const char *name;
    enum checkup_level level;
    unsigned more;      /* further findings of that level */
    char reason[400];   /* one sentence */
    const char *advice; /* what to do; "" = nothing */
};

struct checkup {
    const struct ring_walk *walk;
    const struct ring_node *members[RING_WALK_NODES_MAX]; /* by id */
    size_t members_count;
    struct ring_verdict verdict;
    struct check checks[CHECKUP_CHECKS_MAX];
    size_t count;
    enum checkup_level worst;
};

/* Free its verdict's survival. */
void checkup_make(const struct ring_walk *walk, struct checkup *checkup);
const char *checkup_level_text(enum checkup_level level);

/* ---- between checkup.c and checkup_ranges.c ---- */

/* A new check, at PASS with the reason `passed`. */
struct check *check_new(struct checkup *checkup, const char *name, const char *passed);
/* The same of what only members tell: without any it claims nothing. */
struct check *check_of_members(struct checkup *checkup, const char *name, const char *passed);
void check_find(struct check *check, enum checkup_level level, const char *advice,
                const char *format, ...) __attribute__((format(printf, 4, 5)));
/* Who leads what, what its members say of it, copies, owners, marks. */
void checkup_ranges(struct checkup *checkup);

#endif

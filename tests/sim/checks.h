/* SPDX-License-Identifier: MIT */
/*
 * The checkers, one file each. A checker looks at the whole picture and answers NULL, or a constant
 * text that names what is broken; `node` is where, or HOST_NOBODY.
 */
#ifndef SIM_CHECKS_H
#define SIM_CHECKS_H

#include "picture.h"

/* Zave 2017, section 5: OneLiveSuccessor and SufficientPrincipals (at least n + 1). Inductive while
 * the proof's assumptions hold: no false suspicion, and no failure that itself takes the last live
 * successor of a member or one of exactly n + 1 principals. */
const char *check_invariant(const struct picture *picture, int *node);
/* The same, as if `gone` had just failed: whether the proof allows that failure. */
bool check_failure_allowed(const struct picture *picture, int gone);

/* One node: its list is ordered clockwise, without itself, without duplicates, at most n long. */
const char *check_lists(const struct picture *picture, int node);

/* One that has just joined begins with its successor and what that one's list held: with more than
 * one way to go, where N allows it (Zave 2017, J3). */
const char *check_joined(const struct picture *picture, int node);

/* The members' first live successors make exactly one cycle, in the order of ids, and every member
 * leads into it. What the invariant implies (Zave 2017, section 6). */
const char *check_one_ring(const struct picture *picture, int *node);

/* Every list and predecessor is exactly what the members' ids say; `fingers` too when asked. */
const char *check_ideal(const struct picture *picture, struct host *host, bool fingers, int *node);

/* Whoever knows a view of one key and epoch knows the same one; so no two lead a key in one epoch.
 * `node` and `other` do not. */
const char *check_views(struct host *host, int node, int *other);
bool views_same(const struct chord_view *a, const struct chord_view *b);
bool views_overlap(const struct chord_view *a, const struct chord_view *b);
/* Another number when the node's views have changed. */
uint64_t views_mark(struct host *host, int node);

/* Lookups of `count` random keys from random members are all answered. `owners`: with the true
 * owner; the ring must be ideal and stay so. Takes virtual time. */
const char *check_lookups(struct host *host, unsigned count, bool owners, int *node);

#endif

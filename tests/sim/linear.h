/* SPDX-License-Identifier: MIT */
/*
 * Is the history of one key linearizable? A register with get, put and delete, each write perhaps
 * with a precondition. The search is that of Wing and Gong (1993) with Lowe's memory of what was
 * tried (2017): operations are put in some order that respects time, depth first.
 *
 * A version is named by the write that made it: each put of a history writes another value, so the
 * register's state is one number. Knows nothing of nodes.
 */
#ifndef SIM_LINEAR_H
#define SIM_LINEAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum linear_kind { LINEAR_GET, LINEAR_PUT, LINEAR_DELETE };

enum linear_condition {
    LINEAR_ALWAYS,
    LINEAR_IF_ABSENT, /* If-None-Match: * */
    LINEAR_IF_MATCH,  /* the register holds `match` */
};

enum linear_outcome {
    LINEAR_DONE,
    LINEAR_REFUSED, /* a write whose precondition did not hold */
    LINEAR_UNKNOWN, /* a write that took effect once after its call, or never */
};

enum linear_existed { LINEAR_UNSAID, LINEAR_EXISTED, LINEAR_DID_NOT_EXIST };

enum { LINEAR_NOTHING = 0 }; /* the value of a register that holds none, as at first */

struct linear_operation {
    enum linear_kind kind;
    enum linear_condition condition;
    enum linear_outcome outcome;
    enum linear_existed existed; /* PUT, DELETE: what its answer said */
    uint64_t value;              /* GET: what it got; PUT: what it writes, not LINEAR_NOTHING */
    uint64_t match;
    uint64_t called, returned; /* `returned` of an unknown one means nothing */
};

enum linear_result { LINEAR_YES, LINEAR_NO, LINEAR_GIVEN_UP };

/* At most `steps_max` operations are tried. After LINEAR_NO and LINEAR_GIVEN_UP `stuck` is the
 * operation that no order got past. */
enum linear_result linear_check(const struct linear_operation *operations, size_t count,
                                size_t steps_max, size_t *stuck);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * What a code says of a request: whether it was carried out, and whether to ask again. The one
 * table of codes of the product (proto/README.md, "Codes"); proto/clients/fates.csv is the same for
 * clients in other languages. Pure.
 */
#ifndef CHORD_FATE_H
#define CHORD_FATE_H

#include "chord_client.h"
#include "rpc.h"

enum chord_again {
    CHORD_AGAIN_NEVER,     /* another attempt has the same end */
    CHORD_AGAIN_LATER,     /* after a pause, at any member */
    CHORD_AGAIN_AT_ONCE,   /* with the version of the answer as what was seen (ABORTED) */
    CHORD_AGAIN_AT_LEADER, /* where the hint of the answer says */
    CHORD_AGAIN_ELSEWHERE, /* at another node: this one is no member of the ring that is meant */
};

struct chord_outcome {
    enum chord_fate fate;
    enum chord_again again;
};

/* Of the code that a node gave for a request or for one operation of a batch. */
struct chord_outcome chord_outcome_of_code(Chord__V1__Code code);
/* Of a call as a whole: what the node said, or that it said nothing. A reply whose code is OK but
 * which lacks what was asked for has an outcome of its own: chord_outcome_unanswered. */
struct chord_outcome chord_outcome_of_reply(const struct rpc_reply *reply);
/* Sent, and no answer that can be used. */
struct chord_outcome chord_outcome_unanswered(void);

#endif

/* SPDX-License-Identifier: MIT */
/* The table of codes; see fate.h. */
#include "fate.h"

/* A code that is not in the table was invented by a newer node: nothing is known. */
struct chord_outcome chord_outcome_of_code(Chord__V1__Code code) {
    switch (code) {
    case CHORD__V1__CODE__CODE_OK:
    case CHORD__V1__CODE__CODE_NOT_FOUND:
        return (struct chord_outcome){CHORD_DONE, CHORD_AGAIN_NEVER};

    case CHORD__V1__CODE__CODE_INVALID_ARGUMENT:
    case CHORD__V1__CODE__CODE_ALREADY_EXISTS:
    case CHORD__V1__CODE__CODE_PERMISSION_DENIED:
    case CHORD__V1__CODE__CODE_FAILED_PRECONDITION:
    case CHORD__V1__CODE__CODE_UNIMPLEMENTED:
    case CHORD__V1__CODE__CODE_DATA_LOSS:
    case CHORD__V1__CODE__CODE_UNAUTHENTICATED:
        return (struct chord_outcome){CHORD_NOT_DONE, CHORD_AGAIN_NEVER};

    case CHORD__V1__CODE__CODE_RESOURCE_EXHAUSTED:
    case CHORD__V1__CODE__CODE_UNAVAILABLE:
    case CHORD__V1__CODE__CODE_CHALLENGE:
        return (struct chord_outcome){CHORD_NOT_DONE, CHORD_AGAIN_LATER};
    case CHORD__V1__CODE__CODE_ABORTED:
        return (struct chord_outcome){CHORD_NOT_DONE, CHORD_AGAIN_AT_ONCE};
    case CHORD__V1__CODE__CODE_OUT_OF_RANGE:
        return (struct chord_outcome){CHORD_NOT_DONE, CHORD_AGAIN_AT_LEADER};
    case CHORD__V1__CODE__CODE_WRONG_RING:
        return (struct chord_outcome){CHORD_NOT_DONE, CHORD_AGAIN_ELSEWHERE};

    case CHORD__V1__CODE__CODE_CANCELLED:
    case CHORD__V1__CODE__CODE_UNKNOWN:
    case CHORD__V1__CODE__CODE_DEADLINE_EXCEEDED:
        return (struct chord_outcome){CHORD_MAYBE_DONE, CHORD_AGAIN_LATER};

    case CHORD__V1__CODE__CODE_INTERNAL: /* a bug, perhaps after the change was made */
    default:
        return (struct chord_outcome){CHORD_MAYBE_DONE, CHORD_AGAIN_NEVER};
    }
}

struct chord_outcome chord_outcome_unanswered(void) {
    return (struct chord_outcome){CHORD_MAYBE_DONE, CHORD_AGAIN_LATER};
}

struct chord_outcome chord_outcome_of_reply(const struct rpc_reply *reply) {
    if (!reply->local) {
        return chord_outcome_of_code(reply->code);
    }
    /* The code was made on this side: it tells why there is no answer, not what became of the
     * request. */
    bool hopeless = reply->code == CHORD__V1__CODE__CODE_INVALID_ARGUMENT || /* never sent */
                    reply->code == CHORD__V1__CODE__CODE_UNAUTHENTICATED;    /* another key */
    return (struct chord_outcome){reply->unsent ? CHORD_NOT_DONE : CHORD_MAYBE_DONE,
                                  hopeless ? CHORD_AGAIN_NEVER : CHORD_AGAIN_LATER};
}

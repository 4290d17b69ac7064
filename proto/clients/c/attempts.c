/* SPDX-License-Identifier: MIT */
/* The writer's recipe; see attempts.h. */
#include "attempts.h"

#include <string.h>

void attempts_start(struct attempts *attempts, const uint8_t op_id[CHORD_OP_ID_BYTES],
                    uint64_t seen_epoch, uint64_t seen_counter) {
    *attempts = (struct attempts){
        .writes = op_id != NULL,
        .number = 1,
        .seen_epoch = seen_epoch,
        .seen_counter = seen_counter,
    };
    if (op_id != NULL) {
        memcpy(attempts->op_id, op_id, CHORD_OP_ID_BYTES);
    }
}

void attempts_fill(struct attempts *attempts, Chord__V1__Operation *operation,
                   Chord__V1__Version *seen) {
    if (!attempts->writes) {
        return;
    }
    chord__v1__version__init(seen);
    seen->epoch = attempts->seen_epoch;
    seen->counter = attempts->seen_counter;
    operation->op_id = (ProtobufCBinaryData){CHORD_OP_ID_BYTES, attempts->op_id};
    operation->attempt = attempts->number;
    operation->seen = seen; /* (0, 0) too: it says that nothing was heard */
}

enum attempts_next attempts_take(struct attempts *attempts, const struct rpc_reply *reply,
                                 const Chord__V1__OperationResult *result) {
    struct chord_outcome outcome = result != NULL ? chord_outcome_of_code(result->code)
                                   : reply->code == CHORD__V1__CODE__CODE_OK
                                       ? chord_outcome_unanswered()
                                       : chord_outcome_of_reply(reply);
    bool told = result != NULL && result->version != NULL && result->version->epoch > 0;
    if (outcome.again == CHORD_AGAIN_AT_ONCE && attempts->writes && attempts->number == 1 && told) {
        /* The key is newer than was known here. Once a second attempt was sent, `seen` stays. */
        attempts->seen_epoch = result->version->epoch;
        attempts->seen_counter = result->version->counter;
        return ATTEMPTS_AT_ONCE;
    }
    if (result != NULL && result->code == CHORD__V1__CODE__CODE_DATA_LOSS && attempts->writes &&
        attempts->number == 1 && attempts->seen_epoch > 0) {
        /* A disk has changed the row, and nothing was done. Only a write that asks for nothing of
         * what was there takes its place; where the row is good by then, it is ABORTED. */
        attempts->seen_epoch = 0;
        attempts->seen_counter = 0;
        return ATTEMPTS_AT_ONCE;
    }
    if (outcome.fate == CHORD_MAYBE_DONE && attempts->writes) {
        attempts->maybe = true;
        attempts->number++;
        if (told) {
            return ATTEMPTS_END; /* overwritten since: nobody can find out any more */
        }
    }
    return outcome.again == CHORD_AGAIN_NEVER ? ATTEMPTS_END : ATTEMPTS_LATER;
}

enum chord_fate attempts_fate(const struct attempts *attempts, Chord__V1__Code code) {
    enum chord_fate fate = chord_outcome_of_code(code).fate;
    /* Whatever refused the last attempt, an earlier one may have been carried out; a condition may
     * have failed by it. */
    if (fate == CHORD_DONE || !attempts->writes) {
        return fate == CHORD_DONE ? CHORD_DONE : CHORD_NOT_DONE;
    }
    return attempts->maybe ? CHORD_MAYBE_DONE : fate;
}

Chord__V1__Code attempts_code(const struct attempts *attempts, Chord__V1__Code code) {
    if (attempts_fate(attempts, code) == CHORD_DONE) {
        return code;
    }
    if (attempts->maybe) {
        return CHORD__V1__CODE__CODE_UNKNOWN;
    }
    /* ABORTED to the end: others kept writing the key. Nothing was done. */
    return code == CHORD__V1__CODE__CODE_ABORTED ? CHORD__V1__CODE__CODE_UNAVAILABLE : code;
}

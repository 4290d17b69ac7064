/* SPDX-License-Identifier: MIT */
/* chordctl merge, one node: looked at and told to go until it is where it belongs. Every step asks
 * first where the node stands, so that a merge that was interrupted goes on. */
#include "merge.h"

#include <stdio.h>
#include <string.h>

#include "ctl.h"

enum { LOOK_MS = 2000 };

static void reason_take(char reason[MERGE_REASON_BYTES], const struct chord_answer *answer) {
    snprintf(reason, MERGE_REASON_BYTES, "%s: %s%s%s", answer->address,
             chord_code_text(answer->code), answer->message[0] != '\0' ? ": " : "",
             answer->message);
}

static bool of_ring(const Chord__V1__StatusResponse *status, const struct merge_ring *ring) {
    const Chord__V1__RingParameters *parameters = status->parameters;
    return parameters != NULL && parameters->ring_id.len == sizeof ring->name.id &&
           memcmp(parameters->ring_id.data, ring->name.id, sizeof ring->name.id) == 0;
}

void merge_look(struct merge *merge, const char *address, struct merge_look *look) {
    Chord__V1__StatusRequest request = CHORD__V1__STATUS_REQUEST__INIT;
    const struct client_call call = {.address = address,
                                     .method = RPC_ADMIN_STATUS,
                                     .request = &request.base,
                                     .timeout_ms = LOOK_MS};
    struct chord_answer answer;
    struct rpc_reply reply;
    *look = (struct merge_look){0};
    look->answered = client_call(merge->ctl->ring, &call, &answer, &reply);
    if (!look->answered) {
        reason_take(look->reason, &answer);
        rpc_reply_free(&reply);
        return;
    }
    const Chord__V1__StatusResponse *status = (const void *)reply.response;
    look->state = status->state;
    look->left_last = status->left_last;
    look->in_from = of_ring(status, &merge->from);
    look->in_into = of_ring(status, &merge->into);
    rpc_reply_free(&reply);
}

static bool tell(struct merge *merge, const struct chord_command *command,
                 char reason[MERGE_REASON_BYTES]) {
    struct chord_told told;
    bool done = chord_tell(merge->ctl->ring, command, &told);
    if (!done) {
        reason_take(reason, &told.answer);
    }
    return done;
}

/* To the other ring: out of its own, or having left that. */
static void tell_go(struct merge *merge, enum chord_command_kind kind, const char *address,
                    char reason[MERGE_REASON_BYTES]) {
    const struct chord_command command = {
        .kind = kind,
        .node = address,
        .ring = &merge->into.name,
        .seeds = merge->into.seeds,
        .seeds_count = merge->into.seeds_count,
        .drop_rows = strcmp(address, merge->last) == 0, /* they are in the other ring */
        .timeout_ms = LOOK_MS,
    };
    (void)tell(merge, &command, reason);
}

void merge_move(struct merge *merge, const char *address) {
    uint64_t end_ms = clock_now_ms() + merge->step_ms;
    struct merge_look look;
    char reason[MERGE_REASON_BYTES] = "";
    while (clock_now_ms() < end_ms) {
        merge_look(merge, address, &look);
        bool member = look.state == CHORD__V1__NODE_STATE__NODE_STATE_MEMBER;
        if (look.answered && look.in_into && member) {
            return;
        }
        if (!look.answered) {
            memcpy(reason, look.reason, sizeof reason);
        } else if (!look.in_into && !look.in_from) {
            ctl_fail(CTL_REFUSED, "%s is no longer in either of the two rings", address);
        } else if (look.in_from && member) {
            tell_go(merge, CHORD_LEAVE, address, reason);
        } else if (look.in_from && look.state == CHORD__V1__NODE_STATE__NODE_STATE_LEFT) {
            tell_go(merge, CHORD_JOIN, address, reason);
        }
        clock_pause_ms(MERGE_PAUSE_MS);
    }
    ctl_fail(CTL_UNKNOWN,
             "%s is not in the other ring after %u ms%s%s; run the same command again to go on",
             address, merge->step_ms, reason[0] != '\0' ? ": " : "", reason);
}

bool merge_leave_last(struct merge *merge, char reason[MERGE_REASON_BYTES]) {
    const struct chord_command command = {
        .kind = CHORD_LEAVE, .node = merge->last, .last = true, .timeout_ms = LOOK_MS};
    struct merge_look look;
    merge_look(merge, merge->last, &look);
    return (look.answered && look.in_from && look.left_last) || tell(merge, &command, reason);
}

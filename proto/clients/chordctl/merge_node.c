/* chordctl merge, one node: looked at and told to go until it is where it belongs. Every step asks
 * first where the node stands, so that a merge that was interrupted goes on. */
#include "merge.h"

#include <stdio.h>
#include <string.h>

#include "walk.h"

enum { LOOK_MS = 2000, PROBE_MS = 500 };

/* One call without a word; false: no answer, or a refusal, with its reason. */
static bool ask(struct merge *merge, const char *address, enum rpc_method method,
                const ProtobufCMessage *request, struct rpc_reply *reply,
                char reason[MERGE_REASON_BYTES]) {
    int error = address_probe(address, PROBE_MS);
    if (error != 0) {
        snprintf(reason, MERGE_REASON_BYTES, "%s: %s", address, strerror(error));
        return false;
    }
    rpc_client_call_wait(merge->ctl->client, address, method, request, LOOK_MS, reply);
    if (reply->code == CHORD__V1__CODE__CODE_OK && reply->response != NULL) {
        return true;
    }
    snprintf(reason, MERGE_REASON_BYTES, "%s: %s%s%.180s", address, rpc_code_text(reply->code),
             reply->message[0] != '\0' ? ": " : "", reply->message);
    rpc_reply_free(reply);
    return false;
}

static bool of_ring(const Chord__V1__StatusResponse *status, const struct merge_ring *ring) {
    const Chord__V1__RingParameters *parameters = status->parameters;
    return parameters != NULL && parameters->ring_id.len == sizeof ring->id &&
           memcmp(parameters->ring_id.data, ring->id, sizeof ring->id) == 0;
}

void merge_look(struct merge *merge, const char *address, struct merge_look *look) {
    Chord__V1__StatusRequest request = CHORD__V1__STATUS_REQUEST__INIT;
    struct rpc_reply reply;
    *look = (struct merge_look){0};
    look->answered = ask(merge, address, RPC_ADMIN_STATUS, &request.base, &reply, look->reason);
    if (!look->answered) {
        return;
    }
    const Chord__V1__StatusResponse *status = (const void *)reply.response;
    look->state = status->state;
    look->left_last = status->left_last;
    look->in_from = of_ring(status, &merge->from);
    look->in_into = of_ring(status, &merge->into);
    rpc_reply_free(&reply);
}

/* The members of the other ring that a node is to join through. */
static size_t seeds_of(struct merge_ring *ring, char *seeds[CTL_NODES_MAX]) {
    for (size_t i = 0; i < ring->ctl.nodes_count; i++) {
        seeds[i] = ring->ctl.nodes[i];
    }
    return ring->ctl.nodes_count;
}

static void tell_leave(struct merge *merge, const char *address, char reason[MERGE_REASON_BYTES]) {
    Chord__V1__AdminLeaveRequest request = CHORD__V1__ADMIN_LEAVE_REQUEST__INIT;
    struct rpc_reply reply;
    char *seeds[CTL_NODES_MAX];
    request.next_ring = &merge->into.parameters;
    request.next_seeds = seeds;
    request.n_next_seeds = seeds_of(&merge->into, seeds);
    if (ask(merge, address, RPC_ADMIN_LEAVE, &request.base, &reply, reason)) {
        rpc_reply_free(&reply);
    }
}

/* Its rows are in the other ring, or it has none. */
static void tell_join(struct merge *merge, const char *address, char reason[MERGE_REASON_BYTES]) {
    Chord__V1__AdminJoinRequest request = CHORD__V1__ADMIN_JOIN_REQUEST__INIT;
    struct rpc_reply reply;
    char *seeds[CTL_NODES_MAX];
    request.ring = &merge->into.parameters;
    request.seeds = seeds;
    request.n_seeds = seeds_of(&merge->into, seeds);
    request.drop_rows = strcmp(address, merge->last) == 0;
    if (ask(merge, address, RPC_ADMIN_JOIN, &request.base, &reply, reason)) {
        rpc_reply_free(&reply);
    }
}

int merge_move(struct merge *merge, const char *address) {
    uint64_t end_ms = clock_now_ms() + merge->step_ms;
    struct merge_look look;
    char reason[MERGE_REASON_BYTES] = "";
    while (clock_now_ms() < end_ms) {
        merge_look(merge, address, &look);
        bool member = look.state == CHORD__V1__NODE_STATE__NODE_STATE_MEMBER;
        if (look.answered && look.in_into && member) {
            return CTL_OK;
        }
        if (!look.answered) {
            memcpy(reason, look.reason, sizeof reason);
        } else if (!look.in_into && !look.in_from) {
            ctl_error("%s is no longer in either of the two rings", address);
            return CTL_REFUSED;
        } else if (look.in_from && member) {
            tell_leave(merge, address, reason);
        } else if (look.in_from && look.state == CHORD__V1__NODE_STATE__NODE_STATE_LEFT) {
            tell_join(merge, address, reason);
        }
        pause_ms(MERGE_PAUSE_MS);
    }
    ctl_error("%s is not in the other ring after %u ms%s%s; run the same command again to go on",
              address, merge->step_ms, reason[0] != '\0' ? ": " : "", reason);
    return CTL_UNKNOWN;
}

bool merge_leave_last(struct merge *merge, char reason[MERGE_REASON_BYTES]) {
    Chord__V1__AdminLeaveRequest request = CHORD__V1__ADMIN_LEAVE_REQUEST__INIT;
    struct rpc_reply reply;
    struct merge_look look;
    merge_look(merge, merge->last, &look);
    if (look.answered && look.in_from && look.left_last) {
        return true;
    }
    request.last = true;
    if (!ask(merge, merge->last, RPC_ADMIN_LEAVE, &request.base, &reply, reason)) {
        return false;
    }
    rpc_reply_free(&reply);
    return true;
}

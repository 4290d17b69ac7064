/* SPDX-License-Identifier: MIT */
/* One call, what became of it, and the exit code and sentence when it failed. */
#include <stdio.h>
#include <string.h>

#include "ctl.h"

void call_refused(Chord__V1__Code code, const char *who, const char *message) {
    const char *colon = message[0] != '\0' ? ": " : "";
    const char *hint = code == CHORD__V1__CODE__CODE_UNAUTHENTICATED
                           ? "; name the ring's key with --ring-key-file or RING_KEY_FILE"
                       : code == CHORD__V1__CODE__CODE_RESOURCE_EXHAUSTED
                           ? "; it is busy, try again later"
                           : "";
    if (code == CHORD__V1__CODE__CODE_UNKNOWN) {
        ctl_fail(CTL_UNKNOWN,
                 "it is not known whether the change through %s was made%s%s; look before you "
                 "repeat it",
                 who, colon, message);
    }
    ctl_fail(code == CHORD__V1__CODE__CODE_NOT_FOUND ? CTL_NOT_FOUND : CTL_REFUSED,
             "%s refused (%s)%s%s%s", who, rpc_code_text(code), colon, message, hint);
}

void call_ended(const struct ctl *ctl, const struct chord_answer *answer) {
    if (answer->nobody) {
        ctl_fail(CTL_NO_NODE,
                 "no node answered (%zu tried, from %s): %s; start the ring with python3 init.py, "
                 "or name a running node with --node HOST:PORT or CHORD_NODE",
                 seeds_count(ctl->ring->seeds), ctl->nodes_source, answer->message);
    }
    if (!answer->answered) {
        ctl_fail(CTL_NO_NODE, "no answer from the node %s (%s); is it running?", answer->address,
                 answer->message);
    }
    call_refused((Chord__V1__Code)answer->code, answer->address, answer->message);
}

void call_at(struct ctl *ctl, const char *address, enum rpc_method method,
             const ProtobufCMessage *request, struct rpc_reply *reply,
             char asked[CHORD_ADDRESS_SIZE]) {
    const struct client_call call = {.address = address, .method = method, .request = request};
    struct chord_answer answer;
    if (!client_call(ctl->ring, &call, &answer, reply)) {
        rpc_reply_free(reply);
        call_ended(ctl, &answer);
    }
    if (asked != NULL) {
        memcpy(asked, answer.address, sizeof answer.address);
    }
}

void call_word(struct ctl *ctl, const struct arguments *arguments, enum rpc_method method,
               const ProtobufCMessage *request, struct rpc_reply *reply,
               char asked[CHORD_ADDRESS_SIZE]) {
    bool named = arguments->words_count > 0;
    if (named) {
        node_resolve(ctl, arguments->words[0], asked);
    }
    call_at(ctl, named ? asked : NULL, method, request, reply, asked);
}

void call_tell(struct ctl *ctl, const struct chord_command *command, struct chord_told *told) {
    const struct chord_answer *answer = &told->answer;
    if (chord_tell(ctl->ring, command, told)) {
        return;
    }
    if (!answer->answered && answer->fate == CHORD_MAYBE_DONE) {
        ctl_fail(CTL_UNKNOWN,
                 "%s; it is not known whether it took the request: look with chordctl node %s",
                 answer->message, answer->address);
    }
    call_ended(ctl, answer);
}

const Chord__V1__StatusResponse *call_status(struct ctl *ctl, const char *address,
                                             struct rpc_reply *reply) {
    Chord__V1__StatusRequest request = CHORD__V1__STATUS_REQUEST__INIT;
    call_at(ctl, address, RPC_ADMIN_STATUS, &request.base, reply, NULL);
    const Chord__V1__StatusResponse *status = (const void *)reply->response;
    if (status->self == NULL) {
        rpc_reply_free(reply);
        call_refused(CHORD__V1__CODE__CODE_INTERNAL, address, "its status names no node");
    }
    return status;
}

void walk_ring(struct ctl *ctl, struct ring_walk *walk) {
    if (ring_walk(ctl->ring, walk)) {
        return;
    }
    if (walk->nodes == NULL) {
        memory_missing();
    }
    ring_walk_free(walk);
    call_ended(ctl, &walk->none);
}

void node_resolve(struct ctl *ctl, const char *word, char address[CHORD_ADDRESS_SIZE]) {
    struct ring_walk walk;
    if (address_is_valid(word)) {
        memcpy(address, word, strlen(word) + 1);
        return;
    }
    if (strchr(word, ':') != NULL || !id_text_is_valid(word, 0)) {
        ctl_fail(CTL_USAGE, "'%s' is no node; give HOST:PORT or the id that chordctl ring shows",
                 word);
    }
    walk_ring(ctl, &walk);
    const struct ring_node *node = ring_walk_find_id(&walk, word);
    memcpy(address, node != NULL ? node->address : "", node != NULL ? sizeof node->address : 1);
    ring_walk_free(&walk);
    if (address[0] == '\0') {
        ctl_fail(CTL_NOT_FOUND, "no node of the ring has the id %s; chordctl ring lists them",
                 word);
    }
}

void nodes_learn(struct ctl *ctl) {
    struct chord_answer answer;
    if (!client_learn(ctl->ring, NULL, 0, &answer)) {
        call_ended(ctl, &answer);
    }
}

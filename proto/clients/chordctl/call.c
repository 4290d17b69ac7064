/* SPDX-License-Identifier: MIT */
/* One call, what became of it, and the exit code and sentence when it failed. */
#include <stdio.h>
#include <string.h>

#include "ctl.h"

int call_refused(Chord__V1__Code code, const char *who, const char *message) {
    const char *text = rpc_code_text(code);
    const char *hint = code == CHORD__V1__CODE__CODE_UNAUTHENTICATED
                           ? "; name the ring's key with --ring-key-file or RING_KEY_FILE"
                       : code == CHORD__V1__CODE__CODE_RESOURCE_EXHAUSTED
                           ? "; it is busy, try again later"
                           : "";
    if (code == CHORD__V1__CODE__CODE_UNKNOWN) {
        ctl_error("it is not known whether the change through %s was made%s%s; look before you "
                  "repeat it",
                  who, message[0] != '\0' ? ": " : "", message);
        return CTL_UNKNOWN;
    }
    ctl_error("%s refused (%s)%s%s%s", who, text, message[0] != '\0' ? ": " : "", message, hint);
    return code == CHORD__V1__CODE__CODE_NOT_FOUND ? CTL_NOT_FOUND : CTL_REFUSED;
}

int call_ended(const struct ctl *ctl, const struct chord_answer *answer) {
    if (answer->nobody) {
        ctl_error("no node answered (%zu tried, from %s): %s; start the ring with python3 init.py, "
                  "or name a running node with --node HOST:PORT or CHORD_NODE",
                  seeds_count(ctl->ring->seeds), ctl->nodes_source, answer->message);
        return CTL_NO_NODE;
    }
    if (!answer->answered) {
        ctl_error("no answer from the node %s (%s); is it running?", answer->address,
                  answer->message);
        return CTL_NO_NODE;
    }
    return call_refused((Chord__V1__Code)answer->code, answer->address, answer->message);
}

int call_at(struct ctl *ctl, const char *address, enum rpc_method method,
            const ProtobufCMessage *request, struct rpc_reply *reply,
            char asked[CHORD_ADDRESS_SIZE]) {
    const struct client_call call = {.address = address, .method = method, .request = request};
    struct chord_answer answer;
    if (!client_call(ctl->ring, &call, &answer, reply)) {
        rpc_reply_free(reply);
        return call_ended(ctl, &answer);
    }
    if (asked != NULL) {
        memcpy(asked, answer.address, sizeof answer.address);
    }
    return CTL_OK;
}

int call_word(struct ctl *ctl, const struct arguments *arguments, enum rpc_method method,
              const ProtobufCMessage *request, struct rpc_reply *reply,
              char asked[CHORD_ADDRESS_SIZE]) {
    bool named = arguments->words_count > 0;
    int exit_code = named ? node_resolve(ctl, arguments->words[0], asked) : CTL_OK;
    return exit_code == CTL_OK ? call_at(ctl, named ? asked : NULL, method, request, reply, asked)
                               : exit_code;
}

int call_tell(struct ctl *ctl, const struct chord_command *command, struct chord_told *told) {
    const struct chord_answer *answer = &told->answer;
    if (chord_tell(ctl->ring, command, told)) {
        return CTL_OK;
    }
    if (!answer->answered && answer->fate == CHORD_MAYBE_DONE) {
        ctl_error("%s; it is not known whether it took the request: look with chordctl node %s",
                  answer->message, answer->address);
        return CTL_UNKNOWN;
    }
    return call_ended(ctl, answer);
}

struct chord_load *load_new(struct ctl *ctl) {
    struct chord_load *load = chord_load_new(ctl->ring, &(struct chord_load_events){0});
    if (load == NULL) {
        memory_missing();
    }
    return load;
}

int load_exit(const struct chord_load_result *result) {
    return result->fate == CHORD_DONE         ? CTL_OK
           : result->fate == CHORD_MAYBE_DONE ? CTL_UNKNOWN
           : result->reached                  ? CTL_REFUSED
                                              : CTL_NO_NODE;
}

int call_status(struct ctl *ctl, const char *address, struct rpc_reply *reply,
                const Chord__V1__StatusResponse **status) {
    Chord__V1__StatusRequest request = CHORD__V1__STATUS_REQUEST__INIT;
    int exit_code = call_at(ctl, address, RPC_ADMIN_STATUS, &request.base, reply, NULL);
    if (exit_code != CTL_OK) {
        return exit_code;
    }
    *status = (const Chord__V1__StatusResponse *)(const void *)reply->response;
    if ((*status)->self == NULL) {
        rpc_reply_free(reply);
        return call_refused(CHORD__V1__CODE__CODE_INTERNAL, address, "its status names no node");
    }
    return CTL_OK;
}

int walk_ring(struct ctl *ctl, struct ring_walk *walk) {
    if (ring_walk(ctl->ring, walk)) {
        return CTL_OK;
    }
    if (walk->nodes == NULL) {
        memory_missing();
    }
    ring_walk_free(walk);
    return call_ended(ctl, &walk->none);
}

int node_resolve(struct ctl *ctl, const char *word, char address[RPC_ADDRESS_BYTES_MAX + 1]) {
    if (address_is_valid(word)) {
        memcpy(address, word, strlen(word) + 1);
        return CTL_OK;
    }
    if (strchr(word, ':') != NULL || !id_text_is_valid(word, 0)) {
        ctl_error("'%s' is no node; give HOST:PORT or the id that chordctl ring shows", word);
        return CTL_USAGE;
    }
    struct ring_walk walk;
    int exit_code = walk_ring(ctl, &walk);
    if (exit_code != CTL_OK) {
        return exit_code;
    }
    const struct ring_node *node = ring_walk_find_id(&walk, word);
    if (node != NULL) {
        memcpy(address, node->address, sizeof node->address);
    } else {
        ctl_error("no node of the ring has the id %s; chordctl ring lists them", word);
        exit_code = CTL_NOT_FOUND;
    }
    ring_walk_free(&walk);
    return exit_code;
}

int nodes_learn(struct ctl *ctl) {
    struct chord_answer answer;
    return client_learn(ctl->ring, NULL, 0, &answer) ? CTL_OK : call_ended(ctl, &answer);
}

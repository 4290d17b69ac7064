/* One call, what became of it, and the exit code and sentence when it failed. */
#include <stdio.h>
#include <string.h>

#include "ctl.h"
#include "walk.h"

enum { PROBE_MS_MAX = 1000 };

enum call_fate call_fate(const struct rpc_reply *reply, bool changes) {
    if (!reply->local || (reply->code == CHORD__V1__CODE__CODE_UNAUTHENTICATED && !changes)) {
        return CALL_ANSWERED;
    }
    return reply->unsent ? CALL_NOT_SENT : CALL_LOST;
}

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

int call_no_node(const struct ctl *ctl, const char *reason) {
    ctl_error("no node answered (%zu tried, from %s): %s; start the ring with python3 init.py, or "
              "name a running node with --node HOST:PORT or CHORD_NODE",
              ctl->nodes_count, ctl->nodes_source, reason);
    return CTL_NO_NODE;
}

int call_ended(const struct ctl *ctl, const struct call_end *end) {
    if (end->nobody) {
        return call_no_node(ctl, end->message);
    }
    if (!end->answered) {
        ctl_error("no answer from %s: %s", end->address, end->message);
        return CTL_NO_NODE;
    }
    return call_refused((Chord__V1__Code)end->code, end->address, end->message);
}

/* The call, with a probe before it. */
static void call_run(struct ctl *ctl, const char *address, enum rpc_method method,
                     const ProtobufCMessage *request, uint32_t timeout_ms,
                     struct rpc_reply *reply) {
    uint32_t probe_ms = timeout_ms < PROBE_MS_MAX ? timeout_ms : PROBE_MS_MAX;
    int error = address_probe(address, probe_ms);
    if (error == 0) {
        rpc_client_call_wait(ctl->client, address, method, request, timeout_ms, reply);
        client_hear(ctl->ring, reply);
        return;
    }
    *reply = (struct rpc_reply){
        .code = CHORD__V1__CODE__CODE_UNAVAILABLE, .local = true, .unsent = true};
    snprintf(reply->message, sizeof reply->message, "%s: %s", address, strerror(error));
}

/* An answer that is one: OK with a response. Else it was said, and freed. */
static int call_finish(const char *address, struct rpc_reply *reply) {
    if (reply->code == CHORD__V1__CODE__CODE_OK && reply->response != NULL) {
        return CTL_OK;
    }
    bool empty = reply->code == CHORD__V1__CODE__CODE_OK;
    int exit_code = call_refused(empty ? CHORD__V1__CODE__CODE_INTERNAL : reply->code, address,
                                 empty ? "its answer is empty" : reply->message);
    rpc_reply_free(reply);
    return exit_code;
}

int call_at(struct ctl *ctl, const char *address, enum rpc_method method,
            const ProtobufCMessage *request, bool changes, struct rpc_reply *reply) {
    call_run(ctl, address, method, request, ctl->timeout_ms, reply);
    switch (call_fate(reply, changes)) {
    case CALL_ANSWERED:
        return call_finish(address, reply);
    case CALL_LOST:
        if (changes) {
            ctl_error("%s; it is not known whether it took the request: look with chordctl node %s",
                      reply->message, address);
            rpc_reply_free(reply);
            return CTL_UNKNOWN;
        }
        break;
    case CALL_NOT_SENT:
        break;
    }
    ctl_error("no answer from the node %s (%s); is it running?", address, reply->message);
    rpc_reply_free(reply);
    return CTL_NO_NODE;
}

int call_any(struct ctl *ctl, enum rpc_method method, const ProtobufCMessage *request,
             struct rpc_reply *reply, const char **address) {
    uint64_t end_ms = clock_now_ms() + ctl->timeout_ms;
    char reason[sizeof reply->message] = "no time is left";
    for (size_t i = 0; i < ctl->nodes_count; i++) {
        uint64_t now_ms = clock_now_ms();
        if (now_ms >= end_ms) {
            break;
        }
        /* A node that hangs must not eat the others' time. */
        uint64_t share_ms = (end_ms - now_ms) / (ctl->nodes_count - i);
        call_run(ctl, ctl->nodes[i], method, request, share_ms > 0 ? (uint32_t)share_ms : 1, reply);
        if (call_fate(reply, false) == CALL_ANSWERED) {
            if (address != NULL) {
                *address = ctl->nodes[i];
            }
            return call_finish(ctl->nodes[i], reply);
        }
        memcpy(reason, reply->message, sizeof reason);
        rpc_reply_free(reply);
    }
    return call_no_node(ctl, reason);
}

int call_word(struct ctl *ctl, const struct arguments *arguments, enum rpc_method method,
              const ProtobufCMessage *request, struct rpc_reply *reply, const char **address) {
    static char resolved[RPC_ADDRESS_BYTES_MAX + 1];
    if (arguments->words_count == 0) {
        return call_any(ctl, method, request, reply, address);
    }
    int exit_code = node_resolve(ctl, arguments->words[0], resolved);
    if (exit_code == CTL_OK) {
        *address = resolved;
        exit_code = call_at(ctl, resolved, method, request, false, reply);
    }
    return exit_code;
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
    int exit_code = call_at(ctl, address, RPC_ADMIN_STATUS, &request.base, false, reply);
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
    if (ring_walk(ctl->ring, ctl->nodes, ctl->nodes_count, ctl->timeout_ms, walk)) {
        return CTL_OK;
    }
    if (walk->nodes == NULL) {
        memory_missing();
    }
    const struct rpc_reply *reply = &walk->nodes[0].reply;
    bool refused =
        call_fate(reply, false) == CALL_ANSWERED && reply->code != CHORD__V1__CODE__CODE_OK;
    int exit_code = refused ? call_refused(reply->code, walk->nodes[0].address, reply->message)
                            : call_no_node(ctl, reply->message[0] != '\0' ? reply->message
                                                                          : "the answer is empty");
    ring_walk_free(walk);
    return exit_code;
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

static bool node_known(const struct ctl *ctl, const char *address) {
    for (size_t i = 0; i < ctl->nodes_count; i++) {
        if (strcmp(ctl->nodes[i], address) == 0) {
            return true;
        }
    }
    return false;
}

int nodes_learn(struct ctl *ctl) {
    Chord__V1__StatusRequest request = CHORD__V1__STATUS_REQUEST__INIT;
    struct rpc_reply reply;
    int exit_code = call_any(ctl, RPC_ADMIN_STATUS, &request.base, &reply, NULL);
    if (exit_code != CTL_OK) {
        return exit_code;
    }
    const Chord__V1__StatusResponse *status =
        (const Chord__V1__StatusResponse *)(const void *)reply.response;
    for (size_t i = 0; i < status->n_successors && ctl->nodes_count < CTL_NODES_MAX; i++) {
        const char *address = status->successors[i]->address;
        if (address_is_valid(address) && !node_known(ctl, address)) {
            memcpy(ctl->nodes[ctl->nodes_count++], address, strlen(address) + 1);
        }
    }
    rpc_reply_free(&reply);
    return CTL_OK;
}

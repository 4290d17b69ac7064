/* SPDX-License-Identifier: MIT */
/* Requests that are no operations on keys: to one node, or to any member that answers. */
#include <stdio.h>
#include <string.h>

#include "client.h"
#include "fate.h"

enum { PAUSE_MS = 50 };

/* Whom to ask, and whether somebody listens there. false: nobody; the reply says why. */
static bool node_choose(struct chord_client *client, const struct client_call *call,
                        struct chord_answer *answer, struct rpc_reply *reply) {
    int error = 0;
    *reply = (struct rpc_reply){
        .code = CHORD__V1__CODE__CODE_UNAVAILABLE, .local = true, .unsent = true};
    if (call->address == NULL) {
        snprintf(reply->message, sizeof reply->message, "no node of the ring answers");
        answer->nobody = !client->watch.member(client->watch.context, answer->address,
                                               reply->message, sizeof reply->message);
        return !answer->nobody;
    }
    snprintf(answer->address, sizeof answer->address, "%s", call->address);
    if (client->probe_ms > 0) {
        error = address_probe(answer->address, client->probe_ms);
    }
    snprintf(reply->message, sizeof reply->message, "%s: %s", answer->address, strerror(error));
    return error == 0;
}

static void attempt_run(struct chord_client *client, const struct client_call *call,
                        uint64_t end_ms, struct chord_answer *answer, struct rpc_reply *reply) {
    if (!node_choose(client, call, answer, reply)) {
        return;
    }
    bool last = call->address != NULL && !call->patient;
    uint64_t now_ms = clock_now_ms();
    uint64_t left_ms = now_ms < end_ms ? end_ms - now_ms : 1;
    uint32_t wait_ms =
        last || left_ms < client->attempt_ms ? (uint32_t)left_ms : client->attempt_ms;
    rpc_client_call_wait(client->rpc, answer->address, call->method, call->request, wait_ms, reply);
    client_hear(client, reply);
}

bool client_call(struct chord_client *client, const struct client_call *call,
                 struct chord_answer *answer, struct rpc_reply *reply) {
    uint64_t began_ms = clock_now_ms();
    uint64_t end_ms = began_ms + (call->timeout_ms > 0 ? call->timeout_ms : client->timeout_ms);
    *answer = (struct chord_answer){.nobody = false};
    for (bool going = true; going;) {
        attempt_run(client, call, end_ms, answer, reply);
        uint64_t patience_ms = answer->nobody ? began_ms + client->nobody_ms : end_ms;
        going = (call->address == NULL || call->patient) &&
                chord_outcome_of_reply(reply).again != CHORD_AGAIN_NEVER &&
                clock_now_ms() + PAUSE_MS < patience_ms && !atomic_load(&client->stopping);
        if (going) {
            if (!answer->nobody) {
                client->watch.mistrust(client->watch.context, answer->address,
                                       client_is_silence(reply));
            }
            rpc_reply_free(reply);
            clock_pause_ms(PAUSE_MS);
        }
    }
    bool empty = reply->code == CHORD__V1__CODE__CODE_OK && reply->response == NULL;
    answer->code = empty ? CHORD_CODE_INTERNAL : (int)reply->code;
    answer->fate = empty ? CHORD_MAYBE_DONE : chord_outcome_of_reply(reply).fate;
    answer->answered = client_is_answer(reply);
    answer->retry_after_ms = reply->retry_after_ms;
    snprintf(answer->message, sizeof answer->message, "%s",
             empty ? "its answer is empty" : reply->message);
    return answer->code == CHORD_CODE_OK;
}

void client_hear_status(struct chord_client *client, const Chord__V1__StatusResponse *status) {
    if (status->parameters != NULL) {
        client_set_m(client, status->parameters->m);
    }
    for (size_t i = 0; client->watch.learn != NULL && i < status->n_successors; i++) {
        if (address_is_valid(status->successors[i]->address)) {
            client->watch.learn(client->watch.context, status->successors[i]->address);
        }
    }
}

bool client_learn(struct chord_client *client, const char *address, uint32_t timeout_ms,
                  struct chord_answer *answer) {
    Chord__V1__StatusRequest request = CHORD__V1__STATUS_REQUEST__INIT;
    struct rpc_reply reply;
    bool ok = client_call(client,
                          &(struct client_call){.address = address,
                                                .method = RPC_ADMIN_STATUS,
                                                .request = &request.base,
                                                .timeout_ms = timeout_ms},
                          answer, &reply);
    if (ok) {
        client_hear_status(client, (const void *)reply.response);
    }
    rpc_reply_free(&reply);
    return ok;
}

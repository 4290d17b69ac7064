/* SPDX-License-Identifier: MIT */
/*
 * An operation under way: operation.c says what becomes of it, flow.c with which others it travels.
 * Only one of them has it at a time.
 */
#ifndef CHORD_OPERATION_H
#define CHORD_OPERATION_H

#include "attempts.h"
#include "client.h"

struct operation {
    struct chord_client *client;
    struct operation *next; /* in a flow */
    struct chord_operation asked;
    struct attempts attempts;
    struct ring_id id;
    bool id_known;
    bool by_hint; /* the next attempt goes where the hints say */
    bool alone;   /* ... and not together with others */
    bool begun;   /* an attempt was sent */
    bool hinted;  /* its target leads the range that ends at range_hi */
    struct ring_id range_hi;
    uint64_t began_ms, end_ms, due_ms;
    uint32_t pause_ms;
    Chord__V1__Code code; /* of the last attempt */
    struct chord_result result;
    chord_done_fn *done;
    void *context;
};

/* An operation as it is sent; the parts point into the message and the operation. */
struct operation_message {
    Chord__V1__Operation operation;
    Chord__V1__Precondition condition;
    Chord__V1__Version wanted, seen;
};

void operation_fill(struct operation *operation, struct operation_message *message);
/* What became of an attempt: the reply to its call, and, where the answer has them, the results of
 * the call's `count` operations, its own at `at`. The reply stays the caller's. Says whether there
 * is another attempt; operation_go_on makes it, or ends the operation. */
enum attempts_next operation_take(struct operation *operation, const struct rpc_reply *reply,
                                  const Chord__V1__BatchResponse *response, size_t at);
/* There was no attempt. */
enum attempts_next operation_unsent(struct operation *operation, Chord__V1__Code code,
                                    const char *why);
void operation_go_on(struct operation *operation, enum attempts_next next);
/* From now on it is the client's thread's, which sends it. */
void operation_hand_over(struct operation *operation);
uint32_t operation_timeout_ms(const struct operation *operation); /* of its next attempt */

/* ---- flow.c ---- */

struct flows;
struct flows *flows_new(void); /* NULL: no memory */
void flows_free(struct flows *flows);
/* Sends it to the address of its result, with those that wait for the same leader where it can.
 * With client->sending held. */
void flow_send(struct operation *operation);
/* What waits for the client's thread. */
void flows_send(struct chord_client *client);

#endif

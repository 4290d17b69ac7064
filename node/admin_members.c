/* SPDX-License-Identifier: MIT */
/*
 * Out of the ring and into one: leave, join, kill; and a view by hand (recover).
 */
#include "admin.h"

#include "log.h"
#include "wire.h"

#include <stdio.h>
#include <string.h>

enum { KILL_DELAY_MS = 100 /* for the answer to leave */ };

/* NULL: it is one. */
static const char *read_entrance(char *const *seeds, size_t seeds_count,
                                 const Chord__V1__RingParameters *ring,
                                 struct chord_entrance *entrance) {
    if (seeds_count > CHORD_SEEDS_MAX) {
        return "at most 16 seeds";
    }
    for (size_t i = 0; i < seeds_count; i++) {
        if (strlen(seeds[i]) >= CHORD_ADDRESS_BYTES) {
            return "a seed is host:port of at most 63 bytes";
        }
        strcpy(entrance->seeds[entrance->seeds_count++].text, seeds[i]);
    }
    if (ring != NULL) {
        if (ring->ring_id.len != CHORD_RING_ID_BYTES || ring->m == 0) {
            return "a ring has an id of 16 bytes and M, N and REPLICAS";
        }
        memcpy(entrance->ring.ring_id, ring->ring_id.data, CHORD_RING_ID_BYTES);
        entrance->ring.m = ring->m;
        entrance->ring.n = ring->n;
        entrance->ring.replicas = ring->replicas;
    }
    return NULL;
}

void admin_on_leave(struct node *node, struct request *request) {
    const Chord__V1__AdminLeaveRequest *leave = (const void *)request->message;
    struct chord_event event = {.kind = CHORD_EVENT_LEAVE};
    const char *error =
        read_entrance(leave->next_seeds, leave->n_next_seeds, leave->next_ring, &event.leave.next);
    if (error != NULL) {
        admin_refuse(node, request, CHORD__V1__CODE__CODE_INVALID_ARGUMENT, error);
        return;
    }
    event.leave.last = leave->last;
    error = chord_leave_obstacle(node->chord, &event.leave);
    if (error != NULL) {
        admin_refuse(node, request, CHORD__V1__CODE__CODE_FAILED_PRECONDITION, error);
        return;
    }
    struct chord_status *status = arena_alloc(&node->scratch, sizeof *status);
    chord_read_status(node->chord, status);
    Chord__V1__AdminLeaveResponse *message = arena_alloc(&node->scratch, sizeof *message);
    chord__v1__admin_leave_response__init(message);
    message->warning = (char *)(uintptr_t)(status->survives_failures == 0
                                               ? "the ring survives no failure now; after "
                                                 "this leave it will not either"
                                               : status->warning);
    admin_answer(node, request, &message->base);
    node_event(node, &event);
}

void admin_on_join(struct node *node, struct request *request) {
    const Chord__V1__AdminJoinRequest *join = (const void *)request->message;
    struct chord_event event = {.kind = CHORD_EVENT_JOIN};
    const char *error = read_entrance(join->seeds, join->n_seeds, join->ring, &event.join);
    if (error != NULL) {
        admin_refuse(node, request, CHORD__V1__CODE__CODE_INVALID_ARGUMENT, error);
        return;
    }
    event.join.drop_rows = join->drop_rows;
    event.join.another_place = join->another_place;
    error = chord_join_obstacle(node->chord, &event.join);
    if (error != NULL) {
        admin_refuse(node, request, CHORD__V1__CODE__CODE_FAILED_PRECONDITION, error);
        return;
    }
    Chord__V1__AdminJoinResponse message = CHORD__V1__ADMIN_JOIN_RESPONSE__INIT;
    admin_answer(node, request, &message.base);
    node_event(node, &event);
}

void admin_on_kill(struct node *node, struct request *request) {
    const Chord__V1__KillRequest *kill_request = (const void *)request->message;
    struct wire_context wire = {&node->scratch, node->m};
    struct chord_status *status = arena_alloc(&node->scratch, sizeof *status);
    chord_read_status(node->chord, status);
    ProtobufCBinaryData id = wire_id(&wire, &status->self.id);
    if (kill_request->confirm.len != id.len ||
        memcmp(kill_request->confirm.data, id.data, id.len) != 0) {
        admin_refuse(node, request, CHORD__V1__CODE__CODE_FAILED_PRECONDITION,
                     "the confirmation is not this node's id");
        return;
    }
    Chord__V1__KillResponse message = CHORD__V1__KILL_RESPONSE__INIT;
    admin_answer(node, request, &message.base);
    log_write(LOG_WARN, "kill", "killed on request; nothing is handed over");
    node->kill_at_ms = node_now_ms() + KILL_DELAY_MS;
}

static const struct chord_view *view_over(struct node *node, const struct chord_id *id) {
    enum chord_range_state state;
    unsigned copies;
    for (uint16_t i = 0; i < chord_views_count(node->chord); i++) {
        const struct chord_view *view = chord_view_at(node->chord, i, &state, &copies);
        if (id_in_half_open(&view->range.lo, id, &view->range.hi)) {
            return view;
        }
    }
    return NULL;
}

void admin_on_recover(struct node *node, struct request *request) {
    const Chord__V1__RecoverRequest *recover = (const void *)request->message;
    struct wire_context wire = {&node->scratch, node->m};
    struct chord_event event = {.kind = CHORD_EVENT_RECOVER};
    struct chord_range range;
    if (!wire_read_range(recover->range, &range)) {
        admin_refuse(node, request, CHORD__V1__CODE__CODE_INVALID_ARGUMENT,
                     "the request names no valid range");
        return;
    }
    event.recover = range.hi;
    const char *error = chord_recover_obstacle(node->chord, &range.hi);
    const struct chord_view *view = view_over(node, &range.hi);
    if (error == NULL && (view->epoch != recover->epoch || !id_equal(&view->range.lo, &range.lo) ||
                          !id_equal(&view->range.hi, &range.hi))) {
        error = "this node has another view of that range";
    }
    if (error != NULL) {
        admin_refuse(node, request, CHORD__V1__CODE__CODE_FAILED_PRECONDITION, error);
        return;
    }
    node_event(node, &event);
    Chord__V1__RecoverResponse message = CHORD__V1__RECOVER_RESPONSE__INIT;
    message.view = wire_view(&wire, view_over(node, &range.hi));
    admin_answer(node, request, &message.base);
}

/* SPDX-License-Identifier: MIT */
/* See readiness.h. */
#include "readiness.h"

#include "node.h"

#include <stdio.h>
#include <string.h>

enum { LOOK_MS = 500 };

static bool is_told(const struct node *node) {
    return node->readiness.notify.fd >= 0;
}

void readiness_open(struct node *node) {
    char error[300];
    if (!sd_notify_open(&node->readiness.notify, error, sizeof error)) {
        fprintf(stderr, "chord-node: %s\n", error);
    }
    sd_notify_status(&node->readiness.notify, "starting");
}

/* The first half of stabilize (chord/ring/stabilize.c) is over when the successor has told its
 * predecessor and list. A joiner asks the same; that does not count. */
void readiness_reply(struct node *node, const struct call_context *context,
                     const struct rpc_reply *reply) {
    struct chord_status status;
    if (!is_told(node) || node->readiness.has_stabilized ||
        context->kind != CHORD_GET_PREDECESSOR || reply->code != CHORD__V1__CODE__CODE_OK) {
        return;
    }
    chord_read_status(node->chord, &status);
    if (status.state == CHORD_STATE_MEMBER) {
        node->readiness.has_stabilized = true;
        node->readiness.look_ms = 0;
    }
}

/* Who is alone has nobody to stabilize with, and who comes back as the last member of a ring that
 * was left does nothing before somebody makes it join. */
static bool is_ready(const struct node *node, const struct chord_status *status) {
    return status->state == CHORD_STATE_LEFT ||
           (status->state == CHORD_STATE_MEMBER &&
            (node->readiness.has_stabilized || status->successors.count == 0));
}

static void member_text(const struct node *node, const struct chord_status *status,
                        char out[NOTICE_BYTES]) {
    char ring[2 * CHORD_RING_ID_BYTES + 1] = "";
    char notice[NOTICE_BYTES];
    if (notices_text(node, status->state, notice)) {
        memcpy(out, notice, NOTICE_BYTES);
        return;
    }
    rpc_hex(ring, node->ring_id, CHORD_RING_ID_BYTES);
    snprintf(out, NOTICE_BYTES, "member of ring %.8s at %s, %s%s", ring, node->settings.listen,
             status->successors.count == 0 ? "alone" : "its successor is ",
             status->successors.count == 0 ? "" : status->successors.items[0].address);
}

static void state_text(const struct node *node, const struct chord_status *status,
                       char out[NOTICE_BYTES]) {
    switch (status->state) {
    case CHORD_STATE_MEMBER:
        member_text(node, status, out);
        break;
    case CHORD_STATE_LEAVING:
        snprintf(out, NOTICE_BYTES, "leaves the ring: hands its keys over");
        break;
    case CHORD_STATE_LEFT:
        snprintf(out, NOTICE_BYTES,
                 "has left the ring and may be stopped; chordctl join %s brings it back",
                 node->settings.listen);
        break;
    case CHORD_STATE_NONE:
    case CHORD_STATE_JOINING:
        if (!notices_text(node, status->state, out)) {
            snprintf(out, NOTICE_BYTES, "joins the ring");
        }
        break;
    }
}

void readiness_tick(struct node *node) {
    struct readiness *readiness = &node->readiness;
    uint64_t now_ms = node_now_ms();
    if (!is_told(node)) {
        return;
    }
    if (now_ms >= readiness->look_ms) {
        struct chord_status status;
        char text[NOTICE_BYTES];
        readiness->look_ms = now_ms + LOOK_MS;
        chord_read_status(node->chord, &status);
        state_text(node, &status, text);
        sd_notify_status(&readiness->notify, text);
        if (is_ready(node, &status)) {
            sd_notify_ready(&readiness->notify);
        }
    }
    sd_notify_tick(&readiness->notify, now_ms);
}

uint64_t readiness_next_ms(const struct node *node) {
    const struct readiness *readiness = &node->readiness;
    uint64_t next_ms = sd_notify_next_ms(&readiness->notify);
    if (!is_told(node)) {
        return UINT64_MAX;
    }
    return readiness->look_ms < next_ms ? readiness->look_ms : next_ms;
}

void readiness_close(struct node *node) {
    sd_notify_stopping(&node->readiness.notify);
    sd_notify_close(&node->readiness.notify);
}

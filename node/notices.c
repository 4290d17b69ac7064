/* SPDX-License-Identifier: MIT */
/* See notices.h. */
#include "notices.h"

#include "chord/v1/ring.pb-c.h"
#include "log.h"
#include "node.h"

#include <stdio.h>
#include <string.h>

enum {
    PATIENCE_MS = 3000, /* an ordinary start is over by then */
    HEARD_MS = 10000,   /* so long one that answered counts as there: a round of questions */
    TELL_MS = 2000,     /* between two lines that differ */
    TELL_AGAIN_MS = 60000,
    COPY_MS = 600000, /* so long a copy that was heard is told about */
    NAMES_MAX = 4,
};

static bool is_recent(uint64_t then_ms, uint64_t now_ms) {
    return then_ms != 0 && now_ms - then_ms <= HEARD_MS;
}

void notices_known(struct node *node, const struct chord_identity *identity) {
    struct notices *notices = &node->notices;
    uint64_t heard_ms[CHORD_REPLICAS_MAX] = {0};
    for (uint16_t i = 0; i < identity->known_count; i++) {
        for (uint16_t k = 0; k < notices->known_count; k++) {
            if (strcmp(notices->known[k].address, identity->known[i].address) == 0) {
                heard_ms[i] = notices->heard_ms[k];
            }
        }
    }
    notices->known_count = identity->parameters.m != 0 ? identity->known_count : 0;
    memcpy(notices->known, identity->known, sizeof notices->known);
    memcpy(notices->heard_ms, heard_ms, sizeof heard_ms);
}

/* ---- for whom it waits ---- */

/* "a, b, c and 2 more"; one address is as long as the others at most. */
static void name_add(char *names, size_t bytes, unsigned place, const char *address) {
    size_t used = strlen(names);
    if (place < NAMES_MAX) {
        snprintf(names + used, bytes - used, "%s%s", place > 0 ? ", " : "", address);
    }
}

static void more_add(char *names, size_t bytes, unsigned count) {
    size_t used = strlen(names);
    if (count > NAMES_MAX) {
        snprintf(names + used, bytes - used, " and %u more", count - NAMES_MAX);
    }
}

/* Who has been in a ring waits for those whom it knew there; else any seed will do. */
static bool waiting_text(const struct node *node, char out[NOTICE_BYTES]) {
    const struct notices *notices = &node->notices;
    const struct settings *settings = &node->settings;
    uint64_t now_ms = node_now_ms();
    char names[NAMES_MAX * (CHORD_ADDRESS_BYTES + 2) + 32] = "";
    unsigned missing = 0, here = 1; /* itself */
    if (notices->out_since_ms == 0 || now_ms - notices->out_since_ms < PATIENCE_MS ||
        is_recent(notices->member_ms, now_ms)) {
        return false;
    }
    for (uint16_t i = 0; i < notices->known_count; i++) {
        if (is_recent(notices->heard_ms[i], now_ms)) {
            here++;
        } else {
            name_add(names, sizeof names, missing++, notices->known[i].address);
        }
    }
    for (uint16_t i = 0; notices->known_count == 0 && i < settings->seeds_count; i++) {
        if (strcmp(settings->seeds[i].text, settings->listen) != 0) {
            name_add(names, sizeof names, missing++, settings->seeds[i].text);
        }
    }
    more_add(names, sizeof names, missing);
    unsigned all = notices->known_count + 1u;
    if (notices->known_count > 0) {
        snprintf(out, NOTICE_BYTES,
                 "%s waits for %s: members of its ring that do not answer; %u of %u are here, %u "
                 "are enough; start them; it keeps waiting",
                 settings->listen, names, here, all, all / 2 + 1);
    } else {
        snprintf(out, NOTICE_BYTES, "%s waits for %s: none is a member of a ring yet; it goes on",
                 settings->listen, names);
    }
    return missing > 0;
}

static void tell_waiting(struct node *node) {
    struct notices *notices = &node->notices;
    uint64_t now_ms = node_now_ms();
    char text[NOTICE_BYTES];
    if (now_ms - notices->told_ms < TELL_MS || !waiting_text(node, text)) {
        return;
    }
    if (strcmp(text, notices->told) != 0 || now_ms - notices->told_ms >= TELL_AGAIN_MS) {
        log_write(LOG_WARN, "waiting", "%s", text);
        notices->told_ms = now_ms;
        memcpy(notices->told, text, sizeof text);
    }
}

/* A member may run at another address than it did, so its store counts too. */
static void answered(struct node *node, const char *address, const Chord__V1__PingResponse *ping) {
    struct notices *notices = &node->notices;
    uint64_t now_ms = node_now_ms();
    const Chord__V1__Peer *self = ping->self;
    for (uint16_t i = 0; i < notices->known_count; i++) {
        const struct chord_peer *known = &notices->known[i];
        bool same_store = self != NULL && self->store_id.len == CHORD_STORE_ID_BYTES &&
                          memcmp(self->store_id.data, known->store_id, CHORD_STORE_ID_BYTES) == 0;
        if (same_store || strcmp(known->address, address) == 0) {
            notices->heard_ms[i] = now_ms;
        }
    }
    if (ping->state == CHORD__V1__NODE_STATE__NODE_STATE_MEMBER) {
        notices->member_ms = now_ms;
    }
}

void notices_reply(struct node *node, const struct call_context *context,
                   const struct rpc_reply *reply) {
    struct notices *notices = &node->notices;
    if (context->kind != CHORD_PING) {
        return;
    }
    struct chord_status status;
    chord_read_status(node->chord, &status);
    if (status.state != CHORD_STATE_JOINING) {
        notices->out_since_ms = 0;
        return;
    }
    if (notices->out_since_ms == 0) {
        notices->out_since_ms = node_now_ms();
        notices->member_ms = 0;
        notices->told[0] = '\0';
    }
    if (reply->code == CHORD__V1__CODE__CODE_OK && reply->response != NULL) {
        answered(node, context->to.text, (const void *)reply->response);
    }
    tell_waiting(node);
}

/* ---- a copy of its disk ---- */

static bool copy_text(const struct node *node, char out[NOTICE_BYTES]) {
    const struct notices *notices = &node->notices;
    if (notices->copy_ms == 0 || node_now_ms() - notices->copy_ms > COPY_MS) {
        return false;
    }
    snprintf(
        out, NOTICE_BYTES,
        "%s: a copy of its data runs at %s and is refused: stop it; a new member starts with an "
        "empty folder; to go on there, stop this node, then copy its folder",
        node->settings.listen, notices->copy);
    return true;
}

void notices_request(struct node *node, const struct chord_request *request) {
    struct notices *notices = &node->notices;
    const struct chord_peer *sender = &request->sender;
    char text[NOTICE_BYTES];
    if (!request->has_sender || strcmp(sender->address, node->settings.listen) == 0 ||
        memcmp(sender->store_id, node->store_id, CHORD_STORE_ID_BYTES) != 0) {
        return;
    }
    bool another = strcmp(notices->copy, sender->address) != 0;
    memcpy(notices->copy, sender->address, sizeof notices->copy);
    notices->copy_ms = node_now_ms();
    if ((another || notices->copy_ms - notices->copy_told_ms >= TELL_AGAIN_MS) &&
        copy_text(node, text)) {
        notices->copy_told_ms = notices->copy_ms;
        log_write(LOG_WARN, "copy", "%s", text);
    }
}

bool notices_text(const struct node *node, enum chord_node_state state, char out[NOTICE_BYTES]) {
    return state == CHORD_STATE_JOINING ? waiting_text(node, out) : copy_text(node, out);
}

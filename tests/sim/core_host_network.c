/* SPDX-License-Identifier: MIT */
/*
 * See core_host.h: messages between nodes: delays, losses, cuts, calls and how they end. A message
 * is copied only as far as its counts cover, so a reader of more is found by the sanitizer.
 */
#include "core_host_state.h"

/* ---- parcels ---- */

static size_t peers_end(const struct chord_peer_list *list) {
    return offsetof(struct chord_peer_list, items) + sizeof list->items[0] * list->count;
}

#define REQUEST_WITH(member) (offsetof(struct chord_request, member) + sizeof request->member)
#define RESPONSE_WITH(member) (offsetof(struct chord_response, member) + sizeof response->member)

static size_t request_bytes(const struct chord_request *request) {
    size_t bytes = offsetof(struct chord_request, id);
    switch (request->kind) {
    case CHORD_PING:
    case CHORD_GET_PREDECESSOR:
    case CHORD_GET_SUCCESSORS:
    case CHORD_NOTIFY:
    case CHORD_JOIN:
        return bytes;
    case CHORD_FIND_SUCCESSOR:
    case CHORD_GET_VIEW:
    case CHORD_LOOKUP:
        return REQUEST_WITH(id);
    case CHORD_GENESIS:
        return offsetof(struct chord_request, genesis.members) +
               peers_end(&request->genesis.members);
    case CHORD_MERGE:
        return REQUEST_WITH(peer);
    case CHORD_LEAVE:
        return REQUEST_WITH(left);
    case CHORD_TRANSFER_KEYS:
    case CHORD_APPLY:
    case CHORD_DIGEST:
        return REQUEST_WITH(rows);
    case CHORD_BATCH:
        return REQUEST_WITH(batch);
    default:
        return sizeof *request;
    }
}

static size_t response_bytes(const struct chord_response *response) {
    switch (response->kind) {
    case CHORD_PING:
        return RESPONSE_WITH(ping);
    case CHORD_FIND_SUCCESSOR:
    case CHORD_GET_PREDECESSOR:
    case CHORD_GET_SUCCESSORS:
        return offsetof(struct chord_response, ring.successors) +
               peers_end(&response->ring.successors);
    case CHORD_JOIN:
        return offsetof(struct chord_response, join.successors) +
               peers_end(&response->join.successors);
    case CHORD_TRANSFER_KEYS:
        return RESPONSE_WITH(transfer);
    case CHORD_DIGEST:
        return RESPONSE_WITH(digest);
    case CHORD_APPLY:
    case CHORD_SYNC:
    case CHORD_DECIDED:
    case CHORD_GET_VIEW:
        return RESPONSE_WITH(view); /* views are copied whole */
    case CHORD_BATCH:
        return RESPONSE_WITH(batch);
    case CHORD_LOOKUP:
        return offsetof(struct chord_response, lookup.hops) +
               sizeof response->lookup.hops[0] * response->lookup.hops_count;
    case CHORD_NOTIFY:
    case CHORD_GENESIS:
    case CHORD_LEAVE:
    case CHORD_MERGE:
        return offsetof(struct chord_response, ping);
    default:
        return sizeof *response;
    }
}

static struct parcel *parcel_new(enum chord_message_kind kind, const void *message, size_t bytes) {
    struct parcel *parcel = memory(sizeof *parcel);
    parcel->kind = kind;
    parcel->message = copy_of(message, bytes);
    return parcel;
}

struct parcel *parcel_request(const struct chord_request *request) {
    return parcel_new(request->kind, request, request_bytes(request));
}

struct parcel *parcel_response(const struct chord_response *response) {
    return parcel_new(response->kind, response, response_bytes(response));
}

void parcel_free(struct parcel *parcel) {
    if (parcel != NULL) {
        free(parcel->message);
        free(parcel->rows);
        free(parcel->operations);
        free(parcel);
    }
}

const struct chord_request *parcel_request_of(const struct parcel *parcel) {
    return parcel->message;
}

static struct parcel *parcel_copy(const struct parcel *parcel) {
    struct parcel *copy = parcel_request(parcel->message);
    copy->rows = copy_of(parcel->rows, sizeof *parcel->rows * parcel->rows_count);
    copy->rows_count = parcel->rows_count;
    copy->operations =
        copy_of(parcel->operations, sizeof *parcel->operations * parcel->operations_count);
    copy->operations_count = parcel->operations_count;
    return copy;
}

/* A hostile test may put more into a message than its counts covered. */
static void parcel_whole(struct parcel *parcel, bool reply) {
    size_t bytes = reply ? sizeof(struct chord_response) : sizeof(struct chord_request);
    void *whole = memory(bytes);
    memcpy(whole, parcel->message,
           reply ? response_bytes(parcel->message) : request_bytes(parcel->message));
    free(parcel->message);
    parcel->message = whole;
}

/* As the receiver decodes it. */
static void parcel_pass(struct host *host, struct parcel *parcel, bool reply) {
    if (host->config.pass == NULL) {
        return;
    }
    parcel_whole(parcel, reply);
    host->config.pass(reply,
                      &(struct host_cargo){parcel->message, parcel->rows, parcel->rows_count,
                                           parcel->operations, parcel->operations_count},
                      host->config.m);
    void *whole = parcel->message;
    parcel->message = copy_of(whole, reply ? response_bytes(whole) : request_bytes(whole));
    free(whole);
}

/* ---- the lines ---- */

static struct link *link_find(const struct host *host, int from, int to) {
    for (size_t i = 0; i < host->links_count; i++) {
        if (host->links[i].from == from && host->links[i].to == to) {
            return &host->links[i];
        }
    }
    return NULL;
}

static struct link *link_of(struct host *host, int from, int to) {
    struct link *link = link_find(host, from, to);
    if (link == NULL) {
        host->links = realloc(host->links, sizeof *link * (host->links_count + 1));
        CHORD_ASSERT(host->links != NULL);
        link = &host->links[host->links_count++];
        *link = (struct link){.from = from, .to = to};
    }
    return link;
}

void host_cut_way(struct host *host, int from, int to, bool cut) {
    link_of(host, from, to)->cut = cut;
}

void host_cut(struct host *host, int a, int b, bool cut) {
    host_cut_way(host, a, b, cut);
    host_cut_way(host, b, a, cut);
}

void host_slow(struct host *host, int from, int to, uint64_t us) {
    link_of(host, from, to)->slow_us = us;
}

void host_stall(struct host *host, int node, uint64_t us) {
    host->nodes[node].stalled_until_us = host->now_us + us;
}

/* When a message that is due now goes on, as one of its ends has no line; 0: at once. */
uint64_t network_held_us(const struct host *host, const struct event *event) {
    uint64_t until_us = 0;
    if (event->kind == EVENT_REQUEST || event->kind == EVENT_REPLY) {
        for (int end = 0; end < 2; end++) {
            int node = end == 0 ? event->node : event->from;
            if (node != HOST_NOBODY && host->nodes[node].stalled_until_us > until_us) {
                until_us = host->nodes[node].stalled_until_us;
            }
        }
    }
    return until_us > host->now_us ? until_us : 0;
}

void host_group(struct host *host, int node, unsigned group) {
    host->nodes[node].group = group;
    host->grouped = true;
}

void host_heal(struct host *host) {
    host->links_count = 0;
    for (int i = 0; i < host->count; i++) {
        host->nodes[i].group = 0;
        host->nodes[i].stalled_until_us = 0;
    }
    host->grouped = false;
    host->config.lose_percent = host->config.double_percent = host->config.resend_percent = 0;
}

/* How long TCP holds a message back: it is lost, or another one of that line before it was. */
static uint64_t resend_us(struct host *host, int from, int to) {
    if (host->config.resend_percent == 0 || from == HOST_NOBODY || to == HOST_NOBODY) {
        return 0;
    }
    uint64_t timeout_us = 200000 + 2 * host->config.delay_us_max, wait_us = 0;
    while (random_of(&host->random_network) % 100 < host->config.resend_percent) {
        wait_us += timeout_us;
        timeout_us *= 2;
    }
    struct link *link = link_of(host, from, to);
    if (link->resent_us < host->now_us + wait_us) {
        link->resent_us = host->now_us + wait_us;
    }
    return link->resent_us - host->now_us;
}

/* After a call without an answer, as proto/rpc_link.c does: a new connection, which takes two round
 * trips, waits for nothing that the former one has to send again. */
static void reconnect(struct host *host, int from, int to) {
    uint64_t ready_us = host->now_us + 4 * (uint64_t)host->config.delay_us_max;
    for (int way = 0; way < 2 && host->config.resend_percent > 0; way++) {
        struct link *link = link_of(host, way == 0 ? from : to, way == 0 ? to : from);
        link->resent_us = link->resent_us < ready_us ? link->resent_us : ready_us;
    }
}

static uint64_t delay(struct host *host, int from, int to) {
    uint64_t *random = &host->random_network;
    uint64_t low = host->config.delay_us_min, span = host->config.delay_us_max - low, us;
    uint64_t roll = random_of(random);
    switch (host->config.delay) {
    case HOST_DELAY_EXPONENTIAL: { /* halvings of the span, one for each leading 1 bit */
        unsigned halvings = 0;
        for (; halvings < 5 && roll >> 63 != 0; roll <<= 1) {
            halvings++;
        }
        span = halvings == 5 ? span : span >> (5 - halvings);
        us = low + span / 2 + random_of(random) % (span / 2 + 1);
        break;
    }
    case HOST_DELAY_TAIL:
        us = low + roll % ((roll >> 32) % 20 == 0 ? span + 1 : span / 10 + 1);
        break;
    default:
        us = low + roll % (span + 1);
        break;
    }
    const struct link *link = host->links_count > 0 ? link_find(host, from, to) : NULL;
    us += link != NULL ? link->slow_us : 0;
    return us + resend_us(host, from, to);
}

static bool cut_off(const struct host *host, int from, int to) {
    if (from == HOST_NOBODY || to == HOST_NOBODY) {
        return false;
    }
    const struct link *link = host->links_count > 0 ? link_find(host, from, to) : NULL;
    return (link != NULL && link->cut) ||
           (host->grouped && host->nodes[from].group != host->nodes[to].group);
}

static bool lost(struct host *host, int from, int to, struct parcel *parcel, bool reply) {
    bool lucky = random_of(&host->random_network) % 100 >= host->config.lose_percent;
    if (!lucky || cut_off(host, from, to)) {
        return true;
    }
    if (host->config.on_message == NULL) {
        return false;
    }
    parcel_whole(parcel, reply);
    struct host_message message = {from, to, parcel->kind, reply ? NULL : parcel->message,
                                   reply ? parcel->message : NULL};
    return !host->config.on_message(host->config.context, &message);
}

/* ---- connections: who hears at once that a node has ended ---- */

static int caller_order(const void *a, const void *b) {
    const struct caller *one = a, *other = b;
    return one->node != other->node ? (one->node < other->node ? -1 : 1)
                                    : (one->life < other->life ? -1 : one->life > other->life);
}

static void callers_unique(struct node *node) {
    size_t kept = 0;
    if (node->callers_count == 0) {
        return;
    }
    qsort(node->callers, node->callers_count, sizeof *node->callers, caller_order);
    for (size_t i = 0; i < node->callers_count; i++) {
        if (kept == 0 || caller_order(&node->callers[kept - 1], &node->callers[i]) != 0) {
            node->callers[kept++] = node->callers[i];
        }
    }
    node->callers_count = kept;
}

static void connect(struct host *host, int from, int to) {
    struct node *caller = &host->nodes[from], *target = &host->nodes[to];
    if (caller->contacts[to % CONTACTS] == to + 1) {
        return;
    }
    caller->contacts[to % CONTACTS] = to + 1;
    if (target->callers_count == target->callers_room && target->callers_room > 0) {
        callers_unique(target);
    }
    target->callers = grown(target->callers, target->callers_count, &target->callers_room,
                            sizeof *target->callers);
    target->callers[target->callers_count++] = (struct caller){from, caller->public.lives};
}

void network_forget(struct host *host, int index) {
    struct node *node = &host->nodes[index];
    node->broken_us = host->now_us;
    push(host, (struct event){.kind = EVENT_BROKEN,
                              .node = index,
                              .time_us = host->now_us + delay(host, index, index)});
    callers_unique(node);
    for (size_t i = 0; i < node->callers_count; i++) {
        int from = node->callers[i].node;
        struct node *caller = &host->nodes[from];
        if (caller->public.alive && caller->public.lives == node->callers[i].life) {
            caller->contacts[index % CONTACTS] = 0;
            push(host, (struct event){.kind = EVENT_DISCONNECTED,
                                      .node = from,
                                      .from = index,
                                      .life = caller->public.lives,
                                      .time_us = host->now_us + delay(host, index, from)});
        }
    }
    node->callers_count = 0;
    memset(node->contacts, 0, sizeof node->contacts);
}

/* ---- calls ---- */

static uint32_t slot_take(struct host *host) {
    if (host->slots_free > 0) {
        uint32_t at = host->slots_free - 1;
        host->slots_free = host->slots[at].next_free;
        return at;
    }
    size_t room = host->slots_room;
    host->slots = grown(host->slots, host->slots_used, &room, sizeof *host->slots);
    memset(host->slots + host->slots_used, 0, sizeof *host->slots * (room - host->slots_used));
    host->slots_room = (uint32_t)room;
    return host->slots_used++;
}

static void slot_chain(struct host *host, uint32_t at) {
    struct slot *slot = &host->slots[at];
    if (slot->to != HOST_NOBODY) {
        uint32_t *head = &host->nodes[slot->to].calls;
        slot->after = *head;
        if (*head > 0) {
            host->slots[*head - 1].before = at + 1;
        }
        *head = at + 1;
    }
}

static void slot_free(struct host *host, struct slot *slot) {
    uint32_t at = (uint32_t)(slot - host->slots);
    if (slot->to != HOST_NOBODY) {
        if (slot->before > 0) {
            host->slots[slot->before - 1].after = slot->after;
        } else {
            host->nodes[slot->to].calls = slot->after;
        }
        if (slot->after > 0) {
            host->slots[slot->after - 1].before = slot->before;
        }
    }
    free(slot->indices);
    slot->indices = NULL;
    slot->used = false;
    slot->next_free = host->slots_free;
    host->slots_free = at + 1;
}

static unsigned life_of(const struct host *host, int node) {
    return node != HOST_NOBODY ? host->nodes[node].public.lives : 0;
}

struct slot *call_new(struct host *host, int from, int to, uint32_t timeout_ms,
                      struct parcel *parcel) {
    uint32_t at = slot_take(host);
    struct slot *slot = &host->slots[at];
    uint32_t generation = slot->generation + 1;
    *slot = (struct slot){.used = true,
                          .generation = generation,
                          .node = from,
                          .to = to,
                          .life = life_of(host, from),
                          .sent_us = host->now_us,
                          .kind = parcel->kind};
    slot_chain(host, at);
    slot->unsent = to == HOST_NOBODY || !host->nodes[to].public.alive;
    if (slot->unsent && timeout_ms > CONNECT_MS_MAX) {
        timeout_ms = CONNECT_MS_MAX;
    }
    push(host, (struct event){.kind = EVENT_TIMEOUT,
                              .call = at,
                              .generation = generation,
                              .node = from,
                              .life = slot->life,
                              .time_us = host->now_us + (uint64_t)timeout_ms * 1000});
    if (slot->unsent) {
        parcel_free(parcel);
        return slot;
    }
    host->messages++;
    parcel_pass(host, parcel, false);
    if (from != HOST_NOBODY) {
        connect(host, from, to);
    }
    struct event event = {.kind = EVENT_REQUEST,
                          .node = to,
                          .life = life_of(host, to),
                          .from = from,
                          .call = at,
                          .generation = generation,
                          .timeout_ms = timeout_ms,
                          .payload = parcel};
    if (random_of(&host->random_network) % 100 < host->config.double_percent &&
        slot->kind != CHORD_BATCH) { /* until op_id and attempt tell a repeated write */
        struct event twin = event;
        twin.payload = parcel_copy(parcel);
        twin.time_us = host->now_us + 3 * delay(host, from, to);
        if (lost(host, from, to, twin.payload, false)) {
            event_free(&twin);
        } else {
            push(host, twin);
        }
    }
    event.time_us = host->now_us + delay(host, from, to);
    if (lost(host, from, to, parcel, false)) {
        event_free(&event);
    } else {
        push(host, event);
    }
    return slot;
}

void reply_new(struct host *host, int from, const struct open *open, struct parcel *parcel) {
    const struct slot *slot = &host->slots[open->call];
    struct event event = {.kind = EVENT_REPLY,
                          .from = from,
                          .call = open->call,
                          .generation = open->generation,
                          .payload = parcel};
    host->messages++;
    parcel_pass(host, parcel, true);
    bool awaited = slot->used && slot->generation == open->generation;
    if (!awaited || lost(host, from, slot->node, parcel, true)) {
        event_free(&event);
        return;
    }
    event.node = slot->node;
    event.life = slot->life;
    event.time_us = host->now_us + delay(host, from, slot->node);
    push(host, event);
}

static void client_done(struct host *host, const struct slot *slot, const struct parcel *parcel) {
    struct host_call *call = slot->client;
    const struct chord_response *response = parcel != NULL ? parcel->message : NULL;
    call->done = true;
    call->done_us = host->now_us;
    call->code = response != NULL ? response->code
                 : slot->unsent   ? CHORD_UNAVAILABLE
                                  : CHORD_DEADLINE_EXCEEDED;
    if (response != NULL) {
        memcpy(&call->response, response, response_bytes(response));
    }
    for (uint32_t i = 0; i < call->operations_count; i++) {
        if (parcel != NULL && call->code == CHORD_OK) {
            call->operations[i] = parcel->operations[i];
        } else {
            call->operations[i].code = parcel != NULL || slot->unsent ? call->code : CHORD_UNKNOWN;
        }
    }
}

/* parcel NULL: no answer. */
static void call_end(struct host *host, struct slot *slot, struct parcel *parcel) {
    struct slot call = *slot;
    slot->indices = NULL;
    slot_free(host, slot);
    if (call.client != NULL) {
        client_done(host, &call, parcel);
    }
    if (call.node == HOST_NOBODY || !host->nodes[call.node].public.alive ||
        host->nodes[call.node].public.lives != call.life) {
        free(call.indices);
        return;
    }
    struct chord_event event = {.kind = CHORD_EVENT_FAILURE};
    struct chord_response *response = parcel != NULL ? parcel->message : NULL;
    bool results = response != NULL && response->code == CHORD_OK;
    uint32_t count = call.kind == CHORD_BATCH && (parcel == NULL || results)
                         ? forwarded(&host->nodes[call.node], &call, parcel)
                         : 0;
    free(call.indices);
    if (response == NULL) {
        event.failure.call_id = call.call_id;
    } else {
        event.kind = CHORD_EVENT_REPLY;
        event.reply.call_id = call.call_id;
        event.reply.microseconds = host->now_us - call.sent_us + 1;
        event.reply.response = response;
        if (call.kind == CHORD_BATCH) {
            response->batch.finished = count;
        }
    }
    host->reply = parcel;
    host->asked = call.to;
    step(host, call.node, &event);
    host->asked = HOST_NOBODY;
    host->reply = NULL;
}

bool call_open(const struct host *host, const struct event *event) {
    const struct slot *slot = &host->slots[event->call];
    return slot->used && slot->generation == event->generation;
}

static struct slot *slot_live(struct host *host, const struct event *event) {
    return call_open(host, event) ? &host->slots[event->call] : NULL;
}

void deliver_reply(struct host *host, struct event *event) {
    struct slot *slot = slot_live(host, event);
    if (slot != NULL) {
        call_end(host, slot, event->payload);
    }
}

void call_timeout(struct host *host, struct event *event) {
    struct slot *slot = slot_live(host, event);
    if (slot != NULL) {
        reconnect(host, slot->node, slot->to);
        call_end(host, slot, NULL);
    }
}

/* A closed connection ends the calls that were open on it; the callers that are paused see it
 * later, by their timeouts. */
void calls_broken(struct host *host, int index) {
    for (uint32_t at = host->nodes[index].calls; at > 0;) {
        struct slot *slot = &host->slots[at - 1];
        at = slot->after;
        bool open = slot->sent_us < host->nodes[index].broken_us;
        bool paused = slot->node != HOST_NOBODY &&
                      host->nodes[slot->node].public.paused_until_us > host->now_us;
        if (open && !paused) {
            call_end(host, slot, NULL);
            at = host->nodes[index].calls; /* the end of one may have begun or ended others */
        }
    }
}

/* SPDX-License-Identifier: MIT */
/*
 * Bytes from outside never trip an assert: random requests and random answers, of the right types
 * and within the bounds that the wire layer checks, thrown at a ring that serves. Whatever happens
 * to the ring, no assertion, no endless step, no memory error; exactly one reply per request.
 */
#include "core_seeds.h"

enum { NODES = 5, M = 6 };

struct hostile {
    struct host *host;
    uint64_t random;
    unsigned percent; /* of the answers between nodes that are replaced */
    unsigned changed;
};

static uint64_t dice(struct hostile *hostile, uint64_t sides) {
    uint64_t z = hostile->random += 0x9e3779b97f4a7c15u; /* splitmix64 */
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (z ^ z >> 31) % sides;
}

/* Mostly ids of the ring's size; some are beyond 2^M. */
static struct chord_id some_id(struct hostile *hostile) {
    struct chord_id id = {{0}};
    id.bytes[CHORD_ID_BYTES - 1] = (uint8_t)dice(hostile, 1u << M);
    if (dice(hostile, 30) == 0) {
        id.bytes[dice(hostile, CHORD_ID_BYTES)] = (uint8_t)dice(hostile, 256);
    }
    return id;
}

static void some_address(struct hostile *hostile, char address[CHORD_ADDRESS_BYTES]) {
    memset(address, 0, CHORD_ADDRESS_BYTES);
    switch (dice(hostile, 12)) {
    case 0:
        memset(address, 'x', CHORD_ADDRESS_BYTES - 1);
        break;
    case 1:
        break; /* empty */
    case 2:
        snprintf(address, CHORD_ADDRESS_BYTES, "nobody:%u", (unsigned)dice(hostile, 9));
        break;
    default:
        snprintf(address, CHORD_ADDRESS_BYTES, "host:%u", 4000 + (unsigned)dice(hostile, NODES));
        break;
    }
}

static void some_store(struct hostile *hostile, uint8_t store_id[CHORD_STORE_ID_BYTES]) {
    memset(store_id, (int)dice(hostile, 3), CHORD_STORE_ID_BYTES);
    if (dice(hostile, 4) != 0) {
        int node = (int)dice(hostile, NODES);
        memcpy(store_id, host_node(hostile->host, node)->store.store_id, CHORD_STORE_ID_BYTES);
    }
}

/* A real one, a real one with a lie, or an invented one. */
static struct chord_peer some_peer(struct hostile *hostile) {
    struct chord_peer peer;
    struct chord_status status;
    memset(&peer, 0, sizeof peer);
    int node = (int)dice(hostile, NODES);
    bool alive = host_node(hostile->host, node)->alive; /* a lie may have had it refused */
    if (alive) {
        host_status(hostile->host, node, &status);
    }
    if (alive && dice(hostile, 3) != 0) {
        peer = status.self;
    } else {
        some_store(hostile, peer.store_id);
        some_address(hostile, peer.address);
        peer.id = some_id(hostile);
        peer.incarnation = dice(hostile, 4);
    }
    if (dice(hostile, 6) == 0) {
        peer.incarnation = dice(hostile, 3) == 0 ? UINT64_MAX : dice(hostile, 5);
    }
    return peer;
}

static void some_list(struct hostile *hostile, struct chord_peer_list *list) {
    list->count = (uint16_t)dice(hostile, dice(hostile, 5) == 0 ? CHORD_REPLICAS_MAX + 1 : 6);
    for (uint16_t i = 0; i < list->count; i++) {
        do {
            list->items[i] = some_peer(hostile);
        } while (list->items[i].incarnation == 0); /* the wire layer refuses those */
    }
    /* Now and then in id order, as genesis wants it. */
    for (uint16_t i = 1; dice(hostile, 2) == 0 && i < list->count; i++) {
        for (uint16_t k = i; k > 0 && id_compare(&list->items[k - 1].id, &list->items[k].id) > 0;
             k--) {
            struct chord_peer swap = list->items[k];
            list->items[k] = list->items[k - 1];
            list->items[k - 1] = swap;
        }
    }
}

static struct chord_range some_range(struct hostile *hostile) {
    struct chord_range range = {some_id(hostile), some_id(hostile)};
    if (dice(hostile, 6) == 0) {
        range.lo = range.hi;
    }
    return range;
}

/* Often one that a node holds, a little newer or older; else anything. */
static void some_view(struct hostile *hostile, struct chord_view *view) {
    enum chord_range_state state;
    unsigned copies;
    const struct chord *chord = host_node(hostile->host, (int)dice(hostile, NODES))->chord;
    uint16_t count = chord != NULL ? chord_views_count(chord) : 0;
    memset(view, 0, sizeof *view);
    if (count > 0 && dice(hostile, 2) == 0) {
        *view = *chord_view_at(chord, (uint16_t)dice(hostile, count), &state, &copies);
        view->epoch += dice(hostile, 3);
        view->leader = (uint16_t)dice(hostile, view->members_count);
        view->settled = dice(hostile, 2) == 0;
    } else {
        view->range = some_range(hostile);
        view->epoch = 1 + dice(hostile, dice(hostile, 20) == 0 ? UINT64_MAX - 1 : 30);
        view->members_count =
            (uint16_t)(1 + dice(hostile, dice(hostile, 4) == 0 ? CHORD_REPLICAS_MAX : 4));
        view->leader = (uint16_t)dice(hostile, view->members_count);
        view->settled = dice(hostile, 2) == 0;
        view->merges.count = (uint16_t)dice(hostile, CHORD_MERGES_MAX + 1);
        for (uint16_t i = 0; i < view->merges.count; i++) {
            view->merges.items[i].epoch = dice(hostile, 30);
            view->merges.items[i].lo = some_id(hostile);
        }
        view->cut = dice(hostile, 5) == 0;
        for (uint16_t i = 0; i < view->members_count; i++) {
            some_store(hostile, view->members[i].store_id);
            some_address(hostile, view->members[i].address);
        }
    }
    if (dice(hostile, 8) == 0) {
        view->range = some_range(hostile);
    }
}

/* Sometimes one that its receiver may well accept. */
static void some_decision(struct hostile *hostile, struct chord_request *request) {
    request->decide.ballot = dice(hostile, dice(hostile, 9) == 0 ? UINT64_MAX : 300);
    request->decide.joint = dice(hostile, 3) == 0;
    some_view(hostile, &request->decide.view);
    some_view(hostile, &request->decide.other);
    if (dice(hostile, 2) == 0) {
        request->decide.next = request->decide.view;
        request->decide.next.epoch += dice(hostile, 3);
        if (request->decide.joint) {
            request->decide.next.range.hi = request->decide.other.range.hi;
            struct chord_view *next = &request->decide.next;
            memmove(&next->merges.items[1], &next->merges.items[0],
                    sizeof next->merges.items[0] * (CHORD_MERGES_MAX - 1));
            next->merges.items[0].epoch = next->epoch;
            next->merges.items[0].lo = next->range.lo;
            next->merges.count =
                (uint16_t)(next->merges.count < CHORD_MERGES_MAX ? next->merges.count + 1
                                                                 : CHORD_MERGES_MAX);
        } else if (dice(hostile, 3) == 0) {
            request->decide.next.range.hi = some_id(hostile);
        }
    } else {
        some_view(hostile, &request->decide.next);
    }
}

static void some_request(struct hostile *hostile, struct chord_request *request) {
    static const enum chord_message_kind kinds[] = {
        CHORD_PING,    CHORD_FIND_SUCCESSOR, CHORD_GET_PREDECESSOR, CHORD_GET_SUCCESSORS,
        CHORD_NOTIFY,  CHORD_JOIN,           CHORD_GENESIS,         CHORD_LEAVE,
        CHORD_MERGE,   CHORD_TRANSFER_KEYS,  CHORD_APPLY,           CHORD_SYNC,
        CHORD_DIGEST,  CHORD_DECIDED,        CHORD_GET_VIEW,        CHORD_LOOKUP,
        CHORD_PREPARE, CHORD_ACCEPT};
    memset(request, 0, sizeof *request);
    request->kind = kinds[dice(hostile, sizeof kinds / sizeof kinds[0])];
    request->sender = some_peer(hostile);
    request->has_sender = request->sender.incarnation != 0;
    request->target_incarnation = dice(hostile, 4) == 0 ? dice(hostile, 4) : 0;
    if (dice(hostile, 4) == 0) {
        request->has_ring_id = true;
        memset(request->ring_id, dice(hostile, 4) == 0 ? 0 : 0x11, CHORD_RING_ID_BYTES);
    }
    switch (request->kind) {
    case CHORD_FIND_SUCCESSOR:
    case CHORD_GET_VIEW:
    case CHORD_LOOKUP:
        request->id = some_id(hostile);
        break;
    case CHORD_GENESIS:
        some_list(hostile, &request->genesis.members);
        request->genesis.formed = dice(hostile, 2) == 0;
        break;
    case CHORD_LEAVE:
        request->left = dice(hostile, 2) == 0;
        break;
    case CHORD_MERGE:
        request->peer = some_peer(hostile);
        break;
    case CHORD_TRANSFER_KEYS:
    case CHORD_APPLY:
    case CHORD_DIGEST:
        request->rows.range = some_range(hostile);
        request->rows.epoch = dice(hostile, 30);
        request->rows.learner = dice(hostile, 2) == 0;
        request->rows.has_after = dice(hostile, 2) == 0;
        request->rows.after[0] = (uint8_t)dice(hostile, 256);
        break;
    case CHORD_SYNC:
        some_view(hostile, &request->sync.view);
        request->sync.range =
            dice(hostile, 2) == 0 ? request->sync.view.range : some_range(hostile);
        request->sync.learner = dice(hostile, 2) == 0;
        request->sync.token = dice(hostile, 4);
        break;
    case CHORD_PREPARE:
    case CHORD_ACCEPT:
        some_decision(hostile, request);
        break;
    case CHORD_DECIDED:
        request->decided.count = (uint16_t)(1 + dice(hostile, 2));
        some_view(hostile, &request->decided.views[0]);
        some_view(hostile, &request->decided.views[1]);
        break;
    default:
        break;
    }
}

/* Another answer of the same kind. */
static void some_response(struct hostile *hostile, struct chord_response *response) {
    enum chord_message_kind kind = response->kind;
    memset(response, 0, sizeof *response);
    response->kind = kind;
    response->gone = dice(hostile, 10) == 0;
    response->code = dice(hostile, 8) == 0 ? CHORD_UNAVAILABLE : CHORD_OK;
    response->retry_after_ms = (uint32_t)dice(hostile, dice(hostile, 9) == 0 ? UINT32_MAX : 300);
    switch (kind) {
    case CHORD_PING:
        response->ping.self = some_peer(hostile);
        response->ping.state = (enum chord_node_state)dice(hostile, 7);
        response->ping.formed = dice(hostile, 2) == 0;
        memset(response->ping.parameters.ring_id, 0x11, CHORD_RING_ID_BYTES);
        response->ping.parameters.m = dice(hostile, 4) == 0 ? (unsigned)dice(hostile, 300) : M;
        response->ping.parameters.n = dice(hostile, 4) == 0 ? (unsigned)dice(hostile, 99) : 3;
        response->ping.parameters.replicas = dice(hostile, 4) == 0 ? (unsigned)dice(hostile, 9) : 3;
        break;
    case CHORD_FIND_SUCCESSOR:
    case CHORD_GET_PREDECESSOR:
    case CHORD_GET_SUCCESSORS:
        response->ring.found = dice(hostile, 2) == 0;
        response->ring.busy = kind != CHORD_FIND_SUCCESSOR && dice(hostile, 4) == 0;
        response->ring.node = some_peer(hostile);
        response->ring.self = some_peer(hostile);
        some_list(hostile, &response->ring.successors);
        break;
    case CHORD_JOIN:
        response->join.result = (enum chord_join_result)dice(hostile, 8);
        response->join.formed = dice(hostile, 2) == 0;
        response->join.authority = some_peer(hostile);
        some_list(hostile, &response->join.successors);
        break;
    case CHORD_TRANSFER_KEYS:
        response->transfer.done = dice(hostile, 2) == 0;
        break;
    case CHORD_DIGEST:
        response->digest.rows = dice(hostile, 100);
        break;
    case CHORD_PREPARE:
    case CHORD_ACCEPT:
        response->decide.has_view = dice(hostile, 3) == 0;
        response->decide.refused = dice(hostile, 2) == 0;
        response->decide.promised = dice(hostile, dice(hostile, 9) == 0 ? UINT64_MAX : 300);
        response->decide.has_accepted = dice(hostile, 2) == 0;
        response->decide.accepted_ballot = dice(hostile, 300);
        response->decide.other_accepted = dice(hostile, 2) == 0;
        response->decide.other_ballot = dice(hostile, 300);
        response->decide.other_epoch = dice(hostile, 30);
        some_view(hostile, &response->decide.view);
        break;
    case CHORD_APPLY:
    case CHORD_SYNC:
    case CHORD_DECIDED:
    case CHORD_GET_VIEW:
        response->view.has_view = dice(hostile, 2) == 0;
        response->view.confirmed = dice(hostile, 2) == 0;
        some_view(hostile, &response->view.view);
        break;
    default:
        break;
    }
}

static bool on_message(void *context, const struct host_message *message) {
    struct hostile *hostile = context;
    bool between_nodes = message->from != HOST_NOBODY && message->to != HOST_NOBODY;
    if (message->response != NULL && between_nodes && message->kind != CHORD_BATCH &&
        dice(hostile, 100) < hostile->percent) {
        some_response(hostile, message->response);
        hostile->changed++;
    }
    return true;
}

static void start(struct hostile *hostile) {
    memset(hostile, 0, sizeof *hostile);
    hostile->random = seed_now;
    hostile->host = host_new(&(struct host_config){.seed = seed_now,
                                                   .m = M,
                                                   .n = 3,
                                                   .replicas = 3,
                                                   .on_message = on_message,
                                                   .context = hostile});
    for (int i = 0; i < NODES; i++) {
        host_start(hostile->host, host_add(hostile->host));
    }
    assert_true(host_run_until(hostile->host, host_settled, 60000));
}

/* A hostile answer can make a node give up; it comes back, so that there is somebody to talk to. */
static void revive(struct host *host) {
    for (int i = 0; i < NODES; i++) {
        if (!host_node(host, i)->alive) {
            host_start(host, i);
        }
    }
}

static void some_client(struct hostile *hostile) {
    struct host_operation operations[4];
    memset(operations, 0, sizeof operations);
    for (unsigned i = 0; i < 4; i++) {
        operations[i].kind = (enum chord_operation_kind)(1 + dice(hostile, 3));
        snprintf(operations[i].key, CORE_TEXT_BYTES, "key %u", (unsigned)dice(hostile, 40));
    }
    host_batch(hostile->host, (int)dice(hostile, NODES), operations,
               (uint32_t)(1 + dice(hostile, 4)), (uint32_t)(1 + dice(hostile, 2000)));
}

static void throw(struct hostile * hostile, unsigned requests, unsigned percent) {
    unsigned answered = 0;
    for (unsigned i = 0; i < requests; i++) {
        struct chord_request request;
        some_request(hostile, &request);
        host_request(hostile->host, (int)dice(hostile, NODES), &request, 2000);
        answered++;
        if (dice(hostile, 3) == 0) {
            some_client(hostile);
        }
        hostile->percent = percent;
        host_run(hostile->host, dice(hostile, 30));
        revive(hostile->host);
    }
    assert_int_equal(answered, requests);
}

static void test_random_requests(void **state) {
    (void)state;
    FOR_SEEDS {
        struct hostile hostile;
        start(&hostile);
        throw(&hostile, 400, 0);
        host_free(hostile.host);
    }
}

static void test_random_answers(void **state) {
    (void)state;
    FOR_SEEDS {
        struct hostile hostile;
        start(&hostile);
        throw(&hostile, 150, 10);
        assert_true(hostile.changed > 0);
        host_free(hostile.host);
    }
}

/* While the ring comes to be, and a node joins. */
static void test_random_answers_at_the_start(void **state) {
    (void)state;
    FOR_SEEDS {
        struct hostile hostile = {.random = seed_now, .percent = 15};
        hostile.host = host_new(&(struct host_config){.seed = seed_now,
                                                      .m = M,
                                                      .n = 3,
                                                      .replicas = 3,
                                                      .on_message = on_message,
                                                      .context = &hostile});
        hostile.percent = 0;
        for (int i = 0; i < NODES; i++) {
            host_start(hostile.host, host_add(hostile.host));
        }
        hostile.percent = 15;
        for (int i = 0; i < 60; i++) {
            host_run(hostile.host, 100);
            revive(hostile.host);
        }
        host_free(hostile.host);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_requests),
        cmocka_unit_test(test_random_answers),
        cmocka_unit_test(test_random_answers_at_the_start),
    };
    seeds_choose("test_core_hostile", 12);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

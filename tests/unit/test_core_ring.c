/* SPDX-License-Identifier: MIT */
/*
 * The ring on core_host: genesis, join, stabilize, rectify, failures, restarts, leave, lookups,
 * and what hostile or late messages may not do.
 */
#include "core_seeds.h"

static struct host *host_make(const struct host_config *config) {
    current = host_new(config);
    return current;
}

static void host_end(struct host *host) {
    host_free(host);
    current = NULL;
}

static struct host *ring_new(unsigned m, unsigned n, int count) {
    struct host *host = host_make(
        &(struct host_config){.seed = seed_now, .m = m, .n = n, .replicas = n + 1 < 3 ? n + 1 : 3});
    for (int i = 0; i < count; i++) {
        host_start(host, host_add(host));
    }
    check(host_run_until(host, host_ideal, 60000));
    return host;
}

static void check_lookups(struct host *host) {
    struct host_call *calls[64];
    int first = 0;
    while (!host_node(host, first)->alive) {
        first++;
    }
    for (int round = 0; round < 12; round++) {
        struct chord_request request = {.kind = CHORD_LOOKUP};
        char text[32];
        uint8_t hash[CHORD_ID_BYTES];
        snprintf(text, sizeof text, "target %llu", (unsigned long long)host_random(host));
        core_hash(text, hash);
        struct chord_status status;
        host_status(host, first, &status);
        request.id = id_from_hash(hash, status.parameters.m);
        if (round == 0) {
            request.id = status.self.id; /* an id is its owner's own */
        }
        for (int i = 0; i < host_count(host); i++) {
            calls[i] = host_node(host, i)->alive && !host_node(host, i)->left
                           ? host_request(host, i, &request, 3000)
                           : NULL;
        }
        host_run(host, 3100); /* a dead finger costs a silence */
        for (int i = 0; i < host_count(host); i++) {
            check(calls[i] == NULL || calls[i]->done);
            check(calls[i] == NULL || calls[i]->code == CHORD_OK);
            check(calls[i] == NULL ||
                  host_by_address(host, calls[i]->response.lookup.owner.address) ==
                      host_owner(host, &request.id));
        }
    }
}

static bool all_formed(struct host *host) {
    for (int i = 0; i < host_count(host); i++) {
        struct chord_status status;
        host_status(host, i, &status);
        if (!status.formed) {
            return false;
        }
    }
    return true;
}

/* ---- genesis and join ---- */

static void test_genesis_and_beyond(void **state) {
    (void)state;
    FOR_SEEDS {
        struct host *host =
            host_make(&(struct host_config){.seed = seed_now, .m = 16, .n = 3, .replicas = 3});
        for (int i = 0; i < 10; i++) {
            host_start(host, host_add(host));
            check(host_run_until(host, host_ideal, 20000));
            host_run(host, 500);
            check(host_ideal(host)); /* and it stays so */
            check(all_formed(host) == (i >= 3));
        }
        check_lookups(host);
        host_end(host);
    }
}

static void test_all_start_at_once(void **state) {
    (void)state;
    FOR_SEEDS {
        struct host *host = ring_new(32, 4, 20);
        check(host_members(host) == 20);
        check(all_formed(host));
        check_lookups(host);
        host_end(host);
    }
}

/* Answers of the time before a new list may arrive after it: nobody is forgotten by genesis. */
static void test_genesis_on_a_slow_network(void **state) {
    (void)state;
    for (seed_now = seed_first; seed_now < seed_first + 8 * seeds_count; seed_now++) {
        struct host *host = host_make(&(struct host_config){.seed = seed_now,
                                                            .m = 32,
                                                            .n = 4,
                                                            .replicas = 3,
                                                            .delay_us_min = 200,
                                                            .delay_us_max = 60000});
        for (int i = 0; i < 9; i++) {
            host_start(host, host_add(host));
        }
        check(host_run_until(host, host_ideal, 60000));
        host_run(host, 2000);
        check(all_formed(host));
        host_end(host);
    }
}

/* Every finger is the owner of its start, once the ring has been quiet. */
static void test_fingers_become_right(void **state) {
    (void)state;
    FOR_SEEDS {
        struct host *host = ring_new(10, 3, 9);
        host_run(host, 15000);
        for (int i = 0; i < 9; i++) {
            struct chord_status status;
            host_status(host, i, &status);
            for (unsigned finger = 0; finger < 10; finger++) {
                struct chord_peer peer;
                struct chord_id start = id_add_power(&status.self.id, finger, 10);
                check(chord_finger_at(host_node(host, i)->chord, finger, &peer));
                check(host_by_address(host, peer.address) == host_owner(host, &start));
            }
        }
        host_end(host);
    }
}

/* M = 3: eight nodes fill the ring by salts and walks; the ninth is told that it is full. */
static void test_small_m_fills_up(void **state) {
    (void)state;
    FOR_SEEDS {
        struct host *host =
            host_make(&(struct host_config){.seed = seed_now, .m = 3, .n = 2, .replicas = 3});
        unsigned salted = 0;
        for (int i = 0; i < 8; i++) {
            struct chord_status status;
            host_start(host, host_add(host));
            check(host_run_until(host, host_ideal, 60000));
            host_status(host, i, &status);
            salted += status.salt > 0;
        }
        check(host_members(host) == 8);
        check(salted > 0);
        int ninth = host_add(host);
        host_start(host, ninth);
        for (int i = 0; i < 200 && host_node(host, ninth)->refused == NULL; i++) {
            host_run(host, 100);
        }
        check(host_node(host, ninth)->refused != NULL);
        check(strstr(host_node(host, ninth)->refused, "full") != NULL);
        check(host_members(host) == 8 && host_ideal(host));
        check_lookups(host);
        host_end(host);
    }
}

/* All at once at M = 3: no two ever share an id for good. */
static void test_small_m_race(void **state) {
    (void)state;
    FOR_SEEDS {
        struct host *host = ring_new(3, 3, 7);
        bool taken[8] = {false};
        for (int i = 0; i < 7; i++) {
            struct chord_status status;
            host_status(host, i, &status);
            check(!taken[status.self.id.bytes[CHORD_ID_BYTES - 1]]);
            taken[status.self.id.bytes[CHORD_ID_BYTES - 1]] = true;
        }
        host_end(host);
    }
}

static void test_other_parameters_are_refused(void **state) {
    (void)state;
    FOR_SEEDS {
        struct host *host = ring_new(6, 3, 3);
        for (unsigned which = 0; which < 3; which++) {
            int node = host_add(host);
            struct chord_parameters *wanted = &host_node(host, node)->wanted;
            wanted->m = which == 0 ? 7 : 6;
            wanted->n = which == 1 ? 4 : 3;
            wanted->replicas = which == 2 ? 2 : 3;
            host_start(host, node);
            host_run(host, 2000);
            check(host_node(host, node)->refused != NULL);
            check(host_members(host) == 3 && host_ideal(host));
        }
        int node = host_add(host);
        host_node(host, node)->wanted.m = 6;
        host_start(host, node);
        check(host_run_until(host, host_ideal, 20000));
        check(host_members(host) == 4);
        host_end(host);
    }
}

static void test_lossy_network(void **state) {
    (void)state;
    FOR_SEEDS {
        struct host *host = host_make(&(struct host_config){.seed = seed_now,
                                                            .m = 20,
                                                            .n = 3,
                                                            .replicas = 3,
                                                            .lose_percent = 5,
                                                            .double_percent = 10});
        for (int i = 0; i < 8; i++) {
            host_start(host, host_add(host));
        }
        check(host_run_until(host, host_ideal, 120000));
        host_kill(host, 5);
        check(host_run_until(host, host_ideal, 120000));
        host_end(host);
    }
}

/* ---- stabilize, notify, rectify ---- */

static void test_rectify_keeps_a_live_predecessor(void **state) {
    (void)state;
    FOR_SEEDS {
        struct host *host = ring_new(16, 3, 6);
        struct chord_status status;
        host_status(host, 2, &status);
        int before = host_by_address(host, status.predecessor.address);
        struct chord_status farther;
        host_status(host, before, &farther);
        /* Its predecessor's predecessor says that it might be the one: farther away. */
        struct chord_request notify = {.kind = CHORD_NOTIFY, .has_sender = true};
        notify.sender = farther.predecessor;
        struct host_call *call = host_request(host, 2, &notify, 1000);
        for (int i = 0; i < 100; i++) {
            host_run(host, 5);
            host_status(host, 2, &status);
            check(host_by_address(host, status.predecessor.address) == before);
        }
        check(call->done && call->code == CHORD_OK && !call->response.gone);
        /* When the old one is dead, the next one behind takes its place. */
        int next = host_by_address(host, farther.predecessor.address);
        host_kill(host, before);
        check(host_run_until(host, host_ideal, 20000));
        host_status(host, 2, &status);
        check(host_by_address(host, status.predecessor.address) == next);
        host_end(host);
    }
}

struct tap {
    int node;
    enum chord_message_kind drop;
    unsigned dropped;
    bool busy; /* every answer of `node` to get_predecessor and get_successors becomes Busy */
};

static bool on_tap(void *context, const struct host_message *message) {
    struct tap *tap = context;
    if (tap->busy && message->response != NULL && message->from == tap->node &&
        message->to != HOST_NOBODY &&
        (message->kind == CHORD_GET_PREDECESSOR || message->kind == CHORD_GET_SUCCESSORS)) {
        message->response->ring.busy = true;
        tap->dropped++;
    }
    if (message->request != NULL && message->from == tap->node && message->kind == tap->drop) {
        tap->dropped++;
        return false;
    }
    return true;
}

/* While its query is out a node is Busy, to get_predecessor and get_successors only. */
static void test_busy_while_a_query_is_open(void **state) {
    (void)state;
    FOR_SEEDS {
        struct tap tap = {.node = HOST_NOBODY, .drop = CHORD_GET_PREDECESSOR};
        struct host *host = host_make(&(struct host_config){.seed = seed_now,
                                                            .m = 16,
                                                            .n = 3,
                                                            .replicas = 3,
                                                            .on_message = on_tap,
                                                            .context = &tap});
        for (int i = 0; i < 5; i++) {
            host_start(host, host_add(host));
        }
        check(host_run_until(host, host_ideal, 60000));
        tap.node = 1;
        tap.dropped = 0;
        for (int i = 0; i < 1000 && tap.dropped == 0; i++) {
            host_run(host, 1);
        }
        check(tap.dropped == 1);
        static const enum chord_message_kind kinds[] = {CHORD_GET_PREDECESSOR, CHORD_GET_SUCCESSORS,
                                                        CHORD_FIND_SUCCESSOR, CHORD_PING,
                                                        CHORD_NOTIFY};
        struct host_call *calls[5];
        struct chord_status status;
        host_status(host, 1, &status);
        for (int i = 0; i < 5; i++) {
            struct chord_request request = {.kind = kinds[i], .has_sender = true};
            request.sender = status.predecessor;
            request.id = status.self.id;
            calls[i] = host_request(host, 1, &request, 1000);
        }
        host_run(host, 10);
        for (int i = 0; i < 5; i++) {
            check(calls[i]->done && calls[i]->code == CHORD_OK && !calls[i]->response.gone);
        }
        check(calls[0]->response.ring.busy && calls[1]->response.ring.busy);
        check(!calls[2]->response.ring.busy && calls[2]->response.ring.found);
        tap.node = HOST_NOBODY;
        check(host_run_until(host, host_ideal, 20000));
        host_end(host);
    }
}

/* Busy is proof of life: a successor that is Busy for long is asked again, never given up. */
static void test_busy_is_proof_of_life(void **state) {
    (void)state;
    FOR_SEEDS {
        struct tap tap = {.node = HOST_NOBODY};
        struct host *host = host_make(&(struct host_config){.seed = seed_now,
                                                            .m = 16,
                                                            .n = 3,
                                                            .replicas = 3,
                                                            .on_message = on_tap,
                                                            .context = &tap});
        for (int i = 0; i < 5; i++) {
            host_start(host, host_add(host));
        }
        check(host_run_until(host, host_ideal, 60000));
        tap.node = 3;
        tap.busy = true;
        tap.dropped = 0;
        uint64_t steps = host_node(host, 3)->steps;
        for (int i = 0; i < 100; i++) {
            host_run(host, 100);
            check(host_ideal(host));
        }
        check(tap.dropped > 20);
        check(host_node(host, 3)->steps - steps < 20000); /* asked again, but not in a hot loop */
        host_end(host);
    }
}

static void test_dead_successors_are_dropped(void **state) {
    (void)state;
    FOR_SEEDS {
        struct host *host = ring_new(16, 3, 9);
        struct chord_status status;
        host_status(host, 4, &status);
        /* Two neighbours at once; N = 3 survives N - 1 of them. */
        host_kill(host, host_by_address(host, status.successors.items[0].address));
        host_kill(host, host_by_address(host, status.successors.items[1].address));
        check(host_run_until(host, host_ideal, 20000));
        check(host_members(host) == 7);
        check_lookups(host);
        host_end(host);
    }
}

/* Without the notice of a closed connection, silence alone must do. */
static void test_silent_nodes_are_dropped(void **state) {
    (void)state;
    FOR_SEEDS {
        struct host *host = ring_new(16, 3, 7);
        for (int i = 0; i < 7; i++) {
            host_cut(host, 3, i, i != 3);
        }
        bool gone = false;
        for (int i = 0; i < 300 && !gone; i++) {
            host_run(host, 100);
            gone = true;
            for (int k = 0; k < 7; k++) {
                struct chord_status status;
                host_status(host, k, &status);
                for (int s = 0; k != 3 && s < status.successors.count; s++) {
                    gone = gone && host_by_address(host, status.successors.items[s].address) != 3;
                }
            }
        }
        check(gone);
        for (int i = 0; i < 7; i++) {
            host_cut(host, 3, i, false);
        }
        check(host_run_until(host, host_ideal, 60000)); /* and it comes back by itself */
        host_end(host);
    }
}

static void test_partition_heals(void **state) {
    (void)state;
    FOR_SEEDS {
        struct host *host = ring_new(16, 3, 8);
        for (int a = 0; a < 4; a++) {
            for (int b = 4; b < 8; b++) {
                host_cut(host, a, b, true);
            }
        }
        host_run(host, 15000);
        for (int a = 0; a < 4; a++) {
            for (int b = 4; b < 8; b++) {
                host_cut(host, a, b, false);
            }
        }
        check(host_run_until(host, host_ideal, 120000));
        check(host_members(host) == 8);
        check_lookups(host);
        host_end(host);
    }
}

/* ---- coming and going ---- */

static void test_restart_is_a_new_member(void **state) {
    (void)state;
    FOR_SEEDS {
        struct host *host = ring_new(16, 3, 6);
        for (int round = 1; round <= 3; round++) {
            struct chord_status before, after;
            int node = round == 3 ? 0 : 2; /* the creator too: with old data it creates nothing */
            host_run(host, 2000);
            host_status(host, node, &before);
            host_kill(host, node);
            host_run(host, round == 2 ? 8000 : 0); /* noticed first, or back at once */
            host_start(host, node);
            check(host_run_until(host, host_ideal, 30000)); /* lists name the new incarnation */
            host_status(host, node, &after);
            check(after.self.incarnation > before.self.incarnation);
            check(id_equal(&after.self.id, &before.self.id));
            check(memcmp(after.parameters.ring_id, before.parameters.ring_id,
                         CHORD_RING_ID_BYTES) == 0);
        }
        check(host_members(host) == 6);
        host_end(host);
    }
}

static void test_whole_ring_restarts(void **state) {
    (void)state;
    FOR_SEEDS {
        struct host *host = ring_new(16, 3, 7);
        host_run(host, 5000);
        for (int round = 0; round < 2; round++) {
            for (int i = 0; i < 7; i++) {
                host_kill(host, i);
            }
            host_run(host, 1000);
            for (int i = 0; i < 7; i++) {
                host_start(host, (i + 3) % 7);
                host_run(host, host_random(host) % 400);
            }
            check(host_run_until(host, host_ideal, 90000));
            check(host_members(host) == 7);
            check(all_formed(host));
        }
        check_lookups(host);
        host_end(host);
    }
}

static void test_leave_and_join_again(void **state) {
    (void)state;
    FOR_SEEDS {
        struct host *host = ring_new(16, 3, 6);
        check(host_run_until(host, host_settled, 60000));
        host_leave(host, 3);
        for (int i = 0; i < 300 && !host_node(host, 3)->left; i++) {
            host_run(host, 100);
        }
        check(host_node(host, 3)->left);
        check(host_run_until(host, host_ideal, 30000));
        check(host_members(host) == 5);
        check_lookups(host);
        host_join(host, 3, false);
        check(host_run_until(host, host_ideal, 30000));
        check(host_members(host) == 6);
        host_end(host);
    }
}

/* Down to one: each leaves after the other; the last one stays. */
static void test_leave_down_to_one(void **state) {
    (void)state;
    FOR_SEEDS {
        struct host *host = ring_new(16, 2, 5);
        check(host_run_until(host, host_settled, 60000));
        for (int node = 4; node >= 1; node--) {
            host_leave(host, node);
            for (int i = 0; i < 600 && !host_node(host, node)->left; i++) {
                host_run(host, 100);
            }
            check(host_node(host, node)->left);
            check(host_run_until(host, host_ideal, 30000));
        }
        check(host_members(host) == 1);
        struct chord_status status;
        host_status(host, 0, &status);
        check(status.warning[0] != '\0');
        host_leave(host, 0); /* nobody to hand over to: refused */
        host_run(host, 2000);
        check(host_members(host) == 1);
        host_end(host);
    }
}

static void test_churn(void **state) {
    (void)state;
    FOR_SEEDS {
        struct host *host = ring_new(20, 4, 10);
        for (int round = 0; round < 12; round++) {
            int node = (int)(host_random(host) % 10);
            if (host_node(host, node)->alive && host_members(host) > 6) {
                host_kill(host, node);
            } else if (!host_node(host, node)->alive) {
                host_start(host, node);
            }
            host_run(host, 200 + host_random(host) % 3000);
        }
        for (int i = 0; i < 10; i++) {
            if (!host_node(host, i)->alive) {
                host_start(host, i);
            }
        }
        check(host_run_until(host, host_ideal, 90000));
        check(host_members(host) == 10);
        host_end(host);
    }
}

/* ---- late, unknown, hostile ---- */

static void test_unknown_ids_are_ignored(void **state) {
    (void)state;
    FOR_SEEDS {
        struct host *host = ring_new(16, 3, 4);
        static const uint64_t ids[] = {
            0, 1, 0xffff, 0x10000, 0x7fffffff0001, 0xffffffff0001, UINT64_MAX, 0xfff0000000000001};
        struct chord_response response = {.kind = CHORD_PING};
        for (unsigned i = 0; i < sizeof ids / sizeof ids[0]; i++) {
            static const enum chord_event_kind kinds[] = {
                CHORD_EVENT_REPLY,      CHORD_EVENT_FAILURE,      CHORD_EVENT_STORED,
                CHORD_EVENT_ID_DERIVED, CHORD_EVENT_DISCONNECTED, CHORD_EVENT_JOIN};
            for (unsigned k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
                struct chord_event event = {.kind = kinds[k]};
                if (kinds[k] == CHORD_EVENT_REPLY) {
                    event.reply.call_id = ids[i];
                    event.reply.microseconds = 5;
                    event.reply.response = &response;
                } else if (kinds[k] == CHORD_EVENT_FAILURE) {
                    event.failure.call_id = ids[i];
                } else if (kinds[k] == CHORD_EVENT_STORED) {
                    event.stored.store_op = ids[i];
                    event.stored.ok = true;
                }
                host_event(host, 1, &event);
                check(host_actions(host)->count == 0);
            }
        }
        host_run(host, 1000);
        check(host_ideal(host));
        host_end(host);
    }
}

/* A call of the past: the same answer twice changes nothing the second time. */
static void test_second_answer_is_ignored(void **state) {
    (void)state;
    FOR_SEEDS {
        struct host *host = ring_new(16, 3, 4);
        for (int i = 0; i < 2000; i++) {
            host_step(host);
            const struct chord_actions *actions = host_actions(host);
            for (uint16_t k = 0; k < actions->count; k++) {
                const struct chord_action *action = &actions->items[k];
                if (action->kind != CHORD_ACTION_SEND_REQUEST || host_random(host) % 8 != 0) {
                    continue;
                }
                int node = HOST_NOBODY;
                for (int a = 0; a < 4; a++) {
                    struct chord_status status;
                    host_status(host, a, &status);
                    if (strcmp(status.self.address, action->send_request.request.sender.address) ==
                        0) {
                        node = a;
                    }
                }
                if (node == HOST_NOBODY || !action->send_request.request.has_sender) {
                    continue;
                }
                struct chord_event event = {.kind = CHORD_EVENT_FAILURE};
                event.failure.call_id = action->send_request.call_id;
                event.failure.refused = true;
                host_event(host, node, &event); /* the call ends now; */
                host_event(host, node, &event); /* what comes after it is late */
                check(host_actions(host)->count == 0);
                break;
            }
        }
        check(host_run_until(host, host_ideal, 30000));
        host_end(host);
    }
}

static void test_same_seed_same_actions(void **state) {
    (void)state;
    FOR_SEEDS {
        uint64_t digests[3];
        for (int run = 0; run < 3; run++) {
            uint64_t seed = seed_now;
            seed_now += run == 2 ? 1000 : 0;
            struct host *host = ring_new(16, 3, 6);
            host_kill(host, 2);
            host_run(host, 3000);
            host_start(host, 2);
            host_run(host, 3000);
            digests[run] = host_digest(host);
            host_end(host);
            seed_now = seed;
        }
        check(digests[0] == digests[1]);
        check(digests[0] != digests[2]);
    }
}

/* A copy of the block is a snapshot: both go on in the same way. */
static void test_copy_is_a_snapshot(void **state) {
    (void)state;
    struct chord_limits limits = {.peers_max = 64,
                                  .views_max = 32,
                                  .calls_max = 64,
                                  .lookups_max = 16,
                                  .paths_max = 4,
                                  .batches_max = 16,
                                  .transfers_max = 8,
                                  .decisions_max = 8,
                                  .keys_in_flight_max = 64};
    struct chord_config config = {
        .limits = limits, .timing = chord_timing_default, .seed = 7, .address = "host:1"};
    struct chord_actions *one = calloc(1, sizeof *one), *two = calloc(1, sizeof *two);
    struct chord *chord = chord_init(calloc(1, chord_size(&limits)), &config);
    struct chord *copy = calloc(1, chord_size(&limits));
    assert_true(one != NULL && two != NULL && copy != NULL);
    struct chord_event event = {.kind = CHORD_EVENT_START, .now_ms = 10};
    event.start.seeds_count = 1;
    snprintf(event.start.seeds[0].text, CHORD_ADDRESS_BYTES, "host:2");
    chord_step(chord, &event, one);
    memcpy(copy, chord, chord_size(&limits));
    for (uint64_t now_ms = 11; now_ms < 5000; now_ms++) {
        struct chord_event tick = {.kind = CHORD_EVENT_TICK, .now_ms = now_ms};
        assert_true(chord_deadline(chord) == chord_deadline(copy));
        if (chord_deadline(chord) > now_ms) {
            continue;
        }
        chord_step(chord, &tick, one);
        chord_step(copy, &tick, two);
        assert_int_equal(one->count, two->count);
        for (uint16_t i = 0; i < one->count; i++) {
            assert_int_equal(one->items[i].kind, two->items[i].kind);
            if (one->items[i].kind == CHORD_ACTION_SEND_REQUEST) {
                assert_true(one->items[i].send_request.call_id ==
                            two->items[i].send_request.call_id);
                struct chord_event failure = {.kind = CHORD_EVENT_FAILURE, .now_ms = now_ms};
                failure.failure.call_id = one->items[i].send_request.call_id;
                chord_step(chord, &failure, one);
                chord_step(copy, &failure, two);
                break;
            }
        }
    }
    free(chord);
    free(copy);
    free(one);
    free(two);
}

/* Two members got one id: one joiner was admitted by a node that was no longer the successor there,
 * the other by the one that had become it. */
static void test_seeds_of_former_bugs(void **state) {
    uint64_t first = seed_first;
    unsigned count = seeds_count;
    seed_first = 1057;
    seeds_count = 1;
    test_small_m_race(state);
    seed_first = first;
    seeds_count = count;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_genesis_and_beyond, teardown),
        cmocka_unit_test_teardown(test_all_start_at_once, teardown),
        cmocka_unit_test_teardown(test_genesis_on_a_slow_network, teardown),
        cmocka_unit_test_teardown(test_fingers_become_right, teardown),
        cmocka_unit_test_teardown(test_small_m_fills_up, teardown),
        cmocka_unit_test_teardown(test_small_m_race, teardown),
        cmocka_unit_test_teardown(test_other_parameters_are_refused, teardown),
        cmocka_unit_test_teardown(test_lossy_network, teardown),
        cmocka_unit_test_teardown(test_rectify_keeps_a_live_predecessor, teardown),
        cmocka_unit_test_teardown(test_busy_while_a_query_is_open, teardown),
        cmocka_unit_test_teardown(test_busy_is_proof_of_life, teardown),
        cmocka_unit_test_teardown(test_dead_successors_are_dropped, teardown),
        cmocka_unit_test_teardown(test_silent_nodes_are_dropped, teardown),
        cmocka_unit_test_teardown(test_partition_heals, teardown),
        cmocka_unit_test_teardown(test_restart_is_a_new_member, teardown),
        cmocka_unit_test_teardown(test_whole_ring_restarts, teardown),
        cmocka_unit_test_teardown(test_leave_and_join_again, teardown),
        cmocka_unit_test_teardown(test_leave_down_to_one, teardown),
        cmocka_unit_test_teardown(test_churn, teardown),
        cmocka_unit_test_teardown(test_unknown_ids_are_ignored, teardown),
        cmocka_unit_test_teardown(test_second_answer_is_ignored, teardown),
        cmocka_unit_test_teardown(test_same_seed_same_actions, teardown),
        cmocka_unit_test_teardown(test_copy_is_a_snapshot, teardown),
        cmocka_unit_test_teardown(test_seeds_of_former_bugs, teardown),
    };
    seeds_choose("test_core_ring", 3);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * Where new members stand, on the simulator's host: shares of the ring after joins one after the
 * other and all at once, ids that can be verified, full rings; and the choice among salts by
 * itself.
 */
#include "core_seeds.h"

#include <stdlib.h>

/* What the config does not say is as every test here wants it. */
static struct host *host_of(struct host_config config) {
    config.seed = seed_now;
    config.replicas = 3;
    config.ring_only = config.places_evenly = true;
    current = host_new(&config);
    return current;
}

static struct host *host_make(unsigned m, unsigned n) {
    return host_of((struct host_config){.m = m, .n = n});
}

static void host_end(struct host *host) {
    host_free(host);
    current = NULL;
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double turn_of(const struct chord_id *id, unsigned m) { /* in [0, 1) */
    double turn = 0;
    for (unsigned i = 0; i < CHORD_ID_BYTES; i++) {
        turn = turn * 256 + id->bytes[i];
    }
    for (unsigned i = 0; i < m; i++) {
        turn /= 2;
    }
    return turn;
}

/* The smallest and the largest arc, as parts of the mean; how many are below a tenth of it. */
static int shares(struct host *host, unsigned m, double *least, double *most) {
    double turns[128];
    int count = host_count(host), tiny = 0;
    for (int i = 0; i < count; i++) {
        struct chord_status status;
        host_status(host, i, &status);
        turns[i] = turn_of(&status.self.id, m);
    }
    qsort(turns, (size_t)count, sizeof turns[0], compare);
    *least = count;
    *most = 0;
    for (int i = 0; i < count; i++) {
        double arc = i > 0 ? turns[i] - turns[i - 1] : 1 + turns[0] - turns[count - 1];
        *least = arc * count < *least ? arc * count : *least;
        *most = arc * count > *most ? arc * count : *most;
        tiny += arc * count < 0.1;
    }
    return tiny;
}

/* Each id is that of its node's address with its salt, and nobody's else. */
static void check_ids(struct host *host, unsigned m) {
    for (int i = 0; i < host_count(host); i++) {
        struct chord_status status, other;
        char text[CHORD_ADDRESS_BYTES + 16];
        uint8_t hash[CHORD_ID_BYTES];
        host_status(host, i, &status);
        snprintf(text, sizeof text, "%s#%u", host_node(host, i)->address, status.salt);
        core_hash(text, hash);
        struct chord_id id = id_from_hash(hash, m);
        check(id_equal(&id, &status.self.id));
        for (int k = 0; k < i; k++) {
            host_status(host, k, &other);
            check(!id_equal(&other.self.id, &status.self.id));
        }
    }
}

static void test_joins_in_turn(void **state) {
    (void)state;
    FOR_SEEDS {
        const unsigned m = seed_now % 2 == 0 ? 32 : 160;
        struct host *host = host_make(m, 3);
        for (int count = 1; count <= 64; count++) {
            double least, most;
            host_start(host, host_add(host));
            check(host_run_until(host, host_ideal, 60000));
            shares(host, m, &least, &most);
            if (most > 2.2 || most > 4 * least) {
                print_error("seed %llu: %d members: shares of the mean: %.2f to %.2f\n",
                            (unsigned long long)seed_now, count, least, most);
            }
            check(most <= 2.2 && most <= 4 * least);
        }
        check_ids(host, m);
        host_end(host);
    }
}

static void test_joins_at_once(void **state) {
    (void)state;
    static const int counts[] = {5, 12, 32, 64};
    FOR_SEEDS {
        for (unsigned k = 0; k < sizeof counts / sizeof counts[0]; k++) {
            struct host *host = host_make(32, 3);
            double least, most;
            for (int i = 0; i < counts[k]; i++) {
                host_start(host, host_add(host));
            }
            check(host_run_until(host, host_ideal, 60000));
            int tiny = shares(host, 32, &least, &most);
            if (most > 3.2 || tiny > (k > 0) + counts[k] / 16) {
                print_error("seed %llu: %d members: shares of the mean: %.2f to %.2f, %d tiny\n",
                            (unsigned long long)seed_now, counts[k], least, most, tiny);
            }
            /* By hash alone: up to 4 and more, one in ten tiny. */
            check(most <= 3.2 && tiny <= (k > 0) + counts[k] / 16);
            check_ids(host, 32);
            host_end(host);
        }
    }
}

/* Who leaves and joins at another place has another id, and stands where a new member would: those
 * of one half go, and the ring is even again. */
static void test_another_place(void **state) {
    (void)state;
    FOR_SEEDS {
        struct host *host = host_make(32, 3);
        double least, most;
        for (int i = 0; i < 12; i++) {
            host_start(host, host_add(host));
            check(host_run_until(host, host_ideal, 60000));
        }
        for (int i = 0; i < 12; i++) {
            struct chord_status before, after;
            host_status(host, i, &before);
            if (turn_of(&before.self.id, 32) > 0.5) {
                continue;
            }
            host_leave(host, i);
            for (int k = 0; k < 100 && !host_node(host, i)->left; k++) {
                host_run(host, 100);
            }
            check(host_node(host, i)->left);
            host_join(host, i, true);
            check(host_run_until(host, host_ideal, 60000));
            host_status(host, i, &after);
            check(after.salt > before.salt && !id_equal(&after.self.id, &before.self.id));
            shares(host, 32, &least, &most);
            check(most <= 3 && most <= 6 * least); /* by hash: 4, and tiny ones */
        }
        check_ids(host, 32);
        host_end(host);
    }
}

/* Into the list with which a joiner is let in: a life of its own elsewhere, which is over. */
static bool list_its_former_life(void *context, const struct host_message *message) {
    const char *address = context;
    if (message->response == NULL || message->kind != CHORD_JOIN ||
        message->response->join.result != CHORD_JOIN_ADMITTED || address[0] == '\0') {
        return true;
    }
    struct chord_peer_list *list = &message->response->join.successors;
    check(list->count >= 2 && list->count <= CHORD_SUCCESSORS_MAX);
    list->count = (uint16_t)(list->count - (list->count == CHORD_SUCCESSORS_MAX));
    memmove(&list->items[2], &list->items[1], sizeof list->items[0] * (list->count - 1u));
    list->count++;
    struct chord_peer *former = &list->items[1];
    *former = list->items[2];
    former->id = id_middle(&list->items[0].id, &list->items[2].id, 32);
    former->incarnation = 1;
    memset(former->store_id, 7, sizeof former->store_id);
    memcpy(former->address, address, sizeof former->address);
    return true;
}

/* It lost its disk and stands elsewhere before the others know that its former life is over: what
 * is in the list that it starts with is nobody (client seed 1663 of 67f8ebf). */
static void test_a_former_life_in_the_list(void **state) {
    (void)state;
    FOR_SEEDS {
        char address[CHORD_ADDRESS_BYTES] = "";
        struct host *host = host_of((struct host_config){
            .m = 32, .n = 4, .on_message = list_its_former_life, .context = address});
        for (int i = 0; i < 8; i++) {
            host_start(host, host_add(host));
        }
        check(host_run_until(host, host_ideal, 60000));
        int joiner = host_add(host);
        memcpy(address, host_node(host, joiner)->address, sizeof address);
        host_start(host, joiner);
        for (int i = 0; i < 3000; i++) {
            struct chord_status status;
            host_run(host, 1);
            host_status(host, joiner, &status);
            for (uint16_t n = 0; n < status.successors.count; n++) {
                check(strcmp(status.successors.items[n].address, address) != 0);
            }
        }
        check(host_run_until(host, host_ideal, 60000));
        host_end(host);
    }
}

/* Who was asked at its address needs some round trips to come back, and the others must not have
 * taken the room for its answer meanwhile (ring seed 8221: eight members after 200 s). */
static void test_many_at_once_on_a_slow_network(void **state) {
    (void)state;
    FOR_SEEDS {
        struct host *host = host_of(
            (struct host_config){.m = 32, .n = 6, .delay_us_min = 90000, .delay_us_max = 120000});
        for (int i = 0; i < 40; i++) {
            host_start(host, host_add(host));
        }
        check(host_run_until(host, host_ideal, 180000));
        host_end(host);
    }
}

/* Genesis lets in one after the other, and those that wait have chosen their places before. */
static void test_five_at_once_many_times(void **state) {
    (void)state;
    FOR_SEEDS {
        const uint64_t seed = seed_now;
        for (uint64_t i = 0; i < 100; i++) {
            double least, most;
            seed_now = seed + i;
            struct host *host = host_make(32, 3);
            for (int k = 0; k < 5; k++) {
                host_start(host, host_add(host));
            }
            check(host_run_until(host, host_ideal, 60000));
            check(shares(host, 32, &least, &most) == 0);
            host_end(host);
        }
        seed_now = seed;
    }
}

static bool let_in_unheard(void *context, const struct host_message *message) {
    int *unheard = context;
    bool admitted = message->response != NULL && message->kind == CHORD_JOIN &&
                    message->response->join.result == CHORD_JOIN_ADMITTED;
    if (*unheard == HOST_NOBODY && admitted) {
        *unheard = message->to;
    }
    return message->from != *unheard && message->to != *unheard;
}

/* Who was let in and is never heard of keeps others out for a few round trips, not for as long as
 * its id is kept for it: of many, on a slow network, the last would come in too late (ring seed
 * 6339). */
static void test_an_arc_given_to_one_unheard(void **state) {
    (void)state;
    FOR_SEEDS {
        int unheard = -2 /* nobody yet: the first four come in */;
        struct host *host = host_of((struct host_config){
            .m = 32, .n = 3, .on_message = let_in_unheard, .context = &unheard});
        for (int i = 0; i < 4; i++) {
            host_start(host, host_add(host));
            check(host_run_until(host, host_ideal, 60000));
        }
        unheard = HOST_NOBODY;
        host_start(host, host_add(host));
        for (int i = 0; i < 5000 && unheard == HOST_NOBODY; i++) {
            host_run(host, 1);
        }
        check(unheard == 4);
        for (int i = 5; i < 13; i++) { /* some want that arc */
            host_start(host, host_add(host));
        }
        host_run(host, 1500);
        for (int i = 5; i < 13; i++) {
            struct chord_status status;
            host_status(host, i, &status);
            check(status.state == CHORD_STATE_MEMBER);
        }
        host_end(host);
    }
}

/* Every id of a small ring can be taken; the next joiner is told so. */
static void test_a_ring_that_becomes_full(void **state) {
    (void)state;
    FOR_SEEDS {
        struct host *host = host_make(4, 3);
        for (int i = 0; i < 16; i++) {
            host_start(host, host_add(host));
            if (i % 4 == 3) {
                check(host_run_until(host, host_ideal, 120000));
            }
        }
        check_ids(host, 4);
        host_start(host, host_add(host));
        host_run(host, 30000);
        check(host_node(host, 16)->refused != NULL);
        host_end(host);
    }
}

/* More members than are walked round: the joiner probes, under the invariant after each step. */
static void test_a_large_ring_is_probed(void **state) {
    (void)state;
    enum { MEMBERS = 128 };
    struct host *host = host_make(12, 2); /* 96 members are beyond ASKS_MAX * n */
    for (int i = 0; i < MEMBERS; i++) {
        host_start(host, host_add(host));
        host_run(host, 100);
    }
    check(host_run_until(host, host_ideal, 60000));
    double least, most;
    shares(host, 12, &least, &most);
    check(most <= 3.2 && least > 0);
    host_end(host);
}

/* ---- the choice among salts ---- */

static void spread(void *context, uint32_t salt, struct chord_id *id) { /* 16 bits */
    (void)context;
    uint32_t value = salt * 40503u & 0xffffu;
    memset(id, 0, sizeof *id);
    id->bytes[CHORD_ID_BYTES - 2] = (uint8_t)(value >> 8);
    id->bytes[CHORD_ID_BYTES - 1] = (uint8_t)value;
}

static struct chord_id id16(unsigned value) {
    struct chord_id id = {{0}};
    id.bytes[CHORD_ID_BYTES - 2] = (uint8_t)(value >> 8);
    id.bytes[CHORD_ID_BYTES - 1] = (uint8_t)value;
    return id;
}

static unsigned value_of(const struct chord_id *id) {
    return (unsigned)id->bytes[CHORD_ID_BYTES - 2] << 8 | id->bytes[CHORD_ID_BYTES - 1];
}

static void test_choice_among_salts(void **state) {
    (void)state;
    struct chord_wish wish = {.salt_first = 7, .m = 16};
    struct chord_id id, expected;
    uint32_t salt;
    /* No wish: the first salt. */
    assert_true(chord_derive_id(&wish, spread, NULL, &salt, &id));
    assert_int_equal(salt, 7);
    /* The middle of an arc, also over zero; of two arcs, that of the longer one. */
    wish.arcs_count = 2;
    wish.arcs[0] = (struct chord_arc){id16(0xff00), id16(0x0100)};
    wish.arcs[1] = (struct chord_arc){id16(0x2000), id16(0x2010)};
    assert_true(chord_derive_id(&wish, spread, NULL, &salt, &id));
    spread(NULL, salt, &expected);
    assert_true(id_equal(&id, &expected) && salt >= 7);
    unsigned value = (value_of(&id) + 0x100) & 0xffff; /* from the arc's beginning on: 0..0x200 */
    assert_true(value >= 0x100 - 0x20 && value <= 0x100 + 0x20);
    /* An arc without room has no place: any salt, and never an end of it. */
    wish.arcs_count = 1;
    wish.arcs[0] = (struct chord_arc){id16(5), id16(6)};
    assert_true(chord_derive_id(&wish, spread, NULL, &salt, &id));
    assert_int_equal(salt, 7);
    /* The whole ring of one member: opposite of it. */
    wish.arcs[0] = (struct chord_arc){id16(0x1000), id16(0x1000)};
    assert_true(chord_derive_id(&wish, spread, NULL, &salt, &id));
    assert_true(value_of(&id) >= 0x8000 && value_of(&id) <= 0xa000);
    /* Exactly one id. */
    wish.has_target = true;
    wish.target = id16(0xbeef);
    assert_true(chord_derive_id(&wish, spread, NULL, &salt, &id));
    assert_int_equal(value_of(&id), 0xbeef);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_joins_in_turn, teardown),
        cmocka_unit_test_teardown(test_joins_at_once, teardown),
        cmocka_unit_test_teardown(test_another_place, teardown),
        cmocka_unit_test_teardown(test_a_former_life_in_the_list, teardown),
        cmocka_unit_test_teardown(test_many_at_once_on_a_slow_network, teardown),
        cmocka_unit_test_teardown(test_five_at_once_many_times, teardown),
        cmocka_unit_test_teardown(test_an_arc_given_to_one_unheard, teardown),
        cmocka_unit_test_teardown(test_a_ring_that_becomes_full, teardown),
        cmocka_unit_test_teardown(test_a_large_ring_is_probed, teardown),
        cmocka_unit_test(test_choice_among_salts),
    };
    seeds_choose("test_core_place", 4);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

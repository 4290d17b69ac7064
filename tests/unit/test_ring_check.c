/* SPDX-License-Identifier: MIT */
/*
 * Whether every key has a leader (proto/clients/c/ring_survival.c), and what a node says of its
 * ranges (ring_check.c): ranges are written as (lo, hi] of a ring of 256 ids, the gap as the first
 * id that nobody leads.
 */
#include "ring_check.h"
#include "ring_survival.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { M = 8, RANGES_MAX = 4, WHOLE = -1 };

struct example {
    const char *name;
    uint8_t ranges[RANGES_MAX][2];
    unsigned count;
    int gap; /* WHOLE: none */
};

static const struct example examples[] = {
    {"one leads all", {{40, 40}}, 1, WHOLE},
    {"two, round zero", {{40, 200}, {200, 40}}, 2, WHOLE},
    {"begins at zero", {{255, 100}, {100, 255}}, 2, WHOLE},
    {"overlapping, while a range moves", {{40, 200}, {150, 100}}, 2, WHOLE},
    {"one inside another", {{40, 200}, {60, 80}, {200, 40}}, 3, WHOLE},
    {"nobody", {{0, 0}}, 0, 0},
    {"a gap in the middle", {{40, 200}, {220, 40}}, 2, 201},
    {"one id is missing", {{40, 200}, {201, 40}}, 2, 201},
    {"a gap at the end", {{255, 250}}, 1, 251},
    {"a gap at zero", {{0, 255}}, 1, 0},
    {"after an overlap", {{255, 100}, {50, 80}, {120, 255}}, 3, 101},
};

struct ring_of_one {
    Chord__V1__StatusResponse status;
    Chord__V1__Peer self;
    Chord__V1__RingParameters parameters;
    Chord__V1__Member member;
    Chord__V1__Member *members[1];
    uint8_t ends[RANGES_MAX][2];
    Chord__V1__Range spans[RANGES_MAX];
    Chord__V1__View views[RANGES_MAX];
    Chord__V1__RangeStatus ranges[RANGES_MAX];
    Chord__V1__RangeStatus *list[RANGES_MAX];
};

static struct ring_of_one world;

static void make(const struct example *example) {
    static char address[] = "127.0.0.1:1";
    chord__v1__status_response__init(&world.status);
    chord__v1__peer__init(&world.self);
    chord__v1__member__init(&world.member);
    chord__v1__ring_parameters__init(&world.parameters);
    world.status.parameters = &world.parameters;
    world.self.address = world.member.address = address;
    world.members[0] = &world.member;
    world.status.self = &world.self;
    for (unsigned i = 0; i < example->count; i++) {
        memcpy(world.ends[i], example->ranges[i], 2);
        chord__v1__range__init(&world.spans[i]);
        world.spans[i].lo = (ProtobufCBinaryData){1, &world.ends[i][0]};
        world.spans[i].hi = (ProtobufCBinaryData){1, &world.ends[i][1]};
        chord__v1__view__init(&world.views[i]);
        world.views[i].range = &world.spans[i];
        world.views[i].members = world.members;
        world.views[i].n_members = 1;
        chord__v1__range_status__init(&world.ranges[i]);
        world.ranges[i].view = &world.views[i];
        world.ranges[i].state = CHORD__V1__RANGE_STATE__RANGE_STATE_OPEN;
        world.list[i] = &world.ranges[i];
    }
    world.status.ranges = world.list;
    world.status.n_ranges = example->count;
}

/* The first id that nobody leads. */
static int gap_of(struct survival *survival) {
    const struct survival_node node = {world.self.address, true, &world.status};
    assert_true(survival_make(&node, 1, M, survival));
    return survival->all_led           ? WHOLE
           : survival->gap_lo.len == 0 ? 0
                                       : (survival->gap_lo.data[0] + 1) % 256;
}

static void test_every_key_is_led(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof examples / sizeof examples[0]; i++) {
        const struct example *example = &examples[i];
        struct survival survival;
        make(example);
        int gap = gap_of(&survival);
        if (gap != example->gap) {
            fail_msg("%s: gap %d, not %d", example->name, gap, example->gap);
        }
        survival_free(&survival);
    }
}

static void test_who_does_not_serve_leads_nothing(void **state) {
    (void)state;
    struct survival survival;
    make(&examples[0]);
    assert_int_equal(ring_copies_short(&world.status, 1), 1);
    world.ranges[0].copies = 1;
    assert_int_equal(ring_copies_short(&world.status, 1), 0);
    world.ranges[0].state = CHORD__V1__RANGE_STATE__RANGE_STATE_REPLICA;
    assert_int_not_equal(gap_of(&survival), WHOLE);
    survival_free(&survival);
    assert_false(ring_leads("127.0.0.1:2", &world.ranges[0]));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_key_is_led),
        cmocka_unit_test(test_who_does_not_serve_leads_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

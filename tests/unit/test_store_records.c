/* SPDX-License-Identifier: MIT */
/*
 * The store's records: what is written is read again; what was cut, changed or made up is told,
 * with no byte read beyond its end (the sanitizers watch). test_store_records [SEED]
 */
#include "store_records.h"
#include "xxh3.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

enum { ROUNDS = 300, MADE_UP = 20000 };

union value {
    struct store_id store_id;
    struct chord_identity identity;
    struct store_place place;
    struct store_former former;
    struct chord_stored_view view;
};

static uint64_t seed, state;

static uint64_t next(void) {
    state += 0x9e3779b97f4a7c15u;
    uint64_t z = state;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static uint16_t below(uint64_t count) {
    return (uint16_t)(next() % count);
}

/* Often none or all of it. */
static uint16_t up_to(uint16_t most) {
    return below(4) == 0 ? most : below(4) == 0 ? 0 : below((uint64_t)most + 1);
}

static void fill(void *bytes, size_t count) {
    for (size_t i = 0; i < count; i++) {
        ((uint8_t *)bytes)[i] = (uint8_t)next();
    }
}

static void text(char *text, size_t room) {
    size_t length = up_to((uint16_t)(room - 1));
    for (size_t i = 0; i < length; i++) {
        text[i] = (char)(1 + below(255));
    }
}

static void random_identity(struct chord_identity *identity) {
    identity->incarnation = next();
    identity->salt = (uint32_t)next();
    fill(&identity->id, sizeof identity->id);
    fill(&identity->parameters.ring_id, sizeof identity->parameters.ring_id);
    identity->parameters.m = (unsigned)next();
    identity->parameters.n = (unsigned)next();
    identity->parameters.replicas = (unsigned)next();
    identity->formed = below(2) == 1;
    identity->left = (uint8_t)below(CHORD_LEFT_LAST + 1);
    identity->known_count = up_to(CHORD_REPLICAS_MAX);
    for (unsigned i = 0; i < identity->known_count; i++) {
        struct chord_peer *peer = &identity->known[i];
        fill(&peer->id, sizeof peer->id);
        fill(peer->store_id, sizeof peer->store_id);
        peer->incarnation = next();
        text(peer->address, sizeof peer->address);
    }
}

static void random_view(struct chord_view *view) {
    fill(&view->range, sizeof view->range);
    view->epoch = next();
    view->floor = next();
    view->settled = below(2) == 1;
    view->moved = below(2) == 1;
    view->recovered = below(2) == 1;
    view->cut = below(2) == 1;
    view->merges.count = up_to(CHORD_MERGES_MAX);
    for (unsigned i = 0; i < view->merges.count; i++) {
        view->merges.items[i].epoch = next();
        fill(&view->merges.items[i].lo, sizeof view->merges.items[i].lo);
    }
    view->members_count = (uint16_t)(1 + up_to(CHORD_REPLICAS_MAX - 1));
    view->leader = below(view->members_count);
    for (unsigned i = 0; i < view->members_count; i++) {
        fill(view->members[i].store_id, sizeof view->members[i].store_id);
        text(view->members[i].address, sizeof view->members[i].address);
    }
}

static void random_value(enum record_kind kind, union value *value) {
    memset(value, 0, sizeof *value);
    switch (kind) {
    case RECORD_IDENTITY:
        random_identity(&value->identity);
        break;
    case RECORD_PLACE:
        text(value->place.machine, sizeof value->place.machine);
        value->place.inode = next();
        value->place.birth_ns = next();
        text(value->place.host, sizeof value->place.host);
        text(value->place.path, sizeof value->place.path);
        text(value->place.address, sizeof value->place.address);
        break;
    case RECORD_FORMER:
        value->former.count = up_to(CHORD_FORMER_MAX);
        for (unsigned i = 0; i < value->former.count; i++) {
            text(value->former.items[i].text, sizeof value->former.items[i].text);
        }
        break;
    case RECORD_VIEW:
        random_view(&value->view.view);
        value->view.learning = below(2) == 1;
        value->view.equal_epoch = next();
        value->view.acceptor.promised = next();
        value->view.acceptor.accepted = below(2) == 1;
        if (value->view.acceptor.accepted) {
            value->view.acceptor.ballot = next();
            value->view.acceptor.other_epoch = next();
            random_view(&value->view.acceptor.next);
        }
        break;
    default:
        fill(&value->store_id, sizeof value->store_id);
    }
}

/* A copy of exact size, so that a read beyond it is seen. */
static enum record_error decode(enum record_kind kind, union value *value, const uint8_t *bytes,
                                size_t count) {
    uint8_t *exact = malloc(count + 1);
    assert_non_null(exact);
    uint8_t *copy = exact + 1; /* at an odd address */
    memcpy(copy, bytes, count);
    enum record_error error = record_decode(kind, value, copy, count);
    free(exact);
    return error;
}

static void assert_zero(enum record_kind kind, const union value *value) {
    for (size_t i = 0; i < record_value_bytes(kind); i++) {
        assert_int_equal(((const uint8_t *)value)[i], 0);
    }
}

static void test_round_trip(void **unused) {
    static union value before, after;
    uint8_t bytes[RECORD_BYTES_MAX];
    (void)unused;
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (enum record_kind kind = RECORD_STORE_ID; kind < RECORD_KINDS_END; kind++) {
            random_value(kind, &before);
            size_t count = record_encode(kind, &before, bytes);
            memset(&after, 0xee, sizeof after);
            assert_int_equal(decode(kind, &after, bytes, count), RECORD_OK);
            assert_memory_equal(&before, &after, record_value_bytes(kind));
        }
    }
}

static void test_cut_or_changed(void **unused) {
    static union value value;
    uint8_t bytes[RECORD_BYTES_MAX + 8];
    (void)unused;
    for (enum record_kind kind = RECORD_STORE_ID; kind < RECORD_KINDS_END; kind++) {
        random_value(kind, &value);
        size_t count = record_encode(kind, &value, bytes);
        memset(bytes + count, 0, 8);
        for (size_t cut = 0; cut < count + 8; cut++) {
            memset(&value, 0xee, sizeof value);
            if (cut != count) {
                assert_int_equal(decode(kind, &value, bytes, cut), RECORD_DAMAGED);
                assert_zero(kind, &value);
            }
        }
        for (size_t at = 0; at < count; at++) {
            uint8_t bit = (uint8_t)(1u << below(8));
            bytes[at] ^= bit;
            assert_int_equal(decode(kind, &value, bytes, count), RECORD_DAMAGED);
            bytes[at] ^= bit;
        }
        enum record_kind other = kind == RECORD_STORE_ID ? RECORD_IDENTITY : kind - 1;
        assert_int_equal(decode(other, &value, bytes, count), RECORD_DAMAGED); /* another place */
    }
}

static void sign(enum record_kind kind, uint8_t *bytes, size_t body) {
    uint64_t sum = XXH3_64bits_withSeed(bytes, body, (XXH64_hash_t)kind);
    for (unsigned i = 0; i < 8; i++) {
        bytes[body + i] = (uint8_t)(sum >> (8 * i));
    }
}

static void test_a_newer_version(void **unused) {
    static union value value;
    uint8_t bytes[RECORD_BYTES_MAX];
    (void)unused;
    for (enum record_kind kind = RECORD_STORE_ID; kind < RECORD_KINDS_END; kind++) {
        random_value(kind, &value);
        size_t count = record_encode(kind, &value, bytes);
        bytes[0] = RECORD_VERSION + 1;
        sign(kind, bytes, count - 8);
        assert_int_equal(decode(kind, &value, bytes, count), RECORD_NEWER);
        assert_zero(kind, &value);
    }
}

/* Soundly signed nonsense: refused, or else the one record of what was read. */
static void test_made_up(void **unused) {
    static union value value;
    uint8_t bytes[RECORD_BYTES_MAX], again[RECORD_BYTES_MAX];
    unsigned taken = 0;
    (void)unused;
    for (unsigned round = 0; round < MADE_UP; round++) {
        enum record_kind kind = RECORD_STORE_ID + below(RECORD_KINDS_END - RECORD_STORE_ID);
        random_value(kind, &value);
        size_t body = record_encode(kind, &value, bytes) - 8;
        for (unsigned i = below(4); i > 0 && body > 1; i--) {
            bytes[1 + below(body - 1)] = (uint8_t)(below(2) == 0 ? next() : below(3));
        }
        body = below(4) == 0 ? 1u + below(body) : body;
        sign(kind, bytes, body);
        if (decode(kind, &value, bytes, body + 8) == RECORD_OK) {
            taken++;
            assert_int_equal(record_encode(kind, &value, again), body + 8);
            assert_memory_equal(bytes, again, body + 8);
        }
    }
    assert_in_range(taken, MADE_UP / 10, MADE_UP - 100);
}

int main(int argc, char **argv) {
    seed = argc > 1 ? strtoull(argv[1], NULL, 10) : (uint64_t)time(NULL);
    state = seed;
    printf("replay: test_store_records %llu\n", (unsigned long long)seed);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_cut_or_changed),
        cmocka_unit_test(test_a_newer_version),
        cmocka_unit_test(test_made_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

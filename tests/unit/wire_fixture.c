/* SPDX-License-Identifier: MIT */
/* See wire_fixture.h. */
#include "wire_fixture.h"

#include <time.h>

#include "hash.h"

static uint64_t seed_base, random_state;
struct arena arena;

uint64_t dice(uint64_t sides) {
    uint64_t z = random_state += 0x9e3779b97f4a7c15u; /* splitmix64 */
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (z ^ z >> 31) % sides;
}

int wire_setup(void **state) {
    (void)state;
    random_state = seed_base;
    return 0;
}

int wire_teardown(void **state) {
    (void)state;
    arena_free(&arena);
    memset(&arena, 0, sizeof arena);
    return 0;
}

bool wire_fixture_open(const char *program) {
    const char *given = getenv("CHORD_TEST_SEED");
    seed_base = given != NULL ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
    printf("replay: CHORD_TEST_SEED=%llu %s\n", (unsigned long long)seed_base, program);
    return hash_open();
}

/* ---- core messages, often at their bounds ---- */

static uint64_t dice_of(void *context, uint64_t sides) {
    (void)context;
    return dice(sides);
}

static struct wire_walk walk_of(unsigned m) {
    return (struct wire_walk){.dice = dice_of, .arena = &arena, .m = m};
}

void some_part(const struct wire_table *table, void *core, unsigned m) {
    struct wire_walk walk = walk_of(m);
    wire_walk_fill(&walk, table, core);
}

void some_request(struct chord_request *request, enum chord_message_kind kind, unsigned m) {
    memset(request, 0, sizeof *request);
    request->kind = kind;
    some_part(&wire_messages[kind].request, request, m);
}

size_t some_rows(struct store_row *rows) {
    size_t count = dice(ROWS_MAX + 1);
    memset(rows, 0, sizeof *rows * ROWS_MAX);
    for (size_t i = 0; i < count; i++) {
        some_part(&wire_row_table, &rows[i], 0);
        hash_key(rows[i].key, rows[i].key_bytes, rows[i].hash);
    }
    return count;
}

void some_response(struct chord_response *response, enum chord_message_kind kind, unsigned m,
                   const struct store_row *rows, size_t rows_count) {
    memset(response, 0, sizeof *response);
    response->kind = kind;
    some_part(&wire_messages[kind].response, response, m);
    if (kind == CHORD_TRANSFER_KEYS && rows_count > 0) {
        response->transfer.rows = rows_count;
        memcpy(response->transfer.last, rows[rows_count - 1].hash, CHORD_ID_BYTES);
    }
}

uint8_t *pack(const ProtobufCMessage *message, size_t *bytes) {
    *bytes = protobuf_c_message_get_packed_size(message);
    uint8_t *packed = arena_alloc(&arena, *bytes + 1);
    assert_int_equal(protobuf_c_message_pack(message, packed), *bytes);
    return packed;
}

bool has_request(enum chord_message_kind kind) {
    return wire_messages[kind].request.descriptor != NULL;
}

bool has_response(enum chord_message_kind kind) {
    return wire_messages[kind].response.descriptor != NULL;
}

/* SPDX-License-Identifier: MIT */
/*
 * Damaged bytes of every kind of message are read without harm, and what is accepted keeps every
 * bound that the core relies on.
 */
#include "wire_fixture.h"

#include "hash.h"

static void assert_within(const struct wire_table *table, const void *core) {
    const char *field = wire_walk_beyond(table, core);
    if (field != NULL) {
        fail_msg("%s of %s is beyond its bounds", field, table->descriptor->name);
    }
}

/* Flips, cuts, repeats; or only noise. The copy ends where its memory ends. */
static uint8_t *damage(const uint8_t *packed, size_t *bytes) {
    size_t count = dice(8) == 0 ? dice(200) : *bytes;
    bool noise = count != *bytes || dice(10) == 0;
    uint8_t *copy = malloc(count > 0 ? count : 1);
    assert_non_null(copy);
    for (size_t i = 0; i < count; i++) {
        copy[i] = noise ? (uint8_t)dice(256) : packed[i];
    }
    for (uint64_t flips = dice(6); count > 0 && flips > 0; flips--) {
        size_t at = dice(count);
        size_t from = dice(count);
        if (dice(3) == 0) { /* one field over another */
            size_t part = 1 + dice(20);
            part = part > count - at ? count - at : part;
            part = part > count - from ? count - from : part;
            memmove(copy + at, copy + from, part);
        } else {
            copy[at] ^= (uint8_t)(1u << dice(8));
        }
    }
    *bytes = dice(4) == 0 && count > 0 ? dice(count) : count;
    return copy;
}

static void try_damaged(enum chord_message_kind kind, const ProtobufCMessage *message,
                        bool is_request, unsigned *accepted) {
    static struct chord_request request;
    static struct chord_response response;
    size_t bytes;
    uint8_t *packed = pack(message, &bytes);
    for (unsigned i = 0; i < 40; i++) {
        size_t count = bytes;
        const char *error = NULL;
        uint8_t *copy = damage(packed, &count);
        ProtobufCMessage *read = protobuf_c_message_unpack(message->descriptor, NULL, count, copy);
        free(copy);
        if (read == NULL) {
            continue;
        }
        memset(&request, 0xa5, sizeof request);
        memset(&response, 0xa5, sizeof response);
        if (is_request && wire_decode_request(kind, read, &request, &error)) {
            assert_within(&wire_messages[kind].request, &request);
            *accepted += 1;
        } else if (!is_request && wire_decode_response(kind, read, &response, &error)) {
            assert_within(&wire_messages[kind].response, &response);
            *accepted += 1;
        } else {
            assert_non_null(error);
        }
        protobuf_c_message_free_unpacked(read, NULL);
    }
}

static void test_damaged_bytes(void **state) {
    (void)state;
    static struct chord_request request;
    static struct chord_response response;
    unsigned accepted = 0;
    for (unsigned round = 0; round < 12; round++) {
        for (unsigned kind = CHORD_PING; kind <= KINDS; kind++) {
            struct wire_context context = {&arena, 32};
            struct store_row rows[ROWS_MAX];
            size_t count = kind == CHORD_APPLY || kind == CHORD_TRANSFER_KEYS ? some_rows(rows) : 0;
            enum chord_message_kind each = (enum chord_message_kind)kind;
            if (has_request(each)) {
                some_request(&request, each, 32);
                try_damaged(each, wire_encode_request(&context, &request, rows, count), true,
                            &accepted);
            }
            if (!has_response(each)) {
                continue;
            }
            some_response(&response, each, 32, rows, count);
            try_damaged(each, wire_encode_response(&context, &response, rows, count), false,
                        &accepted);
            arena_reset(&arena);
        }
    }
    assert_true(accepted > 100);
}

int main(void) {
    if (!wire_fixture_open("test_wire_damaged")) {
        return 1;
    }
    const struct CMUnitTest tests[] = {
        TEST(test_damaged_bytes),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    hash_close();
    return failed;
}

/* SPDX-License-Identifier: MIT */
/*
 * The tables of node/wire_table.c: every field of every message has its row, and what has a row
 * goes core -> protobuf bytes -> core and is the same, with values at their bounds.
 */
#include "wire_fixture.h"

#include "hash.h"

/* ---- there and back ---- */

static void assert_same(const struct wire_table *table, const void *sent, const void *received) {
    const char *field = wire_walk_differ(table, sent, received);
    if (field != NULL) {
        fail_msg("%s of %s is not the same after the wire", field, table->descriptor->name);
    }
}

static void check_rows(Chord__V1__Row **messages, size_t count, const struct store_row *rows,
                       size_t rows_count) {
    assert_int_equal(count, rows_count);
    for (size_t i = 0; i < count; i++) {
        struct store_row row;
        assert_true(wire_read_row(messages[i], &row));
        assert_memory_equal(row.hash, rows[i].hash, CHORD_ID_BYTES);
        assert_same(&wire_row_table, &rows[i], &row);
    }
}

static ProtobufCMessage *over_the_line(const ProtobufCMessage *message) {
    size_t bytes;
    assert_non_null(message);
    uint8_t *packed = pack(message, &bytes);
    ProtobufCMessage *read = protobuf_c_message_unpack(message->descriptor, NULL, bytes, packed);
    assert_non_null(read);
    return read;
}

static void request_round_trip(struct wire_context *context, enum chord_message_kind kind) {
    static struct chord_request sent, received;
    struct store_row rows[ROWS_MAX];
    const char *error = NULL;
    size_t count = kind == CHORD_APPLY ? some_rows(rows) : 0;
    some_request(&sent, kind, context->m);
    ProtobufCMessage *read = over_the_line(wire_encode_request(context, &sent, rows, count));
    memset(&received, 0, sizeof received);
    if (!wire_decode_request(kind, read, &received, &error)) {
        fail_msg("kind %u: %s", kind, error);
    }
    assert_same(&wire_messages[kind].request, &sent, &received);
    assert_int_equal(received.kind, kind);
    if (kind == CHORD_APPLY) {
        const Chord__V1__ApplyRequest *apply = (const void *)read;
        check_rows(apply->rows, apply->n_rows, rows, count);
    }
    protobuf_c_message_free_unpacked(read, NULL);
}

static void response_round_trip(struct wire_context *context, enum chord_message_kind kind) {
    static struct chord_response sent, received;
    struct store_row rows[ROWS_MAX] = {0};
    const char *error = NULL;
    size_t count = kind == CHORD_TRANSFER_KEYS ? some_rows(rows) : 0;
    some_response(&sent, kind, context->m, rows, count);
    sent.gone = kind != CHORD_LOOKUP && kind != CHORD_BATCH && dice(8) == 0;
    ProtobufCMessage *read = over_the_line(wire_encode_response(context, &sent, rows, count));
    memset(&received, 0, sizeof received);
    if (!wire_decode_response(kind, read, &received, &error)) {
        fail_msg("kind %u: %s", kind, error);
    }
    assert_same(&wire_messages[kind].response, &sent, &received);
    assert_true(received.kind == kind && received.gone == sent.gone);
    if (kind == CHORD_TRANSFER_KEYS) {
        const Chord__V1__TransferKeysResponse *transfer = (const void *)read;
        check_rows(transfer->rows, transfer->n_rows, rows, count);
    }
    protobuf_c_message_free_unpacked(read, NULL);
}

static void test_messages_round_trip(void **state) {
    (void)state;
    static const unsigned ms[] = {0, 3, 6, 8, 9, 32, 159, 160};
    for (unsigned round = 0; round < 100; round++) {
        for (unsigned kind = CHORD_PING; kind <= KINDS; kind++) {
            struct wire_context context = {&arena, ms[dice(8)]};
            if (has_request((enum chord_message_kind)kind)) {
                request_round_trip(&context, (enum chord_message_kind)kind);
            }
            if (has_response((enum chord_message_kind)kind)) {
                response_round_trip(&context, (enum chord_message_kind)kind);
            }
            arena_reset(&arena);
        }
    }
}

/* ---- the tables ---- */

static bool form_fits(const struct wire_field *row, const ProtobufCFieldDescriptor *field) {
    bool many = field->label == PROTOBUF_C_LABEL_REPEATED;
    switch (row->form) {
    case WIRE_NUMBER:
        return !many && (row->core.bytes == 1   ? field->type == PROTOBUF_C_TYPE_BOOL
                         : row->core.bytes == 8 ? field->type == PROTOBUF_C_TYPE_UINT64
                                                : field->type == PROTOBUF_C_TYPE_UINT32 ||
                                                      field->type == PROTOBUF_C_TYPE_ENUM);
    case WIRE_TEXT:
        return !many && field->type == PROTOBUF_C_TYPE_STRING;
    case WIRE_PART:
    case WIRE_LIST:
    case WIRE_ROWS:
        return many == (row->form != WIRE_PART) && field->type == PROTOBUF_C_TYPE_MESSAGE &&
               field->descriptor == row->inner->descriptor;
    case WIRE_CHOICE:
        return !many && field->type == PROTOBUF_C_TYPE_ENUM;
    case WIRE_TEXTS:
        return many && field->type == PROTOBUF_C_TYPE_STRING;
    case WIRE_BESIDE: /* a page never splits the rows of one hash; the others are kv.c's */
        return strstr(" key key_id operations result results hints ", row->name) != NULL;
    default:
        return !many && field->type == PROTOBUF_C_TYPE_BYTES;
    }
}

static void check_table(const struct wire_table *table) {
    const ProtobufCMessageDescriptor *message = table->descriptor;
    for (unsigned i = 0; i < message->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &message->fields[i];
        const struct wire_field *row = i < table->fields_count ? &table->fields[i] : NULL;
        if (row == NULL || strcmp(row->name, field->name) != 0 || !form_fits(row, field)) {
            fail_msg("node/wire_table.c: %s of %s has no row, or one of another type: %s",
                     field->name, message->name, row != NULL ? row->name : "none");
        }
        for (unsigned k = 0; k < i && row->core.bytes != 0; k++) {
            if (row->core.at == table->fields[k].core.at && table->fields[k].core.bytes != 0 &&
                row->unless.bytes == 0) {
                fail_msg("%s and %s of %s are one member", row->name, table->fields[k].name,
                         message->name);
            }
        }
        if (row->inner != NULL) {
            check_table(row->inner);
        }
    }
    assert_int_equal(table->fields_count, message->n_fields);
}

/* A field that is neither encoded nor decoded fails here. */
static void test_every_field_has_its_row(void **state) {
    (void)state;
    static const struct wire_table *const parts[] = {
        &wire_operation_table, &wire_result_table, &wire_get_table,
        &wire_put_table,       &wire_delete_table,
    };
    for (unsigned i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        check_table(parts[i]);
    }
    for (unsigned kind = CHORD_PING; kind <= KINDS; kind++) {
        const struct wire_message *message = &wire_messages[kind];
        if (message->request.descriptor != NULL) {
            assert_ptr_equal(message->request.descriptor, rpc_method_request(message->method));
            check_table(&message->request);
        }
        if (message->response.descriptor != NULL) {
            assert_ptr_equal(message->response.descriptor, rpc_method_response(message->method));
            check_table(&message->response);
        }
    }
}

static void test_methods_and_kinds(void **state) {
    (void)state;
    bool seen[256] = {false};
    for (unsigned kind = CHORD_PING; kind <= KINDS; kind++) {
        enum chord_message_kind back;
        enum rpc_method method = wire_method((enum chord_message_kind)kind);
        assert_true((unsigned)method < 256 && !seen[method]);
        seen[method] = true;
        assert_true(wire_kind(method, &back));
        assert_int_equal(back, kind);
    }
    for (unsigned method = 0; method < 256; method++) {
        enum chord_message_kind back;
        assert_int_equal(wire_kind((enum rpc_method)method, &back), seen[method]);
    }
}

static void test_operations_round_trip(void **state) {
    (void)state;
    struct wire_context context = {&arena, 32};
    for (unsigned round = 0; round < 500; round++) {
        struct wire_operation operation, read;
        struct wire_result result, told;
        const char *error;
        memset(&operation, 0, sizeof operation);
        memset(&result, 0, sizeof result);
        some_part(&wire_operation_table, &operation, 0);
        some_part(&wire_result_table, &result, 0);
        bool both = operation.write.matches && operation.write.absent;
        ProtobufCMessage *message = over_the_line(&wire_operation(&context, &operation)->base);
        assert_int_equal(wire_read_operation((void *)message, &read, &error), !both);
        assert_true(both == (error != NULL));
        assert_same(&wire_operation_table, &operation, &read);
        protobuf_c_message_free_unpacked(message, NULL);
        message = over_the_line(&wire_result(&context, &result)->base);
        wire_read_result((void *)message, &told);
        assert_same(&wire_result_table, &result, &told);
        protobuf_c_message_free_unpacked(message, NULL);
        arena_reset(&arena);
    }
}

int main(void) {
    if (!wire_fixture_open("test_wire_table")) {
        return 1;
    }
    const struct CMUnitTest tests[] = {
        TEST(test_every_field_has_its_row),
        TEST(test_methods_and_kinds),
        TEST(test_messages_round_trip),
        TEST(test_operations_round_trip),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    hash_close();
    return failed;
}

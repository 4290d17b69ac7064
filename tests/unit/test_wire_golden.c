/* SPDX-License-Identifier: MIT */
/*
 * The bytes of each message as the version before wrote them, golden/wire-1.txt: they are read, and
 * written again as the same bytes. So nodes and clients of two versions understand each other, in
 * one ring too. A field that went away, got another number or another type fails here.
 *
 * "message SERVICE/METHOD request|response HEX": every field of every message of the contract is
 * set. "ring KIND request|response HEX": what the node makes of the ring's own messages
 * (node/wire_table.c).
 *
 * A new message or field: test_wire_golden --make prints all lines anew; add the "message" line
 * that is new to the file, change none of the old ones. The "ring" lines are drawn at random each
 * time.
 */
#include "wire_fixture.h"

#include "hash.h"

enum { DEPTH_MAX = 3, LINE_BYTES = 64 * 1024, RING_BYTES_MAX = 700, M = 160 };

/* ---- every field of a message, from its descriptor ---- */

struct bytes {
    uint8_t bytes[LINE_BYTES / 2];
    size_t count;
};

static void put_varint(struct bytes *to, uint64_t number) {
    for (; number > 127; number >>= 7) {
        to->bytes[to->count++] = (uint8_t)(number | 128);
    }
    to->bytes[to->count++] = (uint8_t)number;
}

static void put_fixed(struct bytes *to, unsigned count) {
    for (unsigned i = 1; i <= count; i++) {
        to->bytes[to->count++] = (uint8_t)i;
    }
}

static void put_message(struct bytes *to, const ProtobufCMessageDescriptor *descriptor,
                        unsigned depth);

static void put_field(struct bytes *to, const ProtobufCFieldDescriptor *field, unsigned depth) {
    struct bytes *inner;
    const ProtobufCEnumDescriptor *values;
    switch (field->type) {
    case PROTOBUF_C_TYPE_ENUM:
        values = field->descriptor;
        put_varint(to, (uint64_t)field->id << 3);
        put_varint(to, (uint64_t)values->values[values->n_values - 1].value);
        break;
    case PROTOBUF_C_TYPE_BOOL:
        put_varint(to, (uint64_t)field->id << 3);
        put_varint(to, 1);
        break;
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        put_varint(to, (uint64_t)field->id << 3 | 1);
        put_fixed(to, 8);
        break;
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_FLOAT:
        put_varint(to, (uint64_t)field->id << 3 | 5);
        put_fixed(to, 4);
        break;
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
        put_varint(to, (uint64_t)field->id << 3 | 2);
        put_varint(to, 3);
        put_fixed(to, 3);
        break;
    case PROTOBUF_C_TYPE_MESSAGE:
        inner = calloc(1, sizeof *inner);
        assert_non_null(inner);
        put_message(inner, field->descriptor, depth + 1);
        put_varint(to, (uint64_t)field->id << 3 | 2);
        put_varint(to, inner->count);
        memcpy(to->bytes + to->count, inner->bytes, inner->count);
        to->count += inner->count;
        free(inner);
        break;
    default: /* the varints */
        put_varint(to, (uint64_t)field->id << 3);
        put_varint(to, field->id + 300);
    }
}

static void put_message(struct bytes *to, const ProtobufCMessageDescriptor *descriptor,
                        unsigned depth) {
    for (unsigned i = 0; i < descriptor->n_fields && depth < DEPTH_MAX; i++) {
        const ProtobufCFieldDescriptor *field = &descriptor->fields[i];
        bool second = (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) && i > 0 &&
                      descriptor->fields[i - 1].quantifier_offset == field->quantifier_offset;
        if (!second) { /* one of a oneof only */
            put_field(to, field, depth);
        }
    }
}

/* ---- the lines ---- */

static void print_line(const char *words, const uint8_t *bytes, size_t count) {
    printf("%s ", words);
    for (size_t i = 0; i < count; i++) {
        printf("%02x", bytes[i]);
    }
    putchar('\n');
}

/* Calls `each` for the two messages of every method. */
static void contract(void (*each)(const char *words, const ProtobufCMessageDescriptor *descriptor,
                                  void *context),
                     void *context) {
    char words[200];
    for (unsigned i = 0; i < RPC_METHODS_COUNT; i++) {
        enum rpc_method method = (enum rpc_method)i;
        snprintf(words, sizeof words, "message %s request", rpc_method_name(method));
        each(words, rpc_method_request(method), context);
        snprintf(words, sizeof words, "message %s response", rpc_method_name(method));
        each(words, rpc_method_response(method), context);
    }
}

static void print_full(const char *words, const ProtobufCMessageDescriptor *descriptor,
                       void *context) {
    static struct bytes bytes;
    (void)context;
    bytes.count = 0;
    put_message(&bytes, descriptor, 0);
    print_line(words, bytes.bytes, bytes.count);
}

static uint8_t *ring_message(enum chord_message_kind kind, bool request, size_t *count) {
    static struct chord_request asked;
    static struct chord_response answered;
    struct wire_context context = {&arena, M};
    struct store_row rows[ROWS_MAX];
    size_t rows_count = request || kind == CHORD_TRANSFER_KEYS ? some_rows(rows) : 0;
    if (request) {
        some_request(&asked, kind, M);
        return pack(wire_encode_request(&context, &asked, rows, rows_count), count);
    }
    some_response(&answered, kind, M, rows, rows_count);
    return pack(wire_encode_response(&context, &answered, rows, rows_count), count);
}

static void make(void) {
    contract(print_full, NULL);
    for (unsigned kind = CHORD_PING; kind <= KINDS; kind++) {
        for (unsigned sample = 0; sample < 4; sample++) {
            bool request = sample % 2 == 0;
            if (!(request ? has_request : has_response)((enum chord_message_kind)kind)) {
                continue;
            }
            char words[80];
            size_t count = SIZE_MAX;
            uint8_t *bytes = NULL;
            for (unsigned i = 0; i < 10000 && count > RING_BYTES_MAX; i++) {
                bytes = ring_message((enum chord_message_kind)kind, request, &count);
            }
            snprintf(words, sizeof words, "ring %u %s", kind, request ? "request" : "response");
            print_line(words, bytes, count);
        }
    }
}

/* ---- they are read and written again ---- */

struct golden {
    char words[200];
    uint8_t bytes[LINE_BYTES / 2];
    size_t count;
};

static unsigned nibble(char digit) {
    return (unsigned)(strchr("0123456789abcdef", digit) - "0123456789abcdef");
}

static bool next_line(FILE *file, struct golden *golden) {
    static char line[LINE_BYTES];
    do {
        if (fgets(line, sizeof line, file) == NULL) {
            return false;
        }
    } while (line[0] == '#');
    char *hex = strrchr(line, ' ');
    assert_non_null(hex);
    *hex++ = '\0';
    assert_true(strlen(line) < sizeof golden->words);
    memcpy(golden->words, line, strlen(line) + 1);
    golden->count = strspn(hex, "0123456789abcdef") / 2;
    assert_int_equal(hex[2 * golden->count], '\n');
    for (size_t i = 0; i < golden->count; i++) {
        golden->bytes[i] = (uint8_t)(nibble(hex[2 * i]) << 4 | nibble(hex[2 * i + 1]));
    }
    return true;
}

static FILE *open_golden(void) {
    FILE *file = fopen(GOLDEN_FOLDER "/wire-1.txt", "r");
    assert_non_null(file);
    return file;
}

/* Every field is known, to the innermost message. */
static void assert_known(const char *words, const ProtobufCMessage *message) {
    const ProtobufCMessageDescriptor *descriptor = message->descriptor;
    if (message->n_unknown_fields != 0) {
        fail_msg("%s: %s does not know field %u any more", words, descriptor->name,
                 message->unknown_fields[0].tag);
    }
    for (unsigned i = 0; i < descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &descriptor->fields[i];
        const uint8_t *member = (const uint8_t *)message + field->offset;
        if (field->type != PROTOBUF_C_TYPE_MESSAGE) {
            continue;
        }
        bool many = field->label == PROTOBUF_C_LABEL_REPEATED;
        bool other = (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) &&
                     *(const uint32_t *)(const void *)((const uint8_t *)message +
                                                       field->quantifier_offset) != field->id;
        size_t count = !many ? 1
                             : *(const size_t *)(const void *)((const uint8_t *)message +
                                                               field->quantifier_offset);
        ProtobufCMessage *const *items = many ? *(ProtobufCMessage * *const *)(const void *)member
                                              : (ProtobufCMessage *const *)(const void *)member;
        for (size_t k = 0; k < count && !other; k++) {
            if (items[k] != NULL) {
                assert_known(words, items[k]);
            }
        }
    }
}

static void assert_again(const struct golden *golden, const ProtobufCMessage *message) {
    size_t count;
    uint8_t *bytes = pack(message, &count);
    if (count != golden->count || memcmp(bytes, golden->bytes, count) != 0) {
        fail_msg("%s: written again it is another message of %zu bytes, not %zu", golden->words,
                 count, golden->count);
    }
}

struct search {
    struct golden golden;
    const char *words; /* of the message that is looked at */
    unsigned messages;
};

static void check_message(const char *words, const ProtobufCMessageDescriptor *descriptor,
                          void *context) {
    struct search *search = context;
    FILE *file = open_golden();
    bool found = false;
    while (next_line(file, &search->golden)) {
        if (strcmp(search->golden.words, words) != 0) {
            continue;
        }
        found = true;
        ProtobufCMessage *message =
            protobuf_c_message_unpack(descriptor, NULL, search->golden.count, search->golden.bytes);
        if (message == NULL) {
            fail_msg("%s: it cannot be read", words);
        }
        assert_known(words, message);
        assert_again(&search->golden, message);
        protobuf_c_message_free_unpacked(message, NULL);
    }
    fclose(file);
    if (!found) {
        fail_msg("no golden bytes for: %s (a new message? see the top of this file)", words);
    }
    search->messages++;
}

static void test_every_message_of_the_contract(void **state) {
    static struct search search;
    (void)state;
    search.messages = 0;
    contract(check_message, &search);
    print_message("%u messages\n", search.messages);
}

/* The rows that a message carries, as the store has them. */
static size_t rows_of(Chord__V1__Row **messages, size_t count, struct store_row *rows) {
    assert_in_range(count, 0, ROWS_MAX);
    for (size_t i = 0; i < count; i++) {
        assert_true(wire_read_row(messages[i], &rows[i]));
    }
    return count;
}

static void check_ring(const struct golden *golden, enum chord_message_kind kind, bool request) {
    static struct chord_request asked;
    static struct chord_response answered;
    struct wire_context context = {&arena, M};
    struct store_row rows[ROWS_MAX];
    size_t rows_count = 0;
    const char *error = "it cannot be read";
    enum rpc_method method = wire_method(kind);
    ProtobufCMessage *message = protobuf_c_message_unpack(request ? rpc_method_request(method)
                                                                  : rpc_method_response(method),
                                                          NULL, golden->count, golden->bytes),
                     *again;
    memset(&asked, 0, sizeof asked);
    memset(&answered, 0, sizeof answered);
    bool ok = message != NULL && (request ? wire_decode_request(kind, message, &asked, &error)
                                          : wire_decode_response(kind, message, &answered, &error));
    if (!ok) {
        fail_msg("%s: %s", golden->words, error);
    }
    if (request && kind == CHORD_APPLY) {
        const Chord__V1__ApplyRequest *apply = (const void *)message;
        rows_count = rows_of(apply->rows, apply->n_rows, rows);
    } else if (!request && kind == CHORD_TRANSFER_KEYS) {
        const Chord__V1__TransferKeysResponse *transfer = (const void *)message;
        rows_count = rows_of(transfer->rows, transfer->n_rows, rows);
    }
    again = request ? wire_encode_request(&context, &asked, rows, rows_count)
                    : wire_encode_response(&context, &answered, rows, rows_count);
    assert_again(golden, again);
    protobuf_c_message_free_unpacked(message, NULL);
}

static void test_every_message_of_the_ring(void **state) {
    static struct golden golden;
    FILE *file = open_golden();
    bool seen[KINDS + 1][2] = {{false}};
    unsigned kind;
    (void)state;
    while (next_line(file, &golden)) {
        if (sscanf(golden.words, "ring %u", &kind) == 1) {
            bool request = strstr(golden.words, " request") != NULL;
            assert_in_range(kind, CHORD_PING, KINDS);
            check_ring(&golden, (enum chord_message_kind)kind, request);
            seen[kind][request] = true;
        }
    }
    fclose(file);
    for (kind = CHORD_PING; kind <= KINDS; kind++) {
        enum chord_message_kind each = (enum chord_message_kind)kind;
        if ((has_request(each) && !seen[kind][1]) || (has_response(each) && !seen[kind][0])) {
            fail_msg("no golden bytes for the ring's message %u", kind);
        }
    }
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "--make") == 0) {
        return hash_open() ? (make(), 0) : 1;
    }
    if (!hash_open()) {
        return 1;
    }
    const struct CMUnitTest tests[] = {
        TEST(test_every_message_of_the_contract),
        TEST(test_every_message_of_the_ring),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    hash_close();
    return failed;
}

/* SPDX-License-Identifier: MIT */
/*
 * Fuzzer of the records in a database (store_records.h), whose checksum keeps nobody out who means
 * it. A record that is accepted is written again as the same bytes, and a node that finds an
 * identity and views refuses them or starts, ticks and keeps the core's contract.
 *
 * The first byte says what the rest is: a record as it is, the fields of one, to which version and
 * checksum are added, or the fields of an identity and some views, each behind its length.
 */
#include "bytes.h"
#include "core_world.h"

#include "store_state.h"
#include "xxh3.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { VIEWS_OF_A_FILE = 8, TICKS = 6, TICK_MS = 700 };

union value {
    struct store_id id;
    struct chord_identity identity;
    struct store_place place;
    struct store_former former;
    struct chord_stored_view view;
};

static void must(bool condition, const char *what) {
    if (!condition) {
        fprintf(stderr, "fuzz_records: %s\n", what);
        abort();
    }
}

static bool read_record(enum record_kind kind, const uint8_t *bytes, size_t count,
                        union value *value) {
    static uint8_t again[RECORD_BYTES_MAX];
    uint8_t *exact = malloc(count + 1); /* so that a read beyond its end is seen */
    must(exact != NULL, "no memory");
    memcpy(exact, bytes, count);
    enum record_error error = record_decode(kind, value, exact, count);
    if (error == RECORD_OK) {
        must(record_encode(kind, value, again) == count && memcmp(again, exact, count) == 0,
             "a record is written otherwise than it was read");
    }
    free(exact);
    return error == RECORD_OK;
}

/* Of fields alone. */
static bool read_fields(enum record_kind kind, const uint8_t *fields, size_t count,
                        union value *value) {
    static uint8_t record[RECORD_BYTES_MAX + 1];
    count = count <= RECORD_BYTES_MAX - 9 ? count : RECORD_BYTES_MAX - 9;
    record[0] = RECORD_VERSION;
    memcpy(record + 1, fields, count);
    uint64_t sum = XXH3_64bits_withSeed(record, count + 1, (XXH64_hash_t)kind);
    for (unsigned i = 0; i < 8; i++) {
        record[count + 1 + i] = (uint8_t)(sum >> (8 * i));
    }
    return read_record(kind, record, count + 9, value);
}

/* The next fields behind their length, which is cut where the bytes end. */
static struct bytes take_part(struct bytes *bytes) {
    size_t count = take(bytes);
    count = count << 8 | take(bytes);
    count = count < bytes->size ? count : bytes->size;
    struct bytes part = {bytes->data, count};
    bytes->data += count;
    bytes->size -= count;
    return part;
}

static void start(struct bytes *bytes) {
    static struct world world;
    static union value value;
    struct chord_event event = {.kind = CHORD_EVENT_START};
    struct store_state state = {.views = NULL};
    struct store_found found;
    world_forget(&world); /* it is large: only what counts is cleared */
    world.views_count = world.steps = 0;
    world.request_last = 0;
    world.config = (struct chord_config){
        .limits = {.peers_max = 96,
                   .views_max = 16,
                   .calls_max = 64,
                   .lookups_max = 8,
                   .paths_max = 2,
                   .batches_max = 8,
                   .transfers_max = 3,
                   .decisions_max = 3,
                   .keys_in_flight_max = 8},
        .timing = chord_timing_default,
        .address = "p7:1",
        .store_id = {1},
        .seed = 7,
    };
    memcpy(world.self.address, world.config.address, CHORD_ADDRESS_BYTES);
    memcpy(world.self.store_id, world.config.store_id, CHORD_STORE_ID_BYTES);
    memset(&world.identity, 0, sizeof world.identity);
    world.now_ms = 1000;
    struct bytes part = take_part(bytes);
    if (!read_fields(RECORD_IDENTITY, part.data, part.size, &value)) {
        return;
    }
    event.start.stored = state.identity = value.identity;
    world.parameters = value.identity.parameters;
    while (bytes->size > 0 && world.views_count < VIEWS_OF_A_FILE) {
        part = take_part(bytes);
        if (read_fields(RECORD_VIEW, part.data, part.size, &value)) {
            world.views[world.views_count++] = value.view;
        }
    }
    state.has[RECORD_STORE_ID] = state.has[RECORD_IDENTITY] = true;
    state.views = world.views;
    state.views_count = world.views_count;
    if (state_check(&state, &found) != SQLITE_OK) {
        return;
    }
    world_start(&world, &event);
    for (unsigned i = 0; i < TICKS && !world.refused; i++) {
        world_tick(&world, world.now_ms + TICK_MS);
    }
    world_free(&world);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static union value value;
    struct bytes bytes = {data, size};
    unsigned way = take_below(&bytes, 3);
    enum record_kind kind = RECORD_STORE_ID;
    if (way != 2) {
        kind += take_below(&bytes, RECORD_KINDS_END - RECORD_STORE_ID);
    }
    if (way == 0) {
        (void)read_record(kind, bytes.data, bytes.size, &value);
    } else if (way == 1) {
        (void)read_fields(kind, bytes.data, bytes.size, &value);
    } else {
        start(&bytes);
    }
    return 0;
}

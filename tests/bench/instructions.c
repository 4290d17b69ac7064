/* SPDX-License-Identifier: MIT */
/*
 * Work to be counted in instructions, which, unlike time, a busy machine does not change:
 *
 *     instructions get|put|lookup|envelope|csv
 *
 * Does it REPEATS times within `counted`, and prints how often. instructions.py runs it under
 * callgrind, which counts in that function only. get, put: all three members of a range and their
 * messages, on the simulator's host, its network and store included. lookup: one member's answer to
 * find_successor. envelope: a find_successor answer with its list, packed, and read again. csv: a
 * row, read.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arena.h"
#include "core_host.h"
#include "csv_reader.h"
#include "hash.h"
#include "rpc_internal.h"
#include "wire.h"

enum { REPEATS = 300, KEYS = 50, M = 32, NODES_OF_A_LOOKUP = 64 };

static struct host *host;
static struct chord_response response;
static struct csv_reader *reader;

/* callgrind counts from its entry to its return. */
__attribute__((noinline)) static void counted(void (*work)(unsigned turn)) {
    for (unsigned turn = 0; turn < REPEATS; turn++) {
        work(turn);
    }
}

static void need(bool is_so, const char *what) {
    if (!is_so) {
        fprintf(stderr, "instructions: %s\n", what);
        exit(1);
    }
}

/* ---- on a ring ---- */

static void ring_start(int nodes, bool ring_only) {
    host = host_new(&(struct host_config){.seed = 1,
                                          .m = M,
                                          .n = 2,
                                          .replicas = 3,
                                          .ring_only = ring_only,
                                          .places_evenly = true,
                                          .invariant_every = UINT64_MAX});
    for (int i = 0; i < nodes; i++) {
        host_start(host, host_add(host));
    }
    need(host_run_until(host, ring_only ? host_ideal : host_settled, 60000),
         "the ring is not made");
}

static void finish(const struct host_call *call) {
    for (int i = 0; i < 10000 && !call->done; i++) {
        host_run(host, 1);
    }
    need(call->done && call->code == CHORD_OK, "no answer");
}

static void operate(enum chord_operation_kind kind, unsigned turn) {
    struct host_operation operation = {.kind = kind};
    snprintf(operation.key, sizeof operation.key, "key %u", turn % KEYS);
    if (kind == CHORD_PUT) {
        snprintf(operation.value, sizeof operation.value, "value %u", turn);
    }
    struct host_call *call = host_batch(host, 0, &operation, 1, 5000);
    finish(call);
    need(call->operations[0].code == CHORD_OK, "an operation failed");
}

static void put(unsigned turn) {
    operate(CHORD_PUT, turn);
}

static void get(unsigned turn) {
    operate(CHORD_GET, turn);
}

static void lookup(unsigned turn) {
    struct chord_request request = {.kind = CHORD_FIND_SUCCESSOR};
    char text[32];
    uint8_t hash[CHORD_ID_BYTES];
    snprintf(text, sizeof text, "key %u", turn);
    hash_key((const uint8_t *)text, strlen(text), hash);
    request.id = id_from_hash(hash, M);
    finish(host_request(host, (int)turn % NODES_OF_A_LOOKUP, &request, 5000));
}

/* ---- a message ---- */

static void response_make(void) {
    response.kind = CHORD_FIND_SUCCESSOR;
    response.ring.found = true;
    response.ring.successors.count = 4;
    struct chord_peer *peers[] = {&response.ring.node,
                                  &response.ring.self,
                                  &response.ring.successors.items[0],
                                  &response.ring.successors.items[1],
                                  &response.ring.successors.items[2],
                                  &response.ring.successors.items[3]};
    for (unsigned i = 0; i < sizeof peers / sizeof peers[0]; i++) {
        peers[i]->incarnation = 1;
        snprintf(peers[i]->address, sizeof peers[i]->address, "198.51.100.%u:4001", i);
        memset(peers[i]->store_id, (int)i + 1, sizeof peers[i]->store_id);
        peers[i]->id.bytes[CHORD_ID_BYTES - 1] = (uint8_t)(i + 1);
    }
}

static void envelope(unsigned turn) {
    struct arena arena = {NULL};
    struct wire_context context = {&arena, M};
    Chord__V1__RpcResponse outer = CHORD__V1__RPC_RESPONSE__INIT;
    nng_msg *message;
    ProtobufCMessage *inner = wire_encode_response(&context, &response, NULL, 0);
    uint8_t id[16] = {(uint8_t)turn};
    outer.request_id = (ProtobufCBinaryData){sizeof id, id};
    need(rpc_envelope_pack_response(&message, NULL, &outer, inner) == 0, "it cannot be packed");
    struct rpc_arena *read, *read_inner;
    bool exhausted;
    Chord__V1__RpcResponse *again = (Chord__V1__RpcResponse *)rpc_arena_unpack(
        &read, &exhausted, &chord__v1__rpc_response__descriptor, nng_msg_body(message),
        nng_msg_len(message));
    need(again != NULL, "it cannot be read");
    ProtobufCMessage *payload = rpc_arena_unpack(&read_inner, &exhausted, inner->descriptor,
                                                 again->payload.data, again->payload.len);
    struct chord_response told;
    const char *error = "its payload cannot be read";
    need(payload != NULL && wire_decode_response(response.kind, payload, &told, &error), error);
    rpc_arena_free(read_inner);
    rpc_arena_free(read);
    nng_msg_free(message);
    arena_free(&arena);
}

/* ---- rows ---- */

static bool on_row(void *context, const struct csv_row *row) {
    (void)context;
    return row->error == NULL && row->fields_count == 2;
}

static void csv(unsigned turn) {
    char row[80];
    int size = snprintf(row, sizeof row, "key %u,\"a value, of row %u\"\n", turn, turn);
    need(csv_reader_feed(reader, row, (size_t)size), "a row cannot be read");
}

int main(int argc, char **argv) {
    const char *what = argc == 2 ? argv[1] : "";
    void (*work)(unsigned turn) = NULL;
    need(hash_open(), "no hash");
    if (strcmp(what, "get") == 0 || strcmp(what, "put") == 0) {
        ring_start(3, false);
        for (unsigned key = 0; key < KEYS; key++) {
            put(key);
        }
        work = what[0] == 'g' ? get : put;
    } else if (strcmp(what, "lookup") == 0) {
        ring_start(NODES_OF_A_LOOKUP, true);
        work = lookup;
    } else if (strcmp(what, "envelope") == 0) {
        response_make();
        work = envelope;
    } else if (strcmp(what, "csv") == 0) {
        reader = csv_reader_new(NULL, on_row, NULL);
        need(reader != NULL, "no memory");
        work = csv;
    }
    need(work != NULL, "get, put, lookup, envelope or csv");
    counted(work);
    printf("%d\n", REPEATS);
    return 0;
}

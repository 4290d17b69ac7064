/* SPDX-License-Identifier: MIT */
/*
 * See rpc_receiver.h. A recorded request must not work again, neither here nor at another process:
 * so it names the start of the process that it is for and the time by that process's clock, and
 * what came inside the window is remembered by its MAC. Nothing needs to agree on the time of day:
 * each answer says the clock, and a request that is refused for it (CHALLENGE) was not executed.
 */
#include "rpc_receiver.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum {
    GENERATION_MS = 2 * RPC_WINDOW_MS, /* a request is acceptable for so long at most */
    SLOTS_FIRST = 1024,
};

/* The MACs of requests, cut to 8 bytes: nobody without the key can choose one. Open addressing; 0 =
 * free. Grows to twice RPC_ONCE_REQUESTS_MAX slots. */
struct generation {
    uint64_t *slots;
    size_t slots_count;
    size_t used;
};

struct rpc_receiver {
    pthread_mutex_t lock;
    bool once;
    bool has_ring;
    uint8_t ring_id[RPC_RING_ID_BYTES];
    uint8_t start[RPC_START_BYTES];
    uint64_t started_us;
    uint64_t turned_ms; /* when the newer generation began */
    struct generation newer, older;
};

/* ---- what came already ---- */

static size_t slot_of(const struct generation *generation, uint64_t word) {
    size_t at = (size_t)word & (generation->slots_count - 1);
    while (generation->slots[at] != 0 && generation->slots[at] != word) {
        at = (at + 1) & (generation->slots_count - 1);
    }
    return at;
}

static bool generation_has(const struct generation *generation, uint64_t word) {
    return generation->slots_count > 0 && generation->slots[slot_of(generation, word)] == word;
}

static bool generation_grow(struct generation *generation) {
    struct generation grown = {
        .slots_count = generation->slots_count == 0 ? SLOTS_FIRST : 2 * generation->slots_count,
        .used = generation->used};
    grown.slots = calloc(grown.slots_count, sizeof *grown.slots);
    if (grown.slots == NULL) {
        return false;
    }
    for (size_t i = 0; i < generation->slots_count; i++) {
        if (generation->slots[i] != 0) {
            grown.slots[slot_of(&grown, generation->slots[i])] = generation->slots[i];
        }
    }
    free(generation->slots);
    *generation = grown;
    return true;
}

static bool generation_put(struct generation *generation, uint64_t word) {
    bool half_full = 2 * generation->used >= generation->slots_count;
    if (generation->used >= RPC_ONCE_REQUESTS_MAX || (half_full && !generation_grow(generation))) {
        return false;
    }
    generation->slots[slot_of(generation, word)] = word;
    generation->used++;
    return true;
}

/* A request that came just before a turn is still known for the whole of the next generation. */
static void generations_turn(struct rpc_receiver *receiver, uint64_t now_ms) {
    if (now_ms - receiver->turned_ms >= GENERATION_MS) {
        free(receiver->older.slots);
        receiver->older = receiver->newer;
        receiver->newer = (struct generation){0};
        receiver->turned_ms = now_ms;
    }
}

/* ---- one process, one ring ---- */

int rpc_receiver_open(struct rpc_receiver **out, bool once) {
    struct rpc_receiver *receiver = calloc(1, sizeof *receiver);
    *out = NULL;
    if (receiver == NULL) {
        return -ENOMEM;
    }
    if (getrandom(receiver->start, sizeof receiver->start, 0) != sizeof receiver->start) {
        free(receiver);
        return -EIO;
    }
    pthread_mutex_init(&receiver->lock, NULL);
    receiver->once = once;
    receiver->started_us = rpc_now_us();
    *out = receiver;
    return 0;
}

void rpc_receiver_close(struct rpc_receiver *receiver) {
    if (receiver != NULL) {
        pthread_mutex_destroy(&receiver->lock);
        free(receiver->newer.slots);
        free(receiver->older.slots);
        free(receiver);
    }
}

void rpc_receiver_set_ring(struct rpc_receiver *receiver, const uint8_t *ring_id) {
    pthread_mutex_lock(&receiver->lock);
    receiver->has_ring = ring_id != NULL;
    if (ring_id != NULL) {
        memcpy(receiver->ring_id, ring_id, RPC_RING_ID_BYTES);
    }
    pthread_mutex_unlock(&receiver->lock);
}

static uint64_t receiver_clock_ms(const struct rpc_receiver *receiver) {
    return (rpc_now_us() - receiver->started_us) / 1000;
}

void rpc_receiver_name(struct rpc_receiver *receiver, Chord__V1__RpcResponse *response,
                       struct rpc_receiver_room *room) {
    pthread_mutex_lock(&receiver->lock);
    if (receiver->has_ring) {
        memcpy(room->ring_id, receiver->ring_id, sizeof room->ring_id);
        response->ring_id = (ProtobufCBinaryData){sizeof room->ring_id, room->ring_id};
    }
    pthread_mutex_unlock(&receiver->lock);
    response->start = (ProtobufCBinaryData){sizeof receiver->start, receiver->start};
    response->clock_ms = receiver_clock_ms(receiver);
}

static Chord__V1__Code ring_check(const struct rpc_receiver *receiver, ProtobufCBinaryData meant,
                                  char *text, size_t text_bytes) {
    if (meant.len != 0 && meant.len != RPC_RING_ID_BYTES) {
        snprintf(text, text_bytes, "ring_id has %zu bytes; give %d, or none for any ring",
                 meant.len, RPC_RING_ID_BYTES);
        return CHORD__V1__CODE__CODE_INVALID_ARGUMENT;
    }
    /* A node that is in no ring yet answers for itself what it cannot do. */
    if (meant.len == 0 || !receiver->has_ring ||
        memcmp(meant.data, receiver->ring_id, RPC_RING_ID_BYTES) == 0) {
        return CHORD__V1__CODE__CODE_OK;
    }
    char mine[2 * RPC_RING_ID_BYTES + 1];
    char theirs[2 * RPC_RING_ID_BYTES + 1];
    rpc_hex(mine, receiver->ring_id, RPC_RING_ID_BYTES);
    rpc_hex(theirs, meant.data, RPC_RING_ID_BYTES);
    snprintf(text, text_bytes,
             "this node belongs to ring %s, the request is meant for ring %s; nothing was done",
             mine, theirs);
    return CHORD__V1__CODE__CODE_WRONG_RING;
}

static Chord__V1__Code once_check(struct rpc_receiver *receiver,
                                  const Chord__V1__RpcRequest *request, char *text,
                                  size_t text_bytes) {
    uint64_t now_ms = receiver_clock_ms(receiver);
    bool for_us = request->receiver.len == RPC_START_BYTES &&
                  memcmp(request->receiver.data, receiver->start, RPC_START_BYTES) == 0;
    uint64_t apart_ms =
        now_ms > request->sent_ms ? now_ms - request->sent_ms : request->sent_ms - now_ms;
    if (!for_us || apart_ms > RPC_WINDOW_MS) {
        snprintf(text, text_bytes,
                 "a ring with a key takes a request once, at the process it is meant for: send it "
                 "anew with the start and clock_ms of this answer");
        return CHORD__V1__CODE__CODE_CHALLENGE;
    }
    uint64_t word;
    memcpy(&word, request->mac.data, sizeof word);
    word = word == 0 ? 1 : word;
    generations_turn(receiver, now_ms);
    if (generation_has(&receiver->newer, word) || generation_has(&receiver->older, word)) {
        snprintf(text, text_bytes, "this request came before; nothing was done now");
        return CHORD__V1__CODE__CODE_CHALLENGE;
    }
    if (!generation_put(&receiver->newer, word)) {
        snprintf(text, text_bytes, "more than %d requests in %d s; try again later",
                 RPC_ONCE_REQUESTS_MAX, GENERATION_MS / 1000);
        return CHORD__V1__CODE__CODE_RESOURCE_EXHAUSTED;
    }
    return CHORD__V1__CODE__CODE_OK;
}

Chord__V1__Code rpc_receiver_check(struct rpc_receiver *receiver,
                                   const Chord__V1__RpcRequest *request, char *text,
                                   size_t text_bytes) {
    pthread_mutex_lock(&receiver->lock);
    Chord__V1__Code code = ring_check(receiver, request->ring_id, text, text_bytes);
    if (code == CHORD__V1__CODE__CODE_OK && receiver->once) {
        code = once_check(receiver, request, text, text_bytes);
    }
    pthread_mutex_unlock(&receiver->lock);
    return code;
}

/* SPDX-License-Identifier: MIT */
/*
 * Heap for unpacking one message, with a budget. protobuf-c may need 36 times the bytes that came
 * in (a two-byte empty submessage becomes a struct), so a limit on the message alone is none.
 * Everything is freed at once. Knows protobuf-c's allocator interface and nothing else.
 */
#include <stdalign.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "rpc_internal.h"

enum {
    FIRST_BYTES = 1024,      /* in the arena itself: most messages need no more */
    CHUNK_BYTES = 16 * 1024, /* small allocations share chunks of this size */
    LARGE_BYTES = 4 * 1024,  /* from here on an allocation has its own block, freed on its own */
    ALIGNMENT = alignof(max_align_t),
};

struct arena_block {
    struct arena_block *next;
    struct arena_block *previous;
    size_t bytes;
    alignas(max_align_t) uint8_t data[];
};

struct rpc_arena {
    ProtobufCAllocator allocator;
    atomic_uint holders;
    size_t bytes_max;
    size_t bytes_used;
    bool exhausted;
    struct arena_block *chunks;
    struct arena_block *large;
    uint8_t *at; /* free space of the newest chunk */
    size_t left;
    alignas(max_align_t) uint8_t first[FIRST_BYTES];
};

static struct arena_block *arena_block_new(struct rpc_arena *arena, struct arena_block **list,
                                           size_t bytes) {
    if (bytes > arena->bytes_max - arena->bytes_used) {
        arena->exhausted = true;
        return NULL;
    }
    struct arena_block *block = malloc(sizeof *block + bytes);
    if (block == NULL) {
        arena->exhausted = true;
        return NULL;
    }
    arena->bytes_used += bytes;
    block->bytes = bytes;
    block->previous = NULL;
    block->next = *list;
    if (*list != NULL) {
        (*list)->previous = block;
    }
    *list = block;
    return block;
}

static void *arena_alloc(void *data, size_t size) {
    struct rpc_arena *arena = data;
    if (size > arena->bytes_max) {
        arena->exhausted = true;
        return NULL;
    }
    size = (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (size > arena->left) {
        bool large = size >= LARGE_BYTES;
        struct arena_block *block = arena_block_new(arena, large ? &arena->large : &arena->chunks,
                                                    large ? size : CHUNK_BYTES);
        if (block == NULL || large) {
            return block == NULL ? NULL : block->data;
        }
        arena->at = block->data;
        arena->left = CHUNK_BYTES;
    }
    void *place = arena->at;
    arena->at += size;
    arena->left -= size;
    return place;
}

/* protobuf-c frees its scan tables before it returns: those that are large come back to the
 * budget. The rest goes with the arena. After a refusal nothing is looked up, since unpack then
 * frees every single field. */
static void arena_release(void *data, void *pointer) {
    struct rpc_arena *arena = data;
    if (arena->exhausted || pointer == NULL) {
        return;
    }
    for (struct arena_block *block = arena->large; block != NULL; block = block->next) {
        if (block->data != pointer) {
            continue;
        }
        if (block->previous != NULL) {
            block->previous->next = block->next;
        } else {
            arena->large = block->next;
        }
        if (block->next != NULL) {
            block->next->previous = block->previous;
        }
        arena->bytes_used -= block->bytes;
        free(block);
        return;
    }
}

struct rpc_arena *rpc_arena_new(size_t bytes_max) {
    struct rpc_arena *arena = malloc(sizeof *arena);
    if (arena == NULL) {
        return NULL;
    }
    arena->allocator =
        (ProtobufCAllocator){.alloc = arena_alloc, .free = arena_release, .allocator_data = arena};
    atomic_init(&arena->holders, 1);
    arena->bytes_max = bytes_max;
    arena->bytes_used = 0;
    arena->exhausted = false;
    arena->chunks = NULL;
    arena->large = NULL;
    arena->at = arena->first;
    arena->left = FIRST_BYTES;
    return arena;
}

static void arena_blocks_free(struct arena_block *block) {
    while (block != NULL) {
        struct arena_block *next = block->next;
        free(block);
        block = next;
    }
}

struct rpc_arena *rpc_arena_share(struct rpc_arena *arena) {
    atomic_fetch_add(&arena->holders, 1);
    return arena;
}

void rpc_arena_free(struct rpc_arena *arena) {
    if (arena == NULL || atomic_fetch_sub(&arena->holders, 1) > 1) {
        return;
    }
    arena_blocks_free(arena->chunks);
    arena_blocks_free(arena->large);
    free(arena);
}

ProtobufCAllocator *rpc_arena_allocator(struct rpc_arena *arena) {
    return &arena->allocator;
}

size_t rpc_arena_used(const struct rpc_arena *arena) {
    return arena->bytes_used;
}

bool rpc_arena_exhausted(const struct rpc_arena *arena) {
    return arena->exhausted;
}

ProtobufCMessage *rpc_arena_unpack(struct rpc_arena **arena, bool *exhausted,
                                   const ProtobufCMessageDescriptor *descriptor, const void *bytes,
                                   size_t bytes_count) {
    *exhausted = false;
    *arena = rpc_arena_new(RPC_ARENA_BYTES_MAX);
    if (*arena == NULL) {
        *exhausted = true;
        return NULL;
    }
    ProtobufCMessage *message =
        protobuf_c_message_unpack(descriptor, &(*arena)->allocator, bytes_count, bytes);
    if (message == NULL) {
        *exhausted = (*arena)->exhausted;
        rpc_arena_free(*arena);
        *arena = NULL;
    }
    return message;
}

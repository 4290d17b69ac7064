/* SPDX-License-Identifier: MIT */
#include "arena.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK_BYTES = 16 * 1024, KEPT_BYTES_MAX = 64 * 1024 };

struct arena_chunk {
    struct arena_chunk *next;
    size_t used, size;
    _Alignas(16) unsigned char bytes[];
};

void *arena_alloc(struct arena *arena, size_t bytes) {
    size_t size = (bytes + 15) / 16 * 16;
    struct arena_chunk *chunk = arena->chunks;
    if (chunk == NULL || chunk->size - chunk->used < size) {
        size_t wanted = size > CHUNK_BYTES ? size : CHUNK_BYTES;
        chunk = malloc(sizeof *chunk + wanted);
        if (chunk == NULL) {
            fprintf(stderr, "chord-node: out of memory (%zu bytes)\n", wanted);
            abort();
        }
        chunk->used = 0;
        chunk->size = wanted;
        chunk->next = arena->chunks;
        arena->chunks = chunk;
    }
    void *memory = chunk->bytes + chunk->used;
    chunk->used += size;
    return memset(memory, 0, bytes);
}

void *arena_copy(struct arena *arena, const void *bytes, size_t bytes_count) {
    void *copy = arena_alloc(arena, bytes_count > 0 ? bytes_count : 1);
    if (bytes_count > 0) {
        memcpy(copy, bytes, bytes_count);
    }
    return copy;
}

void arena_free(struct arena *arena) {
    while (arena->chunks != NULL) {
        struct arena_chunk *next = arena->chunks->next;
        free(arena->chunks);
        arena->chunks = next;
    }
}

void arena_reset(struct arena *arena) {
    struct arena_chunk *kept = arena->chunks;
    if (kept == NULL || kept->size > KEPT_BYTES_MAX) {
        arena_free(arena);
        return;
    }
    arena->chunks = kept->next;
    arena_free(arena);
    kept->next = NULL;
    kept->used = 0;
    arena->chunks = kept;
}

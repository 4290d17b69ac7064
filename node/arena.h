/* SPDX-License-Identifier: MIT */
/* Memory that is given back all at once. */
#ifndef NODE_ARENA_H
#define NODE_ARENA_H

#include <stddef.h>

struct arena_chunk;
struct arena {
    struct arena_chunk *chunks; /* zeroed = empty */
};

/* Zeroed, aligned to 16. Ends the process when memory is out: nothing useful can go on then. */
void *arena_alloc(struct arena *arena, size_t bytes);
void *arena_copy(struct arena *arena, const void *bytes, size_t bytes_count);
/* The last chunk is kept for the next use when it is small. */
void arena_reset(struct arena *arena);
void arena_free(struct arena *arena);

#endif

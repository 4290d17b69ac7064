/* The walk over all keys (key_walk.h) for whoever does not watch the ring: who leads what is asked
 * of all nodes, and asked again when it does not hold any more. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "key_walk.h"
#include "ring_walk.h"

struct chord_walk {
    struct chord_client *client;
    struct key_walk walk;
    struct ring_walk ring; /* as it was seen last */
    bool ring_known;
    bool nobody;
    char reason[200]; /* why nobody answers */
    struct key_walk_page page;
    struct chord_row *rows;
    size_t rows_capacity;
};

static void ring_forget(struct chord_walk *walk) {
    if (walk->ring_known) {
        ring_walk_free(&walk->ring);
    }
    walk->ring_known = false;
}

static void ring_learn(struct chord_walk *walk) {
    walk->ring_known = ring_walk(walk->client, &walk->ring);
    walk->nobody = !walk->ring_known;
    if (walk->nobody) {
        snprintf(walk->reason, sizeof walk->reason, "%s", walk->ring.none.message);
        ring_walk_free(&walk->ring);
    }
}

static bool source_leader(void *context, const struct ring_id *id, struct key_walk_leader *leader,
                          unsigned *m) {
    struct chord_walk *walk = context;
    bool found = false;
    leader->epoch = 0;
    if (!walk->ring_known) {
        ring_learn(walk);
    }
    for (size_t i = 0; walk->ring_known && i < walk->ring.nodes_count; i++) {
        const struct ring_node *node = &walk->ring.nodes[i];
        found = key_walk_leader_take(leader, node->address, node->status, id) || found;
    }
    *m = walk->ring.m;
    if (!found) {
        ring_forget(walk); /* asked afresh the next time */
    }
    return found;
}

static void source_mistrust(void *context, const char *address) {
    (void)address;
    ring_forget(context);
}

static bool source_stopping(void *context) {
    const struct chord_walk *walk = context;
    return walk->nobody || atomic_load(&walk->client->stopping);
}

struct chord_walk *chord_walk_new(struct chord_client *client, const void *prefix,
                                  size_t prefix_size, bool values) {
    struct chord_walk *walk = calloc(1, sizeof *walk);
    if (walk == NULL) {
        return NULL;
    }
    const struct key_walk_source source = {.client = client->rpc,
                                           .leader = source_leader,
                                           .mistrust = source_mistrust,
                                           .stopping = source_stopping,
                                           .context = walk};
    walk->client = client;
    key_walk_start(&walk->walk, &source, values);
    if (!buf_append(&walk->walk.prefix, prefix, prefix_size)) {
        chord_walk_free(walk);
        return NULL;
    }
    return walk;
}

void chord_walk_free(struct chord_walk *walk) {
    if (walk != NULL) {
        key_walk_page_free(&walk->page);
        key_walk_end(&walk->walk);
        ring_forget(walk);
        free(walk->rows);
        free(walk);
    }
}

static bool rows_take(struct chord_walk *walk) {
    if (walk->page.count > walk->rows_capacity) {
        struct chord_row *rows = reallocarray(walk->rows, walk->page.count, sizeof rows[0]);
        if (rows == NULL) {
            return false;
        }
        walk->rows = rows;
        walk->rows_capacity = walk->page.count;
    }
    for (size_t i = 0; i < walk->page.count; i++) {
        const Chord__V1__KeyInfo *info = walk->page.keys[i];
        walk->rows[i] = (struct chord_row){.key = info->key.data,
                                           .key_size = info->key.len,
                                           .value = info->value.data,
                                           .value_size = info->value.len,
                                           .expires_at_ms = info->expires_at_ms};
    }
    return true;
}

bool chord_walk_next(struct chord_walk *walk, uint32_t limit, struct chord_page *page, char *error,
                     size_t error_size) {
    *page = (struct chord_page){.done = walk->walk.done};
    walk->nobody = false;
    key_walk_page_free(&walk->page);
    if (page->done) {
        return true;
    }
    if (!key_walk_next(&walk->walk, limit, &walk->page, error, error_size)) {
        page->nobody = walk->nobody;
        if (walk->nobody) {
            snprintf(error, error_size, "%s", walk->reason);
        }
        return false;
    }
    if (!rows_take(walk)) {
        snprintf(error, error_size, "no memory");
        return false;
    }
    page->rows = walk->rows;
    page->count = walk->page.count;
    page->done = walk->walk.done;
    return true;
}

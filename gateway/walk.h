/*
 * A walk over all keys of the ring in hash order, a page at a time. Each page comes from the node
 * that leads that part, and counts only if the node led it, in the same epoch, before and after:
 * so nodes may join, leave and fail meanwhile and every key still comes exactly once.
 */
#ifndef GATEWAY_WALK_H
#define GATEWAY_WALK_H

#include <stdbool.h>
#include <stdint.h>

#include "app.h"
#include "buf.h"
#include "chord/v1/admin.pb-c.h"
#include "ids.h"

enum { WALK_STUCK_MS = 15000 }; /* no leader for so long ends the walk */

struct walk {
    struct app *app;
    bool values;
    struct buf prefix; /* only keys that begin so; empty = all */
    bool done;
    struct ring_id next; /* ids below it are finished */
    bool cursor_set;     /* otherwise from the very first */
    uint8_t cursor_hash[ID_BYTES];
    struct buf cursor_key;
};

struct walk_page {
    struct rpc_reply reply; /* owns the keys */
    Chord__V1__KeyInfo **keys;
    size_t count;
};

void walk_start(struct walk *walk, struct app *app, bool values);
/* Takes up where a cursor (hash, key) ended. */
bool walk_resume(struct walk *walk, const uint8_t *hash, const uint8_t *key, size_t key_size);
/* The next page; count may be 0 before `done`, with a prefix often: a page takes half a second. false: `error` says why. Free the page. */
bool walk_next(struct walk *walk, uint32_t limit, struct walk_page *page, char *error,
               size_t error_size);
void walk_page_free(struct walk_page *page);
void walk_end(struct walk *walk);

#endif

/*
 * All keys of a ring once, in the order of their hashes, while nodes join, leave and fail: page
 * after page from the node that leads the keys it has come to. A page counts when its node led the
 * very same range, in the same epoch, afterwards too; so every key that is there all the time comes
 * exactly once.
 */
#ifndef CHORD_KEY_WALK_H
#define CHORD_KEY_WALK_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "chord/v1/admin.pb-c.h"
#include "ids.h"
#include "rpc.h"

enum { KEY_WALK_STUCK_MS = 15000 }; /* no leader for so long ends the walk */

struct key_walk_leader {
    struct ring_id lo; /* its range is (lo, hi] */
    struct ring_id hi;
    uint64_t epoch;
    char address[RPC_ADDRESS_BYTES_MAX + 1];
};

/* Takes the range over the id that the node at this address leads by its status, if it is newer
 * than *leader or nothing was taken yet (an epoch of 0). true: taken. */
bool key_walk_leader_take(struct key_walk_leader *leader, const char *address,
                          const Chord__V1__StatusResponse *status, const struct ring_id *id);

/* What the walk asks of whoever knows the ring. */
struct key_walk_source {
    struct rpc_client *client;
    /* Who leads the id as far as is known, and the ring's M. false: nobody, or not known now. */
    bool (*leader)(void *context, const struct ring_id *id, struct key_walk_leader *leader,
                   unsigned *m);
    /* What was known of this address may be old. */
    void (*mistrust)(void *context, const char *address);
    bool (*stopping)(void *context); /* true ends the walk */
    void *context;
};

struct key_walk {
    struct key_walk_source source;
    bool values;
    struct buf prefix; /* only keys that begin so; empty = all; set after the start */
    bool done;
    struct ring_id next; /* ids below it are finished */
    bool cursor_set;     /* otherwise from the very first */
    uint8_t cursor_hash[ID_BYTES];
    struct buf cursor_key;
};

struct key_walk_page {
    struct rpc_reply reply; /* owns the keys */
    Chord__V1__KeyInfo **keys;
    size_t count;
};

/* Copies `source`. */
void key_walk_start(struct key_walk *walk, const struct key_walk_source *source, bool values);
/* Takes up where a cursor (hash, key) of a ring of `m` bits ended. false = no memory. */
bool key_walk_resume(struct key_walk *walk, unsigned m, const uint8_t *hash, const uint8_t *key,
                     size_t key_size);
/* The next page; count may be 0 before `done`, with a prefix often: a page takes half a second.
 * false: `error` says why. Free the page. */
bool key_walk_next(struct key_walk *walk, uint32_t limit, struct key_walk_page *page, char *error,
                   size_t error_size);
void key_walk_page_free(struct key_walk_page *page);
void key_walk_end(struct key_walk *walk);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * All keys of a ring once, in the order of their hashes, while nodes join, leave and fail: page
 * after page from the node that leads the keys it has come to. A page counts when its node led the
 * very same range, in the same epoch, afterwards too; so every key that is there all the time comes
 * exactly once.
 *
 * Who leads is told by the client's watch; where that does not know, all nodes are asked, and asked
 * again when it does not hold any more.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "ring_walk.h"

enum {
    CALL_MS = 5000,
    PAUSE_MS = 100,
    STUCK_MS = 15000, /* no leader for so long ends the walk */
};

struct chord_walk {
    struct chord_client *client;
    bool values;
    struct buf prefix;
    bool done;
    struct ring_id next; /* ids below it are finished */
    bool cursor_set;     /* otherwise from the very first */
    uint8_t cursor_hash[ID_BYTES];
    struct buf cursor_key;
    struct ring_walk ring; /* as it was seen last, where nobody watches it */
    bool ring_known;
    bool nobody;
    struct rpc_reply reply; /* owns the keys of the page */
    struct chord_row *rows;
    size_t rows_capacity;
};

struct chord_walk *chord_walk_new(struct chord_client *client, const void *prefix,
                                  size_t prefix_size, bool values) {
    struct chord_walk *walk = calloc(1, sizeof *walk);
    if (walk == NULL) {
        return NULL;
    }
    walk->client = client;
    walk->values = values;
    if (!buf_append(&walk->prefix, prefix, prefix_size)) {
        chord_walk_free(walk);
        return NULL;
    }
    return walk;
}

static void ring_forget(struct chord_walk *walk) {
    if (walk->ring_known) {
        ring_walk_free(&walk->ring);
    }
    walk->ring_known = false;
}

void chord_walk_free(struct chord_walk *walk) {
    if (walk != NULL) {
        rpc_reply_free(&walk->reply);
        ring_forget(walk);
        buf_free(&walk->prefix);
        buf_free(&walk->cursor_key);
        free(walk->rows);
        free(walk);
    }
}

bool chord_walk_seek(struct chord_walk *walk, const struct chord_cursor *cursor) {
    struct chord_answer answer;
    unsigned m = atomic_load(&walk->client->m);
    if (m == 0 && client_learn(walk->client, NULL, 0, &answer)) {
        m = atomic_load(&walk->client->m);
    }
    if (m == 0) {
        return false;
    }
    memcpy(walk->cursor_hash, cursor->hash, ID_BYTES);
    id_from_hash(&walk->next, cursor->hash, m);
    walk->cursor_set = true;
    walk->done = false;
    buf_clear(&walk->cursor_key);
    return buf_append(&walk->cursor_key, cursor->key, cursor->key_size);
}

struct chord_cursor chord_walk_cursor(const struct chord_walk *walk) {
    struct chord_cursor cursor = {.key = walk->cursor_key.data, .key_size = walk->cursor_key.size};
    memcpy(cursor.hash, walk->cursor_hash, ID_BYTES);
    return cursor;
}

/* ---- who leads ---- */

void client_leader_take(struct client_leader *leader, const char *address,
                        const Chord__V1__StatusResponse *status, const struct ring_id *id) {
    const Chord__V1__RangeStatus *range = ring_led_over(address, status, id);
    if (range != NULL && range->view->epoch > leader->epoch) {
        (void)ring_range_ids(range->view->range, &leader->lo, &leader->hi);
        leader->epoch = range->view->epoch;
        snprintf(leader->address, sizeof leader->address, "%s", address);
    }
}

/* false: nobody, or not known now. */
static bool leader_find(struct chord_walk *walk, struct client_leader *leader) {
    const struct client_watch *watch = &walk->client->watch;
    if (watch->leader != NULL) {
        bool known = watch->leader(watch->context, &walk->next, leader);
        char address[CHORD_ADDRESS_SIZE];
        char *why = walk->ring.none.message;
        size_t size = sizeof walk->ring.none.message;
        snprintf(why, size, "no node of the ring answers");
        walk->nobody = !known && !watch->member(watch->context, address, why, size);
        return known;
    }
    if (!walk->ring_known) {
        walk->ring_known = ring_walk(walk->client, &walk->ring);
        walk->nobody = !walk->ring_known;
        if (walk->nobody) {
            ring_walk_free(&walk->ring);
            return false;
        }
        client_set_m(walk->client, walk->ring.m);
    }
    *leader = (struct client_leader){.epoch = 0};
    for (size_t i = 0; i < walk->ring.nodes_count; i++) {
        const struct ring_node *node = &walk->ring.nodes[i];
        client_leader_take(leader, node->address, node->status, &walk->next);
    }
    if (leader->epoch == 0) {
        ring_forget(walk); /* asked afresh the next time */
    }
    return leader->epoch != 0;
}

static void leader_mistrust(struct chord_walk *walk, const char *address) {
    ring_forget(walk);
    walk->client->watch.mistrust(walk->client->watch.context, address, true);
}

static bool leader_ask(struct chord_walk *walk, const struct client_leader *leader,
                       enum rpc_method method, const ProtobufCMessage *request,
                       struct rpc_reply *reply) {
    const struct client_call call = {
        .address = leader->address, .method = method, .request = request, .timeout_ms = CALL_MS};
    struct chord_answer answer;
    return client_call(walk->client, &call, &answer, reply);
}

/* Whether the node leads this very range, in this epoch, now. A settling leader may still lack
 * keys.
 */
static bool leader_confirm(struct chord_walk *walk, const struct client_leader *leader) {
    Chord__V1__StatusRequest request = CHORD__V1__STATUS_REQUEST__INIT;
    struct rpc_reply reply;
    bool leads = false;
    if (leader_ask(walk, leader, RPC_ADMIN_STATUS, &request.base, &reply)) {
        const Chord__V1__StatusResponse *status = (const void *)reply.response;
        for (size_t i = 0; i < status->n_ranges && !leads; i++) {
            const Chord__V1__RangeStatus *range = status->ranges[i];
            struct ring_id lo, hi;
            leads = range->view != NULL && range->view->epoch == leader->epoch &&
                    (range->state == CHORD__V1__RANGE_STATE__RANGE_STATE_OPEN ||
                     range->state == CHORD__V1__RANGE_STATE__RANGE_STATE_CHANGING) &&
                    ring_range_ids(range->view->range, &lo, &hi) &&
                    id_compare(&lo, &leader->lo) == 0 && id_compare(&hi, &leader->hi) == 0;
        }
    }
    rpc_reply_free(&reply);
    return leads;
}

/* ---- a page ---- */

/* The last id of the leader's range on this side of the ring's zero. */
static struct ring_id segment_end(const struct chord_walk *walk, const struct client_leader *leader,
                                  unsigned m) {
    struct ring_id end = leader->hi;
    if (id_compare(&end, &walk->next) < 0 || id_compare(&leader->lo, &leader->hi) == 0) {
        id_max(&end, m);
    }
    return end;
}

static bool page_ask(struct chord_walk *walk, uint32_t limit, const struct client_leader *leader) {
    Chord__V1__ListKeysRequest request = CHORD__V1__LIST_KEYS_REQUEST__INIT;
    Chord__V1__Cursor after = CHORD__V1__CURSOR__INIT;
    after.hash = client_bytes(walk->cursor_hash, ID_BYTES);
    after.key = client_bytes(walk->cursor_key.data, walk->cursor_key.size);
    request.after = walk->cursor_set ? &after : NULL;
    request.limit = limit;
    request.values = walk->values;
    request.prefix = client_bytes(walk->prefix.data, walk->prefix.size);
    request.led_only = true;
    rpc_reply_free(&walk->reply);
    if (!leader_ask(walk, leader, RPC_ADMIN_LIST_KEYS, &request.base, &walk->reply)) {
        return false;
    }
    const Chord__V1__ListKeysResponse *list = (const void *)walk->reply.response;
    return list->done || (list->next != NULL && list->next->hash.len == ID_BYTES);
}

static bool rows_reserve(struct chord_walk *walk) {
    size_t count =
        ((const Chord__V1__ListKeysResponse *)(const void *)walk->reply.response)->n_keys;
    if (count > walk->rows_capacity) {
        struct chord_row *rows = reallocarray(walk->rows, count, sizeof rows[0]);
        if (rows == NULL) {
            return false;
        }
        walk->rows = rows;
        walk->rows_capacity = count;
    }
    return true;
}

void client_row_take(struct chord_row *row, const Chord__V1__KeyInfo *info, bool values) {
    *row = (struct chord_row){.key = info->key.data,
                              .key_size = info->key.len,
                              .value = info->value.data,
                              .value_size = values ? info->value.len : info->value_bytes,
                              .expires_at_ms = info->expires_at_ms,
                              .hash = info->hash.data};
    if (info->version != NULL) {
        row->version = (struct chord_version){info->version->epoch, info->version->counter};
    }
}

/* Keeps the keys in [next, end]; sets where the walk goes on. */
static void page_take(struct chord_walk *walk, struct chord_page *page, const struct ring_id *end,
                      unsigned m) {
    const Chord__V1__ListKeysResponse *list = (const void *)walk->reply.response;
    bool beyond = false;
    for (size_t i = 0; i < list->n_keys && !beyond; i++) {
        struct ring_id id;
        if (list->keys[i]->hash.len != ID_BYTES) {
            continue;
        }
        id_from_hash(&id, list->keys[i]->hash.data, m);
        beyond = id_compare(&id, end) > 0;
        if (!beyond && id_compare(&id, &walk->next) >= 0) {
            client_row_take(&walk->rows[page->count++], list->keys[i], walk->values);
        }
    }
    struct ring_id reached = *end;
    if (!list->done && !beyond) {
        id_from_hash(&reached, list->next->hash.data, m);
    }
    buf_clear(&walk->cursor_key);
    if (list->done || beyond || id_compare(&reached, end) > 0) {
        walk->next = *end;
        walk->done = id_increment(&walk->next, m);
        id_last_hash(end, m, walk->cursor_hash);
    } else {
        walk->next = reached;
        memcpy(walk->cursor_hash, list->next->hash.data, ID_BYTES);
        (void)buf_append(&walk->cursor_key, list->next->key.data, list->next->key.len);
    }
    walk->cursor_set = true;
    page->rows = walk->rows;
    page->done = walk->done;
}

bool chord_walk_next(struct chord_walk *walk, uint32_t limit, struct chord_page *page, char *error,
                     size_t error_size) {
    uint64_t end_ms = clock_now_ms() + STUCK_MS;
    uint64_t nobody_end_ms = clock_now_ms() + walk->client->nobody_ms;
    *page = (struct chord_page){.done = walk->done};
    walk->nobody = false;
    snprintf(error, error_size, "no living node leads a part of the keys");
    while (!page->done && !atomic_load(&walk->client->stopping)) {
        struct client_leader leader;
        bool known = leader_find(walk, &leader);
        unsigned m = atomic_load(&walk->client->m);
        if (known && m > 0) {
            struct ring_id end = segment_end(walk, &leader, m);
            if (page_ask(walk, limit, &leader) && leader_confirm(walk, &leader)) {
                if (!rows_reserve(walk)) {
                    snprintf(error, error_size, "no memory");
                    return false;
                }
                page_take(walk, page, &end, m);
                return true;
            }
            leader_mistrust(walk, leader.address);
        }
        uint64_t patience_ms = walk->client->watch.leader == NULL ? 0 : nobody_end_ms;
        if (clock_now_ms() >= (walk->nobody ? patience_ms : end_ms)) {
            break;
        }
        clock_pause_ms(PAUSE_MS);
    }
    page->nobody = walk->nobody;
    if (walk->nobody) {
        snprintf(error, error_size, "%s", walk->ring.none.message);
    }
    return page->done;
}

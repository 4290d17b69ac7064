/* The walk over all keys; see key_walk.h. */
#include "key_walk.h"
#include "ring_check.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum { WALK_TIMEOUT_MS = 5000, WALK_PAUSE_MS = 100 };

bool key_walk_leader_take(struct key_walk_leader *leader, const char *address,
                          const Chord__V1__StatusResponse *status, const struct ring_id *id) {
    bool taken = false;
    for (size_t i = 0; status != NULL && i < status->n_ranges; i++) {
        const Chord__V1__RangeStatus *range = status->ranges[i];
        struct key_walk_leader led = {.epoch = range->view != NULL ? range->view->epoch : 0};
        if (led.epoch > leader->epoch && ring_leads(address, range) &&
            id_from_wire(&led.lo, range->view->range->lo.data, range->view->range->lo.len) &&
            id_from_wire(&led.hi, range->view->range->hi.data, range->view->range->hi.len) &&
            id_in_range(id, &led.lo, &led.hi)) {
            snprintf(led.address, sizeof(led.address), "%s", address);
            *leader = led;
            taken = true;
        }
    }
    return taken;
}

void key_walk_start(struct key_walk *walk, const struct key_walk_source *source, bool values) {
    memset(walk, 0, sizeof(*walk));
    walk->source = *source;
    walk->values = values;
}

bool key_walk_resume(struct key_walk *walk, unsigned m, const uint8_t *hash, const uint8_t *key,
                     size_t key_size) {
    memcpy(walk->cursor_hash, hash, ID_BYTES);
    walk->cursor_set = true;
    id_from_hash(&walk->next, hash, m);
    buf_clear(&walk->cursor_key);
    return buf_append(&walk->cursor_key, key, key_size);
}

void key_walk_end(struct key_walk *walk) {
    buf_free(&walk->cursor_key);
    buf_free(&walk->prefix);
}

void key_walk_page_free(struct key_walk_page *page) {
    rpc_reply_free(&page->reply);
    memset(page, 0, sizeof(*page));
}

/* Whether the node leads this very range, in this epoch, now. */
static bool leader_confirm(struct key_walk *walk, const struct key_walk_leader *led) {
    struct rpc_reply reply;
    Chord__V1__StatusRequest message = CHORD__V1__STATUS_REQUEST__INIT;
    rpc_client_call_wait(walk->source.client, led->address, RPC_ADMIN_STATUS, &message.base,
                         WALK_TIMEOUT_MS, &reply);
    const Chord__V1__StatusResponse *status =
        (const Chord__V1__StatusResponse *)(const void *)reply.response;
    bool leads = false;
    for (size_t i = 0;
         reply.code == CHORD__V1__CODE__CODE_OK && status != NULL && i < status->n_ranges && !leads;
         i++) {
        const Chord__V1__View *view = status->ranges[i]->view;
        struct ring_id lo;
        struct ring_id hi;
        leads = view != NULL && view->range != NULL && view->epoch == led->epoch &&
                /* A settling leader may still lack keys. */
                (status->ranges[i]->state == CHORD__V1__RANGE_STATE__RANGE_STATE_OPEN ||
                 status->ranges[i]->state == CHORD__V1__RANGE_STATE__RANGE_STATE_CHANGING) &&
                id_from_wire(&lo, view->range->lo.data, view->range->lo.len) &&
                id_from_wire(&hi, view->range->hi.data, view->range->hi.len) &&
                id_compare(&lo, &led->lo) == 0 && id_compare(&hi, &led->hi) == 0;
    }
    rpc_reply_free(&reply);
    return leads;
}

/* The last id of the leader's range on this side of the ring's zero. */
static struct ring_id segment_end(const struct key_walk *walk, const struct key_walk_leader *led,
                                  unsigned m) {
    struct ring_id end = led->hi;
    if (id_compare(&end, &walk->next) < 0 || id_compare(&led->lo, &led->hi) == 0) {
        id_max(&end, m);
    }
    return end;
}

/* Keeps the keys in [next, end]; sets where the walk goes on. */
static void page_take(struct key_walk *walk, struct key_walk_page *page, const struct ring_id *end,
                      unsigned m) {
    const Chord__V1__ListKeysResponse *list =
        (const Chord__V1__ListKeysResponse *)(const void *)page->reply.response;
    size_t first = 0;
    size_t count = 0;
    bool beyond = false;
    for (size_t i = 0; i < list->n_keys && !beyond; i++) {
        struct ring_id id;
        if (list->keys[i]->hash.len != ID_BYTES) {
            continue;
        }
        id_from_hash(&id, list->keys[i]->hash.data, m);
        if (id_compare(&id, &walk->next) < 0) {
            first = i + 1;
        } else if (id_compare(&id, end) > 0) {
            beyond = true;
        } else {
            count++;
        }
    }
    page->keys = count == 0 ? NULL : list->keys + first;
    page->count = count;
    bool has_next = list->next != NULL && list->next->hash.len == ID_BYTES;
    struct ring_id reached = *end;
    if (has_next && !list->done && !beyond) {
        id_from_hash(&reached, list->next->hash.data, m);
    }
    if (beyond || list->done || !has_next || id_compare(&reached, end) > 0) {
        walk->next = *end;
        walk->done = id_increment(&walk->next, m);
        id_last_hash(end, m, walk->cursor_hash);
        buf_clear(&walk->cursor_key);
    } else {
        walk->next = reached;
        memcpy(walk->cursor_hash, list->next->hash.data, ID_BYTES);
        buf_clear(&walk->cursor_key);
        (void)buf_append(&walk->cursor_key, list->next->key.data, list->next->key.len);
    }
    walk->cursor_set = true;
}

static bool page_ask(struct key_walk *walk, uint32_t limit, struct key_walk_page *page,
                     const struct key_walk_leader *led) {
    Chord__V1__ListKeysRequest message = CHORD__V1__LIST_KEYS_REQUEST__INIT;
    Chord__V1__Cursor after = CHORD__V1__CURSOR__INIT;
    if (walk->cursor_set) {
        after.hash.data = walk->cursor_hash;
        after.hash.len = ID_BYTES;
        after.key.data = walk->cursor_key.data;
        after.key.len = walk->cursor_key.size;
        message.after = &after;
    }
    message.limit = limit;
    message.values = walk->values;
    message.prefix.data = walk->prefix.data;
    message.prefix.len = walk->prefix.size;
    message.led_only = true;
    rpc_client_call_wait(walk->source.client, led->address, RPC_ADMIN_LIST_KEYS, &message.base,
                         WALK_TIMEOUT_MS, &page->reply);
    const Chord__V1__ListKeysResponse *list =
        (const Chord__V1__ListKeysResponse *)(const void *)page->reply.response;
    if (page->reply.code == CHORD__V1__CODE__CODE_OK && list != NULL &&
        (list->done || (list->next != NULL && list->next->hash.len == ID_BYTES))) {
        return true;
    }
    key_walk_page_free(page);
    return false;
}

static uint64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

bool key_walk_next(struct key_walk *walk, uint32_t limit, struct key_walk_page *page, char *error,
                   size_t error_size) {
    const struct key_walk_source *source = &walk->source;
    uint64_t end = now_ms() + KEY_WALK_STUCK_MS;
    memset(page, 0, sizeof(*page));
    while (!source->stopping(source->context)) {
        struct key_walk_leader led;
        unsigned m = 0;
        if (source->leader(source->context, &walk->next, &led, &m)) {
            struct ring_id last = segment_end(walk, &led, m);
            if (page_ask(walk, limit, page, &led)) {
                if (leader_confirm(walk, &led)) {
                    page_take(walk, page, &last, m);
                    return true;
                }
                key_walk_page_free(page);
            }
            source->mistrust(source->context, led.address);
        }
        if (now_ms() >= end) {
            break;
        }
        struct timespec pause = {.tv_nsec = WALK_PAUSE_MS * 1000000L};
        nanosleep(&pause, NULL);
    }
    snprintf(error, error_size, "no living node leads a part of the keys");
    return false;
}

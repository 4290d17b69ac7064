/* SPDX-License-Identifier: MIT */
/*
 * See picture.h.
 */
#include "picture.h"

#include "assert.h"

#include <stdlib.h>
#include <string.h>

static void *room_for(void *array, size_t count, size_t *room, size_t item_bytes) {
    if (count < *room) {
        return array;
    }
    size_t old = *room;
    *room = count * 2 + 16;
    array = realloc(array, *room * item_bytes);
    CHORD_ASSERT(array != NULL);
    memset((char *)array + old * item_bytes, 0, (*room - old) * item_bytes);
    return array;
}

void picture_init(struct picture *picture, unsigned n) {
    memset(picture, 0, sizeof *picture);
    picture->n = n;
}

void picture_free(struct picture *picture) {
    for (int i = 0; i < picture->count; i++) {
        free(picture->lives[i].items);
    }
    free(picture->nodes);
    free(picture->lives);
    free(picture->ring);
}

/* ---- lives ---- */

unsigned picture_life_of(const struct picture *picture, int node, const uint8_t *store_id,
                         uint64_t incarnation) {
    if (node < 0 || node >= picture->count) {
        return 0;
    }
    const struct picture_lives *lives = &picture->lives[node];
    for (unsigned k = lives->count; k > 0; k--) {
        const struct picture_life *life = &lives->items[k - 1];
        if (life->incarnation == incarnation &&
            memcmp(life->store_id, store_id, CHORD_STORE_ID_BYTES) == 0) {
            return k;
        }
    }
    return 0;
}

static unsigned life_now(struct picture *picture, int node, const struct chord_peer *self) {
    unsigned life = picture_life_of(picture, node, self->store_id, self->incarnation);
    if (life == 0 && self->incarnation != 0) {
        struct picture_lives *lives = &picture->lives[node];
        lives->items = room_for(lives->items, lives->count, &lives->room, sizeof *lives->items);
        memcpy(lives->items[lives->count].store_id, self->store_id, CHORD_STORE_ID_BYTES);
        lives->items[lives->count].incarnation = self->incarnation;
        life = ++lives->count;
    }
    return life;
}

static struct picture_entry entry_of(const struct picture *picture, struct host *host,
                                     const struct chord_peer *peer) {
    struct picture_entry entry;
    memset(&entry, 0, sizeof entry); /* compared as bytes */
    entry.node = host_by_address(host, peer->address);
    entry.life = picture_life_of(picture, entry.node, peer->store_id, peer->incarnation);
    entry.id = peer->id;
    return entry;
}

/* ---- the ring of members ---- */

int picture_position(const struct picture *picture, int node) {
    const struct chord_id *id = &picture->nodes[node].id;
    int low = 0, high = picture->ring_count;
    while (low < high) {
        int middle = (low + high) / 2;
        if (id_compare(&picture->nodes[picture->ring[middle]].id, id) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    for (; low < picture->ring_count && picture->ring[low] != node; low++) {
        if (!id_equal(&picture->nodes[picture->ring[low]].id, id)) {
            return -1;
        }
    }
    return low < picture->ring_count ? low : -1;
}

static void ring_remove(struct picture *picture, int node) {
    int at = picture_position(picture, node);
    CHORD_ASSERT(at >= 0);
    picture->ring_count--;
    memmove(&picture->ring[at], &picture->ring[at + 1],
            sizeof *picture->ring * (size_t)(picture->ring_count - at));
}

static void ring_insert(struct picture *picture, int node) {
    picture->ring = room_for(picture->ring, (size_t)picture->ring_count, &picture->ring_room,
                             sizeof *picture->ring);
    int at = picture->ring_count++;
    for (; at > 0 &&
           id_compare(&picture->nodes[picture->ring[at - 1]].id, &picture->nodes[node].id) > 0;
         at--) {
        picture->ring[at] = picture->ring[at - 1];
    }
    picture->ring[at] = node;
}

bool picture_live(const struct picture *picture, const struct picture_entry *entry) {
    return entry->node != HOST_NOBODY && entry->life != 0 && entry->node < picture->count &&
           picture->nodes[entry->node].member && picture->nodes[entry->node].life == entry->life;
}

/* ---- looking ---- */

static void look(struct picture *picture, struct host *host, int node, struct picture_node *now) {
    struct chord_status status;
    memset(now, 0, sizeof *now); /* compared as bytes */
    now->alive = host_node(host, node)->alive;
    if (!now->alive) {
        now->life = picture->nodes[node].life;
        return;
    }
    host_status(host, node, &status);
    now->state = status.state;
    now->member = status.state == CHORD_STATE_MEMBER || status.state == CHORD_STATE_LEAVING;
    now->formed = status.formed;
    now->life = life_now(picture, node, &status.self);
    now->id = status.self.id;
    now->has_predecessor = status.has_predecessor;
    now->successors_count = status.successors.count;
    for (uint16_t i = 0; i < status.successors.count; i++) {
        now->successors[i] = entry_of(picture, host, &status.successors.items[i]);
    }
    if (status.has_predecessor) {
        now->predecessor = entry_of(picture, host, &status.predecessor);
    }
}

bool picture_update(struct picture *picture, struct host *host, int node) {
    struct picture_node now;
    if (node >= picture->count) {
        size_t count = (size_t)node;
        picture->nodes = room_for(picture->nodes, count, &picture->room, sizeof *picture->nodes);
        picture->lives =
            room_for(picture->lives, count, &picture->lives_room, sizeof *picture->lives);
        picture->count = node + 1;
    }
    look(picture, host, node, &now);
    struct picture_node *before = &picture->nodes[node];
    if (memcmp(before, &now, sizeof now) == 0) {
        return false;
    }
    bool moved = before->member != now.member || !id_equal(&before->id, &now.id);
    if (moved && before->member) {
        ring_remove(picture, node);
    }
    *before = now;
    if (moved && now.member) {
        ring_insert(picture, node);
    }
    return true;
}

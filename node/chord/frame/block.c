/* SPDX-License-Identifier: MIT */
/*
 * The one block of state: how it is laid out within the host's limits, and how it begins.
 */
#include "data/data.h"
#include "ring/ring.h"

static size_t place(size_t *end, size_t bytes) {
    size_t at = (*end + 15) / 16 * 16;
    *end = at + bytes;
    return at;
}

static uint32_t buckets_for(const struct chord_limits *limits) {
    uint32_t buckets = 16;
    while (buckets < limits->keys_in_flight_max) {
        buckets *= 2;
    }
    return buckets;
}

static uint16_t at_most(uint16_t count, uint16_t most) {
    return count < most ? count : most;
}

uint16_t admitted_max(const struct chord_limits *limits) {
    return at_most(limits->known_max, ADMITTED_MAX);
}

uint16_t graves_max(const struct chord_limits *limits) {
    return at_most(limits->known_max, GRAVEYARD_MAX);
}

uint16_t leaving_max(const struct chord_limits *limits) {
    return at_most(limits->views_max, LEAVING_MAX);
}

static struct chord_limits limits_filled(const struct chord_limits *given) {
    struct chord_limits limits = *given;
    limits.known_max = limits.known_max > 0 ? limits.known_max : CHORD_REPLICAS_MAX;
    limits.seeds_max = limits.seeds_max > 0 ? limits.seeds_max : JOIN_SEEDS_MAX;
    return limits;
}

/* Fills the offsets and returns the block's size. */
static size_t lay_out(struct chord *chord, const struct chord_limits *limits) {
    size_t end = sizeof(struct chord);
    chord->peers_at = place(&end, sizeof(struct peer_entry) * limits->peers_max);
    chord->tags_at = place(&end, sizeof(uint32_t) * limits->peers_max);
    chord->known_at = place(&end, sizeof(struct chord_peer) * limits->known_max);
    chord->genesis_at = place(&end, sizeof(struct chord_peer) * limits->known_max);
    chord->seeds_at = place(&end, sizeof(struct chord_address) * limits->seeds_max);
    chord->admitted_at = place(&end, sizeof(struct admitted) * admitted_max(limits));
    chord->graves_at = place(&end, sizeof(struct grave) * graves_max(limits));
    chord->leaving_at = place(&end, sizeof(struct leaving) * leaving_max(limits));
    chord->calls_at = place(&end, sizeof(struct call) * limits->calls_max);
    chord->stores_at = place(&end, sizeof(struct store_op) * limits->calls_max);
    chord->lookups_at = place(&end, sizeof(struct lookup) * limits->lookups_max);
    chord->paths_at = place(&end, sizeof(struct path) * limits->paths_max);
    chord->ranges_at = place(&end, sizeof(struct range) * limits->views_max);
    chord->transfers_at = place(&end, sizeof(struct transfer) * limits->transfers_max);
    chord->decisions_at = place(&end, sizeof(struct decision) * limits->decisions_max);
    chord->batches_at = place(&end, sizeof(struct batch) * limits->batches_max);
    chord->keys_at = place(&end, sizeof(struct key_entry) * limits->keys_in_flight_max);
    chord->buckets_count = buckets_for(limits);
    chord->buckets_at = place(&end, sizeof(uint32_t) * chord->buckets_count);
    chord->damages_at = place(&end, sizeof(struct damage) * DAMAGES_MAX);
    return place(&end, 0);
}

size_t chord_size(const struct chord_limits *limits) {
    struct chord scratch;
    struct chord_limits filled = limits_filled(limits);
    return lay_out(&scratch, &filled);
}

struct chord *chord_init(void *memory, const struct chord_config *config) {
    struct chord *chord = memory;
    chord->config = *config;
    chord->config.limits = limits_filled(&config->limits);
    const struct chord_limits *limits = &chord->config.limits;
    CHORD_ASSERT(limits->peers_max >= 24);
    CHORD_ASSERT(limits->known_max <= CHORD_REPLICAS_MAX && limits->seeds_max <= JOIN_SEEDS_MAX);
    CHORD_ASSERT(limits->peers_max < NONE && limits->calls_max < NONE && limits->views_max < NONE);
    CHORD_ASSERT(limits->batches_max < NONE && limits->lookups_max < NONE);
    chord->random = config->seed;
    lay_out(chord, limits);
    memcpy(chord->self.address, config->address, CHORD_ADDRESS_BYTES);
    memcpy(chord->self.store_id, config->store_id, CHORD_STORE_ID_BYTES);
    chord->self.host_id = config->host_id;
    neighbours_clear(chord);
    chord->batches_ms = chord->decisions_ms = chord->transfers_ms = UINT64_MAX;
    keys_init(chord);
    return chord;
}

bool chord_restore_view(struct chord *chord, const struct chord_stored_view *stored) {
    uint16_t index;
    CHORD_ASSERT(chord->state == CHORD_STATE_NONE);
    for (uint16_t i = 0; i < chord->ranges_end; i++) {
        if (ranges_overlap(&range_at(chord, i)->view.range, &stored->view.range)) {
            return false;
        }
    }
    if (!view_formed(&stored->view) || !range_add(chord, &stored->view, &index)) {
        return false;
    }
    struct range *range = range_at(chord, index);
    range->learning = stored->learning;
    range->equal_epoch = stored->equal_epoch;
    range->acceptor = stored->acceptor;
    range->lived = false;
    former_add(chord, &stored->view);
    return true;
}

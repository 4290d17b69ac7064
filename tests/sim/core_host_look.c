/* SPDX-License-Identifier: MIT */
/*
 * See core_host.h: looking at the whole: who is a member, who owns what, is the ring ideal.
 */
#include "core_host_state.h"

/* ---- looking ---- */

bool host_member(struct host *host, int index) {
    struct chord_status status;
    if (!host->nodes[index].public.alive) {
        return false;
    }
    host_status(host, index, &status);
    return status.state == CHORD_STATE_MEMBER || status.state == CHORD_STATE_LEAVING;
}

static struct chord_id id_at(struct host *host, int index) {
    struct chord_status status;
    host_status(host, index, &status);
    return status.self.id;
}

int host_members(struct host *host) {
    int count = 0;
    for (int i = 0; i < host->count; i++) {
        count += host_member(host, i);
    }
    return count;
}

/* Who has, or had, that address. */
static int named(const struct host *host, const char *address) {
    static const char prefix[] = "host:";
    long number =
        strncmp(address, prefix, sizeof prefix - 1) == 0
            ? (strtol(address + sizeof prefix - 1, NULL, 10) - HOST_PORT_FIRST) % HOST_NODES_MAX
            : -1;
    return number >= 0 && number < host->count ? (int)number : HOST_NOBODY;
}

int host_by_address(const struct host *host, const char *address) {
    int node = named(host, address);
    return node != HOST_NOBODY && strcmp(host->nodes[node].public.address, address) == 0
               ? node
               : HOST_NOBODY;
}

int host_reached(const struct host *host, const char *address) {
    int node = named(host, address);
    return node != HOST_NOBODY && host->nodes[node].public.names_kept
               ? node
               : host_by_address(host, address);
}

struct place {
    struct chord_id id;
    int node;
};

static int place_order(const void *a, const void *b) {
    const struct place *one = a, *other = b;
    int order = id_compare(&one->id, &other->id);
    return order != 0 ? order : (one->node > other->node) - (one->node < other->node);
}

/* The live members in the order of their ids; free(*ring). */
static int ring_of(struct host *host, int **ring) {
    int count = 0;
    struct place *list = memory(sizeof *list * (size_t)host->count);
    *ring = memory(sizeof **ring * (size_t)host->count);
    for (int i = 0; i < host->count; i++) {
        if (host_member(host, i)) {
            list[count++] = (struct place){id_at(host, i), i};
        }
    }
    qsort(list, (size_t)count, sizeof *list, place_order);
    for (int i = 0; i < count; i++) {
        (*ring)[i] = list[i].node;
    }
    free(list);
    return count;
}

/* The position of an id's owner among at least one. */
static int owner_at(struct host *host, const int *ring, int count, const struct chord_id *id) {
    int at = 0;
    for (; at < count; at++) {
        struct chord_id member = id_at(host, ring[at]);
        if (id_compare(&member, id) >= 0) {
            break;
        }
    }
    return at % count;
}

int host_owner(struct host *host, const struct chord_id *id) {
    int *ring, count = ring_of(host, &ring);
    int owner = count == 0 ? HOST_NOBODY : ring[owner_at(host, ring, count, id)];
    free(ring);
    return owner;
}

/* As many of ids[0..count) as are different; 0 is another one each time. */
static unsigned different(const uint64_t *ids, int count) {
    unsigned found = 0;
    for (int i = 0; i < count; i++) {
        bool again = false;
        for (int k = 0; k < i && ids[i] != 0; k++) {
            again = again || ids[k] == ids[i];
        }
        found += !again;
    }
    return found;
}

int host_successors_wanted(struct host *host, const int *ring, int count, int at,
                           unsigned *machines) {
    uint64_t ids[CHORD_SUCCESSORS_MAX + 1] = {host->nodes[ring[at]].public.host_id};
    unsigned replicas = host->config.replicas, most = replicas > 2 ? replicas : 2, before = 0;
    int n = (int)host->config.n, wanted = 0;
    for (int k = 0; k < CHORD_SUCCESSORS_MAX && k < count - 1 && (k < n || before < most); k++) {
        ids[k + 1] = host->nodes[ring[(at + 1 + k) % count]].public.host_id;
        unsigned now = different(ids + 1, k + 1);
        bool leads_on = ids[k + 1] != 0 && now > before && before < most;
        wanted = leads_on || k < n ? k + 1 : wanted;
        before = now;
    }
    unsigned all = different(ids, wanted + 1);
    *machines = all < replicas ? all : replicas;
    return wanted;
}

/* The member at ring[at] knows the ring as it is. */
static bool place_right(struct host *host, const int *ring, int count, int at) {
    struct chord_status status, other;
    unsigned machines;
    int wanted = host_successors_wanted(host, ring, count, at, &machines);
    struct chord_id id = id_at(host, ring[at]), next = id_at(host, ring[(at + 1) % count]);
    host_status(host, ring[at], &status);
    if (status.successors.count != wanted || status.has_predecessor != (count > 1) ||
        (count > 1 && id_equal(&id, &next))) {
        return false; /* or another one has our id */
    }
    for (int k = 0; k < wanted; k++) {
        const struct chord_peer *successor = &status.successors.items[k];
        host_status(host, ring[(at + 1 + k) % count], &other);
        if (strcmp(successor->address, other.self.address) != 0 ||
            successor->incarnation != other.self.incarnation) {
            return false;
        }
    }
    return count == 1 ||
           host_by_address(host, status.predecessor.address) == ring[(at + count - 1) % count];
}

bool host_ideal(struct host *host) {
    for (int i = 0; i < host->count; i++) {
        if (host->nodes[i].public.alive && !host->nodes[i].public.left && !host_member(host, i)) {
            return false;
        }
    }
    int *ring, count = ring_of(host, &ring), right = 0;
    while (right < count && place_right(host, ring, count, right)) {
        right++;
    }
    free(ring);
    return right == count;
}

/* The copies of what ring[at] leads are on as many machines as it and its list. */
static bool spread(struct host *host, const int *ring, int count, int at,
                   const struct chord_view *view) {
    uint64_t members[CHORD_REPLICAS_MAX];
    unsigned machines;
    (void)host_successors_wanted(host, ring, count, at, &machines);
    for (uint16_t i = 0; i < view->members_count; i++) {
        int member = host_by_address(host, view->members[i].address);
        members[i] = member != HOST_NOBODY ? host->nodes[member].public.host_id : 0;
    }
    return different(members, view->members_count) >= machines;
}

static bool ranges_settled(struct host *host, const int *ring, int members) {
    unsigned wanted =
        (unsigned)members < host->config.replicas ? (unsigned)members : host->config.replicas;
    unsigned open = 0;
    for (int i = 0; i < host->count; i++) {
        for (uint16_t k = 0; host->nodes[i].public.alive; k++) {
            enum chord_range_state state;
            unsigned copies;
            const struct chord_view *view =
                chord_view_at(host->nodes[i].public.chord, k, &state, &copies);
            if (view == NULL) {
                break;
            }
            if (state == CHORD_RANGE_SETTLING || state == CHORD_RANGE_CHANGING) {
                return false;
            }
            if (state == CHORD_RANGE_OPEN) {
                int at = members > 0 ? owner_at(host, ring, members, &view->range.hi) : 0;
                if (copies != wanted || view->members_count != wanted || members == 0 ||
                    ring[at] != i || !spread(host, ring, members, at, view) ||
                    ++open > (unsigned)members) {
                    return false;
                }
            }
        }
    }
    return open == (unsigned)members;
}

bool host_settled(struct host *host) {
    int *ring, members = ring_of(host, &ring);
    bool settled = host_ideal(host) && ranges_settled(host, ring, members);
    free(ring);
    return settled;
}

static void print_views(struct host *host, int index) {
    static const char *const states[] = {"none",     "replica", "settling", "open",
                                         "changing", "retired", "gone"};
    enum chord_range_state state;
    unsigned copies;
    const struct chord_view *view;
    for (uint16_t k = 0;
         (view = chord_view_at(host->nodes[index].public.chord, k, &state, &copies)) != NULL; k++) {
        fprintf(stderr,
                "    (%02x%02x,%02x%02x] epoch %llu %s copies %u:", view->range.lo.bytes[18],
                view->range.lo.bytes[19], view->range.hi.bytes[18], view->range.hi.bytes[19],
                (unsigned long long)view->epoch, states[state], copies);
        for (uint16_t i = 0; i < view->members_count; i++) {
            fprintf(stderr, " %s%s", view->members[i].address, i == view->leader ? "*" : "");
        }
        fprintf(stderr, "\n");
    }
}

void host_print(struct host *host) {
    fprintf(stderr, "at %llu us:\n", (unsigned long long)host->now_us);
    for (int i = 0; i < host->count; i++) {
        struct chord_status status;
        if (!host->nodes[i].public.alive) {
            fprintf(stderr, "  node %d is down\n", i);
            continue;
        }
        host_status(host, i, &status);
        fprintf(stderr, "  node %d %02x%02x state %d%s incarnation %llu predecessor %s successors",
                i, status.self.id.bytes[18], status.self.id.bytes[19], (int)status.state,
                status.formed ? " formed" : "", (unsigned long long)status.self.incarnation,
                status.has_predecessor ? status.predecessor.address : "none");
        for (uint16_t k = 0; k < status.successors.count; k++) {
            fprintf(stderr, " %s/%llu", status.successors.items[k].address,
                    (unsigned long long)status.successors.items[k].incarnation);
        }
        fprintf(stderr, "\n");
        print_views(host, i);
    }
}

uint64_t host_digest(const struct host *host) {
    return host->digest;
}

uint64_t host_random(struct host *host) {
    return random_of(&host->random_test);
}

uint64_t host_oldest_ring_call_us(const struct host *host) {
    uint64_t oldest_us = UINT64_MAX;
    for (uint32_t i = 0; i < host->slots_used; i++) {
        const struct slot *slot = &host->slots[i];
        bool ring = slot->kind < CHORD_TRANSFER_KEYS || slot->kind == CHORD_MERGE;
        if (slot->used && ring && slot->sent_us < oldest_us) {
            oldest_us = slot->sent_us;
        }
    }
    return oldest_us;
}

uint64_t host_messages(const struct host *host) {
    return host->messages;
}

uint64_t host_rows_pulled(const struct host *host) {
    return host->rows_pulled;
}

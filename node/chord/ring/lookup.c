/* SPDX-License-Identifier: MIT */
/*
 * Iterative find_successor and closest_preceding_node (Stoica et al. 2001, sections 4.3 and 4.4).
 * Fingers are hints: any may be wrong or dead, the successor list is the fallback, and every lookup
 * has a hop limit.
 */
#include "data/for_ring.h"
#include "ring.h"

enum { RESTARTS_MAX = 3 };

/* ---- the local step ---- */

/* Inserts a peer of (self, target) into the list of the best ones, nearest to target first. */
static void better(struct chord *chord, const struct chord_id *target, uint16_t index,
                   uint16_t best[1 + FALLBACKS_MAX], uint16_t *count) {
    const struct chord_id *id = &peer_at(chord, index)->peer.id;
    if (!id_in_open(&chord->self.id, id, target)) {
        return;
    }
    uint16_t at = *count;
    for (uint16_t i = 0; i < *count; i++) {
        if (best[i] == index) {
            return;
        }
    }
    while (at > 0 && (id_in_open(&peer_at(chord, best[at - 1])->peer.id, id, target) ||
                      (!peer_healthy(chord, best[at - 1]) && peer_healthy(chord, index)))) {
        at--;
    }
    if (at > FALLBACKS_MAX) {
        return;
    }
    uint16_t last = *count <= FALLBACKS_MAX ? *count : FALLBACKS_MAX;
    for (uint16_t i = last; i > at; i--) {
        best[i] = best[i - 1];
    }
    best[at] = index;
    *count = (uint16_t)(last + 1);
}

/* closest_preceding_node with up to FALLBACKS_MAX next best ones. */
static uint16_t closest_preceding(struct chord *chord, const struct chord_id *target,
                                  uint16_t best[1 + FALLBACKS_MAX]) {
    uint16_t count = 0;
    for (uint16_t i = 0; i < chord->successors_count; i++) {
        better(chord, target, chord->successors[i], best, &count);
    }
    uint16_t before = NONE;
    for (unsigned i = 0; i < chord->parameters.m; i++) {
        uint16_t finger = chord->fingers[i];
        if (finger != NONE && finger != FINGER_SELF && finger != before) {
            better(chord, target, finger, best, &count);
            before = finger;
        }
    }
    return count;
}

static void find_local(struct chord *chord, const struct chord_id *target,
                       struct chord_response *response) {
    const struct chord_peer *successor = successor_at(chord, 0);
    response->ring.self = chord->self;
    response->ring.successors.count = 0;
    if (owns(chord, target)) {
        const struct chord_peer *predecessor = predecessor_get(chord);
        response->ring.found = true;
        response->ring.node = chord->self;
        response->ring.self = predecessor != NULL ? *predecessor : chord->self;
        successors_list(chord, &response->ring.successors);
    } else if (successor == NULL) {
        response->ring.found = true;
        response->ring.node = chord->self;
    } else if (id_in_half_open(&chord->self.id, target, &successor->id)) {
        response->ring.found = true;
        response->ring.node = *successor;
        successors_list(chord, &response->ring.successors);
    } else {
        uint16_t best[1 + FALLBACKS_MAX];
        uint16_t count = closest_preceding(chord, target, best);
        response->ring.found = false;
        response->ring.node = count > 0 ? peer_at(chord, best[0])->peer : *successor;
        for (uint16_t i = 1; i < count; i++) {
            response->ring.successors.items[response->ring.successors.count++] =
                peer_at(chord, best[i])->peer;
        }
    }
}

void on_find_successor(struct step *step, const struct chord_request *request,
                       uint64_t request_id) {
    struct chord *chord = step->chord;
    if (!id_valid(&request->id, chord->parameters.m)) {
        reply_code(step, request_id, request->kind, CHORD_INVALID_ARGUMENT, 0);
        return;
    }
    find_local(chord, &request->id, reply_add(step, request_id, CHORD_FIND_SUCCESSOR));
}

/* ---- lookups ---- */

static void reply_lookup(struct step *step, struct lookup *lookup, const struct chord_peer *owner) {
    struct chord *chord = step->chord;
    struct chord_response *response = reply_add(step, lookup->request_id, CHORD_LOOKUP);
    if (owner == NULL) {
        response->code = CHORD_UNAVAILABLE;
        response->retry_after_ms = 200;
    } else {
        response->lookup.owner = *owner;
        response->lookup.asked = lookup->hops;
        if (lookup->path != NONE) {
            struct path *path = path_at(chord, lookup->path);
            response->lookup.hops_count = path->count;
            memcpy(response->lookup.hops, path->hops, sizeof path->hops);
        }
    }
}

/* owner NULL: not found. */
static void finish(struct step *step, uint16_t index, const struct chord_response *response) {
    struct chord *chord = step->chord;
    struct lookup lookup = *lookup_at(chord, index);
    const struct chord_peer *owner = response != NULL ? &response->ring.node : NULL;
    const struct chord_peer *before = response != NULL ? &response->ring.self : NULL;
    lookup_at(chord, index)->purpose = LOOKUP_FREE;
    switch (lookup.purpose) {
    case LOOKUP_FINGER:
        chord->finger_open = false;
        if (owner != NULL) {
            finger_found(step, lookup.subject.slot, owner, before);
        }
        break;
    case LOOKUP_JOIN:
        join_looked_up(step, owner != NULL, owner, before);
        break;
    case LOOKUP_CLIENT:
        reply_lookup(step, &lookup, owner);
        break;
    case LOOKUP_BATCH:
        data_looked_up(step, lookup.subject, owner, before, lookup.hops);
        break;
    default:
        if (owner != NULL) {
            unify_looked_up(step, owner, before);
        }
        break;
    }
    if (lookup.path != NONE) {
        path_at(chord, lookup.path)->used = false;
    }
}

static void ask(struct step *step, uint16_t index, const struct chord_peer *peer) {
    struct chord *chord = step->chord;
    struct lookup *lookup = lookup_at(chord, index);
    struct chord_request *request;
    uint16_t slot = NONE;
    if (lookup->hops < CHORD_HOPS_MAX && chord->now_ms <= lookup->deadline_ms) {
        slot = call_peer(step, CALL_LOOKUP, peer, CHORD_FIND_SUCCESSOR, &request);
    }
    if (slot == NONE) {
        finish(step, index, NULL);
        return;
    }
    call_at(chord, slot)->subject = lookup_ref(chord, index);
    request->id = lookup->target;
    lookup->asked = *peer;
    lookup->hops++;
}

static void path_add(struct chord *chord, struct lookup *lookup, const struct chord_peer *peer,
                     uint64_t microseconds) {
    if (lookup->path == NONE) {
        return;
    }
    struct path *path = path_at(chord, lookup->path);
    if (path->count < CHORD_HOPS_TRACED_MAX) {
        path->hops[path->count].node = *peer;
        path->hops[path->count].microseconds = microseconds;
        path->count++;
    }
}

/* From the local state again; remote answers led nowhere. */
static void begin(struct step *step, uint16_t index, const struct chord_peer *via) {
    struct chord *chord = step->chord;
    struct lookup *lookup = lookup_at(chord, index);
    if (via != NULL) {
        ask(step, index, via);
        return;
    }
    struct chord_response response;
    memset(&response, 0, offsetof(struct chord_response, ring.successors.items));
    find_local(chord, &lookup->target, &response);
    if (response.ring.found) {
        finish(step, index, &response);
        return;
    }
    lookup->fallbacks_count = response.ring.successors.count;
    memcpy(lookup->fallbacks, response.ring.successors.items,
           sizeof(struct chord_peer) * response.ring.successors.count);
    ask(step, index, &response.ring.node);
}

/* via NULL: from self. False: no room; nothing was started. May finish within the call. */
bool lookup_start(struct step *step, enum lookup_purpose purpose, const struct chord_id *target,
                  const struct chord_peer *via, struct ref subject, uint64_t request_id,
                  uint64_t deadline_ms) {
    struct chord *chord = step->chord;
    uint16_t index = lookup_free(chord);
    if (index == NONE || !action_room(step, 8)) {
        return false;
    }
    struct lookup *lookup = lookup_at(chord, index);
    memset(lookup, 0, sizeof *lookup);
    lookup->purpose = purpose;
    lookup->serial = serial_new(chord);
    lookup->subject = subject;
    lookup->request_id = request_id;
    lookup->deadline_ms = deadline_ms;
    lookup->target = *target;
    lookup->path = purpose == LOOKUP_CLIENT ? path_free(chord) : (uint16_t)NONE;
    if (lookup->path != NONE) {
        path_at(chord, lookup->path)->used = true;
        path_at(chord, lookup->path)->count = 0;
        path_add(chord, lookup, &chord->self, 0);
    }
    /* A finger's owner is most often a finger of our predecessor's, or next to one (Stoica et al.
     * 2001, section 4.4, has a neighbour's whole table copied; to ask it for one entry needs no new
     * message). */
    bool near = purpose == LOOKUP_FINGER && via == NULL;
    begin(step, index, near ? predecessor_get(chord) : via);
    return true;
}

static void unanswered(struct step *step, uint16_t index) {
    struct lookup *lookup = lookup_at(step->chord, index);
    if (lookup->fallbacks_count > 0) {
        struct chord_peer next = lookup->fallbacks[0];
        lookup->fallbacks_count--;
        memmove(&lookup->fallbacks[0], &lookup->fallbacks[1],
                sizeof lookup->fallbacks[0] * lookup->fallbacks_count);
        ask(step, index, &next);
    } else if (lookup->purpose != LOOKUP_JOIN && lookup->purpose != LOOKUP_UNIFY &&
               lookup->restarts < RESTARTS_MAX) {
        lookup->restarts++;
        begin(step, index, NULL);
    } else {
        finish(step, index, NULL);
    }
}

void lookup_reply(struct step *step, const struct call *call,
                  const struct chord_response *response) {
    uint16_t index = call->subject.slot;
    if (response == NULL) {
        unanswered(step, index);
        return;
    }
    struct chord *chord = step->chord;
    struct lookup *lookup = lookup_at(chord, index);
    if (!peer_valid(chord, &response->ring.node)) {
        unanswered(step, index);
        return;
    }
    path_add(chord, lookup, &lookup->asked, step->event->reply.microseconds);
    if (response->ring.found) {
        finish(step, index, response);
        return;
    }
    if (lookup->purpose == LOOKUP_FINGER && lookup->hops == 1 &&
        id_in_open(&chord->self.id, &lookup->target, &lookup->asked.id)) {
        /* Our finger is behind the owner: from it the way is all round. */
        begin(step, index, predecessor_get(chord));
        return;
    }
    /* Each hop must come nearer, or the lookup could go round for ever. */
    const struct chord_peer *next = &response->ring.node;
    bool nearer = id_in_open(&lookup->asked.id, &next->id, &lookup->target);
    if (!nearer) {
        unanswered(step, index);
        return;
    }
    uint16_t count = 0;
    for (uint16_t i = 0; i < response->ring.successors.count && count < FALLBACKS_MAX; i++) {
        const struct chord_peer *fallback = &response->ring.successors.items[i];
        if (peer_valid(chord, fallback) &&
            id_in_open(&lookup->asked.id, &fallback->id, &lookup->target)) {
            lookup->fallbacks[count++] = *fallback;
        }
    }
    lookup->fallbacks_count = count;
    ask(step, index, next);
}

void lookups_forget(struct chord *chord) {
    for (uint16_t i = 0; i < chord->config.limits.lookups_max; i++) {
        struct lookup *lookup = lookup_at(chord, i);
        if (lookup->purpose != LOOKUP_CLIENT && lookup->purpose != LOOKUP_BATCH) {
            lookup->purpose = LOOKUP_FREE;
        }
    }
    chord->finger_open = false;
}

/*
 * Admitting a joiner: what its successor to be decides (Zave 2017, J3), or in genesis the one
 * authority.
 */
#include "ring.h"

static bool id_taken(struct chord *chord, const struct chord_peer *joiner) {
    if (id_equal(&joiner->id, &chord->self.id)) {
        return true;
    }
    for (uint16_t i = 0; i < chord->config.limits.peers_max; i++) {
        const struct chord_peer *peer = &peer_at(chord, i)->peer;
        if (peer->incarnation != 0 && id_equal(&peer->id, &joiner->id) &&
            !address_same(peer->address, joiner->address)) {
            return true;
        }
    }
    for (uint16_t i = 0; i < admitted_max(&chord->config.limits); i++) {
        if (admitted_at(chord, i)->until_ms > chord->now_ms &&
            id_equal(&admitted_at(chord, i)->peer.id, &joiner->id) &&
            !address_same(admitted_at(chord, i)->peer.address, joiner->address)) {
            return true;
        }
    }
    return false;
}

/* Until the joiner has notified us its id counts as taken: of two racers the second is refused. */
static void admitted_add(struct chord *chord, const struct chord_peer *joiner) {
    uint16_t slot = 0;
    for (uint16_t i = 1; i < admitted_max(&chord->config.limits); i++) {
        if (admitted_at(chord, i)->until_ms < admitted_at(chord, slot)->until_ms) {
            slot = i;
        }
    }
    admitted_at(chord, slot)->peer = *joiner;
    admitted_at(chord, slot)->until_ms = chord->now_ms + 3000;
}

static enum chord_join_result admit(struct step *step, const struct chord_peer *joiner) {
    struct chord *chord = step->chord;
    const struct chord_peer *predecessor = predecessor_get(chord);
    if (id_taken(chord, joiner)) {
        return CHORD_JOIN_ID_IN_USE;
    }
    /* One that leaves is a member until it has left: what it waits for may be this very joiner,
     * which leads a range where the leaver holds a copy. */
    if (!in_ring(chord)) {
        return CHORD_JOIN_NOT_SUCCESSOR;
    }
    if (predecessor != NULL && !id_in_open(&predecessor->id, &joiner->id, &chord->self.id)) {
        return CHORD_JOIN_NOT_SUCCESSOR;
    }
    if (predecessor == NULL && chord->successors_count > 0) {
        return CHORD_JOIN_WAIT; /* it may have been admitted by another successor already */
    }
    admitted_add(chord, joiner);
    trace_peer(step, CHORD_WORD_ADMIT, CHORD_LEVEL_INFO, "admitted before self", joiner);
    return CHORD_JOIN_ADMITTED;
}

void on_join(struct step *step, const struct chord_request *request, uint64_t request_id) {
    struct chord *chord = step->chord;
    struct chord_response response;
    memset(&response, 0, sizeof response);
    response.kind = CHORD_JOIN;
    response.join.formed = chord->formed;
    struct chord_peer authority;
    if (!chord->serial_admission) {
        response.join.result = admit(step, &request->sender);
        response.retry_after_ms = 50;
        if (response.join.result == CHORD_JOIN_ADMITTED) {
            successors_list(chord, &response.join.successors);
        }
    } else if (genesis_authority(chord, &authority)) {
        response.join.result = genesis_admit(step, &request->sender);
        response.retry_after_ms = 50;
    } else {
        response.join.result = CHORD_JOIN_REDIRECT;
        response.join.authority = authority;
    }
    reply_send(step, request_id, &response);
}

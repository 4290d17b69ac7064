/* SPDX-License-Identifier: MIT */
/*
 * From one ring to another: two rings that were built apart become one when the members of the one
 * leave it and join the other, one after the other. The epochs of the two rings are not related,
 * so their rows are never compared: a node takes none along. It hands over what it holds and then
 * forgets its former ring in one commit. Only the last member has no other to hand over to: it
 * leaves with its rows, no longer serves them, and a client copies them (chordctl merge) before it
 * goes.
 */
#include "data/for_ring.h"
#include "ring.h"

bool another_ring(const struct chord *chord, const struct chord_parameters *ring) {
    return ring->m != 0 &&
           memcmp(ring->ring_id, chord->parameters.ring_id, CHORD_RING_ID_BYTES) != 0;
}

/* NULL: the other ring is like this one, and there is a way to it. */
static const char *ring_obstacle(const struct chord *chord, const struct chord_entrance *entrance) {
    const struct chord_parameters *own = &chord->parameters, *ring = &entrance->ring;
    if (ring->m != own->m || ring->n != own->n || ring->replicas != own->replicas) {
        return "the two rings differ in M, N or REPLICAS";
    }
    if (entrance->seeds_count == 0 || entrance->seeds_count > CHORD_SEEDS_MAX) {
        return "1 to 16 members of the other ring are needed as seeds";
    }
    return NULL;
}

const char *chord_leave_obstacle(const struct chord *constant,
                                 const struct chord_departure *leave) {
    struct chord *chord = reading(constant);
    bool moves = another_ring(chord, &leave->next.ring);
    if (chord->state == CHORD_STATE_LEAVING || chord->state == CHORD_STATE_LEFT) {
        return "this node has left or is leaving already";
    }
    if (chord->state != CHORD_STATE_MEMBER) {
        return "this node is not a member yet";
    }
    if (leave->next.ring.m != 0 && !moves) {
        return "this node is in that ring already";
    }
    if (moves && ring_obstacle(chord, &leave->next) != NULL) {
        return ring_obstacle(chord, &leave->next);
    }
    if (!leave->last && chord->successors_count == 0) {
        return "this is the last member: there is nobody to hand the data to; stop it instead";
    }
    if (leave->last && (moves || chord->successors_count > 0)) {
        return "this is not the last member: it hands its data over";
    }
    if (leave->last && !data_whole(chord)) {
        return "ranges of the ring are still on their way to this node, its last member";
    }
    return NULL;
}

const char *chord_join_obstacle(const struct chord *constant,
                                const struct chord_entrance *entrance) {
    struct chord *chord = reading(constant);
    if (chord->state != CHORD_STATE_LEFT) {
        return "only a node that has left can join again";
    }
    if (!another_ring(chord, &entrance->ring)) {
        return NULL;
    }
    if (ring_obstacle(chord, entrance) != NULL) {
        return ring_obstacle(chord, entrance);
    }
    if (chord->left_last && !entrance->drop_rows) {
        return "the rows of its former ring are here and nowhere else; copy them first";
    }
    if ((!chord->left_last && data_held(chord)) || data_pulling(chord) || data_writing(chord)) {
        return "rows of its former ring are still on their way";
    }
    return NULL;
}

static void forget_ring(struct step *step) {
    struct chord *chord = step->chord;
    data_forget(step);
    ring_clear(chord);
    lookups_forget(chord);
    memset(peer_at(chord, 0), 0, sizeof(struct peer_entry) * chord->config.limits.peers_max);
    memset(tag_at(chord, 0), 0, sizeof(uint32_t) * chord->config.limits.peers_max);
    const struct chord_limits *limits = &chord->config.limits;
    memset(admitted_at(chord, 0), 0, sizeof(struct admitted) * admitted_max(limits));
    memset(leaving_at(chord, 0), 0, sizeof(struct leaving) * leaving_max(limits));
    chord->formed = false;
    chord->left_last = false;
}

/* State LEFT. A crash leaves a node that has left the one ring or one that joins the other. Its id
 * comes from its address and salt, so it is as good there; a collision is found as in any join. */
void another_ring_join(struct step *step, const struct chord_entrance *entrance) {
    struct chord *chord = step->chord;
    CHORD_ASSERT(chord->state == CHORD_STATE_LEFT);
    forget_ring(step);
    chord->parameters = entrance->ring;
    memset(&chord->next_ring, 0, sizeof chord->next_ring);
    chord->known_count = 0;
    for (uint16_t i = 0; i < entrance->seeds_count && i < chord->config.limits.known_max; i++) {
        struct chord_peer *known = known_at(chord, chord->known_count++);
        memset(known, 0, sizeof *known);
        memcpy(known->address, entrance->seeds[i].text, CHORD_ADDRESS_BYTES);
    }
    chord->self.incarnation++;
    trace_peer(step, CHORD_WORD_MERGE, CHORD_LEVEL_INFO, "goes to another ring", &chord->self);
    identity_save(step, CHORD_STORE_OTHER_RING);
    join_begin(step, entrance->seeds, entrance->seeds_count);
}

/* Writes that were taken before are stored and answered; no new one is taken. */
void last_leave(struct step *step) {
    struct chord *chord = step->chord;
    data_close(step);
    chord->left_last = true;
    chord->state = CHORD_STATE_LEFT;
    ring_clear(chord);
    trace_peer(step, CHORD_WORD_LEFT, CHORD_LEVEL_INFO,
               "left as the last member; its rows stay here", &chord->self);
    identity_save(step, CHORD_STORE_IDENTITY);
    action_add(step, CHORD_ACTION_LEFT);
}

/* Back as the first member of the ring that it was the last of. */
void last_return(struct step *step) {
    struct chord *chord = step->chord;
    chord->left_last = false;
    chord->self.incarnation++;
    data_lead_again(step);
    genesis_create(step, false);
}

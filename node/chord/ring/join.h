/* SPDX-License-Identifier: MIT */
/*
 * What the files of a join offer each other: join.c (its steps), seeds.c (whom to ask), free_id.c.
 */
#ifndef CHORD_JOIN_H
#define CHORD_JOIN_H

#include "ring.h"

enum {
    JOIN_ROUND_MS = 250, /* between two rounds over all seeds */
    JOIN_RETRY_MS = 150, /* after a step that failed */
    JOIN_BUSY_RETRY_MS = 4,
};

/* join.c */
void join_later(struct chord *chord, enum join_stage stage, uint64_t delay_ms);
void join_step_failed(struct step *step); /* from the start again, soon */
/* NONE: no room for a call; tried again. */
uint16_t join_ask(struct step *step, const struct chord_peer *peer, enum chord_message_kind kind);
void join_look_up(struct step *step); /* our id, through join.via */
/* Out of the ring for good; the caller may add to the action. `reason` is static. */
struct chord_action *join_refuse(struct step *step, const char *reason);

/* seeds.c */
void seeds_add(struct chord *chord, const char *address);
void seeds_add_former(struct chord *chord);
void seeds_add_known(struct chord *chord);
void seeds_ask(struct step *step);
void seeds_reply(struct step *step, uint16_t seed, const struct chord_response *response);
void seeds_one_done(struct step *step, uint16_t seed); /* no answer, or one that is of no use */

/* place.c */
enum { ARC_MS = 300 }; /* how long others wait for one that was let in: some round trips */
void place_look(struct step *step); /* from join.via on; ends with free_id_derive */
void place_look_reply(struct step *step, const struct chord_response *response);
void place_probed(struct step *step, bool found, const struct chord_peer *owner,
                  const struct chord_peer *before);
/* The id that was chosen lies between these two. True: it is as good as any that is known; else
 * another one is being chosen. */
bool place_found(struct step *step, const struct chord_peer *owner,
                 const struct chord_peer *before);
void place_taken(struct step *step); /* another member has that very id */
/* Whether an id leaves each side a fair part of the arc. */
bool place_halves(const struct chord_arc *arc, const struct chord_id *id, unsigned m);

/* free_id.c */
void free_id_derive(struct step *step);
void free_id_collision(struct step *step);
void free_id_walk_reply(struct step *step, const struct chord_response *response);

#endif

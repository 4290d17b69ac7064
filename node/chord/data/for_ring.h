/* SPDX-License-Identifier: MIT */
/*
 * What the data lets the ring know: a few events that the ring tells it and questions that the ring
 * asks it. The ring's files know no more of the data than this.
 */
#ifndef CHORD_DATA_FOR_RING_H
#define CHORD_DATA_FOR_RING_H

#include "frame/state.h"

/* ---- events ---- */

void data_begin(struct step *step);  /* a ring is made: all of it belongs to its first member */
void data_wake(struct chord *chord); /* the ring has changed: who owns what, and who is there */
void data_peer_lost(struct step *step, const char *address);
void data_disconnected(struct chord *chord, const char *address); /* it may be lost */
/* The lookup for a client's request has come to an end. */
void data_looked_up(struct step *step, struct ref batch, const struct chord_peer *owner,
                    const struct chord_peer *before, uint16_t hops);
void data_close(struct step *step);      /* the last member leaves: it serves no more */
void data_lead_again(struct step *step); /* it comes back: all that it led before it stopped */
void data_forget(struct step *step);     /* on the way to another ring */

/* ---- questions ---- */

bool data_held(struct chord *chord);    /* ranges; those that are only remembered are not */
bool data_whole(struct chord *chord);   /* each key in a range that self leads alone */
bool data_pulling(struct chord *chord); /* rows are on their way to us */
bool data_writing(struct chord *chord); /* clients' writes are on their way */
/* The members of our views; one may come several times. */
void data_members(struct chord *chord, void (*take)(struct chord *chord, const char *address));
/* The leader of what we hold in slot `i` of `chord->ranges_end`; NULL: we hold nothing there. */
const char *data_leader(struct chord *chord, uint16_t i);

#endif

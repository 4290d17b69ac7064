/* SPDX-License-Identifier: MIT */
/*
 * What the ring offers the data: which members there are, who owns which ids, and a few services.
 * The files of the data know no more of the ring than this.
 */
#ifndef CHORD_RING_FOR_DATA_H
#define CHORD_RING_FOR_DATA_H

#include "frame/state.h"

/* ---- questions ---- */

bool address_same(const char *a, const char *b);
uint16_t peer_find_address(struct chord *chord, const char *address);
/* No question to it is without an answer, and its connection has not been closed, since it last
 * answered. */
bool peer_healthy(struct chord *chord, uint16_t index);
/* Within the bounds of one request's timeout. */
uint32_t timeout_within(const struct chord *chord, uint32_t timeout_ms);
/* How long an answer may take, by what was measured. */
uint32_t peer_timeout_ms(struct chord *chord, uint16_t index); /* NONE: of one we do not know */
/* incarnation 0: any life of that store. */
bool peer_leaving(const struct chord *chord, const uint8_t *store_id, uint64_t incarnation);
const struct chord_peer *successor_at(struct chord *chord, uint16_t position); /* NULL: none */
const struct chord_peer *predecessor_get(struct chord *chord);                 /* NULL: none */
bool owns(struct chord *chord, const struct chord_id *id); /* in (predecessor, self] */

/* ---- what the ring does for the data ---- */

/* Remembers a sender whose address is not known yet; what is no peer is ignored. */
void peer_meet(struct chord *chord, const struct chord_peer *sender);

/* The owner of `target`, for a client or one of its requests; `via` NULL: by our own fingers. */
bool lookup_start(struct step *step, enum lookup_purpose purpose, const struct chord_id *target,
                  const struct chord_peer *via, struct ref subject, uint64_t request_id,
                  uint64_t deadline_ms);
void check_predecessor_now(struct step *step);
/* Out of the ring: our store runs, or ran last, at that address, and this is a copy. */
void copy_refused(struct step *step, const char *address);
/* Tells a node that this one leaves, or has left. */
void leave_tell(struct step *step, const char *address, bool left);

#endif

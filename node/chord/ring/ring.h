/* SPDX-License-Identifier: MIT */
/*
 * What the files of the ring offer each other, and the frame; the data knows for_data.h only.
 */
#ifndef CHORD_RING_H
#define CHORD_RING_H

#include "for_data.h"

enum { LOOKUP_MS = 10000 }; /* how long a node's own lookup may take */

/* peers.c */
int address_compare(const char *a, const char *b);                      /* as strcmp */
bool peer_same(const struct chord_peer *a, const struct chord_peer *b); /* the same life */
uint16_t peer_find(struct chord *chord, const struct chord_peer *peer); /* NONE = unknown */
uint16_t peer_add(struct chord *chord, const struct chord_peer *peer);  /* NONE = no room */
/* It answered a question of that moment. */
void peer_heard(struct chord *chord, uint16_t index, uint64_t asked_ms, uint64_t microseconds);
enum peer_verdict {
    PEER_UNKNOWN, /* this says nothing */
    PEER_SILENT,  /* to be asked again at once: two silences with a long time between are not one */
    PEER_FAILED,
};
/* It did not, in time. */
enum peer_verdict peer_silent(struct chord *chord, uint16_t index, uint64_t asked_ms);
/* How long the next question to it may take. NONE: to one we do not know. */
uint32_t peer_question_ms(struct chord *chord, uint16_t index);
bool peer_valid(const struct chord *chord, const struct chord_peer *peer);
void peer_failed(struct step *step, const struct chord_peer *peer, const char *note);
void peer_left(struct step *step, const struct chord_peer *peer);
void peer_disconnected(struct step *step, const char *address);
void peer_set_leaving(struct chord *chord, const struct chord_peer *peer);

/* stalls.c */
void stalls_seen(struct chord *chord, uint64_t ms); /* so long an answer took that did come */
uint32_t stalls_ms(struct chord *chord);            /* the longest of late */

/* successors.c */
void successors_list(struct chord *chord, struct chord_peer_list *list);
/* trunc([first] + rest) of the paper: ordered, no self, no duplicate; N of them, or more where
 * these are on too few hosts. */
void successors_adopt(struct step *step, const struct chord_peer *first,
                      const struct chord_peer_list *rest);
/* Puts our own entries into `list`, which is ordered, where it lacks them. */
void successors_unite(struct chord *chord, struct chord_peer_list *list);
void predecessor_set(struct step *step, const struct chord_peer *peer); /* NULL: unknown */
void neighbours_clear(struct chord *chord); /* out of the ring: nobody is known as near */
void ring_clear(struct chord *chord);       /* the same for good: nor as removed */
uint32_t members_estimate(struct chord *chord);

/* join.c */
void join_start(struct step *step);
void join_begin(struct step *step, const struct chord_address *seeds, uint16_t count);
void join_tick(struct step *step);
void join_heard(struct chord *chord, const struct chord_peer *sender); /* it asks us too */
void join_reply(struct step *step, const struct call *call, const struct chord_response *response);
void join_derived(struct step *step);
void join_looked_up(struct step *step, bool found, const struct chord_peer *owner,
                    const struct chord_peer *before);
void join_done(struct step *step, const char *note);
void join_again(struct step *step, const struct chord_peer *via); /* under another id */

/* admit.c */
void dial_reply(struct step *step, const struct call *call, const struct chord_response *response);
void on_join(struct step *step, const struct chord_request *request, uint64_t request_id);

/* genesis.c */
void genesis_create(struct step *step, bool fresh);
bool genesis_authority(struct chord *chord, struct chord_peer *authority);
enum chord_join_result genesis_admit(struct step *step, const struct chord_peer *joiner);
/* One that chose its place before the last list came would cut this arc badly; it finds out when it
 * looks again. */
bool genesis_cut(const struct chord *chord, const struct chord_arc *arc,
                 const struct chord_peer *joiner);
void genesis_is_over(struct chord *chord, bool for_successor); /* as its answer says */
void genesis_reply(struct step *step, const struct call *call,
                   const struct chord_response *response);
void genesis_forget(struct step *step, const struct chord_peer *peer);
void on_genesis(struct step *step, const struct chord_request *request, uint64_t request_id);

/* stabilize.c */
void stabilize_soon(struct chord *chord);
void stabilize_for(struct chord *chord,
                   const struct chord_peer *joiner); /* who asks for our list */
void stabilize_tick(struct step *step);
void query_end(struct chord *chord);
void query_reply(struct step *step, const struct call *call, const struct chord_response *response);
void query_candidate(struct step *step, const struct chord_peer *peer);
void check_predecessor_reply(struct step *step, const struct call *call,
                             const struct chord_response *response);
void check_predecessor_tick(struct step *step);
void on_notify(struct step *step, const struct chord_request *request, uint64_t request_id);

/* lookup.c */
void lookup_reply(struct step *step, const struct call *call,
                  const struct chord_response *response);
void on_find_successor(struct step *step, const struct chord_request *request, uint64_t request_id);
void lookups_forget(struct chord *chord); /* those of this node's own; nobody awaits an answer */

/* fingers.c */
void fix_fingers_tick(struct step *step);
/* `owner` owns the finger's start, and `before` is the member before it. */
void finger_found(struct step *step, uint16_t finger, const struct chord_peer *owner,
                  const struct chord_peer *before);
void fingers_forget(struct chord *chord, uint16_t peer);
const struct chord_peer *finger_get(struct chord *chord, unsigned finger); /* NULL: none, or self */

/* unify.c */
void on_merge(struct step *step, const struct chord_request *request, uint64_t request_id);
void unify_tell(struct step *step, const struct chord_peer *target, const struct chord_peer *peer);
/* Our own id was looked up through another member. */
void unify_looked_up(struct step *step, const struct chord_peer *owner,
                     const struct chord_peer *before);
void graveyard_clear(struct chord *chord);
void graveyard_add(struct chord *chord, const struct chord_peer *peer);
void graveyard_tick(struct step *step);
void graveyard_reply(struct step *step, const struct call *call,
                     const struct chord_response *response);

/* copies.c: two members of the ring with one store */
bool is_copy(const struct chord *chord,
             const struct chord_peer *peer); /* of this node, or it of it */
void copies_find(struct chord *chord);       /* those that we know are asked like removed peers */
void copy_met(struct step *step, const struct chord_peer *peer); /* a member, as it says itself */

/* leave.c */
void leave_start(struct step *step);
void leave_tick(struct step *step);
void on_leave(struct step *step, const struct chord_request *request, uint64_t request_id);

/* another_ring.c: the last member, and the way to another ring */
bool another_ring(const struct chord *chord, const struct chord_parameters *ring);
void another_ring_join(struct step *step, const struct chord_entrance *entrance);
void last_leave(struct step *step);
void last_return(struct step *step);

#endif

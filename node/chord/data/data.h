/* SPDX-License-Identifier: MIT */
/*
 * What the files of the data offer each other, and the frame; the ring knows for_ring.h only.
 */
#ifndef CHORD_DATA_H
#define CHORD_DATA_H

#include "data_state.h"
#include "for_ring.h"
#include "ring/for_data.h"

/* views.c: the table of views */
uint16_t range_find(struct chord *chord, const struct chord_id *id); /* newest view over id */
/* The range over id of which our store has a copy, uncut; NULL. */
struct range *range_held(struct chord *chord, const struct chord_id *id);
bool range_add(struct chord *chord, const struct chord_view *view, uint16_t *index);
/* Makes `view` the truth for its ids where it is newer. True: the table changed. */
bool range_install(struct step *step, const struct chord_view *view, uint16_t *index);
/* `view` is newer than what we know of one part of its range, but it is over: of another part we
 * know the view that followed. It is kept as a piece, and its members are asked what followed it
 * here. True: the table changed. */
bool range_remember(struct step *step, const struct chord_view *view);
/* The entry of exactly this view, uncut; NONE: this store is at another one. */
uint16_t range_exact(struct chord *chord, const struct chord_range *range, uint64_t epoch);
/* The entry of a view of that epoch which covers the range, uncut; NONE. */
uint16_t range_at_epoch(struct chord *chord, const struct chord_range *range, uint64_t epoch);
/* The newest view over a part of the range; NONE. */
uint16_t range_newest(struct chord *chord, const struct chord_range *range);
bool range_room(struct step *step); /* for a decision's views */
void range_remove(struct step *step, uint16_t index);
bool range_contains(const struct chord_range *range, const struct chord_id *id);
bool range_covers(const struct chord_range *outer, const struct chord_range *inner);
bool ranges_overlap(const struct chord_range *a, const struct chord_range *b);
bool view_formed(const struct chord_view *view);                              /* but for its ids */
bool view_valid(const struct chord *chord, const struct chord_view *view);    /* from outside */
uint16_t view_member(const struct chord_view *view, const uint8_t *store_id); /* NONE */
uint16_t view_self(const struct chord *chord, const struct chord_view *view); /* our store; NONE */
bool view_leads(const struct chord *chord, const struct chord_view *view);    /* leader is self */
unsigned view_majority(const struct chord_view *view);
/* The range that this node leads: the view names it, and it switched to that view in this life, for
 * its counter was in memory. NULL: it does not. */
struct range *range_led(struct chord *chord, uint16_t index);

/* seats.c: a member is a store at an address */
bool seated(const struct chord *chord, const struct chord_member *member); /* self is there */
/* The member with that store at that address; NONE: it has no seat, or it is elsewhere. */
uint16_t view_seat(const struct chord_view *view, const struct chord_member *member);
/* The peer that we know at a member's seat; NONE: another store is there, or no known peer. */
uint16_t peer_at_seat(struct chord *chord, const struct chord_member *member);
/* This many stores decide even when they are not at their seats. */
unsigned view_move_quorum(const struct chord_view *view);
const char *member_address(struct chord *chord, const struct chord_member *member);
unsigned view_copies_needed(const struct chord_view *view); /* to settle it */
/* So many members have moved that the others are no majority: the seats are to follow them. */
bool view_follows(struct chord *chord, const struct chord_view *view);
void view_readdress(struct chord *chord, struct chord_view *view);
void seats_ask(struct step *step, const struct chord_view *view);
/* `sender` asks for the view; it may have a seat there under another address. */
void seat_elsewhere(struct chord *chord, const struct chord_view *view,
                    const struct chord_peer *sender);
void former_add(struct chord *chord, const struct chord_view *view);

bool range_all_equal(const struct range *range); /* at its leader: every member's copy is */

/* NULL: no room for a store operation. The caller may fill in more fields. */
bool views_saved(const struct chord *chord); /* all of it is on disk */
struct store_op *views_save(struct step *step, enum store_purpose purpose, uint64_t request_id);
/* The next view when only the leader changes, to self. */
void view_owner_change(struct chord *chord, const struct range *range, struct chord_view *next);
uint64_t view_next_epoch(const struct range *range);
void member_of_peer(const struct chord_peer *peer, struct chord_member *member);

/* leader.c: what a view's leader does */
void ranges_tick(struct step *step);
void leader_advance(struct step *step, uint16_t index);
void leader_take_over(struct step *step, uint16_t index, const char *note);
void leader_decided_reply(struct step *step, const struct call *call,
                          const struct chord_response *response);
void leader_peer_lost(struct step *step, const char *address);
void leader_member_down(struct step *step, uint16_t index, uint16_t member);
void leader_views_saved(struct step *step, bool ok);
bool leader_send_decided(struct step *step, uint16_t index, uint16_t seat,
                         const struct chord_member *member, const struct chord_view *other);
void leader_sync_reply(struct step *step, const struct call *call,
                       const struct chord_response *response);
/* Takes in a view from another member's answer. */
void leader_learn(struct step *step, const struct chord_view *view);
void leader_send_sync(struct step *step, uint16_t index, uint16_t member);

/* settle.c: before a leader serves */
void settle_advance(struct step *step, uint16_t index);
uint64_t settle_own_epoch(struct chord *chord, const struct range *range);
/* A member's copy was made equal at that epoch. */
void settle_heard(struct range *range, uint16_t member, uint64_t equal_epoch);
void settle_pulled(struct step *step, uint16_t index, uint16_t member, bool ok);
void settle_lost(struct step *step, uint16_t index, uint16_t member); /* it is no copy any more */

/* plan.c: what the next view is to be */
/* False: it stays as it is. */
bool plan_next(struct chord *chord, struct range *range, struct change *change);
struct range *plan_merge_partner(struct chord *chord, struct range *range); /* NULL: none */

/* change.c: member change, split, hand-over, merge */
void change_plan(struct step *step, uint16_t index);
void change_advance(struct step *step, uint16_t index);
void change_learn(struct step *step, uint16_t index); /* Sync to the newcomer, again */
void change_learned(struct step *step, uint16_t index, bool ok);
void change_abort(struct step *step, uint16_t index, const char *note);
/* `next` was chosen for what follows the view of `index` (and of `other`). */
void change_decided(struct step *step, uint16_t index, uint16_t other,
                    const struct chord_view *next);

/* tombstones.c: tombstones that everybody has */
void forget_tick(struct step *step, uint16_t index);
void forget_counted(struct step *step, uint16_t index, bool ok);
/* Every member has the whole range on disk, and nothing is on its way. */
bool forget_possible(const struct range *range);

/* damage.c: copies that a disk has changed */
void repair_tick(struct step *step, uint16_t index);
void repair_damaged(struct step *step, const struct chord_id *id);
void repair_pull(struct step *step, uint16_t index); /* its leader serves */
/* To settle: how many others must be merged; 0: no matter whose copies make the majority. */
unsigned repair_needs(struct chord *chord, const struct range *range);
void repair_settled(struct chord *chord, const struct range *range);

/* proposer.c: the proposer of a decision */
/* Decides the next view of `index`, or of `index` and `other` together. False: no room now. */
bool decide_start(struct step *step, uint16_t index, uint16_t other, const struct chord_view *next);
uint16_t decide_find(struct chord *chord, uint16_t index); /* NONE: nothing is proposed for it */
void decide_stored(struct step *step, const struct store_op *store, bool ok);
void decide_reply(struct step *step, const struct call *call,
                  const struct chord_response *response);
void decisions_tick(struct step *step);

/* acceptor.c; other NULL: not joint */
bool decision_joint(const struct chord_view *view, const struct chord_view *next);
struct chord_range decision_other(const struct chord_view *view, const struct chord_view *next);
bool decision_valid(const struct chord_view *view, const struct chord_view *other,
                    const struct chord_view *next);
/* `next`, and, after a split, the view of the rest; how many. */
uint16_t decision_views(const struct chord_view *view, const struct chord_view *next,
                        struct chord_view views[2]);
/* A merge with that other view cannot have been chosen. */
bool decision_lost(struct chord *chord, const struct chord_range *other, uint64_t other_epoch,
                   const struct chord_view *joint);
/* The history of a view that merges two. */
void merges_join(const struct chord_view *a, const struct chord_view *b, struct chord_view *joint);
bool acceptor_promise(struct range *range, struct range *other, uint64_t ballot);
bool acceptor_accept(struct range *range, struct range *other, uint64_t ballot,
                     const struct chord_view *next);
/* The state of the acceptor as the answer to Prepare. */
void acceptor_tell(struct chord *chord, struct range *range, struct range *other,
                   struct chord_response *response);
/* Prepare, Accept. */
void on_decide(struct step *step, const struct chord_request *request, uint64_t request_id);
void acceptor_stored(struct step *step, const struct store_op *store, bool ok);

/* Tells the whole decision to every former and every present member. */
void change_tell(struct step *step, const struct chord_view *old, const struct chord_view *views,
                 uint16_t count);

/* recover.c: a view by hand */
void recover_start(struct step *step, const struct chord_id *id);

/* replica.c: what every member of a view answers */
void replica_watch(struct step *step, uint16_t index);
void reply_wrong_view(struct step *step, uint64_t request_id, enum chord_message_kind kind,
                      const struct chord_range *range);
void replica_watch_reply(struct step *step, const struct call *call,
                         const struct chord_response *response);
void replica_leader_lost(struct step *step, const char *address);
void on_apply(struct step *step, const struct chord_request *request, uint64_t request_id);
void on_check(struct step *step, const struct chord_request *request, uint64_t request_id);
void on_sync(struct step *step, const struct chord_request *request, uint64_t request_id);
void on_decided(struct step *step, const struct chord_request *request, uint64_t request_id);
void on_get_view(struct step *step, const struct chord_request *request, uint64_t request_id);
/* Digest, TransferKeys. */
void on_read_range(struct step *step, const struct chord_request *request, uint64_t request_id);

/* pull.c: pulling a range */
/* A leader settles: what `member` of range `subject` has that is newer. False: no room. */
bool transfer_settle(struct step *step, uint16_t subject, uint16_t member);
/* Sync, or Sync again: our rows become equal to the leader's. request_id 0: of our own accord. */
bool transfer_sync(struct step *step, const struct chord_member *source,
                   const struct chord_range *range, uint64_t epoch, uint64_t token,
                   uint64_t request_id);
void transfer_reply(struct step *step, const struct call *call,
                    const struct chord_response *response);
void transfer_stored(struct step *step, uint16_t index);
/* A leader's own pulls for range `subject` end. Bits of the members they were from. */
uint64_t transfers_stop(struct chord *chord, uint16_t subject);
void transfers_tick(struct step *step);

/* batch.c: client requests */
/* False: no RESUME went out for that request. */
bool batch_resume(struct step *step, uint64_t request_id);
void on_batch(struct step *step, const struct chord_request *request, uint64_t request_id);
void batch_looked_up(struct step *step, uint16_t index, const struct chord_peer *owner,
                     const struct chord_peer *before, uint16_t hops);
void batch_forward_reply(struct step *step, const struct call *call,
                         const struct chord_response *response);
void batches_tick(struct step *step);
void batches_wake(struct step *step); /* something that batches wait for has changed */
void batch_release_keys(struct step *step, uint16_t index);

void batch_wait(struct chord *chord, struct batch *batch, uint64_t delay_ms);
void batch_due(struct chord *chord, uint64_t when_ms);
void batch_end(struct step *step, uint16_t index, enum chord_code unfinished);
/* The client is told so; the batch goes on until its outcome is decided here. */
void batch_unknown(struct step *step, uint16_t index);
void batch_hint(struct batch *batch, const struct chord_view *view);

/* execute.c: at the leader */
void execute_run(struct step *step, uint16_t index, uint16_t range_index,
                 const struct chord_operation *operations, uint32_t count);
void execute_store_again(struct step *step, uint16_t index);
void execute_stale(struct step *step, uint16_t index, uint16_t range_index);
void execute_send(struct step *step, uint16_t index, struct range *range);
void execute_stored(struct step *step, uint16_t index, enum store_purpose purpose, bool ok);
/* response NULL: no answer, or an error. Also after the batch has ended. */
void execute_applied(struct step *step, const struct call *call,
                     const struct chord_response *response);
/* A round of Check has ended well. True: some reads wait for the next. */
bool execute_confirmed(struct step *step, uint16_t range);
void execute_range_gone(struct step *step, struct ref range);

/* read_check.c: reads are current */
uint64_t confirm_read(struct step *step, uint16_t index);
void confirm_reply(struct step *step, const struct call *call,
                   const struct chord_response *response);
void confirm_again(struct step *step, uint16_t index);

/* key_locks.c: keys being written */
uint16_t keys_holder(struct chord *chord, const uint8_t *hash); /* the batch; NONE: it is free */
bool keys_take(struct chord *chord, const uint8_t *hash, uint16_t batch);
/* That batch is going to wait, for a key which another one holds. */
void keys_want(struct chord *chord, const uint8_t *hash, uint16_t batch);
void keys_release(struct chord *chord, uint16_t batch); /* to those who wait, or to nobody */
void keys_init(struct chord *chord);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * What a node says of itself and of its ranges, read with care. Pure: no I/O, no clock.
 */
#ifndef CHORD_RING_CHECK_H
#define CHORD_RING_CHECK_H

#include "chord/v1/admin.pb-c.h"
#include "ids.h"

/* Lower-case hex of ceil(m/4) digits; "?" for an id that cannot be of such a ring. */
void ring_id_text(char out[ID_HEX_SIZE], ProtobufCBinaryData id, unsigned m);

/* Whether the node at this address, whose status has the range, leads it. */
bool ring_leads(const char *address, const Chord__V1__RangeStatus *range);
/* The ends of a range (lo, hi]. false: there is none, or they are no ids. */
bool ring_range_ids(const Chord__V1__Range *range, struct ring_id *lo, struct ring_id *hi);
bool ring_range_has(const Chord__V1__Range *range, const struct ring_id *id);
/* The newest range over the id that this node leads by its status; NULL: none. */
const Chord__V1__RangeStatus *ring_led_over(const char *address,
                                            const Chord__V1__StatusResponse *status,
                                            const struct ring_id *id);
/* Members or about to leave: what the lists of the others name. */
bool ring_is_member(const Chord__V1__StatusResponse *status);

/* "joining", "member", "leaving", "left". */
const char *ring_state_text(Chord__V1__NodeState state);
bool ring_bytes_equal(ProtobufCBinaryData a, ProtobufCBinaryData b);

/* Ranges that the node leads and that have fewer copies; that went on without a majority once. */
unsigned ring_copies_short(const Chord__V1__StatusResponse *status, unsigned wanted);
unsigned ring_recovered(const Chord__V1__StatusResponse *status);

#endif

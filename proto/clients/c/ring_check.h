/*
 * Whether a ring is as it should be, from what its members say of themselves: every predecessor and
 * successor list is what the set of members says (Zave 2017, the ideal state), every key has a
 * leader, no range that is led lacks copies that it could have. Gateway and chordctl say the same.
 *
 * Pure: no I/O, no clock.
 */
#ifndef CHORD_RING_CHECK_H
#define CHORD_RING_CHECK_H

#include "chord/v1/admin.pb-c.h"
#include "ids.h"

struct ring_member {
    const char *address;
    const char *id; /* as hex, for the texts */
    const Chord__V1__StatusResponse *status;
};

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

/* The members sorted by id. false: `fault` is one sentence without its end. */
bool ring_lists_right(const struct ring_member *members, size_t count, char *fault,
                      size_t fault_size);
/* Copies that a range could have in a ring of so many members. */
unsigned ring_copies_wanted(size_t members_count, unsigned replicas);
/* Ranges that the member leads and that have fewer. */
unsigned ring_copies_short(const struct ring_member *member, unsigned wanted);
/* Ranges that it leads and that went on without a majority once. */
unsigned ring_recovered(const struct ring_member *member);
/* false: nobody leads the ids from *gap on. */
bool ring_all_led(const struct ring_member *members, size_t count, unsigned m, struct ring_id *gap);

#endif

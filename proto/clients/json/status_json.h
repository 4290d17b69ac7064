/* SPDX-License-Identifier: MIT */
/* What nodes tell, as JSON: the field names of the REST API, for the gateway and chordctl. */
#ifndef CHORD_STATUS_JSON_H
#define CHORD_STATUS_JSON_H

#include "chord/v1/admin.pb-c.h"
#include "chord_client.h"
#include "json.h"

/* Null for an id that cannot be of a ring of m bits; null for no peer. */
json_t *id_json(ProtobufCBinaryData id, unsigned m);
json_t *peer_json(const Chord__V1__Peer *peer, unsigned m);
/* A node's own lists, with ids only. */
void lists_json(json_t *json, const Chord__V1__StatusResponse *status, unsigned m);
/* The same with addresses, and fingers, ranges, counters. */
void status_detail_json(json_t *json, const Chord__V1__StatusResponse *status, unsigned m);
json_t *log_line_json(const Chord__V1__LogLine *line);
/* key_id, owner and hops; the key itself is the caller's to put. */
json_t *lookup_json(const struct chord_lookup *lookup);

const char *range_state_text(Chord__V1__RangeState state);
const char *log_level_text(Chord__V1__LogLevel level); /* "info" */
/* "debug", "info", ... of either case. false: another word. */
bool log_level_read(const char *text, Chord__V1__LogLevel *level);

#endif

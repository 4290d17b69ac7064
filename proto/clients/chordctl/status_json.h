/* A node's status as JSON, in the field names of the REST API. */
#ifndef CHORDCTL_STATUS_JSON_H
#define CHORDCTL_STATUS_JSON_H

#include <jansson.h>

#include "ctl.h"

/* Ids only, as in a list of nodes. */
json_t *status_json_short(const Chord__V1__StatusResponse *status, unsigned copies_wanted);
/* With addresses, fingers and ranges. */
json_t *status_json_full(const Chord__V1__StatusResponse *status);
json_t *peer_json(const Chord__V1__Peer *peer, unsigned m);
json_t *id_json(ProtobufCBinaryData id, unsigned m);
void parameters_json(json_t *object, const Chord__V1__RingParameters *parameters);
unsigned status_m(const Chord__V1__StatusResponse *status);
const char *range_state_text(Chord__V1__RangeState state);

#endif

/* A node's status as JSON; see status_json.h. */
#include "status_json.h"

#include "output.h"

unsigned status_m(const Chord__V1__StatusResponse *status) {
    return status->parameters != NULL ? status->parameters->m : 0;
}

json_t *id_json(ProtobufCBinaryData id, unsigned m) {
    char text[ID_HEX_SIZE];
    ring_id_text(text, id, m);
    return text[0] == '?' ? json_null() : json_string(text);
}

json_t *peer_json(const Chord__V1__Peer *peer, unsigned m) {
    if (peer == NULL) {
        return json_null();
    }
    json_t *json = json_object();
    json_put(json, "id", id_json(peer->id, m));
    json_put(json, "address", json_text(peer->address));
    return json;
}

void parameters_json(json_t *object, const Chord__V1__RingParameters *parameters) {
    static const Chord__V1__RingParameters none = CHORD__V1__RING_PARAMETERS__INIT;
    const Chord__V1__RingParameters *of = parameters != NULL ? parameters : &none;
    json_put(object, "ring_id", id_json(of->ring_id, 8 * (unsigned)of->ring_id.len));
    json_put(object, "m", json_u64(of->m));
    json_put(object, "n", json_u64(of->n));
    json_put(object, "replicas", json_u64(of->replicas));
}

const char *range_state_text(Chord__V1__RangeState state) {
    static const char *const names[] = {"unknown", "replica",  "settling",
                                        "open",    "changing", "retired"};
    return (unsigned)state < sizeof names / sizeof names[0] ? names[state] : "unknown";
}

/* What both forms have. */
static json_t *status_json_base(const Chord__V1__StatusResponse *status) {
    json_t *json = json_object();
    json_put(json, "id", id_json(status->self->id, status_m(status)));
    json_put(json, "address", json_text(status->self->address));
    json_put(json, "incarnation", json_u64(status->self->incarnation));
    json_put(json, "state", json_string(ring_state_text(status->state)));
    json_put(json, "keys", json_u64(status->keys_led));
    json_put(json, "keys_stored", json_u64(status->keys_stored));
    json_put(json, "bytes_stored", json_u64(status->bytes_stored));
    json_put(json, "rss_bytes", json_u64(status->rss_bytes));
    json_put(json, "pss_bytes", json_u64(status->pss_bytes));
    json_put(json, "cpu_ms", json_u64(status->cpu_ms));
    json_put(json, "uptime_ms", json_u64(status->uptime_ms));
    json_put(json, "survives_failures", json_u64(status->survives_failures));
    json_put(json, "warning", json_text(status->warning));
    json_put(json, "invariant", json_text(status->invariant));
    return json;
}

json_t *status_json_short(const Chord__V1__StatusResponse *status, unsigned copies_wanted) {
    unsigned m = status_m(status);
    json_t *json = status_json_base(status);
    json_t *successors = json_array();
    for (size_t i = 0; i < status->n_successors; i++) {
        json_array_append_new(successors, id_json(status->successors[i]->id, m));
    }
    json_put(json, "predecessor",
             status->predecessor != NULL ? id_json(status->predecessor->id, m) : json_null());
    json_put(json, "successors", successors);
    json_put(json, "copies_short", json_u64(ring_copies_short(status, copies_wanted)));
    return json;
}

static json_t *finger_json(const Chord__V1__Finger *finger, unsigned m) {
    json_t *json = json_object();
    json_put(json, "index", json_u64(finger->index));
    json_put(json, "start", id_json(finger->start, m));
    json_put(json, "node", peer_json(finger->node, m));
    return json;
}

static json_t *range_json(const Chord__V1__RangeStatus *range, unsigned m) {
    const Chord__V1__View *view = range->view;
    json_t *json = json_object();
    json_put(json, "state", json_string(range_state_text(range->state)));
    json_put(json, "copies", json_u64(range->copies));
    if (view == NULL || view->range == NULL) {
        return json;
    }
    json_t *members = json_array();
    for (size_t i = 0; i < view->n_members; i++) {
        json_array_append_new(members, json_text(view->members[i]->address));
    }
    json_put(json, "lo", id_json(view->range->lo, m));
    json_put(json, "hi", id_json(view->range->hi, m));
    json_put(json, "epoch", json_u64(view->epoch));
    json_put(json, "recovered", json_boolean(view->recovered));
    json_put(
        json, "leader",
        json_text(view->leader < view->n_members ? view->members[view->leader]->address : NULL));
    json_put(json, "members", members);
    return json;
}

json_t *status_json_full(const Chord__V1__StatusResponse *status) {
    unsigned m = status_m(status);
    json_t *json = status_json_base(status);
    json_t *successors = json_array();
    json_t *fingers = json_array();
    json_t *ranges = json_array();
    for (size_t i = 0; i < status->n_successors; i++) {
        json_array_append_new(successors, peer_json(status->successors[i], m));
    }
    for (size_t i = 0; i < status->n_fingers; i++) {
        json_array_append_new(fingers, finger_json(status->fingers[i], m));
    }
    for (size_t i = 0; i < status->n_ranges; i++) {
        json_array_append_new(ranges, range_json(status->ranges[i], m));
    }
    json_put(json, "predecessor", peer_json(status->predecessor, m));
    json_put(json, "successors", successors);
    json_put(json, "fingers", fingers);
    json_put(json, "ranges", ranges);
    json_put(json, "salt", json_u64(status->salt));
    json_put(json, "formed", json_boolean(status->formed));
    json_put(json, "requests_total", json_u64(status->requests_total));
    json_put(json, "refused_total", json_u64(status->refused_total));
    json_put(json, "maintenance_messages_total", json_u64(status->maintenance_messages_total));
    json_put(json, "log_sequence", json_u64(status->log_sequence));
    parameters_json(json, status->parameters);
    return json;
}

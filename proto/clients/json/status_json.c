/* SPDX-License-Identifier: MIT */
/* See status_json.h. */
#include "status_json.h"

#include <strings.h>

#include "ring_check.h"

const char *range_state_text(Chord__V1__RangeState state) {
    static const char *const names[] = {"unknown", "replica",  "settling",
                                        "open",    "changing", "retired"};
    return (unsigned)state < sizeof names / sizeof names[0] ? names[state] : "unknown";
}

static const char *const levels[] = {"info", "debug", "info", "warn", "error"};
enum { LEVELS_COUNT = sizeof levels / sizeof levels[0] };

const char *log_level_text(Chord__V1__LogLevel level) {
    return (unsigned)level < LEVELS_COUNT ? levels[level] : levels[0];
}

bool log_level_read(const char *text, Chord__V1__LogLevel *level) {
    for (unsigned i = 1; i < LEVELS_COUNT; i++) {
        if (strcasecmp(text, levels[i]) == 0) {
            *level = (Chord__V1__LogLevel)i;
            return true;
        }
    }
    return false;
}

json_t *id_json(ProtobufCBinaryData id, unsigned m) {
    char text[ID_HEX_SIZE];
    ring_id_text(text, id, m);
    return text[0] == '?' ? json_null() : json_string(text);
}

json_t *peer_json(const Chord__V1__Peer *peer, unsigned m) {
    return peer == NULL ? json_null()
                        : json_pack("{s:o, s:o}", "id", id_json(peer->id, m), "address",
                                    json_text(peer->address));
}

void lists_json(json_t *json, const Chord__V1__StatusResponse *status, unsigned m) {
    json_t *successors = json_array();
    for (size_t i = 0; i < status->n_successors; i++) {
        (void)json_array_append_new(successors, id_json(status->successors[i]->id, m));
    }
    json_put(json, "predecessor",
             status->predecessor != NULL ? id_json(status->predecessor->id, m) : json_null());
    json_put(json, "successors", successors);
}

static json_t *range_json(const Chord__V1__RangeStatus *range, unsigned m) {
    const Chord__V1__View *view = range->view;
    json_t *members = json_array();
    for (size_t i = 0; i < view->n_members; i++) {
        (void)json_array_append_new(members, json_text(view->members[i]->address));
    }
    return json_pack(
        "{s:o, s:o, s:o, s:o, s:o, s:o, s:b, s:s}", "lo", id_json(view->range->lo, m), "hi",
        id_json(view->range->hi, m), "epoch", json_u64(view->epoch), "leader",
        json_text(view->leader < view->n_members ? view->members[view->leader]->address : NULL),
        "members", members, "copies", json_u64(range->copies), "recovered", (int)view->recovered,
        "state", range_state_text(range->state));
}

void status_detail_json(json_t *json, const Chord__V1__StatusResponse *status, unsigned m) {
    json_t *successors = json_array();
    json_t *fingers = json_array();
    json_t *ranges = json_array();
    for (size_t i = 0; i < status->n_successors; i++) {
        (void)json_array_append_new(successors, peer_json(status->successors[i], m));
    }
    for (size_t i = 0; i < status->n_fingers; i++) {
        const Chord__V1__Finger *finger = status->fingers[i];
        (void)json_array_append_new(
            fingers, json_pack("{s:o, s:o, s:o}", "index", json_u64(finger->index), "start",
                               id_json(finger->start, m), "node", peer_json(finger->node, m)));
    }
    for (size_t i = 0; i < status->n_ranges; i++) {
        if (status->ranges[i]->view != NULL && status->ranges[i]->view->range != NULL) {
            (void)json_array_append_new(ranges, range_json(status->ranges[i], m));
        }
    }
    json_t *detail =
        json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:b}", "predecessor",
                  peer_json(status->predecessor, m), "successors", successors, "fingers", fingers,
                  "ranges", ranges, "salt", json_u64(status->salt), "survives_failures",
                  json_u64(status->survives_failures), "warning", json_text(status->warning),
                  "requests_total", json_u64(status->requests_total), "refused_total",
                  json_u64(status->refused_total), "maintenance_messages_total",
                  json_u64(status->maintenance_messages_total), "log_sequence",
                  json_u64(status->log_sequence), "formed", (int)status->formed);
    (void)json_object_update_new(json, detail);
}

json_t *log_line_json(const Chord__V1__LogLine *line) {
    return json_pack("{s:o, s:o, s:s, s:o, s:o}", "sequence", json_u64(line->sequence), "time_ms",
                     json_u64(line->time_unix_ms), "level", log_level_text(line->level), "word",
                     json_text(line->word), "text", json_text(line->text));
}

static json_t *lookup_peer_json(const struct chord_peer *peer) {
    return json_pack("{s:s, s:o}", "id", peer->id, "address", json_text(peer->address));
}

json_t *lookup_json(const struct chord_lookup *lookup) {
    json_t *hops = json_array();
    for (size_t i = 0; i < lookup->hops_count; i++) {
        const struct chord_hop *hop = &lookup->hops[i];
        (void)json_array_append_new(hops,
                                    json_pack("{s:o, s:o}", "node", lookup_peer_json(&hop->node),
                                              "microseconds", json_u64(hop->microseconds)));
    }
    return json_pack("{s:s, s:o, s:o}", "key_id", lookup->key_id, "owner",
                     lookup_peer_json(&lookup->owner), "hops", hops);
}

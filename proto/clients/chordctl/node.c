/* SPDX-License-Identifier: MIT */
/* chordctl node, ping, info: one node. */
#include <stdio.h>
#include <string.h>

#include "output.h"
#include "ctl.h"

enum { COUNT_MS = 100 };

/* ---- node ---- */

unsigned status_m(const Chord__V1__StatusResponse *status) {
    return status->parameters != NULL ? status->parameters->m : 0;
}

void parameters_json(json_t *object, const Chord__V1__RingParameters *parameters) {
    static const Chord__V1__RingParameters none = CHORD__V1__RING_PARAMETERS__INIT;
    const Chord__V1__RingParameters *of = parameters != NULL ? parameters : &none;
    json_t *json = json_pack(
        "{s:o, s:o, s:o, s:o}", "ring_id", id_json(of->ring_id, 8 * (unsigned)of->ring_id.len), "m",
        json_u64(of->m), "n", json_u64(of->n), "replicas", json_u64(of->replicas));
    (void)json_object_update_new(object, json);
}

json_t *status_json_base(const Chord__V1__StatusResponse *status) {
    return json_pack(
        "{s:o, s:o, s:o, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "id",
        id_json(status->self->id, status_m(status)), "address", json_text(status->self->address),
        "incarnation", json_u64(status->self->incarnation), "state", ring_state_text(status->state),
        "keys", json_u64(status->keys_led), "keys_stored", json_u64(status->keys_stored),
        "bytes_stored", json_u64(status->bytes_stored), "rss_bytes", json_u64(status->rss_bytes),
        "pss_bytes", json_u64(status->pss_bytes), "cpu_ms", json_u64(status->cpu_ms), "uptime_ms",
        json_u64(status->uptime_ms), "survives_failures", json_u64(status->survives_failures),
        "warning", json_text(status->warning), "invariant", json_text(status->invariant));
}

static void peer_fact(const char *name, const Chord__V1__Peer *peer, unsigned m) {
    char id[ID_HEX_SIZE];
    if (peer == NULL) {
        fact_print(name, "-");
        return;
    }
    ring_id_text(id, peer->id, m);
    fact_print(name, "%s  %s", id, peer->address);
}

static void node_facts(const Chord__V1__StatusResponse *status) {
    unsigned m = status_m(status);
    const Chord__V1__RingParameters *ring = status->parameters;
    peer_fact("node", status->self, m);
    fact_print("state", "%s%s", ring_state_text(status->state),
               status->formed ? "" : ", ring not formed yet");
    fact_print("ring", "M=%u N=%u REPLICAS=%u", m, ring != NULL ? ring->n : 0,
               ring != NULL ? ring->replicas : 0);
    fact_print("life", "incarnation %llu, salt %u, up %.1f s",
               (unsigned long long)status->self->incarnation, status->salt,
               (double)status->uptime_ms / 1000);
    fact_print("keys", "%llu led, %llu stored, %llu bytes", (unsigned long long)status->keys_led,
               (unsigned long long)status->keys_stored, (unsigned long long)status->bytes_stored);
    fact_print("process", "%.1f MiB of memory (PSS), %.1f s of processor time",
               (double)status->pss_bytes / (1024 * 1024), (double)status->cpu_ms / 1000);
    fact_print("requests", "%llu answered, %llu refused, %llu maintenance messages",
               (unsigned long long)status->requests_total,
               (unsigned long long)status->refused_total,
               (unsigned long long)status->maintenance_messages_total);
    fact_print("survives", "%u failure%s", status->survives_failures,
               status->survives_failures == 1 ? "" : "s");
    if (status->warning[0] != '\0') {
        fact_print("warning", "%s", status->warning);
    }
    if (status->invariant[0] != '\0') {
        fact_print("broken", "%s", status->invariant);
    }
    peer_fact("predecessor", status->predecessor, m);
    for (size_t i = 0; i < status->n_successors; i++) {
        char name[32];
        snprintf(name, sizeof name, "successor %zu", i + 1);
        peer_fact(name, status->successors[i], m);
    }
}

static void fingers_table(const Chord__V1__StatusResponse *status) {
    unsigned m = status_m(status);
    struct table *table = table_new(">FINGER START NODE ADDRESS");
    for (size_t i = 0; i < status->n_fingers; i++) {
        const Chord__V1__Finger *finger = status->fingers[i];
        char text[ID_HEX_SIZE];
        table_number(table, finger->index);
        ring_id_text(text, finger->start, m);
        table_text(table, text);
        ring_id_text(text, finger->node != NULL ? finger->node->id : (ProtobufCBinaryData){0}, m);
        table_text(table, text);
        table_text(table, finger->node != NULL ? finger->node->address : "-");
    }
    table_print(table);
}

static void range_row(struct table *table, const Chord__V1__RangeStatus *range, unsigned m) {
    const Chord__V1__View *view = range->view;
    char lo[ID_HEX_SIZE];
    char hi[ID_HEX_SIZE];
    char text[2 * ID_HEX_SIZE + 8];
    struct buf members = {0};
    if (view == NULL || view->range == NULL) {
        return;
    }
    ring_id_text(lo, view->range->lo, m);
    ring_id_text(hi, view->range->hi, m);
    snprintf(text, sizeof text, "(%s, %s]", lo, hi);
    table_text(table, text);
    table_number(table, view->epoch);
    table_text(table, range_state_text(range->state));
    table_number(table, range->copies);
    table_text(table, view->leader < view->n_members ? view->members[view->leader]->address : "-");
    for (size_t i = 0; i < view->n_members; i++) {
        bytes_append(&members, " ", i > 0);
        bytes_append(&members, view->members[i]->address, strlen(view->members[i]->address));
    }
    table_cell(table, members.data, members.size);
    buf_free(&members);
}

static int node_run(struct ctl *ctl, const struct arguments *arguments) {
    Chord__V1__StatusRequest request = CHORD__V1__STATUS_REQUEST__INIT;
    struct rpc_reply reply;
    char address[CHORD_ADDRESS_SIZE];
    /* The first question makes the node count its keys, the second hears the number. */
    call_word(ctl, arguments, RPC_ADMIN_STATUS, &request.base, &reply, address);
    rpc_reply_free(&reply);
    clock_pause_ms(COUNT_MS);
    const Chord__V1__StatusResponse *status = call_status(ctl, address, &reply);
    if (ctl->json) {
        json_t *json = status_json_base(status);
        status_detail_json(json, status, status_m(status));
        parameters_json(json, status->parameters);
        json_print(json);
    } else {
        node_facts(status);
        if (status->n_fingers > 0) {
            fputs("\n", stdout);
            fingers_table(status);
        }
        if (status->n_ranges > 0) {
            struct table *table = table_new("RANGE >EPOCH STATE >COPIES LEADER MEMBERS");
            for (size_t i = 0; i < status->n_ranges; i++) {
                range_row(table, status->ranges[i], status_m(status));
            }
            fputs("\n", stdout);
            table_print(table);
        }
    }
    rpc_reply_free(&reply);
    return CTL_OK;
}

/* ---- ping ---- */

static int ping_run(struct ctl *ctl, const struct arguments *arguments) {
    Chord__V1__PingRequest request = CHORD__V1__PING_REQUEST__INIT;
    struct rpc_reply reply;
    char address[CHORD_ADDRESS_SIZE];
    /* Once more on the open connection: the first time includes making it. */
    call_word(ctl, arguments, RPC_RING_PING, &request.base, &reply, address);
    rpc_reply_free(&reply);
    call_at(ctl, address, RPC_RING_PING, &request.base, &reply, NULL);
    const Chord__V1__PingResponse *ping =
        (const Chord__V1__PingResponse *)(const void *)reply.response;
    unsigned m = ping->parameters != NULL ? ping->parameters->m : 0;
    if (ctl->json) {
        json_print(json_pack("{s:o, s:o, s:s, s:o}", "asked", json_text(address), "node",
                             peer_json(ping->self, m), "state", ring_state_text(ping->state),
                             "microseconds", json_u64(reply.microseconds)));
    } else {
        char id[ID_HEX_SIZE] = "?";
        ring_id_text(id, ping->self != NULL ? ping->self->id : (ProtobufCBinaryData){0}, m);
        line_print("%s answers: id %s, %s, %llu microseconds", address, id,
                   ring_state_text(ping->state), (unsigned long long)reply.microseconds);
    }
    rpc_reply_free(&reply);
    return CTL_OK;
}

/* ---- info ---- */

static void info_print(const Chord__V1__GetServerInfoResponse *info, bool as_json) {
    if (as_json) {
        json_t *methods = json_array();
        for (size_t i = 0; i < info->n_methods; i++) {
            (void)json_array_append_new(methods, json_text(info->methods[i]));
        }
        json_t *json = json_pack(
            "{s:o, s:o, s:o, s:o, s:o, s:o}", "version", json_text(info->version),
            "protocol_version", json_u64(info->protocol_version), "key_bytes_max",
            json_u64(info->key_bytes_max), "value_bytes_max", json_u64(info->value_bytes_max),
            "message_bytes_max", json_u64(info->message_bytes_max), "methods", methods);
        parameters_json(json, info->parameters);
        json_print(json);
        return;
    }
    fact_print("version", "%s, protocol %u", info->version, info->protocol_version);
    if (info->parameters != NULL) {
        fact_print("ring", "M=%u N=%u REPLICAS=%u", info->parameters->m, info->parameters->n,
                   info->parameters->replicas);
    }
    fact_print("limits", "keys %u bytes, values %u, messages %u", info->key_bytes_max,
               info->value_bytes_max, info->message_bytes_max);
    for (size_t i = 0; i < info->n_methods; i++) {
        fact_print(i == 0 ? "methods" : "", "%s", info->methods[i]);
    }
}

static int info_run(struct ctl *ctl, const struct arguments *arguments) {
    Chord__V1__GetServerInfoRequest request = CHORD__V1__GET_SERVER_INFO_REQUEST__INIT;
    struct rpc_reply reply;
    char address[CHORD_ADDRESS_SIZE];
    call_word(ctl, arguments, RPC_META_GET_SERVER_INFO, &request.base, &reply, address);
    info_print((const void *)reply.response, ctl->json);
    rpc_reply_free(&reply);
    return CTL_OK;
}

const struct command node_command = {
    .name = "node",
    .words = "[ADDRESS]",
    .words_max = 1,
    .summary = "one node: status, successor list, finger table, ranges",
    .run = node_run,
};
const struct command ping_command = {
    .name = "ping",
    .words = "[ADDRESS]",
    .words_max = 1,
    .summary = "whether a node answers, and how fast",
    .run = ping_run,
};
const struct command info_command = {
    .name = "info",
    .words = "[ADDRESS]",
    .words_max = 1,
    .summary = "a node's version, limits and methods",
    .run = info_run,
};

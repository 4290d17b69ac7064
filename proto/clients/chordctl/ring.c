/* SPDX-License-Identifier: MIT */
/* chordctl ring: all members, and whether the ring is as it should be. */
#include <stdio.h>
#include <string.h>

#include "output.h"
#include "ctl.h"

enum { COUNT_MS = 100 };

/* "25 3a 01": ids in order. */
static void successors_text(struct buf *out, const Chord__V1__StatusResponse *status) {
    for (size_t i = 0; i < status->n_successors; i++) {
        char text[ID_HEX_SIZE];
        ring_id_text(text, status->successors[i]->id, status_m(status));
        bytes_append(out, " ", i > 0);
        bytes_append(out, text, strlen(text));
    }
    if (out->size == 0) {
        bytes_append(out, "-", 1);
    }
}

/* The worst of the ranges that the node leads: "3/3". */
static void copies_text(char *out, size_t size, const Chord__V1__StatusResponse *status,
                        unsigned want) {
    bool any = false;
    unsigned least = 0;
    for (size_t i = 0; i < status->n_ranges; i++) {
        if (ring_leads(status->self->address, status->ranges[i])) {
            least = !any || status->ranges[i]->copies < least ? status->ranges[i]->copies : least;
            any = true;
        }
    }
    snprintf(out, size, any ? "%u/%u" : "-", least, want);
}

static void node_row(struct table *table, const struct ring_node *node, unsigned want) {
    const Chord__V1__StatusResponse *status = node->status;
    char text[ID_HEX_SIZE];
    struct buf successors = {0};
    table_text(table, node->id);
    table_text(table, node->address);
    if (status == NULL) {
        table_text(table, "down");
        for (int i = 0; i < 5; i++) {
            table_text(table, "-");
        }
        return;
    }
    table_text(table, ring_state_text(status->state));
    ring_id_text(text,
                 status->predecessor != NULL ? status->predecessor->id : (ProtobufCBinaryData){0},
                 status_m(status));
    table_text(table, text[0] == '?' ? "-" : text);
    successors_text(&successors, status);
    table_cell(table, successors.data, successors.size);
    buf_free(&successors);
    table_number(table, status->keys_led);
    table_number(table, status->keys_stored);
    copies_text(text, sizeof text, status, want);
    table_text(table, text);
}

/* The first warning that a member gives. */
static const char *ring_warning(const struct ring_walk *walk) {
    for (size_t i = 0; i < walk->nodes_count; i++) {
        if (ring_is_member(walk->nodes[i].status) && walk->nodes[i].status->warning[0] != '\0') {
            return walk->nodes[i].status->warning;
        }
    }
    return "";
}

static void ring_table(const struct ring_walk *walk, const struct ring_verdict *verdict) {
    struct table *table =
        table_new("ID ADDRESS STATE PREDECESSOR SUCCESSORS >KEYS >STORED >COPIES");
    for (size_t i = 0; i < walk->nodes_count; i++) {
        node_row(table, &walk->nodes[i], verdict->copies_wanted);
    }
    table_print(table);
    line_print("%s: %s", verdict->fault == RING_IDEAL ? "ring ideal" : "ring not ideal",
               verdict->text);
    if (ring_warning(walk)[0] != '\0') {
        line_print("warning: %s", ring_warning(walk));
    }
}

static json_t *down_json(const struct ring_node *node) {
    return json_pack("{s:o, s:o, s:s, s:o}", "id", json_text(node->id[0] == '?' ? NULL : node->id),
                     "address", json_text(node->address), "state", "down", "reason",
                     json_text(node->reply.message));
}

/* With ids only, as in a list of nodes. */
static json_t *node_json(const Chord__V1__StatusResponse *status,
                         const struct ring_verdict *verdict) {
    json_t *json = status_json_base(status);
    lists_json(json, status, status_m(status));
    json_put(json, "copies_short", json_u64(ring_copies_short(status, verdict->copies_wanted)));
    return json;
}

static void ring_json(const struct ring_walk *walk, const struct ring_verdict *verdict) {
    json_t *nodes = json_array();
    const Chord__V1__StatusResponse *any = NULL;
    for (size_t i = 0; i < walk->nodes_count; i++) {
        const struct ring_node *node = &walk->nodes[i];
        any = ring_is_member(node->status) || any == NULL
                  ? (node->status != NULL ? node->status : any)
                  : any;
        (void)json_array_append_new(nodes, node->status != NULL ? node_json(node->status, verdict)
                                                                : down_json(node));
    }
    json_t *json = json_pack(
        "{s:b, s:b, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "formed", (int)any->formed, "ideal",
        verdict->fault == RING_IDEAL, "verdict", json_text(verdict->text), "members",
        json_u64(verdict->members), "survives_failures", json_u64(verdict->survival.failures),
        "survives_hosts", json_u64(verdict->survival.host_failures), "warning",
        json_text(ring_warning(walk)), "keys", json_u64(verdict->survival.keys), "keys_lost",
        json_u64(verdict->survival.keys_lost), "nodes", nodes);
    parameters_json(json, any->parameters);
    json_print(json);
}

/* A node counts its keys when it is asked for its status, and answers with the count before: the
 * second question hears the number of the first. */
static void ring_look(struct ctl *ctl, struct ring_walk *walk) {
    walk_ring(ctl, walk);
    ring_walk_free(walk);
    clock_pause_ms(COUNT_MS);
    walk_ring(ctl, walk);
}

static int ring_run(struct ctl *ctl, const struct arguments *arguments) {
    struct ring_walk walk;
    struct ring_verdict verdict;
    ring_look(ctl, &walk);
    ring_walk_judge(&walk, &verdict);
    if (ctl->json) {
        ring_json(&walk, &verdict);
    } else {
        ring_table(&walk, &verdict);
    }
    ring_walk_free(&walk);
    survival_free(&verdict.survival);
    bool bad = arguments_option(arguments, "check") != NULL && verdict.fault != RING_IDEAL;
    return bad ? CTL_NOT_FOUND : CTL_OK;
}

static const struct flag ring_options[] = {
    {'c', "check", NULL, "exit 1 when the ring is not ideal"},
    {0, NULL, NULL, NULL},
};

const struct command ring_command = {
    .name = "ring",
    .words = "",
    .summary = "all nodes, and a verdict",
    .help = "KEYS: keys that the node leads; STORED: with the copies it holds for others; COPIES:\n"
            "of its ranges, the fewest there are / there should be. A node that another one names\n"
            "and that does not answer is 'down'.\n",
    .options = ring_options,
    .run = ring_run,
};

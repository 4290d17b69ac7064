/* chordctl lookup: the way of find_successor over the ring (Chord, section IV). */
#include <stdio.h>
#include <stdlib.h>

#include "key.h"
#include "output.h"
#include "status_json.h"

/* The ring's M is the number of bits of its ids; only their bytes are in the answer. */
static unsigned ring_m(struct ctl *ctl) {
    Chord__V1__PingRequest request = CHORD__V1__PING_REQUEST__INIT;
    struct rpc_reply reply;
    unsigned m = 0;
    if (call_any(ctl, RPC_RING_PING, &request.base, &reply, NULL) == CTL_OK) {
        const Chord__V1__PingResponse *ping =
            (const Chord__V1__PingResponse *)(const void *)reply.response;
        m = ping->parameters != NULL ? ping->parameters->m : 0;
        rpc_reply_free(&reply);
    }
    return m;
}

static void lookup_json(const struct key *key, const Chord__V1__LookupResponse *lookup,
                        unsigned m) {
    json_t *json = json_object();
    json_t *hops = json_array();
    for (size_t i = 0; i < lookup->n_hops; i++) {
        json_t *hop = json_object();
        json_put(hop, "node", peer_json(lookup->hops[i]->node, m));
        json_put(hop, "microseconds", json_u64(lookup->hops[i]->microseconds));
        json_array_append_new(hops, hop);
    }
    json_put_bytes(json, "key", key->bytes.data, key->bytes.size);
    json_put(json, "key_id", id_json(lookup->key_id, m));
    json_put(json, "owner", peer_json(lookup->owner, m));
    json_put(json, "hops", hops);
    json_print(json);
}

static void lookup_table(const struct key *key, const Chord__V1__LookupResponse *lookup,
                         unsigned m) {
    char id[TEXT_ID_SIZE];
    char *text = text_escape(key->bytes.data, key->bytes.size);
    struct table *table = table_new(">HOP NODE ADDRESS >MICROSECONDS");
    for (size_t i = 0; i < lookup->n_hops; i++) {
        const Chord__V1__Peer *node = lookup->hops[i]->node;
        id_text(id, node != NULL ? node->id : (ProtobufCBinaryData){0}, m);
        table_number(table, i);
        table_text(table, id);
        table_text(table, node != NULL ? node->address : "-");
        table_number(table, lookup->hops[i]->microseconds);
    }
    table_print(table);
    id_text(id, lookup->key_id, m);
    /* The key is escaped already: not through line_print, which would do it again. */
    printf("key %s has the id %s", text, id);
    id_text(id, lookup->owner->id, m);
    printf("; its owner is node %s at ", id);
    line_print("%s", lookup->owner->address);
    free(text);
}

static int lookup_run(struct ctl *ctl, const struct arguments *arguments) {
    struct key key = {0};
    struct rpc_reply reply;
    const char *address = NULL;
    Chord__V1__LookupRequest request = CHORD__V1__LOOKUP_REQUEST__INIT;
    int exit_code = key_read(arguments, &key);
    if (exit_code != CTL_OK) {
        return exit_code;
    }
    request.key = (ProtobufCBinaryData){key.bytes.size, key.bytes.data};
    exit_code = call_any(ctl, RPC_KV_LOOKUP, &request.base, &reply, &address);
    if (exit_code == CTL_OK) {
        const Chord__V1__LookupResponse *lookup =
            (const Chord__V1__LookupResponse *)(const void *)reply.response;
        unsigned m = ring_m(ctl);
        if (lookup->owner == NULL) {
            exit_code = call_refused(CHORD__V1__CODE__CODE_INTERNAL, address, "it names no owner");
        } else if (ctl->json) {
            lookup_json(&key, lookup, m);
        } else {
            lookup_table(&key, lookup, m);
        }
        rpc_reply_free(&reply);
    }
    bytes_free(&key.bytes);
    return exit_code;
}

static const struct option lookup_options[] = {
    {0, "base64", NULL, "KEY is base64"},
    {0, NULL, NULL, NULL},
};
const struct command lookup_command = {
    .name = "lookup",
    .words = "KEY",
    .words_min = 1,
    .words_max = 1,
    .summary = "which node owns a key, and the path over the ring",
    .options = lookup_options,
    .run = lookup_run,
};

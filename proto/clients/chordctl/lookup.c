/* SPDX-License-Identifier: MIT */
/* chordctl lookup: the way of find_successor over the ring (Stoica et al. 2001, section 4.3). */
#include <stdio.h>
#include <stdlib.h>

#include "key.h"
#include "output.h"

static void lookup_table(const struct key *key, const struct chord_lookup *lookup) {
    char *text = text_escape(key->bytes.data, key->bytes.size);
    struct table *table = table_new(">HOP NODE ADDRESS >MICROSECONDS");
    for (size_t i = 0; i < lookup->hops_count; i++) {
        table_number(table, i);
        table_text(table, lookup->hops[i].node.id);
        table_text(table, lookup->hops[i].node.address);
        table_number(table, lookup->hops[i].microseconds);
    }
    table_print(table);
    /* The key is escaped already: not through line_print, which would do it again. */
    printf("key %s has the id %s; its owner is node %s at ", text, lookup->key_id,
           lookup->owner.id);
    line_print("%s", lookup->owner.address);
    free(text);
}

static int lookup_run(struct ctl *ctl, const struct arguments *arguments) {
    struct key key;
    struct chord_lookup lookup;
    key_read(arguments, &key);
    if (!chord_lookup(ctl->ring, key.bytes.data, key.bytes.size, NULL, 0, &lookup)) {
        call_ended(ctl, &lookup.answer);
    }
    if (ctl->json) {
        json_t *json = lookup_json(&lookup);
        json_put_bytes(json, "key", key.bytes.data, key.bytes.size);
        json_print(json);
    } else {
        lookup_table(&key, &lookup);
    }
    chord_lookup_free(&lookup);
    buf_free(&key.bytes);
    return CTL_OK;
}

static const struct flag lookup_options[] = {
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

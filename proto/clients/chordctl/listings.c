/* SPDX-License-Identifier: MIT */
/* chordctl keys, logs: what one node holds and what it wrote, page by page. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "output.h"
#include "ctl.h"

enum { PAGE_ROWS = 1000, FOLLOW_PERIOD_MS = 250 };

/* The address that a listing stays with from page to page. The ring's M. */
static unsigned listing_node(struct ctl *ctl, const struct arguments *arguments,
                             char address[CHORD_ADDRESS_SIZE]) {
    Chord__V1__StatusRequest request = CHORD__V1__STATUS_REQUEST__INIT;
    struct rpc_reply reply;
    call_word(ctl, arguments, RPC_ADMIN_STATUS, &request.base, &reply, address);
    unsigned m = status_m((const void *)reply.response);
    rpc_reply_free(&reply);
    return m;
}

/* ---- keys ---- */

struct keys_listing {
    bool json;
    bool values;
    unsigned m;
    bool headed;   /* the table's head was printed */
    uint64_t left; /* rows still wanted */
};

static void key_json(const struct keys_listing *listing, const Chord__V1__KeyInfo *key) {
    char version[48];
    snprintf(version, sizeof version, "%llu.%llu",
             (unsigned long long)(key->version != NULL ? key->version->epoch : 0),
             (unsigned long long)(key->version != NULL ? key->version->counter : 0));
    json_t *json = json_pack("{s:o, s:o, s:b, s:s}", "id", id_json(key->id, listing->m), "bytes",
                             json_u64(key->value_bytes), "led", (int)key->led, "version", version);
    json_put_bytes(json, "key", key->key.data, key->key.len);
    if (listing->values) {
        json_put_bytes(json, "value", key->value.data, key->value.len);
    }
    json_print(json);
}

static void key_row(struct table *table, const struct keys_listing *listing,
                    const Chord__V1__KeyInfo *key) {
    char id[ID_HEX_SIZE];
    ring_id_text(id, key->id, listing->m);
    table_text(table, id);
    table_text(table, key->led ? "led" : "copy");
    table_number(table, key->value_bytes);
    table_cell(table, key->key.data, key->key.len);
    if (listing->values) {
        table_cell(table, key->value.data, key->value.len);
    }
}

static void keys_page(struct keys_listing *listing, const Chord__V1__ListKeysResponse *page) {
    struct table *table =
        listing->json || (page->n_keys == 0 && (listing->headed || !page->done))
            ? NULL
            : table_new(listing->values ? "ID ROLE >BYTES KEY VALUE" : "ID ROLE >BYTES KEY");
    for (size_t i = 0; i < page->n_keys && listing->left > 0; i++, listing->left--) {
        if (table == NULL) {
            key_json(listing, page->keys[i]);
        } else {
            key_row(table, listing, page->keys[i]);
        }
    }
    if (table != NULL) {
        if (listing->headed) {
            table_drop_head(table);
        }
        listing->headed = true;
        table_print(table);
    }
}

static void keys_list(struct ctl *ctl, const char *address, struct keys_listing *listing,
                      Chord__V1__ListKeysRequest *request) {
    struct rpc_reply before = {0}; /* holds the cursor */
    for (bool done = false; !done && listing->left > 0;) {
        struct rpc_reply reply;
        request->limit = listing->left < PAGE_ROWS ? (uint32_t)listing->left : PAGE_ROWS;
        call_at(ctl, address, RPC_ADMIN_LIST_KEYS, &request->base, &reply, NULL);
        const Chord__V1__ListKeysResponse *page = (const void *)reply.response;
        keys_page(listing, page);
        done = page->done || page->next == NULL || ferror(stdout);
        request->after = page->next;
        rpc_reply_free(&before);
        before = reply;
    }
    rpc_reply_free(&before);
}

static int keys_run(struct ctl *ctl, const struct arguments *arguments) {
    char address[CHORD_ADDRESS_SIZE];
    struct keys_listing listing = {.json = ctl->json};
    const char *prefix = arguments_option(arguments, "prefix");
    Chord__V1__ListKeysRequest request = CHORD__V1__LIST_KEYS_REQUEST__INIT;
    listing.left = arguments_number(arguments, "limit", 1, UINT32_MAX, UINT64_MAX);
    listing.m = listing_node(ctl, arguments, address);
    listing.values = arguments_option(arguments, "values") != NULL;
    request.values = listing.values;
    request.led_only = arguments_option(arguments, "led") != NULL;
    request.prefix = client_bytes(prefix, prefix != NULL ? strlen(prefix) : 0);
    keys_list(ctl, address, &listing, &request);
    return CTL_OK;
}

/* ---- logs ---- */

static void log_print(const Chord__V1__LogLine *line, bool as_json) {
    if (as_json) {
        json_print(log_line_json(line));
        return;
    }
    char when[40] = "";
    struct tm parts;
    time_t seconds = (time_t)(line->time_unix_ms / 1000);
    if (gmtime_r(&seconds, &parts) != NULL) {
        strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%S", &parts);
    }
    line_print("%s.%03uZ %-5s %s %s", when, (unsigned)(line->time_unix_ms % 1000),
               log_level_text(line->level), line->word, line->text);
}

static Chord__V1__LogLevel logs_level(const char *text) {
    Chord__V1__LogLevel level = CHORD__V1__LOG_LEVEL__LOG_LEVEL_DEBUG;
    if (text != NULL && !log_level_read(text, &level)) {
        ctl_fail(CTL_USAGE, "--level '%s' is not known: give debug, info, warn or error", text);
    }
    return level;
}

static int logs_run(struct ctl *ctl, const struct arguments *arguments) {
    char address[CHORD_ADDRESS_SIZE];
    bool follow = arguments_option(arguments, "follow") != NULL;
    Chord__V1__LogsRequest request = CHORD__V1__LOGS_REQUEST__INIT;
    request.limit = (uint32_t)arguments_number(arguments, "limit", 1, PAGE_ROWS, 100);
    request.level = logs_level(arguments_option(arguments, "level"));
    (void)listing_node(ctl, arguments, address);
    do {
        struct rpc_reply reply;
        call_at(ctl, address, RPC_ADMIN_LOGS, &request.base, &reply, NULL);
        const Chord__V1__LogsResponse *logs = (const void *)reply.response;
        size_t count = logs->n_lines;
        for (size_t i = 0; i < count; i++) {
            log_print(logs->lines[i], ctl->json);
            request.after_sequence = logs->lines[i]->sequence;
        }
        rpc_reply_free(&reply);
        request.limit = PAGE_ROWS;
        clock_pause_ms(!follow || count == PAGE_ROWS ? 0 : FOLLOW_PERIOD_MS);
    } while (follow && output_close());
    return CTL_OK;
}

static const struct flag keys_options[] = {
    {0, "prefix", "TEXT", "only keys that begin so"},
    {0, "led", NULL, "only keys that this node leads: over all nodes each key once"},
    {0, "values", NULL, "with the values"},
    {0, "limit", "COUNT", "at most so many (default: all)"},
    {0, NULL, NULL, NULL},
};
const struct command keys_command = {
    .name = "keys",
    .words = "[ADDRESS]",
    .words_max = 1,
    .summary = "the keys that a node stores",
    .help =
        "In the order of their hashes. -o json: one object on each line; a key or value that is\n"
        "no UTF-8 comes as key_base64 or value_base64.\n",
    .options = keys_options,
    .run = keys_run,
};

static const struct flag logs_options[] = {
    {'f', "follow", NULL, "go on with new lines until interrupted"},
    {0, "level", "LEVEL", "this and above: debug, info, warn, error"},
    {0, "limit", "COUNT", "the newest so many, 1..1000 (default 100)"},
    {0, NULL, NULL, NULL},
};
const struct command logs_command = {
    .name = "logs",
    .words = "[ADDRESS]",
    .words_max = 1,
    .summary = "a node's log lines",
    .help = "-o json: one object on each line.\n",
    .options = logs_options,
    .run = logs_run,
};

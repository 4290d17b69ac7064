/* SPDX-License-Identifier: MIT */
/*
 * Lists of keys, in slices: a listing is never in other requests' way.
 */
#include "admin.h"

#include "hash.h"
#include "wire.h"

#include <string.h>

enum {
    KEYS_LIMIT_DEFAULT = 100,
    KEYS_LIMIT_MAX = 1000,
    LISTING_MS_MAX = 500, /* then the answer goes with what there is, and says how far it came */
    LISTINGS_MAX = 32,    /* at a time */
};

void admin_on_list_keys(struct node *node, struct request *request) {
    const Chord__V1__ListKeysRequest *list = (const void *)request->message;
    bool has_after = list->after != NULL && list->after->hash.len > 0;
    if ((has_after && list->after->hash.len != CHORD_ID_BYTES) ||
        list->prefix.len > NODE_KEY_BYTES_MAX ||
        (list->after != NULL && list->after->key.len > NODE_KEY_BYTES_MAX)) {
        admin_refuse(node, request, CHORD__V1__CODE__CODE_INVALID_ARGUMENT,
                     "a cursor has a hash of 20 bytes; a prefix and a key at most 1024");
        return;
    }
    if (node->listings == LISTINGS_MAX) {
        admin_refuse(node, request, CHORD__V1__CODE__CODE_RESOURCE_EXHAUSTED,
                     "32 listings are under way; try again in a second");
        return;
    }
    struct store_job *job = store_job_new(STORE_JOB_LIST_KEYS);
    job->until_us = (node_now_ms() + LISTING_MS_MAX) * 1000;
    size_t limit = list->limit == 0 ? KEYS_LIMIT_DEFAULT : list->limit;
    job->page_rows_max = limit > KEYS_LIMIT_MAX ? KEYS_LIMIT_MAX : limit;
    job->page_values = list->values;
    job->prefix = list->prefix.data;
    job->prefix_bytes = list->prefix.len;
    job->has_after = has_after;
    if (has_after) {
        memcpy(job->after, list->after->hash.data, CHORD_ID_BYTES);
        job->after_key = list->after->key.data;
        job->after_key_bytes = list->after->key.len;
    }
    node->listings++;
    node_submit(node, job, request);
}

static bool leads(struct node *node, const struct chord_id *id) {
    for (uint16_t i = 0; i < chord_views_count(node->chord); i++) {
        enum chord_range_state state;
        unsigned copies;
        const struct chord_view *view = chord_view_at(node->chord, i, &state, &copies);
        if ((state == CHORD_RANGE_OPEN || state == CHORD_RANGE_CHANGING ||
             state == CHORD_RANGE_SETTLING) &&
            id_in_half_open(&view->range.lo, id, &view->range.hi)) {
            return true;
        }
    }
    return false;
}

static Chord__V1__Cursor *cursor_of(struct node *node, struct store_job *job) {
    Chord__V1__Cursor *cursor = arena_alloc(&node->scratch, sizeof *cursor);
    chord__v1__cursor__init(cursor);
    cursor->hash = (ProtobufCBinaryData){CHORD_ID_BYTES, job->after};
    cursor->key = (ProtobufCBinaryData){job->after_key_bytes, job->after_key};
    return cursor;
}

static void add_key(struct node *node, Chord__V1__ListKeysResponse *message,
                    const struct store_row *row, bool led, const struct chord_id *id) {
    struct wire_context wire = {&node->scratch, node->m};
    Chord__V1__KeyInfo *info = arena_alloc(&node->scratch, sizeof *info);
    chord__v1__key_info__init(info);
    info->version = arena_alloc(&node->scratch, sizeof *info->version);
    chord__v1__version__init(info->version);
    info->version->epoch = row->epoch;
    info->version->counter = row->counter;
    info->key = (ProtobufCBinaryData){row->key_bytes, (uint8_t *)(uintptr_t)row->key};
    info->hash = (ProtobufCBinaryData){CHORD_ID_BYTES, (uint8_t *)(uintptr_t)row->hash};
    info->id = wire_id(&wire, arena_copy(&node->scratch, id, sizeof *id));
    info->value_bytes = (uint32_t)row->value_bytes;
    if (row->value != NULL) {
        info->value = (ProtobufCBinaryData){row->value_bytes, (uint8_t *)(uintptr_t)row->value};
    }
    info->expires_at_ms = row->expires_at_ms;
    info->led = led;
    message->keys[message->n_keys++] = info;
}

void admin_stored(struct node *node, struct request *request, struct store_job *job) {
    const Chord__V1__ListKeysRequest *list = (const void *)request->message;
    Chord__V1__ListKeysResponse *message = arena_alloc(&node->scratch, sizeof *message);
    node->listings--;
    if (!job->ok) {
        rpc_call_reply(request->call, CHORD__V1__CODE__CODE_INTERNAL,
                       job->refused ? "a row of the page is damaged here (chordctl doctor)"
                                    : "the store failed",
                       0, NULL);
        request->call = NULL;
        request->ended = true; /* freed when the job lets go of it */
        return;
    }
    chord__v1__list_keys_response__init(message);
    message->keys = arena_alloc(&node->scratch, sizeof *message->keys * (job->rows_count + 1));
    for (size_t i = 0; i < job->rows_count; i++) {
        struct chord_id id = id_from_hash(job->rows[i].hash, node->m != 0 ? node->m : CHORD_M_MAX);
        bool led = leads(node, &id);
        if (led || !list->led_only) {
            add_key(node, message, &job->rows[i], led, &id);
        }
    }
    message->done = job->done;
    message->next = job->done || !job->has_after ? NULL : cursor_of(node, job);
    rpc_call_reply(request->call, CHORD__V1__CODE__CODE_OK, NULL, 0, &message->base);
    request->call = NULL;
    request->ended = true;
    arena_reset(&node->scratch);
}

/* SPDX-License-Identifier: MIT */
/*
 * chordctl merge, the rows: page after page of the last node's keys is read, looked up in the other
 * ring, and what is not there is stored there. The versions of the two rings know nothing of each
 * other, so a key that both have with different values is a conflict: one of the values stays, the
 * other one is in a file, on disk before anything is stored. To copy a row twice is safe.
 */
#include "merge.h"

#include <stdlib.h>
#include <string.h>

enum { PAGE_ROWS = 500, LOOKS_OPEN = 32 };

enum row_state { ROW_ABSENT, ROW_SAME, ROW_CONFLICT };

struct page {
    const Chord__V1__ListKeysResponse *keys;
    enum row_state states[PAGE_ROWS];
    struct merge_losers *losers;
};

/* ---- what the other ring has ---- */

static void result_take(const struct merge *merge, struct page *page, size_t at,
                        const struct chord_result *result) {
    const Chord__V1__KeyInfo *row = page->keys->keys[at];
    if (result->code == CHORD_CODE_NOT_FOUND) {
        page->states[at] = ROW_ABSENT;
    } else if (result->value_size == row->value.len &&
               (row->value.len == 0 ||
                memcmp(result->value, row->value.data, row->value.len) == 0)) {
        page->states[at] = ROW_SAME;
    } else {
        ProtobufCBinaryData value = client_bytes(result->value, result->value_size);
        page->states[at] = ROW_CONFLICT;
        bool theirs = merge->replace;
        merge_losers_add(page->losers, &row->key, theirs ? &value : &row->value,
                         theirs ? result->expires_at_ms : row->expires_at_ms);
    }
}

/* A few at a time: each may bring a value of 1 MiB. */
static void look_up(struct merge *merge, struct page *page) {
    struct chord_operation gets[LOOKS_OPEN];
    struct chord_result results[LOOKS_OPEN];
    for (size_t from = 0; from < page->keys->n_keys; from += LOOKS_OPEN) {
        size_t left = page->keys->n_keys - from, count = left < LOOKS_OPEN ? left : LOOKS_OPEN;
        for (size_t i = 0; i < count; i++) {
            ProtobufCBinaryData key = page->keys->keys[from + i]->key;
            gets[i] = (struct chord_operation){.kind = CHORD_GET,
                                               .key = key.data,
                                               .key_size = key.len,
                                               .timeout_ms = merge->step_ms};
        }
        chord_run(merge->into.ctl.ring, gets, count, results);
        for (size_t i = 0; i < count; i++) {
            if (results[i].fate != CHORD_DONE) {
                ctl_fail(CTL_NO_NODE,
                         "the other ring does not answer (%s: %s: %.150s); the rows are safe on "
                         "%s: run the same command again to go on",
                         results[i].address, chord_code_text(results[i].code), results[i].message,
                         merge->last);
            }
            result_take(merge, page, from + i, &results[i]);
            chord_result_free(&results[i]);
        }
    }
}

/* ---- storing ---- */

static void store(struct merge *merge, struct chord_load *window) {
    struct chord_load_result result;
    if (chord_load_rows(window) == 0) {
        return;
    }
    chord_load_flush(window, merge->step_ms, &result);
    merge->rows_copied += result.stored;
    if (result.fate != CHORD_DONE) {
        ctl_fail(load_exit(&result),
                 "%zu rows were not surely copied (%.200s); they are safe on %s: run the same "
                 "command again to go on",
                 result.failed, result.reason, merge->last);
    }
}

/* Between the look and the store a client may make a key that was not there; its value is then
 * overwritten. A put on the condition that the key is absent closes that gap, and the look before
 * it, once members take conditions. */
static void page_copy(struct merge *merge, struct page *page, struct chord_load *window) {
    look_up(merge, page);
    merge_losers_write(page->losers);
    for (size_t i = 0; i < page->keys->n_keys; i++) {
        const Chord__V1__KeyInfo *row = page->keys->keys[i];
        bool conflict = page->states[i] == ROW_CONFLICT;
        merge->rows_read++;
        merge->rows_same += page->states[i] == ROW_SAME;
        merge->conflicts += conflict;
        if (page->states[i] != ROW_ABSENT && !(conflict && merge->replace)) {
            continue;
        }
        if (!chord_load_fits(window, row->key.len, row->value.len)) {
            store(merge, window);
        }
        if (!chord_load_add(window, i, row->key.data, row->key.len, row->value.data, row->value.len,
                            row->expires_at_ms)) {
            memory_missing();
        }
    }
    store(merge, window);
}

void merge_rows_copy(struct merge *merge) {
    Chord__V1__ListKeysRequest request = CHORD__V1__LIST_KEYS_REQUEST__INIT;
    struct chord_load *window = load_new(&merge->into.ctl);
    struct page *page = memory_new(1, sizeof *page);
    struct rpc_reply before = {0}; /* the cursor lives there */
    page->losers = merge_losers_new(merge);
    request.limit = PAGE_ROWS;
    request.values = true;
    for (bool done = false; !done;) {
        struct rpc_reply reply;
        call_at(merge->ctl, merge->last, RPC_ADMIN_LIST_KEYS, &request.base, &reply, NULL);
        rpc_reply_free(&before);
        before = reply;
        page->keys = (const void *)reply.response;
        done = page->keys->done;
        request.after = page->keys->next;
        if (page->keys->n_keys > PAGE_ROWS || (!done && request.after == NULL)) {
            call_refused(CHORD__V1__CODE__CODE_INTERNAL, merge->last, "its list of keys is broken");
        }
        page_copy(merge, page, window);
        if (merge->progress) {
            ctl_note("%llu rows read, %llu copied", (unsigned long long)merge->rows_read,
                     (unsigned long long)merge->rows_copied);
        }
    }
    rpc_reply_free(&before);
    merge_losers_free(page->losers);
    free(page);
    chord_load_free(window);
}

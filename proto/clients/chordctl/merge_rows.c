/* SPDX-License-Identifier: MIT */
/*
 * chordctl merge, the rows: page after page of the last node's keys is read, looked up in the other
 * ring, and what is not there is stored there. The versions of the two rings know nothing of each
 * other, so a key that both have with different values is a conflict: one of the values stays, the
 * other one is in a file, on disk before anything is stored. A row is stored on the condition that
 * the other ring still has what was seen there; else it is looked up again. To copy a row twice is
 * safe.
 */
#include "merge.h"

#include <stdlib.h>
#include <string.h>

enum { PAGE_ROWS = 500, LOOKS_OPEN = 32, ROUNDS_MAX = 50 };

enum row_state { ROW_ABSENT, ROW_SAME, ROW_CONFLICT };

struct page {
    const Chord__V1__ListKeysResponse *keys;
    size_t open[PAGE_ROWS]; /* rows that are to be looked up, and then those to be stored */
    size_t open_count;
    enum row_state states[PAGE_ROWS];
    struct chord_version seen[PAGE_ROWS]; /* in the other ring, where it has the key */
    bool conflicts[PAGE_ROWS];            /* found in some round */
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
        page->conflicts[at] = true;
        page->seen[at] = result->version;
        bool theirs = merge->replace;
        merge_losers_add(page->losers, &row->key, theirs ? &value : &row->value,
                         theirs ? result->expires_at_ms : row->expires_at_ms);
    }
}

/* `what` the other ring does not do. */
_Noreturn static void merge_end(const struct merge *merge, const struct chord_result *result,
                                int exit_code, const char *what) {
    ctl_fail(exit_code,
             "the other ring does not %s (%s: %s: %.150s); the rows are safe on %s: run the same "
             "command again to go on",
             what, result->address, chord_code_text(result->code), result->message, merge->last);
}

/* A few at a time: each may bring a value of 1 MiB. */
static void look_up(struct merge *merge, struct page *page) {
    struct chord_operation gets[LOOKS_OPEN];
    struct chord_result results[LOOKS_OPEN];
    for (size_t from = 0; from < page->open_count; from += LOOKS_OPEN) {
        size_t left = page->open_count - from, count = left < LOOKS_OPEN ? left : LOOKS_OPEN;
        for (size_t i = 0; i < count; i++) {
            ProtobufCBinaryData key = page->keys->keys[page->open[from + i]]->key;
            gets[i] = (struct chord_operation){.kind = CHORD_GET,
                                               .key = key.data,
                                               .key_size = key.len,
                                               .timeout_ms = merge->step_ms};
        }
        chord_run(merge->into.ctl.ring, gets, count, results);
        for (size_t i = 0; i < count; i++) {
            if (results[i].fate != CHORD_DONE) {
                merge_end(merge, &results[i], CTL_NO_NODE, "answer");
            }
            result_take(merge, page, page->open[from + i], &results[i]);
            chord_result_free(&results[i]);
        }
    }
}

/* ---- storing ---- */

/* Leaves those open that have to be stored. */
static void keep_wanted(const struct merge *merge, struct page *page) {
    size_t count = 0;
    for (size_t i = 0; i < page->open_count; i++) {
        enum row_state state = page->states[page->open[i]];
        if (state == ROW_ABSENT || (state == ROW_CONFLICT && merge->replace)) {
            page->open[count++] = page->open[i];
        }
    }
    page->open_count = count;
}

/* Leaves those open of which the other ring no longer has what was seen, or of which it is not
 * known whether they were stored. */
static void store(struct merge *merge, struct page *page) {
    static struct chord_operation puts[PAGE_ROWS];
    static struct chord_result results[PAGE_ROWS];
    size_t count = 0;
    for (size_t i = 0; i < page->open_count; i++) {
        size_t at = page->open[i];
        const Chord__V1__KeyInfo *row = page->keys->keys[at];
        puts[i] = (struct chord_operation){.kind = CHORD_PUT,
                                           .key = row->key.data,
                                           .key_size = row->key.len,
                                           .value = row->value.data,
                                           .value_size = row->value.len,
                                           .expires_at_ms = row->expires_at_ms,
                                           .if_absent = page->states[at] == ROW_ABSENT,
                                           .if_match = page->states[at] == ROW_CONFLICT,
                                           .version = page->seen[at],
                                           .timeout_ms = merge->step_ms};
    }
    chord_run(merge->into.ctl.ring, puts, page->open_count, results);
    for (size_t i = 0; i < page->open_count; i++) {
        if (results[i].fate == CHORD_DONE) {
            merge->rows_copied++;
        } else if (results[i].code == CHORD_CODE_FAILED_PRECONDITION ||
                   results[i].code == CHORD_CODE_UNKNOWN) {
            page->open[count++] = page->open[i];
        } else if (results[i].answered) {
            merge_end(merge, &results[i], CTL_REFUSED, "take them all");
        } else {
            merge_end(merge, &results[i], CTL_NO_NODE, "answer");
        }
        chord_result_free(&results[i]);
    }
    page->open_count = count;
}

static void page_copy(struct merge *merge, struct page *page) {
    memset(page->conflicts, 0, sizeof page->conflicts);
    page->open_count = page->keys->n_keys;
    for (size_t i = 0; i < page->open_count; i++) {
        page->open[i] = i;
    }
    for (unsigned round = 0; page->open_count > 0; round++) {
        if (round == ROUNDS_MAX) {
            ctl_fail(CTL_REFUSED,
                     "others write %zu of the same keys in the other ring all the time; the rows "
                     "are safe on %s: run the same command again to go on",
                     page->open_count, merge->last);
        }
        look_up(merge, page);
        merge_losers_write(page->losers);
        keep_wanted(merge, page);
        store(merge, page);
    }
    for (size_t i = 0; i < page->keys->n_keys; i++) {
        merge->rows_read++;
        merge->rows_same += page->states[i] == ROW_SAME;
        merge->conflicts += page->conflicts[i];
    }
}

void merge_rows_copy(struct merge *merge) {
    Chord__V1__ListKeysRequest request = CHORD__V1__LIST_KEYS_REQUEST__INIT;
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
        page_copy(merge, page);
        if (merge->progress) {
            ctl_note("%llu rows read, %llu copied", (unsigned long long)merge->rows_read,
                     (unsigned long long)merge->rows_copied);
        }
    }
    rpc_reply_free(&before);
    merge_losers_free(page->losers);
    free(page);
}

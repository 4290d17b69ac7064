/* SPDX-License-Identifier: MIT */
/*
 * See history.h.
 */
#include "history.h"

#include "assert.h"

#include <inttypes.h>
#include <stdlib.h>

enum { STEPS_MAX = 20000000, PRINTED_US = 3000000 };

void history_add(struct history *history, const struct history_entry *entry) {
    if (history->count == history->room) {
        history->room = history->room * 2 + 64;
        history->entries = realloc(history->entries, history->room * sizeof *history->entries);
        CHORD_ASSERT(history->entries != NULL);
    }
    history->entries[history->count++] = *entry;
}

void history_free(struct history *history) {
    free(history->entries);
    *history = (struct history){0};
}

static bool told(const struct history_version *version) {
    return version->epoch > 0;
}

static bool newer(const struct history_version *a, const struct history_version *b) {
    return a->epoch > b->epoch || (a->epoch == b->epoch && a->counter > b->counter);
}

struct named {
    uint64_t value;
    struct history_version version;
    size_t entry;
};

static int named_order(const void *a, const void *b) {
    const struct named *one = a, *other = b;
    if (one->value != other->value) {
        return one->value < other->value ? -1 : 1;
    }
    return one->entry < other->entry ? -1 : one->entry > other->entry;
}

/* A write that took effect twice has two versions, also when nobody wrote in between. */
static const char *check_versions(const struct history *history, size_t *entry) {
    struct named *all = calloc(history->count + 1, sizeof *all);
    size_t count = 0;
    const char *wrong = NULL;
    CHORD_ASSERT(all != NULL);
    for (size_t i = 0; i < history->count; i++) {
        const struct history_entry *one = &history->entries[i];
        bool value = one->operation.kind != LINEAR_DELETE &&
                     one->operation.value != LINEAR_NOTHING &&
                     one->operation.outcome == LINEAR_DONE;
        if (value && told(&one->version)) {
            all[count++] = (struct named){one->operation.value, one->version, i};
        }
    }
    qsort(all, count, sizeof *all, named_order);
    for (size_t i = 1; i < count && wrong == NULL; i++) {
        if (all[i].value == all[i - 1].value && (newer(&all[i].version, &all[i - 1].version) ||
                                                 newer(&all[i - 1].version, &all[i].version))) {
            wrong = "one write with two versions";
            *entry = all[i].entry;
        }
    }
    free(all);
    return wrong;
}

/* Somebody has seen it, so that it must have its place. */
static bool was_seen(const struct history *history, uint64_t value) {
    for (size_t i = 0; i < history->count; i++) {
        const struct linear_operation *operation = &history->entries[i].operation;
        bool read = operation->kind == LINEAR_GET && operation->value == value;
        bool matched = operation->condition == LINEAR_IF_MATCH && operation->match == value;
        if (read || matched) {
            return true;
        }
    }
    return false;
}

/* Without `all` as if unknown puts that nobody saw had never been: what has an order so has one
 * with them too, and with dozens of them the search is long. */
static enum linear_result check_order(const struct history *history, bool all, size_t *entry) {
    struct linear_operation *operations = calloc(history->count + 1, sizeof *operations);
    size_t *entries = calloc(history->count + 1, sizeof *entries);
    size_t count = 0, stuck = 0;
    CHORD_ASSERT(operations != NULL && entries != NULL);
    for (size_t i = 0; i < history->count; i++) {
        const struct linear_operation *operation = &history->entries[i].operation;
        bool maybe = operation->kind == LINEAR_PUT && operation->outcome == LINEAR_UNKNOWN;
        if (all || !maybe || was_seen(history, operation->value)) {
            entries[count] = i;
            operations[count++] = *operation;
        }
    }
    enum linear_result result = linear_check(operations, count, STEPS_MAX, &stuck);
    *entry = entries[stuck];
    free(operations);
    free(entries);
    return result;
}

const char *history_check(const struct history *history, size_t *entry, bool *given_up) {
    const char *wrong = check_versions(history, entry);
    *given_up = false;
    if (wrong != NULL) {
        return wrong;
    }
    enum linear_result result = check_order(history, false, entry);
    if (result != LINEAR_YES) {
        result = check_order(history, true, entry);
    }
    *given_up = result == LINEAR_GIVEN_UP;
    return result == LINEAR_NO ? "a history that is not linearizable" : NULL;
}

const char *history_check_kept(const struct history *history, const struct history_entry *last,
                               size_t *entry) {
    const struct history_entry *newest = NULL;
    bool deleted = false; /* perhaps */
    for (size_t i = 0; i < history->count; i++) {
        const struct history_entry *one = &history->entries[i];
        bool write = one->operation.kind != LINEAR_GET && one->operation.outcome == LINEAR_DONE;
        deleted = deleted || (one->operation.kind == LINEAR_DELETE &&
                              one->operation.outcome == LINEAR_UNKNOWN);
        if (write && (newest == NULL || newer(&one->version, &newest->version))) {
            newest = one;
            *entry = i;
        }
    }
    deleted = deleted || (newest != NULL && newest->operation.kind == LINEAR_DELETE);
    /* A deletion may be forgotten; then nothing is left of its version. */
    bool forgotten = deleted && !told(&last->version);
    return newest != NULL && !forgotten && newer(&newest->version, &last->version)
               ? "an acknowledged write that is lost"
               : NULL;
}

void history_print(const struct history *history, size_t entry, FILE *out) {
    static const char *const kinds[] = {"get", "put", "delete"};
    static const char *const outcomes[] = {"done", "refused", "unknown"};
    static const char *const conditions[] = {"", " if absent", " if match"};
    uint64_t around_us = history->entries[entry].operation.called;
    for (size_t i = 0; i < history->count; i++) {
        const struct history_entry *one = &history->entries[i];
        const struct linear_operation *operation = &one->operation;
        bool unknown = operation->outcome == LINEAR_UNKNOWN;
        if (i != entry && (operation->called > around_us + PRINTED_US ||
                           (!unknown && operation->returned + PRINTED_US < around_us))) {
            continue;
        }
        fprintf(out, "%s %10.3f..", i == entry ? "*" : " ", (double)operation->called / 1e6);
        if (unknown) {
            fprintf(out, "%10s", "");
        } else {
            fprintf(out, "%10.3f", (double)operation->returned / 1e6);
        }
        fprintf(out, " client %u node %d, %u: %s %" PRIu64 "%s", one->client, one->node,
                one->attempts, kinds[operation->kind], operation->value,
                conditions[operation->condition]);
        if (operation->condition == LINEAR_IF_MATCH) {
            fprintf(out, " %" PRIu64, operation->match);
        }
        fprintf(out, ": %s%s, version %" PRIu64 ".%" PRIu64 "\n", outcomes[operation->outcome],
                operation->existed == LINEAR_DID_NOT_EXIST ? ", did not exist" : "",
                one->version.epoch, one->version.counter);
    }
}

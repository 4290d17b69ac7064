/* SPDX-License-Identifier: MIT */
/*
 * See linear.h. Calls and returns lie in one list in the order of time. The search takes a call
 * that comes before any return of an operation not yet taken, puts it next in the order if the
 * state allows that, and goes back when none is left. What was taken, as a set, and the state
 * after it say all about what can follow: such a pair is tried once. One that never changes the
 * state is taken as soon as it can be, with no way back: an order in which it comes later is as
 * good with it here.
 */
#include "linear.h"

#include "assert.h"

#include <stdlib.h>
#include <string.h>

enum { WORD_BITS = 64 };

struct entry {
    size_t operation;
    bool call;
    uint64_t time;
    struct entry *before, *after, *other; /* other: the return of a call; NULL: unknown */
};

struct taken {
    struct entry *call;
    uint64_t state; /* before it */
    bool free;      /* it changes nothing: nothing else is tried in its place */
};

struct search {
    const struct linear_operation *operations;
    size_t words;
    uint64_t *set; /* of the operations taken */
    struct entry head, *entries;
    struct taken *stack;
    size_t depth;   /* of the stack */
    size_t missing; /* operations that must have a place in the order and have none yet */
    /* Pairs that were tried: `words` of the set, then the state; found by an open hash table. */
    uint64_t *pairs;
    size_t pairs_count, pairs_room;
    uint32_t *table; /* index + 1 */
    size_t table_size;
};

static void *zeroed(size_t count, size_t bytes) {
    void *memory = calloc(count + 1, bytes);
    CHORD_ASSERT(memory != NULL);
    return memory;
}

/* ---- the register ---- */

static bool holds(const struct linear_operation *operation, uint64_t state) {
    return operation->condition == LINEAR_ALWAYS ||
           (operation->condition == LINEAR_IF_ABSENT && state == LINEAR_NOTHING) ||
           (operation->condition == LINEAR_IF_MATCH && state == operation->match);
}

/* Whether the operation, with its outcome, can come next. */
static bool apply(const struct linear_operation *operation, uint64_t state, uint64_t *next) {
    bool existed = state != LINEAR_NOTHING;
    *next = state;
    if (operation->kind == LINEAR_GET) {
        return operation->value == state;
    }
    if (operation->outcome == LINEAR_REFUSED) {
        return !holds(operation, state);
    }
    *next = operation->kind == LINEAR_PUT ? operation->value : LINEAR_NOTHING;
    if (operation->outcome == LINEAR_UNKNOWN && *next == state) {
        return false; /* the same as never */
    }
    return holds(operation, state) && (operation->existed == LINEAR_UNSAID ||
                                       existed == (operation->existed == LINEAR_EXISTED));
}

/* Wherever it comes. */
static bool changes_nothing(const struct linear_operation *operation) {
    return operation->kind == LINEAR_GET || operation->outcome == LINEAR_REFUSED ||
           (operation->kind == LINEAR_DELETE && operation->existed == LINEAR_DID_NOT_EXIST);
}

/* ---- what was tried ---- */

static uint64_t mixed(const uint64_t *words, size_t count) {
    uint64_t sum = 0x9e3779b97f4a7c15u;
    for (size_t i = 0; i < count; i++) {
        sum = (sum ^ words[i]) * 0xbf58476d1ce4e5b9u;
        sum ^= sum >> 29;
    }
    return sum * 0x94d049bb133111ebu;
}

static uint32_t *place(struct search *search, const uint64_t *pair) {
    size_t words = search->words + 1;
    size_t at = mixed(pair, words) % search->table_size;
    while (search->table[at] > 0 && memcmp(search->pairs + (search->table[at] - 1) * words, pair,
                                           words * sizeof *pair) != 0) {
        at = (at + 1) % search->table_size;
    }
    return &search->table[at];
}

static void table_grow(struct search *search) {
    free(search->table);
    search->table_size = search->table_size * 2 + 1024;
    search->table = zeroed(search->table_size, sizeof *search->table);
    for (size_t i = 0; i < search->pairs_count; i++) {
        *place(search, search->pairs + i * (search->words + 1)) = (uint32_t)i + 1;
    }
}

/* False: the set with this operation, and this state, were there before. */
static bool remember(struct search *search, size_t operation, uint64_t state) {
    size_t words = search->words + 1;
    if (search->pairs_count == search->pairs_room) {
        search->pairs_room = search->pairs_room * 2 + 256;
        search->pairs = realloc(search->pairs, search->pairs_room * words * sizeof *search->pairs);
        CHORD_ASSERT(search->pairs != NULL);
    }
    if (search->pairs_count * 2 >= search->table_size) {
        table_grow(search);
    }
    uint64_t *pair = search->pairs + search->pairs_count * words;
    memcpy(pair, search->set, search->words * sizeof *pair);
    pair[operation / WORD_BITS] |= 1ull << operation % WORD_BITS;
    pair[search->words] = state;
    uint32_t *found = place(search, pair);
    if (*found > 0) {
        return false;
    }
    *found = (uint32_t)++search->pairs_count;
    return true;
}

/* ---- the list of calls and returns ---- */

static int entry_order(const void *a, const void *b) {
    const struct entry *one = a, *other = b;
    if (one->time != other->time) {
        return one->time < other->time ? -1 : 1;
    }
    if (one->call != other->call) {
        return one->call ? -1 : 1; /* at the same moment: concurrent */
    }
    return one->operation < other->operation ? -1 : one->operation > other->operation;
}

/* Returns how many operations must have a place in the order. */
static size_t lay_out(struct search *search, size_t count) {
    struct entry **calls = zeroed(count, sizeof(struct entry *));
    size_t entries = 0, definite = 0;
    for (size_t i = 0; i < count; i++) {
        const struct linear_operation *operation = &search->operations[i];
        search->entries[entries++] =
            (struct entry){.operation = i, .call = true, .time = operation->called};
        if (operation->outcome != LINEAR_UNKNOWN) {
            CHORD_ASSERT(operation->called <= operation->returned);
            search->entries[entries++] =
                (struct entry){.operation = i, .time = operation->returned};
            definite++;
        }
    }
    if (entries > 0) {
        qsort(search->entries, entries, sizeof *search->entries, entry_order);
    }
    struct entry *last = &search->head;
    for (size_t i = 0; i < entries; i++) {
        struct entry *entry = &search->entries[i];
        entry->before = last;
        last->after = entry;
        last = entry;
        if (entry->call) {
            calls[entry->operation] = entry;
        } else {
            calls[entry->operation]->other = entry;
        }
    }
    free(calls);
    return definite;
}

static void unlink_entry(struct entry *entry) {
    entry->before->after = entry->after;
    if (entry->after != NULL) {
        entry->after->before = entry->before;
    }
}

static void relink_entry(struct entry *entry) {
    entry->before->after = entry;
    if (entry->after != NULL) {
        entry->after->before = entry;
    }
}

static void flip(struct search *search, size_t operation) {
    search->set[operation / WORD_BITS] ^= 1ull << operation % WORD_BITS;
}

/* ---- the search ---- */

static void take(struct search *search, struct entry *call, uint64_t state, bool free) {
    search->stack[search->depth++] = (struct taken){call, state, free};
    flip(search, call->operation);
    unlink_entry(call);
    if (call->other != NULL) {
        unlink_entry(call->other);
        search->missing--;
    }
}

/* Takes back the last, and those that came free after it. False: there is none. */
static bool take_back(struct search *search, struct taken *taken) {
    do {
        if (search->depth == 0) {
            return false;
        }
        *taken = search->stack[--search->depth];
        flip(search, taken->call->operation);
        if (taken->call->other != NULL) {
            relink_entry(taken->call->other);
            search->missing++;
        }
        relink_entry(taken->call);
    } while (taken->free);
    return true;
}

/* The first that can be tried in a new state, after those that come free in it. */
static struct entry *first(struct search *search, uint64_t state) {
    struct entry *entry = search->head.after;
    while (entry != NULL && entry->call) {
        const struct linear_operation *operation = &search->operations[entry->operation];
        uint64_t next;
        if (changes_nothing(operation) && apply(operation, state, &next)) {
            take(search, entry, state, true);
            entry = search->head.after; /* its return may have been what stood in the way */
        } else {
            entry = entry->after;
        }
    }
    return search->head.after;
}

static enum linear_result run(struct search *search, size_t steps_max, size_t *stuck) {
    uint64_t state = LINEAR_NOTHING, furthest = 0;
    struct entry *entry = first(search, state);
    for (size_t steps = 0; search->missing > 0; steps++) {
        if (steps >= steps_max) {
            return LINEAR_GIVEN_UP;
        }
        CHORD_ASSERT(entry != NULL); /* a return that is missing lies ahead */
        const struct linear_operation *operation = &search->operations[entry->operation];
        uint64_t next;
        if (!entry->call) {
            struct taken taken;
            if (entry->time >= furthest) {
                furthest = entry->time;
                *stuck = entry->operation;
            }
            if (!take_back(search, &taken)) {
                return LINEAR_NO;
            }
            entry = taken.call->after;
            state = taken.state;
        } else if (!changes_nothing(operation) && apply(operation, state, &next) &&
                   remember(search, entry->operation, next)) {
            take(search, entry, state, false);
            state = next;
            entry = first(search, state);
        } else {
            entry = entry->after;
        }
    }
    return LINEAR_YES;
}

enum linear_result linear_check(const struct linear_operation *operations, size_t count,
                                size_t steps_max, size_t *stuck) {
    struct search search = {.operations = operations, .words = count / WORD_BITS + 1};
    search.set = zeroed(search.words, sizeof *search.set);
    search.entries = zeroed(count * 2, sizeof *search.entries);
    search.stack = zeroed(count, sizeof *search.stack);
    *stuck = 0;
    search.missing = lay_out(&search, count);
    enum linear_result result = run(&search, steps_max, stuck);
    free(search.set);
    free(search.entries);
    free(search.stack);
    free(search.pairs);
    free(search.table);
    return result;
}

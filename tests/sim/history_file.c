/* SPDX-License-Identifier: MIT */
/*
 * See history_file.h.
 */
#include "history_file.h"

#include "assert.h"

#include <stdlib.h>
#include <string.h>

enum { NUMBERS = 9, WORDS = 6 + NUMBERS };

static bool find_word(const char *word, const char *const *names, unsigned count, unsigned *found) {
    for (unsigned i = 0; i < count; i++) {
        if (strcmp(word, names[i]) == 0) {
            *found = i;
            return true;
        }
    }
    return false;
}

static bool read_number(const char *word, uint64_t *number) {
    size_t length = strlen(word);
    *number = 0;
    if (length < 1 || length > 19 || strspn(word, "0123456789") != length) {
        return false;
    }
    *number = strtoull(word, NULL, 10);
    return true;
}

/* False: not exactly WORDS of them. */
static bool split(char *line, char *words[WORDS]) {
    size_t count = 0;
    for (char *at = line; at != NULL && count < WORDS;) {
        words[count++] = at;
        at = strchr(at, ' ');
        if (at != NULL) {
            *at++ = '\0';
            if (count == WORDS) {
                return false;
            }
        }
    }
    return count == WORDS;
}

static struct history_key *key_of(struct history_file *file, const char *name) {
    for (size_t i = file->count; i > 0; i--) {
        if (strcmp(file->keys[i - 1].name, name) == 0) {
            return &file->keys[i - 1];
        }
    }
    if (file->count == file->room) {
        file->room = file->room * 2 + 64;
        file->keys = realloc(file->keys, file->room * sizeof *file->keys);
        CHORD_ASSERT(file->keys != NULL);
    }
    struct history_key *key = &file->keys[file->count++];
    memset(key, 0, sizeof *key);
    strcpy(key->name, name); /* its length was checked */
    return key;
}

static const char *read_numbers(char *words[], struct history_entry *entry) {
    uint64_t numbers[NUMBERS];
    for (unsigned i = 0; i < NUMBERS; i++) {
        if (!read_number(words[i], &numbers[i])) {
            return "not a whole number where one belongs";
        }
    }
    entry->operation.value = numbers[0];
    entry->operation.match = numbers[1];
    entry->operation.called = numbers[2];
    entry->operation.returned = numbers[3];
    entry->version.epoch = numbers[4];
    entry->version.counter = numbers[5];
    if (numbers[6] > 0xffff || numbers[7] > 0xffff || numbers[8] > 0xffff) {
        return "a client, node or number of attempts beyond its range";
    }
    entry->client = (unsigned)numbers[6];
    entry->node = (int)numbers[7];
    entry->attempts = (unsigned)numbers[8];
    return NULL;
}

/* What no client that keeps the rules can have written down. */
static const char *check_sense(const struct linear_operation *operation) {
    bool get = operation->kind == LINEAR_GET, put = operation->kind == LINEAR_PUT;
    if (operation->outcome != LINEAR_UNKNOWN && operation->called > operation->returned) {
        return "returned before it was called";
    }
    if (get && (operation->outcome != LINEAR_DONE || operation->condition != LINEAR_ALWAYS)) {
        return "a read is done, and has no condition";
    }
    if (operation->outcome == LINEAR_REFUSED && operation->condition == LINEAR_ALWAYS) {
        return "refused without a condition";
    }
    if (put && operation->value == LINEAR_NOTHING) {
        return "a put without a value";
    }
    return operation->existed != LINEAR_UNSAID && operation->kind == LINEAR_GET
               ? "a read does not say what existed"
               : NULL;
}

static const char *read_line(struct history_file *file, char *line) {
    static const char *const rows[] = {"op", "last"}, *const kinds[] = {"get", "put", "delete"},
                             *const conditions[] = {"always", "absent", "match"},
                             *const outcomes[] = {"done", "refused", "unknown"},
                             *const said[] = {"unsaid", "existed", "not"};
    char *words[WORDS];
    struct history_entry entry = {0};
    unsigned row, kind, condition, outcome, existed;
    if (!split(line, words)) {
        return "not as many words as a line has";
    }
    if (!find_word(words[0], rows, 2, &row) || !find_word(words[2], kinds, 3, &kind) ||
        !find_word(words[3], conditions, 3, &condition) ||
        !find_word(words[4], outcomes, 3, &outcome) || !find_word(words[5], said, 3, &existed)) {
        return "a word that is not one of its place";
    }
    if (words[1][0] == '\0' || strlen(words[1]) >= HISTORY_KEY_BYTES) {
        return "a key without a name, or with a longer one than fits";
    }
    const char *wrong = read_numbers(words + 6, &entry);
    entry.operation.kind = (enum linear_kind)kind;
    entry.operation.condition = (enum linear_condition)condition;
    entry.operation.outcome = (enum linear_outcome)outcome;
    entry.operation.existed = (enum linear_existed)existed;
    wrong = wrong != NULL ? wrong : check_sense(&entry.operation);
    if (wrong == NULL && row == 1 && kind != LINEAR_GET) {
        wrong = "what is last is a read";
    }
    if (wrong != NULL) {
        return wrong;
    }
    struct history_key *key = key_of(file, words[1]);
    history_add(&key->history, &entry);
    if (row == 1) {
        key->last = entry;
        key->read_last = true;
    }
    return NULL;
}

size_t history_file_read(struct history_file *file, FILE *in, const char **wrong) {
    char line[HISTORY_LINE_BYTES];
    *file = (struct history_file){0};
    for (size_t number = 1; fgets(line, sizeof line, in) != NULL; number++) {
        size_t length = strlen(line);
        if (length < 1 || line[length - 1] != '\n') {
            *wrong = "a line that is too long, or has no end";
            return number;
        }
        line[length - 1] = '\0';
        *wrong = read_line(file, line);
        if (*wrong != NULL) {
            return number;
        }
    }
    *wrong = NULL;
    return 0;
}

void history_file_free(struct history_file *file) {
    for (size_t i = 0; i < file->count; i++) {
        history_free(&file->keys[i].history);
    }
    free(file->keys);
    *file = (struct history_file){0};
}

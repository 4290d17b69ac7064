/* SPDX-License-Identifier: MIT */
/* If-Match and If-None-Match; see conditions.h. */
#include "conditions.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "http_head.h"

/* The length of [W/]"..." at `text`, or 0. A tag may hold commas, so a list is not split at them.
 */
static size_t tag_size(const char *text) {
    size_t at = strncmp(text, "W/", 2) == 0 ? 2 : 0;
    if (text[at++] != '"') {
        return 0;
    }
    while (text[at] != '"') {
        if ((unsigned char)text[at] <= ' ' || text[at] == 127) {
            return 0;
        }
        at++;
    }
    return at + 1;
}

static bool tags_equal(const char *given, size_t size, const char *tag, bool weak) {
    bool given_weak = given[0] == 'W';
    if (tag == NULL || (given_weak && !weak)) {
        return false;
    }
    size_t skip = given_weak ? 2 : 0;
    return strlen(tag) == size - skip && memcmp(tag, given + skip, size - skip) == 0;
}

enum etags etags_look(const char *list, const char *tag, bool weak) {
    bool found = false;
    if (strcmp(list, "*") == 0) {
        return ETAGS_WITH;
    }
    for (const char *at = list + strspn(list, ", \t"); *at != '\0';) {
        size_t size = tag_size(at);
        if (size == 0) {
            return ETAGS_MALFORMED;
        }
        found = found || tags_equal(at, size, tag, weak);
        at += size;
        at += strspn(at, " \t");
        if (*at != '\0' && *at != ',') {
            return ETAGS_MALFORMED;
        }
        at += strspn(at, ", \t");
    }
    return found ? ETAGS_WITH : ETAGS_WITHOUT;
}

enum condition conditions_match(const struct http_head *head, const char *name, bool exists,
                                const char *tag) {
    enum condition result = CONDITION_ABSENT;
    bool weak = strcmp(name, "If-None-Match") == 0;
    const char *list;
    for (size_t i = 0; (list = http_head_field(head, name, i)) != NULL; i++) {
        enum etags look = etags_look(list, tag, weak);
        if (look == ETAGS_MALFORMED) {
            result = CONDITION_MALFORMED;
        } else if (look == ETAGS_WITH && exists) {
            return CONDITION_TRUE;
        } else if (result == CONDITION_ABSENT) {
            result = CONDITION_FALSE;
        }
    }
    return result;
}

void etag_make(uint64_t epoch, uint64_t counter, char tag[ETAG_SIZE]) {
    snprintf(tag, ETAG_SIZE, "\"%llu.%llu\"", (unsigned long long)epoch,
             (unsigned long long)counter);
}

/* Whether the text is exactly a tag that etag_make makes. */
static bool version_of(const char *text, uint64_t *epoch, uint64_t *counter) {
    unsigned long long e = 0;
    unsigned long long c = 0;
    char same[ETAG_SIZE];
    if (sscanf(text, "\"%llu.%llu\"", &e, &c) != 2) {
        return false;
    }
    etag_make(e, c, same);
    *epoch = e;
    *counter = c;
    return strcmp(text, same) == 0;
}

enum conditions_kind conditions_kind(const struct http_head *head, uint64_t *epoch,
                                     uint64_t *counter) {
    const char *match = http_head_field(head, "If-Match", 0);
    const char *none = http_head_field(head, "If-None-Match", 0);
    if (match == NULL && none == NULL) {
        return CONDITIONS_NONE;
    }
    if (match == NULL && strcmp(none, "*") == 0 &&
        http_head_field(head, "If-None-Match", 1) == NULL) {
        return CONDITIONS_ABSENT;
    }
    if (none == NULL && http_head_field(head, "If-Match", 1) == NULL &&
        version_of(match, epoch, counter)) {
        return CONDITIONS_VERSION;
    }
    return CONDITIONS_LOOK;
}

bool conditions_met(const struct http_head *head, bool exists, const char *tag) {
    enum condition match = conditions_match(head, "If-Match", exists, tag);
    enum condition none = conditions_match(head, "If-None-Match", exists, tag);
    return (match == CONDITION_ABSENT || match == CONDITION_TRUE) &&
           (none == CONDITION_ABSENT || none == CONDITION_FALSE);
}

/* SPDX-License-Identifier: MIT */
/* If-Match and If-None-Match: lists of entity tags, RFC 9110 section 13. */
#ifndef GATEWAY_CONDITIONS_H
#define GATEWAY_CONDITIONS_H

#include <stdbool.h>
#include <stdint.h>

struct http_head;

enum { ETAG_SIZE = 64 };

enum etags {
    ETAGS_WITHOUT,   /* the tag is not among them */
    ETAGS_WITH,      /* it is, or the list is * */
    ETAGS_MALFORMED, /* no list of tags */
};

/* `tag` NULL = what is there has none. Compared as strong tags, or as weak ones. */
enum etags etags_look(const char *list, const char *tag, bool weak);

enum condition { CONDITION_ABSENT, CONDITION_TRUE, CONDITION_FALSE, CONDITION_MALFORMED };

/* Whether the lists in all fields of this name, "If-Match" or "If-None-Match", have the tag of what
 * `exists`. TRUE = they have. MALFORMED: at least one is no list, and none has it. */
enum condition conditions_match(const struct http_head *head, const char *name, bool exists,
                                const char *tag);

/* How a change's conditions are decided. */
enum conditions_kind {
    CONDITIONS_NONE,
    CONDITIONS_ABSENT,  /* by the node: only if there is no value */
    CONDITIONS_VERSION, /* by the node: only if it is the version in the one strong tag of If-Match
                         */
    CONDITIONS_LOOK,    /* lists and the rest: look at the value, then ask for that very version */
};
enum conditions_kind conditions_kind(const struct http_head *head, uint64_t *epoch,
                                     uint64_t *counter);
/* Whether a change may go on over what `exists` with this tag. A condition that is malformed is not
 * met. */
bool conditions_met(const struct http_head *head, bool exists, const char *tag);
void etag_make(uint64_t epoch, uint64_t counter, char tag[ETAG_SIZE]);

#endif

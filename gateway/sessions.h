/* SPDX-License-Identifier: MIT */
/*
 * Browsers that were let in by a one-time link: each holds a random id in a cookie. They are kept
 * in memory only, so a gateway that starts again has forgotten them. Thread safe.
 */
#ifndef GATEWAY_SESSIONS_H
#define GATEWAY_SESSIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SESSIONS_MAX = 32,                 /* then the oldest ends */
    SESSION_MS_MAX = 12 * 3600 * 1000, /* since it began */
    SESSION_ID_BYTES = 64,             /* hex of 32 random bytes */
};

struct sessions;

struct sessions *sessions_new(void); /* NULL = no memory */
void sessions_free(struct sessions *sessions);
/* A new one. False: there is no randomness. */
bool sessions_begin(struct sessions *sessions, uint64_t now_ms, char id[SESSION_ID_BYTES + 1]);
/* Whether there is one with this id. It takes as long for each id, right or wrong. */
bool sessions_has(struct sessions *sessions, uint64_t now_ms, const char *id, size_t size);
void sessions_end(struct sessions *sessions, const char *id, size_t size);

#endif

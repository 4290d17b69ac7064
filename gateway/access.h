/* SPDX-License-Identifier: MIT */
/*
 * Whom the gateway lets in: the tokens of API_TOKEN_FILE, which is read again while it runs, and
 * the sessions of browsers that came by a one-time link. It knows no HTTP. Thread safe.
 */
#ifndef GATEWAY_ACCESS_H
#define GATEWAY_ACCESS_H

#include "guesses.h"
#include "sessions.h"
#include "tokens.h"

struct access {
    struct guesses *guesses;
    struct sessions *sessions;
    struct access_file *file;
};

/* Who asks; role NONE = nobody that is known. */
struct access_who {
    enum role role;
    char name[TOKEN_NAME_BYTES_MAX + 1];
};

/* Reads the file. NULL: `error` is one sentence with the file and the line. */
struct access *access_open(const char *path, char *error, size_t error_size);
void access_close(struct access *access); /* accepts NULL */
/* Takes the file as it is now; a broken one is told once in the log, and the tokens stay. To be
 * called now and then, by one thread. Accepts NULL. */
void access_follow(struct access *access);
struct access_who access_by_token(struct access *access, const char *token, size_t size);
struct access_who access_by_session(struct access *access, const char *id, size_t size);

#endif

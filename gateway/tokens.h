/* SPDX-License-Identifier: MIT */
/*
 * Who may do what: the tokens of API_TOKEN_FILE and their roles.
 *
 * The file is one token alone, which is an operator's, or has a line for each:
 *
 *     # role token [name]
 *     reader   C0x7mZ1...  grafana
 *     operator Jt4Xo9q...  alice
 *
 * A token is never shown again: what tells of its holder says the name, or role-LINE without one.
 */
#ifndef GATEWAY_TOKENS_H
#define GATEWAY_TOKENS_H

#include <stdbool.h>
#include <stddef.h>

/* Each may do what those before it may: read; write and delete keys; change the ring. */
enum role { ROLE_NONE, ROLE_READER, ROLE_WRITER, ROLE_OPERATOR };

enum {
    TOKENS_MAX = 64,
    TOKEN_BYTES_MIN = 16,
    TOKEN_BYTES_MAX = 256,
    TOKEN_NAME_BYTES_MAX = 32,
    TOKENS_FILE_BYTES_MAX = 32 * 1024,
};

struct api_token {
    enum role role;
    char name[TOKEN_NAME_BYTES_MAX + 1];
    char text[TOKEN_BYTES_MAX + 1]; /* zeros behind it */
    size_t size;
};

struct tokens {
    size_t count;
    struct api_token all[TOKENS_MAX];
};

const char *role_text(enum role role); /* "reader"; "nobody" for none */

/* Reads the file's text. False: `error` is one sentence with the line; `tokens` is undefined. */
bool tokens_parse(struct tokens *tokens, const char *text, size_t size, char *error,
                  size_t error_size);
/* The whole file, kept as private_read() wants it, at most TOKENS_FILE_BYTES_MAX, into `text` of
 * one byte more. False: `error` says why. */
bool tokens_load(const char *path, char *text, size_t *size, char *error, size_t error_size);
/* The token with this text, or NULL. It takes as long for each text, right or wrong. */
const struct api_token *tokens_find(const struct tokens *tokens, const char *given, size_t size);

#endif

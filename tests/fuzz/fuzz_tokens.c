/* SPDX-License-Identifier: MIT */
/*
 * Fuzzer of the reader of API_TOKEN_FILE: what is refused is refused in a line of text, and of what
 * is taken each token is found with its own role, and no shorter or longer one.
 */
#include "tokens.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool condition, const char *what) {
    if (!condition) {
        fprintf(stderr, "fuzz_tokens: %s\n", what);
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct tokens tokens;
    char error[256] = "";
    bool good = tokens_parse(&tokens, (const char *)data, size, error, sizeof(error));
    must(good == (error[0] == '\0'), "refused without a word");
    for (const char *at = error; *at != '\0'; at++) {
        must(*at >= ' ' && *at < 0x7f, "the file's bytes in a message");
    }
    must(!good || (tokens.count >= 1 && tokens.count <= TOKENS_MAX), "a number of tokens");
    for (size_t i = 0; good && i < tokens.count; i++) {
        const struct api_token *token = &tokens.all[i];
        must(token->role >= ROLE_READER && token->role <= ROLE_OPERATOR, "no role");
        must(token->size == strlen(token->text) && token->size >= TOKEN_BYTES_MIN, "a size");
        must(token->name[0] != '\0' && strpbrk(token->name, " \t\r\n") == NULL, "a name");
        must(tokens_find(&tokens, token->text, token->size) == token, "it is not found");
        must(tokens_find(&tokens, token->text, token->size - 1) != token, "a part is enough");
        must(tokens_find(&tokens, token->text, token->size + 1) == NULL, "a zero more is enough");
    }
    return 0;
}

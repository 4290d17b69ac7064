/* SPDX-License-Identifier: MIT */
/* The tokens of API_TOKEN_FILE; see tokens.h. The launcher reads the same
 * (deploy/launcher/tokens.py). */
#include "tokens.h"

#include <ctype.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>

#include "private.h"

enum { WORDS_MAX = 4 };

struct word {
    const char *at;
    size_t size;
};

struct reader {
    struct tokens *tokens;
    size_t lines[TOKENS_MAX]; /* where each token stands */
    size_t line;              /* from 1 */
    char *error;
    size_t error_size;
};

static const char *const role_texts[] = {"nobody", "reader", "writer", "operator"};

const char *role_text(enum role role) {
    return role_texts[role];
}

static enum role role_named(struct word word) {
    for (enum role role = ROLE_READER; role <= ROLE_OPERATOR; role++) {
        if (word.size == strlen(role_texts[role]) &&
            memcmp(word.at, role_texts[role], word.size) == 0) {
            return role;
        }
    }
    return ROLE_NONE;
}

/* ---- a line ---- */

static bool is_blank(char c) {
    return c == ' ' || c == '\t';
}

/* The words of a line, the first WORDS_MAX of them. */
static size_t words_of(struct word line, struct word words[WORDS_MAX]) {
    size_t count = 0;
    for (size_t at = 0; at < line.size && count < WORDS_MAX;) {
        size_t begin = at;
        while (at < line.size && !is_blank(line.at[at])) {
            at++;
        }
        if (at > begin) {
            words[count++] = (struct word){line.at + begin, at - begin};
        }
        at += at < line.size;
    }
    return count;
}

static bool name_is_good(struct word name) {
    bool good = name.size <= TOKEN_NAME_BYTES_MAX;
    for (size_t i = 0; i < name.size && good; i++) {
        unsigned char c = (unsigned char)name.at[i];
        good = c > 0 && c < 0x80 && (isalnum(c) || strchr("._@-", c) != NULL);
    }
    return good;
}

/* A token goes into a header, so it has no control characters. */
static bool text_is_plain(struct word text) {
    for (size_t i = 0; i < text.size; i++) {
        if ((unsigned char)text.at[i] < ' ' || text.at[i] == 0x7f) {
            return false;
        }
    }
    return true;
}

static bool token_add(struct reader *reader, enum role role, struct word text, struct word name) {
    struct tokens *tokens = reader->tokens;
    char *error = reader->error;
    size_t error_size = reader->error_size, line = reader->line;
    if (text.size < TOKEN_BYTES_MIN || text.size > TOKEN_BYTES_MAX) {
        snprintf(error, error_size, "line %zu: the token is too %s: it has %zu bytes, not %d to %d",
                 line, text.size < TOKEN_BYTES_MIN ? "short" : "long", text.size, TOKEN_BYTES_MIN,
                 TOKEN_BYTES_MAX);
    } else if (!text_is_plain(text)) {
        snprintf(error, error_size, "line %zu: the token has a control character", line);
    } else if (private_secret_is_weak(text.at, text.size)) {
        snprintf(error, error_size,
                 "line %zu: the token can be guessed (few different characters, or a text "
                 "repeated): make one by head -c 32 /dev/urandom | base64",
                 line);
    } else if (!name_is_good(name)) {
        snprintf(error, error_size,
                 "line %zu: the name must have at most %d of A-Z a-z 0-9 . _ @ -", line,
                 TOKEN_NAME_BYTES_MAX);
    } else if (tokens->count == TOKENS_MAX) {
        snprintf(error, error_size, "line %zu: more than %d tokens", line, TOKENS_MAX);
    } else {
        const struct api_token *same = tokens_find(tokens, text.at, text.size);
        if (same == NULL) {
            struct api_token *token = &tokens->all[tokens->count];
            *token = (struct api_token){.role = role, .size = text.size};
            memcpy(token->text, text.at, text.size);
            memcpy(token->name, name.at, name.size);
            reader->lines[tokens->count++] = line;
            return true;
        }
        snprintf(error, error_size, "line %zu: the same token as in line %zu", line,
                 reader->lines[same - tokens->all]);
    }
    return false;
}

/* `role token [name]` */
static bool role_line(struct reader *reader, struct word line) {
    struct word words[WORDS_MAX] = {0};
    size_t count = words_of(line, words);
    enum role role = count == 0 ? ROLE_NONE : role_named(words[0]);
    char name[TOKEN_NAME_BYTES_MAX + 1];
    if (role == ROLE_NONE) {
        /* The line may be a token: it is not shown. */
        snprintf(reader->error, reader->error_size,
                 "line %zu: its first word is no role (reader, writer or operator)", reader->line);
        return false;
    }
    if (count < 2 || count > 3) {
        snprintf(reader->error, reader->error_size,
                 "line %zu: it must be a role, a token and, if wished, a name without blanks",
                 reader->line);
        return false;
    }
    snprintf(name, sizeof(name), "%s-%zu", role_text(role), reader->line);
    return token_add(reader, role, words[1],
                     count == 3 ? words[2] : (struct word){name, strlen(name)});
}

/* ---- the file ---- */

/* A token alone is the whole first line, blanks and all. What looks like a line of the other form
 * with a mistyped role is none. */
static bool is_bare(struct word line) {
    struct word words[WORDS_MAX] = {0};
    size_t count = words_of(line, words);
    if (count == 0 || line.at[0] == '#') {
        return false;
    }
    bool looks_like_role = count > 1 && count < 4 && words[1].size >= TOKEN_BYTES_MIN;
    return (count == 1 || role_named(words[0]) == ROLE_NONE) && !looks_like_role;
}

static bool line_read(struct reader *reader, struct word line, bool *bare) {
    size_t blanks = 0;
    while (blanks < line.size && is_blank(line.at[blanks])) {
        blanks++;
    }
    if (reader->line == 1 && is_bare(line)) {
        *bare = true;
        return token_add(reader, ROLE_OPERATOR, line, (struct word){"operator", 8});
    }
    if (blanks == line.size || line.at[blanks] == '#') {
        return true;
    }
    if (*bare) {
        snprintf(reader->error, reader->error_size,
                 "line %zu: a file whose first line is a token alone has nothing more; write each "
                 "line as: role token [name]",
                 reader->line);
        return false;
    }
    return role_line(reader, line);
}

bool tokens_parse(struct tokens *tokens, const char *text, size_t size, char *error,
                  size_t error_size) {
    struct reader reader = {.tokens = tokens, .error = error, .error_size = error_size};
    bool bare = false;
    tokens->count = 0;
    for (size_t at = 0; at < size;) {
        const char *end = memchr(text + at, '\n', size - at);
        struct word line = {text + at, end == NULL ? size - at : (size_t)(end - (text + at))};
        at += line.size + 1;
        line.size -= line.size > 0 && line.at[line.size - 1] == '\r';
        reader.line++;
        if (!line_read(&reader, line, &bare)) {
            return false;
        }
    }
    if (tokens->count == 0) {
        snprintf(error, error_size, "no token is in it; write lines of: role token [name]");
    }
    return tokens->count > 0;
}

bool tokens_load(const char *path, char *text, size_t *size, char *error, size_t error_size) {
    int result = private_read(path, text, TOKENS_FILE_BYTES_MAX + 1, size);
    if (result != 0) {
        snprintf(error, error_size, "%s", private_secret_error(result));
    } else if (*size > TOKENS_FILE_BYTES_MAX) {
        snprintf(error, error_size, "it is longer than %d bytes", TOKENS_FILE_BYTES_MAX);
        result = -1;
    }
    return result == 0;
}

const struct api_token *tokens_find(const struct tokens *tokens, const char *given, size_t size) {
    char padded[TOKEN_BYTES_MAX + 1] = "";
    const struct api_token *found = NULL;
    if (size == 0 || size > TOKEN_BYTES_MAX) {
        return NULL;
    }
    memcpy(padded, given, size);
    for (size_t i = 0; i < tokens->count; i++) {
        bool same = CRYPTO_memcmp(padded, tokens->all[i].text, sizeof(padded)) == 0;
        same = same && size == tokens->all[i].size;
        found = same ? &tokens->all[i] : found;
    }
    OPENSSL_cleanse(padded, sizeof(padded));
    return found;
}

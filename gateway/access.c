/* SPDX-License-Identifier: MIT */
/* Whom the gateway lets in; see access.h. */
#include "access.h"

#include <openssl/crypto.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "log.h"

enum { ERROR_SIZE = 256 };

struct access_file {
    const char *path;
    pthread_mutex_t lock; /* of `tokens` */
    struct tokens tokens;
    /* Of the thread that follows. */
    char text[TOKENS_FILE_BYTES_MAX + 1]; /* what was read last, good or not */
    size_t size;
    char error[ERROR_SIZE]; /* what was wrong with it, or empty */
    char next_text[TOKENS_FILE_BYTES_MAX + 1];
    struct tokens next;
};

/* Compared by its bytes: a time stamp is as coarse as two writes may be near. */
static bool file_changed(struct access_file *file, size_t *size, char *error) {
    struct stat about;
    error[0] = '\0';
    *size = 0;
    if (stat(file->path, &about) == 0 && S_ISFIFO(about.st_mode)) {
        return false; /* it gave its token at the start */
    }
    if (!tokens_load(file->path, file->next_text, size, error, ERROR_SIZE)) {
        return strcmp(error, file->error) != 0;
    }
    return *size != file->size || memcmp(file->next_text, file->text, *size) != 0;
}

static bool file_read(struct access_file *file) {
    if (file->error[0] == '\0' &&
        tokens_parse(&file->next, file->text, file->size, file->error, sizeof(file->error))) {
        pthread_mutex_lock(&file->lock);
        file->tokens = file->next;
        pthread_mutex_unlock(&file->lock);
    }
    return file->error[0] == '\0';
}

void access_follow(struct access *access) {
    char error[ERROR_SIZE];
    size_t size = 0;
    if (access == NULL || !file_changed(access->file, &size, error)) {
        return;
    }
    struct access_file *file = access->file;
    memcpy(file->text, file->next_text, size);
    file->size = size;
    memcpy(file->error, error, sizeof(file->error));
    if (file_read(file)) {
        log_line("INFO", "token", "API_TOKEN_FILE %s was read again: %zu token%s", file->path,
                 file->tokens.count, file->tokens.count == 1 ? "" : "s");
    } else {
        log_line("WARN", "token", "API_TOKEN_FILE %s cannot be used: %s; the former tokens stay",
                 file->path, file->error);
    }
}

struct access *access_open(const char *path, char *error, size_t error_size) {
    struct access *access = calloc(1, sizeof(*access));
    struct access_file *file = calloc(1, sizeof(*file));
    if (access == NULL || file == NULL || (access->guesses = guesses_new()) == NULL ||
        (access->sessions = sessions_new()) == NULL) {
        snprintf(error, error_size, "no memory to start");
        if (access != NULL) {
            guesses_free(access->guesses);
        }
        free(access);
        free(file);
        return NULL;
    }
    file->path = path;
    pthread_mutex_init(&file->lock, NULL);
    access->file = file;
    if (!tokens_load(path, file->text, &file->size, file->error, sizeof(file->error)) ||
        !file_read(file)) {
        snprintf(error, error_size, "cannot use %s: %s", path, file->error);
        access_close(access);
        return NULL;
    }
    return access;
}

void access_close(struct access *access) {
    if (access != NULL) {
        pthread_mutex_destroy(&access->file->lock);
        OPENSSL_cleanse(access->file, sizeof(*access->file));
        free(access->file);
        sessions_free(access->sessions);
        guesses_free(access->guesses);
        free(access);
    }
}

struct access_who access_by_token(struct access *access, const char *text, size_t size) {
    struct access_who who = {.role = ROLE_NONE};
    pthread_mutex_lock(&access->file->lock);
    const struct api_token *token = tokens_find(&access->file->tokens, text, size);
    if (token != NULL) {
        who.role = token->role;
        memcpy(who.name, token->name, sizeof(who.name));
    }
    pthread_mutex_unlock(&access->file->lock);
    return who;
}

struct access_who access_by_session(struct access *access, const char *id, size_t size) {
    struct access_who who = {.role = ROLE_NONE};
    if (sessions_has(access->sessions, clock_now_ms(), id, size)) {
        who = (struct access_who){.role = ROLE_OPERATOR, .name = "link"};
    }
    return who;
}

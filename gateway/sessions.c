/* SPDX-License-Identifier: MIT */
/* Browsers that were let in; see sessions.h. */
#include "sessions.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct session {
    uint64_t ends_ms; /* 0 = none */
    char id[SESSION_ID_BYTES + 1];
};

struct sessions {
    pthread_mutex_t lock; /* of the rest */
    struct session all[SESSIONS_MAX];
};

struct sessions *sessions_new(void) {
    struct sessions *sessions = calloc(1, sizeof(*sessions));
    if (sessions != NULL) {
        pthread_mutex_init(&sessions->lock, NULL);
    }
    return sessions;
}

void sessions_free(struct sessions *sessions) {
    if (sessions != NULL) {
        pthread_mutex_destroy(&sessions->lock);
        OPENSSL_cleanse(sessions->all, sizeof(sessions->all));
        free(sessions);
    }
}

bool sessions_begin(struct sessions *sessions, uint64_t now_ms, char id[SESSION_ID_BYTES + 1]) {
    unsigned char bytes[SESSION_ID_BYTES / 2];
    if (RAND_bytes(bytes, sizeof(bytes)) != 1) {
        return false;
    }
    for (size_t i = 0; i < sizeof(bytes); i++) {
        snprintf(id + 2 * i, 3, "%02x", bytes[i]);
    }
    pthread_mutex_lock(&sessions->lock);
    struct session *oldest = &sessions->all[0];
    for (size_t i = 1; i < SESSIONS_MAX; i++) {
        oldest = sessions->all[i].ends_ms < oldest->ends_ms ? &sessions->all[i] : oldest;
    }
    oldest->ends_ms = now_ms + SESSION_MS_MAX;
    memcpy(oldest->id, id, sizeof(oldest->id));
    pthread_mutex_unlock(&sessions->lock);
    return true;
}

/* With the lock held. */
static struct session *session_of(struct sessions *sessions, const char *id, size_t size) {
    struct session *found = NULL;
    for (size_t i = 0; i < SESSIONS_MAX && size == SESSION_ID_BYTES; i++) {
        bool same = CRYPTO_memcmp(sessions->all[i].id, id, size) == 0;
        found = same ? &sessions->all[i] : found;
    }
    return found;
}

bool sessions_has(struct sessions *sessions, uint64_t now_ms, const char *id, size_t size) {
    pthread_mutex_lock(&sessions->lock);
    const struct session *session = session_of(sessions, id, size);
    bool has = session != NULL && now_ms < session->ends_ms;
    pthread_mutex_unlock(&sessions->lock);
    return has;
}

void sessions_end(struct sessions *sessions, const char *id, size_t size) {
    pthread_mutex_lock(&sessions->lock);
    struct session *session = session_of(sessions, id, size);
    if (session != NULL) {
        *session = (struct session){0};
    }
    pthread_mutex_unlock(&sessions->lock);
}

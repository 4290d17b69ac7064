/* SPDX-License-Identifier: MIT */
/* Wrong secrets; see guesses.h. */
#include "guesses.h"

#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"

enum {
    GUESS_ADDRESSES = 64,
    GUESS_BURST = 10,       /* wrong ones of one address that are answered at once, */
    GUESS_REFILL_MS = 1000, /* one more each so long */
    GUESS_LOG_MS = 1000,
};

struct guesser {
    char peer[INET_ADDRSTRLEN];
    unsigned left;
    uint64_t refilled_ms;
};

struct guesses {
    pthread_mutex_t lock; /* of the rest */
    struct guesser guessers[GUESS_ADDRESSES];
    uint64_t logged_ms;
    unsigned unlogged;
};

struct guesses *guesses_new(void) {
    struct guesses *guesses = calloc(1, sizeof(*guesses));
    if (guesses != NULL) {
        pthread_mutex_init(&guesses->lock, NULL);
    }
    return guesses;
}

void guesses_free(struct guesses *guesses) {
    if (guesses != NULL) {
        pthread_mutex_destroy(&guesses->lock);
        free(guesses);
    }
}

static struct guesser *guesser_of(struct guesses *guesses, const char *peer, uint64_t now) {
    struct guesser *oldest = &guesses->guessers[0];
    for (size_t i = 0; i < GUESS_ADDRESSES; i++) {
        struct guesser *guesser = &guesses->guessers[i];
        if (strcmp(guesser->peer, peer) == 0) {
            return guesser;
        }
        oldest = guesser->refilled_ms < oldest->refilled_ms ? guesser : oldest;
    }
    snprintf(oldest->peer, sizeof(oldest->peer), "%s", peer);
    oldest->left = GUESS_BURST;
    oldest->refilled_ms = now;
    return oldest;
}

/* With the lock held: whether this wrong one is answered at once. */
static bool guess_count(struct guesses *guesses, const char *peer) {
    uint64_t now = clock_now_ms();
    struct guesser *guesser = guesser_of(guesses, peer, now);
    uint64_t more = (now - guesser->refilled_ms) / GUESS_REFILL_MS;
    if (more > 0) {
        guesser->left = more < GUESS_BURST ? guesser->left + (unsigned)more : GUESS_BURST;
        guesser->left = guesser->left < GUESS_BURST ? guesser->left : GUESS_BURST;
        guesser->refilled_ms = now;
    }
    guesses->unlogged++;
    if (now >= guesses->logged_ms + GUESS_LOG_MS) {
        log_line("WARN", "token", "%u wrong API token%s, the last from %s", guesses->unlogged,
                 guesses->unlogged == 1 ? "" : "s", peer);
        guesses->logged_ms = now;
        guesses->unlogged = 0;
    }
    bool at_once = guesser->left > 0;
    guesser->left -= at_once;
    return at_once;
}

bool guesses_wrong(struct guesses *guesses, const char *peer) {
    pthread_mutex_lock(&guesses->lock);
    bool at_once = guess_count(guesses, peer);
    pthread_mutex_unlock(&guesses->lock);
    return at_once;
}

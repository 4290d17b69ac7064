/* SPDX-License-Identifier: MIT */
/*
 * Whom to ask where nobody watches the ring: the members that were named, and those that answers
 * name. One that fails goes to the end of the line.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"

enum { SEEDS_MAX = 64 };

struct seeds {
    uint32_t probe_ms;
    pthread_mutex_t lock; /* of the rest */
    size_t count;
    char addresses[SEEDS_MAX][CHORD_ADDRESS_SIZE];
};

static void seeds_learn(void *context, const char *address) {
    struct seeds *seeds = context;
    pthread_mutex_lock(&seeds->lock);
    size_t i = 0;
    while (i < seeds->count && strcmp(seeds->addresses[i], address) != 0) {
        i++;
    }
    if (i == seeds->count && seeds->count < SEEDS_MAX) {
        snprintf(seeds->addresses[seeds->count++], CHORD_ADDRESS_SIZE, "%.63s", address);
    }
    pthread_mutex_unlock(&seeds->lock);
}

static void seeds_mistrust(void *context, const char *address, bool silent) {
    struct seeds *seeds = context;
    char first[CHORD_ADDRESS_SIZE];
    (void)silent;
    pthread_mutex_lock(&seeds->lock);
    if (strcmp(seeds->addresses[0], address) == 0) {
        memcpy(first, seeds->addresses[0], sizeof first);
        memmove(seeds->addresses[0], seeds->addresses[1], (seeds->count - 1) * sizeof first);
        memcpy(seeds->addresses[seeds->count - 1], first, sizeof first);
    }
    pthread_mutex_unlock(&seeds->lock);
}

size_t seeds_count(struct seeds *seeds) {
    pthread_mutex_lock(&seeds->lock);
    size_t count = seeds->count;
    pthread_mutex_unlock(&seeds->lock);
    return count;
}

/* The first in the line; where addresses are probed, the first that listens. */
static bool seeds_member(void *context, char address[CHORD_ADDRESS_SIZE], char *why,
                         size_t why_size) {
    struct seeds *seeds = context;
    for (size_t left = seeds_count(seeds); left > 0; left--) {
        pthread_mutex_lock(&seeds->lock);
        memcpy(address, seeds->addresses[0], CHORD_ADDRESS_SIZE);
        pthread_mutex_unlock(&seeds->lock);
        int error = seeds->probe_ms == 0 ? 0 : address_probe(address, seeds->probe_ms);
        if (error == 0) {
            return true;
        }
        snprintf(why, why_size, "%s: %s", address, strerror(error));
        seeds_mistrust(seeds, address, true);
    }
    return false;
}

struct client_watch seeds_watch(struct seeds *seeds) {
    return (struct client_watch){
        .member = seeds_member, .mistrust = seeds_mistrust, .learn = seeds_learn, .context = seeds};
}

struct seeds *seeds_new(const char *members, uint32_t probe_ms, char *error, size_t error_size) {
    struct seeds *seeds = calloc(1, sizeof *seeds);
    if (seeds == NULL) {
        snprintf(error, error_size, "no memory");
        return NULL;
    }
    seeds->probe_ms = probe_ms;
    pthread_mutex_init(&seeds->lock, NULL);
    for (const char *text = members; text != NULL && *text != '\0';) {
        char address[CHORD_ADDRESS_SIZE + 1];
        size_t size = strcspn(text, ",");
        snprintf(address, sizeof address, "%.*s", (int)(size < sizeof address ? size : 64), text);
        if (size > 0 && !address_is_valid(address)) {
            snprintf(error, error_size,
                     "'%s' is no address; give HOST:PORT, for example 127.0.0.1:4001", address);
            seeds_free(seeds);
            return NULL;
        }
        if (size > 0) {
            seeds_learn(seeds, address);
        }
        text += size + (text[size] == ',');
    }
    if (seeds->count == 0) {
        snprintf(error, error_size,
                 "no member of the ring is named; give HOST:PORT, for example 127.0.0.1:4001");
        seeds_free(seeds);
        return NULL;
    }
    return seeds;
}

void seeds_free(struct seeds *seeds) {
    if (seeds != NULL) {
        pthread_mutex_destroy(&seeds->lock);
        free(seeds);
    }
}

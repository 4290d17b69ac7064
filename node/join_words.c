/* SPDX-License-Identifier: MIT */
/* See join_words.h. The hello is that of proto/README.md. */
#include "join_words.h"

#include "log.h"

#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { PROBE_S = 3, HELLO_BYTES = 8 };

static const uint8_t hello_of_client[HELLO_BYTES] = {0, 'S', 'P', 0, 0, 0x30, 0, 0};
static const uint8_t hello_of_node[HELLO_BYTES] = {0, 'S', 'P', 0, 0, 0x31, 0, 0};

struct probe {
    size_t count;
    struct chord_address seeds[CHORD_SEEDS_MAX];
};

/* Whether a node answers on the connected socket. */
static bool greets(int fd) {
    uint8_t answer[HELLO_BYTES];
    size_t got = 0;
    if (send(fd, hello_of_client, sizeof hello_of_client, MSG_NOSIGNAL) != HELLO_BYTES) {
        return false;
    }
    while (got < sizeof answer) {
        ssize_t part = recv(fd, answer + got, sizeof answer - got, 0);
        if (part <= 0) {
            return false;
        }
        got += (size_t)part;
    }
    return memcmp(answer, hello_of_node, sizeof answer) == 0;
}

static void look(const char *seed) {
    char host[CHORD_ADDRESS_BYTES];
    const char *colon = strrchr(seed, ':');
    struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    snprintf(host, sizeof host, "%.*s", (int)(colon - seed), seed);
    int rc = getaddrinfo(host, colon + 1, &hints, &found);
    if (rc != 0) {
        log_write(LOG_WARN, "join", "JOIN=%s: the name %s is unknown (%s)", seed, host,
                  gai_strerror(rc));
        return;
    }
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const struct timeval patience = {.tv_sec = PROBE_S};
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (fd < 0 || connect(fd, found->ai_addr, found->ai_addrlen) != 0) {
        log_write(LOG_WARN, "join", "JOIN=%s: %s; still trying", seed,
                  errno == EINPROGRESS ? "no answer" : strerror(errno));
    } else if (!greets(fd)) {
        log_write(
            LOG_WARN, "join",
            "JOIN=%s: something listens there that is no node, perhaps a "
            "dashboard; node i of a host listens on its RPC_PORT+i, node 1 on 4001 by default",
            seed);
    }
    if (fd >= 0) {
        close(fd);
    }
    freeaddrinfo(found);
}

static void *look_at_all(void *context) {
    struct probe *probe = context;
    for (size_t i = 0; i < probe->count; i++) {
        look(probe->seeds[i].text);
    }
    free(probe);
    return NULL;
}

void join_words_start(const struct settings *settings) {
    pthread_t thread;
    struct probe *probe = settings->seeds_count > 0 ? calloc(1, sizeof *probe) : NULL;
    if (probe == NULL) {
        return;
    }
    probe->count = settings->seeds_count;
    memcpy(probe->seeds, settings->seeds, sizeof probe->seeds);
    if (pthread_create(&thread, NULL, look_at_all, probe) == 0) {
        pthread_detach(thread);
    } else {
        free(probe);
    }
}

void join_words_reply(struct node *node, const struct call_context *context,
                      const struct rpc_reply *reply) {
    bool key = reply->code == CHORD__V1__CODE__CODE_UNAUTHENTICATED;
    if (!key && reply->code != CHORD__V1__CODE__CODE_WRONG_RING) {
        return;
    }
    for (unsigned i = 0; i < node->settings.seeds_count; i++) {
        const char *seed = node->settings.seeds[i].text;
        if ((node->seeds_told >> i & 1) != 0 || strcmp(seed, context->to.text) != 0) {
            continue;
        }
        node->seeds_told |= 1u << i;
        if (key) {
            log_write(LOG_WARN, "join",
                      "JOIN=%s: the ring key is refused; RING_KEY_FILE must be the "
                      "same on every member, or be given on none",
                      seed);
        } else {
            log_write(
                LOG_WARN, "join",
                "JOIN=%s is a member of another ring than the data in %s: "
                "chordctl merge brings two rings together, chordctl leave and an empty folder "
                "give this one up",
                seed, node->settings.data);
        }
    }
}

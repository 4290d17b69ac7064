/* SPDX-License-Identifier: MIT */
/* Which nodes to ask, with which key; the clock. Settings come from flags, then the environment. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl.h"
#include "output.h"
#include "private.h"

enum {
    PORT_DEFAULT = 3000,
    RPC_PORT_ABOVE_PORT = 1000,
    PROBE_MS = 1000,
    ATTEMPT_MS = 3000,
    CLIENTS_MAX = 4, /* a command's own, and those of two rings that merge */
};

/* ---- addresses ---- */

static const char *environment(const char *name) {
    const char *text = getenv(name);
    return text != NULL && text[0] != '\0' ? text : NULL;
}

static uint64_t port_of(const char *name, uint64_t otherwise) {
    const char *text = environment(name);
    uint64_t port = otherwise;
    if (text != NULL && !number_read(text, 1, 65534, &port)) {
        ctl_fail(CTL_USAGE, "%s=%s (from the environment) is out of range: a port from 1 to 65534",
                 name, text);
    }
    return port;
}

/* ---- session ---- */

static void output_choose(struct ctl *ctl, const char *text) {
    ctl->json = text != NULL && strcmp(text, "json") == 0;
    if (text != NULL && !ctl->json && strcmp(text, "table") != 0) {
        ctl_fail(CTL_USAGE, "--output '%s' is not known: give table or json", text);
    }
}

static void timeout_choose(struct ctl *ctl, const char *text) {
    uint64_t timeout_ms = CTL_TIMEOUT_MS_DEFAULT;
    if (text != NULL && !number_read(text, 1, RPC_TIMEOUT_MS_MAX, &timeout_ms)) {
        ctl_fail(CTL_USAGE, "--timeout '%s' is out of range: give milliseconds from 1 to %d", text,
                 RPC_TIMEOUT_MS_MAX);
    }
    ctl->timeout_given = text != NULL;
    ctl->timeout_ms = (uint32_t)timeout_ms;
}

static void key_choose(const char *path, struct rpc_key *key) {
    const char *source = path != NULL ? "--ring-key-file" : "RING_KEY_FILE";
    path = path != NULL ? path : environment("RING_KEY_FILE");
    int rc = path == NULL ? 0 : rpc_key_read(key, path);
    if (rc != 0) {
        ctl_fail(CTL_USAGE, "%s %s cannot be used: %s", source, path, private_secret_error(rc));
    }
}

/* All that are open, so that the program's end closes them. */
static struct chord_client *clients[CLIENTS_MAX];
static size_t clients_count;

void session_client_open(struct ctl *ctl, const char *nodes, const char *source) {
    const struct client_setup setup = {.key = &ctl->key,
                                       .timeout_ms = ctl->timeout_ms,
                                       .attempt_ms = ATTEMPT_MS,
                                       .probe_ms = PROBE_MS};
    char error[200];
    int rc = client_open(&ctl->ring, &setup, nodes, error, sizeof error);
    ctl->nodes_source = source;
    if (rc != 0) {
        ctl_fail(rc == -EINVAL ? CTL_USAGE : CTL_NO_NODE, "%s: %s", source, error);
    }
    clients[clients_count++] = ctl->ring;
}

/* Which nodes; by default node 1 of this host, where init.py puts it. */
void session_open(struct ctl *ctl, const struct arguments *arguments) {
    const char *host = environment("HOST") != NULL ? environment("HOST") : "127.0.0.1";
    char by_default[300];
    output_choose(ctl, arguments->globals[GLOBAL_OUTPUT]);
    timeout_choose(ctl, arguments->globals[GLOBAL_TIMEOUT]);
    key_choose(arguments->globals[GLOBAL_KEY], &ctl->key);
    if (arguments->globals[GLOBAL_NODE] != NULL) {
        session_client_open(ctl, arguments->globals[GLOBAL_NODE], "--node");
    } else if (environment("CHORD_NODE") != NULL) {
        session_client_open(ctl, environment("CHORD_NODE"), "CHORD_NODE");
    } else {
        uint64_t port = port_of("RPC_PORT", port_of("PORT", PORT_DEFAULT) + RPC_PORT_ABOVE_PORT);
        snprintf(by_default, sizeof by_default, "%.200s:%llu", host, (unsigned long long)port + 1);
        session_client_open(ctl, by_default, "HOST and RPC_PORT");
    }
}

void ctl_exit(int exit_code) {
    while (clients_count > 0) {
        chord_client_close(clients[--clients_count]);
    }
    if (!output_close() && exit_code == CTL_OK) {
        ctl_error("the output could not be written; look at where stdout goes");
        exit_code = CTL_NOT_FOUND;
    }
    exit(exit_code);
}

void ask_check(const char *instead, const char *value) {
    if (!isatty(STDIN_FILENO)) {
        ctl_fail(CTL_USAGE, "nobody can be asked here (stdin is no terminal); give %s%s", instead,
                 value);
    }
}

void ask(const char *prompt, char typed[ASK_BYTES]) {
    fprintf(stderr, "%s: ", prompt);
    fflush(stderr);
    if (fgets(typed, ASK_BYTES, stdin) == NULL) {
        typed[0] = '\0';
    }
    typed[strcspn(typed, "\r\n")] = '\0';
}

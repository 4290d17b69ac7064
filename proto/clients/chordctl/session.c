/* SPDX-License-Identifier: MIT */
/* Which nodes to ask, with which key; the clock. Settings come from flags, then the environment. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl.h"
#include "private.h"

enum { PORT_DEFAULT = 3000, RPC_PORT_ABOVE_PORT = 1000, PROBE_MS = 1000, ATTEMPT_MS = 3000 };

uint64_t clock_now_ms(void) {
    return client_now_ms();
}

void pause_ms(uint64_t ms) {
    client_pause_ms(ms);
}

/* ---- addresses ---- */

static const char *environment(const char *name) {
    const char *text = getenv(name);
    return text != NULL && text[0] != '\0' ? text : NULL;
}

static bool port_of(const char *name, uint64_t *port) {
    const char *text = environment(name);
    if (text != NULL && !number_read(text, 1, 65534, port)) {
        ctl_error("%s=%s (from the environment) is out of range: a port from 1 to 65534", name,
                  text);
        return false;
    }
    return true;
}

/* Node 1 of this host, where init.py puts it. */
static bool nodes_default(char *nodes, size_t size) {
    const char *host = environment("HOST") != NULL ? environment("HOST") : "127.0.0.1";
    uint64_t port = PORT_DEFAULT;
    if (!port_of("PORT", &port)) {
        return false;
    }
    uint64_t rpc_port = port + RPC_PORT_ABOVE_PORT;
    if (!port_of("RPC_PORT", &rpc_port)) {
        return false;
    }
    snprintf(nodes, size, "%.200s:%llu", host, (unsigned long long)rpc_port + 1);
    return true;
}

/* ---- session ---- */

static bool output_choose(struct ctl *ctl, const char *text) {
    ctl->json = text != NULL && strcmp(text, "json") == 0;
    if (text != NULL && !ctl->json && strcmp(text, "table") != 0) {
        ctl_error("--output '%s' is not known: give table or json", text);
        return false;
    }
    return true;
}

static bool timeout_choose(struct ctl *ctl, const char *text) {
    uint64_t timeout_ms = CTL_TIMEOUT_MS_DEFAULT;
    if (text != NULL && !number_read(text, 1, RPC_TIMEOUT_MS_MAX, &timeout_ms)) {
        ctl_error("--timeout '%s' is out of range: give milliseconds from 1 to %d", text,
                  RPC_TIMEOUT_MS_MAX);
        return false;
    }
    ctl->timeout_given = text != NULL;
    ctl->timeout_ms = (uint32_t)timeout_ms;
    return true;
}

static bool key_choose(const char *path, struct rpc_key *key) {
    const char *source = path != NULL ? "--ring-key-file" : "RING_KEY_FILE";
    path = path != NULL ? path : environment("RING_KEY_FILE");
    int rc = path == NULL ? 0 : rpc_key_read(key, path);
    if (rc != 0) {
        ctl_error("%s %s cannot be used: %s", source, path, private_secret_error(rc));
    }
    return rc == 0;
}

int session_client_open(struct ctl *ctl, const char *nodes, const char *source) {
    const struct client_setup setup = {
        .timeout_ms = ctl->timeout_ms, .attempt_ms = ATTEMPT_MS, .probe_ms = PROBE_MS};
    char error[200];
    int rc = client_open(&ctl->ring, &setup, &ctl->key, nodes, error, sizeof error);
    ctl->nodes_source = source;
    if (rc != 0) {
        ctl_error("%s: %s", source, error);
    }
    return rc == 0 ? CTL_OK : rc == -EINVAL ? CTL_USAGE : CTL_NO_NODE;
}

int session_open(struct ctl *ctl, const struct arguments *arguments) {
    char by_default[300];
    if (!output_choose(ctl, arguments->output) || !timeout_choose(ctl, arguments->timeout) ||
        !key_choose(arguments->ring_key_file, &ctl->key)) {
        return CTL_USAGE;
    }
    if (arguments->node != NULL) {
        return session_client_open(ctl, arguments->node, "--node");
    }
    if (environment("CHORD_NODE") != NULL) {
        return session_client_open(ctl, environment("CHORD_NODE"), "CHORD_NODE");
    }
    return nodes_default(by_default, sizeof by_default)
               ? session_client_open(ctl, by_default, "HOST and RPC_PORT")
               : CTL_USAGE;
}

void session_close(struct ctl *ctl) {
    chord_client_close(ctl->ring);
}

/* Which nodes to ask, with which key; the clock. Settings come from flags, then the environment. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ctl.h"
#include "private.h"

enum {
    PORT_DEFAULT = 3000,
    RPC_PORT_ABOVE_PORT = 1000,
    CLIENT_PEERS_MAX = 1024,
    PROBE_MS = 1000,
    ATTEMPT_MS = 3000
};

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

static bool nodes_add(struct ctl *ctl, const char *text, const char *source) {
    ctl->nodes_source = source;
    while (*text != '\0') {
        size_t length = strcspn(text, ",");
        char address[RPC_ADDRESS_BYTES_MAX + 1];
        snprintf(address, sizeof address, "%.*s", (int)(length > 1000 ? 1000 : length), text);
        if (length > 0 && (length > RPC_ADDRESS_BYTES_MAX || !address_is_valid(address))) {
            ctl_error("'%s' (from %s) is no address; give HOST:PORT, for example 127.0.0.1:4001",
                      address, source);
            return false;
        }
        if (length > 0 && ctl->nodes_count == CTL_NODES_MAX) {
            ctl_error("%s names more than %d nodes; name fewer", source, CTL_NODES_MAX);
            return false;
        }
        if (length > 0) {
            memcpy(ctl->nodes[ctl->nodes_count++], address, sizeof address);
        }
        text += length;
        text += *text == ',';
    }
    if (ctl->nodes_count == 0) {
        ctl_error("%s names no node; give HOST:PORT, for example 127.0.0.1:4001", source);
    }
    return ctl->nodes_count > 0;
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
static bool nodes_default(struct ctl *ctl) {
    const char *host = environment("HOST") != NULL ? environment("HOST") : "127.0.0.1";
    uint64_t port = PORT_DEFAULT;
    if (!port_of("PORT", &port)) {
        return false;
    }
    uint64_t rpc_port = port + RPC_PORT_ABOVE_PORT;
    if (!port_of("RPC_PORT", &rpc_port)) {
        return false;
    }
    char text[300];
    snprintf(text, sizeof text, "%.200s:%llu", host, (unsigned long long)rpc_port + 1);
    return nodes_add(ctl, text, "HOST and RPC_PORT");
}

static bool nodes_choose(struct ctl *ctl, const struct arguments *arguments) {
    if (arguments->node != NULL) {
        return nodes_add(ctl, arguments->node, "--node");
    }
    if (environment("CHORD_NODE") != NULL) {
        return nodes_add(ctl, environment("CHORD_NODE"), "CHORD_NODE");
    }
    return nodes_default(ctl);
}

/* ---- whom operations on keys are sent to: the nodes in turn, who must listen ---- */

static bool watch_member(void *context, char address[CHORD_ADDRESS_SIZE], char *why,
                         size_t why_size) {
    struct ctl *ctl = context;
    for (size_t tried = 0; tried < ctl->nodes_count; tried++) {
        memcpy(address, ctl->nodes[atomic_load(&ctl->nodes_at) % ctl->nodes_count],
               CHORD_ADDRESS_SIZE);
        int error = address_probe(address, PROBE_MS);
        if (error == 0) {
            return true;
        }
        snprintf(why, why_size, "%s: %s", address, strerror(error));
        atomic_fetch_add(&ctl->nodes_at, 1);
    }
    return false;
}

static void watch_mistrust(void *context, const char *address, bool silent) {
    struct ctl *ctl = context;
    (void)silent;
    size_t at = atomic_load(&ctl->nodes_at);
    if (strcmp(address, ctl->nodes[at % ctl->nodes_count]) == 0) {
        (void)atomic_compare_exchange_strong(&ctl->nodes_at, &at, at + 1);
    }
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

int session_client_open(struct ctl *ctl) {
    struct rpc_client_options options = {.key = ctl->key, .peers_max = CLIENT_PEERS_MAX};
    ctl->ring = NULL;
    int rc = rpc_client_open(&ctl->client, &options);
    if (rc == 0) {
        const struct client_setup setup = {
            .rpc = ctl->client,
            .watch = {.member = watch_member, .mistrust = watch_mistrust, .context = ctl},
            .ring_of_first = true,
            .timeout_ms = ctl->timeout_ms,
            .attempt_ms = ATTEMPT_MS,
        };
        ctl->ring = client_new(&setup);
        rc = ctl->ring == NULL ? -ENOMEM : 0;
    }
    if (rc != 0) {
        ctl_error("this host cannot open connections: %s", strerror(-rc));
    }
    return rc == 0 ? CTL_OK : CTL_NO_NODE;
}

int session_open(struct ctl *ctl, const struct arguments *arguments) {
    if (!output_choose(ctl, arguments->output) || !timeout_choose(ctl, arguments->timeout) ||
        !key_choose(arguments->ring_key_file, &ctl->key) || !nodes_choose(ctl, arguments)) {
        return CTL_USAGE;
    }
    return session_client_open(ctl);
}

void session_close(struct ctl *ctl) {
    if (ctl->ring != NULL) {
        chord_client_stop(ctl->ring);
    }
    rpc_client_close(ctl->client);
    chord_client_close(ctl->ring);
}

/* SPDX-License-Identifier: MIT */
/* Flags and environment; see settings.h. */
#include "settings.h"

#include "buf.h"
#include "client.h"
#include "private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "usage: chord-gateway [--host H] [--port P] [--rpc-port R] [--slots K] [--data DIR]\n"
    "                     [--join HOST:PORT,...] [--api-token-file F] [--ring-key-file F]\n"
    "                     [--web-root DIR] [--exit-with-parent]\n"
    "Environment: HOST PORT RPC_PORT NUM_OF_NODES DATA_DIR JOIN API_TOKEN_FILE RING_KEY_FILE\n"
    "HOST_NAMES. A flag beats the environment. See gateway/README.md.\n";

struct raw_setting {
    const char *flag;
    const char *variable; /* NULL = flag only */
    const char *value;    /* NULL = not given */
    bool from_flag;
};

enum {
    RAW_HOST,
    RAW_PORT,
    RAW_RPC_PORT,
    RAW_SLOTS,
    RAW_DATA,
    RAW_JOIN,
    RAW_API_TOKEN_FILE,
    RAW_RING_KEY_FILE,
    RAW_WEB_ROOT,
    RAW_HOST_NAMES,
    RAW_COUNT,
};

static int raw_read(struct raw_setting *raw, struct settings *settings, int argc, char **argv,
                    char *error, size_t error_size) {
    for (int i = 0; i < RAW_COUNT; i++) {
        const char *value = raw[i].variable == NULL ? NULL : getenv(raw[i].variable);
        raw[i].value = value != NULL && value[0] != '\0' ? value : NULL;
    }
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            fputs(usage, stdout);
            return 1;
        }
        if (strcmp(argv[i], "--version") == 0) {
            puts("chord-gateway " CHORD_VERSION);
            return 1;
        }
        if (strcmp(argv[i], "--exit-with-parent") == 0) {
            settings->exit_with_parent = true;
            continue;
        }
        struct raw_setting *found = NULL;
        size_t size = strcspn(argv[i], "=");
        for (int k = 0; k < RAW_COUNT && found == NULL; k++) {
            if (strlen(raw[k].flag) == size && strncmp(raw[k].flag, argv[i], size) == 0) {
                found = &raw[k];
            }
        }
        if (found == NULL) {
            snprintf(error, error_size, "chord-gateway has no flag %s; see --help", argv[i]);
            return -1;
        }
        if (argv[i][size] == '=') {
            found->value = argv[i] + size + 1;
        } else if (i + 1 < argc) {
            found->value = argv[++i];
        } else {
            snprintf(error, error_size, "%s needs a value; see --help", argv[i]);
            return -1;
        }
        found->from_flag = true;
        if (found->value[0] == '\0') {
            found->value = NULL; /* given as empty: not given */
        }
    }
    return 0;
}

static const char *raw_name(const struct raw_setting *raw) {
    return raw->from_flag ? raw->flag : raw->variable;
}

static bool number_take(const struct raw_setting *raw, uint64_t min, uint64_t max, int otherwise,
                        int *number, char *error, size_t error_size) {
    uint64_t value = 0;
    *number = otherwise;
    if (raw->value != NULL && !number_read(raw->value, min, max, &value)) {
        snprintf(error, error_size, "%s is '%s' (%s); it must be a whole number from %llu to %llu",
                 raw_name(raw), raw->value, raw->from_flag ? "flag" : "environment",
                 (unsigned long long)min, (unsigned long long)max);
        return false;
    }
    *number = raw->value != NULL ? (int)value : otherwise;
    return true;
}

static bool text_copy(char *out, size_t size, const struct raw_setting *raw, const char *otherwise,
                      char *error, size_t error_size) {
    const char *value = raw->value == NULL ? otherwise : raw->value;
    if (strlen(value) >= size) {
        snprintf(error, error_size, "%s is longer than %zu bytes", raw_name(raw), size - 1);
        return false;
    }
    snprintf(out, size, "%s", value);
    return true;
}

/* Splits at commas into fixed slots; false = too many or too long. */
static bool list_read(const char *text, char *items, size_t item_size, size_t items_max,
                      size_t *count) {
    *count = 0;
    while (text != NULL && *text != '\0') {
        text += strspn(text, ", ");
        size_t size = strcspn(text, ", ");
        if (size == 0) {
            break;
        }
        if (size >= item_size || *count >= items_max) {
            return false;
        }
        memcpy(items + *count * item_size, text, size);
        items[*count * item_size + size] = '\0';
        (*count)++;
        text += size;
    }
    return true;
}

static bool join_read(struct settings *settings, const struct raw_setting *raw, char *error,
                      size_t error_size) {
    if (!list_read(raw->value, &settings->join[0][0], sizeof(settings->join[0]), SETTINGS_JOIN_MAX,
                   &settings->join_count)) {
        snprintf(error, error_size, "%s has more than %d addresses or one longer than %d bytes",
                 raw_name(raw), SETTINGS_JOIN_MAX, RPC_ADDRESS_BYTES_MAX);
        return false;
    }
    for (size_t i = 0; i < settings->join_count; i++) {
        if (!address_is_valid(settings->join[i])) {
            snprintf(error, error_size, "%s has '%s', which is not HOST:PORT", raw_name(raw),
                     settings->join[i]);
            return false;
        }
    }
    return true;
}

static bool key_read(struct settings *settings, const struct raw_setting *raw, char *error,
                     size_t error_size) {
    int result = raw->value == NULL ? 0 : rpc_key_read(&settings->ring_key, raw->value);
    if (result != 0) {
        snprintf(error, error_size, "%s: cannot use %s: %s", raw_name(raw), raw->value,
                 private_secret_error(result));
    }
    return result == 0;
}

static bool ports_fit(const struct settings *settings, char *error, size_t error_size) {
    if (settings->port + settings->slots > 65535 || settings->rpc_port + settings->slots > 65535) {
        snprintf(error, error_size,
                 "PORT %d and RPC_PORT %d leave no room for %d nodes below 65536", settings->port,
                 settings->rpc_port, settings->slots);
        return false;
    }
    if (settings->rpc_port + 1 <= settings->port + settings->slots &&
        settings->port <= settings->rpc_port + settings->slots && settings->slots > 0) {
        snprintf(error, error_size,
                 "RPC_PORT %d: the ports of the nodes and those of the pages (%d to %d) overlap",
                 settings->rpc_port, settings->port, settings->port + settings->slots);
        return false;
    }
    return true;
}

int settings_read(struct settings *settings, int argc, char **argv, char *error,
                  size_t error_size) {
    struct raw_setting raw[RAW_COUNT] = {
        [RAW_HOST] = {"--host", "HOST", NULL, false},
        [RAW_PORT] = {"--port", "PORT", NULL, false},
        [RAW_RPC_PORT] = {"--rpc-port", "RPC_PORT", NULL, false},
        [RAW_SLOTS] = {"--slots", "NUM_OF_NODES", NULL, false},
        [RAW_DATA] = {"--data", "DATA_DIR", NULL, false},
        [RAW_JOIN] = {"--join", "JOIN", NULL, false},
        [RAW_API_TOKEN_FILE] = {"--api-token-file", "API_TOKEN_FILE", NULL, false},
        [RAW_RING_KEY_FILE] = {"--ring-key-file", "RING_KEY_FILE", NULL, false},
        [RAW_WEB_ROOT] = {"--web-root", NULL, NULL, false},
        [RAW_HOST_NAMES] = {"--host-names", "HOST_NAMES", NULL, false},
    };
    memset(settings, 0, sizeof(*settings));
    int result = raw_read(raw, settings, argc, argv, error, error_size);
    if (result != 0) {
        return result;
    }
    bool ok = text_copy(settings->host, sizeof(settings->host) - 6, &raw[RAW_HOST], "127.0.0.1",
                        error, error_size) &&
              number_take(&raw[RAW_PORT], 1, 65535, 3000, &settings->port, error, error_size) &&
              number_take(&raw[RAW_RPC_PORT], 1, 65535, settings->port + 1000, &settings->rpc_port,
                          error, error_size) &&
              number_take(&raw[RAW_SLOTS], 0, SETTINGS_SLOTS_MAX, 0, &settings->slots, error,
                          error_size) &&
              text_copy(settings->data, sizeof(settings->data) - 64, &raw[RAW_DATA], "data", error,
                        error_size) &&
              text_copy(settings->web_root, sizeof(settings->web_root), &raw[RAW_WEB_ROOT], "",
                        error, error_size) &&
              join_read(settings, &raw[RAW_JOIN], error, error_size) &&
              text_copy(settings->api_token_file, sizeof(settings->api_token_file),
                        &raw[RAW_API_TOKEN_FILE], "", error, error_size) &&
              key_read(settings, &raw[RAW_RING_KEY_FILE], error, error_size) &&
              ports_fit(settings, error, error_size);
    if (ok && !list_read(raw[RAW_HOST_NAMES].value, &settings->names[0][0],
                         sizeof(settings->names[0]), SETTINGS_NAMES_MAX, &settings->names_count)) {
        snprintf(error, error_size, "HOST_NAMES has more than %d names", SETTINGS_NAMES_MAX);
        ok = false;
    }
    if (ok && !rpc_host_is_private(settings->host) &&
        (settings->api_token_file[0] == '\0' || settings->ring_key.bytes_count == 0)) {
        snprintf(error, error_size,
                 "HOST %s is neither loopback nor a Tailscale address, so others can reach it: set "
                 "API_TOKEN_FILE and RING_KEY_FILE, or HOST=127.0.0.1",
                 settings->host);
        ok = false;
    }
    if (ok && settings->api_token_file[0] != '\0') {
        char reason[256];
        settings->access = access_open(settings->api_token_file, reason, sizeof(reason));
        if (settings->access == NULL) {
            snprintf(error, error_size, "%s: %s", raw_name(&raw[RAW_API_TOKEN_FILE]), reason);
            ok = false;
        }
    }
    return ok ? 0 : -1;
}

/* SPDX-License-Identifier: MIT */
/*
 * What the gateway is told by flags and environment (a flag beats the environment), checked: a
 * wrong value stops the start with its name, the value, what is allowed and where it came from.
 */
#ifndef GATEWAY_SETTINGS_H
#define GATEWAY_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>

#include "access.h"
#include "rpc.h"

enum {
    SETTINGS_JOIN_MAX = 64,
    SETTINGS_NAMES_MAX = 24,
    SETTINGS_SLOTS_MAX = 1000,
    SETTINGS_PATH_SIZE = 4096,
    SETTINGS_ADDRESS_SIZE = RPC_ADDRESS_BYTES_MAX + 1,
};

struct settings {
    char host[SETTINGS_ADDRESS_SIZE];
    int port;
    int rpc_port; /* slot i is host:(rpc_port + i) */
    int slots;
    char data[SETTINGS_PATH_SIZE];
    char join[SETTINGS_JOIN_MAX][SETTINGS_ADDRESS_SIZE];
    size_t join_count;
    char names[SETTINGS_NAMES_MAX][256]; /* further names that a Host header may say */
    size_t names_count;
    char web_root[SETTINGS_PATH_SIZE];       /* empty = the embedded files */
    char api_token_file[SETTINGS_PATH_SIZE]; /* empty = none */
    struct access *access;                   /* what is in it; the caller closes it; or NULL */
    struct rpc_key ring_key;
    bool exit_with_parent;
};

/* 0; 1 = help or version was printed; -1 = `error` says what is wrong. */
int settings_read(struct settings *settings, int argc, char **argv, char *error, size_t error_size);

#endif

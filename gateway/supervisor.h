/* SPDX-License-Identifier: MIT */
/* Asks whoever started the nodes (init.py) to start one: a Unix socket in DATA_DIR. */
#ifndef GATEWAY_SUPERVISOR_H
#define GATEWAY_SUPERVISOR_H

#include <jansson.h>
#include <stddef.h>

#include "app.h"

/* Sends `command` (borrowed), gives the answer object; NULL = nobody there, `error` says so. */
json_t *supervisor_ask(const struct app *app, json_t *command, char *error, size_t error_size);

#endif

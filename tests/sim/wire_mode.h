/* SPDX-License-Identifier: MIT */
/*
 * Every message between nodes through the node's real encode and decode (node/wire.h): a field that
 * one of the two forgets, or bounds more tightly than the core does, changes the run's digest or
 * ends the run. What clients ask (BATCH, LOOKUP) is not made by `wire`, and passes as it is.
 */
#ifndef SIM_WIRE_MODE_H
#define SIM_WIRE_MODE_H

#include "core_host.h"

/* host_config.pass */
void wire_mode_pass(bool reply, void *message, struct core_row *rows, size_t rows_count,
                    unsigned m);

#endif

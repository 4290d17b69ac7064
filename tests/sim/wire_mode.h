/* SPDX-License-Identifier: MIT */
/*
 * Every message through the node's real encode and decode (node/wire.h), those of clients with
 * their operations and results too: a field that is forgotten, or bounded more tightly than the
 * core does, changes the run's digest or ends the run. A LOOKUP's request passes as it is: it
 * carries a key, and the simulator asks for ids.
 */
#ifndef SIM_WIRE_MODE_H
#define SIM_WIRE_MODE_H

#include "core_host.h"

/* host_config.pass */
void wire_mode_pass(bool reply, const struct host_cargo *cargo, unsigned m);

#endif

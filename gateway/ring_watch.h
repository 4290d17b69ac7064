/* SPDX-License-Identifier: MIT */
/* The client of the ring (proto/clients/c), told by the gateway's view who is there. */
#ifndef GATEWAY_RING_WATCH_H
#define GATEWAY_RING_WATCH_H

#include "app.h"

/* Opens app->ring; app->view is there. false = no memory. */
bool ring_watch_open(struct app *app);

#endif

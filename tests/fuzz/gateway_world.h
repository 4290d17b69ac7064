/* SPDX-License-Identifier: MIT */
/*
 * What lies around the gateway's handlers, played by dice: the connection on one side, the view of
 * the ring, the client of the ring and the gateway's own memory on the other. It aborts with a
 * sentence where a handler asks for what its neighbours do not promise to take, or answers what
 * HTTP does not allow.
 */
#ifndef FUZZ_GATEWAY_WORLD_H
#define FUZZ_GATEWAY_WORLD_H

#include "bytes.h"

#include "app.h"
#include "http_head.h"

/* One request through the routes. `dice` decide what the ring says, `body` is what comes behind the
 * head. */
void world_request(struct app *app, const struct http_head *head, struct bytes dice,
                   struct bytes body);
/* Says what is wrong and aborts. */
void world_must(bool condition, const char *what);

#endif

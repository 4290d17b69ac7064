/* The walk over all keys (proto/clients/c/key_walk.h), told by the gateway's view of the ring. */
#ifndef GATEWAY_WALK_H
#define GATEWAY_WALK_H

#include "app.h"
#include "key_walk.h"

void walk_start(struct key_walk *walk, struct app *app, bool values);
/* Takes up where a cursor (hash, key) ended. false: the ring is not known now, or no memory. */
bool walk_resume(struct key_walk *walk, struct app *app, const uint8_t *hash, const uint8_t *key,
                 size_t key_size);

#endif

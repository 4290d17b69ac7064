/* Which node to ask for a key; shared by kv.c, lookup.c and the import. */
#ifndef GATEWAY_KV_TARGET_H
#define GATEWAY_KV_TARGET_H

#include "app.h"
#include "chord/v1/kv.pb-c.h"
#include "ids.h"

/* The leader by the cached hint on the first attempt, then living members in turn. `id` may be
 * NULL. Empty: no node answers. */
void kv_target_find(struct app *app, const struct ring_id *id, unsigned attempt,
                    char address[SETTINGS_ADDRESS_SIZE]);
void kv_hint_keep(struct app *app, const Chord__V1__OwnerHint *hint);
/* Whether the same operation may succeed a little later. */
bool kv_code_again(Chord__V1__Code code);

#endif

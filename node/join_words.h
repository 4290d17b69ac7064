/* SPDX-License-Identifier: MIT */
/*
 * Says within seconds, by the seed's name, why a join cannot work: an unknown name, a port that is
 * no node's, another ring key, another ring. Only words for people: the core goes on trying, since
 * a seed may be mended or start later.
 */
#ifndef NODE_JOIN_WORDS_H
#define NODE_JOIN_WORDS_H

#include "node.h"

/* Looks at each seed once, on a thread of its own. */
void join_words_start(const struct settings *settings);
/* An answer that is a refusal. Of each seed it is told once. */
void join_words_reply(struct node *node, const struct call_context *context,
                      const struct rpc_reply *reply);

#endif

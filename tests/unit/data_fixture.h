/* SPDX-License-Identifier: MIT */
/*
 * What the tests of keys on core_host share: rings, clients, looking at copies. After every step a
 * checker looks for two views of one key and one epoch.
 */
#ifndef DATA_FIXTURE_H
#define DATA_FIXTURE_H

#include "checks.h"
#include "core_seeds.h"

enum { M = 16, KEYS = 60, CLIENTS = 16, FORGET_MS = 2000 };

extern char double_view[200]; /* the first that the checker saw */

/* host_config.on_step */
void find_double_view(void *context, struct host *host, int node);

const struct chord_view *serving(struct host *host, int node, uint16_t *at);
/* A settled ring of `count`; its seed, M and checker come from here. */
struct host *ring_of(struct host_config config, int count);
struct host *ring_new(unsigned n, unsigned replicas, int count);
void ring_free(struct host *host);
struct host_operation make(enum chord_operation_kind kind, unsigned key, unsigned value);
/* A node that takes requests: one that joins, or has left, answers UNAVAILABLE at once. */
bool serves(struct host *host, int node);
int live_node(struct host *host);
void wait_for(struct host *host, const struct host_call *call);
struct host_call *one(struct host *host, int node, enum chord_operation_kind kind, unsigned key,
                      unsigned value, uint32_t timeout_ms);
void put_all(struct host *host, unsigned value);
/* Every key through every live node; `patient`: after a failure reads may have to be asked again.
 */
void check_reads(struct host *host, unsigned value, bool patient);
void check_all(struct host *host, unsigned value);
/* Asked again until somebody knows; a write may then have happened more than once. */
struct host_call *insist(struct host *host, enum chord_operation_kind kind, unsigned key,
                         unsigned value);
/* The view by which a node leads a key; NULL: it does not. */
const struct chord_view *view_led(struct host *host, int node, unsigned key);
/* Who leads a key, and where its copies are on disk. */
const struct chord_view *view_of(struct host *host, unsigned key, int *leader);
unsigned copies_of(struct host *host, const struct host_operation *written);
/* All members of each served range hold the same rows. */
bool copies_equal(struct host *host);
bool whole(struct host *host);
struct host_call *run_one(struct host *host, int node, struct host_operation operation);
void leave(struct host *host, int node);

#endif

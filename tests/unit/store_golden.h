/* SPDX-License-Identifier: MIT */
/*
 * The content of the golden databases, tests/unit/golden/schema-N.db: one of each kind of thing
 * that a store keeps. Written once by the program of that schema, then only read.
 */
#ifndef STORE_GOLDEN_H
#define STORE_GOLDEN_H

#include "store_fixture.h"

/* Into an open, empty store. */
void golden_write(struct fixture *fixture);
/* The open store has exactly this. */
void golden_check(struct fixture *fixture);
/* As a disk would: one row of the closed file is another than its checksum says. */
void golden_spoil(const struct fixture *fixture);
/* The committed file of a schema into the empty folder. */
void golden_copy(const struct fixture *fixture, int schema);
/* PRAGMA user_version of a closed database. */
int golden_schema(const struct fixture *fixture, const char *name);

#endif

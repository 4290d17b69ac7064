/* SPDX-License-Identifier: MIT */
/*
 * What the process must be allowed to have before it starts: threads with their stacks, files. A
 * library that gets them only in part hangs or crashes where nobody can tell why.
 */
#ifndef PROTO_RESOURCES_H
#define PROTO_RESOURCES_H

#include <stdbool.h>
#include <stddef.h>

/* Takes as many files as are allowed, and small stacks for all threads that come. False: `reason`
 * says in one sentence what is short and how to raise it. Before the first thread. */
bool resources_suffice(char *reason, size_t reason_bytes);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Wrong secrets, by the address that they come from: counted, told in the log, and slowed after the
 * first few. The right one is never held up, so nobody is shut out by others that guess from the
 * same address, such as a proxy's. Thread safe.
 */
#ifndef GATEWAY_GUESSES_H
#define GATEWAY_GUESSES_H

#include <stdbool.h>

enum { GUESS_HOLD_MS = 1000 }; /* what one waits that is not answered at once */

struct guesses;

struct guesses *guesses_new(void); /* NULL = no memory */
void guesses_free(struct guesses *guesses);
/* A wrong one came from this address; whether it is answered at once. */
bool guesses_wrong(struct guesses *guesses, const char *peer);

#endif

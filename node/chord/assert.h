/* SPDX-License-Identifier: MIT */
/*
 * The core's assertion: for our own bugs, on in every build. Bytes from outside never reach one.
 */
#ifndef CHORD_ASSERT_H
#define CHORD_ASSERT_H

/* The host provides it; it must not return. */
_Noreturn void chord_assert_failed(const char *file, int line, const char *condition);

#define CHORD_ASSERT(condition)                                                                    \
    ((condition) ? (void)0 : chord_assert_failed(__FILE__, __LINE__, #condition))

#endif

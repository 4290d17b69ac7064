/* SPDX-License-Identifier: MIT */
/*
 * Texts with places for a key and a value: @KEY@, @VALUE@, and both in base64 as @KEY64@,
 * @VALUE64@.
 */
#ifndef BENCH_TEMPLATE_H
#define BENCH_TEMPLATE_H

#include <stddef.h>

struct text {
    char *bytes; /* the owner frees them */
    size_t count, room;
};

/* Ends the program when there is no memory. */
void text_add(struct text *text, const void *bytes, size_t count);
void text_expand(struct text *text, const char *template, const char *key, const char *value,
                 size_t value_bytes);

#endif

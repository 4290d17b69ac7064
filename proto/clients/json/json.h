/* SPDX-License-Identifier: MIT */
/* Small helpers over jansson: everything that comes from outside becomes valid JSON text. */
#ifndef CHORD_JSON_H
#define CHORD_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What is not UTF-8 becomes '?'; null for NULL. */
json_t *json_text(const char *text);
/* Bytes as text, or null when they are no UTF-8 or have a NUL. */
json_t *json_text_or_null(const void *data, size_t size);
json_t *json_base64(const void *data, size_t size);
json_t *json_u64(uint64_t value);
/* Sets and takes the value; drops it when the object is NULL. */
void json_put(json_t *object, const char *name, json_t *value);
/* The text of a string member, or NULL. */
const char *json_get_text(const json_t *object, const char *name);

#endif

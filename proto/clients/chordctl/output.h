/* SPDX-License-Identifier: MIT */
/* Tables for people, JSON for scripts. Everything that came from outside is escaped here. */
#ifndef CHORDCTL_OUTPUT_H
#define CHORDCTL_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "status_json.h"

struct table;

/* Column names separated by blanks; a leading '>' aligns the column to the right. */
struct table *table_new(const char *columns);
/* One cell after the other, row by row; escaped. */
void table_cell(struct table *table, const void *data, size_t size);
void table_text(struct table *table, const char *text);
void table_number(struct table *table, uint64_t number);
/* For the pages after the first. */
void table_drop_head(struct table *table);
/* Prints to stdout and frees. */
void table_print(struct table *table);

/* "name  value" lines. */
void fact_print(const char *name, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A line on stdout, escaped. */
void line_print(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Sets `name` when the bytes are UTF-8, else `name`_base64. */
void json_put_bytes(json_t *object, const char *name, const void *data, size_t size);
/* What every form of a node's status has; a ring's parameters into an object. */
json_t *status_json_base(const Chord__V1__StatusResponse *status);
void parameters_json(json_t *object, const Chord__V1__RingParameters *parameters);
unsigned status_m(const Chord__V1__StatusResponse *status);
/* One document on a line of its own, to stdout; frees it. */
void json_print(json_t *json);

/* Writes out what is left; false = stdout did not take everything. */
bool output_close(void);

#endif

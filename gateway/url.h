/* SPDX-License-Identifier: MIT */
/*
 * Percent-decoding, query strings and the Host and Origin rules. Text only: no connections.
 */
#ifndef GATEWAY_URL_H
#define GATEWAY_URL_H

#include <stdbool.h>
#include <stddef.h>

#include "buf.h"

/* Appends the decoded bytes; `plus` turns + into a space (forms and queries). False: a % without
 * two hex digits, or no memory. */
bool url_decode(struct buf *out, const char *text, size_t size, bool plus);
/* The decoded value of a query or form parameter, terminated, in `out`. False when absent or
 * malformed; `*malformed` (may be NULL) tells which. */
bool url_parameter(const char *query, const char *name, struct buf *out, bool *malformed);
/* The same into a fixed buffer; false too when it does not fit. */
bool url_parameter_text(const char *query, const char *name, char *out, size_t out_size);
/* A whole number in [min, max]; absent = `otherwise`. False: present and wrong. */
bool url_parameter_number(const char *query, const char *name, uint64_t min, uint64_t max,
                          uint64_t otherwise, uint64_t *value);

/* Whether the name in a Host header ("name", "name:port") is one of the names (no ports). */
bool url_host_allowed(const char *host, const char *const *names, size_t names_count);
/* Whether an Origin ("http://name:port") is the origin that the Host header names. */
bool url_origin_is_host(const char *origin, const char *host);

#endif

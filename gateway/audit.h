/* SPDX-License-Identifier: MIT */
/*
 * DATA_DIR/audit.log: who changed the ring, and who was not let. One line for each change that
 * needs an operator or was made by one:
 *
 *     2026-11-23T06:46:41.123Z alice operator 100.64.0.7 POST :3001/kys 202
 *
 * time, name of the token (- for nobody), its role, client's address, method, port and path,
 * status. Never a token, and nothing of a query or body.
 */
#ifndef GATEWAY_AUDIT_H
#define GATEWAY_AUDIT_H

#include "http.h"

struct audit;

struct audit *audit_new(const char *folder); /* NULL = no memory */
void audit_free(struct audit *audit);        /* accepts NULL */
/* An http_handler_fn for what was answered; the context is the app. */
void audit_answered(void *context, struct http_request *request);

#endif

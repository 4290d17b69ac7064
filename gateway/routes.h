/* SPDX-License-Identifier: MIT */
/* Which handler answers which method and path: one table. */
#ifndef GATEWAY_ROUTES_H
#define GATEWAY_ROUTES_H

#include "app.h"
#include "buf.h"
#include "http.h"

/* `argument`: what stands for {} in the pattern, percent-decoded and terminated; empty without. */
typedef void route_fn(struct app *app, struct http_request *request, const struct buf *argument);

/* An http_handler_fn; the context is the app. */
void routes_handle(void *context, struct http_request *request);
/* What is special about a path; enum http_traits. */
unsigned routes_traits(const char *path);

/* The handlers, by file. nodes.c (leave, join and kill without an argument: the node of the port):
 */
route_fn ring_get, nodes_get, node_get, node_logs, node_leave, node_join, node_start, node_kill;
route_fn self_get, livez_get, readyz_get, version_get;
/* login.c */
route_fn session_post, session_delete;
/* keys.c */
route_fn node_keys, data_get;
/* kv.c */
route_fn kv_get, kv_put, kv_delete, lookup_get, lookup_plain;
/* import.c, operations.c, export.c */
route_fn import_post, upload_post, operation_get, operation_delete, export_get;
/* events */
route_fn events_get;

#endif

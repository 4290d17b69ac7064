/* SPDX-License-Identifier: MIT */
/* A node as the tests of the client library need it: it serves Batch as the test says. */
#ifndef CLIENT_SERVER_H
#define CLIENT_SERVER_H

#include "chord/v1/kv.pb-c.h"
#include "rpc.h"

/* On a thread of the RPC runtime; ends with rpc_call_reply on the call, then or later. */
typedef void client_server_batch_fn(const Chord__V1__BatchRequest *request, void *call);

/* On a free port of loopback, which is written to `address`. 0, or a negative errno. */
int client_server_open(struct rpc_server **server, char address[64], client_server_batch_fn *batch,
                       size_t calls_max);

#endif

/* SPDX-License-Identifier: MIT */
/* A node's answer code as an HTTP problem. */
#ifndef GATEWAY_PROBLEM_H
#define GATEWAY_PROBLEM_H

#include "chord_client.h"
#include "http.h"
#include "rpc.h"

/* 404 for NOT_FOUND, 503 for UNAVAILABLE, ... `message` NULL = a sentence of our own. */
void problem_code(struct http_request *request, Chord__V1__Code code, const char *message,
                  uint32_t retry_after_ms);
/* A node did not do what it was asked. */
void problem_answer(struct http_request *request, const struct chord_answer *answer);

#endif

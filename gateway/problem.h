/* A node's answer code as an HTTP problem. */
#ifndef GATEWAY_PROBLEM_H
#define GATEWAY_PROBLEM_H

#include "http.h"
#include "rpc.h"

/* 404 for NOT_FOUND, 503 for UNAVAILABLE, ... */
int problem_status(Chord__V1__Code code);
/* `message` NULL = a sentence of our own. */
void problem_code(struct http_request *request, Chord__V1__Code code, const char *message,
                  uint32_t retry_after_ms);

#endif

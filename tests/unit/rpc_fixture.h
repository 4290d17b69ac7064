/* SPDX-License-Identifier: MIT */
/*
 * A server with known answers and a client, for the tests of the RPC runtime. Also a bare TCP
 * socket that speaks SP framing by hand, so that the wire is tested against its description and not
 * against itself.
 */
#ifndef CHORD_TEST_RPC_FIXTURE_H
#define CHORD_TEST_RPC_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>

#include "chord/v1/admin.pb-c.h"
#include "chord/v1/kv.pb-c.h"
#include "chord/v1/meta.pb-c.h"
#include "chord/v1/replica.pb-c.h"
#include "chord/v1/ring.pb-c.h"
#include "rpc.h"

/* Get answers with the key as value; a key that begins with "hold" waits for fixture_release. Batch
 * answers with the number of operations in hops. Ping answers. FindSuccessor answers through
 * protobuf-c's closure. Logs answers more than a message may hold. */
struct fixture {
    char address[RPC_ADDRESS_BYTES_MAX + 1];
    int port;
    struct rpc_server *server;
    struct rpc_client *client;
};

/* Each call takes the next free port of the tests' own. */
void fixture_open(struct fixture *fixture, size_t data_calls_max, const char *key_text);
void fixture_server_open(struct fixture *fixture, size_t data_calls_max, const char *key_text);
void fixture_close(struct fixture *fixture);
struct rpc_key fixture_key(const char *text); /* NULL = none */
int fixture_port(void);

/* Waits until so many Get calls are held. */
void fixture_wait_held(size_t count);
/* Answers all held calls. */
void fixture_release(void);
/* The disconnects that clients of fixture_open were told of. */
void fixture_wait_disconnects(size_t count);

struct rpc_reply fixture_get(const struct fixture *fixture, const char *key, uint32_t timeout_ms);
struct rpc_reply fixture_ping(const struct fixture *fixture, uint32_t timeout_ms);

/* Calls that are answered later. */
struct tally {
    size_t answered;
    size_t ok;
    size_t exhausted;
    size_t disconnected;
    size_t wrong; /* the value is not the key */
    Chord__V1__Code last_code;
};
void tally_get(const struct fixture *fixture, struct tally *tally, const char *key,
               uint32_t timeout_ms);
void tally_wait(struct tally *tally, size_t answered);

/* Bare sockets. All fail the test on an I/O error or after 5 s. */
int raw_connect(int port);
void raw_handshake(int fd);
void raw_send(int fd, const void *bytes, size_t count);
void raw_send_message(int fd, uint32_t sp_id, const void *body, size_t count);
/* The body behind the SP id into body; its length. */
size_t raw_receive_message(int fd, uint32_t *sp_id, uint8_t *body, size_t body_max);
bool raw_is_closed(int fd); /* waits for the other side to hang up */
/* Sends one envelope's bytes and returns the answer; chord__v1__rpc_response__free_unpacked. */
Chord__V1__RpcResponse *raw_ask(int fd, const void *envelope, size_t count);
/* Sends one envelope's bytes and returns the code of the answer. */
Chord__V1__Code raw_call(int fd, const void *envelope, size_t count);
int raw_listen(int port);

#endif

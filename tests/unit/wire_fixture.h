/* SPDX-License-Identifier: MIT */
/*
 * Core messages of every kind, drawn at random and often at their bounds, for the tests of the wire
 * forms. A failure prints the seed; CHORD_TEST_SEED=n replays it.
 */
#ifndef CHORD_TEST_WIRE_FIXTURE_H
#define CHORD_TEST_WIRE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire.h"
#include "wire_walk.h"

enum { KINDS = CHORD_CHECK, ROWS_MAX = 5 };

/* What messages point to; empty again after each test. */
extern struct arena arena;

/* Says how to replay `program`. False: no hash function. End with hash_close. */
bool wire_fixture_open(const char *program);
int wire_setup(void **state);
int wire_teardown(void **state);
#define TEST(name) cmocka_unit_test_setup_teardown(name, wire_setup, wire_teardown)

uint64_t dice(uint64_t sides); /* 0 to sides - 1 */
/* Any part of a message, as its table says; zeroed before. */
void some_part(const struct wire_table *table, void *core, unsigned m);
void some_request(struct chord_request *request, enum chord_message_kind kind, unsigned m);
/* Up to ROWS_MAX; how many. */
size_t some_rows(struct store_row *rows);
void some_response(struct chord_response *response, enum chord_message_kind kind, unsigned m,
                   const struct store_row *rows, size_t rows_count);

bool has_request(enum chord_message_kind kind);
bool has_response(enum chord_message_kind kind);
/* In the arena. */
uint8_t *pack(const ProtobufCMessage *message, size_t *bytes);

#endif

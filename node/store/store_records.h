/* SPDX-License-Identifier: MIT */
/*
 * What the store keeps beside its rows, as bytes: little-endian, field after field, whatever the
 * compiler lays out (FORMAT.md has the list). A record begins with its version and ends with the
 * XXH3-64 of all before. Pure.
 */
#ifndef NODE_STORE_RECORDS_H
#define NODE_STORE_RECORDS_H

#include "store.h"

/* Where a database file was made and last ran (store_place.c). Texts end with a zero. */
struct store_place {
    char machine[40]; /* the first line of /etc/machine-id; "" = there is none */
    uint64_t inode;
    uint64_t birth_ns; /* since 1970; 0 = the file system does not know */
    char host[64], path[1024], address[CHORD_ADDRESS_BYTES]; /* for people */
};

struct store_id {
    uint8_t bytes[CHORD_STORE_ID_BYTES];
};

/* The values are on disk. */
enum record_kind {
    RECORD_STORE_ID = 1, /* struct store_id */
    RECORD_IDENTITY,     /* struct chord_identity */
    RECORD_PLACE,        /* struct store_place */
    RECORD_FORMER,       /* struct store_former */
    RECORD_VIEW,         /* struct chord_stored_view */
    RECORD_KINDS_END,
};

enum {
    RECORD_BYTES_MAX = 8192,
    RECORD_VERSION = 1, /* of every kind so far */
};

enum record_error {
    RECORD_OK = 0,
    RECORD_NEWER = -1,   /* sound, but of a version that this program does not know */
    RECORD_DAMAGED = -2, /* its checksum does not match, or a field is out of its bounds */
};

const char *record_name(enum record_kind kind);
size_t record_value_bytes(enum record_kind kind); /* sizeof the struct */
/* `value` is the struct of the kind, within its bounds. Returns the record's length. */
size_t record_encode(enum record_kind kind, const void *value, uint8_t bytes[RECORD_BYTES_MAX]);
/* Fills `*value` whole, also what the record says nothing of; zeroed unless RECORD_OK. */
enum record_error record_decode(enum record_kind kind, void *value, const uint8_t *bytes,
                                size_t count);

#endif

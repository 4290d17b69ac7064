/* SPDX-License-Identifier: MIT */
/*
 * gateway.db: the gateway's own memory in SQLite: members it has seen, its last events, import
 * records. No keys of the ring are in it. One connection behind one lock; a failing disk costs
 * history, never service.
 */
#ifndef GATEWAY_DB_H
#define GATEWAY_DB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    DB_EVENTS_MAX = 10000,
    DB_OPERATIONS_MAX = 1000,
    DB_MEMBERS_MAX = 4096,
};

struct db;

/* 0, or negative errno with a sentence. A file that is no database is moved aside. */
int db_open(struct db **db, const char *folder, char *error, size_t error_size);
void db_close(struct db *db); /* accepts NULL */
/* To be called now and then. Where gateway.db was removed, renamed or replaced, what is under its
 * name now is opened, or made as long as the folder is there. true: it was, and what is known now
 * should be saved again. */
bool db_follow(struct db *db);

void db_member_save(struct db *db, const char *address, const char *id);
void db_member_forget(struct db *db, const char *address);
void db_members_read(struct db *db,
                     void (*each)(void *context, const char *address, const char *id),
                     void *context);

/* The 16 bytes of the ring that the members are of. False: none was saved. */
bool db_ring_read(struct db *db, uint8_t ring_id[16]);
void db_ring_save(struct db *db, const uint8_t ring_id[16]);

void db_event_save(struct db *db, uint64_t sequence, uint64_t time_ms, const char *type,
                   const char *data);
uint64_t db_event_sequence(struct db *db); /* the newest, 0 = none */
/* The newest `limit` events after `after`, oldest first. */
void db_events_read(struct db *db, uint64_t after, unsigned limit,
                    void (*each)(void *context, uint64_t sequence, const char *type,
                                 const char *data),
                    void *context);

void db_operation_save(struct db *db, const char *id, const char *json);
char *db_operation_read(struct db *db, const char *id); /* free() it; NULL = not there */

#endif

/* SPDX-License-Identifier: MIT */
/*
 * libchord-client: reads and writes of the keys of a Chord ring, from C.
 *
 * Each operation is sent again, also to other members, until its outcome is known or its time is
 * over, and takes effect at most once. Its `fate` says what became of it. Any number of operations
 * may be under way at the same time; small ones that wait for the same leader travel together, as
 * one request.
 *
 * Thread safe, except where it says otherwise. Never fork after chord_client_open.
 */
#ifndef CHORD_CLIENT_H
#define CHORD_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct chord_client;

enum {
    CHORD_KEY_BYTES_MAX = 1024, /* a key has at least 1 byte */
    CHORD_VALUE_BYTES_MAX = 1024 * 1024,
    CHORD_ADDRESS_SIZE = 64, /* "host:port" and its end */
    CHORD_ID_SIZE = 41,      /* an id as lower-case hex, and its end */
    CHORD_MISSING_MAX = 4,
};

/* What became of an operation. */
enum chord_fate {
    CHORD_DONE,       /* carried out, or read; code is OK or NOT_FOUND */
    CHORD_NOT_DONE,   /* certainly not carried out */
    CHORD_MAYBE_DONE, /* a change may have been carried out, or still may be: seconds later, and
                         after newer changes of the key, unless it has a condition */
};

/* Why: the numbers of google.rpc.Code, and this protocol's own (chord/v1/envelope.proto). Others
 * may come. */
enum chord_code {
    CHORD_CODE_OK = 0,
    CHORD_CODE_UNKNOWN = 2,
    CHORD_CODE_INVALID_ARGUMENT = 3,
    CHORD_CODE_DEADLINE_EXCEEDED = 4,
    CHORD_CODE_NOT_FOUND = 5,
    CHORD_CODE_RESOURCE_EXHAUSTED = 8,
    CHORD_CODE_FAILED_PRECONDITION = 9,
    CHORD_CODE_INTERNAL = 13,
    CHORD_CODE_UNAVAILABLE = 14,
    CHORD_CODE_DATA_LOSS = 15,
    CHORD_CODE_UNAUTHENTICATED = 16,
};
const char *chord_code_text(int code); /* "NOT_FOUND" */

/* ---- the client ---- */

struct chord_client_options {
    const char *members;       /* of the ring, "host:port", several with commas; one is enough */
    const char *ring_key_file; /* NULL: the ring has no key */
    uint32_t timeout_ms;       /* of an operation that names none; 0 = 8000 */
    uint32_t attempt_ms;       /* how long one member is waited for; 0 = 2000 */
};

/* How a request that is no operation on a key ended. */
struct chord_answer {
    enum chord_fate fate;
    int code;      /* chord_code; OK: it was carried out */
    bool nobody;   /* no member was there to be asked */
    bool answered; /* the node said so; else it was not reached, or said nothing */
    uint32_t retry_after_ms;
    char address[CHORD_ADDRESS_SIZE]; /* who was asked last */
    char message[200];                /* what went wrong, one sentence; may be empty */
};

/* 0, or a negative errno with a sentence in `error`. It belongs to the ring of the first member
 * that answers. */
int chord_client_open(struct chord_client **client, const struct chord_client_options *options,
                      char *error, size_t error_size);
/* From now on no operation is tried again: those under way end soon. */
void chord_client_stop(struct chord_client *client);
/* Ends what is under way; all callbacks have run when it returns. Accepts NULL. */
void chord_client_close(struct chord_client *client);

/* ---- operations ---- */

struct chord_version {
    uint64_t epoch, counter; /* both 0: none */
};

enum chord_kind { CHORD_GET, CHORD_PUT, CHORD_DELETE };

struct chord_operation {
    enum chord_kind kind;
    const void *key;
    size_t key_size;
    const void *value; /* of a put */
    size_t value_size;
    uint64_t expires_at_ms;       /* of a put: unix time; 0 = never */
    bool stale;                   /* of a get: any member's value at once, even an old one */
    bool if_absent;               /* of a change: only if the key has no value */
    bool if_match;                /* of a change: only if it has this version */
    struct chord_version version; /* ... for if_match */
    uint32_t timeout_ms;          /* 0 = the client's */
};

struct chord_result {
    enum chord_fate fate;
    int code;                     /* chord_code */
    struct chord_version version; /* of the value, or of the one that stood in the way */
    bool existed;                 /* a change: the key had a value before */
    bool stale;                   /* a get: the value may be old */
    bool repeated;                /* done, perhaps by an attempt before the last one: of a deletion
                                     NOT_FOUND may be its own work */
    bool nobody;                  /* no member was there to be asked */
    bool answered;                /* the last attempt had an answer */
    bool full;                    /* no member that answers has room on its disk */
    const uint8_t *value;         /* of a get; lives until chord_result_free */
    size_t value_size;
    uint64_t expires_at_ms; /* 0 = never */
    uint32_t retry_after_ms;
    /* Members that it went through, of all attempts. 1: straight to the leader, as ranges that were
     * heard of before go. */
    uint32_t hops;
    char address[CHORD_ADDRESS_SIZE]; /* who was asked last */
    char message[200];                /* what went wrong, one sentence; may be empty */
    /* Too few copies of the key answer, these are missing. */
    char missing[CHORD_MISSING_MAX][CHORD_ADDRESS_SIZE];
    size_t missing_count;
    void *owner; /* of the value */
};
/* The struct itself is the caller's. */
void chord_result_free(struct chord_result *result);

/* Runs once, on a thread of the client or, where nothing can be sent, inside chord_start, and must
 * only hand on; the callee frees the result. */
typedef void chord_done_fn(void *context, struct chord_result *result);

/* Returns at once. Key and value must live until `done` has run. */
void chord_start(struct chord_client *client, const struct chord_operation *operation,
                 chord_done_fn *done, void *context);
/* Several operations at the same time, until each has its result. Not from a callback. They are
 * concurrent: of two writes of one key either may be the last. */
void chord_run(struct chord_client *client, const struct chord_operation *operations, size_t count,
               struct chord_result *results);

/* One operation, waiting; the key is a text. Free the result. */
enum chord_fate chord_get(struct chord_client *client, const char *key,
                          struct chord_result *result);
enum chord_fate chord_put(struct chord_client *client, const char *key, const void *value,
                          size_t value_size, struct chord_result *result);
enum chord_fate chord_delete(struct chord_client *client, const char *key,
                             struct chord_result *result);

/* ---- lookup: who owns a key, and the way over the ring to it; reads no value ---- */

struct chord_peer {
    char id[CHORD_ID_SIZE]; /* empty: not told */
    char address[CHORD_ADDRESS_SIZE];
};

struct chord_hop {
    struct chord_peer node; /* who was asked; the first is the member that was called */
    uint64_t microseconds;  /* until its answer */
};

struct chord_lookup {
    struct chord_answer answer;
    char key_id[CHORD_ID_SIZE];
    struct chord_peer owner;
    struct chord_hop *hops; /* until chord_lookup_free */
    size_t hops_count;
};

/* From the member `from`, or any when it is NULL; waits. false: the answer says why.
 * Free the lookup in either case. `timeout_ms` 0 = the client's. */
bool chord_lookup(struct chord_client *client, const void *key, size_t key_size, const char *from,
                  uint32_t timeout_ms, struct chord_lookup *lookup);
void chord_lookup_free(struct chord_lookup *lookup);

/* ---- the ring: its nodes, and whether it is as it should be ---- */

struct chord_ring_node {
    struct chord_peer node;
    const char *state; /* "joining", "member", "leaving", "left", "down" (it does not answer) */
    bool member;       /* member or leaving */
    uint64_t keys;     /* that it leads */
};

struct chord_ring {
    bool ideal;     /* every list is right, every key has a leader, every range its copies */
    char text[500]; /* why, or why not: one sentence */
    size_t members;
    unsigned survives_failures;    /* so many members may be lost at the same time */
    uint64_t keys, keys_lost;      /* all; those in ranges that have lost their majority */
    struct chord_ring_node *nodes; /* by id; until chord_ring_free */
    size_t nodes_count;
};

/* Asks every node that any other one names; takes seconds where some do not answer. false: no node
 * answers, `text` says why. Free it in either case. */
bool chord_ring_look(struct chord_client *client, struct chord_ring *ring);
void chord_ring_free(struct chord_ring *ring);

/* ---- what a node is told to do ---- */

enum chord_command_kind {
    CHORD_LEAVE,   /* hand over, be out of the ring; it answers at once and goes on */
    CHORD_JOIN,    /* come back, or go to another ring; likewise */
    CHORD_KILL,    /* end at once, nothing handed over */
    CHORD_RECOVER, /* a range goes on with the copies that are left: writes may be missing then */
};

struct chord_ring_name {
    uint8_t id[16];
    uint32_t m, n, replicas;
};

struct chord_command {
    enum chord_command_kind kind;
    const char *node; /* "host:port" */
    /* Of a join: members to go through; none: those that it knows. At most 64. */
    const char *const *seeds;
    size_t seeds_count;
    /* Another ring than before, whose members the seeds are: of a leave, it goes there at once. */
    const struct chord_ring_name *ring;
    bool last;          /* of a leave: also as the last member; it keeps its rows and serves none */
    bool drop_rows;     /* of a join: what a last member has kept is in the other ring */
    bool another_place; /* of a join: with another id, where a new member would stand now */
    const char *id; /* in hex. Of a kill: the node's; of a recovery: the last one of the range, */
    const char *lo; /* the one before its first, */
    uint64_t epoch; /* and of the view that the caller has seen */
    uint32_t timeout_ms; /* 0 = the client's */
};

struct chord_told {
    struct chord_answer answer;
    char warning[300]; /* of a leave: what it costs; empty = nothing */
    uint64_t epoch;    /* of a recovery: of the view that holds the range now, */
    size_t copies;     /* and of how many copies */
};

/* Sent once, and waits. false: the answer says why. */
bool chord_tell(struct chord_client *client, const struct chord_command *command,
                struct chord_told *told);

/* ---- all keys of the ring, in the order of their hashes ---- */

struct chord_walk;

struct chord_row {
    const uint8_t *key, *value; /* until the next chord_walk_next; without values: NULL */
    size_t key_size, value_size;
    uint64_t expires_at_ms; /* 0 = never */
    const uint8_t *hash;    /* the 20 bytes by which the rows are ordered */
    struct chord_version version;
};

struct chord_page {
    const struct chord_row *rows;
    size_t count; /* may be 0 before `done` */
    bool done;    /* it was the last page */
    bool nobody;  /* after a failure: no node answers */
};

/* Keys that begin with the prefix; an empty one: all. NULL: no memory. For one thread at a time. */
struct chord_walk *chord_walk_new(struct chord_client *client, const void *prefix,
                                  size_t prefix_size, bool values);
void chord_walk_free(struct chord_walk *walk); /* accepts NULL */
/* The next page, of at most `limit` rows (1 to 10000). What is there all the time comes exactly
 * once, also while nodes join, leave and fail. false: `error` says why; the same call may go on
 * later. */
bool chord_walk_next(struct chord_walk *walk, uint32_t limit, struct chord_page *page, char *error,
                     size_t error_size);

/* A place between two rows. */
struct chord_cursor {
    uint8_t hash[20];
    const uint8_t *key; /* a walk's own: until it goes on */
    size_t key_size;
};
/* Where the walk is, after a page; and takes it up there, in another walk or later. false: nobody
 * tells of the ring, or no memory. */
struct chord_cursor chord_walk_cursor(const struct chord_walk *walk);
bool chord_walk_seek(struct chord_walk *walk, const struct chord_cursor *cursor);

/* ---- bulk load: many puts; a window at a time, so memory stays the same ---- */

enum {
    CHORD_LOAD_ROWS_MAX = 262144,            /* fewer while the ring takes that many only slowly */
    CHORD_LOAD_BYTES_MAX = 16 * 1024 * 1024, /* keys and values */
};

struct chord_load;

/* Each may be NULL; all run on the thread that flushes. */
struct chord_load_events {
    bool (*cancelled)(void *context); /* true: the flush ends soon */
    void (*stored)(void *context, size_t rows);
    void (*failed)(void *context, uint64_t line, const char *reason);
    /* So many rows go out again, since this member did not take them. */
    void (*again)(void *context, size_t rows, const char *address, const char *reason);
    void *context;
};

struct chord_load_result {
    enum chord_fate
        fate;      /* DONE: every row is stored; MAYBE_DONE: one may be that is not counted so */
    size_t stored; /* rows, those included that a later row with their key replaced */
    size_t failed; /* rows that were not, or not surely, stored */
    uint64_t failed_line; /* the first of them */
    bool reached;         /* at the end some member answered */
    char reason[200];     /* why not */
};

/* A window; for one thread at a time. NULL: no memory. Copies the events. */
struct chord_load *chord_load_new(struct chord_client *client,
                                  const struct chord_load_events *events);
void chord_load_free(struct chord_load *load); /* accepts NULL */
size_t chord_load_rows(const struct chord_load *load);
/* Whether one more row of that size fits; where not, flush first. */
bool chord_load_fits(const struct chord_load *load, size_t key_size, size_t value_size);
/* Copies the row; `line` is the caller's name for it. false: no memory. */
bool chord_load_add(struct chord_load *load, uint64_t line, const void *key, size_t key_size,
                    const void *value, size_t value_size, uint64_t expires_at_ms);
/* Stores all rows, the last one of each key, and empties the window. Before that time is over, or
 * when it is clear that nobody is there. */
void chord_load_flush(struct chord_load *load, uint32_t timeout_ms,
                      struct chord_load_result *result);
/* Instead of a flush: each row failed. */
void chord_load_drop(struct chord_load *load, const char *reason);

#ifdef __cplusplus
}
#endif

#endif
